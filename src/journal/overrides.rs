//! What must be on disk when the call returns: overrides, and how far receivers are.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::model::{
    Act, AdminStatus, FarmId, Field, Leftovers, Override, ServerId, ServerKey, Terms, Timestamp, Weight, Wish,
};
use crate::store::SavedOverride;

use super::{number, unsigned};

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<SavedOverride>> {
    let mut statement = connection.prepare(
        "SELECT farm, server, field, value, declared, actor, source, reason, at_us, until_us, deadline_us, at_deadline
            FROM override",
    )?;
    let rows = statement.query_map([], read)?;
    // A row of a field or value that this build does not know is left alone.
    rows.filter_map(Result::transpose).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<SavedOverride>> {
    let text = |n| row.get::<_, String>(n);
    let time = |n| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(n)?.map(|n| Timestamp(unsigned(n))));
    let field = text(2)?;
    let act = Act {
        actor: text(5)?.into(),
        source: text(6)?.into(),
        reason: row.get::<_, Option<String>>(7)?.map(Into::into),
        at: Timestamp(unsigned(row.get(8)?)),
    };
    let at_deadline = row.get::<_, Option<String>>(11)?.as_deref().and_then(Leftovers::parse);
    let terms = Terms { until: time(9)?, deadline: time(10)?, at_deadline };
    let server = ServerKey { farm: FarmId(unsigned(row.get(0)?)), server: ServerId(unsigned(row.get(1)?)) };
    let values = wish(&field, &text(3)?).zip(wish(&field, &text(4)?));
    Ok(values.map(|(wish, declared)| SavedOverride { server, made: Override { wish, declared, terms, act } }))
}

pub(super) fn put(connection: &Connection, saved: &SavedOverride) -> rusqlite::Result<()> {
    let Override { wish, declared, terms, act } = &saved.made;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO override
            (farm, server, field, value, declared, actor, source, reason, at_us, until_us, deadline_us, at_deadline)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    statement.execute(params![
        number(saved.server.farm.0),
        number(saved.server.server.0),
        wish.field().as_str(),
        wish.to_string(),
        declared.to_string(),
        &*act.actor,
        &*act.source,
        act.reason.as_deref(),
        number(act.at.0),
        terms.until.map(|at| number(at.0)),
        terms.deadline.map(|at| number(at.0)),
        terms.at_deadline.map(Leftovers::as_str),
    ])?;
    Ok(())
}

pub(super) fn drop_all(connection: &mut Connection, fields: &[(ServerKey, Field)]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    drop_in(&transaction, fields)?;
    transaction.commit()
}

/// Forgets overrides as part of a transaction.
pub(super) fn drop_in(transaction: &Transaction<'_>, fields: &[(ServerKey, Field)]) -> rusqlite::Result<()> {
    for (server, field) in fields {
        transaction.execute(
            "DELETE FROM override WHERE farm = ?1 AND server = ?2 AND field = ?3",
            params![number(server.farm.0), number(server.server.0), field.as_str()],
        )?;
    }
    Ok(())
}

pub(super) fn cursor(connection: &Connection, receiver: &str) -> rusqlite::Result<Option<u64>> {
    let found = connection.query_row("SELECT event FROM cursor WHERE receiver = ?1", [receiver], |row| row.get(0));
    Ok(found.optional()?.map(unsigned))
}

pub(super) fn put_cursor(connection: &Connection, receiver: &str, event: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO cursor (receiver, event) VALUES (?1, ?2)")?;
    statement.execute(params![receiver, number(event)])?;
    Ok(())
}

fn wish(field: &str, value: &str) -> Option<Wish> {
    match field {
        "status" => AdminStatus::parse(value).map(Wish::Admin),
        "weight" => value.parse().ok().and_then(Weight::new).map(Wish::Weight),
        _ => None,
    }
}
