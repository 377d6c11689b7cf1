//! Binds the sockets of one address, one for each worker.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::model::ListenAddr;

use super::super::command::Bound;
use super::unix::{self, SocketFile};

/// Connections that may wait to be accepted, per socket; the kernel bounds it by `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// What travels through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Traffic {
    /// Connections: TCP, or a Unix socket.
    Connections,
    /// Datagrams: UDP.
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

/// Binds one socket for each worker to the same address; a Unix socket is one that they share. Those that were bound
/// before are the first ones.
pub(super) fn for_each(
    listen: &ListenAddr,
    traffic: Traffic,
    workers: usize,
    before: Vec<OwnedFd>,
) -> io::Result<Sockets> {
    if !before.is_empty() {
        return share(listen, traffic, workers, before);
    }
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

/// Gives each worker one of the sockets that are bound to an address, and those that come short one more.
fn share(listen: &ListenAddr, traffic: Traffic, workers: usize, before: Vec<OwnedFd>) -> io::Result<Sockets> {
    if before.len() > workers {
        // One that nobody accepts from would leave its clients waiting.
        let why = format!("{} sockets were handed over for {workers} workers; write workers: {0}", before.len());
        return Err(io::Error::other(why));
    }
    let mut sockets: Vec<_> = before.into_iter().map(Socket::from).collect();
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let first = sockets[0].try_clone()?;
    let bound = first.local_addr()?.as_socket();
    while sockets.len() < workers {
        sockets.push(match bound {
            Some(bound) if first.reuse_port()? => socket(bound, traffic, Sharing::AmongWorkers)?,
            // A Unix socket, or a service manager's: the workers share its queue.
            Some(_) | None => first.try_clone()?,
        });
    }
    let (at, file) = match listen {
        ListenAddr::Ip(address) => (bound.unwrap_or(*address).into(), None),
        ListenAddr::Unix(path) => (listen.clone(), Some(SocketFile::of_another(path))),
    };
    let each = sockets.into_iter().map(|socket| match (listen, traffic) {
        (ListenAddr::Unix(_), _) => Bound::Unix(socket.into()),
        (ListenAddr::Ip(_), Traffic::Connections) => Bound::Tcp(socket.into()),
        (ListenAddr::Ip(_), Traffic::Datagrams) => Bound::Udp(socket.into()),
    });
    Ok(Sockets { at, each: each.collect(), file })
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
            let sockets = for_each(&any, traffic, 3, Vec::new()).unwrap();
            assert_eq!(sockets.each.len(), 3);
            let refused = for_each(&sockets.at, traffic, 1, Vec::new()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            let at = sockets.at.clone();
            drop(sockets);
            assert!(for_each(&at, traffic, 1, Vec::new()).is_ok());
        }
    }

    #[test]
    fn sockets_bound_before_are_taken_over_and_made_up_to_one_a_worker() {
        for traffic in [Traffic::Connections, Traffic::Datagrams] {
            let any = ListenAddr::parse("127.0.0.1:0").unwrap();
            let old = for_each(&any, traffic, 2, Vec::new()).unwrap();
            let handed = old.each.iter().map(|socket| socket.try_clone().unwrap().into()).collect();
            let new = for_each(&any, traffic, 3, handed).unwrap();
            assert!(new.at == old.at && new.each.len() == 3);
            let many = new.each.into_iter().map(OwnedFd::from).collect();
            let more = for_each(&any, traffic, 1, many).unwrap_err().to_string();
            assert_eq!(more, "3 sockets were handed over for 1 workers; write workers: 3");
        }
        let alone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = ListenAddr::from(alone.local_addr().unwrap());
        let shared = for_each(&at, Traffic::Connections, 2, vec![alone.into()]).unwrap();
        assert!(shared.at == at && shared.each.len() == 2, "a service manager's socket is shared");
    }
}
