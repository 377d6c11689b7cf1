//! Relays raw TCP: chooses a server, connects (another one if that fails), then moves bytes both ways until both
//! sides have ended. Each direction ends by itself (half-close); silence in both ends the connection. A side that
//! breaks off ends the other with a reset, lest what was passed on so far look whole.
//!
//! A relay holds a buffer only while it holds bytes; the others are its thread's, at most [`SPARE_PIECES_MAX`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::farm::FarmTable;
use crate::farm::choose::{Key, Tried};
use crate::metrics::{Cell, EdgeCells, StatusClass};
use crate::model::trace::{EndPhase, EndedBy, Termination};
use crate::model::{AttemptOutcome, PeerAddr, Route, Server, SessionKind, TrafficFault};
use crate::store::{Feed, FrontendTable, Table};
use crate::telemetry::access::AccessLine;

use super::http::control::TAKEN_OUT;
use super::queue::Unserved;
use super::recent::{Attempts, Ended};
use super::sessions::Handle;
use super::transport::{Client, Socket, Transport};
use super::upstream_tls::{ClientConfigs, Offer, UNEQUIPPED, Untrusted, server_name};
use super::work::{Assigned, Errand, InFlight, Work};

/// Bytes moved at once in each direction.
const PIECE_BYTES: usize = 16 * 1024;
/// Buffers that a thread keeps for relays to come.
const SPARE_PIECES_MAX: usize = 64;

thread_local! {
    static SPARE_PIECES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Where a connection goes.
pub(super) struct Course {
    /// The farm, as a position among the frontend's feeds.
    pub(super) feed: usize,
    /// The route that took it, if one did.
    pub(super) route: Option<Arc<Route>>,
}

/// Relays one client connection to its end.
///
/// `frontend` is of `table`: the connection uses the farm as it was when it was accepted.
pub(super) async fn relay(
    work: &Arc<Work>,
    table: &Table,
    frontend: &FrontendTable,
    course: Course,
    mut client: Transport,
    from: &Client,
    configs: &ClientConfigs,
) {
    let id = work.next_request_id();
    let started = clock::monotonic();
    let Some(feed) = frontend.feeds.get(course.feed) else { return };
    let farm = table.farm_of(feed);
    let cut = Arc::new(Notify::new());
    let mut tries = Tries::default();
    let connected = Box::pin(connect(work, farm, feed, (&client, from, configs), &cut, &mut tries)).await;
    let Tries { mut attempts, queue, unreached } = tries;
    let outcome = match connected {
        Err(why) => {
            if let Some(refusal) = why.refusal() {
                frontend.cells.of(work.ix).refused[refusal as usize].add(1);
            }
            // The last server that could not be reached says more than that none is left.
            let unreached = unreached.filter(|_| why == Unserved::NoServer);
            let by = if unreached == Some(Unreached::Late) { EndedBy::ServerTimeout } else { why.ended_by() };
            let reason = unreached.and_then(Unreached::reason).unwrap_or_else(|| why.reason(SessionKind::Connection));
            let (reason, termination) = (Some(reason), Termination::new(by, why.phase()));
            Outcome { server: None, end: End { bytes_in: 0, bytes_out: 0, reason, termination } }
        }
        Ok(Link { mut server, position, guard }) => {
            let edge = feed.edges[position].of(work.ix);
            let bounds = Bounds { idle: farm.farm.timeouts.idle, session: frontend.frontend.timeouts.session };
            let end = pump_both(&mut client, &mut server, &bounds, edge, &cut).await;
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
        client: from.address.ip(),
        frontend: frontend.frontend.id,
        route: course.route.as_ref().map(|route| route.id),
        given: Some((farm.farm.id, table.generation)),
        attempts,
        duration: started.elapsed(),
        queue,
        reason: outcome.end.reason,
        termination: outcome.end.termination,
        ..Ended::new(id)
    });
    if let Some(access) = &work.access {
        let name = |position: usize| (farm.farm.name.as_str(), farm.servers[position].server.name.as_str());
        access.write(&AccessLine {
            client: from.address,
            frontend: frontend.frontend.name.as_str(),
            route: course.route.as_ref().map_or("", |route| route.name.as_str()),
            server: outcome.server.map(name),
            method: "TCP",
            bytes_in: outcome.end.bytes_in,
            bytes_out: outcome.end.bytes_out,
            duration: started.elapsed(),
            queue,
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
    server: Transport,
    position: usize,
    guard: InFlight,
}

async fn connect(
    work: &Arc<Work>,
    farm: &FarmTable,
    feed: &Feed,
    (client, from, configs): (&Transport, &Client, &ClientConfigs),
    cut: &Arc<Notify>,
    tries: &mut Tries,
) -> Result<Link, Unserved> {
    let key = Key { source: from.address.ip(), uri: None };
    let mut tried = Tried::default();
    let mut left: Option<&EdgeCells> = None;
    for _ in 0..=u32::from(farm.farm.retry_attempts) {
        let errand = Errand { farm, key, headers: None, tried: &tried, kind: SessionKind::Connection };
        let given = work.give(&errand, &Handle::Tcp(Arc::clone(cut)), client.left(), &mut tries.queue).await?;
        let Assigned { position, chosen_by, mut guard, .. } = given;
        tries.attempts.begin(farm.servers[position].server.id, chosen_by);
        if let Some(left) = left {
            left.retries.add(1);
        }
        let addr = farm.servers[position].addr.as_ref().ok_or(Unserved::NoServer)?;
        let edge = feed.edges[position].of(work.ix);
        let reaching = reach(addr, &farm.servers[position].server, from, configs);
        let connecting = tokio::time::timeout(farm.farm.timeouts.connect, reaching);
        match unless_cut(cut, connecting).await {
            Some(Ok(Ok(server))) => {
                work.judge(farm, position, None);
                guard.answered();
                return Ok(Link { server, position, guard });
            }
            Some(failed) => {
                let unreached = failed.map_or(Unreached::Late, |reached| reached.err().unwrap_or(Unreached::Late));
                if let Some(why) = unreached.reason() {
                    edge.tls_failures.add(1);
                    configs.say(addr, &why);
                }
                edge.connect_failures.add(1);
                work.judge(farm, position, Some(TrafficFault::Connect));
                tries.attempts.end(AttemptOutcome::NotConnected);
                tries.unreached = Some(unreached);
            }
            None => tries.attempts.end(AttemptOutcome::TakenOut),
        }
        left = Some(edge);
        tried.add(position);
        // A server that is not there was given no work.
        let is_free = matches!(tries.unreached, Some(Unreached::Refused));
        if tried.len() <= usize::from(farm.farm.retry_attempts) && !is_free && !farm.may_retry(work.now_ms()) {
            break;
        }
    }
    Err(Unserved::NoServer)
}

/// What is told of the attempts at servers.
#[derive(Default)]
struct Tries {
    attempts: Attempts,
    /// How long the connection waited for servers to have room, if it had to.
    queue: Option<Duration>,
    /// Why there is no way to the last server that was tried.
    unreached: Option<Unreached>,
}

/// Why there is no way to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreached {
    /// It took too long.
    Late,
    /// No connection was made, or it ended before it was ready.
    Refused,
    /// There is nothing to make a TLS handshake with.
    Unequipped,
    /// There was no TLS.
    Untrusted(Untrusted),
}

impl Unreached {
    /// Returns it in words for the log and the trace, where more is known than that there was no connection.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Late | Self::Refused => None,
            Self::Unequipped => Some(UNEQUIPPED),
            Self::Untrusted(kind) => Some(kind.as_str()),
        }
    }
}

/// Connects to a server: tells it of the client where it wants to know, and then speaks TLS where it does.
async fn reach(
    addr: &PeerAddr,
    server: &Server,
    from: &Client,
    configs: &ClientConfigs,
) -> Result<Transport, Unreached> {
    let refused = |error: io::Error| {
        tracing::debug!(server = %server.name, %addr, %error, "connect failed");
        Unreached::Refused
    };
    let mut stream = Socket::connect(addr).await.map_err(refused)?;
    if let Some(form) = server.proxy_protocol {
        stream.write_all(&from.proxy_header(form)).await.map_err(refused)?;
    }
    let Some(settings) = &server.tls else { return Ok(stream.into()) };
    if let Some(look) = configs.look(settings, Offer::Nothing) {
        look.await;
    }
    let with = configs.profile(settings, Offer::Nothing);
    let with = with.and_then(|profile| Ok((profile.config, server_name(settings, &server.address.host)?)));
    let (config, name) = with.map_err(|why| {
        tracing::debug!(server = %server.name, %addr, %why, "connect failed");
        Unreached::Unequipped
    })?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
        tracing::debug!(server = %server.name, %addr, %error, "connect failed");
        Unreached::Untrusted(Untrusted::of(&error))
    })?;
    Ok(Transport::tls(stream.into()))
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

/// How long a relay may last.
struct Bounds {
    /// While both sides are silent.
    idle: Duration,
    /// Whatever they do.
    session: Option<Duration>,
}

impl Bounds {
    async fn end_of_session(&self) {
        match self.session {
            Some(session) => tokio::time::sleep(session).await,
            None => std::future::pending().await,
        }
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
    client: &mut Transport,
    server: &mut Transport,
    bounds: &Bounds,
    edge: &EdgeCells,
    cut: &Notify,
) -> End {
    let activity = Activity { began: clock::monotonic(), last_ms: AtomicU64::new(0) };
    let mut inward = Way::new([EndedBy::Client, EndedBy::Server], &activity, &edge.bytes_in);
    let mut outward = Way::new([EndedBy::Server, EndedBy::Client], &activity, &edge.bytes_out);
    let (is_broken, reason, by) = {
        let both = poll_fn(|cx| {
            let is_inward_over = inward.poll(client, server, cx)?.is_ready();
            let is_outward_over = outward.poll(server, client, cx)?.is_ready();
            if is_inward_over && is_outward_over { Poll::Ready(Result::<(), EndedBy>::Ok(())) } else { Poll::Pending }
        });
        tokio::select! {
            ended = both => match ended {
                Ok(()) => (false, None, EndedBy::Nobody),
                Err(side) => (true, Some("a side broke off"), side),
            },
            // Who of the two should have spoken nobody can tell; HAProxy says so of the client.
            () = activity.silence(bounds.idle) => (false, Some("both sides were silent"), EndedBy::ClientTimeout),
            () = bounds.end_of_session() => {
                (true, Some("the connection has lasted as long as it may"), EndedBy::Proxy)
            }
            () = cut.notified() => (true, Some(TAKEN_OUT), EndedBy::TakenOut),
        }
    };
    let (bytes_in, bytes_out) = (inward.moved, outward.moved);
    if is_broken {
        for side in [client, server] {
            // Fails for the side that is gone.
            let _ = side.set_zero_linger();
        }
    }
    let termination = if by == EndedBy::Nobody { Termination::WELL } else { Termination::new(by, EndPhase::Data) };
    End { bytes_in, bytes_out, reason, termination }
}

/// Bytes on their way from one side to the other.
struct Way<'a> {
    /// Who is to blame where reading fails, and where writing does.
    sides: [EndedBy; 2],
    /// There while bytes are held: read and not yet written are `piece[start..end]`.
    piece: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    stage: Stage,
    activity: &'a Activity,
    counted: &'a Cell,
    /// Bytes that the target took.
    moved: u64,
    /// Whether the target may hold back what was written to it.
    is_unflushed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Bytes may come.
    Open,
    /// The source has ended.
    Ending,
    /// The target knows.
    Ended,
}

impl<'a> Way<'a> {
    fn new(sides: [EndedBy; 2], activity: &'a Activity, counted: &'a Cell) -> Self {
        Self {
            sides,
            piece: None,
            start: 0,
            end: 0,
            stage: Stage::Open,
            activity,
            counted,
            moved: 0,
            is_unflushed: false,
        }
    }

    /// Moves bytes until the source ends, then closes this way of the target. The error is who broke off.
    fn poll(&mut self, from: &mut Transport, to: &mut Transport, cx: &mut Context<'_>) -> Poll<Result<(), EndedBy>> {
        let [_, target] = self.sides;
        loop {
            // Piece by piece, as the target takes them: one that takes little at a time is not silent.
            while let Some(piece) = self.piece.as_deref().filter(|_| self.start < self.end) {
                let taken = ready!(Pin::new(&mut *to).poll_write(cx, &piece[self.start..self.end]));
                let taken = taken.map_err(|_| target)?;
                if taken == 0 {
                    return Poll::Ready(Err(target));
                }
                self.start += taken;
                self.moved += taken as u64;
                self.is_unflushed = true;
                self.counted.add(taken as u64);
                self.activity.touch();
            }
            match self.stage {
                Stage::Open => ready!(self.poll_piece(from, to, cx))?,
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| target)?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads the next piece; while there is none, what the target holds back is sent on its way.
    fn poll_piece(
        &mut self,
        from: &mut Transport,
        to: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), EndedBy>> {
        let [source, target] = self.sides;
        let mut piece = self.piece.take().unwrap_or_else(spare_piece);
        let mut room = ReadBuf::new(&mut piece);
        let polled = Pin::new(from).poll_read(cx, &mut room);
        let read = room.filled().len();
        if read > 0 {
            self.piece = Some(piece)
        } else {
            keep_piece(piece)
        }
        if polled.is_pending() && self.is_unflushed {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| target)?;
            self.is_unflushed = false;
        }
        ready!(polled).map_err(|_| source)?;
        self.activity.touch();
        (self.start, self.end) = (0, read);
        if read == 0 {
            self.stage = Stage::Ending;
        }
        Poll::Ready(Ok(()))
    }
}

fn spare_piece() -> Box<[u8]> {
    let spare = SPARE_PIECES.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice())
}

fn keep_piece(piece: Box<[u8]>) {
    SPARE_PIECES.with_borrow_mut(|spares| {
        if spares.len() < SPARE_PIECES_MAX {
            spares.push(piece);
        }
    });
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
