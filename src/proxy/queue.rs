//! Waiting for a server that is full: in its farm's line, until a place is given, the time is up or the client has gone.
//!
//! A place that is given back goes to the first in line whichever worker that waits on ([`crate::farm::queue`]). Places
//! that come to be in another way (a server that is Up again, a bound that was raised) are found by a look at the table
//! every [`LOOK`] while somebody waits. Then the table of the moment says who may take the work, and the work keeps its
//! own for the rest: only servers that both know count. A client whose server is full waits for it alone, as long as it
//! may go back there.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock;
use crate::farm::queue::{Queue, Seat, Wish};
use crate::farm::{FarmTable, ServerEntry};
use crate::metrics::Refusal;
use crate::model::trace::{EndPhase, EndedBy};
use crate::model::{FarmId, Generation, ServerId, SessionKind};

use super::sessions::Handle;
use super::work::{Assigned, Errand, Nobody, Work};

/// How often those who wait look at the table, and after a client that cannot be watched.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Why work was given to no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unserved {
    /// The client left while it waited.
    ClientLeft,
    /// Every server is full, and so is the line.
    LineFull,
    /// No server may take work.
    NoServer,
    /// It waited as long as it may.
    TimeUp,
}

impl Unserved {
    /// Returns what the client and the log are told of a piece of work of that kind.
    pub(super) fn reason(self, kind: SessionKind) -> &'static str {
        match (self, kind) {
            (Self::ClientLeft, _) => "the client left while it waited for a server",
            (Self::LineFull, _) => "every server is full, and so is the queue",
            (Self::NoServer, SessionKind::Connection) => "no server can take the connection now",
            (Self::NoServer, SessionKind::Request | SessionKind::Tunnel) => "no server can take the request now",
            (Self::TimeUp, _) => "every server was full for as long as the queue may last",
        }
    }

    /// Returns who ended the work.
    pub(super) fn ended_by(self) -> EndedBy {
        match self {
            Self::ClientLeft => EndedBy::Client,
            Self::LineFull => EndedBy::Proxy,
            Self::NoServer => EndedBy::Server,
            Self::TimeUp => EndedBy::ServerTimeout,
        }
    }

    /// Returns where in its life the work ended.
    pub(super) fn phase(self) -> EndPhase {
        match self {
            Self::NoServer => EndPhase::Connect,
            Self::ClientLeft | Self::LineFull | Self::TimeUp => EndPhase::Queue,
        }
    }

    /// Returns what it is counted as; nothing where the client left.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::ClientLeft => None,
            Self::LineFull => Some(Refusal::QueueFull),
            Self::NoServer => Some(Refusal::NoServer),
            Self::TimeUp => Some(Refusal::QueueTimeout),
        }
    }
}

/// Somebody in line; gives a place in hand back when dropped.
struct InLine {
    work: Arc<Work>,
    queue: Arc<Queue>,
    farm: FarmId,
    seat: Option<Seat>,
}

impl InLine {
    /// Ready once a place was given.
    async fn given(&self) {
        let poll = |cx: &mut Context<'_>| self.seat.as_ref().map_or(Poll::Pending, |seat| seat.poll_given(cx.waker()));
        poll_fn(poll).await;
    }

    /// Takes the place that was given, which is of the server at the position returned, if the work knows that server. If
    /// it does not, the place is given back, and the work is not in line any more.
    fn take(&mut self, known: &FarmTable) -> Option<usize> {
        let given = self.seat.take()?.leave()?;
        let position = known.position(given.server).filter(|at| Arc::ptr_eq(&known.servers[*at].live, &given.live));
        if position.is_none() {
            self.work.give_place_back(&self.queue, self.farm, &given);
        }
        position
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        if let Some(given) = self.seat.take().and_then(Seat::leave) {
            self.work.give_place_back(&self.queue, self.farm, &given);
        }
    }
}

impl Work {
    /// Gives work to a server, in line for one if all that may take it are full. `left` is ready once the client has; how
    /// long it took in line is added to `waited`.
    pub(super) async fn give(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        handle: &Handle,
        left: impl Future<Output = ()>,
        waited: &mut Option<Duration>,
    ) -> Result<Assigned, Unserved> {
        match self.assign(errand, handle.clone()) {
            Ok(assigned) => Ok(assigned),
            Err(Nobody::Willing) => Err(Unserved::NoServer),
            // Most work never waits, and is not to carry what waiting needs.
            Err(Nobody::WithPlace { only }) => {
                let began = clock::monotonic();
                let given = Box::pin(self.wait(errand, handle, only, left)).await;
                *waited = Some(waited.unwrap_or_default() + began.elapsed());
                given
            }
        }
    }

    async fn wait(
        self: &Arc<Self>,
        errand: &Errand<'_>,
        handle: &Handle,
        mut only: Option<ServerId>,
        left: impl Future<Output = ()>,
    ) -> Result<Assigned, Unserved> {
        let live = &errand.farm.live;
        let mut line = self.join(errand, only).ok_or(Unserved::LineFull)?;
        live.waits.count();
        // A place may have become free before the line was joined.
        let mut seen = Generation(0);
        let deadline = tokio::time::sleep(errand.farm.farm.queue.timeout);
        tokio::pin!(deadline, left);
        loop {
            let table = self.store.load();
            if table.generation != seen {
                seen = table.generation;
                let now = table.farm(errand.farm.farm.id).ok_or(Unserved::NoServer)?;
                only = only.filter(|server| now.position(*server).is_some_and(|at| now.servers[at].takes_sticky()));
                if let Some(seat) = &line.seat {
                    seat.wish(wish(errand, now, only));
                }
                match self.assign_by(now, errand, handle.clone(), only) {
                    Ok(assigned) => return Ok(assigned),
                    Err(Nobody::Willing) => return Err(Unserved::NoServer),
                    Err(Nobody::WithPlace { .. }) => {}
                }
            }
            tokio::select! {
                biased;
                () = line.given() => {
                    if let Some(position) = line.take(errand.farm) {
                        return Ok(self.assign_place(errand, handle.clone(), position));
                    }
                    // Of a server that came to be since the last look: back in line, and look again.
                    line = self.join(errand, only).ok_or(Unserved::LineFull)?;
                    seen = Generation(0);
                }
                () = &mut deadline => {
                    live.waits_timed_out.count();
                    return Err(Unserved::TimeUp);
                }
                () = &mut left => return Err(Unserved::ClientLeft),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn join(self: &Arc<Self>, errand: &Errand<'_>, only: Option<ServerId>) -> Option<InLine> {
        let (queue, farm) = (&errand.farm.live.queue, &errand.farm.farm);
        let seat = queue.join(wish(errand, errand.farm, only), farm.queue.length)?;
        Some(InLine { work: Arc::clone(self), queue: Arc::clone(queue), farm: farm.id, seat: Some(seat) })
    }
}

/// What work wishes for: not what it tried, nor what it does not know of the farm as it is `now`.
fn wish(errand: &Errand<'_>, now: &FarmTable, only: Option<ServerId>) -> Wish {
    let own = errand.farm;
    let is_unknown = |entry: &&ServerEntry| {
        let at = own.position(entry.server.id);
        at.is_none_or(|at| errand.tried.contains(at) || !Arc::ptr_eq(&own.servers[at].live, &entry.live))
    };
    let is_all = std::ptr::eq(own, now) && errand.tried.is_empty();
    let not = now.servers.iter().filter(|_| !is_all).filter(is_unknown).map(|entry| entry.server.id).collect();
    Wish { only, not }
}
