//! Snapshot → bodies of the native shape. Pure.

pub(super) mod order;
pub(super) mod request;
pub(super) mod standing;
pub(super) mod why;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::config::to_yaml::{aim_view, farm_view, frontend_view, probe_view, server_view};
use crate::model::secrecy::is_secret;
use crate::model::{
    AdminStatus, CheckRecord, Health, Limits, Made, ObjectId, Override, Probe, Role, Route, Service, Timestamp,
    Verdict, Wish,
};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, IncidentRow, ServerRow};

use super::query::Filter;
use super::wire::{
    CheckWire, CountsWire, FarmWire, FrontendList, FrontendWire, IncidentWire, LimitsWire, OriginWire, OverrideWire,
    ProgressWire, RouteList, RouteWire, ServerList, ServerWire, ServiceWire,
};

/// Everything, as [`StatusWire`](super::wire::StatusWire) has it; farms are made one by one while they are written, so
/// that a thousand of them take the room of one.
pub(super) struct Status<'s>(pub(super) &'s Snapshot);

impl Serialize for Status<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(snapshot) = self;
        let mut status = serializer.serialize_struct("StatusWire", 10)?;
        status.serialize_field("service", &service(&snapshot.service))?;
        status.serialize_field("version", env!("CARGO_PKG_VERSION"))?;
        status.serialize_field("generation", &snapshot.generation.0)?;
        status.serialize_field("ready", &snapshot.is_ready)?;
        status.serialize_field("at", &snapshot.at.to_string())?;
        let frontends = snapshot.frontends.iter().map(|row| frontend(snapshot, row));
        status.serialize_field("frontends", &frontends.collect::<Vec<_>>())?;
        let rows: Vec<_> = snapshot.farms.iter().collect();
        status.serialize_field("farms", &Each(&rows, |row: &FarmRow| farm(row, &snapshot.made, snapshot.at)))?;
        status.serialize_field("incident", &snapshot.incident.as_ref().map(incident))?;
        status.serialize_field("last_event", &snapshot.last_event)?;
        status.serialize_field("leaving", &snapshot.leaving.iter().map(order::leaving).collect::<Vec<_>>())?;
        status.end()
    }
}

fn service(service: &Service) -> ServiceWire {
    ServiceWire {
        name: service.name.to_string(),
        zone: service.zone.to_string(),
        instance_id: service.instance_id.0,
        addresses: service.addresses.iter().map(ToString::to_string).collect(),
    }
}

fn incident(row: &IncidentRow) -> IncidentWire {
    IncidentWire {
        id: row.id,
        since: row.since.to_string(),
        until: row.until.to_string(),
        farms: row.farms.iter().map(ToString::to_string).collect(),
        servers: row.servers.len(),
    }
}

/// The farms that a query asks for, as [`FarmList`](super::wire::FarmList) has them; made one by one while they are
/// written, so that a thousand of them take the room of one.
pub(super) struct Farms<'s> {
    snapshot: &'s Snapshot,
    total: usize,
    rows: Vec<&'s FarmRow>,
}

impl Serialize for Farms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { snapshot, total, rows } = self;
        let mut list = serializer.serialize_struct("FarmList", 4)?;
        list.serialize_field("generation", &snapshot.generation.0)?;
        list.serialize_field("at", &snapshot.at.to_string())?;
        list.serialize_field("total", total)?;
        list.serialize_field("farms", &Each(rows, |row: &FarmRow| farm(row, &snapshot.made, snapshot.at)))?;
        list.end()
    }
}

/// A list whose items are made while they are written.
struct Each<'s, R, F>(&'s [&'s R], F);

impl<R, W: Serialize, F: Fn(&R) -> W> Serialize for Each<'_, R, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|row| (self.1)(row)))
    }
}

/// Returns the farms that a query asks for.
pub(super) fn farms<'s>(snapshot: &'s Snapshot, filter: &Filter) -> Farms<'s> {
    let is_wanted = |row: &&FarmRow| {
        let farm = &row.farm;
        let origin = origin(&snapshot.made, farm.id.into());
        filter.takes(&farm.name, &origin.by) && filter.protocol.is_none_or(|it| it == farm.protocol)
    };
    let (total, rows) = filter.page.of(snapshot.farms.iter().filter(is_wanted).collect());
    Farms { snapshot, total, rows }
}

/// Returns the servers of a farm that a query asks for.
pub(super) fn servers(snapshot: &Snapshot, row: &FarmRow, filter: &Filter) -> ServerList {
    let is_wanted = |one: &&ServerRow| {
        let server = &one.server;
        let origin = origin(&snapshot.made, server.id.into());
        filter.takes(&server.name, &origin.by)
            && filter.health.is_none_or(|it| it == one.standing.health)
            && filter.admin.is_none_or(|it| it == server.admin)
    };
    let (total, rows) = filter.page.of(row.servers.iter().filter(is_wanted).collect());
    ServerList {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        total,
        servers: rows.into_iter().map(|one| server(row, one, &snapshot.made, snapshot.at)).collect(),
    }
}

/// Returns the frontends that a query asks for.
pub(super) fn frontends(snapshot: &Snapshot, filter: &Filter) -> FrontendList {
    let is_wanted = |row: &&FrontendRow| {
        let frontend = &row.frontend;
        let origin = origin(&snapshot.made, frontend.id.into());
        filter.takes(&frontend.name, &origin.by) && filter.protocol.is_none_or(|it| it == frontend.protocol)
    };
    let (total, rows) = filter.page.of(snapshot.frontends.iter().filter(is_wanted).collect());
    FrontendList {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        total,
        frontends: rows.into_iter().map(|row| frontend(snapshot, row)).collect(),
    }
}

/// Returns the routes of a frontend, in the order in which they are looked at.
pub(super) fn routes(snapshot: &Snapshot, row: &FrontendRow) -> RouteList {
    let names = farm_names(snapshot);
    let written = frontend_view(&row.frontend, &names).routes.unwrap_or_default();
    let routes = row.frontend.routes.iter().zip(&written).map(|(it, written)| route(&snapshot.made, it, written));
    let routes: Vec<_> = routes.collect();
    RouteList { generation: snapshot.generation.0, at: snapshot.at.to_string(), total: routes.len(), routes }
}

/// Returns one route; `written`: it as the config file writes it.
fn route(made: &Made, route: &Route, written: &crate::config::schema::Route) -> RouteWire {
    RouteWire {
        id: route.id.0,
        name: route.name.to_string(),
        origin: origin(made, route.id.into()),
        priority: route.priority,
        rules: written.rules.iter().flatten().map(json).collect(),
        action: hushed(json(&written.action)),
    }
}

/// Returns who declared an object.
pub(super) fn origin(made: &Made, id: ObjectId) -> OriginWire {
    match made.get(id) {
        None => OriginWire::default(),
        Some(made) => OriginWire { by: "api".to_owned(), shape: Some(made.shape.to_string()) },
    }
}

fn farm_names(snapshot: &Snapshot) -> impl Fn(crate::model::FarmId) -> String {
    |id| {
        let row = snapshot.farms.iter().find(|row| row.farm.id == id);
        row.map_or_else(String::new, |row| row.farm.name.to_string())
    }
}

/// Returns one frontend.
pub(super) fn frontend(snapshot: &Snapshot, row: &FrontendRow) -> FrontendWire {
    let (frontend, timeouts) = (&row.frontend, row.frontend.timeouts);
    let names = farm_names(snapshot);
    let written = frontend_view(frontend, &names);
    let routes = written.routes.unwrap_or_default();
    let mut deadlines = durations(&[
        ("body", timeouts.body),
        ("handshake", timeouts.handshake),
        ("header", timeouts.header),
        ("idle", timeouts.idle),
        ("tunnel", timeouts.tunnel),
        ("write", timeouts.write),
    ]);
    deadlines.extend(timeouts.session.map(|session| ("session".to_owned(), duration(session))));
    FrontendWire {
        id: frontend.id.0,
        name: frontend.name.to_string(),
        origin: origin(&snapshot.made, frontend.id.into()),
        protocol: frontend.protocol.as_str().to_owned(),
        listen: frontend.listen.iter().map(ToString::to_string).collect(),
        farm: row.default_farm().map(|farm| snapshot.farms[farm].farm.name.to_string()),
        connections_open: row.connections_open,
        trust: frontend.trust.iter().map(ToString::to_string).collect(),
        redirect: json(&written.redirect),
        routes: frontend.routes.iter().zip(&routes).map(|(it, written)| route(&snapshot.made, it, written)).collect(),
        tls: json(&written.tls),
        h2c: frontend.h2c,
        accept_proxy: frontend.accept_proxy.iter().map(ToString::to_string).collect(),
        allow: written.allow,
        deny: written.deny,
        hsts: json(&written.hsts),
        maintenance: json(&written.maintenance.filter(|_| frontend.maintenance.is_some())),
        request_headers: headers(&written.request_headers),
        response_headers: headers(&written.response_headers),
        timeouts: deadlines,
        limits: limits(&frontend.limits, json(&written.limits.and_then(|limits| limits.rate))),
    }
}

/// Returns rules for headers, without what secrets of them are.
fn headers<T: Serialize>(rules: &T) -> Value {
    let mut rules = json(rules);
    hush(&mut rules, true);
    rules
}

/// Returns what may set headers, without what secrets of them are.
fn hushed(mut value: Value) -> Value {
    hush(&mut value, false);
    value
}

fn hush(value: &mut Value, is_headers: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hush(item, is_headers)),
        Value::Object(map) => {
            for (name, value) in map {
                if is_headers && is_secret(name) && (value.is_array() || value.is_string()) {
                    *value = Value::from("…");
                } else {
                    hush(value, is_headers || name.ends_with("_headers"));
                }
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

fn limits(limits: &Limits, rate: Value) -> LimitsWire {
    LimitsWire {
        connections: limits.connections,
        connections_per_source: limits.connections_per_source,
        handshakes: limits.handshakes,
        header_bytes: limits.header_bytes,
        header_fields: limits.header_fields,
        uri_bytes: limits.uri_bytes,
        body_bytes: limits.body_bytes,
        body_rate_min: limits.body_rate_min,
        streams: limits.streams,
        rate,
    }
}

/// Returns one farm and its servers.
pub(super) fn farm(row: &FarmRow, made: &Made, now: Timestamp) -> FarmWire {
    let (farm, timeouts) = (&row.farm, row.farm.timeouts);
    let written = farm_view(farm);
    FarmWire {
        id: farm.id.0,
        name: farm.name.to_string(),
        origin: origin(made, farm.id.into()),
        protocol: farm.protocol.as_str().to_owned(),
        balance: farm.balance.as_str().to_owned(),
        hash: json(&written.hash),
        http2: farm.http2,
        reuse: json(&written.reuse),
        queue: json(&written.queue),
        probe: farm.main_probe().map(|main| json(&probe_view(main))),
        probes: farm.probes.iter().map(|probe| named(probe)).collect(),
        shadow: written.shadow.as_ref().map(json),
        quorum: farm.quorum,
        observe: json(&written.observe),
        flap: json(&written.flap),
        incident: json(&written.incident),
        slow_start: word(&written.slow_start),
        on_down: word(&written.on_down),
        drain: json(&written.drain),
        reserve: word(&written.reserve),
        stickiness: json(&written.stickiness),
        timeouts: durations(&[("connect", timeouts.connect), ("idle", timeouts.idle), ("response", timeouts.response)]),
        retry_attempts: farm.retry_attempts,
        retry_budget: json(&written.retries.and_then(|retries| retries.budget)),
        fail_open: word(&written.fail_open),
        serving: row.serving.as_str().to_owned(),
        counts: counts(&row.servers),
        servers: row.servers.iter().map(|one| server(row, one, made, now)).collect(),
        leaving: row.leaving.iter().map(order::leaving).collect(),
    }
}

/// Returns one server of a farm.
pub(super) fn server(farm: &FarmRow, row: &ServerRow, made: &Made, now: Timestamp) -> ServerWire {
    let server = &row.server;
    let written = server_view(server);
    ServerWire {
        id: server.id.0,
        name: server.name.to_string(),
        origin: origin(made, server.id.into()),
        address: server.address.to_string(),
        resolved: row.addr.as_ref().map(ToString::to_string),
        state: row.state.clone(),
        health: row.standing.health.as_str().to_owned(),
        progress: ProgressWire { have: row.standing.progress.have, need: row.standing.progress.need },
        admin: server.admin.as_str().to_owned(),
        weight: server.weight.0,
        effective_weight: row.effective_weight,
        in_flight: row.in_flight,
        queued: row.queued,
        backup: server.role == Role::Backup,
        probed: row.standing.health != Health::Off,
        aim: json(&aim_view(&server.aim)),
        cookie: server.cookie.as_deref().map(str::to_owned),
        tls: json(&written.tls),
        proxy_protocol: server.proxy_protocol.map(|form| form.as_str().to_owned()),
        max_connections: server.max_connections,
        on_down: server.on_down.map(|leftovers| leftovers.as_str().to_owned()),
        since: row.since.to_string(),
        overrides: row.overrides.iter().map(override_of).collect(),
        last_check: row.last_check.as_deref().map(check),
        order: row.order.as_ref().map(|order| order::order(order, now)),
        standing: standing::standing(&row.standing),
        probes: standing::probes(&farm.farm, row).collect(),
        shadow: standing::shadow(&farm.farm, row),
        held_by_incident: row.is_held_by_incident,
        causes: row.causes.iter().map(|cause| cause.as_str().to_owned()).collect(),
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

pub(super) fn override_of(made: &Override) -> OverrideWire {
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

fn value_of(wish: Wish) -> Value {
    match wish {
        Wish::Admin(status) => status.as_str().into(),
        Wish::Weight(weight) => weight.0.into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a check's microseconds are far below 2^53")]
pub(super) fn check(record: &CheckRecord) -> CheckWire {
    CheckWire {
        status: record.status.as_str().to_owned(),
        code: record.code,
        content: record.content.as_str().to_owned(),
        at: record.at.to_string(),
        duration_ms: record.duration.as_micros() as f64 / 1e3,
        passed: record.verdict() == Verdict::Passed,
    }
}

/// A probe with its name beside what the config file writes.
fn named(probe: &Probe) -> Value {
    let mut written = json(&probe_view(probe));
    if let Value::Object(keys) = &mut written {
        keys.insert("name".to_owned(), probe.name.as_str().into());
    }
    written
}

/// What the config file writes is texts, numbers, lists and mappings of texts: JSON has them all.
pub(super) fn json(written: &impl Serialize) -> Value {
    serde_json::to_value(written).unwrap_or_default()
}

/// A word or a text as the config file writes it.
fn word(written: &impl Serialize) -> String {
    json(written).as_str().unwrap_or_default().to_owned()
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
    use crate::farm::Serving;
    use crate::model::{
        Aim, Encryption, FailOpen, Farm, FarmId, HttpProbe, Name, Probe, ProbeKind, Protocol, ProxyHeader, Secret,
    };

    fn row(change: impl FnOnce(&mut Farm)) -> FarmRow {
        let name = Name::fixed("web");
        let mut farm = Farm::new(FarmId::derive(&name), name, Protocol::Http);
        change(&mut farm);
        FarmRow { farm: farm.into(), serving: Serving::Primaries, servers: Vec::new(), leaving: Vec::new() }
    }

    #[test]
    fn farm_shows_every_probe_as_the_config_file_writes_it_and_no_secret() {
        let probe = |name, kind| Probe { name: Name::fixed(name), ..Probe::new(kind) };
        let row = row(|farm| {
            let agent = probe("agent", ProbeKind::Agent { send: "".into() });
            let redis = probe("cache", ProbeKind::Redis { password: Some(Secret::new("hush")) });
            let mut ready = probe("ready", ProbeKind::Http(HttpProbe::get("/ready")));
            ready.aim = Aim { proxy: Some(ProxyHeader::V2), ..Aim::default() };
            let grpc = ProbeKind::Grpc { service: "a.B".into(), encryption: Encryption::Tls };
            farm.probes = [agent, redis, ready].map(Into::into).into();
            (farm.quorum, farm.shadow) = (Some(1), Some(probe("shadow", grpc).into()));
        });
        let wire = serde_json::to_value(farm(&row, &Made::default(), Timestamp(0))).unwrap();
        let names: Vec<_> = (0..3).map(|i| (&wire["probes"][i]["name"], &wire["probes"][i]["type"])).collect();
        let want = [("agent", "agent"), ("cache", "redis"), ("ready", "http")].map(|(n, t)| (n.into(), t.into()));
        assert_eq!(names, want.each_ref().map(|(n, t): &(Value, Value)| (n, t)));
        assert_eq!((&wire["probe"]["type"], &wire["probe"]["name"]), (&"redis".into(), &Value::Null));
        assert_eq!((&wire["probes"][2]["proxy"], &wire["quorum"]), (&"v2".into(), &1.into()));
        assert_eq!((&wire["shadow"]["service"], &wire["shadow"]["tls"]), (&"a.B".into(), &true.into()));
        assert!(!wire.to_string().contains("hush"), "{wire}");
    }

    #[test]
    fn fail_open_is_the_word_of_the_config_file() {
        for (fail_open, want) in [
            (FailOpen::Never, "never"),
            (FailOpen::WhenAllDown, "all_down"),
            (FailOpen::Below(2), "below 2"),
            (FailOpen::BelowShare(50), "below 50%"),
        ] {
            assert_eq!(farm(&row(|farm| farm.fail_open = fail_open), &Made::default(), Timestamp(0)).fail_open, want);
        }
    }

    #[test]
    fn duration_is_written_in_the_largest_exact_unit() {
        for (us, want) in [(0, "0s"), (2_000_000, "2s"), (1_500_000, "1500ms"), (90_000_000, "90s"), (1_500, "1500us")]
        {
            assert_eq!(duration(Duration::from_micros(us)), want);
        }
    }
}
