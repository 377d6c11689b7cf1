//! What waits for the writer: bounded, never blocking whoever hands it in, and telling what it had to drop.
//!
//! Events and healths are never dropped while the disk works: of healths only the last of each server waits, so they
//! are as many as servers; events are bounded by [`EVENTS_WAITING_MAX`], which only a disk that fails for long can
//! fill. Evidence and checks are dropped, the oldest first, beyond their bounds. Each of these is counted.
//!
//! The writer gathers for [`GATHER`] so that one transaction carries what comes together; whoever wants to read what
//! it just noted hurries it with [`Queue::flush`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{CheckBrief, CheckRecord, Event, ProbeSlot, SavedHealth, ServerKey};
use crate::store::Entry;

/// Events that wait for the disk; beyond it the oldest is lost, and counted.
pub(super) const EVENTS_WAITING_MAX: usize = 16_384;
/// Checks that wait for the disk; beyond it the oldest is dropped, and counted.
pub(super) const CHECKS_WAITING_MAX: usize = 65_536;
/// Checks with evidence that wait for the disk; beyond it the oldest is dropped, and counted.
pub(super) const EVIDENCE_WAITING_MAX: usize = 2_048;
/// How long the writer gathers; with the time of a transaction well below the 100 ms that are promised.
const GATHER: Duration = Duration::from_millis(50);

/// A check with what it sent and received.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) server: ServerKey,
    pub(super) slot: ProbeSlot,
    pub(super) record: Arc<CheckRecord>,
}

/// What the writer is handed at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order of their ids.
    pub(super) events: VecDeque<Arc<Event>>,
    /// The last of each server; none: to be forgotten.
    pub(super) healths: BTreeMap<ServerKey, Option<Box<SavedHealth>>>,
    pub(super) evidence: VecDeque<Seen>,
    pub(super) checks: VecDeque<(ServerKey, CheckBrief)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.healths.is_empty() && self.evidence.is_empty() && self.checks.is_empty()
    }

    fn len(&self) -> usize {
        self.events.len() + self.healths.len() + self.evidence.len() + self.checks.len()
    }
}

/// What is counted; read at any time.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) events_written: AtomicU64,
    pub(super) events_lost: AtomicU64,
    pub(super) checks_written: AtomicU64,
    pub(super) checks_dropped: AtomicU64,
    pub(super) evidence_written: AtomicU64,
    pub(super) evidence_dropped: AtomicU64,
    pub(super) failures: AtomicU64,
}

pub(super) fn add(cell: &AtomicU64, by: u64) {
    cell.fetch_add(by, Ordering::Relaxed);
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) cells: Cells,
    keeps_history: bool,
    waiting: Mutex<Waiting>,
    come: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// Entries handed in so far, and how many of them the disk has.
    noted: u64,
    written: u64,
    is_hurried: bool,
    is_closing: bool,
    is_ended: bool,
}

/// What [`Queue::next`] gives the writer.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) batch: Batch,
    /// To be handed to [`Queue::written`].
    pub(super) up_to: u64,
    /// Nothing comes after it.
    pub(super) is_last: bool,
}

impl Queue {
    pub(super) fn new(keeps_history: bool) -> Self {
        let waiting = Mutex::new(Waiting::default());
        Self { cells: Cells::default(), keeps_history, waiting, come: Condvar::new(), done: Condvar::new() }
    }

    /// Takes an entry in; at once.
    pub(super) fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        let was_empty = waiting.batch.is_empty();
        let batch = &mut waiting.batch;
        match entry {
            Entry::Check { server, brief } => {
                if !self.keeps_history {
                    return;
                }
                push_bounded(&mut batch.checks, (server, brief), CHECKS_WAITING_MAX, &self.cells.checks_dropped);
            }
            Entry::Event(event) => {
                push_bounded(&mut batch.events, event, EVENTS_WAITING_MAX, &self.cells.events_lost);
            }
            Entry::Evidence { server, slot, record } => {
                let seen = Seen { server, slot, record };
                push_bounded(&mut batch.evidence, seen, EVIDENCE_WAITING_MAX, &self.cells.evidence_dropped);
            }
            Entry::Forgotten(servers) => batch.healths.extend(servers.into_iter().map(|server| (server, None))),
            Entry::Health(saved) => {
                batch.healths.insert(saved.server, Some(saved));
            }
        }
        waiting.noted += 1;
        drop(waiting);
        if was_empty {
            self.come.notify_one();
        }
    }

    /// Returns how many entries wait.
    pub(super) fn backlog(&self) -> usize {
        self.lock().batch.len()
    }

    /// Has the writer write what was handed in before, and waits until it did, `bound` at the most.
    pub(super) fn flush(&self, bound: Duration) {
        let mut waiting = self.lock();
        let wanted = waiting.noted;
        if waiting.written >= wanted || waiting.is_ended {
            return;
        }
        waiting.is_hurried = true;
        self.come.notify_one();
        let is_short = |waiting: &mut Waiting| waiting.written < wanted && !waiting.is_ended;
        drop(self.done.wait_timeout_while(waiting, bound, is_short).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until there is something to write, the writer is hurried or told to end, or `idle` has passed.
    pub(super) fn next(&self, idle: Duration) -> Turn {
        let waiting = self.lock();
        let is_idle = |w: &mut Waiting| w.batch.is_empty() && !w.is_hurried && !w.is_closing;
        let (waiting, _) = self.come.wait_timeout_while(waiting, idle, is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathers = |w: &mut Waiting| !w.batch.is_empty() && !w.is_hurried && !w.is_closing;
        let gathered = self.come.wait_timeout_while(waiting, GATHER, gathers);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        waiting.is_hurried = false;
        let batch = std::mem::take(&mut waiting.batch);
        Turn { batch, up_to: waiting.noted, is_last: waiting.is_closing }
    }

    /// Says that everything up to there is on disk, or lost and counted.
    pub(super) fn written(&self, up_to: u64) {
        self.lock().written = up_to;
        self.done.notify_all();
    }

    /// Rests the writer after a failure; returns whether it is told to end.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let waiting = self.lock();
        let rested = self.come.wait_timeout_while(waiting, time, |waiting| !waiting.is_closing);
        rested.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }

    /// Tells the writer to write what waits and end; waits for it, `bound` at the most. Returns whether it ended.
    pub(super) fn close(&self, bound: Duration) -> bool {
        let mut waiting = self.lock();
        waiting.is_closing = true;
        self.come.notify_one();
        let ended = self.done.wait_timeout_while(waiting, bound, |waiting| !waiting.is_ended);
        ended.unwrap_or_else(PoisonError::into_inner).0.is_ended
    }

    /// Says that the writer is gone, for whatever reason.
    pub(super) fn ended(&self) {
        self.lock().is_ended = true;
        self.done.notify_all();
    }

    /// Whoever panicked here left the queue whole: every change is one step.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, entry: T, most: usize, dropped: &AtomicU64) {
    if queue.len() >= most {
        queue.pop_front();
        add(dropped, 1);
    }
    queue.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::samples::{NOON, brief, server, transition};
    use crate::model::{CheckStatus, Health};

    fn event(id: u64) -> Entry {
        Entry::Event(Arc::new(transition(id, 1, NOON, Health::Down, None)))
    }

    fn check() -> Entry {
        Entry::Check { server: server(1).0, brief: brief(CheckStatus::L7Ok, Some(200), NOON) }
    }

    #[test]
    fn queue_drops_the_oldest_checks_beyond_its_bound_and_no_event_for_them() {
        let queue = Queue::new(true);
        for _ in 0..CHECKS_WAITING_MAX + 3 {
            queue.push(check());
        }
        queue.push(event(1));
        assert_eq!(queue.backlog(), CHECKS_WAITING_MAX + 1);
        assert_eq!(queue.cells.checks_dropped.load(Ordering::Relaxed), 3);
        assert_eq!(queue.cells.events_lost.load(Ordering::Relaxed), 0);
        let turn = queue.next(Duration::ZERO);
        assert_eq!((turn.batch.events.len(), turn.up_to), (1, CHECKS_WAITING_MAX as u64 + 4));
    }

    #[test]
    fn queue_loses_the_oldest_event_beyond_its_bound_and_counts_it() {
        let queue = Queue::new(true);
        for id in 1..=EVENTS_WAITING_MAX as u64 + 2 {
            queue.push(event(id));
        }
        assert_eq!(queue.cells.events_lost.load(Ordering::Relaxed), 2);
        assert_eq!(queue.next(Duration::ZERO).batch.events.front().unwrap().id, 3);
    }

    #[test]
    fn queue_without_history_takes_no_check() {
        let queue = Queue::new(false);
        queue.push(check());
        assert_eq!((queue.backlog(), queue.cells.checks_dropped.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn queue_keeps_the_last_health_of_each_server() {
        let queue = Queue::new(true);
        queue.push(Entry::Forgotten(vec![server(1).0, server(2).0]));
        queue.push(Entry::Forgotten(vec![server(1).0]));
        assert_eq!(queue.backlog(), 2);
    }

    #[test]
    fn closing_while_no_writer_is_there_gives_up_at_the_bound() {
        let queue = Queue::new(true);
        queue.push(event(1));
        queue.flush(Duration::from_millis(1));
        assert!(!queue.close(Duration::from_millis(1)));
        assert!(queue.next(Duration::ZERO).is_last);
    }
}
