//! The single writer. It holds what is declared, what operators want and what checks conclude, and publishes an
//! immutable [`Table`] whenever one of them changes.
//!
//! The data plane loads the Table once per request; everybody outside reads one [`Snapshot`]. The Store knows no
//! socket, file or clock: listeners and the journal are behind the traits of [`seams`], `now` is handed in. Writers
//! serialise on one lock, readers never take it (a Snapshot does, once per 50 ms at most).

pub mod seams;
pub mod snapshot;
pub mod table;

mod reconcile;
mod state;
mod view;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::model::{
    Act, Change, CheckRecord, CheckStatus, Checked, Epoch, Event, EventKind, FarmId, Health, Name, Override, Pace,
    Paced, Progress, ServerKey, Timestamp, Topology, Wish,
};

pub use seams::{
    Chronicle, Entry, EventQuery, Faults, Journal, JournalError, ListenError, ListenerHost, NoFaults, NoJournal,
    NoRequests, NoSessions, Order, PreparedListeners, RecordedEvent, Requests, SavedOverride, Sessions,
};
pub use snapshot::Snapshot;
pub use table::{FrontendTable, Table};

use state::State;

/// How long a Snapshot may be shared.
pub const SNAPSHOT_AGE_US_MAX: u64 = 50_000;

/// Called with each event, after the table that shows it is live, while the Store is locked: quick work only.
pub type EventSink = Box<dyn Fn(&Arc<Event>) + Send + Sync>;

/// See the module's doc.
pub struct Store {
    table: ArcSwap<Table>,
    state: Mutex<State>,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    is_first_round_done: AtomicBool,
    journal: Box<dyn Journal>,
    sinks: Vec<EventSink>,
}

/// Why a [`Change`] was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The journal could not keep it, so it was not made.
    #[error("cannot keep the change: {0}; nothing was changed")]
    Journal(#[source] JournalError),
    /// There is no such server.
    #[error("no server {} in farm {}", .0.server, .0.farm)]
    UnknownServer(ServerKey),
}

/// Why a new topology was refused; the old one stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Overrides could not be brought in line.
    #[error("cannot keep the overrides: {0}; nothing was changed")]
    Journal(#[source] JournalError),
    /// Listeners could not be opened; every one that failed is here.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Listen(Vec<ListenError>),
}

impl Store {
    /// Returns a store that serves nothing yet: its table has neither frontends nor farms until [`Self::reload`].
    ///
    /// # Errors
    /// [`JournalError`] if the saved overrides cannot be read.
    pub fn new(
        service: Arc<crate::model::Service>,
        workers: usize,
        journal: Box<dyn Journal>,
        sinks: Vec<EventSink>,
    ) -> Result<Self, JournalError> {
        let saved = journal.overrides()?;
        let state = State::new(Arc::clone(&service), workers, saved);
        Ok(Self {
            table: ArcSwap::from_pointee(Table::empty(service)),
            state: Mutex::new(state),
            snapshot: Mutex::new(None),
            is_first_round_done: AtomicBool::new(false),
            journal,
            sinks,
        })
    }

    /// Returns the live table. Once per request; hold it for that request only.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Replaces the declared topology, whole or not at all: prepare listeners, keep what outlives the process, publish
    /// the table, then accept on what is new and stop accepting on what is gone. Health, counters, addresses and
    /// overrides of everything unchanged stay.
    ///
    /// # Errors
    /// [`ReloadError`]; the old topology stays live.
    pub fn reload(&self, topology: Topology, host: &dyn ListenerHost, now: Timestamp) -> Result<(), ReloadError> {
        let mut state = self.lock();
        let prepared = host.prepare(&topology.frontends).map_err(ReloadError::Listen)?;
        let stale = state.stale_overrides(&topology);
        self.journal.drop_overrides(&stale).map_err(ReloadError::Journal)?;
        let (added, removed) = state.adopt(topology, &stale, now);
        let before = self.load();
        let table = state.build_table(&before);
        let served = state::changes_of_serving(&before, &table);
        drop(before);
        self.publish(table);
        prepared.commit();
        let overrides_dropped = stale.len();
        for kind in std::iter::once(EventKind::Reloaded { added, removed, overrides_dropped }).chain(served) {
            self.emit(&mut state, now, kind);
        }
        Ok(())
    }

    /// Makes one change; it is kept before it is live. Setting a field to the value that it has changes nothing.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed.
    pub fn change(&self, change: &Change, act: Act) -> Result<(), ChangeError> {
        let mut state = self.lock();
        let unknown = || ChangeError::UnknownServer(change.target);
        let field = change.wish.field();
        let declared = Wish::current(field, state.declared_server(change.target).ok_or_else(unknown)?);
        let before = state.live_value(change.target, field).ok_or_else(unknown)?;
        if before == change.wish {
            return Ok(());
        }
        let now = act.at;
        if declared == change.wish {
            self.journal.drop_overrides(&[(change.target, field)]).map_err(ChangeError::Journal)?;
            state.drop_override(change.target, field);
        } else {
            let made = Override { wish: change.wish, declared, terms: change.terms, act: act.clone() };
            let saved = SavedOverride { server: change.target, made };
            self.journal.put_override(&saved).map_err(ChangeError::Journal)?;
            state.put_override(saved);
        }
        state.touch(change.target, now);
        let (farm_name, server_name) = state.names(change.target).ok_or_else(unknown)?;
        let (server, from, to, terms) = (change.target, before, change.wish, change.terms);
        let kind = EventKind::Changed { server, farm_name, server_name, from, to, terms, act };
        self.republish(&mut state, &BTreeSet::from([change.target.farm]), now, vec![kind]);
        Ok(())
    }

    /// Takes in finished checks: one table for all of them. A check of a server that is gone, began anew or is no longer
    /// probed is dropped.
    ///
    /// Returns how often each is to be checked from now on.
    pub fn observe(&self, checked: Vec<Checked>) -> Vec<Paced> {
        let mut state = self.lock();
        let mut farms = BTreeSet::new();
        let mut causes = Vec::new();
        let mut paces = Vec::new();
        let mut now = Timestamp::default();
        for checked in checked {
            let Some(outcome) = state.observe(&checked) else { continue };
            let pace = state.health_of(checked.server).map_or(Pace::Steady, |health| health.pace(checked.slot));
            paces.push(Paced { server: checked.server, slot: checked.slot, pace });
            if !outcome.is_visible {
                continue;
            }
            let Checked { server, slot, record, .. } = checked;
            now = now.max(record.at);
            farms.insert(server.farm);
            if let Some(((from, to), (farm_name, server_name))) = outcome.transition.zip(state.names(server)) {
                state.touch(server, record.at);
                let health = state.health_of(server);
                let progress = health.map(|health| health.standing().progress);
                causes.push(EventKind::Transition {
                    server,
                    farm_name,
                    server_name,
                    from,
                    to,
                    slot,
                    check: record,
                    chain: health.map(|health| health.decided_by().to_vec()).unwrap_or_default(),
                    progress: progress.unwrap_or(Progress { have: 0, need: 0 }),
                    incident: None,
                });
            }
        }
        self.republish(&mut state, &farms, now, causes);
        paces
    }

    /// Takes in what a server's name resolved to. `None` keeps the last good address; an answer for an earlier
    /// incarnation is dropped.
    pub fn resolved(&self, server: ServerKey, epoch: Epoch, addr: Option<SocketAddr>, now: Timestamp) {
        let mut state = self.lock();
        if addr.is_some() && state.set_addr(server, epoch, addr) {
            state.touch(server, now);
            self.republish(&mut state, &BTreeSet::from([server.farm]), now, Vec::new());
        }
    }

    /// Says that every server of the first table was checked once.
    pub fn first_round_done(&self) {
        self.is_first_round_done.store(true, Ordering::Release);
    }

    /// Returns whether the process is ready for traffic.
    pub fn is_ready(&self) -> bool {
        self.is_first_round_done.load(Ordering::Acquire)
    }

    /// Returns the state of everything at one instant; shared for up to 50 ms unless something changed.
    pub fn snapshot(&self, now: Timestamp) -> Arc<Snapshot> {
        let mut cached = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.load().generation;
        if let Some(snapshot) = &*cached
            && snapshot.generation == generation
            && snapshot.is_ready == self.is_ready()
            && now.0.abs_diff(snapshot.at.0) < SNAPSHOT_AGE_US_MAX
        {
            return Arc::clone(snapshot);
        }
        let state = self.lock();
        let snapshot = Arc::new(view::snapshot(&state, &self.load(), self.is_ready(), now));
        *cached = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Returns the declared topology, without overrides.
    pub fn declared(&self) -> Topology {
        self.lock().topology.clone()
    }

    /// A panic while the lock was held cannot leave the state torn: every writer computes before it stores.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// Publishes the table with these farms rebuilt, then tells `causes` and, where it follows, how the farms serve now.
    fn republish(&self, state: &mut State, farms: &BTreeSet<FarmId>, now: Timestamp, causes: Vec<EventKind>) {
        if farms.is_empty() {
            return;
        }
        let (table, served) = state.with_farms_rebuilt(&self.load(), farms);
        self.publish(table);
        for kind in causes.into_iter().chain(served) {
            self.emit(state, now, kind);
        }
    }

    fn emit(&self, state: &mut State, at: Timestamp, kind: EventKind) {
        let event = Arc::new(Event { id: state.next_event_id(), at, generation: state.generation, kind });
        for sink in &self.sinks {
            sink(&event);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("generation", &self.load().generation).finish_non_exhaustive()
    }
}

fn status_position(status: CheckStatus) -> usize {
    CheckStatus::ALL.iter().position(|s| *s == status).unwrap_or(0)
}

/// The names of a server, for events.
type Names = (Name, Name);

fn count_check(live: &crate::farm::ServerLive, record: &CheckRecord) {
    live.checks.by_status[status_position(record.status)].add(1);
    live.checks.duration.observe(record.duration);
}

fn count_transition(live: &crate::farm::ServerLive, to: Health) {
    match to {
        Health::Up => live.checks.to_up.add(1),
        Health::Down => live.checks.to_down.add(1),
        Health::Off | Health::Stopping | Health::Unknown => {}
    }
}

#[cfg(test)]
mod tests;
