//! Where an HTTP probe asks: a path, and the host that the Host header names.

use crate::config::bounds::TEXT_BYTES_MAX;
use crate::model::Encryption;

/// Where an HTTP probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The host, where one is named.
    pub(super) host: Option<Box<str>>,
    /// Path and query.
    pub(super) path: Box<str>,
}

impl Default for Url {
    fn default() -> Self {
        Self { host: None, path: "/".into() }
    }
}

impl Url {
    /// Returns the host and path of `/path`, `host/path` or `http://host/path`; the scheme must be the probe's.
    pub(super) fn parse(text: &str, encryption: Encryption) -> Result<Self, &'static str> {
        if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err("is not 1 to 4096 visible ASCII characters without #; encode others as %XX");
        }
        if text.starts_with('/') {
            return Ok(Self { host: None, path: text.into() });
        }
        let (host, path) = match (text.split_once("://"), encryption) {
            (Some(("http", rest)), Encryption::None) | (Some(("https", rest)), Encryption::Tls) => {
                rest.split_at(rest.find('/').unwrap_or(rest.len()))
            }
            (Some(("https", _)), Encryption::None) => return Err("asks for TLS; write type: https"),
            (Some(("http", _)), Encryption::Tls) => return Err("asks in the clear; write https://, or type: http"),
            (Some(_), Encryption::None) => return Err("has a scheme other than http; write http://host/path"),
            (Some(_), Encryption::Tls) => return Err("has a scheme other than https; write https://host/path"),
            (None, _) => text.split_at(text.find('/').ok_or(NEITHER)?),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: Some(parse_host(host)?), path: path.into() })
    }
}

const NEITHER: &str = "is neither a path nor host/path; begin a path with \"/\"";

/// Returns what a Host header can carry.
pub(super) fn parse_host(text: &str) -> Result<Box<str>, &'static str> {
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
            ("/a?b=http://c", None, "/a?b=http://c"),
            ("www.example.com/a", Some("www.example.com"), "/a"),
            ("http://www.example.com:81/a", Some("www.example.com:81"), "/a"),
            ("http://www.example.com", Some("www.example.com"), "/"),
        ] {
            let url = Url::parse(text, Encryption::None).unwrap();
            assert_eq!((url.host.as_deref(), &*url.path), (host, path), "{text}");
        }
        for text in ["", "healthz", "https://a/b", "ftp://a/b", "http:///a", "/a b", "/é", "/a#b", "a b/c"] {
            assert!(Url::parse(text, Encryption::None).is_err(), "{text}");
        }
    }

    #[test]
    fn url_scheme_is_the_types() {
        let tls = |text| Url::parse(text, Encryption::Tls);
        assert_eq!(tls("https://a.example/b").unwrap().host.as_deref(), Some("a.example"));
        assert_eq!(tls("a.example/b").unwrap().host.as_deref(), Some("a.example"));
        for text in ["http://a/b", "ftp://a/b", "https:///a"] {
            assert!(tls(text).is_err(), "{text}");
        }
    }
}
