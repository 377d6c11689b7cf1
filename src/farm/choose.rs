//! Who takes the next piece of a farm's work, and what one worker remembers for that.
//!
//! Joins the rotation (who may) with an algorithm of `balance` (who does). A worker keeps one [`Choosers`]; in it each
//! farm has a chooser made for one version of its rotation, and starts afresh when the version differs. Work that
//! holds an older table (a retry) is served by a chooser of that older version, kept aside, so that it does not disturb
//! the turns of the current one.
//!
//! Owned by one thread; time and seed are handed in. Work in flight is counted in the servers' own cells, of which this
//! worker writes its own; least-work farms read it from there: this worker's at once, the others' at most
//! [`OTHERS_AGE_MS_MAX`] old. A pick allocates nothing once its chooser is there (the first retry of a round robin farm
//! makes a second series of turns).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::balance::hash::{hash_source, hash_uri};
use crate::balance::{LeastConn, Rendezvous, Turns, first, seed};
use crate::metrics::WorkerIx;
use crate::model::{Balance, FarmId, Generation, ServerId};

use super::live::ServerLive;
use super::rotation::Eligible;
use super::table::FarmTable;

/// How old the other workers' work in flight may be, in milliseconds.
pub const OTHERS_AGE_MS_MAX: u64 = 10;

/// What the work is recognised by, for farms that hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The client's address.
    pub source: IpAddr,
    /// The request's path, with or without its query; nothing for raw TCP, which is hashed by its source instead.
    pub uri: Option<&'a [u8]>,
}

impl Key<'_> {
    fn hash(&self, balance: Balance) -> u64 {
        match (balance, self.uri) {
            (Balance::Uri, Some(uri)) => hash_uri(uri),
            (
                Balance::Uri
                | Balance::Ewma
                | Balance::First
                | Balance::LeastConn
                | Balance::Maglev
                | Balance::Random
                | Balance::RoundRobin
                | Balance::Source,
                _,
            ) => hash_source(self.source),
        }
    }
}

/// The servers that one piece of work was already given to, by position in the farm's table. Empty, it costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<usize>);

impl Tried {
    /// Returns the set of none.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a position.
    pub fn add(&mut self, position: usize) {
        if !self.contains(position) {
            self.0.push(position);
        }
    }

    /// Returns whether a position is in the set.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        self.0.contains(&position)
    }

    /// Returns whether nothing was tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many were tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What one worker remembers of its choices, farm by farm.
#[derive(Debug)]
pub struct Choosers {
    worker: WorkerIx,
    seed: u64,
    farms: BTreeMap<FarmId, Versions>,
}

impl Choosers {
    /// Returns the choosers of a worker. Workers may share a seed: each mixes its number in.
    #[must_use]
    pub fn new(worker: WorkerIx, seed: u64) -> Self {
        Self { worker, seed, farms: BTreeMap::new() }
    }

    /// Returns the position in `table.servers` of who takes the next piece of work: one that is in rotation and not in
    /// `tried`, or nobody if there is none. `now_ms` counts milliseconds from any start and does not go back.
    pub fn choose(&mut self, table: &FarmTable, key: Key<'_>, tried: &Tried, now_ms: u64) -> Option<usize> {
        let worker = self.worker;
        let fresh = || Chooser::new(table, worker, self.seed, now_ms);
        let chooser = self.farms.entry(table.farm.id).or_insert_with(|| Versions::new(fresh())).of(table, fresh);
        let index = chooser.choose(table, key, tried, now_ms, worker)?;
        table.rotation.eligible.get(index).map(|eligible| eligible.position as usize)
    }

    /// Counts a piece of work that the server at `position` has been given.
    pub fn started(&mut self, table: &FarmTable, position: usize) {
        let Some(entry) = table.servers.get(position) else { return };
        entry.live.in_flight.of(self.worker).add(1);
        self.recount(table.farm.id, entry.server.id, &entry.live);
    }

    /// Counts the end of a piece of work. `live` is that of the table in which it started; server and farm may have
    /// left since.
    pub fn ended(&mut self, farm: FarmId, server: ServerId, live: &ServerLive) {
        live.in_flight.of(self.worker).sub(1);
        self.recount(farm, server, live);
    }

    /// Forgets the farms for which `is_there` is false.
    pub fn forget_except(&mut self, is_there: impl Fn(FarmId) -> bool) {
        self.farms.retain(|farm, _| is_there(*farm));
    }

    fn recount(&mut self, farm: FarmId, server: ServerId, live: &ServerLive) {
        let Some(versions) = self.farms.get_mut(&farm) else { return };
        for chooser in std::iter::once(&mut versions.current).chain(&mut versions.earlier) {
            if let Algorithm::LeastConn(least) = &mut chooser.algorithm {
                least.recount(server, live, self.worker);
            }
        }
    }
}

/// The choosers of one farm.
#[derive(Debug)]
struct Versions {
    current: Chooser,
    /// For work that still holds an older table.
    earlier: Option<Chooser>,
}

impl Versions {
    fn new(current: Chooser) -> Self {
        Self { current, earlier: None }
    }

    /// Returns the chooser of that table's rotation, made by `fresh` if there is none.
    fn of(&mut self, table: &FarmTable, fresh: impl FnOnce() -> Chooser) -> &mut Chooser {
        if self.current.is_for(table) {
            return &mut self.current;
        }
        if table.rotation.version >= self.current.version {
            self.earlier = Some(std::mem::replace(&mut self.current, fresh()));
            return &mut self.current;
        }
        let earlier = self.earlier.take().filter(|chooser| chooser.is_for(table));
        self.earlier.insert(earlier.unwrap_or_else(fresh))
    }
}

/// The chooser of one version of one farm's rotation. Speaks of places in `rotation.eligible`.
#[derive(Debug)]
struct Chooser {
    version: Generation,
    balance: Balance,
    algorithm: Algorithm,
}

#[derive(Debug)]
enum Algorithm {
    First,
    Hash(Rendezvous),
    LeastConn(LeastWork),
    RoundRobin(Spread),
}

impl Chooser {
    fn new(table: &FarmTable, worker: WorkerIx, seed: u64, now_ms: u64) -> Self {
        let version = table.rotation.version;
        let eligible = &table.rotation.eligible;
        let seed = seed::join(&[seed, worker.0 as u64, table.farm.id.0, version.0]);
        let algorithm = match table.farm.balance {
            Balance::First => Algorithm::First,
            Balance::Ewma | Balance::LeastConn | Balance::Random => {
                Algorithm::LeastConn(LeastWork::new(table, worker, seed, now_ms))
            }
            Balance::RoundRobin => Algorithm::RoundRobin(Spread::new(eligible, seed)),
            Balance::Maglev | Balance::Source | Balance::Uri => {
                Algorithm::Hash(Rendezvous::new(eligible.iter().map(|server| (server.id, server.weight))))
            }
        };
        Self { version, balance: table.farm.balance, algorithm }
    }

    fn is_for(&self, table: &FarmTable) -> bool {
        self.version == table.rotation.version && self.balance == table.farm.balance
    }

    fn choose(
        &mut self,
        table: &FarmTable,
        key: Key<'_>,
        tried: &Tried,
        now_ms: u64,
        worker: WorkerIx,
    ) -> Option<usize> {
        let eligible = &table.rotation.eligible;
        let is_free = |index: usize| eligible.get(index).is_some_and(|e| !tried.contains(e.position as usize));
        match &mut self.algorithm {
            Algorithm::First => first::pick(eligible.len(), is_free),
            Algorithm::Hash(rivals) if tried.is_empty() => rivals.pick(key.hash(self.balance)),
            Algorithm::Hash(rivals) => rivals.pick_where(key.hash(self.balance), is_free),
            Algorithm::LeastConn(least) => {
                least.refresh_if_due(table, worker, now_ms);
                if tried.is_empty() { least.conns.pick() } else { least.conns.pick_where(is_free) }
            }
            Algorithm::RoundRobin(spread) if tried.is_empty() => spread.turns.next(),
            Algorithm::RoundRobin(spread) => spread.retry(eligible, is_free),
        }
    }
}

/// Round robin: exact turns for first choices, and turns of their own for retries, lest these take what the others
/// are due (of two servers, one refusing, a retry would use up the other's turn and send all work to the first).
#[derive(Debug)]
struct Spread {
    turns: Turns,
    seed: u64,
    retries: Option<Turns>,
    /// Where the next search in order begins.
    search_from: usize,
}

impl Spread {
    fn new(eligible: &[Eligible], seed: u64) -> Self {
        Self { turns: Turns::new(&weights(eligible), seed), seed, retries: None, search_from: 0 }
    }

    /// Returns whose turn it is among those free. If one round of turns meets none, heavy servers are in the way: the
    /// next free one in order.
    fn retry(&mut self, eligible: &[Eligible], is_free: impl Fn(usize) -> bool) -> Option<usize> {
        let count = eligible.len();
        let fresh = || Turns::new(&weights(eligible), seed::mix(self.seed));
        let turns = self.retries.get_or_insert_with(fresh);
        if let Some(index) = turns.take(count).find(|index| is_free(*index)) {
            return Some(index);
        }
        let found = (0..count).map(|n| (self.search_from + n) % count).find(|index| is_free(*index))?;
        self.search_from = found + 1;
        Some(found)
    }
}

fn weights(eligible: &[Eligible]) -> Vec<u32> {
    eligible.iter().map(|server| server.weight).collect()
}

/// Least work in flight, joined to the cells it is counted in.
#[derive(Debug)]
struct LeastWork {
    conns: LeastConn,
    /// The cells of each, as of the last refresh.
    lives: Box<[Arc<ServerLive>]>,
    /// Where each is, sorted by id.
    by_id: Box<[(ServerId, usize)]>,
    refreshed_ms: u64,
}

impl LeastWork {
    fn new(table: &FarmTable, worker: WorkerIx, seed: u64, now_ms: u64) -> Self {
        let eligible = &table.rotation.eligible;
        let mut by_id: Box<[_]> = eligible.iter().enumerate().map(|(index, server)| (server.id, index)).collect();
        by_id.sort_unstable();
        let lives = eligible.iter().map(|server| Arc::clone(live(table, server))).collect();
        let conns = LeastConn::new(&weights(eligible), seed);
        let mut least = Self { conns, lives, by_id, refreshed_ms: now_ms };
        least.refresh(table, worker);
        least
    }

    fn refresh_if_due(&mut self, table: &FarmTable, worker: WorkerIx, now_ms: u64) {
        if now_ms.saturating_sub(self.refreshed_ms) >= OTHERS_AGE_MS_MAX {
            self.refreshed_ms = now_ms;
            self.refresh(table, worker);
        }
    }

    /// Reads all cells again; a server whose cells are new (it moved, within the same rotation) is followed there.
    fn refresh(&mut self, table: &FarmTable, worker: WorkerIx) {
        for (known, server) in self.lives.iter_mut().zip(&table.rotation.eligible) {
            if !Arc::ptr_eq(known, live(table, server)) {
                *known = Arc::clone(live(table, server));
            }
        }
        let own = |index: usize| self.lives[index].in_flight.of(worker).value();
        let others = |index: usize| self.lives[index].in_flight_total().saturating_sub(own(index));
        self.conns.refresh(own, others);
    }

    /// Takes over this worker's count of one server, if it is in this rotation and counts in these cells.
    fn recount(&mut self, server: ServerId, live: &ServerLive, worker: WorkerIx) {
        let Ok(at) = self.by_id.binary_search_by_key(&server, |(id, _)| *id) else { return };
        let (_, index) = self.by_id[at];
        if std::ptr::eq(&*self.lives[index], live) {
            self.conns.set_own(index, live.in_flight.of(worker).value());
        }
    }
}

fn live<'t>(table: &'t FarmTable, server: &Eligible) -> &'t Arc<ServerLive> {
    &table.servers[server.position as usize].live
}

#[cfg(test)]
mod tests;
