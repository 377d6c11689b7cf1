//! State and table → [`Snapshot`].

use std::sync::Arc;

use crate::farm::{FarmTable, ServerEntry};
use crate::health::ServerHealth;
use crate::health::explain::haproxy_state;
use crate::model::{AdminStatus, AgentWeight, Field, InstanceId, ServerId, ServerKey, Timestamp, Weight, Wish};

use super::leaving::Leaving;
use super::orders::Order;
use super::seams::Sessions;
use super::snapshot::{
    AdminCause, FarmRow, FrontendRow, IncidentRow, InstanceRow, LeavingRow, OrderRow, ServerRow, Sight, Snapshot,
};
use super::state::State;
use super::table::Table;

/// Returns the snapshot of `table`, which is the live one of `state`. What is open on servers is not in it yet.
pub(super) fn snapshot(state: &State, table: &Table, is_ready: bool, at: Timestamp) -> Snapshot {
    let frontends = table.frontends.iter().map(|f| FrontendRow {
        frontend: f.frontend.clone(),
        farms: f.feeds.iter().map(|feed| feed.farm).collect(),
        connections_open: f.cells.sum(|c| c.connections_open.value()),
    });
    let service = &table.service;
    let own = InstanceRow { id: service.instance_id, zone: service.zone.clone(), is_ready, at };
    let with_farm = state.leaving.iter().filter(|(key, _)| table.farm(key.farm).is_none());
    Snapshot {
        at,
        generation: table.generation,
        is_ready,
        service: Arc::clone(service),
        instances: vec![own],
        frontends: frontends.collect(),
        farms: table.farms.iter().map(|farm| farm_row(state, farm, service.instance_id)).collect(),
        made: Arc::clone(&state.topology.made),
        leaving: with_farm.map(|(key, leaving)| leaving_row(*key, leaving)).collect(),
        incident: incident_row(state),
        last_event: state.last_event_id,
    }
}

/// Adds what is open on servers that are being drained, in maintenance or leaving. Not under the Store's lock: the data
/// plane has its own.
pub(super) fn add_sessions(snapshot: &mut Snapshot, sessions: &dyn Sessions) {
    for farm in &mut snapshot.farms {
        let id = farm.farm.id;
        for row in &mut farm.servers {
            if let Some(order) = &mut row.order {
                order.sessions = sessions.of(ServerKey { farm: id, server: row.server.id });
            }
        }
        farm.leaving.iter_mut().for_each(|row| row.sessions = sessions.of(row.key));
    }
    snapshot.leaving.iter_mut().for_each(|row| row.sessions = sessions.of(row.key));
}

fn farm_row(state: &State, table: &FarmTable, own: InstanceId) -> FarmRow {
    let numbered = table.servers.iter().enumerate();
    let of_farm = |server| ServerKey { farm: table.farm.id, server: ServerId(server) };
    let left = state.leaving.range(of_farm(u64::MIN)..=of_farm(u64::MAX));
    FarmRow {
        farm: table.farm.clone(),
        serving: table.rotation.serving,
        servers: numbered.map(|(position, entry)| server_row(state, table, own, (position, entry))).collect(),
        leaving: left.map(|(key, leaving)| leaving_row(*key, leaving)).collect(),
    }
}

fn server_row(
    state: &State,
    table: &FarmTable,
    own: InstanceId,
    (position, entry): (usize, &ServerEntry),
) -> ServerRow {
    let key = ServerKey { farm: table.farm.id, server: entry.server.id };
    let row = state.rows.get(&key);
    let health = state.health_of(key);
    let state_word = haproxy_state(entry.server.admin, entry.server.weight, &entry.standing, entry.addr.is_some());
    let last_check = row.and_then(|row| row.last_check.clone());
    let sight = Sight {
        instance: own,
        state: state_word.as_str().into(),
        last_check: last_check.clone(),
        health: entry.standing.health,
    };
    ServerRow {
        state: state_word,
        sights: vec![sight],
        server: entry.server.clone(),
        addr: entry.addr.clone(),
        standing: entry.standing.clone(),
        probes: health.map(ServerHealth::probes).unwrap_or_default(),
        recent: health.map(ServerHealth::recent).unwrap_or_default(),
        decided_by: health.map(|health| health.decided_by().to_vec()).unwrap_or_default(),
        effective_weight: table.rotation.effective_weight(position),
        effective_hundredths: table.rotation.effective_hundredths(position),
        in_flight: entry.live.in_flight_total(),
        queued: entry.max_connections.map_or(0, |_| table.live.queue.length_for(entry.server.id)),
        last_check,
        since: row.map_or_else(Timestamp::default, |row| row.since),
        health_since: row.map_or_else(Timestamp::default, |row| row.health_since),
        state_since: row.map_or_else(Timestamp::default, |row| row.state_since),
        order: row.and_then(|row| row.order.as_ref()).map(order_row),
        causes: causes(state, key, entry),
        is_held_by_incident: entry.held.is_some(),
        overrides: state.overrides_of(key),
    }
}

fn order_row(order: &Order) -> OrderRow {
    OrderRow {
        admin: order.admin,
        act: order.act.clone(),
        since: order.since,
        until: order.until,
        deadline: order.deadline,
        is_past_deadline: order.is_past_deadline,
        at_deadline: order.at_deadline,
        began_with: order.began_with,
        sessions: Vec::new(),
    }
}

/// Returns why a server is wanted to take no new work.
fn causes(state: &State, key: ServerKey, entry: &ServerEntry) -> Vec<AdminCause> {
    let by_whom = |field: Field| match state.overrides.get(&(key, field)) {
        Some(_) => AdminCause::Override,
        None => AdminCause::File,
    };
    let is_out = |field: Field| match Wish::current(field, &entry.server) {
        Wish::Admin(status) => status != AdminStatus::Active,
        Wish::Weight(weight) => weight == Weight(0),
    };
    let mut causes: Vec<_> = Field::ALL.into_iter().filter(|field| is_out(*field)).map(by_whom).collect();
    if let Some(agent) = &entry.standing.agent {
        let is_zero = matches!(agent.weight, Some(AgentWeight::Percent(0) | AgentWeight::Weight(Weight(0))));
        let is_against = agent.admin.is_some_and(|admin| admin != AdminStatus::Active);
        causes.extend((is_zero || is_against).then_some(AdminCause::Agent));
    }
    causes.extend(entry.addr.is_none().then_some(AdminCause::Unresolved));
    causes.sort_unstable();
    causes.dedup();
    causes
}

fn leaving_row(key: ServerKey, leaving: &Leaving) -> LeavingRow {
    LeavingRow {
        key,
        farm_name: leaving.farm().name.clone(),
        server: Arc::clone(leaving.server()),
        addr: leaving.addr(),
        since: leaving.since,
        deadline: leaving.deadline,
        at_deadline: leaving.at_deadline,
        in_flight: leaving.live().in_flight_total(),
        sessions: Vec::new(),
    }
}

fn incident_row(state: &State) -> Option<IncidentRow> {
    let incident = state.incidents.current()?;
    let names = incident.farms.iter().filter_map(|farm| Some(state.topology.farm(*farm)?.name.clone()));
    Some(IncidentRow {
        id: incident.id,
        since: incident.since,
        until: incident.until,
        farms: names.collect(),
        servers: incident.servers.iter().copied().collect(),
    })
}
