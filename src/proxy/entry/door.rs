//! The accept loop of one listener of one worker.
//!
//! It rests while the process is nearly out of descriptors, so that those that are left serve who is in already, the
//! prober and the admin side. While there is no memory for another client it waits too, but not for long: who comes then
//! is refused, and may go elsewhere. Once told to stop it takes in whoever the system has told that they are connected.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rlimit::Resource;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::store::{FrontendTable, Table};

use super::super::memory::Entrant;
use super::super::transport::{Client, Socket};
use super::Door;

/// How long accepting rests when the process is out of descriptors, or nearly.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often it rests in a row for want of memory before clients are refused.
const MEMORY_RESTS_MAX: usize = 10;
/// Descriptors that are kept for all but clients: so many, or that part of all where it is less.
const RESERVED: u64 = 512;
const RESERVED_PART: u64 = 8;

/// A socket that is accepted on.
pub(in crate::proxy) enum Listener {
    /// With the address that clients connect to, where it is one.
    Tcp(TcpListener, Option<SocketAddr>),
    Unix(UnixListener),
}

impl Listener {
    /// Registers a socket with the runtime.
    pub(in crate::proxy) fn tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        let local = (!bound.ip().is_unspecified()).then_some(bound);
        Ok(Self::Tcp(TcpListener::from_std(socket)?, local))
    }

    /// The same for a Unix socket.
    pub(in crate::proxy) fn unix(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        UnixListener::from_std(socket).map(Self::Unix)
    }

    async fn accept(&self) -> io::Result<(Socket, Client)> {
        match self {
            Self::Tcp(socket, local) => {
                let (stream, from) = socket.accept().await?;
                Ok(over_tcp(stream, from, *local))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Socket::Unix(stream), Client::unix()))
            }
        }
    }

    /// Returns who is in the queue, asking the socket itself: the runtime learns late and lends a task only so many
    /// turns.
    fn queue(self) -> Option<impl FnMut() -> io::Result<(Socket, Client)>> {
        enum Plain {
            Tcp(std::net::TcpListener, Option<SocketAddr>),
            Unix(std::os::unix::net::UnixListener),
        }
        let plain = match self {
            Self::Tcp(socket, local) => Plain::Tcp(socket.into_std().ok()?, local),
            Self::Unix(socket) => Plain::Unix(socket.into_std().ok()?),
        };
        Some(move || match &plain {
            Plain::Tcp(socket, local) => {
                let (stream, from) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok(over_tcp(TcpStream::from_std(stream)?, from, *local))
            }
            Plain::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Socket::Unix(UnixStream::from_std(stream)?), Client::unix()))
            }
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket, _) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

fn over_tcp(stream: TcpStream, from: SocketAddr, local: Option<SocketAddr>) -> (Socket, Client) {
    // Latency over segments; a failure only costs that.
    let _ = stream.set_nodelay(true);
    let local = local.or_else(|| stream.local_addr().ok()).unwrap_or(from);
    (Socket::Tcp(stream), Client::tcp(from, local))
}

/// From which descriptor on they are kept for all but clients. The system gives out the lowest that is free, so one as
/// high as that says how many are in use.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Ceiling(RawFd);

impl Ceiling {
    /// Returns the ceiling under the limit that holds now.
    pub(in crate::proxy) fn now() -> Self {
        let limit = Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
        Self::under(limit)
    }

    fn under(limit: u64) -> Self {
        let ceiling = limit - RESERVED.min(limit / RESERVED_PART);
        Self(RawFd::try_from(ceiling).unwrap_or(RawFd::MAX))
    }

    /// Returns whether that descriptor is one of those that are kept.
    pub(in crate::proxy) fn is_reached_by(self, descriptor: RawFd) -> bool {
        descriptor >= self.0
    }

    /// Returns whether the next one would be.
    fn is_reached(self, any: BorrowedFd<'_>) -> bool {
        any.try_clone_to_owned().map_or(true, |next| self.is_reached_by(next.as_raw_fd()))
    }
}

/// Accepts until stopped, then empties the queue.
pub(in crate::proxy) async fn accept_until(door: Arc<Door>, socket: Listener, mut stopped: watch::Receiver<bool>) {
    let mut rests_left = MEMORY_RESTS_MAX;
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, client)) => {
                    let is_last = door.common.ceiling.is_reached_by(stream.as_fd().as_raw_fd());
                    let entrant = entrant(&door, &mut rests_left).await;
                    if let Some((table, frontend)) = door.owner.find(&door.work.store).await {
                        take_in(&door, table, frontend, stream, client, entrant);
                    }
                    if is_last && rest(&door, &socket, &mut stopped).await == Rest::Stopped {
                        break;
                    }
                }
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, worker = door.work.ix.0, "accept rests");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    empty_queue(&door, socket);
    door.registry.retire(Some(door.listener));
}

/// Waits until there is memory for one more client, as long as that may take: `rests_left` since there was some.
async fn entrant(door: &Door, rests_left: &mut usize) -> Option<Entrant> {
    let memory = door.work.memory();
    loop {
        if let Some(entrant) = memory.enter() {
            *rests_left = MEMORY_RESTS_MAX;
            return Some(entrant);
        }
        if *rests_left == 0 {
            return None;
        }
        if *rests_left == MEMORY_RESTS_MAX
            && let Some((_, frontend)) = door.owner.find_now(&door.work.store)
        {
            frontend.cells.of(door.work.ix).accept_rests.add(1);
        }
        *rests_left -= 1;
        tokio::time::sleep(ACCEPT_REST).await;
        memory.look();
    }
}

#[derive(PartialEq, Eq)]
enum Rest {
    Over,
    Stopped,
}

/// Waits until descriptors are free again.
async fn rest(door: &Door, socket: &Listener, stopped: &mut watch::Receiver<bool>) -> Rest {
    if !door.common.ceiling.is_reached(socket.as_fd()) {
        return Rest::Over;
    }
    tracing::warn!(worker = door.work.ix.0, "accept rests: descriptors are nearly gone; raise the limit on open files");
    if let Some((_, frontend)) = door.owner.find_now(&door.work.store) {
        frontend.cells.of(door.work.ix).accept_rests.add(1);
    }
    loop {
        tokio::select! {
            _ = stopped.changed() => return Rest::Stopped,
            () = tokio::time::sleep(ACCEPT_REST) => {}
        }
        if !door.common.ceiling.is_reached(socket.as_fd()) {
            return Rest::Over;
        }
    }
}

fn empty_queue(door: &Arc<Door>, socket: Listener) {
    let Some(mut next) = socket.queue() else { return };
    loop {
        match next() {
            Ok((stream, client)) => {
                if let Some((table, frontend)) = door.owner.find_now(&door.work.store) {
                    take_in(door, table, frontend, stream, client, door.work.memory().enter());
                }
            }
            Err(error) if is_about_the_peer(&error) => {}
            Err(_) => return,
        }
    }
}

/// Lets somebody in, or not; who comes in is served by a task of its own.
fn take_in(
    door: &Arc<Door>,
    table: Arc<Table>,
    frontend: Arc<FrontendTable>,
    socket: Socket,
    client: Client,
    entrant: Option<Entrant>,
) {
    if let Some(visit) = door.admit(table, frontend, client, entrant) {
        tokio::spawn(visit.serve(Arc::clone(door), socket));
    }
}

/// Errors of `accept` that concern one client only.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceiling_keeps_a_part_of_few_and_a_number_of_many() {
        for (limit, first_kept) in [(64, 56), (1024, 896), (20_000, 19_488), (1 << 20, (1 << 20) - 512)] {
            let ceiling = Ceiling::under(limit);
            assert!(ceiling.is_reached_by(first_kept) && !ceiling.is_reached_by(first_kept - 1), "{limit}");
        }
        assert!(!Ceiling::under(u64::MAX).is_reached_by(RawFd::MAX - 1));
    }
}
