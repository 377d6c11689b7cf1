//! Binds the sockets of one address, one for each worker.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::model::ListenAddr;

use super::super::command::Bound;
use super::unix::{self, SocketFile};

/// Connections that may wait to be accepted, per socket; the kernel bounds it by `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// What travels through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Traffic {
    Connections,
    Datagrams,
}

/// An address bound for every worker.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The address, with the port that the system chose where 0 was written.
    pub(super) at: ListenAddr,
    pub(super) each: Vec<Bound>,
    /// What a Unix socket leaves in the file system.
    pub(super) file: Option<SocketFile>,
}

/// Binds one socket for each worker to the same address; a Unix socket is one that they share.
pub(super) fn for_each(listen: &ListenAddr, traffic: Traffic, workers: usize) -> io::Result<Sockets> {
    match listen {
        ListenAddr::Ip(address) => ip(*address, traffic, workers),
        ListenAddr::Unix(path) => {
            let (socket, file) = unix::bind(path)?;
            let each: io::Result<_> = (0..workers).map(|_| socket.try_clone().map(Bound::Unix)).collect();
            Ok(Sockets { at: listen.clone(), each: each?, file: Some(file) })
        }
    }
}

fn ip(address: SocketAddr, traffic: Traffic, workers: usize) -> io::Result<Sockets> {
    // SO_REUSEPORT lets another process of the same user share the port unseen, so first make sure that it is free.
    let mut bound = address;
    if address.port() != 0 {
        drop(socket(address, traffic, Sharing::Exclusive)?);
    }
    let mut each = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(bound, traffic, Sharing::AmongWorkers)?;
        bound = socket.local_addr()?.as_socket().unwrap_or(bound);
        each.push(match traffic {
            Traffic::Connections => Bound::Tcp(socket.into()),
            Traffic::Datagrams => Bound::Udp(socket.into()),
        });
    }
    Ok(Sockets { at: bound.into(), each, file: None })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    AmongWorkers,
    Exclusive,
}

fn socket(address: SocketAddr, traffic: Traffic, sharing: Sharing) -> io::Result<Socket> {
    let (kind, protocol) = match traffic {
        Traffic::Connections => (Type::STREAM, Protocol::TCP),
        Traffic::Datagrams => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // Of datagrams it would let anybody share the port.
    socket.set_reuse_address(traffic == Traffic::Connections)?;
    socket.set_reuse_port(sharing == Sharing::AmongWorkers)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if sharing == Sharing::AmongWorkers && traffic == Traffic::Connections {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_shares_one_port_among_workers_and_with_nobody_else() {
        for traffic in [Traffic::Connections, Traffic::Datagrams] {
            let any = ListenAddr::parse("127.0.0.1:0").unwrap();
            let sockets = for_each(&any, traffic, 3).unwrap();
            assert_eq!(sockets.each.len(), 3);
            let refused = for_each(&sockets.at, traffic, 1).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            let at = sockets.at.clone();
            drop(sockets);
            assert!(for_each(&at, traffic, 1).is_ok());
        }
    }
}
