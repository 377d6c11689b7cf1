//! `tracing`: which traces are recorded, and who is sent their spans.

use super::{ReadFile, text, webhook};
use crate::config::bounds::{
    OTLP_HEADERS_MAX, OTLP_TIMEOUT, SAMPLE_PPM, SERVICE_NAME, SERVICE_NAME_BYTES_MAX, TEXT_BYTES_MAX,
};
use crate::config::error::{Findings, quoted};
use crate::config::keys;
use crate::config::read::Value;
use crate::model::Secret;
use crate::model::settings::{MILLION, Otlp, TraceSettings};

/// Fields of the posts that are the sender's own.
const OWN_FIELDS: [&str; 6] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"];
/// What is wrong with a URL of the receiver's.
const URL: webhook::UrlWords = webhook::UrlWords {
    has_user: "holds a user or a password, which would be logged; write it under headers, as Authorization",
    is_clear: "paths and addresses of clients leave this machine in the clear; write https",
};

/// Lowers `tracing`.
pub(super) fn lower(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Option<TraceSettings> {
    let section = value.section(findings, keys::TRACING)?;
    let sample_ppm = section.or(findings, "sample", SAMPLE_PPM, |value, findings| {
        value.parsed(findings, "a share such as \"1%\"", parse_sample)
    });
    let service_name = section.or(findings, "service_name", SERVICE_NAME.into(), |value, findings| {
        text::line(value, SERVICE_NAME_BYTES_MAX, "a name", findings)
    });
    let otlp = section.get("otlp").map(|value| otlp(&value, read_file, findings));
    Some(TraceSettings { sample_ppm, service_name, otlp: otlp.flatten() })
}

fn otlp(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Option<Otlp> {
    let section = value.section(findings, keys::OTLP)?;
    let remedy = "write url: \"http://127.0.0.1:4318/v1/traces\"";
    let url = section.need(findings, "url", remedy).and_then(|value| webhook::url(&value, &URL, findings));
    let headers = section.get("headers").map_or_else(Vec::new, |value| headers(&value, findings));
    let ca = section.get("ca").and_then(|value| text::ca(&value, read_file, findings));
    if let (Some(value), Some(webhook::Scheme::Http)) = (section.get("ca"), url.as_ref().map(|(scheme, _)| *scheme)) {
        value.complain(findings, "nothing is verified over http; write an https url, or remove it");
    }
    let timeout = section.duration(findings, "timeout", &OTLP_TIMEOUT);
    Some(Otlp { url: url?.1, headers, ca: ca.map(|path| path.to_path_buf()), timeout })
}

/// Reads the fields of every post. No message shows a value: tokens are among them.
fn headers(value: &Value<'_>, findings: &mut Findings) -> Vec<(Box<str>, Secret)> {
    let mut all: Vec<(Box<str>, Secret)> = Vec::new();
    if value.is_scalar() {
        value.complain(findings, "is not a mapping of fields; write {Authorization: \"Bearer …\"}");
        return all;
    }
    for entry in value.entries(findings, "fields", OTLP_HEADERS_MAX) {
        let name: Box<str> = entry.key.to_ascii_lowercase().into();
        let why = match &*name {
            name if !is_token(name) => Some("is no name of a field; write letters, digits and -"),
            name if OWN_FIELDS.contains(&name) => Some("is the sender's own; name another field"),
            name if all.iter().any(|(known, _)| **known == *name) => Some("is written twice; remove one of the two"),
            _ => None,
        };
        if let Some(why) = why {
            findings.error(entry.key_at, &entry.path, format!("{} {why}", quoted(entry.key)));
        }
        if !entry.is_scalar() {
            entry.refuse(findings, "is not a text");
            continue;
        }
        let Some(text) = entry.text(findings, "a text") else { continue };
        let is_value = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && text.trim() == text;
        if is_value && (1..=TEXT_BYTES_MAX).contains(&text.len()) {
            all.push((name, Secret::new(text)));
        } else {
            entry.complain(findings, format!("the value is not 1 to {TEXT_BYTES_MAX} visible ASCII characters"));
        }
    }
    all
}

fn is_token(name: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(is_good)
}

/// Reads a share with up to four places behind the point, as parts of a million.
fn parse_sample(text: &str) -> Result<u32, &'static str> {
    const SHAPE: &str = "is no share of 0% to 100%; write for example \"1%\" or \"0.01%\"";
    let number = text.strip_suffix('%').ok_or("has no unit; write it in per cent: \"1%\" is one in a hundred")?;
    let (whole, places) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        |digits: &str, most: usize| (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole, 3) || !is_number(places, 4) {
        return Err(SHAPE);
    }
    let ppm = format!("{whole}{places:0<4}").parse::<u32>().map_err(|_| SHAPE)?;
    if ppm > MILLION { Err(SHAPE) } else { Ok(ppm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_is_a_share_with_up_to_four_places() {
        for (text, ppm) in [
            ("0%", 0),
            ("100%", MILLION),
            ("1%", 10_000),
            ("0.01%", 100),
            ("0.0001%", 1),
            ("12.5%", 125_000),
            ("100.0%", MILLION),
        ] {
            assert_eq!(parse_sample(text), Ok(ppm), "{text}");
        }
        for text in ["", "%", "0.01", "1", "101%", "100.0001%", "0.00001%", ".5%", "5.%", "-1%", "1e2%", "1 %", "+1%"] {
            assert!(parse_sample(text).is_err(), "{text}");
        }
    }
}
