//! Comparing secrets. Knows no shape's words.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Returns whether two secrets are the same text. Digests are compared, in constant time, so that how long it takes
/// tells neither where they differ nor how long ours is. An empty one is the same as nothing.
pub(super) fn is_same(known: &str, given: &str) -> bool {
    !known.is_empty() && bool::from(Sha256::digest(known).ct_eq(&Sha256::digest(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_that_is_empty_or_differs_is_not_the_same() {
        assert!(is_same("a", "a"));
        for (known, given) in [("a", "b"), ("a", ""), ("a", "aa"), ("", ""), ("", "a")] {
            assert!(!is_same(known, given), "{known:?} {given:?}");
        }
    }
}
