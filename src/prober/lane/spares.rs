//! Sockets that have served one check of a server on this host and serve another.
//!
//! A check needs a connection of its own, not a socket of its own: to make one and throw it away is a tenth of what a
//! check costs the kernel. `connect` to no address dissolves a connection, with the reset that closing without lingering
//! would send. Options stay, but for the one that [`connect::prepare`](super::super::connect::prepare) sets each time:
//! only sockets without any of their own are kept.
//!
//! One thing is not as with a new socket: the kernel goes on numbering bytes where the last connection ended, so that
//! a server knows from one check at which number the next one begins, which may be another server's. Who knows that could
//! forge answers, if packets could be forged. Those of the loopback cannot, so it is done for servers there alone.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{connect_unspec, sockopt};
use socket2::SockRef;

use crate::model::{Aim, PeerAddr};

use super::STARTS_AT_ONCE;

/// Sockets of a family that are kept: as many as are used at once where every check begins in turn.
const SPARES_MAX: usize = STARTS_AT_ONCE;

/// The spare sockets, without a connection.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ipv4: Vec<TcpStream>,
    ipv6: Vec<TcpStream>,
}

impl Spares {
    /// Returns a socket for a check that may have a used one, if there is one.
    pub(super) fn take(&mut self, addr: &PeerAddr, aim: &Aim) -> Option<TcpStream> {
        self.kept(addr, aim)?.pop()
    }

    /// Ends a connection with a reset, and keeps the socket if it may serve again.
    pub(super) fn put(&mut self, stream: TcpStream, addr: &PeerAddr, aim: &Aim) {
        match self.kept(addr, aim) {
            Some(kept) if kept.len() < SPARES_MAX && dissolve(&stream) => kept.push(stream),
            Some(_) | None => reset(stream),
        }
    }

    fn kept(&mut self, addr: &PeerAddr, aim: &Aim) -> Option<&mut Vec<TcpStream>> {
        match addr.ip()? {
            addr if aim.source.is_some() || !addr.ip().is_loopback() => None,
            SocketAddr::V4(_) => Some(&mut self.ipv4),
            SocketAddr::V6(_) => Some(&mut self.ipv6),
        }
    }
}

/// Ends a connection with a reset.
pub(super) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
    drop(stream);
}

/// Whether the socket is without a connection now, and without the error that the reset is to our side.
fn dissolve(socket: impl AsFd) -> bool {
    connect_unspec(&socket).is_ok() && sockopt::socket_error(&socket).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::os::fd::AsRawFd;

    use super::*;

    /// Returns both ends of a connection, ours with a spare socket where there is one.
    fn connected(spares: &mut Spares, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let addr = listener.local_addr().unwrap();
        let spare = spares.take(&addr.into(), &Aim::default());
        let ours = spare.inspect(|spare| SockRef::from(spare).connect(&addr.into()).unwrap());
        (ours.unwrap_or_else(|| TcpStream::connect(addr).unwrap()), listener.accept().unwrap().0)
    }

    #[test]
    fn socket_serves_again_as_if_it_were_new_and_each_server_sees_a_reset() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let addr = listener.local_addr().unwrap();
            let mut spares = Spares::default();
            let mut sockets = Vec::new();
            for _ in 0..3 {
                let (mut ours, mut server) = connected(&mut spares, &listener);
                assert_eq!(
                    (ours.peer_addr().unwrap(), ours.local_addr().unwrap()),
                    (addr, server.peer_addr().unwrap())
                );
                sockets.push(ours.as_raw_fd());
                ours.write_all(b"ask").unwrap();
                server.read_exact(&mut [0; 3]).unwrap();
                server.write_all(b"told").unwrap();
                ours.read_exact(&mut [0; 4]).unwrap();
                server.shutdown(Shutdown::Write).unwrap();
                assert_eq!(ours.read(&mut [0; 4]).unwrap(), 0);
                spares.put(ours, &addr.into(), &Aim::default());
                assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            }
            assert!(sockets.iter().all(|socket| *socket == sockets[0]), "{sockets:?}");
        }
    }

    #[test]
    fn socket_of_a_source_is_not_kept_and_no_more_than_so_many_are() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr: PeerAddr = listener.local_addr().unwrap().into();
        let mut spares = Spares::default();
        let (ours, mut server) = connected(&mut spares, &listener);
        let bound = Aim { source: Some([127, 0, 0, 1].into()), ..Aim::default() };
        spares.put(ours, &addr, &bound);
        assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(spares.ipv4.is_empty());
        let held: Vec<_> = (0..=SPARES_MAX).map(|_| connected(&mut spares, &listener)).collect();
        let (ours, servers): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        ours.into_iter().for_each(|ours| spares.put(ours, &addr, &Aim::default()));
        assert_eq!(spares.ipv4.len(), SPARES_MAX);
        for mut server in servers {
            assert_eq!(server.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert!(spares.take(&addr, &bound).is_none());
        for elsewhere in ["10.0.0.1:80", "[2001:db8::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(spares.take(&elsewhere.parse::<SocketAddr>().unwrap().into(), &Aim::default()).is_none());
        }
        assert!(spares.take(&"[::1]:80".parse::<SocketAddr>().unwrap().into(), &Aim::default()).is_none());
    }
}
