//! One client connection, as its stream and the engine share it.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use http::HeaderValue;
use nix::sys::socket::{Shutdown, shutdown};

use crate::metrics::{FrontendCells, Refusal, StatusClass};
use crate::model::trace::{EndPhase, EndedBy, Termination};
use crate::store::FrontendTable;
use crate::telemetry::access::AccessLine;

use super::super::owner::Owner;
use super::super::queue::LOOK;
use super::super::recent::Ended;
use super::super::transport::Client;
use super::super::work::{RequestId, Work};
use super::h2::progress::Progress;
use super::head::Fault;
use super::kept;

/// Why work ends that was open on a server when the operator had it closed.
pub(in crate::proxy) const TAKEN_OUT: &str = "the server was taken out of service";

/// A client connection of an HTTP frontend.
pub struct Connection {
    pub(in crate::proxy) work: Arc<Work>,
    /// The frontend as it was when the connection was accepted: its limits and deadlines hold for the connection.
    pub(in crate::proxy) frontend: Arc<FrontendTable>,
    /// The frontend that its requests are of now.
    pub(in crate::proxy) owner: Owner,
    /// Who it is from, and how it came.
    pub(in crate::proxy) from: Client,
    /// The client's address.
    pub(in crate::proxy) client: SocketAddr,
    /// The client's address as X-Forwarded-For has it.
    pub(in crate::proxy) client_text: HeaderValue,
    /// HTTP/2: the connection that this is a request of.
    parent: Option<Arc<Self>>,
    /// HTTP/2: how far the request has come.
    progress: OnceLock<Progress>,
    signals: Mutex<Signals>,
    /// The answer under way was cut: what comes next is the end.
    is_broken: AtomicBool,
    /// The socket to the client, where it carries one request at a time; negative where it is not known.
    socket: AtomicI32,
}

/// What the engine tells the stream, and the other way round.
#[derive(Default)]
struct Signals {
    /// The engine's callbacks have seen the request.
    is_taken_up: bool,
    /// The request that the engine holds was answered: the next one may be read.
    is_answered: bool,
    /// The connection was upgraded: bytes pass as they are.
    is_tunnel: bool,
    /// The connection ends with a reset.
    is_aborted: bool,
    /// No further request is wanted.
    is_retired: bool,
    /// One more request is answered, as the last one.
    is_leaving: bool,
    /// Why the stream ended the request.
    fault: Option<Fault>,
    awaited: Option<Awaited>,
    waker: Option<Waker>,
    /// Wakes the task that serves the connection.
    task: Option<Waker>,
    stage: Stage,
    /// The attempt under way, or the one that ended last, was cut.
    is_cut: bool,
    /// The attempt under way is late.
    is_given_up: bool,
}

/// How far the attempt at a server has come.
#[derive(Clone, Copy, Default)]
enum Stage {
    /// The server's answer is on its way to the client.
    Answering,
    /// Being connected.
    Connecting,
    /// None is under way.
    #[default]
    None,
    /// The request goes, or went, through a connection that it shares with others, and the server has not begun its final
    /// answer.
    Sharing,
    /// The request goes, or went, through this socket, and the server has not begun its final answer. The socket is
    /// open: whatever closes it ends this stage before anything else of the worker's thread has a turn.
    Waiting { socket: RawFd },
}

/// What is awaited of the server.
#[derive(Clone, Copy)]
enum Awaited {
    /// Its answer to an attempt that began then, so long after that or after the end of the request, whichever is
    /// later.
    Answer { began: Instant, within: Duration },
    /// More of its answer, so long after the last of it.
    More { within: Duration },
}

impl Connection {
    pub(in crate::proxy) fn new(
        work: Arc<Work>,
        frontend: Arc<FrontendTable>,
        owner: Owner,
        from: Client,
    ) -> Arc<Self> {
        let client = from.address;
        // An address is never anything but visible ASCII.
        let client_text = HeaderValue::try_from(client.ip().to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Arc::new(Self {
            work,
            frontend,
            owner,
            from,
            client,
            client_text,
            parent: None,
            progress: OnceLock::new(),
            signals: Mutex::default(),
            is_broken: AtomicBool::new(false),
            socket: AtomicI32::new(-1),
        })
    }

    /// Returns what one request of an HTTP/2 connection has for itself: it is answered, cut and late by itself.
    pub(super) fn stream_of(connection: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            work: Arc::clone(&connection.work),
            frontend: Arc::clone(&connection.frontend),
            owner: connection.owner.clone(),
            from: connection.from.clone(),
            client: connection.client,
            client_text: connection.client_text.clone(),
            parent: Some(Arc::clone(connection)),
            progress: OnceLock::new(),
            signals: Mutex::default(),
            is_broken: AtomicBool::new(false),
            socket: AtomicI32::new(-1),
        })
    }

    /// Says that a request of HTTP/2 begins; returns how far it has come.
    pub(super) fn begin_progress(&self, is_grpc: bool, is_whole: bool) -> &Progress {
        self.progress.get_or_init(|| Progress::new(is_grpc, is_whole, &self.frontend.frontend.limits))
    }

    /// Returns how far the request has come, if it is one of HTTP/2.
    pub(in crate::proxy) fn progress(&self) -> Option<&Progress> {
        self.progress.get()
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the engine's callbacks have seen the request.
    pub(in crate::proxy) fn taken_up(&self) {
        self.signals().is_taken_up = true;
    }

    /// Returns whether they have, and clears it.
    pub(super) fn take_taken_up(&self) -> bool {
        std::mem::take(&mut self.signals().is_taken_up)
    }

    /// Says that the engine is done with the request it holds.
    pub(in crate::proxy) fn answered(&self) {
        self.signals().is_answered = true;
    }

    /// Says that the connection was upgraded.
    pub(in crate::proxy) fn upgraded(&self) {
        let mut signals = self.signals();
        signals.is_tunnel = true;
        signals.awaited = None;
    }

    /// Makes the end of the connection a reset: what was sent so far must not look whole.
    pub(in crate::proxy) fn abort(&self) {
        self.signals().is_aborted = true;
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.signals().is_aborted
    }

    /// Sets how long the server may take to answer the whole request, however its bytes arrive.
    pub(in crate::proxy) fn expect_answer_within(&self, deadline: Duration) {
        self.signals().awaited = Some(Awaited::Answer { began: crate::clock::monotonic(), within: deadline });
    }

    /// Says that the server answered, and sets how long it may pause from now on.
    pub(in crate::proxy) fn expect_more_within(&self, pause: Duration) {
        let mut signals = self.signals();
        signals.awaited = Some(Awaited::More { within: pause });
        signals.stage = Stage::Answering;
    }

    /// Says that the server answered.
    pub(in crate::proxy) fn answer_began(&self) {
        let mut signals = self.signals();
        signals.awaited = None;
        signals.stage = Stage::Answering;
    }

    /// Names the task that serves the connection from now on.
    pub(in crate::proxy) fn runs_in(&self, task: &Waker) {
        self.signals().task = Some(task.clone());
    }

    /// Names the socket to the client, which carries one request at a time and stays open as long as this one is served.
    pub(in crate::proxy) fn is_on(&self, socket: RawFd) {
        self.socket.store(socket, Relaxed);
    }

    /// Ready once the client has closed its side or is gone, as far as can be seen: not behind bytes of it that are unread,
    /// nor where many requests share a connection. Costs one call to the system each time it looks.
    pub(in crate::proxy) async fn left(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let socket = self.socket.load(Relaxed);
            if socket >= 0 && kept::is_closed(socket) {
                return;
            }
        }
    }

    /// Says that a request is to go to a server.
    pub(in crate::proxy) fn attempt_began(&self) {
        let mut signals = self.signals();
        signals.stage = Stage::Connecting;
        signals.is_cut = false;
        signals.is_given_up = false;
    }

    /// Says through which socket the attempt goes; returns whether it may, not having been cut.
    pub(in crate::proxy) fn attempt_goes_through(&self, socket: RawFd) -> bool {
        let mut signals = self.signals();
        signals.stage = if signals.is_cut { Stage::Connecting } else { Stage::Waiting { socket } };
        !signals.is_cut
    }

    /// The same for an attempt whose connection other requests go through as well.
    pub(in crate::proxy) fn attempt_shares(&self) -> bool {
        let mut signals = self.signals();
        signals.stage = if signals.is_cut { Stage::Connecting } else { Stage::Sharing };
        !signals.is_cut
    }

    /// Ends the attempt that waits for its server's answer; returns whether it could. Its connection is broken, unless
    /// others share it: there whoever makes the attempt gives it up.
    pub(super) fn end_attempt(&self) -> bool {
        let mut signals = self.signals();
        match signals.stage {
            Stage::Sharing => {
                signals.is_given_up = true;
                true
            }
            Stage::Waiting { socket } => {
                // Fails for a connection that is broken already.
                let _ = shutdown(socket, Shutdown::Both);
                true
            }
            Stage::Answering | Stage::Connecting | Stage::None => false,
        }
    }

    /// Returns whether the attempt that shares a connection, and waits for its server's answer, is to end: it was cut, or
    /// is late. Whoever brings that about wakes the task that serves the request.
    pub(in crate::proxy) fn is_given_up(&self) -> bool {
        let signals = self.signals();
        matches!(signals.stage, Stage::Sharing) && (signals.is_given_up || signals.is_cut)
    }

    /// Says that the attempt goes on, through another socket.
    pub(in crate::proxy) fn attempt_reconnects(&self) {
        self.signals().stage = Stage::Connecting;
    }

    /// Says that the attempt is over.
    pub(in crate::proxy) fn attempt_ended(&self) {
        let mut signals = self.signals();
        signals.stage = Stage::None;
        signals.awaited = None;
    }

    /// Cuts the attempt under way. Before the server's answer its connection is shut down, and the engine learns that
    /// it broke; afterwards the client's connection ends with a reset. One that is being connected is cut once that is
    /// done, which takes no longer than a connection may. Only on the worker's own thread.
    pub(in crate::proxy) fn cut(&self) {
        let mut signals = self.signals();
        match signals.stage {
            Stage::None => return,
            // Whoever makes an attempt that shares a connection looks after it by itself.
            Stage::Connecting | Stage::Sharing => {}
            Stage::Waiting { socket } => {
                // Fails for a connection that is broken already.
                let _ = shutdown(socket, Shutdown::Both);
            }
            Stage::Answering => {
                signals.is_aborted = true;
                self.is_broken.store(true, Relaxed);
            }
        }
        signals.is_cut = true;
        let task = signals.task.clone();
        drop(signals);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Returns whether the attempt under way, or the one that ended last, was cut.
    pub(in crate::proxy) fn is_cut(&self) -> bool {
        self.signals().is_cut
    }

    /// Returns whether it was cut before anything was sent.
    pub(in crate::proxy) fn is_cut_unsent(&self) -> bool {
        let signals = self.signals();
        signals.is_cut && matches!(signals.stage, Stage::Connecting)
    }

    /// Returns whether the answer under way was cut: nothing more is read of the client or written to it.
    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    /// Asks for no further request: an idle connection is closed, a busy one after its answer.
    pub(in crate::proxy) fn retire(&self) {
        let waker = {
            let mut signals = self.signals();
            signals.is_retired = true;
            signals.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has the next answer, or the one under way, say that it is the last; an idle connection stays open for it.
    pub(in crate::proxy) fn leave(&self) {
        let waker = {
            let mut signals = self.signals();
            signals.is_leaving = true;
            signals.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Registers who is to be woken by [`Self::retire`] and [`Self::leave`]; returns true if either has happened: for
    /// what can tell its client beforehand that it will go.
    pub(in crate::proxy) fn wake_when_leaving(&self, waker: &Waker) -> bool {
        self.wake_when_retired(waker) || self.signals().is_leaving
    }

    /// Returns whether the answer under way is the last.
    pub(in crate::proxy) fn is_retired(&self) -> bool {
        let signals = self.signals();
        let is_retired = signals.is_retired || signals.is_leaving;
        drop(signals);
        is_retired || self.parent.as_ref().is_some_and(|parent| parent.is_retired())
    }

    /// Returns and clears why the stream ended the request.
    pub(in crate::proxy) fn take_fault(&self) -> Option<Fault> {
        self.signals().fault.take()
    }

    /// Says why the request ends.
    pub(in crate::proxy) fn set_fault(&self, fault: Fault) {
        self.signals().fault = Some(fault);
    }

    /// Returns whether the stream ended the request because the server was late.
    pub(in crate::proxy) fn is_server_late(&self) -> bool {
        matches!(self.signals().fault, Some(Fault::ResponseTimeout))
    }

    /// Returns whether the request was ended because the client was late with it.
    pub(in crate::proxy) fn is_client_late(&self) -> bool {
        matches!(self.signals().fault, Some(Fault::BodyTimeout))
    }

    /// Returns whether the request was answered, and clears it: the next one begins.
    pub(super) fn take_answered(&self) -> bool {
        let mut signals = self.signals();
        if signals.is_answered {
            signals.awaited = None;
        }
        std::mem::take(&mut signals.is_answered)
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.signals().is_tunnel
    }

    /// Returns when the server is late with what is awaited of it: the request ended at `ended`, and `last_sent` is
    /// when the client was last sent something.
    pub(super) fn answer_by(&self, ended: Instant, last_sent: Instant) -> Option<Instant> {
        self.signals().awaited.map(|awaited| match awaited {
            Awaited::Answer { began, within } => began.max(ended) + within,
            Awaited::More { within } => last_sent + within,
        })
    }

    /// Registers who is to be woken by [`Self::retire`]; returns true if that has happened already.
    pub(in crate::proxy) fn wake_when_retired(&self, waker: &Waker) -> bool {
        let mut signals = self.signals();
        if !signals.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            signals.waker = Some(waker.clone());
        }
        signals.is_retired
    }

    pub(in crate::proxy) fn cells(&self) -> &FrontendCells {
        self.frontend.cells.of(self.work.ix)
    }

    /// Counts an answer that Farmgate made itself.
    pub(in crate::proxy) fn count_own_answer(&self, status: u16, refusal: Option<Refusal>) {
        let cells = self.cells();
        cells.own_answers[StatusClass::of(status) as usize].add(1);
        if let Some(refusal) = refusal {
            cells.refused[refusal as usize].add(1);
        }
    }

    /// Counts and logs a request whose head was refused before the engine saw it; returns its id.
    pub(super) fn refused(&self, fault: Fault) -> RequestId {
        let id = self.work.next_request_id();
        self.count_own_answer(fault.status(), fault.refusal());
        let termination = Termination::new(fault.ended_by(), EndPhase::Request);
        self.work.remember(Ended {
            client: self.client.ip(),
            frontend: self.frontend.frontend.id,
            status: fault.status(),
            reason: Some(fault.reason()),
            termination,
            ..Ended::new(id)
        });
        if let Some(access) = &self.work.access {
            let line = AccessLine {
                client: self.client,
                frontend: self.frontend.frontend.name.as_str(),
                status: fault.status(),
                reason: Some(fault.reason()),
                termination,
                ..AccessLine::new(&id)
            };
            access.write(&line);
        }
        id
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Fault {
    /// Returns the status that answers it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::BodyTimeout | Self::HeaderTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::HeaderTooLarge => 431,
            Self::MethodNotAllowed => 405,
            Self::ResponseTimeout => 504,
            Self::ServerTakenOut => 502,
            Self::UriTooLong => 414,
        }
    }

    /// Returns the rule that was broken, for the page and the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest(why) => why,
            Self::BodyTimeout => "the request body stalled",
            Self::BodyTooLarge => "the request body is too large",
            Self::HeaderTimeout => "the request head did not arrive in time",
            Self::HeaderTooLarge => "the request head is too large",
            Self::MethodNotAllowed => "the method is not offered",
            Self::ResponseTimeout => "the server did not answer in time",
            Self::ServerTakenOut => TAKEN_OUT,
            Self::UriTooLong => "the request target is too long",
        }
    }

    /// Returns who ended the request by it.
    #[must_use]
    pub fn ended_by(self) -> EndedBy {
        match self {
            Self::BadRequest(_)
            | Self::BodyTooLarge
            | Self::HeaderTooLarge
            | Self::MethodNotAllowed
            | Self::UriTooLong => EndedBy::Proxy,
            Self::BodyTimeout | Self::HeaderTimeout => EndedBy::ClientTimeout,
            Self::ResponseTimeout => EndedBy::ServerTimeout,
            Self::ServerTakenOut => EndedBy::TakenOut,
        }
    }

    /// Returns what it is counted as; nothing where the server failed, not the client.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::BadRequest(_) | Self::MethodNotAllowed => Some(Refusal::BadRequest),
            Self::BodyTimeout => Some(Refusal::BodyTimeout),
            Self::BodyTooLarge => Some(Refusal::BodyTooLarge),
            Self::HeaderTimeout => Some(Refusal::HeaderTimeout),
            Self::HeaderTooLarge => Some(Refusal::HeaderTooLarge),
            Self::ResponseTimeout | Self::ServerTakenOut => None,
            Self::UriTooLong => Some(Refusal::UriTooLong),
        }
    }
}
