//! Draws of positions by weight, each in constant time.
//!
//! Alias columns: one a position, all of the same height, each filled by its own position up to a level and by one other
//! above it. A draw is one number: its upper part names the column, its lower part the height. Levels are whole numbers
//! of 2^64, so a share is off by less than 2^-60. Walker (1977), built in O(n) as Vose (1991) does.

use super::seed::Seeds;

/// Positions to draw from, by weight.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    columns: Box<[Column]>,
}

/// One column.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Below this it is the column's own position.
    level: u64,
    /// And from there on this one.
    above: u32,
}

impl Draw {
    /// Returns the draws by these weights; nobody is drawn if none is above 0. O(n).
    pub(super) fn new(weights: &[u32]) -> Self {
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if sum == 0 {
            return Self { columns: Box::default() };
        }
        let count = weights.len() as u64;
        // In units of which a column holds `sum`.
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|at| left[*at] < sum);
        let mut columns: Box<[Column]> = (0u32..).take(weights.len()).map(Column::whole).collect();
        while let (Some(small), Some(large)) = (low.pop(), high.last().copied()) {
            let level = (u128::from(left[small]) << 64) / u128::from(sum);
            columns[small] = Column { level: u64::try_from(level).unwrap_or(u64::MAX), above: columns[large].above };
            left[large] -= sum - left[small];
            if left[large] < sum {
                high.pop();
                low.push(large);
            }
        }
        Self { columns }
    }

    /// Returns the next position drawn.
    pub(super) fn next(&self, seeds: &mut Seeds) -> Option<usize> {
        let product = u128::from(seeds.draw()) * self.columns.len() as u128;
        let at = usize::try_from(product >> 64).ok()?;
        let column = self.columns.get(at)?;
        let height = u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
        Some(if height < column.level { at } else { column.above as usize })
    }
}

impl Column {
    fn whole(position: u32) -> Self {
        Self { level: u64::MAX, above: position }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_drawn_where_nobody_has_weight() {
        let mut seeds = Seeds::new(1);
        assert_eq!(Draw::new(&[]).next(&mut seeds), None);
        assert_eq!(Draw::new(&[0, 0]).next(&mut seeds), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Counts of 40,000 draws lie within five deviations of what is due; weight 0 is never drawn.
        #[test]
        fn positions_are_drawn_by_weight(
            weights in prop::collection::vec(prop_oneof![Just(0u32), 1..20u32, Just(6_553_500)], 1..12),
            seed in any::<u64>(),
        ) {
            const DRAWS: f64 = 40_000.0;
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            prop_assume!(sum > 0.0);
            let (draw, mut seeds) = (Draw::new(&weights), Seeds::new(seed));
            let mut have = vec![0.0; weights.len()];
            (0..40_000).for_each(|_| have[draw.next(&mut seeds).unwrap()] += 1.0);
            for (have, weight) in have.into_iter().zip(&weights) {
                let share = f64::from(*weight) / sum;
                let deviation = (DRAWS * share * (1.0 - share)).sqrt();
                prop_assert!((have - DRAWS * share).abs() <= 5.0 * deviation + 1.0, "{have} of {}", DRAWS * share);
                prop_assert!(*weight > 0 || have == 0.0);
            }
        }
    }
}
