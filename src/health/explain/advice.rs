//! How long checks take, and whether their timeout leaves room.
//!
//! Pure. A small histogram of fixed buckets, each a twelfth wider than the one before, from 100 µs to beyond an hour: a
//! percentile read from it is at most a twelfth too large.

use std::time::Duration;

use super::words::span;

/// The upper bound of the first bucket, in microseconds.
const FIRST_MICROS: u64 = 100;
/// Buckets: 100 µs × (13/12)^219 is more than an hour.
const BUCKETS: usize = 220;
/// Fewer checks than this say nothing of the slowest hundredth.
const CHECKS_MIN: u64 = 100;
/// The share of the timeout, in per cent, that the slowest hundredth may take.
const SHARE_MAX: u128 = 80;

/// How long checks took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    counts: Box<[u64]>,
    count: u64,
    longest: Duration,
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), count: 0, longest: Duration::ZERO }
    }
}

impl Durations {
    /// Returns the histogram of these.
    #[must_use]
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut all = Self::default();
        for duration in durations {
            all.add(duration);
        }
        all
    }

    /// Counts one more.
    pub fn add(&mut self, duration: Duration) {
        let bucket = bounds().position(|bound| duration <= bound).unwrap_or(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.count += 1;
        self.longest = self.longest.max(duration);
    }

    /// Returns how many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the time that so many per cent took no longer than; none without any.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let wanted = (u128::from(self.count) * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = |(count, bound): (&u64, Duration)| {
            seen += u128::from(*count);
            (seen >= wanted).then_some(bound)
        };
        self.counts.iter().zip(bounds()).find_map(reached).map(|bound| bound.min(self.longest))
    }

    /// Returns the upper bounds of the buckets that hold any, with how many each holds.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        bounds().zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0)
    }
}

/// Returns what to do about a timeout that leaves the slowest checks too little room; none where it leaves enough or too
/// few checks were seen.
#[must_use]
pub fn advice(durations: &Durations, timeout: Duration) -> Option<String> {
    let (p50, p99) = durations.percentile(50).zip(durations.percentile(99))?;
    let is_tight = p99.as_micros() * 100 > timeout.as_micros() * SHARE_MAX;
    if durations.count() < CHECKS_MIN || !is_tight {
        return None;
    }
    let found = format!("timeout {}, p99 is {} and p50 {}", span(timeout), span(p99), span(p50));
    Some(if p99 >= timeout {
        format!("{found}: one check in a hundred or more is cut off; raise the timeout or find out what is slow")
    } else {
        let roomy = Duration::from_millis(u64::try_from(p99.as_millis()).unwrap_or(u64::MAX).saturating_mul(2));
        format!("{found}: a little more load fails checks; raise the timeout to {} or more", span(roomy))
    })
}

fn bounds() -> impl Iterator<Item = Duration> {
    let next = |micros: &u64| Some(micros + micros / 12);
    std::iter::successors(Some(FIRST_MICROS), next).take(BUCKETS).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(all: &[(u64, usize)]) -> Durations {
        let each = |(ms, times): &(u64, usize)| std::iter::repeat_n(Duration::from_millis(*ms), *times);
        Durations::of(all.iter().flat_map(each))
    }

    #[test]
    fn advice_comes_when_the_slowest_hundredth_nears_the_timeout() {
        let second = Duration::from_secs(1);
        assert_eq!(
            advice(&millis(&[(30, 98), (930, 2)]), second).as_deref(),
            Some(
                "timeout 1 s, p99 is 930 ms and p50 30 ms: a little more load fails checks; raise the timeout to 1.8 s or more"
            )
        );
        let cut_off = advice(&millis(&[(30, 98), (1001, 2)]), second).unwrap();
        assert!(cut_off.contains("cut off"), "{cut_off}");
        for fine in [&[(30, 99), (930, 1)][..], &[(700, 1000)], &[(930, 99)], &[]] {
            assert_eq!(advice(&millis(fine), second), None, "{fine:?}");
        }
    }

    #[test]
    fn durations_reach_beyond_an_hour() {
        assert!(bounds().last().unwrap() > Duration::from_secs(3600));
        assert_eq!(Durations::default().percentile(99), None);
    }

    proptest! {
        #[test]
        fn durations_percentile_is_at_most_a_bucket_too_large(
            mut all in prop::collection::vec(0..100_000_000u64, 1..200), percent in 1..=100u8
        ) {
            let found = Durations::of(all.iter().copied().map(Duration::from_micros)).percentile(percent).unwrap();
            all.sort();
            let exact = all[(all.len() * usize::from(percent)).div_ceil(100) - 1];
            let found = found.as_micros();
            prop_assert!(found >= u128::from(exact));
            prop_assert!(found <= u128::from(exact.max(FIRST_MICROS)) * 109 / 100 + 2, "{} {}", found, exact);
        }
    }
}
