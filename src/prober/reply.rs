//! Reads an HTTP/1.x reply from pieces: status, reason and the first bytes of the body.
//!
//! Pure: the caller reads the socket. Knows Content-Length, chunked and close-delimited bodies, skips 1xx heads, and
//! holds no more than [`HEAD_BYTES_MAX`] of head and [`BODY_BYTES_LOOKED_AT`] of body, whatever the server sends. How
//! a reply is cut into pieces changes nothing. Source: RFC 9112.

use std::mem::MaybeUninit;

use crate::model::ProbeMethod;
use crate::model::expect::BODY_BYTES_LOOKED_AT;

/// Bytes of all heads of one reply, skipped ones included.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of one head.
const HEADERS_MAX: usize = 128;
/// Bytes of a chunk's size line, its extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Why bytes are no HTTP reply, in words for an operator.
pub(super) type Malformed = String;

/// A reply of which some has arrived.
#[derive(Debug)]
pub(super) struct Reply {
    method: ProbeMethod,
    state: State,
    /// Arrived and not yet understood: a part of the head, of a chunk's size line or of its end.
    pending: Vec<u8>,
    head_bytes: usize,
    head: Option<Head>,
    body: Vec<u8>,
}

/// The final status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The status code.
    pub(super) status: u16,
    /// The reason phrase as sent; the registered one where none was.
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ChunkData(u64),
    ChunkEnd,
    ChunkSize,
    Complete,
    Head,
    Length(u64),
    ToClose,
}

/// A line without its end, and what follows it.
struct Line<'a> {
    line: Vec<u8>,
    rest: &'a [u8],
}

impl Reply {
    pub(super) fn new(method: ProbeMethod) -> Self {
        Self { method, state: State::Head, pending: Vec::new(), head_bytes: 0, head: None, body: Vec::new() }
    }

    /// Takes the next bytes. After an error the head and the body still hold what came before it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_complete() {
            rest = match self.state {
                State::Head => self.feed_head(rest)?,
                State::Length(left) => self.feed_body(rest, left, State::Complete, State::Length),
                State::ToClose => self.feed_body(rest, u64::MAX, State::Complete, |_| State::ToClose),
                State::ChunkSize => self.feed_chunk_size(rest)?,
                State::ChunkData(left) => self.feed_body(rest, left, State::ChunkEnd, State::ChunkData),
                State::ChunkEnd => self.feed_chunk_end(rest)?,
                State::Complete => rest,
            };
        }
        Ok(())
    }

    /// Takes the end of the stream: an error if the reply was not whole.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if matches!(self.state, State::ToClose | State::Complete) {
            self.state = State::Complete;
            return Ok(());
        }
        Err(format!("connection closed, {}", self.what_is_missing()))
    }

    /// Returns the final head once it is whole.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Returns the first bytes of the body, decoded.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns whether the body has no further byte.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Returns in words how far the reply got.
    pub(super) fn what_is_missing(&self) -> String {
        match &self.head {
            None if self.head_bytes == 0 && self.pending.is_empty() => "nothing received".to_owned(),
            None => format!("reply head incomplete: {}", String::from_utf8_lossy(&self.pending)),
            Some(_) if self.body.is_empty() => "reply body incomplete: nothing of it received".to_owned(),
            Some(_) => format!("reply body incomplete: {}", String::from_utf8_lossy(&self.body)),
        }
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let room = HEAD_BYTES_MAX.saturating_sub(self.head_bytes + self.pending.len());
        let before = self.pending.len();
        let next = &bytes[..bytes.len().min(room)];
        if before > 0 {
            self.pending.extend_from_slice(next);
        }
        // A head that comes in one piece is not copied.
        let head = if before > 0 { &self.pending } else { next };
        let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let used = match parser.parse_response_with_uninit_headers(&mut parsed, head, &mut fields) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() > room => {
                return Err(format!("reply head is longer than {HEAD_BYTES_MAX} bytes"));
            }
            Ok(httparse::Status::Partial) => {
                if before == 0 {
                    self.pending.extend_from_slice(next);
                }
                return Ok(&[]);
            }
            Err(httparse::Error::TooManyHeaders) => return Err(format!("reply has more than {HEADERS_MAX} headers")),
            Err(error) => {
                return Err(format!("not an HTTP/1 reply ({error}): {}", String::from_utf8_lossy(head)));
            }
        };
        let status = parsed.code.unwrap_or(0);
        if !matches!(status, 100 | 102..=199) {
            self.state = body_state(self.method, status, parsed.headers)?;
            self.head = Some(Head { status, reason: reason_phrase(status, parsed.reason) });
        }
        self.head_bytes += used;
        self.pending.clear();
        Ok(&bytes[used.saturating_sub(before)..])
    }

    fn feed_body<'a>(&mut self, bytes: &'a [u8], left: u64, done: State, more: fn(u64) -> State) -> &'a [u8] {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let room = BODY_BYTES_LOOKED_AT - self.body.len();
        self.body.extend_from_slice(&bytes[..taken.min(room)]);
        let left = left - taken as u64;
        self.state = if left == 0 { done } else { more(left) };
        &bytes[taken..]
    }

    fn feed_chunk_size<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some(Line { line, rest }) = self.feed_line(bytes)? else { return Ok(&[]) };
        let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(size) = size.and_then(|text| u64::from_str_radix(text, 16).ok()) else {
            return Err(format!("reply has a bad chunk size: {}", String::from_utf8_lossy(&line)));
        };
        self.state = if size == 0 { State::Complete } else { State::ChunkData(size) };
        Ok(rest)
    }

    fn feed_chunk_end<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some(Line { line, rest }) = self.feed_line(bytes)? else { return Ok(&[]) };
        if !line.is_empty() {
            return Err(format!("reply has a chunk longer than its size: {}", String::from_utf8_lossy(&line)));
        }
        self.state = State::ChunkSize;
        Ok(rest)
    }

    /// Returns the next line once it is whole.
    fn feed_line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Line<'a>>, Malformed> {
        let end = bytes.iter().position(|b| *b == b'\n');
        self.pending.extend_from_slice(&bytes[..end.unwrap_or(bytes.len()).min(CHUNK_LINE_BYTES_MAX + 1)]);
        if self.pending.len() > CHUNK_LINE_BYTES_MAX {
            return Err(format!("reply has a chunk line longer than {CHUNK_LINE_BYTES_MAX} bytes"));
        }
        let Some(end) = end else { return Ok(None) };
        let mut line = std::mem::take(&mut self.pending);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(Line { line, rest: &bytes[end + 1..] }))
    }
}

pub(super) fn reason_phrase(status: u16, sent: Option<&str>) -> String {
    let registered = || http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    match sent.map(str::trim) {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => registered().map_or_else(|| format!("status {status}"), str::to_owned),
    }
}

/// How the body is delimited (RFC 9112 §6.3).
fn body_state(method: ProbeMethod, status: u16, fields: &[httparse::Header<'_>]) -> Result<State, Malformed> {
    if method == ProbeMethod::Head || matches!(status, 101 | 204 | 304) {
        return Ok(State::Complete);
    }
    let of = |name: &'static str| fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name));
    if let Some(coding) = of("transfer-encoding").next_back() {
        let last = coding.value.rsplit(|b| *b == b',').next().unwrap_or_default().trim_ascii();
        return Ok(if last.eq_ignore_ascii_case(b"chunked") { State::ChunkSize } else { State::ToClose });
    }
    let mut length = None;
    for field in of("content-length") {
        let text = std::str::from_utf8(field.value.trim_ascii()).unwrap_or_default();
        let digits = Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        let parsed = digits.and_then(|t| t.parse::<u64>().ok());
        if parsed.is_none() || length.is_some_and(|before| parsed != Some(before)) {
            return Err(format!("reply has a bad Content-Length: {}", String::from_utf8_lossy(field.value)));
        }
        length = parsed;
    }
    Ok(match length {
        None => State::ToClose,
        Some(0) => State::Complete,
        Some(bytes) => State::Length(bytes),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `raw` cut at every `step` bytes, then the end of the stream if `is_closed`.
    fn read(method: ProbeMethod, raw: &[u8], step: usize, is_closed: bool) -> (Reply, Result<(), Malformed>) {
        let mut reply = Reply::new(method);
        let mut result = raw.chunks(step).try_for_each(|piece| reply.feed(piece));
        if is_closed && result.is_ok() {
            result = reply.end();
        }
        (reply, result)
    }

    fn check(raw: &str, want: Result<(u16, &str, &str), &str>) {
        for step in [1, 2, 7, 100_000] {
            let (reply, result) = read(ProbeMethod::Get, raw.as_bytes(), step, true);
            match (&result, want) {
                (Ok(()), Ok((status, reason, body))) => {
                    let head = reply.head().unwrap();
                    let got = (head.status, head.reason.as_str(), std::str::from_utf8(reply.body()).unwrap());
                    assert_eq!(got, (status, reason, body), "{raw:?} by {step}");
                    assert!(reply.is_complete());
                }
                (Err(error), Err(words)) => assert!(error.contains(words), "{raw:?} by {step}: {error}"),
                _ => panic!("{raw:?} by {step}: {result:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn whole_reply_is_read_whatever_delimits_it() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokrest", Ok((200, "OK", "ok")));
        check("HTTP/1.1 200 OK\r\n\r\nto the close", Ok((200, "OK", "to the close")));
        check("HTTP/1.0 503 Down for now\r\ncontent-length:0\r\n\r\n", Ok((503, "Down for now", "")));
        check("HTTP/1.1 204\r\n\r\n", Ok((204, "No Content", "")));
        check("HTTP/1.1 799\r\nContent-Length: 0\r\n\r\n", Ok((799, "status 799", "")));
        check("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", Ok((200, "OK", "x")));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2;ext=1\r\nok\r\n0A\r\n0123456789\r\n0\r\n\r\n",
            Ok((200, "OK", "ok0123456789")),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", Ok((200, "OK", "ok")));
    }

    #[test]
    fn interim_heads_are_skipped_and_an_upgrade_is_not() {
        let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        check(&format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\ny"), Ok((200, "OK", "y")));
        check("HTTP/1.1 101 Switching Protocols\r\n\r\nbytes", Ok((101, "Switching Protocols", "")));
    }

    #[test]
    fn head_reply_has_no_body() {
        let (reply, result) = read(ProbeMethod::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 3, false);
        assert!(result.is_ok() && reply.is_complete() && reply.body().is_empty());
    }

    #[test]
    fn reply_that_is_none_says_why() {
        check("", Err("nothing received"));
        check("SSH-2.0-OpenSSH_9.9\r\n", Err("not an HTTP/1 reply"));
        check("HTTP/2 200\r\n\r\n", Err("not an HTTP/1 reply"));
        check("HTTP/1.1 20", Err("head incomplete: HTTP/1.1 20"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", Err("body incomplete: short"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Err("nothing of it received"));
        check("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", Err("bad Content-Length: +1"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Err("bad Content-Length: 2"));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err("bad chunk size: zz"));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", Err("chunk longer than its size"));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Err("body incomplete: ab"));
        let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(300));
        check(&endless, Err("chunk line longer than 256"));
        check(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000)), Err("longer than 16384"));
        check(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), Err("longer than 16384"));
        check(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(129)), Err("more than 128 headers"));
    }

    #[test]
    fn endless_body_is_held_to_the_bound() {
        let mut reply = Reply::new(ProbeMethod::Get);
        reply.feed(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for _ in 0..100 {
            reply.feed(&[b'x'; 10_000]).unwrap();
        }
        assert_eq!(reply.body().len(), BODY_BYTES_LOOKED_AT);
        assert!(!reply.is_complete());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_alike_however_cut(
            head in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
            tail in prop::collection::vec(prop::sample::select(b"0123aF\r\n;: HTP/.\x00\xff".to_vec()), 0..80),
            step in 1..20usize,
        ) {
            let raw = [head.as_bytes(), &tail].concat();
            let (whole, whole_result) = read(ProbeMethod::Get, &raw, 100_000, true);
            let (cut, cut_result) = read(ProbeMethod::Get, &raw, step, true);
            prop_assert_eq!(whole.head(), cut.head());
            prop_assert_eq!(whole.body(), cut.body());
            prop_assert_eq!(whole_result.is_ok(), cut_result.is_ok());
        }
    }
}
