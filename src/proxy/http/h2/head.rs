//! What a request head of HTTP/2 must be to go on, and the form in which it goes on. Pure.
//!
//! The engine has refused what is malformed by itself: upper case, fields of one connection, `te` other than
//! `trailers`, pseudo-fields out of order, Content-Length that is no number, Host beside another `:authority`. What is
//! left to look at is here, by the rules that `super::super::head` has for HTTP/1. Behind it a request has one Host
//! and one Cookie, as one of HTTP/1 has, so that who routes, logs and forwards knows one form. Source: RFC 9113 §8.

use ::http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use ::http::{Method, uri::Scheme};
use ::pingora::http::RequestHeader;

use crate::model::Limits;
use crate::routing::is_authority;

use super::super::exchange::framing::are_names_tokens;
use super::super::head::{FIELDS_MAX, Fault, METHOD_BYTES_MAX};

/// Returns why a head is refused, if it is.
///
/// # Errors
/// [`Fault`]: to be answered so.
pub(super) fn check(head: &RequestHeader, limits: &Limits) -> Result<(), Fault> {
    if head.method == Method::CONNECT {
        return Err(Fault::MethodNotAllowed);
    }
    let target = head.raw_path();
    if target.len() > limits.uri_bytes as usize {
        return Err(Fault::UriTooLong);
    }
    if !head.uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS) {
        return Err(Fault::BadRequest("the scheme is neither http nor https"));
    }
    let is_of_the_server = target == b"*" && head.method == Method::OPTIONS;
    if !target.starts_with(b"/") && !is_of_the_server {
        return Err(Fault::BadRequest("the path does not begin with a slash"));
    }
    if target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
        return Err(Fault::BadRequest("the request target is empty or has a control byte"));
    }
    if head.method.as_str().len() > METHOD_BYTES_MAX {
        return Err(Fault::BadRequest("the method is too long"));
    }
    let host = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| head.headers.get(HOST).map(HeaderValue::as_bytes)).unwrap_or_default();
    if !is_authority(host) {
        return Err(Fault::BadRequest("the authority is no host with at most a port"));
    }
    // Those of the engine may have more in their names than a token has.
    if !are_names_tokens(&head.headers) {
        return Err(Fault::BadRequest("a header name is no token"));
    }
    if head.headers.len() > FIELDS_MAX.min(usize::from(limits.header_fields)) {
        return Err(Fault::HeaderTooLarge);
    }
    let bytes = |(name, value): (&::http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    if target.len() + head.headers.iter().map(bytes).sum::<usize>() > limits.header_bytes as usize {
        return Err(Fault::HeaderTooLarge);
    }
    if declared_length(head) > limits.body_bytes {
        return Err(Fault::BodyTooLarge);
    }
    Ok(())
}

/// The length that a request says its body has, if it says so.
fn declared_length(head: &RequestHeader) -> u64 {
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Gives a head that was accepted its Host, joins its cookie crumbs (RFC 9113 §8.2.3, §8.3.1), and drops what belonged to
/// an upgrade from HTTP/1.
pub(super) fn canonicalize(head: &mut RequestHeader) {
    head.remove_header("http2-settings");
    if !head.headers.contains_key(HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        // Fails only where there are more fields than a map can hold, which are bounded.
        let _ = head.insert_header(HOST, host);
    }
    let mut crumbs = head.headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut joined = first.as_bytes().to_vec();
        for crumb in std::iter::once(second).chain(crumbs) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            let _ = head.insert_header(COOKIE, joined);
        }
    }
}

/// Returns whether a request is a call of gRPC: its streams may be silent for long, either way.
pub(in crate::proxy) fn is_grpc(head: &RequestHeader) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let kind = head.headers.get(::http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(GRPC));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = ::http::Request::builder().method(method).uri(uri).version(::http::Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    #[test]
    fn head_is_refused_for_what_it_is() {
        let limits = Limits { uri_bytes: 40, header_bytes: 200, header_fields: 3, body_bytes: 10, ..Limits::default() };
        let long = "x".repeat(300);
        let bad = |why| Err(Fault::BadRequest(why));
        for (method, uri, fields, want) in [
            ("GET", "https://a.example/x?y", vec![("a", "1")], Ok(())),
            ("GET", "http://a.example/", vec![], Ok(())),
            ("POST", "http://a.example/", vec![("content-length", "10")], Ok(())),
            ("POST", "http://a.example/", vec![("content-length", "11")], Err(Fault::BodyTooLarge)),
            ("CONNECT", "a.example:443", vec![], Err(Fault::MethodNotAllowed)),
            ("CONNECT", "https://a.example/chat", vec![], Err(Fault::MethodNotAllowed)),
            ("GET", "ftp://a.example/", vec![], bad("the scheme is neither http nor https")),
            ("GET", "/", vec![], bad("the scheme is neither http nor https")),
            ("GET", "https://a.example/01234567890123456789012345678901234567890", vec![], Err(Fault::UriTooLong)),
            ("GET", "https://a.example/", vec![("a", &long)], Err(Fault::HeaderTooLarge)),
            (
                "GET",
                "https://a.example/",
                vec![("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")],
                Err(Fault::HeaderTooLarge),
            ),
        ] {
            assert_eq!(check(&head(method, uri, &fields), &limits), want, "{method} {uri} {fields:?}");
        }
    }

    #[test]
    fn accepted_head_has_one_host_and_one_cookie() {
        let mut crumbs =
            head("GET", "https://a.example:8443/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        canonicalize(&mut crumbs);
        assert_eq!(crumbs.headers[HOST], "a.example:8443");
        assert_eq!(crumbs.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        let mut plain = head("GET", "https://a.example/", &[("host", "a.example"), ("cookie", "a=1; b=2")]);
        canonicalize(&mut plain);
        assert_eq!(plain.headers.get_all(HOST).iter().count(), 1);
        assert_eq!(plain.headers[COOKIE], "a=1; b=2");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (kind, want) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&head("POST", "http://a/", &[("content-type", kind)])), want, "{kind}");
        }
        assert!(!is_grpc(&head("POST", "http://a/", &[])));
    }
}
