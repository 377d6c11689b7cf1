//! The open connections of one worker, so that they can be counted, retired and waited for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::command::ListenerId;
use super::http::control::Connection;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Registry {
    open: Mutex<Open>,
    emptied: Notify,
    is_polite: AtomicBool,
}

#[derive(Default)]
struct Open {
    last: u64,
    connections: HashMap<u64, (ListenerId, Option<Arc<Connection>>)>,
}

/// A connection in the registry; leaves it when dropped.
pub(super) struct Entry {
    registry: Arc<Registry>,
    id: u64,
}

impl Registry {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in; a TCP relay has nothing to retire.
    pub(super) fn enter(self: &Arc<Self>, listener: ListenerId, connection: Option<Arc<Connection>>) -> Entry {
        let mut open = self.open();
        open.last += 1;
        let id = open.last;
        open.connections.insert(id, (listener, connection));
        Entry { registry: Arc::clone(self), id }
    }

    /// From now on connections that are retired may have their next request answered first.
    pub(super) fn be_polite(&self) {
        self.is_polite.store(true, Relaxed);
    }

    /// Asks the connections of one listener, or of all, for no further request.
    pub(super) fn retire(&self, of: Option<ListenerId>) {
        let open = self.open();
        let connections = open.connections.values().filter(|(listener, _)| of.is_none_or(|id| id == *listener));
        let connections: Vec<_> = connections.filter_map(|(_, connection)| connection.clone()).collect();
        drop(open);
        for connection in connections {
            if self.is_polite.load(Relaxed) { connection.leave() } else { connection.retire() }
        }
    }

    /// Returns how many connections are open.
    pub(super) fn count(&self) -> usize {
        self.open().connections.len()
    }

    /// Returns once no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.registry.open();
        open.connections.remove(&self.id);
        if open.connections.is_empty() {
            self.registry.emptied.notify_waiters();
        }
    }
}
