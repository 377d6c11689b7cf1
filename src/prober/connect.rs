//! Opens the connection of a check, from where and with what first bytes its aim says: over TCP, or to a Unix socket.
//!
//! A Unix socket is handed on as if it were TCP's: probes only read and write, and whatever else is asked of it it denies.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout_at;

use crate::model::{Aim, CheckStatus, PeerAddr};

use super::check::{Deadline, Finding};
use super::failure::{connect_status, errno_text, unix_status};
use super::proxy_header;
use super::trace::Trace;

/// Bytes of one read that empties a connection.
const DRAIN_BYTES: usize = 4 * 1024;
/// Reads that are made, without waiting, to empty a connection before it is closed.
const DRAIN_READS_MAX: usize = 32;

/// How a conversation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Either side may speak first, and more than once.
    Any,
    /// We speak first, and once.
    OneQuestion,
}

/// Connects to `addr`; a PROXY header that is asked for has been sent.
pub(super) async fn open(
    addr: &PeerAddr,
    aim: &Aim,
    opening: Opening,
    deadline: Deadline,
    trace: &mut Trace,
) -> Result<TcpStream, Finding> {
    match timeout_at(deadline.at, connect(addr, aim, opening, trace)).await {
        Ok(opened) => opened,
        Err(_) => Err(timed_out(deadline.after)),
    }
}

/// What a check is worth that had no connection at its deadline, which was so long after the start.
pub(super) fn timed_out(after: Duration) -> Finding {
    Finding::new(CheckStatus::L4Tout, None, &format!("no connection within {after:?}"))
}

/// Whether a connect to a closed port of this host met itself, as it can when the system picks that very port as its own.
pub(super) fn has_met_itself(local: io::Result<SocketAddr>, addr: &PeerAddr) -> bool {
    local.is_ok_and(|local| addr.ip() == Some(local))
}

/// What a connection is worth that has met itself.
pub(super) fn refused(trace: &mut Trace) -> Finding {
    failed(&io::Error::from(io::ErrorKind::ConnectionRefused), trace)
}

/// Makes the connection ready to be closed without a trace in the server's log: what has arrived is taken, since closing
/// over unread bytes sends a reset. A server that has closed its end already, and whose bytes are all read, does not
/// see what we end with: there a reset it is, which spares both hosts the farewell and the server its TIME_WAIT.
pub(super) async fn end(stream: &TcpStream, trace: &Trace) {
    if !trace.is_emptied {
        take_what_has_arrived(stream);
        return;
    }
    let mut ready = pin!(stream.ready(Interest::READABLE));
    let ready = poll_fn(|context| Poll::Ready(ready.as_mut().poll(context))).await;
    if matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()) {
        stream.set_zero_linger().ok();
    }
}

/// Takes what has already arrived, since closing over unread bytes would send a reset and fill the server's log with it.
pub(super) fn take_what_has_arrived(stream: &TcpStream) {
    empty(&mut [0; DRAIN_BYTES], |buffer| stream.try_read(buffer));
}

/// Reads until a read that must not wait does not fill the buffer. Returns whether the last one found the end.
pub(super) fn empty(buffer: &mut [u8], mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> bool {
    for _ in 0..DRAIN_READS_MAX {
        match read(buffer) {
            Ok(count) if count == buffer.len() => {}
            Ok(count) => return count == 0,
            Err(_) => return false,
        }
    }
    false
}

/// Returns a socket to connect to `addr` with, that waits for nothing, and `addr` as it is told.
pub(super) fn socket(
    addr: &PeerAddr,
    aim: &Aim,
    opening: Opening,
    trace: &mut Trace,
) -> Result<(Socket, SockAddr), Finding> {
    match addr {
        PeerAddr::Ip(addr) => Ok((tcp_socket(*addr, aim, opening, trace)?, (*addr).into())),
        PeerAddr::Unix(path) => {
            let made = SockAddr::unix(path)
                .and_then(|to| Ok((Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?, to)));
            made.map_err(|error| failed(&error, trace))
        }
    }
}

fn tcp_socket(addr: SocketAddr, aim: &Aim, opening: Opening, trace: &mut Trace) -> Result<Socket, Finding> {
    let socket = match aim.source {
        None => unbound(addr).map_err(|error| failed(&error, trace))?,
        Some(source) => bound_to(source, addr)?,
    };
    prepare(&socket, opening);
    Ok(socket)
}

/// Readies a socket for its next connection.
pub(super) fn prepare(socket: &Socket, opening: Opening) {
    if opening == Opening::OneQuestion {
        // The request acknowledges the server's part of the handshake; a packet for that alone is saved.
        socket.set_tcp_quickack(false).ok();
    }
}

async fn connect(addr: &PeerAddr, aim: &Aim, opening: Opening, trace: &mut Trace) -> Result<TcpStream, Finding> {
    match addr {
        PeerAddr::Ip(addr) => connect_tcp(*addr, aim, opening, trace).await,
        PeerAddr::Unix(path) => connect_unix(addr, path, aim, trace).await,
    }
}

/// A Unix socket is connected to at once or not at all.
async fn connect_unix(addr: &PeerAddr, path: &Path, aim: &Aim, trace: &mut Trace) -> Result<TcpStream, Finding> {
    let (socket, to) = socket(addr, aim, Opening::Any, trace)?;
    socket.connect(&to).map_err(|error| {
        trace.failed(&error);
        Finding::new(unix_status(&error), None, &format!("{}: {}", errno_text(&error), path.display()))
    })?;
    trace.connect = Some(trace.elapsed());
    let mut stream = TcpStream::from_std(socket.into()).map_err(|error| failed(&error, trace))?;
    if let Some(header) = aim.proxy {
        let header = proxy_header::without_addresses(header);
        stream.write_all(&header).await.map_err(|error| failed(&error, trace))?;
        trace.sent(&header);
    }
    Ok(stream)
}

async fn connect_tcp(addr: SocketAddr, aim: &Aim, opening: Opening, trace: &mut Trace) -> Result<TcpStream, Finding> {
    let socket = TcpSocket::from_std_stream(tcp_socket(addr, aim, opening, trace)?.into());
    let mut stream = socket.connect(addr).await.map_err(|error| failed(&error, trace))?;
    if opening == Opening::OneQuestion {
        // Whether it met itself is asked where the answer is none; a single write waits for no other.
        trace.connect = Some(trace.elapsed());
        return Ok(stream);
    }
    let local = stream.local_addr().map_err(|error| failed(&error, trace))?;
    if local == addr {
        return Err(refused(trace));
    }
    trace.connect = Some(trace.elapsed());
    // Requests are one small write; where the option fails the check is only slower.
    stream.set_nodelay(true).ok();
    if let Some(header) = aim.proxy {
        let header = proxy_header::bytes(header, local, addr);
        stream.write_all(&header).await.map_err(|error| failed(&error, trace))?;
        trace.sent(&header);
    }
    Ok(stream)
}

/// What a check is worth whose connect failed so.
pub(super) fn failed(error: &io::Error, trace: &mut Trace) -> Finding {
    trace.failed(error);
    Finding::new(connect_status(error), None, &errno_text(error))
}

fn unbound(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Returns a socket that connects from `source`. Whatever fails here is our own.
fn bound_to(source: IpAddr, addr: SocketAddr) -> Result<Socket, Finding> {
    let ours = |words: &str| Finding::new(CheckStatus::SockErr, None, words);
    if source.is_ipv4() != addr.is_ipv4() {
        return Err(ours(&format!("cannot reach {} from source {source}: one is IPv4, the other IPv6", addr.ip())));
    }
    let bind = |socket: Socket| {
        // Ports of connections that have just ended may be used again, or many checks would run out of them.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        Ok(socket)
    };
    let bound: io::Result<Socket> = unbound(addr).and_then(bind);
    bound.map_err(|error| ours(&format!("cannot connect from source {source}: {}", errno_text(&error))))
}
