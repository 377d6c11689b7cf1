//! Passive checks: a server whose work fails again and again is ejected for a while.
//!
//! Pure. The caller counts failures in a row and says whether the farm has room for one more ejection; here is decided
//! whether to eject and for how long. Each ejection lasts twice as long as the one before, up to the farm's maximum;
//! the count begins anew after the server has stayed in for as long as that maximum. A check that began after the
//! ejection and passed ends it at once. A clock that was set back lengthens no ejection beyond its own length.

use std::time::Duration;

use crate::model::{Ejection, Observe, Timestamp, TrafficFault};

/// Returns whether one more of a farm's servers may be ejected while so many are: one always may.
#[must_use]
pub fn may_eject(observe: &Observe, servers: usize, ejected: usize) -> bool {
    ejected == 0 || (ejected + 1) * 100 <= servers * usize::from(observe.share_max)
}

/// See the module's doc.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outlier {
    ejection: Option<Ejection>,
    /// Ejections in a row, the present one too.
    times: u16,
    /// When the last one ended.
    ended: Option<Timestamp>,
}

impl Outlier {
    /// Returns the record of a server that an earlier process ejected, or did not.
    pub(super) fn restored(ejection: Option<Ejection>) -> Self {
        Self { ejection, times: ejection.map_or(0, |ejection| ejection.times), ended: None }
    }

    pub(super) fn ejection(&self) -> Option<Ejection> {
        self.ejection
    }

    /// Takes in so many failures in a row, the last of this kind; returns the ejection that they bring.
    pub(super) fn failed(
        &mut self,
        observe: &Observe,
        errors: u16,
        kind: TrafficFault,
        now: Timestamp,
    ) -> Option<Ejection> {
        let is_observed = match kind {
            TrafficFault::Connect => observe.connect,
            TrafficFault::Response => observe.response,
            TrafficFault::Status => observe.status,
        };
        if !is_observed || errors < observe.errors || self.ejection.is_some() {
            return None;
        }
        if self.ended.is_some_and(|ended| now.since(ended) >= observe.eject_max) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        let until = now + length(observe, self.times);
        self.ejection = Some(Ejection { since: now, until, errors, kind, times: self.times });
        self.ejection
    }

    /// Takes in that a check which began then has passed; returns whether that ended an ejection.
    pub(super) fn passed(&mut self, began: Timestamp, now: Timestamp) -> bool {
        self.ejection.is_some_and(|ejection| began >= ejection.since) && self.end(now)
    }

    /// Ends an ejection whose time has come; returns whether there was one.
    pub(super) fn tick(&mut self, now: Timestamp) -> bool {
        let Some(ejection) = &mut self.ejection else { return false };
        if ejection.since > now {
            let length = ejection.until.since(ejection.since);
            (ejection.since, ejection.until) = (now, now + length);
        }
        ejection.until <= now && self.end(now)
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.ejection.map(|ejection| ejection.until)
    }

    /// Follows the farm's new rule: without one, the next tick ends the ejection.
    pub(super) fn retune(&mut self, observe: Option<&Observe>) {
        if let (None, Some(ejection)) = (observe, &mut self.ejection) {
            ejection.until = ejection.since;
        }
    }

    fn end(&mut self, now: Timestamp) -> bool {
        self.ended = Some(now);
        self.ejection.take().is_some()
    }
}

/// `eject` × 2^(times − 1), at most `eject_max`.
fn length(observe: &Observe, times: u16) -> Duration {
    let doublings = u32::from(times.saturating_sub(1)).min(31);
    observe.eject.saturating_mul(1 << doublings).min(observe.eject_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBSERVE: Observe = Observe {
        errors: 5,
        connect: true,
        status: true,
        response: false,
        eject: Duration::from_secs(10),
        eject_max: Duration::from_secs(60),
        share_max: 50,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    fn eject(outlier: &mut Outlier, now: Timestamp) -> Option<u64> {
        let made = outlier.failed(&OBSERVE, 5, TrafficFault::Connect, now)?;
        Some(made.until.since(made.since).as_secs())
    }

    #[test]
    fn outlier_ejects_at_the_count_and_not_below_or_twice() {
        let mut outlier = Outlier::default();
        assert_eq!(outlier.failed(&OBSERVE, 4, TrafficFault::Connect, at(0)), None);
        assert_eq!(outlier.failed(&OBSERVE, 9, TrafficFault::Response, at(0)), None, "not observed");
        assert_eq!(eject(&mut outlier, at(0)), Some(10));
        assert_eq!(eject(&mut outlier, at(1)), None, "it is out already");
    }

    #[test]
    fn outlier_share_of_a_farm_is_bounded_and_one_may_always_go() {
        let room = |servers, share_max| {
            let observe = Observe { share_max, ..OBSERVE };
            (0..servers).take_while(|ejected| may_eject(&observe, servers, *ejected)).count()
        };
        assert_eq!([room(1, 10), room(10, 0), room(10, 50), room(9, 50), room(10, 100)], [1, 1, 5, 4, 10]);
    }

    #[test]
    fn outlier_doubles_up_to_the_maximum_and_forgets_after_staying_good() {
        let mut outlier = Outlier::default();
        let mut now = at(0);
        for want in [10, 20, 40, 60, 60] {
            assert_eq!(eject(&mut outlier, now), Some(want));
            now = outlier.due().unwrap();
            assert!(!outlier.tick(Timestamp(now.0 - 1)), "a tick before its end ends nothing");
            assert!(outlier.tick(now));
        }
        assert_eq!(eject(&mut outlier, now + Duration::from_secs(60)), Some(10));
    }

    #[test]
    fn outlier_is_ended_by_a_check_that_began_after_it_and_by_no_other() {
        let mut outlier = Outlier::default();
        eject(&mut outlier, at(5));
        assert!(!outlier.passed(at(4), at(6)));
        assert!(outlier.passed(at(6), at(7)));
        assert_eq!(outlier.ejection(), None);
        assert!(!outlier.passed(at(8), at(9)), "there is nothing left to end");
    }

    #[test]
    fn outlier_lasts_no_longer_than_its_length_when_the_clock_is_set_back() {
        let mut outlier = Outlier::default();
        eject(&mut outlier, at(3600));
        assert!(!outlier.tick(at(0)));
        assert_eq!(outlier.due(), Some(at(10)));
    }

    #[test]
    fn outlier_without_a_rule_ends_at_the_next_tick() {
        let mut outlier = Outlier::default();
        eject(&mut outlier, at(0));
        outlier.retune(None);
        assert!(outlier.tick(at(0)));
    }

    #[test]
    fn outlier_restored_goes_on_doubling() {
        let mut outlier = Outlier::default();
        eject(&mut outlier, at(0));
        let mut restored = Outlier::restored(outlier.ejection());
        assert!(restored.tick(at(10)));
        assert_eq!(eject(&mut restored, at(11)), Some(20));
    }
}
