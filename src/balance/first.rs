//! The first that may: everything goes to the earliest server in the order written; the others stand by.
//!
//! For farms that want their servers used one after the other, so that the last ones can sleep. No state.

/// Returns the least of `0..count` that is allowed.
pub fn pick(count: usize, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
    (0..count).find(|i| is_allowed(*i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_allowed_in_order_wins() {
        assert_eq!(pick(3, |_| true), Some(0));
        assert_eq!(pick(3, |i| i > 1), Some(2));
        assert_eq!(pick(3, |_| false), None);
        assert_eq!(pick(0, |_| true), None);
    }
}
