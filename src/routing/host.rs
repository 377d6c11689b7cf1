//! The host that a request names, in the one form in which hosts are compared. Pure.

use std::borrow::Cow;

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
}
