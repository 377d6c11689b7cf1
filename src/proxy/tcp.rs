//! Relays raw TCP: chooses a server, connects (another one if that fails), then moves bytes both ways until both
//! sides have ended. Each direction ends by itself (half-close); silence in both ends the connection. A side that
//! breaks off ends the other with a reset, lest what was passed on so far look whole.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;

use crate::clock;
use crate::farm::FarmTable;
use crate::farm::choose::{Key, Tried};
use crate::metrics::{Cell, EdgeCells, Refusal, StatusClass};
use crate::model::trace::{EndPhase, EndedBy, Termination};
use crate::model::{AttemptOutcome, SessionKind, TrafficFault};
use crate::store::{Feed, FrontendTable, Table};
use crate::telemetry::access::AccessLine;

use super::http::control::TAKEN_OUT;
use super::recent::{Attempts, Ended};
use super::sessions::Handle;
use super::work::{Assigned, Errand, InFlight, Work, canonical};

/// Bytes moved at once in each direction.
const PIECE_BYTES: usize = 16 * 1024;

/// Relays one client connection to its end.
///
/// `frontend` is of `table`: the connection uses the farm as it was when it was accepted.
pub(super) async fn relay(
    work: Arc<Work>,
    table: Arc<Table>,
    frontend: Arc<FrontendTable>,
    mut client: TcpStream,
    from: SocketAddr,
) {
    let id = work.next_request_id();
    let started = clock::monotonic();
    let Some(feed) = frontend.default_feed().map(|feed| &frontend.feeds[feed]) else { return };
    let farm = table.farm_of(feed);
    let cut = Arc::new(Notify::new());
    let mut attempts = Attempts::default();
    let outcome = match connect(&work, farm, feed, from, &cut, &mut attempts).await {
        None => {
            frontend.cells.of(work.ix).refused[Refusal::NoServer as usize].add(1);
            let reason = Some("no server can take the connection now");
            let termination = Termination::new(EndedBy::Server, EndPhase::Connect);
            Outcome { server: None, end: End { bytes_in: 0, bytes_out: 0, reason, termination } }
        }
        Some(Link { mut server, position, guard }) => {
            let edge = feed.edges[position].of(work.ix);
            let end = pump_both(&mut client, &mut server, farm.farm.timeouts.idle, edge, &cut).await;
            drop(guard);
            if end.reason == Some(TAKEN_OUT) {
                attempts.end(AttemptOutcome::TakenOut);
            }
            edge.requests[StatusClass::None as usize].add(1);
            edge.duration.observe(started.elapsed());
            Outcome { server: Some(position), end }
        }
    };
    work.remember(Ended {
        client: canonical(from.ip()),
        frontend: frontend.frontend.id,
        given: Some((farm.farm.id, table.generation)),
        attempts,
        duration: started.elapsed(),
        reason: outcome.end.reason,
        termination: outcome.end.termination,
        ..Ended::new(id)
    });
    if let Some(access) = &work.access {
        let name = |position: usize| (farm.farm.name.as_str(), farm.servers[position].server.name.as_str());
        access.write(&AccessLine {
            client: SocketAddr::new(canonical(from.ip()), from.port()),
            frontend: frontend.frontend.name.as_str(),
            server: outcome.server.map(name),
            method: "TCP",
            bytes_in: outcome.end.bytes_in,
            bytes_out: outcome.end.bytes_out,
            duration: started.elapsed(),
            retries: attempts.retries(),
            reason: outcome.end.reason,
            termination: outcome.end.termination,
            ..AccessLine::new(&id)
        });
    }
}

/// What became of a connection.
struct Outcome {
    server: Option<usize>,
    end: End,
}

/// An open way to a server.
struct Link {
    server: TcpStream,
    position: usize,
    guard: InFlight,
}

async fn connect(
    work: &Arc<Work>,
    farm: &FarmTable,
    feed: &Feed,
    from: SocketAddr,
    cut: &Arc<Notify>,
    attempts: &mut Attempts,
) -> Option<Link> {
    let key = Key { source: canonical(from.ip()), uri: None };
    let mut tried = Tried::default();
    let mut left: Option<&EdgeCells> = None;
    for _ in 0..=u32::from(farm.farm.retry_attempts) {
        let errand = Errand { farm, key, headers: None, tried: &tried, kind: SessionKind::Connection };
        let Assigned { position, chosen_by, guard, .. } = work.assign(&errand, Handle::Tcp(Arc::clone(cut)))?;
        attempts.begin(farm.servers[position].server.id, chosen_by);
        if let Some(left) = left {
            left.retries.add(1);
        }
        let addr = farm.servers[position].addr?;
        let edge = feed.edges[position].of(work.ix);
        let connecting = tokio::time::timeout(farm.farm.timeouts.connect, TcpStream::connect(addr));
        match unless_cut(cut, connecting).await.map(|connected| connected.map_err(io::Error::from).flatten()) {
            Some(Ok(server)) => {
                work.judge(farm, position, None);
                // Small exchanges must not wait for more; a failure only costs latency.
                let _ = server.set_nodelay(true);
                return Some(Link { server, position, guard });
            }
            Some(Err(error)) => {
                let server = &farm.servers[position].server.name;
                tracing::debug!(farm = %farm.farm.name, %server, %error, "connect failed");
                edge.connect_failures.add(1);
                work.judge(farm, position, Some(TrafficFault::Connect));
                attempts.end(AttemptOutcome::NotConnected);
            }
            None => attempts.end(AttemptOutcome::TakenOut),
        }
        left = Some(edge);
        tried.add(position);
    }
    None
}

/// Returns what an attempt came to; nothing if it was cut. A cut is taken note of even where the attempt ends at the same
/// moment: left over, it would cut the next one, at another server.
async fn unless_cut<T>(cut: &Notify, attempt: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = cut.notified() => None,
        ended = attempt => Some(ended),
    }
}

/// How a relay ended.
#[derive(Debug)]
struct End {
    bytes_in: u64,
    bytes_out: u64,
    reason: Option<&'static str>,
    termination: Termination,
}

/// When bytes last moved, in milliseconds since the relay began.
struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn touch(&self) {
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns once nothing has moved for `idle`.
    async fn silence(&self, idle: Duration) {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        loop {
            let quiet_ms = self.now_ms().saturating_sub(self.last_ms.load(Relaxed));
            if quiet_ms >= idle_ms {
                return;
            }
            tokio::time::sleep(Duration::from_millis(idle_ms - quiet_ms)).await;
        }
    }
}

async fn pump_both(
    client: &mut TcpStream,
    server: &mut TcpStream,
    idle: Duration,
    edge: &EdgeCells,
    cut: &Notify,
) -> End {
    let activity = Activity { began: clock::monotonic(), last_ms: AtomicU64::new(0) };
    let (bytes_in, bytes_out) = (AtomicU64::new(0), AtomicU64::new(0));
    let (is_broken, reason, by) = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let (client, server) = (EndedBy::Client, EndedBy::Server);
        let inward = pump((client_read, client), (server_write, server), &activity, &bytes_in, &edge.bytes_in);
        let outward = pump((server_read, server), (client_write, client), &activity, &bytes_out, &edge.bytes_out);
        tokio::select! {
            ended = async { tokio::try_join!(inward, outward) } => match ended {
                Ok(_) => (false, None, EndedBy::Nobody),
                Err(side) => (true, Some("a side broke off"), side),
            },
            // Who of the two should have spoken nobody can tell; HAProxy says so of the client.
            () = activity.silence(idle) => (false, Some("both sides were silent"), EndedBy::ClientTimeout),
            () = cut.notified() => (true, Some(TAKEN_OUT), EndedBy::TakenOut),
        }
    };
    if is_broken {
        for side in [client, server] {
            // Fails for the side that is gone.
            let _ = side.set_zero_linger();
        }
    }
    let termination = if by == EndedBy::Nobody { Termination::WELL } else { Termination::new(by, EndPhase::Data) };
    End { bytes_in: bytes_in.into_inner(), bytes_out: bytes_out.into_inner(), reason, termination }
}

/// Moves bytes one way until the source ends, then closes that way of the target. The error is who broke off.
async fn pump(
    (mut from, source): (ReadHalf<'_>, EndedBy),
    (mut to, target): (WriteHalf<'_>, EndedBy),
    activity: &Activity,
    moved: &AtomicU64,
    counted: &Cell,
) -> Result<(), EndedBy> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = from.read(&mut piece).await.map_err(|_| source)?;
        activity.touch();
        if n == 0 {
            return to.shutdown().await.map_err(|_| target);
        }
        let mut left = &piece[..n];
        while !left.is_empty() {
            // Piece by piece, as the target takes them: one that takes little at a time is not silent.
            let taken = to.write(left).await.map_err(|_| target)?;
            left = &left[taken..];
            activity.touch();
            moved.fetch_add(taken as u64, Relaxed);
            counted.add(taken as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cut_of_an_attempt_that_ends_at_once_is_not_left_for_the_next_one() {
        for _ in 0..100 {
            let cut = Notify::new();
            cut.notify_one();
            let first = unless_cut(&cut, std::future::ready(1)).await;
            assert_eq!((first, unless_cut(&cut, std::future::ready(2)).await), (None, Some(2)));
        }
    }
}
