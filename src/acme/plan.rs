//! When a certificate is due: at once where there is none, at two thirds of its life where there is, and after a pause
//! that doubles where it could not be obtained.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Name, Timestamp};

/// The first pause after a failure.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3600);

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct Plans(BTreeMap<Box<str>, Plan>);

#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    due: Timestamp,
    failures: u32,
}

impl Plans {
    /// Forgets the names that are not wanted any more.
    pub(super) fn keep_only(&mut self, wanted: &[(Name, Box<str>)]) {
        self.0.retain(|name, _| wanted.iter().any(|(_, one)| one == name));
    }

    /// Returns whether a certificate is to be obtained now; `life` is asked once, for a name not seen before.
    pub(super) fn is_due(&mut self, name: &str, now: Timestamp, life: impl FnOnce() -> Option<Life>) -> bool {
        let plan = self.0.entry(name.into()).or_insert_with(|| Plan { due: due_of(life()), failures: 0 });
        plan.due <= now
    }

    /// Notes that a certificate was obtained.
    pub(super) fn obtained(&mut self, name: &str, life: Option<Life>) {
        self.0.insert(name.into(), Plan { due: due_of(life), failures: 0 });
    }

    /// Notes a failure; returns how long it is until the next try.
    pub(super) fn failed(&mut self, name: &str, now: Timestamp) -> Duration {
        let plan = self.0.entry(name.into()).or_default();
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(plan.failures)).min(PAUSE_MAX);
        *plan = Plan { due: now + pause, failures: plan.failures.saturating_add(1) };
        pause
    }
}

fn due_of(life: Option<Life>) -> Timestamp {
    life.map_or_else(Timestamp::default, |life| life.since + life.until.since(life.since) * 2 / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn certificate_is_due_without_one_and_at_two_thirds_of_its_life() {
        let mut plans = Plans::default();
        let since = Timestamp(0) + DAY * 1000;
        let life = Some(Life { since, until: since + DAY * 90 });
        assert!(plans.is_due("new.test", since, || None));
        assert!(!plans.is_due("old.test", since + DAY * 59, || life));
        assert!(plans.is_due("old.test", since + DAY * 60, || panic!("it is asked once")));
        plans.obtained("old.test", Some(Life { since: since + DAY * 60, until: since + DAY * 150 }));
        assert!(!plans.is_due("old.test", since + DAY * 119, || None));
        assert!(plans.is_due("old.test", since + DAY * 120, || None));
    }

    #[test]
    fn failures_are_tried_again_after_pauses_that_double_up_to_a_bound() {
        let (mut plans, now) = (Plans::default(), Timestamp(1));
        let pauses: Vec<u64> = (0..12).map(|_| plans.failed("a.test", now).as_secs() / 60).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
        assert!(!plans.is_due("a.test", now + DAY / 8, || None) && plans.is_due("a.test", now + DAY / 4, || None));
        plans.obtained("a.test", None);
        assert_eq!(plans.failed("a.test", now), PAUSE, "a success begins anew");
        plans.keep_only(&[]);
        assert!(plans.is_due("a.test", now, || None));
    }
}
