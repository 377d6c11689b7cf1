//! Which frontend a listener and its connections belong to: fixed until a reload gives the address to another one.
//!
//! The table is live before a worker hears of the new owner. Whoever finds the old one gone in that moment waits for
//! word of the new one; if none comes, the frontend is gone for good and its listener about to close.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::FrontendId;
use crate::store::{FrontendTable, Store, Table};

/// How long, and how often, word of a new owner is waited for.
const WAIT: Duration = Duration::from_millis(5);
const WAITS_MAX: usize = 20;

/// See the module's doc.
#[derive(Clone, Debug)]
pub(super) struct Owner(Arc<AtomicU64>);

impl Owner {
    pub(super) fn new(frontend: FrontendId) -> Self {
        Self(Arc::new(AtomicU64::new(frontend.0)))
    }

    /// Gives the listener and its connections to another frontend.
    pub(super) fn assign(&self, frontend: FrontendId) {
        self.0.store(frontend.0, Relaxed);
    }

    /// Returns the live table and the frontend in it, if it is there.
    pub(super) fn find_now(&self, store: &Store) -> Option<(Arc<Table>, Arc<FrontendTable>)> {
        let table = store.load();
        let frontend = Arc::clone(table.frontend(FrontendId(self.0.load(Relaxed)))?);
        Some((Arc::clone(&table), frontend))
    }

    /// Returns the live table and the frontend in it; nothing, if it is gone for good.
    pub(super) async fn find(&self, store: &Store) -> Option<(Arc<Table>, Arc<FrontendTable>)> {
        for _ in 0..WAITS_MAX {
            if let Some(found) = self.find_now(store) {
                return Some(found);
            }
            tokio::time::sleep(WAIT).await;
        }
        None
    }
}
