//! What workers are told, and how listeners are named to them.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::model::{FrontendId, ServerKey};

/// Names one listener of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListenerId(pub(super) u64);

/// A socket that was bound for one worker.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// One of the handles to a socket that all workers share.
    Unix(UnixListener),
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Connections of a listener belong to another frontend from now on.
    Assign { listener: ListenerId, frontend: FrontendId },
    /// Accept no more on a listener and retire its connections.
    Close { listener: ListenerId },
    /// Cut the work of a server that was marked.
    Cut { server: ServerKey },
    /// Accept on a socket.
    Open { listener: ListenerId, frontend: FrontendId, socket: Bound },
    /// Stop accepting, finish what is open within the grace, end.
    Shutdown { grace: Duration },
    /// Farms may be gone.
    TableChanged,
}
