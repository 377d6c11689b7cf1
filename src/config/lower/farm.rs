//! `farms.NAME`: servers of one protocol, how work is spread over them and what happens when they fail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Placed, probe};
use crate::config::bounds::{CONNECT, RESPONSE, RETRY_ATTEMPTS, SERVER_IDLE, SERVERS_MAX, WEIGHT};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::{
    AdminStatus, Aim, Balance, DrainRule, FailOpen, Farm, FarmId, FarmTimeouts, Leftovers, Name, Protocol, Role,
    Server, ServerAddr, ServerId, Stickiness, Weight,
};

/// The words of `protocol`.
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[("http", Protocol::Http), ("tcp", Protocol::Tcp)];
const BALANCES: &[(&str, Balance)] = &[
    ("roundrobin", Balance::RoundRobin),
    ("leastconn", Balance::LeastConn),
    ("first", Balance::First),
    ("source", Balance::Source),
    ("uri", Balance::Uri),
];
const STATUSES: &[(&str, AdminStatus)] =
    &[("active", AdminStatus::Active), ("drain", AdminStatus::Drain), ("maintenance", AdminStatus::Maintenance)];

/// A farm, with the places of its servers.
pub(super) struct Lowered {
    pub(super) farm: Farm,
    pub(super) servers: Vec<Placed<ServerId>>,
}

/// Lowers one farm; nothing where it has no name or protocol.
pub(super) fn lower(value: &Value<'_>, findings: &mut Findings) -> Option<Lowered> {
    let name = value.key_name(findings);
    let section = value.section(findings, keys::FARM)?;
    let protocol = section
        .need(findings, "protocol", "write protocol: http or protocol: tcp")
        .and_then(|value| value.word(findings, PROTOCOLS));
    let balance = section.or(findings, "balance", Balance::RoundRobin, |value, findings| {
        let balance = value.word(findings, BALANCES)?;
        if balance == Balance::Uri && protocol == Some(Protocol::Tcp) {
            value
                .refuse(findings, "needs requests, and this farm is tcp; write roundrobin, leastconn, first or source");
        }
        Some(balance)
    });
    let probes = section.get("probe").and_then(|value| probe::lower(&value, findings)).map(Arc::new);
    let timeouts = timeouts(&section, findings);
    let retry_attempts = section.or(findings, "retries", RETRY_ATTEMPTS.default, |value, findings| {
        let section = value.section(findings, keys::RETRIES)?;
        Some(section.number(findings, "attempts", &RETRY_ATTEMPTS, "each attempt is one more server tried"))
    });
    let fail_open = section.or(findings, "fail_open", FailOpen::Never, |value, findings| {
        let wanted = value.flag(findings)?;
        if wanted && section.get("probe").is_none() {
            value.warn(findings, "has no effect without a probe: no server is ever Down");
        }
        Some(if wanted { FailOpen::WhenAllDown } else { FailOpen::Never })
    });
    // A farm without a good name still has its servers read, for their errors.
    let unnamed = || Name::parse("unnamed").ok();
    let owner = name.clone().or_else(unnamed)?;
    let servers = servers(&section, &owner, findings);
    let name = name?;
    let places = servers.iter().map(|s| Placed { path: s.path.clone(), at: s.at, it: s.it.id }).collect();
    let farm = Farm {
        id: FarmId::derive(&name),
        name,
        protocol: protocol?,
        balance,
        probes: probes.into_iter().collect(),
        quorum: None,
        shadow: None,
        observe: None,
        slow_start: Duration::ZERO,
        flap: None,
        incident: None,
        on_down: Leftovers::Keep,
        drain: DrainRule { deadline: None, at_deadline: Leftovers::Close },
        reserve: 0,
        stickiness: Stickiness::None,
        timeouts,
        retry_attempts,
        fail_open,
        servers: servers.into_iter().map(|s| Arc::new(s.it)).collect(),
    };
    Some(Lowered { farm, servers: places })
}

fn timeouts(section: &Section<'_>, findings: &mut Findings) -> FarmTimeouts {
    let defaults = FarmTimeouts { connect: CONNECT.default, response: RESPONSE.default, idle: SERVER_IDLE.default };
    section.or(findings, "timeouts", defaults, |value, findings| {
        let section = value.section(findings, keys::FARM_TIMEOUTS)?;
        Some(FarmTimeouts {
            connect: section.duration(findings, "connect", &CONNECT),
            response: section.duration(findings, "response", &RESPONSE),
            idle: section.duration(findings, "idle", &SERVER_IDLE),
        })
    })
}

fn servers(section: &Section<'_>, farm: &Name, findings: &mut Findings) -> Vec<Placed<Server>> {
    let remedy = "write servers: {name: \"host:port\"}, or {} for none";
    let Some(value) = section.need(findings, "servers", remedy) else { return Vec::new() };
    let values = value.entries(findings, "servers", SERVERS_MAX);
    let servers: Vec<_> =
        values.iter().filter_map(|v| server(v, farm, findings).map(|server| Placed::new(v, server))).collect();
    let takes_work = |s: &Placed<Server>| s.it.weight > Weight(0) && s.it.admin == AdminStatus::Active;
    if !value.is_broken() && servers.len() == values.len() && !servers.iter().any(takes_work) {
        section.warn(findings, "no server of this farm may take work; give one a weight above 0 and status: active");
    }
    warn_of_twins(&servers, findings);
    servers
}

fn server(value: &Value<'_>, farm: &Name, findings: &mut Findings) -> Option<Server> {
    let name = value.key_name(findings);
    if value.is_scalar() {
        let address = address(value, findings);
        let name = name?;
        return Some(Server {
            id: ServerId::derive(farm, &name),
            name,
            address: address?,
            weight: Weight::DEFAULT,
            role: Role::Primary,
            probed: true,
            aim: Aim::default(),
            cookie: None,
            admin: AdminStatus::Active,
        });
    }
    let section = value.section(findings, keys::SERVER)?;
    let remedy = "write address: \"host:port\"";
    let address = section.need(findings, "address", remedy).and_then(|value| address(&value, findings));
    let remedy = "only ratios matter, divide all weights of this farm";
    let weight = Weight(section.number(findings, "weight", &WEIGHT, remedy));
    let is_backup = section.or(findings, "backup", false, Value::flag);
    let probed = section.or(findings, "probe", true, Value::flag);
    let admin = section.or(findings, "status", AdminStatus::Active, |value, findings| value.word(findings, STATUSES));
    let name = name?;
    Some(Server {
        id: ServerId::derive(farm, &name),
        name,
        address: address?,
        weight,
        role: if is_backup { Role::Backup } else { Role::Primary },
        probed,
        aim: Aim::default(),
        cookie: None,
        admin,
    })
}

fn address(value: &Value<'_>, findings: &mut Findings) -> Option<ServerAddr> {
    value.parsed(findings, "a server's host:port", str::parse)
}

fn warn_of_twins(servers: &[Placed<Server>], findings: &mut Findings) {
    let mut seen: HashMap<&ServerAddr, &str> = HashMap::new();
    for server in servers {
        if let Some(first) = seen.insert(&server.it.address, &server.path) {
            findings.warn(server.at, &server.path, format!("has the same address as {first}, {}", server.it.address));
        }
    }
}
