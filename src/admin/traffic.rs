//! How many bytes go through the zone in a month: counted from the data plane's own counters, kept for later processes.
//!
//! [`Meter::count`] adds what the counters grew by since it was last called, so the more often it is called the less is
//! missed: of a server that goes, what went through it since. Whoever has the meter brings the pace; [`Meter::keep`]
//! blocks on the disk. What was counted and not kept yet is lost with the process. A short lock, never the data plane's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::traffic::{MonthTraffic, month_of};
use crate::model::{FrontendId, ServerId, Timestamp};
use crate::store::{JournalError, Table};

/// Where months outlive the process.
pub trait Keep: Send + Sync {
    /// Returns all, the oldest first.
    ///
    /// # Errors
    /// If they cannot be read.
    fn all(&self) -> Result<Vec<MonthTraffic>, JournalError>;

    /// Keeps a month in the place of what was kept of it; returns its id.
    ///
    /// # Errors
    /// If it is not kept.
    fn put(&self, month: &MonthTraffic) -> Result<u64, JournalError>;
}

/// Keeps nothing, and numbers months as they come.
struct Nowhere;

impl Keep for Nowhere {
    fn all(&self) -> Result<Vec<MonthTraffic>, JournalError> {
        Ok(Vec::new())
    }

    fn put(&self, month: &MonthTraffic) -> Result<u64, JournalError> {
        Ok(month.since.unix_seconds())
    }
}

/// See the module's doc.
pub struct Meter {
    state: Mutex<State>,
    keep: Box<dyn Keep>,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    months: Vec<MonthTraffic>,
    /// What the counters were when they were last read.
    seen: HashMap<(FrontendId, ServerId), u64>,
    /// Months that were counted on since they were kept: those from this position on.
    unkept_from: Option<usize>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Meter {
    /// Returns one that goes on from what earlier processes counted.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn load(keep: Box<dyn Keep>) -> Result<Self, JournalError> {
        let state = State { months: keep.all()?, ..State::default() };
        Ok(Self { state: Mutex::new(state), keep })
    }

    /// Returns one whose months end with the process.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { state: Mutex::default(), keep: Box::new(Nowhere) }
    }

    /// Counts what went through since it was last called; returns the month.
    pub fn count(&self, table: &Table, now: Timestamp) -> MonthTraffic {
        let mut state = self.lock();
        let (seen, grown) = read(table, &state.seen);
        state.seen = seen;
        let (zone, since) = (table.service.zone.as_str(), month_of(now));
        let found = state.months.iter().rposition(|month| month.since == since && &*month.zone == zone);
        let at = found.unwrap_or_else(|| {
            state.months.push(MonthTraffic { id: 0, zone: zone.into(), since, bytes: 0, counted_at: now });
            state.months.len() - 1
        });
        if grown > 0 || found.is_none() {
            state.unkept_from = Some(state.unkept_from.map_or(at, |from| from.min(at)));
        }
        let month = &mut state.months[at];
        month.bytes = month.bytes.saturating_add(grown);
        month.counted_at = now;
        month.clone()
    }

    /// Returns the months that are over and were kept, the oldest first.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> Vec<MonthTraffic> {
        let since = month_of(now);
        self.lock().months.iter().filter(|month| month.since < since && month.id > 0).cloned().collect()
    }

    /// Keeps what was counted since it was last kept. Blocks on the disk.
    ///
    /// # Errors
    /// If it is not kept; the next call tries again.
    pub fn keep(&self) -> Result<(), JournalError> {
        let (from, due) = {
            let state = self.lock();
            let Some(from) = state.unkept_from else { return Ok(()) };
            (from, state.months[from..].to_vec())
        };
        for (at, month) in due.iter().enumerate().map(|(i, month)| (from + i, month)) {
            let id = self.keep.put(month)?;
            self.lock().months[at].id = id;
        }
        let mut state = self.lock();
        let is_same = |(i, month): (usize, &MonthTraffic)| state.months[from + i].bytes == month.bytes;
        if state.months.len() == from + due.len() && due.iter().enumerate().all(is_same) {
            state.unkept_from = None;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every counter; returns what they are, and by how much they grew. One that is smaller than it was began anew.
fn read(table: &Table, seen: &HashMap<(FrontendId, ServerId), u64>) -> (HashMap<(FrontendId, ServerId), u64>, u64) {
    let mut now = HashMap::with_capacity(seen.len());
    let mut grown = 0_u64;
    for frontend in &table.frontends {
        for feed in &frontend.feeds {
            for (entry, cells) in table.farm_of(feed).servers.iter().zip(&feed.edges) {
                let bytes = cells.sum(|cell| cell.bytes_in.value().wrapping_add(cell.bytes_out.value()));
                let key = (frontend.frontend.id, entry.server.id);
                let before = seen.get(&key).copied().filter(|before| *before <= bytes).unwrap_or(0);
                // A farm that a frontend feeds in two ways is counted in the same cells.
                if now.insert(key, bytes).is_none() {
                    grown = grown.saturating_add(bytes - before);
                }
            }
        }
    }
    (now, grown)
}

#[cfg(test)]
mod tests;
