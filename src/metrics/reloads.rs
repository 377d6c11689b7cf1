//! What is counted of config loads. Written by whoever carries a reload out, a few times a day; read at each scrape.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::Timestamp;

/// Counters of config loads, for any number of writers.
#[derive(Debug, Default)]
pub struct ReloadCells {
    applied: AtomicU64,
    refused: AtomicU64,
    loaded_at_us: AtomicU64,
}

impl ReloadCells {
    /// Notes the config that the process started with; no reload.
    pub fn started(&self, now: Timestamp) {
        self.loaded_at_us.store(now.0, Relaxed);
    }

    /// Counts a reload that is live now.
    pub fn applied(&self, now: Timestamp) {
        self.applied.fetch_add(1, Relaxed);
        self.loaded_at_us.store(now.0, Relaxed);
    }

    /// Counts a reload that was refused; the old config stays.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Returns how many reloads went live.
    #[must_use]
    pub fn applied_total(&self) -> u64 {
        self.applied.load(Relaxed)
    }

    /// Returns how many reloads were refused.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Returns when the live config was loaded; 1970 before the first.
    #[must_use]
    pub fn loaded_at(&self) -> Timestamp {
        Timestamp(self.loaded_at_us.load(Relaxed))
    }
}
