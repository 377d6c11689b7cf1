//! One rule of a route: what is looked at and what it must be. The matrix of fields and matches is OVHcloud's.

use regex::{Regex, RegexBuilder};

use super::{Ground, entry, heads};
use crate::config::bounds::{
    FIELD_BYTES_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX, RULE_COMPILED_BYTES_MAX, RULES_MATCHING_MAX,
};
use crate::config::error::{Findings, quoted};
use crate::config::keys;
use crate::config::lower::{probe, text};
use crate::config::read::{Section, Value};
use crate::config::tree::old_line_break;
use crate::model::{Protocol, Rule, Subject, Test};

/// What a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Cookie,
    Header,
    Host,
    Method,
    Param,
    Protocol,
    Source,
    Uri,
}

/// How it is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Contains,
    EndsWith,
    Exists,
    In,
    Is,
    Matches,
    StartsWith,
}

const FIELDS: &[(&str, Field)] = &[
    ("protocol", Field::Protocol),
    ("source", Field::Source),
    ("host", Field::Host),
    ("method", Field::Method),
    ("uri", Field::Uri),
    ("param", Field::Param),
    ("header", Field::Header),
    ("cookie", Field::Cookie),
];
/// The fields that a connection has without requests.
const FIELDS_OF_TCP: [Field; 3] = [Field::Protocol, Field::Source, Field::Host];
/// Every match; those of all fields first, then those of texts, then that of fields with a name.
const MATCHES: &[(&str, Match)] = &[
    ("is", Match::Is),
    ("in", Match::In),
    ("contains", Match::Contains),
    ("startswith", Match::StartsWith),
    ("endswith", Match::EndsWith),
    ("matches", Match::Matches),
    ("exists", Match::Exists),
];
/// What an http frontend can be spoken to in; and what a tcp frontend can tell apart beside what is agreed in TLS.
const SPOKEN: [&str; 4] = ["tcp", "tls", "http", "https"];
/// OVHcloud's word for HTTP/2 and what a handshake calls it.
const HTTP2: (&str, &str) = ("http/2.0", "h2");

impl Field {
    /// Returns how many of [`MATCHES`] it takes.
    fn matches(self) -> &'static [(&'static str, Match)] {
        match self {
            Self::Method | Self::Protocol | Self::Source => &MATCHES[..2],
            Self::Host | Self::Uri => &MATCHES[..6],
            Self::Cookie | Self::Header | Self::Param => MATCHES,
        }
    }
}

/// The regular expressions of a frontend so far.
#[derive(Default)]
pub(super) struct Expressions {
    count: usize,
}

/// Lowers one rule.
pub(super) fn lower(
    value: &Value<'_>,
    ground: Ground<'_>,
    expressions: &mut Expressions,
    findings: &mut Findings,
) -> Option<Rule> {
    let section = value.section(findings, keys::RULE)?;
    let is_negated = section.or(findings, "negate", false, Value::flag);
    let field = section.need(findings, "field", "write what is looked at, as field: host").and_then(|value| {
        let field = value.word(findings, FIELDS)?;
        if ground.without_requests().is_some() && !FIELDS_OF_TCP.contains(&field) {
            value.refuse(findings, "needs requests, and this frontend has none; write protocol, source or host");
        }
        Some(field)
    });
    let subject = field.and_then(|field| subject(field, &section, findings));
    let kind = section.need(findings, "match", "write how, as match: is").and_then(|value| {
        let kind = value.word(findings, MATCHES)?;
        let Some(field) = field else { return Some(kind) };
        if field.matches().iter().all(|(_, it)| *it != kind) {
            let words: Vec<_> = field.matches().iter().map(|(word, _)| *word).collect();
            value.refuse(findings, format!("is no match of this field; write one of {}", words.join(", ")));
            return None;
        }
        Some(kind)
    });
    let (field, kind) = (field?, kind?);
    if kind == Match::Exists {
        if let Some(value) = section.get("pattern") {
            value.complain(findings, "exists looks at no pattern; remove it");
        }
        return Some(Rule { subject: subject?, test: Test::Exists, is_negated });
    }
    let pattern = section.need(findings, "pattern", "write what it must be, as pattern: www.example.com")?;
    let test = test(field, kind, &pattern, ground, expressions, findings);
    Some(Rule { subject: subject?, test: test?, is_negated })
}

/// What is looked at; with its name, which is `name` or in OVHcloud's word `sub_field`.
fn subject(field: Field, section: &Section<'_>, findings: &mut Findings) -> Option<Subject> {
    let name = section.get("name");
    let value = match (name, section.get("sub_field")) {
        (Some(_), Some(value)) => {
            value.complain(findings, "name and sub_field say the same and are both written; keep one of the two");
            Some(value)
        }
        (name, sub_field) => name.or(sub_field),
    };
    let plain = match field {
        Field::Host => Some(Subject::Host),
        Field::Method => Some(Subject::Method),
        Field::Protocol => Some(Subject::Protocol),
        Field::Source => Some(Subject::Source),
        Field::Uri => Some(Subject::Uri),
        Field::Cookie | Field::Header | Field::Param => None,
    };
    if let Some(subject) = plain {
        if let Some(value) = value {
            value.complain(findings, "goes with header, cookie and param; remove it");
        }
        return Some(subject);
    }
    let value = value.or_else(|| section.need(findings, "name", "write which one, as name: NAME"))?;
    if field == Field::Header {
        return heads::lower_name(&value, findings).map(Subject::Header);
    }
    let name = text::line(&value, FIELD_BYTES_MAX, "a name", findings)?;
    Some(if field == Field::Cookie { Subject::Cookie(name) } else { Subject::Param(name) })
}

fn test(
    field: Field,
    kind: Match,
    pattern: &Value<'_>,
    ground: Ground<'_>,
    expressions: &mut Expressions,
    findings: &mut Findings,
) -> Option<Test> {
    if field == Field::Source {
        let networks = several(pattern, entry::parse_network, findings)?;
        return Some(Test::Within(networks.into()));
    }
    let parse = |text: &str| parse_pattern(text, field, ground);
    if kind == Match::In {
        return several(pattern, parse, findings).map(|all| Test::In(all.into()));
    }
    if kind == Match::Matches {
        return expressions.compile(pattern, field, findings).map(Test::Matches);
    }
    let text = pattern.parsed(findings, "a pattern", parse)?;
    Some(match kind {
        Match::Contains => Test::Contains(text),
        Match::EndsWith => Test::EndsWith(text),
        Match::StartsWith => Test::StartsWith(text),
        Match::Exists | Match::In | Match::Is | Match::Matches => Test::Is(text),
    })
}

/// Reads a list, or a text with commas.
fn several<T, E: std::fmt::Display>(
    value: &Value<'_>,
    parse: impl Fn(&str) -> Result<T, E>,
    findings: &mut Findings,
) -> Option<Vec<T>> {
    if value.is_scalar() {
        return value.parsed(findings, "a pattern", |text| {
            if text.split(',').count() > PATTERNS_MAX {
                return Err(format!("holds more than {PATTERNS_MAX} patterns; write fewer"));
            }
            let one = |one: &str| parse(one).map_err(|why| format!("holds {}, which {why}", quoted(one)));
            text.split(',').map(|text| one(text.trim())).collect()
        });
    }
    let items = value.list(findings, "patterns", PATTERNS_MAX);
    if value.is_empty() {
        value.complain(findings, "nothing would be one of these; write at least one pattern");
        return None;
    }
    let all: Vec<_> = items.iter().filter_map(|item| item.parsed(findings, "a pattern", &parse)).collect();
    (!all.is_empty()).then_some(all)
}

fn parse_pattern(text: &str, field: Field, ground: Ground<'_>) -> Result<Box<str>, String> {
    check_length(text)?;
    if text.chars().any(char::is_control) || old_line_break(text).is_some() {
        return Err("holds a control character, which nothing that is looked at can hold; remove it".to_owned());
    }
    match field {
        Field::Cookie | Field::Header | Field::Param | Field::Uri => Ok(text.into()),
        Field::Host => Ok(text.to_ascii_lowercase().into()),
        Field::Method if text.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_')) => Ok(text.into()),
        Field::Method => Err("is no method; write for example GET, in capitals".to_owned()),
        Field::Protocol if text == HTTP2.0 => parse_pattern(HTTP2.1, field, ground),
        Field::Protocol if SPOKEN.contains(&text) || ground.protocol == Some(Protocol::Tcp) => Ok(text.into()),
        Field::Protocol => Err(format!("is nothing that is spoken here; write one of {}", SPOKEN.join(", "))),
        Field::Source => Err("is a network".to_owned()),
    }
}

fn check_length(text: &str) -> Result<(), String> {
    if (1..=PATTERN_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(format!("is empty or long; write 1 to {PATTERN_BYTES_MAX} bytes"))
}

impl Expressions {
    /// Compiles one more, unless there are too many.
    fn compile(&mut self, value: &Value<'_>, field: Field, findings: &mut Findings) -> Option<Regex> {
        self.count += 1;
        if self.count > RULES_MATCHING_MAX {
            let why = format!("is one of more than {RULES_MATCHING_MAX} rules of this frontend with matches");
            value.complain(findings, format!("{why}; write is, in, startswith or endswith"));
            return None;
        }
        value.parsed(findings, "a regular expression", |text| {
            check_length(text)?;
            if old_line_break(text).is_some() {
                return Err("holds a line break that YAML tools read differently; remove it".to_owned());
            }
            // A host is compared in lower case; who writes capitals means the same.
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(RULE_COMPILED_BYTES_MAX).case_insensitive(field == Field::Host);
            builder.build().map_err(|error| {
                if matches!(error, regex::Error::CompiledTooBig(_)) {
                    return format!("is too large: over {RULE_COMPILED_BYTES_MAX} bytes compiled; write a simpler one");
                }
                format!("is no regular expression: {}", probe::last_line(&error.to_string()))
            })
        })
    }
}
