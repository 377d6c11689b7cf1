//! Probes and traffic that disagree: a state of its own, shown with both numbers.
//!
//! Pure. Work that went well and work that failed come in as differences, one sample every
//! [`SAMPLE_INTERVAL`]; the last [`SAMPLES`] are looked at together. A change of health throws them away, and the next
//! sample too, since part of it is older than the change. What ends a suspicion is further away than what begins it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Health, Suspicion, SuspicionKind, Timestamp};

/// How often a sample is taken.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Samples that are looked at together: the window is 30 s.
const SAMPLES: usize = 6;
/// Pieces of work in the window below which nothing is suspected.
const WORK_MIN: u64 = 20;
/// Pieces of work in the window below which a suspicion is dropped.
const WORK_KEPT_MIN: u64 = 10;
/// Per cent of work that failed from which an Up server is suspect, and below which no more.
const BAD_WHILE_UP: (u64, u64) = (50, 25);
/// Per cent of work that failed up to which a Down server is suspect, and above which no more.
const BAD_WHILE_DOWN: (u64, u64) = (5, 10);

/// The time that is looked at, for people.
pub(super) const WINDOW: Duration = Duration::from_secs(SAMPLE_INTERVAL.as_secs() * SAMPLES as u64);

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Work that went well and that failed, the oldest first.
    samples: VecDeque<(u64, u64)>,
    suspicion: Option<Suspicion>,
    skips_next: bool,
}

/// What a sample changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampled {
    /// A suspicion begins.
    Began(Suspicion),
    /// It is over.
    Ended,
    /// Neither.
    Same,
}

impl Watch {
    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        self.suspicion
    }

    /// Takes in how much work went well and failed since the last sample.
    pub(super) fn sampled(&mut self, health: Health, good: u64, bad: u64, now: Timestamp) -> Sampled {
        if std::mem::take(&mut self.skips_next) {
            return Sampled::Same;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((good, bad));
        let good = self.samples.iter().fold(0, |sum: u64, (good, _)| sum.saturating_add(*good));
        let bad = self.samples.iter().fold(0, |sum: u64, (_, bad)| sum.saturating_add(*bad));
        let had = self.suspicion.map(|suspicion| suspicion.kind);
        let has = judge(health, good, bad, had);
        let since = self.suspicion.map_or(now, |suspicion| suspicion.since);
        self.suspicion = has.map(|kind| Suspicion { kind, since, good, bad });
        match (had, self.suspicion) {
            (None, Some(suspicion)) => Sampled::Began(suspicion),
            (Some(_), None) => Sampled::Ended,
            (None, None) | (Some(_), Some(_)) => Sampled::Same,
        }
    }

    /// Takes in a change of health; returns whether it ended a suspicion.
    pub(super) fn health_changed(&mut self) -> bool {
        self.samples.clear();
        self.skips_next = true;
        self.suspicion.take().is_some()
    }
}

fn judge(health: Health, good: u64, bad: u64, had: Option<SuspicionKind>) -> Option<SuspicionKind> {
    let work = good.saturating_add(bad);
    let least = if had.is_some() { WORK_KEPT_MIN } else { WORK_MIN };
    if work < least {
        return None;
    }
    let at_least = |percent: u64| u128::from(bad) * 100 >= u128::from(work) * u128::from(percent);
    let at_most = |percent: u64| u128::from(bad) * 100 <= u128::from(work) * u128::from(percent);
    match health {
        Health::Up => {
            let bound = if had.is_some() { BAD_WHILE_UP.1 } else { BAD_WHILE_UP.0 };
            at_least(bound).then_some(SuspicionKind::TrafficFails)
        }
        Health::Down => {
            let bound = if had.is_some() { BAD_WHILE_DOWN.1 } else { BAD_WHILE_DOWN.0 };
            at_most(bound).then_some(SuspicionKind::ProbesFail)
        }
        Health::Off | Health::Stopping | Health::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Health::{Down, Off, Up};

    fn kinds(health: Health, samples: &[(u64, u64)]) -> Option<(SuspicionKind, u64, u64)> {
        let mut watch = Watch::default();
        for (n, (good, bad)) in (0..).zip(samples) {
            watch.sampled(health, *good, *bad, Timestamp(n));
        }
        watch.suspicion().map(|s| (s.kind, s.good, s.bad))
    }

    #[test]
    fn suspicion_needs_enough_work_of_the_contrary_kind() {
        use SuspicionKind::{ProbesFail, TrafficFails};
        for (health, samples, want) in [
            (Up, vec![(10, 10)], Some((TrafficFails, 10, 10))),
            (Up, vec![(10, 9)], None),
            (Up, vec![(11, 10)], None),
            (Up, vec![(5, 5), (5, 5)], Some((TrafficFails, 10, 10))),
            (Up, vec![(0, 9), (0, 9)], None),
            (Down, vec![(19, 1)], Some((ProbesFail, 19, 1))),
            (Down, vec![(18, 2)], None),
            (Down, vec![(0, 0)], None),
            (Off, vec![(0, 100)], None),
            (Up, vec![(0, 90), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)], None),
        ] {
            assert_eq!(kinds(health, &samples), want, "{health:?} {samples:?}");
        }
    }

    #[test]
    fn suspicion_ends_further_away_than_it_begins() {
        let mut watch = Watch::default();
        let mut told = Vec::new();
        for (n, (good, bad)) in (0..).zip([(0, 30), (30, 0), (25, 0), (40, 0), (0, 30)]) {
            told.push(match watch.sampled(Up, good, bad, Timestamp(n)) {
                Sampled::Began(_) => "began",
                Sampled::Ended => "ended",
                Sampled::Same => "same",
            });
        }
        assert_eq!(told, ["began", "same", "same", "ended", "same"]);
    }

    #[test]
    fn suspicion_with_too_little_work_is_dropped() {
        let mut watch = Watch::default();
        watch.sampled(Up, 0, 30, Timestamp(0));
        let later: Vec<_> = (1..7).map(|n| watch.sampled(Up, 0, 0, Timestamp(n))).collect();
        assert_eq!(later.iter().position(|sampled| *sampled == Sampled::Ended), Some(5));
    }

    #[test]
    fn suspicion_begins_from_work_after_the_change_of_health_only() {
        let mut watch = Watch::default();
        watch.sampled(Up, 100, 0, Timestamp(0));
        assert!(!watch.health_changed());
        assert_eq!(watch.sampled(Down, 100, 0, Timestamp(1)), Sampled::Same, "partly older than the change");
        assert_eq!(watch.sampled(Down, 0, 0, Timestamp(2)), Sampled::Same);
        assert!(matches!(watch.sampled(Down, 40, 0, Timestamp(3)), Sampled::Began(_)));
        assert!(watch.health_changed());
    }

    #[test]
    fn suspicion_survives_the_largest_numbers() {
        let mut watch = Watch::default();
        for n in 0..9 {
            watch.sampled(Up, u64::MAX, u64::MAX, Timestamp(n));
        }
        assert_eq!(watch.suspicion().map(|s| s.kind), Some(SuspicionKind::TrafficFails));
    }
}
