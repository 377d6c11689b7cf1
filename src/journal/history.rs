//! The history of checks as blocks of runs: how a block is written, check by check, and read back.
//!
//! A block has the checks of one probe of one server, the oldest first. Its row tells when it begins; its bytes are
//! runs of checks with the same outcome:
//!
//! ```text
//! block := run*
//! run   := head [status code] [bucket] step{1..=8}
//! head  := 1 byte: bit 7 "status and code follow", bits 3-6 bucket move + 7 or 15 "bucket follows", bits 0-2 checks - 1
//! status:= 1 byte, number() below            code := varint, 0 for none, else code + 1
//! bucket:= 1 byte: the duration, see below   step := zigzag varint: how far the time since the check before differs
//!                                                    from the one before that, in ticks of 10 ms
//! ```
//!
//! Durations fall in buckets of four to the octave: 1-7 µs exactly, then the two bits below the leading one, so the
//! middle of a bucket, which reading gives, is never further off than 12.5 %. Times are cut to ticks of 10 ms and do
//! not drift: the ticks themselves are counted.
//!
//! Arithmetic, held by `thousand_servers_with_the_defaults_take_less_than_200_megabytes`: a check costs 1 byte of time
//! (jitter within ±0.63 s) and 1 byte of head for each run of equal durations; where response times spread over half
//! to double their middle, runs are 1 to 2 checks long and a check takes 2.05 bytes. Its row with its index entry adds
//! some 45 bytes to a block of 248, pages are not quite full: 2.5 bytes a check on disk. A day of checks every 2 s of
//! 1,000 servers is 43.2 million checks, 108 MB; steady response times take half of it.
//!
//! Pure: no file, no clock.

use std::time::Duration;

use crate::model::{CheckBrief, CheckStatus, ProbeSlot, Timestamp};

/// Bytes at which a block is full.
pub(super) const BLOCK_BYTES_MAX: usize = 248;
/// Time that a block spans at the most; what a crash loses of the history at the most.
pub(super) const BLOCK_SPAN: Duration = Duration::from_secs(600);
/// The resolution of times.
const TICK_US: u64 = 10_000;
/// The most checks of one run.
const RUN_CHECKS_MAX: u8 = 8;
const NEW_STATUS: u8 = 0x80;
/// In place of a move: the bucket follows.
const BUCKET_FOLLOWS: u8 = 15;
/// Buckets up and down that a head can tell.
const MOVE_MAX: i16 = 7;

/// What runs are made of: status, code and bucket of the duration.
type Outcome = (CheckStatus, Option<u16>, u8);

/// A block that checks are added to.
#[derive(Clone, Debug)]
pub(super) struct OpenBlock {
    from: u64,
    last: u64,
    gap: i64,
    outcome: Outcome,
    head_at: usize,
    checks: u32,
    runs: Vec<u8>,
}

/// A block as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// When its first check ended.
    pub(super) from: Timestamp,
    /// When its last check ended.
    pub(super) to: Timestamp,
    /// How many there are.
    pub(super) checks: u32,
    /// The runs.
    pub(super) runs: Vec<u8>,
}

impl OpenBlock {
    /// Returns a block with one check.
    pub(super) fn begin(brief: &CheckBrief) -> Self {
        let from = tick(brief.at);
        let outcome = outcome(brief);
        let mut block = Self { from, last: from, gap: 0, outcome, head_at: 0, checks: 0, runs: Vec::new() };
        block.begin_run(outcome, true);
        block.push_step(from);
        block
    }

    /// Adds a check, or gives it back: the block is full, spans its time, or the check is older than its last.
    pub(super) fn add(&mut self, brief: &CheckBrief) -> bool {
        let at = tick(brief.at);
        let is_whole = self.runs.len() >= BLOCK_BYTES_MAX || at < self.last || self.is_due(brief.at);
        if is_whole {
            return false;
        }
        let outcome = outcome(brief);
        let head = self.runs[self.head_at];
        if outcome == self.outcome && (head & 7) + 1 < RUN_CHECKS_MAX {
            self.runs[self.head_at] = head + 1;
        } else {
            self.begin_run(outcome, false);
        }
        self.push_step(at);
        true
    }

    /// Returns whether it spans its time by then.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.since(Timestamp(self.from * TICK_US)) >= BLOCK_SPAN
    }

    /// Returns it as a row has it.
    pub(super) fn sealed(&self) -> Block {
        let (from, to) = (Timestamp(self.from * TICK_US), Timestamp(self.last * TICK_US));
        Block { from, to, checks: self.checks, runs: self.runs.clone() }
    }

    fn begin_run(&mut self, outcome: Outcome, is_first: bool) {
        let (status, code, bucket) = outcome;
        let (old_status, old_code, old_bucket) = self.outcome;
        let has_status = is_first || (status, code) != (old_status, old_code);
        let by = i16::from(bucket) - i16::from(old_bucket);
        let is_near = !is_first && by.abs() <= MOVE_MAX;
        let moved = if is_near { u8::try_from(by + MOVE_MAX).unwrap_or(BUCKET_FOLLOWS) } else { BUCKET_FOLLOWS };
        self.head_at = self.runs.len();
        self.runs.push((moved << 3) | if has_status { NEW_STATUS } else { 0 });
        if has_status {
            self.runs.push(number(status));
            push_varint(&mut self.runs, code.map_or(0, |code| u64::from(code) + 1));
        }
        if moved == BUCKET_FOLLOWS {
            self.runs.push(bucket);
        }
        self.outcome = outcome;
    }

    fn push_step(&mut self, at: u64) {
        let gap = at.cast_signed() - self.last.cast_signed();
        push_varint(&mut self.runs, zigzag(gap - self.gap));
        self.gap = if self.checks == 0 { 0 } else { gap };
        self.last = at;
        self.checks += 1;
    }
}

impl Block {
    /// Returns the checks; nothing if the bytes are no block.
    pub(super) fn read(&self, slot: ProbeSlot) -> Option<Vec<CheckBrief>> {
        let mut found = Vec::new();
        let mut bytes = self.runs.as_slice();
        let (mut last, mut gap) = (tick(self.from).cast_signed(), 0_i64);
        let mut outcome: Option<Outcome> = None;
        while let Some(head) = byte(&mut bytes) {
            outcome = Some(read_outcome(&mut bytes, head, outcome)?);
            let (status, code, bucket) = outcome?;
            for _ in 0..=(head & 7) {
                let step = unzigzag(varint(&mut bytes)?);
                gap = gap.checked_add(step)?;
                last = last.checked_add(gap)?;
                let at = Timestamp(u64::try_from(last).ok()?.checked_mul(TICK_US)?);
                found.push(CheckBrief { slot, status, code, at, duration: middle(bucket) });
            }
        }
        Some(found)
    }
}

fn read_outcome(bytes: &mut &[u8], head: u8, before: Option<Outcome>) -> Option<Outcome> {
    let (status, code) = if head & NEW_STATUS == 0 {
        before.map(|(status, code, _)| (status, code))?
    } else {
        let status = status(byte(bytes)?)?;
        let code = match varint(bytes)? {
            0 => None,
            code => Some(u16::try_from(code - 1).ok()?),
        };
        (status, code)
    };
    let bucket = match (head >> 3) & 15 {
        BUCKET_FOLLOWS => byte(bytes)?,
        moved => u8::try_from(i16::from(before?.2) + i16::from(moved) - MOVE_MAX).ok()?,
    };
    Some((status, code, bucket))
}

/// Returns a time as the history tells it: cut to its resolution.
pub(super) fn told(at: Timestamp) -> Timestamp {
    Timestamp(tick(at) * TICK_US)
}

fn tick(at: Timestamp) -> u64 {
    at.0 / TICK_US
}

fn outcome(brief: &CheckBrief) -> Outcome {
    (brief.status, brief.code, bucket(brief.duration))
}

/// The bits below the leading one count within an octave.
fn bucket(duration: Duration) -> u8 {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if us < 4 {
        return u8::try_from(us).unwrap_or(0);
    }
    let octave = 61 - u64::from(us.leading_zeros());
    u8::try_from((octave << 2) + (us >> octave)).unwrap_or(u8::MAX)
}

/// The middle of a bucket, so that the error is as small as can be.
fn middle(bucket: u8) -> Duration {
    let bucket = u64::from(bucket);
    if bucket < 8 {
        return Duration::from_micros(bucket);
    }
    let octave = (bucket >> 2) - 1;
    let lowest = (4 + (bucket & 3)) << octave.min(60);
    Duration::from_micros(lowest.saturating_add((1 << octave.min(60)) / 2))
}

/// The number of a status in a block: for ever.
fn number(status: CheckStatus) -> u8 {
    match status {
        CheckStatus::Checked => 0,
        CheckStatus::L4Con => 1,
        CheckStatus::L4Ok => 2,
        CheckStatus::L4Tout => 3,
        CheckStatus::L6Ok => 4,
        CheckStatus::L6Rsp => 5,
        CheckStatus::L6Tout => 6,
        CheckStatus::L7Ok => 7,
        CheckStatus::L7Okc => 8,
        CheckStatus::L7Rsp => 9,
        CheckStatus::L7Sts => 10,
        CheckStatus::L7Tout => 11,
        CheckStatus::ProcErr => 12,
        CheckStatus::ProcOk => 13,
        CheckStatus::ProcTout => 14,
        CheckStatus::SockErr => 15,
    }
}

fn status(wanted: u8) -> Option<CheckStatus> {
    CheckStatus::ALL.into_iter().find(|status| number(*status) == wanted)
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

fn push_varint(bytes: &mut Vec<u8>, mut n: u64) {
    loop {
        let low = u8::try_from(n & 0x7f).unwrap_or(0);
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        n |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brief(at_us: u64, status: CheckStatus, code: Option<u16>, us: u64) -> CheckBrief {
        let (slot, at, duration) = (ProbeSlot::FIRST, Timestamp(at_us), Duration::from_micros(us));
        CheckBrief { slot, status, code, at, duration }
    }

    /// Adds all, and returns the blocks that came of it.
    fn blocks(briefs: &[CheckBrief]) -> Vec<Block> {
        let mut found = Vec::new();
        let mut open: Option<OpenBlock> = None;
        for brief in briefs {
            if open.as_mut().is_some_and(|block| block.add(brief)) {
                continue;
            }
            found.extend(open.replace(OpenBlock::begin(brief)).map(|block| block.sealed()));
        }
        found.extend(open.map(|block| block.sealed()));
        found
    }

    fn assert_told(given: &[CheckBrief]) {
        let blocks = blocks(given);
        let read: Vec<CheckBrief> = blocks.iter().flat_map(|block| block.read(ProbeSlot::FIRST).unwrap()).collect();
        assert_eq!(read.len(), given.len());
        assert_eq!(blocks.iter().map(|block| block.checks as usize).sum::<usize>(), given.len());
        for (read, given) in read.iter().zip(given) {
            assert_eq!((read.status, read.code, read.at), (given.status, given.code, told(given.at)));
            let (got, want) = (read.duration.as_secs_f64(), given.duration.as_secs_f64());
            assert!((got - want).abs() <= want * 0.125 + 1e-9, "{given:?} is read as {:?}", read.duration);
        }
        for block in &blocks {
            assert!(block.runs.len() <= BLOCK_BYTES_MAX + 24, "{}", block.runs.len());
            assert!(block.to.since(block.from) < BLOCK_SPAN && block.from <= block.to);
        }
    }

    #[test]
    fn steady_checks_are_one_byte_each_and_one_a_run() {
        let steady: Vec<_> = (0..96).map(|n| brief(n * 2_000_000, CheckStatus::L7Ok, Some(200), 1500)).collect();
        assert_told(&steady);
        let block = &blocks(&steady)[0];
        // Twelve runs; the first tells status, code and bucket; the first step from nothing to 2 s takes two bytes.
        assert_eq!(block.runs.len(), 96 + 12 + 4 + 1);
    }

    #[test]
    fn checks_of_any_kind_are_read_as_they_were_within_the_resolution() {
        let mixed = [
            brief(1_795_262_591_250_000, CheckStatus::L7Ok, Some(200), 0),
            brief(1_795_262_591_250_000, CheckStatus::L7Sts, Some(u16::MAX), 7),
            brief(1_795_262_593_259_999, CheckStatus::L4Con, None, 900_000_000_000),
            brief(1_795_262_593_250_000, CheckStatus::L4Con, None, 12),
            brief(1_795_262_500_000_000, CheckStatus::SockErr, Some(0), 1_000_000),
            brief(1_795_299_500_000_000, CheckStatus::SockErr, Some(0), 999_999),
        ];
        assert_told(&mixed);
        assert_eq!(blocks(&mixed).len(), 3);
        let every: Vec<_> = (0..).zip(CheckStatus::ALL).map(|(n, status)| brief(n, status, None, 1 << n)).collect();
        assert_told(&every);
    }

    proptest! {
        #[test]
        fn any_checks_are_read_as_they_were(
            given in prop::collection::vec((0..3_000_000_u64, 0..16_usize, prop::option::of(0..4_u16), 0..5_000_000_u64), 1..400)
        ) {
            let mut at = 1_795_262_591_250_000;
            let mut briefs = Vec::new();
            for (step, status, code, us) in given {
                at += step;
                briefs.push(brief(at, CheckStatus::ALL[status], code, us));
            }
            assert_told(&briefs);
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_never_panic(runs in prop::collection::vec(any::<u8>(), 0..300), from: u64) {
            let block = Block { from: Timestamp(from), to: Timestamp(from), checks: 0, runs };
            let _ = block.read(ProbeSlot::FIRST);
        }
    }
}
