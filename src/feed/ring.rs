//! The last events, in memory, for readers that follow along.
//!
//! One writer (the Store's sink) pushes, readers ask for what came after the last one they saw. A reader that fell
//! behind further than the ring reaches, or comes from before the process, is told so and reads the journal instead.
//! Nobody waits here: an edge that wants to sleep until something comes has its own means.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Event, FarmId, ServerKey, Timestamp};

/// Events that the ring holds; the oldest goes first.
pub const EVENTS_HELD_MAX: usize = 4096;

/// An event as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The farms that it is about; none where it is about the process.
    pub farms: Box<[FarmId]>,
    /// The server that it is about, if it is about one.
    pub server: Option<ServerKey>,
    /// It in the one schema.
    pub json: Arc<str>,
}

impl Told {
    /// Returns the event as it is told.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            id: event.id,
            at: event.at,
            farms: super::farms(&event.kind).into(),
            server: event.kind.server(),
            json: super::json(event).into(),
        }
    }
}

/// What came after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// These, the oldest first; none if nothing came.
    Events(Vec<Arc<Told>>),
    /// The ring does not reach back that far: what is missing ends with this id and is in the journal.
    Gap {
        /// The newest event that the ring no longer holds.
        missing_up_to: u64,
    },
}

/// See the module's doc.
#[derive(Debug)]
pub struct Ring {
    latest: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    missing_up_to: u64,
    events: VecDeque<Arc<Told>>,
}

impl Ring {
    /// Returns an empty ring; `last` is the id of the last event of earlier processes.
    #[must_use]
    pub fn new(last: u64) -> Self {
        let held = Held { missing_up_to: last, events: VecDeque::new() };
        Self { latest: AtomicU64::new(last), held: Mutex::new(held) }
    }

    /// Takes in an event, newer than all before.
    pub fn push(&self, event: &Event) {
        self.put(Told::of(event));
    }

    fn put(&self, told: Told) {
        let id = told.id;
        let mut held = self.held();
        if held.events.len() == EVENTS_HELD_MAX
            && let Some(oldest) = held.events.pop_front()
        {
            held.missing_up_to = oldest.id;
        }
        held.events.push_back(Arc::new(told));
        self.latest.store(id, Ordering::Release);
    }

    /// Returns the id of the newest event; without a lock.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// Returns the events after `id`, the oldest first, at most `limit` of them. Costs a search and as many clones.
    #[must_use]
    pub fn after(&self, id: u64, limit: usize) -> Since {
        let held = self.held();
        if id < held.missing_up_to {
            return Since::Gap { missing_up_to: held.missing_up_to };
        }
        let first = held.events.partition_point(|told| told.id <= id);
        Since::Events(held.events.iter().skip(first).take(limit).map(Arc::clone).collect())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u64) -> Told {
        Told { id, at: Timestamp(id), farms: Box::default(), server: None, json: "{}".into() }
    }

    fn ids(since: Since) -> Vec<u64> {
        match since {
            Since::Events(events) => events.iter().map(|told| told.id).collect(),
            Since::Gap { missing_up_to } => panic!("a gap up to {missing_up_to}"),
        }
    }

    #[test]
    fn ring_gives_what_came_after_and_no_more_than_asked() {
        let ring = Ring::new(7);
        assert_eq!((ring.latest(), ids(ring.after(7, 9))), (7, vec![]));
        for id in [8, 9, 20, 21] {
            ring.put(told(id));
        }
        assert_eq!(ring.latest(), 21);
        assert_eq!(ids(ring.after(7, 9)), [8, 9, 20, 21]);
        assert_eq!(ids(ring.after(9, 9)), [20, 21]);
        assert_eq!(ids(ring.after(12, 1)), [20]);
        assert_eq!(ids(ring.after(21, 9)), [] as [u64; 0]);
        assert_eq!(ids(ring.after(99, 9)), [] as [u64; 0]);
    }

    #[test]
    fn ring_that_does_not_reach_back_says_so() {
        let ring = Ring::new(7);
        assert_eq!(ring.after(6, 9), Since::Gap { missing_up_to: 7 });
        for id in 8..8 + EVENTS_HELD_MAX as u64 + 2 {
            ring.put(told(id));
        }
        assert_eq!(ring.after(8, 9), Since::Gap { missing_up_to: 9 });
        assert_eq!(ids(ring.after(9, 2)), [10, 11]);
        assert_eq!(ids(ring.after(9, usize::MAX)).len(), EVENTS_HELD_MAX);
    }
}
