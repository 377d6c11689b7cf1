//! `expect`: what counts as a pass. Patterns are compiled here, within a bound, and never again.

use crate::config::bounds::{PATTERN_COMPILED_BYTES_MAX, TEXT_BYTES_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::tree::old_line_break;
use crate::model::{BodyMatch, Expect, Negate, ProbeMethod, StatusSet};

/// Lowers the `expect` of an HTTP probe.
pub(super) fn http(value: &Value<'_>, method: ProbeMethod, findings: &mut Findings) -> Option<Expect> {
    let defaults = Expect::default();
    let section = value.section(findings, keys::EXPECT)?;
    let status = section.or(findings, "status", defaults.status, statuses);
    let stopping = section.or(findings, "stopping", defaults.stopping, statuses);
    let body = body_match(&section, findings);
    let negate = negate(&section, &["status", "contains", "matches"], findings);
    if method == ProbeMethod::Head && body.is_some() {
        section.complain(findings, "the answer to a HEAD has no body to look at; write method: GET");
    }
    if let Some(value) = section.get("stopping") {
        if negate == Negate::Inverted {
            value.complain(findings, "stopping is never inverted; remove it or negate");
        }
        let both = (100..=599).find(|code| status.contains(*code) && stopping.contains(*code));
        if let Some(code) = both.filter(|_| negate == Negate::AsWritten) {
            value.refuse(findings, format!("holds {code}, which passes already; take it out of status or out of here"));
        }
    }
    Some(Expect { status, stopping, body, negate })
}

/// Lowers the `expect` of a TCP probe.
pub(super) fn tcp(value: &Value<'_>, findings: &mut Findings) -> Option<(Option<BodyMatch>, Negate)> {
    let section = value.section(findings, keys::EXPECT)?;
    for value in ["status", "stopping"].iter().filter_map(|key| section.get(key)) {
        let remedy = "write contains or matches";
        value.complain(findings, format!("belongs to type: http, https, and this probe is tcp; {remedy}"));
    }
    let banner = body_match(&section, findings);
    let negate = negate(&section, &["contains", "matches"], findings);
    Some((banner, negate))
}

/// Returns the compiled pattern.
pub(super) fn parse_pattern(text: &str) -> Result<BodyMatch, String> {
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

fn statuses(value: &Value<'_>, findings: &mut Findings) -> Option<StatusSet> {
    let remedy = "is not a list of statuses in 100..=599; write for example \"200-399,404\"";
    value.parsed(findings, "a list of statuses", |text| StatusSet::parse(text).ok_or(remedy))
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
pub(in crate::config::lower) fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or(text).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
