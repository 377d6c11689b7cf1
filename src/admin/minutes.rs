//! What frontends did, minute by minute, for as long as a day: a ring in memory, written by the admin side's own tick and
//! read by shapes that tell of the past.
//!
//! Counters are read, never touched: the data plane does not know of it. Rates are what the counters gained in a minute;
//! work of a server that leaves within one is counted up to the last tick before.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{FarmId, FrontendId, ServerId, Timestamp};
use crate::store::{Store, Table};

/// Minutes that are kept.
const MINUTES_MAX: usize = 24 * 60;
/// Values that are kept, over all minutes: with very many frontends, fewer minutes.
const VALUES_MAX: usize = 500_000;
const MICROS_PER_MINUTE: u64 = 60_000_000;

/// What a frontend did in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Connections accepted, a second.
    pub new_per_second: f64,
    /// Connections open at its end.
    pub open: f64,
    /// Bits in either direction, a second.
    pub bits_per_second: f64,
}

impl std::ops::Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            new_per_second: self.new_per_second + other.new_per_second,
            open: self.open + other.open,
            bits_per_second: self.bits_per_second + other.bits_per_second,
        }
    }
}

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Minutes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The counters at the beginning of the minute that is open; none before the first look.
    open: Option<Counters>,
    closed: VecDeque<Arc<Minute>>,
    values: usize,
}

#[derive(Debug)]
struct Minute {
    /// Minutes since 1970.
    number: u64,
    loads: Vec<(FrontendId, Load)>,
}

/// Every counter at one instant.
#[derive(Debug)]
struct Counters {
    at: Timestamp,
    connections: HashMap<FrontendId, u64>,
    bytes: HashMap<(FrontendId, FarmId, ServerId), u64>,
}

impl Minutes {
    /// Looks at the counters: the first time, and when a minute is over.
    pub fn tick(&self, store: &Store, now: Timestamp) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &state.open else {
            state.open = Some(Counters::read(&store.load(), now));
            return;
        };
        let (is, was) = (minute_of(now), minute_of(open.at));
        if is == was {
            return;
        }
        let table = store.load();
        let loads = open.loads(&table, now);
        state.open = Some(Counters::read(&table, now));
        // A clock that was set back begins again.
        if is < was {
            state.closed.clear();
            state.values = 0;
            return;
        }
        state.values += loads.len();
        state.closed.push_back(Arc::new(Minute { number: was, loads }));
        while state.closed.len() > MINUTES_MAX || state.values > VALUES_MAX {
            let Some(gone) = state.closed.pop_front() else { break };
            state.values -= gone.loads.len();
        }
    }

    /// Returns what these frontends did together, by minute since 1970, the oldest first; the last is the one under way.
    #[must_use]
    pub fn of(&self, frontends: &[FrontendId], store: &Store, now: Timestamp) -> Vec<(u64, Load)> {
        self.tick(store, now);
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let closed: Vec<_> = state.closed.iter().cloned().collect();
        let open = state.open.as_ref().map(|open| (minute_of(open.at), open.loads(&store.load(), now)));
        // The rest takes longer, and the next tick does not wait for it.
        drop(state);
        let frontends: HashSet<FrontendId> = frontends.iter().copied().collect();
        let sum = |loads: &[(FrontendId, Load)]| {
            let own = loads.iter().filter(|(id, _)| frontends.contains(id)).map(|(_, load)| *load);
            own.reduce(|all, one| all + one)
        };
        let closed = closed.iter().filter_map(|minute| Some((minute.number, sum(&minute.loads)?)));
        closed.chain(open.and_then(|(minute, loads)| Some((minute, sum(&loads)?)))).collect()
    }
}

impl Counters {
    fn read(table: &Table, at: Timestamp) -> Self {
        let mut counters = Self { at, connections: HashMap::new(), bytes: HashMap::new() };
        for frontend in &table.frontends {
            let id = frontend.frontend.id;
            counters.connections.insert(id, frontend.cells.sum(|c| c.connections.value()));
            counters.bytes.extend(bytes_of(table, frontend));
        }
        counters
    }

    /// Returns what was gained since.
    fn loads(&self, table: &Table, now: Timestamp) -> Vec<(FrontendId, Load)> {
        // What follows a look within the same second is a rate over that second.
        let seconds = now.since(self.at).as_secs_f64().max(1.0);
        let load = |frontend: &Arc<crate::store::FrontendTable>| {
            let id = frontend.frontend.id;
            let before = self.connections.get(&id).copied().unwrap_or(0);
            let connections = frontend.cells.sum(|c| c.connections.value()).saturating_sub(before);
            let gained = bytes_of(table, frontend);
            let gained = gained.map(|(key, bytes)| bytes.saturating_sub(self.bytes.get(&key).copied().unwrap_or(0)));
            let bytes: u64 = gained.fold(0, u64::saturating_add);
            let open = float(frontend.cells.sum(|c| c.connections_open.value()));
            let new_per_second = float(connections) / seconds;
            (id, Load { new_per_second, open, bits_per_second: float(bytes.saturating_mul(8)) / seconds })
        };
        table.frontends.iter().map(load).collect()
    }
}

fn bytes_of<'t>(
    table: &'t Table,
    frontend: &'t crate::store::FrontendTable,
) -> impl Iterator<Item = ((FrontendId, FarmId, ServerId), u64)> + 't {
    let id = frontend.frontend.id;
    frontend.feeds.iter().flat_map(move |feed| {
        let farm = table.farm_of(feed);
        farm.servers.iter().zip(&feed.edges).map(move |(entry, cells)| {
            let bytes = cells.sum(|c| c.bytes_in.value().wrapping_add(c.bytes_out.value()));
            ((id, farm.farm.id, entry.server.id), bytes)
        })
    })
}

fn minute_of(at: Timestamp) -> u64 {
    at.0 / MICROS_PER_MINUTE
}

#[expect(clippy::cast_precision_loss, reason = "a rate that is told to people and graphs")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::vendor_fixture::{name, state};

    fn at(minute: u64, second: u64) -> Timestamp {
        Timestamp((minute * 60 + second) * 1_000_000)
    }

    #[test]
    fn minute_is_told_while_it_is_open_and_kept_when_it_is_over_for_a_day() {
        let (state, minutes) = (state(), Minutes::default());
        let web = FrontendId::derive(&name("web"));
        minutes.tick(&state.store, at(100, 0));
        let table = state.store.load();
        let cells = table.frontend(web).unwrap();
        let worker = cells.cells.iter().next().unwrap();
        worker.connections.add(120);
        worker.connections_open.add(3);
        cells.feeds[0].edges[0].iter().next().unwrap().bytes_out.add(600);
        let seen = minutes.of(&[web], &state.store, at(100, 30));
        assert_eq!(seen, [(100, Load { new_per_second: 4.0, open: 3.0, bits_per_second: 160.0 })]);
        // Not the others, and not again in the next minute.
        assert_eq!(minutes.of(&[FrontendId(1)], &state.store, at(100, 31)), []);
        let seen = minutes.of(&[web], &state.store, at(101, 0));
        assert_eq!(seen[0], (100, Load { new_per_second: 2.0, open: 3.0, bits_per_second: 80.0 }));
        assert_eq!(seen[1], (101, Load { new_per_second: 0.0, open: 3.0, bits_per_second: 0.0 }));
        for minute in 102..102 + 2 * 24 * 60 {
            minutes.tick(&state.store, at(minute, 0));
        }
        assert_eq!(minutes.0.lock().unwrap().closed.len(), MINUTES_MAX);
        minutes.tick(&state.store, at(7, 0));
        assert_eq!(minutes.of(&[web], &state.store, at(7, 1)).len(), 1);
    }
}
