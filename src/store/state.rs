//! What the Store keeps under its lock: the declared topology, one row per server, overrides, counters by identity.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::farm::{FarmTable, ServerEntry, ServerLive};
use crate::health::{Outcome, ServerHealth};
use crate::metrics::{EdgeCells, FrontendCells, PerWorker};
use crate::model::{
    Checked, Epoch, EventKind, Farm, FarmId, Field, FrontendId, Generation, Override, Server, ServerKey, Service,
    Standing, Timestamp, Topology, Wish,
};

use super::seams::SavedOverride;
use super::table::{FrontendTable, Table};
use super::{Names, count_check, count_transition};

/// See the module's doc.
pub(super) struct State {
    pub(super) topology: Topology,
    pub(super) generation: Generation,
    pub(super) rows: HashMap<ServerKey, Row>,
    pub(super) overrides: BTreeMap<(ServerKey, Field), Override>,
    pub(super) frontend_cells: HashMap<FrontendId, Arc<PerWorker<FrontendCells>>>,
    pub(super) edge_cells: HashMap<(FrontendId, ServerKey), Arc<PerWorker<EdgeCells>>>,
    pub(super) workers: usize,
    pub(super) last_epoch: Epoch,
    last_event_id: u64,
}

/// What is known of one server beyond its definition.
pub(super) struct Row {
    /// What is concluded of it; none while it is not probed.
    pub(super) health: Option<ServerHealth>,
    pub(super) epoch: Epoch,
    pub(super) addr: Option<SocketAddr>,
    pub(super) live: Arc<ServerLive>,
    pub(super) since: Timestamp,
}

impl State {
    pub(super) fn new(service: Arc<Service>, workers: usize, saved: Vec<SavedOverride>) -> Self {
        let overrides = saved.into_iter().map(|s| ((s.server, s.made.wish.field()), s.made)).collect();
        Self {
            topology: Topology { service, frontends: Vec::new(), farms: Vec::new() },
            generation: Generation(0),
            rows: HashMap::new(),
            overrides,
            frontend_cells: HashMap::new(),
            edge_cells: HashMap::new(),
            workers,
            last_epoch: Epoch(0),
            last_event_id: 0,
        }
    }

    pub(super) fn declared_server(&self, key: ServerKey) -> Option<&Arc<Server>> {
        self.topology.farm(key.farm)?.servers.iter().find(|s| s.id == key.server)
    }

    /// Returns the value that a field has now: the override's, else the file's.
    pub(super) fn live_value(&self, key: ServerKey, field: Field) -> Option<Wish> {
        let declared = Wish::current(field, self.declared_server(key)?);
        Some(self.overrides.get(&(key, field)).map_or(declared, |o| o.wish))
    }

    pub(super) fn put_override(&mut self, saved: SavedOverride) {
        self.overrides.insert((saved.server, saved.made.wish.field()), saved.made);
    }

    pub(super) fn drop_override(&mut self, key: ServerKey, field: Field) {
        self.overrides.remove(&(key, field));
    }

    pub(super) fn overrides_of(&self, key: ServerKey) -> Vec<Override> {
        Field::ALL.iter().filter_map(|field| self.overrides.get(&(key, *field)).cloned()).collect()
    }

    pub(super) fn names(&self, key: ServerKey) -> Option<Names> {
        let farm = self.topology.farm(key.farm)?;
        Some((farm.name.clone(), self.declared_server(key)?.name.clone()))
    }

    pub(super) fn since(&self, key: ServerKey) -> Timestamp {
        self.rows.get(&key).map_or_else(Timestamp::default, |row| row.since)
    }

    pub(super) fn touch(&mut self, key: ServerKey, now: Timestamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.since = now;
        }
    }

    pub(super) fn set_addr(&mut self, key: ServerKey, epoch: Epoch, addr: Option<SocketAddr>) -> bool {
        let Some(row) = self.rows.get_mut(&key).filter(|row| row.epoch == epoch) else { return false };
        let is_new = row.addr != addr;
        row.addr = addr;
        is_new
    }

    pub(super) fn next_event_id(&mut self) -> u64 {
        self.last_event_id += 1;
        self.last_event_id
    }

    /// Counts a check and runs the machine. Nothing, if the server is gone, another incarnation or not probed.
    pub(super) fn observe(&mut self, checked: &Checked) -> Option<Outcome> {
        let row = self.rows.get_mut(&checked.server).filter(|row| row.epoch == checked.epoch)?;
        let health = row.health.as_mut()?;
        let outcome = health.checked(checked.slot, &checked.record, checked.next_at, checked.record.at)?;
        count_check(&row.live, &checked.record);
        row.live.last_check.store(Some(Arc::clone(&checked.record)));
        if let Some((_, to)) = outcome.transition {
            count_transition(&row.live, to);
        }
        Some(outcome)
    }

    pub(super) fn health_of(&self, key: ServerKey) -> Option<&ServerHealth> {
        self.rows.get(&key)?.health.as_ref()
    }

    /// Returns the next table: the live one with these farms rebuilt, and those of them that now serve in another way.
    pub(super) fn with_farms_rebuilt(&mut self, live: &Table, ids: &BTreeSet<FarmId>) -> (Table, Vec<EventKind>) {
        self.generation.0 += 1;
        let mut farms = live.farms.clone();
        let mut served = Vec::new();
        for before in farms.iter_mut().filter(|farm| ids.contains(&farm.farm.id)) {
            let Some(declared) = self.topology.farm(before.farm.id) else { continue };
            let after = self.farm_table(declared, Some(before));
            served.extend(change_of_serving(before, &after));
            *before = Arc::new(after);
        }
        let service = Arc::clone(&live.service);
        (Table { generation: self.generation, service, farms, frontends: live.frontends.clone() }, served)
    }

    /// Returns the table of everything; a rotation that stays as it is in `live` keeps its version. Cells of what is gone
    /// were dropped by `adopt`.
    pub(super) fn build_table(&mut self, live: &Table) -> Table {
        self.generation.0 += 1;
        let farms: Box<[_]> = self
            .topology
            .farms
            .iter()
            .map(|farm| Arc::new(self.farm_table(farm, live.farm(farm.id).map(|f| &**f))))
            .collect();
        let frontends = self.topology.frontends.clone();
        let frontends = frontends.iter().filter_map(|frontend| {
            let farm = farms.iter().position(|f| f.farm.id == frontend.farm)?;
            let workers = self.workers;
            let fresh = || Arc::new(PerWorker::new(workers));
            let cells = Arc::clone(self.frontend_cells.entry(frontend.id).or_insert_with(fresh));
            let edge = |entry: &ServerEntry| {
                let key = ServerKey { farm: frontend.farm, server: entry.server.id };
                let fresh = || Arc::new(PerWorker::new(workers));
                Arc::clone(self.edge_cells.entry((frontend.id, key)).or_insert_with(fresh))
            };
            let edges = farms[farm].servers.iter().map(edge).collect();
            Some(Arc::new(FrontendTable { frontend: Arc::clone(frontend), farm, cells, edges }))
        });
        let frontends = frontends.collect();
        Table { generation: self.generation, service: Arc::clone(&self.topology.service), farms, frontends }
    }

    /// Builds one farm's table; its rotation keeps the version of `before` where it lets the same servers in and shares
    /// the work among them in the same way.
    fn farm_table(&self, declared: &Farm, before: Option<&FarmTable>) -> FarmTable {
        let servers: Box<[_]> = declared.servers.iter().map(|server| self.entry(declared.id, server)).collect();
        let live = servers.iter().map(|entry| Arc::clone(&entry.server)).collect();
        let farm = Arc::new(Farm { servers: live, ..declared.clone() });
        let mut table = FarmTable::new(farm, servers, self.generation);
        if let Some(before) = before
            && before.farm.balance == table.farm.balance
            && before.rotation.is_same_as(&table.rotation)
        {
            table.rotation.version = before.rotation.version;
        }
        table
    }

    fn entry(&self, farm: FarmId, declared: &Arc<Server>) -> ServerEntry {
        let key = ServerKey { farm, server: declared.id };
        let server = self.with_overrides(key, declared);
        let row = &self.rows[&key];
        let standing = row.health.as_ref().map_or_else(Standing::unprobed, ServerHealth::standing);
        ServerEntry::new(server, row.epoch, row.addr, standing, Arc::clone(&row.live))
    }

    fn with_overrides(&self, key: ServerKey, declared: &Arc<Server>) -> Arc<Server> {
        let mut wishes = Field::ALL.iter().filter_map(|field| self.overrides.get(&(key, *field))).peekable();
        if wishes.peek().is_none() {
            return Arc::clone(declared);
        }
        let mut server = Server::clone(declared);
        for made in wishes {
            made.wish.apply(&mut server);
        }
        Arc::new(server)
    }
}

/// Returns an event for each farm of `before` that is there still and serves another way.
pub(super) fn changes_of_serving(before: &Table, after: &Table) -> Vec<EventKind> {
    let change = |farm: &Arc<FarmTable>| change_of_serving(before.farm(farm.farm.id)?, farm);
    after.farms.iter().filter_map(change).collect()
}

fn change_of_serving(before: &FarmTable, after: &FarmTable) -> Option<EventKind> {
    let serving = after.rotation.serving;
    let Farm { id, name, .. } = &*after.farm;
    (serving != before.rotation.serving).then(|| EventKind::FarmServing {
        farm: *id,
        farm_name: name.clone(),
        serving: serving.as_str(),
    })
}
