//! The shadow probe: what it says beside the farm's own, and how it is made the farm's own. Blocking.

use std::time::Duration;

use crate::config::to_yaml::probe_view;
use crate::model::{Farm, Health, Probe, ProbeSlot, ProbeStanding, ServerKey, Timestamp, Verdict};
use crate::store::snapshot::{FarmRow, ServerRow};

use crate::admin::call::AdminState;

use super::Made;
use super::error::Failure;
use super::timeline::unreadable;
use super::to_wire;
use super::wire::{AgreementWire, SaysWire, ShadowWire, ShadowedWire};

/// How far back passes and failures are counted.
const COUNTED: Duration = Duration::from_secs(3600);

/// Returns what the shadow probe says beside the farm's own.
pub(super) fn answer(state: &AdminState, row: &FarmRow, now: Timestamp) -> Result<ShadowWire, Failure> {
    let Some(shadow) = &row.farm.shadow else {
        return Ok(ShadowWire { shadow: None, servers: Vec::new(), agreement: None });
    };
    let main = main_slot(&row.farm);
    let servers =
        row.servers.iter().map(|server| shadowed(state, row, server, main, now)).collect::<Result<Vec<_>, _>>()?;
    let is_compared = |said: &&ShadowedWire| {
        let has_said =
            |says: &Option<SaysWire>| says.as_ref().is_some_and(|says| says.health != Health::Unknown.as_str());
        has_said(&said.probe) && has_said(&said.shadow)
    };
    let compared = servers.iter().filter(is_compared).count();
    let agree = servers.iter().filter(is_compared).filter(|said| !said.differs).count();
    let agreement = (compared > 0).then_some(AgreementWire { agree, compared });
    Ok(ShadowWire { shadow: Some(to_wire::json(&probe_view(shadow))), servers, agreement })
}

fn shadowed(
    state: &AdminState,
    farm: &FarmRow,
    server: &ServerRow,
    main: Option<ProbeSlot>,
    now: Timestamp,
) -> Result<ShadowedWire, Failure> {
    let part = |slot: ProbeSlot| server.probes.iter().find(|part| part.slot == slot);
    let key = ServerKey { farm: farm.farm.id, server: server.server.id };
    let of = |slot: ProbeSlot| part(slot).map(|part| says(state, key, part, now)).transpose();
    let probe = main.map(of).transpose()?.flatten();
    let shadow = of(ProbeSlot::SHADOW)?;
    let works = |slot: ProbeSlot| part(slot).and_then(|part| takes_work(part.health));
    let differs = main.and_then(works).zip(works(ProbeSlot::SHADOW)).is_some_and(|(probe, shadow)| probe != shadow);
    Ok(ShadowedWire { server: server.server.name.to_string(), probe, shadow, differs })
}

/// Whether a server of that health may take work by its probe; nothing while there is no verdict.
fn takes_work(health: Health) -> Option<bool> {
    match health {
        Health::Up => Some(true),
        Health::Down | Health::Stopping => Some(false),
        Health::Off | Health::Unknown => None,
    }
}

fn says(state: &AdminState, key: ServerKey, part: &ProbeStanding, now: Timestamp) -> Result<SaysWire, Failure> {
    let counted = match state.history() {
        None => None,
        Some(chronicle) => {
            let since = Timestamp(now.0.saturating_sub(u64::try_from(COUNTED.as_micros()).unwrap_or(u64::MAX)));
            let checks = chronicle.history(key, part.slot, since, now).map_err(|error| unreadable(&error))?;
            let of = |verdict| checks.iter().filter(|check| check.status.verdict() == verdict).count() as u64;
            Some((of(Verdict::Passed), of(Verdict::Failed)))
        }
    };
    let health = part.health.as_str().to_owned();
    Ok(SaysWire { health, passed: counted.map(|(passed, _)| passed), failed: counted.map(|(_, failed)| failed) })
}

/// The slot of the probe that stands for the farm.
fn main_slot(farm: &Farm) -> Option<ProbeSlot> {
    farm.probes_with_slots()
        .find(|(slot, probe)| *slot != ProbeSlot::SHADOW && !probe.kind.is_agent())
        .map(|(slot, _)| slot)
}

/// Returns the change of the config that makes the shadow the farm's own probe: the new text, with what it replaces in
/// comments.
pub(super) fn promote(row: &FarmRow) -> Result<Made, Failure> {
    let farm = &row.farm;
    let shadow = farm.shadow.as_ref().ok_or_else(|| Failure::no_shadow(farm.name.as_str()))?;
    let main = main_slot(farm).and_then(|slot| farm.probe_at(slot));
    let at = |probe: &Probe, written: &Probe| {
        let probes = if probe.name.as_str() == "probe" {
            keyed("probe", serde_yaml::to_value(probe_view(written)))
        } else {
            let named = keyed(probe.name.as_str(), serde_yaml::to_value(probe_view(written)));
            named.and_then(|named| keyed("probes", Ok(named)))
        };
        let farms = probes.and_then(|probes| keyed(farm.name.as_str(), Ok(probes)));
        farms.and_then(|farms| keyed("farms", Ok(farms))).and_then(|file| serde_yaml::to_string(&file))
    };
    let fresh = Probe { name: Probe::new(shadow.kind.clone()).name, ..Probe::clone(shadow) };
    let path = match main {
        Some(main) if main.name != fresh.name => format!("farms.{}.probes.{}", farm.name, main.name),
        Some(_) | None => format!("farms.{}.probe", farm.name),
    };
    let before = match main {
        Some(main) => {
            let text = at(main, main).map_err(|_| Failure::bug())?;
            let lines: String = text.lines().map(|line| format!("#   {line}\n")).collect();
            format!("# In place of {path} as it is:\n#\n{lines}#\n")
        }
        None => format!("# New, at {path}:\n#\n"),
    };
    let after = at(main.map_or(&fresh, |main| main), shadow).map_err(|_| Failure::bug())?;
    let body = format!(
        "{before}# write what follows, remove farms.{}.shadow and reload. Passwords are not shown: keep those of the \
         shadow.\n{after}",
        farm.name
    );
    Ok(Made { content_type: "text/yaml; charset=utf-8", body: body.into() })
}

fn keyed(
    key: &str,
    value: Result<serde_yaml::Value, serde_yaml::Error>,
) -> Result<serde_yaml::Value, serde_yaml::Error> {
    let mut map = serde_yaml::Mapping::new();
    map.insert(key.into(), value?);
    Ok(map.into())
}
