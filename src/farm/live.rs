//! What changes with every request or check of one server, and outlives the tables that point to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::metrics::{Cell, CheckCells, PerWorker, WorkerIx};

/// The live counters of one server; shared by every table that holds the server.
#[derive(Debug)]
pub struct ServerLive {
    /// Requests or connections under way, per worker.
    pub in_flight: PerWorker<Cell>,
    /// What its traffic shows.
    pub traffic: Traffic,
    /// What was counted of its checks.
    pub checks: CheckCells,
}

impl ServerLive {
    /// Returns fresh counters for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            in_flight: PerWorker::new(workers),
            traffic: Traffic::new(workers),
            checks: CheckCells::default(),
        })
    }

    /// Returns the requests or connections under way on all workers.
    #[must_use]
    pub fn in_flight_total(&self) -> u64 {
        self.in_flight.sum(Cell::value)
    }
}

/// How work given to a server went: for passive checks and for telling where probes and traffic disagree.
#[derive(Debug)]
pub struct Traffic {
    /// Failures in a row, over all workers; written only by a failure and by the first success after one.
    in_a_row: AtomicU32,
    /// Work that went well, per worker.
    pub good: PerWorker<Cell>,
    /// Work that failed, per worker.
    pub bad: PerWorker<Cell>,
}

impl Traffic {
    fn new(workers: usize) -> Self {
        Self { in_a_row: AtomicU32::new(0), good: PerWorker::new(workers), bad: PerWorker::new(workers) }
    }

    /// Counts work that went well.
    pub fn went_well(&self, worker: WorkerIx) {
        self.good.of(worker).add(1);
        if self.in_a_row.load(Relaxed) != 0 {
            self.in_a_row.store(0, Relaxed);
        }
    }

    /// Counts work that failed; returns how many did in a row.
    pub fn failed(&self, worker: WorkerIx) -> u32 {
        self.bad.of(worker).add(1);
        self.in_a_row.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Begins the count of failures in a row anew.
    pub fn forgive(&self) {
        self.in_a_row.store(0, Relaxed);
    }
}
