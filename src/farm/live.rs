//! What changes with every request or check of one server or farm, and outlives the tables that point to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::budget::Budget;
use super::places::Places;
use super::queue::Queue;
use crate::balance::Latency;
use crate::metrics::{Cell, CheckCells, PerWorker, WorkerIx};

/// The live counters of one server; shared by every table that holds the server.
#[derive(Debug)]
pub struct ServerLive {
    /// Requests or connections under way, per worker.
    pub in_flight: PerWorker<Cell>,
    /// Those of its places that are taken, where it has only so many.
    pub places: Places,
    /// How long its answers take, as each worker finds; kept only where the farm chooses by it.
    pub latency: PerWorker<LatencyCell>,
    /// Connections to it that each worker keeps idle, as far as it knows; at most by mistake more than there are.
    pub idle_here: PerWorker<Cell>,
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
            places: Places::default(),
            latency: PerWorker::new(workers),
            idle_here: PerWorker::new(workers),
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

/// What is counted of one farm beside its servers; shared by every table that holds the farm.
#[derive(Debug, Default)]
pub struct FarmLive {
    /// Who waits for a server that is full.
    pub queue: Arc<Queue>,
    /// Work that waited.
    pub waits: Tally,
    /// Work that waited in vain: its time was up.
    pub waits_timed_out: Tally,
    /// How much may be tried again.
    pub budget: Budget,
    /// Retries that were not made since the budget was used up.
    pub retries_refused: Tally,
}

/// A number that any thread may add to: for what is rare.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds one.
    pub fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker knows of how long a server's answers take. Written and read by that worker only.
#[derive(Debug, Default)]
pub struct LatencyCell {
    fine: AtomicU64,
    at_ms: AtomicU64,
}

impl LatencyCell {
    /// Takes in that an answer took `us`.
    pub fn sample(&self, us: u64, now_ms: u64) {
        let Latency { fine, at_ms } = self.value().with_sample(us, now_ms);
        self.fine.store(fine, Relaxed);
        self.at_ms.store(at_ms, Relaxed);
    }

    /// Returns what is known.
    #[must_use]
    pub fn value(&self) -> Latency {
        Latency { fine: self.fine.load(Relaxed), at_ms: self.at_ms.load(Relaxed) }
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
