//! The host that a request names, in the one form in which hosts are compared. Pure.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Returns the host of a Host field, an `:authority` or a server name: without its port and the dot of the root, in lower
/// case. Nothing if it is no text. Allocates only where there is a capital letter.
#[must_use]
pub fn host_of(authority: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(authority).ok()?;
    let host = without_port(text);
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// Returns whether that is a host, and a port if there is one (RFC 3986 §3.2.2 and §3.2.3): a name or an IPv4 address, or
/// an IPv6 address in brackets. Neither a user nor a comma, which would pass for a list; no second colon, at which others
/// might cut; no other port than a number up to 65535 or none.
#[must_use]
pub fn is_authority(text: &[u8]) -> bool {
    let (is_host, rest) = match text.strip_prefix(b"[") {
        Some(inner) => {
            let Some(end) = memchr::memchr(b']', inner) else { return false };
            let address = std::str::from_utf8(&inner[..end]).ok();
            (address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()), &inner[end + 1..])
        }
        None => {
            let (name, rest) = text.split_at(memchr::memchr(b':', text).unwrap_or(text.len()));
            (!name.is_empty() && is_name(name), rest)
        }
    };
    is_host && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port))
}

/// Returns what a request target that is a whole URI of HTTP names as its authority; nothing of another form.
#[must_use]
pub fn authority_of(target: &[u8]) -> Option<&[u8]> {
    let after = |scheme: &[u8]| {
        target.split_at_checked(scheme.len()).filter(|(it, _)| it.eq_ignore_ascii_case(scheme)).map(|(_, rest)| rest)
    };
    let rest = after(b"http://").or_else(|| after(b"https://"))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    Some(&rest[..end.unwrap_or(rest.len())])
}

fn is_name(name: &[u8]) -> bool {
    let is_plain = |byte: u8| {
        matches!(byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b';' | b'=' | b'_' | b'~'
            | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
    };
    let is_escaped = |at: usize| name.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    name.iter().enumerate().all(|(at, byte)| is_plain(*byte) || (*byte == b'%' && is_escaped(at)))
}

fn is_port(port: &[u8]) -> bool {
    let number = |n: u32, digit: &u8| n.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    port.iter().all(u8::is_ascii_digit) && port.iter().fold(0, number) <= u32::from(u16::MAX)
}

/// Returns what stands before the port; the brackets of an IPv6 address stay.
fn without_port(text: &str) -> &str {
    let end_of_address = if text.starts_with('[') { text.find(']').map_or(0, |at| at + 1) } else { 0 };
    match text[end_of_address..].rfind(':') {
        Some(at) => &text[..end_of_address + at],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_has_one_form() {
        for (text, want) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("WWW.Example.COM.:80", "www.example.com"),
            ("example.com.", "example.com"),
            ("example.com:", "example.com"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "[:"),
            ("", ""),
            (":80", ""),
            (".", ""),
        ] {
            assert_eq!(host_of(text.as_bytes()).as_deref(), Some(want), "{text:?}");
        }
        assert_eq!(host_of(b"a\xff"), None);
        assert!(matches!(host_of(b"example.com:80"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn authority_of_a_whole_uri_ends_where_its_path_begins() {
        for (target, want) in [
            ("http://a/b", Some("a")),
            ("HTTPS://a:80?b/c", Some("a:80")),
            ("http://u@a#/", Some("u@a")),
            ("http://", Some("")),
            ("http:/", None),
            ("ftp://a/", None),
            ("/http://a", None),
            ("*", None),
        ] {
            assert_eq!(authority_of(target.as_bytes()), want.map(str::as_bytes), "{target:?}");
        }
    }

    #[test]
    fn authority_is_a_host_and_a_port_and_nothing_else() {
        for text in [
            "a",
            "a.example",
            "A_b-1.example.",
            "a:80",
            "a:",
            "a:65535",
            "a:00080",
            "192.0.2.1:80",
            "a%2Db",
            "x*y",
            "[::1]",
            "[2001:db8::1]:443",
            "[::ffff:192.0.2.1]:",
        ] {
            assert!(is_authority(text.as_bytes()), "{text:?}");
        }
        for text in [
            "",
            ":80",
            "a:b",
            "a:80:81",
            "a:-1",
            "a:65536",
            "a:99999999999999999999",
            "evil:foo.api.example.com",
            "[::1",
            "[a.example]",
            "[::1]a",
            "[::1]a:80",
            "[::1]80",
            "[]",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "::1",
            "a]",
            "a[",
            "u@a",
            "a,b",
            "a b",
            "a%2",
            "a%zz",
            "a/b",
            "a\u{e9}",
        ] {
            assert!(!is_authority(text.as_bytes()), "{text:?}");
        }
    }
}
