//! Comparing secrets. Knows no shape's words.

use std::sync::LazyLock;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How much of a digest tells two texts apart, in bytes.
const TAG_BYTES: usize = 16;

/// Returns whether two secrets are the same text. Digests are compared, in constant time, so that how long it takes
/// tells neither where they differ nor how long ours is. An empty one is the same as nothing.
pub(super) fn is_same(known: &str, given: &str) -> bool {
    !known.is_empty() && bool::from(Sha256::digest(known).ct_eq(&Sha256::digest(given)))
}

/// Returns a digest of a text that nobody can compute who does not have the key of this process: two texts can be told to
/// be the same, and what is in them cannot be guessed at.
pub(super) fn keyed(text: &str) -> String {
    static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);
    keyed_with(&KEY, text)
}

fn keyed_with(key: &[u8; 32], text: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes().iter().take(TAG_BYTES).copied().collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_digest_tells_texts_apart_and_is_another_under_another_key() {
        assert_eq!((keyed("a"), keyed("a").len()), (keyed("a"), 32));
        assert_ne!(keyed("a"), keyed("b"));
        assert_ne!(keyed_with(&[1; 32], "a"), keyed_with(&[2; 32], "a"));
    }

    #[test]
    fn secret_that_is_empty_or_differs_is_not_the_same() {
        assert!(is_same("a", "a"));
        for (known, given) in [("a", "b"), ("a", ""), ("a", "aa"), ("", ""), ("", "a")] {
            assert!(!is_same(known, given), "{known:?} {given:?}");
        }
    }
}
