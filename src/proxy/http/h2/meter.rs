//! Counts the frames of an HTTP/2 connection as they pass, by kind, and says when there are too many of one. Pure.
//!
//! A client can have a connection do work for nothing: open streams and reset them (CVE-2023-44487), have the server
//! reset them (CVE-2025-8671), ask for answers to PING and SETTINGS, send DATA of no bytes, or a head in ever more
//! CONTINUATION frames. The engine bounds the memory of some of it; each kind has a budget here that refills with
//! time, wide enough for clients that mean well. Only frame headers are looked at, nine bytes a frame, wherever the
//! pieces end. Source: RFC 9113 §4.1, §6, §10.5.

use std::time::Instant;

use crate::metrics::Refusal;

/// What a client says first (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;
/// The bytes of a frame's header.
const HEADER_BYTES: usize = 9;
/// CONTINUATION frames of one head. A head has at most `limits.header_bytes`, in frames of 16 KiB where a client means
/// well.
const CONTINUATIONS_MAX: u32 = 32;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// The last stream that a farewell names which takes in whatever is on its way (RFC 9113 §6.8).
const ANY_STREAM: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
/// The bytes of a PING.
pub(super) const PING_BYTES: usize = HEADER_BYTES + 8;

/// How many frames of a kind may come: so many at once, and so many a second.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    burst: u32,
    per_second: u32,
}

/// Streams that are reset, by either side: a page that is left resets all that it was loading at once.
const RESETS: Allowance = Allowance { burst: 500, per_second: 50 };
/// Frames that ask for an answer or change nothing: PING, SETTINGS, PRIORITY, unknown ones.
const CONTROLS: Allowance = Allowance { burst: 500, per_second: 50 };
/// DATA of no bytes that ends nothing.
const EMPTIES: Allowance = Allowance { burst: 100, per_second: 20 };

/// What is left of an allowance.
#[derive(Debug)]
struct Budget {
    allowance: Allowance,
    left: u32,
    since: Instant,
}

impl Budget {
    fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, left: allowance.burst, since: now }
    }

    /// Takes one; returns whether there was one.
    fn take(&mut self, now: Instant) -> bool {
        let seconds = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds.saturating_mul(self.allowance.per_second));
            self.left = self.left.min(self.allowance.burst);
            self.since = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

/// Where in the bytes of one direction the last piece ended.
#[derive(Debug, Default)]
pub(in crate::proxy::http) struct Cursor {
    /// Bytes that are passed over: a payload, or the client's preface.
    skip: usize,
    header: [u8; HEADER_BYTES],
    header_len: usize,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::http) struct Frame {
    length: usize,
    pub(in crate::proxy::http) kind: u8,
    flags: u8,
    pub(in crate::proxy::http) stream: u32,
}

impl Cursor {
    /// Returns that of what a client says, which begins with its preface.
    pub(in crate::proxy::http) fn of_client() -> Self {
        Self { skip: PREFACE_BYTES, ..Self::default() }
    }

    /// Returns the next frame header of `bytes`, taking off what was read.
    pub(in crate::proxy::http) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = &bytes[skipped..];
        let taken = (HEADER_BYTES - self.header_len).min(bytes.len());
        self.header[self.header_len..self.header_len + taken].copy_from_slice(&bytes[..taken]);
        self.header_len += taken;
        *bytes = &bytes[taken..];
        if self.header_len < HEADER_BYTES {
            return None;
        }
        self.header_len = 0;
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.skip = length;
        Some(Frame { length, kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1) })
    }
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Meter {
    read: Cursor,
    written: Cursor,
    resets: Budget,
    controls: Budget,
    empties: Budget,
    /// CONTINUATION frames of the head that is arriving.
    continuations: u32,
    /// Whether the head that began last is not whole yet.
    is_head_open: bool,
    /// Whether the frame that began last is of a head.
    is_head_frame: bool,
    /// Whether the client has said more than hello.
    has_begun: bool,
    /// Whether the client was told to go, and may send what it had begun.
    is_leaving: bool,
    /// Where in the piece that was read last the client answers a PING, since it was told to go.
    answer: Option<usize>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            read: Cursor::of_client(),
            written: Cursor::default(),
            resets: Budget::new(RESETS, now),
            controls: Budget::new(CONTROLS, now),
            empties: Budget::new(EMPTIES, now),
            continuations: 0,
            is_head_open: false,
            is_head_frame: false,
            has_begun: false,
            is_leaving: false,
            answer: None,
        }
    }

    /// Takes in what the client sent; returns what there was too much of.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> Option<Refusal> {
        let whole = bytes.len();
        self.answer = None;
        while let Some(frame) = self.read.next(&mut bytes) {
            self.has_begun = true;
            if self.is_leaving && frame.kind == PING && frame.flags & ACK != 0 && bytes.len() >= frame.length {
                self.answer = (whole - bytes.len()).checked_sub(HEADER_BYTES);
            }
            self.is_head_frame = matches!(frame.kind, HEADERS | CONTINUATION);
            let (is_allowed, excess) = match frame.kind {
                DATA if frame.length == 0 && frame.flags & END_STREAM == 0 => {
                    (self.empties.take(now), Refusal::EmptyFrames)
                }
                DATA | WINDOW_UPDATE => continue,
                HEADERS | CONTINUATION => {
                    self.is_head_open = frame.flags & END_HEADERS == 0;
                    self.continuations = if frame.kind == HEADERS { 0 } else { self.continuations + 1 };
                    (self.continuations <= CONTINUATIONS_MAX, Refusal::HeaderFrames)
                }
                RST_STREAM => (self.resets.take(now), Refusal::StreamResets),
                _ => (self.controls.take(now), Refusal::ControlFrames),
            };
            if !is_allowed {
                return Some(excess);
            }
        }
        None
    }

    /// Takes in what is sent to the client; returns what there was too much of, if only in the engine's eyes: it tells
    /// the client so, and why in its last words.
    pub(super) fn written(&mut self, mut bytes: &[u8], now: Instant) -> Option<Refusal> {
        while let Some(frame) = self.written.next(&mut bytes) {
            if frame.kind == RST_STREAM && !self.resets.take(now) {
                return Some(Refusal::StreamResets);
            }
            if frame.kind == GOAWAY {
                let payload = &bytes[..frame.length.min(bytes.len())];
                self.is_leaving = payload.starts_with(&ANY_STREAM);
                if let Some((&[.., code], why)) = payload.split_first_chunk::<8>()
                    && u32::from(code) == u32::from(h2::Reason::ENHANCE_YOUR_CALM)
                {
                    return Some(excess(why));
                }
            }
        }
        None
    }

    /// Returns where in the piece that was read last the client, once told to go, answers a PING; none where that is in
    /// two pieces.
    pub(super) fn answer(&self) -> Option<usize> {
        self.answer
    }

    /// Returns whether another frame may stand before whatever is read next.
    pub(super) fn is_between_frames(&self) -> bool {
        self.read.skip == 0 && self.read.header_len == 0 && !self.is_head_open()
    }

    /// Returns whether a head has begun to arrive and is not whole, or the client's first frame is still to come.
    pub(super) fn is_head_open(&self) -> bool {
        !self.has_begun || self.is_head_open || (self.is_head_frame && self.read.skip > 0)
    }
}

/// What the engine has had too much of, by its last words.
fn excess(why: &[u8]) -> Refusal {
    if memchr::memmem::find(why, b"resets").is_some() {
        Refusal::StreamResets
    } else if memchr::memmem::find(why, b"data_frames").is_some() {
        Refusal::EmptyFrames
    } else {
        Refusal::HeaderFrames
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::fuzz::{fuzz, like};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn meter(now: Instant) -> Meter {
        let mut meter = Meter::new(now);
        assert_eq!(meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now), None);
        meter
    }

    /// How many of a frame are let pass at one instant.
    fn allowed(bytes: &[u8]) -> (u32, Option<Refusal>) {
        let now = crate::clock::monotonic();
        let mut meter = meter(now);
        for n in 0..10_000 {
            let excess = meter.read(bytes, now);
            if excess.is_some() {
                return (n, excess);
            }
        }
        (10_000, None)
    }

    #[test]
    fn each_kind_of_frame_has_its_own_budget_and_its_own_name() {
        for (name, bytes, want) in [
            ("reset", frame(RST_STREAM, 0, &[0; 4]), (500, Some(Refusal::StreamResets))),
            ("ping", frame(0x6, 0, &[0; 8]), (500, Some(Refusal::ControlFrames))),
            ("settings", frame(0x4, 0, &[]), (500, Some(Refusal::ControlFrames))),
            ("priority", frame(0x2, 0, &[0; 5]), (500, Some(Refusal::ControlFrames))),
            ("unknown", frame(0xbe, 0, &[]), (500, Some(Refusal::ControlFrames))),
            ("empty data", frame(DATA, 0, &[]), (100, Some(Refusal::EmptyFrames))),
            ("continuation", frame(CONTINUATION, 0, &[0]), (32, Some(Refusal::HeaderFrames))),
            ("empty last data", frame(DATA, END_STREAM, &[]), (10_000, None)),
            ("data", frame(DATA, 0, &[1]), (10_000, None)),
            ("window update", frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]), (10_000, None)),
            ("headers", frame(HEADERS, END_HEADERS, &[0x82]), (10_000, None)),
        ] {
            assert_eq!(allowed(&bytes), want, "{name}");
        }
    }

    #[test]
    fn resets_that_the_client_has_us_send_count_as_its_own() {
        let now = crate::clock::monotonic();
        let mut meter = meter(now);
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        for _ in 0..250 {
            assert_eq!((meter.read(&reset, now), meter.written(&reset, now)), (None, None));
        }
        assert_eq!(meter.written(&reset, now), Some(Refusal::StreamResets));
    }

    #[test]
    fn budget_refills_with_time_and_never_beyond_its_burst() {
        let now = crate::clock::monotonic();
        let mut budget = Budget::new(RESETS, now);
        let spend = |budget: &mut Budget, now| (0..).take_while(|_| budget.take(now)).count();
        assert_eq!(spend(&mut budget, now), 500);
        assert_eq!(spend(&mut budget, now + Duration::from_secs(2)), 100);
        assert_eq!(spend(&mut budget, now + Duration::from_secs(3600)), 500);
    }

    #[test]
    fn frames_are_counted_alike_wherever_the_pieces_end() {
        let now = crate::clock::monotonic();
        let bytes = [frame(DATA, 0, &[9; 100]), frame(RST_STREAM, 0, &[3; 4])].concat();
        for size in [1, 2, 7, 9, 10, 109, 122] {
            let mut meter = meter(now);
            let mut all = Vec::new();
            (0..501).for_each(|_| all.extend_from_slice(&bytes));
            let excess: Vec<_> = all.chunks(size).filter_map(|piece| meter.read(piece, now)).collect();
            assert_eq!(excess, [Refusal::StreamResets], "pieces of {size}");
        }
    }

    #[test]
    fn any_bytes_are_counted_alike_wherever_the_pieces_end() {
        const PIECES: &[&[u8]] = &[
            &[0, 0, 0, DATA, 0, 0, 0, 0, 1],
            &[0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 8],
            &[0, 0, 1, HEADERS, 0, 0, 0, 0, 1, 0x82],
            &[0, 0, 0, CONTINUATION, END_HEADERS, 0, 0, 0, 1],
            &[0, 0, 12, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff],
        ];
        let many = |frame: Vec<u8>, count| frame.repeat(count);
        let seeds = vec![
            many(frame(DATA, 0, &[]), 99),
            many(frame(CONTINUATION, 0, &[1]), 31),
            many(frame(RST_STREAM, 0, &[0; 4]), 499),
            [frame(HEADERS, 0, &[0x82]), many(frame(CONTINUATION, 0, &[]), 30), frame(DATA, 1, b"hello")].concat(),
        ];
        let now = crate::clock::monotonic();
        fuzz(&(like(seeds, PIECES), 1..50usize), |(bytes, size)| {
            for is_read in [true, false] {
                let look = |pieces: Vec<&[u8]>| {
                    let mut meter = meter(now);
                    let mut count = |piece| if is_read { meter.read(piece, now) } else { meter.written(piece, now) };
                    let excess = pieces.into_iter().find_map(&mut count);
                    (excess, excess.is_none().then(|| (meter.is_head_open(), meter.is_between_frames())))
                };
                // What the engine's last words are is known once they are whole.
                let has_words = !is_read && bytes.contains(&GOAWAY);
                if !has_words {
                    prop_assert_eq!(look(bytes.chunks(size).collect()), look(vec![&bytes]));
                }
            }
            Ok(())
        });
    }

    #[test]
    fn answer_to_a_ping_is_found_once_the_client_was_told_to_go() {
        let now = crate::clock::monotonic();
        let mut meter = meter(now);
        let (head, pong) = (frame(HEADERS, END_HEADERS, &[0x82; 10]), frame(PING, ACK, &[7; 8]));
        let piece = [&head[..], &pong, &head].concat();
        meter.read(&piece, now);
        assert_eq!(meter.answer(), None, "nobody was told");
        meter.written(&frame(GOAWAY, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), now);
        meter.read(&piece, now);
        assert_eq!(meter.answer(), Some(head.len()));
        assert!(meter.is_between_frames());
        meter.read(&frame(PING, 0, &[7; 8]), now);
        assert_eq!(meter.answer(), None, "that was a question");
        for at in 1..PING_BYTES {
            meter.read(&pong[..at], now);
            assert!(!meter.is_between_frames() && meter.answer().is_none());
            meter.read(&pong[at..], now);
            assert_eq!(meter.answer(), None, "it came in two pieces");
        }
        meter.read(&frame(HEADERS, 0, &[0x82]), now);
        assert!(!meter.is_between_frames(), "the head goes on");
        meter.read(&frame(CONTINUATION, END_HEADERS, &[]), now);
        meter.written(&frame(GOAWAY, 0, &[0, 0, 0, 1, 0, 0, 0, 0]), now);
        meter.read(&pong, now);
        assert_eq!(meter.answer(), None, "no more is taken in");
    }

    #[test]
    fn head_is_open_until_its_last_byte() {
        let now = crate::clock::monotonic();
        let mut meter = meter(now);
        assert!(meter.is_head_open(), "its settings are to come");
        meter.read(&frame(0x4, 0, &[]), now);
        assert!(!meter.is_head_open());
        let head = frame(HEADERS, END_HEADERS, &[0x82; 10]);
        meter.read(&head[..12], now);
        assert!(meter.is_head_open(), "the frame is not whole");
        meter.read(&head[12..], now);
        assert!(!meter.is_head_open());
        meter.read(&frame(HEADERS, 0, &[0x82]), now);
        assert!(meter.is_head_open(), "more frames are to come");
        meter.read(&frame(CONTINUATION, END_HEADERS, &[0x82]), now);
        assert!(!meter.is_head_open());
    }
}
