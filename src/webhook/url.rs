//! The URL of a receiver, taken apart once.

use http::Uri;
use http::uri::Scheme;

use crate::model::settings::Webhook;

/// Where and how to connect, and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// The value of the Host field.
    pub(super) authority: Box<str>,
    pub(super) path_and_query: Box<str>,
}

impl Target {
    /// Returns what the URL says, or in words why it is none.
    pub(super) fn of(webhook: &Webhook) -> Result<Self, &'static str> {
        let uri: Uri = webhook.url.parse().map_err(|_| "it is not a URL")?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err("it begins with neither http:// nor https://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user name; receivers are authenticated by the signature");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
        let (authority, path_and_query) = (authority.as_str().into(), path_and_query.into());
        Ok(Self { host: host.into(), port, is_tls, authority, path_and_query })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Secret;

    fn target(url: &str) -> Result<Target, &'static str> {
        let (name, secret, timeout) = ("pager".into(), Secret::new("s"), Duration::from_secs(1));
        Target::of(&Webhook { name, url: url.into(), secret, ca: None, timeout, per_second_max: 1 })
    }

    #[test]
    fn url_is_taken_apart() {
        let told = |url| {
            let Target { host, port, is_tls, authority, path_and_query } = target(url).unwrap();
            format!("{host} {port} {is_tls} {authority} {path_and_query}")
        };
        assert_eq!(told("http://a.example"), "a.example 80 false a.example /");
        assert_eq!(told("https://a.example/b?c=d"), "a.example 443 true a.example /b?c=d");
        assert_eq!(told("https://[::1]:8443/b"), "::1 8443 true [::1]:8443 /b");
    }

    #[test]
    fn url_that_cannot_be_is_refused_with_the_reason() {
        for (url, reason) in [
            ("", "not a URL"),
            ("a.example/b", "not a URL"),
            ("/b", "neither http"),
            ("ftp://a.example", "neither http"),
            ("http://user:word@a.example", "a user name"),
        ] {
            assert!(target(url).unwrap_err().contains(reason), "{url:?}: {:?}", target(url));
        }
    }
}
