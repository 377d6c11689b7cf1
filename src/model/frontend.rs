//! A frontend: a named entry with its listeners, limits and deadlines, and the farm that it feeds.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::farm::Protocol;
use super::id::{FarmId, FrontendId, Name};

/// Deadlines towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendTimeouts {
    /// From the first byte of a request head to its last: total, however the bytes arrive.
    pub header: Duration,
    /// Between two reads of a request body.
    pub body: Duration,
    /// HTTP: between two requests of a connection. TCP: the farm's own `idle` rules.
    pub idle: Duration,
    /// For a client to take what is written to it.
    pub write: Duration,
    /// How long an upgraded connection (WebSocket) may be silent.
    pub tunnel: Duration,
}

/// Bounds on what one client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of this frontend, over all workers.
    pub connections: u32,
    /// Request line and header fields together, in bytes.
    pub header_bytes: u32,
    /// The request target, in bytes.
    pub uri_bytes: u32,
    /// A request body, in bytes.
    pub body_bytes: u64,
}

/// A frontend as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Frontend {
    /// Its numeric id, derived from its name.
    pub id: FrontendId,
    /// Its name.
    pub name: Name,
    /// What its clients speak; the farm's protocol is the same.
    pub protocol: Protocol,
    /// The addresses it listens on, as written (port 0: the system chooses).
    pub listen: Vec<SocketAddr>,
    /// The farm that takes its work.
    pub farm: FarmId,
    /// Networks whose X-Forwarded-* and Via are kept and added to, rather than replaced.
    pub trust: Vec<IpNet>,
    /// Deadlines towards clients.
    pub timeouts: FrontendTimeouts,
    /// Bounds on what a client may send.
    pub limits: Limits,
}
