//! What is concluded of a server → bodies of the native shape. Pure.

use crate::model::{
    AgentHealth, AgentSays, AgentWeight, Ejection, Farm, Pace, ProbeSlot, ProbeStanding, Standing, Suspicion, Warmup,
};
use crate::store::snapshot::ServerRow;

use crate::admin::native::wire::{
    AgentWire, EjectedWire, ProbeStandingWire, ProgressWire, StandingWire, SuspicionWire, WarmupWire,
};

use super::check;
use super::why::probe_name;

/// Returns what is made of a server beside its probes' verdict.
pub(in crate::admin::native) fn standing(standing: &Standing) -> StandingWire {
    StandingWire {
        ejected: standing.ejected.map(ejected),
        held_since: standing.held_since.map(|since| since.to_string()),
        held_until: standing.held_until.map(|until| until.to_string()),
        flap_score: standing.flap_score,
        warmup: standing.warmup.map(warmup),
        suspicion: standing.suspicion.map(suspicion),
        agent: standing.agent.as_deref().map(agent),
    }
}

/// Returns the parts of the probes that count.
pub(in crate::admin::native) fn probes(farm: &Farm, row: &ServerRow) -> impl Iterator<Item = ProbeStandingWire> {
    row.probes.iter().filter(|part| part.slot != ProbeSlot::SHADOW).map(|part| probe(farm, part))
}

/// Returns the shadow probe's part.
pub(in crate::admin::native) fn shadow(farm: &Farm, row: &ServerRow) -> Option<ProbeStandingWire> {
    row.probes.iter().find(|part| part.slot == ProbeSlot::SHADOW).map(|part| probe(farm, part))
}

fn probe(farm: &Farm, part: &ProbeStanding) -> ProbeStandingWire {
    ProbeStandingWire {
        name: probe_name(farm, part.slot),
        slot: (part.slot != ProbeSlot::SHADOW).then_some(part.slot.0),
        health: part.health.as_str().to_owned(),
        progress: ProgressWire { have: part.progress.have, need: part.progress.need },
        pace: match part.pace {
            Pace::Changing => "changing",
            Pace::Down => "down",
            Pace::Steady => "steady",
        }
        .to_owned(),
        last: part.last.as_deref().map(check),
        next_at: part.next_at.map(|at| at.to_string()),
    }
}

fn ejected(ejection: Ejection) -> EjectedWire {
    EjectedWire {
        since: ejection.since.to_string(),
        until: ejection.until.to_string(),
        errors: ejection.errors,
        kind: ejection.kind.as_str().to_owned(),
        times: ejection.times,
    }
}

fn warmup(warmup: Warmup) -> WarmupWire {
    WarmupWire { since: warmup.since.to_string(), until: warmup.until.to_string(), percent: warmup.percent }
}

fn suspicion(suspicion: Suspicion) -> SuspicionWire {
    SuspicionWire {
        kind: suspicion.kind.as_str().to_owned(),
        since: suspicion.since.to_string(),
        good: suspicion.good,
        bad: suspicion.bad,
    }
}

fn agent(says: &AgentSays) -> AgentWire {
    AgentWire {
        weight: says.weight.map(|weight| match weight {
            AgentWeight::Percent(percent) => format!("{percent}%"),
            AgentWeight::Weight(weight) => weight.to_string(),
        }),
        maxconn: says.maxconn,
        admin: says.admin.map(|admin| admin.as_str().to_owned()),
        health: says.health.map(|health| {
            match health {
                AgentHealth::Down => "down",
                AgentHealth::Up => "up",
            }
            .to_owned()
        }),
        reason: says.reason.as_deref().map(str::to_owned),
    }
}
