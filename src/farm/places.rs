//! The places of a server that may have only so many connections, counted over all workers.
//!
//! A place is taken before work is given to the server and given back when the work ends; there are never more taken than
//! there are. Servers without a bound are not counted. Work that began before a server was given a bound is not counted
//! either, and ends by itself.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicU32,
}

impl Places {
    /// Takes a place of so many, if one is left.
    #[must_use]
    pub fn try_take(&self, most: u32) -> bool {
        self.taken.fetch_update(SeqCst, SeqCst, |taken| (taken < most).then(|| taken + 1)).is_ok()
    }

    /// Gives a place back.
    pub fn give_back(&self) {
        // Each was taken before; below nothing there is nothing.
        let _ = self.taken.fetch_update(SeqCst, SeqCst, |taken| taken.checked_sub(1));
    }

    /// Returns how many are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn places_are_taken_up_to_the_most_and_given_back() {
        let places = Places::default();
        assert_eq!([places.try_take(2), places.try_take(2), places.try_take(2)], [true, true, false]);
        assert!(places.try_take(3), "the bound was raised");
        (0..3).for_each(|_| places.give_back());
        assert_eq!((places.taken(), places.try_take(0)), (0, false));
        places.give_back();
        assert_eq!(places.taken(), 0, "never below nothing");
    }

    #[test]
    fn places_are_never_taken_beyond_the_most_by_eight_threads() {
        let (places, inside, most_seen) = (Places::default(), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < 2_000 {
                        if places.try_take(3) {
                            most_seen.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                            inside.fetch_sub(1, SeqCst);
                            places.give_back();
                            done += 1;
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&most_seen.load(SeqCst)));
        assert_eq!(places.taken(), 0);
    }
}
