//! `steps` of an exchange: bytes as text or as hex, and patterns.

use super::expect::parse_pattern;
use crate::config::bounds::TEXT_BYTES_MAX;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::Step;
use crate::model::probe::EXCHANGE_STEPS_MAX;

/// Lowers the steps; nothing where they are missing or none is right.
pub(super) fn steps(section: &Section<'_>, findings: &mut Findings) -> Option<Box<[Step]>> {
    let remedy = "write steps: [{send: TEXT}, {expect: TEXT}]";
    let value = section.need(findings, "steps", remedy)?;
    let items = value.list(findings, "steps", EXCHANGE_STEPS_MAX);
    if value.is_empty() {
        value.complain(findings, format!("there is no step; {remedy}"));
    }
    let steps: Box<[_]> = items.iter().filter_map(|item| step(item, findings)).collect();
    (!steps.is_empty()).then_some(steps)
}

fn step(item: &Value<'_>, findings: &mut Findings) -> Option<Step> {
    let section = item.section(findings, keys::STEP)?;
    let mut written = keys::STEP.iter().filter_map(|key| section.get(key));
    let (first, second) = (written.next(), written.next());
    let (Some(value), None) = (first, second) else {
        item.complain(findings, format!("a step is one key; write one of {}", keys::STEP.join(", ")));
        return None;
    };
    match value.key {
        "send" => value.parsed(findings, "a text", bytes_of_text).map(Step::Send),
        "send_hex" => value.parsed(findings, "hex digits", bytes_of_hex).map(Step::Send),
        "expect" => value.parsed(findings, "a text", bytes_of_text).map(Step::ExpectBytes),
        "expect_hex" => value.parsed(findings, "hex digits", bytes_of_hex).map(Step::ExpectBytes),
        _ => value.parsed(findings, "a regular expression", parse_pattern).map(Step::ExpectMatch),
    }
}

/// The text as YAML gives it: `"\r\n"` in double quotes is a line end.
fn bytes_of_text(text: &str) -> Result<Box<[u8]>, String> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) {
        return Ok(text.as_bytes().into());
    }
    Err(format!("is not 1 to {TEXT_BYTES_MAX} bytes long"))
}

fn bytes_of_hex(text: &str) -> Result<Box<[u8]>, String> {
    let shape = || format!("is not 1 to {TEXT_BYTES_MAX} bytes in hex; write two digits for each, as in \"0d 0a\"");
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || digits.len() / 2 > TEXT_BYTES_MAX {
        return Err(shape());
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let pairs = digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?));
    pairs.collect::<Option<_>>().ok_or_else(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_pairs_of_digits_and_spaces() {
        assert_eq!(bytes_of_hex("0a FF").as_deref(), Ok(&[0x0a, 0xff][..]));
        assert_eq!(bytes_of_hex(" 00ff7f\n").as_deref(), Ok(&[0, 0xff, 0x7f][..]));
        for text in ["", " ", "0", "0x0a", "0a f", "gg", "é0"] {
            assert!(bytes_of_hex(text).is_err(), "{text}");
        }
    }
}
