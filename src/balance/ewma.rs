//! The quickest: how long a server's answers take, as a peak that decays, and what work there costs by that.
//!
//! A sample above what is known is believed at once; one below it pulls it down, the more the longer ago the last one
//! was. Nothing known decays by half in [`HALF_LIFE_MS`], so a server that was slow is asked again by and by. Cost is
//! latency × (what is in flight for its weight + 1): a server without a sample costs nothing while it is idle, so it is
//! tried, and more than any other while its first answers are awaited. Two costs that differ by less than a quarter are
//! equal, and the weights decide (`random` draws the two). Finagle's Peak EWMA, with halves instead of powers of e, so
//! that whole numbers do.
//!
//! Who samples: each worker for itself. It learns a little more slowly than all together would, and nothing is written
//! that another worker reads.

use super::random::Cost;

/// In what time half of what is known is gone, in milliseconds.
pub const HALF_LIFE_MS: u64 = 5_000;
/// Costs this close, in parts of 256, are equal.
const TOLERANCE: u8 = 64;
/// What is in flight is counted up to this, latencies up to [`LATENCY_US_MAX`], weights up to 2^23: costs stay below
/// 2^64.
const IN_FLIGHT_MAX: u64 = 1 << 12;
/// About a minute.
const LATENCY_US_MAX: u64 = 1 << 26;
/// Bits of a microsecond.
const FINE_BITS: u32 = 10;

/// What is known of a server's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// In parts of 1024 of a microsecond, lest rounding stop the decay; 0: nothing is known.
    pub fine: u64,
    /// As of when, in milliseconds from any start.
    pub at_ms: u64,
}

impl Latency {
    /// Returns what is known after another answer, which took `us`.
    #[must_use]
    pub fn with_sample(self, us: u64, now_ms: u64) -> Self {
        let sample = us.clamp(1, LATENCY_US_MAX) << FINE_BITS;
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        if sample >= halved(self.fine, elapsed_ms) {
            return Self { fine: sample, at_ms: now_ms };
        }
        if elapsed_ms == 0 {
            // Too soon to pull anything down; a clock that was moved on for it would never get anywhere.
            return self;
        }
        Self { fine: sample + halved(self.fine.saturating_sub(sample), elapsed_ms), at_ms: now_ms }
    }

    /// Returns what is left of it, in microseconds; at least 1 if anything was ever known.
    #[must_use]
    pub fn decayed(self, now_ms: u64) -> u64 {
        let left = halved(self.fine, now_ms.saturating_sub(self.at_ms)) >> FINE_BITS;
        left.max(self.fine.min(1))
    }

    /// Returns what work costs at a server of that weight, beside others of `mean` on average, with so much in flight.
    #[must_use]
    pub fn cost(self, now_ms: u64, in_flight: u64, weight: u32, mean: u32) -> Cost {
        let known = self.decayed(now_ms);
        let latency = match (known, in_flight) {
            (0, 0) => return Cost { amount: 0, tolerance: 0 },
            (0, _) => LATENCY_US_MAX,
            (known, _) => known,
        };
        let carried = u64::from(mean) * in_flight.min(IN_FLIGHT_MAX) + u64::from(weight);
        Cost { amount: latency.saturating_mul(carried), tolerance: TOLERANCE }
    }
}

/// Halves `value` as often as the time says, in a straight line between two halvings.
fn halved(value: u64, elapsed_ms: u64) -> u64 {
    let times = elapsed_ms / HALF_LIFE_MS;
    let rest = elapsed_ms % HALF_LIFE_MS;
    let whole = value.checked_shr(u32::try_from(times).unwrap_or(u32::MAX)).unwrap_or(0);
    whole - whole * rest / (2 * HALF_LIFE_MS)
}

#[cfg(test)]
mod tests {
    use super::super::TwoChoices;
    use super::*;

    fn latency(us: u64, at_ms: u64) -> Latency {
        Latency::default().with_sample(us, at_ms)
    }

    #[test]
    fn peak_is_believed_at_once_and_pulled_down_by_and_by() {
        let quick = latency(1_000, 0);
        let peak = quick.with_sample(9_000, 10);
        assert_eq!((peak.decayed(10), peak.at_ms), (9_000, 10));
        assert_eq!(peak.with_sample(1_000, 10), peak, "no time has gone by");
        let after = peak.with_sample(1_000, 10 + HALF_LIFE_MS);
        assert_eq!(after.decayed(10 + HALF_LIFE_MS), 5_000, "half way");
        let mut known = peak;
        for n in 1..=60_000u64 {
            known = known.with_sample(1_000, 10 + n);
        }
        assert!((1_000..1_100).contains(&known.decayed(60_010)), "{known:?}");
    }

    #[test]
    fn decay_halves_and_never_comes_to_nothing() {
        let known = latency(8_000, 0);
        let left =
            [0, HALF_LIFE_MS / 2, HALF_LIFE_MS, 2 * HALF_LIFE_MS, 1000 * HALF_LIFE_MS].map(|at| known.decayed(at));
        assert_eq!(left, [8_000, 6_000, 4_000, 2_000, 1]);
        assert_eq!(Latency::default().decayed(5), 0);
        assert_eq!(latency(0, 0).decayed(0), 1, "a sample is something");
    }

    #[test]
    fn decay_never_grows_with_time() {
        let known = latency(123_457, 0);
        for at in 0..40_000u64 {
            assert!(known.decayed(at) >= known.decayed(at + 1), "{at}");
        }
    }

    #[test]
    fn server_without_samples_is_tried_and_then_awaited() {
        let (new, known) = (Latency::default(), latency(2_000, 0));
        let mut two = TwoChoices::new(&[1, 1], 1);
        let mut pick = |in_flight: [u64; 2]| two.pick(|at| [new, known][at].cost(1, in_flight[at], 1, 1)).unwrap();
        assert!((0..100).all(|_| pick([0, 0]) == 0));
        assert!((0..100).all(|_| pick([1, 50]) == 1));
    }

    #[test]
    fn slower_server_is_left_alone_until_the_others_are_busy() {
        let (slow, quick) = (latency(10_000, 0), latency(1_000, 0));
        let mut two = TwoChoices::new(&[1, 1], 1);
        let mut pick = |in_flight: [u64; 2]| two.pick(|at| [slow, quick][at].cost(0, in_flight[at], 1, 1)).unwrap();
        assert!((0..100).all(|_| pick([0, 5]) == 1));
        assert!((0..100).all(|_| pick([0, 20]) == 0));
    }

    /// Equal latencies: the weights decide, idle and busy.
    #[test]
    fn equally_quick_servers_share_by_weight() {
        const WEIGHTS: [u32; 3] = [5, 3, 2];
        for busy in [0, 60] {
            let mut two = TwoChoices::new(&WEIGHTS, 9);
            let (mut open, mut in_flight, mut have) = (std::collections::VecDeque::new(), [0u64; 3], [0u32; 3]);
            for _ in 0..30_000 {
                let known = latency(1_000, 0);
                let chosen = two.pick(|at| known.cost(0, in_flight[at], WEIGHTS[at], 3)).unwrap();
                have[chosen] += 1;
                in_flight[chosen] += 1;
                open.push_back(chosen);
                if open.len() > busy {
                    in_flight[open.pop_front().unwrap()] -= 1;
                }
            }
            for (have, want) in have.into_iter().zip([15_000, 9_000, 6_000]) {
                assert!(have.abs_diff(want) < want / 10, "{busy} busy: {have} of {want}");
            }
        }
    }

    #[test]
    fn costs_of_extremes_do_not_overflow() {
        let known = latency(u64::MAX, 0);
        let cost = known.cost(0, u64::MAX, 6_553_500, 6_553_500);
        assert!(cost.amount < u64::MAX && cost.amount > 0);
    }
}
