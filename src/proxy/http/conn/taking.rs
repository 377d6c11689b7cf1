//! How fast a client takes what is sent to it: who takes a byte now and then holds its answer, and a server's place,
//! for ever, and no pause is ever long.
//!
//! Only time in which something waits for the client counts, so that a server that sends slowly is never mistaken for
//! a client that reads slowly. Such time is looked at a window at a time: in each, the client must take a minimum.
//! Pure: the time is handed in.

use std::time::{Duration, Instant};

/// See the module's doc; of one answer, or of all that goes over one connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy::http) struct Taking {
    window: Duration,
    /// Bytes a second; 0: any.
    rate_min: u32,
    /// What is taken so soon was not waited for.
    grace: Duration,
    /// What was waited in this window, before the wait that goes on.
    waited: Duration,
    /// From when on the wait that goes on counts.
    waiting_from: Option<Instant>,
    /// Bytes taken in this window.
    bytes: u64,
}

impl Taking {
    pub(in crate::proxy::http) fn new(window: Duration, rate_min: u32, grace: Duration) -> Self {
        Self { window, rate_min, grace, waited: Duration::ZERO, waiting_from: None, bytes: 0 }
    }

    /// Takes in that something waits for the client.
    pub(in crate::proxy::http) fn waits(&mut self, now: Instant) {
        self.waiting_from.get_or_insert(now + self.grace);
    }

    /// Whether something waits.
    pub(in crate::proxy::http) fn is_waiting(&self) -> bool {
        self.waiting_from.is_some()
    }

    /// Takes in that the client took so many bytes.
    pub(in crate::proxy::http) fn took(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Takes in that nothing waits any more.
    pub(in crate::proxy::http) fn rests(&mut self, now: Instant) {
        if let Some(from) = self.waiting_from.take() {
            self.waited += now.saturating_duration_since(from);
        }
    }

    /// Returns whether what the client took is enough, and begins another window where one is over.
    pub(in crate::proxy::http) fn is_enough(&mut self, now: Instant) -> bool {
        let going_on = self.waiting_from.map_or(Duration::ZERO, |from| now.saturating_duration_since(from));
        let waited = self.waited + going_on;
        if waited < self.window {
            return true;
        }
        let is_enough = u128::from(self.bytes) * 1000 >= u128::from(self.rate_min) * waited.as_millis();
        self.waited = Duration::ZERO;
        self.bytes = 0;
        if let Some(from) = &mut self.waiting_from {
            *from = now;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn client_that_drips_is_too_slow_once_a_window_is_over() {
        let begin = crate::clock::monotonic();
        let mut taking = Taking::new(10 * SECOND, 100, Duration::ZERO);
        taking.waits(begin);
        taking.took(1000);
        assert!(taking.is_enough(begin + 10 * SECOND), "that was quick");
        taking.took(999);
        assert!(taking.is_enough(begin + 19 * SECOND), "the second window is not over");
        assert!(!taking.is_enough(begin + 20 * SECOND));
    }

    #[test]
    fn only_time_in_which_something_waits_counts() {
        let begin = crate::clock::monotonic();
        let mut taking = Taking::new(10 * SECOND, 100, SECOND);
        for n in 0..100 {
            taking.waits(begin + n * 60 * SECOND);
            taking.took(1);
            taking.rests(begin + n * 60 * SECOND + SECOND);
            assert!(
                !taking.is_waiting() && taking.is_enough(begin + (n + 1) * 60 * SECOND),
                "a byte a minute, taken at once"
            );
        }
        for n in 0..9 {
            taking.waits(begin + n * SECOND * 3);
            taking.rests(begin + n * SECOND * 3 + 2 * SECOND);
            assert!(taking.is_enough(begin + 9999 * SECOND), "{n}");
        }
        taking.waits(begin);
        assert!(!taking.is_enough(begin + 2 * SECOND), "waits add up");
    }

    #[test]
    fn any_pace_is_enough_where_there_is_no_bound() {
        let begin = crate::clock::monotonic();
        let mut taking = Taking::new(SECOND, 0, Duration::ZERO);
        taking.waits(begin);
        assert!(taking.is_enough(begin + 1000 * SECOND));
    }
}
