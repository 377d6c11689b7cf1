//! A strict reader of HTTP/1.1, both ways: what it takes can be read in one way only. It shares nothing with what is
//! under test, so that nothing of the corpus believes what our own says.

use crate::harness::find;

/// A request that a server received whole.
pub(super) struct Received {
    pub(super) method: String,
    pub(super) target: String,
    /// Bytes of its body.
    pub(super) body: usize,
}

/// Reads what came on one connection: requests in their strictest form. The last one may break off.
///
/// # Errors
/// What is not in that form.
pub(super) fn read_requests(mut bytes: &[u8]) -> Result<Vec<Received>, String> {
    let mut requests: Vec<Received> = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let head = &bytes[..end];
        let behind = |fault| format!("behind {}: {fault}", requests.last().map_or("nothing", |last| &last.target));
        let (request, framing) = read_request_head(head).map_err(behind)?;
        bytes = &bytes[end + 4..];
        let body = match framing {
            Framing::Length(length) if bytes.len() < length => return Ok(requests),
            Framing::Length(length) => {
                bytes = &bytes[length..];
                length
            }
            Framing::Chunked => match read_chunks(bytes).map_err(behind)? {
                Some((body, rest)) => {
                    bytes = rest;
                    body.len()
                }
                None => return Ok(requests),
            },
            Framing::ToTheEnd => return Err(behind("a request that only its end ends".to_owned())),
        };
        requests.push(Received { body, ..request });
    }
    if bytes.is_empty() { Ok(requests) } else { Err(format!("bytes behind the last request: {bytes:?}")) }
}

/// Where a body ends.
enum Framing {
    Chunked,
    Length(usize),
    ToTheEnd,
}

fn read_request_head(head: &[u8]) -> Result<(Received, Framing), String> {
    let fields = Fields::read(head)?;
    let [method, target, "HTTP/1.1"] = fields.first.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("the request line {:?}", fields.first));
    };
    let vias = fields.all("via").filter(|value| value.ends_with("farmgate")).count();
    let hosts = fields.all("host").count();
    if vias != 1 || hosts > 1 {
        return Err(format!("{method} {target} with {vias} Via of ours and {hosts} Host"));
    }
    if let Some(odd) = fields.all("upgrade").find(|value| *value != "websocket") {
        return Err(format!("an Upgrade to {odd}"));
    }
    let framing = match fields.framing()? {
        Framing::ToTheEnd => Framing::Length(0),
        framing @ (Framing::Chunked | Framing::Length(_)) => framing,
    };
    Ok((Received { method: method.to_owned(), target: target.to_owned(), body: 0 }, framing))
}

/// The lines of a head.
struct Fields {
    first: String,
    /// Names in lower case.
    rest: Vec<(String, String)>,
}

impl Fields {
    fn read(head: &[u8]) -> Result<Self, String> {
        let is_fine = |b: &u8| matches!(b, b'\t' | b'\r' | b'\n' | b' '..=b'~' | 0x80..);
        if let Some(odd) = head.iter().find(|b| !is_fine(b)) {
            return Err(format!("the byte {odd:#x} in a head"));
        }
        // One character a byte.
        let head: String = head.iter().map(|b| char::from(*b)).collect();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        if first.contains(['\r', '\n']) {
            return Err(format!("a bare end of line in {first:?}"));
        }
        let mut rest = Vec::new();
        for line in lines {
            if line.contains(['\r', '\n']) {
                return Err(format!("a bare end of line in {line:?}"));
            }
            let Some((name, value)) = line.split_once(':') else { return Err(format!("the line {line:?}")) };
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(format!("the name {name:?}"));
            }
            rest.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { first, rest })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.rest.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn framing(&self) -> Result<Framing, String> {
        let (lengths, codings): (Vec<_>, Vec<_>) =
            (self.all("content-length").collect(), self.all("transfer-encoding").collect());
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(Framing::ToTheEnd),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Framing::Length(length.parse().map_err(|_| format!("the length {length}"))?))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            _ => Err(format!("{:?} with lengths {lengths:?} and codings {codings:?}", self.first)),
        }
    }
}

/// A body, and what is behind it.
type Chunks<'a> = (Vec<u8>, &'a [u8]);

/// Reads a chunked body in its plainest form; nothing, where it breaks off.
fn read_chunks(mut bytes: &[u8]) -> Result<Option<Chunks<'_>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(bytes, b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let is_plain = !line.is_empty() && line.len() <= 8 && line.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_plain);
        let Some(size) = size else { return Err(format!("the chunk size {line:?}")) };
        bytes = &bytes[end + 2..];
        if bytes.len() < size + 2 {
            return Ok(None);
        }
        if &bytes[size..size + 2] != b"\r\n" {
            return Err("a chunk, or the body, that does not end with its line".to_owned());
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
        if size == 0 {
            return Ok(Some((body, bytes)));
        }
    }
}

/// An answer as a client saw it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The content, as far as it came.
    pub(super) body: Vec<u8>,
    /// Whether it broke off.
    pub(super) is_broken: bool,
}

/// What begins with an answer.
#[derive(Debug)]
pub(super) enum Begins<'a> {
    /// It is whole, or broke off: what is behind it.
    Answer(Answer, &'a [u8]),
    /// More must come.
    Partial,
}

/// Reads the answer to a request of that method in its strictest form; `is_over` says that nothing more will come.
///
/// # Errors
/// What is not in that form.
pub(super) fn read_answer<'a>(mut bytes: &'a [u8], method: &str, is_over: bool) -> Result<Begins<'a>, String> {
    loop {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            let none = Answer { status: 0, body: Vec::new(), is_broken: true };
            return Ok(if is_over { Begins::Answer(none, &[]) } else { Begins::Partial });
        };
        let fields = Fields::read(&bytes[..end])?;
        bytes = &bytes[end + 4..];
        let status = status_of(&fields.first)?;
        let framing = fields.framing()?;
        let says_nothing = (100..200).contains(&status) || status == 204;
        if says_nothing && !matches!(framing, Framing::ToTheEnd) {
            return Err(format!("{:?} with a body", fields.first));
        }
        let hop_by_hop = ["keep-alive", "proxy-authenticate", "proxy-connection", "te", "upgrade"];
        if let Some((name, value)) = fields.rest.iter().find(|(name, _)| hop_by_hop.contains(&name.as_str())) {
            return Err(format!("{:?} with {name}: {value}", fields.first));
        }
        if (100..200).contains(&status) {
            continue;
        }
        let broken = |body: &[u8]| Answer { status, body: body.to_vec(), is_broken: true };
        let whole = |body: &[u8]| Answer { status, body: body.to_vec(), is_broken: false };
        return Ok(match framing {
            _ if says_nothing || status == 304 || method == "HEAD" => Begins::Answer(whole(b""), bytes),
            Framing::Length(length) if bytes.len() >= length => {
                Begins::Answer(whole(&bytes[..length]), &bytes[length..])
            }
            Framing::Chunked => match read_chunks(bytes)? {
                Some((body, rest)) => Begins::Answer(whole(&body), rest),
                None if is_over => Begins::Answer(broken(b""), &[]),
                None => Begins::Partial,
            },
            Framing::ToTheEnd if is_over => Begins::Answer(whole(bytes), &[]),
            Framing::Length(_) if is_over => Begins::Answer(broken(bytes), &[]),
            Framing::Length(_) | Framing::ToTheEnd => Begins::Partial,
        });
    }
}

fn status_of(line: &str) -> Result<u16, String> {
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok());
    let is_spaced = line.get(12..).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    status.filter(|status| (100..1000).contains(status) && is_spaced).ok_or_else(|| format!("the status line {line:?}"))
}

#[test]
fn strict_reader_finds_what_is_ambiguous() {
    let via = "Via: 1.1 farmgate\r\n";
    for (text, is_fine) in [
        (format!("GET / HTTP/1.1\r\n{via}\r\n"), true),
        (format!("POST / HTTP/1.1\r\n{via}Content-Length: 1\r\n\r\nx"), true),
        (format!("POST / HTTP/1.1\r\n{via}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"), true),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), false),
        (format!("GET / HTTP/1.1\r\n{via}X: a\nb\r\n\r\n"), false),
        (format!("POST / HTTP/1.1\r\n{via}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), false),
        (format!("POST / HTTP/1.1\r\n{via}Content-Length: 1\r\n\r\nxy"), false),
        (format!("POST / HTTP/1.1\r\n{via}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), false),
        (format!("POST / HTTP/1.1\r\n{via}Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n"), false),
    ] {
        assert_eq!(read_requests(text.as_bytes()).is_ok(), is_fine, "{text:?}");
    }
}

#[test]
fn strict_reader_of_answers_finds_what_is_ambiguous() {
    let whole = |status, body: &str, rest: &str| Ok((status, body.to_owned(), false, rest.to_owned()));
    let broken = |status, body: &str| Ok((status, body.to_owned(), true, String::new()));
    for (text, method, want) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy", "GET", whole(200, "x", "y")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy", "HEAD", whole(200, "", "xy")),
        ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "GET", whole(200, "x", "")),
        ("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", "GET", whole(204, "", "")),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", "GET", whole(200, "to the end", "")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", "GET", broken(200, "x")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "GET", broken(200, "")),
        ("HTTP/1.1 200 OK\r\nX: ", "GET", broken(0, "")),
        ("HTTP/1.1 204 OK\r\nContent-Length: 0\r\n\r\n", "GET", Err(())),
        ("HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", "GET", Err(())),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", "GET", Err(())),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "GET", Err(())),
        ("HTTP/1.0 200 OK\r\n\r\nx", "GET", Err(())),
        ("HTTP/1.1 99 OK\r\n\r\nx", "GET", Err(())),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\nx", "GET", Err(())),
    ] {
        let got = read_answer(text.as_bytes(), method, true).map_err(|_| ()).map(|begins| {
            let Begins::Answer(answer, rest) = begins else { panic!("{text:?}") };
            let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (answer.status, text_of(&answer.body), answer.is_broken, text_of(rest))
        });
        assert_eq!(got, want, "{text:?}");
    }
    assert!(matches!(read_answer(b"HTTP/1.1 200 OK\r\n\r\nx", "GET", false), Ok(Begins::Partial)));
}
