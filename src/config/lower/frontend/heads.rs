//! What is changed in heads on their way: fields removed, set and added, with variables in their values.

use std::sync::Arc;

use super::Ground;
use crate::config::bounds::{FIELD_BYTES_MAX, HEADER_RULES_MAX, TEXT_BYTES_MAX};
use crate::config::error::{Findings, quoted};
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::{HeaderRules, Piece, Template};

/// Fields that say where a message ends or how a connection is kept: nobody but the proxy may write them, since two
/// readers that disagree on them disagree on where the next request begins.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Lowers `request_headers` or `response_headers`.
pub(super) fn rules(section: &Section<'_>, key: &str, ground: Ground<'_>, findings: &mut Findings) -> Arc<HeaderRules> {
    section.or(findings, key, Arc::default(), |value, findings| {
        ground.refuse_without_requests(value, findings);
        let section = value.section(findings, keys::HEADER_RULES)?;
        let remove = section.or(findings, "remove", Vec::new(), |value, findings| Some(removed(value, findings)));
        let set = section.or(findings, "set", Vec::new(), |value, findings| {
            Some(fields(value, Host::Allowed, findings, |value, findings| vec![field_value(value, findings)]))
        });
        let add = section.or(findings, "add", Vec::new(), |value, findings| {
            Some(fields(value, Host::Refused, findings, |value, findings| {
                if value.is_scalar() {
                    return vec![field_value(value, findings)];
                }
                let items = value.list(findings, "values", HEADER_RULES_MAX);
                items.iter().map(|item| field_value(item, findings)).collect()
            }))
        });
        Some(Arc::new(HeaderRules { remove: remove.into(), set: set.into(), add: add.into() }))
    })
}

/// Whether `Host` may be named: a request has one and no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    Allowed,
    Refused,
}

fn removed(value: &Value<'_>, findings: &mut Findings) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for item in value.list(findings, "fields", HEADER_RULES_MAX) {
        let Some(text) = item.text(findings, "the name of a field") else { continue };
        match parse_changeable(text, Host::Refused) {
            Ok(_) if names.iter().any(|name| name.eq_ignore_ascii_case(text)) => {
                item.refuse(findings, "is written twice; remove one of the two");
            }
            Ok(name) => names.push(name.to_ascii_lowercase().into()),
            Err(why) => item.refuse(findings, why),
        }
    }
    names
}

fn fields(
    value: &Value<'_>,
    host: Host,
    findings: &mut Findings,
    read: impl Fn(&Value<'_>, &mut Findings) -> Vec<Option<Template>>,
) -> Vec<(Box<str>, Template)> {
    let mut all: Vec<(Box<str>, Template)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for entry in value.entries(findings, "fields", HEADER_RULES_MAX) {
        let mut why = parse_changeable(entry.key, host).err();
        if names.iter().any(|name| name.eq_ignore_ascii_case(entry.key)) {
            why = Some("is written twice, in another case; remove one of the two".to_owned());
        }
        if let Some(why) = why {
            findings.error(entry.key_at, &entry.path, format!("{} {why}", quoted(entry.key)));
        }
        names.push(entry.key);
        let values = read(&entry, findings);
        all.extend(values.into_iter().flatten().map(|value| (entry.key.into(), value)));
    }
    all
}

fn parse_changeable(text: &str, host: Host) -> Result<&str, String> {
    let name = parse_field_name(text)?;
    if FRAMING.iter().any(|field| name.eq_ignore_ascii_case(field)) {
        return Err("says how the message is sent, which is the proxy's business; name another field".to_owned());
    }
    if host == Host::Refused && name.eq_ignore_ascii_case("host") {
        return Err("is in every request exactly once; write it under set".to_owned());
    }
    Ok(name)
}

/// Reads the name of a header field, a token of RFC 9110.
pub(in crate::config::lower) fn parse_field_name(text: &str) -> Result<&str, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=FIELD_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token) {
        return Ok(text);
    }
    Err(format!("is no name of a header field; write 1 to {FIELD_BYTES_MAX} letters, digits, - and _"))
}

/// Reads `{header: NAME}`; the name in lower case.
pub(in crate::config::lower) fn by_header(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    let section = value.section(findings, keys::BY_HEADER)?;
    let name = section.need(findings, "header", "write header: NAME")?;
    lower_name(&name, findings)
}

/// Reads the name of a header field, in lower case.
pub(in crate::config::lower) fn lower_name(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    value.parsed(findings, "the name of a header field", |text| {
        parse_field_name(text).map(|name| name.to_ascii_lowercase().into())
    })
}

fn field_value(value: &Value<'_>, findings: &mut Findings) -> Option<Template> {
    let is_good = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    template(value, is_good, "holds what no header field may; write visible ASCII and spaces", findings)
}

/// Reads a text with variables; what it holds beside them must be `is_good`, or `otherwise` says why not.
pub(super) fn template(
    value: &Value<'_>,
    is_good: fn(&str) -> bool,
    otherwise: &str,
    findings: &mut Findings,
) -> Option<Template> {
    value.parsed(findings, "a text with variables", |text| {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("is longer than {TEXT_BYTES_MAX} bytes; shorten it"));
        }
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        let mut texts = template.pieces().iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Variable(_) => None,
        });
        if texts.all(is_good) { Ok(template) } else { Err(otherwise.to_owned()) }
    })
}
