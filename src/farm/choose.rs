//! Who takes the next piece of a farm's work, and what one worker remembers for that.
//!
//! Joins the rotation (who may) with an algorithm of `balance` (who does). A worker keeps one [`Choosers`]; in it each
//! farm has a chooser made for one version of its rotation, and starts afresh when the version differs. Work that
//! holds an older table (a retry) is served by a chooser of that older version, kept aside, so that it does not disturb
//! the turns of the current one.
//!
//! Owned by one thread; time and seed are handed in. Work in flight is counted in the servers' own cells, of which this
//! worker writes its own; farms that go by load read it from there ([`load`]): this worker's at once, the others' at most
//! [`OTHERS_AGE_MS_MAX`] old. A pick allocates nothing once its chooser is there (the first retry of a round robin farm
//! makes a second series of turns).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::balance::hash::{hash_source, hash_uri, hash_value};
use crate::balance::{Cost, Maglev, Rendezvous, Turns, TwoChoices, first, seed};
use crate::metrics::WorkerIx;
use crate::model::{Balance, Farm, FarmId, Generation, HashKey, ServerId};

use self::load::{LeastWork, Loads};
use super::live::ServerLive;
use super::rotation::Eligible;
use super::table::FarmTable;

mod load;

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

/// A piece of work that somebody is to be chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What it is recognised by.
    pub key: Key<'a>,
    /// The value of the field that its farm hashes, where it hashes one and there is one.
    pub header: Option<&'a [u8]>,
    /// Milliseconds from any start; they do not go back.
    pub now_ms: u64,
}

impl Ask<'_> {
    fn hash(&self, farm: &Farm) -> u64 {
        let Key { source, uri } = self.key;
        match (farm.balance, &farm.hash.key, uri, self.header) {
            (Balance::Uri, _, Some(uri), _) | (Balance::Maglev, HashKey::Uri, Some(uri), _) => hash_uri(uri),
            (Balance::Maglev, HashKey::Header(_), _, Some(value)) => hash_value(value),
            (
                Balance::Uri
                | Balance::Ewma
                | Balance::First
                | Balance::LeastConn
                | Balance::Maglev
                | Balance::Random
                | Balance::RoundRobin
                | Balance::Source,
                ..,
            ) => hash_source(source),
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
        let ask = Ask { key, header: None, now_ms };
        if tried.is_empty() { self.first(table, ask) } else { self.among(table, ask, &|at| !tried.contains(at)) }
    }

    /// Returns the position of who takes a piece of work that nobody was given yet.
    pub fn first(&mut self, table: &FarmTable, ask: Ask<'_>) -> Option<usize> {
        self.any(table, ask, None)
    }

    /// Returns the position of who takes a piece of work among those for whose position `may` is true. What retries and
    /// full servers are chosen by: it takes no turn of others.
    pub fn among(&mut self, table: &FarmTable, ask: Ask<'_>, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        self.any(table, ask, Some(may))
    }

    fn any(&mut self, table: &FarmTable, ask: Ask<'_>, may: Option<&dyn Fn(usize) -> bool>) -> Option<usize> {
        let worker = self.worker;
        let fresh = || Chooser::new(table, worker, self.seed, ask.now_ms);
        let versions = self.farms.entry(table.farm.id).or_insert_with(|| Versions::new(fresh()));
        let open = versions.open;
        let index = versions.of(table, fresh).choose(table, ask, may, Here { worker, open })?;
        table.rotation.eligible.get(index).map(|eligible| eligible.position as usize)
    }

    /// Counts a piece of work that the server at `position` has been given.
    pub fn started(&mut self, table: &FarmTable, position: usize) {
        let Some(entry) = table.servers.get(position) else { return };
        entry.live.in_flight.of(self.worker).add(1);
        self.recount(table.farm.id, entry.server.id, &entry.live, 1);
    }

    /// Counts the end of a piece of work. `live` is that of the table in which it started; server and farm may have
    /// left since.
    pub fn ended(&mut self, farm: FarmId, server: ServerId, live: &ServerLive) {
        live.in_flight.of(self.worker).sub(1);
        self.recount(farm, server, live, -1);
    }

    /// Forgets the farms for which `is_there` is false.
    pub fn forget_except(&mut self, is_there: impl Fn(FarmId) -> bool) {
        self.farms.retain(|farm, _| is_there(*farm));
    }

    /// Takes in that a server's work in flight here changed `by` one.
    fn recount(&mut self, farm: FarmId, server: ServerId, live: &ServerLive, by: i64) {
        let Some(versions) = self.farms.get_mut(&farm) else { return };
        versions.open = versions.open.wrapping_add_signed(by);
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
    /// Work of the farm begun here less that ended here, from any start: only differences mean anything.
    open: u64,
}

/// Where a choice is made, and [`Versions::open`] there.
#[derive(Clone, Copy, Debug)]
struct Here {
    worker: WorkerIx,
    open: u64,
}

impl Versions {
    fn new(current: Chooser) -> Self {
        Self { current, earlier: None, open: 0 }
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
    Ewma(Box<Drawn>),
    First,
    Hash(Rendezvous, Bound),
    LeastConn(LeastWork),
    /// The table is the farm table's; nothing where that has none.
    Maglev(Option<Arc<Maglev>>, Bound),
    Random(Box<Drawn>),
    RoundRobin(Spread),
}

/// Two choices, and what they are made by.
#[derive(Debug)]
struct Drawn {
    choices: TwoChoices,
    loads: Loads,
}

/// The loads of a farm that bounds them where it hashes.
#[derive(Debug, Default)]
struct Bound(Option<Box<Loads>>);

impl Chooser {
    fn new(table: &FarmTable, worker: WorkerIx, seed: u64, now_ms: u64) -> Self {
        let version = table.rotation.version;
        let eligible = &table.rotation.eligible;
        let seed = seed::join(&[seed, worker.0 as u64, table.farm.id.0, version.0]);
        let drawn = || {
            let choices = TwoChoices::new(&weights(eligible), seed);
            Box::new(Drawn { choices, loads: Loads::new(table, worker, now_ms) })
        };
        let algorithm = match table.farm.balance {
            Balance::Ewma => Algorithm::Ewma(drawn()),
            Balance::First => Algorithm::First,
            Balance::LeastConn => Algorithm::LeastConn(LeastWork::new(table, worker, seed, now_ms)),
            Balance::Maglev => Algorithm::Maglev(table.maglev.clone(), Bound::default()),
            Balance::Random => Algorithm::Random(drawn()),
            Balance::RoundRobin => Algorithm::RoundRobin(Spread::new(eligible, seed)),
            Balance::Source | Balance::Uri => {
                let rivals = eligible.iter().map(|server| (server.id, server.weight));
                Algorithm::Hash(Rendezvous::new(rivals), Bound::default())
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
        ask: Ask<'_>,
        may: Option<&dyn Fn(usize) -> bool>,
        here: Here,
    ) -> Option<usize> {
        let eligible = &table.rotation.eligible;
        let is_free =
            |index: usize| eligible.get(index).is_some_and(|e| may.is_none_or(|may| may(e.position as usize)));
        let (farm, now_ms) = (&*table.farm, ask.now_ms);
        match &mut self.algorithm {
            Algorithm::Ewma(drawn) => {
                let Drawn { choices, loads } = &mut **drawn;
                loads.look_if_due(table, here, now_ms);
                let cost = |index: usize| loads.cost(index, eligible, now_ms, here);
                if may.is_none() { choices.pick(cost) } else { choices.pick_where(cost, is_free) }
            }
            Algorithm::First => first::pick(eligible.len(), is_free),
            Algorithm::Hash(rivals, Bound(bound)) => {
                let hash = ask.hash(farm);
                let Some(is_light) = Loads::bound(bound, table, here, now_ms) else {
                    return if may.is_none() { rivals.pick(hash) } else { rivals.pick_where(hash, is_free) };
                };
                let light = rivals.pick_where(hash, |index| is_free(index) && is_light(index));
                light.or_else(|| rivals.pick_where(hash, is_free))
            }
            Algorithm::LeastConn(least) => {
                least.look_if_due(table, here, now_ms);
                if may.is_none() { least.conns.pick() } else { least.conns.pick_where(is_free) }
            }
            Algorithm::Maglev(places, Bound(bound)) => {
                let (places, hash) = (places.as_ref()?, ask.hash(farm));
                let Some(is_light) = Loads::bound(bound, table, here, now_ms) else {
                    return if may.is_none() { places.pick(hash) } else { places.pick_where(hash, is_free) };
                };
                let light = places.pick_where(hash, |index| is_free(index) && is_light(index));
                light.or_else(|| places.pick_where(hash, is_free))
            }
            Algorithm::Random(drawn) => {
                let Drawn { choices, loads } = &mut **drawn;
                loads.look_if_due(table, here, now_ms);
                let cost = |index: usize| Cost::of_load(loads.of(index, here));
                if may.is_none() { choices.pick(cost) } else { choices.pick_where(cost, is_free) }
            }
            Algorithm::RoundRobin(spread) if may.is_none() => spread.turns.next(),
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

#[cfg(test)]
mod tests;
