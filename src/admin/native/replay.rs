//! What another probe would have made of the checks that were recorded. Blocking; changes nothing.

use std::time::Duration;

use serde_json::Value;

use crate::health::replay::{Replay, Replayed, replay, share_lost};
use crate::model::{Probe, ProbeSlot, ServerKey, StatusSet, Timestamp};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, ServerRow};

use crate::admin::call::AdminState;
use crate::admin::error::AdminError;

use super::error::Failure;
use super::timeline::{slot_named, unreadable};
use super::when::{self, Sense};
use super::wire::{
    CourseWire, FarmReplayWire, NamedReplayWire, ReplayOrder, ServerReplayWire, TotalWire, TransitionWire, WindowWire,
};
use super::{Made, encode, farm_of, from_wire, server_of};

/// How far back checks are replayed unless told.
const USUAL: Duration = Duration::from_secs(24 * 3600);
/// The largest rise and fall.
const COUNT_MAX: u16 = 1000;

/// Answers for a farm or one server of it.
pub(super) fn answer(
    state: &AdminState,
    snapshot: &Snapshot,
    (farm, server): (&str, Option<&str>),
    body: &[u8],
    now: Timestamp,
) -> Result<Made, Failure> {
    let row = farm_of(snapshot, farm)?;
    let server = server.map(|server| server_of(row, server)).transpose()?;
    let order = if body.is_empty() { ReplayOrder::default() } else { from_wire::parse(body)? };
    if state.history().is_none() {
        return Err(Failure::no_history());
    }
    let (slot, _) = slot_named(row, order.probe.as_deref())?;
    let probe = row.farm.probe_at(slot).ok_or_else(|| Failure::no_probe(row.farm.name.as_str()))?;
    let asked = Asked { slot, probe, changed: changed(&order, probe)?, window: window(&order, now)? };
    match server {
        Some(server) => encode(&of_server(state, row, server, &asked)?),
        None => encode(&of_farm(state, row, &asked)?),
    }
}

/// What is asked for.
struct Asked<'a> {
    slot: ProbeSlot,
    probe: &'a Probe,
    changed: Replay,
    window: (Timestamp, Timestamp),
}

/// What was and what would have been, of one server.
struct Both {
    checks: usize,
    was: Replayed,
    would: Replayed,
}

fn both(state: &AdminState, farm: &FarmRow, server: &ServerRow, asked: &Asked<'_>) -> Result<Both, Failure> {
    let chronicle = state.history().ok_or_else(Failure::no_history)?;
    let key = ServerKey { farm: farm.farm.id, server: server.server.id };
    let (since, until) = asked.window;
    let history = chronicle.history(key, asked.slot, since, until).map_err(|error| unreadable(&error))?;
    let was = replay(&history, asked.probe, &Replay::of(asked.probe));
    let would = replay(&history, asked.probe, &asked.changed);
    Ok(Both { checks: history.len(), was, would })
}

fn of_server(
    state: &AdminState,
    farm: &FarmRow,
    server: &ServerRow,
    asked: &Asked<'_>,
) -> Result<ServerReplayWire, Failure> {
    let Both { checks, was, would } = both(state, farm, server, asked)?;
    Ok(ServerReplayWire {
        window: window_of(was.window),
        checks: checks as u64,
        caveats: would.caveats.clone(),
        as_probed: course(&was),
        replayed: course(&would),
    })
}

fn of_farm(state: &AdminState, farm: &FarmRow, asked: &Asked<'_>) -> Result<FarmReplayWire, Failure> {
    let all = farm.servers.iter().map(|server| both(state, farm, server, asked)).collect::<Result<Vec<_>, _>>()?;
    let mut caveats: Vec<String> = Vec::new();
    for caveat in all.iter().filter(|both| both.checks > 0).flat_map(|both| &both.would.caveats) {
        if !caveats.contains(caveat) {
            caveats.push(caveat.clone());
        }
    }
    let of = |both: &Both| both.was.window;
    let window = all.iter().filter_map(of).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let weighed: Vec<_> = farm.servers.iter().zip(&all).map(|(row, both)| (row.server.weight, &both.would)).collect();
    let named = farm.servers.iter().zip(&all).map(|(row, both)| NamedReplayWire {
        server: row.server.name.to_string(),
        checks: both.checks as u64,
        as_probed: course(&both.was),
        replayed: course(&both.would),
    });
    Ok(FarmReplayWire {
        window: window_of(window),
        checks: all.iter().map(|both| both.checks as u64).sum(),
        caveats,
        as_probed: total(all.iter().map(|both| &both.was)),
        replayed: total(all.iter().map(|both| &both.would)),
        share_lost_max: share_lost(&weighed).map_or(0.0, |lost| f64::from(lost.percent)),
        servers: named.collect(),
    })
}

/// Returns the rules to judge by: the probe's, with what the order says in their place.
fn changed(order: &ReplayOrder, probe: &Probe) -> Result<Replay, AdminError> {
    let mut changed = Replay::of(probe);
    if let Some(rise) = &order.rise {
        changed.rise = count("rise", rise)?;
    }
    if let Some(fall) = &order.fall {
        changed.fall = count("fall", fall)?;
    }
    if let Some(interval) = &order.interval {
        changed.interval = duration("interval", interval)?;
    }
    if let Some(timeout) = &order.timeout {
        changed.timeout = duration("timeout", timeout)?;
    }
    if let Some(status) = &order.status {
        let set = status.as_str().and_then(StatusSet::parse);
        let bad = || from_wire::bad("status", status, "sets of HTTP statuses such as 200-399,404");
        changed.statuses = Some(set.ok_or_else(bad)?);
    }
    Ok(changed)
}

fn count(field: &'static str, value: &Value) -> Result<u16, AdminError> {
    let count = value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| (1..=COUNT_MAX).contains(n));
    count.ok_or_else(|| from_wire::bad(field, value, &format!("1..={COUNT_MAX}, whole")))
}

fn duration(field: &'static str, value: &Value) -> Result<Duration, AdminError> {
    let text = value.as_str().and_then(when::duration);
    let text = text.filter(|d| (Duration::from_millis(10)..=Duration::from_secs(86_400)).contains(d));
    text.ok_or_else(|| from_wire::bad(field, value, "10ms..=24h, such as \"2s\""))
}

fn window(order: &ReplayOrder, now: Timestamp) -> Result<(Timestamp, Timestamp), AdminError> {
    let at = |field, value: &Option<Value>| {
        let Some(value) = value else { return Ok(None) };
        let at = value.as_str().and_then(|text| when::moment(text, now, Sense::Ago));
        let bound = "how long ago such as \"2h\" or a time of RFC 3339 such as \"2026-11-21T13:34:20Z\"";
        at.map(Some).ok_or_else(|| from_wire::bad(field, value, bound))
    };
    let until = at("until", &order.until)?.unwrap_or(now);
    let usual = Timestamp(until.0.saturating_sub(u64::try_from(USUAL.as_micros()).unwrap_or(u64::MAX)));
    Ok((at("since", &order.since)?.unwrap_or(usual), until))
}

fn window_of(window: Option<(Timestamp, Timestamp)>) -> WindowWire {
    WindowWire { from: window.map(|(from, _)| from.to_string()), to: window.map(|(_, to)| to.to_string()) }
}

fn course(replayed: &Replayed) -> CourseWire {
    let transition = |(at, _, to): &(Timestamp, crate::model::Health, crate::model::Health)| TransitionWire {
        at: at.to_string(),
        to: to.as_str().to_owned(),
    };
    CourseWire {
        removals: replayed.downs.len() as u64,
        down_s: replayed.down_time.as_secs_f64(),
        transitions: replayed.transitions.iter().map(transition).collect(),
    }
}

fn total<'a>(all: impl Iterator<Item = &'a Replayed>) -> TotalWire {
    let of =
        |(removals, down_s), one: &Replayed| (removals + one.downs.len() as u64, down_s + one.down_time.as_secs_f64());
    let (removals, down_s) = all.fold((0, 0.0), of);
    TotalWire { removals, down_s }
}
