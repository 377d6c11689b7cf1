//! The same server for the same key, for one look into a table.
//!
//! Every server has an order of its own in which it wants the places of the table; they take turns, each as often as its
//! weight says, and take the first place of their order that is free, until none is. So each gets its weight's part of
//! the places, up to rounding; and when a server leaves, most others take the places that they had, since they want the
//! same ones as before: few keys move that need not, some per cent where there are a hundred places a server.
//! `hash::Rendezvous` moves none, and asks every server for each pick instead.
//!
//! Ids decide, not positions. The size of the table is the number of servers' that are declared, not of those in
//! rotation: another size moves most keys. Immutable and shared by all workers; building it is for whoever makes the
//! rotation. Eisenbud and others: Maglev (2016), §3.4.

use crate::model::ServerId;

use super::seed::mix;

/// Sizes of tables: primes, so that every step leads through all places.
const SIZES: [u32; 4] = [1_021, 4_093, 16_381, 65_537];
/// Places for each server declared, at least, as long as there is such a size.
const PLACES_PER_SERVER: usize = 100;
/// A place that nobody has taken yet.
const FREE: u16 = u16::MAX;

/// Who has which place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    places: Box<[u16]>,
    servers: usize,
}

/// What one server wants.
struct Wants {
    position: u16,
    weight: u64,
    /// The next place of its order, and how far it is from there to the one after.
    next: u32,
    step: u32,
    /// The turns' weight at which it takes its next place.
    due: u64,
}

impl Maglev {
    /// Returns the table of these servers, of so many declared. Those of weight 0 get no place.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = (ServerId, u32)>, declared: usize) -> Self {
        let wanted = declared * PLACES_PER_SERVER;
        let size = SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(SIZES[SIZES.len() - 1]);
        let mut ids: Vec<(ServerId, u16, u32)> =
            (0..FREE).zip(servers).map(|(position, (id, weight))| (id, position, weight)).collect();
        let servers = ids.len();
        ids.sort_unstable();
        let mut wants: Vec<Wants> =
            ids.into_iter().filter(|(.., weight)| *weight > 0).map(|server| Wants::new(server, size)).collect();
        let heaviest = wants.iter().map(|server| server.weight).max().unwrap_or(0);
        let mut places = vec![FREE; size as usize];
        let mut left = if wants.is_empty() { 0 } else { places.len() };
        let mut turn = 0u64;
        while left > 0 {
            turn += 1;
            for server in &mut wants {
                // The heaviest takes a place in every turn.
                if left == 0 || server.due > turn * server.weight {
                    continue;
                }
                server.due += heaviest;
                while places[server.next as usize] != FREE {
                    server.go_on(size);
                }
                places[server.next as usize] = server.position;
                left -= 1;
            }
        }
        Self { places: places.into(), servers }
    }

    /// Returns the position of the server that a key of this hash belongs to; nobody if no weight is above 0.
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<usize> {
        self.at(self.place_of(hash))
    }

    /// Returns the first among those allowed, in the order of the places behind the key's own; one without a place comes
    /// last. O(places) where few are allowed.
    #[must_use]
    pub fn pick_where(&self, hash: u64, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let from = self.place_of(hash);
        let places = (from..self.places.len()).chain(0..from);
        let mut refused = None;
        let found = places.filter_map(|place| self.at(place)).find(|position| {
            // Neighbours are often the same.
            let is_allowed = refused != Some(*position) && is_allowed(*position);
            refused = Some(*position);
            is_allowed
        });
        found.or_else(|| (0..self.servers).find(|position| is_allowed(*position)))
    }

    fn place_of(&self, hash: u64) -> usize {
        // Below the length, which is one.
        usize::try_from((u128::from(hash) * self.places.len() as u128) >> 64).unwrap_or(0)
    }

    fn at(&self, place: usize) -> Option<usize> {
        self.places.get(place).filter(|position| **position != FREE).map(|position| usize::from(*position))
    }
}

impl Wants {
    #[expect(clippy::cast_possible_truncation, reason = "remainders of a u32")]
    fn new((id, position, weight): (ServerId, u16, u32), size: u32) -> Self {
        let one = mix(id.0.wrapping_add(1));
        let (next, step) = (one % u64::from(size), mix(one) % u64::from(size - 1) + 1);
        // In the first turn everybody takes a place, so that the lightest has one.
        Self { position, weight: weight.into(), next: next as u32, step: step as u32, due: 0 }
    }

    fn go_on(&mut self, size: u32) {
        self.next = (self.next + self.step) % size;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hash::hash_uri;
    use super::*;

    fn servers(weights: &[u32]) -> Vec<(ServerId, u32)> {
        (1..).map(ServerId).zip(weights.iter().copied()).collect()
    }

    fn table(weights: &[u32]) -> Maglev {
        Maglev::new(servers(weights), weights.len())
    }

    fn key(n: u64) -> u64 {
        hash_uri(format!("/images/{n}.png").as_bytes())
    }

    #[test]
    fn nobody_and_all_weights_zero_are_never_picked() {
        assert_eq!(Maglev::new([], 0).pick(1), None);
        assert!((0..1000).all(|n| table(&[0, 0]).pick(key(n)).is_none()));
        let one = table(&[0, 1, 0]);
        assert!((0..1000).all(|n| one.pick(key(n)) == Some(1)));
    }

    #[test]
    fn places_are_shared_by_weight() {
        for weights in [&[1u32, 1, 1][..], &[5, 3, 2], &[65_535, 32_767], &[100; 10], &[1; 655], &[1, 2, 3, 4]] {
            let table = table(weights);
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let mut have = vec![0u32; weights.len()];
            table.places.iter().for_each(|position| have[usize::from(*position)] += 1);
            for (have, weight) in have.into_iter().zip(weights) {
                let want = table.places.len() as f64 * f64::from(*weight) / sum;
                assert!((f64::from(have) - want).abs() <= 0.02 * want + 2.0, "{weights:?}: {have} of {want}");
            }
        }
    }

    #[test]
    fn keys_are_shared_by_weight_within_five_percent() {
        let (weights, mut have) = ([5, 3, 2], [0u32; 3]);
        let table = table(&weights);
        (0..100_000).for_each(|n| have[table.pick(key(n)).unwrap()] += 1);
        for (have, weight) in have.into_iter().zip(weights) {
            assert!(have.abs_diff(weight * 10_000) < weight * 500, "{have} of {weight}");
        }
    }

    #[test]
    fn lightest_server_has_a_place_and_is_a_second_choice() {
        let table = table(&[6_553_500, 6_553_500, 1]);
        assert!(table.places.contains(&2));
        assert_eq!(table.pick_where(7, |at| at == 2), Some(2));
        assert_eq!(table.pick_where(7, |_| false), None);
    }

    #[test]
    fn sizes_are_primes_and_grow_with_the_servers_declared() {
        for size in SIZES {
            assert!((2..=size.isqrt()).all(|n| !size.is_multiple_of(n)), "{size}");
        }
        let size = |declared| Maglev::new(servers(&[1, 1]), declared).places.len();
        assert_eq!([2, 10, 11, 100, 655, 656, 10_000].map(size), [1_021, 1_021, 4_093, 16_381, 65_537, 65_537, 65_537]);
    }

    /// Several balancers, of several builds, must agree on who has a key.
    #[test]
    fn choices_are_pinned_for_ever() {
        let table = table(&[5, 3, 2, 7]);
        let choices: Vec<_> = (0..24).map(|n| table.pick(key(n)).unwrap()).collect();
        assert_eq!(format!("{choices:?}"), PINNED);
    }

    const PINNED: &str = "[2, 0, 2, 0, 3, 0, 0, 0, 1, 3, 0, 2, 3, 3, 0, 3, 0, 3, 3, 1, 2, 0, 1, 3]";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Losing one server moves its keys, and of the others' no more than eight in a hundred, wherever it stood.
        #[test]
        fn losing_a_server_moves_few_other_keys(
            ids in prop::collection::btree_set(any::<u64>(), 2..60),
            weight in 1..100u32,
            lost in any::<prop::sample::Index>(),
        ) {
            let before: Vec<_> = ids.iter().map(|id| (ServerId(*id), weight)).collect();
            let lost = before[lost.index(before.len())].0;
            let mut after: Vec<_> = before.iter().copied().filter(|(id, _)| *id != lost).collect();
            after.reverse();
            let (old, new) = (Maglev::new(before.clone(), before.len()), Maglev::new(after.clone(), before.len()));
            let (mut moved, mut needed) = (0, 0);
            for n in 0..4000 {
                let had = before[old.pick(key(n)).unwrap()].0;
                let has = after[new.pick(key(n)).unwrap()].0;
                if had == lost { needed += 1 } else { moved += u32::from(had != has) }
            }
            prop_assert!(moved <= 320, "one of {} left: {moved} moved, {needed} had to", before.len());
        }

        #[test]
        fn choices_one_after_the_other_name_every_server_once(count in 1..10usize, n in any::<u64>()) {
            let table = table(&vec![3; count]);
            let mut named = Vec::new();
            while let Some(next) = table.pick_where(key(n), |at| !named.contains(&at)) {
                named.push(next);
            }
            named.sort_unstable();
            prop_assert_eq!(named, (0..count).collect::<Vec<_>>());
        }
    }
}
