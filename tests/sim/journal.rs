//! A model of the journal: what is durable when, and what a crash leaves of it.
//!
//! Overrides are durable when the call returns. Events and healths wait up to 100 ms of virtual time; then they are
//! written as the real writer does it, healths before the events that tell of them, row by row. The process may die
//! between any two rows: from then on nothing is written, whoever asks. Checks and evidence may be dropped and are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use farmgate::model::{Event, EventKind, Field, Health, Override, SavedHealth, ServerKey, Timestamp};
use farmgate::store::{Entry, Journal, JournalError, SavedOverride};

use super::Sabotage;
use super::chance::Chance;

/// Ids that are skipped after a crash, as the real one does.
const IDS_SKIPPED: u64 = 16_384;

/// See the module's doc.
#[derive(Debug)]
pub(crate) struct Disk {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sabotage: Option<Sabotage>,
    chance: Chance,
    overrides: BTreeMap<(ServerKey, Field), Override>,
    healths: BTreeMap<ServerKey, SavedHealth>,
    last_event: u64,
    /// Of each server, to what its last durable transition led, and when the check that decided it ended.
    led_to: BTreeMap<ServerKey, (Health, Timestamp)>,
    /// The first event that was written out of order, and the one before it.
    out_of_order: Option<(u64, u64)>,
    waiting: VecDeque<Entry>,
    /// Rows that may still be written; none: any number.
    rows_left: Option<u64>,
    is_refusing: bool,
}

impl Inner {
    /// Returns whether one more row is written.
    fn row(&mut self) -> bool {
        if self.is_refusing || self.rows_left == Some(0) {
            return false;
        }
        self.rows_left = self.rows_left.map(|left| left - 1);
        true
    }

    fn error() -> JournalError {
        JournalError { what: "write", cause: "disk full".into() }
    }

    fn write_waiting(&mut self) {
        if self.is_refusing {
            return;
        }
        let batch: Vec<Entry> = self.waiting.drain(..).collect();
        let (events, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|entry| matches!(entry, Entry::Event(_)));
        for entry in others.into_iter().chain(events) {
            if !self.row() {
                return;
            }
            match entry {
                Entry::Event(event) => self.write_event(&event),
                Entry::Forgotten(servers) => servers.iter().for_each(|key| {
                    self.healths.remove(key);
                    self.led_to.remove(key);
                }),
                Entry::Health(saved) => drop(self.healths.insert(saved.server, *saved)),
                Entry::Check { .. } | Entry::Evidence { .. } => {}
            }
        }
    }

    fn write_event(&mut self, event: &Event) {
        if event.id <= self.last_event {
            self.out_of_order.get_or_insert((self.last_event, event.id));
        }
        self.last_event = event.id;
        if let EventKind::Transition { server, to, ref check, .. } = event.kind {
            // Of a server that was forgotten in the same breath, its health is not there any more either.
            if self.healths.contains_key(&server) {
                self.led_to.insert(server, (to, check.at));
            }
        }
    }
}

/// What a process finds that starts now.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) overrides: BTreeMap<(ServerKey, Field), Override>,
    pub(crate) healths: BTreeMap<ServerKey, SavedHealth>,
    pub(crate) led_to: BTreeMap<ServerKey, (Health, Timestamp)>,
}

impl Disk {
    pub(crate) fn new(chance: Chance, sabotage: Option<Sabotage>) -> Arc<Self> {
        let inner = Inner {
            sabotage,
            chance,
            overrides: BTreeMap::new(),
            healths: BTreeMap::new(),
            last_event: 0,
            led_to: BTreeMap::new(),
            out_of_order: None,
            waiting: VecDeque::new(),
            rows_left: None,
            is_refusing: false,
        };
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Returns whether something waits to be written.
    pub(crate) fn is_behind(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// The writer's turn.
    pub(crate) fn write(&self) {
        self.lock().write_waiting();
    }

    pub(crate) fn refuse(&self, is_refusing: bool) {
        self.lock().is_refusing = is_refusing;
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.lock().is_refusing
    }

    /// The process will die after so many more rows.
    pub(crate) fn die_after(&self, rows: u64) {
        self.lock().rows_left = Some(rows);
    }

    /// Returns whether the process is dead: nothing that it did or told since counts.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().rows_left == Some(0)
    }

    pub(crate) fn out_of_order(&self) -> Option<(u64, u64)> {
        self.lock().out_of_order
    }

    /// The process ends, in order or by a crash; another one may open what is left.
    pub(crate) fn reopen(&self, is_crash: bool) -> Left {
        let mut inner = self.lock();
        let is_crash = is_crash || inner.rows_left.is_some();
        if inner.rows_left.is_none() {
            inner.is_refusing = false;
            if is_crash {
                let waiting = inner.waiting.len() as u64;
                let rows = inner.chance.below(waiting + 1);
                inner.waiting.truncate(usize::try_from(rows).unwrap());
            }
            inner.write_waiting();
        }
        inner.waiting.clear();
        (inner.rows_left, inner.is_refusing) = (None, false);
        let skips = is_crash && inner.sabotage != Some(Sabotage::RepeatedIds);
        inner.last_event += if skips { IDS_SKIPPED } else { 0 };
        if inner.sabotage == Some(Sabotage::LostHealths) {
            inner.healths.clear();
        }
        Left { overrides: inner.overrides.clone(), healths: inner.healths.clone(), led_to: inner.led_to.clone() }
    }
}

impl Journal for Disk {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        Ok(self.lock().healths.values().cloned().collect())
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        Ok(self.lock().last_event)
    }

    fn note(&self, entry: Entry) {
        let mut inner = self.lock();
        let is_kept = match entry {
            Entry::Event(_) | Entry::Forgotten(_) | Entry::Health(_) => true,
            Entry::Check { .. } | Entry::Evidence { .. } => false,
        };
        if is_kept {
            inner.waiting.push_back(entry);
        }
    }

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        let saved = |((server, _), made): (&(ServerKey, Field), &Override)| SavedOverride {
            server: *server,
            made: made.clone(),
        };
        Ok(self.lock().overrides.iter().map(saved).collect())
    }

    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError> {
        let mut inner = self.lock();
        if inner.sabotage == Some(Sabotage::LostOverrides) && inner.chance.one_in(8) {
            return Ok(());
        }
        if !inner.row() {
            return Err(Inner::error());
        }
        inner.overrides.insert((saved.server, saved.made.wish.field()), saved.made.clone());
        Ok(())
    }

    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        let mut inner = self.lock();
        if fields.is_empty() {
            return Ok(());
        }
        if !inner.row() {
            return Err(Inner::error());
        }
        inner.overrides.retain(|field, _| !fields.contains(field));
        Ok(())
    }
}
