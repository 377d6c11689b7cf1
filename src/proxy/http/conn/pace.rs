//! How fast a request body comes: who sends a byte now and then holds a server for ever, and no pause is ever long.
//!
//! Only the time that is waited for the client counts; how long the server takes to read is not the client's fault.
//! Pure: the time is handed in.

use std::time::{Duration, Instant};

/// See the module's doc; of one body.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy::http) struct Pace {
    waited: Duration,
    waiting_since: Option<Instant>,
    bytes: u64,
}

impl Pace {
    /// Takes in that there is nothing to be read.
    pub(in crate::proxy::http) fn waits(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// Takes in what was read; returns whether that is fast enough: `rate_min` bytes a second (0: any) on average, once
    /// `allowance` has been waited.
    pub(in crate::proxy::http) fn read(
        &mut self,
        bytes: usize,
        now: Instant,
        allowance: Duration,
        rate_min: u32,
    ) -> bool {
        self.bytes += bytes as u64;
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        let beyond = self.waited.saturating_sub(allowance);
        u128::from(self.bytes) * 1000 >= u128::from(rate_min) * beyond.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_that_drips_is_too_slow_once_the_allowance_is_over() {
        let begin = crate::clock::monotonic();
        let at = |s| begin + Duration::from_secs(s);
        let mut pace = Pace::default();
        for n in 0..10 {
            pace.waits(at(n));
            // A byte a second, of 10: fine until the allowance of 5 s is over.
            assert_eq!(pace.read(1, at(n + 1), Duration::from_secs(5), 10), n < 5, "second {n}");
        }
        let mut idle_server = Pace::default();
        assert!(idle_server.read(1, at(0), Duration::from_secs(5), 10));
        assert!(idle_server.read(1, at(1000), Duration::from_secs(5), 10), "the client was not waited for");
        let mut unbounded = Pace::default();
        unbounded.waits(at(0));
        assert!(unbounded.read(0, at(1000), Duration::ZERO, 0));
    }
}
