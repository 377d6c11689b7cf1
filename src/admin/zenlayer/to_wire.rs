//! Snapshot → wire. Pure.
//!
//! Health is what checks conclude and nothing else: the admin status and the weight do not change it. Where a word of
//! the published enums would be untrue (a balance of ours that they do not have), ours is given.

use std::net::IpAddr;

use super::request::Request;
use super::wire;
use crate::model::{Balance, FailOpen, Farm, Frontend, Health, Host, Pace, PeerAddr, Probe, ProbeKind};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};

/// What every listener is in this API: it is a layer 4 product, HTTP runs over TCP.
pub(super) const PROTOCOL: &str = "TCP";

/// Returns the service, if it passes the filters and the first page is asked for.
pub(super) fn load_balancers<'s>(snapshot: &'s Snapshot, request: &Request) -> wire::LoadBalancers<'s> {
    let name = snapshot.service.name.as_str();
    let is_named = |want: &str| match want.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == want,
    };
    let is_wanted = (request.load_balancer_ids.is_empty() || request.load_balancer_ids.iter().any(|id| id == name))
        && request.load_balancer_name.as_deref().is_none_or(is_named)
        && request.region_id.as_deref().is_none_or(|region| region == snapshot.service.zone.as_str())
        && request.resource_group_id.as_deref().is_none_or(|id| id == RESOURCE_GROUP)
        && request.vpc_id.is_none()
        && request.security_group_id.is_none();
    let shown = is_wanted && request.is_first_page();
    wire::LoadBalancers {
        total_count: usize::from(is_wanted),
        data_set: shown.then(|| load_balancer(snapshot)).into_iter().collect(),
    }
}

const RESOURCE_GROUP: &str = "default";

fn load_balancer(snapshot: &Snapshot) -> wire::LoadBalancer<'_> {
    let service = &snapshot.service;
    let (private, public) = service.addresses.iter().partition::<Vec<IpAddr>, _>(|ip| is_private(**ip));
    let texts = |ips: Vec<IpAddr>| ips.iter().map(ToString::to_string).collect();
    wire::LoadBalancer {
        region_id: service.zone.as_str(),
        load_balancer_id: service.name.as_str(),
        load_balancer_name: service.name.as_str(),
        status: "RUNNING",
        vpc_id: None,
        public_ip_address: texts(public),
        private_ip_address: texts(private),
        health_check_private_ips: [],
        listener_count: snapshot.frontends.len(),
        backend_server_count: snapshot.farms.iter().map(|farm| farm.servers.len()).sum(),
        create_time: None,
        resource_group: wire::ResourceGroup { resource_group_id: RESOURCE_GROUP, resource_group_name: RESOURCE_GROUP },
        tags: wire::Tags { tags: [] },
        security_group_id: None,
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Returns a frontend as a listener.
pub(super) fn listener<'s>(snapshot: &'s Snapshot, row: &'s FrontendRow) -> wire::Listener<'s> {
    let farm = farm_of(snapshot, row).map(|row| &*row.farm);
    wire::Listener {
        listener_id: row.frontend.id.to_string(),
        listener_name: row.frontend.name.as_str(),
        protocol: PROTOCOL,
        port: ports(&row.frontend),
        scheduler: scheduler(farm.map_or(Balance::RoundRobin, |farm| farm.balance)),
        kind: "FNAT",
        persistent: 0,
        idle_timeout: row.frontend.timeouts.idle.as_secs(),
        health_check: farm.map_or_else(wire::HealthCheck::default, health_check),
        create_time: None,
    }
}

/// The farm that takes a frontend's work; of several, the first.
fn farm_of<'s>(snapshot: &'s Snapshot, row: &FrontendRow) -> Option<&'s FarmRow> {
    row.farms.first().map(|farm| &snapshot.farms[*farm])
}

fn scheduler(balance: Balance) -> &'static str {
    match balance {
        Balance::LeastConn => "wlc",
        Balance::RoundRobin => "wrr",
        Balance::Source => "sh",
        Balance::Ewma | Balance::First | Balance::Maglev | Balance::Random | Balance::Uri => balance.as_str(),
    }
}

fn health_check(farm: &Farm) -> wire::HealthCheck<'_> {
    let fail_open = farm.fail_open == FailOpen::WhenAllDown;
    let Some(probe) = farm.main_probe() else {
        return wire::HealthCheck { fail_open, ..wire::HealthCheck::default() };
    };
    let (check_type, url, code) = match &probe.kind {
        ProbeKind::Http(http) => ("HTTP_GET", &*http.path, http.expect.status.to_string().parse().ok()),
        ProbeKind::Ping => ("PING_CHECK", "", None),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => ("TCP", "", None),
    };
    wire::HealthCheck {
        enabled: true,
        check_type: Some(check_type),
        check_port: probe.aim.port,
        check_delay_loop: Some(seconds_up(probe.interval)),
        check_conn_timeout: Some(seconds_up(probe.timeout)),
        check_retry: Some(retries(probe)),
        check_delay_try: Some(seconds_up(probe.interval_in(Pace::Changing))),
        check_http_get_url: url,
        check_http_status_code: code,
        fail_open,
    }
}

/// There, the first failure and so many more make a server Dead; our `fall` counts the first as well.
fn retries(probe: &Probe) -> u16 {
    probe.fall.saturating_sub(1)
}

fn seconds_up(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Returns the servers that a frontend leads to, in the order written.
pub(super) fn backends<'s>(snapshot: &'s Snapshot, row: &'s FrontendRow) -> Vec<wire::Backend<'s>> {
    farm_of(snapshot, row).into_iter().flat_map(|farm| &farm.servers).map(|server| backend(row, server)).collect()
}

/// Returns the health of the servers that a frontend leads to, in the order written.
pub(super) fn backend_healths<'s>(snapshot: &'s Snapshot, row: &'s FrontendRow) -> Vec<wire::BackendHealth<'s>> {
    let healths = farm_of(snapshot, row).into_iter().flat_map(|farm| &farm.servers).map(|server| {
        let health_status = health_status(server.standing.health);
        let detail = wire::PortHealth { port: server.server.address.port, health_status };
        let has_verdict = matches!(server.standing.health, Health::Down | Health::Stopping | Health::Up);
        wire::BackendHealth {
            health_status,
            health_status_detail: has_verdict.then_some(detail).into_iter().collect(),
            backend: backend(row, server),
        }
    });
    healths.collect()
}

fn health_status(health: Health) -> &'static str {
    match health {
        Health::Down => "Dead",
        Health::Off => "Close",
        Health::Unknown => "Unknown",
        Health::Stopping | Health::Up => "Alive",
    }
}

fn backend<'s>(row: &'s FrontendRow, server: &ServerRow) -> wire::Backend<'s> {
    wire::Backend {
        instance_id: None,
        private_ip_address: address(server),
        weight: server.server.weight.0,
        backend_port: server.server.address.port,
        listener_id: row.frontend.id.to_string(),
        listener_name: row.frontend.name.as_str(),
        protocol: PROTOCOL,
        listener_port: ports(&row.frontend),
    }
}

/// Where connections go; while a name has no address, the name. A Unix socket is told as its path, with a port of 0.
fn address(row: &ServerRow) -> String {
    match (&row.addr, &row.server.address.host) {
        (Some(PeerAddr::Ip(addr)), _) => addr.ip().to_canonical().to_string(),
        (None, Host::Ip(ip)) => ip.to_string(),
        (None, Host::Name(name)) => name.to_string(),
        (Some(PeerAddr::Unix(_)), _) | (None, Host::Unix(_)) => row.server.address.to_string(),
    }
}

/// A comma list in ascending order, ports that follow each other joined to a range, as the vendor stores them.
fn ports(frontend: &Frontend) -> String {
    let mut ports: Vec<u16> = frontend.listen.iter().filter_map(|addr| Some(addr.ip()?.port())).collect();
    ports.sort_unstable();
    ports.dedup();
    let runs = ports.chunk_by(|a, b| *b - *a == 1).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u16::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}
