//! Snapshot → bodies of the native shape. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{
    AdminStatus, BodyMatch, CheckRecord, FailOpen, Health, Negate, Override, Probe, ProbeKind, Role, Verdict, Wish,
};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};

use super::wire::{
    CheckWire, CountsWire, ExpectWire, FarmList, FarmWire, FrontendList, FrontendWire, LimitsWire, OverrideWire,
    ProbeWire, ProgressWire, ServerList, ServerWire, ServiceWire, StatusWire,
};

/// Returns everything.
pub(super) fn status(snapshot: &Snapshot) -> StatusWire {
    let service = &snapshot.service;
    StatusWire {
        service: ServiceWire {
            name: service.name.to_string(),
            zone: service.zone.to_string(),
            instance_id: service.instance_id.0,
            addresses: service.addresses.iter().map(ToString::to_string).collect(),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: snapshot.generation.0,
        ready: snapshot.is_ready,
        at: snapshot.at.to_string(),
        frontends: snapshot.frontends.iter().map(|row| frontend(snapshot, row)).collect(),
        farms: snapshot.farms.iter().map(farm).collect(),
    }
}

/// Returns every farm.
pub(super) fn farms(snapshot: &Snapshot) -> FarmList {
    FarmList {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        farms: snapshot.farms.iter().map(farm).collect(),
    }
}

/// Returns every server of a farm.
pub(super) fn servers(snapshot: &Snapshot, row: &FarmRow) -> ServerList {
    ServerList {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        servers: row.servers.iter().map(server).collect(),
    }
}

/// Returns every frontend.
pub(super) fn frontends(snapshot: &Snapshot) -> FrontendList {
    FrontendList {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        frontends: snapshot.frontends.iter().map(|row| frontend(snapshot, row)).collect(),
    }
}

/// Returns one frontend.
pub(super) fn frontend(snapshot: &Snapshot, row: &FrontendRow) -> FrontendWire {
    let (frontend, limits, timeouts) = (&row.frontend, row.frontend.limits, row.frontend.timeouts);
    FrontendWire {
        id: frontend.id.0,
        name: frontend.name.to_string(),
        protocol: frontend.protocol.as_str().to_owned(),
        listen: frontend.listen.iter().map(ToString::to_string).collect(),
        farm: snapshot.farms[row.farm].farm.name.to_string(),
        connections_open: row.connections_open,
        trust: frontend.trust.iter().map(ToString::to_string).collect(),
        timeouts: durations(&[
            ("body", timeouts.body),
            ("header", timeouts.header),
            ("idle", timeouts.idle),
            ("tunnel", timeouts.tunnel),
            ("write", timeouts.write),
        ]),
        limits: LimitsWire {
            connections: limits.connections,
            header_bytes: limits.header_bytes,
            uri_bytes: limits.uri_bytes,
            body_bytes: limits.body_bytes,
        },
    }
}

/// Returns one farm and its servers.
pub(super) fn farm(row: &FarmRow) -> FarmWire {
    let (farm, timeouts) = (&row.farm, row.farm.timeouts);
    FarmWire {
        id: farm.id.0,
        name: farm.name.to_string(),
        protocol: farm.protocol.as_str().to_owned(),
        balance: farm.balance.as_str().to_owned(),
        probe: farm.main_probe().map(|main| probe(main)),
        timeouts: durations(&[("connect", timeouts.connect), ("idle", timeouts.idle), ("response", timeouts.response)]),
        retry_attempts: farm.retry_attempts,
        fail_open: farm.fail_open == FailOpen::WhenAllDown,
        serving: row.serving.as_str().to_owned(),
        counts: counts(&row.servers),
        servers: row.servers.iter().map(server).collect(),
    }
}

/// Returns one server.
pub(super) fn server(row: &ServerRow) -> ServerWire {
    let server = &row.server;
    ServerWire {
        id: server.id.0,
        name: server.name.to_string(),
        address: server.address.to_string(),
        resolved: row.addr.map(|addr| addr.to_string()),
        state: row.state.clone(),
        health: row.standing.health.as_str().to_owned(),
        progress: ProgressWire { have: row.standing.progress.have, need: row.standing.progress.need },
        admin: server.admin.as_str().to_owned(),
        weight: server.weight.0,
        effective_weight: row.effective_weight,
        in_flight: row.in_flight,
        backup: server.role == Role::Backup,
        probed: row.standing.health != Health::Off,
        since: row.since.to_string(),
        overrides: row.overrides.iter().map(override_of).collect(),
        last_check: row.last_check.as_deref().map(check),
    }
}

fn counts(servers: &[ServerRow]) -> CountsWire {
    let mut counts = CountsWire { servers: servers.len(), ..CountsWire::default() };
    for row in servers {
        counts.in_rotation += usize::from(row.effective_weight > 0);
        counts.in_flight += row.in_flight;
        let by_health = match row.standing.health {
            Health::Down => &mut counts.down,
            Health::Off => &mut counts.off,
            Health::Stopping => &mut counts.stopping,
            Health::Unknown => &mut counts.unknown,
            Health::Up => &mut counts.up,
        };
        *by_health += 1;
        let by_admin = match row.server.admin {
            AdminStatus::Active => &mut counts.active,
            AdminStatus::Drain => &mut counts.drain,
            AdminStatus::Maintenance => &mut counts.maintenance,
        };
        *by_admin += 1;
    }
    counts
}

fn override_of(made: &Override) -> OverrideWire {
    OverrideWire {
        field: made.wish.field().as_str().to_owned(),
        value: value_of(made.wish),
        declared: value_of(made.declared),
        actor: made.act.actor.to_string(),
        source: made.act.source.to_string(),
        reason: made.act.reason.as_deref().map(str::to_owned),
        at: made.act.at.to_string(),
    }
}

fn value_of(wish: Wish) -> serde_json::Value {
    match wish {
        Wish::Admin(status) => status.as_str().into(),
        Wish::Weight(weight) => weight.0.into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a check's microseconds are far below 2^53")]
fn check(record: &CheckRecord) -> CheckWire {
    CheckWire {
        status: record.status.as_str().to_owned(),
        code: record.code,
        content: record.content.as_str().to_owned(),
        at: record.at.to_string(),
        duration_ms: record.duration.as_micros() as f64 / 1e3,
        passed: record.verdict() == Verdict::Passed,
    }
}

fn probe(probe: &Probe) -> ProbeWire {
    let (method, url, host, expect) = match &probe.kind {
        ProbeKind::Http(http) => {
            let expect = expect(Some(http.expect.status.to_string()), http.expect.body.as_ref(), http.expect.negate);
            (
                Some(http.method.as_str().to_owned()),
                Some(http.path.to_string()),
                probe.aim.host.as_deref(),
                Some(expect),
            )
        }
        ProbeKind::Tcp { banner, negate } => {
            (None, None, None, banner.as_ref().map(|banner| expect(None, Some(banner), *negate)))
        }
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
        | ProbeKind::Tls => (None, None, None, None),
    };
    ProbeWire {
        kind: probe.kind.as_str().to_owned(),
        method,
        url,
        host: host.map(str::to_owned),
        port: probe.aim.port,
        expect,
        interval: duration(probe.interval),
        timeout: duration(probe.timeout),
        rise: probe.rise,
        fall: probe.fall,
        start: probe.start.as_str().to_owned(),
    }
}

fn expect(status: Option<String>, body: Option<&BodyMatch>, negate: Negate) -> ExpectWire {
    let (contains, matches) = match body {
        None => (None, None),
        Some(BodyMatch::Contains(text)) => (Some(text.to_string()), None),
        Some(BodyMatch::Matches(pattern)) => (None, Some(pattern.as_str().to_owned())),
    };
    ExpectWire { status, contains, matches, negate: negate == Negate::Inverted }
}

fn durations(named: &[(&str, Duration)]) -> BTreeMap<String, String> {
    named.iter().map(|(name, value)| ((*name).to_owned(), duration(*value))).collect()
}

/// In the largest unit that says it exactly, as the config file takes it.
fn duration(value: Duration) -> String {
    match value.as_micros() {
        us if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        us if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
        us => format!("{us}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_written_in_the_largest_exact_unit() {
        for (us, want) in [(0, "0s"), (2_000_000, "2s"), (1_500_000, "1500ms"), (90_000_000, "90s"), (1_500, "1500us")]
        {
            assert_eq!(duration(Duration::from_micros(us)), want);
        }
    }
}
