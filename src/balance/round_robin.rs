//! Smooth weighted turns: every server its exact share, spread as evenly as the weights allow.
//!
//! Virtual time runs in periods, and in each a server of reduced weight w (weights divided by their greatest common
//! divisor) has w evenly spaced deadlines; whoever has the earliest deadline takes the next turn. So the order repeats
//! after Σw turns, and therefore *any* Σw consecutive turns hold each server exactly w times. Servers of equal weight
//! form a group that takes its turns in rotation: together they are like one server of m·w, so only groups compete,
//! and a farm of equal servers is a plain rotation. Where each group stands in its period and the order within it
//! come from the seed, so that workers do not march in step; over all seeds even the first turn is shared by weight.
//!
//! Integers only: a deadline advances by `PERIOD / rate` with the remainder carried, so `rate` steps are exactly one
//! period and nothing drifts. One turn is O(log g) for g different weights and allocates nothing. Longest run of a
//! server of weight w beside one of weight v: ⌈w/v⌉ + 1, since that is how many of its deadlines can fall between two
//! of the other's. Earliest deadline first is Liu and Layland's (1973); the stride, Waldspurger and Weihl's (1995).

use super::seed::Seeds;
use super::tournament::Tournament;

/// Low bits of a [`Deadline`] that hold the group: there are no more groups than servers, of which a farm has 10,000 at
/// most.
const GROUP_BITS: u32 = 16;
/// Virtual time of one period, a power of two, so that it fits a whole number of times into what a [`Deadline`] holds.
/// The fastest possible group, 10,000 servers of 6,553,500 (the heaviest weight in hundredths), has strides of 2^8 and
/// more.
const PERIOD: u64 = 1 << 44;

/// An endless series of turns; an iterator over positions in the list of weights. It ends at once if no weight is
/// above 0.
#[derive(Clone, Debug)]
pub struct Turns {
    groups: Box<[Group]>,
    /// Positions in the list of weights, group by group.
    order: Box<[u32]>,
    deadlines: Tournament<Deadline>,
}

impl Turns {
    /// Returns the turns of servers of these weights, started and ordered by `seed`. O(n log n).
    #[must_use]
    pub fn new(weights: &[u32], seed: u64) -> Self {
        let weight = |position: &u32| weights[*position as usize];
        let mut order: Box<[u32]> = (0u32..).zip(weights).filter(|(_, w)| **w > 0).map(|(i, _)| i).collect();
        order.sort_by_key(weight);
        let unit = order.iter().map(weight).fold(0, greatest_common_divisor);

        let mut seeds = Seeds::new(seed);
        let mut groups = Vec::new();
        let mut first = 0;
        for same in order.chunk_by_mut(|a, b| weight(a) == weight(b)) {
            seeds.shuffle(same);
            groups.push(Group::new(first, same.len(), weight(&same[0]) / unit));
            first += same.len();
        }
        let deadlines = start(&groups, &mut seeds);
        Self { groups: groups.into(), order, deadlines: Tournament::new(&deadlines) }
    }
}

/// Returns the first deadlines: those seen by one who comes at the moment of a turn, every turn of the period alike.
/// (Coming at any moment alike would favour the heavy: the first turn of 5/3/2 would be the 5's in 58 of 100 starts.)
fn start(groups: &[Group], seeds: &mut Seeds) -> Vec<Deadline> {
    let mut turn = seeds.below(groups.iter().map(|group| group.rate).sum());
    let mut is_found = false;
    let first_of = |(number, group): (u64, &Group)| {
        let phase = seeds.below(group.stride);
        let is_due = !is_found && turn < group.rate;
        is_found |= is_due;
        turn = turn.saturating_sub(group.rate);
        Deadline::new(if is_due { 0 } else { phase }, number)
    };
    (0u64..).zip(groups).map(first_of).collect()
}

impl Iterator for Turns {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let due = self.deadlines.winner()?;
        let group = &mut self.groups[due.group()];
        let position = self.order[group.take_place()];
        self.deadlines.set(due.group(), due.after(group.take_stride()));
        Some(position as usize)
    }
}

/// Servers of one weight.
#[derive(Clone, Debug)]
struct Group {
    /// The places of its servers in the order: `first..end`, the next of them `place`.
    first: usize,
    end: usize,
    place: usize,
    /// Turns in a period.
    rate: u64,
    /// `PERIOD / rate` and what the division leaves.
    stride: u64,
    rest: u64,
    /// Sum of the rests not yet added to a deadline, below `rate`.
    carry: u64,
}

impl Group {
    fn new(first: usize, count: usize, weight: u32) -> Self {
        let rate = count as u64 * u64::from(weight);
        Self { first, end: first + count, place: first, rate, stride: PERIOD / rate, rest: PERIOD % rate, carry: 0 }
    }

    fn take_place(&mut self) -> usize {
        let place = self.place;
        self.place = if place + 1 == self.end { self.first } else { place + 1 };
        place
    }

    fn take_stride(&mut self) -> u64 {
        self.carry += self.rest;
        if self.carry < self.rate {
            return self.stride;
        }
        self.carry -= self.rate;
        self.stride + 1
    }
}

/// The deadline of a group: a moment of virtual time, wrapping, above the group's number, which settles ties. Those
/// compared lie within one period of each other, far less than half of what wraps, so their order is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline(u64);

impl Deadline {
    fn new(moment: u64, group: u64) -> Self {
        Self(moment << GROUP_BITS | group)
    }

    fn group(self) -> usize {
        (self.0 & ((1 << GROUP_BITS) - 1)) as usize
    }

    fn after(self, stride: u64) -> Self {
        Self(self.0.wrapping_add(stride << GROUP_BITS))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.0.wrapping_sub(other.0).cast_signed().cmp(&0))
    }

    /// One subtraction: the comparison is half the cost of a turn.
    fn lt(&self, other: &Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
}

/// Returns the largest number that divides both; the other one where one is 0.
#[must_use]
pub fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn turns(weights: &[u32], seed: u64, count: usize) -> Vec<usize> {
        Turns::new(weights, seed).take(count).collect()
    }

    /// Σw divided by the weights' greatest common divisor, and the reduced weights.
    fn period(weights: &[u32]) -> (usize, Vec<usize>) {
        let unit = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        let reduced: Vec<usize> = weights.iter().map(|w| (w / unit) as usize).collect();
        (reduced.iter().sum(), reduced)
    }

    /// Panics unless every window of one period holds each server exactly its reduced weight times.
    fn check_every_window(weights: &[u32], taken: &[usize]) {
        let (length, want) = period(weights);
        let mut have = vec![0; weights.len()];
        for (n, position) in taken.iter().enumerate() {
            have[*position] += 1;
            if n >= length {
                have[taken[n - length]] -= 1;
            }
            if n + 1 >= length {
                assert_eq!(have, want, "weights {weights:?}, window ending at {n}");
            }
        }
    }

    /// The longest run of each server, the sequence taken as a ring.
    fn longest_runs(count: usize, taken: &[usize]) -> Vec<usize> {
        let mut longest = vec![0; count];
        let mut run = 0;
        for (n, position) in taken.iter().cycle().take(2 * taken.len()).enumerate() {
            let is_same = n > 0 && taken[(n - 1) % taken.len()] == *position;
            run = if is_same { run + 1 } else { 1 };
            longest[*position] = longest[*position].max(run.min(taken.len()));
        }
        longest
    }

    /// How far what each server had strays from what it was due, turn by turn: the mean of the variances.
    fn roughness(weights: &[u32], taken: &[usize]) -> f64 {
        let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
        let turns = taken.len() as f64;
        let variance = |(position, weight): (usize, &u32)| {
            let mut ahead = 0.0;
            let (mut total, mut squares) = (0.0, 0.0);
            for taker in taken {
                ahead += f64::from(u8::from(*taker == position)) - f64::from(*weight) / sum;
                total += ahead;
                squares += ahead * ahead;
            }
            squares / turns - (total / turns).powi(2)
        };
        weights.iter().enumerate().map(variance).sum::<f64>() / weights.len() as f64
    }

    /// Smooth turns the well-known O(n) way: everybody gains its weight, the richest is taken and pays the sum.
    fn naive_smooth(weights: &[u32], count: usize) -> Vec<usize> {
        let sum: i64 = weights.iter().map(|w| i64::from(*w)).sum();
        let mut credit = vec![0; weights.len()];
        let turn = |_| {
            credit.iter_mut().zip(weights).for_each(|(c, w)| *c += i64::from(*w));
            let richest = (0..credit.len()).rev().max_by_key(|i| credit[*i]).unwrap();
            credit[richest] -= sum;
            richest
        };
        (0..count).map(turn).collect()
    }

    #[test]
    fn turns_of_nobody_and_of_all_zero_end_at_once() {
        assert_eq!(Turns::new(&[], 1).next(), None);
        assert_eq!(Turns::new(&[0, 0, 0], 1).next(), None);
    }

    #[test]
    fn turns_of_one_are_all_its() {
        for weight in [1, 7, 65_535, 6_553_500] {
            assert_eq!(turns(&[0, weight, 0], 3, 5), [1, 1, 1, 1, 1]);
        }
    }

    #[test]
    fn turns_of_5_3_2_split_a_thousand_exactly_from_any_start() {
        for seed in 0..200 {
            let mut turns = Turns::new(&[5, 3, 2], seed);
            for skipped in 0..10 {
                let mut have = [0; 3];
                turns.by_ref().take(1000).for_each(|i| have[i] += 1);
                assert_eq!(have, [500, 300, 200], "seed {seed}, skipped {skipped}");
                turns.next();
            }
        }
    }

    #[test]
    fn turns_of_equal_weights_are_a_rotation() {
        for (count, weight) in [(2, 1), (3, 100), (10, 65_535), (1000, 7)] {
            let weights = vec![weight; count];
            let taken = turns(&weights, 9, 3 * count);
            assert_eq!(taken[..count], taken[count..2 * count]);
            assert_eq!(taken[..count].iter().collect::<BTreeSet<_>>().len(), count);
        }
    }

    #[test]
    fn turns_of_different_seeds_start_and_run_differently() {
        let firsts: Vec<_> = (0..4000).map(|seed| turns(&[2; 4], seed, 4)).collect();
        let orders: BTreeSet<_> = firsts.iter().collect();
        assert_eq!(orders.len(), 24, "every order of four occurs");
        for position in 0..4 {
            let starts = firsts.iter().filter(|order| order[0] == position).count();
            assert!((850..1150).contains(&starts), "{position} starts {starts} of 4000");
        }
    }

    /// A fresh start favours nobody: over many seeds the first turn is shared by weight, as every other is.
    #[test]
    fn first_turn_over_many_seeds_is_shared_by_weight() {
        let mut have = [0; 3];
        (0..10_000).for_each(|seed| have[turns(&[5, 3, 2], seed, 1)[0]] += 1);
        for (have, want) in have.into_iter().zip([5000i32, 3000, 2000]) {
            assert!((have - want).abs() < 250, "{have} of {want}");
        }
    }

    #[test]
    fn turns_of_the_largest_farm_stay_exact_over_the_wrap() {
        let weights: Vec<u32> = (0..10_000u32).map(|i| 1 + i % 13).collect();
        let (length, _) = period(&weights);
        // 16 periods wrap virtual time once.
        let taken: Vec<_> = Turns::new(&weights, 5).skip(15 * length).take(2 * length).collect();
        assert_eq!(taken[..length], taken[length..2 * length]);
        let mut have = vec![0u32; weights.len()];
        taken[..length].iter().for_each(|i| have[*i] += 1);
        assert_eq!(have, weights);
    }

    /// Ten thousand servers, one of which warms up: a period of 65 thousand million turns costs no more than another.
    #[test]
    fn turns_of_the_heaviest_farm_in_hundredths_spread_by_weight() {
        let mut weights = vec![6_553_500; 10_000];
        weights[0] = 65_535 * 37 + 1;
        let mut have = vec![0u32; weights.len()];
        turns(&weights, 11, 100_000).into_iter().for_each(|i| have[i] += 1);
        assert!((3..=4).contains(&have[0]), "{}", have[0]);
        assert!(have[1..].iter().all(|n| (10..=11).contains(n)));
    }

    /// Beside the well-known algorithm, over many seeds: never a longer run, and no rougher but for 3 %.
    #[test]
    fn turns_are_as_smooth_as_the_well_known_algorithm() {
        let farms: [&[u32]; 8] = [
            &[5, 1, 1],
            &[5, 3, 2],
            &[10, 1],
            &[100, 50],
            &[7, 7, 1],
            &[20, 1, 1, 1, 1],
            &[9, 8, 7, 6, 5, 4, 3, 2, 1],
            &[300, 1, 1, 1],
        ];
        for weights in farms {
            let (length, _) = period(weights);
            let longest = |taken: &[usize]| longest_runs(weights.len(), taken).into_iter().max();
            let naive = naive_smooth(weights, length);
            let all: Vec<_> = (0..32).map(|seed| turns(weights, seed, length)).collect();
            for taken in &all {
                assert!(longest(taken) <= longest(&naive), "{weights:?}: {taken:?}");
            }
            let ours = all.iter().map(|taken| roughness(weights, taken)).sum::<f64>() / 32.0;
            assert!(ours <= 1.03 * roughness(weights, &naive), "{weights:?}: {ours}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn every_window_of_a_period_is_exact(
            weights in prop::collection::vec(prop_oneof![0..4u32, 0..60u32, Just(50u32)], 1..12),
            scale in prop_oneof![Just(1u32), Just(100u32), Just(100_000u32)],
            seed in any::<u64>(),
            start in 0..500usize,
        ) {
            let weights: Vec<u32> = weights.iter().map(|w| w * scale).collect();
            let (length, _) = period(&weights);
            let taken: Vec<_> = Turns::new(&weights, seed).skip(start).take(3 * length).collect();
            prop_assert_eq!(taken.len(), 3 * length);
            check_every_window(&weights, &taken);
        }

        #[test]
        fn longest_run_is_bounded_by_the_heaviest_other(
            weights in prop::collection::vec(1..200u32, 2..10),
            seed in any::<u64>(),
        ) {
            let (length, _) = period(&weights);
            let runs = longest_runs(weights.len(), &turns(&weights, seed, length));
            for (i, run) in runs.iter().enumerate() {
                let others = weights.iter().enumerate().filter(|(j, _)| *j != i);
                let heaviest = others.map(|(_, w)| *w).max().unwrap_or(1);
                let bound = weights[i].div_ceil(heaviest) as usize + 1;
                prop_assert!(*run <= bound, "server {} of {:?} runs {}", i, weights, run);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn every_window_is_exact_at_any_weights(weights in prop::collection::vec(any::<u16>(), 2..4), seed in any::<u64>()) {
            let weights: Vec<u32> = weights.into_iter().map(u32::from).collect();
            let (length, _) = period(&weights);
            let taken = turns(&weights, seed, 2 * length);
            check_every_window(&weights, &taken);
        }
    }
}
