//! What the Store keeps under its lock: the declared topology, one row per server, overrides, counters by identity.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::farm::{FarmTable, ServerEntry, ServerLive, Serving};
use crate::health::explain::state_word;
use crate::health::scatter::ScatterMap;
use crate::health::{IncidentDetector, ServerHealth};
use crate::metrics::{EdgeCells, FrontendCells, PerWorker};
use crate::model::{
    AdminStatus, CheckRecord, Epoch, Event, EventKind, Farm, FarmId, Field, Frontend, FrontendId, Generation, Health,
    Leftovers, Override, PeerAddr, SavedHealth, Server, ServerKey, Service, Standing, Timestamp, Topology, Wish,
};
use crate::routing::RouteTable;

use super::agenda::Agenda;
use super::leaving::Leaving;
use super::orders::Order;
use super::seams::SavedOverride;
use super::table::{Feed, FrontendTable, Table};
use super::unmade::Unmade;

/// See the module's doc.
pub(super) struct State {
    pub(super) topology: Topology,
    pub(super) generation: Generation,
    pub(super) rows: ScatterMap<ServerKey, Row>,
    pub(super) leaving: BTreeMap<ServerKey, Leaving>,
    pub(super) overrides: BTreeMap<(ServerKey, Field), Override>,
    /// What an earlier process concluded; taken by the servers of the first topology.
    pub(super) saved: HashMap<ServerKey, SavedHealth>,
    pub(super) agenda: Agenda,
    pub(super) incidents: IncidentDetector,
    /// Checks that cannot be made.
    pub(super) unmade: Unmade,
    /// Events that the sinks have not taken yet, the oldest first.
    pub(super) outbox: VecDeque<Arc<Event>>,
    /// Events that were dropped from there.
    pub(super) untold: u64,
    pub(super) frontend_cells: HashMap<FrontendId, Arc<PerWorker<FrontendCells>>>,
    pub(super) edge_cells: HashMap<(FrontendId, ServerKey), Arc<PerWorker<EdgeCells>>>,
    pub(super) workers: usize,
    pub(super) last_epoch: Epoch,
    pub(super) last_event_id: u64,
}

/// What is known of one server beside overrides.
pub(super) struct Row {
    /// Its farm, as declared.
    pub(super) farm: Arc<Farm>,
    /// It, as declared.
    pub(super) server: Arc<Server>,
    /// Tells its address and probes from others.
    pub(super) fingerprint: u64,
    /// What is concluded of it; none while nothing observes it.
    pub(super) health: Option<ServerHealth>,
    /// The last check that counted, if there was one.
    pub(super) last_check: Option<Arc<CheckRecord>>,
    /// What its probes conclude together, as of the last outcome.
    pub(super) is: Health,
    /// Since when its health is what it is.
    pub(super) health_since: Timestamp,
    pub(super) epoch: Epoch,
    pub(super) addr: Option<PeerAddr>,
    pub(super) live: Arc<ServerLive>,
    /// When health, admin status or weight last changed.
    pub(super) since: Timestamp,
    /// When the word for its state last changed.
    pub(super) state_since: Timestamp,
    /// The drain or maintenance that it is under.
    pub(super) order: Option<Order>,
    /// Its time on the agenda.
    pub(super) due: Option<Timestamp>,
    /// Its health before it last went Down, if it was one that takes work.
    pub(super) worked_as: Option<Health>,
    /// An incident is over that held it, and its checks have not made it Up yet.
    pub(super) is_held_over: bool,
    /// Work that went well and failed, as of the last sample.
    pub(super) sampled: (u64, u64),
    /// How many samples in a row had none.
    pub(super) quiet_samples: u8,
}

impl Row {
    /// Returns what happens to what is open on it when it goes Down.
    pub(super) fn on_down(&self) -> Leftovers {
        self.server.on_down.unwrap_or(self.farm.on_down)
    }

    /// Returns what is concluded of it.
    pub(super) fn standing(&self) -> Standing {
        self.health.as_ref().map_or_else(Standing::unprobed, ServerHealth::standing)
    }

    /// Returns when something comes to it by the clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let of_health = self.health.as_ref().and_then(ServerHealth::next_due);
        let of_order = self.order.as_ref().and_then(Order::due);
        [of_health, of_order].into_iter().flatten().min()
    }
}

impl State {
    pub(super) fn new(
        service: Arc<Service>,
        workers: usize,
        overrides: Vec<SavedOverride>,
        healths: Vec<SavedHealth>,
        last_event_id: u64,
    ) -> Self {
        let overrides = overrides.into_iter().map(|s| ((s.server, s.made.wish.field()), s.made)).collect();
        Self {
            topology: Topology { service, frontends: Vec::new(), farms: Vec::new(), made: Arc::default() },
            generation: Generation(0),
            rows: ScatterMap::default(),
            leaving: BTreeMap::new(),
            overrides,
            saved: healths.into_iter().map(|saved| (saved.server, saved)).collect(),
            agenda: Agenda::default(),
            incidents: IncidentDetector::default(),
            unmade: Unmade::default(),
            outbox: VecDeque::new(),
            untold: 0,
            frontend_cells: HashMap::new(),
            edge_cells: HashMap::new(),
            workers,
            last_epoch: Epoch(0),
            last_event_id,
        }
    }

    pub(super) fn declared_server(&self, key: ServerKey) -> Option<&Arc<Server>> {
        self.rows.get(&key).map(|row| &row.server)
    }

    /// Returns the value that a field has now: the override's, else the file's.
    pub(super) fn live_value(&self, key: ServerKey, field: Field) -> Option<Wish> {
        let declared = Wish::current(field, self.declared_server(key)?);
        Some(self.overrides.get(&(key, field)).map_or(declared, |o| o.wish))
    }

    /// Returns the admin status that the operator wants: the override's, else the file's.
    pub(super) fn admin(&self, key: ServerKey) -> Option<AdminStatus> {
        match self.live_value(key, Field::Admin)? {
            Wish::Admin(status) => Some(status),
            Wish::Weight(_) => None,
        }
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

    pub(super) fn touch(&mut self, key: ServerKey, now: Timestamp) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.since = now;
        }
    }

    pub(super) fn set_addr(&mut self, key: ServerKey, epoch: Epoch, addr: Option<SocketAddr>) -> bool {
        let Some(row) = self.rows.get_mut(&key).filter(|row| row.epoch == epoch) else { return false };
        let addr = addr.map(PeerAddr::Ip);
        let is_new = row.addr != addr;
        row.addr = addr;
        is_new
    }

    /// Works out anew the order that a server is under; what came of it stays where it is the same order.
    pub(super) fn renew_order(&mut self, key: ServerKey, now: Timestamp) {
        let Some(admin) = self.admin(key) else { return };
        let Some(row) = self.rows.get_mut(&key) else { return };
        let made = self.overrides.get(&(key, Field::Admin));
        let order = Order::of(row.server.admin, made, admin, row.farm.drain, now);
        let began_with = row.live.in_flight_total();
        let order = order.map(|order| Order { began_with, ..order }.continued(row.order.as_ref()));
        self.agenda.watch(key, order.as_ref().is_some_and(|order| !order.is_idle), now);
        row.order = order;
        self.reschedule(key);
    }

    /// Puts a server on the agenda for what comes next.
    pub(super) fn reschedule(&mut self, key: ServerKey) {
        if let Some(row) = self.rows.get_mut(&key) {
            row.due = self.agenda.put(key, row.due, row.next_due());
        }
    }

    /// Returns when there is something to do by the clock.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        [self.agenda.next(), self.incidents.next_due()].into_iter().flatten().min()
    }

    pub(super) fn next_event_id(&mut self) -> u64 {
        self.last_event_id += 1;
        self.last_event_id
    }

    pub(super) fn health_of(&self, key: ServerKey) -> Option<&ServerHealth> {
        self.rows.get(&key)?.health.as_ref()
    }

    /// Returns the next table: the live one with these farms rebuilt, and those of them that now serve in another way.
    pub(super) fn with_farms_rebuilt(
        &mut self,
        live: &Table,
        ids: &BTreeSet<FarmId>,
        now: Timestamp,
    ) -> (Table, Vec<EventKind>) {
        self.generation.0 += 1;
        let mut farms = live.farms.clone();
        let mut served = Vec::new();
        for before in farms.iter_mut().filter(|farm| ids.contains(&farm.farm.id)) {
            let Some(declared) = self.topology.farm(before.farm.id) else { continue };
            let after = self.farm_table(declared, Some(before));
            self.date_states(before, &after, now);
            served.extend(change_of_serving(before, &after));
            *before = Arc::new(after);
        }
        let service = Arc::clone(&live.service);
        (Table { generation: self.generation, service, farms, frontends: live.frontends.clone() }, served)
    }

    /// Returns the table of everything; a rotation that stays as it is in `live` keeps its version. Cells of what is gone
    /// were dropped by `adopt`.
    pub(super) fn build_table(&mut self, live: &Table, now: Timestamp) -> Table {
        self.generation.0 += 1;
        let farms: Box<[_]> = self
            .topology
            .farms
            .iter()
            .map(|farm| Arc::new(self.farm_table(farm, live.farm(farm.id).map(|f| &**f))))
            .collect();
        for after in &farms {
            live.farm(after.farm.id).into_iter().for_each(|before| self.date_states(before, after, now));
        }
        let frontends = self.topology.frontends.clone();
        let frontends = frontends.iter().map(|frontend| {
            let workers = self.workers;
            let fresh = || Arc::new(PerWorker::new(workers));
            let cells = Arc::clone(self.frontend_cells.entry(frontend.id).or_insert_with(fresh));
            let mut feed = |id: FarmId| {
                let farm = farms.iter().position(|f| f.farm.id == id)?;
                let edge = |entry: &ServerEntry| {
                    let key = ServerKey { farm: id, server: entry.server.id };
                    let fresh = || Arc::new(PerWorker::new(workers));
                    Arc::clone(self.edge_cells.entry((frontend.id, key)).or_insert_with(fresh))
                };
                Some(Feed { farm, edges: farms[farm].servers.iter().map(edge).collect() })
            };
            let feeds = frontend.farms().into_iter().filter_map(&mut feed).collect();
            let routes = routes_of(frontend, live.frontend(frontend.id));
            Arc::new(FrontendTable { frontend: Arc::clone(frontend), feeds, routes, cells })
        });
        let frontends = frontends.collect();
        Table { generation: self.generation, service: Arc::clone(&self.topology.service), farms, frontends }
    }

    /// Builds one farm's table, which follows `before`.
    fn farm_table(&self, declared: &Farm, before: Option<&FarmTable>) -> FarmTable {
        let servers: Box<[_]> = declared.servers.iter().map(|server| self.entry(declared.id, server)).collect();
        let live = servers.iter().map(|entry| Arc::clone(&entry.server)).collect();
        let farm = Arc::new(Farm { servers: live, ..declared.clone() });
        FarmTable::following(before, farm, servers, self.generation)
    }

    /// Notes of whom the word for the state changed.
    fn date_states(&mut self, before: &FarmTable, after: &FarmTable, now: Timestamp) {
        let word = |entry: &ServerEntry| {
            state_word(entry.server.admin, entry.server.weight, &entry.standing, entry.addr.is_some()).0
        };
        let by_id: LazyCell<HashMap<_, _>, _> =
            LazyCell::new(|| before.servers.iter().map(|known| (known.server.id, known)).collect());
        for (position, entry) in after.servers.iter().enumerate() {
            let id = entry.server.id;
            let same_place = before.servers.get(position).filter(|known| known.server.id == id);
            let known = same_place.or_else(|| by_id.get(&id).copied());
            if known.is_some_and(|known| word(known) != word(entry))
                && let Some(row) = self.rows.get_mut(&ServerKey { farm: after.farm.id, server: id })
            {
                row.state_since = now;
            }
        }
    }

    fn entry(&self, farm: FarmId, declared: &Arc<Server>) -> ServerEntry {
        let key = ServerKey { farm, server: declared.id };
        let server = self.with_overrides(key, declared);
        let row = &self.rows[&key];
        let standing = row.standing();
        ServerEntry {
            held: self.held(key, row, standing.health),
            is_past_deadline: row.order.as_ref().is_some_and(|order| order.is_past_deadline),
            ..ServerEntry::new(server, row.epoch, row.addr.clone(), standing, Arc::clone(&row.live))
        }
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

/// Returns the compiled routes of a frontend: those there are, if they are for the same.
fn routes_of(frontend: &Frontend, before: Option<&Arc<FrontendTable>>) -> Arc<RouteTable> {
    let is_same = |known: &Frontend| known.routes == frontend.routes && known.otherwise == frontend.otherwise;
    match before {
        Some(before) if is_same(&before.frontend) => Arc::clone(&before.routes),
        Some(_) | None => Arc::new(RouteTable::new(frontend)),
    }
}

/// Returns an event for each farm that serves another way than in `before`, or is new and does not serve normally. One
/// that nobody was checked of yet does, and one without servers is about to get some.
pub(super) fn changes_of_serving(before: &Table, after: &Table) -> Vec<EventKind> {
    let change = |farm: &Arc<FarmTable>| match before.farm(farm.farm.id) {
        Some(before) => change_of_serving(before, farm),
        None => {
            let is_normal = matches!(farm.rotation.serving, Serving::Primaries | Serving::Unproven);
            (!is_normal && !farm.servers.is_empty()).then(|| serves(farm))
        }
    };
    after.farms.iter().filter_map(change).collect()
}

fn change_of_serving(before: &FarmTable, after: &FarmTable) -> Option<EventKind> {
    (after.rotation.serving != before.rotation.serving).then(|| serves(after))
}

fn serves(table: &FarmTable) -> EventKind {
    let Farm { id, name, .. } = &*table.farm;
    EventKind::FarmServing { farm: *id, farm_name: name.clone(), serving: table.rotation.serving.as_str() }
}
