//! The socket of a UDP listener: datagrams with the address of ours that they came to, and replies from it.
//!
//! A socket that is bound to every address learns from the system which one a datagram was sent to, and says which one
//! a reply is from: a client would not take it from another.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt};
use tokio::io::Interest;

/// Room for the control message with either kind of address.
const CONTROL_BYTES: usize = 64;

/// The address of ours that a datagram came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Local {
    /// The one that the socket is bound to.
    Bound,
    V4(Ipv4Addr),
    /// With the number of the interface, which a link's own addresses need.
    V6(Ipv6Addr, u32),
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Wire {
    socket: tokio::net::UdpSocket,
    is_wild: bool,
}

impl Wire {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        let is_wild = bound.ip().is_unspecified();
        if is_wild && bound.is_ipv4() {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        } else if is_wild {
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        }
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, is_wild })
    }

    /// Waits for a datagram; returns its length, whose it is and where it was sent to.
    pub(super) async fn receive(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, Local)> {
        if !self.is_wild {
            let (n, from) = self.socket.recv_from(buf).await?;
            return Ok((n, from, Local::Bound));
        }
        self.socket.async_io(Interest::READABLE, || self.receive_now(buf)).await
    }

    fn receive_now(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr, Local)> {
        let mut pieces = [IoSliceMut::new(buf)];
        let mut control = [0; CONTROL_BYTES];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let from = message.address.as_ref().and_then(plain).ok_or(io::ErrorKind::InvalidData)?;
        let local = message.cmsgs()?.find_map(|control| local_of(&control)).unwrap_or(Local::Bound);
        Ok((message.bytes, from, local))
    }

    /// Sends a datagram from an address of ours, now or not at all.
    pub(super) fn reply(&self, data: &[u8], to: SocketAddr, from: Local) -> io::Result<()> {
        let v4;
        let v6;
        let control = match from {
            Local::Bound => None,
            Local::V4(ip) => {
                v4 = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(ip),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            Local::V6(ip, interface) => {
                let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
                v6 = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: interface };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let (fd, to) = (self.socket.as_raw_fd(), SockaddrStorage::from(to));
        sendmsg(fd, &[IoSlice::new(data)], control.as_slice(), MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

fn plain(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|addr| SocketAddr::V4((*addr).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|addr| SocketAddr::V6((*addr).into())))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more control messages than were asked for")]
fn local_of(control: &ControlMessageOwned) -> Option<Local> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Local::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Only addresses of one link are ambiguous; others may be answered by any way.
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Local::V6(ip, interface))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn replied(bound: &str, asked: &str) -> SocketAddr {
        let wire = Wire::new({
            let socket = UdpSocket::bind(bound).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let wire = wire.unwrap();
        let asked: SocketAddr = SocketAddr::new(asked.parse().unwrap(), wire.socket.local_addr().unwrap().port());
        let client =
            tokio::net::UdpSocket::bind(if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).await.unwrap();
        client.send_to(b"question", asked).await.unwrap();
        let mut buf = [0; 100];
        let (n, from, local) = wire.receive(&mut buf).await.unwrap();
        assert_eq!((&buf[..n], from), (&b"question"[..], client.local_addr().unwrap()));
        wire.reply(b"answer", from, local).unwrap();
        let (n, from) = client.recv_from(&mut buf).await.unwrap();
        assert_eq!(&buf[..n], b"answer");
        from
    }

    #[tokio::test]
    async fn reply_comes_from_the_address_that_was_asked() {
        for (bound, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1")] {
            assert_eq!(replied(bound, asked).await.ip().to_string(), asked, "bound to {bound}");
        }
    }
}
