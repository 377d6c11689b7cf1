//! Objects made through APIs, what is staged of them, and the ids that were given out. On disk when the call returns, and
//! whole: one transaction for whatever a write or a refresh comes to.

use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params};

use crate::model::{
    Act, AdminStatus, Declaration, FarmId, Field, Name, ObjectBatch, ObjectId, ObjectKind, SavedObjects, ServerId,
    ServerKey, Staged, StagedChange, StagedKey, Timestamp, Weight, Wish,
};

use crate::store::SavedOverride;

use super::{number, overrides, tasks, unsigned};

/// The columns of a declaration, in the order in which [`declaration`] reads them.
const DECLARATION: &str =
    "id, kind, name, parent, shape, service, zone, inert, form, extras, created_us, updated_us, version";

/// Returns everything that is kept. What this build does not know is an error: half of what APIs made is not served.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<SavedObjects> {
    let mut objects = connection.prepare(&format!("SELECT {DECLARATION} FROM object"))?;
    let made = objects.query_map([], |row| Ok(Arc::new(declaration(row, 0)?)))?.collect::<Result<_, _>>()?;
    let mut staged = connection.prepare(&format!(
        "SELECT key, farm, server, field, value, gone, zone_staged, writes, actor, source, reason, at_us, {DECLARATION}
            FROM staged"
    ))?;
    let staged = staged.query_map([], read_staged)?.collect::<Result<_, _>>()?;
    let (last_object, last_task) =
        connection.query_row("SELECT last_object, last_task FROM given", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(SavedObjects {
        made,
        staged,
        tasks: tasks::all(connection)?,
        last_object: unsigned(last_object),
        last_task: unsigned(last_task),
    })
}

/// Keeps a batch, whole or not at all.
pub(super) fn commit(connection: &mut Connection, batch: &ObjectBatch) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for id in &batch.deleted {
        transaction.prepare_cached("DELETE FROM object WHERE id = ?1")?.execute([number(id.0)])?;
    }
    for declaration in &batch.put {
        put(&transaction, declaration)?;
    }
    for key in &batch.unstaged {
        transaction.prepare_cached("DELETE FROM staged WHERE key = ?1")?.execute([key_text(*key)])?;
    }
    for staged in &batch.staged {
        stage(&transaction, staged)?;
    }
    overrides::drop_in(&transaction, &batch.overrides_ended)?;
    for (server, made) in &batch.overrides_made {
        overrides::put(&transaction, &SavedOverride { server: *server, made: made.clone() })?;
    }
    tasks::commit(&transaction, &batch.tasks, &batch.forgotten)?;
    let mut given = transaction
        .prepare_cached("UPDATE given SET last_object = max(last_object, ?1), last_task = max(last_task, ?2)")?;
    given.execute(params![number(batch.last_object), number(batch.last_task)])?;
    drop(given);
    transaction.commit()
}

fn put(transaction: &Transaction<'_>, it: &Declaration) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(&format!(
        "INSERT OR REPLACE INTO object ({DECLARATION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    ))?;
    statement.execute(params![
        number(it.id.0),
        it.kind.as_str(),
        it.name.as_str(),
        it.parent.map(|id| number(id.0)),
        &*it.shape,
        it.service.map(|id| number(id.0)),
        it.zone.as_deref(),
        it.is_inert,
        &*it.form,
        &*it.extras,
        number(it.created_at.0),
        number(it.updated_at.0),
        number(it.version),
    ])?;
    Ok(())
}

fn stage(transaction: &Transaction<'_>, staged: &Staged) -> rusqlite::Result<()> {
    let Staged { zone, change, writes, act } = staged;
    let (server, wish) = match change {
        StagedChange::Wish(server, wish) => (Some(*server), Some(*wish)),
        StagedChange::Delete(_) | StagedChange::Put(_) => (None, None),
    };
    let (id, it) = match change {
        StagedChange::Delete(id) => (Some(*id), None),
        StagedChange::Put(it) => (Some(it.id), Some(it)),
        StagedChange::Wish(..) => (None, None),
    };
    let mut statement = transaction.prepare_cached(&format!(
        "INSERT OR REPLACE INTO staged
            (key, farm, server, field, value, gone, zone_staged, writes, actor, source, reason, at_us, {DECLARATION})
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)"
    ))?;
    statement.execute(params![
        key_text(staged.key()),
        server.map(|key| number(key.farm.0)),
        server.map(|key| number(key.server.0)),
        wish.map(|wish| wish.field().as_str()),
        wish.map(|wish| wish.to_string()),
        matches!(change, StagedChange::Delete(_)),
        &**zone,
        *writes,
        &*act.actor,
        &*act.source,
        act.reason.as_deref(),
        number(act.at.0),
        id.map(|id| number(id.0)),
        it.map(|it| it.kind.as_str()),
        it.map(|it| it.name.as_str()),
        it.and_then(|it| it.parent).map(|id| number(id.0)),
        it.map(|it| &*it.shape),
        it.and_then(|it| it.service).map(|id| number(id.0)),
        it.and_then(|it| it.zone.as_deref()),
        it.map(|it| it.is_inert),
        it.map(|it| &*it.form),
        it.map(|it| &*it.extras),
        it.map(|it| number(it.created_at.0)),
        it.map(|it| number(it.updated_at.0)),
        it.map(|it| number(it.version)),
    ])?;
    Ok(())
}

fn read_staged(row: &Row<'_>) -> rusqlite::Result<Staged> {
    let is_gone: bool = row.get(5)?;
    let change = match row.get::<_, Option<String>>(3)? {
        Some(field) => {
            let server = ServerKey { farm: FarmId(unsigned(row.get(1)?)), server: ServerId(unsigned(row.get(2)?)) };
            StagedChange::Wish(server, wish(&field, &row.get::<_, String>(4)?).ok_or_else(|| unknown(4))?)
        }
        None if is_gone => StagedChange::Delete(ObjectId(unsigned(row.get(12)?))),
        None => StagedChange::Put(Arc::new(declaration(row, 12)?)),
    };
    let act = act(row, 8)?;
    Ok(Staged { zone: row.get::<_, String>(6)?.into(), change, writes: row.get(7)?, act })
}

/// Reads a declaration whose columns begin at `first`.
fn declaration(row: &Row<'_>, first: usize) -> rusqlite::Result<Declaration> {
    let text = |n: usize| row.get::<_, String>(first + n);
    let id =
        |n: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(first + n)?.map(|id| ObjectId(unsigned(id))));
    let time = |n: usize| Ok::<_, rusqlite::Error>(Timestamp(unsigned(row.get(first + n)?)));
    Ok(Declaration {
        id: id(0)?.ok_or_else(|| unknown(first))?,
        kind: ObjectKind::parse(&text(1)?).ok_or_else(|| unknown(first + 1))?,
        name: Name::parse(&text(2)?).map_err(|_| unknown(first + 2))?,
        parent: id(3)?,
        shape: text(4)?.into(),
        service: id(5)?,
        zone: row.get::<_, Option<String>>(first + 6)?.map(Into::into),
        is_inert: row.get(first + 7)?,
        form: text(8)?.into(),
        extras: text(9)?.into(),
        created_at: time(10)?,
        updated_at: time(11)?,
        version: unsigned(row.get(first + 12)?),
    })
}

/// Reads who did something, whose columns begin at `first`.
pub(super) fn act(row: &Row<'_>, first: usize) -> rusqlite::Result<Act> {
    Ok(Act {
        actor: row.get::<_, String>(first)?.into(),
        source: row.get::<_, String>(first + 1)?.into(),
        reason: row.get::<_, Option<String>>(first + 2)?.map(Into::into),
        at: Timestamp(unsigned(row.get(first + 3)?)),
    })
}

/// The error of a column that holds what this build does not know.
pub(super) fn unknown(column: usize) -> rusqlite::Error {
    let cause = "a value that this build does not know; run the build that wrote it";
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, cause.into())
}

fn key_text(key: StagedKey) -> String {
    match key {
        StagedKey::Field(ServerKey { farm, server }, field) => format!("{farm}/{server}/{}", field.as_str()),
        StagedKey::Object(id) => id.to_string(),
    }
}

fn wish(field: &str, value: &str) -> Option<Wish> {
    let field = Field::ALL.into_iter().find(|it| it.as_str() == field)?;
    match field {
        Field::Admin => AdminStatus::parse(value).map(Wish::Admin),
        Field::Weight => value.parse().ok().and_then(Weight::new).map(Wish::Weight),
    }
}
