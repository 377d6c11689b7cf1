//! What is refused of every call, whatever its shape and before any effect. Pure.
//!
//! No signature of a shape covers everything, so what it may leave open is closed here: a body where there is none to
//! expect, a body that is not UTF-8 JSON, and whatever a browser sends for another site's page, reads too: what they cost
//! and what they count against is the operator's. A page can be of another site under a name that leads here; so what a
//! browser asks must be asked of an address or of a name that is known to be ours.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Method, Version, header};

use super::call::Call;
use super::error::AdminError;

/// The largest body that is read, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a value as given an error repeats, in bytes.
const QUOTED_BYTES_MAX: usize = 200;
/// What browsers say of each request, and nothing else does: the mode is said by Node's own fetch too.
const FETCH_FIELDS: [&str; 3] = ["sec-fetch-dest", "sec-fetch-site", "sec-fetch-user"];
/// Pages for people that others may link to.
const LINKED_PATHS: [&str; 4] = ["/", "/1.0/auth/validate", "/api", "/v1/auth/validate"];

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
    match content_length(&call.headers) {
        Some(length) if length > BODY_BYTES_MAX as u64 => Err(AdminError::BodyTooLarge { max: BODY_BYTES_MAX }),
        _ => Ok(()),
    }
}

/// Checks that no page of another site asks; `hosts`: names that are known to be ours. What goes somewhere else by a link
/// gets the page, which shows nothing by itself.
pub(super) fn site(call: &Call, hosts: &[Box<str>]) -> Result<(), AdminError> {
    let headers = &call.headers;
    let is_browser = headers.contains_key(header::ORIGIN) || FETCH_FIELDS.iter().any(|it| headers.contains_key(*it));
    if !is_browser {
        return Ok(());
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    let name = name_of(host);
    let mut known = hosts.iter().map(|host| &**host).chain(["localhost"]);
    if !is_address(name) && !known.any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(AdminError::UnknownHost { host: quoted(name) });
    }
    if is_followed_link(call) { Ok(()) } else { same_origin(headers) }
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

/// Returns a host without its port.
fn name_of(host: &str) -> &str {
    let without = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    match without {
        // An IPv6 address in brackets may end in digits behind a colon.
        Some((name, _)) if !name.starts_with('[') || name.ends_with(']') => name,
        Some(_) | None => host,
    }
}

fn is_address(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    bare.map_or_else(|| name.parse::<Ipv4Addr>().is_ok(), |name| name.parse::<Ipv6Addr>().is_ok())
}

/// Whether somebody went by a link to a page for people.
fn is_followed_link(call: &Call) -> bool {
    let is = |name: &str, wanted: &str| {
        let mut sent = call.headers.get_all(name).iter();
        sent.next().is_some_and(|value| value.as_bytes() == wanted.as_bytes()) && sent.next().is_none()
    };
    matches!(call.method, Method::GET | Method::HEAD)
        && LINKED_PATHS.contains(&call.uri.path())
        && !call.headers.contains_key(header::ORIGIN)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
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
    fn browser_asks_an_address_or_a_name_that_is_known_and_tools_ask_what_they_like() {
        let of = |host: &str, field: Option<(&'static str, &str)>, path: &str| {
            let mut call = crate::admin::vendor_fixture::call("GET", path, "");
            call.headers.insert(header::HOST, host.parse().unwrap());
            field.map(|(name, value)| call.headers.insert(name, value.parse().unwrap()));
            site(&call, &["lb.example".into()])
        };
        let own = Some(("sec-fetch-site", "same-origin"));
        for host in
            ["127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "[::1]", "localhost:9090", "LB.example:9090", "lb.example"]
        {
            assert_eq!(of(host, own, "/api/v1/status"), Ok(()), "{host}");
        }
        for host in ["evil.example:9090", "127.0.0.1.evil.example", "lb.example.evil", "", "[::1", "lb.example:x"] {
            assert!(matches!(of(host, own, "/"), Err(AdminError::UnknownHost { .. })), "{host}");
            assert_eq!(of(host, None, "/api/v1/status"), Ok(()), "{host}: no browser");
        }
        let node = Some(("sec-fetch-mode", "cors"));
        assert_eq!(of("any.example", node, "/api/v1/status"), Ok(()), "as Node's fetch asks");
        let foreign = Some(("origin", "http://evil.example"));
        assert!(matches!(of("127.0.0.1:9090", foreign, "/"), Err(AdminError::ForeignOrigin { .. })));
    }

    #[test]
    fn link_of_another_site_leads_to_a_page_and_nowhere_else() {
        let go = |path: &str, mode: &str, method: &str| {
            let mut call = crate::admin::vendor_fixture::call(method, path, "");
            for (name, value) in [
                ("host", "127.0.0.1:9090"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", "document"),
            ] {
                crate::admin::vendor_fixture::put_header(&mut call, name, value);
            }
            site(&call, &[]).is_ok()
        };
        assert!(go("/", "navigate", "GET") && go("/1.0/auth/validate?credentialId=1", "navigate", "GET"));
        assert!(!go("/", "no-cors", "GET") && !go("/", "navigate", "POST"));
        assert!(!go("/api/v1/status", "navigate", "GET") && !go("/metrics", "navigate", "GET"));
    }

    #[test]
    fn quoted_text_is_cut_between_characters() {
        assert_eq!(quoted("short"), "short");
        let cut = quoted(&"é".repeat(400));
        assert_eq!(cut.chars().count(), 101);
        assert!(cut.ends_with('…'));
    }
}
