//! For tests of the admin side and of the CLI: a Store with two farms in known states, an admin server on a free port
//! of this machine, and a client that sends exactly what it is told.

pub(crate) mod kept;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::server::Deadlines;
use crate::admin::{AdminServer, AdminState, Control, Credentials, Succession};
use crate::feed::Ring;
use crate::metrics::ReloadCells;
use crate::model::settings::{AdminTls, BearerToken, CallRate, Grant, MetricsAccess, OvhBounds, Secret};
use crate::model::{
    Access, Act, AdminSettings, Balance, CheckRecord, CheckStatus, Content, Farm, FarmId, FarmTimeouts, Frontend,
    FrontendId, FrontendTimeouts, HttpProbe, InstanceId, Limits, Name, Probe, ProbeKind, Protocol, Role, Server,
    ServerId, ServerKey, Service, SessionGroup, SessionKind, Timestamp, Topology, Weight,
};
use crate::store::{Journal, ListenerHost, NoJournal, OpenError, PreparedListeners, Sessions, Store};

pub(crate) const OPS: &str = "token-of-ops";
pub(crate) const VIEWER: &str = "token-of-viewer";
/// A token that may operate a farm that is not there, and no other.
pub(crate) const NARROW: &str = "token-of-narrow-0123456789";

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Answers reloads and upgrades with what the test put there, and keeps who asked, and for which program.
#[derive(Default)]
pub(crate) struct Reloader {
    pub(crate) refusal: Mutex<Option<String>>,
    pub(crate) acts: Mutex<Vec<Act>>,
    pub(crate) binaries: Mutex<Vec<Option<PathBuf>>>,
}

impl Control for Reloader {
    fn reload<'a>(&'a self, act: Act) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        self.acts.lock().unwrap().push(act);
        let refusal = self.refusal.lock().unwrap().clone();
        Box::pin(async { refusal.map_or(Ok(()), Err) })
    }

    fn upgrade<'a>(
        &'a self,
        act: Act,
        binary: Option<PathBuf>,
    ) -> Pin<Box<dyn Future<Output = Result<Succession, String>> + Send + 'a>> {
        self.acts.lock().unwrap().push(act);
        self.binaries.lock().unwrap().push(binary);
        let refusal = self.refusal.lock().unwrap().clone();
        Box::pin(async { refusal.map_or(Ok(Succession { pid: 4711, replaced: 4242 }), Err) })
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn key(farm: &str, server: &str) -> ServerKey {
    ServerKey { farm: FarmId::derive(&name(farm)), server: ServerId::derive(&name(farm), &name(server)) }
}

pub(crate) fn service() -> Arc<Service> {
    Arc::new(Service {
        name: name("lb-test"),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        api_ports: 1024..=49151,
        api_files: Vec::new(),
        api_sockets: Vec::new(),
        instance_id: InstanceId(1),
        zone: name("local"),
    })
}

fn server(farm: &str, server: &str, port: u16, weight: u16, role: Role) -> Server {
    let (id, address) = (ServerId::derive(&name(farm), &name(server)), format!("127.0.0.1:{port}"));
    Server { weight: Weight(weight), role, ..Server::new(id, name(server), address.parse().unwrap()) }
}

fn farm(text: &str, protocol: Protocol, probe: Option<Probe>, servers: Vec<Server>) -> Arc<Farm> {
    let idle = Duration::from_millis(1500);
    let plain = Farm::new(FarmId::derive(&name(text)), name(text), protocol);
    Arc::new(Farm {
        balance: if protocol == Protocol::Http { Balance::RoundRobin } else { Balance::LeastConn },
        probes: probe.map(Arc::new).into_iter().collect(),
        timeouts: FarmTimeouts { idle, ..plain.timeouts },
        servers: servers.into_iter().map(Arc::new).collect(),
        ..plain
    })
}

fn frontend(text: &str, protocol: Protocol, port: u16) -> Arc<Frontend> {
    let second = Duration::from_secs(1);
    Arc::new(Frontend {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], port)).into()],
        trust: vec!["10.0.0.0/8".parse().unwrap()],
        timeouts: FrontendTimeouts {
            header: second,
            body: second,
            idle: second,
            write: second,
            tunnel: second,
            ..FrontendTimeouts::default()
        },
        limits: Limits { connections: 10, header_bytes: 1024, uri_bytes: 100, body_bytes: 1000, ..Limits::default() },
        ..Frontend::new(FrontendId::derive(&name(text)), name(text), protocol, FarmId::derive(&name(text)))
    })
}

/// `web`: s1 up, s2 going down, s3 (backup) down for 503. `db`: d1, not probed.
pub(crate) fn topology() -> Topology {
    let probe = Probe::new(ProbeKind::Http(HttpProbe::get("/healthz")));
    let web = vec![
        server("web", "s1", 1001, 5, Role::Primary),
        server("web", "s2", 1002, 3, Role::Primary),
        server("web", "s3", 1003, 1, Role::Backup),
    ];
    let db = vec![server("db", "d1", 2001, 1, Role::Primary)];
    Topology {
        service: service(),
        frontends: vec![frontend("web", Protocol::Http, 8080), frontend("db", Protocol::Tcp, 5432)],
        farms: vec![farm("web", Protocol::Http, Some(probe), web), farm("db", Protocol::Tcp, None, db)],
        made: Arc::default(),
    }
}

/// Returns a store in the state that [`topology`] tells; everything happened in 1970.
pub(crate) fn store_with(journal: Arc<dyn Journal>) -> Arc<Store> {
    store_and_feed(journal).0
}

/// The same, and the events of it.
pub(crate) fn store_and_feed(journal: Arc<dyn Journal>) -> (Arc<Store>, Arc<Ring>) {
    let feed = Arc::new(Ring::new(0));
    let told = Arc::clone(&feed);
    let store = Store::new(service(), 2, journal, vec![Box::new(move |event| told.push(event))]).unwrap();
    store.reload(topology(), &AnyHost, Timestamp(1_000_000)).unwrap();
    let seen = |server: &str, status, code, content: &str, second: u64| {
        let content = Content::from_text(content);
        let at = Timestamp(second * 1_000_000);
        store.observe_one(
            key("web", server),
            CheckRecord::new(status, code, content, at, Duration::from_micros(12_345)),
        );
    };
    seen("s1", CheckStatus::L7Ok, Some(200), "OK", 2);
    seen("s2", CheckStatus::L7Ok, Some(200), "OK", 2);
    seen("s2", CheckStatus::L7Tout, None, "no whole reply within 1s", 4);
    seen("s3", CheckStatus::L7Sts, Some(503), "Service Unavailable", 3);
    (Arc::new(store), feed)
}

pub(crate) fn credentials() -> Credentials {
    let token = |name: &str, access, token| BearerToken {
        grant: Grant { name: name.into(), access, farms: None },
        token: Secret::new(token),
    };
    let mut narrow = token("narrow", Access::Operate, NARROW);
    narrow.grant.farms = Some([name("elsewhere")].into());
    let tokens = vec![token("ops", Access::Operate, OPS), token("viewer", Access::Read, VIEWER), narrow];
    Credentials { tokens, ..Credentials::default() }
}

pub(crate) fn settings() -> AdminSettings {
    AdminSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: AdminTls::Off,
        clients: None,
        hosts: Vec::new(),
        metrics: MetricsAccess::Token,
        rate: CallRate::DEFAULT,
        tokens: Vec::new(),
        holders: Vec::new(),
        ovh: Vec::new(),
        ovh_applications: Vec::new(),
        ovh_bounds: OvhBounds::default(),
        ovh_public_url: None,
        zenlayer: Vec::new(),
        allow_commands: false,
    }
}

/// What is said to be open on every server.
#[derive(Default)]
pub(crate) struct Open(pub(crate) Mutex<Vec<SessionGroup>>);

impl Open {
    pub(crate) fn set(&self, groups: &[(SessionKind, u64)]) {
        let of = |(kind, count): &(SessionKind, u64)| SessionGroup {
            kind: *kind,
            count: *count,
            oldest: Duration::from_millis(1500),
        };
        *self.0.lock().unwrap() = groups.iter().map(of).collect();
    }
}

impl Sessions for Open {
    fn of(&self, _server: ServerKey) -> Vec<SessionGroup> {
        self.0.lock().unwrap().clone()
    }

    fn close(&self, _server: ServerKey) -> u64 {
        self.0.lock().unwrap().drain(..).map(|group| group.count).sum()
    }
}

/// An admin server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) runtime: Runtime,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_with(&settings(), None, Arc::new(NoJournal))
    }

    pub(crate) fn start_with(settings: &AdminSettings, wait: Option<Duration>, journal: Arc<dyn Journal>) -> Self {
        Self::start_as(settings, wait, journal, |_| {})
    }

    /// Starts one that answers from what `alter` made of its state.
    pub(crate) fn start_as(
        settings: &AdminSettings,
        wait: Option<Duration>,
        journal: Arc<dyn Journal>,
        alter: impl FnOnce(&mut AdminState),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut server = AdminServer::bind(settings, Arc::<ReloadCells>::default(), None).unwrap();
        if let Some(wait) = wait {
            server.deadlines = Deadlines { handshake: wait, idle: wait, body: wait, close: wait, look: wait };
        }
        let (addr, fingerprint) = (server.local_addr(), server.fingerprint());
        let certificate = server.certificate();
        let ((store, feed), reloader) = (store_and_feed(journal), Arc::new(Reloader::default()));
        let control: Arc<dyn Control> = Arc::<Reloader>::clone(&reloader);
        let mut state = AdminState::new(Arc::clone(&store), Arc::new(ArcSwap::from_pointee(credentials())), control);
        state.feed = feed;
        alter(&mut state);
        let (stop, stopped) = watch::channel(false);
        let served = Some(runtime.spawn(server.serve(state, stopped)));
        Self { addr, store, reloader, fingerprint, certificate, runtime, stop, served }
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.addr);
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let is_framed = fields.iter().any(|(name, _)| matches!(*name, "Content-Length" | "Transfer-Encoding"));
        if !body.is_empty() && !is_framed {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// Sends one request as `token`.
    pub(crate) fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Reply {
        self.send(method, path, &[("Authorization", &format!("Bearer {token}"))], body.as_bytes())
    }

    /// Sends `bytes` and reads to the end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        Reply::read(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// The lines of an answer that does not end.
pub(crate) struct Lines(std::io::BufReader<TcpStream>);

impl Lines {
    /// Asks as `ops` in HTTP/1.0, so that there are no chunks, and reads past the head, which must be a 200.
    pub(crate) fn of(running: &Running, path: &str, fields: &str) -> Self {
        let (stream, reply) = Self::ask(running, path, fields);
        assert!(reply.starts_with("HTTP/1.0 200"), "{reply}");
        stream
    }

    /// The same, whatever the answer; its first line.
    pub(crate) fn ask(running: &Running, path: &str, fields: &str) -> (Self, String) {
        let mut stream = running.connect();
        let head = format!("GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {OPS}\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut lines = Self(std::io::BufReader::new(stream));
        let first = lines.next().unwrap();
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        (lines, first)
    }

    /// Returns the values of the next `n` lines of that field.
    pub(crate) fn values(&mut self, field: &str, n: usize) -> Vec<String> {
        let of = |line: String| line.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).map(str::to_owned);
        self.by_ref().filter_map(of).take(n).collect()
    }
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut self.0, &mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        // A server that refuses a body may reset the connection behind its answer.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// Returns status and body, with what differs from run to run replaced.
    pub(crate) fn stable(&self) -> String {
        let body = serde_json::from_str::<serde_json::Value>(&self.body)
            .map_or_else(|_| self.body.clone(), |json| serde_json::to_string_pretty(&json).unwrap());
        format!("{}\n{}", self.status, stable(&body))
    }
}

/// Replaces request ids, times of this century, and our version.
pub(crate) fn stable(text: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let text = ["\"version\": \"", "version=\"", "farmgate "].iter().fold(text.to_owned(), |text, before| {
        text.replace(&format!("{before}{version}"), &format!("{before}<version>"))
    });
    let id = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let now = regex::Regex::new(r"20\d\d-\d\d-\d\dT[0-9:.]+Z").unwrap();
    now.replace_all(&id.replace_all(&text, "<id>"), "<now>").into_owned()
}
