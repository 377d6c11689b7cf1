//! State and table → [`Snapshot`].

use crate::farm::FarmTable;
use crate::health::ServerHealth;
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
            state: haproxy_state(entry.server.admin, entry.server.weight, &entry.standing, is_resolved),
            server: entry.server.clone(),
            addr: entry.addr,
            standing: entry.standing.clone(),
            probes: state.health_of(key).map(ServerHealth::probes).unwrap_or_default(),
            recent: state.health_of(key).map(ServerHealth::recent).unwrap_or_default(),
            decided_by: state.health_of(key).map(|health| health.decided_by().to_vec()).unwrap_or_default(),
            effective_weight: table.rotation.effective_weight(position),
            in_flight: entry.live.in_flight_total(),
            last_check: entry.live.last_check.load_full(),
            since: state.since(key),
            overrides: state.overrides_of(key),
        }
    });
    FarmRow { farm: table.farm.clone(), serving: table.rotation.serving, servers: servers.collect() }
}
