//! Whatever a client sends as HTTP/1: the readers never panic, say the same however the bytes arrive, and what they take
//! another reader takes too, and ends where they do.

use proptest::prelude::*;

use crate::model::Limits;
use crate::model::fuzz::{fuzz, like};

use super::chunked::Chunked;
use super::head::{BodyFraming, Scan, Verdict};

const HEADS: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nX: y\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a:80\r\nConnection: close\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    "\r\nGET http://a.example/x HTTP/1.0\r\nCookie: a=b\r\n\r\n",
];
const HEAD_PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\r\n ",
    b"Host: b\r\n",
    b"Content-Length: 1\r\n",
    b" HTTP/1.1",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : gzip\r\n",
    b"\r\n\r\n",
    b",",
    b"chunked",
    b"+",
];

fn limits() -> Limits {
    Limits { header_bytes: 4096, uri_bytes: 1024, body_bytes: 1 << 40, ..Limits::default() }
}

/// What the parser of another house says of a head.
struct Parsed {
    length: usize,
    /// The values of Content-Length and of Transfer-Encoding.
    lengths: Vec<Vec<u8>>,
    codings: Vec<Vec<u8>>,
}

/// Has another parser read a head. What a target is made of frames nothing, and is not asked about.
fn parsed(head: &[u8]) -> Option<Parsed> {
    let mut head = head.to_vec();
    let line = head.iter().position(|b| *b == b'\r')?;
    let spaces = head[..line].iter().position(|b| *b == b' ').zip(head[..line].iter().rposition(|b| *b == b' '));
    let (before, behind) = spaces?;
    head[before + 1..behind].fill(b'/');
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(&head).ok()? else { return None };
    let all = |name: &str| {
        let fields = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value.to_vec()).collect()
    };
    Some(Parsed { length, lengths: all("content-length"), codings: all("transfer-encoding") })
}

#[test]
fn head_that_is_taken_is_taken_by_others_too() {
    let seeds = HEADS.iter().map(|head| head.as_bytes().to_vec()).collect();
    fuzz(&(like(seeds, HEAD_PIECES), 1..40usize), |(bytes, step)| {
        let limits = limits();
        let whole = Scan::default().look(&bytes, &limits);
        let mut scan = Scan::default();
        let mut arrived = 0;
        let in_pieces = loop {
            arrived = (arrived + step).min(bytes.len());
            let verdict = scan.look(&bytes[..arrived], &limits);
            if verdict != Verdict::Partial || arrived == bytes.len() {
                break verdict;
            }
        };
        // Which of the rules it breaks is seen sooner than the others may differ.
        let refused = |verdict| if let Verdict::Refused(_) = verdict { None } else { Some(verdict) };
        // A head that has not ended may be refused now or when it has.
        let whole = match (in_pieces, whole) {
            (Verdict::Refused(_), Verdict::Partial) => {
                let rest: &[u8] = if bytes.ends_with(b"\r") { b"\n\r\n" } else { b"\r\n\r\n" };
                Scan::default().look(&[&bytes, rest].concat(), &limits)
            }
            _ => whole,
        };
        prop_assert_eq!(refused(in_pieces), refused(whole), "in pieces of {}", step);
        if let Verdict::Complete { start, end, body } = whole {
            let Some(Parsed { length, lengths, codings }) = parsed(&bytes[start..]) else {
                return Err(TestCaseError::fail("nobody else takes it"));
            };
            prop_assert_eq!(start + length, end);
            match body {
                BodyFraming::Chunked => prop_assert!(lengths.is_empty() && codings.len() == 1),
                BodyFraming::Length(length) => {
                    let said = lengths.first().map(|value| String::from_utf8_lossy(value).trim().parse::<u64>());
                    prop_assert!(lengths.len() <= 1 && codings.is_empty());
                    prop_assert_eq!(said.unwrap_or(Ok(0)), Ok(length));
                }
            }
        }
        Ok(())
    });
}

/// Found by the above: an empty line, a head that is wrong from its first byte, and no end.
#[test]
fn head_without_an_end_is_refused_at_the_latest_with_it() {
    let bytes = b"\r\n\x91GET http://a.example/x HTTP/1.0\r\nCookie: a=b\r\n\r";
    let ended = [&bytes[..], b"\n\r\n"].concat();
    assert!(matches!(Scan::default().look(&ended, &limits()), Verdict::Refused(_)));
}

const BODIES: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "A;name=\"v\"\r\n0123456789\r\n1\r\nx\r\n0\r\nTrailer: x\r\n\r\n",
    "0\r\n\r\n",
    "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n000\r\nA: b\r\nC: d\r\n\r\nGET / HTTP/1.1\r\n\r\n",
];
const BODY_PIECES: &[&[u8]] =
    &[b"\r\n", b"\n", b"\r", b"0\r\n", b"0\r\n\r\n", b";", b"f", b"-", b"0x", b" ", b"\0", b"X: y\r\n", b"X : y\r\n"];

/// Where a chunked body ends for the parser of another house.
fn end_of(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(&body[at..]).ok()? else {
            return None;
        };
        at += line;
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; 1024];
            let trailers = httparse::parse_headers(&body[at..], &mut fields).ok()?;
            let httparse::Status::Complete((length, _)) = trailers else { return None };
            return Some(at + length);
        }
        at += usize::try_from(size).ok()?;
        if body.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}

#[test]
fn chunked_body_that_is_taken_ends_where_it_does_for_others() {
    let seeds = BODIES.iter().map(|body| body.as_bytes().to_vec()).collect();
    fuzz(&(like(seeds, BODY_PIECES), 1..40usize), |(bytes, step)| {
        let mut chunked = Chunked::new(1 << 40);
        let whole = chunked.take_in(&bytes).map(|taken| (taken, chunked.is_over()));
        let mut chunked = Chunked::new(1 << 40);
        let mut taken = 0;
        let mut in_pieces = Ok(());
        for piece in bytes.chunks(step) {
            match chunked.take_in(piece) {
                Ok(n) => taken += n,
                Err(fault) => in_pieces = Err(fault),
            }
            if in_pieces.is_err() || chunked.is_over() {
                break;
            }
        }
        prop_assert_eq!(in_pieces.map(|()| (taken, chunked.is_over())), whole, "in pieces of {}", step);
        if let Ok((taken, true)) = whole {
            prop_assert_eq!(end_of(&bytes), Some(taken));
        }
        Ok(())
    });
}
