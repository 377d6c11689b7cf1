//! Says when which check is run, and never more than so many at once.
//!
//! Pure: time is a `Duration` since the schedule began, chance is the entropy handed in. What a check is, and whom it
//! serves, is the caller's, who has it kept here beside its times: what a run needs lies together. A check waits for its
//! next run, or is under way; it never runs twice at once.
//!
//! The first run is due when the caller says. The second follows after a part of the interval that spreads checks
//! evenly over it; every further one an interval, or up to [`JITTER`] less, after the last one was *due*, so delays do
//! not add up; never more, so `fall` failures take no longer than `fall` intervals. A run that ends after the next was
//! due is followed by one at once, which stands for all those missed and waits its turn behind whoever was due before,
//! so that an overload starves nobody. A new interval ([`Schedule::pace`]) counts from the last run, not from the next:
//! one that is shorter takes effect at once.
//!
//! Where the jitter allows, runs are due at multiples of a tick, so that many begin together and their wake-ups and
//! system calls are shared; a tick only ever makes a run earlier.
//!
//! Checks whose last run hung until its deadline get no more than half of the room, so that the others do not wait for
//! them when the room is full.
//!
//! Equal due times: first come, first served. Cost: O(log d) a step, where d is how many different due times there are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::scatter::ScatterMap;

/// The share of the interval by which one run may come earlier than the interval says.
pub const JITTER: f64 = 0.02;
/// The shortest interval; a shorter one is read as this.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Runs are due at multiples of this, where the jitter allows: those that begin together share wake-ups and system calls.
const TICK_NANOS: u64 = 20_000_000;
/// Outdated entries of lanes that are kept before these are built anew.
const OUTDATED_ENTRIES_KEPT: usize = 1024;
/// 2^64 divided by the golden ratio: the step that spreads any number of points evenly over a circle.
const GOLDEN_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One check; the caller numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId(pub u64);

/// One run that the schedule let begin; handed back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Which check runs.
    pub check: CheckId,
    stamp: u64,
}

/// How a run ended, as far as the schedule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEnd {
    /// At its deadline: it held its place for as long as it could.
    Hung,
    /// Before its deadline.
    Prompt,
}

/// When every check runs next, and what it is.
#[derive(Debug)]
pub struct Schedule<T> {
    slots: ScatterMap<CheckId, Slot<T>>,
    prompt: Lane,
    hung: Lane,
    at_once: usize,
    last_stamp: u64,
    jitter_state: u64,
    spread: u64,
}

/// Checks that share room.
#[derive(Debug, Default)]
struct Lane {
    /// By when they are due, in the order they came. An entry counts while its stamp is its slot's and the slot waits.
    waiting: BTreeMap<Duration, VecDeque<(u64, CheckId)>>,
    /// Entries in `waiting`.
    entries: usize,
    under_way: usize,
}

#[derive(Debug)]
struct Slot<T> {
    what: T,
    interval: Duration,
    state: State,
    /// How its last run ended, which is its lane.
    last_end: RunEnd,
    /// Of the lane's entry that counts, or of the run under way.
    stamp: u64,
    last: Option<LastRun>,
    /// The next run is due no later than this, whatever the interval says.
    hastened: Option<Duration>,
    /// When the next run is due, while it waits.
    due: Duration,
}

/// From what the next run's time is reckoned.
#[derive(Clone, Copy, Debug)]
struct LastRun {
    due: Duration,
    ended: Duration,
    /// The part of the interval that is waited.
    share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The check was removed; its run is still under way.
    Leaving,
    /// A run is under way.
    UnderWay,
    /// The next run is in a lane.
    Waiting,
}

impl Lane {
    fn push(&mut self, due: Duration, stamp: u64, check: CheckId) {
        self.waiting.entry(due).or_default().push_back((stamp, check));
        self.entries += 1;
    }

    fn first(&self) -> Option<(Duration, u64, CheckId)> {
        let (due, entries) = self.waiting.first_key_value()?;
        entries.front().map(|(stamp, check)| (*due, *stamp, *check))
    }

    fn pop(&mut self) {
        let Some(mut first) = self.waiting.first_entry() else { return };
        first.get_mut().pop_front();
        self.entries -= 1;
        if first.get().is_empty() {
            first.remove();
        }
    }
}

impl<T> Slot<T> {
    /// When the next run is due after the last one ended.
    fn next_due(&self) -> Duration {
        let Some(last) = self.last else { return self.due };
        let by_interval = together(last.due, self.interval, last.share);
        self.hastened.map_or(by_interval, |at| at.min(by_interval)).max(last.ended)
    }
}

impl<T> Schedule<T> {
    /// Returns a schedule of nothing that lets so many checks be under way at once, at least one.
    #[must_use]
    pub fn new(checks_at_once: usize, entropy: u64) -> Self {
        Self {
            slots: ScatterMap::default(),
            prompt: Lane::default(),
            hung: Lane::default(),
            at_once: checks_at_once.max(1),
            last_stamp: 0,
            jitter_state: entropy,
            spread: entropy.rotate_left(32),
        }
    }

    /// Runs this check too, first when `due`. Nothing changes where the number is known already.
    pub fn add(&mut self, check: CheckId, what: T, interval: Duration, due: Duration) {
        if self.slots.contains_key(&check) {
            return;
        }
        let slot = Slot {
            what,
            interval: interval.max(INTERVAL_MIN),
            state: State::Waiting,
            last_end: RunEnd::Prompt,
            stamp: 0,
            last: None,
            hastened: None,
            due,
        };
        self.slots.insert(check, slot);
        self.wait(check);
    }

    /// Returns what a check is; nothing of one unknown or removed.
    #[must_use]
    pub fn get(&self, check: CheckId) -> Option<&T> {
        self.slots.get(&check).filter(|slot| slot.state != State::Leaving).map(|slot| &slot.what)
    }

    /// Returns what a check is, to be changed; nothing of one unknown or removed.
    #[must_use]
    pub fn get_mut(&mut self, check: CheckId) -> Option<&mut T> {
        self.slots.get_mut(&check).filter(|slot| slot.state != State::Leaving).map(|slot| &mut slot.what)
    }

    /// Runs this check no more. Returns its run under way: it counts no longer, may be cut short, and must still be
    /// handed to [`Self::finish`].
    pub fn remove(&mut self, check: CheckId) -> Option<Ticket> {
        let slot = self.slots.get_mut(&check)?;
        match slot.state {
            State::Leaving => None,
            State::UnderWay => {
                slot.state = State::Leaving;
                Some(Ticket { check, stamp: slot.stamp })
            }
            State::Waiting => {
                self.slots.remove(&check);
                self.drop_outdated_entries();
                None
            }
        }
    }

    /// Has the next run due at `at` unless it is sooner. It still waits for the end of the one under way.
    pub fn hasten(&mut self, check: CheckId, at: Duration) {
        let Some(slot) = self.slots.get_mut(&check) else { return };
        slot.hastened = Some(slot.hastened.map_or(at, |before| before.min(at)));
        if slot.state == State::Waiting && slot.due > at {
            slot.due = at;
            self.wait(check);
        }
    }

    /// Runs the check at this interval from its last run on.
    pub fn pace(&mut self, check: CheckId, interval: Duration) {
        let interval = interval.max(INTERVAL_MIN);
        let Some(slot) = self.slots.get_mut(&check) else { return };
        if slot.interval == interval {
            return;
        }
        slot.interval = interval;
        if slot.state == State::Waiting && slot.last.is_some() {
            slot.due = slot.next_due();
            self.wait(check);
        }
    }

    /// Begins the run that has been due for the longest, if one is due and there is room.
    pub fn start(&mut self, now: Duration) -> Option<Ticket> {
        let (lane, (due, stamp, check)) = self.next()?;
        if due > now {
            return None;
        }
        let share = self.next_share(check)?;
        let lane = self.lane(lane);
        lane.pop();
        lane.under_way += 1;
        let slot = self.slots.get_mut(&check)?;
        slot.state = State::UnderWay;
        slot.hastened = None;
        slot.last = Some(LastRun { due, ended: due, share });
        Some(Ticket { check, stamp })
    }

    /// Takes back a ticket and returns whether the result of its run counts.
    pub fn finish(&mut self, ticket: Ticket, now: Duration, end: RunEnd) -> bool {
        let Some(slot) = self.slots.get_mut(&ticket.check) else { return false };
        if slot.state == State::Waiting || slot.stamp != ticket.stamp {
            return false;
        }
        let lane = slot.last_end;
        self.lane(lane).under_way -= 1;
        let Some(slot) = self.slots.get_mut(&ticket.check) else { return false };
        if slot.state == State::Leaving {
            self.slots.remove(&ticket.check);
            return false;
        }
        slot.last_end = end;
        if let Some(last) = &mut slot.last {
            last.ended = now;
        }
        slot.due = slot.next_due();
        self.wait(ticket.check);
        true
    }

    /// Returns when [`Self::start`] next has something; nothing while only a finished run can bring that.
    #[must_use]
    pub fn next_due(&mut self) -> Option<Duration> {
        self.next().map(|(_, (due, _, _))| due)
    }

    /// Returns when a check's next run is due; nothing while one is under way, or of a check unknown.
    #[must_use]
    pub fn due_of(&self, check: CheckId) -> Option<Duration> {
        self.slots.get(&check).filter(|slot| slot.state == State::Waiting).map(|slot| slot.due)
    }

    /// Returns how many runs are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.prompt.under_way + self.hung.under_way
    }

    fn lane(&mut self, lane: RunEnd) -> &mut Lane {
        match lane {
            RunEnd::Hung => &mut self.hung,
            RunEnd::Prompt => &mut self.prompt,
        }
    }

    /// The entry that is due first of those that may begin now, and its lane.
    fn next(&mut self) -> Option<(RunEnd, (Duration, u64, CheckId))> {
        if self.under_way() >= self.at_once {
            return None;
        }
        let may_hang = self.hung.under_way < (self.at_once / 2).max(1);
        let prompt = self.first_of(RunEnd::Prompt).map(|entry| (RunEnd::Prompt, entry));
        let hung = if may_hang { self.first_of(RunEnd::Hung).map(|entry| (RunEnd::Hung, entry)) } else { None };
        [prompt, hung].into_iter().flatten().min_by_key(|(_, entry)| *entry)
    }

    fn first_of(&mut self, lane: RunEnd) -> Option<(Duration, u64, CheckId)> {
        while let Some((due, stamp, check)) = self.lane(lane).first() {
            if self.slots.get(&check).is_some_and(|slot| slot.state == State::Waiting && slot.stamp == stamp) {
                return Some((due, stamp, check));
            }
            self.lane(lane).pop();
        }
        None
    }

    /// Puts the check into its lane for its due time, in place of an entry that it has.
    fn wait(&mut self, check: CheckId) {
        self.last_stamp += 1;
        let stamp = self.last_stamp;
        let Some(slot) = self.slots.get_mut(&check) else { return };
        slot.state = State::Waiting;
        slot.stamp = stamp;
        let (due, lane) = (slot.due, slot.last_end);
        self.lane(lane).push(due, stamp, check);
        self.drop_outdated_entries();
    }

    /// The part of the interval that is waited after the run that begins now.
    fn next_share(&mut self, check: CheckId) -> Option<f64> {
        if self.slots.get(&check)?.last.is_none() {
            self.spread = self.spread.wrapping_add(GOLDEN_STEP);
            return Some(1.0 - fraction(self.spread));
        }
        Some(1.0 - JITTER * fraction(self.random()))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.jitter_state = self.jitter_state.wrapping_add(GOLDEN_STEP);
        let mut z = self.jitter_state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn drop_outdated_entries(&mut self) {
        if self.prompt.entries + self.hung.entries <= 2 * self.slots.len() + OUTDATED_ENTRIES_KEPT {
            return;
        }
        for lane in [RunEnd::Hung, RunEnd::Prompt] {
            let is_of = |slot: &Slot<T>| slot.state == State::Waiting && slot.last_end == lane;
            let live = self.slots.iter().filter(|(_, slot)| is_of(slot));
            let mut entries: Vec<_> = live.map(|(check, slot)| (slot.due, slot.stamp, *check)).collect();
            entries.sort_unstable();
            let lane = self.lane(lane);
            lane.waiting.clear();
            lane.entries = 0;
            entries.into_iter().for_each(|(due, stamp, check)| lane.push(due, stamp, check));
        }
    }
}

/// When a run is due that follows one due at `last`: in time for company, if that is not too soon.
fn together(last: Duration, interval: Duration, share: f64) -> Duration {
    let due = last + interval.mul_f64(share);
    let tick = due - Duration::from_nanos(u64::from(due.subsec_nanos()) % TICK_NANOS);
    if tick < last + interval.mul_f64(1.0 - JITTER) { due } else { tick }
}

/// `bits` as a number in 0.0..1.0.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
