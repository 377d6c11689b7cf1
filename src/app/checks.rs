//! The Store as the prober sees it: targets out of the table, records into the machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock;
use crate::model::{CheckRecord, Generation, ServerKey};
use crate::prober::{CheckSource, Target};
use crate::store::Store;

/// See the module's doc.
pub(super) struct StoreChecks {
    store: Arc<Store>,
    /// The generation of the table that the targets were last taken from.
    planned: AtomicU64,
}

impl StoreChecks {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, planned: AtomicU64::new(0) }
    }

    /// The prober runs on one thread, so what it reports was planned by the list it took last.
    fn planned(&self) -> Generation {
        Generation(self.planned.load(Relaxed))
    }
}

impl CheckSource for StoreChecks {
    fn targets(&self) -> Vec<Target> {
        let table = self.store.load();
        self.planned.store(table.generation.0, Relaxed);
        let of_farm = |farm: &Arc<crate::farm::FarmTable>| -> Vec<Target> {
            let target = |entry: &crate::farm::ServerEntry| Target {
                key: ServerKey { farm: farm.farm.id, server: entry.server.id },
                address: entry.server.address.clone(),
                addr: entry.addr,
                probe: farm.farm.probe.clone().filter(|_| entry.server.probed),
            };
            farm.servers.iter().map(target).collect()
        };
        table.farms.iter().flat_map(of_farm).collect()
    }

    fn record(&self, server: ServerKey, record: CheckRecord) {
        self.store.observe(self.planned(), server, record);
    }

    fn resolved(&self, server: ServerKey, addr: Option<SocketAddr>) {
        if addr.is_none() {
            tracing::warn!(farm = %server.farm, server = %server.server, "name of server not resolved");
        }
        self.store.resolved(self.planned(), server, addr, clock::wall());
    }

    fn first_round_done(&self) {
        tracing::info!("first round of checks done");
        self.store.first_round_done();
    }
}
