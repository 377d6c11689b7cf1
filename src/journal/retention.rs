//! What is too old or too much goes, the oldest first, in steps so small that nothing waits for them.
//!
//! By age: history, then evidence and events. By size, once the file is larger than it may be: history first, since it
//! is the largest and the least missed, then evidence, then events. The newest event stays, so that ids go on growing.
//! Rows are in the order in which they came; what a clock that stood in the future made stays until the size or its
//! time takes it, and what a clock that jumps ahead makes old goes.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::model::Timestamp;
use crate::model::settings::JournalLimits;

use super::layout::LOG_BYTES_MAX;
use super::{number, unsigned};

/// Rows that one step takes of one table.
pub(super) const STEP_ROWS: usize = 500;
/// Pages that one step gives back to the system.
const STEP_PAGES: usize = 1000;
/// Free pages that are kept for what comes.
const FREE_PAGES_KEPT: u64 = 1000;

const OLD_BLOCKS: &str = "DELETE FROM block WHERE id IN (
    SELECT id FROM (SELECT id, to_us FROM block ORDER BY id LIMIT ?2) WHERE to_us < ?1)";
const OLD_EVIDENCE: &str = "DELETE FROM evidence WHERE id IN (
    SELECT id FROM (SELECT id, at_us FROM evidence ORDER BY id LIMIT ?2) WHERE at_us < ?1)";
const OLD_EVENTS: &str = "DELETE FROM event WHERE id IN (
    SELECT id FROM event WHERE at_us < ?1 AND id < (SELECT max(id) FROM event) ORDER BY at_us LIMIT ?2)";

/// Does one step. Returns whether there is more to do.
pub(super) fn step(connection: &Connection, limits: &JournalLimits, now: Timestamp) -> rusqlite::Result<bool> {
    let before = |age: Duration| number(now.0.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX)));
    let mut is_behind = false;
    for (sql, age) in [(OLD_BLOCKS, limits.history), (OLD_EVIDENCE, limits.timeline), (OLD_EVENTS, limits.timeline)] {
        is_behind |= delete(connection, sql, before(age))? == STEP_ROWS;
    }
    is_behind |= shrink(connection, limits.bytes_max)?;
    Ok(is_behind)
}

/// Takes the oldest of what is missed least while the file is too large. Returns whether there may be more to take: what
/// is left at last is not to go, however large it is.
fn shrink(connection: &Connection, bytes_max: u64) -> rusqlite::Result<bool> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map(unsigned);
    let (pages, free, page_bytes) = (pragma("page_count")?, pragma("freelist_count")?, pragma("page_size")?);
    // The log beside the file counts too.
    let file_bytes_max = bytes_max.saturating_sub(LOG_BYTES_MAX).max(bytes_max / 2);
    let pages_max = file_bytes_max / page_bytes.max(1);
    let is_too_large = pages - free.min(pages) > pages_max;
    let mut has_taken = false;
    for sql in [OLD_BLOCKS, OLD_EVIDENCE, OLD_EVENTS] {
        has_taken = has_taken || (is_too_large && delete(connection, sql, i64::MAX)? > 0);
    }
    if free > FREE_PAGES_KEPT || (pages > pages_max && free > 0) {
        give_back(connection)?;
    }
    Ok(has_taken)
}

fn delete(connection: &Connection, sql: &str, before: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params![before, i64::try_from(STEP_ROWS).unwrap_or(i64::MAX)])
}

fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
