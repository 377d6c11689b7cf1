//! `log`: the process log and the access log.

use super::path;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::settings::{AccessField, AccessFormat, AccessLog, LogFormat, LogSettings};

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const ACCESS_FORMATS: &[(&str, AccessFormat)] = &[
    ("json", AccessFormat::Json),
    ("text", AccessFormat::Text),
    ("clf", AccessFormat::Clf),
    ("combined", AccessFormat::Combined),
];
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
    let format =
        section.or(findings, "format", AccessFormat::Json, |value, findings| value.word(findings, ACCESS_FORMATS));
    let fields = section.get("fields").map_or_else(AccessField::usual, |value| {
        if format != AccessFormat::Json {
            value.refuse(findings, "is for format: json; the other forms have their own fields".to_owned());
        }
        fields(&value, findings)
    });
    let path = section.need(findings, "path", "write path: FILE").and_then(|value| path(&value, findings))?;
    Some(AccessLog { path, format, fields })
}

/// Reads what a line has; a field that is named twice would be a key twice.
fn fields(value: &Value<'_>, findings: &mut Findings) -> Vec<AccessField> {
    let mut fields = Vec::new();
    for item in value.list(findings, "fields", AccessField::WORDS.len()) {
        match item.word(findings, AccessField::WORDS) {
            Some(field) if fields.contains(&field) => {
                item.refuse(findings, "is named twice; name every field once".to_owned());
            }
            Some(field) => fields.push(field),
            None => {}
        }
    }
    fields
}
