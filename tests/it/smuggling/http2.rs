//! Requests of HTTP/2, frame by frame and field by field.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::harness::Frames;
use crate::harness::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame,
};

use super::doors::{Door, Doors, send_innocent};
use super::{OneOf, Seen, assert_none, at_once, bytes_of, corpus};

/// Cases that there are at least.
const CASES_MIN: usize = 150;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Has the answers compressed by the static table alone (SETTINGS_HEADER_TABLE_SIZE = 0).
const PLAIN_HEADS: &[u8] = &[0, 1, 0, 0, 0, 0];
const PADDED: u8 = 0x8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "why")]
    _why: String,
    /// What goes before the frames, in the place of a hello.
    #[serde(default)]
    hello: Option<String>,
    send: Vec<Piece>,
    #[serde(default)]
    repeat: Option<(String, usize)>,
    /// What becomes of each stream, in the order of their numbers.
    answers: Vec<OneOf<String>>,
    #[serde(default)]
    seen: Seen,
}

/// Something that is sent. Of the first seven, one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    /// The usual head of a GET, these fields behind it, and the end of the stream.
    get: Option<Vec<Field>>,
    /// The usual head of a POST, and these fields behind it.
    post: Option<Vec<Field>>,
    /// A head of these fields and no others, and the end of the stream.
    head: Option<Vec<Field>>,
    /// A head in these bytes, and the end of the stream.
    block: Option<String>,
    /// A piece of a body, and the end of the stream.
    data: Option<String>,
    /// Fields behind a body, and the end of the stream.
    trailers: Option<Vec<Field>>,
    /// A frame: kind, flags, payload.
    frame: Option<(u8, u8, String)>,
    /// Bytes as they are.
    bytes: Option<String>,
    /// Whether the stream ends with it, where it is otherwise than usual.
    end: Option<bool>,
    #[serde(default = "first_stream")]
    stream: u32,
    /// Where a head is cut and goes on in another frame.
    #[serde(default)]
    cut: Vec<usize>,
    /// Bytes of padding behind it.
    pad: Option<u8>,
    /// More bytes of the usual head: `[":path", "/x"]` in the place of the usual one.
    #[serde(default)]
    instead: Vec<(String, String)>,
}

fn first_stream() -> u32 {
    1
}

/// `name: value`, or both apart.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Field {
    Apart(String, String),
    Line(String),
}

struct Run<'a> {
    name: String,
    door: &'a Door,
    case: &'a Case,
}

impl Run<'_> {
    fn bytes(&self, text: &str) -> Vec<u8> {
        let text = text.replace("{case}", &self.name).replace("{scheme}", self.door.scheme);
        let text = match &self.case.repeat {
            Some((part, times)) => text.replace("{repeat}", &part.repeat(*times)),
            None => text,
        };
        bytes_of(&text)
    }

    fn block(&self, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        for field in fields {
            let (name, value) = match field {
                Field::Apart(name, value) => (name.as_str(), value.as_str()),
                // The colon that a name may begin with is not the one behind it.
                Field::Line(line) => match line.get(1..).and_then(|rest| rest.find(": ")) {
                    Some(at) => (&line[..=at], &line[at + 3..]),
                    None => (line.strip_suffix(':').unwrap(), ""),
                },
            };
            block.push(0);
            for part in [name, value] {
                let part = self.bytes(part);
                length(&mut block, part.len());
                block.extend_from_slice(&part);
            }
        }
        block
    }

    fn usual(&self, method: &str, piece: &Piece, more: &[Field]) -> Vec<u8> {
        let mut fields: Vec<(String, String)> =
            [(":method", method), (":scheme", "{scheme}"), (":authority", "t.example"), (":path", "/{case}")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        for (name, value) in &piece.instead {
            fields.iter_mut().find(|(own, _)| own == name).unwrap().1.clone_from(value);
        }
        let own: Vec<Field> = fields.into_iter().map(|(name, value)| Field::Apart(name, value)).collect();
        self.block(&[&own, more].concat())
    }

    fn piece(&self, piece: &Piece) -> Vec<u8> {
        let ends = |usually: bool| if piece.end.unwrap_or(usually) { END_STREAM } else { 0 };
        if let Some(bytes) = &piece.bytes {
            self.bytes(bytes)
        } else if let Some((kind, flags, payload)) = &piece.frame {
            frame(*kind, *flags, piece.stream, &self.bytes(payload))
        } else if let Some(data) = &piece.data {
            padded(DATA, ends(true), piece, self.bytes(data))
        } else if let Some(fields) = &piece.get {
            heads(ends(true), piece, &self.usual("GET", piece, fields))
        } else if let Some(fields) = &piece.post {
            heads(ends(false), piece, &self.usual("POST", piece, fields))
        } else if let Some(fields) = piece.head.as_ref().or(piece.trailers.as_ref()) {
            heads(ends(true), piece, &self.block(fields))
        } else {
            heads(ends(true), piece, &self.bytes(piece.block.as_ref().expect("something to send")))
        }
    }
}

/// An integer of HPACK with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(u8::try_from(length).unwrap()) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

fn padded(kind: u8, flags: u8, piece: &Piece, mut payload: Vec<u8>) -> Vec<u8> {
    let Some(pad) = piece.pad else { return frame(kind, flags, piece.stream, &payload) };
    payload.insert(0, pad);
    payload.extend(std::iter::repeat_n(0, pad.into()));
    frame(kind, flags | PADDED, piece.stream, &payload)
}

/// A head in one frame, or cut into several.
fn heads(end: u8, piece: &Piece, block: &[u8]) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut rest = block;
    for at in &piece.cut {
        let (part, more) = rest.split_at((*at).min(rest.len()));
        parts.push(part);
        rest = more;
    }
    parts.push(rest);
    let last = parts.len() - 1;
    let flags = |n| if n == last { END_HEADERS } else { 0 };
    let mut bytes = padded(HEADERS, end | flags(0), piece, parts[0].to_vec());
    for (n, part) in parts.iter().enumerate().skip(1) {
        bytes.extend(frame(CONTINUATION, flags(n), piece.stream, part));
    }
    bytes
}

#[test]
fn nothing_ambiguous_of_http_2_reaches_a_server() {
    let cases: Vec<(String, Case)> = corpus("h2-");
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let doors = Doors::open();
    let mut runs = Vec::new();
    for (file, case) in &cases {
        for door in &doors.http2 {
            runs.push(Run { name: format!("{}-{file}-{}", door.name, case.name), door, case });
        }
    }
    let mut faults = at_once(&runs, run);
    faults.extend(doors.judge(runs.iter().map(|run| (run.name.clone(), &run.case.seen))));
    assert_none(&faults, runs.len());
}

/// Sends a case and an innocent request behind it.
fn run(run: &Run<'_>) -> Result<(), String> {
    let name = &run.name;
    let mut client = Frames::connect_silently(run.door.front);
    let mut bytes = match &run.case.hello {
        Some(hello) => run.bytes(hello),
        None => [PREFACE, &frame(SETTINGS, 0, 0, PLAIN_HEADS)].concat(),
    };
    bytes.extend(run.case.send.iter().flat_map(|piece| run.piece(piece)));
    // A refusal may come before the last byte is taken.
    let _ = client.raw(&bytes);
    let got = ends(&mut client, run.case.answers.len());
    let is_wanted = |(want, got): (&OneOf<String>, &String)| {
        let is_refused =
            got.starts_with("reset") || got.starts_with("goaway") || got == "closed" || got.starts_with('4');
        want.is(got) || (is_refused && want.is(&"refused".to_owned()))
    };
    if got.len() != run.case.answers.len() || !run.case.answers.iter().zip(&got).all(is_wanted) {
        return Err(format!("{name}: the answers are {got:?}"));
    }
    drop(client);
    send_innocent(run.door, name)
}

/// Returns what becomes of the first so many streams, in the order of their numbers: the status of an answer that came
/// whole, `broken` for one that did not, or how the stream or the connection was ended.
fn ends(client: &mut Frames, count: usize) -> Vec<String> {
    let mut statuses: BTreeMap<u32, String> = BTreeMap::new();
    let mut ended: BTreeMap<u32, String> = BTreeMap::new();
    let mut fate = "closed".to_owned();
    while ended.len() < count {
        let Some(next) = client.next() else { break };
        let Frame { kind, flags, stream, ref payload } = next;
        match kind {
            HEADERS if !statuses.contains_key(&stream) => {
                let status = status_of(payload);
                if !status.starts_with('1') {
                    statuses.insert(stream, status);
                }
            }
            RST_STREAM => {
                let how =
                    if statuses.contains_key(&stream) { "broken".to_owned() } else { format!("reset {}", next.code()) };
                ended.entry(stream).or_insert(how);
            }
            SETTINGS if flags & 1 == 0 => {
                // It may be gone.
                let _ = client.send(SETTINGS, 1, 0, &[]);
            }
            GOAWAY if next.code() != 0 => fate = format!("goaway {}", next.code()),
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            ended.entry(stream).or_insert_with(|| statuses.get(&stream).cloned().unwrap_or_default());
        }
    }
    for (stream, _) in statuses {
        ended.entry(stream).or_insert_with(|| "broken".to_owned());
    }
    let mut ends: Vec<String> = ended.into_values().collect();
    ends.resize(count.max(ends.len()), fate);
    ends
}

/// Returns the status of a head that was made with the static table alone.
fn status_of(mut block: &[u8]) -> String {
    while let [first @ 0x20..0x40, rest @ ..] = block {
        assert!(*first != 0x3f, "a long size of the table");
        block = rest;
    }
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            ["200", "204", "206", "304", "400", "404", "500"][usize::from(indexed - 0x88)].into()
        }
        [0x48 | 0x08 | 0x18, length, rest @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&rest[..usize::from(*length)]).into_owned()
        }
        [0x48 | 0x08 | 0x18, length, rest @ ..] => digits(&rest[..usize::from(length & 0x7f)]),
        _ => format!("the head {block:x?}"),
    }
}

/// Huffman codes of digits (RFC 7541 appendix B) have five bits, up to 2, or six.
fn digits(bytes: &[u8]) -> String {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut text = String::new();
    while text.len() < 3 {
        let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap_or(1));
        text.push(char::from(match five {
            0..=2 => b'0' + five,
            _ => (b'3' + (five << 1 | bits.next().unwrap_or(1))).wrapping_sub(0x19),
        }));
    }
    text
}

#[test]
fn status_is_read_however_it_is_written() {
    for (block, want) in [
        (&[0x88][..], "200"),
        (&[0x20, 0x8c, 0x00], "400"),
        (&[0x48, 3, b'4', b'0', b'5'], "405"),
        (&[0x08, 0x83, 0x68, 0x0d, 0xff], "405"),
    ] {
        assert_eq!(status_of(block), want, "{block:x?}");
    }
}
