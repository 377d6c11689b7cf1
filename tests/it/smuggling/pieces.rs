//! Frames and fields of HTTP/2 as the corpus writes them, and their bytes.

use serde::Deserialize;

use crate::harness::h2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, frame};

use super::bytes_of;

const PADDED: u8 = 0x8;

/// Something that is sent. Of the first eight, one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
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
pub(super) enum Field {
    Apart(String, String),
    Line(String),
}

/// What the words of a case stand for.
pub(super) struct Words<'a> {
    /// `{case}`.
    pub(super) name: &'a str,
    /// `{scheme}`.
    pub(super) scheme: &'a str,
    /// `{repeat}`.
    pub(super) repeat: Option<&'a (String, usize)>,
    /// The stream that 1 stands for.
    pub(super) first: u32,
}

impl Words<'_> {
    pub(super) fn bytes(&self, text: &str) -> Vec<u8> {
        let text = text.replace("{case}", self.name).replace("{scheme}", self.scheme);
        let text = match self.repeat {
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

    pub(super) fn piece(&self, piece: &Piece) -> Vec<u8> {
        let stream = if piece.stream == 0 { 0 } else { piece.stream + self.first - 1 };
        let ends = |usually: bool| if piece.end.unwrap_or(usually) { END_STREAM } else { 0 };
        if let Some(bytes) = &piece.bytes {
            self.bytes(bytes)
        } else if let Some((kind, flags, payload)) = &piece.frame {
            frame(*kind, *flags, stream, &self.bytes(payload))
        } else if let Some(data) = &piece.data {
            padded(DATA, ends(true), (piece, stream), self.bytes(data))
        } else if let Some(fields) = &piece.get {
            heads(ends(true), (piece, stream), &self.usual("GET", piece, fields))
        } else if let Some(fields) = &piece.post {
            heads(ends(false), (piece, stream), &self.usual("POST", piece, fields))
        } else if let Some(fields) = piece.head.as_ref().or(piece.trailers.as_ref()) {
            heads(ends(true), (piece, stream), &self.block(fields))
        } else {
            heads(ends(true), (piece, stream), &self.bytes(piece.block.as_ref().expect("something to send")))
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

fn padded(kind: u8, flags: u8, (piece, stream): (&Piece, u32), mut payload: Vec<u8>) -> Vec<u8> {
    let Some(pad) = piece.pad else { return frame(kind, flags, stream, &payload) };
    payload.insert(0, pad);
    payload.extend(std::iter::repeat_n(0, pad.into()));
    frame(kind, flags | PADDED, stream, &payload)
}

/// A head in one frame, or cut into several.
fn heads(end: u8, (piece, stream): (&Piece, u32), block: &[u8]) -> Vec<u8> {
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
    let mut bytes = padded(HEADERS, end | flags(0), (piece, stream), parts[0].to_vec());
    for (n, part) in parts.iter().enumerate().skip(1) {
        bytes.extend(frame(CONTINUATION, flags(n), stream, part));
    }
    bytes
}
