//! Numbers from a seed: what shuffles and phases are made of, the same for the same seed.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Not for secrets.

/// Steps the state: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator of numbers from a seed.
#[derive(Clone, Debug)]
pub struct Seeds(u64);

impl Seeds {
    /// Returns the generator of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number, each of 2^64 alike.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns the next number of `0..bound`; 0 when `bound` is 0. Skewed by less than `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        high_half(self.draw(), bound)
    }

    /// Shuffles the items, every order alike.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

/// Returns `x` with every bit of it spread over the whole word; one to one.
#[must_use]
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Returns one seed for all the parts, in their order.
#[must_use]
pub fn join(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |seed, part| mix(seed.wrapping_add(STEP) ^ mix(part.wrapping_add(STEP))))
}

fn high_half(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published generator from seed 0.
    #[test]
    fn seeds_follow_the_published_sequence() {
        let mut seeds = Seeds::new(0);
        assert_eq!([seeds.draw(), seeds.draw()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn shuffle_keeps_every_item_and_puts_each_everywhere() {
        let mut seen = [[0u32; 4]; 4];
        for seed in 0..4000 {
            let mut items = [0usize, 1, 2, 3];
            Seeds::new(seed).shuffle(&mut items);
            for (place, item) in items.iter().enumerate() {
                seen[place][*item] += 1;
            }
        }
        assert!(seen.iter().flatten().all(|n| (850..1150).contains(n)), "{seen:?}");
    }

    #[test]
    fn join_tells_parts_and_their_order_apart() {
        let seeds = [join(&[1, 2]), join(&[2, 1]), join(&[1]), join(&[1, 2, 0]), join(&[0, 1, 2])];
        for (i, seed) in seeds.iter().enumerate() {
            assert!(!seeds[i + 1..].contains(seed));
        }
    }
}
