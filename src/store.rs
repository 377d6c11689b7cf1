//! The single writer. It holds what is declared, what operators want and what checks conclude, and publishes an
//! immutable [`Table`] whenever one of them changes.
//!
//! The data plane loads the Table once per request; everybody outside reads one [`Snapshot`]. The Store knows no
//! socket, file or clock: listeners, sessions and the journal are behind the traits of [`seams`], `now` is handed in.
//! Writers serialise on one lock, readers never take it (a Snapshot does, once per 50 ms at most). Whatever may block,
//! closing connections and telling events, is done after the lock is given back; entries are handed to the journal
//! under it, so that they are in order. What is kept on disk before it is live, orders and topologies, has a lock of its
//! own around the other: worked out, kept without the other, made live. Only who holds it changes what is declared and
//! overridden, so what was worked out still holds; checks go on however slow the disk is.

pub mod change;
pub mod seams;
pub mod snapshot;
pub mod table;

mod agenda;
mod incident;
mod leaving;
mod observe;
mod orders;
mod reconcile;
mod state;
mod tell;
mod tick;
mod unmade;
mod view;
mod write;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::model::{Epoch, Event, EventKind, ServerKey, Service, Timestamp, Topology};

pub use change::ChangeError;
pub use seams::{
    Chronicle, Entry, EventQuery, Faults, FileError, Journal, JournalError, ListenError, ListenerHost, NoFaults,
    NoJournal, NoRequests, NoSessions, OpenError, Order, PreparedListeners, RecordedEvent, Requests, SavedOverride,
    Sessions,
};
pub use snapshot::Snapshot;
pub use table::{Feed, FrontendTable, Table};
pub use write::{OverrideChanges, Write};

use observe::Cause;
use state::State;
use tell::Batch;

/// How long a Snapshot may be shared.
pub const SNAPSHOT_AGE_US_MAX: u64 = 50_000;

/// Called with each event, one after the other in the order of their ids, after the table that shows it is live and
/// without the Store's lock, on whichever thread caused this or another event.
pub type EventSink = Box<dyn Fn(&Arc<Event>) + Send + Sync>;

/// See the module's doc.
pub struct Store {
    table: ArcSwap<Table>,
    state: Mutex<State>,
    /// Held by whoever makes orders, or another topology, from before it is worked out until it is live; taken before
    /// `state`.
    replacing: Mutex<()>,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
    is_first_round_done: AtomicBool,
    journal: Arc<dyn Journal>,
    sessions: OnceLock<Arc<dyn Sessions>>,
    sinks: Vec<EventSink>,
    /// Held by whoever hands events to the sinks.
    telling: Mutex<()>,
}

/// Keeps what a write comes to, and with it what becomes of overrides, on disk when it returns.
pub type Keep<'k> = &'k mut dyn FnMut(&OverrideChanges) -> Result<(), JournalError>;

/// Why a new topology was refused; the old one stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Overrides could not be brought in line.
    #[error("cannot keep the overrides: {0}; nothing was changed")]
    Journal(#[source] JournalError),
    /// Frontends could not be opened; everything that failed is here.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Listen(Vec<OpenError>),
}

impl Store {
    /// Returns a store that serves nothing yet: its table has neither frontends nor farms until [`Self::reload`]. What
    /// the journal kept of overrides and health counts from the first topology on.
    ///
    /// # Errors
    /// [`JournalError`] if what was kept cannot be read.
    pub fn new(
        service: Arc<Service>,
        workers: usize,
        journal: Arc<dyn Journal>,
        sinks: Vec<EventSink>,
    ) -> Result<Self, JournalError> {
        let (overrides, healths, last_event_id) = (journal.overrides()?, journal.healths()?, journal.last_event_id()?);
        let state = State::new(Arc::clone(&service), workers, overrides, healths, last_event_id);
        Ok(Self {
            table: ArcSwap::from_pointee(Table::empty(service)),
            state: Mutex::new(state),
            replacing: Mutex::new(()),
            snapshot: Mutex::new(None),
            is_first_round_done: AtomicBool::new(false),
            journal,
            sessions: OnceLock::new(),
            sinks,
            telling: Mutex::new(()),
        })
    }

    /// Says who knows what is open on servers; once, when the data plane has started. Before, nothing is.
    pub fn set_sessions(&self, sessions: Arc<dyn Sessions>) {
        let is_first = self.sessions.set(sessions).is_ok();
        debug_assert!(is_first, "a process has one data plane");
    }

    /// Returns the live table. Once per request; hold it for that request only.
    pub fn load(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Replaces the declared topology, whole or not at all: prepare listeners, keep what outlives the process, publish
    /// the table, then accept on what is new and stop accepting on what is gone. Health, counters, addresses and
    /// overrides of everything unchanged stay; what is open on a removed server goes on, and the server stays visible
    /// until that has ended.
    ///
    /// # Errors
    /// [`ReloadError`]; the old topology stays live.
    pub fn reload(&self, topology: Topology, host: &dyn ListenerHost, now: Timestamp) -> Result<(), ReloadError> {
        let mut keep = |orders: &OverrideChanges| self.journal.drop_overrides(&orders.ended);
        let told = |added, removed, overrides_dropped| vec![EventKind::Reloaded { added, removed, overrides_dropped }];
        self.replace(topology, None, host, now, &mut keep, told)
    }

    /// Replaces the declared topology by what a write through an API made of it, as [`Self::reload`] does, and changes
    /// servers as [`Self::change`] does, without terms and whatever the reserve. `keep` is called once everything is
    /// prepared and before anything is live, with what becomes of overrides: what it keeps, as one, is live when this
    /// returns, and if it fails nothing is changed.
    ///
    /// # Errors
    /// [`ReloadError`]; the old topology stays live.
    pub fn adopt(
        &self,
        topology: Topology,
        write: Write<'_>,
        host: &dyn ListenerHost,
        keep: Keep<'_>,
    ) -> Result<(), ReloadError> {
        let (now, told) = (write.act.at, write.told.to_vec());
        self.replace(topology, Some(write), host, now, keep, |_, _, _| told)
    }

    fn replace(
        &self,
        topology: Topology,
        write: Option<Write<'_>>,
        host: &dyn ListenerHost,
        now: Timestamp,
        keep: Keep<'_>,
        told: impl FnOnce(usize, usize, usize) -> Vec<EventKind>,
    ) -> Result<(), ReloadError> {
        // Binding and reading files may take a while: checks and readers go on meanwhile.
        let replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = host.prepare(&topology.frontends).map_err(ReloadError::Listen)?;
        let (orders, wanted) = {
            let state = self.lock();
            let stale = state.stale_overrides(&topology);
            match write {
                Some(write) => write::orders(&state, &topology, stale, &write),
                None => (OverrideChanges { ended: stale, made: Vec::new() }, Vec::new()),
            }
        };
        // And so may the disk.
        keep(&orders).map_err(ReloadError::Journal)?;
        let mut state = self.lock();
        let OverrideChanges { ended: stale, made } = orders;
        let adopted = state.adopt(topology, &stale, now);
        if !adopted.forgotten.is_empty() {
            self.journal.note(Entry::Forgotten(adopted.forgotten));
        }
        let mut batch = Batch::default();
        for kind in told(adopted.added, adopted.removed, stale.len()) {
            batch.push(&mut state, kind);
        }
        for kind in adopted.left.into_iter().chain(adopted.checkable) {
            batch.push(&mut state, kind);
        }
        for (server, made) in made {
            state.put_override(SavedOverride { server, made });
        }
        for changed in wanted {
            self.carry_out(&mut state, &mut batch, changed, now);
        }
        for (server, outcome) in adopted.retuned {
            self.settle(&mut state, &mut batch, server, &outcome, Cause::time(now));
        }
        for server in adopted.returned {
            self.give_work_again(&mut state, &mut batch, server, now);
        }
        let farms = state.topology.farms.clone();
        if let Some(change) = state.incidents.watch(farms.iter().map(|farm| &**farm)) {
            state.turn(&mut batch, change);
        }
        let before = self.load();
        let table = state.build_table(&before, now);
        let served = state::changes_of_serving(&before, &table);
        drop(before);
        self.publish(table);
        prepared.commit();
        for kind in served {
            batch.push(&mut state, kind);
        }
        // Telling may take long, and what it tells is live.
        drop(replacing);
        self.tell(state, batch, now);
        Ok(())
    }

    /// Takes in what a server's name resolved to. `None` keeps the last good address; an answer for an earlier
    /// incarnation is dropped.
    pub fn resolved(&self, server: ServerKey, epoch: Epoch, addr: Option<SocketAddr>, now: Timestamp) {
        let mut state = self.lock();
        if addr.is_some() && state.set_addr(server, epoch, addr) {
            state.touch(server, now);
            let mut batch = Batch::default();
            batch.show(server.farm);
            self.finish(state, batch, now);
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
        let mut snapshot = view::snapshot(&state, &self.load(), self.is_ready(), now);
        drop(state);
        view::add_sessions(&mut snapshot, self.sessions());
        let snapshot = Arc::new(snapshot);
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

    fn sessions(&self) -> &dyn Sessions {
        self.sessions.get().map_or(&NoSessions, |sessions| &**sessions)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("generation", &self.load().generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
