//! What changes with every request or check of one server, and outlives the tables that point to it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::metrics::{Cell, CheckCells, PerWorker};
use crate::model::CheckRecord;

/// The live counters of one server; shared by every table that holds the server.
#[derive(Debug)]
pub struct ServerLive {
    /// Requests or connections under way, per worker.
    pub in_flight: PerWorker<Cell>,
    /// What was counted of its checks.
    pub checks: CheckCells,
    /// The last check, if there was one.
    pub last_check: ArcSwapOption<CheckRecord>,
}

impl ServerLive {
    /// Returns fresh counters for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            in_flight: PerWorker::new(workers),
            checks: CheckCells::default(),
            last_check: ArcSwapOption::empty(),
        })
    }

    /// Returns the requests or connections under way on all workers.
    #[must_use]
    pub fn in_flight_total(&self) -> u64 {
        self.in_flight.sum(Cell::value)
    }
}
