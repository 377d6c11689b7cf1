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
    connections: HashMap<u64, Seat>,
}

struct Seat {
    listener: ListenerId,
    /// What can be retired of it, once there is something.
    connection: Option<Arc<Connection>>,
    /// Whether it was to be retired when there was nothing yet.
    is_retired: bool,
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

    /// Takes a connection in that was accepted by that listener.
    pub(super) fn enter(self: &Arc<Self>, listener: ListenerId) -> Entry {
        let mut open = self.open();
        open.last += 1;
        let id = open.last;
        open.connections.insert(id, Seat { listener, connection: None, is_retired: false });
        Entry { registry: Arc::clone(self), id }
    }

    /// From now on connections that are retired may have their next request answered first.
    pub(super) fn be_polite(&self) {
        self.is_polite.store(true, Relaxed);
    }

    /// Returns whether another process serves who comes from now on.
    pub(super) fn is_polite(&self) -> bool {
        self.is_polite.load(Relaxed)
    }

    /// Asks the connections of one listener, or of all, for no further request.
    pub(super) fn retire(&self, of: Option<ListenerId>) {
        let mut open = self.open();
        let seats = open.connections.values_mut().filter(|seat| of.is_none_or(|id| id == seat.listener));
        let retire = |seat: &mut Seat| {
            seat.is_retired = true;
            seat.connection.clone()
        };
        let connections: Vec<_> = seats.filter_map(retire).collect();
        drop(open);
        for connection in connections {
            self.retire_one(&connection);
        }
    }

    fn retire_one(&self, connection: &Connection) {
        if self.is_polite() { connection.leave() } else { connection.retire() }
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

impl Entry {
    /// Says what can be retired of the connection: it speaks HTTP. A raw one has nothing to retire.
    pub(super) fn speaks_http(&self, connection: &Arc<Connection>) {
        let is_retired = {
            let mut open = self.registry.open();
            let Some(seat) = open.connections.get_mut(&self.id) else { return };
            seat.connection = Some(Arc::clone(connection));
            seat.is_retired
        };
        if is_retired {
            self.registry.retire_one(connection);
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
