//! Keeps the data plane from leading to the admin side: no server may be where the admin side listens, whoever declares it
//! and however its address is found.
//!
//! The admin side trusts the loopback and knows clients by their address; behind a frontend everybody would come from
//! here. Asks the system which addresses are this machine's, and only for a port that is the admin side's.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::config::declared::Fault;
use crate::model::Topology;
use crate::objects::form;

/// Where the admin side listens, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AdminPlace(pub(super) Option<SocketAddr>);

impl AdminPlace {
    /// Returns what is wrong with servers that are there, by the key path of each address.
    pub(super) fn faults(self, topology: &Topology) -> Vec<Fault> {
        let servers = topology.farms.iter().flat_map(|farm| farm.servers.iter().map(move |server| (farm, server)));
        let there = servers.filter(|(_, server)| {
            let addr = server.address.literal().and_then(|peer| peer.ip());
            addr.is_some_and(|addr| self.is(addr))
        });
        let fault = |(farm, server): (&std::sync::Arc<crate::model::Farm>, &std::sync::Arc<crate::model::Server>)| {
            let path = form::key_path(&["farms", farm.name.as_str(), "servers", server.name.as_str(), "address"]);
            let message =
                format!("\"{}\" is where the admin side listens; give the server's own address", server.address);
            Fault { path: path.into(), message: message.into() }
        };
        there.map(fault).collect()
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
