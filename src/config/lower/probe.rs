//! `farms.NAME.probe`: how servers are checked and what counts as a pass.

use std::time::Duration;

use crate::config::bounds::{CHECK_TIMEOUT, FALL, INTERVAL, PATTERN_COMPILED_BYTES_MAX, PORT, RISE, TEXT_BYTES_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::tree::old_line_break;
use crate::config::units::show_duration;
use crate::model::{
    Aim, BodyMatch, Encryption, Expect, HttpProbe, HttpVersion, Name, Negate, Probe, ProbeKind, ProbeMethod,
    ProbeStart, StatusSet,
};

/// The two kinds of probe, before their own keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Http,
    Tcp,
}

const TYPES: &[(&str, Type)] = &[("http", Type::Http), ("tcp", Type::Tcp)];
const METHODS: &[(&str, ProbeMethod)] =
    &[("GET", ProbeMethod::Get), ("HEAD", ProbeMethod::Head), ("OPTIONS", ProbeMethod::Options)];
const STARTS: &[(&str, ProbeStart)] =
    &[("check", ProbeStart::Check), ("up", ProbeStart::Up), ("down", ProbeStart::Down)];
/// Keys that only an HTTP probe has.
const HTTP_KEYS: [&str; 3] = ["method", "url", "host"];

/// Lowers a probe; nothing where its kind cannot be told.
pub(super) fn lower(value: &Value<'_>, findings: &mut Findings) -> Option<Probe> {
    let section = value.section(findings, keys::PROBE)?;
    let kind =
        section.need(findings, "type", "write type: http or type: tcp").and_then(|value| value.word(findings, TYPES));
    let interval = section.duration(findings, "interval", &INTERVAL);
    let timeout = timeout(&section, interval, findings);
    let rise = section.number(findings, "rise", &RISE, "it counts passes in a row that bring a server back");
    let fall = section.number(findings, "fall", &FALL, "it counts failures in a row that take a server out");
    let start = section.or(findings, "start", ProbeStart::Check, |value, findings| value.word(findings, STARTS));
    let port = section.or(findings, "port", None, |value, findings| {
        Some(Some(value.number(findings, &PORT, "remove the key to probe the server's own port")?))
    });
    let (host, kind) = match kind? {
        Type::Http => http(&section, findings),
        Type::Tcp => (None, tcp(&section, findings)),
    };
    let aim = Aim { port, host, ..Aim::default() };
    let name = Name::parse("probe").ok()?;
    let (fast_interval, down_interval) = (None, None);
    Some(Probe { name, kind, aim, interval, fast_interval, down_interval, timeout, rise, fall, start })
}

/// A timeout that is not written gives way to a shorter interval; one that is written must fit.
fn timeout(section: &Section<'_>, interval: Duration, findings: &mut Findings) -> Duration {
    let Some(value) = section.get("timeout") else { return CHECK_TIMEOUT.default.min(interval) };
    let timeout = value.duration(findings, &CHECK_TIMEOUT.range).unwrap_or(CHECK_TIMEOUT.default);
    if timeout > interval {
        let interval = show_duration(interval);
        value.refuse(findings, format!("is longer than interval, {interval}; shorten it or lengthen interval"));
    }
    timeout
}

fn http(section: &Section<'_>, findings: &mut Findings) -> (Option<Box<str>>, ProbeKind) {
    let method = section.or(findings, "method", ProbeMethod::Get, |value, findings| value.word(findings, METHODS));
    let url =
        section.or(findings, "url", Url::default(), |value, findings| value.parsed(findings, "a URL", Url::parse));
    let host = section.or(findings, "host", None, |value, findings| {
        let host = value.parsed(findings, "a host", parse_host)?;
        if url.host.is_some() {
            value.complain(findings, "url and host both name a host; keep one of the two");
        }
        Some(Some(host))
    });
    let defaults = Expect::default();
    let expect = section.or(findings, "expect", defaults.clone(), |value, findings| {
        let section = value.section(findings, keys::EXPECT)?;
        let status = section.or(findings, "status", defaults.status, |value, findings| {
            let remedy = "is not a list of statuses in 100..=599; write for example \"200-399,404\"";
            value.parsed(findings, "a list of statuses", |text| StatusSet::parse(text).ok_or(remedy))
        });
        let body = body_match(&section, findings);
        let negate = negate(&section, &["status", "contains", "matches"], findings);
        if method == ProbeMethod::Head && body.is_some() {
            section.complain(findings, "the answer to a HEAD has no body to look at; write method: GET");
        }
        Some(Expect { status, stopping: StatusSet::none(), body, negate })
    });
    let (version, encryption) = (HttpVersion::Http1, Encryption::None);
    (url.host.or(host), ProbeKind::Http(HttpProbe { method, path: url.path, version, encryption, expect }))
}

fn tcp(section: &Section<'_>, findings: &mut Findings) -> ProbeKind {
    for value in HTTP_KEYS.iter().filter_map(|key| section.get(key)) {
        value.complain(findings, "belongs to type: http, and this probe is tcp; remove it");
    }
    let expected = section.get("expect").and_then(|value| value.section(findings, keys::EXPECT));
    let Some(section) = expected else { return ProbeKind::Tcp { banner: None, negate: Negate::AsWritten } };
    if let Some(value) = section.get("status") {
        value.complain(findings, "belongs to type: http, and this probe is tcp; write contains or matches");
    }
    let banner = body_match(&section, findings);
    ProbeKind::Tcp { banner, negate: negate(&section, &["contains", "matches"], findings) }
}

fn negate(section: &Section<'_>, what: &[&str], findings: &mut Findings) -> Negate {
    section.or(findings, "negate", Negate::AsWritten, |value, findings| {
        let wanted = value.flag(findings)?;
        if wanted && !what.iter().any(|key| section.get(key).is_some()) {
            value.complain(findings, format!("there is nothing to negate; write {}", what.join(", ")));
        }
        Some(if wanted { Negate::Inverted } else { Negate::AsWritten })
    })
}

fn body_match(section: &Section<'_>, findings: &mut Findings) -> Option<BodyMatch> {
    let contains = section.get("contains").and_then(|value| {
        value.parsed(findings, "a text", |text| {
            check_pattern_text(text)?;
            Ok::<_, String>(BodyMatch::Contains(text.into()))
        })
    });
    let matches = section.get("matches").and_then(|value| {
        if section.get("contains").is_some() {
            value.complain(findings, "contains and matches are both written; keep one of the two");
        }
        value.parsed(findings, "a regular expression", parse_pattern)
    });
    contains.or(matches)
}

fn parse_pattern(text: &str) -> Result<BodyMatch, String> {
    check_pattern_text(text)?;
    let built = regex::bytes::RegexBuilder::new(text)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build();
    built.map(BodyMatch::Matches).map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            "is too large once compiled (over 1 MiB); lower its repetitions".to_owned()
        } else {
            format!("is not a regular expression: {}", last_line(&error.to_string()))
        }
    })
}

fn check_pattern_text(text: &str) -> Result<(), String> {
    if !(1..=TEXT_BYTES_MAX).contains(&text.len()) {
        return Err(format!("is not 1 to {TEXT_BYTES_MAX} bytes long"));
    }
    old_line_break(text).map_or(Ok(()), |found| {
        let code = format!("{:x}", u32::from(found));
        Err(format!("holds a line break that YAML tools read differently; write matches: '\\x{{{code}}}'"))
    })
}

/// The crate draws its syntax errors over several lines; the last one has the reason.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or(text).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Where an HTTP probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    host: Option<Box<str>>,
    path: Box<str>,
}

impl Default for Url {
    fn default() -> Self {
        Self { host: None, path: "/".into() }
    }
}

impl Url {
    /// Returns the host and path of `/path`, `host/path` or `http://host/path`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err("is not 1 to 4096 visible ASCII characters without #; encode others as %XX");
        }
        if text.starts_with('/') {
            return Ok(Self { host: None, path: text.into() });
        }
        let (host, path) = match text.strip_prefix("http://") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None if text.contains("://") => return Err("has a scheme other than http; write http://host/path"),
            None => text.split_at(text.find('/').ok_or("is neither a path nor host/path; begin a path with \"/\"")?),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: Some(parse_host(host)?), path: path.into() })
    }
}

fn parse_host(text: &str) -> Result<Box<str>, &'static str> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if (1..=260).contains(&text.len()) && text.bytes().all(is_good) {
        Ok(text.into())
    } else {
        Err("has no host that a Host header can carry; write for example \"www.example.com\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_a_path_or_a_host_and_a_path() {
        for (text, host, path) in [
            ("/", None, "/"),
            ("/a?b=c", None, "/a?b=c"),
            ("www.example.com/a", Some("www.example.com"), "/a"),
            ("http://www.example.com:81/a", Some("www.example.com:81"), "/a"),
            ("http://www.example.com", Some("www.example.com"), "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_deref(), &*url.path), (host, path), "{text}");
        }
        for text in ["", "healthz", "https://a/b", "http:///a", "/a b", "/é", "/a#b", "a b/c"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
