//! What is open on each server, worker by worker, and how it is cut.
//!
//! A worker keeps its own work in chains, one for each server and kind, the oldest first: taking work in and out is a
//! constant few steps and allocates nothing once the most at a time has been there; a count is read off the chain.
//! Whoever closes a server's work marks it under the worker's lock, so exactly what was open then is counted and cut;
//! the cutting itself is done by the worker's thread, where nothing else of a connection is under way meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::farm::chain::{Chain, Chains, Place};
use crate::model::{RequestTrace, ServerKey, SessionGroup, SessionKind};
use crate::store::{Requests, Sessions};

use super::command::Command;
use super::http::control::Connection;
use super::work::Work;

/// Cuts one piece of work.
#[derive(Clone)]
pub(super) enum Handle {
    /// A request or tunnel on this connection of a client.
    Http(Arc<Connection>),
    /// A relay that waits for this.
    Tcp(Arc<Notify>),
}

impl Handle {
    /// Cuts the work. Only on the worker's own thread.
    pub(super) fn cut(&self) {
        match self {
            Self::Http(connection) => connection.cut(),
            Self::Tcp(relay) => relay.notify_one(),
        }
    }
}

/// The chains that a server's work may be in.
const KINDS: [SessionKind; 3] = [SessionKind::Connection, SessionKind::Request, SessionKind::Tunnel];
/// The chain of the work that is being cut, after those of the kinds.
const ENDING: usize = KINDS.len();

fn chain_of(kind: SessionKind) -> usize {
    match kind {
        SessionKind::Connection => 0,
        SessionKind::Request => 1,
        SessionKind::Tunnel => 2,
    }
}

/// What is open by one worker.
#[derive(Default)]
pub(super) struct OpenWork {
    all: Chains<OnePiece>,
    by_server: HashMap<ServerKey, [Chain; ENDING + 1]>,
}

struct OnePiece {
    server: ServerKey,
    chain: usize,
    began_ms: u64,
    handle: Handle,
}

impl OpenWork {
    /// Takes a piece of work in; it began now, at `now_ms`.
    pub(super) fn begin(&mut self, server: ServerKey, kind: SessionKind, now_ms: u64, handle: Handle) -> Option<Place> {
        let chain = chain_of(kind);
        let chains = self.by_server.entry(server).or_default();
        self.all.push(&mut chains[chain], OnePiece { server, chain, began_ms: now_ms, handle })
    }

    /// Takes a piece of work out: it has ended. Returns what would have cut it.
    pub(super) fn end(&mut self, place: Place) -> Option<Handle> {
        let OnePiece { server, chain, .. } = self.all.get(place)?;
        let chains = self.by_server.get_mut(server)?;
        let chain = *chain;
        self.all.remove(&mut chains[chain], place).map(|piece| piece.handle)
    }

    /// Notes that a request has become a tunnel.
    pub(super) fn upgraded(&mut self, place: Place) {
        let (from, to) = (chain_of(SessionKind::Request), chain_of(SessionKind::Tunnel));
        let Some(piece) = self.all.get_mut(place).filter(|piece| piece.chain == from) else { return };
        piece.chain = to;
        let server = piece.server;
        self.pass(server, from, to, place);
    }

    /// Adds what is open on a server to `counts`, and how old the oldest is, kind by kind.
    fn count(&self, server: ServerKey, now_ms: u64, counts: &mut [(u64, u64); KINDS.len()]) {
        let Some(chains) = self.by_server.get(&server) else { return };
        for ((count, oldest_ms), chain) in counts.iter_mut().zip(chains) {
            *count += u64::from(chain.count());
            let first = chain.first().and_then(|place| self.all.get(place));
            *oldest_ms = (*oldest_ms).max(first.map_or(0, |first| now_ms.saturating_sub(first.began_ms)));
        }
    }

    /// Marks everything that is open on a server to be cut; returns how much it is.
    fn mark(&mut self, server: ServerKey) -> u64 {
        let mut marked = 0;
        for from in 0..ENDING {
            while let Some(place) = self.by_server.get(&server).and_then(|chains| chains[from].first()) {
                if let Some(piece) = self.all.get_mut(place) {
                    piece.chain = ENDING;
                }
                self.pass(server, from, ENDING, place);
                marked += 1;
            }
        }
        marked
    }

    /// Returns what cuts the work of a server that was marked.
    pub(super) fn marked(&self, server: ServerKey) -> Vec<Handle> {
        let first = self.by_server.get(&server).and_then(|chains| chains[ENDING].first());
        let places = std::iter::successors(first, |place| self.all.after(*place));
        places.filter_map(|place| self.all.get(place)).map(|piece| piece.handle.clone()).collect()
    }

    /// Forgets the servers for which `is_there` is false and on which nothing is open.
    pub(super) fn forget_except(&mut self, is_there: impl Fn(ServerKey) -> bool) {
        self.by_server.retain(|server, chains| chains.iter().any(|chain| chain.count() > 0) || is_there(*server));
    }

    fn pass(&mut self, server: ServerKey, from: usize, to: usize, place: Place) {
        let Some(chains) = self.by_server.get_mut(&server) else { return };
        let mut chain = std::mem::take(&mut chains[from]);
        self.all.pass(&mut chain, Some(&mut chains[to]), place);
        chains[from] = chain;
    }
}

/// What is open by every worker, and what was: the plane as others see it. Outlives the plane, and is empty then.
pub(super) struct Watch {
    pub(super) workers: Vec<(Weak<Work>, UnboundedSender<Command>)>,
}

impl Watch {
    fn works(&self) -> impl Iterator<Item = (Arc<Work>, &UnboundedSender<Command>)> {
        self.workers.iter().filter_map(|(work, commands)| work.upgrade().map(|work| (work, commands)))
    }
}

impl Sessions for Watch {
    fn of(&self, server: ServerKey) -> Vec<SessionGroup> {
        let mut counts = [(0, 0); KINDS.len()];
        for (work, _) in self.works() {
            let now_ms = work.now_ms();
            work.desk().open.count(server, now_ms, &mut counts);
        }
        let groups = KINDS.into_iter().zip(counts).filter(|(_, (count, _))| *count > 0);
        groups
            .map(|(kind, (count, oldest_ms))| SessionGroup { kind, count, oldest: Duration::from_millis(oldest_ms) })
            .collect()
    }

    fn close(&self, server: ServerKey) -> u64 {
        let mut closed = 0;
        for (work, commands) in self.works() {
            let marked = work.desk().open.mark(server);
            if marked > 0 {
                closed += marked;
                // A worker that is gone has closed everything.
                let _ = commands.send(Command::Cut { server });
            }
        }
        closed
    }
}

impl Requests for Watch {
    fn find(&self, id: &str) -> Option<RequestTrace> {
        self.works().find_map(|(work, _)| work.recent(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, ServerId};

    const A: ServerKey = ServerKey { farm: FarmId(1), server: ServerId(1) };
    const B: ServerKey = ServerKey { farm: FarmId(1), server: ServerId(2) };

    fn begin(open: &mut OpenWork, server: ServerKey, kind: SessionKind, now_ms: u64) -> Place {
        open.begin(server, kind, now_ms, Handle::Tcp(Arc::default())).unwrap()
    }

    fn counts(open: &OpenWork, server: ServerKey, now_ms: u64) -> [(u64, u64); 3] {
        let mut counts = [(0, 0); 3];
        open.count(server, now_ms, &mut counts);
        counts
    }

    #[test]
    fn work_is_counted_by_kind_with_the_age_of_the_oldest() {
        let mut open = OpenWork::default();
        let first = begin(&mut open, A, SessionKind::Request, 100);
        begin(&mut open, A, SessionKind::Request, 200);
        begin(&mut open, B, SessionKind::Connection, 50);
        assert_eq!(counts(&open, A, 300), [(0, 0), (2, 200), (0, 0)]);
        assert_eq!(counts(&open, B, 300), [(1, 250), (0, 0), (0, 0)]);
        open.upgraded(first);
        assert_eq!(counts(&open, A, 300), [(0, 0), (1, 100), (1, 200)]);
        open.end(first);
        assert_eq!(counts(&open, A, 300), [(0, 0), (1, 100), (0, 0)]);
    }

    #[test]
    fn marking_counts_each_piece_once_and_no_other_server() {
        let mut open = OpenWork::default();
        let request = begin(&mut open, A, SessionKind::Request, 0);
        let tunnel = begin(&mut open, A, SessionKind::Request, 0);
        open.upgraded(tunnel);
        begin(&mut open, B, SessionKind::Request, 0);
        assert_eq!(open.mark(A), 2);
        assert_eq!(open.mark(A), 0);
        assert_eq!(open.marked(A).len(), 2);
        assert_eq!((counts(&open, A, 0)[1].0, counts(&open, B, 0)[1].0), (0, 1));
        open.upgraded(request);
        assert_eq!(counts(&open, A, 0)[2].0, 0, "what is being cut stays marked");
        open.end(request);
        open.end(tunnel);
        assert!(open.marked(A).is_empty() && open.marked(B).is_empty());
    }

    #[test]
    fn work_that_comes_and_goes_allocates_nothing() {
        let mut open = OpenWork::default();
        let relay: Arc<Notify> = Arc::default();
        let mut places = Vec::with_capacity(100);
        let mut come_and_go = || {
            for n in 0..100 {
                places.extend(open.begin(
                    if n % 2 == 0 { A } else { B },
                    SessionKind::Request,
                    n,
                    Handle::Tcp(Arc::clone(&relay)),
                ));
            }
            for place in places.drain(..) {
                open.upgraded(place);
                open.end(place);
            }
        };
        come_and_go();
        let allocated = allocation_counter::measure(|| (0..10).for_each(|_| come_and_go()));
        assert_eq!(allocated.count_total, 0);
    }

    #[test]
    fn server_is_forgotten_once_it_is_gone_and_idle() {
        let mut open = OpenWork::default();
        let place = begin(&mut open, A, SessionKind::Request, 0);
        open.forget_except(|_| false);
        assert_eq!(counts(&open, A, 0)[1].0, 1);
        open.end(place);
        open.forget_except(|_| false);
        assert!(open.by_server.is_empty());
    }
}
