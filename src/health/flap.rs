//! The flap guard: a server whose health changes too often is held down, so that its clients are spared the next fall.
//!
//! Pure. The score is the number of changes between taking work and being Down within the guard's time; the first
//! verdict after Unknown is none. At the guard's number the server is held; a change meanwhile prolongs the hold to its
//! whole length from then, and it is the same hold, held since it began. The score is kept, over
//! [`WITHIN_UNGUARDED`], where no guard looks at it too: people do. A clock that was set back lengthens no hold beyond
//! its length.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{FlapGuard, Health, StandingChange, Timestamp};

/// The time in which changes are counted where the farm has no guard.
pub(super) const WITHIN_UNGUARDED: Duration = Duration::from_secs(300);
/// The most changes that are remembered; a guard that waits for more is read as this.
const CHANGES_MAX: usize = 256;

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(super) struct Flapping {
    guard: Option<FlapGuard>,
    /// The oldest first.
    changes: VecDeque<Timestamp>,
    hold: Option<Hold>,
}

/// Held down, from when and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

impl Flapping {
    pub(super) fn new(guard: Option<FlapGuard>) -> Self {
        Self { guard, ..Self::default() }
    }

    /// Takes over what an earlier process saw.
    pub(super) fn restore(&mut self, changes: &[Timestamp], hold: Option<Hold>) {
        self.changes = changes[changes.len().saturating_sub(CHANGES_MAX)..].iter().copied().collect();
        self.hold = hold;
        self.end_without_guard();
    }

    pub(super) fn retune(&mut self, guard: Option<FlapGuard>) {
        self.guard = guard;
        self.end_without_guard();
    }

    pub(super) fn score(&self) -> u16 {
        u16::try_from(self.changes.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn hold(&self) -> Option<Hold> {
        self.hold
    }

    pub(super) fn changes(&self) -> Vec<Timestamp> {
        self.changes.iter().copied().collect()
    }

    /// Takes in a change of health; returns the hold that it brings or prolongs.
    pub(super) fn changed(&mut self, from: Health, to: Health, now: Timestamp) -> Option<StandingChange> {
        let (Some(was_good), Some(is_good)) = (is_good(from), is_good(to)) else { return None };
        if was_good == is_good {
            return None;
        }
        self.forget_old(now);
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(now);
        let guard = self.guard?;
        let limit = usize::from(guard.transitions).clamp(1, CHANGES_MAX);
        if self.hold.is_none() && self.changes.len() < limit {
            return None;
        }
        let until = now + guard.hold;
        let since = self.hold.map_or(now, |hold| hold.since.min(now));
        self.hold = Some(Hold { since, until });
        Some(StandingChange::HeldDown { until, score: self.score() })
    }

    /// Forgets old changes and ends a hold whose time has come; returns whether there was one.
    pub(super) fn tick(&mut self, now: Timestamp) -> bool {
        self.forget_old(now);
        if let (Some(guard), Some(hold)) = (self.guard, &mut self.hold) {
            hold.until = hold.until.min(now + guard.hold);
            hold.since = hold.since.min(now);
        }
        let is_over = self.hold.is_some_and(|hold| hold.until <= now);
        if is_over {
            self.hold = None;
        }
        is_over
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        let forgets = self.changes.front().map(|first| *first + self.within());
        [forgets, self.hold.map(|hold| hold.until)].into_iter().flatten().min()
    }

    fn within(&self) -> Duration {
        self.guard.map_or(WITHIN_UNGUARDED, |guard| guard.within)
    }

    fn forget_old(&mut self, now: Timestamp) {
        let within = self.within();
        for change in &mut self.changes {
            *change = (*change).min(now);
        }
        while self.changes.front().is_some_and(|first| *first + within <= now) {
            self.changes.pop_front();
        }
    }

    /// Without a guard, the next tick ends the hold.
    fn end_without_guard(&mut self) {
        if let (None, Some(hold)) = (self.guard, &mut self.hold) {
            hold.until = self.changes.back().copied().unwrap_or_default();
        }
    }
}

/// Whether that health lets a server keep its work; nothing where there is no verdict.
fn is_good(health: Health) -> Option<bool> {
    match health {
        Health::Down => Some(false),
        Health::Stopping | Health::Up => Some(true),
        Health::Off | Health::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Health::{Down, Stopping, Unknown, Up};

    const GUARD: FlapGuard =
        FlapGuard { transitions: 3, within: Duration::from_secs(60), hold: Duration::from_secs(20) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn flapping_counts_changes_between_work_and_down_and_no_others() {
        let mut flapping = Flapping::new(None);
        for (from, to, want) in [
            (Unknown, Up, 0),
            (Unknown, Down, 0),
            (Up, Stopping, 0),
            (Stopping, Up, 0),
            (Up, Down, 1),
            (Down, Stopping, 2),
            (Stopping, Down, 3),
            (Down, Up, 4),
        ] {
            assert_eq!(flapping.changed(from, to, at(1)), None, "nothing is held without a guard");
            assert_eq!(flapping.score(), want, "{from:?} {to:?}");
        }
        assert!(!flapping.tick(at(300)));
        assert_eq!(flapping.score(), 4);
        assert!(!flapping.tick(at(301)));
        assert_eq!((flapping.score(), flapping.due()), (0, None));
    }

    #[test]
    fn flapping_holds_at_the_number_and_each_change_prolongs_it() {
        let mut flapping = Flapping::new(Some(GUARD));
        assert_eq!(flapping.changed(Up, Down, at(0)), None);
        assert_eq!(flapping.changed(Down, Up, at(10)), None);
        let held = |until, score| Some(StandingChange::HeldDown { until, score });
        assert_eq!(flapping.changed(Up, Down, at(20)), held(at(40), 3));
        assert_eq!(flapping.changed(Down, Up, at(39)), held(at(59), 4));
        assert!(!flapping.tick(at(58)));
        assert!(flapping.tick(at(59)));
        assert_eq!(flapping.hold(), None);
    }

    #[test]
    fn flapping_is_held_since_it_began_however_the_hold_changes() {
        let mut flapping = Flapping::new(Some(GUARD));
        for second in [0, 10, 20] {
            flapping.changed(Up, Down, at(second));
        }
        let held = |since, until| Some(Hold { since: at(since), until: at(until) });
        assert_eq!(flapping.hold(), held(20, 40));
        flapping.changed(Down, Up, at(35));
        assert_eq!(flapping.hold(), held(20, 55));
        flapping.retune(Some(FlapGuard { hold: Duration::from_secs(5), ..GUARD }));
        assert!(!flapping.tick(at(36)));
        assert_eq!(flapping.hold(), held(20, 41));
        flapping.changed(Up, Down, at(40));
        assert_eq!(flapping.hold(), held(20, 45));
        assert!(flapping.tick(at(45)));
        for second in [46, 47, 48] {
            flapping.changed(Up, Down, at(second));
        }
        assert_eq!(flapping.hold(), held(46, 53), "another hold");
        let mut again = Flapping::new(Some(GUARD));
        again.restore(&flapping.changes(), flapping.hold());
        assert_eq!(again.hold(), held(46, 53));
    }

    #[test]
    fn flapping_is_not_held_since_a_time_to_come_when_the_clock_is_set_back() {
        let mut flapping = Flapping::new(Some(GUARD));
        for _ in 0..3 {
            flapping.changed(Up, Down, at(3600));
        }
        flapping.tick(at(0));
        assert_eq!(flapping.hold(), Some(Hold { since: at(0), until: at(20) }));
    }

    #[test]
    fn flapping_slower_than_the_guard_is_never_held() {
        let mut flapping = Flapping::new(Some(GUARD));
        for n in 0..50 {
            let (from, to) = if n % 2 == 0 { (Up, Down) } else { (Down, Up) };
            assert_eq!(flapping.changed(from, to, at(n * 30)), None, "{n}");
        }
    }

    #[test]
    fn flapping_is_held_no_longer_than_its_length_when_the_clock_is_set_back() {
        let mut flapping = Flapping::new(Some(GUARD));
        for _ in 0..3 {
            flapping.changed(Up, Down, at(3600));
        }
        assert!(!flapping.tick(at(0)));
        assert_eq!(flapping.hold().map(|hold| hold.until), Some(at(20)));
        assert!(flapping.tick(at(20)));
        assert!(!flapping.tick(at(60)));
        assert_eq!(flapping.score(), 0);
    }

    #[test]
    fn flapping_whose_guard_is_taken_away_ends_at_the_next_tick() {
        let mut flapping = Flapping::new(Some(GUARD));
        for _ in 0..3 {
            flapping.changed(Up, Down, at(0));
        }
        flapping.retune(None);
        assert!(flapping.tick(at(1)));
    }

    #[test]
    fn flapping_remembers_no_more_than_its_bound() {
        let mut flapping = Flapping::new(Some(FlapGuard { transitions: u16::MAX, ..GUARD }));
        let held = (0..CHANGES_MAX + 9).filter_map(|_| flapping.changed(Up, Down, at(0))).count();
        assert_eq!((flapping.changes.len(), held), (CHANGES_MAX, 10));
    }
}
