//! What is staged, refreshes and tasks.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;

use crate::model::{StagedChange, Task, TaskStatus};
use crate::objects::{View, form};

use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::admin::native::error::Failure;
use crate::admin::native::query::Query;
use crate::admin::native::wire::{PendingWire, RefreshOrder, StagedList, StagedWire, TaskList, TaskWire};
use crate::admin::native::{Made, encode, from_wire, json};

use super::EVERY_ZONE;

/// What a refresh is called in a task.
const REFRESH: &str = "refresh";

/// Begins a refresh of what is staged.
pub(in crate::admin::native) async fn refresh(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
) -> Result<Response, Failure> {
    let order: RefreshOrder =
        if call.body.is_empty() { RefreshOrder::default() } else { from_wire::parse(&call.body)? };
    let view = state.objects.view();
    let zones = order.zones.map(|zones| zones_to_refresh(&view, zones)).transpose()?.flatten();
    caller.may_refresh(&view, zones.as_deref())?;
    let (objects, act) = (Arc::clone(&state.objects), caller.act(call, order.reason.as_deref()));
    let begun = tokio::task::spawn_blocking(move || objects.refresh(zones.as_deref(), REFRESH, &act));
    let task = begun.await.map_err(|_| Failure::bug())??;
    Ok(json(StatusCode::ACCEPTED, encode(&task_wire(&task))?.body))
}

/// Returns the zones that are to be refreshed; none: all. What waits for one that was there once can be refreshed too.
fn zones_to_refresh(view: &View, zones: Vec<String>) -> Result<Option<Vec<Box<str>>>, AdminError> {
    let mut known = vec![view.live.of_file().service.zone.as_str()];
    known.extend(view.pending().into_iter().map(|(zone, _)| zone).filter(|zone| *zone != known[0]).collect::<Vec<_>>());
    if let Some(zone) = zones.iter().find(|zone| *zone != EVERY_ZONE && !known.contains(&zone.as_str())) {
        return Err(unknown_zone("zones", zone, &known));
    }
    let is_all = zones.iter().any(|zone| zone == EVERY_ZONE);
    Ok((!is_all).then(|| zones.into_iter().map(Into::into).collect()))
}

/// Returns the refusal of a zone that is none.
pub(super) fn unknown_zone(field: &'static str, zone: &str, known: &[&str]) -> AdminError {
    AdminError::BadValue {
        field,
        got: format!("\"{}\"", quoted(zone)),
        bound: [&[EVERY_ZONE], known].concat().join(", "),
    }
}

/// Tells what is staged.
pub(in crate::admin::native) fn staged(state: &AdminState) -> Result<Made, Failure> {
    let view = state.objects.view();
    let one = |staged: &crate::model::Staged| {
        let (id, change) = match &staged.change {
            StagedChange::Delete(id) => (*id, "delete"),
            StagedChange::Put(declaration) => (declaration.id, "put"),
            StagedChange::Wish(server, wish) => (server.server.into(), wish.field().as_str()),
        };
        let path = view.ahead.path(id).or_else(|| view.live.path(id)).unwrap_or_default();
        StagedWire {
            id: id.0,
            path: form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>()),
            change: change.to_owned(),
            zone: staged.zone.to_string(),
            writes: staged.writes,
            actor: staged.act.actor.to_string(),
            at: staged.act.at.to_string(),
        }
    };
    let pending = view.pending().into_iter().map(|(zone, writes)| PendingWire { zone: zone.to_owned(), writes });
    encode(&StagedList { pending: pending.collect(), staged: view.staged.iter().map(one).collect() })
}

/// Tells the tasks that a query asks for.
pub(in crate::admin::native) fn tasks(state: &AdminState, query: &Query) -> Result<Made, Failure> {
    const STATUSES: [TaskStatus; 4] = [TaskStatus::Todo, TaskStatus::Doing, TaskStatus::Done, TaskStatus::Error];
    let (status, page) = (query.word("status", &STATUSES, |it| it.as_str())?, query.page()?);
    let view = state.objects.view();
    let is_wanted = |task: &&Task| status.is_none_or(|status| task.status == *status);
    let (total, tasks) = page.of(view.tasks.iter().filter(is_wanted).collect());
    encode(&TaskList { total, tasks: tasks.into_iter().map(task_wire).collect() })
}

/// Tells one task.
pub(in crate::admin::native) fn task(state: &AdminState, id: &str) -> Result<Made, Failure> {
    let view = state.objects.view();
    let found = view.tasks.iter().find(|task| task.id.to_string() == id);
    encode(&task_wire(found.ok_or_else(|| AdminError::NotFound { kind: "task", id: quoted(id) })?))
}

fn task_wire(task: &Task) -> TaskWire {
    TaskWire {
        id: task.id.0,
        action: task.action.to_string(),
        status: task.status.as_str().to_owned(),
        zones: task.zones.iter().map(ToString::to_string).collect(),
        progress: task.progress,
        created_at: task.created_at.to_string(),
        done_at: task.done_at.map(|at| at.to_string()),
        error: task.failure.as_deref().map(str::to_owned),
        actor: task.act.actor.to_string(),
    }
}
