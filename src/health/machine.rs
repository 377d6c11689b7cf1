//! The counter that turns verdicts into health, one per probed server.
//!
//! The rule is HAProxy's (src/check.c): a counter runs from 0 to `rise + fall - 1`; at `rise` and above the server is
//! Up. A failure takes one; falling below `rise` goes to 0. A pass adds one; reaching `rise` goes to the top. So one
//! pass while Up wipes earlier failures and one failure while coming back starts again. Unknown is ours: a server
//! whose probe starts with `check` has no verdict until its first check, and that one decides at once, as HAProxy's
//! initial one-life Up and Envoy's first check do.

use crate::model::{Health, Probe, ProbeStart, Progress, Verdict};

/// The thresholds that a [`Machine`] counts by. Both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Passes in a row that bring a Down server back.
    pub rise: u16,
    /// Failures in a row that take an Up server out.
    pub fall: u16,
}

impl Rule {
    /// Returns the rule of a probe.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        Self { rise: probe.rise, fall: probe.fall }
    }

    fn top(self) -> u32 {
        u32::from(self.rise) + u32::from(self.fall) - 1
    }
}

/// The health of one probed server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    rule: Rule,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    /// The counter, and whether the last pass was a conditional one.
    Counting(u32, Passes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    Conditional,
    Whole,
}

impl Machine {
    /// Returns the machine of a server before its first check.
    #[must_use]
    pub fn new(rule: Rule, start: ProbeStart) -> Self {
        let state = match start {
            ProbeStart::Check => State::Unknown,
            ProbeStart::Down => State::Counting(0, Passes::Whole),
            ProbeStart::Up => State::Counting(u32::from(rule.rise), Passes::Whole),
        };
        Self { rule, state }
    }

    /// Returns the machine of a server that is known to be in that health.
    #[must_use]
    pub fn known(rule: Rule, health: Health) -> Self {
        let mut machine = Self { rule: Rule { rise: 1, fall: 1 }, state: State::Unknown };
        machine.state = match health {
            Health::Off | Health::Unknown => State::Unknown,
            Health::Down => State::Counting(0, Passes::Whole),
            Health::Stopping => State::Counting(1, Passes::Conditional),
            Health::Up => State::Counting(1, Passes::Whole),
        };
        machine.retune(rule);
        machine
    }

    /// Counts one verdict and returns the change of health that it made, if any, as (from, to).
    pub fn record(&mut self, verdict: Verdict) -> Option<(Health, Health)> {
        let before = self.health();
        let rise = u32::from(self.rule.rise);
        let passes = match (self.state, verdict) {
            (_, Verdict::Conditional) => Passes::Conditional,
            (_, Verdict::Passed) => Passes::Whole,
            (State::Counting(_, before), Verdict::Failed | Verdict::Neutral) => before,
            (State::Unknown, Verdict::Failed | Verdict::Neutral) => Passes::Whole,
        };
        let counter = match (self.state, verdict) {
            (_, Verdict::Neutral) => return None,
            (State::Unknown, Verdict::Failed) => 0,
            (State::Unknown, Verdict::Conditional | Verdict::Passed) => self.rule.top(),
            (State::Counting(n, _), Verdict::Failed) if n > rise => n - 1,
            (State::Counting(..), Verdict::Failed) => 0,
            (State::Counting(n, _), Verdict::Conditional | Verdict::Passed) if n + 1 >= rise => self.rule.top(),
            (State::Counting(n, _), Verdict::Conditional | Verdict::Passed) => n + 1,
        };
        self.state = State::Counting(counter, passes);
        let after = self.health();
        (before != after).then_some((before, after))
    }

    /// Returns the health: Unknown, Up, Stopping or Down.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.state {
            State::Unknown => Health::Unknown,
            State::Counting(n, passes) if n >= u32::from(self.rule.rise) => match passes {
                Passes::Conditional => Health::Stopping,
                Passes::Whole => Health::Up,
            },
            State::Counting(..) => Health::Down,
        }
    }

    /// Returns the progress towards the other health: lives left of `fall` while Up, passes of `rise` otherwise.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let rise = u32::from(self.rule.rise);
        let (have, need) = match self.state {
            State::Unknown => (0, self.rule.rise),
            State::Counting(n, _) if n >= rise => (n - rise + 1, self.rule.fall),
            State::Counting(n, _) => (n, self.rule.rise),
        };
        Progress { have: u16::try_from(have).unwrap_or(u16::MAX), need }
    }

    /// Counts by `rule` from now on. The health stays; progress under way starts again.
    pub fn retune(&mut self, rule: Rule) {
        if rule == self.rule {
            return;
        }
        let health = self.health();
        self.rule = rule;
        self.state = match health {
            Health::Unknown | Health::Off => State::Unknown,
            Health::Stopping => State::Counting(rule.top(), Passes::Conditional),
            Health::Up => State::Counting(rule.top(), Passes::Whole),
            Health::Down => State::Counting(0, Passes::Whole),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Verdict::{Conditional, Failed, Neutral, Passed};

    fn check(rule: (u16, u16), start: ProbeStart, verdicts: &[Verdict], want: (Health, u16, u16)) {
        let mut machine = Machine::new(Rule { rise: rule.0, fall: rule.1 }, start);
        for verdict in verdicts {
            machine.record(*verdict);
        }
        let Progress { have, need } = machine.progress();
        assert_eq!((machine.health(), have, need), want, "{rule:?} {start:?} {verdicts:?}");
    }

    #[test]
    fn machine_follows_the_rule_row_by_row() {
        let start = ProbeStart::Check;
        check((2, 3), start, &[], (Health::Unknown, 0, 2));
        check((2, 3), start, &[Passed], (Health::Up, 3, 3));
        check((2, 3), start, &[Failed], (Health::Down, 0, 2));
        check((2, 3), start, &[Passed, Failed], (Health::Up, 2, 3));
        check((2, 3), start, &[Passed, Failed, Failed], (Health::Up, 1, 3));
        check((2, 3), start, &[Passed, Failed, Failed, Passed], (Health::Up, 3, 3));
        check((2, 3), start, &[Passed, Failed, Failed, Failed], (Health::Down, 0, 2));
        check((2, 3), start, &[Failed, Passed], (Health::Down, 1, 2));
        check((2, 3), start, &[Failed, Passed, Failed], (Health::Down, 0, 2));
        check((2, 3), start, &[Failed, Passed, Passed], (Health::Up, 3, 3));
        check((1, 1), start, &[Failed, Passed], (Health::Up, 1, 1));
        check((2, 3), ProbeStart::Up, &[], (Health::Up, 1, 3));
        check((2, 3), ProbeStart::Up, &[Failed], (Health::Down, 0, 2));
        check((2, 3), ProbeStart::Down, &[Passed], (Health::Down, 1, 2));
        check((2, 3), start, &[Neutral], (Health::Unknown, 0, 2));
        check((2, 3), start, &[Passed, Failed, Neutral], (Health::Up, 2, 3));
        check((2, 3), start, &[Conditional], (Health::Stopping, 3, 3));
        check((2, 3), start, &[Passed, Conditional, Failed], (Health::Stopping, 2, 3));
        check((2, 3), start, &[Conditional, Passed], (Health::Up, 3, 3));
        check((2, 3), start, &[Failed, Conditional], (Health::Down, 1, 2));
        check((2, 3), start, &[Failed, Passed, Conditional], (Health::Stopping, 3, 3));
    }

    #[test]
    fn machine_retuned_keeps_its_health() {
        let mut machine = Machine::new(Rule { rise: 2, fall: 3 }, ProbeStart::Check);
        machine.record(Passed);
        machine.record(Failed);
        machine.retune(Rule { rise: 5, fall: 1 });
        assert_eq!((machine.health(), machine.progress().need), (Health::Up, 1));
    }

    /// The rule written the naive way: look at the run of equal verdicts at the end of the history.
    fn naive(rise: usize, fall: usize, history: &[Verdict]) -> Health {
        let mut health = Health::Unknown;
        let mut run = (Passed, 0);
        for verdict in history {
            run = if run.0 == *verdict { (*verdict, run.1 + 1) } else { (*verdict, 1) };
            health = match (health, run) {
                (Health::Unknown, (Passed, _)) => Health::Up,
                (Health::Unknown, (Failed, _)) => Health::Down,
                (Health::Up, (Failed, n)) if n >= fall => Health::Down,
                (Health::Down, (Passed, n)) if n >= rise => Health::Up,
                (other, _) => other,
            };
        }
        health
    }

    /// The rule with conditional and neutral verdicts: neutral ones did not happen, conditional ones pass, and the last
    /// pass of all tells Up from Stopping.
    fn naive_of_all(rise: usize, fall: usize, history: &[Verdict]) -> Health {
        let counted: Vec<_> = history.iter().filter(|verdict| **verdict != Neutral).collect();
        let plain: Vec<_> = counted.iter().map(|verdict| if **verdict == Failed { Failed } else { Passed }).collect();
        let last_pass = counted.iter().rev().find(|verdict| ***verdict != Failed);
        match (naive(rise, fall, &plain), last_pass) {
            (Health::Up, Some(Conditional)) => Health::Stopping,
            (other, _) => other,
        }
    }

    proptest! {
        #[test]
        fn machine_equals_the_naive_rule(
            rise in 1..6u16,
            fall in 1..6u16,
            history in prop::collection::vec(prop::sample::select(vec![Conditional, Failed, Neutral, Passed]), 0..64)
        ) {
            let mut machine = Machine::new(Rule { rise, fall }, ProbeStart::Check);
            for (n, verdict) in history.iter().enumerate() {
                machine.record(*verdict);
                prop_assert_eq!(machine.health(), naive_of_all(rise.into(), fall.into(), &history[..=n]));
            }
        }
    }
}
