//! Opens the TCP connection of a check, from where and with what first bytes its aim says.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout_at;

use crate::model::{Aim, CheckStatus};

use super::check::{Deadline, Finding};
use super::failure::{connect_status, errno_text};
use super::proxy_header;
use super::trace::Trace;

/// Bytes of one read that empties a connection.
const DRAIN_BYTES: usize = 4 * 1024;
/// Reads that are made, without waiting, to empty a connection before it is closed.
const DRAIN_READS_MAX: usize = 16;

/// Connects to `addr`; a PROXY header that is asked for has been sent.
pub(super) async fn open(
    addr: SocketAddr,
    aim: &Aim,
    deadline: Deadline,
    trace: &mut Trace,
) -> Result<TcpStream, Finding> {
    match timeout_at(deadline.at, connect(addr, aim, trace)).await {
        Ok(opened) => opened,
        Err(_) => {
            let words = format!("no connection within {:?}", deadline.after);
            Err(Finding::new(CheckStatus::L4Tout, None, &words))
        }
    }
}

/// Takes what has already arrived, since closing over unread bytes would send a reset and fill the server's log with it.
pub(super) fn take_what_has_arrived(stream: &TcpStream) {
    let mut buffer = [0; DRAIN_BYTES];
    for _ in 0..DRAIN_READS_MAX {
        if !stream.try_read(&mut buffer).is_ok_and(|n| n == buffer.len()) {
            return;
        }
    }
}

async fn connect(addr: SocketAddr, aim: &Aim, trace: &mut Trace) -> Result<TcpStream, Finding> {
    let connected = match aim.source {
        None => TcpStream::connect(addr).await,
        Some(source) => bound_to(source, addr)?.connect(addr).await,
    };
    let mut stream = connected.map_err(|error| failed(&error, trace))?;
    // A connect to a closed port of this host can meet itself when the system picks that very port as its own.
    let local = stream.local_addr().map_err(|error| failed(&error, trace))?;
    if local == addr {
        return Err(failed(&io::Error::from(io::ErrorKind::ConnectionRefused), trace));
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

fn failed(error: &io::Error, trace: &mut Trace) -> Finding {
    trace.failed(error);
    Finding::new(connect_status(error), None, &errno_text(error))
}

/// Returns a socket that connects from `source`. Whatever fails here is our own.
fn bound_to(source: IpAddr, addr: SocketAddr) -> Result<TcpSocket, Finding> {
    let ours = |words: &str| Finding::new(CheckStatus::SockErr, None, words);
    if source.is_ipv4() != addr.is_ipv4() {
        return Err(ours(&format!("cannot reach {} from source {source}: one is IPv4, the other IPv6", addr.ip())));
    }
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let bind = |socket: TcpSocket| {
        // Ports of connections that have just ended may be used again, or many checks would run out of them.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0))?;
        Ok(socket)
    };
    let bound: io::Result<TcpSocket> = socket.and_then(bind);
    bound.map_err(|error| ours(&format!("cannot connect from source {source}: {}", errno_text(&error))))
}
