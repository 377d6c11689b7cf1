//! What would have been: the recorded checks of one server, judged by other rules.
//!
//! Pure. Given what one probe's checks found, their codes and times, [`replay`] runs the same [`Machine`] that ran then,
//! with another rise, fall, interval, timeout or set of statuses. What the record cannot tell is said in the caveats
//! and read against the change: a check that timed out counts as failed under a longer timeout too. The health before
//! the first check is not known; that check decides at once.

use std::time::Duration;

use crate::model::{
    CheckBrief, CheckStatus, Health, Negate, Pace, Probe, ProbeKind, ProbeStart, StatusSet, Timestamp, Verdict, Weight,
};

use super::machine::{Machine, Rule};

/// The share of an interval by which a recorded check may come early and still be the one that was due: jitter, ticks
/// of the record, and machines that were late before.
const EARLY: f64 = 0.1;

/// The rules to judge by. [`Replay::of`] is the probe as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Passes in a row that bring a Down server back, at least 1.
    pub rise: u16,
    /// Failures in a row that take an Up server out, at least 1.
    pub fall: u16,
    /// From one check to the next.
    pub interval: Duration,
    /// The deadline of one check.
    pub timeout: Duration,
    /// The statuses that pass; as the probe says where absent. HTTP only.
    pub statuses: Option<StatusSet>,
}

impl Replay {
    /// Returns the rules of a probe, to be changed one by one.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        let Probe { rise, fall, interval, timeout, .. } = *probe;
        Self { rise, fall, interval, timeout, statuses: None }
    }
}

/// What would have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Changes of health, as (when, from, to); the first verdict is none.
    pub transitions: Vec<(Timestamp, Health, Health)>,
    /// When the server was Down, as (from, to).
    pub downs: Vec<(Timestamp, Timestamp)>,
    /// How long it was Down in all.
    pub down_time: Duration,
    /// Checks that the verdict rests on; fewer than recorded where the interval is longer.
    pub checks_used: usize,
    /// The ends of the first and the last recorded check; none without any.
    pub window: Option<(Timestamp, Timestamp)>,
    /// What the record cannot tell.
    pub caveats: Vec<String>,
}

/// Returns what would have happened if `probe` had had those rules. `history`: its checks, the oldest first.
#[must_use]
pub fn replay(history: &[CheckBrief], probe: &Probe, changed: &Replay) -> Replayed {
    let rule = Rule { rise: changed.rise.max(1), fall: changed.fall.max(1) };
    let mut machine = Machine::new(rule, ProbeStart::Check);
    let mut sampler = Sampler { probe, interval: changed.interval, due: None };
    let mut counts = Unknowable::default();
    let (mut transitions, mut downs, mut checks_used) = (Vec::new(), Vec::new(), 0);
    let mut down_since = None;
    for check in history {
        if !sampler.takes(check, &machine) {
            continue;
        }
        checks_used += 1;
        let verdict = counts.judge(check, probe, changed);
        let Some((from, to)) = machine.record(verdict) else { continue };
        if from != Health::Unknown {
            transitions.push((check.at, from, to));
        }
        if to == Health::Down {
            down_since = Some(check.at);
        } else if let Some(since) = down_since.take() {
            downs.push((since, check.at));
        }
    }
    let window = history.first().zip(history.last()).map(|(first, last)| (first.at, last.at));
    downs.extend(down_since.zip(window.map(|(_, last)| last)));
    let down_time = downs.iter().map(|(since, until)| until.since(*since)).sum();
    let caveats = caveats(probe, changed, &counts, history.len());
    Replayed { transitions, downs, down_time, checks_used, window, caveats }
}

/// The largest share of a farm's weight that was Down at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLost {
    /// In per cent of all weight, rounded.
    pub percent: u8,
    /// How many servers.
    pub servers: usize,
    /// When it began.
    pub at: Timestamp,
}

/// Returns the largest share of the farm's weight that would have been Down at once; none if none was. `servers`: every
/// server of the farm with its weight. Equal shares: the earliest.
#[must_use]
pub fn share_lost(servers: &[(Weight, &Replayed)]) -> Option<ShareLost> {
    let total: u64 = servers.iter().map(|(weight, _)| u64::from(weight.0)).sum();
    let mut edges: Vec<(Timestamp, bool, u64)> = Vec::new();
    for (weight, replayed) in servers {
        for (since, until) in replayed.downs.iter().filter(|(since, until)| since < until) {
            edges.push((*since, true, u64::from(weight.0)));
            edges.push((*until, false, u64::from(weight.0)));
        }
    }
    // At the same instant, those that come back go first.
    edges.sort();
    let (mut lost, mut count, mut most): (u64, usize, Option<(u64, usize, Timestamp)>) = (0, 0, None);
    for (at, is_lost, weight) in edges {
        if is_lost {
            (lost, count) = (lost + weight, count + 1);
        } else {
            (lost, count) = (lost - weight, count - 1);
        }
        if is_lost && most.is_none_or(|(before, _, _)| lost > before) {
            most = Some((lost, count, at));
        }
    }
    let (lost, servers, at) = most?;
    let percent = u8::try_from((lost * 100 + total / 2) / total.max(1)).unwrap_or(100);
    Some(ShareLost { percent, servers, at })
}

/// Which of the recorded checks would have been made at a longer interval: the first after each time it would be due.
struct Sampler<'a> {
    probe: &'a Probe,
    interval: Duration,
    due: Option<Timestamp>,
}

impl Sampler<'_> {
    fn takes(&mut self, check: &CheckBrief, machine: &Machine) -> bool {
        if self.interval <= self.probe.interval {
            return true;
        }
        let start = started(check);
        let pace = super::server::pace(machine);
        let has_own = match pace {
            Pace::Changing => self.probe.fast_interval.is_some(),
            Pace::Down => self.probe.down_interval.is_some(),
            Pace::Steady => false,
        };
        if let Some(due) = self.due
            && !has_own
            && start + self.interval.mul_f64(EARLY) < due
        {
            return false;
        }
        // A check that came late does not move the grid; one after a pause begins it anew.
        let from = self.due.filter(|due| !has_own && start.since(*due) < self.interval).unwrap_or(start);
        self.due = Some(from + self.interval);
        true
    }
}

/// What had to be guessed.
#[derive(Default)]
struct Unknowable {
    timed_out: usize,
    bodies: usize,
    other_codes: usize,
}

impl Unknowable {
    fn judge(&mut self, check: &CheckBrief, probe: &Probe, changed: &Replay) -> Verdict {
        let before = check.status.verdict();
        if before == Verdict::Neutral {
            return before;
        }
        if changed.timeout < probe.timeout && check.duration > changed.timeout {
            return Verdict::Failed;
        }
        if is_timeout(check.status) {
            self.timed_out += 1;
            return Verdict::Failed;
        }
        match &changed.statuses {
            Some(statuses) => self.judge_status(check, probe, statuses),
            None => before,
        }
    }

    fn judge_status(&mut self, check: &CheckBrief, probe: &Probe, statuses: &StatusSet) -> Verdict {
        let before = check.status.verdict();
        let ProbeKind::Http(http) = &probe.kind else { return before };
        if http.expect.negate == Negate::Inverted {
            return before;
        }
        match (check.status, check.code) {
            (CheckStatus::L7Sts, Some(code)) if statuses.contains(code) => {
                self.bodies += usize::from(http.expect.body.is_some());
                Verdict::Passed
            }
            (CheckStatus::L7Ok | CheckStatus::L7Okc, Some(code)) if statuses.contains(code) => Verdict::Passed,
            (CheckStatus::L7Ok, Some(_)) => Verdict::Failed,
            (CheckStatus::L7Ok | CheckStatus::L7Sts, None) => {
                self.other_codes += 1;
                before
            }
            (
                CheckStatus::Checked
                | CheckStatus::L4Con
                | CheckStatus::L4Ok
                | CheckStatus::L4Tout
                | CheckStatus::L6Ok
                | CheckStatus::L6Rsp
                | CheckStatus::L6Tout
                | CheckStatus::L7Okc
                | CheckStatus::L7Rsp
                | CheckStatus::L7Sts
                | CheckStatus::L7Tout
                | CheckStatus::ProcErr
                | CheckStatus::ProcOk
                | CheckStatus::ProcTout
                | CheckStatus::SockErr,
                _,
            ) => before,
        }
    }
}

fn is_timeout(status: CheckStatus) -> bool {
    use CheckStatus::{L4Tout, L6Tout, L7Tout, ProcTout};
    [L4Tout, L6Tout, L7Tout, ProcTout].contains(&status)
}

fn started(check: &CheckBrief) -> Timestamp {
    Timestamp(check.at.0.saturating_sub(u64::try_from(check.duration.as_micros()).unwrap_or(u64::MAX)))
}

fn caveats(probe: &Probe, changed: &Replay, counts: &Unknowable, recorded: usize) -> Vec<String> {
    let mut caveats = Vec::new();
    let mut say = |is_so: bool, text: String| {
        if is_so {
            caveats.push(text);
        }
    };
    say(recorded == 0, "no check is recorded in that time: nothing can be said".to_owned());
    let (timeout, interval) = (super::explain::words::span(probe.timeout), super::explain::words::span(probe.interval));
    say(
        changed.timeout > probe.timeout && counts.timed_out > 0,
        format!(
            "{} checks ran into the timeout of {timeout}: whether they would have passed later is not known; they count \
             as failed",
            counts.timed_out
        ),
    );
    say(
        changed.interval < probe.interval,
        format!("checks were made every {interval}: what ones in between would have found is not known"),
    );
    say(
        changed.interval > probe.interval && (probe.fast_interval.is_some() || probe.down_interval.is_some()),
        "the intervals while changing or Down are left as they were".to_owned(),
    );
    let is_http = matches!(&probe.kind, ProbeKind::Http(http) if http.expect.negate == Negate::AsWritten);
    say(
        changed.statuses.is_some() && !is_http,
        "statuses are judged anew for HTTP probes without `negate` only; here they change nothing".to_owned(),
    );
    say(
        counts.bodies > 0,
        format!("{} checks pass by their status; whether their body would have matched is not known", counts.bodies),
    );
    say(
        counts.other_codes > 0,
        format!("{} checks have no status on record; they count as they did", counts.other_codes),
    );
    caveats
}

#[cfg(test)]
mod tests;
