//! What a frontend says by itself: the page of a maintenance, and that browsers must come in TLS.

use std::sync::Arc;

use super::Ground;
use crate::config::bounds::{HSTS_AGE, PAGE, PAGE_BYTES_MAX, PAGE_STATUS, PAGE_TYPE, PAGE_TYPE_BYTES_MAX, RETRY_AFTER};
use crate::config::error::Findings;
use crate::config::expand::OPENING;
use crate::config::keys;
use crate::config::lower::path;
use crate::config::read::{Section, Switch, Value};
use crate::config::tree::old_line_break;
use crate::model::{Hsts, MaintenancePage};

/// Lowers `hsts`.
pub(super) fn hsts(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Hsts> {
    let value = section.get("hsts")?;
    let defaults = Hsts { max_age: HSTS_AGE.default, includes_subdomains: false };
    let hsts = match value.switch(findings, keys::HSTS)? {
        Switch::Off => return None,
        Switch::On => defaults,
        Switch::Set(section) => Hsts {
            max_age: section.duration(findings, "max_age", &HSTS_AGE),
            includes_subdomains: section.or(findings, "include_subdomains", false, Value::flag),
        },
    };
    ground.refuse_without_requests(&value, findings);
    if section.get("tls").is_none() && ground.without_requests().is_none() {
        value.complain(findings, "is said in TLS only; write tls, or remove it");
    }
    Some(hsts)
}

/// Lowers `maintenance`.
pub(super) fn maintenance(
    section: &Section<'_>,
    ground: Ground<'_>,
    findings: &mut Findings,
) -> Option<MaintenancePage> {
    let value = section.get("maintenance")?;
    let defaults = MaintenancePage {
        status: PAGE_STATUS.default,
        body: PAGE.into(),
        content_type: PAGE_TYPE.into(),
        retry_after: None,
    };
    let page = match value.switch(findings, keys::MAINTENANCE)? {
        Switch::Off => return None,
        Switch::On => defaults,
        Switch::Set(section) => MaintenancePage {
            status: section.number(findings, "status", &PAGE_STATUS, "write a final status"),
            body: body(&section, ground, findings).unwrap_or(defaults.body),
            content_type: section.or(findings, "content_type", defaults.content_type, |value, findings| {
                value.parsed(findings, "a media type", parse_type)
            }),
            retry_after: section.get("retry_after").and_then(|value| value.duration(findings, &RETRY_AFTER)),
        },
    };
    ground.refuse_without_requests(&value, findings);
    Some(page)
}

fn body(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Arc<str>> {
    match (section.get("body"), section.get("body_file")) {
        (None, None) => None,
        (Some(_), Some(file)) => {
            file.complain(findings, "body and body_file are both written; keep one of the two");
            None
        }
        (Some(value), None) => match check(value.text(findings, "a text")?) {
            Ok(text) => Some(text.into()),
            Err(why) => {
                value.complain(findings, format!("the page {why}"));
                None
            }
        },
        (None, Some(file)) => {
            let path = path(&file, findings)?;
            match (ground.read_file)(&path) {
                Ok(text) => match check(&text) {
                    Ok(text) => Some(text.into()),
                    Err(why) => {
                        file.refuse(findings, format!("is no page: it {why}"));
                        None
                    }
                },
                Err(error) => {
                    file.refuse(findings, format!("cannot be read: {error}; check the path and who may read it"));
                    None
                }
            }
        }
    }
}

/// Tells what is wrong with a page; an export must read back as it was.
fn check(text: &str) -> Result<&str, String> {
    if text.len() > PAGE_BYTES_MAX {
        return Err(format!("is longer than {PAGE_BYTES_MAX} bytes; shorten it"));
    }
    if text.contains('\0') || old_line_break(text).is_some() {
        return Err("holds a NUL or a line break that YAML tools read differently; remove it".to_owned());
    }
    if text.contains(OPENING) {
        return Err(format!("holds {OPENING:?}, which an export would fill in; write it otherwise"));
    }
    Ok(text)
}

fn parse_type(text: &str) -> Result<Box<str>, String> {
    let is_good = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && text.trim() == text && text.contains('/');
    if is_good && (1..=PAGE_TYPE_BYTES_MAX).contains(&text.len()) {
        return Ok(text.into());
    }
    Err(format!("is no media type of 1 to {PAGE_TYPE_BYTES_MAX} bytes; write for example {PAGE_TYPE:?}"))
}
