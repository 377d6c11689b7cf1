//! The least work in flight per weight.
//!
//! A server's load is (work in flight on all workers + 1) / weight: what it would carry with the next piece. The work
//! of the own worker is exact; that of the others is as of the last [`LeastConn::refresh`], which the caller makes
//! often enough. Equal loads take turns: the one picked longest ago wins, and at the start the seed decides, so
//! neither one worker's idle servers nor those of many workers send everything to the first in the list.
//!
//! The load is kept as a whole number, ⌊(in flight + 1) · 2^46 / weight⌋: weights go up to 6,553,500 (65,535 in
//! hundredths), so two loads that differ do so by at least 1 / 6,553,500², which is above 2^-46, and their numbers
//! differ as well and compare alike. A pick is O(log n) and allocates nothing. Up to 2^16 servers.

use super::seed::Seeds;
use super::tournament::Tournament;

/// Work in flight on one server beyond this counts as this: one more, and its load would need more than 64 bits.
const IN_FLIGHT_MAX: u64 = (1 << 18) - 2;
/// Bits of a load that tell the closest ratios apart.
const FRACTION_BITS: u32 = 46;
/// The load of a server of weight 0; above every other.
const LOAD_WITHOUT_END: u64 = u64::MAX;
/// Bits of a [`Rank`] that hold the position.
const POSITION_BITS: u32 = 16;
/// Bits of a [`Rank`] that count picks.
const PICK_BITS: u32 = 48;

/// The work in flight of servers, by position in the list of weights.
#[derive(Clone, Debug)]
pub struct LeastConn {
    servers: Box<[Carried]>,
    ranking: Tournament<Rank>,
    /// The stamp of the next pick.
    picks: u64,
}

impl LeastConn {
    /// Returns servers of these weights that carry nothing yet. O(n).
    #[must_use]
    pub fn new(weights: &[u32], seed: u64) -> Self {
        let mut stamps: Box<[u64]> = (0..weights.len() as u64).collect();
        Seeds::new(seed).shuffle(&mut stamps);
        let servers: Box<[Carried]> = weights.iter().map(|w| Carried { weight: *w, own: 0, others: 0 }).collect();
        let rank = |(position, stamp): (usize, &u64)| Rank::new(servers[position].load(), *stamp, position);
        let ranks: Vec<_> = stamps.iter().enumerate().map(rank).collect();
        Self { servers, ranking: Tournament::new(&ranks), picks: ranks.len() as u64 }
    }

    /// Returns who takes the next piece of work, or nobody if no weight is above 0. Its load stays until
    /// [`Self::set_own`] says otherwise; only its turn among equals is over.
    pub fn pick(&mut self) -> Option<usize> {
        let least = self.ranking.winner()?;
        self.take(least)
    }

    /// Returns who takes the next piece of work among those allowed. O(n): for retries.
    pub fn pick_where(&mut self, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let allowed = self.ranking.entries().iter().filter(|rank| is_allowed(rank.position()));
        let least = *allowed.min()?;
        self.take(least)
    }

    /// Says how much work of the own worker a server carries now.
    pub fn set_own(&mut self, position: usize, in_flight: u64) {
        self.servers[position].own = in_flight;
        let rank = self.ranking.entries()[position].with_load(self.servers[position].load());
        self.ranking.set(position, rank);
    }

    /// Reads again how much work of the own worker and of all others each server carries. O(n), allocates nothing.
    pub fn refresh(&mut self, own: impl Fn(usize) -> u64, others: impl Fn(usize) -> u64) {
        for (i, server) in self.servers.iter_mut().enumerate() {
            (server.own, server.others) = (own(i), others(i));
        }
        self.ranking.set_all(|i, rank| rank.with_load(self.servers[i].load()));
    }

    /// Moves the one picked behind its equals; nobody if it takes no work at all.
    fn take(&mut self, picked: Rank) -> Option<usize> {
        if picked.load() == LOAD_WITHOUT_END {
            return None;
        }
        let position = picked.position();
        self.ranking.set(position, Rank::new(picked.load(), self.picks, position));
        self.picks += 1;
        Some(position)
    }
}

/// What one server carries.
#[derive(Clone, Copy, Debug)]
struct Carried {
    weight: u32,
    own: u64,
    others: u64,
}

impl Carried {
    /// Returns the load as a whole number; weight 0 carries without end.
    fn load(&self) -> u64 {
        let in_flight = self.own.saturating_add(self.others).min(IN_FLIGHT_MAX);
        ((in_flight + 1) << FRACTION_BITS).checked_div(u64::from(self.weight)).unwrap_or(LOAD_WITHOUT_END)
    }
}

/// The lowest takes the work: 64 bits of load, 48 that count the picks at its last one (89 years at 100,000 a second),
/// 16 of position. One number, compared without a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u128);

impl Rank {
    fn new(load: u64, picked: u64, position: usize) -> Self {
        let picked = picked & ((1 << PICK_BITS) - 1);
        Self(u128::from(load) << 64 | u128::from(picked << POSITION_BITS) | position as u128)
    }

    fn load(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn position(self) -> usize {
        (self.0 & ((1 << POSITION_BITS) - 1)) as usize
    }

    fn with_load(self, load: u64) -> Self {
        Self(u128::from(load) << 64 | self.0 & u128::from(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_and_all_weights_zero_are_never_picked() {
        assert_eq!(LeastConn::new(&[], 1).pick(), None);
        let mut zeros = LeastConn::new(&[0, 0], 1);
        assert_eq!((zeros.pick(), zeros.pick_where(|_| true)), (None, None));
        let mut one = LeastConn::new(&[0, 3, 0], 1);
        one.set_own(1, u64::MAX);
        assert_eq!((one.pick(), one.pick_where(|i| i != 1)), (Some(1), None));
    }

    #[test]
    fn idle_equals_take_turns_in_an_order_of_the_seed() {
        let order = |seed| {
            let mut conns = LeastConn::new(&[1; 5], seed);
            (0..10).map(|_| conns.pick().unwrap()).collect::<Vec<_>>()
        };
        let ten = order(1);
        assert_eq!(ten[..5], ten[5..]);
        let mut sorted = ten[..5].to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
        assert!((0..10).any(|seed| order(seed) != ten));
    }

    #[test]
    fn work_that_stays_is_shared_by_weight() {
        let mut conns = LeastConn::new(&[5, 3, 2], 7);
        let mut carried = [0; 3];
        for _ in 0..1000 {
            let position = conns.pick().unwrap();
            carried[position] += 1;
            conns.set_own(position, carried[position]);
        }
        assert_eq!(carried, [500, 300, 200]);
    }

    #[test]
    fn work_of_other_workers_counts_after_a_refresh() {
        let mut conns = LeastConn::new(&[1, 1], 7);
        conns.refresh(|_| 0, |i| if i == 0 { 5 } else { 0 });
        for n in 1..=5 {
            assert_eq!(conns.pick(), Some(1));
            conns.set_own(1, n);
        }
        conns.set_own(1, 6);
        assert_eq!(conns.pick(), Some(0));
        conns.refresh(|_| 0, |i| if i == 0 { 5 } else { 0 });
        assert_eq!(conns.pick(), Some(1), "own work is read again");
    }

    #[test]
    fn load_tells_the_closest_ratios_apart() {
        let load = |weight, own| Carried { weight, own, others: 0 }.load();
        // (n + 1) / w: 65533/65534 is below 65534/65535 by 1 / (65534 · 65535).
        assert!(load(65_534, 65_532) < load(65_535, 65_533));
        assert_eq!(load(2, 3), load(4, 7));
        // The same in hundredths: 6553498/6553499 and 6553499/6553500 are further apart than 2^-46.
        assert!(load(6_553_499, 131) > load(6_553_500, 131));
        assert!(load(6_553_500, IN_FLIGHT_MAX) > load(6_553_500, IN_FLIGHT_MAX - 1));
        assert!(load(1, IN_FLIGHT_MAX) < LOAD_WITHOUT_END);
        assert!(load(1, u64::MAX) < load(0, 0));
    }

    proptest! {
        /// Against plain fractions: whoever is picked, nobody allowed carries less per weight.
        #[test]
        fn picked_server_carries_the_least_per_weight(
            weights in prop::collection::vec(prop_oneof![0..9u32, 6_553_400..=6_553_500u32], 1..20),
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0..6u64, 0..5u8), 0..80),
            seed in any::<u64>(),
        ) {
            let mut conns = LeastConn::new(&weights, seed);
            let mut own = vec![0u64; weights.len()];
            let mut others = vec![0u64; weights.len()];
            for (at, number, act) in steps {
                let at = at.index(weights.len());
                let is_allowed = |i: usize| act != 0 || i != at;
                match act {
                    1 => { own[at] = number; conns.set_own(at, number) }
                    2 => { others[at] = number; conns.refresh(|i| own[i], |i| others[i]) }
                    _ => {}
                }
                // A refresh not yet made leaves the others' numbers as they were; here it follows at once.
                let picked = if act == 0 { conns.pick_where(is_allowed) } else { conns.pick() };
                let candidates = || (0..weights.len()).filter(|i| weights[*i] > 0 && is_allowed(*i));
                let Some(picked) = picked else { prop_assert_eq!(candidates().count(), 0); continue };
                prop_assert!(candidates().any(|i| i == picked));
                let carries = |i: usize| own[i] + others[i] + 1;
                for i in candidates() {
                    prop_assert!(carries(picked) * u64::from(weights[i]) <= carries(i) * u64::from(weights[picked]));
                }
            }
        }
    }
}
