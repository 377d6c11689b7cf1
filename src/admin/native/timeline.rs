//! What happened: timelines, the list of events, evidence and the history of checks, all read from the journal.
//!
//! Without a `state_dir` events are what the process holds in memory; evidence and history there are none. Blocking.

use std::sync::Arc;
use std::time::Duration;

use crate::feed::{EVENTS_HELD_MAX, Since, Told};
use crate::model::{FarmId, ProbeSlot, ServerKey, Timestamp};
use crate::report::report;
use crate::store::snapshot::{FarmRow, ServerRow};
use crate::store::{EventQuery, JournalError, Order};

use crate::admin::call::AdminState;

use super::error::Failure;
use super::query::{LIMIT_USUAL, Query};
use super::to_wire::why;
use super::wire::{EvidenceList, HistoryWire};

/// The most checks of a history that one answer lists.
pub(super) const HISTORY_MAX: usize = 20_000;
/// How far back a history goes unless told.
const HISTORY_USUAL: Duration = Duration::from_secs(3600);

/// Whose events are wanted; absent: of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) farm: Option<FarmId>,
    pub(super) server: Option<ServerKey>,
}

impl About {
    /// Returns whether an event is about that.
    pub(super) fn takes(self, told: &Told) -> bool {
        self.farm.is_none_or(|farm| told.farms.contains(&farm))
            && self.server.is_none_or(|key| told.server == Some(key))
    }
}

/// Returns the events that a timeline's query asks for, as a JSON object.
pub(super) fn timeline(state: &AdminState, about: About, query: &Query, now: Timestamp) -> Result<String, Failure> {
    let (since, until) = (query.ago("since", now)?, query.ago("until", now)?);
    let asked = EventQuery {
        server: about.server,
        farm: about.farm,
        after: None,
        since,
        until,
        order: query.order()?,
        limit: query.limit()?,
    };
    Ok(format!("{{\"events\":[{}]}}\n", events(state, about, &asked)?.join(",")))
}

/// Returns the events after the one that a query names, the oldest first; without one, the newest.
pub(super) fn list(state: &AdminState, about: About, query: &Query) -> Result<String, Failure> {
    let after = query.after()?;
    let order = if after.is_some() { Order::OldestFirst } else { Order::NewestFirst };
    let limit = query.limit()?;
    let latest = state.feed.latest();
    let asked = EventQuery { server: about.server, farm: about.farm, after, since: None, until: None, order, limit };
    let mut events = events(state, about, &asked)?;
    if after.is_none() {
        events.reverse();
    }
    Ok(format!("{{\"events\":[{}],\"latest\":{latest}}}\n", events.join(",")))
}

/// Returns events as JSON, one each.
fn events(state: &AdminState, about: About, asked: &EventQuery) -> Result<Vec<Arc<str>>, Failure> {
    match &state.chronicle {
        Some(chronicle) => {
            let events = chronicle.events(asked).map_err(|error| unreadable(&error))?;
            Ok(events.into_iter().map(|event| event.json).collect())
        }
        None => Ok(held(state, about, asked)),
    }
}

/// The events that the process holds in memory.
fn held(state: &AdminState, about: About, asked: &EventQuery) -> Vec<Arc<str>> {
    let first = match state.feed.after(asked.after.unwrap_or(0), EVENTS_HELD_MAX) {
        Since::Events(events) => events,
        Since::Gap { missing_up_to } => match state.feed.after(missing_up_to, EVENTS_HELD_MAX) {
            Since::Events(events) => events,
            // The ring moved on meanwhile: so much happens that any answer would be old.
            Since::Gap { .. } => Vec::new(),
        },
    };
    let is_wanted = |told: &&Arc<Told>| {
        about.takes(told)
            && asked.since.is_none_or(|since| told.at >= since)
            && asked.until.is_none_or(|until| told.at <= until)
    };
    let wanted = first.iter().filter(is_wanted).map(|told| Arc::clone(&told.json));
    match asked.order {
        Order::OldestFirst => wanted.take(asked.limit).collect(),
        Order::NewestFirst => wanted.rev().take(asked.limit).collect(),
    }
}

/// Returns the checks of a server that are kept with what they sent and received, the newest first.
pub(super) fn evidence(
    state: &AdminState,
    (farm, server): (&FarmRow, &ServerRow),
    limit: usize,
) -> Result<EvidenceList, Failure> {
    let key = ServerKey { farm: farm.farm.id, server: server.server.id };
    let kept = match &state.chronicle {
        Some(chronicle) => chronicle.evidence(key, limit).map_err(|error| unreadable(&error))?,
        // What the last checks of the probes found is in memory.
        None => server.probes.iter().filter_map(|p| Some((p.slot, (*p.last.clone()?).clone()))).take(limit).collect(),
    };
    Ok(EvidenceList { evidence: kept.iter().map(|(slot, record)| why::evidence(&farm.farm, *slot, record)).collect() })
}

/// Returns how many pieces of evidence a query asks for.
pub(super) fn evidence_limit(query: &Query) -> Result<usize, Failure> {
    Ok(query.limit()?.min(LIMIT_USUAL))
}

/// Returns the history of one probe's checks.
pub(super) fn history(
    state: &AdminState,
    (farm, server): (&FarmRow, &ServerRow),
    query: &Query,
    now: Timestamp,
) -> Result<HistoryWire, Failure> {
    let chronicle = state.history().ok_or_else(Failure::no_history)?;
    let (slot, name) = slot_named(farm, query.get("probe"))?;
    let until = query.ago("until", now)?.unwrap_or(now);
    let usual = Timestamp(until.0.saturating_sub(u64::try_from(HISTORY_USUAL.as_micros()).unwrap_or(u64::MAX)));
    let since = query.ago("since", now)?.unwrap_or(usual);
    let key = ServerKey { farm: farm.farm.id, server: server.server.id };
    let mut checks = chronicle.history(key, slot, since, until).map_err(|error| unreadable(&error))?;
    let cut = checks.len() > HISTORY_MAX;
    checks.truncate(HISTORY_MAX);
    let to = if cut { checks.last().map_or(until, |brief| brief.at) } else { until };
    Ok(HistoryWire {
        probe: name,
        from: since.to_string(),
        to: to.to_string(),
        cut,
        checks: checks.iter().map(why::line).collect(),
    })
}

/// Returns the probe of that name; the first one where none is named.
pub(super) fn slot_named(farm: &FarmRow, name: Option<&str>) -> Result<(ProbeSlot, String), Failure> {
    let farm = &farm.farm;
    let Some(wanted) = name else {
        let (slot, probe) = farm.probes_with_slots().next().ok_or_else(|| Failure::no_probe(farm.name.as_str()))?;
        return Ok((slot, probe.name.to_string()));
    };
    let found = farm.probes_with_slots().find(|(_, probe)| probe.name.as_str() == wanted);
    let names = || farm.probes_with_slots().map(|(_, probe)| probe.name.to_string()).collect::<Vec<_>>().join(", ");
    let (slot, probe) = found.ok_or_else(|| Failure::unknown_probe(wanted, &names()))?;
    Ok((slot, probe.name.to_string()))
}

/// The journal could not be read: the log has why.
pub(super) fn unreadable(error: &JournalError) -> Failure {
    tracing::error!(error = %report(error), "journal cannot be read for an admin call");
    Failure::unreadable()
}
