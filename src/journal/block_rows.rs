//! The blocks of the history that are on disk.

use rusqlite::{Connection, params};

use crate::model::Timestamp;

use super::blocks::Series;
use super::history::Block;
use super::{number, unsigned};

pub(super) fn put(connection: &Connection, series: Series, block: &Block) -> rusqlite::Result<()> {
    let (server, slot) = series;
    let whose = params![number(server.server.0), number(server.farm.0), slot.0];
    connection
        .prepare_cached("INSERT OR IGNORE INTO series (server, farm, slot) VALUES (?1, ?2, ?3)")?
        .execute(whose)?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO block (series, from_us, to_us, checks, runs)
            SELECT id, ?4, ?5, ?6, ?7 FROM series WHERE server = ?1 AND farm = ?2 AND slot = ?3",
    )?;
    statement.execute(params![
        number(server.server.0),
        number(server.farm.0),
        slot.0,
        number(block.from.0),
        number(block.to.0),
        block.checks,
        block.runs,
    ])?;
    Ok(())
}

/// Returns the blocks that reach into that time, the oldest first.
pub(super) fn find(
    connection: &Connection,
    series: Series,
    since: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Vec<Block>> {
    let (server, slot) = series;
    let mut statement = connection.prepare_cached(
        "SELECT from_us, to_us, checks, runs FROM block
            WHERE series = (SELECT id FROM series WHERE server = ?1 AND farm = ?2 AND slot = ?3)
                AND from_us <= ?5 AND to_us >= ?4
            ORDER BY from_us, id",
    )?;
    let (server, farm) = (number(server.server.0), number(server.farm.0));
    let rows = statement.query_map(params![server, farm, slot.0, number(since.0), number(until.0)], |row| {
        let time = |n| row.get::<_, i64>(n).map(|us| Timestamp(unsigned(us)));
        Ok(Block { from: time(0)?, to: time(1)?, checks: row.get(2)?, runs: row.get(3)? })
    })?;
    rows.collect()
}

/// Forgets the names of series that have no block any more.
pub(super) fn forget_unused(connection: &Connection) -> rusqlite::Result<()> {
    let unused = "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM block WHERE block.series = series.id)";
    connection.execute(unused, [])?;
    Ok(())
}
