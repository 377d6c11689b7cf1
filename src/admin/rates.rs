//! How often somebody calls, exactly: one moment for each who has called of late, that at which its bucket would be full
//! again (the generic cell rate algorithm, ITU-T I.371). Pure: `now` is handed in.
//!
//! Whoever's moment is past is the same as one that never called. No more than [`KNOWN_MAX`] are known; when there is no
//! room, those are forgotten whose bucket is full, then the one whose bucket is the fullest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::settings::CallRate;

/// How many are known at once.
const KNOWN_MAX: usize = 4096;

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Rates<K> {
    full_at: Mutex<BTreeMap<K, Duration>>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { full_at: Mutex::default() }
    }
}

impl<K: Ord + Clone> Rates<K> {
    /// Takes a token out of somebody's bucket; `Err`: there is none, and how long it is until one comes.
    pub(super) fn take(&self, who: &K, rate: CallRate, now: Duration) -> Result<(), Duration> {
        let mut known = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = Self::after_one(known.get(who).copied(), rate, now)?;
        if known.len() >= KNOWN_MAX && !known.contains_key(who) {
            known.retain(|_, full_at| *full_at > now);
            let fullest = known.iter().min_by_key(|(_, full_at)| **full_at).map(|(who, _)| who.clone());
            if let Some(fullest) = fullest.filter(|_| known.len() >= KNOWN_MAX) {
                known.remove(&fullest);
            }
        }
        known.insert(who.clone(), full_at);
        Ok(())
    }

    /// Looks whether there is a token, and leaves it there.
    pub(super) fn look(&self, who: &K, rate: CallRate, now: Duration) -> Result<(), Duration> {
        let known = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        Self::after_one(known.get(who).copied(), rate, now).map(drop)
    }

    fn after_one(full_at: Option<Duration>, rate: CallRate, now: Duration) -> Result<Duration, Duration> {
        let token = (rate.window / rate.requests.max(1)).max(Duration::from_nanos(1));
        let bucket = token.saturating_mul(rate.burst.max(1));
        let full_at = full_at.map_or(now, |full_at| full_at.max(now)).saturating_add(token);
        match full_at.saturating_sub(now).checked_sub(bucket) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => Ok(full_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: CallRate = CallRate { requests: 10, window: Duration::from_secs(1), burst: 3 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn bucket_gives_its_burst_and_then_its_rate() {
        let rates = Rates::default();
        let take = |at| rates.take(&1, RATE, ms(at));
        let taken: Vec<_> = (0..5).map(|_| take(0).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!((take(0), take(99)), (Err(ms(100)), Err(ms(1))));
        assert!(take(100).is_ok() && take(100).is_err());
        assert_eq!((0..5).filter(|_| take(60_000).is_ok()).count(), 3, "a pause fills the bucket and no more");
    }

    #[test]
    fn everybody_has_a_bucket_and_looking_takes_nothing() {
        let rates = Rates::default();
        assert!((0..9).all(|_| rates.look(&1, RATE, ms(0)).is_ok()));
        assert!((0..3).all(|_| rates.take(&1, RATE, ms(0)).is_ok()));
        assert_eq!(rates.look(&1, RATE, ms(0)), Err(ms(100)));
        assert!(rates.take(&2, RATE, ms(0)).is_ok());
    }

    #[test]
    fn flood_of_callers_takes_no_more_room_and_whoever_called_most_is_remembered() {
        let rates = Rates::default();
        assert!((0..3).all(|_| rates.take(&u64::MAX, RATE, ms(0)).is_ok()));
        for who in 0..2 * KNOWN_MAX as u64 {
            assert!(rates.take(&who, RATE, ms(0)).is_ok());
        }
        assert_eq!(rates.full_at.lock().unwrap().len(), KNOWN_MAX);
        assert!(rates.take(&u64::MAX, RATE, ms(0)).is_err());
        assert!(rates.take(&u64::MAX, RATE, ms(100)).is_ok());
    }
}
