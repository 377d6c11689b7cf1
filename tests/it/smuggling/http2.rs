//! Requests of HTTP/2, frame by frame and field by field.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::harness::Frames;
use crate::harness::h2::{DATA, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame};

use super::doors::{Door, Doors, send_innocent};
use super::pieces::{Piece, Words};
use super::{OneOf, Seen, assert_none, at_once, corpus};

/// Cases that there are at least.
const CASES_MIN: usize = 150;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Has the answers compressed by the static table alone (SETTINGS_HEADER_TABLE_SIZE = 0).
const PLAIN_HEADS: &[u8] = &[0, 1, 0, 0, 0, 0];

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

struct Run<'a> {
    name: String,
    door: &'a Door,
    case: &'a Case,
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
    let words = Words { name, scheme: run.door.scheme, repeat: run.case.repeat.as_ref(), first: 1 };
    let mut bytes = match &run.case.hello {
        Some(hello) => words.bytes(hello),
        None => [PREFACE, &frame(SETTINGS, 0, 0, PLAIN_HEADS)].concat(),
    };
    bytes.extend(run.case.send.iter().flat_map(|piece| words.piece(piece)));
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
