//! The better of two drawn by weight.
//!
//! Two different servers are drawn, and the one with less in flight for its weight takes the work; equals go to the one
//! drawn first, so idle servers share by weight. Better than one draw by far (the longest queue grows with log log n
//! instead of log n), nearly as good as a look at everybody, and the same price for any number; since every worker draws
//! its own, no two of them rush to the same idle server. Mitzenmacher (1996). `ewma` draws the same way and compares
//! costs.

use super::draw::Draw;
use super::seed::Seeds;

/// How often the second is drawn again that is the first, and both again that may not take the work.
const DRAWS_MAX: usize = 16;

/// Servers that are drawn by weight.
#[derive(Clone, Debug)]
pub struct TwoChoices {
    draw: Draw,
    weights: Box<[u32]>,
    seeds: Seeds,
}

/// What a server would be chosen at: less is better, once divided by its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// What is divided.
    pub amount: u64,
    /// How much less, in parts of 256, another must be to be better: within it, the first drawn is as good.
    pub tolerance: u8,
}

impl TwoChoices {
    /// Returns the servers of these weights, drawn by `seed`. O(n).
    #[must_use]
    pub fn new(weights: &[u32], seed: u64) -> Self {
        Self { draw: Draw::new(weights), weights: weights.into(), seeds: Seeds::new(seed) }
    }

    /// Returns who takes the next piece of work; nobody if no weight is above 0. `cost` is asked for the two drawn.
    pub fn pick(&mut self, cost: impl Fn(usize) -> Cost) -> Option<usize> {
        self.pick_where(cost, |_| true)
    }

    /// Returns who takes the next piece of work among those allowed. O(n) where few are.
    pub fn pick_where(&mut self, cost: impl Fn(usize) -> Cost, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let mut draw = |but: Option<usize>| {
            let draws = std::iter::repeat_with(|| self.draw.next(&mut self.seeds)).take(DRAWS_MAX).flatten();
            draws.into_iter().find(|drawn| Some(*drawn) != but && is_allowed(*drawn))
        };
        let Some(first) = draw(None) else { return self.best(cost, is_allowed) };
        let Some(second) = draw(Some(first)) else { return Some(first) };
        Some(if self.is_better(second, first, &cost) { second } else { first })
    }

    /// Returns the best of all that are allowed, in the order of the list.
    fn best(&self, cost: impl Fn(usize) -> Cost, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let allowed = (0..self.weights.len()).filter(|at| self.weights[*at] > 0 && is_allowed(*at));
        allowed.reduce(|best, other| if self.is_better(other, best, &cost) { other } else { best })
    }

    /// Whether `one` costs less for its weight than `other`, by more than is tolerated.
    fn is_better(&self, one: usize, other: usize, cost: &impl Fn(usize) -> Cost) -> bool {
        let (ours, theirs) = (cost(one), cost(other));
        let ours = u128::from(ours.amount) * u128::from(self.weights[other]) * 256;
        let theirs = u128::from(theirs.amount) * u128::from(self.weights[one]) * (256 - u128::from(theirs.tolerance));
        ours < theirs
    }
}

impl Cost {
    /// Returns the cost of a server with so much in flight.
    #[must_use]
    pub fn of_load(in_flight: u64) -> Self {
        Self { amount: in_flight, tolerance: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn idle(_: usize) -> Cost {
        Cost::of_load(0)
    }

    #[test]
    fn nobody_and_all_weights_zero_are_never_picked() {
        assert_eq!(TwoChoices::new(&[], 1).pick(idle), None);
        assert_eq!(TwoChoices::new(&[0, 0], 1).pick(idle), None);
        let mut one = TwoChoices::new(&[0, 7, 0], 1);
        assert!((0..100).all(|_| one.pick(idle) == Some(1)));
        assert_eq!(one.pick_where(idle, |at| at != 1), None);
    }

    #[test]
    fn idle_servers_share_by_weight() {
        for seed in 0..4 {
            let mut servers = TwoChoices::new(&[5, 3, 2], seed);
            let mut have = [0u32; 3];
            (0..30_000).for_each(|_| have[servers.pick(idle).unwrap()] += 1);
            for (have, want) in have.into_iter().zip([15_000, 9_000, 6_000]) {
                assert!(have.abs_diff(want) < 500, "seed {seed}: {have} of {want}");
            }
        }
    }

    /// Work that lasts equally long everywhere: what is in flight goes by weight.
    #[test]
    fn busy_servers_share_by_weight() {
        let mut servers = TwoChoices::new(&[4, 2, 1, 1], 7);
        let mut open = std::collections::VecDeque::new();
        let mut in_flight = [0u64; 4];
        let mut have = [0u32; 4];
        for _ in 0..40_000 {
            let chosen = servers.pick(|at| Cost::of_load(in_flight[at])).unwrap();
            have[chosen] += 1;
            in_flight[chosen] += 1;
            open.push_back(chosen);
            if open.len() > 80 {
                in_flight[open.pop_front().unwrap()] -= 1;
            }
        }
        for (have, want) in have.into_iter().zip([20_000, 10_000, 5_000, 5_000]) {
            assert!(have.abs_diff(want) < want / 10, "{have} of {want}");
        }
    }

    #[test]
    fn busier_of_two_is_never_picked() {
        let mut servers = TwoChoices::new(&[1, 1], 3);
        assert!((0..1000).all(|_| servers.pick(|at| Cost::of_load([5, 4][at])) == Some(1)));
        let mut weighted = TwoChoices::new(&[2, 1], 3);
        assert!(
            (0..1000).all(|_| weighted.pick(|at| Cost::of_load([5, 3][at])) == Some(0)),
            "5 of 2 is less than 3 of 1"
        );
    }

    proptest! {
        #[test]
        fn choices_one_after_the_other_name_every_server_once(
            weights in prop::collection::vec(prop_oneof![Just(0u32), 1..5u32, Just(6_553_500)], 0..12),
            seed in any::<u64>(),
        ) {
            let mut servers = TwoChoices::new(&weights, seed);
            let mut named = Vec::new();
            while let Some(next) = servers.pick_where(|at| Cost::of_load(at as u64), |at| !named.contains(&at)) {
                named.push(next);
            }
            named.sort_unstable();
            let want: Vec<_> = (0..weights.len()).filter(|at| weights[*at] > 0).collect();
            prop_assert_eq!(named, want);
        }
    }
}
