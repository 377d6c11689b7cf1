//! The same server for the same key, as long as it is there.
//!
//! Weighted rendezvous: for one key every server draws a number of its own, exponentially distributed with its weight
//! as rate, from the key's hash and the server's id; the least wins. So each server gets exactly its weight's part of
//! the keys on average, a server that leaves gives up its own keys and no other moves, one whose weight changes only
//! gains or only loses, and a key's second choice is the server it would go to if the first left.
//!
//! Why not a ring of points: at 160 points a server a share is off by 8 % as a rule and the number of points must not
//! depend on who else is there, or other keys move. Why not a Maglev table: losing one server moves others' keys too.
//! The price is a pick of O(n), one multiplication a server (the logarithm is needed for the few that may win); there
//! is nothing to build but two numbers a server. Ids, not positions, decide: order and neighbours do not matter.
//!
//! Keys are hashed by XXH3 (64 bits), whose results are specified and do not change from build to build: several
//! balancers of one service agree. Rendezvous: Thaler and Ravishankar (1998); weights: Schindelhauer and Schomaker
//! (2005).

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::ServerId;

use super::seed::mix;

/// Returns the hash of a client's address. An IPv4 client hashes alike on an IPv4 and on a dual-stack listener.
#[must_use]
pub fn hash_source(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(ip) => xxh3_64(&ip.octets()),
        IpAddr::V6(ip) => xxh3_64(&ip.octets()),
    }
}

/// Returns the hash of a request's path: what stands before the first `?`.
#[must_use]
pub fn hash_uri(uri: &[u8]) -> u64 {
    let end = uri.iter().position(|byte| *byte == b'?').unwrap_or(uri.len());
    xxh3_64(&uri[..end])
}

/// Returns the hash of a header field's value.
#[must_use]
pub fn hash_value(value: &[u8]) -> u64 {
    xxh3_64(value)
}

/// Servers that compete for keys. Immutable.
#[derive(Clone, Debug)]
pub struct Rendezvous(Box<[Rival]>);

impl Rendezvous {
    /// Returns the competition of these servers. O(n).
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = (ServerId, u32)>) -> Self {
        Self(servers.into_iter().map(|(id, weight)| Rival::new(id, weight)).collect())
    }

    /// Returns the position of the server that a key of this hash belongs to; nobody if no weight is above 0. O(n).
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<usize> {
        self.pick_where(hash, |_| true)
    }

    /// Returns the first choice of a key among those allowed. Forbidding the first choice gives the second, and so on.
    #[must_use]
    pub fn pick_where(&self, hash: u64, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let mut first = None;
        let mut least = f64::INFINITY;
        for (i, rival) in self.0.iter().enumerate() {
            // -ln(1 - x) is never below x: most rivals lose without the logarithm.
            let x = rival.draw(hash);
            if x * rival.pace < least && is_allowed(i) {
                let arrival = -(-x).ln_1p() * rival.pace;
                if arrival < least {
                    (first, least) = (Some(i), arrival);
                }
            }
        }
        first
    }
}

/// One server in the competition.
#[derive(Clone, Copy, Debug)]
struct Rival {
    salt: u64,
    factor: u64,
    /// 1 / weight; infinite for weight 0, which never wins.
    pace: f64,
}

impl Rival {
    fn new(id: ServerId, weight: u32) -> Self {
        let salt = mix(id.0.wrapping_add(1));
        Self { salt, factor: mix(salt) | 1, pace: 1.0 / f64::from(weight) }
    }

    /// Returns the server's number for a key, in 0..1: both halves of a 128-bit product, folded.
    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    fn draw(&self, hash: u64) -> f64 {
        let product = u128::from(hash ^ self.salt) * u128::from(self.factor);
        let folded = (product >> 64) as u64 ^ product as u64;
        // 53 bits: what a double holds exactly.
        (folded >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(weights: &[u32]) -> Vec<(ServerId, u32)> {
        (1..).map(ServerId).zip(weights.iter().copied()).collect()
    }

    fn key(n: u64) -> u64 {
        hash_uri(format!("/images/{n}.png").as_bytes())
    }

    /// Keys of 100,000 that each server gets.
    fn shares(servers: &[(ServerId, u32)]) -> Vec<u32> {
        let rivals = Rendezvous::new(servers.iter().copied());
        let mut shares = vec![0; servers.len()];
        (0..100_000).for_each(|n| shares[rivals.pick(key(n)).unwrap()] += 1);
        shares
    }

    #[test]
    fn nobody_and_all_weights_zero_are_never_picked() {
        assert_eq!(Rendezvous::new([]).pick(1), None);
        let zeros = Rendezvous::new(servers(&[0, 0]));
        assert!((0..1000).all(|n| zeros.pick(key(n)).is_none()));
        let one = Rendezvous::new(servers(&[0, 1, 0]));
        assert!((0..1000).all(|n| one.pick(key(n)) == Some(1)));
    }

    #[test]
    fn keys_are_shared_by_weight_within_four_percent() {
        for weights in [&[1u32, 1, 1][..], &[5, 3, 2], &[65_535, 32_767], &[100; 10], &[1, 2, 3, 4]] {
            let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            for (share, weight) in shares(&servers(weights)).into_iter().zip(weights) {
                let want = 100_000.0 * f64::from(*weight) / sum;
                assert!((f64::from(share) - want).abs() < 0.04 * want, "{weights:?}: {share} of {want}");
            }
        }
    }

    /// Many servers with neighbouring ids: chi-square of 199 degrees of freedom, 5 deviations either way.
    #[test]
    fn keys_spread_over_many_as_chance_would() {
        let squares = |share: &u32| (f64::from(*share) - 500.0).powi(2) / 500.0;
        let chi: f64 = shares(&servers(&[1; 200])).iter().map(squares).sum();
        assert!((100.0..300.0).contains(&chi), "{chi}");
    }

    #[test]
    fn second_choices_are_shared_by_weight_too() {
        let rivals = Rendezvous::new(servers(&[5, 3, 2]));
        let mut second = [0; 3];
        for n in (0..200_000).filter(|n| rivals.pick(key(*n)) == Some(0)) {
            second[rivals.pick_where(key(n), |i| i != 0).unwrap()] += 1;
        }
        let ratio = f64::from(second[1]) / f64::from(second[2]);
        assert!((1.44..1.56).contains(&ratio), "{second:?}");
        assert_eq!(second[0], 0);
    }

    /// Several balancers, of several builds, must agree on who has a key.
    #[test]
    fn hashes_and_choices_are_pinned_for_ever() {
        let rivals = Rendezvous::new(servers(&[5, 3, 2, 7]));
        let choices: Vec<_> = (0..24).map(|n| rivals.pick(key(n)).unwrap()).collect();
        insta::assert_debug_snapshot!((
            hash_source("192.0.2.1".parse().unwrap()),
            hash_source("2001:db8::1".parse().unwrap()),
            hash_uri(b"/"),
            format!("{choices:?}"),
        ));
    }

    #[test]
    fn uri_counts_up_to_the_question_mark() {
        assert_eq!(hash_uri(b"/a?x=1"), hash_uri(b"/a"));
        assert_ne!(hash_uri(b"/a"), hash_uri(b"/b"));
        assert_eq!(hash_uri(b"?"), hash_uri(b""));
    }

    #[test]
    fn ipv4_client_hashes_alike_on_a_dual_stack_listener() {
        let hash = |text: &str| hash_source(text.parse().unwrap());
        assert_eq!(hash("192.0.2.1"), hash("::ffff:192.0.2.1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Losing one server moves its keys and no other, wherever it stood in the list, and about 1/n of them.
        #[test]
        fn losing_a_server_moves_its_keys_only(
            ids in prop::collection::btree_set(any::<u64>(), 2..12),
            weight in 1..100u32,
            lost in any::<prop::sample::Index>(),
        ) {
            let before: Vec<_> = ids.iter().map(|id| (ServerId(*id), weight)).collect();
            let lost = before[lost.index(before.len())].0;
            let mut after: Vec<_> = before.iter().copied().filter(|(id, _)| *id != lost).collect();
            after.reverse();
            let (old, new) = (Rendezvous::new(before.iter().copied()), Rendezvous::new(after.iter().copied()));
            let mut moved = 0;
            for n in 0..2000 {
                let had = before[old.pick(key(n)).unwrap()].0;
                let has = after[new.pick(key(n)).unwrap()].0;
                if had == lost { moved += 1 } else { prop_assert_eq!(had, has) }
            }
            let want = 2000 / before.len();
            prop_assert!(moved > want / 2 && moved < want * 2, "{} of {}", moved, want);
        }

        #[test]
        fn server_of_more_weight_loses_no_key(weights in prop::collection::vec(0..50u32, 1..8), more in 1..50u32) {
            let old = Rendezvous::new(servers(&weights));
            let mut heavier = weights;
            heavier[0] += more;
            let new = Rendezvous::new(servers(&heavier));
            for n in 0..500 {
                let (had, has) = (old.pick(key(n)), new.pick(key(n)));
                prop_assert!(had == has || has == Some(0));
            }
        }

        #[test]
        fn choices_one_after_the_other_name_every_server_once(count in 1..10usize, n in any::<u64>()) {
            let rivals = Rendezvous::new(servers(&vec![3; count]));
            let mut named = Vec::new();
            while let Some(next) = rivals.pick_where(key(n), |i| !named.contains(&i)) {
                named.push(next);
            }
            named.sort_unstable();
            prop_assert_eq!(named, (0..count).collect::<Vec<_>>());
        }
    }
}
