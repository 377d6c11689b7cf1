//! Old topology → new topology: what stays, what starts afresh, what leaves, which overrides end.
//!
//! Identity is the id. A new weight, order, algorithm or threshold keeps a server's health and counters; a new address,
//! port or probe type starts its health afresh. What an earlier process concluded of a server holds for the same
//! address and probes only: the file's own change always wins, field by field.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::farm::ServerLive;
use crate::health::{Outcome, ServerHealth, server::fingerprint};
use crate::metrics::Cell;
use crate::model::{
    AdminStatus, Epoch, EventKind, Farm, Field, Health, SavedHealth, Server, ServerKey, Timestamp, Topology, Weight,
    Wish,
};

use super::leaving::{Leaving, take_beyond_bound};
use super::orders::Order;
use super::state::{Row, State};

/// What a new topology changed.
#[derive(Debug, Default)]
pub(super) struct Adopted {
    /// Servers that are new.
    pub(super) added: usize,
    /// Servers that are gone.
    pub(super) removed: usize,
    /// Servers of which nothing saved counts any longer.
    pub(super) forgotten: Vec<ServerKey>,
    /// What other rules made of servers that stay.
    pub(super) retuned: Vec<(ServerKey, Outcome)>,
    /// Servers that the file gives work again.
    pub(super) returned: Vec<ServerKey>,
    /// Checks that can be made again, as far as there are any.
    pub(super) checkable: Vec<EventKind>,
    /// Removed servers that had to be forgotten with what was open on them.
    pub(super) left: Vec<EventKind>,
}

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

    /// Makes `topology` the declared one.
    pub(super) fn adopt(&mut self, topology: Topology, stale: &[(ServerKey, Field)], now: Timestamp) -> Adopted {
        let admins: HashMap<_, _> = self.rows.keys().filter_map(|key| Some((*key, self.admin(*key)?))).collect();
        for field in stale {
            self.overrides.remove(field);
        }
        self.topology = topology;
        let mut adopted = Adopted::default();
        let mut before = std::mem::take(&mut self.rows);
        let servers: Vec<_> =
            servers_of(&self.topology).map(|(key, f, s)| (key, Arc::clone(f), Arc::clone(s))).collect();
        for (key, farm, server) in servers {
            let known = before.remove(&key);
            adopted.added += usize::from(known.is_none());
            let known = known.or_else(|| self.come_back(key, now));
            let row = match known {
                Some(row) => self.carried_over(row, farm, server, &mut adopted, now),
                None => self.fresh(farm, server, ServerLive::new(self.workers), &mut adopted.forgotten, now),
            };
            self.rows.insert(key, row);
            self.renew_order(key, now);
            let was_out = admins.get(&key).is_some_and(|was| *was != AdminStatus::Active);
            if was_out && self.admin(key) == Some(AdminStatus::Active) {
                adopted.returned.push(key);
            }
        }
        adopted.removed = before.len();
        for (key, row) in before.into_iter().collect::<BTreeMap<_, _>>() {
            self.agenda.put(key, row.due, None);
            self.agenda.watch(key, true, now);
            self.leaving.insert(key, Leaving::of(Row { due: None, order: None, ..row }, now));
        }
        for (key, leaving) in take_beyond_bound(&mut self.leaving) {
            self.agenda.watch(key, false, now);
            adopted.left.push(leaving.left(key, 0));
            adopted.forgotten.push(key);
        }
        // What was saved of servers that the first topology does not name says nothing any more.
        adopted.forgotten.extend(std::mem::take(&mut self.saved).into_keys());
        self.drop_what_is_gone();
        adopted.checkable = self.forget_unmade_checks();
        adopted
    }

    fn drop_what_is_gone(&mut self) {
        let frontends: HashSet<_> = self.topology.frontends.iter().map(|f| f.id).collect();
        self.frontend_cells.retain(|id, _| frontends.contains(id));
        let rows = &self.rows;
        self.edge_cells.retain(|(frontend, key), _| frontends.contains(frontend) && rows.contains_key(key));
    }

    /// Takes a server that left, and is declared again, out of those that leave.
    fn come_back(&mut self, key: ServerKey, now: Timestamp) -> Option<Row> {
        let leaving = self.leaving.remove(&key)?;
        self.agenda.watch(key, false, now);
        Some(leaving.row)
    }

    fn fresh(
        &mut self,
        farm: Arc<Farm>,
        server: Arc<Server>,
        live: Arc<ServerLive>,
        forgotten: &mut Vec<ServerKey>,
        now: Timestamp,
    ) -> Row {
        let key = ServerKey { farm: farm.id, server: server.id };
        let mut health = ServerHealth::new(&farm, &server);
        let fingerprint = fingerprint(&farm, &server);
        let is_of_an_earlier_process = self.generation.0 == 0;
        let saved = self.saved.remove(&key);
        if saved.as_ref().is_some_and(|saved| saved.fingerprint != fingerprint || health.is_none()) {
            forgotten.push(key);
        }
        let saved: Option<SavedHealth> = saved.filter(|saved| saved.fingerprint == fingerprint);
        let health_since = saved.as_ref().map_or(now, |saved| saved.since.min(now));
        let made = self.overrides_of(key).into_iter().filter(|_| is_of_an_earlier_process);
        let since = made.map(|made| made.act.at.min(now)).fold(health_since, Timestamp::max);
        if let Some((health, saved)) = health.as_mut().zip(saved) {
            health.restore(&saved, &farm, now);
        }
        self.last_epoch.0 += 1;
        let sampled = (live.traffic.good.sum(Cell::value), live.traffic.bad.sum(Cell::value));
        let mut row = Row {
            fingerprint,
            is: health.as_ref().map_or(Health::Off, |health| health.standing().health),
            health,
            health_since,
            epoch: Epoch(self.last_epoch.0),
            addr: server.address.literal(),
            live,
            since,
            state_since: since,
            order: None,
            due: None,
            worked_as: None,
            is_held_over: false,
            last_check: None,
            sampled,
            quiet_samples: u8::MAX,
            farm,
            server,
        };
        if is_of_an_earlier_process {
            row.order = self.order_of_an_earlier_process(key, &row, now);
            row.state_since = self.state_since_of_an_earlier_process(key, &row, now);
        }
        row
    }

    /// Since when the state of a server of an earlier process is what it is. What nobody kept the time of, such as what
    /// the file says, is said to be so since this process began: so it is known to be.
    fn state_since_of_an_earlier_process(&self, key: ServerKey, row: &Row, now: Timestamp) -> Timestamp {
        let is_overridden = |field| self.overrides.contains_key(&(key, field));
        let by_file = (row.server.admin != AdminStatus::Active && !is_overridden(Field::Admin))
            || (row.server.weight == Weight(0) && !is_overridden(Field::Weight));
        let agent = row.standing().agent.filter(|agent| agent.is_against_work());
        let kept_out = row.health.as_ref().and_then(ServerHealth::kept_out_since);
        match kept_out {
            _ if by_file => now,
            None if agent.is_some() => now,
            kept_out => row.since.max(kept_out.unwrap_or_default()).min(now),
        }
    }

    fn order_of_an_earlier_process(&self, key: ServerKey, row: &Row, now: Timestamp) -> Option<Order> {
        let made = self.overrides.get(&(key, Field::Admin));
        let admin = match made.map(|made| made.wish) {
            Some(Wish::Admin(admin)) => admin,
            Some(Wish::Weight(_)) | None => row.server.admin,
        };
        let order = Order::of(row.server.admin, made, admin, row.farm.drain, now);
        order.map(|order| order.of_an_earlier_process(now))
    }

    /// Takes what is known of a server over to its new definition.
    fn carried_over(
        &mut self,
        mut row: Row,
        farm: Arc<Farm>,
        server: Arc<Server>,
        adopted: &mut Adopted,
        now: Timestamp,
    ) -> Row {
        let key = ServerKey { farm: farm.id, server: server.id };
        if row.fingerprint == fingerprint(&farm, &server) {
            let observed = ServerHealth::new(&farm, &server);
            row.health = match (row.health, observed) {
                (Some(mut health), Some(_)) => {
                    let outcome = health.retuned(&farm, now);
                    if let Some((from @ (Health::Stopping | Health::Up), Health::Down)) = outcome.transition {
                        row.worked_as = Some(from);
                    }
                    adopted.retuned.push((key, outcome));
                    Some(health)
                }
                (Some(mut health), None) => {
                    // What its traffic had said of it ends with the rule, and is told.
                    health.retune(&farm);
                    adopted.retuned.push((key, health.tick(&farm, now)));
                    None
                }
                (None, observed) => observed,
            };
            return Row { farm, server, is: row.standing().health, ..row };
        }
        adopted.forgotten.push(key);
        self.agenda.put(key, row.due, None);
        let known = if row.server.address == server.address { row.addr.clone() } else { None };
        let fresh = self.fresh(farm, server, row.live, &mut adopted.forgotten, now);
        Row { addr: known.or(fresh.addr), order: row.order, ..fresh }
    }
}

fn servers_of(topology: &Topology) -> impl Iterator<Item = (ServerKey, &Arc<Farm>, &Arc<Server>)> {
    let of_farm = |farm| {
        let farm: &Arc<Farm> = farm;
        farm.servers.iter().map(move |server| (ServerKey { farm: farm.id, server: server.id }, farm, server))
    };
    topology.farms.iter().flat_map(of_farm)
}
