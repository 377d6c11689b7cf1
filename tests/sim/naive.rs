//! Health and progress of one server, written another way than `health::machine` and `health::server` do: runs of equal
//! verdicts instead of one counter, and the quorum as a place in an order.

use std::sync::Arc;

use farmgate::model::{
    AgentHealth, AgentSays, CheckRecord, Farm, Health, Probe, ProbeSlot, ProbeStart, SavedHealth, Server, Verdict,
};

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    probes: Vec<NaiveProbe>,
    quorum: Option<u8>,
    pub(crate) agent: AgentSays,
    /// A check that counts was seen.
    pub(crate) is_checked: bool,
}

#[derive(Clone, Debug)]
struct NaiveProbe {
    slot: ProbeSlot,
    thresholds: (u16, u16),
    health: Health,
    /// Verdicts of one kind at the end of the history, the others being none.
    passes: u16,
    failures: u16,
}

impl NaiveProbe {
    fn record(&mut self, verdict: Verdict) {
        let (rise, fall) = self.thresholds;
        match verdict {
            Verdict::Neutral => return,
            Verdict::Failed => (self.passes, self.failures) = (0, self.failures + 1),
            Verdict::Conditional | Verdict::Passed => (self.passes, self.failures) = (self.passes + 1, 0),
        }
        let good = if verdict == Verdict::Conditional { Health::Stopping } else { Health::Up };
        self.health = match (self.health, verdict) {
            (_, Verdict::Neutral) => return,
            (Health::Down, Verdict::Failed) => Health::Down,
            (Health::Down, _) if self.passes < rise => Health::Down,
            (Health::Unknown | Health::Off, Verdict::Failed) => Health::Down,
            (before @ (Health::Stopping | Health::Up), Verdict::Failed) if self.failures < fall => before,
            (Health::Stopping | Health::Up, Verdict::Failed) => Health::Down,
            (Health::Down | Health::Off | Health::Stopping | Health::Unknown | Health::Up, _) => good,
        };
        if self.health != Health::Down && verdict != Verdict::Failed {
            self.passes = 0;
        }
    }

    fn progress(&self) -> (u16, u16) {
        let (rise, fall) = self.thresholds;
        match self.health {
            Health::Stopping | Health::Up => (fall - self.failures, fall),
            Health::Down | Health::Off | Health::Unknown => (self.passes, rise),
        }
    }
}

fn thresholds(probe: &Probe) -> (u16, u16) {
    (probe.rise, probe.fall)
}

impl Naive {
    /// Returns a server of which nothing is known but what an earlier process concluded.
    pub(crate) fn new(farm: &Farm, server: &Server, saved: Option<&SavedHealth>) -> Self {
        let known = saved
            .map(|saved| saved.health)
            .filter(|health| matches!(health, Health::Down | Health::Stopping | Health::Up));
        let of = |(slot, probe): (ProbeSlot, &Arc<Probe>)| {
            let (started, failures) = match probe.start {
                ProbeStart::Check => (Health::Unknown, 0),
                ProbeStart::Down => (Health::Down, 0),
                ProbeStart::Up => (Health::Up, probe.fall - 1),
            };
            let failures = if known.is_some() { 0 } else { failures };
            let health = known.unwrap_or(started);
            NaiveProbe { slot, thresholds: thresholds(probe), health, passes: 0, failures }
        };
        let counted = farm
            .probes_with_slots()
            .filter(|(slot, probe)| server.probed && *slot != ProbeSlot::SHADOW && !probe.kind.is_agent());
        let (probes, quorum) = (counted.map(of).collect(), farm.quorum);
        let agent = saved.and_then(|saved| saved.agent.as_deref().cloned()).unwrap_or_default();
        Self { probes, quorum, agent, is_checked: false }
    }

    /// The file has other thresholds.
    pub(crate) fn retune(&mut self, farm: &Farm) {
        self.quorum = farm.quorum;
        for probe in &mut self.probes {
            let Some(declared) = farm.probe_at(probe.slot) else { continue };
            if thresholds(declared) != probe.thresholds {
                (probe.thresholds, probe.passes, probe.failures) = (thresholds(declared), 0, 0);
            }
        }
    }

    pub(crate) fn record(&mut self, slot: ProbeSlot, record: &CheckRecord) {
        if let Some(says) = record.agent.as_deref().filter(|_| slot != ProbeSlot::SHADOW) {
            let AgentSays { weight, admin, health, .. } = &mut self.agent;
            (*weight, *admin, *health) = (says.weight.or(*weight), says.admin.or(*admin), says.health.or(*health));
        }
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.slot == slot) {
            probe.record(record.verdict());
            self.is_checked = true;
        }
    }

    fn needed(&self) -> usize {
        self.quorum.map_or(self.probes.len(), |quorum| self.probes.len().min(quorum.into()))
    }

    fn by_probes(&self) -> Health {
        let order = [Health::Up, Health::Stopping, Health::Unknown, Health::Down];
        let place = |health| order.iter().position(|other| *other == health).unwrap_or(order.len());
        let mut places: Vec<usize> = self.probes.iter().map(|probe| place(probe.health)).collect();
        places.sort_unstable();
        match self.needed() {
            0 => Health::Off,
            needed => order[places[needed - 1]],
        }
    }

    pub(crate) fn health(&self) -> Health {
        if self.agent.health == Some(AgentHealth::Down) { Health::Down } else { self.by_probes() }
    }

    /// The checks of how many probes must turn before the server does: the last of these, the nearest first.
    pub(crate) fn progress(&self) -> (u16, u16) {
        let health = self.by_probes();
        if health != self.health() || self.needed() == 0 {
            return (0, 0);
        }
        let is_good = |health| matches!(health, Health::Stopping | Health::Up);
        let is_of = |probe: &&NaiveProbe| match health {
            Health::Stopping => is_good(probe.health),
            Health::Down | Health::Off | Health::Unknown | Health::Up => probe.health == health,
        };
        let mut turning: Vec<_> = self.probes.iter().filter(is_of).map(NaiveProbe::progress).collect();
        let others = self.probes.len() - turning.len();
        let last = match health {
            Health::Down => {
                turning.sort_by_key(|(have, need)| need - have);
                self.needed() - others - 1
            }
            Health::Stopping | Health::Up => {
                turning.sort_by_key(|(have, _)| *have);
                turning.len() - self.needed()
            }
            Health::Off | Health::Unknown => 0,
        };
        turning[last]
    }
}
