//! The health of servers as it outlives the process: one row of JSON each. A row that this build cannot read is as good
//! as none: that server begins anew.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::feed::AgentWire;
use crate::model::{
    CheckBrief, CheckStatus, Ejection, FarmId, Health, ProbeSlot, SavedHealth, ServerId, ServerKey, Timestamp,
    TrafficFault,
};

use super::{number, unsigned};

#[derive(Serialize, Deserialize)]
struct HealthWire {
    fingerprint: u64,
    health: String,
    since_us: u64,
    #[serde(default)]
    agent: Option<AgentWire>,
    #[serde(default)]
    agent_since_us: Option<u64>,
    #[serde(default)]
    changes_us: Vec<u64>,
    #[serde(default)]
    held_since_us: Option<u64>,
    #[serde(default)]
    held_until_us: Option<u64>,
    #[serde(default)]
    ejected: Option<EjectionWire>,
    #[serde(default)]
    warm_since_us: Option<u64>,
    #[serde(default)]
    decided_by: Vec<BriefWire>,
}

#[derive(Serialize, Deserialize)]
struct EjectionWire {
    since_us: u64,
    until_us: u64,
    errors: u16,
    kind: String,
    times: u16,
}

#[derive(Serialize, Deserialize)]
struct BriefWire {
    slot: u8,
    status: String,
    code: Option<u16>,
    at_us: u64,
    duration_us: u64,
}

pub(super) fn put(connection: &Connection, saved: &SavedHealth) -> rusqlite::Result<()> {
    let json = serde_json::to_string(&wire(saved)).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    let mut statement =
        connection.prepare_cached("INSERT OR REPLACE INTO health (farm, server, json) VALUES (?1, ?2, ?3)")?;
    statement.execute(params![number(saved.server.farm.0), number(saved.server.server.0), json])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, server: ServerKey) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM health WHERE farm = ?1 AND server = ?2")?;
    statement.execute(params![number(server.farm.0), number(server.server.0)])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<SavedHealth>> {
    let mut statement = connection.prepare("SELECT farm, server, json FROM health ORDER BY farm, server")?;
    let rows = statement.query_map([], |row| {
        let server = ServerKey { farm: FarmId(unsigned(row.get(0)?)), server: ServerId(unsigned(row.get(1)?)) };
        let json: String = row.get(2)?;
        Ok(serde_json::from_str(&json).ok().and_then(|wire| saved(server, wire)))
    })?;
    rows.filter_map(Result::transpose).collect()
}

fn wire(saved: &SavedHealth) -> HealthWire {
    let SavedHealth { fingerprint, health, since, agent, agent_since, changes, .. } = saved;
    let SavedHealth { held_since, held_until, ejected, warm_since, decided_by, .. } = saved;
    let brief = |brief: &CheckBrief| BriefWire {
        slot: brief.slot.0,
        status: brief.status.as_str().to_owned(),
        code: brief.code,
        at_us: brief.at.0,
        duration_us: u64::try_from(brief.duration.as_micros()).unwrap_or(u64::MAX),
    };
    HealthWire {
        fingerprint: *fingerprint,
        health: health.as_str().to_owned(),
        since_us: since.0,
        agent: agent.as_deref().map(AgentWire::of),
        agent_since_us: agent_since.map(|at| at.0),
        changes_us: changes.iter().map(|at| at.0).collect(),
        held_since_us: held_since.map(|at| at.0),
        held_until_us: held_until.map(|at| at.0),
        ejected: ejected.map(|Ejection { since, until, errors, kind, times }| EjectionWire {
            since_us: since.0,
            until_us: until.0,
            errors,
            kind: kind.as_str().to_owned(),
            times,
        }),
        warm_since_us: warm_since.map(|at| at.0),
        decided_by: decided_by.iter().map(brief).collect(),
    }
}

fn saved(server: ServerKey, wire: HealthWire) -> Option<SavedHealth> {
    let brief = |brief: &BriefWire| {
        let duration = std::time::Duration::from_micros(brief.duration_us);
        let status = CheckStatus::parse(&brief.status)?;
        Some(CheckBrief { slot: ProbeSlot(brief.slot), status, code: brief.code, at: Timestamp(brief.at_us), duration })
    };
    let ejection = |ejection: EjectionWire| {
        let EjectionWire { since_us, until_us, errors, kind, times } = ejection;
        let kind = TrafficFault::parse(&kind)?;
        Some(Ejection { since: Timestamp(since_us), until: Timestamp(until_us), errors, kind, times })
    };
    Some(SavedHealth {
        server,
        fingerprint: wire.fingerprint,
        health: Health::parse(&wire.health)?,
        since: Timestamp(wire.since_us),
        agent: wire.agent.map(|agent| Arc::new(agent.says())),
        agent_since: wire.agent_since_us.map(Timestamp),
        changes: wire.changes_us.into_iter().map(Timestamp).collect(),
        held_since: wire.held_since_us.map(Timestamp),
        held_until: wire.held_until_us.map(Timestamp),
        ejected: wire.ejected.and_then(ejection),
        warm_since: wire.warm_since_us.map(Timestamp),
        decided_by: wire.decided_by.iter().filter_map(brief).collect(),
    })
}
