//! The Store as the prober sees it: targets out of the table, records into the machine.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock;
use crate::model::{Checked, Epoch, Paced, ProbeSlot, ServerKey};
use crate::prober::{CheckSource, Target};
use crate::store::Store;

/// See the module's doc.
pub(super) struct StoreChecks(pub(super) Arc<Store>);

impl CheckSource for StoreChecks {
    fn targets(&self) -> Vec<Target> {
        let table = self.0.load();
        let of_farm = |farm: &Arc<crate::farm::FarmTable>| -> Vec<Target> {
            let target = |entry: &crate::farm::ServerEntry| Target {
                slot: ProbeSlot::FIRST,
                epoch: entry.epoch,
                key: ServerKey { farm: farm.farm.id, server: entry.server.id },
                address: entry.server.address.clone(),
                addr: entry.addr,
                probe: farm
                    .farm
                    .main_probe()
                    .filter(|_| entry.server.probed)
                    .map(|probe| probe.aimed(&entry.server.aim)),
            };
            farm.servers.iter().map(target).collect()
        };
        table.farms.iter().flat_map(of_farm).collect()
    }

    fn records(&self, checked: Vec<Checked>) -> Vec<Paced> {
        self.0.observe(checked)
    }

    fn resolved(&self, server: ServerKey, epoch: Epoch, addr: Option<SocketAddr>) {
        if addr.is_none() {
            self.tell_of_failure(server);
        }
        self.0.resolved(server, epoch, addr, clock::wall());
    }

    fn first_round_done(&self) {
        tracing::info!("first round of checks done");
        self.0.first_round_done();
    }
}

impl StoreChecks {
    /// Says, in the operator's names, that the name of a server has no address. One that has left needs none.
    fn tell_of_failure(&self, key: ServerKey) {
        let table = self.0.load();
        let Some(farm) = table.farm(key.farm) else { return };
        let Some(entry) = farm.position(key.server).map(|position| &farm.servers[position]) else { return };
        let (server, address) = (&entry.server.name, &entry.server.address);
        tracing::warn!(farm = %farm.farm.name, %server, %address, "name of server not resolved");
    }
}
