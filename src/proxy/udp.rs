//! UDP: datagrams of one client go to one server, and its replies back, for as long as they talk.
//!
//! Every worker has a socket of its own for each listener, among which the system spreads clients by their address, so a
//! client is one worker's. Sessions are bounded by `limits.connections` and by the descriptors that are left; those of
//! one source are not counted, since anybody can write any source into a datagram and would shut others out. For the
//! same reason whoever comes when there is no room takes that of the oldest client that sent one datagram and no more
//! ([`newcomers`]): who made up its address sends no second one. A datagram that cannot be sent at once is lost, as
//! datagrams are.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::metrics::Refusal;
use crate::model::Protocol;

use super::command::ListenerId;
use super::entry::{Common, may_connect};
use super::owner::Owner;
use super::registry::Registry;
use super::turns::TurnOf;
use super::work::{Work, canonical};

mod newcomers;
mod session;
mod wire;

pub(super) use newcomers::Newcomers;
use session::{Admitted, Session};
use wire::{Local, Wire};

/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// How long receiving rests after the system refused it.
const RECEIVE_REST: Duration = Duration::from_millis(100);
/// How long sessions of a listener that is closed may still be answered.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whose datagrams a session is of, and which address of ours they were sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    client: SocketAddr,
    local: Local,
}

/// One UDP listener of one worker.
pub(super) struct Door {
    listener: ListenerId,
    owner: Owner,
    work: Arc<Work>,
    registry: Arc<Registry>,
    common: Arc<Common>,
    wire: Wire,
    sessions: Mutex<HashMap<Way, Arc<Session>>>,
    /// Where replies are read into, one at a time.
    scratch: Mutex<Box<[u8]>>,
}

impl Door {
    pub(super) fn new(
        listener: ListenerId,
        owner: Owner,
        work: Arc<Work>,
        registry: Arc<Registry>,
        common: Arc<Common>,
        socket: UdpSocket,
    ) -> io::Result<Arc<Self>> {
        let scratch = Mutex::new(vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice());
        let (wire, sessions) = (Wire::new(socket)?, Mutex::default());
        Ok(Arc::new(Self { listener, owner, work, registry, common, wire, sessions, scratch }))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Way, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session out that has ended.
    fn forget(&self, session: &Session) {
        let mut sessions = self.sessions();
        // The client may have another one by now.
        if sessions.get(&session.way()).is_some_and(|known| std::ptr::eq(&raw const **known, session)) {
            sessions.remove(&session.way());
        }
    }

    fn is_scarce(&self, descriptor: RawFd) -> bool {
        self.common.ceiling.is_reached_by(descriptor)
    }

    /// Takes in a datagram; one of nobody who is known begins a session, if `is_open`.
    fn take_in(self: &Arc<Self>, data: &[u8], way: Way, is_open: bool) {
        let known = self.sessions().get(&way).cloned();
        let session = match known {
            Some(session) if is_open && session.is_left() => self.begin(way),
            Some(session) => Some(session),
            None if !is_open => None,
            None => self.begin(way),
        };
        if let Some(session) = session {
            session.send(self, data);
        }
    }

    /// Begins a session, if the client may come in.
    fn begin(self: &Arc<Self>, way: Way) -> Option<Arc<Session>> {
        let session = Session::new(&self.work, way, self.admit(way)?);
        self.sessions().insert(way, Arc::clone(&session));
        self.common.newcomers.add(&session);
        tokio::spawn(Arc::clone(&session).run(Arc::clone(self)));
        Some(session)
    }

    /// Counts and asks whether the client may come in.
    fn admit(&self, way: Way) -> Option<Admitted> {
        let (table, frontend) = self.owner.find_now(&self.work.store)?;
        let declared = &frontend.frontend;
        if declared.protocol != Protocol::Udp {
            return None;
        }
        let cells = frontend.cells.of(self.work.ix);
        cells.connections.add(1);
        let refuse = |refusal: Refusal| cells.refused[refusal as usize].add(1);
        if !may_connect(&declared.sources, canonical(way.client.ip())) {
            refuse(Refusal::SourceDenied);
            return None;
        }
        let Some(entrant) = self.work.memory().enter() else {
            refuse(Refusal::Memory);
            return None;
        };
        let gate = self.common.census.gate(declared.id);
        let Some(open) =
            gate.open(declared.limits.connections).or_else(|| self.common.newcomers.make_room(declared.id))
        else {
            refuse(Refusal::ConnectionLimit);
            return None;
        };
        let turn = |route: Option<&crate::model::Route>| self.work.turn(declared.id, route, TurnOf::Split);
        let feed = frontend.routes.otherwise(turn).feed?;
        let entry = self.registry.enter(self.listener);
        Some(Admitted { table, frontend: Arc::clone(&frontend), feed, entry, open, entrant })
    }

    /// Passes one reply of a server back, if there is one.
    fn pass_reply(&self, server: &tokio::net::UdpSocket, way: Way) -> io::Result<usize> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let n = server.try_recv(&mut scratch)?;
        // Whether the client gets it is nobody's concern but its own.
        let _ = self.wire.reply(&scratch[..n], way.client, way.local);
        Ok(n)
    }
}

/// Takes datagrams in until stopped, and those of the sessions that are left a moment longer, unless another process does.
pub(super) async fn receive_until(door: Arc<Door>, mut stopped: watch::Receiver<bool>) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            () = receive(&door, &mut datagram, true) => {}
        }
    }
    // Whoever took over has the same socket, and would miss what is read here; what servers have yet to say comes back
    // until their sessions fall silent, or the grace is over.
    if door.registry.is_polite() {
        return;
    }
    let farewell = async {
        while !door.sessions().is_empty() {
            receive(&door, &mut datagram, false).await;
        }
    };
    // Sessions that are left have had their answers, or get none.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    let left: Vec<_> = door.sessions().values().cloned().collect();
    for session in left {
        session.end(None);
    }
}

async fn receive(door: &Arc<Door>, datagram: &mut [u8], is_open: bool) {
    match door.wire.receive(datagram).await {
        Ok((n, client, local)) => door.take_in(&datagram[..n], Way { client, local }, is_open),
        Err(error) => {
            tracing::warn!(%error, worker = door.work.ix.0, "receive rests");
            tokio::time::sleep(RECEIVE_REST).await;
        }
    }
}
