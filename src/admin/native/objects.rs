//! Farms, servers and frontends made, changed and removed; what is staged, refreshes and tasks.
//!
//! A body is what the config file would say, as JSON: `POST` names it with `name`, `PUT` says it whole, `PATCH` merges
//! into it (RFC 7396). `?stage=ZONE` keeps a write for the refresh of that zone. An `ETag` is of what is declared, not of
//! what checks and traffic make of it; `If-Match` has a write refused if that changed. Reading, comparing and writing are
//! one step. Blocking work is done on a thread of its own.

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};

use crate::clock;
use crate::model::{Act, FarmId, FrontendId, Name, ObjectId, ServerId, StagedChange, Task};
use crate::objects::whole::{self, Maker};
use crate::objects::{Desk, Edit, EditError, Edited, Objects, View, When, World, form};
use crate::store::Snapshot;

use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;

use super::error::Failure;
use super::query::Query;
use super::route::{Read, Route};
use super::wire::{PendingWire, RefreshOrder, StagedList, StagedWire, TaskList, TaskWire, WrittenWire};
use super::{Made, answered, encode, farm_of, from_wire, frontend_of, json, rows_of, to_wire};

/// What an object made by this shape is marked with.
const SHAPE: &str = "native";
/// What a refresh is called in a task.
const REFRESH: &str = "refresh";

/// What is written.
#[derive(Clone, Debug)]
enum Target {
    Farm(Box<str>),
    Farms,
    Frontend(Box<str>),
    Frontends,
    Server(Box<str>, Box<str>),
    Servers(Box<str>),
}

/// How it is written.
#[derive(Clone, Debug)]
enum Verb {
    Create(Name, Map<String, Value>),
    Delete,
    Merge(Map<String, Value>),
    Replace(Map<String, Value>),
}

/// Carries a write of an object out.
pub(super) async fn write(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    route: Route<'_>,
    query: &Query,
) -> Result<Response, Failure> {
    let target = match route {
        Route::Read(Read::Farm { farm }) => Target::Farm(farm.into()),
        Route::Read(Read::Farms) => Target::Farms,
        Route::Read(Read::Frontend { frontend }) => Target::Frontend(frontend.into()),
        Route::Read(Read::Frontends) => Target::Frontends,
        Route::Read(Read::Server { farm, server }) => Target::Server(farm.into(), server.into()),
        Route::Read(Read::Servers { farm }) => Target::Servers(farm.into()),
        Route::Read(_) | Route::Drain { .. } | Route::Replay { .. } | Route::Write(_) => return Err(Failure::bug()),
    };
    let verb = verb(call)?;
    allow(&state.objects.view(), caller, &target, &verb)?;
    let stage = query.get("stage").map(|zone| Name::parse(zone).map_err(|why| bad_zone(zone, why))).transpose()?;
    let wanted = if_match(&call.headers)?;
    let act = caller.act(call, None);
    let (objects, told) = (Arc::clone(&state.objects), (target.clone(), verb.clone()));
    let zone = stage.clone();
    let done = tokio::task::spawn_blocking(move || {
        let when = zone.as_ref().map_or(When::Live, |zone| When::Staged { zone: zone.as_str() });
        edit(&*objects, &target, &verb, wanted.as_deref(), when, &act)
    });
    let edited = done.await.map_err(|_| Failure::bug())?.map_err(Failure::from)?;
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.grant.name,
        source = %call.peer,
        method = %call.method,
        path = call.uri.path(),
        changes = edited.changes,
        staged = stage.as_ref().map(Name::as_str),
        "admin write"
    );
    answer(state, &told.0, &told.1, stage.as_ref(), edited)
}

/// Begins a refresh of what is staged.
pub(super) async fn refresh(state: &AdminState, call: &Call, caller: &Caller) -> Result<Response, Failure> {
    caller.may_change_all()?;
    let order: RefreshOrder =
        if call.body.is_empty() { RefreshOrder::default() } else { from_wire::parse(&call.body)? };
    let zones: Option<Vec<Box<str>>> = order.zones.map(|zones| zones.into_iter().map(Into::into).collect());
    let (objects, act) = (Arc::clone(&state.objects), caller.act(call, order.reason.as_deref()));
    let begun = tokio::task::spawn_blocking(move || objects.refresh(zones.as_deref(), REFRESH, &act));
    let task = begun.await.map_err(|_| Failure::bug())??;
    Ok(json(StatusCode::ACCEPTED, encode(&task_wire(&task))?.body))
}

/// Tells what is staged.
pub(super) fn staged(state: &AdminState) -> Result<Made, Failure> {
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

/// Tells the tasks.
pub(super) fn tasks(state: &AdminState) -> Result<Made, Failure> {
    encode(&TaskList { tasks: state.objects.view().tasks.iter().map(task_wire).collect() })
}

/// Tells one task.
pub(super) fn task(state: &AdminState, id: &str) -> Result<Made, Failure> {
    let view = state.objects.view();
    let found = view.tasks.iter().find(|task| task.id.to_string() == id);
    encode(&task_wire(found.ok_or_else(|| AdminError::NotFound { kind: "task", id: quoted(id) })?))
}

/// Returns the tag of what is declared of an object that can be written.
pub(super) fn etag(state: &AdminState, read: Read<'_>) -> Option<HeaderValue> {
    let target = match read {
        Read::Farm { farm } => Target::Farm(farm.into()),
        Read::Frontend { frontend } => Target::Frontend(frontend.into()),
        Read::Server { farm, server } => Target::Server(farm.into(), server.into()),
        Read::Credential { .. }
        | Read::Credentials
        | Read::Events
        | Read::Evidence { .. }
        | Read::Explain(_)
        | Read::Farms
        | Read::Frontends
        | Read::History { .. }
        | Read::Promote { .. }
        | Read::Servers { .. }
        | Read::Shadow { .. }
        | Read::Staged
        | Read::Status
        | Read::Task { .. }
        | Read::Tasks
        | Read::Timeline { .. } => return None,
    };
    tag_of(&state.objects.view().live, &target)
}

/// Refuses what a credential of some farms may not write: other farms, and what is no farm's.
fn allow(view: &View, caller: &Caller, target: &Target, verb: &Verb) -> Result<(), AdminError> {
    match (target, verb) {
        (Target::Farms, Verb::Create(name, _)) => caller.may_change(name),
        (Target::Farm(farm) | Target::Server(farm, _) | Target::Servers(farm), _) => {
            let named = |world: &World| Some(world.farm(farm_in(world, farm).ok()?)?.name.clone());
            let name = named(&view.live).or_else(|| named(&view.ahead));
            // One that does not exist is told so.
            name.map_or(Ok(()), |name| caller.may_change(&name))
        }
        (Target::Farms | Target::Frontend(_) | Target::Frontends, _) => caller.may_change_all(),
    }
}

fn tag_of(world: &World, target: &Target) -> Option<HeaderValue> {
    let form = match target {
        Target::Farm(farm) => whole::farm(world, farm_in(world, farm).ok()?)?,
        Target::Frontend(frontend) => whole::frontend(world, frontend_in(world, frontend).ok()?)?,
        Target::Server(farm, server) => whole::server(world, server_in(world, farm, server).ok()?.1)?,
        Target::Farms | Target::Frontends | Target::Servers(_) => return None,
    };
    // FNV-1a: tags tell versions of one object apart, nobody gains by making two meet.
    let text = Value::Object(form).to_string();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    HeaderValue::from_str(&format!("\"{hash:016x}\"")).ok()
}

fn edit(
    objects: &dyn Objects,
    target: &Target,
    verb: &Verb,
    wanted: Option<&[String]>,
    when: When<'_>,
    act: &Act,
) -> Result<Edited, EditError> {
    let plan = |desk: &Desk<'_>| {
        let world = world_of(desk.view, when);
        if let Some(wanted) = wanted {
            let tag = tag_of(world, target);
            let is_it = |it: &String| it == "*" || tag.as_ref().is_some_and(|tag| tag.as_bytes() == it.as_bytes());
            if tag.is_none() || !wanted.iter().any(is_it) {
                return Err(EditError::Stale { path: path_of(target) });
            }
        }
        plan(desk, world, target, verb)
    };
    objects.edit(&plan, when, act)
}

fn world_of<'v>(view: &'v View, when: When<'_>) -> &'v World {
    match when {
        When::Live => &view.live,
        When::Staged { .. } => &view.ahead,
    }
}

fn plan(desk: &Desk<'_>, world: &World, target: &Target, verb: &Verb) -> Result<Vec<Edit>, EditError> {
    let maker = Maker { shape: SHAPE.into(), service: None, zone: None };
    match (target, verb) {
        (Target::Farms, Verb::Create(name, form)) => whole::create_farm(desk, &maker, name, form.clone()),
        (Target::Frontends, Verb::Create(name, form)) => whole::create_frontend(desk, &maker, name, form.clone()),
        (Target::Servers(farm), Verb::Create(name, form)) => {
            Ok(vec![whole::create_server(desk, &maker, farm_in(world, farm)?, name, form.clone())])
        }
        (Target::Farm(farm), verb) => {
            let id = farm_in(world, farm)?;
            match said(verb, whole::farm(world, id)) {
                Some(form) => whole::replace_farm(desk, world, &maker, id, form),
                None => Ok(vec![Edit::Delete { id: id.into() }]),
            }
        }
        (Target::Frontend(frontend), verb) => {
            let id = frontend_in(world, frontend)?;
            match said(verb, whole::frontend(world, id)) {
                Some(form) => whole::replace_frontend(desk, world, &maker, id, form),
                None => Ok(vec![Edit::Delete { id: id.into() }]),
            }
        }
        (Target::Server(farm, server), verb) => {
            let id: ObjectId = server_in(world, farm, server)?.1.into();
            let edit = said(verb, whole::server(world, ServerId(id.0)));
            Ok(vec![edit.map_or(Edit::Delete { id }, |form| whole::replaced(id, form))])
        }
        (Target::Farms | Target::Frontends | Target::Servers(_), Verb::Delete | Verb::Merge(_) | Verb::Replace(_)) => {
            Ok(Vec::new())
        }
    }
}

/// Returns what an object is to say; none: it is to go.
fn said(verb: &Verb, is: Option<Map<String, Value>>) -> Option<Map<String, Value>> {
    match verb {
        Verb::Create(_, form) | Verb::Replace(form) => Some(form.clone()),
        Verb::Delete => None,
        Verb::Merge(patch) => {
            let mut whole = is.unwrap_or_default();
            form::merge(&mut whole, patch);
            Some(whole)
        }
    }
}

fn answer(
    state: &AdminState,
    target: &Target,
    verb: &Verb,
    stage: Option<&Name>,
    edited: Edited,
) -> Result<Response, Failure> {
    if let Some(zone) = stage {
        let body = WrittenWire { changes: edited.changes, zone: zone.to_string(), revision: edited.revision };
        return Ok(json(StatusCode::ACCEPTED, encode(&body)?.body));
    }
    if matches!(verb, Verb::Delete) {
        let mut gone = json(StatusCode::NO_CONTENT, bytes::Bytes::new());
        gone.headers_mut().remove(header::CONTENT_TYPE);
        return Ok(gone);
    }
    let snapshot = state.store.snapshot(clock::wall());
    let (target, is_new) = match (target, verb) {
        (Target::Farms, Verb::Create(name, _)) => (Target::Farm(name.as_str().into()), true),
        (Target::Frontends, Verb::Create(name, _)) => (Target::Frontend(name.as_str().into()), true),
        (Target::Servers(farm), Verb::Create(name, _)) => (Target::Server(farm.clone(), name.as_str().into()), true),
        (other, _) => (other.clone(), false),
    };
    let mut response = shown(&snapshot, &target)?;
    if is_new {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(place) = HeaderValue::from_str(&place_of(&target)) {
            response.headers_mut().insert(header::LOCATION, place);
        }
    }
    if let Some(tag) = tag_of(&state.objects.view().live, &target) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn shown(snapshot: &Snapshot, target: &Target) -> Result<Response, Failure> {
    match target {
        Target::Farm(farm) => answered(&to_wire::farm(farm_of(snapshot, farm)?, snapshot.at)),
        Target::Frontend(frontend) => answered(&to_wire::frontend(snapshot, frontend_of(snapshot, frontend)?)),
        Target::Server(farm, server) => {
            let (farm, server) = rows_of(snapshot, (farm, server))?;
            answered(&to_wire::server(farm, server, snapshot.at))
        }
        Target::Farms | Target::Frontends | Target::Servers(_) => Err(Failure::bug()),
    }
}

fn verb(call: &Call) -> Result<Verb, Failure> {
    if call.method == Method::DELETE {
        return Ok(Verb::Delete);
    }
    let wrong = |why: &str| Failure::from(AdminError::BadBody(why.to_owned()));
    let Ok(Value::Object(mut form)) = serde_json::from_slice(&call.body) else {
        return Err(wrong("it is not an object; send what the config file would say, as JSON"));
    };
    let name = form.remove("name");
    match (call.method.as_str(), name) {
        ("POST", Some(Value::String(name))) => {
            let bound = |why: crate::model::id::NameError| AdminError::BadValue {
                field: "name",
                got: quoted(&name),
                bound: format!("what a name may be: it {why}"),
            };
            Ok(Verb::Create(Name::parse(&name).map_err(bound)?, form))
        }
        ("POST", _) => Err(AdminError::Missing("name").into()),
        (_, Some(_)) => Err(wrong("name is in the path and stays; send the rest")),
        ("PATCH", None) => Ok(Verb::Merge(form)),
        (_, None) => Ok(Verb::Replace(form)),
    }
}

/// Returns the tags of which one must be the object's; none: any will do.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<String>>, Failure> {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().map_err(|_| AdminError::BadBody("If-Match is not text".to_owned()))?;
        tags.extend(text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()));
    }
    Ok(if headers.contains_key(header::IF_MATCH) { Some(tags) } else { None })
}

fn farm_in(world: &World, farm: &str) -> Result<FarmId, EditError> {
    let by_id = || farm.parse().ok().map(FarmId).filter(|id| world.farm(*id).is_some());
    world.farm_named(farm).or_else(by_id).ok_or_else(|| unknown("farm", farm))
}

fn frontend_in(world: &World, frontend: &str) -> Result<FrontendId, EditError> {
    let by_id = || frontend.parse().ok().map(FrontendId).filter(|id| world.frontend(*id).is_some());
    world.frontend_named(frontend).or_else(by_id).ok_or_else(|| unknown("frontend", frontend))
}

fn server_in(world: &World, farm: &str, server: &str) -> Result<(FarmId, ServerId), EditError> {
    let id = farm_in(world, farm)?;
    let servers = world.farm(id).map(|farm| farm.servers.clone()).unwrap_or_default();
    let is_it = |it: &&Arc<crate::model::Server>| it.name.as_str() == server || it.id.to_string() == server;
    let found = servers.iter().find(is_it).ok_or_else(|| unknown("server", server))?;
    Ok((id, found.id))
}

fn unknown(kind: &'static str, name: &str) -> EditError {
    EditError::UnknownName { kind, name: quoted(name) }
}

fn path_of(target: &Target) -> String {
    match target {
        Target::Farm(farm) => form::key_path(&["farms", farm]),
        Target::Farms => "farms".to_owned(),
        Target::Frontend(frontend) => form::key_path(&["frontends", frontend]),
        Target::Frontends => "frontends".to_owned(),
        Target::Server(farm, server) => form::key_path(&["farms", farm, "servers", server]),
        Target::Servers(farm) => form::key_path(&["farms", farm, "servers"]),
    }
}

fn place_of(target: &Target) -> String {
    match target {
        Target::Farm(farm) => format!("/api/v1/farms/{farm}"),
        Target::Farms => "/api/v1/farms".to_owned(),
        Target::Frontend(frontend) => format!("/api/v1/frontends/{frontend}"),
        Target::Frontends => "/api/v1/frontends".to_owned(),
        Target::Server(farm, server) => format!("/api/v1/farms/{farm}/servers/{server}"),
        Target::Servers(farm) => format!("/api/v1/farms/{farm}/servers"),
    }
}

fn bad_zone(zone: &str, why: impl std::fmt::Display) -> Failure {
    let bound = format!("the name of a zone: it {why}");
    AdminError::BadValue { field: "stage", got: quoted(zone), bound }.into()
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
