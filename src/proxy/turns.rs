//! Whose turn it is where routes spread work by weight, or copy a share of it: one count for each, of one worker.
//!
//! Counts begin anywhere, so that workers do not march in step, and go on over reloads; those of routes that are gone are
//! dropped with the farms that are. Only work that is split pays for the lock, which no other worker ever holds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::{FrontendId, RouteId};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TurnKey {
    /// Whose work it is.
    pub(super) frontend: FrontendId,
    /// The route; none for what no route takes.
    pub(super) route: Option<RouteId>,
    /// What the turn is for.
    pub(super) of: TurnOf,
}

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TurnOf {
    /// Being copied to another farm.
    Mirror,
    /// Going to one of several farms.
    Split,
}

/// See the module's doc.
pub(super) struct SplitTurns {
    start: u64,
    counts: Mutex<HashMap<TurnKey, u64>>,
}

impl SplitTurns {
    pub(super) fn new(start: u64) -> Self {
        // Far from the end, which is never reached.
        Self { start: start >> 16, counts: Mutex::default() }
    }

    /// Returns the next turn.
    pub(super) fn next(&self, key: TurnKey) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_insert(self.start);
        let turn = *count;
        *count = count.wrapping_add(1);
        turn
    }

    /// Drops the counts for which `is_there` is false.
    pub(super) fn forget_except(&self, is_there: impl Fn(TurnKey) -> bool) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_there(*key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_each_follow_one_another_and_begin_anew_once_forgotten() {
        let turns = SplitTurns::new(7 << 16);
        let one = TurnKey { frontend: FrontendId(1), route: None, of: TurnOf::Split };
        let other = TurnKey { of: TurnOf::Mirror, ..one };
        assert_eq!([one, one, other, one].map(|key| turns.next(key)), [7, 8, 7, 9]);
        turns.forget_except(|key| key == one);
        assert_eq!([turns.next(one), turns.next(other)], [10, 7]);
    }
}
