//! `webhooks`: who is told of events. What is posted is signed, and belongs inside TLS where it leaves the machine.

use std::net::IpAddr;

use super::{ReadFile, secret, text};
use crate::config::bounds::{TEXT_BYTES_MAX, WEBHOOK_RATE, WEBHOOK_TIMEOUT, WEBHOOKS_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::Value;
use crate::model::settings::Webhook;

/// What is wrong with a URL of a receiver.
const URL: UrlWords = UrlWords {
    has_user: "holds a user or a password, which would be logged; the secret signs what is posted",
    is_clear: "events leave this machine in the clear; write https",
};

/// Lowers `webhooks`.
pub(super) fn lower(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<Webhook> {
    let values = value.entries(findings, "webhooks", WEBHOOKS_MAX);
    values.iter().filter_map(|value| webhook(value, read_file, findings)).collect()
}

fn webhook(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Option<Webhook> {
    let name = value.key_name(findings);
    let section = value.section(findings, keys::WEBHOOK)?;
    let remedy = "write url: \"https://host/path\"";
    let url = section.need(findings, "url", remedy).and_then(|value| url(&value, &URL, findings));
    let secret = secret::secret(&section, "secret", "secret_file", read_file, findings);
    if let Some(secret) = &secret {
        secret::warn_of_short("secret", secret, value, findings);
    }
    let ca = section.get("ca").and_then(|value| text::ca(&value, read_file, findings));
    if let (Some(value), Some(Scheme::Http)) = (section.get("ca"), url.as_ref().map(|(scheme, _)| *scheme)) {
        value.complain(findings, "nothing is verified over http; write an https url, or remove it");
    }
    let timeout = section.duration(findings, "timeout", &WEBHOOK_TIMEOUT);
    let per_second_max = section.number(findings, "per_second_max", &WEBHOOK_RATE, "it counts deliveries a second");
    Some(Webhook {
        name: name?.as_str().into(),
        url: url?.1,
        secret: secret?,
        ca: ca.map(|path| path.to_path_buf()),
        timeout,
        per_second_max,
    })
}

/// How it is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In the clear.
    Http,
    /// Inside TLS.
    Https,
}

/// What is said of a URL.
pub(super) struct UrlWords {
    /// Where it names a user.
    pub(super) has_user: &'static str,
    /// Where it leads off this machine without TLS.
    pub(super) is_clear: &'static str,
}

/// Reads the URL of somebody who is posted to.
pub(super) fn url(value: &Value<'_>, words: &UrlWords, findings: &mut Findings) -> Option<(Scheme, Box<str>)> {
    if value.text(findings, "a URL")?.split(['/', '?']).nth(2).is_some_and(|authority| authority.contains('@')) {
        value.complain(findings, words.has_user);
        return None;
    }
    let (scheme, host) = value.parsed(findings, "a URL", parse_url)?;
    if scheme == Scheme::Http && !is_loopback(host) {
        value.warn(findings, words.is_clear);
    }
    Some((scheme, value.text(findings, "a URL")?.into()))
}

/// Returns the scheme and the host, without its port.
fn parse_url(text: &str) -> Result<(Scheme, &str), &'static str> {
    if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err("is not 1 to 4096 visible ASCII characters without #; encode others as %XX");
    }
    let (scheme, rest) = match text.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(_) | None => return Err("is no http or https URL; write \"https://host/path\""),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = split_port(authority).ok_or("has an IPv6 address without its ]; write [::1]")?;
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_address = host.strip_prefix('[').is_some_and(|h| h.trim_end_matches(']').parse::<IpAddr>().is_ok());
    if !is_address && (host.is_empty() || !host.bytes().all(is_good)) {
        return Err("has no host; write \"https://host/path\"");
    }
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("has a port outside 1..=65535; write \"https://host:8443/path\"");
    }
    Ok((scheme, host))
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if !authority.starts_with('[') {
        return Some(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))));
    }
    let end = authority.find(']')? + 1;
    let (host, rest) = authority.split_at(end);
    if rest.is_empty() { Some((host, None)) } else { Some((host, Some(rest.strip_prefix(':')?))) }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_http_or_https_with_a_host() {
        for (text, scheme, host) in [
            ("https://hooks.example.com", Scheme::Https, "hooks.example.com"),
            ("https://hooks.example.com:8443/a?b=c@d", Scheme::Https, "hooks.example.com"),
            ("http://127.0.0.1:9/", Scheme::Http, "127.0.0.1"),
            ("http://[::1]:9?x", Scheme::Http, "[::1]"),
        ] {
            assert_eq!(parse_url(text), Ok((scheme, host)), "{text}");
        }
        for text in [
            "",
            "hooks.example.com/a",
            "ftp://a/b",
            "https://",
            "https:///a",
            "https://:80",
            "https://a:0",
            "https://a:+1",
            "https://a:b",
            "https://u:p@a/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[x]/",
            "https://a b/",
            "https://é/",
        ] {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        assert!(is_loopback("localhost") && is_loopback("127.1.2.3") && is_loopback("[::1]"));
        assert!(!is_loopback("localhost.example.com") && !is_loopback("10.0.0.1") && !is_loopback("[::2]"));
    }
}
