//! What the connections of one worker share: the Store, the choosers, the request sequence and the access log.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::clock;
use crate::farm::choose::{Choosers, Key, Tried};
use crate::farm::{FarmTable, ServerLive};
use crate::metrics::WorkerIx;
use crate::model::{FarmId, ServerId};
use crate::store::Store;
use crate::telemetry::access::AccessLog;

/// See the module's doc. Shared within a worker's thread; `Sync` only because Pingora asks for it.
pub(super) struct Work {
    pub(super) ix: WorkerIx,
    pub(super) store: Arc<Store>,
    pub(super) access: Option<AccessLog>,
    choosers: Mutex<Choosers>,
    sequence: AtomicU64,
    boot: u32,
    started: Instant,
}

impl Work {
    pub(super) fn new(ix: WorkerIx, store: Arc<Store>, access: Option<AccessLog>, entropy: u64) -> Arc<Self> {
        let boot = (entropy >> 32 ^ entropy) & u64::from(u32::MAX);
        Arc::new(Self {
            ix,
            store,
            access,
            choosers: Mutex::new(Choosers::new(ix, entropy)),
            sequence: AtomicU64::new(0),
            boot: u32::try_from(boot).unwrap_or(0),
            started: clock::monotonic(),
        })
    }

    /// Returns the next request id: unique per worker and process, and very likely between processes.
    pub(super) fn next_request_id(&self) -> RequestId {
        RequestId { boot: self.boot, worker: self.ix.0, number: self.sequence.fetch_add(1, Relaxed) }
    }

    /// Chooses who takes the next piece of work and counts it as under way; nothing, if nobody may.
    pub(super) fn assign(self: &Arc<Self>, farm: &FarmTable, key: Key<'_>, tried: &Tried) -> Option<(usize, InFlight)> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut choosers = self.choosers.lock().unwrap_or_else(PoisonError::into_inner);
        let position = choosers.choose(farm, key, tried, now_ms)?;
        choosers.started(farm, position);
        let entry = &farm.servers[position];
        let guard = InFlight {
            work: Arc::clone(self),
            farm: farm.farm.id,
            server: entry.server.id,
            live: Arc::clone(&entry.live),
        };
        Some((position, guard))
    }

    /// Frees what was kept for farms that are gone.
    pub(super) fn forget_gone_farms(&self) {
        let table = self.store.load();
        let mut choosers = self.choosers.lock().unwrap_or_else(PoisonError::into_inner);
        choosers.forget_except(|id| table.farm(id).is_some());
    }
}

/// A request or connection under way at one server; ends when dropped.
pub(super) struct InFlight {
    work: Arc<Work>,
    farm: FarmId,
    server: ServerId,
    live: Arc<ServerLive>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut choosers = self.work.choosers.lock().unwrap_or_else(PoisonError::into_inner);
        choosers.ended(self.farm, self.server, &self.live);
    }
}

/// Names one request in error pages and logs: `5f3a9c01-0-1b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    boot: u32,
    worker: usize,
    number: u64,
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{:x}-{:x}", self.boot, self.worker, self.number)
    }
}

/// Returns the address as its IPv4 form where it is a mapped one, for headers, logs and hashes alike.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
