//! The Store as a whole: declared, observed and wanted → table and snapshot.

mod clocks;
mod entries;
mod incidents;
mod leaving;
mod orders;
mod passive;
mod quorum;
mod random;
mod restart;
mod retuned;
mod routes;
mod slow_disk;
mod telling;
mod unmade;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::farm::Serving;
use crate::metrics::WorkerIx;
use crate::model::{
    Act, AdminStatus, Balance, Change, CheckRecord, CheckStatus, Checked, Content, Farm, FarmId, Field, Frontend,
    FrontendId, FrontendTimeouts, Health, HttpProbe, InstanceId, Limits, ListenAddr, Name, Probe, ProbeKind, ProbeSlot,
    Protocol, SavedHealth, Server, ServerId, Service, SessionGroup, SessionKind, Weight, Wish,
};

struct AnyHost;

struct Bound;

impl ListenerHost for AnyHost {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        Ok(Box::new(Bound))
    }
}

impl PreparedListeners for Bound {
    fn commit(self: Box<Self>) {}
}

struct NoHost;

impl ListenerHost for NoHost {
    fn prepare(&self, frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        let error = |f: &Arc<Frontend>| {
            let (frontend, address) = (f.name.clone(), f.listen[0].clone());
            OpenError::from(ListenError { frontend, address, cause: std::io::ErrorKind::AddrInUse.into() })
        };
        Err(frontends.iter().map(error).collect())
    }
}

/// A journal in memory, which can be made to fail; a second store on it is a second process.
#[derive(Default)]
struct Ledger {
    kept: Mutex<Vec<SavedOverride>>,
    healths: Mutex<BTreeMap<ServerKey, SavedHealth>>,
    events: Mutex<Vec<Arc<Event>>>,
    others: Mutex<Vec<Entry>>,
    is_broken: bool,
}

impl Ledger {
    /// Takes out the events told since the last time.
    fn take_events(&self) -> Vec<EventKind> {
        std::mem::take(&mut *self.events.lock().unwrap()).iter().map(|event| event.kind.clone()).collect()
    }
}

impl Journal for Ledger {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        Ok(self.healths.lock().unwrap().values().cloned().collect())
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        Ok(self.events.lock().unwrap().last().map_or(0, |event| event.id))
    }

    fn note(&self, entry: Entry) {
        match entry {
            Entry::Event(event) => self.events.lock().unwrap().push(event),
            Entry::Forgotten(servers) => self.healths.lock().unwrap().retain(|key, _| !servers.contains(key)),
            Entry::Health(saved) => drop(self.healths.lock().unwrap().insert(saved.server, *saved)),
            Entry::Check { .. } | Entry::Evidence { .. } => self.others.lock().unwrap().push(entry),
        }
    }

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        Ok(self.kept.lock().unwrap().clone())
    }

    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError> {
        if self.is_broken {
            return Err(JournalError { what: "put", cause: "disk full".into() });
        }
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|k| (k.server, k.made.wish.field()) != (saved.server, saved.made.wish.field()));
        kept.push(saved.clone());
        Ok(())
    }

    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        self.kept.lock().unwrap().retain(|k| !fields.contains(&(k.server, k.made.wish.field())));
        Ok(())
    }
}

/// What is open on servers, as the data plane would say.
#[derive(Default)]
struct Open {
    counts: Mutex<BTreeMap<ServerKey, u64>>,
    closed: Mutex<Vec<ServerKey>>,
}

impl Open {
    fn set(&self, server: ServerKey, count: u64) {
        self.counts.lock().unwrap().insert(server, count);
    }
}

impl Sessions for Open {
    fn of(&self, server: ServerKey) -> Vec<SessionGroup> {
        let count = self.counts.lock().unwrap().get(&server).copied().unwrap_or(0);
        let group = SessionGroup { kind: SessionKind::Request, count, oldest: Duration::from_secs(1) };
        Some(group).filter(|_| count > 0).into_iter().collect()
    }

    fn close(&self, server: ServerKey) -> u64 {
        self.closed.lock().unwrap().push(server);
        self.counts.lock().unwrap().remove(&server).unwrap_or(0)
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn service() -> Arc<Service> {
    Arc::new(Service {
        name: name("lb-test"),
        addresses: Vec::new(),
        api_ports: 1024..=49151,
        api_files: Vec::new(),
        api_sockets: Vec::new(),
        instance_id: InstanceId(1),
        zone: name("local"),
    })
}

fn probe() -> Probe {
    Probe { fall: 2, ..Probe::new(ProbeKind::Http(HttpProbe::get("/"))) }
}

fn server(farm: &str, n: u16, weight: u16) -> Server {
    let server = name(&format!("s{n}"));
    let (id, address) = (ServerId::derive(&name(farm), &server), format!("127.0.0.1:{}", 1000 + n));
    Server { weight: Weight(weight), ..Server::new(id, server, address.parse().unwrap()) }
}

fn topology(servers: Vec<Server>, probe: Option<Probe>) -> Topology {
    let farm = Farm {
        probes: probe.map(Arc::new).into_iter().collect(),
        servers: servers.into_iter().map(Arc::new).collect(),
        ..Farm::new(FarmId::derive(&name("web")), name("web"), Protocol::Http)
    };
    let second = Duration::from_secs(1);
    let timeouts = FrontendTimeouts {
        header: second,
        body: second,
        idle: second,
        write: second,
        tunnel: second,
        ..FrontendTimeouts::default()
    };
    let frontend = Frontend {
        listen: vec![ListenAddr::parse("127.0.0.1:0").unwrap()],
        trust: Vec::new(),
        timeouts,
        limits: Limits { connections: 10, header_bytes: 1000, uri_bytes: 100, body_bytes: 1000, ..Limits::default() },
        ..Frontend::new(FrontendId::derive(&name("web")), name("web"), Protocol::Http, farm.id)
    };
    Topology {
        service: service(),
        frontends: vec![Arc::new(frontend)],
        farms: vec![Arc::new(farm)],
        made: Arc::default(),
    }
}

fn store_with(topology: Topology, ledger: &Arc<Ledger>) -> Store {
    let store = Store::new(service(), 2, Arc::clone(ledger) as Arc<dyn Journal>, Vec::new()).unwrap();
    store.reload(topology, &AnyHost, Timestamp(1)).unwrap();
    store
}

fn store(topology: Topology) -> Store {
    store_with(topology, &Arc::default())
}

fn key(n: u16) -> ServerKey {
    ServerKey { farm: FarmId::derive(&name("web")), server: ServerId::derive(&name("web"), &name(&format!("s{n}"))) }
}

fn record(status: CheckStatus, at: u64) -> CheckRecord {
    CheckRecord::new(status, None, Content::from_text("x"), Timestamp(at), Duration::from_millis(1))
}

impl Store {
    /// Hands one check of the server's present incarnation in.
    pub(crate) fn observe_one(&self, server: ServerKey, record: CheckRecord) {
        let epoch = epoch_of(self, server);
        self.observe(vec![checked(server, epoch, record)]);
    }
}

fn checked(server: ServerKey, epoch: Epoch, record: CheckRecord) -> Checked {
    let next_at = record.at + Duration::from_secs(2);
    Checked { server, slot: ProbeSlot::FIRST, epoch, record: Arc::new(record), next_at }
}

fn epoch_of(store: &Store, server: ServerKey) -> Epoch {
    let table = store.load();
    let Some(farm) = table.farm(server.farm) else { return Epoch(0) };
    farm.position(server.server).map_or(Epoch(0), |position| farm.servers[position].epoch)
}

fn act() -> Act {
    Act { actor: "ops".into(), source: "local".into(), reason: None, at: Timestamp(9) }
}

fn rotation(store: &Store) -> (Serving, Vec<u32>) {
    let table = store.load();
    let rotation = &table.farms[0].rotation;
    (rotation.serving, rotation.eligible.iter().map(|e| e.position).collect())
}

fn states(store: &Store) -> Vec<String> {
    store.snapshot(Timestamp(u64::MAX / 2)).farms[0].servers.iter().map(|s| s.state.clone()).collect()
}

fn count_in_flight(store: &Store, n: u16, count: u64) {
    let table = store.load();
    let farm = table.farm(key(n).farm).unwrap();
    farm.servers[farm.position(key(n).server).unwrap()].live.in_flight.of(WorkerIx(0)).add(count);
}

/// A topology whose one farm is changed so.
fn with_farm(topology: &Topology, change: impl FnOnce(&mut Farm)) -> Topology {
    let mut farm = Farm::clone(&topology.farms[0]);
    change(&mut farm);
    Topology { farms: vec![Arc::new(farm)], ..topology.clone() }
}

fn second(n: u64) -> Timestamp {
    Timestamp(n * 1_000_000)
}

fn set(store: &Store, n: u16, wish: Wish) {
    store.change(&Change::plain(key(n), wish), act()).unwrap();
}

#[test]
fn store_first_checks_decide_at_once() {
    let store = store(topology(vec![server("web", 1, 1), server("web", 2, 1)], Some(probe())));
    assert_eq!(rotation(&store), (Serving::Unproven, vec![0, 1]));
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
    store.observe_one(key(2), record(CheckStatus::L4Con, 6));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
    assert_eq!(states(&store), ["UP", "DOWN"]);
}

#[test]
fn store_down_server_leaves_the_rotation_with_the_deciding_check_as_event() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let seen = Arc::clone(&seen);
        move |event: &Arc<Event>| seen.lock().unwrap().push(Event::clone(event))
    };
    let store = Store::new(service(), 1, Arc::new(NoJournal), vec![Box::new(sink)]).unwrap();
    store.reload(topology(vec![server("web", 1, 1)], Some(probe())), &AnyHost, Timestamp(1)).unwrap();
    for at in 2..4 {
        store.observe_one(key(1), record(CheckStatus::L7Ok, at));
    }
    store.observe_one(key(1), record(CheckStatus::L7Sts, 4));
    assert_eq!(states(&store), ["UP 1/2"]);
    store.observe_one(key(1), record(CheckStatus::L7Tout, 5));
    assert_eq!(rotation(&store), (Serving::Nobody, vec![]));
    let seen = seen.lock().unwrap();
    let ids: Vec<_> = seen.iter().map(|e| e.id).collect();
    assert!(ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
    let down = seen.iter().find_map(|e| match &e.kind {
        EventKind::Transition { to: Health::Down, check, .. } => Some(check.status),
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
        | EventKind::Left { .. }
        | EventKind::OrderEnded { .. }
        | EventKind::Edited { .. }
        | EventKind::Checking { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::Refresh { .. }
        | EventKind::Reloaded { .. }
        | EventKind::StandingChanged { .. }
        | EventKind::Transition { .. } => None,
    });
    assert_eq!(down, Some(CheckStatus::L7Tout));
    let last: Vec<_> = seen.iter().rev().take(2).map(|e| &e.kind).collect();
    let is_in_order = matches!(
        last[..],
        [EventKind::FarmServing { serving: "nobody", .. }, EventKind::Transition { to: Health::Down, .. }]
    );
    assert!(is_in_order, "cause first, then what follows: {last:?}");
}

#[test]
fn store_check_that_changes_nothing_publishes_no_table() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    let before = store.load().generation;
    store.observe_one(key(1), record(CheckStatus::L7Ok, 6));
    assert_eq!(store.load().generation, before);
    let snapshot = store.snapshot(Timestamp(1_000_000));
    assert_eq!(snapshot.farms[0].servers[0].last_check.as_ref().map(|c| c.at), Some(Timestamp(6)));
}

#[test]
fn store_unrelated_change_keeps_the_rotation_version() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    let version = store.load().farms[0].rotation.version;
    store.observe_one(key(1), record(CheckStatus::L7Sts, 6));
    assert_eq!(states(&store), ["UP 1/2"]);
    assert_eq!(store.load().farms[0].rotation.version, version);
}

#[test]
fn store_new_weight_or_threshold_keeps_health_and_a_new_address_starts_afresh() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    store.observe_one(key(1), record(CheckStatus::L4Con, 5));
    let slower = Probe { fall: 9, interval: Duration::from_secs(9), ..probe() };
    store.reload(topology(vec![server("web", 1, 7)], Some(slower)), &AnyHost, Timestamp(6)).unwrap();
    assert_eq!(states(&store), ["DOWN"]);
    let moved = Server { address: "127.0.0.1:9".parse().unwrap(), ..server("web", 1, 7) };
    store.reload(topology(vec![moved], Some(probe())), &AnyHost, Timestamp(7)).unwrap();
    assert_eq!(states(&store), ["no check"]);
    assert!(store.snapshot(Timestamp(8)).farms[0].servers[0].last_check.is_none());
}

#[test]
fn store_reload_keeps_counters_of_what_stays_and_drops_the_rest() {
    let store = store(topology(vec![server("web", 1, 1), server("web", 2, 1)], None));
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    let edge = Arc::clone(&store.load().frontends[0].feeds[0].edges[0]);
    store.reload(topology(vec![server("web", 3, 1), server("web", 1, 1)], None), &AnyHost, Timestamp(6)).unwrap();
    let table = store.load();
    assert!(Arc::ptr_eq(&live, &table.farms[0].servers[1].live));
    assert!(Arc::ptr_eq(&edge, &table.frontends[0].feeds[0].edges[1]));
    assert_eq!(store.lock().edge_cells.len(), 2);
}

#[test]
fn store_reload_that_cannot_listen_changes_nothing() {
    let store = store(topology(vec![server("web", 1, 1)], None));
    let before = store.load().generation;
    let refused = store.reload(topology(vec![server("web", 2, 1)], None), &NoHost, Timestamp(6)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "frontend \"web\": cannot listen on 127.0.0.1:0: the address is in use; stop the process that listens there \
         (`ss -ltnp` names it) or choose another port"
    );
    assert_eq!(store.load().generation, before);
    assert!(store.declared_has(1));
}

impl Store {
    fn declared_has(&self, n: u16) -> bool {
        self.lock().declared_server(key(n)).is_some()
    }
}

#[test]
fn store_override_survives_a_reload_until_the_file_changes_that_very_field() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(topology(vec![server("web", 1, 5)], None), &ledger);
    set(&store, 1, Wish::Admin(AdminStatus::Maintenance));
    set(&store, 1, Wish::Weight(Weight(9)));
    assert_eq!(states(&store), ["MAINT"]);
    store.reload(topology(vec![server("web", 1, 5)], None), &AnyHost, Timestamp(6)).unwrap();
    assert_eq!(states(&store), ["MAINT"]);
    store.reload(topology(vec![server("web", 1, 6)], None), &AnyHost, Timestamp(7)).unwrap();
    let snapshot = store.snapshot(Timestamp(8));
    let row = &snapshot.farms[0].servers[0];
    assert_eq!((row.server.admin, row.server.weight), (AdminStatus::Maintenance, Weight(6)));
    assert_eq!(row.overrides.len(), 1);
    assert_eq!(ledger.kept.lock().unwrap().len(), 1);
}

#[test]
fn store_override_survives_a_restart_through_the_journal() {
    let ledger = Arc::new(Ledger::default());
    let first = store_with(topology(vec![server("web", 1, 5)], None), &ledger);
    set(&first, 1, Wish::Admin(AdminStatus::Drain));
    drop(first);
    let second = store_with(topology(vec![server("web", 1, 5)], None), &ledger);
    assert_eq!(states(&second), ["DRAIN"]);
    set(&second, 1, Wish::Admin(AdminStatus::Active));
    assert!(ledger.kept.lock().unwrap().is_empty());
    assert_eq!(rotation(&second), (Serving::Primaries, vec![0]));
}

#[test]
fn store_change_that_cannot_be_kept_is_not_made() {
    let ledger = Arc::new(Ledger { is_broken: true, ..Ledger::default() });
    let store = store_with(topology(vec![server("web", 1, 5)], None), &ledger);
    let wish = Wish::Admin(AdminStatus::Drain);
    let refused = store.change(&Change::plain(key(1), wish), act()).unwrap_err();
    assert!(matches!(refused, ChangeError::Journal(_)));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
}

#[test]
fn store_change_of_an_unknown_server_is_refused() {
    let store = store(topology(vec![server("web", 1, 5)], None));
    let wish = Wish::Weight(Weight(1));
    assert!(matches!(store.change(&Change::plain(key(7), wish), act()), Err(ChangeError::UnknownServer(_))));
}

#[test]
fn store_weight_zero_reads_as_drain_and_takes_no_work() {
    let store = store(topology(vec![server("web", 1, 5), server("web", 2, 5)], None));
    set(&store, 1, Wish::Weight(Weight(0)));
    assert_eq!(states(&store), ["DRAIN", "no check"]);
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1]));
}

#[test]
fn store_unresolved_server_takes_no_work_until_its_name_has_an_address() {
    let named = Server { address: "origin.invalid:80".parse().unwrap(), ..server("web", 1, 1) };
    let store = store(topology(vec![named], None));
    assert_eq!(states(&store), ["MAINT (resolution)"]);
    assert_eq!(rotation(&store), (Serving::Nobody, vec![]));
    store.resolved(key(1), epoch_of(&store, key(1)), Some("127.0.0.1:80".parse().unwrap()), Timestamp(5));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
    store.resolved(key(1), epoch_of(&store, key(1)), None, Timestamp(6));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
}

#[test]
fn store_late_check_of_a_removed_server_is_dropped() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    let before = store.load().generation;
    store.observe_one(key(2), record(CheckStatus::L7Ok, 5));
    assert_eq!(store.load().generation, before);
}

#[test]
fn store_snapshot_is_shared_until_something_changes() {
    let store = store(topology(vec![server("web", 1, 1)], None));
    let one = store.snapshot(Timestamp(100));
    assert!(Arc::ptr_eq(&one, &store.snapshot(Timestamp(100 + SNAPSHOT_AGE_US_MAX - 1))));
    assert!(!Arc::ptr_eq(&one, &store.snapshot(Timestamp(100 + SNAPSHOT_AGE_US_MAX))));
    let two = store.snapshot(Timestamp(200_000));
    set(&store, 1, Wish::Weight(Weight(3)));
    assert!(!Arc::ptr_eq(&two, &store.snapshot(Timestamp(200_001))));
}

#[test]
fn store_result_of_an_earlier_incarnation_is_dropped() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    let epoch = epoch_of(&store, key(1));
    let moved = Server { address: "origin.invalid:9".parse().unwrap(), ..server("web", 1, 1) };
    store.reload(topology(vec![moved], Some(probe())), &AnyHost, Timestamp(7)).unwrap();
    let late = checked(key(1), epoch, record(CheckStatus::L7Ok, 8));
    store.observe(vec![late]);
    store.resolved(key(1), epoch, Some("127.0.0.1:80".parse().unwrap()), Timestamp(8));
    let snapshot = store.snapshot(Timestamp(9));
    let row = &snapshot.farms[0].servers[0];
    assert_eq!((row.standing.health, row.addr.clone(), row.last_check.is_none()), (Health::Unknown, None, true));
}

#[test]
fn store_failure_of_our_own_socket_is_recorded_and_counts_for_nobody() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    for at in 6..20 {
        store.observe_one(key(1), record(CheckStatus::SockErr, at));
    }
    assert_eq!(states(&store), ["UP"]);
    let snapshot = store.snapshot(Timestamp(21));
    assert_eq!(snapshot.farms[0].servers[0].last_check.as_ref().map(|c| c.status), Some(CheckStatus::SockErr));
}

#[test]
fn store_many_checks_at_once_make_one_table() {
    let servers = (1..=500).map(|n| server("web", n, 1)).collect();
    let store = store(topology(servers, Some(probe())));
    let before = store.load().generation;
    let all = (1..=500).map(|n| {
        let epoch = epoch_of(&store, key(n));
        checked(key(n), epoch, record(CheckStatus::L7Ok, 5))
    });
    store.observe(all.collect());
    assert_eq!(store.load().generation.0, before.0 + 1);
    assert_eq!(rotation(&store).1.len(), 500);
}

#[test]
fn store_reload_of_the_same_keeps_the_rotation_version() {
    let store = store(topology(vec![server("web", 1, 1)], None));
    let version = store.load().farms[0].rotation.version;
    store.reload(topology(vec![server("web", 1, 1)], None), &AnyHost, Timestamp(6)).unwrap();
    assert_eq!(store.load().farms[0].rotation.version, version);
}

#[test]
fn store_reload_that_changes_how_a_farm_serves_tells_so() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let seen = Arc::clone(&seen);
        move |event: &Arc<Event>| seen.lock().unwrap().push(event.kind.clone())
    };
    let store = Store::new(service(), 1, Arc::new(NoJournal), vec![Box::new(sink)]).unwrap();
    store.reload(topology(vec![server("web", 1, 1)], None), &AnyHost, Timestamp(1)).unwrap();
    let drained = Server { admin: AdminStatus::Drain, ..server("web", 1, 1) };
    store.reload(topology(vec![drained], None), &AnyHost, Timestamp(2)).unwrap();
    let last = seen.lock().unwrap().pop();
    assert!(matches!(last, Some(EventKind::FarmServing { serving: "nobody", .. })), "{last:?}");
}

#[test]
fn store_new_balance_begins_new_turns() {
    let store = store(topology(vec![server("web", 1, 1)], None));
    let version = store.load().farms[0].rotation.version;
    let mut changed = topology(vec![server("web", 1, 1)], None);
    let farm = Farm { balance: Balance::First, ..Farm::clone(&changed.farms[0]) };
    changed.farms = vec![Arc::new(farm)];
    store.reload(changed, &AnyHost, Timestamp(6)).unwrap();
    assert_ne!(store.load().farms[0].rotation.version, version);
}
