//! What workers are told, and how listeners are named to them.

use std::net::TcpListener;
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
    Open { listener: ListenerId, frontend: FrontendId, socket: TcpListener },
    /// Stop accepting, finish what is open within the grace, end.
    Shutdown { grace: Duration, farewell: Farewell },
    /// Farms may be gone.
    TableChanged,
}
