//! How much a server may carry where work is hashed: a bound, above which it passes work to the next.
//!
//! A server's fair share is what all carry, the next piece included, by weight; the bound is that times `load_max`,
//! rounded up, so there is always one below it. Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads
//! (2018).

/// What all servers carry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// In flight at all of them.
    pub in_flight: u64,
    /// Their weights' sum.
    pub weight: u64,
}

/// Returns whether a server of that weight with so much in flight may take one more: its bound is `load_max` per cent of
/// its fair share.
#[must_use]
pub fn may_take(in_flight: u64, weight: u32, all: Carried, load_max: u16) -> bool {
    let fair = (u128::from(all.in_flight) + 1) * u128::from(weight) * u128::from(load_max);
    u128::from(in_flight) < fair.div_ceil(u128::from(all.weight).max(1) * 100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn idle_server_of_any_weight_takes_its_first() {
        let all = Carried { in_flight: 0, weight: 10_000 };
        assert!(may_take(0, 1, all, 101) && !may_take(1, 1, all, 101));
        assert!(!may_take(0, 0, all, 101), "weight 0 takes nothing");
    }

    #[test]
    fn bound_is_the_given_part_of_the_fair_share() {
        let all = Carried { in_flight: 99, weight: 4 };
        assert!(may_take(31, 1, all, 125) && !may_take(32, 1, all, 125), "125 % of 25, rounded up");
        assert!(may_take(62, 2, all, 125) && !may_take(63, 2, all, 125));
    }

    proptest! {
        #[test]
        fn somebody_may_always_take_one_more(
            servers in prop::collection::vec((1..100u32, 0..1000u64), 1..20),
            load_max in 101..1000u16,
        ) {
            let all = Carried {
                in_flight: servers.iter().map(|(_, in_flight)| in_flight).sum(),
                weight: servers.iter().map(|(weight, _)| u64::from(*weight)).sum(),
            };
            prop_assert!(servers.iter().any(|(weight, in_flight)| may_take(*in_flight, *weight, all, load_max)));
        }
    }
}
