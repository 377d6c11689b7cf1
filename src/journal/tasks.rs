//! Tasks of APIs: accepted, under way, ended.

use rusqlite::{Connection, Row, Transaction, params};

use crate::model::{Task, TaskId, TaskStatus, Timestamp};

use super::objects::{act, unknown};
use super::{number, unsigned};

const COLUMNS: &str =
    "id, action, refreshes, status, zones, progress, created_us, done_us, failure, actor, source, reason, at_us";

/// Returns every task, by id.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Task>> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM task ORDER BY id"))?;
    statement.query_map([], read)?.collect()
}

/// Keeps and forgets tasks, as part of a transaction.
pub(super) fn commit(transaction: &Transaction<'_>, tasks: &[Task], forgotten: &[TaskId]) -> rusqlite::Result<()> {
    for id in forgotten {
        transaction.prepare_cached("DELETE FROM task WHERE id = ?1")?.execute([number(id.0)])?;
    }
    for task in tasks {
        let mut statement = transaction.prepare_cached(&format!(
            "INSERT OR REPLACE INTO task ({COLUMNS})
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        ))?;
        statement.execute(params![
            number(task.id.0),
            &*task.action,
            task.is_refresh,
            task.status.as_str(),
            task.zones.join("\n"),
            task.progress,
            number(task.created_at.0),
            task.done_at.map(|at| number(at.0)),
            task.failure.as_deref(),
            &*task.act.actor,
            &*task.act.source,
            task.act.reason.as_deref(),
            number(task.act.at.0),
        ])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Task> {
    let status: String = row.get(3)?;
    let zones: String = row.get(4)?;
    Ok(Task {
        id: TaskId(unsigned(row.get(0)?)),
        action: row.get::<_, String>(1)?.into(),
        is_refresh: row.get(2)?,
        status: TaskStatus::parse(&status).ok_or_else(|| unknown(3))?,
        zones: zones.lines().map(Into::into).collect(),
        progress: row.get(5)?,
        created_at: Timestamp(unsigned(row.get(6)?)),
        done_at: row.get::<_, Option<i64>>(7)?.map(|at| Timestamp(unsigned(at))),
        failure: row.get::<_, Option<String>>(8)?.map(Into::into),
        act: act(row, 9)?,
    })
}
