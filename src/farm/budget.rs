//! How much of a farm's work may be tried again: a bucket for all workers, filled by the farm's own work.
//!
//! It bounds what servers are asked in vain: retries of what no server was given are not counted here.
//!
//! Each request that ended at a server of the farm adds its share, each second the least that is allowed in any case;
//! each retry takes one. What is in the bucket runs out of it within [`WINDOW_MS`], so it holds what the last seconds
//! brought: enough to carry a farm over the time until a dead server is found out, and no more. Looked at for retries
//! only, and the work is counted no more often than every [`COUNT_MS`]: a farm that retries nothing pays nothing.

use std::sync::{Mutex, PoisonError};

use crate::model::RetryBudget;

/// In what time the bucket runs empty.
const WINDOW_MS: u64 = 10_000;
/// How often the farm's work is counted at most.
const COUNT_MS: u64 = 100;

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Budget(Mutex<Option<Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    retries: f64,
    at_ms: u64,
    requests: u64,
}

impl Budget {
    /// Takes a retry out of the bucket; returns whether there was one. `requests` counts the farm's work from any start.
    pub fn take(&self, rule: RetryBudget, requests: impl FnOnce() -> u64, now_ms: u64) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match &mut *bucket {
            Some(bucket) => {
                if now_ms.saturating_sub(bucket.at_ms) >= COUNT_MS {
                    bucket.fill(rule, requests(), now_ms);
                }
                bucket
            }
            // What one window brings, as if there had been one.
            none => none.insert(Bucket {
                retries: f64::from(rule.per_second_min) * WINDOW_MS as f64 / 1e3,
                at_ms: now_ms,
                requests: requests(),
            }),
        };
        let has_one = bucket.retries >= 1.0;
        if has_one {
            bucket.retries -= 1.0;
        }
        has_one
    }
}

impl Bucket {
    #[expect(clippy::cast_precision_loss, reason = "shares of counts")]
    fn fill(&mut self, rule: RetryBudget, requests: u64, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let came = requests.saturating_sub(self.requests) as f64;
        let earned = came * f64::from(rule.share) / 100.0 + f64::from(rule.per_second_min) * elapsed_ms as f64 / 1e3;
        // Of a longer time than the window, what a window of it brought on average.
        let (kept, part) = if elapsed_ms < WINDOW_MS {
            (1.0 - elapsed_ms as f64 / WINDOW_MS as f64, 1.0)
        } else {
            (0.0, WINDOW_MS as f64 / elapsed_ms as f64)
        };
        *self = Self { retries: self.retries * kept + earned * part, at_ms: now_ms, requests };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RetryBudget = RetryBudget { share: 20, per_second_min: 1 };

    fn taken(budget: &Budget, rule: RetryBudget, tries: u32, requests: u64, now_ms: u64) -> u32 {
        (0..tries).map(|_| u32::from(budget.take(rule, || requests, now_ms))).sum()
    }

    #[test]
    fn quiet_farm_has_what_a_window_of_the_least_brings() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, RULE, 50, 0, 0), 10);
        assert_eq!(taken(&budget, RULE, 50, 0, 99), 0);
        assert_eq!(taken(&budget, RULE, 50, 0, 3_000), 3);
        assert_eq!(taken(&budget, RULE, 50, 0, 1_000_000), 10, "no more comes together, however long it was quiet");
    }

    #[test]
    fn share_of_the_requests_may_be_tried_again() {
        let budget = Budget::default();
        taken(&budget, RULE, 10, 0, 0);
        let mut allowed = 0;
        for second in 1..=60u64 {
            allowed += taken(&budget, RULE, 1_000, 1_000 * second, 1_000 * second);
        }
        assert_eq!(allowed, 60 * 201, "a fifth, and one a second");
    }

    #[test]
    fn what_was_not_used_within_the_window_is_gone() {
        let budget = Budget::default();
        for second in 0..=600u64 {
            taken(&budget, RULE, 1, 100 * second, 1_000 * second);
        }
        let saved = taken(&budget, RULE, 10_000, 60_000, 600_000);
        assert!((150..=210).contains(&saved), "{saved} of 210 that ten seconds bring");
    }

    #[test]
    fn budget_of_nothing_allows_nothing() {
        let rule = RetryBudget { share: 0, per_second_min: 0 };
        let budget = Budget::default();
        assert_eq!(taken(&budget, rule, 10, 0, 0) + taken(&budget, rule, 10, 1_000, 5_000), 0);
    }
}
