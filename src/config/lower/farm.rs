//! `farms.NAME`: servers of one protocol, how work is spread over them and what happens when they fail.

mod guards;
mod probes;
mod server;
mod spread;
mod stickiness;
mod upstream;

use std::sync::Arc;

use self::probes::Probes;
use self::server::Owner;
use self::upstream::Upstream;
use super::{Around, Placed};
use crate::config::bounds::{CONNECT, DRAIN_DEADLINE, RESERVE, RESPONSE, SERVER_IDLE, SLOW_START};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::{DrainRule, Farm, FarmId, FarmTimeouts, Leftovers, Name, Protocol, ServerId};

/// The words of `protocol`.
pub(super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("http", Protocol::Http), ("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
const LEFTOVERS: &[(&str, Leftovers)] = &[("keep", Leftovers::Keep), ("close", Leftovers::Close)];

/// A farm, with the places of its servers.
pub(super) struct Lowered {
    pub(super) farm: Farm,
    pub(super) servers: Vec<Placed<ServerId>>,
}

/// Lowers one farm; nothing where it has no name or protocol.
pub(super) fn lower(value: &Value<'_>, around: Around<'_>, findings: &mut Findings) -> Option<Lowered> {
    let name = value.key_name(findings);
    let section = value.section(findings, keys::FARM)?;
    let protocol = section
        .need(findings, "protocol", "write protocol: http, protocol: tcp or protocol: udp")
        .and_then(|value| value.word(findings, PROTOCOLS));
    let balance = spread::balance(&section, protocol, findings);
    let hash = spread::hash(&section, balance, protocol, findings);
    let http2 = spread::http2(&section, protocol, findings);
    let upstream = upstream::lower(&section, protocol, &Upstream::default(), findings);
    let reuse = spread::reuse(&section, protocol, findings);
    let queue = spread::queue(&section, protocol, findings);
    let Probes { probes, quorum, shadow } = probes::lower(&section, around, findings);
    let observe = guards::observe(&section, protocol, findings);
    let slow_start = section.duration(findings, "slow_start", &SLOW_START);
    let flap = guards::flap(&section, findings);
    let incident = guards::incident(&section, findings);
    let on_down = leftovers(&section, "on_down", Leftovers::Keep, findings);
    let drain = drain(&section, findings);
    let reserve = section.percent(findings, "reserve", &RESERVE);
    let stickiness = stickiness::lower(&section, protocol, around, findings);
    let timeouts = timeouts(&section, findings);
    let (retry_attempts, retry_budget) = spread::retries(&section, findings);
    let fail_open = guards::fail_open(&section, findings);
    // A farm without a good name still has its servers read, for their errors.
    let unnamed = || Name::parse("unnamed").ok();
    let owner_name = name.clone().or_else(unnamed)?;
    let owner = Owner {
        name: &owner_name,
        probes: &probes,
        shadow: shadow.as_ref(),
        stickiness: &stickiness,
        protocol,
        upstream: &upstream,
    };
    let servers = server::lower(&section, owner, around, findings);
    let name = name?;
    let places = servers.iter().map(|s| Placed { path: s.path.clone(), at: s.at, it: s.it.id }).collect();
    let farm = Farm {
        balance,
        hash,
        http2,
        reuse,
        queue,
        retry_budget,
        probes,
        quorum,
        shadow,
        observe,
        slow_start,
        flap,
        incident,
        on_down,
        drain,
        reserve,
        stickiness,
        timeouts,
        retry_attempts,
        fail_open,
        servers: servers.into_iter().map(|s| Arc::new(s.it)).collect(),
        ..Farm::new(FarmId::derive(&name), name, protocol?)
    };
    Some(Lowered { farm, servers: places })
}

fn leftovers(section: &Section<'_>, key: &str, default: Leftovers, findings: &mut Findings) -> Leftovers {
    section.or(findings, key, default, |value, findings| value.word(findings, LEFTOVERS))
}

fn drain(section: &Section<'_>, findings: &mut Findings) -> DrainRule {
    let defaults = DrainRule { deadline: None, at_deadline: Leftovers::Close };
    section.or(findings, "drain", defaults, |value, findings| {
        let section = value.section(findings, keys::DRAIN)?;
        Some(DrainRule {
            deadline: section.get("deadline").and_then(|value| value.duration(findings, &DRAIN_DEADLINE)),
            at_deadline: leftovers(&section, "at_deadline", defaults.at_deadline, findings),
        })
    })
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
