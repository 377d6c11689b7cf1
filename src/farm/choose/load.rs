//! What each server of one rotation carries, for choices that go by load.
//!
//! Joined to the cells in which it is counted: this worker's count is read when it is asked for, the others' at most
//! [`OTHERS_AGE_MS_MAX`] old, since many workers that all read each other's cells for every choice would do little else.
//! What all servers carry together is known as of the same look, and follows what begins and ends here since.

use std::sync::Arc;

use crate::balance::bounded::{Carried, may_take};
use crate::balance::{Cost, LeastConn};
use crate::metrics::WorkerIx;
use crate::model::ServerId;

use super::super::live::ServerLive;
use super::super::rotation::Eligible;
use super::super::table::FarmTable;
use super::{Here, OTHERS_AGE_MS_MAX, weights};

/// See the module's doc. By place in `rotation.eligible`.
#[derive(Debug)]
pub(super) struct Loads {
    /// The cells of each, as of the last look.
    lives: Box<[Arc<ServerLive>]>,
    /// What the other workers had in flight at each then.
    others: Box<[u64]>,
    /// What all had in flight at all of them, and the worker's count of its own then.
    total: u64,
    open: u64,
    weight: u64,
    looked_ms: u64,
}

impl Loads {
    pub(super) fn new(table: &FarmTable, worker: WorkerIx, now_ms: u64) -> Self {
        let eligible = &table.rotation.eligible;
        let mut loads = Self {
            lives: eligible.iter().map(|server| Arc::clone(live(table, server))).collect(),
            others: vec![0; eligible.len()].into(),
            total: 0,
            open: 0,
            weight: eligible.iter().map(|server| u64::from(server.weight)).sum(),
            looked_ms: now_ms,
        };
        loads.look(table, Here { worker, open: 0 });
        loads
    }

    /// Looks again if the last look is too old; returns whether it did.
    pub(super) fn look_if_due(&mut self, table: &FarmTable, here: Here, now_ms: u64) -> bool {
        let is_due = now_ms.saturating_sub(self.looked_ms) >= OTHERS_AGE_MS_MAX;
        if is_due {
            self.looked_ms = now_ms;
            self.look(table, here);
        }
        is_due
    }

    /// Reads all cells; a server whose cells are new (it moved, within the same rotation) is followed there.
    fn look(&mut self, table: &FarmTable, here: Here) {
        let mut total = 0u64;
        for ((known, others), server) in self.lives.iter_mut().zip(&mut self.others).zip(&table.rotation.eligible) {
            let now = live(table, server);
            if !Arc::ptr_eq(known, now) {
                *known = Arc::clone(now);
            }
            let all = now.in_flight_total();
            total = total.saturating_add(all);
            *others = all.saturating_sub(now.in_flight.of(here.worker).value());
        }
        (self.total, self.open) = (total, here.open);
    }

    /// Returns what a server has in flight.
    pub(super) fn of(&self, index: usize, here: Here) -> u64 {
        self.own(index, here.worker).saturating_add(self.others[index])
    }

    fn own(&self, index: usize, worker: WorkerIx) -> u64 {
        self.lives[index].in_flight.of(worker).value()
    }

    /// Returns what work costs at a server, by the latency that this worker knows of it.
    pub(super) fn cost(&self, index: usize, eligible: &[Eligible], now_ms: u64, here: Here) -> Cost {
        let Some(server) = eligible.get(index) else { return Cost::of_load(u64::MAX) };
        let mean = u32::try_from(self.weight / eligible.len() as u64).unwrap_or(u32::MAX);
        let latency = self.lives[index].latency.of(here.worker).value();
        latency.cost(now_ms, self.of(index, here), server.weight, mean)
    }

    /// Returns who carries less than a farm's bound, if it has one. `loads` are made when they are first wanted.
    pub(super) fn bound<'l>(
        loads: &'l mut Option<Box<Self>>,
        table: &'l FarmTable,
        here: Here,
        now_ms: u64,
    ) -> Option<impl Fn(usize) -> bool + 'l> {
        let load_max = table.farm.hash.load_max?;
        let loads = loads.get_or_insert_with(|| Box::new(Self::new(table, here.worker, now_ms)));
        loads.look_if_due(table, here, now_ms);
        let since = i64::try_from(here.open.wrapping_sub(loads.open)).unwrap_or_else(|_| {
            // Fewer than then: the difference wrapped.
            i64::try_from(loads.open.wrapping_sub(here.open)).map_or(0, |fewer| -fewer)
        });
        let all = Carried { in_flight: loads.total.saturating_add_signed(since), weight: loads.weight };
        let eligible = &table.rotation.eligible;
        let loads = &**loads;
        Some(move |index: usize| {
            eligible.get(index).is_some_and(|server| may_take(loads.of(index, here), server.weight, all, load_max))
        })
    }
}

/// Least work in flight, ranked.
#[derive(Debug)]
pub(super) struct LeastWork {
    pub(super) conns: LeastConn,
    loads: Loads,
    /// Where each is, sorted by id.
    by_id: Box<[(ServerId, usize)]>,
}

impl LeastWork {
    pub(super) fn new(table: &FarmTable, worker: WorkerIx, seed: u64, now_ms: u64) -> Self {
        let eligible = &table.rotation.eligible;
        let mut by_id: Box<[_]> = eligible.iter().enumerate().map(|(index, server)| (server.id, index)).collect();
        by_id.sort_unstable();
        let conns = LeastConn::new(&weights(eligible), seed);
        let mut least = Self { conns, loads: Loads::new(table, worker, now_ms), by_id };
        least.rank(worker);
        least
    }

    pub(super) fn look_if_due(&mut self, table: &FarmTable, here: Here, now_ms: u64) {
        if self.loads.look_if_due(table, here, now_ms) {
            self.rank(here.worker);
        }
    }

    fn rank(&mut self, worker: WorkerIx) {
        let Self { conns, loads, .. } = self;
        conns.refresh(|index| loads.own(index, worker), |index| loads.others[index]);
    }

    /// Takes over this worker's count of one server, if it is in this rotation and counts in these cells.
    pub(super) fn recount(&mut self, server: ServerId, live: &ServerLive, worker: WorkerIx) {
        let Ok(at) = self.by_id.binary_search_by_key(&server, |(id, _)| *id) else { return };
        let (_, index) = self.by_id[at];
        if std::ptr::eq(&*self.loads.lives[index], live) {
            self.conns.set_own(index, live.in_flight.of(worker).value());
        }
    }
}

fn live<'t>(table: &'t FarmTable, server: &Eligible) -> &'t Arc<ServerLive> {
    &table.servers[server.position as usize].live
}
