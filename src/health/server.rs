//! The health of one server: what its probes conclude together, what its agent asks for, what its traffic shows, and
//! what is remembered.
//!
//! Pure: `now` is handed in, everything that happens to a server is one call here and comes back as an [`Outcome`].
//! Each probe has a [`Machine`] of its own; the server is as good as its quorum says, unless its agent says down. The
//! shadow probe has one too and changes nothing. Beside the health, and never changing it, stand the ejection, the flap
//! guard's hold, the warm-up after a return and the suspicion that probes and traffic disagree.
//!
//! What ends by time ends in [`ServerHealth::tick`]; [`ServerHealth::next_due`] says when to call it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::model::standing::RECENT_CHECKS_MAX;
use crate::model::{
    AdminStatus, AgentHealth, AgentSays, CheckBrief, CheckRecord, Farm, Health, Pace, Probe, ProbeSlot, ProbeStanding,
    Progress, SavedHealth, Server, ServerKey, Standing, StandingChange, Timestamp, TrafficFault, Verdict, Warmup,
};

use super::flap::{Flapping, Hold};
use super::machine::{Machine, Rule};
use super::outlier::Outlier;
use super::suspicion::{Sampled, Watch};
use super::warmup;

/// Checks of a run that leads to a change which are kept as its reason.
const RUN_MAX: usize = 16;

/// See the module's doc.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    is_probed: bool,
    /// Nearly always one, which lies here.
    probes: SmallVec<[ProbeHealth; 1]>,
    quorum: Option<u8>,
    slow_start: Duration,
    agent: Option<Arc<AgentSays>>,
    /// Since when the agent keeps the server out in the manner in which it does, if it does.
    agent_since: Option<Timestamp>,
    recent: VecDeque<CheckBrief>,
    decided_by: Vec<CheckBrief>,
    outlier: Outlier,
    flapping: Flapping,
    /// It was seen out, so its next return is one.
    was_out: bool,
    warmup: Option<Warmup>,
    watch: Watch,
}

#[derive(Clone, Debug)]
struct ProbeHealth {
    slot: ProbeSlot,
    is_agent: bool,
    machine: Machine,
    last: Option<Arc<CheckRecord>>,
    /// The last check that counted.
    last_counted: Option<CheckBrief>,
    /// The checks that speak against what the machine concludes, the oldest first.
    run: Vec<CheckBrief>,
    next_at: Option<Timestamp>,
}

impl ProbeHealth {
    fn new(slot: ProbeSlot, probe: &Probe) -> Self {
        let machine = Machine::new(Rule::of(probe), probe.start);
        let is_agent = probe.kind.is_agent();
        Self { slot, is_agent, machine, last: None, last_counted: None, run: Vec::new(), next_at: None }
    }

    fn counts(&self) -> bool {
        !self.is_agent && self.slot != ProbeSlot::SHADOW
    }

    fn record(&mut self, record: &Arc<CheckRecord>) {
        let (verdict, before) = (record.verdict(), self.machine.health());
        self.last = Some(Arc::clone(record));
        self.machine.record(verdict);
        let is_contrary = match (verdict, before) {
            (Verdict::Neutral, _) => return,
            (Verdict::Failed, health) => health != Health::Down,
            (Verdict::Conditional, health) => health != Health::Stopping,
            (Verdict::Passed, health) => health != Health::Up,
        };
        let is_failure = |verdict| verdict == Verdict::Failed;
        let before = self.last_counted.map(|brief| is_failure(brief.status.verdict()));
        if before != Some(is_failure(verdict)) || !is_contrary {
            self.run.clear();
        }
        let brief = record.brief(self.slot);
        self.last_counted = Some(brief);
        if is_contrary {
            if self.run.len() == RUN_MAX {
                self.run.remove(0);
            }
            self.run.push(brief);
        }
    }

    fn standing(&self) -> ProbeStanding {
        ProbeStanding {
            slot: self.slot,
            health: self.machine.health(),
            progress: self.machine.progress(),
            pace: pace(&self.machine),
            last: self.last.clone(),
            last_verdict: self.last_counted,
            next_at: self.next_at,
        }
    }
}

/// What one thing that happened changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The change of health, as (from, to).
    pub transition: Option<(Health, Health)>,
    /// What else changed.
    pub changes: Vec<StandingChange>,
    /// Whether anything that the rotation or a reader sees changed: health, progress, weight.
    pub is_visible: bool,
    /// Whether the check is worth keeping as evidence: it failed, or it is the first to pass after one that did not.
    pub is_notable: bool,
    /// Whether what its probes conclude changed, though its health did not: what outlives the process did.
    pub is_changed_within: bool,
}

impl ServerHealth {
    /// Returns the health of a server before its first check; none where nothing checks it, observes it or warms it up.
    #[must_use]
    pub fn new(farm: &Farm, server: &Server) -> Option<Self> {
        let is_checked = server.probed && farm.probes_with_slots().next().is_some();
        if !is_checked && farm.observe.is_none() && farm.slow_start.is_zero() {
            return None;
        }
        let mut health = Self {
            is_probed: server.probed,
            probes: SmallVec::new(),
            quorum: None,
            slow_start: Duration::ZERO,
            agent: None,
            agent_since: None,
            recent: VecDeque::new(),
            decided_by: Vec::new(),
            outlier: Outlier::default(),
            flapping: Flapping::new(farm.flap),
            was_out: false,
            warmup: None,
            watch: Watch::default(),
        };
        health.retune(farm);
        Some(health)
    }

    /// Takes over what was saved of an earlier process; the caller has compared fingerprints.
    ///
    /// Progress under way starts again. What ended meanwhile is told by the next tick.
    pub fn restore(&mut self, saved: &SavedHealth, farm: &Farm, now: Timestamp) {
        let is_verdict = match saved.health {
            Health::Off | Health::Unknown => false,
            Health::Down | Health::Stopping | Health::Up => true,
        };
        for probe in self.probes.iter_mut().filter(|probe| is_verdict && probe.slot != ProbeSlot::SHADOW) {
            if let Some(declared) = farm.probe_at(probe.slot) {
                probe.machine = Machine::known(Rule::of(declared), saved.health);
            }
        }
        self.agent = saved.agent.clone().filter(|_| self.probes.iter().any(|probe| probe.is_agent));
        self.agent_since = self.agent.as_ref().and(saved.agent_since).map(|since| since.min(now));
        self.decided_by.clone_from(&saved.decided_by);
        self.outlier = Outlier::restored(saved.ejected);
        self.outlier.retune(farm.observe.as_ref());
        let hold = saved.held_until.map(|until| {
            let length = farm.flap.map_or(Duration::ZERO, |guard| guard.hold);
            let began = Timestamp(until.0.saturating_sub(u64::try_from(length.as_micros()).unwrap_or(u64::MAX)));
            Hold { since: saved.held_since.unwrap_or(began).min(now), until }
        });
        self.flapping.restore(&saved.changes, hold);
        self.was_out = (is_verdict || self.agent.is_some()) && self.is_out();
        let warm = saved.warm_since.filter(|_| !self.is_out());
        self.warmup = warm.and_then(|since| warmup::resumed(since, farm.slow_start, now));
    }

    /// Counts by the rules of `farm` from now on; what its probes concluded stays. The probes are the same ones.
    pub fn retune(&mut self, farm: &Farm) {
        self.quorum = farm.quorum;
        self.slow_start = farm.slow_start;
        self.outlier.retune(farm.observe.as_ref());
        self.flapping.retune(farm.flap);
        if let Some(warmup) = &mut self.warmup {
            warmup.until = warmup.since + farm.slow_start;
        }
        let mut before = std::mem::take(&mut self.probes);
        for (slot, probe) in farm.probes_with_slots().filter(|_| self.is_probed) {
            let kept = before.iter().position(|known| known.slot == slot).map(|at| before.swap_remove(at));
            let mut kept = kept.unwrap_or_else(|| ProbeHealth::new(slot, probe));
            kept.machine.retune(Rule::of(probe));
            self.probes.push(kept);
        }
    }

    /// Counts by the rules of `farm` from now on, as [`Self::retune`], and returns what that changed: another quorum may
    /// make another health of the same verdicts.
    pub fn retuned(&mut self, farm: &Farm, now: Timestamp) -> Outcome {
        let before = self.standing();
        self.retune(farm);
        let health = self.health();
        let mut changes = Vec::new();
        let transition = (before.health != health).then_some((before.health, health));
        if transition.is_some() {
            let mut last: Vec<CheckBrief> =
                self.counted().filter_map(|p| Some(p.last.as_ref()?.brief(p.slot))).collect();
            last.sort_by_key(|brief| brief.at);
            self.decided_by = last;
            changes.extend(self.watch.health_changed().then_some(StandingChange::SuspicionEnded));
            self.was_out |= self.is_out() && !self.decided_by.is_empty();
        }
        Outcome { transition, ..self.outcome(&before, changes, now) }
    }

    /// Takes in a check's result. Nothing, if the farm has no such probe.
    pub fn checked(
        &mut self,
        slot: ProbeSlot,
        record: &Arc<CheckRecord>,
        next_at: Timestamp,
        now: Timestamp,
    ) -> Option<Outcome> {
        let (before, probed) = (self.standing(), self.probed_health());
        let probe = self.probes.iter_mut().find(|probe| probe.slot == slot)?;
        let earlier = probe.last_counted.map(|brief| brief.status.verdict());
        probe.next_at = Some(next_at);
        probe.record(record);
        let is_notable = match record.verdict() {
            Verdict::Failed => true,
            Verdict::Conditional | Verdict::Passed => earlier != Some(record.verdict()),
            Verdict::Neutral => false,
        };
        if slot == ProbeSlot::SHADOW {
            return Some(Outcome { is_notable, ..Outcome::default() });
        }
        let brief = record.brief(slot);
        if self.recent.len() == RECENT_CHECKS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(brief);
        let mut changes = Vec::new();
        changes.extend(record.agent.as_deref().and_then(|says| self.listen(says, now)));
        let health = self.health();
        let transition = (before.health != health).then_some((before.health, health));
        if let Some((from, to)) = transition {
            self.decided_by = self.run_of(slot).unwrap_or_else(|| vec![brief]);
            changes.extend(self.flapping.changed(from, to, now));
            changes.extend(self.watch.health_changed().then_some(StandingChange::SuspicionEnded));
        }
        let began = Timestamp(brief.at.0.saturating_sub(u64::try_from(brief.duration.as_micros()).unwrap_or(u64::MAX)));
        if record.verdict() == Verdict::Passed && health == Health::Up && self.outlier.passed(began, now) {
            changes.push(StandingChange::EjectionEnded);
        }
        changes.extend(self.settle(Some(record.verdict()), now));
        let is_visible = before != self.standing();
        let is_changed_within = transition.is_none() && probed != self.probed_health();
        Some(Outcome { transition, changes, is_visible, is_notable, is_changed_within })
    }

    /// Takes in that work given to the server failed so often in a row. `may_eject`: the farm has room for one more.
    pub fn traffic_failed(
        &mut self,
        farm: &Farm,
        errors: u16,
        kind: TrafficFault,
        may_eject: bool,
        now: Timestamp,
    ) -> Outcome {
        let Some(observe) = farm.observe.filter(|_| may_eject && self.health() != Health::Down) else {
            return Outcome::default();
        };
        let before = self.standing();
        let ejected = self.outlier.failed(&observe, errors, kind, now).map(StandingChange::Ejected);
        self.outcome(&before, ejected.into_iter().collect(), now)
    }

    /// Takes in how much work went well and failed since the last sample, every
    /// [`SAMPLE_INTERVAL`](super::suspicion::SAMPLE_INTERVAL).
    pub fn traffic_sampled(&mut self, good: u64, bad: u64, now: Timestamp) -> Outcome {
        let before = self.standing();
        let change = match self.watch.sampled(before.health, good, bad, now) {
            Sampled::Began(suspicion) => Some(StandingChange::Suspected(suspicion)),
            Sampled::Ended => Some(StandingChange::SuspicionEnded),
            Sampled::Same => None,
        };
        self.outcome(&before, change.into_iter().collect(), now)
    }

    /// Takes in that an operator's drain or maintenance is over: a server that may take work warms up.
    pub fn returned(&mut self, farm: &Farm, now: Timestamp) -> Outcome {
        self.slow_start = farm.slow_start;
        let before = self.standing();
        self.was_out = true;
        self.outcome(&before, Vec::new(), now)
    }

    /// Ends what is due.
    pub fn tick(&mut self, farm: &Farm, now: Timestamp) -> Outcome {
        self.slow_start = farm.slow_start;
        let before = self.standing();
        let mut changes = Vec::new();
        if self.outlier.tick(now) {
            changes.push(StandingChange::EjectionEnded);
        }
        if self.flapping.tick(now) {
            changes.push(StandingChange::HoldEnded);
        }
        if let Some(warm) = self.warmup {
            self.warmup = warmup::continued(warm, self.slow_start, now);
            changes.extend(self.warmup.is_none().then_some(StandingChange::WarmupEnded));
        }
        self.outcome(&before, changes, now)
    }

    /// Returns when [`Self::tick`] next has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let step = self.warmup.map(|warm| warmup::next_step(&warm));
        [self.outlier.due(), self.flapping.due(), step].into_iter().flatten().min()
    }

    /// Returns everything that is concluded.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            health: self.health(),
            progress: self.progress(),
            agent: self.agent.clone(),
            ejected: self.outlier.ejection(),
            held_since: self.flapping.hold().map(|hold| hold.since),
            held_until: self.flapping.hold().map(|hold| hold.until),
            flap_score: self.flapping.score(),
            warmup: self.warmup,
            suspicion: self.watch.suspicion(),
        }
    }

    /// Returns since when something beside the probes keeps the server out, the latest where several do; none where
    /// nothing does, or it is not known of an agent since when.
    #[must_use]
    pub fn kept_out_since(&self) -> Option<Timestamp> {
        let ejected = self.outlier.ejection().map(|ejection| ejection.since);
        let held = self.flapping.hold().map(|hold| hold.since);
        [self.agent_since, ejected, held].into_iter().flatten().max()
    }

    /// Returns each probe's part, the shadow's last.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeStanding> {
        self.probes.iter().map(ProbeHealth::standing).collect()
    }

    /// Returns whether a probe's checks count for or against the server: the shadow's do not, and an agent advises.
    #[must_use]
    pub fn counts(&self, slot: ProbeSlot) -> bool {
        self.probes.iter().any(|probe| probe.slot == slot && probe.counts())
    }

    /// Returns which of a probe's intervals counts now.
    #[must_use]
    pub fn pace(&self, slot: ProbeSlot) -> Pace {
        self.probes.iter().find(|probe| probe.slot == slot).map_or(Pace::Steady, |probe| pace(&probe.machine))
    }

    /// Returns the last checks, the oldest first; the shadow's not among them.
    #[must_use]
    pub fn recent(&self) -> Vec<CheckBrief> {
        self.recent.iter().copied().collect()
    }

    /// Returns the checks that made the health what it is, the oldest first.
    #[must_use]
    pub fn decided_by(&self) -> &[CheckBrief] {
        &self.decided_by
    }

    /// Returns what is to outlive the process.
    #[must_use]
    pub fn saved(&self, server: ServerKey, fingerprint: u64, since: Timestamp) -> SavedHealth {
        SavedHealth {
            server,
            fingerprint,
            health: self.probed_health(),
            since,
            agent: self.agent.clone(),
            agent_since: self.agent_since,
            changes: self.flapping.changes(),
            held_since: self.flapping.hold().map(|hold| hold.since),
            held_until: self.flapping.hold().map(|hold| hold.until),
            ejected: self.outlier.ejection(),
            warm_since: self.warmup.map(|warm| warm.since),
            decided_by: self.decided_by.clone(),
        }
    }

    fn outcome(&mut self, before: &Standing, mut changes: Vec<StandingChange>, now: Timestamp) -> Outcome {
        changes.extend(self.settle(None, now));
        let is_visible = *before != self.standing();
        Outcome { changes, is_visible, ..Outcome::default() }
    }

    /// Hears what the agent says: what a line leaves out stays as an earlier one said it.
    fn listen(&mut self, says: &AgentSays, now: Timestamp) -> Option<StandingChange> {
        let before = self.agent.as_deref().cloned().unwrap_or_default();
        let is_reasoned = says.health.is_some() || says.admin.is_some();
        let heard = AgentSays {
            weight: says.weight.or(before.weight),
            maxconn: says.maxconn.or(before.maxconn),
            admin: says.admin.or(before.admin),
            health: says.health.or(before.health),
            reason: if is_reasoned { says.reason.clone() } else { before.reason },
        };
        if self.agent.as_deref() == Some(&heard) {
            return None;
        }
        let manner = |says: &AgentSays| says.is_against_work().then_some((says.admin, says.health));
        match (self.agent.as_deref().and_then(manner), manner(&heard)) {
            (_, None) => self.agent_since = None,
            (was, is) if was != is => self.agent_since = Some(now),
            (_, Some(_)) => {}
        }
        let heard = Arc::new(heard);
        self.agent = Some(Arc::clone(&heard));
        Some(StandingChange::AgentSaid(heard))
    }

    /// Begins a warm-up where a server that was out is usable again, and drops it where a server goes out.
    fn settle(&mut self, verdict: Option<Verdict>, now: Timestamp) -> Option<StandingChange> {
        if self.is_out() {
            self.warmup = None;
            // A server that starts Down was not seen so until a check says so.
            let is_seen = match verdict {
                Some(Verdict::Conditional | Verdict::Failed) => true,
                Some(Verdict::Neutral | Verdict::Passed) | None => self.is_out_beside_probes(),
            };
            self.was_out |= is_seen;
            return None;
        }
        if self.health() == Health::Unknown || !std::mem::take(&mut self.was_out) {
            return None;
        }
        self.warmup = warmup::begun(self.slow_start, now);
        self.warmup.map(|warm| StandingChange::WarmupBegan { until: warm.until })
    }

    fn is_out(&self) -> bool {
        matches!(self.health(), Health::Down | Health::Stopping) || self.is_out_beside_probes()
    }

    fn is_out_beside_probes(&self) -> bool {
        let agent_wants_it_out = self.agent.as_ref().is_some_and(|agent| {
            agent.health == Some(AgentHealth::Down) || agent.admin.is_some_and(|admin| admin != AdminStatus::Active)
        });
        agent_wants_it_out || self.outlier.ejection().is_some() || self.flapping.hold().is_some()
    }

    /// The run of checks of that probe which changed what it concludes; none if it did not decide.
    fn run_of(&mut self, slot: ProbeSlot) -> Option<Vec<CheckBrief>> {
        let probe = self.probes.iter_mut().find(|probe| probe.slot == slot && !probe.is_agent)?;
        Some(std::mem::take(&mut probe.run)).filter(|run| !run.is_empty())
    }

    fn counted(&self) -> impl Iterator<Item = &ProbeHealth> {
        self.probes.iter().filter(|probe| probe.counts())
    }

    /// How many of so many counted probes must find the server good.
    fn needed(&self, counted: usize) -> usize {
        self.quorum.map_or(counted, |quorum| usize::from(quorum).min(counted))
    }

    fn health(&self) -> Health {
        let says_down = self.agent.as_ref().is_some_and(|agent| agent.health == Some(AgentHealth::Down));
        if says_down { Health::Down } else { self.probed_health() }
    }

    fn probed_health(&self) -> Health {
        let (mut counted, mut up, mut stopping, mut unknown) = (0, 0, 0, 0);
        for probe in self.counted() {
            counted += 1;
            match probe.machine.health() {
                Health::Up => up += 1,
                Health::Stopping => stopping += 1,
                Health::Unknown => unknown += 1,
                Health::Down | Health::Off => {}
            }
        }
        let needed = self.needed(counted);
        if needed == 0 {
            Health::Off
        } else if up >= needed {
            Health::Up
        } else if up + stopping >= needed {
            Health::Stopping
        } else if up + stopping + unknown >= needed {
            Health::Unknown
        } else {
            Health::Down
        }
    }

    /// The progress of the probe whose change, after those that are nearer to theirs, changes the server's health.
    fn progress(&self) -> Progress {
        let health = self.probed_health();
        if health != self.health() {
            return Progress { have: 0, need: 0 };
        }
        let is_same = |probe: &&ProbeHealth| match health {
            Health::Stopping => matches!(probe.machine.health(), Health::Stopping | Health::Up),
            Health::Down | Health::Off | Health::Unknown | Health::Up => probe.machine.health() == health,
        };
        let nothing = Progress { have: 0, need: 0 };
        let counted = self.counted().count();
        let mut same = self.counted().filter(is_same).map(|probe| probe.machine.progress());
        if counted == 1 {
            return same.next().unwrap_or(nothing);
        }
        let mut same: Vec<Progress> = same.collect();
        let spare = match health {
            Health::Down => {
                same.sort_by_key(|progress| progress.need.saturating_sub(progress.have));
                let good = counted - same.len();
                self.needed(counted).saturating_sub(good + 1)
            }
            Health::Stopping | Health::Up => {
                same.sort_by_key(|progress| progress.have);
                same.len().saturating_sub(self.needed(counted))
            }
            Health::Off | Health::Unknown => 0,
        };
        same.get(spare).copied().unwrap_or(nothing)
    }
}

/// Which interval counts for a probe whose checks brought its machine there.
pub(super) fn pace(machine: &Machine) -> Pace {
    let Progress { have, need } = machine.progress();
    match machine.health() {
        Health::Down if have == 0 => Pace::Down,
        Health::Down => Pace::Changing,
        Health::Stopping | Health::Up if have < need => Pace::Changing,
        Health::Off | Health::Stopping | Health::Unknown | Health::Up => Pace::Steady,
    }
}

/// Returns a number that differs for another address or other probes of a server: what was learnt of the one says
/// nothing of the other. Thresholds, intervals and names do not count.
#[must_use]
pub fn fingerprint(farm: &Farm, server: &Server) -> u64 {
    let mut text = format!("{} {}", server.address, server.probed);
    for probe in &farm.probes {
        let probe = probe.aimed(&server.aim);
        text.push_str(&format!(" {} {:?} {:?}", probe.kind.as_str(), probe.aim.port, probe.aim.address));
    }
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests;
