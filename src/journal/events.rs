//! Events, in the one schema, by id, time, server and farm.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::feed;
use crate::model::{Event, Timestamp};
use crate::store::{EventQuery, Order, RecordedEvent};

use super::{number, unsigned};

pub(super) fn put(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    let farms = feed::farms(&event.kind);
    let farm = (farms.len() == 1).then(|| number(farms[0].0));
    let server = event.kind.server().map(|key| number(key.server.0));
    let mut statement = connection
        .prepare_cached("INSERT OR REPLACE INTO event (id, at_us, farm, server, json) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    statement.execute(params![number(event.id), number(event.at.0), farm, server, feed::json(event)])?;
    if farms.len() > 1 {
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO event_farms (farm, event) VALUES (?1, ?2)")?;
        for farm in farms {
            statement.execute(params![number(farm.0), number(event.id)])?;
        }
    }
    Ok(())
}

/// Returns the largest id that was given out: a receiver's cursor may be all that is left of it.
pub(super) fn last_id(connection: &Connection) -> rusqlite::Result<u64> {
    let largest = "SELECT max(
        (SELECT last_id FROM process),
        coalesce((SELECT max(id) FROM event), 0), coalesce((SELECT max(event) FROM cursor), 0))";
    connection.query_row(largest, [], |row| row.get(0)).map(unsigned)
}

pub(super) fn find(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<RecordedEvent>> {
    let EventQuery { server, farm, after, since, until, order, limit } = *query;
    let mut sql = "SELECT id, at_us, json FROM event WHERE TRUE".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut also = |condition: &str, value: u64| {
        values.push(number(value).into());
        // Writing to a text cannot fail.
        let _ = write!(sql, " AND {}", condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(server) = server {
        also("server = ?", server.server.0);
        also("farm = ?", server.farm.0);
    }
    if let Some(farm) = farm {
        also("(farm = ? OR id IN (SELECT event FROM event_farms WHERE farm = ?))", farm.0);
    }
    if let Some(after) = after {
        also("id > ?", after);
    }
    if let Some(since) = since {
        also("at_us >= ?", since.0);
    }
    if let Some(until) = until {
        also("at_us <= ?", until.0);
    }
    sql += match order {
        Order::NewestFirst => " ORDER BY id DESC LIMIT ",
        Order::OldestFirst => " ORDER BY id LIMIT ",
    };
    sql += &i64::try_from(limit).unwrap_or(i64::MAX).to_string();
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let json: Arc<str> = row.get::<_, String>(2)?.into();
        Ok(RecordedEvent { id: unsigned(row.get(0)?), at: Timestamp(unsigned(row.get(1)?)), json })
    })?;
    rows.collect()
}
