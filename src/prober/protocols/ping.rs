//! The ping probe: one ICMP echo request, and the reply to it and no other.
//!
//! The system's ping socket is used where it is allowed to our group (`net.ipv4.ping_group_range`), a raw socket, which
//! takes CAP_NET_RAW, elsewhere. A reply must carry back the payload, which no two requests share. The socket is
//! connected, so that only the server is heard, and asked for the errors that routers report.
//! Source: RFC 792, RFC 4443, Linux icmp(7) and raw(7).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use crate::clock;
use crate::model::CheckStatus;

use super::super::check::{Deadline, Finding};
use super::super::failure::{connect_status, errno_text};

const REMEDY: &str = "ping needs CAP_NET_RAW: grant it (setcap cap_net_raw+ep, AmbientCapabilities=) or put farmgate's \
                      group into net.ipv4.ping_group_range, or use a tcp probe";
/// Type, code, checksum, identifier, sequence.
const HEAD_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = 16;
/// The shortest IPv4 header, which a raw socket leaves before the message.
const IPV4_HEAD_BYTES_MIN: usize = 20;
const PACKET_BYTES_MAX: usize = 256;

/// Tells requests of this process apart.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

pub(super) async fn ask(addr: SocketAddr, source: Option<IpAddr>, deadline: Deadline) -> Finding {
    let serial = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let echo = Echo::new(serial, std::process::id(), clock::wall().0);
    match timeout_at(deadline.at, exchange(addr, source, &echo)).await {
        Ok(Ok(bytes)) => Finding::new(CheckStatus::L4Ok, None, &format!("echo reply of {bytes} bytes")),
        Ok(Err(Failure::NotPermitted)) => Finding::new(CheckStatus::SockErr, None, REMEDY),
        Ok(Err(Failure::Io(error))) => Finding::new(connect_status(&error), None, &errno_text(&error)),
        Err(_) => Finding::new(CheckStatus::L4Tout, None, &format!("no echo reply within {:?}", deadline.after)),
    }
}

enum Failure {
    /// Neither kind of socket may be opened.
    NotPermitted,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How a socket hands over what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The ICMP message alone.
    Message,
    /// The IPv4 packet around it.
    Packet,
}

async fn exchange(addr: SocketAddr, source: Option<IpAddr>, echo: &Echo) -> Result<usize, Failure> {
    let (socket, form) = open(addr.ip())?;
    hear_of_errors(&socket, addr.ip())?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    // A raw socket has no ports.
    let mut to = addr;
    to.set_port(0);
    socket.connect(&to.into())?;
    // To read and write, one datagram socket is like another.
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send(&echo.request(addr.ip())).await?;
    let mut packet = [0; PACKET_BYTES_MAX];
    loop {
        let read = socket.recv(&mut packet).await?;
        if echo.is_answered_by(&packet[..read], addr.ip(), form) {
            return Ok(HEAD_BYTES + PAYLOAD_BYTES);
        }
    }
}

fn open(ip: IpAddr) -> Result<(Socket, Form), Failure> {
    let (domain, protocol, raw_form) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, Form::Packet),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, Form::Message),
    };
    if let Ok(socket) = Socket::new(domain, Type::DGRAM.nonblocking(), Some(protocol)) {
        return Ok((socket, Form::Message));
    }
    match Socket::new(domain, Type::RAW.nonblocking(), Some(protocol)) {
        Ok(socket) => Ok((socket, raw_form)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::NotPermitted),
        Err(error) => Err(Failure::Io(error)),
    }
}

fn hear_of_errors(socket: &Socket, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        IpAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// One request.
struct Echo {
    identifier: [u8; 2],
    sequence: [u8; 2],
    payload: [u8; PAYLOAD_BYTES],
}

impl Echo {
    fn new(serial: u32, process: u32, micros: u64) -> Self {
        let [high, low, sequence @ ..] = serial.to_be_bytes();
        let process = process.to_be_bytes();
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..4].copy_from_slice(&process);
        payload[4..8].copy_from_slice(&serial.to_be_bytes());
        payload[8..].copy_from_slice(&micros.to_be_bytes());
        Self { identifier: [process[2] ^ high, process[3] ^ low], sequence, payload }
    }

    fn request(&self, to: IpAddr) -> [u8; HEAD_BYTES + PAYLOAD_BYTES] {
        let mut message = [0; HEAD_BYTES + PAYLOAD_BYTES];
        message[0] = if to.is_ipv4() { 8 } else { 128 };
        message[4..6].copy_from_slice(&self.identifier);
        message[6..8].copy_from_slice(&self.sequence);
        message[HEAD_BYTES..].copy_from_slice(&self.payload);
        // The system itself makes that of ICMPv6, which covers addresses too.
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        message
    }

    /// The identifier is not compared: the system's ping socket puts its own there. The payload stands for both.
    fn is_answered_by(&self, packet: &[u8], from: IpAddr, form: Form) -> bool {
        let message = match form {
            Form::Message => Some(packet),
            Form::Packet => packet
                .first()
                .map(|first| usize::from(first & 0xf) * 4)
                .filter(|bytes| *bytes >= IPV4_HEAD_BYTES_MIN)
                .and_then(|bytes| packet.get(bytes..)),
        };
        let reply = if from.is_ipv4() { 0 } else { 129 };
        message.is_some_and(|message| {
            message.len() == HEAD_BYTES + PAYLOAD_BYTES
                && message[..2] == [reply, 0]
                && message[6..8] == self.sequence
                && message[HEAD_BYTES..] == self.payload
        })
    }
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes.as_chunks().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, sum @ ..] = (!sum).to_be_bytes();
    sum
}

#[cfg(test)]
mod tests;
