//! Keeps the process within `limits.memory`, of all that it holds and not only of what is counted one by one.
//!
//! What is resident is read at one place, [`Memory::watch`], every second, and ten times as often from a quarter of the
//! bound on. From 90 % on nobody new comes in until it is below 85 % again; from the bound on, requests on open
//! connections are refused as well. Between two readings as many come in as the last one had room for, each reckoned at
//! [`ENTRANT_BYTES`]; so is whoever came within the last second, who may not have taken up yet what it will. Who leaves
//! makes room again. Some are let in however it stands, since a bound below what the process needs by itself would else
//! close the service for good.
//!
//! Who asks is told at once; how long a door waits, and whom it refuses, is the door's concern.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Where the system says what is resident.
const STATUS: &str = "/proc/self/status";
/// The most that is read of it.
const STATUS_BYTES_MAX: usize = 4096;
/// How often that is read: usually, and from a quarter of the bound on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(100);
/// What a newcomer is reckoned at: a connection with a large head, or with a request under way.
const ENTRANT_BYTES: u64 = 96 * 1024;
/// For so long.
const NEW_FOR: Duration = Duration::from_secs(1);
/// How many are let in however it stands.
const FREE_ENTRANTS: u64 = 64;
/// In hundredths of the bound: from where on nobody comes in, and below what again.
const TIGHT_PERCENT: u64 = 90;
const AMPLE_PERCENT: u64 = 85;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Level {
    Ample,
    /// Nobody comes in.
    Tight,
    /// And nobody who is in is served.
    Over,
}

/// See the module's doc.
#[derive(Debug)]
pub struct Memory {
    bound: Option<u64>,
    status: Option<File>,
    resident: AtomicU64,
    level: AtomicU8,
    inside: AtomicU64,
    /// How many ever came in, and how many had when it was read.
    entered: AtomicU64,
    entered_at: Mutex<VecDeque<(Instant, u64)>>,
    /// How many more may come in before the next reading.
    room: AtomicI64,
}

/// Somebody who came in; gone once dropped.
#[derive(Debug)]
pub(super) struct Entrant(Arc<Memory>);

impl Memory {
    /// Returns what holds the process to so many bytes, or only tells how many there are.
    pub(super) fn new(bound: Option<u64>) -> Arc<Self> {
        let status = File::open(STATUS).inspect_err(|error| {
            tracing::warn!(%error, "{STATUS} cannot be opened: limits.memory is not kept");
        });
        let memory = Arc::new(Self {
            bound,
            status: status.ok(),
            resident: AtomicU64::new(0),
            level: AtomicU8::new(Level::Ample as u8),
            inside: AtomicU64::new(0),
            entered: AtomicU64::new(0),
            entered_at: Mutex::default(),
            room: AtomicI64::new(i64::MAX),
        });
        memory.look();
        memory
    }

    /// Returns the bytes that were resident when last looked at.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.resident.load(Relaxed)
    }

    /// Returns how many may be, where there is a bound.
    #[must_use]
    pub fn bound(&self) -> Option<u64> {
        self.bound
    }

    /// Reads what is resident, again and again.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            let is_filling = self.bound.is_some_and(|bound| self.resident.load(Relaxed) > bound / 4);
            tokio::time::sleep(if is_filling { LOOK_OFTEN } else { LOOK_EVERY }).await;
            self.look();
        }
    }

    /// Lets one more in; nothing, if there is no room for it.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entrant> {
        let inside = self.inside.fetch_add(1, Relaxed);
        let entrant = Entrant(Arc::clone(self));
        let had_room = self.room.fetch_sub(1, Relaxed) > 0;
        let may = inside < FREE_ENTRANTS || (had_room && self.level() == Level::Ample);
        self.entered.fetch_add(u64::from(may), Relaxed);
        // Dropped, it gives back what it took.
        may.then_some(entrant)
    }

    /// Returns whether who is in is served no more.
    pub(super) fn is_over(&self) -> bool {
        self.level() == Level::Over && self.inside.load(Relaxed) > FREE_ENTRANTS
    }

    /// Reads what is resident.
    pub(super) fn look(&self) {
        let Some(status) = &self.status else { return };
        match resident(status) {
            Ok(resident) => self.take_in(resident, clock::monotonic()),
            Err(error) => tracing::debug!(%error, "{STATUS} cannot be read"),
        }
    }

    fn take_in(&self, resident: u64, now: Instant) {
        self.resident.store(resident, Relaxed);
        let Some(bound) = self.bound else { return };
        let before = self.level();
        let level = next_level(before, resident, bound);
        let room = if level == Level::Ample { percent(bound, TIGHT_PERCENT).saturating_sub(resident) } else { 0 };
        let room = (room / ENTRANT_BYTES).saturating_sub(self.new_entrants(now));
        self.room.store(i64::try_from(room).unwrap_or(i64::MAX), Relaxed);
        if self.level.swap(level as u8, Relaxed) == level as u8 {
            return;
        }
        match level {
            Level::Ample => tracing::info!(resident, bound, "memory is there again: clients come in"),
            Level::Tight if before == Level::Over => {}
            Level::Tight => {
                tracing::warn!(resident, bound, "memory is nearly gone: nobody comes in; raise limits.memory");
            }
            Level::Over => tracing::warn!(resident, bound, "memory is gone: requests are refused; raise limits.memory"),
        }
    }

    /// Returns how many came in lately and are still in, at most.
    fn new_entrants(&self, now: Instant) -> u64 {
        let entered = self.entered.load(Relaxed);
        let mut before = self.entered_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant, than: Duration| now.saturating_duration_since(at) < than;
        if !before.back().is_some_and(|(at, _)| is_recent(*at, LOOK_OFTEN / 2)) {
            before.push_back((now, entered));
        }
        // The first that is left was read a second ago, or is the first of all.
        while before.get(1).is_some_and(|(at, _)| !is_recent(*at, NEW_FOR)) {
            before.pop_front();
        }
        let then = before.front().map_or(entered, |(_, then)| *then);
        (entered - then).min(self.inside.load(Relaxed))
    }

    fn level(&self) -> Level {
        match self.level.load(Relaxed) {
            0 => Level::Ample,
            1 => Level::Tight,
            _ => Level::Over,
        }
    }
}

impl Drop for Entrant {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Relaxed);
        self.0.room.fetch_add(1, Relaxed);
    }
}

fn percent(of: u64, percent: u64) -> u64 {
    of / 100 * percent
}

/// Once tight, it is ample again only well below where it became so.
fn next_level(before: Level, resident: u64, bound: u64) -> Level {
    let stays_tight = before != Level::Ample && resident >= percent(bound, AMPLE_PERCENT);
    if resident >= bound {
        Level::Over
    } else if stays_tight || resident >= percent(bound, TIGHT_PERCENT) {
        Level::Tight
    } else {
        Level::Ample
    }
}

fn resident(status: &File) -> io::Result<u64> {
    let mut text = [0; STATUS_BYTES_MAX];
    let n = status.read_at(&mut text, 0)?;
    resident_in(&text[..n]).ok_or_else(|| io::Error::other("it has no VmRSS"))
}

/// Returns the bytes of the line `VmRSS:     1234 kB`.
fn resident_in(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn resident_is_read_of_this_process() {
        let memory = Memory::new(None);
        assert!((MIB..1 << 40).contains(&memory.resident()), "{memory:?}");
        assert_eq!(memory.bound(), None);
        assert_eq!(resident_in(b"VmHWM:\t  9 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 1 kB\n"), Some(1234 * 1024));
        for text in ["", "VmRSS:\t kB", "VmRSS:\t 12 MB", "VmRSS: -1 kB"] {
            assert_eq!(resident_in(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn level_rises_at_once_and_falls_with_room_to_spare() {
        use Level::{Ample, Over, Tight};
        let mut level = Ample;
        let seen = [50, 89, 90, 86, 100, 99, 85, 84, 89, 120, 84].map(|resident| {
            level = next_level(level, resident * MIB, 100 * MIB);
            level
        });
        assert_eq!(seen, [Ample, Ample, Tight, Tight, Over, Tight, Tight, Ample, Ample, Over, Ample]);
    }

    #[test]
    fn as_many_come_in_as_there_is_room_for_and_who_leaves_makes_room() {
        let memory = Memory::new(Some(1 << 50));
        let bound = 100 * MIB;
        let memory = Arc::new(Memory { bound: Some(bound), ..Arc::into_inner(memory).unwrap() });
        let later = |ms| clock::monotonic() + NEW_FOR + Duration::from_millis(ms);
        memory.take_in(percent(bound, TIGHT_PERCENT) - 100 * ENTRANT_BYTES, later(0));
        let mut inside: Vec<_> = std::iter::from_fn(|| memory.enter()).collect();
        assert_eq!(inside.len(), 100);
        inside.pop();
        inside.extend(memory.enter());
        assert!(inside.len() == 100 && memory.enter().is_none());
        memory.take_in(percent(bound, TIGHT_PERCENT) - 100 * ENTRANT_BYTES, later(500));
        assert!(memory.enter().is_none(), "they have yet to take up what they will");
        memory.take_in(percent(bound, TIGHT_PERCENT) - 100 * ENTRANT_BYTES, later(2500));
        assert!(memory.enter().is_some());
        memory.take_in(bound, later(2600));
        assert!(memory.is_over() && memory.enter().is_none());
        inside.truncate(10);
        assert!(!memory.is_over(), "who is left are few");
        inside.extend(std::iter::from_fn(|| memory.enter()));
        assert_eq!(inside.len() as u64, FREE_ENTRANTS, "some come in however it stands");
        memory.take_in(MIB, later(9000));
        assert!(memory.enter().is_some());
    }

    #[test]
    fn process_without_a_bound_lets_everybody_in() {
        let memory = Memory::new(None);
        let inside: Vec<_> = (0..100_000).map_while(|_| memory.enter()).collect();
        memory.take_in(1 << 60, clock::monotonic());
        assert!(inside.len() == 100_000 && memory.enter().is_some() && !memory.is_over());
    }
}
