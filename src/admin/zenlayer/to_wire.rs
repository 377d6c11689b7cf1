//! Snapshot → wire. Pure.
//!
//! Health is what checks conclude and nothing else: the admin status and the weight do not change it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::find::{Balancer, Listener, listeners};
use super::wire;
use super::wire::kept::{KeptBackend, kept};
use crate::model::{Health, Host, Name, PeerAddr, Timestamp};
use crate::store::Snapshot;
use crate::store::snapshot::ServerRow;

/// The resource group of whatever was given none.
pub(super) const RESOURCE_GROUP: &str = "default";

/// Returns a load balancer.
pub(super) fn load_balancer(snapshot: &Snapshot, balancer: &Balancer<'_>) -> wire::LoadBalancer {
    let listeners = listeners(snapshot, balancer);
    let (private, public) = balancer.addresses.iter().partition::<Vec<IpAddr>, _>(|ip| is_private(**ip));
    let texts = |ips: Vec<IpAddr>| ips.iter().map(ToString::to_string).collect();
    let kept = &balancer.kept;
    let group = resource_group(balancer).to_owned();
    // The file's farms may have servers that no listener leads to.
    let count = match balancer.made {
        None => {
            let is_own = |row: &&crate::store::snapshot::FarmRow| {
                snapshot.made.get(row.farm.id.into()).is_none_or(|made| made.service.is_none())
            };
            snapshot.farms.iter().filter(is_own).map(|farm| farm.servers.len()).sum()
        }
        Some(_) => listeners.iter().map(|listener| listener.servers().count()).sum(),
    };
    wire::LoadBalancer {
        region_id: snapshot.service.zone.to_string(),
        load_balancer_id: balancer.id.clone(),
        load_balancer_name: kept.name.clone(),
        status: "RUNNING",
        ip_stack_type: ip_stack(&balancer.addresses),
        vpc_id: kept.vpc_id.clone(),
        subnet_id: kept.subnet_id.clone(),
        public_ip_address: texts(public),
        private_ip_address: texts(private),
        health_check_private_ips: [],
        listener_count: listeners.len(),
        backend_server_count: count,
        create_time: balancer.made.map(|made| second(made.created_at)),
        resource_group: wire::ResourceGroup { resource_group_id: group.clone(), resource_group_name: group },
        tags: wire::Tags { tags: kept.tags.clone() },
        security_group_id: None,
    }
}

/// Returns which families of addresses there are. The field is of the Python SDK alone; its words are ours.
pub(super) fn ip_stack(addresses: &[IpAddr]) -> Option<&'static str> {
    match (addresses.iter().any(IpAddr::is_ipv4), addresses.iter().any(IpAddr::is_ipv6)) {
        (true, true) => Some("IPv4_IPv6"),
        (true, false) => Some("IPv4"),
        (false, true) => Some("IPv6"),
        (false, false) => None,
    }
}

/// Returns the resource group of a load balancer.
pub(super) fn resource_group<'b>(balancer: &'b Balancer<'_>) -> &'b str {
    balancer.kept.resource_group_id.as_deref().unwrap_or(RESOURCE_GROUP)
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Returns a time as this shape writes it: `YYYY-MM-DDThh:mm:ssZ`.
pub(super) fn second(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}

/// Returns a listener.
pub(super) fn listener(listener: &Listener<'_>) -> wire::Listener {
    let shown = listener.shown();
    wire::Listener {
        listener_id: listener.id(),
        listener_name: shown.name(),
        protocol: shown.protocol(),
        port: listener.port(),
        ip_stack_type: listener.ip_stack(),
        scheduler: shown.scheduler().to_owned(),
        kind: shown.kind().to_owned(),
        persistent: shown.persistent(),
        idle_timeout: shown.idle_timeout(),
        algo_opts: listener.kept.algo_opts.clone().unwrap_or_default(),
        proxy_protocol: shown.proxy_protocol().map(str::to_owned),
        health_check: shown.health_check(),
        create_time: listener.made.map(|made| second(made.created_at)),
    }
}

/// Returns the servers that a listener leads to, in the order written.
pub(super) fn backends(snapshot: &Snapshot, listener: &Listener<'_>) -> Vec<wire::Backend> {
    let common = Common::of(listener);
    listener.servers().map(|server| backend(snapshot, &common, server)).collect()
}

/// Returns the health of the servers that a listener leads to, in the order written: of several ports, the worst.
pub(super) fn backend_healths(snapshot: &Snapshot, listener: &Listener<'_>) -> Vec<wire::BackendHealth> {
    let common = Common::of(listener);
    // Every port has the same servers, by the farm's place and their name.
    let mut lanes: HashMap<(usize, &Name), Vec<(u16, Health)>> = HashMap::new();
    for row in listener.frontends() {
        for (at, farm) in listener.farms_of(row).enumerate() {
            for it in &farm.servers {
                lanes.entry((at, &it.server.name)).or_default().push((it.server.address.port, it.standing.health));
            }
        }
    }
    let servers = listener.farms_of(listener.row).enumerate();
    let servers = servers.flat_map(|(at, farm)| farm.servers.iter().map(move |server| (at, server)));
    let healths = servers.map(|(at, server)| {
        let ports = lanes.remove(&(at, &server.server.name)).unwrap_or_default();
        let worst = ports.iter().map(|(_, health)| *health).max_by_key(|health| badness(*health));
        let worst = worst.unwrap_or(server.standing.health);
        let details = ports.into_iter().filter(|_| has_verdict(worst));
        let details = details.map(|(port, health)| wire::PortHealth { port, health_status: health_status(health) });
        wire::BackendHealth {
            health_status: health_status(worst),
            health_status_detail: details.collect(),
            backend: backend(snapshot, &common, server),
        }
    });
    healths.collect()
}

fn has_verdict(health: Health) -> bool {
    matches!(health, Health::Down | Health::Stopping | Health::Up)
}

fn badness(health: Health) -> u8 {
    match health {
        Health::Off => 0,
        Health::Stopping | Health::Up => 1,
        Health::Unknown => 2,
        Health::Down => 3,
    }
}

fn health_status(health: Health) -> &'static str {
    match health {
        Health::Down => "Dead",
        Health::Off => "Close",
        Health::Unknown => "Unknown",
        Health::Stopping | Health::Up => "Alive",
    }
}

/// What the rows of one listener have in common.
struct Common {
    id: String,
    name: String,
    protocol: &'static str,
    port: String,
    is_unweighted: bool,
}

impl Common {
    fn of(listener: &Listener<'_>) -> Self {
        let shown = listener.shown();
        let (name, protocol, is_unweighted) = (shown.name(), shown.protocol(), shown.is_unweighted());
        Self { id: listener.id(), name, protocol, port: listener.port(), is_unweighted }
    }
}

fn backend(snapshot: &Snapshot, common: &Common, server: &ServerRow) -> wire::Backend {
    let kept: KeptBackend = kept(snapshot.made.get(server.server.id.into()).map(|made| &**made));
    wire::Backend {
        weight: weight(&kept, server.server.weight.0, common.is_unweighted),
        instance_id: kept.instance_id,
        private_ip_address: address(server),
        backend_port: (!kept.follows).then_some(server.server.address.port),
        listener_id: common.id.clone(),
        listener_name: common.name.clone(),
        protocol: common.protocol,
        listener_port: common.port.clone(),
    }
}

/// Returns the weight that was asked for while a scheduler that looks at none has it as 0 or 1; else the weight.
pub(super) fn weight(kept: &KeptBackend, is: u16, is_unweighted: bool) -> u16 {
    kept.weight.filter(|asked| is_unweighted && (*asked).min(1) == is).unwrap_or(is)
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
