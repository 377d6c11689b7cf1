//! `farms.NAME.servers`: where each one is and how it differs from the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::upstream::{self, Upstream};
use super::{LEFTOVERS, stickiness};
use crate::config::bounds::{MAX_CONNECTIONS, SERVERS_MAX, WEIGHT};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::{Around, Placed, probe};
use crate::config::read::{Section, Value};
use crate::model::{
    AdminStatus, Aim, Encryption, Name, Probe, ProbeKind, Protocol, Role, Server, ServerAddr, ServerId, ServerTls,
    Stickiness, Weight,
};

const STATUSES: &[(&str, AdminStatus)] =
    &[("active", AdminStatus::Active), ("drain", AdminStatus::Drain), ("maintenance", AdminStatus::Maintenance)];

/// What of a farm its servers are read against.
#[derive(Clone, Copy)]
pub(super) struct Owner<'f> {
    pub(super) name: &'f Name,
    pub(super) probes: &'f [Arc<Probe>],
    pub(super) shadow: Option<&'f Arc<Probe>>,
    pub(super) stickiness: &'f Stickiness,
    pub(super) protocol: Option<Protocol>,
    pub(super) upstream: &'f Upstream,
}

/// Lowers the servers of a farm.
pub(super) fn lower(
    section: &Section<'_>,
    owner: Owner<'_>,
    around: Around<'_>,
    findings: &mut Findings,
) -> Vec<Placed<Server>> {
    let remedy = "write servers: {name: \"host:port\"}, or {} for none";
    let Some(value) = section.need(findings, "servers", remedy) else { return Vec::new() };
    let values = value.entries(findings, "servers", SERVERS_MAX);
    let mut cookies = HashMap::new();
    let mut one = |value: &Value<'_>| {
        let server = server(value, owner, around, findings)?;
        if server.address.is_unix() {
            refuse_what_needs_an_address(value, &server, owner, findings);
        }
        refuse_same_cookie(value, &server, &mut cookies, findings);
        Some(Placed::new(value, server))
    };
    let servers: Vec<_> = values.iter().filter_map(&mut one).collect();
    let takes_work = |s: &Placed<Server>| s.it.weight > Weight(0) && s.it.admin == AdminStatus::Active;
    if !value.is_broken() && servers.len() == values.len() && !servers.iter().any(takes_work) {
        section.warn(findings, "no server of this farm may take work; give one a weight above 0 and status: active");
    }
    warn_of_twins(&servers, findings);
    servers
}

fn server(value: &Value<'_>, owner: Owner<'_>, around: Around<'_>, findings: &mut Findings) -> Option<Server> {
    let name = value.key_name(findings);
    if value.is_scalar() {
        let address = address(value, findings);
        let name = name?;
        let Upstream { tls, proxy_protocol } = owner.upstream.clone();
        let plain = Server::new(ServerId::derive(owner.name, &name), name, address?);
        return Some(Server { tls, proxy_protocol, ..plain });
    }
    let section = value.section(findings, keys::SERVER)?;
    let remedy = "write address: \"host:port\"";
    let address = section.need(findings, "address", remedy).and_then(|value| address(&value, findings));
    let remedy = "only ratios matter, divide all weights of this farm";
    let weight = Weight(section.number(findings, "weight", &WEIGHT, remedy));
    let is_backup = section.or(findings, "backup", false, Value::flag);
    let (probed, aim) = probing(&section, owner, around, findings);
    let Upstream { tls, proxy_protocol } = upstream::lower(&section, owner.protocol, owner.upstream, findings);
    let aim = match tls.as_deref() {
        Some(tls) => verified_as(tls, aim),
        None => aim,
    };
    let remedy = "remove the key for no bound";
    let max_connections =
        section.get("max_connections").and_then(|value| value.number(findings, &MAX_CONNECTIONS, remedy));
    let on_down = section.get("on_down").and_then(|value| value.word(findings, LEFTOVERS));
    let cookie = section.get("cookie").and_then(|value| cookie(&value, owner, findings));
    let admin = section.or(findings, "status", AdminStatus::Active, |value, findings| value.word(findings, STATUSES));
    let name = name?;
    Some(Server {
        weight,
        role: if is_backup { Role::Backup } else { Role::Primary },
        probed,
        aim,
        cookie,
        tls,
        proxy_protocol,
        max_connections,
        on_down,
        admin,
        ..Server::new(ServerId::derive(owner.name, &name), name, address?)
    })
}

/// Whether the farm's probes are run against a server, and where they go then.
fn probing(section: &Section<'_>, owner: Owner<'_>, around: Around<'_>, findings: &mut Findings) -> (bool, Aim) {
    let Some(value) = section.get("probe") else { return (true, Aim::default()) };
    if value.is_scalar() {
        return (value.flag(findings).unwrap_or(true), Aim::default());
    }
    let Some(section) = value.section(findings, keys::AIM) else { return (true, Aim::default()) };
    let aim = probe::lower_aim(&section, around, findings);
    let probes = owner.probes.iter().chain(owner.shadow).map(|probe| &**probe);
    probe::warn_of_unused(&section, &aim, &probes, findings);
    (true, aim)
}

/// A check that a server's own key puts inside TLS verifies as its traffic does, unless that section says how.
fn verified_as(tls: &ServerTls, aim: Aim) -> Aim {
    if aim.tls != Some(Encryption::Tls) {
        return aim;
    }
    let sni = aim.sni.or_else(|| tls.sni.clone());
    let (verify, ca) = match (aim.verify, aim.ca) {
        (None, None) => (Some(tls.verify), tls.ca.clone()),
        told => told,
    };
    Aim { sni, verify, ca, ..aim }
}

fn cookie(value: &Value<'_>, owner: Owner<'_>, findings: &mut Findings) -> Option<Box<str>> {
    let cookie = value.parsed(findings, "the value of a cookie", stickiness::parse_value)?;
    match owner.stickiness {
        Stickiness::Cookie(_) => {}
        Stickiness::Header { .. } | Stickiness::None | Stickiness::Source { .. } => {
            value.warn(findings, "has no effect without stickiness: {cookie: {}} of the farm");
        }
    }
    Some(cookie)
}

fn address(value: &Value<'_>, findings: &mut Findings) -> Option<ServerAddr> {
    value.parsed(findings, "a server's host:port", str::parse)
}

/// Refuses what a Unix socket cannot be: one that takes datagrams, has a name, a port or an answer to a ping.
fn refuse_what_needs_an_address(value: &Value<'_>, server: &Server, owner: Owner<'_>, findings: &mut Findings) {
    if owner.protocol == Some(Protocol::Udp) {
        value.complain(findings, "is a Unix socket, which takes no datagrams here; write host:port");
    }
    if server.tls.as_ref().is_some_and(|tls| tls.sni.is_none()) {
        value.complain(findings, "is a Unix socket, which no certificate names; write tls: {sni: NAME}");
    }
    if !server.probed {
        return;
    }
    for probe in owner.probes.iter().chain(owner.shadow) {
        let aim = server.aim.clone().or(&probe.aim);
        let port = aim.port.or_else(|| probe.kind.fixed_port());
        let is_ping = probe.kind == ProbeKind::Ping;
        let name = &probe.name;
        if aim.address.is_none() && (is_ping || port.is_some()) {
            let why = if is_ping { "pings" } else { "goes to a port" };
            let what =
                format!("is a Unix socket, and probe {name} {why}; write probe: {{address: IP}}, or probe: false");
            value.complain(findings, what);
        } else if aim.address.is_some() && port.is_none() && !is_ping {
            let what =
                format!("is a Unix socket, and probe {name} goes to an address without a port; write its port too");
            value.complain(findings, what);
        }
    }
}

fn refuse_same_cookie(
    value: &Value<'_>,
    server: &Server,
    seen: &mut HashMap<Box<str>, String>,
    findings: &mut Findings,
) {
    let Some(cookie) = server.cookie.clone() else { return };
    if let Some(first) = seen.get(&cookie) {
        value.complain(findings, format!("has the cookie that {first} has already; choose another"));
    } else {
        seen.insert(cookie, value.path.clone());
    }
}

fn warn_of_twins(servers: &[Placed<Server>], findings: &mut Findings) {
    let mut seen: HashMap<&ServerAddr, &str> = HashMap::new();
    for server in servers {
        if let Some(first) = seen.insert(&server.it.address, &server.path) {
            findings.warn(server.at, &server.path, format!("has the same address as {first}, {}", server.it.address));
        }
    }
}
