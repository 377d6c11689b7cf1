//! The answers that Farmgate makes itself: short, plain, with the request id and nothing of the inside. Pure.

use std::fmt::Display;

/// The methods that a page for one that is not offered names; others pass as well (RFC 9110 §15.5.6).
pub const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// Returns the reason phrase of a status that Farmgate sends.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error")
}

/// Returns the body of an error page.
#[must_use]
pub fn body(status: u16, why: &str, id: &dyn Display) -> String {
    format!("{status} {}\n{why}\nrequest id: {id}\n", reason_phrase(status))
}

/// Returns a whole HTTP/1.1 response that closes the connection.
#[must_use]
pub fn closing_response(status: u16, why: &str, id: &dyn Display) -> Vec<u8> {
    let body = body(status, why, id);
    let allow = if status == 405 { format!("Allow: {METHODS}\r\n") } else { String::new() };
    format!(
        "HTTP/1.1 {status} {}\r\n{allow}Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
         X-Request-Id: {id}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        reason_phrase(status),
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_the_request_id_and_closes() {
        let page = String::from_utf8(closing_response(431, "the request head is too large", &"ab-1")).unwrap();
        assert!(page.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{page}");
        assert!(page.contains("\r\nConnection: close\r\n") && page.ends_with("request id: ab-1\n"), "{page}");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{page}");
    }
}
