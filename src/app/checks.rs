//! The Store as the prober sees it: targets out of the table, records into the machine.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock;
use crate::farm::ServerEntry;
use crate::model::{Checked, Epoch, Farm, Paced, Probe, ProbeSlot, ServerKey};
use crate::prober::{CheckSource, Target};
use crate::store::Store;

/// See the module's doc.
pub(super) struct StoreChecks(pub(super) Arc<Store>);

impl CheckSource for StoreChecks {
    /// One target for every probe of every server that is checked; one without a probe for every other, so that its
    /// name is resolved.
    fn targets(&self) -> Vec<Target> {
        let table = self.0.load();
        let mut targets = Vec::new();
        for farm in &table.farms {
            for entry in &farm.servers {
                push_targets(&farm.farm, entry, &mut targets);
            }
        }
        targets
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

fn push_targets(farm: &Farm, entry: &ServerEntry, targets: &mut Vec<Target>) {
    let target = |slot: ProbeSlot, probe: Option<Arc<Probe>>| Target {
        key: ServerKey { farm: farm.id, server: entry.server.id },
        slot,
        epoch: entry.epoch,
        address: entry.server.address.clone(),
        addr: entry.addr,
        probe,
    };
    let before = targets.len();
    if entry.server.probed {
        let aimed = |(slot, probe): (ProbeSlot, &Arc<Probe>)| target(slot, Some(probe.aimed(&entry.server.aim)));
        targets.extend(farm.probes_with_slots().map(aimed));
    }
    if targets.len() == before {
        targets.push(target(ProbeSlot::FIRST, None));
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
