//! `stickiness`: how a client is brought back to the server it had.

use std::time::Duration;

use super::spread::without_requests;
use crate::config::bounds::{
    COOKIE_BYTES_MAX, COOKIE_KEY_BYTES_MIN, COOKIE_MAX_AGE, COOKIE_NAME, STICKY_CLIENTS, STICKY_IDLE,
};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::frontend::lower_name;
use crate::config::lower::{Around, secret};
use crate::config::read::{Section, Value};
use crate::model::{CookieRule, Protocol, SameSite, Stickiness};

const FORMS: &str = "none, source, cookie, {source: {…}}, {cookie: {…}} or {header: NAME}";
const SAME_SITES: &[(&str, SameSite)] =
    &[("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
/// Name prefixes that browsers take on cookies with `Secure` only (RFC 6265bis).
const SECURE_PREFIXES: [&str; 2] = ["__secure-", "__host-"];

/// Lowers `stickiness`.
pub(super) fn lower(
    section: &Section<'_>,
    protocol: Option<Protocol>,
    around: Around<'_>,
    findings: &mut Findings,
) -> Stickiness {
    let by_source = Stickiness::Source { idle: STICKY_IDLE.default, clients_max: STICKY_CLIENTS.default };
    section.or(findings, "stickiness", Stickiness::None, |value, findings| {
        if value.is_scalar() {
            return match value.text(findings, FORMS)? {
                "none" => Some(Stickiness::None),
                "source" => Some(by_source),
                "cookie" => {
                    refuse_without_requests(value, protocol, findings);
                    Some(Stickiness::Cookie(defaults()))
                }
                _ => {
                    value.refuse(findings, format!("is not {FORMS}; write one of them"));
                    None
                }
            };
        }
        let section = value.section(findings, keys::STICKINESS)?;
        let mut written = keys::STICKINESS.iter().filter_map(|key| section.get(key));
        let Some(first) = written.next() else {
            value.complain(findings, format!("holds neither source, cookie nor header; write {FORMS}"));
            return None;
        };
        if let Some(second) = written.next() {
            let (first, second) = (first.key, second.key);
            value.complain(findings, format!("{first} and {second} are both written; keep one of the two"));
            return None;
        }
        if first.key == "source" {
            let section = first.section(findings, keys::STICKY_SOURCE)?;
            let (idle, clients_max) = known(&section, findings);
            return Some(Stickiness::Source { idle, clients_max });
        }
        refuse_without_requests(&first, protocol, findings);
        if first.key == "cookie" {
            return cookie(&first, around, findings).map(Stickiness::Cookie);
        }
        header(&first, findings)
    })
}

fn refuse_without_requests(value: &Value<'_>, protocol: Option<Protocol>, findings: &mut Findings) {
    if let Some(word) = without_requests(protocol) {
        value.complain(findings, format!("needs requests, and this farm is {word}; write stickiness: source"));
    }
}

/// How long clients are known, and how many.
fn known(section: &Section<'_>, findings: &mut Findings) -> (Duration, u32) {
    let idle = section.duration(findings, "idle", &STICKY_IDLE);
    (idle, section.number(findings, "clients_max", &STICKY_CLIENTS, "each known client takes some bytes"))
}

fn header(value: &Value<'_>, findings: &mut Findings) -> Option<Stickiness> {
    if value.is_scalar() {
        let name = lower_name(value, findings)?;
        return Some(Stickiness::Header { name, idle: STICKY_IDLE.default, clients_max: STICKY_CLIENTS.default });
    }
    let section = value.section(findings, keys::STICKY_HEADER)?;
    let (idle, clients_max) = known(&section, findings);
    let name = section.need(findings, "name", "write the name of a header field")?;
    lower_name(&name, findings).map(|name| Stickiness::Header { name, idle, clients_max })
}

fn defaults() -> CookieRule {
    CookieRule {
        name: COOKIE_NAME.into(),
        max_age: None,
        is_secure: false,
        is_http_only: true,
        same_site: SameSite::Lax,
        key: None,
    }
}

fn cookie(value: &Value<'_>, around: Around<'_>, findings: &mut Findings) -> Option<CookieRule> {
    let section = value.section(findings, keys::STICKY_COOKIE)?;
    let is_secure = section.or(findings, "secure", false, Value::flag);
    let name = section.or(findings, "name", COOKIE_NAME.into(), |value, findings| {
        let name = value.parsed(findings, "the name of a cookie", parse_name)?;
        let is_prefixed = |prefix: &str| name.to_ascii_lowercase().starts_with(prefix);
        if !is_secure && SECURE_PREFIXES.iter().any(|prefix| is_prefixed(prefix)) {
            value.refuse(findings, "begins as browsers take it only with secure: true; write that or rename it");
        }
        Some(name)
    });
    let same_site = section.or(findings, "same_site", SameSite::Lax, |value, findings| {
        let same_site = value.word(findings, SAME_SITES)?;
        if same_site == SameSite::None && !is_secure {
            value.refuse(findings, "is taken by browsers only with secure: true; write that, or lax");
        }
        Some(same_site)
    });
    let key = secret::optional(&section, "key", "key_file", around.read_file, findings);
    if let Some(key) = key.as_ref().filter(|key| key.reveal().len() < COOKIE_KEY_BYTES_MIN) {
        let found = key.reveal().len();
        if let Some(value) = section.get("key").or_else(|| section.get("key_file")) {
            let remedy = "make one with: openssl rand -hex 32";
            value.complain(findings, format!("the key has {found} of {COOKIE_KEY_BYTES_MIN} bytes or more; {remedy}"));
        }
    }
    Some(CookieRule {
        name,
        max_age: section.get("max_age").and_then(|value| value.duration(findings, &COOKIE_MAX_AGE)),
        is_secure,
        is_http_only: section.or(findings, "http_only", true, Value::flag),
        same_site,
        key,
    })
}

/// A token of RFC 9110.
fn parse_name(text: &str) -> Result<Box<str>, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=COOKIE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token) {
        return Ok(text.into());
    }
    Err(format!("is no name of a cookie; write 1 to {COOKIE_BYTES_MAX} letters, digits, - and _"))
}

/// A value that a cookie carries as it is (RFC 6265, `cookie-octet`).
pub(super) fn parse_value(text: &str) -> Result<Box<str>, String> {
    let is_octet = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
    if (1..=COOKIE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_octet) {
        return Ok(text.into());
    }
    Err(format!("is no value of a cookie; write 1 to {COOKIE_BYTES_MAX} visible ASCII characters without \" , ; \\"))
}
