//! When a server can be back at the earliest, and when it is checked next.

use std::time::Duration;

use crate::model::{Health, Pace, Probe, ProbeStanding, Timestamp};

use super::facts::ServerFacts;
use crate::health::schedule::JITTER;

/// The probes that count, as they are run.
pub(super) fn counted<'a>(facts: &ServerFacts<'a>) -> impl Iterator<Item = (&'a ProbeStanding, &'a Probe)> {
    let (farm, probes) = (facts.farm, facts.probes);
    let declared = |standing: &'a ProbeStanding| {
        let main = usize::from(standing.slot.0);
        farm.probes.get(main).map(|probe| (standing, &**probe))
    };
    probes.iter().filter_map(declared).filter(|(_, probe)| !probe.kind.is_agent())
}

/// How many probes must find the server good.
pub(super) fn needed(facts: &ServerFacts<'_>) -> usize {
    let counted = counted(facts).count();
    facts.farm.quorum.map_or(counted, |quorum| usize::from(quorum).min(counted))
}

/// When the next check of a probe for which `wanted` holds begins at the latest.
pub(super) fn next_check(facts: &ServerFacts<'_>, wanted: impl Fn(Health) -> bool) -> Option<Timestamp> {
    counted(facts).filter(|(standing, _)| wanted(standing.health)).filter_map(|(standing, _)| standing.next_at).min()
}

/// The earliest end of the check with which the probes find the server good again, if all pass from now on.
pub(super) fn earliest_return(facts: &ServerFacts<'_>) -> Option<Timestamp> {
    let is_good = |standing: &ProbeStanding| matches!(standing.health, Health::Up);
    let good = counted(facts).filter(|(standing, _)| is_good(standing)).count();
    let missing = needed(facts).checked_sub(good + 1)?;
    let of = |(standing, probe)| good_at(standing, probe, facts.now);
    let mut all = counted(facts).filter(|(standing, _)| !is_good(standing)).map(of).collect::<Option<Vec<_>>>()?;
    all.sort();
    all.get(missing).copied()
}

/// The earliest time at which one probe, all of whose checks pass from now on, finds the server good.
fn good_at(standing: &ProbeStanding, probe: &Probe, now: Timestamp) -> Option<Timestamp> {
    let passes = match standing.health {
        Health::Down => standing.progress.need.saturating_sub(standing.progress.have).max(1),
        Health::Off | Health::Stopping | Health::Unknown | Health::Up => 1,
    };
    // After a first pass the checks come at the pace of a change under way, and by the jitter earlier than that.
    let step: Duration = probe.interval_in(Pace::Changing).mul_f64(1.0 - JITTER);
    Some(standing.next_at?.max(now) + step * u32::from(passes - 1))
}
