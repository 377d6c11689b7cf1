//! What is told of writes: events, one an object.

use std::sync::Arc;

use crate::model::{Act, Declaration, EditKind, EventKind, FieldChange, ObjectKind, StagedKey};
use crate::objects::staging::Difference;
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

fn field_change((key, before, after): (String, Option<String>, Option<String>)) -> FieldChange {
    FieldChange { key: key.into(), before: before.map(Into::into), after: after.map(Into::into) }
}

/// Returns what is told of staged changes that a live write won over.
pub(super) fn lost(live: &World, difference: &Difference, path: &[String], act: &Act) -> Vec<EventKind> {
    let note = |key: &StagedKey| {
        let (id, keys) = match key {
            StagedKey::Object(id) => (*id, Vec::new()),
            StagedKey::Field(server, field) => (server.server.into(), vec![field.as_str()]),
        };
        let object = live.made().get(id).map_or(ObjectKind::Server, |it| it.kind);
        let path = if path.is_empty() { live.path(id).unwrap_or_default() } else { path.to_vec() };
        let path = form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>()).into();
        let field = |key: &str| FieldChange { key: key.into(), before: None, after: None };
        let fields = keys.into_iter().map(field).collect();
        EventKind::Edited { object, id, path, edit: EditKind::Overtaken, fields, act: act.clone() }
    };
    difference.lost.iter().map(note).collect()
}
