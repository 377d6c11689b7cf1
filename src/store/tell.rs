//! The end of every write: the table is made live, events get their ids, go to the journal and, once the lock is given
//! back, to the sinks.
//!
//! A write gathers a [`Batch`] under the lock. Events are queued under the lock too, so their order is that of their
//! ids; one thread at a time hands them to the sinks, and one that finds another at it leaves its events to that one.
//! So a sink that blocks holds up the thread it blocks, and no other.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, TryLockError};

use crate::model::{AdminStatus, Event, EventKind, FarmId, Name, OrderEnding, ServerKey, Timestamp};

use super::Store;
use super::seams::Entry;
use super::state::{Row, State};

/// Events that wait for the sinks. Beyond it the oldest are not told, and counted; the journal has them.
const OUTBOX_EVENTS_MAX: usize = 16_384;

/// What one write gathers under the lock.
#[derive(Default)]
pub(super) struct Batch {
    farms: BTreeSet<FarmId>,
    causes: Vec<(u64, EventKind)>,
    closing: Vec<Closing>,
}

/// A server whose open connections are closed after the lock is given back.
struct Closing {
    server: ServerKey,
    farm_name: Name,
    server_name: Name,
    told_as: ToldAs,
}

/// The event that tells how many connections were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldAs {
    /// A removed server's end.
    Left,
    /// None: the server went Down, which was told.
    Nothing,
    /// The deadline of this order.
    OrderEnded(AdminStatus),
}

impl Batch {
    /// Says that what is seen of a farm changed: its table is built anew.
    pub(super) fn show(&mut self, farm: FarmId) {
        self.farms.insert(farm);
    }

    /// Adds an event; its id is that of this moment.
    pub(super) fn push(&mut self, state: &mut State, kind: EventKind) {
        self.causes.push((state.next_event_id(), kind));
    }

    /// Adds a server whose connections are to be closed.
    pub(super) fn close(&mut self, server: ServerKey, row: &Row, told_as: ToldAs) {
        let (farm_name, server_name) = (row.farm.name.clone(), row.server.name.clone());
        self.closing.push(Closing { server, farm_name, server_name, told_as });
    }
}

impl Closing {
    fn event(self, closed: u64) -> Option<EventKind> {
        let Self { server, farm_name, server_name, told_as } = self;
        match told_as {
            ToldAs::Left => Some(EventKind::Left { server, farm_name, server_name, closed }),
            ToldAs::Nothing => None,
            ToldAs::OrderEnded(order) => {
                let ending = OrderEnding::Deadline;
                Some(EventKind::OrderEnded { server, farm_name, server_name, order, ending, closed })
            }
        }
    }
}

impl Store {
    /// Tells what happened outside: no table shows it.
    pub fn note(&self, kind: EventKind, now: Timestamp) {
        let (mut state, mut batch) = (self.lock(), Batch::default());
        batch.push(&mut state, kind);
        self.tell(state, batch, now);
    }

    /// Publishes the table with the farms of the batch built anew, then tells what was gathered and, where it follows,
    /// how the farms serve now.
    pub(super) fn finish(&self, mut state: MutexGuard<'_, State>, mut batch: Batch, now: Timestamp) {
        let farms = std::mem::take(&mut batch.farms);
        if !farms.is_empty() {
            let (table, served) = state.with_farms_rebuilt(&self.load(), &farms, now);
            self.publish(table);
            for kind in served {
                batch.push(&mut state, kind);
            }
        }
        self.tell(state, batch, now);
    }

    /// Tells what was gathered, gives the lock back and does what may block.
    pub(super) fn tell(&self, mut state: MutexGuard<'_, State>, batch: Batch, now: Timestamp) {
        let Batch { causes, closing, .. } = batch;
        let is_quiet = causes.is_empty() && closing.is_empty();
        for (id, kind) in causes {
            self.emit(&mut state, id, now, kind);
        }
        drop(state);
        if !is_quiet {
            self.close(closing, now);
            self.deliver();
        }
    }

    fn close(&self, closing: Vec<Closing>, now: Timestamp) {
        let mut told = Vec::new();
        for closing in closing {
            let closed = self.sessions().close(closing.server);
            told.extend(closing.event(closed));
        }
        if told.is_empty() {
            return;
        }
        let mut state = self.lock();
        for kind in told {
            let id = state.next_event_id();
            self.emit(&mut state, id, now, kind);
        }
    }

    fn emit(&self, state: &mut State, id: u64, at: Timestamp, kind: EventKind) {
        let event = Arc::new(Event { id, at, generation: state.generation, kind });
        self.journal.note(Entry::Event(Arc::clone(&event)));
        if self.sinks.is_empty() {
            return;
        }
        if state.outbox.len() == OUTBOX_EVENTS_MAX {
            state.outbox.pop_front();
            state.untold += 1;
        }
        state.outbox.push_back(event);
    }

    /// Returns how many events were not told since the last call, because a sink blocked for too long. The journal has
    /// them.
    pub fn take_untold(&self) -> u64 {
        std::mem::take(&mut self.lock().untold)
    }

    /// Hands queued events to the sinks until there are none, unless another thread does so already. That one looks
    /// again after it has ended, so none stays behind.
    fn deliver(&self) {
        while !self.lock().outbox.is_empty() {
            let _telling = match self.telling.try_lock() {
                Ok(telling) => telling,
                Err(TryLockError::Poisoned(telling)) => telling.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let events = std::mem::take(&mut self.lock().outbox);
            for event in &events {
                for sink in &self.sinks {
                    sink(event);
                }
            }
        }
    }
}
