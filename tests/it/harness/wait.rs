//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen soon, on a machine busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns what `look` returns as soon as it returns something; fails the test after [`PATIENCE`].
#[track_caller]
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Returns what `look` returns as soon as it returns something, or nothing after `deadline`.
pub(crate) fn until_within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}
