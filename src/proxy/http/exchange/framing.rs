//! What heads say of where a body ends, made one thing that everybody reads alike. Pure.
//!
//! Requests of HTTP/1 were read strictly before they come here; what servers say was read by the engine, which takes
//! some of it in more than one way. Source: RFC 9110 §8.6, RFC 9112 §6.

use ::http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use ::http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::super::head::is_token;
use super::Head;

/// Interim answers (1xx) that a server may send before its answer.
pub const INTERIMS_MAX: u8 = 32;

/// Puts one plain number in the place of a Content-Length that says the same over and over, or in more digits than it
/// has. What says no number, or two, is left: it was refused, or is about to be.
pub fn make_length_plain<H: Head>(head: &mut H) {
    let mut values = head.fields().get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return };
    let is_plain = |value: &[u8]| value == b"0" || (value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0"));
    if values.next().is_none() && is_plain(first.as_bytes()) {
        return;
    }
    if let Some(length) = one_length(head.fields()) {
        head.set_field("content-length", HeaderValue::from(length));
    }
}

/// The length that every Content-Length says, and every part of each that is a list.
fn one_length(fields: &HeaderMap) -> Option<u64> {
    let parts = fields.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let mut lengths = parts.map(|part| {
        let digits =
            std::str::from_utf8(part.trim_ascii()).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u64>().ok())
    });
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

/// Returns whether an answer is transferred as it is or in chunks, and not in a way that nobody was asked to understand.
#[must_use]
pub fn is_coding_plain(head: &ResponseHeader) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Returns whether every name is a token: a head of HTTP/2 may have come with names that are not, which are none in one
/// of HTTP/1.
#[must_use]
pub fn are_names_tokens(fields: &HeaderMap) -> bool {
    fields.keys().all(|name| name.as_str().bytes().all(is_token))
}

/// Removes what an answer that has no body by its status says of one: a client may wait for it.
pub fn strip_framing_of_no_body(head: &mut ResponseHeader) {
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        head.remove_header(&CONTENT_LENGTH);
        head.remove_header(&TRANSFER_ENCODING);
    }
}

/// Returns whether a request asks to go on as a WebSocket: every other Upgrade is dropped on the way.
#[must_use]
pub fn asks_for_websocket(head: &RequestHeader) -> bool {
    let upgrade = head.headers.get(UPGRADE);
    let is_websocket = upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut tokens = head.headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    head.version == Version::HTTP_11
        && is_websocket
        && tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn length_that_is_one_is_said_once() {
        for (lengths, want) in [
            (&["5"][..], &["5"][..]),
            (&["0"], &["0"]),
            (&["5", "5"], &["5"]),
            (&["5, 5", "5"], &["5"]),
            (&["0005"], &["5"]),
            (&["00"], &["0"]),
            (&["5", "6"], &["5", "6"]),
            (&["5, 6"], &["5, 6"]),
            (&["+5"], &["+5"]),
            (&["5,"], &["5,"]),
            (&[""], &[""]),
            (&["18446744073709551616"], &["18446744073709551616"]),
            (&[], &[]),
        ] {
            let fields: Vec<_> = lengths.iter().map(|length| ("Content-Length", *length)).collect();
            let mut head = answer(200, &fields);
            make_length_plain(&mut head);
            let got: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(got, want, "{lengths:?}");
        }
    }

    #[test]
    fn coding_is_plain_when_it_is_chunked_or_none() {
        for (codings, want) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["chunked", "chunked"], false),
            (&["gzip, chunked"], false),
            (&[", chunked"], false),
            (&["identity"], false),
            (&["chunked;q=1"], false),
            (&[""], false),
        ] {
            let fields: Vec<_> = codings.iter().map(|coding| ("Transfer-Encoding", *coding)).collect();
            assert_eq!(is_coding_plain(&answer(200, &fields)), want, "{codings:?}");
        }
    }

    #[test]
    fn answer_without_a_body_says_nothing_of_one() {
        for (status, stays) in [(100, false), (101, false), (103, false), (204, false), (200, true), (304, true)] {
            let mut head = answer(status, &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]);
            strip_framing_of_no_body(&mut head);
            let has = |name| head.headers.contains_key(name);
            assert_eq!((has(CONTENT_LENGTH), has(TRANSFER_ENCODING)), (stays, stays), "{status}");
        }
    }

    #[test]
    fn websocket_is_asked_for_by_both_fields() {
        for (fields, want) in [
            (&[("Connection", "Upgrade"), ("Upgrade", "websocket")][..], true),
            (&[("Connection", "keep-alive, upgrade"), ("Upgrade", "WebSocket")], true),
            (&[("Connection", "keep-alive"), ("Connection", "upgrade"), ("Upgrade", "websocket")], true),
            (&[("Upgrade", "websocket")], false),
            (&[("Connection", "close"), ("Upgrade", "websocket")], false),
            (&[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")], false),
            (&[("Connection", "Upgrade")], false),
        ] {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            for (name, value) in fields {
                head.append_header(*name, *value).unwrap();
            }
            assert_eq!(asks_for_websocket(&head), want, "{fields:?}");
        }
    }
}
