//! Why a server, a farm or a request is as it is: what `health::explain` says of the snapshot, with the evidence.
//! Blocking: evidence and the history behind the advice are read from the journal.

use std::time::Duration;

use crate::health::explain::advice::{Durations, advice};
use crate::health::explain::{Carriers, Explanation, Fact, FarmFacts, HeldBy, ServerFacts, explain, explain_farm};
use crate::model::{ProbeSlot, ServerKey, Standing, Timestamp};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, LeavingRow, ServerRow};

use crate::admin::call::AdminState;

use super::error::Failure;
use super::timeline::{self, unreadable};
use super::to_wire::{self, request, why};
use super::wire::{BranchWire, FarmExplainWire, RequestExplainWire, ServerExplainWire};

/// Pieces of evidence that an explanation has.
const EVIDENCE_SHOWN: usize = 16;
/// How far back checks are looked at for advice.
const LOOKED_BACK: Duration = Duration::from_secs(3600);

/// Returns why a server is in or out.
pub(super) fn server(
    state: &AdminState,
    snapshot: &Snapshot,
    (farm, row): (&FarmRow, &ServerRow),
) -> Result<ServerExplainWire, Failure> {
    let durations = durations(state, snapshot.at, (farm, row))?;
    let Explanation { sentence, tree } = explain(&facts(snapshot, farm, row, &durations));
    let evidence = timeline::evidence(state, (farm, row), EVIDENCE_SHOWN)?.evidence;
    Ok(ServerExplainWire {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        farm: farm.farm.name.to_string(),
        server: row.server.name.to_string(),
        state: row.state.clone(),
        sentence,
        tree: tree.into_iter().map(branch).collect(),
        weight: row.server.weight.0,
        effective_weight: row.effective_weight,
        checks: row.recent.iter().map(|brief| why::brief(&farm.farm, brief)).collect(),
        evidence,
        overrides: row.overrides.iter().map(to_wire::override_of).collect(),
        advice: durations.iter().filter_map(|(slot, durations)| advised(farm, *slot, durations)).collect(),
    })
}

/// Returns what a server that a reload removed waits for.
pub(super) fn leaving(snapshot: &Snapshot, farm: &FarmRow, row: &LeavingRow) -> ServerExplainWire {
    let state = "DRAIN";
    let told = explain(&ServerFacts {
        farm: &farm.farm,
        server: &row.server,
        state,
        standing: &Standing::unprobed(),
        probes: &[],
        recent: &[],
        decided_by: &[],
        durations: &[],
        since: row.since,
        state_since: row.since,
        now: snapshot.at,
        effective_weight: 0,
        rotation_weight: rotation_weight(farm),
        carriers: carriers(farm),
        held: None,
        overrides: &[],
        is_resolved: row.addr.is_some(),
        leaving_since: Some(row.since),
        deadline: row.deadline.map(|deadline| (deadline, row.at_deadline)),
        open: row.in_flight,
        queued: 0,
    });
    ServerExplainWire {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        farm: farm.farm.name.to_string(),
        server: row.server.name.to_string(),
        state: state.to_owned(),
        sentence: told.sentence,
        tree: told.tree.into_iter().map(branch).collect(),
        weight: row.server.weight.0,
        effective_weight: 0,
        checks: Vec::new(),
        evidence: Vec::new(),
        overrides: Vec::new(),
        advice: Vec::new(),
    }
}

/// Returns why a farm serves as it does.
pub(super) fn farm(snapshot: &Snapshot, row: &FarmRow) -> FarmExplainWire {
    let servers: Vec<_> = row.servers.iter().map(|server| facts(snapshot, row, server, &[])).collect();
    let told =
        explain_farm(&FarmFacts { farm: &row.farm, carriers: carriers(row), servers: &servers, now: snapshot.at });
    FarmExplainWire {
        generation: snapshot.generation.0,
        at: snapshot.at.to_string(),
        farm: row.farm.name.to_string(),
        serving: row.serving.as_str().to_owned(),
        sentence: told.sentence,
        tree: told.tree.into_iter().map(branch).collect(),
    }
}

/// Returns why a request went where it went.
pub(super) fn request(state: &AdminState, snapshot: &Snapshot, id: &str) -> Result<RequestExplainWire, Failure> {
    let trace = state.requests.find(id).ok_or_else(Failure::forgotten)?;
    Ok(request::request(snapshot, &trace))
}

/// Everything that is known of a server.
fn facts<'a>(
    snapshot: &'a Snapshot,
    farm: &'a FarmRow,
    row: &'a ServerRow,
    durations: &'a [(ProbeSlot, Durations)],
) -> ServerFacts<'a> {
    let incident = snapshot.incident.as_ref().filter(|_| row.is_held_by_incident);
    ServerFacts {
        farm: &farm.farm,
        server: &row.server,
        state: &row.state,
        standing: &row.standing,
        probes: &row.probes,
        recent: &row.recent,
        decided_by: &row.decided_by,
        durations,
        since: row.health_since,
        state_since: row.state_since,
        now: snapshot.at,
        effective_weight: row.effective_hundredths,
        rotation_weight: rotation_weight(farm),
        carriers: carriers(farm),
        held: incident.map(|incident| HeldBy { incident: incident.id, until: incident.until }),
        overrides: &row.overrides,
        is_resolved: row.addr.is_some(),
        leaving_since: None,
        deadline: row.order.as_ref().and_then(|order| Some((order.deadline?, order.at_deadline))),
        open: row.in_flight,
        queued: row.queued,
    }
}

/// The weights of all servers at which they take work now, in hundredths.
fn rotation_weight(farm: &FarmRow) -> u64 {
    farm.servers.iter().map(|server| u64::from(server.effective_hundredths)).sum()
}

fn carriers(row: &FarmRow) -> Carriers {
    // One enum says it in two rooms; each of its words is known to both.
    Carriers::parse(row.serving.as_str()).unwrap_or(Carriers::Nobody)
}

/// How long the checks of the last hour took, by probe; the last few where no history is kept.
fn durations(
    state: &AdminState,
    now: Timestamp,
    (farm, row): (&FarmRow, &ServerRow),
) -> Result<Vec<(ProbeSlot, Durations)>, Failure> {
    let key = ServerKey { farm: farm.farm.id, server: row.server.id };
    let since = Timestamp(now.0.saturating_sub(u64::try_from(LOOKED_BACK.as_micros()).unwrap_or(u64::MAX)));
    let of = |slot: ProbeSlot| {
        let briefs = match state.history() {
            Some(chronicle) => chronicle.history(key, slot, since, now).map_err(|error| unreadable(&error))?,
            None => row.recent.iter().filter(|brief| brief.slot == slot).copied().collect(),
        };
        Ok((slot, Durations::of(briefs.iter().map(|brief| brief.duration))))
    };
    farm.farm.probes_with_slots().map(|(slot, _)| slot).filter(|slot| *slot != ProbeSlot::SHADOW).map(of).collect()
}

/// What may be worth changing of a probe.
fn advised(farm: &FarmRow, slot: ProbeSlot, durations: &Durations) -> Option<String> {
    let probe = farm.farm.probe_at(slot)?;
    advice(durations, probe.timeout).map(|text| format!("{}: {text}", probe.name))
}

fn branch(from: Fact) -> BranchWire {
    BranchWire {
        label: from.label.to_owned(),
        text: from.text,
        children: from.children.into_iter().map(branch).collect(),
    }
}
