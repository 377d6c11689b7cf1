//! State and table → [`Snapshot`].

use crate::farm::FarmTable;
use crate::health::explain::haproxy_state;
use crate::model::{ServerKey, Timestamp};

use super::snapshot::{FarmRow, FrontendRow, ServerRow, Snapshot};
use super::state::State;
use super::table::Table;

/// Returns the snapshot of `table`, which is the live one of `state`.
pub(super) fn snapshot(state: &State, table: &Table, is_ready: bool, at: Timestamp) -> Snapshot {
    let frontends = table.frontends.iter().map(|f| FrontendRow {
        frontend: f.frontend.clone(),
        farm: f.farm,
        connections_open: f.cells.sum(|c| c.connections_open.value()),
    });
    Snapshot {
        at,
        generation: table.generation,
        is_ready,
        service: table.service.clone(),
        frontends: frontends.collect(),
        farms: table.farms.iter().map(|farm| farm_row(state, farm)).collect(),
    }
}

fn farm_row(state: &State, table: &FarmTable) -> FarmRow {
    let servers = table.servers.iter().enumerate().map(|(position, entry)| {
        let key = ServerKey { farm: table.farm.id, server: entry.server.id };
        let is_resolved = entry.addr.is_some();
        ServerRow {
            state: haproxy_state(entry.server.admin, entry.server.weight, entry.health, entry.progress, is_resolved),
            server: entry.server.clone(),
            addr: entry.addr,
            health: entry.health,
            progress: entry.progress,
            effective_weight: table.rotation.effective_weight(position),
            in_flight: entry.live.in_flight_total(),
            last_check: entry.live.last_check.load_full(),
            since: state.since(key),
            overrides: state.overrides_of(key),
        }
    });
    FarmRow { farm: table.farm.clone(), serving: table.rotation.serving, servers: servers.collect() }
}
