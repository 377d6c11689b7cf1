//! The health of one server: what its probes conclude together, what its agent asks for, and what is remembered.
//!
//! Pure: `now` is handed in, everything that happens to a server's health is one call here and comes back as an
//! [`Outcome`]. Each probe has a [`Machine`] of its own; the server is as good as its quorum says. The shadow probe has
//! one too and changes nothing. Traffic, flapping and warm-up join here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::standing::RECENT_CHECKS_MAX;
use crate::model::{
    AgentSays, CheckBrief, CheckRecord, Farm, Health, Pace, Probe, ProbeSlot, ProbeStanding, Progress, SavedHealth,
    Server, ServerKey, Standing, StandingChange, Timestamp, TrafficFault, Verdict,
};

use super::machine::{Machine, Rule};

/// See the module's doc.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    probes: Vec<ProbeHealth>,
    quorum: Option<u8>,
    agent: Option<Arc<AgentSays>>,
    recent: VecDeque<CheckBrief>,
    decided_by: Vec<CheckBrief>,
}

#[derive(Clone, Debug)]
struct ProbeHealth {
    slot: ProbeSlot,
    is_agent: bool,
    machine: Machine,
    last: Option<Arc<CheckRecord>>,
    next_at: Option<Timestamp>,
}

impl ProbeHealth {
    fn new(slot: ProbeSlot, probe: &Probe) -> Self {
        let machine = Machine::new(Rule::of(probe), probe.start);
        Self { slot, is_agent: probe.kind.is_agent(), machine, last: None, next_at: None }
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
}

impl ServerHealth {
    /// Returns the health of a server before its first check; none while nothing checks or observes it.
    #[must_use]
    pub fn new(farm: &Farm, server: &Server) -> Option<Self> {
        if !server.probed || farm.probes.is_empty() {
            return None;
        }
        Some(Self {
            probes: farm.probes_with_slots().map(|(slot, probe)| ProbeHealth::new(slot, probe)).collect(),
            quorum: farm.quorum,
            agent: None,
            recent: VecDeque::new(),
            decided_by: Vec::new(),
        })
    }

    /// Takes over what was saved of an earlier process, if it is of the same address and probes.
    pub fn restore(&mut self, saved: &SavedHealth, farm: &Farm, _now: Timestamp) {
        for probe in self.probes.iter_mut().filter(|probe| probe.slot != ProbeSlot::SHADOW) {
            if let Some(declared) = farm.probe_at(probe.slot) {
                probe.machine = Machine::known(Rule::of(declared), saved.health);
            }
        }
        self.decided_by.clone_from(&saved.decided_by);
    }

    /// Counts by the thresholds of `farm` from now on; what its probes concluded stays. The probes are the same ones.
    pub fn retune(&mut self, farm: &Farm) {
        self.quorum = farm.quorum;
        let mut before = std::mem::take(&mut self.probes);
        for (slot, probe) in farm.probes_with_slots() {
            let kept = before.iter().position(|known| known.slot == slot).map(|at| before.swap_remove(at));
            let mut kept = kept.unwrap_or_else(|| ProbeHealth::new(slot, probe));
            kept.machine.retune(Rule::of(probe));
            self.probes.push(kept);
        }
    }

    /// Takes in a check's result. Nothing, if the farm has no such probe.
    pub fn checked(
        &mut self,
        slot: ProbeSlot,
        record: &Arc<CheckRecord>,
        next_at: Timestamp,
        _now: Timestamp,
    ) -> Option<Outcome> {
        let before = (self.health(), self.progress());
        let probe = self.probes.iter_mut().find(|probe| probe.slot == slot)?;
        let earlier = probe.last.replace(Arc::clone(record)).map(|last| last.verdict());
        probe.next_at = Some(next_at);
        probe.machine.record(record.verdict());
        let mut changes = Vec::new();
        if let Some(says) = record.agent.clone().filter(|says| self.agent.as_ref() != Some(says)) {
            changes.push(StandingChange::AgentSaid(Arc::clone(&says)));
            self.agent = Some(says);
        }
        if slot != ProbeSlot::SHADOW {
            if self.recent.len() == RECENT_CHECKS_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(record.brief(slot));
        }
        let after = (self.health(), self.progress());
        let transition = (before.0 != after.0).then_some((before.0, after.0));
        if transition.is_some() {
            self.decided_by = self.run_that_ended_now(slot);
        }
        let is_visible = before != after || !changes.is_empty();
        let is_notable = match record.verdict() {
            Verdict::Failed => true,
            Verdict::Conditional | Verdict::Passed => earlier != Some(record.verdict()),
            Verdict::Neutral => false,
        };
        Some(Outcome { transition, changes, is_visible, is_notable })
    }

    /// The checks at the end of what is remembered that say the same as the last one.
    fn run_that_ended_now(&self, slot: ProbeSlot) -> Vec<CheckBrief> {
        let passed = |brief: &CheckBrief| brief.status.verdict() != Verdict::Failed;
        let Some(last) = self.recent.back().map(passed) else { return Vec::new() };
        let of_probe = self.recent.iter().rev().filter(|brief| brief.slot == slot);
        let mut run: Vec<_> = of_probe.take_while(|brief| passed(brief) == last).copied().collect();
        run.reverse();
        run
    }

    /// Takes in that work given to the server failed so often in a row. `may_eject`: the farm has room for one more.
    pub fn traffic_failed(
        &mut self,
        _farm: &Farm,
        _errors: u16,
        _kind: TrafficFault,
        _may_eject: bool,
        _now: Timestamp,
    ) -> Outcome {
        Outcome::default()
    }

    /// Takes in how much work went well and failed since the last sample.
    pub fn traffic_sampled(&mut self, _good: u64, _bad: u64, _now: Timestamp) -> Outcome {
        Outcome::default()
    }

    /// Takes in that the operator gives the server work again after a drain or maintenance.
    pub fn returned(&mut self, _farm: &Farm, _now: Timestamp) -> Outcome {
        Outcome::default()
    }

    /// Ends what is due.
    pub fn tick(&mut self, _farm: &Farm, _now: Timestamp) -> Outcome {
        Outcome::default()
    }

    /// Returns when [`Self::tick`] next has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        None
    }

    /// Returns everything that is concluded.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing { agent: self.agent.clone(), ..Standing::of(self.health(), self.progress()) }
    }

    /// Returns each probe's part, the shadow's last.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeStanding> {
        let of = |probe: &ProbeHealth| ProbeStanding {
            slot: probe.slot,
            health: probe.machine.health(),
            progress: probe.machine.progress(),
            pace: pace(&probe.machine),
            last: probe.last.clone(),
            next_at: probe.next_at,
        };
        self.probes.iter().map(of).collect()
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
            health: self.health(),
            since,
            changes: Vec::new(),
            held_until: None,
            ejected: None,
            warm_since: None,
            decided_by: self.decided_by.clone(),
        }
    }

    fn counted(&self) -> impl Iterator<Item = &ProbeHealth> {
        self.probes.iter().filter(|probe| !probe.is_agent && probe.slot != ProbeSlot::SHADOW)
    }

    /// How many counted probes must find the server good.
    fn needed(&self) -> usize {
        let counted = self.counted().count();
        self.quorum.map_or(counted, |quorum| usize::from(quorum).min(counted))
    }

    fn health(&self) -> Health {
        let of = |wanted| self.counted().filter(|probe| probe.machine.health() == wanted).count();
        let (up, stopping, unknown) = (of(Health::Up), of(Health::Stopping), of(Health::Unknown));
        let needed = self.needed();
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

    /// The progress of the probe that is nearest to changing the server's health.
    fn progress(&self) -> Progress {
        let health = self.health();
        let same = self.counted().filter(|probe| probe.machine.health() == health);
        let left = |probe: &&ProbeHealth| match health {
            Health::Down => probe.machine.progress().need - probe.machine.progress().have,
            Health::Off | Health::Stopping | Health::Unknown | Health::Up => probe.machine.progress().have,
        };
        same.min_by_key(left).map_or(Progress { have: 0, need: 0 }, |probe| probe.machine.progress())
    }
}

fn pace(machine: &Machine) -> Pace {
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
