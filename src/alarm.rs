//! Says when a thread that the process cannot do without has panicked.

use std::fmt;
use std::sync::Arc;

/// Rings once a guarded thread unwinds; cheap to clone.
#[derive(Clone)]
pub struct Alarm(Arc<dyn Fn(&str) + Send + Sync>);

impl Alarm {
    /// Returns an alarm that calls `ring` with the thread's name, on that thread.
    pub fn new(ring: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ring))
    }

    /// Returns what a thread holds for as long as it runs.
    #[must_use]
    pub fn guard(&self, thread: &str) -> AlarmGuard {
        AlarmGuard { alarm: self.clone(), thread: thread.to_owned() }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

/// Rings its alarm if it is dropped by a panic.
#[derive(Debug)]
pub struct AlarmGuard {
    alarm: Alarm,
    thread: String,
}

impl Drop for AlarmGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.alarm.0)(&self.thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn alarm_rings_for_a_panic_and_not_for_an_end() {
        let rung = Arc::new(Mutex::new(Vec::new()));
        let alarm = {
            let rung = Arc::clone(&rung);
            Alarm::new(move |thread| rung.lock().unwrap().push(thread.to_owned()))
        };
        drop(alarm.guard("ends"));
        let guard = alarm.guard("panics");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("on purpose");
        }));
        assert!(outcome.is_err());
        assert_eq!(*rung.lock().unwrap(), ["panics"]);
    }
}
