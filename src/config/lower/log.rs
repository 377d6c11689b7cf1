//! `log`: the process log and the access log.

use super::path;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::settings::{AccessLog, LogFormat, LogSettings};

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: &[(&str, &str)] =
    &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")];

/// Lowers `log`.
pub(super) fn lower(file: &Section<'_>, findings: &mut Findings) -> LogSettings {
    let defaults = LogSettings { level: "info".into(), format: LogFormat::Text, access: None };
    file.or(findings, "log", defaults, |value, findings| {
        let section = value.section(findings, keys::LOG)?;
        let level = section.or(findings, "level", "info", |value, findings| value.word(findings, LEVELS));
        Some(LogSettings {
            level: level.into(),
            format: section.or(findings, "format", LogFormat::Text, |value, findings| value.word(findings, FORMATS)),
            access: section.get("access").and_then(|value| access(&value, findings)),
        })
    })
}

fn access(value: &Value<'_>, findings: &mut Findings) -> Option<AccessLog> {
    let section = value.section(findings, keys::ACCESS)?;
    let format = section.or(findings, "format", LogFormat::Json, |value, findings| value.word(findings, FORMATS));
    let path = section.need(findings, "path", "write path: FILE").and_then(|value| path(&value, findings))?;
    Some(AccessLog { path, format })
}
