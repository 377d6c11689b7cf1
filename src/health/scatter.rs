//! Maps by the numbers that we give ourselves: one multiplication instead of a hash that withstands chosen keys.
//!
//! For keys that nobody outside can choose. Iteration has no order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// 2^64 divided by the golden ratio, which spreads neighbours far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A map by numbers of our own.
pub type ScatterMap<K, V> = HashMap<K, V, BuildHasherDefault<Scatter>>;

/// See the module's doc.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scatter(u64);

impl Hasher for Scatter {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(GOLDEN);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(key: impl Hash) -> u64 {
        BuildHasherDefault::<Scatter>::default().hash_one(key)
    }

    #[test]
    fn neighbours_differ_in_the_bits_that_maps_look_at() {
        let low: BTreeSet<u64> = (0..1024u64).map(|n| hash(n) % 1024).collect();
        assert_eq!(low.len(), 1024, "a bucket each");
        let high: BTreeSet<u64> = (0..1024u64).map(|n| hash(n) >> 57).collect();
        assert_eq!(high.len(), 128);
        let pairs: BTreeSet<u64> = (0..64u64).flat_map(|a| (0..64u64).map(move |b| hash((a, b, 0u8)))).collect();
        assert_eq!(pairs.len(), 64 * 64);
    }
}
