//! What is staged for each zone, refreshes, and the tasks that they are.

use std::sync::Arc;

use super::credential::Known;
use super::error::Refusal;
use super::fields::{self, Purpose, REFRESH};
use super::filter::Query;
use super::path::Kind;
use super::wire;
use super::write::EVERY_ZONE;
use crate::admin::call::{AdminState, Call};
use crate::admin::error::AdminError;
use crate::model::{Access, Task, Timestamp};
use crate::objects::View;

/// What a refresh is called.
const REFRESH_ACTION: &str = "refreshIplb";
/// The words of `TaskActionEnum`.
const ACTIONS: &[&str] = &[
    "deleteIplb",
    "deployIplb",
    "install",
    "installIplb",
    "installZone",
    "orderFreeCertificate",
    "orderPaidCertificate",
    "orderSsl",
    "refreshIplb",
    "releaseIplb",
    "releaseIplbZone",
    "reopenIplb",
    "suspendIplb",
    "suspendZone",
    "switchToIplbNextGenerationApi",
    "vrackAttach",
    "vrackDetach",
];
/// The words of `TaskStatusEnum`.
const STATUSES: &[&str] = &["blocked", "cancelled", "doing", "done", "error", "todo"];

/// Returns the zones that something waits for; none: everything is live.
pub(super) fn pending(view: &View) -> Vec<wire::Pending> {
    view.pending().into_iter().map(|(zone, number)| wire::Pending { zone: zone.to_owned(), number }).collect()
}

/// Returns the ids of the tasks that a query asks for.
///
/// # Errors
/// [`AdminError::BadValue`] for a filter that is none.
pub(super) fn ids(view: &View, query: &Query) -> Result<Vec<u64>, AdminError> {
    let (action, status) = (query.one_of("action", ACTIONS)?, query.one_of("status", STATUSES)?);
    let (made_from, made_to) = (query.moment("creationDate.from")?, query.moment("creationDate.to")?);
    let (done_from, done_to) = (query.moment("doneDate.from")?, query.moment("doneDate.to")?);
    let is_within = |at: Timestamp, from: Option<Timestamp>, to: Option<Timestamp>| {
        from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to)
    };
    let is_asked_for = |task: &&Task| {
        let is_done_then = match task.done_at {
            Some(at) => is_within(at, done_from, done_to),
            None => done_from.is_none() && done_to.is_none(),
        };
        action.is_none_or(|want| Some(want) == action_of(task))
            && status.is_none_or(|want| want == task.status.as_str())
            && is_within(task.created_at, made_from, made_to)
            && is_done_then
    };
    let known = view.tasks.iter().filter(|task| action_of(task).is_some());
    Ok(known.filter(is_asked_for).map(|task| task.id.0).collect())
}

/// Returns a task.
pub(super) fn task(view: &View, zone: &str, id: &str) -> Option<wire::Task> {
    // By id, and no other digits are the same one.
    let wanted = id.parse().ok().filter(|wanted: &u64| wanted.to_string() == id)?;
    let at = view.tasks.binary_search_by_key(&wanted, |task| task.id.0).ok()?;
    wire_of(&view.tasks[at], zone)
}

/// Begins to make live what is staged, for one zone or for all.
///
/// # Errors
/// [`Refusal`]: a zone that is none, or a credential that may not.
pub(super) async fn refresh(state: &AdminState, call: &Call, known: &Known) -> Result<wire::Task, Refusal> {
    known.caller.needs(Access::Operate)?;
    let body = fields::read(&call.body, Kind::Http, REFRESH, Purpose::Change)?;
    let view = state.objects.view();
    let own = view.ahead.of_file().service.zone.clone();
    let wanted = body.get("zone").and_then(serde_json::Value::as_str).filter(|zone| !zone.is_empty());
    let wanted = wanted.filter(|zone| !zone.eq_ignore_ascii_case(EVERY_ZONE));
    if let Some(zone) = wanted.filter(|zone| !zone.eq_ignore_ascii_case(own.as_str())) {
        return Err(fields::outside("zone", format!("{zone:?}"), &format!("{EVERY_ZONE}, {own}")).into());
    }
    let zones: Option<Vec<Box<str>>> = wanted.map(|_| vec![own.as_str().into()]);
    known.caller.may_refresh(&view, zones.as_deref())?;
    let (objects, act) = (Arc::clone(&state.objects), known.caller.act(call, None));
    let begun = tokio::task::spawn_blocking(move || objects.refresh(zones.as_deref(), REFRESH_ACTION, &act));
    let task = begun.await.map_err(|_| Refusal::bug())??;
    tracing::info!(
        request_id = call.request_id,
        actor = %known.caller.grant.name,
        source = %call.peer,
        task = task.id.0,
        "refresh accepted"
    );
    wire_of(&task, own.as_str()).ok_or_else(Refusal::bug)
}

/// Returns the vendor's word for what a task does; none for tasks that it does not know.
fn action_of(task: &Task) -> Option<&'static str> {
    if task.is_refresh {
        return Some(REFRESH_ACTION);
    }
    ACTIONS.iter().copied().find(|action| *action == &*task.action)
}

fn wire_of(task: &Task, own: &str) -> Option<wire::Task> {
    let mut zones: Vec<String> = task.zones.iter().map(ToString::to_string).collect();
    if zones.is_empty() {
        zones.push(own.to_owned());
    }
    Some(wire::Task {
        id: task.id.0,
        action: action_of(task)?.to_owned(),
        status: task.status.as_str(),
        progress: task.progress,
        zones,
        creation_date: task.created_at.to_string(),
        done_date: task.done_at.map(|at| at.to_string()),
    })
}
