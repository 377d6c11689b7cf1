//! Keeps the data plane and its checks from leading to the admin side: no server may be where the admin side listens and
//! none may be checked there, whoever declares it and however its address is found.
//!
//! The admin side trusts the loopback and knows clients by their address; behind a frontend everybody would come from
//! here. Asks the system which addresses are this machine's, and only for a port that is the admin side's.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use crate::config::declared::Fault;
use crate::model::{Farm, Probe, ProbeKind, Server, Topology};
use crate::objects::form;

/// Where the admin side listens, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AdminPlace(pub(super) Option<SocketAddr>);

impl AdminPlace {
    /// Returns what is wrong with servers that are there, or that are checked there, by the key path of each.
    pub(super) fn faults(self, topology: &Topology) -> Vec<Fault> {
        let all = topology.farms.iter().flat_map(|farm| farm.servers.iter().map(move |server| (farm, server)));
        let mut faults = Vec::new();
        for (farm, server) in all {
            let path = ["farms", farm.name.as_str(), "servers", server.name.as_str()];
            let mut fault = |keys: &[&str], message: String| {
                faults.push(Fault { path: form::key_path(keys).into(), message: message.into() });
            };
            let addr = server.address.literal().and_then(|peer| peer.ip());
            if addr.is_some_and(|addr| self.is(addr)) {
                let message =
                    format!("\"{}\" is where the admin side listens; give the server's own address", server.address);
                fault(&[&path[..], &["address"]].concat(), message);
                continue;
            }
            if let Some(addr) = self.checked(farm, server, addr.map(|addr| addr.ip())) {
                let message =
                    format!("is checked at \"{addr}\", where the admin side listens; aim its probe elsewhere");
                fault(&path, message);
            }
        }
        faults
    }

    /// Returns where a check of a server would come to the admin side, if any would; `ip`: what its own address is.
    pub(super) fn checked(self, farm: &Farm, server: &Server, ip: Option<IpAddr>) -> Option<SocketAddr> {
        let own = self.0.filter(|_| server.probed)?;
        let connects = |probe: &&Arc<Probe>| !matches!(probe.kind, ProbeKind::Command(_) | ProbeKind::Ping);
        let mut aimed = farm.probes.iter().chain(&farm.shadow).filter(connects).filter_map(|probe| {
            let probe = probe.aimed(&server.aim);
            let (port, ip) = (probe.port_of(server.address.port), probe.aim.address.or(ip)?);
            Some(SocketAddr::new(ip, port)).filter(|_| port == own.port())
        });
        aimed.find(|addr| self.is(*addr))
    }

    /// Returns whether a connection to this address would come to the admin side.
    pub(super) fn is(self, addr: SocketAddr) -> bool {
        let Some(own) = self.0.filter(|own| own.port() == addr.port()) else { return false };
        let (own, ip) = (own.ip().to_canonical(), addr.ip().to_canonical());
        // To no address is to this machine.
        own == ip || (own.is_unspecified() || ip.is_unspecified()) && is_of_this_machine(ip)
    }
}

/// Only what is this machine's can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Aim, FarmId, HttpProbe, Name, Protocol, ServerId};
    use crate::objects::World;

    fn faults(server: &str, aim: Aim, probe: Probe) -> Vec<Fault> {
        let name = |text: &str| Name::parse(text).unwrap();
        let id = ServerId::derive(&name("web"), &name("a"));
        let server = Server { aim, ..Server::new(id, name("a"), server.parse().unwrap()) };
        let farm = Farm {
            probes: [Arc::new(probe)].into(),
            servers: vec![Arc::new(server)],
            ..Farm::new(FarmId::derive(&name("web")), name("web"), Protocol::Http)
        };
        let topology = Topology { farms: vec![Arc::new(farm)], ..World::empty().topology() };
        AdminPlace(Some("127.0.0.1:9090".parse().unwrap())).faults(&topology)
    }

    #[test]
    fn check_that_would_come_to_the_admin_side_is_a_fault_however_it_is_aimed() {
        let get = |aim: Aim| Probe { aim, ..Probe::new(ProbeKind::Http(HttpProbe::get("/"))) };
        let (port, ip) = (Some(9090), Some("127.0.0.1".parse().unwrap()));
        let (nowhere, to_port, to_ip) =
            (Aim::default(), Aim { port, ..Aim::default() }, Aim { address: ip, ..Aim::default() });
        let agent = |port| {
            let aim = Aim { port: Some(port), ..Aim::default() };
            Probe { aim, ..Probe::new(ProbeKind::Agent { send: "".into() }) }
        };
        let there = Aim { port, address: ip, ..Aim::default() };
        for (server, aim, probe, is_fault) in [
            ("127.0.0.1:80", nowhere.clone(), get(to_port.clone()), true),
            ("127.0.0.1:80", to_port.clone(), get(nowhere.clone()), true),
            ("10.0.0.1:9090", nowhere.clone(), get(to_ip.clone()), true),
            ("10.0.0.1:80", nowhere.clone(), get(there.clone()), true),
            ("10.0.0.1:80", to_ip.clone(), get(to_port.clone()), true),
            ("web.example:80", nowhere.clone(), get(there.clone()), true),
            ("10.0.0.1:80", nowhere.clone(), get(to_port.clone()), false),
            ("127.0.0.1:80", Aim { port: Some(81), ..nowhere.clone() }, get(to_port.clone()), false),
            ("10.0.0.1:80", nowhere.clone(), Probe { aim: there, ..Probe::new(ProbeKind::Ping) }, false),
            ("127.0.0.1:80", nowhere.clone(), get(nowhere.clone()), false),
            ("127.0.0.1:80", to_port, agent(81), false),
            ("127.0.0.1:80", Aim { port: Some(81), ..nowhere }, agent(9090), true),
            ("10.0.0.1:80", to_ip, agent(9090), true),
        ] {
            let found = faults(server, aim.clone(), probe.clone());
            assert_eq!(!found.is_empty(), is_fault, "{server} {aim:?} {probe:?}");
            assert!(found.iter().all(|it| it.to_string().starts_with("farms.web.servers.a")), "{found:?}");
        }
    }

    #[test]
    fn address_of_the_admin_side_is_known_however_it_is_written() {
        let is = |own: &str, addr: &str| AdminPlace(Some(own.parse().unwrap())).is(addr.parse().unwrap());
        for (own, addr, want) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9090", "[::ffff:127.0.0.1]:9090", true),
            ("127.0.0.1:9090", "0.0.0.0:9090", true),
            ("0.0.0.0:9090", "127.0.0.9:9090", true),
            ("[::]:9090", "127.0.0.1:9090", true),
            ("[::]:9090", "[::1]:9090", true),
            ("127.0.0.1:9090", "127.0.0.1:9091", false),
            ("127.0.0.1:9090", "127.0.0.2:9090", false),
            ("0.0.0.0:9090", "192.0.2.1:9090", false),
        ] {
            assert_eq!(is(own, addr), want, "{own} {addr}");
        }
        assert!(!AdminPlace(None).is("127.0.0.1:9090".parse().unwrap()));
    }
}
