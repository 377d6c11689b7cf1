//! The data plane by itself, in this process: what no key of the config reaches, and what only code can ask of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farmgate::alarm::Alarm;
use farmgate::clock;
use farmgate::farm::FarmTable;
use farmgate::farm::sticky::StickyKey;
use farmgate::metrics::{Cell, Refusal};
use farmgate::model::settings::{self, AccessField, AccessFormat};
use farmgate::model::{
    AdminStatus, Farm, FarmId, Frontend, FrontendId, FrontendTimeouts, InstanceId, Limits, Name, Protocol,
    RequestTrace, Server, ServerId, ServerKey, Service, SessionKind, Topology, TrafficFault,
};
use farmgate::proxy::{Farewell, Listeners, Plane, Provision};
use farmgate::store::{Faults, NoJournal, Requests, Sessions, Store};
use farmgate::telemetry::access::AccessLog;

use serde_json::Value;

use super::client::Client;
use super::wait::{PATIENCE, until, until_within};

/// Workers of the plane.
const WORKERS: usize = 2;

/// A running data plane with one farm and one frontend; stops when dropped.
pub(crate) struct InProcess {
    store: Arc<Store>,
    plane: Option<Plane>,
    listeners: Listeners,
    farm: Farm,
    frontend: Frontend,
    front: SocketAddr,
    sessions: Arc<dyn Sessions>,
    requests: Arc<dyn Requests>,
    /// Whoever is told of failing traffic.
    pub(crate) told: Arc<Told>,
    dir: tempfile::TempDir,
}

/// What [`Faults`] was told: server, failures in a row, the last kind.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<(ServerKey, u32, TrafficFault)>>);

impl Faults for Told {
    fn failed(&self, server: ServerKey, errors: u32, kind: TrafficFault) {
        self.0.lock().unwrap().push((server, errors, kind));
    }
}

impl Told {
    /// Returns how many failures in a row were told of, and the last kind, each time.
    pub(crate) fn all(&self) -> Vec<(u32, TrafficFault)> {
        self.0.lock().unwrap().iter().map(|(_, errors, kind)| (*errors, *kind)).collect()
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl InProcess {
    /// Starts a plane whose farm has these servers; `adjust` changes what else the farm is.
    pub(crate) fn start(protocol: Protocol, servers: &[(&str, SocketAddr)], adjust: impl FnOnce(&mut Farm)) -> Self {
        Self::start_with(protocol, servers, |farm, _| adjust(farm))
    }

    /// The same; `adjust` changes what else the farm and the frontend are.
    pub(crate) fn start_with(
        protocol: Protocol,
        servers: &[(&str, SocketAddr)],
        adjust: impl FnOnce(&mut Farm, &mut Frontend),
    ) -> Self {
        let mut farm = Farm::new(FarmId::derive(&name("web")), name("web"), protocol);
        for (server, addr) in servers {
            let id = ServerId::derive(&farm.name, &name(server));
            farm.servers.push(Arc::new(Server::new(id, name(server), addr.to_string().parse().unwrap())));
        }
        let mut frontend = Frontend {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            timeouts: FrontendTimeouts { tunnel: Duration::from_secs(60), ..FrontendTimeouts::default() },
            limits: Limits { connections: 1000, body_bytes: 1 << 30, ..Limits::default() },
            ..Frontend::new(FrontendId::derive(&name("web")), name("web"), farm.protocol, farm.id)
        };
        adjust(&mut farm, &mut frontend);
        let dir = tempfile::tempdir().unwrap();
        let declared = settings::AccessLog {
            path: dir.path().join("access.log"),
            format: AccessFormat::Json,
            fields: AccessField::usual(),
        };
        let (access, _) = AccessLog::open(&declared).unwrap();
        let service = Service {
            name: name("lb"),
            addresses: Vec::new(),
            api_ports: 1024..=49151,
            api_files: Vec::new(),
            api_sockets: Vec::new(),
            instance_id: InstanceId(1),
            zone: name("local"),
        };
        let told = Arc::new(Told::default());
        let store = Arc::new(Store::new(Arc::new(service), WORKERS, Arc::new(NoJournal), Vec::new()).unwrap());
        let provision = Provision { entropy: 7, sticky_key: StickyKey::new([7; 32]), memory: None };
        let alarm = Alarm::new(|thread| panic!("{thread} is lost"));
        let faults = Arc::clone(&told) as Arc<dyn Faults>;
        let plane = Plane::start(&store, WORKERS, (Some(&access), None), provision, faults, &alarm).unwrap();
        let mut started = Self {
            store,
            listeners: plane.listeners(),
            farm,
            frontend,
            front: SocketAddr::from(([127, 0, 0, 1], 0)),
            sessions: plane.sessions(),
            requests: plane.requests(),
            plane: Some(plane),
            told,
            dir,
        };
        started.reload();
        started.front = started.listeners.bound()[0].1;
        started
    }

    /// The address that clients connect to.
    pub(crate) fn front(&self) -> SocketAddr {
        self.front
    }

    /// How many were refused for a reason.
    pub(crate) fn refused(&self, why: Refusal) -> u64 {
        let table = self.store.load();
        table.frontends[0].cells.sum(|cells| cells.refused[why as usize].value())
    }

    /// Waits until one was refused for that reason.
    #[track_caller]
    pub(crate) fn wait_refused(&self, why: Refusal) {
        let found = until_within(PATIENCE, || (self.refused(why) > 0).then_some(()));
        let others: Vec<_> = Refusal::ALL.into_iter().filter(|other| self.refused(*other) > 0).collect();
        assert!(found.is_some(), "nothing was refused for {}; for others: {others:?}", why.as_str());
    }

    /// Tells every worker to stop, and to end once idle.
    pub(crate) fn stop(&self) {
        if let Some(plane) = &self.plane {
            plane.shutdown(Duration::from_secs(30), Farewell::Abrupt);
        }
    }

    /// Where clients connect to.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.front)
    }

    /// Changes what the operator wants of a server.
    pub(crate) fn set(&mut self, server: &str, admin: AdminStatus) {
        self.declare(server, |server| server.admin = admin);
    }

    /// Declares a server otherwise.
    pub(crate) fn declare(&mut self, server: &str, adjust: impl Fn(&mut Server)) {
        for known in &mut self.farm.servers {
            if known.name.as_str() == server {
                adjust(Arc::make_mut(known));
            }
        }
        self.reload();
    }

    /// How many are open on a server: raw connections, requests, tunnels.
    pub(crate) fn open(&self, server: &str) -> [u64; 3] {
        let groups = self.sessions.of(self.key(server));
        [SessionKind::Connection, SessionKind::Request, SessionKind::Tunnel]
            .map(|kind| groups.iter().filter(|group| group.kind == kind).map(|group| group.count).sum())
    }

    /// Waits until so many are open on a server.
    #[track_caller]
    pub(crate) fn wait_open(&self, server: &str, want: [u64; 3]) {
        until(&format!("{want:?} open on {server}"), || (self.open(server) == want).then_some(()));
    }

    /// How old the oldest thing is that is open on a server.
    pub(crate) fn oldest(&self, server: &str) -> Duration {
        self.sessions.of(self.key(server)).iter().map(|group| group.oldest).max().unwrap_or_default()
    }

    /// Closes everything open on a server.
    pub(crate) fn close(&self, server: &str) -> u64 {
        self.sessions.close(self.key(server))
    }

    /// Work that went well at a server, and work that failed.
    pub(crate) fn traffic(&self, server: &str) -> (u64, u64) {
        let table = self.store.load();
        let farm = table.farm(self.farm.id).unwrap();
        let traffic = &farm.servers[farm.position(self.key(server).server).unwrap()].live.traffic;
        (traffic.good.sum(Cell::value), traffic.bad.sum(Cell::value))
    }

    /// Waits until so much went well, and so much failed, at a server.
    #[track_caller]
    pub(crate) fn wait_traffic(&self, server: &str, want: (u64, u64)) {
        until(&format!("{want:?} at {server}"), || (self.traffic(server) == want).then_some(()));
    }

    /// How many wait for a server.
    pub(crate) fn queued(&self) -> u32 {
        self.of_farm(|farm| farm.live.queue.length())
    }

    /// Waits until so many do.
    #[track_caller]
    pub(crate) fn wait_queued(&self, want: u32) {
        until(&format!("{want} to wait"), || (self.queued() == want).then_some(()));
    }

    /// How many ever waited.
    pub(crate) fn waits(&self) -> u64 {
        self.of_farm(|farm| farm.live.waits.value())
    }

    /// How many retries the budget refused.
    pub(crate) fn retries_refused(&self) -> u64 {
        self.of_farm(|farm| farm.live.retries_refused.value())
    }

    /// How many places of a server are taken.
    pub(crate) fn taken(&self, server: &str) -> u32 {
        let id = self.key(server).server;
        self.of_farm(|farm| farm.servers[farm.position(id).unwrap()].live.places.taken())
    }

    fn of_farm<T>(&self, read: impl FnOnce(&FarmTable) -> T) -> T {
        let table = self.store.load();
        read(table.farm(self.farm.id).unwrap())
    }

    /// The lines of the access log, once there are so many.
    #[track_caller]
    pub(crate) fn access(&self, lines: usize) -> Vec<Value> {
        until(&format!("{lines} lines of the access log"), || {
            let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap();
            let found: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (found.len() >= lines).then_some(found)
        })
    }

    /// What became of the request of that line of the access log: the attempts as (server, why, how they ended).
    #[track_caller]
    pub(crate) fn attempts(&self, line: &Value) -> Vec<(String, &'static str, &'static str)> {
        let trace = self.trace(line["request_id"].as_str().unwrap()).expect("the request is remembered");
        let name_of = |id| self.farm.servers.iter().find(|server| server.id == id).unwrap().name.to_string();
        let attempts = trace.attempts.iter();
        attempts.map(|at| (name_of(at.server), at.chosen_by.as_str(), at.outcome.as_str())).collect()
    }

    /// What became of a request.
    pub(crate) fn trace(&self, id: &str) -> Option<RequestTrace> {
        self.requests.find(id)
    }

    fn key(&self, server: &str) -> ServerKey {
        ServerKey { farm: self.farm.id, server: ServerId::derive(&self.farm.name, &name(server)) }
    }

    fn reload(&self) {
        let service = Arc::clone(&self.store.load().service);
        let (frontends, farms) = (vec![Arc::new(self.frontend.clone())], vec![Arc::new(self.farm.clone())]);
        let topology = Topology { service, frontends, farms, made: Arc::default() };
        self.store.reload(topology, &self.listeners, clock::wall()).unwrap();
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.shutdown(Duration::ZERO, Farewell::Abrupt);
            plane.join();
        }
    }
}
