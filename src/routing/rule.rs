//! Whether one rule holds. Pure, and allocates nothing unless an expression is asked of bytes that are no text.
//!
//! Values are compared as they were received, byte by byte and case for case: nothing is percent-decoded, no path is
//! tidied. Of a header field each line is one value, of a cookie each occurrence; one that passes is enough. Of a
//! parameter the first occurrence counts, `&` and `;` divide them, and one without `=` is there and empty.

use std::net::IpAddr;

use memchr::memmem;

use crate::model::{Rule, Subject, Test};

use super::view::RequestView;

/// Returns whether a rule holds.
pub(super) fn holds(rule: &Rule, view: &impl RequestView) -> bool {
    let test = &rule.test;
    let passes = |value: &[u8]| passes(test, value);
    let is_met = match &rule.subject {
        Subject::Cookie(name) => view.any_header("cookie", |line| cookies(line, name).any(passes)),
        Subject::Header(name) => view.any_header(name, passes),
        Subject::Host => view.host().is_some_and(|host| passes(host.as_bytes())),
        Subject::Method => view.method().is_some_and(|method| passes(method.as_bytes())),
        Subject::Param(name) => view.query().and_then(|query| param(query, name)).is_some_and(passes),
        Subject::Protocol => view.any_protocol(passes),
        Subject::Source => view.source().is_some_and(|source| is_from(test, source)),
        Subject::Uri => view.path().is_some_and(passes),
    };
    is_met != rule.is_negated
}

fn passes(test: &Test, value: &[u8]) -> bool {
    match test {
        Test::Contains(text) => memmem::find(value, text.as_bytes()).is_some(),
        Test::EndsWith(text) => value.ends_with(text.as_bytes()),
        Test::Exists => true,
        Test::In(texts) => texts.iter().any(|text| text.as_bytes() == value),
        Test::Is(text) => text.as_bytes() == value,
        Test::Matches(regex) => match std::str::from_utf8(value) {
            Ok(text) => regex.is_match(text),
            Err(_) => regex.is_match(&String::from_utf8_lossy(value)),
        },
        Test::StartsWith(text) => value.starts_with(text.as_bytes()),
        Test::Within(_) => false,
    }
}

fn is_from(test: &Test, source: IpAddr) -> bool {
    let source = source.to_canonical();
    match test {
        Test::Within(networks) => networks.iter().any(|network| network.contains(&source)),
        Test::Exists => true,
        Test::Contains(_) | Test::EndsWith(_) | Test::In(_) | Test::Is(_) | Test::Matches(_) | Test::StartsWith(_) => {
            false
        }
    }
}

/// Returns the first value of a parameter.
fn param<'a>(query: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pairs = query.split(|byte| matches!(byte, b'&' | b';'));
    pairs.filter_map(|pair| value_of(pair, name)).next()
}

/// Returns the values of the cookies of that name in one field.
fn cookies<'a>(line: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = line.split(|byte| *byte == b';');
    pairs.filter_map(move |pair| value_of(pair.trim_ascii(), name))
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = pair.strip_prefix(name.as_bytes())?;
    match rest {
        [] => Some(rest),
        [b'=', value @ ..] => Some(value),
        _ => None,
    }
}
