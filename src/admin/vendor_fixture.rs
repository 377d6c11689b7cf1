//! For the tests of the vendor shapes: one service with a server in every state, calls against it, and a loopback server.

pub(crate) mod objects;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::call::{AdminState, Call, Control, Credentials, Succession};
use super::{ovh, zenlayer};
use crate::model::settings::{Actions, BearerToken, CallRule, Grant, OvhBounds, OvhCredential, ZenlayerKey};
use crate::model::{
    Access, Act, AdminStatus, Balance, CheckRecord, CheckStatus, Content, Farm, FarmId, FarmTimeouts, Frontend,
    FrontendId, FrontendTimeouts, HttpProbe, InstanceId, Limits, ListenAddr, Name, Negate, Probe, ProbeKind, Protocol,
    Role, Secret, Server, ServerId, ServerKey, Service, Timestamp, Topology, Weight,
};
use crate::store::{ListenerHost, NoJournal, OpenError, PreparedListeners, Store};

/// When every call of these tests is made: 2025-11-21T13:34:20Z.
pub(super) const NOW: Timestamp = Timestamp(1_763_732_060_000_000);
/// When every check of these tests ended: 1.5 s earlier.
const CHECKED: Timestamp = Timestamp(1_763_732_058_500_000);

/// The cases, by the name of the server that is in them.
pub(super) const CASES: [&str; 10] =
    ["up", "down-sts", "down-con", "unknown", "off", "drain", "maint", "backup", "zero", "named"];

struct Sockets;

impl ListenerHost for Sockets {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        Ok(Box::new(Self))
    }
}

impl PreparedListeners for Sockets {
    fn commit(self: Box<Self>) {}
}

struct Process;

impl Control for Process {
    fn reload<'a>(&'a self, _act: Act) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn upgrade<'a>(
        &'a self,
        _act: Act,
        _binary: Option<PathBuf>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Succession, String>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(Succession { pid: 2, replaced: 1 })))
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(super) fn key(farm: &str, server: &str) -> ServerKey {
    ServerKey { farm: FarmId::derive(&name(farm)), server: ServerId::derive(&name(farm), &name(server)) }
}

fn server(farm: &str, server: &str, host: u8) -> Server {
    let (id, address) = (ServerId::derive(&name(farm), &name(server)), format!("10.0.0.{host}:8080"));
    Server { weight: Weight(100), ..Server::new(id, name(server), address.parse().unwrap()) }
}

fn case(case: &str, host: u8) -> Server {
    let plain = server("web", case, host);
    match case {
        "off" => Server { probed: false, ..plain },
        "drain" => Server { admin: AdminStatus::Drain, ..plain },
        "maint" => Server { admin: AdminStatus::Maintenance, ..plain },
        "backup" => Server { role: Role::Backup, ..plain },
        "zero" => Server { weight: Weight(0), ..plain },
        "named" => Server { address: "origin.invalid:8443".parse().unwrap(), ..plain },
        _ => plain,
    }
}

fn farm(text: &str, protocol: Protocol, kind: ProbeKind, servers: Vec<Server>) -> Arc<Farm> {
    let second = Duration::from_secs(1);
    let probe = Probe { interval: Duration::from_millis(1500), rise: 1, ..Probe::new(kind) };
    Arc::new(Farm {
        balance: if protocol == Protocol::Http { Balance::RoundRobin } else { Balance::LeastConn },
        probes: Box::new([Arc::new(probe)]),
        timeouts: FarmTimeouts { connect: second, response: second, idle: second },
        servers: servers.into_iter().map(Arc::new).collect(),
        ..Farm::new(FarmId::derive(&name(text)), name(text), protocol)
    })
}

fn frontend(text: &str, protocol: Protocol, listen: &[&str], farm: &Farm) -> Arc<Frontend> {
    let second = Duration::from_secs(1);
    let timeouts = FrontendTimeouts {
        header: second,
        body: second,
        idle: second,
        write: second,
        tunnel: second,
        ..FrontendTimeouts::default()
    };
    Arc::new(Frontend {
        listen: listen.iter().map(|l| ListenAddr::parse(l).unwrap()).collect(),
        trust: Vec::new(),
        timeouts,
        limits: Limits { connections: 10, header_bytes: 1000, uri_bytes: 100, body_bytes: 1000, ..Limits::default() },
        ..Frontend::new(FrontendId::derive(&name(text)), name(text), protocol, farm.id)
    })
}

fn topology(service: Arc<Service>) -> Topology {
    let http = HttpProbe::get("/healthz");
    let cases = CASES.iter().zip(11..).map(|(text, host)| case(text, host)).collect();
    let web = farm("web", Protocol::Http, ProbeKind::Http(http), cases);
    let tcp = ProbeKind::Tcp { banner: None, negate: Negate::AsWritten };
    let db = farm("db", Protocol::Tcp, tcp, vec![server("db", "db-1", 31)]);
    let frontends = vec![
        frontend("web", Protocol::Http, &["0.0.0.0:8080", "0.0.0.0:8081", "0.0.0.0:443"], &web),
        frontend("alt", Protocol::Http, &["127.0.0.1:9000"], &web),
        frontend("db", Protocol::Tcp, &["0.0.0.0:5432"], &db),
    ];
    Topology { service, frontends, farms: vec![web, db], made: Arc::default() }
}

fn record(status: CheckStatus, code: Option<u16>, content: &str) -> CheckRecord {
    CheckRecord::new(status, code, Content::from_text(content), CHECKED, Duration::from_millis(3))
}

/// Returns a state whose farm `web` has one server in each of [`CASES`].
pub(super) fn state() -> AdminState {
    let state = state_of(topology(service()));
    let store = &state.store;
    for server in ["up", "drain", "maint", "backup", "zero"] {
        store.observe_one(key("web", server), record(CheckStatus::L7Ok, Some(200), "OK"));
    }
    store.observe_one(key("web", "down-sts"), record(CheckStatus::L7Sts, Some(503), "Service Unavailable"));
    store.observe_one(key("web", "down-con"), record(CheckStatus::L4Con, None, "connection refused"));
    store.observe_one(key("db", "db-1"), record(CheckStatus::L4Ok, None, ""));
    store.first_round_done();
    state
}

/// Returns a state of this topology that nothing has happened in.
pub(super) fn state_of(topology: Topology) -> AdminState {
    let store = Store::new(Arc::clone(&topology.service), 1, Arc::new(NoJournal), Vec::new()).unwrap();
    let objects = objects::MemoryObjects::beside(topology.clone());
    store.reload(topology, &Sockets, Timestamp(1)).unwrap();
    let credentials = Arc::new(ArcSwap::from_pointee(credentials()));
    let mut state = AdminState::new(Arc::new(store), credentials, Arc::new(Process));
    state.objects = Arc::new(objects);
    state
}

/// Returns the topology of [`state`] with a farm `many` of so many servers.
pub(super) fn topology_with(servers: u16) -> Topology {
    let mut topology = topology(service());
    let all = (0..servers).map(|n| server("many", &format!("s{n}"), u8::try_from(n % 250).unwrap()));
    let tcp = ProbeKind::Tcp { banner: None, negate: Negate::AsWritten };
    topology.farms.push(farm("many", Protocol::Http, tcp, all.collect()));
    topology
}

fn service() -> Arc<Service> {
    Arc::new(Service {
        name: name("lb-demo"),
        addresses: vec!["203.0.113.7".parse().unwrap(), "10.0.0.2".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        api_ports: 1024..=49151,
        api_files: Vec::new(),
        api_sockets: Vec::new(),
        instance_id: InstanceId(7),
        zone: name("local"),
    })
}

fn credentials() -> Credentials {
    let read = Access::Read;
    let ovh = |name: &str, consumer: &str| OvhCredential {
        grant: Grant { name: name.into(), access: read, farms: None },
        rules: CallRule::every(),
        application_key: "ak".into(),
        application_secret: Secret::new("as"),
        consumer_key: Secret::new(consumer),
    };
    Credentials {
        tokens: vec![BearerToken {
            grant: Grant { name: "ops".into(), access: Access::Admin, farms: None },
            token: Secret::new("t-ops"),
        }],
        ovh_applications: Vec::new(),
        ovh: vec![ovh("ci", "ck"), ovh("cd", "ck-2")],
        ovh_bounds: OvhBounds::default(),
        zenlayer: vec![ZenlayerKey {
            grant: Grant { name: "ci".into(), access: read, farms: None },
            actions: Actions::Reads,
            id: "key-id".into(),
            secret: Secret::new("key-secret"),
        }],
        ..Credentials::default()
    }
}

/// Returns a call with neither credentials nor a Host.
pub(super) fn call(method: &str, target: &str, body: &str) -> Call {
    Call {
        method: method.parse().unwrap(),
        uri: target.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        peer: "127.0.0.1".parse().unwrap(),
        is_tls: false,
        certificate: None,
        request_id: "8b9cad0e-1f20-4132-8435-465768798a9b".to_owned(),
        now: NOW,
        retry_after: std::sync::OnceLock::new(),
    }
}

/// Returns a call with a bearer token.
pub(super) fn bearer_call(method: &str, target: &str, body: &str) -> Call {
    let mut call = call(method, target, body);
    put_header(&mut call, "authorization", "Bearer t-ops");
    call
}

pub(super) fn put_header(call: &mut Call, name: &str, value: &str) {
    call.headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
}

/// Returns the status and the body of an answer, which must be JSON.
pub(super) async fn read(response: Response) -> (u16, serde_json::Value) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Serves `state` on a loopback port until the runtime ends. Every call is made now.
pub(super) async fn serve(state: AdminState) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router: Router = Router::new().fallback(dispatch).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    addr
}

async fn dispatch(State(state): State<AdminState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut made = call("GET", "/", "");
    made.now = crate::clock::wall();
    (made.method, made.uri, made.headers) = (head.method, head.uri, head.headers);
    made.body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = made.uri.path().to_owned();
    match (ovh::claims(&path), zenlayer::claims(&path)) {
        (true, false) => ovh::answer(&state, &made).await,
        (false, true) => zenlayer::answer(&state, &made).await,
        claims => Response::new(Body::from(format!("{claims:?}"))),
    }
}
