//! Slow start: a server that comes back is given its weight little by little.
//!
//! Pure. The share grows with time in [`STEPS`] steps, so that a return makes no more tables than that; it is never 0,
//! since a server that is given nothing learns nothing. A clock that was set back begins the ramp anew.

use std::time::Duration;

use crate::model::{Timestamp, Warmup};

/// Steps from nothing to the whole weight.
const STEPS: u64 = 20;

/// Returns the warm-up of a server that comes back now; none where the farm wants none.
pub(super) fn begun(slow_start: Duration, now: Timestamp) -> Option<Warmup> {
    resumed(now, slow_start, now)
}

/// Returns the warm-up at `now` of a server that came back at `since`; none once it is whole.
pub(super) fn resumed(since: Timestamp, slow_start: Duration, now: Timestamp) -> Option<Warmup> {
    let since = since.min(now);
    let until = since + slow_start;
    let step = steps_done(now.since(since), slow_start)?;
    let percent = u8::try_from(step * 100 / STEPS).unwrap_or(99).max(1);
    Some(Warmup { since, until, percent })
}

/// Returns what a warm-up is at `now`; none once it is whole. A reload that makes it longer takes no share back.
pub(super) fn continued(before: Warmup, slow_start: Duration, now: Timestamp) -> Option<Warmup> {
    let after = resumed(before.since, slow_start, now)?;
    let kept = if after.since == before.since { before.percent } else { 0 };
    Some(Warmup { percent: after.percent.max(kept), ..after })
}

/// Returns when the share grows next: later than the time at which the warm-up was looked at.
pub(super) fn next_step(warmup: &Warmup) -> Timestamp {
    let length = warmup.until.since(warmup.since).as_micros();
    let next = u128::from(warmup.percent) * u128::from(STEPS) / 100 + 1;
    let micros = (next * length).div_ceil(u128::from(STEPS));
    warmup.since + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Whole steps after that time, fewer than [`STEPS`]; none when the ramp is over.
fn steps_done(gone_by: Duration, length: Duration) -> Option<u64> {
    if gone_by >= length {
        return None;
    }
    let done = gone_by.as_micros() * u128::from(STEPS) / length.as_micros().max(1);
    u64::try_from(done).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn warmup_grows_with_time_and_is_never_nothing() {
        let slow = Duration::from_secs(100);
        let percent = |now| resumed(at(0), slow, at(now)).map(|warmup| warmup.percent);
        let all: Vec<_> = [0, 4, 5, 34, 35, 50, 99, 100, 5000].into_iter().map(percent).collect();
        let want = [Some(1), Some(1), Some(5), Some(30), Some(35), Some(50), Some(95), None, None];
        assert_eq!(all, want);
        assert_eq!(begun(Duration::ZERO, at(0)), None);
    }

    #[test]
    fn warmup_that_is_made_longer_keeps_its_share_and_ends_when_it_now_should() {
        let before = resumed(at(0), Duration::from_secs(10), at(9)).unwrap();
        let longer = Duration::from_secs(20);
        let after = continued(before, longer, at(10)).unwrap();
        assert_eq!((before.percent, after.percent, after.until), (90, 90, at(20)));
        assert_eq!(next_step(&after), at(19));
        assert_eq!(continued(after, longer, at(19)).unwrap().percent, 95);
        assert_eq!(continued(after, longer, at(20)), None);
        assert_eq!(continued(before, longer, Timestamp(0)).unwrap().percent, 1, "a clock that was set back");
    }

    #[test]
    fn warmup_begins_anew_when_the_clock_is_set_back() {
        let warmup = resumed(at(3600), Duration::from_secs(10), at(0)).unwrap();
        assert_eq!((warmup.since, warmup.until, warmup.percent), (at(0), at(10), 1));
    }

    proptest! {
        #[test]
        fn warmup_takes_at_most_its_steps_each_later_and_larger(micros in 1..200_000_000u64) {
            let slow = Duration::from_micros(micros);
            let (mut now, mut steps, mut last) = (at(0), 0, 0);
            while let Some(warmup) = resumed(at(0), slow, now) {
                prop_assert!(warmup.percent >= last && (1..=99).contains(&warmup.percent));
                let next = next_step(&warmup);
                prop_assert!(next > now && next <= warmup.until);
                (now, steps, last) = (next, steps + 1, warmup.percent);
            }
            prop_assert!(steps <= STEPS);
            prop_assert_eq!(now, at(0) + slow);
        }
    }
}
