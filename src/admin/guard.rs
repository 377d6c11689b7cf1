//! What is refused of every call, whatever its shape and before any effect. Pure.
//!
//! No signature of a shape covers everything, so what it may leave open is closed here: a body where there is none to
//! expect, a body that is not UTF-8 JSON, and a write that a browser sends for another site's page.

use http::{HeaderMap, Method, Version, header};

use super::call::Call;
use super::error::AdminError;

/// The largest body that is read, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a value as given an error repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 200;

/// Checks that a request says once which host it is for. HTTP/1.0 need not, and later versions say it elsewhere.
pub(super) fn host(version: Version, headers: &HeaderMap) -> Result<(), AdminError> {
    let count = headers.get_all(header::HOST).iter().count();
    if count > 1 || (count == 0 && version == Version::HTTP_11) {
        return Err(AdminError::BadHost { count });
    }
    Ok(())
}

/// Checks a call before its body is read. `has_body`: whether one is announced.
pub(super) fn before_body(call: &Call, has_body: bool) -> Result<(), AdminError> {
    if has_body && !takes_body(&call.method) {
        return Err(AdminError::BodyUnexpected(call.method.to_string()));
    }
    if is_write(&call.method) {
        same_origin(&call.headers)?;
    }
    match content_length(&call.headers) {
        Some(length) if length > BODY_BYTES_MAX as u64 => Err(AdminError::BodyTooLarge { max: BODY_BYTES_MAX }),
        _ => Ok(()),
    }
}

/// Checks a whole call: a body there is must be JSON in UTF-8, of any kind.
pub(super) fn whole(call: &Call) -> Result<(), AdminError> {
    if call.body.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(&call.body)
        .map_err(|e| AdminError::BadBody(format!("byte {} is not UTF-8; send JSON in UTF-8", e.valid_up_to())))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(drop)
        .map_err(|e| AdminError::BadBody(format!("it is not JSON: {e}")))
}

/// Returns `text`, cut to what an error repeats.
pub(super) fn quoted(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= QUOTED_BYTES_MAX).last();
    match end {
        Some(end) if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

fn takes_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A browser names the page's site in `Origin`, and whose it is in `Sec-Fetch-Site`; tools send neither. `null` is a site
/// of its own. A certificate of a client is sent by browsers for any page: this is what keeps others from using it.
fn same_origin(headers: &HeaderMap) -> Result<(), AdminError> {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    for origin in headers.get_all(header::ORIGIN) {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let is_same = origin.split_once("://").is_some_and(|(scheme, authority)| {
            !authority.is_empty()
                && without_default_port(scheme, authority).eq_ignore_ascii_case(without_default_port(scheme, host))
        });
        if !is_same {
            return Err(AdminError::ForeignOrigin { origin: quoted(&origin), host: quoted(host) });
        }
    }
    // Where a browser names no origin, it still says whose page asks.
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"none" | b"same-origin") {
            let site = String::from_utf8_lossy(site.as_bytes());
            return Err(AdminError::ForeignOrigin { origin: quoted(&site), host: quoted(host) });
        }
    }
    Ok(())
}

fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        same_origin(&headers).is_ok()
    }

    #[test]
    fn origin_of_another_host_port_or_none_is_foreign() {
        assert!(origin("127.0.0.1:9090", "http://127.0.0.1:9090"));
        assert!(origin("Admin.example", "https://admin.example:443"));
        assert!(origin("admin.example:80", "http://admin.example"));
        assert!(!origin("127.0.0.1:9090", "http://127.0.0.1:8080"));
        assert!(!origin("127.0.0.1:9090", "http://evil.example"));
        assert!(!origin("admin.example:443", "http://admin.example"));
        assert!(!origin("127.0.0.1:9090", "null"));
        assert!(!origin("", "http://"), "an empty host is nobody's");
    }

    #[test]
    fn page_of_another_site_is_foreign_without_an_origin_too() {
        for (site, is_own) in [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(same_origin(&headers).is_ok(), is_own, "{site}");
        }
    }

    #[test]
    fn quoted_text_is_cut_between_characters() {
        assert_eq!(quoted("short"), "short");
        let cut = quoted(&"é".repeat(400));
        assert_eq!(cut.chars().count(), 101);
        assert!(cut.ends_with('…'));
    }
}
