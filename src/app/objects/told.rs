//! What is told of writes and refreshes: events, one an object and one a refresh at its beginning and its end.

use std::sync::Arc;

use crate::clock;
use crate::model::{
    Act, Declaration, EditKind, EventKind, Field, FieldChange, ObjectKind, RefreshPhase, ServerKey, StagedKey, Task,
    Wish,
};
use crate::objects::overtaken::Overtaken;
use crate::objects::staging::{Difference, Staging};
use crate::objects::{Change, World, form};

/// Returns what is told of changes: one event an object. `told_as`: rather than what became of each.
pub(super) fn notes(
    before: &World,
    after: &World,
    changes: &[Change],
    told_as: Option<EditKind>,
    act: &Act,
) -> Vec<EventKind> {
    let note = |change: &Change| {
        let id = change.id();
        let (was, is) = (before.made().get(id), after.made().get(id));
        let (edit, object) = match (was, is) {
            (None, Some(is)) => (EditKind::Created, is.kind),
            (Some(_), Some(is)) => (EditKind::Changed, is.kind),
            (was, None) => (EditKind::Deleted, was?.kind),
        };
        let form_of = |it: Option<&Arc<Declaration>>| it.map_or_else(|| "{}".into(), |it| Arc::clone(&it.form));
        let fields = form::differences(&form_of(was), &form_of(is)).into_iter().map(field_change).collect();
        let path = if is.is_some() { after.path(id) } else { before.path(id) }.unwrap_or_default();
        let path = form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>()).into();
        Some(EventKind::Edited { object, id, path, edit: told_as.unwrap_or(edit), fields, act: act.clone() })
    };
    changes.iter().filter_map(note).collect()
}

/// Returns what is told of values of servers that are staged; `live`: what a field is now.
pub(super) fn wished(
    world: &World,
    staged: &Staging,
    wishes: &[(ServerKey, Wish)],
    live: impl Fn(ServerKey, Field) -> Option<Wish>,
    act: &Act,
) -> Vec<EventKind> {
    let note = |(server, wish): &(ServerKey, Wish)| {
        let (id, field) = (server.server.into(), wish.field());
        let before = staged.wish(*server, field).or_else(|| live(*server, field));
        let json = |wish: Wish| match wish {
            Wish::Admin(status) => format!("\"{}\"", status.as_str()).into_boxed_str(),
            Wish::Weight(weight) => weight.0.to_string().into_boxed_str(),
        };
        let change = FieldChange { key: field.as_str().into(), before: before.map(json), after: Some(json(*wish)) };
        let path = world.path(id).unwrap_or_default();
        EventKind::Edited {
            object: ObjectKind::Server,
            id,
            path: form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>()).into(),
            edit: EditKind::Staged,
            fields: vec![change],
            act: act.clone(),
        }
    };
    wishes.iter().map(note).collect()
}

/// Returns what is told of a refresh.
pub(super) fn refresh(task: &Task, phase: RefreshPhase) -> EventKind {
    EventKind::Refresh { task: task.id, zones: task.zones.clone(), phase, act: task.act.clone() }
}

fn field_change((key, before, after): (String, Option<String>, Option<String>)) -> FieldChange {
    FieldChange { key: key.into(), before: before.map(Into::into), after: after.map(Into::into) }
}

/// Returns what is told of staged changes that a live write won over. `worlds`: what was live and what was to be.
pub(super) fn lost(worlds: [&World; 2], difference: &Difference, act: &Act) -> Vec<EventKind> {
    let note = |key: &StagedKey| {
        let (id, keys) = match key {
            StagedKey::Object(id) => (*id, Vec::new()),
            StagedKey::Field(server, field) => (server.server.into(), vec![field.as_str()]),
        };
        let object = worlds.iter().find_map(|world| world.made().get(id)).map_or(ObjectKind::Server, |it| it.kind);
        let path = worlds.iter().find_map(|world| world.path(id)).unwrap_or_default();
        let path = form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>()).into();
        let field = |key: &str| FieldChange { key: key.into(), before: None, after: None };
        let fields = keys.into_iter().map(field).collect();
        EventKind::Edited { object, id, path, edit: EditKind::Overtaken, fields, act: act.clone() }
    };
    difference.lost.iter().map(note).collect()
}

/// Logs staged changes that were dropped.
pub(super) fn log_dropped(dropped: &[Overtaken]) {
    for Overtaken { object, path, why, .. } in dropped {
        tracing::warn!(object = object.as_str(), path, why, "staged change dropped");
    }
}

/// Returns what is told of staged changes that can never be, by what is live now.
pub(super) fn overtaken(dropped: &[Overtaken], act: &Act) -> Vec<EventKind> {
    let note = |it: &Overtaken| {
        let (id, key) = match it.key {
            StagedKey::Object(id) => (id, None),
            StagedKey::Field(server, field) => (server.server.into(), Some(field.as_str())),
        };
        let fields = key.into_iter().map(|key| FieldChange { key: key.into(), before: None, after: None });
        EventKind::Edited {
            object: it.object,
            id,
            path: it.path.as_str().into(),
            edit: EditKind::Overtaken,
            fields: fields.collect(),
            act: Act { reason: Some(it.why.as_str().into()), ..act.clone() },
        }
    };
    dropped.iter().map(note).collect()
}

/// Returns the act of this process itself, on reading `source`.
pub(super) fn own_act(source: &str) -> Act {
    Act { actor: "farmgate".into(), source: source.into(), reason: None, at: clock::wall() }
}
