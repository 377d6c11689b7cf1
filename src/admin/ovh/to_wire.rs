//! Snapshot → wire. Pure.
//!
//! Choices where the vendor leaves them open: `serverState` always has exactly one element, this process's; a server
//! that is not probed reads `no check` there with every check field null, and one that waits for its first check reads
//! `INI`, as HAProxy words both. `address` is where connections go; while a name has no address, or for what it cannot
//! be (it is IPv4 in the schema), it is the host as resolved or as written. `inactive` is our maintenance; a drained
//! server is `active` with `DRAIN` as its state.

use std::borrow::Cow;

use super::credential::Known;
use super::wire;
use crate::admin::call::Credentials;
use crate::model::settings::CallRule;
use std::net::IpAddr;

use crate::model::{
    Access, AdminStatus, BodyMatch, Encryption, Frontend, Health, Host, HttpProbe, Negate, PeerAddr, Probe, ProbeKind,
    Role, Service, StatusSet, Timestamp,
};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};

const NEGATABLE: &[&str] = &["contains", "matches"];

/// Returns the service. Its address is the first declared one, else the first that a frontend listens on.
pub(super) fn service(snapshot: &Snapshot) -> wire::Service<'_> {
    let service = &snapshot.service;
    let listened = snapshot.frontends.iter().flat_map(|row| ips(&row.frontend));
    let first = service.addresses.iter().copied().chain(listened).next();
    wire::Service {
        service_name: service.name.as_str(),
        display_name: service.name.as_str().into(),
        ip_loadbalancing: first.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
        ipv4: service.addresses.iter().find(|ip| ip.is_ipv4()).map(ToString::to_string),
        ipv6: service.addresses.iter().find(|ip| ip.is_ipv6()).map(ToString::to_string),
        zone: [service.zone.as_str()],
        offer: "farmgate",
        orderable_zone: [],
        ssl_configuration: None,
        state: "ok",
        vrack_eligibility: false,
        vrack_name: None,
        metrics_token: None,
        iam: None,
    }
}

/// Returns every farm with its kind.
pub(super) fn defined_farms(snapshot: &Snapshot) -> Vec<wire::Defined> {
    let defined = |row: &FarmRow| wire::Defined { id: row.farm.id.0, kind: row.farm.protocol.as_str() };
    snapshot.farms.iter().map(defined).collect()
}

/// Returns every frontend with its kind.
pub(super) fn defined_frontends(snapshot: &Snapshot) -> Vec<wire::Defined> {
    let defined = |row: &FrontendRow| wire::Defined { id: row.frontend.id.0, kind: row.frontend.protocol.as_str() };
    snapshot.frontends.iter().map(defined).collect()
}

/// Returns a farm. Its port is never set: every server has its own.
pub(super) fn farm<'s>(snapshot: &'s Snapshot, row: &'s FarmRow) -> wire::Farm<'s> {
    wire::Farm {
        farm_id: row.farm.id.0,
        zone: snapshot.service.zone.as_str(),
        display_name: row.farm.name.as_str(),
        balance: row.farm.balance.as_str(),
        port: None,
        probe: row.farm.main_probe().map(|main| probe(main)),
        stickiness: None,
        vrack_network_id: None,
    }
}

/// Returns a probe. The schema has one match: a body's stands before a status set's. Seconds are rounded up.
fn probe(probe: &Probe) -> wire::Probe<'_> {
    let (method, url, rule, pattern, negate) = match &probe.kind {
        ProbeKind::Http(http) => {
            let (rule, pattern) = http_match(http);
            let url = format!("{}{}", probe.aim.host.as_deref().unwrap_or_default(), http.path);
            (Some(http.method.as_str()), Some(url), rule, pattern, http.expect.negate)
        }
        ProbeKind::Tcp { banner: Some(banner), negate } => {
            let (rule, pattern) = body_match(banner);
            (None, None, rule, Some(pattern), *negate)
        }
        ProbeKind::Tcp { banner: None, negate } => (None, None, "default", None, *negate),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tls => (None, None, "default", None, Negate::AsWritten),
    };
    wire::Probe {
        kind: kind(probe),
        interval: probe.interval.as_secs() + u64::from(probe.interval.subsec_nanos() > 0),
        port: probe.aim.port,
        method,
        url,
        rule,
        pattern,
        negate: negate == Negate::Inverted,
        force_ssl: encryption(probe) == Encryption::Tls,
    }
}

/// Returns the schema's word: what it has none for is `internal`, its own word for what customers cannot set.
fn kind(probe: &Probe) -> &'static str {
    match &probe.kind {
        ProbeKind::Http(_) => "http",
        ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. } => probe.kind.as_str(),
        ProbeKind::Tls => "tcp",
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. } => "internal",
    }
}

fn encryption(probe: &Probe) -> Encryption {
    match &probe.kind {
        ProbeKind::Http(http) => http.encryption,
        ProbeKind::Exchange(exchange) => exchange.encryption,
        ProbeKind::Grpc { encryption, .. } => *encryption,
        ProbeKind::Tls => Encryption::Tls,
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. } => Encryption::None,
    }
}

fn http_match(http: &HttpProbe) -> (&'static str, Option<Cow<'_, str>>) {
    let expect = &http.expect;
    if let Some(body) = &expect.body {
        let (rule, pattern) = body_match(body);
        return (rule, Some(pattern));
    }
    if expect.status == StatusSet::two_and_three_hundreds() && expect.negate == Negate::AsWritten {
        return ("default", None);
    }
    ("status", Some(Cow::Owned(expect.status.to_string())))
}

fn body_match(body: &BodyMatch) -> (&'static str, Cow<'_, str>) {
    match body {
        BodyMatch::Contains(text) => ("contains", Cow::Borrowed(text)),
        BodyMatch::Matches(regex) => ("matches", Cow::Borrowed(regex.as_str())),
    }
}

/// Returns an HTTP server.
pub(super) fn http_server<'s>(snapshot: &Snapshot, farm: &'s FarmRow, row: &'s ServerRow) -> wire::HttpServer<'s> {
    wire::HttpServer { server: server(snapshot, farm, row), cookie: None }
}

/// Returns a TCP server.
pub(super) fn server<'s>(snapshot: &Snapshot, farm: &'s FarmRow, row: &'s ServerRow) -> wire::Server<'s> {
    let server = &row.server;
    wire::Server {
        server_id: server.id.0,
        backend_id: farm.farm.id.0,
        address: address(row),
        status: customer_status(server.admin),
        display_name: server.name.as_str(),
        port: server.address.port,
        probe: server.probed,
        weight: server.weight.0,
        backup: server.role == Role::Backup,
        ssl: false,
        chain: None,
        proxy_protocol_version: None,
        on_marked_down: None,
        server_state: [server_state(snapshot.service.instance_id.0, row)],
    }
}

/// Returns the text of a server's `address`; of one that is a Unix socket its path, with a port of 0.
pub(super) fn address(row: &ServerRow) -> String {
    match (&row.addr, &row.server.address.host) {
        (Some(PeerAddr::Ip(addr)), _) => addr.ip().to_canonical().to_string(),
        (None, Host::Ip(ip)) => ip.to_string(),
        (None, Host::Name(name)) => name.to_string(),
        (Some(PeerAddr::Unix(_)), _) | (None, Host::Unix(_)) => row.server.address.to_string(),
    }
}

/// Returns the word for what the operator wants of a server.
pub(super) fn customer_status(admin: AdminStatus) -> &'static str {
    match admin {
        AdminStatus::Active | AdminStatus::Drain => "active",
        AdminStatus::Maintenance => "inactive",
    }
}

fn server_state(instance_id: u64, row: &ServerRow) -> wire::ServerState<'_> {
    let check = row.last_check.as_deref();
    let waits = row.standing.health != Health::Off;
    wire::ServerState {
        instance_id,
        status: &row.state,
        check_status: check.map(|c| c.status.as_str()).or_else(|| waits.then_some("INI")),
        check_code: check.and_then(|c| c.code).map(|code| code.to_string()),
        last_check_content: check.map(|c| c.content.as_str()).filter(|text| !text.is_empty()),
        check_time: check.map(|c| c.at.to_string()),
    }
}

/// Returns an HTTP frontend.
pub(super) fn http_frontend<'s>(snapshot: &'s Snapshot, row: &'s FrontendRow) -> wire::HttpFrontend<'s> {
    wire::HttpFrontend { frontend: frontend(snapshot, row), hsts: false, http_header: [], redirect_location: None }
}

/// Returns a TCP frontend. Addresses other than "any" are its dedicated ones.
pub(super) fn frontend<'s>(snapshot: &'s Snapshot, row: &'s FrontendRow) -> wire::Frontend<'s> {
    let frontend = &row.frontend;
    let mut dedicated: Vec<String> = Vec::new();
    for ip in ips(frontend).filter(|ip| !ip.is_unspecified()) {
        let block = ipnet::IpNet::from(ip).to_string();
        if !dedicated.contains(&block) {
            dedicated.push(block);
        }
    }
    wire::Frontend {
        frontend_id: frontend.id.0,
        zone: snapshot.service.zone.as_str(),
        port: ports(frontend),
        display_name: frontend.name.as_str(),
        default_farm_id: frontend.default_farm().map(|farm| farm.0),
        default_ssl_id: None,
        disabled: false,
        ssl: false,
        allowed_source: [],
        denied_source: [],
        dedicated_ipfo: dedicated,
        vrack_network_id: None,
        vrack_vrouter_id: None,
    }
}

/// The IP addresses that a frontend listens on.
fn ips(frontend: &Frontend) -> impl Iterator<Item = IpAddr> {
    frontend.listen.iter().filter_map(|addr| addr.ip()).map(|addr| addr.ip())
}

/// Returns the text of a frontend's `port`: each port once, in the order written.
pub(super) fn ports(frontend: &Frontend) -> String {
    let mut ports: Vec<String> = Vec::new();
    for port in frontend.listen.iter().filter_map(|addr| Some(addr.ip()?.port().to_string())) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}

/// Returns this process as the only instance. Before the first round of checks it is "not started yet".
pub(super) fn instances(snapshot: &Snapshot) -> [wire::InstanceState<'_>; 1] {
    [wire::InstanceState {
        internal_id: snapshot.service.instance_id.0,
        state: if snapshot.is_ready { "running" } else { "unknown" },
        zone: snapshot.service.zone.as_str(),
        last_update_date: snapshot.at.to_string(),
    }]
}

/// Returns what probes can do.
pub(super) fn farm_probes() -> [wire::FarmProbe; 2] {
    [
        wire::FarmProbe {
            kind: "http",
            port: true,
            url: true,
            method: Some(&["GET", "HEAD", "OPTIONS"]),
            matches: &["default", "status", "contains", "matches"],
            negatable_matches: &["status", "contains", "matches"],
        },
        wire::FarmProbe {
            kind: "tcp",
            port: true,
            url: false,
            method: None,
            matches: &["default", "contains", "matches"],
            negatable_matches: NEGATABLE,
        },
    ]
}

/// Returns the zone of this process.
pub(super) fn zone(service: &Service) -> wire::Zone<'_> {
    wire::Zone { name: service.zone.as_str(), state: "active" }
}

/// Returns where connections to servers come from: the routing table decides, so no block is named.
pub(super) fn nat_ips(service: &Service) -> [wire::NatIps<'_>; 1] {
    [wire::NatIps { zone: service.zone.as_str(), ip: [] }]
}

/// Returns who the caller is.
pub(super) fn details(known: &Known) -> wire::Details<'_> {
    wire::Details {
        account: &known.caller.grant.name,
        method: "account",
        identities: [],
        roles: [known.caller.grant.access.as_str()],
        user: None,
        description: None,
        allowed_routes: routes(known),
    }
}

/// Returns the caller's credential. When one of the config was made is not known, and says 1970.
pub(super) fn credential<'k>(
    credentials: &Credentials,
    known: &'k Known,
    position: usize,
    now: Timestamp,
) -> wire::Credential<'k> {
    let Some(asked) = &known.asked else {
        return wire::Credential {
            credential_id: position as u64,
            application_id: position,
            status: "validated",
            creation: Timestamp::default().to_string(),
            expiration: None,
            last_use: Some(now.to_string()),
            ovh_support: false,
            allowed_ips: None,
            rules: routes(known),
        };
    };
    let applications = &credentials.ovh_applications;
    let application = applications.iter().position(|known| known.key == asked.application_key);
    let nets = asked.allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    wire::Credential {
        credential_id: asked.id,
        application_id: application.map_or(0, |at| at + 1),
        status: asked.state(now).as_str(),
        creation: asked.asked_at.to_string(),
        expiration: asked.granted(now).and_then(|granted| granted.until).map(|until| until.to_string()),
        last_use: asked.last_use.or(Some(now)).map(|at| at.to_string()),
        ovh_support: false,
        allowed_ips: (!nets.is_empty()).then_some(nets),
        rules: routes(known),
    }
}

/// The rules, held against what the role allows.
fn routes(known: &Known) -> Vec<wire::Route<'_>> {
    let may_write = known.caller.grant.access > Access::Read;
    let is_allowed = |rule: &&CallRule| may_write || &*rule.method == "GET";
    known.rules.iter().filter(is_allowed).map(|rule| wire::Route { method: &rule.method, path: &rule.path }).collect()
}
