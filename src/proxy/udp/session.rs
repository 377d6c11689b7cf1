//! One client of a UDP listener: datagrams that came from one address to one of ours, and the server they go to.
//!
//! What comes from the client is sent by whoever received it; the session's own task passes replies back and ends it,
//! after silence in both directions or when its server is taken out. A server that refuses (the system learns it from
//! an ICMP message) is left for another one with the next datagram; one that is Down by its checks, or gone, and says
//! nothing, by a new session.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use tokio::sync::Notify;

use crate::clock;
use crate::farm::FarmTable;
use crate::farm::choose::{Key, Tried};
use crate::metrics::{EdgeCells, Refusal, StatusClass};
use crate::model::trace::{EndPhase, EndedBy, Termination};
use crate::model::{AttemptOutcome, FrontendId, Health, PeerAddr, SessionKind, TrafficFault};
use crate::store::{FrontendTable, Table};
use crate::telemetry::access::AccessLine;

use super::super::entry::Pass;
use super::super::http::control::TAKEN_OUT;
use super::super::memory::Entrant;
use super::super::recent::{Attempts, Ended};
use super::super::registry::Entry;
use super::super::sessions::Handle;
use super::super::work::{Assigned, Errand, InFlight, Nobody, RequestId, Work};
use super::{Door, Way};

/// Why a session ends that nobody uses any more.
const SILENT: &str = "both sides were silent";
/// Why a session ends that another client needs the room of.
const GAVE_WAY: &str = "there was no room for all, and one datagram was all that its client sent";
/// Why a session ends whose client is given another server.
const STRANDED: &str = "the server was down and silent";
/// A server that said nothing for so long is silent.
const SILENCE_MS: u64 = 1000;
/// Replies passed on before others have a turn.
const REPLIES_AT_ONCE: usize = 32;

/// See the module's doc.
pub(super) struct Session {
    way: Way,
    id: RequestId,
    /// The table and the frontend in it, as they were when the session began: it keeps its farm.
    table: Arc<Table>,
    frontend: Arc<FrontendTable>,
    feed: usize,
    work: Arc<Work>,
    began: Instant,
    last_ms: AtomicU64,
    /// When the server last said something; 0: never.
    replied_ms: AtomicU64,
    /// What the client sent.
    datagrams: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    state: Mutex<State>,
    cut: Arc<Notify>,
    /// Another server takes the datagrams from now on.
    relinked: Notify,
    /// Why it ends before its time, once it does.
    over: OnceLock<Option<&'static str>>,
    _entry: Entry,
    /// Its place among the frontend's connections, until another session has it.
    place: Mutex<Option<Pass>>,
    _entrant: Entrant,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// Servers that refused.
    tried: Tried,
    attempts: Attempts,
    /// The server that had it last.
    position: Option<usize>,
}

/// The way to a server.
struct Link {
    socket: Arc<tokio::net::UdpSocket>,
    position: usize,
    /// Whether the server has said anything.
    has_answered: bool,
    _guard: InFlight,
}

/// Who is in, and what is counted of it.
pub(super) struct Admitted {
    pub(super) table: Arc<Table>,
    pub(super) frontend: Arc<FrontendTable>,
    pub(super) feed: usize,
    pub(super) entry: Entry,
    pub(super) open: Pass,
    pub(super) entrant: Entrant,
}

impl Session {
    pub(super) fn new(work: &Arc<Work>, way: Way, admitted: Admitted) -> Arc<Self> {
        let Admitted { table, frontend, feed, entry, open, entrant } = admitted;
        frontend.cells.of(work.ix).connections_open.add(1);
        Arc::new(Self {
            way,
            id: work.next_request_id(),
            table,
            frontend,
            feed,
            work: Arc::clone(work),
            began: clock::monotonic(),
            last_ms: AtomicU64::new(0),
            replied_ms: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            state: Mutex::default(),
            cut: Arc::default(),
            relinked: Notify::new(),
            over: OnceLock::new(),
            _entry: entry,
            place: Mutex::new(Some(open)),
            _entrant: entrant,
        })
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// Ends the session before its time; the log says why, if there is something to say.
    pub(super) fn end(&self, why: Option<&'static str>) {
        // The first reason stands.
        let _ = self.over.set(why);
        self.relinked.notify_one();
    }

    /// Returns whether the client sent one datagram, and no more so far.
    pub(super) fn is_newcomer(&self) -> bool {
        self.over.get().is_none() && self.datagrams.load(Relaxed) <= 1
    }

    /// Ends the session and returns its place, if the client sent one datagram and no more.
    pub(super) fn give_way(&self) -> Option<Pass> {
        if !self.is_newcomer() {
            return None;
        }
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.end(Some(GAVE_WAY));
        Some(place)
    }

    /// Returns whether the client's next datagram begins a new session: this one is over, or its server was silent and is
    /// Down or gone by now, while others are there.
    pub(super) fn is_left(&self) -> bool {
        if self.over.get().is_some() {
            return true;
        }
        let silent_ms = self.now_ms().saturating_sub(self.replied_ms.load(Relaxed));
        if silent_ms < SILENCE_MS || !self.is_stranded() {
            return false;
        }
        self.end(Some(STRANDED));
        true
    }

    fn is_stranded(&self) -> bool {
        let Some(position) = self.state().link.as_ref().map(|link| link.position) else { return false };
        let table = self.work.store.load();
        let farm = self.farm();
        if Arc::ptr_eq(&table, &self.table) && farm.rotation.eligible.iter().any(|e| e.position as usize == position) {
            return false;
        }
        // Of a farm that is gone nobody else is there.
        let Some(now) = table.farm(farm.farm.id).filter(|now| !now.rotation.eligible.is_empty()) else { return false };
        let Some(at) = now.position(farm.servers[position].server.id) else { return true };
        now.servers[at].used_as() == Health::Down && now.rotation.eligible.iter().all(|e| e.position as usize != at)
    }

    pub(super) fn frontend(&self) -> FrontendId {
        self.frontend.frontend.id
    }

    fn farm(&self) -> &FarmTable {
        self.table.farm_of(&self.frontend.feeds[self.feed])
    }

    fn edge(&self, position: usize) -> &EdgeCells {
        self.frontend.feeds[self.feed].edges[position].of(self.work.ix)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sends a client's datagram to the server, or to another one where that one refuses.
    pub(super) fn send(&self, door: &Door, data: &[u8]) {
        self.touch();
        self.datagrams.fetch_add(1, Relaxed);
        let mut state = self.state();
        for _ in 0..=u32::from(self.farm().farm.retry_attempts) {
            if state.link.is_none() && !self.link(door, &mut state) {
                return;
            }
            let Some(link) = &state.link else { return };
            match send(link.socket.as_raw_fd(), data, MsgFlags::MSG_DONTWAIT) {
                Ok(n) => {
                    self.bytes_in.fetch_add(n as u64, Relaxed);
                    self.edge(link.position).bytes_in.add(n as u64);
                    return;
                }
                // What the system tells here is what became of an earlier datagram: this one was not sent.
                Err(error) if is_refusal(error) => self.refused(&mut state),
                // Too large, or too much at once: datagrams get lost.
                Err(_) => return,
            }
        }
    }

    /// Chooses a server; returns whether there is one.
    fn link(&self, door: &Door, state: &mut State) -> bool {
        let farm = self.farm();
        let key = Key { source: self.way.client.ip(), uri: None };
        let errand = Errand { farm, key, headers: None, tried: &state.tried, kind: SessionKind::Connection };
        let assigned = self.work.assign(&errand, Handle::Tcp(Arc::clone(&self.cut)));
        let Assigned { position, chosen_by, guard, .. } = match assigned {
            Ok(assigned) => assigned,
            Err(why) => {
                let refusal = match why {
                    Nobody::Willing => Refusal::NoServer,
                    // Datagrams do not wait.
                    Nobody::WithPlace { .. } => Refusal::QueueFull,
                };
                self.frontend.cells.of(self.work.ix).refused[refusal as usize].add(1);
                // The next datagram may try them all again.
                state.tried = Tried::default();
                return false;
            }
        };
        if let Some(before) = state.position {
            self.edge(before).retries.add(1);
        }
        state.position = Some(position);
        state.attempts.begin(farm.servers[position].server.id, chosen_by);
        let addr = farm.servers[position].addr.as_ref().and_then(PeerAddr::ip);
        let connected = addr.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()).and_then(connect);
        match connected {
            Ok(socket) if door.is_scarce(socket.as_raw_fd()) => {
                self.frontend.cells.of(self.work.ix).refused[Refusal::ConnectionLimit as usize].add(1);
                false
            }
            Ok(socket) => {
                let socket = Arc::new(socket);
                state.link = Some(Link { socket, position, has_answered: false, _guard: guard });
                self.relinked.notify_one();
                true
            }
            Err(error) => {
                let server = &farm.servers[position].server.name;
                tracing::debug!(farm = %farm.farm.name, %server, %error, "connect failed");
                self.failed(state, position);
                false
            }
        }
    }

    /// Takes in that the server refuses.
    fn refused(&self, state: &mut State) {
        if let Some(link) = state.link.take() {
            self.failed(state, link.position);
        }
    }

    fn failed(&self, state: &mut State, position: usize) {
        self.edge(position).connect_failures.add(1);
        self.work.judge(self.farm(), position, Some(TrafficFault::Connect));
        state.attempts.end(AttemptOutcome::NotConnected);
        state.tried.add(position);
    }

    /// Passes replies back until the session ends.
    pub(super) async fn run(self: Arc<Self>, door: Arc<Door>) {
        let reason = {
            let mut silence = pin!(self.silence(self.farm().farm.timeouts.idle));
            loop {
                if let Some(why) = self.over.get() {
                    break *why;
                }
                let socket = self.state().link.as_ref().map(|link| Arc::clone(&link.socket));
                tokio::select! {
                    biased;
                    () = self.cut.notified() => break Some(TAKEN_OUT),
                    () = &mut silence => break Some(SILENT),
                    () = self.relinked.notified() => {}
                    ready = readable(socket.as_deref()) => self.pass_replies(&door, ready),
                }
            }
        };
        door.forget(&self);
        if reason == Some(TAKEN_OUT) {
            self.state().attempts.end(AttemptOutcome::TakenOut);
        }
        self.record(reason);
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

    fn pass_replies(&self, door: &Door, ready: io::Result<()>) {
        let mut state = self.state();
        let Some(link) = &mut state.link else { return };
        let position = link.position;
        let mut passed = ready;
        for _ in 0..REPLIES_AT_ONCE {
            if passed.is_err() {
                break;
            }
            passed = door.pass_reply(&link.socket, self.way).map(|n| {
                self.touch();
                self.replied_ms.store(self.now_ms(), Relaxed);
                self.bytes_out.fetch_add(n as u64, Relaxed);
                self.edge(position).bytes_out.add(n as u64);
                if !std::mem::replace(&mut link.has_answered, true) {
                    self.work.judge(self.farm(), position, None);
                }
            });
        }
        if passed.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.refused(&mut state);
        }
    }

    fn record(&self, reason: Option<&'static str>) {
        let state = self.state();
        let (farm, duration) = (self.farm(), self.began.elapsed());
        let termination = match reason {
            Some(TAKEN_OUT) => Termination::new(EndedBy::TakenOut, EndPhase::Data),
            Some(GAVE_WAY) => Termination::new(EndedBy::Balancer, EndPhase::Data),
            Some(STRANDED) => Termination::new(EndedBy::Server, EndPhase::Data),
            // Silence is how a session ends.
            _ if state.link.is_some() => Termination::WELL,
            _ => Termination::new(EndedBy::Server, EndPhase::Connect),
        };
        if let Some(position) = state.position {
            let edge = self.edge(position);
            edge.requests[StatusClass::None as usize].add(1);
            edge.duration.observe(duration);
        }
        self.work.remember(Ended {
            client: self.way.client.ip(),
            frontend: self.frontend.frontend.id,
            given: Some((farm.farm.id, self.table.generation)),
            attempts: state.attempts,
            duration,
            reason,
            termination,
            ..Ended::new(self.id)
        });
        let Some(access) = &self.work.access else { return };
        let name = |position: usize| (farm.farm.name.as_str(), farm.servers[position].server.name.as_str());
        access.write(&AccessLine {
            client: self.way.client,
            frontend: self.frontend.frontend.name.as_str(),
            server: state.position.map(name),
            method: "UDP",
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            duration,
            retries: state.attempts.retries(),
            reason,
            termination,
            ..AccessLine::new(&self.id)
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.frontend.cells.of(self.work.ix).connections_open.sub(1);
    }
}

async fn readable(socket: Option<&tokio::net::UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

/// Whether the system says that nobody is there.
fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN)
}

/// Returns a socket that talks to that server only.
fn connect(addr: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let any: SocketAddr =
        if addr.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(addr)?;
    tokio::net::UdpSocket::from_std(socket)
}
