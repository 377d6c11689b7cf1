//! Says when which target is checked, and never more than so many at once.
//!
//! Pure: time is a `Duration` since the scheduler began, chance is the entropy handed in. A target waits for its next
//! check, or its check is under way; it never has two. The first check of every target is due at once, in the order
//! given. The second follows after a part of the interval that spreads targets evenly over it; every further one an
//! interval, or up to [`JITTER`] less, after the last one was *due*, so delays do not add up; never more, so `fall`
//! failures take no longer than `fall` intervals. A check that ends after the next was due is followed by one at once,
//! which stands for all those missed and waits its turn behind whoever was due before, so that an overload starves
//! nobody.
//!
//! Equal due times: first come, first served. Cost: O(log n) a step, O(n log n) for a new list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{Epoch, ServerKey};

/// The share of the interval by which one check may come earlier than the interval says.
pub const JITTER: f64 = 0.1;
/// The shortest interval; a shorter one is read as this.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Outdated heap entries that are kept before the heap is built anew.
const OUTDATED_ENTRIES_KEPT: usize = 1024;
/// 2^64 divided by the golden ratio: the step that spreads any number of points evenly over a circle.
const GOLDEN_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One target as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose check it is.
    pub key: ServerKey,
    /// Which incarnation; another one starts the target afresh.
    pub epoch: Epoch,
    /// Where the check connects; another one starts the target afresh.
    pub addr: SocketAddr,
    /// What the probe speaks; another word starts the target afresh.
    pub kind: &'static str,
    /// From one check's due time to the next.
    pub interval: Duration,
}

impl Wanted {
    fn is_same_target(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.addr == other.addr && self.kind == other.kind
    }

    fn interval(&self) -> Duration {
        self.interval.max(INTERVAL_MIN)
    }
}

/// One check that the schedule let begin; handed back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Whose check it is.
    pub key: ServerKey,
    stamp: u64,
}

/// When every target is checked next.
#[derive(Debug)]
pub struct Schedule {
    slots: BTreeMap<ServerKey, Slot>,
    /// (due, stamp, key), the earliest first. An entry counts while its stamp is its slot's and the slot waits.
    waiting: BinaryHeap<Reverse<(Duration, u64, ServerKey)>>,
    under_way: usize,
    at_once: usize,
    last_stamp: u64,
    jitter_state: u64,
    spread: u64,
}

#[derive(Debug)]
struct Slot {
    wanted: Wanted,
    state: State,
    /// Of the heap entry that counts, or of the check under way.
    stamp: u64,
    /// When the next check is due.
    due: Duration,
    /// No check has begun yet.
    is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The target left the list; its check is still under way.
    Leaving,
    /// The check under way is of a target that has changed since.
    Outdated,
    /// A check is under way.
    UnderWay,
    /// The next check is in the heap.
    Waiting,
}

impl Schedule {
    /// Returns a schedule of nothing that lets so many checks be under way at once, at least one.
    #[must_use]
    pub fn new(checks_at_once: usize, entropy: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            under_way: 0,
            at_once: checks_at_once.max(1),
            last_stamp: 0,
            jitter_state: entropy,
            spread: entropy.rotate_left(32),
        }
    }

    /// Checks exactly these targets from now on. Of a key that is there twice, the first counts.
    ///
    /// A target with the same address and kind keeps its place; with a shorter interval its next check comes no later
    /// than that interval from now. Others are due at once. Returns the checks under way that count no more: they may
    /// be cut short, and must still be handed to [`Self::finish`].
    pub fn set(&mut self, wanted: &[Wanted], now: Duration) -> Vec<Ticket> {
        let mut outdated = Vec::new();
        let mut seen = BTreeSet::new();
        for target in wanted {
            if seen.insert(target.key) {
                outdated.extend(self.put(*target, now));
            }
        }
        let gone: Vec<ServerKey> = self.slots.keys().copied().filter(|key| !seen.contains(key)).collect();
        for key in gone {
            outdated.extend(self.drop_target(key));
        }
        if self.waiting.len() > 2 * self.slots.len() + OUTDATED_ENTRIES_KEPT {
            self.rebuild_heap();
        }
        outdated
    }

    /// Checks this target too, or this one in place of the one with its key; otherwise as [`Self::set`].
    pub fn put(&mut self, wanted: Wanted, now: Duration) -> Option<Ticket> {
        let Some(slot) = self.slots.get_mut(&wanted.key) else {
            let slot = Slot { wanted, state: State::Waiting, stamp: 0, due: now, is_new: true };
            self.slots.insert(wanted.key, slot);
            self.wait_until(wanted.key, now);
            return None;
        };
        let is_same = slot.wanted.is_same_target(&wanted);
        slot.wanted = wanted;
        match slot.state {
            State::Leaving | State::Outdated => slot.state = State::Outdated,
            State::UnderWay if is_same => slot.due = slot.due.min(now + wanted.interval()),
            State::UnderWay => {
                slot.state = State::Outdated;
                slot.is_new = true;
                return Some(Ticket { key: wanted.key, stamp: slot.stamp });
            }
            State::Waiting if is_same => {
                let latest = now + wanted.interval();
                if slot.due > latest {
                    self.wait_until(wanted.key, latest);
                }
            }
            State::Waiting => {
                slot.is_new = true;
                self.wait_until(wanted.key, now);
            }
        }
        None
    }

    /// Begins the check that has been due for the longest, if one is due and the bound allows it.
    pub fn start(&mut self, now: Duration) -> Option<Ticket> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse((due, stamp, key)) = self.waiting.pop()?;
        let wait = self.wait_after(key)?;
        let slot = self.slots.get_mut(&key)?;
        slot.state = State::UnderWay;
        slot.is_new = false;
        slot.due = due + wait;
        self.under_way += 1;
        Some(Ticket { key, stamp })
    }

    /// Takes back a ticket and returns whether the result of its check counts.
    pub fn finish(&mut self, ticket: Ticket, now: Duration) -> bool {
        let Some(slot) = self.slots.get_mut(&ticket.key) else { return false };
        if slot.state == State::Waiting || slot.stamp != ticket.stamp {
            return false;
        }
        self.under_way -= 1;
        let ended = slot.state;
        match ended {
            State::Leaving => {
                self.slots.remove(&ticket.key);
            }
            State::Outdated => self.wait_until(ticket.key, now),
            State::UnderWay | State::Waiting => {
                let due = slot.due.max(now);
                self.wait_until(ticket.key, due);
            }
        }
        ended == State::UnderWay
    }

    /// Returns when [`Self::start`] next has something; nothing while only a finished check can bring that.
    #[must_use]
    pub fn next_due(&mut self) -> Option<Duration> {
        if self.under_way >= self.at_once {
            return None;
        }
        while let Some(Reverse((due, stamp, key))) = self.waiting.peek().copied() {
            if self.slots.get(&key).is_some_and(|slot| slot.state == State::Waiting && slot.stamp == stamp) {
                return Some(due);
            }
            self.waiting.pop();
        }
        None
    }

    /// Returns how many checks are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    fn drop_target(&mut self, key: ServerKey) -> Option<Ticket> {
        let slot = self.slots.get_mut(&key)?;
        let ticket = Ticket { key, stamp: slot.stamp };
        match slot.state {
            State::Leaving => None,
            State::Outdated => {
                slot.state = State::Leaving;
                None
            }
            State::UnderWay => {
                slot.state = State::Leaving;
                slot.is_new = true;
                Some(ticket)
            }
            State::Waiting => {
                self.slots.remove(&key);
                None
            }
        }
    }

    fn wait_until(&mut self, key: ServerKey, due: Duration) {
        self.last_stamp += 1;
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.state = State::Waiting;
            slot.due = due;
            slot.stamp = self.last_stamp;
            self.waiting.push(Reverse((due, self.last_stamp, key)));
        }
    }

    /// From the due time of the check that begins to the next one's.
    fn wait_after(&mut self, key: ServerKey) -> Option<Duration> {
        let (interval, is_new) = self.slots.get(&key).map(|slot| (slot.wanted.interval(), slot.is_new))?;
        if is_new {
            self.spread = self.spread.wrapping_add(GOLDEN_STEP);
            return Some(interval.mul_f64(1.0 - fraction(self.spread)));
        }
        Some(interval.mul_f64(1.0 - JITTER * fraction(self.random())))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.jitter_state = self.jitter_state.wrapping_add(GOLDEN_STEP);
        let mut z = self.jitter_state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn rebuild_heap(&mut self) {
        let live = self.slots.iter().filter(|(_, slot)| slot.state == State::Waiting);
        self.waiting = live.map(|(key, slot)| Reverse((slot.due, slot.stamp, *key))).collect();
    }
}

/// `bits` as a number in 0.0..1.0.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
