//! What workers are told, and how listeners are named to them.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::model::{FrontendId, ServerKey};

/// Names one listener of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerId(pub(super) u64);

/// What becomes of clients that keep their connection open between requests when the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// They are closed at once: nobody else serves here.
    Abrupt,
    /// Each is answered once more and told that it was the last time: it connects again, to the process that replaces
    /// this one. A request that is on its way meanwhile is not lost.
    Polite,
}

/// A socket that was bound for one worker.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// One of the handles to a socket that all workers share.
    Unix(UnixListener),
}

impl Bound {
    /// Returns the same socket once more.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Udp(socket) => Self::Udp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }
}

impl From<Bound> for OwnedFd {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Tcp(socket) => socket.into(),
            Bound::Udp(socket) => socket.into(),
            Bound::Unix(socket) => socket.into(),
        }
    }
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Connections of a listener belong to another frontend from now on.
    Assign { listener: ListenerId, frontend: FrontendId },
    /// Accept no more on a listener and retire its connections; `closed` is dropped once its socket is.
    Close { listener: ListenerId, closed: Sender<()> },
    /// Cut the work of a server that was marked.
    Cut { server: ServerKey },
    /// Accept on a socket.
    Open { listener: ListenerId, frontend: FrontendId, socket: Bound },
    /// Stop accepting, finish what is open within the grace, end.
    Shutdown { grace: Duration, farewell: Farewell },
    /// Farms may be gone.
    TableChanged,
}
