//! The corpus of `tests/smuggling`: bytes that two readers of HTTP may read in two ways, and what a server behind us may
//! see of them.
//!
//! What the server received is read again by a strict reader of this file, so that nothing here believes what our own
//! says. After each case, an innocent request on another connection must get the answer to itself: nothing of the case
//! may be left on a connection to the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::harness::{Behaviour, Client, Farmgate, Origin, Server, Setup, find};

/// How long a connection whose request was refused may stay open.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// Cases that there are at least.
const CASES_MIN: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    send: String,
    #[serde(default)]
    repeat: Option<(String, usize)>,
    answers: Vec<OneOf<u16>>,
    #[serde(default)]
    seen: Seen,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOf<T> {
    One(T),
    Any(Vec<T>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seen {
    One(Vec<String>),
    Any(Vec<Vec<String>>),
}

impl Default for Seen {
    fn default() -> Self {
        Self::One(Vec::new())
    }
}

impl Case {
    /// The bytes: each character of the file is one.
    fn bytes(&self) -> Vec<u8> {
        let text = self.send.replace("{case}", &self.name);
        let text = match &self.repeat {
            Some((part, times)) => text.replace("{repeat}", &part.repeat(*times)),
            None => text,
        };
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    fn may_see(&self, seen: &[String]) -> bool {
        let is = |want: &Vec<String>| {
            want.iter().map(|line| line.replace("{case}", &self.name)).eq(seen.iter().map(String::clone))
        };
        match &self.seen {
            Seen::One(want) => is(want),
            Seen::Any(wants) => wants.iter().any(is),
        }
    }
}

#[test]
fn nothing_ambiguous_reaches_a_server() {
    let origin = Origin::doing("s1", Behaviour::EchoHead);
    let setup = Setup::http(&[Server::new("s1", origin.addr(), "")]).frontend("timeouts: {header: 3s, body: 3s}");
    let farmgate = Farmgate::start(&setup);
    let cases = corpus();
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let mut faults = Vec::new();
    for case in &cases {
        faults.extend(run(farmgate.front("web"), case).err().map(|fault| format!("{}: {fault}", case.name)));
    }
    faults.extend(judge(&origin, &cases));
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

fn corpus() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir("tests/smuggling").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let of_file: Vec<Case> = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        cases.extend(of_file.into_iter().map(|case| Case { name: format!("{stem}-{}", case.name), ..case }));
    }
    cases
}

/// Sends a case and an innocent request behind it.
fn run(front: SocketAddr, case: &Case) -> Result<(), String> {
    let bytes = case.bytes();
    let mut client = Client::connect(front);
    // A refusal may come before the last byte is taken.
    let _ = client.try_send(&bytes);
    let method = bytes.split(|b| *b == b' ').next().map(|m| String::from_utf8_lossy(m).into_owned());
    let mut last = 0;
    for (n, want) in case.answers.iter().enumerate() {
        let method = if n == 0 { method.as_deref().unwrap_or("GET") } else { "GET" };
        let answer = client.try_response_to(method).map_err(|fault| format!("answer {n}: {fault:?}"))?;
        let is_wanted = match want {
            OneOf::One(status) => answer.status == *status,
            OneOf::Any(statuses) => statuses.contains(&answer.status),
        };
        if !is_wanted {
            return Err(format!("answer {n} is {} {}", answer.status, answer.text()));
        }
        last = answer.status;
    }
    if last >= 400 && !client.is_closed_within(CLOSE_WITHIN) {
        return Err("the connection of a refused request stays open".to_owned());
    }
    drop(client);
    let target = format!("/after-{}", case.name);
    let after = Client::connect(front).get(&target);
    if after.status != 200 || !after.text().starts_with(&format!("GET {target}\n")) {
        return Err(format!("the next request got {} {}", after.status, after.text()));
    }
    Ok(())
}

/// Looks at every byte that the server received.
fn judge(origin: &Origin, cases: &[Case]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for connection in origin.raw() {
        match read_all(&connection) {
            Ok(requests) => {
                for request in requests {
                    let path = request.target.trim_start_matches('/');
                    let name = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches("-2");
                    let line = format!("{} {} {}", request.method, request.target, request.body);
                    seen.entry(name.trim_end_matches("-3").to_owned()).or_default().push(line);
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    for case in cases {
        let got = seen.remove(&case.name).unwrap_or_default();
        if !case.may_see(&got) {
            faults.push(format!("{}: the server saw {got:?}", case.name));
        }
        seen.remove(&format!("after-{}", case.name));
    }
    faults.extend(seen.into_iter().map(|(name, lines)| format!("{name}: nobody sent {lines:?}")));
    faults
}

/// A request that a server received whole.
struct Received {
    method: String,
    target: String,
    body: usize,
}

/// Reads what came on one connection: requests in their strictest form. The last one may break off.
fn read_all(mut bytes: &[u8]) -> Result<Vec<Received>, String> {
    let mut requests: Vec<Received> = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let head = &bytes[..end];
        let behind = |fault| format!("behind {}: {fault}", requests.last().map_or("nothing", |last| &last.target));
        let (request, framing) = read_head(head).map_err(behind)?;
        bytes = &bytes[end + 4..];
        let body = match framing {
            Framing::Length(length) if bytes.len() < length => return Ok(requests),
            Framing::Length(length) => {
                bytes = &bytes[length..];
                length
            }
            Framing::Chunked => match read_chunks(bytes).map_err(behind)? {
                Some((length, rest)) => {
                    bytes = rest;
                    length
                }
                None => return Ok(requests),
            },
        };
        requests.push(Received { body, ..request });
    }
    if bytes.is_empty() { Ok(requests) } else { Err(format!("bytes behind the last request: {bytes:?}")) }
}

enum Framing {
    Chunked,
    Length(usize),
}

fn read_head(head: &[u8]) -> Result<(Received, Framing), String> {
    let is_fine = |b: &u8| matches!(b, b'\t' | b'\r' | b'\n' | b' '..=b'~' | 0x80..);
    if let Some(odd) = head.iter().find(|b| !is_fine(b)) {
        return Err(format!("the byte {odd:#x} in a head"));
    }
    // One character a byte.
    let head: String = head.iter().map(|b| char::from(*b)).collect();
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let [method, target, "HTTP/1.1"] = request_line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("the request line {request_line:?}"));
    };
    let (mut lengths, mut codings, mut hosts, mut vias) = (Vec::new(), Vec::new(), 0, 0);
    for line in lines {
        if line.contains(['\r', '\n']) {
            return Err(format!("a bare end of line in {line:?}"));
        }
        let Some((name, value)) = line.split_once(':') else { return Err(format!("the line {line:?}")) };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(format!("the name {name:?}"));
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.to_owned()),
            "transfer-encoding" => codings.push(value.to_owned()),
            "host" => hosts += 1,
            "via" => vias += usize::from(value.ends_with("farmgate")),
            "upgrade" if value != "websocket" => return Err(format!("an Upgrade to {value}")),
            _ => {}
        }
    }
    if vias != 1 || hosts > 1 {
        return Err(format!("{method} {target} with {vias} Via of ours and {hosts} Host"));
    }
    let framing = match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Length(0),
        ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => Framing::Length(length.parse().unwrap()),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        _ => return Err(format!("{method} {target} with lengths {lengths:?} and codings {codings:?}")),
    };
    Ok((Received { method: method.to_owned(), target: target.to_owned(), body: 0 }, framing))
}

/// Reads a chunked body in its plainest form; nothing, where it breaks off.
fn read_chunks(mut bytes: &[u8]) -> Result<Option<(usize, &[u8])>, String> {
    let mut length = 0;
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
        bytes = &bytes[size + 2..];
        if size == 0 {
            return Ok(Some((length, bytes)));
        }
        length += size;
    }
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
        assert_eq!(read_all(text.as_bytes()).is_ok(), is_fine, "{text:?}");
    }
}
