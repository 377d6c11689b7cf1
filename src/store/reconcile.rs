//! Old topology → new topology: what stays, what starts afresh, which overrides end.
//!
//! Identity is the id. A new weight, order, algorithm or threshold keeps a server's health and counters; a new address,
//! port or probe type starts its health afresh.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::farm::ServerLive;
use crate::health::{ServerHealth, server::fingerprint};
use crate::model::{Epoch, Farm, Field, Server, ServerKey, Timestamp, Topology, Wish};

use super::state::{Row, State};

impl State {
    /// Returns the overrides that `topology` ends: its server is declared no more, or the file's own value of that
    /// very field is another than when the override was made.
    pub(super) fn stale_overrides(&self, topology: &Topology) -> Vec<(ServerKey, Field)> {
        let declared: HashMap<ServerKey, &Arc<Server>> = servers_of(topology).map(|(key, _, s)| (key, s)).collect();
        let is_stale = |key: &ServerKey, field: Field, was: Wish| {
            declared.get(key).is_none_or(|server| Wish::current(field, server) != was)
        };
        let stale = self.overrides.iter().filter(|((key, field), made)| is_stale(key, *field, made.declared));
        stale.map(|(field, _)| *field).collect()
    }

    /// Makes `topology` the declared one; returns how many servers are new and how many are gone.
    pub(super) fn adopt(&mut self, topology: Topology, stale: &[(ServerKey, Field)], now: Timestamp) -> (usize, usize) {
        for field in stale {
            self.overrides.remove(field);
        }
        let old = std::mem::replace(&mut self.topology, topology);
        let before: HashMap<ServerKey, (&Arc<Farm>, &Arc<Server>)> =
            servers_of(&old).map(|(key, farm, server)| (key, (farm, server))).collect();
        let mut rows = std::mem::take(&mut self.rows);
        let mut added = 0;
        let mut last_epoch = self.last_epoch;
        for (key, farm, server) in servers_of(&self.topology) {
            let kept = rows.remove(&key).zip(before.get(&key));
            let row = match kept {
                Some((row, (old_farm, old_server))) => {
                    carried_over(row, (old_farm, old_server), (farm, server), &mut last_epoch, now)
                }
                None => {
                    added += 1;
                    fresh(farm, server, ServerLive::new(self.workers), &mut last_epoch, now)
                }
            };
            self.rows.insert(key, row);
        }
        self.last_epoch = last_epoch;
        let removed = rows.len();
        let frontends: HashSet<_> = self.topology.frontends.iter().map(|f| f.id).collect();
        self.frontend_cells.retain(|id, _| frontends.contains(id));
        let rows = &self.rows;
        self.edge_cells.retain(|(frontend, key), _| frontends.contains(frontend) && rows.contains_key(key));
        (added, removed)
    }
}

fn servers_of(topology: &Topology) -> impl Iterator<Item = (ServerKey, &Arc<Farm>, &Arc<Server>)> {
    let of_farm = |farm| {
        let farm: &Arc<Farm> = farm;
        farm.servers.iter().map(move |server| (ServerKey { farm: farm.id, server: server.id }, farm, server))
    };
    topology.farms.iter().flat_map(of_farm)
}

fn fresh(farm: &Farm, server: &Server, live: Arc<ServerLive>, last_epoch: &mut Epoch, now: Timestamp) -> Row {
    let health = ServerHealth::new(farm, server);
    last_epoch.0 += 1;
    Row { health, epoch: *last_epoch, addr: server.address.literal(), live, since: now }
}

fn carried_over(
    mut row: Row,
    old: (&Farm, &Server),
    new: (&Farm, &Server),
    last_epoch: &mut Epoch,
    now: Timestamp,
) -> Row {
    let is_same_place = old.1.address == new.1.address;
    if fingerprint(old.0, old.1) != fingerprint(new.0, new.1) {
        row.live.last_check.store(None);
        let known = if is_same_place { row.addr } else { None };
        let fresh = fresh(new.0, new.1, row.live, last_epoch, now);
        return Row { addr: known.or(fresh.addr), ..fresh };
    }
    if let Some(health) = &mut row.health {
        health.retune(new.0);
    }
    row
}
