//! Counters of one worker each, padded so that no two workers share a cache line.
//!
//! A [`Cell`] has one writer (its worker's thread) and any number of readers, so adding is a plain load and store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::model::CheckStatus;

use super::handshakes::HandshakeCells;

/// The position of a data-plane worker: 0..workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerIx(pub usize);

/// A number with one writer and many readers.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning worker may call it.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away; saturates at 0. Only the owning worker may call it.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(n), Relaxed);
    }

    /// Returns the value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` for each worker.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    /// Returns fresh cells for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::new(T::default())).collect())
    }
}

impl<T> PerWorker<T> {
    /// Returns the cells of one worker. Panics outside 0..workers: workers are numbered once, at start.
    #[must_use]
    pub fn of(&self, worker: WorkerIx) -> &T {
        &self.0[worker.0]
    }

    /// Returns the cells of every worker.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// Returns the sum over the workers of what `read` returns.
    pub fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(read).fold(0, u64::wrapping_add)
    }
}

/// The class of an HTTP status, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// 1xx (101 Switching Protocols ends a request).
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// No status was sent: the client left, or the protocol has none.
    None,
}

impl StatusClass {
    /// Every class, in the order of [`EdgeCells::requests`].
    pub const ALL: [Self; 6] =
        [Self::Informational, Self::Success, Self::Redirection, Self::ClientError, Self::ServerError, Self::None];

    /// Returns the class of a status; 0 is [`Self::None`].
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// Returns the value of the `code` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::None => "none",
        }
    }
}

/// Upper bounds of the duration buckets, in microseconds; one more bucket takes the rest.
pub const DURATION_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram of durations with one writer.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations per bucket (not cumulative); the last takes what exceeds every bound.
    pub buckets: [Cell; DURATION_BOUNDS_US.len() + 1],
    /// Sum of the observations, in microseconds.
    pub sum_us: Cell,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[DURATION_BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
        self.sum_us.add(us);
    }
}

/// What one worker counts of the work that one frontend gave to one server.
#[derive(Debug, Default)]
pub struct EdgeCells {
    /// Requests (TCP: connections, in [`StatusClass::None`]) by class of the status sent to the client.
    pub requests: [Cell; 6],
    /// Bytes from the client towards the server (bodies; TCP: everything).
    pub bytes_in: Cell,
    /// Bytes from the server towards the client (bodies; TCP: everything).
    pub bytes_out: Cell,
    /// Connections to the server that failed.
    pub connect_failures: Cell,
    /// Those of them that failed in TLS.
    pub tls_failures: Cell,
    /// Requests that left this server for another one.
    pub retries: Cell,
    /// From the request's head to the end of its response (TCP: the connection's life).
    pub duration: Histogram,
}

/// Why a client was refused by Farmgate itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400.
    BadRequest,
    /// The request body stalled: 408.
    BodyTimeout,
    /// 413.
    BodyTooLarge,
    /// TCP: a TLS client hello that cannot be read, or not to its end.
    ClientHello,
    /// TCP: the TLS client hello did not arrive in time.
    ClientHelloTimeout,
    /// Over the frontend's connection limit.
    ConnectionLimit,
    /// HTTP/2: too many frames that only ask for an answer, or change nothing.
    ControlFrames,
    /// HTTP/2: too many frames of no bytes.
    EmptyFrames,
    /// HTTP/2: a head in too many frames, or otherwise more than the engine takes.
    HeaderFrames,
    /// 431.
    HeaderTooLarge,
    /// The request head did not arrive in time.
    HeaderTimeout,
    /// The frontend is closed for maintenance.
    Maintenance,
    /// No server was eligible: 503 (TCP: closed).
    NoServer,
    /// No PROXY header, or a malformed one, from a network that begins with one.
    ProxyHeader,
    /// The PROXY header did not arrive in time.
    ProxyHeaderTimeout,
    /// Every server was full, and so was the line: 503 (TCP: closed).
    QueueFull,
    /// Every server was full for as long as work may wait: 503 (TCP: closed).
    QueueTimeout,
    /// Asked more often than one client may: 429.
    Rate,
    /// A route rejects it.
    Rejected,
    /// From a network that may not connect.
    SourceDenied,
    /// Over the connection limit of one source.
    SourceLimit,
    /// HTTP/2: too many streams were reset.
    StreamResets,
    /// 414.
    UriTooLong,
}

impl Refusal {
    /// Every reason, in the order of [`FrontendCells::refused`].
    pub const ALL: [Self; 23] = [
        Self::BadRequest,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::ClientHello,
        Self::ClientHelloTimeout,
        Self::ConnectionLimit,
        Self::ControlFrames,
        Self::EmptyFrames,
        Self::HeaderFrames,
        Self::HeaderTooLarge,
        Self::HeaderTimeout,
        Self::Maintenance,
        Self::NoServer,
        Self::ProxyHeader,
        Self::ProxyHeaderTimeout,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Rate,
        Self::Rejected,
        Self::SourceDenied,
        Self::SourceLimit,
        Self::StreamResets,
        Self::UriTooLong,
    ];

    /// Returns the value of the `reason` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::ClientHello => "client_hello",
            Self::ClientHelloTimeout => "client_hello_timeout",
            Self::ConnectionLimit => "connection_limit",
            Self::ControlFrames => "control_frames",
            Self::EmptyFrames => "empty_frames",
            Self::HeaderFrames => "header_frames",
            Self::HeaderTooLarge => "header_too_large",
            Self::HeaderTimeout => "header_timeout",
            Self::Maintenance => "maintenance",
            Self::NoServer => "no_server",
            Self::ProxyHeader => "proxy_header",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Rate => "rate",
            Self::Rejected => "rejected",
            Self::SourceDenied => "source_denied",
            Self::SourceLimit => "source_limit",
            Self::StreamResets => "stream_resets",
            Self::UriTooLong => "uri_too_long",
        }
    }
}

/// What became of a copy of a request for a second farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirrored {
    /// It was answered, whatever the answer.
    Answered,
    /// No connection, no answer in time, or half of one.
    Failed,
    /// It was not sent: no server, a body too long to copy, too many copies at once.
    Skipped,
}

impl Mirrored {
    /// Every end, in the order of [`FrontendCells::mirrored`].
    pub const ALL: [Self; 3] = [Self::Answered, Self::Failed, Self::Skipped];

    /// Returns the value of the `result` label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What one worker counts of one frontend.
#[derive(Debug, Default)]
pub struct FrontendCells {
    /// Connections accepted.
    pub connections: Cell,
    /// Connections open now.
    pub connections_open: Cell,
    /// Times that accepting rested because descriptors were nearly gone.
    pub accept_rests: Cell,
    /// Clients refused, in the order of [`Refusal::ALL`].
    pub refused: [Cell; Refusal::ALL.len()],
    /// Copies of requests, in the order of [`Mirrored::ALL`].
    pub mirrored: [Cell; Mirrored::ALL.len()],
    /// Responses that Farmgate made itself, by class of their status.
    pub own_answers: [Cell; 6],
    /// TLS handshakes.
    pub handshakes: HandshakeCells,
}

/// What is counted of the checks of one server. Written by the Store alone.
#[derive(Debug, Default)]
pub struct CheckCells {
    /// Checks by status, in the order of `CheckStatus::ALL`.
    pub by_status: [Cell; CheckStatus::ALL.len()],
    /// How long they took.
    pub duration: Histogram,
    /// Times the server went from any health to Up.
    pub to_up: Cell,
    /// Times the server went from any health to Down.
    pub to_down: Cell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_puts_a_bound_into_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_micros(501));
        histogram.observe(Duration::from_secs(60));
        assert_eq!(histogram.buckets[0].value(), 1);
        assert_eq!(histogram.buckets[1].value(), 1);
        assert_eq!(histogram.buckets[DURATION_BOUNDS_US.len()].value(), 1);
    }
}
