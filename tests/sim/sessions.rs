//! What is open on servers: begun by the simulated data plane, ended by itself or closed by the Store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use farmgate::farm::ServerLive;
use farmgate::model::{ServerKey, SessionGroup, SessionKind};
use farmgate::store::Sessions;

/// One piece of work under way.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) server: ServerKey,
    pub(crate) worker: usize,
    pub(crate) live: Arc<ServerLive>,
}

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<u64, Session>,
    /// Closed by the Store, and not counted out yet.
    cut: Vec<Session>,
    /// What the Store closed since the last look, and how much was open there.
    closed: Vec<(ServerKey, u64)>,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<Inner>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(crate) fn begin(&self, id: u64, session: Session) {
        self.lock().open.insert(id, session);
    }

    /// Ends one, unless it was closed before.
    pub(crate) fn end(&self, id: u64) -> Option<Session> {
        self.lock().open.remove(&id)
    }

    pub(crate) fn count(&self, server: ServerKey) -> u64 {
        self.lock().open.values().filter(|session| session.server == server).count() as u64
    }

    /// Returns how many are open on each server.
    pub(crate) fn counts(&self) -> BTreeMap<ServerKey, u64> {
        let mut counts = BTreeMap::new();
        for session in self.lock().open.values() {
            *counts.entry(session.server).or_default() += 1;
        }
        counts
    }

    pub(crate) fn take_cut(&self) -> Vec<Session> {
        std::mem::take(&mut self.lock().cut)
    }

    pub(crate) fn take_closed(&self) -> Vec<(ServerKey, u64)> {
        std::mem::take(&mut self.lock().closed)
    }

    /// The process ends, and everything with it.
    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }
}

impl Sessions for Open {
    fn of(&self, server: ServerKey) -> Vec<SessionGroup> {
        let count = self.count(server);
        let group = SessionGroup { kind: SessionKind::Request, count, oldest: Duration::from_millis(1) };
        Some(group).filter(|_| count > 0).into_iter().collect()
    }

    fn close(&self, server: ServerKey) -> u64 {
        let mut inner = self.lock();
        let (cut, open) = std::mem::take(&mut inner.open).into_iter().partition(|(_, s)| s.server == server);
        inner.open = open;
        let cut: BTreeMap<u64, Session> = cut;
        let closed = cut.len() as u64;
        inner.cut.extend(cut.into_values());
        inner.closed.push((server, closed));
        closed
    }
}
