//! What the connections of one worker share: the Store, the choosers, what is open and what was, the request sequence
//! and the access log.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::http::HeaderMap;

use crate::clock;
use crate::farm::chain::Place;
use crate::farm::choose::{Ask, Choosers, Key, Tried};
use crate::farm::queue::{Given, Queue};
use crate::farm::{FarmTable, ServerEntry, ServerLive};
use crate::metrics::WorkerIx;
use crate::model::{
    Balance, ChosenBy, FarmId, FrontendId, HashKey, RateLimit, RequestTrace, Route, ServerId, ServerKey, SessionKind,
    TrafficFault,
};
use crate::store::{Faults, Store};
use crate::telemetry::access::AccessLog;
use crate::telemetry::traces::{Tracer, Tracing};

use super::http::exchange::short::{ShortText, Shown};
use super::http::pingora::reuse::Served;
use super::memory::Memory;
use super::mirror::Copies;
use super::rate::{Asker, Rates};
use super::recent::{Ended, Recent};
use super::sessions::{Handle, OpenWork};
use super::sticking::{Cookies, SharedSticking, Sticking};
use super::tls::Challenges;
use super::turns::{SplitTurns, TurnKey, TurnOf};

/// What all workers share.
pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) faults: Arc<dyn Faults>,
    pub(super) sticking: Arc<SharedSticking>,
    pub(super) challenges: Arc<Challenges>,
    pub(super) rates: Rates,
    pub(super) tracing: Option<Tracing>,
    pub(super) memory: Arc<Memory>,
    /// What milliseconds are counted from.
    pub(super) started: Instant,
}

/// See the module's doc. Shared within a worker's thread, and with whoever asks what is open.
pub(super) struct Work {
    pub(super) ix: WorkerIx,
    pub(super) store: Arc<Store>,
    pub(super) access: Option<AccessLog>,
    pub(super) tracer: Option<Tracer>,
    /// Answers to authorities that look whether a name is ours.
    pub(super) challenges: Arc<Challenges>,
    shared: Arc<Shared>,
    desk: Mutex<Desk>,
    recent: Mutex<Recent>,
    turns: SplitTurns,
    pub(super) copies: Copies,
    /// What connections to servers have served.
    pub(super) served: Served,
    sequence: AtomicU64,
    boot: u32,
}

/// What a worker looks at whenever work begins or ends. Its lock is held for that only.
pub(super) struct Desk {
    choosers: Choosers,
    sticking: Sticking,
    pub(super) open: OpenWork,
}

/// A piece of work given to a server.
pub(super) struct Assigned {
    pub(super) position: usize,
    pub(super) chosen_by: ChosenBy,
    pub(super) guard: InFlight,
    pub(super) cookies: Option<Cookies>,
}

/// Why nobody can be given work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// Nobody that may take it is left.
    Willing,
    /// Those that may are full: this one, to which the client is bound, or all.
    WithPlace { only: Option<ServerId> },
}

/// How often a place that another worker took first is looked for anew, before the work gets in line.
const RACES_MAX: usize = 4;

/// A piece of work to be given to a server.
pub(super) struct Errand<'a> {
    pub(super) farm: &'a FarmTable,
    pub(super) key: Key<'a>,
    /// HTTP: the request's fields, for its cookies.
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) tried: &'a Tried,
    pub(super) kind: SessionKind,
}

impl Work {
    pub(super) fn new(ix: WorkerIx, shared: Arc<Shared>, access: Option<AccessLog>, entropy: u64) -> Arc<Self> {
        let boot = (entropy >> 32 ^ entropy) & u64::from(u32::MAX);
        let desk = Desk {
            choosers: Choosers::new(ix, entropy),
            sticking: Sticking::new(Arc::clone(&shared.sticking)),
            open: OpenWork::default(),
        };
        Arc::new(Self {
            ix,
            store: Arc::clone(&shared.store),
            access,
            tracer: shared.tracing.as_ref().map(|tracing| Tracer::new(tracing, entropy)),
            challenges: Arc::clone(&shared.challenges),
            shared,
            desk: Mutex::new(desk),
            recent: Mutex::default(),
            copies: Copies::default(),
            turns: SplitTurns::new(entropy.rotate_left(32) ^ ix.0 as u64),
            served: Served::default(),
            sequence: AtomicU64::new(0),
            boot: u32::try_from(boot).unwrap_or(0),
        })
    }

    /// Returns what keeps the process within its memory.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    /// Returns the next request id: unique per worker and process, and very likely between processes.
    pub(super) fn next_request_id(&self) -> RequestId {
        RequestId { boot: self.boot, worker: self.ix.0, number: self.sequence.fetch_add(1, Relaxed) }
    }

    /// Chooses who takes a piece of work and counts it as under way, to be cut by `handle`. A client that goes back to its
    /// server takes nobody's turn.
    pub(super) fn assign(self: &Arc<Self>, errand: &Errand<'_>, handle: Handle) -> Result<Assigned, Nobody> {
        let Errand { farm, key, headers, tried, .. } = *errand;
        let now_ms = self.now_ms();
        let mut desk = self.desk();
        let Desk { choosers, sticking, .. } = &mut *desk;
        let cookies = sticking.cookies(farm, headers);
        let named = cookies.as_ref().and_then(|cookies| cookies.named);
        let (position, chosen_by) = match sticking.back_to(farm, named, (key, headers), tried, now_ms) {
            Some((position, by)) => {
                let entry = &farm.servers[position];
                if !takes_place(entry) {
                    return Err(Nobody::WithPlace { only: Some(entry.server.id) });
                }
                (position, by)
            }
            None => {
                let may = |at: usize| !tried.contains(at);
                let position = choose(choosers, farm, ask(errand, now_ms), tried.is_empty(), may)?;
                sticking.sent(farm, farm.servers[position].server.id, key, headers, now_ms);
                (position, chosen_by(farm, tried))
            }
        };
        let has_place = farm.servers[position].max_connections.is_some();
        Ok(self.begin(desk, errand, handle, Chosen { position, chosen_by, has_place }, cookies))
    }

    /// Chooses by another table of the work's farm: who may take it now, of those that its own table knows; `only` this
    /// server, if one is named. For work that waits.
    pub(super) fn assign_by(
        self: &Arc<Self>,
        now: &FarmTable,
        errand: &Errand<'_>,
        handle: Handle,
        only: Option<ServerId>,
    ) -> Result<Assigned, Nobody> {
        let Errand { farm, key, headers, tried, .. } = *errand;
        let own = |entry: &ServerEntry| {
            let at = farm.position(entry.server.id)?;
            (Arc::ptr_eq(&farm.servers[at].live, &entry.live) && !tried.contains(at)).then_some(at)
        };
        let now_ms = self.now_ms();
        let mut desk = self.desk();
        let Desk { choosers, sticking, .. } = &mut *desk;
        let cookies = sticking.cookies(farm, headers);
        let entry = match only {
            Some(server) => {
                let entry = now.position(server).map(|at| &now.servers[at]);
                // Its place is taken last: nobody gives back one that was taken for a server of other counters.
                let entry = entry.filter(|entry| own(entry).is_some() && takes_place(entry));
                entry.ok_or(Nobody::WithPlace { only })?
            }
            None => {
                let may = |at: usize| own(&now.servers[at]).is_some();
                &now.servers[choose(choosers, now, ask(errand, now_ms), false, may)?]
            }
        };
        let Some(position) = own(entry) else { return Err(Nobody::Willing) };
        sticking.sent(farm, farm.servers[position].server.id, key, headers, now_ms);
        // By the bound of now, which may have come or gone since the work's own table.
        let chosen = Chosen { position, chosen_by: ChosenBy::Queue, has_place: entry.max_connections.is_some() };
        Ok(self.begin(desk, errand, handle, chosen, cookies))
    }

    /// Gives work to the server at `position`, a place of which it was given.
    pub(super) fn assign_place(self: &Arc<Self>, errand: &Errand<'_>, handle: Handle, position: usize) -> Assigned {
        let Errand { farm, key, headers, .. } = *errand;
        let mut desk = self.desk();
        let cookies = desk.sticking.cookies(farm, headers);
        desk.sticking.sent(farm, farm.servers[position].server.id, key, headers, self.now_ms());
        self.begin(desk, errand, handle, Chosen { position, chosen_by: ChosenBy::Queue, has_place: true }, cookies)
    }

    /// Counts work as under way at a server.
    fn begin(
        self: &Arc<Self>,
        mut desk: MutexGuard<'_, Desk>,
        errand: &Errand<'_>,
        handle: Handle,
        chosen: Chosen,
        cookies: Option<Cookies>,
    ) -> Assigned {
        let (farm, Chosen { position, chosen_by, has_place }) = (errand.farm, chosen);
        let entry = &farm.servers[position];
        desk.choosers.started(farm, position);
        let server = ServerKey { farm: farm.farm.id, server: entry.server.id };
        let place = desk.open.begin(server, errand.kind, self.now_ms(), handle);
        drop(desk);
        let guard = self.in_flight(farm, position, place, has_place);
        Assigned { position, chosen_by, guard, cookies }
    }

    /// Returns what ends the work, which is counted already, when dropped.
    fn in_flight(
        self: &Arc<Self>,
        farm: &FarmTable,
        position: usize,
        place: Option<Place>,
        has_place: bool,
    ) -> InFlight {
        let entry = &farm.servers[position];
        InFlight {
            work: Arc::clone(self),
            server: ServerKey { farm: farm.farm.id, server: entry.server.id },
            live: Arc::clone(&entry.live),
            place,
            queue: has_place.then(|| Arc::clone(&farm.live.queue)),
            began: (farm.farm.balance == Balance::Ewma).then(clock::monotonic),
        }
    }

    /// Gives a place of a server back, or hands it to the first in line that may have it now.
    pub(super) fn give_place_back(&self, queue: &Queue, farm: FarmId, place: &Given) {
        let table = self.store.load();
        // Looked up once somebody waits, which is rare.
        let entry = || {
            let farm = table.farm(farm)?;
            let at = farm.position(place.server)?;
            let is_it = Arc::ptr_eq(&farm.servers[at].live, &place.live);
            is_it.then(|| (&farm.servers[at], farm.rotation.holds(at)))
        };
        let most = || entry().map_or(0, |(entry, _)| entry.max_connections.unwrap_or(u32::MAX));
        queue.give_back(place, most, |wish| {
            entry().is_some_and(|(entry, is_in)| if wish.only.is_some() { entry.takes_sticky() } else { is_in })
        });
    }

    /// Takes in how long a server took to begin its answer, where its farm chooses by that.
    fn sample(&self, live: &ServerLive, began: Instant) {
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        live.latency.of(self.ix).sample(us, self.now_ms());
    }

    /// Chooses who takes a copy of work and counts it as under way; nobody sticks to its server, and none waits.
    pub(super) fn assign_copy(
        self: &Arc<Self>,
        farm: &FarmTable,
        key: Key<'_>,
        handle: Handle,
    ) -> Option<(usize, InFlight)> {
        let errand = Errand { farm, key, headers: None, tried: &Tried::none(), kind: SessionKind::Request };
        let mut desk = self.desk();
        let position = choose(&mut desk.choosers, farm, ask(&errand, self.now_ms()), true, |_| true).ok()?;
        let has_place = farm.servers[position].max_connections.is_some();
        let chosen = Chosen { position, chosen_by: ChosenBy::Balance(farm.farm.balance), has_place };
        let Assigned { position, guard, .. } = self.begin(desk, &errand, handle, chosen, None);
        Some((position, guard))
    }

    /// Cuts the work of a server that was marked. On the worker's own thread only.
    pub(super) fn cut(&self, server: ServerKey) {
        let marked = self.desk().open.marked(server);
        for handle in marked {
            handle.cut();
        }
    }

    /// Counts work that went well at a server, and work that did not; tells whoever ejects servers once each time as
    /// many failures in a row as the farm allows have come together. Kinds of failures that the farm does not observe
    /// count for nothing.
    pub(super) fn judge(&self, farm: &FarmTable, position: usize, fault: Option<TrafficFault>) {
        let Some(entry) = farm.servers.get(position) else { return };
        let traffic = &entry.live.traffic;
        if fault.is_some() && farm.farm.balance == Balance::Ewma {
            // One that fails at once is not quick.
            let us = u64::try_from(farm.farm.timeouts.response.as_micros()).unwrap_or(u64::MAX);
            entry.live.latency.of(self.ix).sample(us, self.now_ms());
        }
        let Some(kind) = fault else { return traffic.went_well(self.ix) };
        let Some(observe) = farm.farm.observe else {
            traffic.failed(self.ix);
            return;
        };
        let is_observed = match kind {
            TrafficFault::Connect => observe.connect,
            TrafficFault::Response => observe.response,
            TrafficFault::Status => observe.status,
        };
        if !is_observed {
            return;
        }
        let errors = traffic.failed(self.ix);
        if errors.is_multiple_of(u32::from(observe.errors.max(1))) {
            let server = ServerKey { farm: farm.farm.id, server: entry.server.id };
            self.shared.faults.failed(server, errors, kind);
        }
    }

    /// Remembers what became of a request.
    pub(super) fn remember(&self, ended: Ended) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(ended);
    }

    /// Returns what became of the request of that id, the balancer's own or the accepted one, if it was this worker's.
    pub(super) fn recent(&self, id: &str) -> Option<RequestTrace> {
        let own = RequestId::parse(id).filter(|id| id.boot == self.boot && id.worker == self.ix.0);
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        own.and_then(|own| recent.find(own)).or_else(|| recent.find_outside(id))
    }

    /// Takes a token for a request of a frontend that limits how often each client asks; returns how long the client has
    /// to wait where there is none.
    pub(super) fn take_token(&self, frontend: FrontendId, limit: &RateLimit, asker: Asker<'_>) -> Result<(), Duration> {
        self.shared.rates.take(frontend, limit, asker, self.shared.started.elapsed())
    }

    /// Returns whose turn it is in what a route of a frontend spreads or copies; `None`: in what no route takes.
    pub(super) fn turn(&self, frontend: FrontendId, route: Option<&Route>, of: TurnOf) -> u64 {
        self.turns.next(TurnKey { frontend, route: route.map(|route| route.id), of })
    }

    /// Frees what was kept for farms, servers and routes that are gone.
    pub(super) fn forget_gone_farms(&self) {
        let table = self.store.load();
        self.turns.forget_except(|key| {
            let frontend = table.frontend(key.frontend).map(|known| &known.frontend);
            frontend.is_some_and(|known| {
                key.route.is_none() || known.routes.iter().any(|route| Some(route.id) == key.route)
            })
        });
        let mut desk = self.desk();
        desk.choosers.forget_except(|id| table.farm(id).is_some());
        desk.sticking.forget_except(|id| table.farm(id).is_some());
        desk.open.forget_except(|key| table.farm(key.farm).is_some_and(|farm| farm.position(key.server).is_some()));
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the milliseconds since the plane started, the same for all workers.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns what the choosers are asked for some work.
fn ask<'a>(errand: &Errand<'a>, now_ms: u64) -> Ask<'a> {
    let header = match &errand.farm.farm.hash.key {
        HashKey::Header(name) => errand.headers.and_then(|headers| headers.get(&**name)),
        HashKey::Source | HashKey::Uri => None,
    };
    Ask { key: errand.key, header: header.map(::http::HeaderValue::as_bytes), now_ms }
}

/// Returns who takes work among those for whose position `may` is true, with a place where places are counted. Work that
/// `is_first` was given to nobody yet, and may go to everybody.
fn choose(
    choosers: &mut Choosers,
    farm: &FarmTable,
    ask: Ask<'_>,
    is_first: bool,
    may: impl Fn(usize) -> bool,
) -> Result<usize, Nobody> {
    let first = if is_first { choosers.first(farm, ask) } else { choosers.among(farm, ask, &may) };
    let first = first.ok_or(Nobody::Willing)?;
    if takes_place(&farm.servers[first]) {
        return Ok(first);
    }
    let has_place = |at: usize| {
        let entry = &farm.servers[at];
        may(at) && entry.max_connections.is_none_or(|most| entry.live.places.taken() < most)
    };
    for _ in 0..RACES_MAX {
        let next = choosers.among(farm, ask, &has_place).ok_or(Nobody::WithPlace { only: None })?;
        if takes_place(&farm.servers[next]) {
            return Ok(next);
        }
    }
    Err(Nobody::WithPlace { only: None })
}

/// Who was chosen.
struct Chosen {
    position: usize,
    chosen_by: ChosenBy,
    /// A place of it was taken, which is to be given back.
    has_place: bool,
}

/// Takes a place of a server that has only so many; the others have one for everybody.
fn takes_place(entry: &ServerEntry) -> bool {
    entry.max_connections.is_none_or(|most| entry.live.places.try_take(most))
}

/// Why the choosers' choice is what it is.
fn chosen_by(farm: &FarmTable, tried: &Tried) -> ChosenBy {
    let eligible = &farm.rotation.eligible;
    let left = if tried.is_empty() {
        eligible.len()
    } else {
        eligible.iter().filter(|e| !tried.contains(e.position as usize)).count()
    };
    if left == 1 { ChosenBy::OnlyOneLeft } else { ChosenBy::Balance(farm.farm.balance) }
}

/// A request or connection under way at one server; ends when dropped.
pub(super) struct InFlight {
    work: Arc<Work>,
    server: ServerKey,
    live: Arc<ServerLive>,
    place: Option<Place>,
    /// Who waits for the server's places, where it has only so many: this work has one.
    queue: Option<Arc<Queue>>,
    /// When it began, until the answer does; where the farm chooses by how long that takes.
    began: Option<Instant>,
}

impl InFlight {
    /// Notes that the server has begun its answer.
    pub(super) fn answered(&mut self) {
        if let Some(began) = self.began.take() {
            self.work.sample(&self.live, began);
        }
    }

    /// Notes that the request has become a tunnel.
    pub(super) fn upgraded(&self) {
        if let Some(place) = self.place {
            self.work.desk().open.upgraded(place);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let ended = {
            let mut desk = self.work.desk();
            desk.choosers.ended(self.server.farm, self.server.server, &self.live);
            self.place.and_then(|place| desk.open.end(place))
        };
        if let Some(queue) = &self.queue {
            let place = Given { server: self.server.server, live: Arc::clone(&self.live) };
            self.work.give_place_back(queue, self.server.farm, &place);
        }
        // What cuts the work may be the last to hold its connection, which has much to free.
        drop(ended);
    }
}

/// Names one request in error pages and logs: `5f3a9c01-0-1b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    pub(super) boot: u32,
    pub(super) worker: usize,
    pub(super) number: u64,
}

impl RequestId {
    /// Returns the id that is written so.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (boot, worker, number) = (parts.next()?, parts.next()?, parts.next()?);
        let id = Self {
            boot: u32::from_str_radix(boot, 16).ok()?,
            worker: usize::from_str_radix(worker, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        };
        parts.next().is_none().then_some(id)
    }
}

impl Shown for RequestId {
    fn show(&self, text: &mut ShortText) {
        text.push_hex(self.boot.into(), 8);
        text.push(b"-");
        text.push_hex(self.worker as u64, 1);
        text.push(b"-");
        text.push_hex(self.number, 1);
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(ShortText::of(self).bytes().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default())
    }
}

/// Returns the address as its IPv4 form where it is a mapped one, for headers, logs and hashes alike.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_is_read_as_it_is_written_and_nothing_else_is() {
        let id = RequestId { boot: 0x5f3a_9c01, worker: 10, number: 0x1b };
        assert_eq!(id.to_string(), "5f3a9c01-a-1b");
        assert_eq!(RequestId::parse("5f3a9c01-a-1b"), Some(id));
        for text in
            ["", "5f3a9c01", "5f3a9c01-a", "5f3a9c01-a-1b-2", "x-a-1b", "5f3a9c01-a-", "1ffffffff-0-0", "🦀-0-0"]
        {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }
}
