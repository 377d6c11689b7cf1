//! Reads a request head as strictly as RFC 9112 allows, before any engine does. Pure: bytes in, verdict out.
//!
//! What is refused: bare LF or CR, NUL and other control bytes, folded lines, space before a colon, a missing,
//! repeated or empty Host on HTTP/1.1, Content-Length that is repeated or no number, any Transfer-Encoding but a
//! single `chunked`, both together, Transfer-Encoding on HTTP/1.0. Two readers of one head can then not disagree about
//! where a request ends, whatever stands behind us.

use memchr::{memchr, memchr_iter};

use crate::model::Limits;
use crate::routing::{authority_of, is_authority};

/// Fields that a head may have; the engine behind parses no more.
pub const FIELDS_MAX: usize = 200;
/// Blank lines that are skipped before a request line (RFC 9112 §2.2).
const BLANK_LINES_MAX: usize = 1;

/// How far a head has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whole and unambiguous: `start..end` are its bytes (blank lines before it skipped).
    Complete {
        /// Where the request line begins.
        start: usize,
        /// Just past the blank line that ends the head.
        end: usize,
        /// How its body is framed.
        body: BodyFraming,
    },
    /// More bytes are needed.
    Partial,
    /// To be answered with an error and closed.
    Refused(Fault),
}

/// How a request body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// This many bytes; 0 without Content-Length.
    Length(u64),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client does not take its answer, or too slowly.
    AnswerTimeout,
    /// 400, with the rule that was broken.
    BadRequest(&'static str),
    /// 408: the body stalled.
    BodyTimeout,
    /// 413.
    BodyTooLarge,
    /// 431.
    HeaderTooLarge,
    /// 408: the head did not arrive in time.
    HeaderTimeout,
    /// 405: CONNECT asks for a tunnel, which is no balancer's business.
    MethodNotAllowed,
    /// 504: the server did not answer in time.
    ResponseTimeout,
    /// 502: the operator had what was open on the server closed.
    ServerTakenOut,
    /// 414.
    UriTooLong,
}

/// Remembers what was scanned, so that a head arriving byte by byte costs its length once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    /// Where the current line begins.
    line: usize,
    /// Bytes already looked at.
    seen: usize,
    /// Blank lines skipped before the request line.
    blank_lines: usize,
    /// Where the request line begins.
    start: usize,
}

impl Scan {
    /// Looks at `bytes`, which begin where they began at the last call and hold more.
    pub fn look(&mut self, bytes: &[u8], limits: &Limits) -> Verdict {
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]) {
            let newline = self.seen + at;
            self.seen = newline + 1;
            if newline == self.line || bytes[newline - 1] != b'\r' {
                return Verdict::Refused(Fault::BadRequest("a line ends without carriage return"));
            }
            let is_blank = newline - self.line == 1;
            let is_first_line = self.line == self.start;
            if is_blank && is_first_line {
                self.blank_lines += 1;
                if self.blank_lines > BLANK_LINES_MAX {
                    return Verdict::Refused(Fault::BadRequest("blank lines before the request line"));
                }
                self.start = self.seen;
            }
            self.line = self.seen;
            if is_blank && !is_first_line {
                return complete(bytes, self.start, self.seen, limits);
            }
        }
        self.seen = bytes.len();
        self.partial(bytes, limits)
    }

    /// Returns whether anything of a request is in `bytes`: more than an empty line that goes before it.
    #[must_use]
    pub fn has_begun(&self, bytes: &[u8]) -> bool {
        bytes.len() > self.start
    }

    fn partial(&self, bytes: &[u8], limits: &Limits) -> Verdict {
        let arrived = bytes.len() - self.start;
        let is_in_request_line = self.line == self.start;
        if is_in_request_line && target_so_far(&bytes[self.start..]) > limits.uri_bytes as usize {
            return Verdict::Refused(Fault::UriTooLong);
        }
        if arrived > limits.header_bytes as usize {
            return Verdict::Refused(Fault::HeaderTooLarge);
        }
        if is_in_request_line && !could_be_a_method(&bytes[self.start..]) {
            return Verdict::Refused(Fault::BadRequest("not an HTTP request"));
        }
        Verdict::Partial
    }
}

/// The length of what stands after the first space, so far.
fn target_so_far(line: &[u8]) -> usize {
    memchr(b' ', line).map_or(0, |space| line.len() - space - 1)
}

/// Whether the bytes before the first space can be a method: what a TLS or binary client sends is refused at once.
fn could_be_a_method(line: &[u8]) -> bool {
    let method = memchr(b' ', line).map_or(line, |space| &line[..space]);
    method.len() <= METHOD_BYTES_MAX && method.iter().all(|b| is_token(*b) || *b == b'\r')
}

/// The longest method that is taken.
pub(super) const METHOD_BYTES_MAX: usize = 32;

fn complete(bytes: &[u8], start: usize, end: usize, limits: &Limits) -> Verdict {
    let head = &bytes[start..end];
    match read(head, limits) {
        Ok(body) => Verdict::Complete { start, end, body },
        Err(fault) => Verdict::Refused(fault),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    OneOne,
}

fn read(head: &[u8], limits: &Limits) -> Result<BodyFraming, Fault> {
    let mut lines = memchr_iter(b'\n', head).scan(0, |line, newline| {
        let text = &head[*line..newline - 1];
        *line = newline + 1;
        Some(text)
    });
    let request_line = lines.next().unwrap_or_default();
    let version = read_request_line(request_line, limits)?;
    if head.len() > limits.header_bytes as usize {
        return Err(Fault::HeaderTooLarge);
    }
    let mut fields = Fields::default();
    for (n, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        if n >= FIELDS_MAX.min(limits.header_fields.into()) {
            return Err(Fault::HeaderTooLarge);
        }
        fields.take_in(line)?;
    }
    fields.framing(version, limits)
}

fn read_request_line(line: &[u8], limits: &Limits) -> Result<Version, Fault> {
    let bad = |why| Err(Fault::BadRequest(why));
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        if target_so_far(line) > limits.uri_bytes as usize {
            return Err(Fault::UriTooLong);
        }
        return bad("the request line is not `METHOD target HTTP/1.1`");
    };
    if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.iter().all(|b| is_token(*b)) {
        return bad("the method is not a token");
    }
    if method == b"CONNECT" {
        return Err(Fault::MethodNotAllowed);
    }
    if target.len() > limits.uri_bytes as usize {
        return Err(Fault::UriTooLong);
    }
    if target.is_empty() || target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
        return bad("the request target is empty or has a control byte");
    }
    if !is_target_form(method, target) {
        return bad("the request target is neither a path nor an http or https URI");
    }
    match version {
        b"HTTP/1.1" => Ok(Version::OneOne),
        b"HTTP/1.0" => Ok(Version::One),
        _ => bad("the version is neither HTTP/1.1 nor HTTP/1.0"),
    }
}

/// Whether a target is in a form that its method may have (RFC 9112 §3.2): a path, a whole URI, or `*` for OPTIONS.
fn is_target_form(method: &[u8], target: &[u8]) -> bool {
    target[0] == b'/' || authority_of(target).is_some_and(is_authority) || (target == b"*" && method == b"OPTIONS")
}

/// What decides framing and routing; every other field is only checked for form.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
}

impl Fields {
    fn take_in(&mut self, line: &[u8]) -> Result<(), Fault> {
        let bad = |why| Err(Fault::BadRequest(why));
        let Some(colon) = memchr(b':', line) else { return bad("a header line has no colon") };
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return bad("a header name is empty, folded or followed by a space");
        }
        if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return bad("a header value has a control byte");
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            if self.hosts > 1 {
                return bad("more than one Host");
            }
            if !is_authority(value) {
                return bad("Host is no host with at most a port");
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return bad("more than one Content-Length");
            }
            self.length = Some(decimal(value).ok_or(Fault::BadRequest("Content-Length is not a number"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return bad("Transfer-Encoding is not a single `chunked`");
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn framing(&self, version: Version, limits: &Limits) -> Result<BodyFraming, Fault> {
        let bad = |why| Err(Fault::BadRequest(why));
        if self.hosts == 0 && version == Version::OneOne {
            return bad("Host is missing");
        }
        if self.is_chunked && self.length.is_some() {
            return bad("both Transfer-Encoding and Content-Length");
        }
        if self.is_chunked && version == Version::One {
            return bad("Transfer-Encoding on HTTP/1.0");
        }
        if self.is_chunked {
            return Ok(BodyFraming::Chunked);
        }
        let length = self.length.unwrap_or(0);
        if length > limits.body_bytes { Err(Fault::BodyTooLarge) } else { Ok(BodyFraming::Length(length)) }
    }
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |b: &u8| *b == b' ' || *b == b'\t';
    let start = value.iter().position(|b| !is_blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_blank(b)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// A Content-Length: digits only, below 10^18.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

/// What a method and the name of a field are made of (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits { header_bytes: 1024, uri_bytes: 128, body_bytes: 1000, ..Limits::default() }
    }

    fn look(bytes: &[u8]) -> Verdict {
        Scan::default().look(bytes, &limits())
    }

    #[test]
    fn head_that_is_whole_tells_its_framing() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", BodyFraming::Length(0)),
            ("GET / HTTP/1.0\r\n\r\n", BodyFraming::Length(0)),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  12 \r\n\r\n", BodyFraming::Length(12)),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", BodyFraming::Chunked),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", BodyFraming::Length(0)),
        ] {
            assert_eq!(look(head.as_bytes()), Verdict::Complete { start: 0, end: head.len(), body }, "{head}");
        }
    }

    #[test]
    fn head_is_found_after_one_blank_line_and_before_what_follows() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2";
        let want = Verdict::Complete { start: 2, end: bytes.len() - 6, body: BodyFraming::Length(0) };
        assert_eq!(look(bytes), want);
        assert!(matches!(look(b"\r\n\r\nGET / HTTP/1.1\r\n"), Verdict::Refused(Fault::BadRequest(_))));
    }

    #[test]
    fn head_that_is_ambiguous_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02\x00\x01",
        ] {
            assert!(matches!(look(head.as_bytes()), Verdict::Refused(Fault::BadRequest(_))), "{head:?}");
        }
    }

    #[test]
    fn head_over_a_limit_is_refused_with_its_own_fault() {
        let long_uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(128));
        assert_eq!(look(long_uri.as_bytes()), Verdict::Refused(Fault::UriTooLong));
        assert_eq!(look(format!("GET /{}", "a".repeat(128)).as_bytes()), Verdict::Refused(Fault::UriTooLong));
        let big = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(1024));
        assert_eq!(look(big.as_bytes()), Verdict::Refused(Fault::HeaderTooLarge));
        assert_eq!(look(&big.as_bytes()[..1040]), Verdict::Refused(Fault::HeaderTooLarge));
        let tunnel = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
        assert_eq!(look(tunnel), Verdict::Refused(Fault::MethodNotAllowed));
        let body = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n";
        assert_eq!(look(body.as_bytes()), Verdict::Refused(Fault::BodyTooLarge));
        let fields = Limits { header_bytes: 100_000, ..limits() };
        let few = Limits { header_fields: 3, ..limits() };
        let with = |n| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(n));
        assert!(matches!(Scan::default().look(with(2).as_bytes(), &few), Verdict::Complete { .. }));
        assert_eq!(Scan::default().look(with(3).as_bytes(), &few), Verdict::Refused(Fault::HeaderTooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(FIELDS_MAX));
        let refused = Scan::default().look(many.as_bytes(), &fields);
        assert_eq!(refused, Verdict::Refused(Fault::HeaderTooLarge));
    }

    proptest! {
        /// However the bytes are cut, the verdict on the whole is the same, and nothing panics.
        #[test]
        fn head_cut_anywhere_gives_the_same_verdict(
            noise in prop::collection::vec(prop::sample::select(b"GET /\r\n:HhostTransfer-Encoding chunked 01\0".to_vec()), 0..80),
            cut in 0..400usize,
        ) {
            let mut bytes = b"GET /x HTTP/1.1\r\nHost: a\r\n".to_vec();
            bytes.extend_from_slice(&noise);
            bytes.extend_from_slice(b"\r\n\r\n");
            let cut = cut.min(bytes.len());
            let mut scan = Scan::default();
            let first = scan.look(&bytes[..cut], &limits());
            let whole = look(&bytes);
            if first == Verdict::Partial {
                prop_assert_eq!(scan.look(&bytes, &limits()), whole);
            } else {
                prop_assert_eq!(first, whole);
            }
        }
    }
}
