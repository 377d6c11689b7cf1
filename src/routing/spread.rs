//! Work spread over several by weight, exactly, with nothing to remember but how much there was. Pure.
//!
//! The turns of a period of Σw are stepped through by a stride that has no factor in common with it, so that any Σw turns
//! in a row visit every one of 0..Σw once, and each weight has its exact part of them. The stride is near the golden
//! section of the period, which spreads what follows each other as evenly as one number can (Weyl's equidistribution).

/// The golden section of 2^64, by which strides are cut.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Who takes which turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Where the turns of each end, in order; the last is the period. Reduced weights summed up.
    ends: Box<[u64]>,
    stride: u64,
}

impl Spread {
    /// Returns the spread over as many as there are weights.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let unit = weights.iter().fold(0, |unit, weight| common_divisor(unit, u64::from(*weight))).max(1);
        let mut end = 0;
        let ends = weights.iter().map(|weight| {
            end += u64::from(*weight) / unit;
            end
        });
        let ends: Box<[u64]> = ends.collect();
        Self { stride: stride(ends.last().copied().unwrap_or(0)), ends }
    }

    /// Returns whose turn it is: a position in the list of weights; 0 if all of them are 0.
    #[must_use]
    pub fn of(&self, turn: u64) -> usize {
        let period = self.ends.last().copied().unwrap_or(0);
        let at = step(turn, self.stride, period);
        self.ends.partition_point(|end| *end <= at).min(self.ends.len().saturating_sub(1))
    }
}

/// Returns whether a turn is among those of a share of `percent`: of any hundred in a row exactly so many are.
#[must_use]
pub fn is_among(percent: u8, turn: u64) -> bool {
    step(turn, stride(100), 100) < u64::from(percent)
}

fn step(turn: u64, stride: u64, period: u64) -> u64 {
    if period == 0 {
        return 0;
    }
    let at = u128::from(turn % period) * u128::from(stride) % u128::from(period);
    // Below the period, which is a u64.
    u64::try_from(at).unwrap_or(0)
}

/// Returns the number next to the golden section of the period that shares no factor with it.
fn stride(period: u64) -> u64 {
    let golden = u64::try_from((u128::from(period) * u128::from(GOLDEN)) >> 64).unwrap_or(1);
    (golden.max(1)..).find(|stride| common_divisor(*stride, period) == 1).unwrap_or(1)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn share_in_per_cent_is_exact_in_any_hundred() {
        for percent in [1, 5, 50, 99, 100] {
            for start in [0, 1, 77, u64::from(u32::MAX)] {
                let seen = (start..start + 100).filter(|turn| is_among(percent, *turn)).count();
                assert_eq!(seen, usize::from(percent), "{percent} from {start}");
            }
        }
    }

    #[test]
    fn nine_to_one_comes_every_tenth_time_or_nearly() {
        let spread = Spread::new(&[90, 10]);
        let taken: Vec<_> = (0..30).map(|turn| spread.of(turn)).collect();
        let canary: Vec<_> = (0..30).filter(|turn| taken[*turn] == 1).collect();
        assert!(canary.windows(2).all(|pair| pair[1] - pair[0] == 10), "{canary:?}");
        let thirds = Spread::new(&[2, 1]);
        assert_eq!((0..6).filter(|turn| thirds.of(*turn) == 1).count(), 2);
    }

    #[test]
    fn no_weight_is_nobodys_turn_and_no_panic() {
        assert_eq!((Spread::new(&[]).of(7), Spread::new(&[0]).of(7), Spread::new(&[0, 3]).of(u64::MAX)), (0, 0, 1));
        let largest = Spread::new(&[u32::MAX, u32::MAX - 1, 1]);
        assert!(largest.of(u64::MAX) < 3);
    }

    proptest! {
        #[test]
        fn every_window_of_a_period_is_exact(weights in prop::collection::vec(0u32..40, 1..5), start in 0u64..1 << 60) {
            let spread = Spread::new(&weights);
            let period: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let mut have = vec![0u32; weights.len()];
            for turn in start..start + period {
                have[spread.of(turn)] += 1;
            }
            prop_assert_eq!(have, weights);
        }
    }
}
