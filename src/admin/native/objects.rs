//! Farms, servers, frontends, routes and certificates made, changed and removed.
//!
//! A body is what the config file would say, as JSON: `POST` names it with `name`, `PUT` says it whole, `PATCH` merges
//! into it (RFC 7396). `?stage=ZONE` keeps a write for the refresh of that zone. An `ETag` is of what is declared, not of
//! what checks and traffic make of it; `If-Match` has a write refused if that changed. Reading, comparing and writing are
//! one step. Blocking work is done on a thread of its own.

pub(super) mod certificates;
pub(super) mod told;

mod target;

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};

use crate::clock;
use crate::model::{Act, Name, ObjectId, ServerId};
use crate::objects::whole::{self, Maker};
use crate::objects::{Desk, Edit, EditError, Edited, Objects, View, When, World, form};
use crate::store::Snapshot;

use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::admin::secret;

use super::error::Failure;
use super::query::Query;
use super::route::{Read, Route};
use super::wire::WrittenWire;
use super::{answered, encode, farm_of, frontend_of, json, route_of, rows_of, to_wire};
use target::{Target, certificate_in, farm_in, frontend_in, route_in, server_in};

/// What an object made by this shape is marked with.
const SHAPE: &str = "native";

/// The zone of what is for every zone.
const EVERY_ZONE: &str = "all";

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
    let target = Target::of(route).ok_or_else(Failure::bug)?;
    let verb = verb(call)?;
    allow(&state.objects.view(), caller, &target, &verb)?;
    let stage = query.get("stage").map(|zone| zone_to_stage(&state.objects.view(), zone)).transpose()?;
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

/// Returns the tag of what is declared of an object that can be written.
pub(super) fn etag(state: &AdminState, read: Read<'_>) -> Option<HeaderValue> {
    let target = Target::of(Route::Read(read))?;
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
        (
            Target::Certificate(_)
            | Target::Certificates
            | Target::Farms
            | Target::Frontend(_)
            | Target::Frontends
            | Target::Route(..)
            | Target::Routes(_),
            _,
        ) => caller.may_change_all(),
    }
}

fn tag_of(world: &World, target: &Target) -> Option<HeaderValue> {
    let form = match target {
        Target::Certificate(certificate) => return certificates::tag(certificate_in(world, certificate).ok()?),
        Target::Farm(farm) => whole::farm(world, farm_in(world, farm).ok()?)?,
        Target::Frontend(frontend) => whole::frontend(world, frontend_in(world, frontend).ok()?)?,
        Target::Route(frontend, route) => {
            let (frontend, route) = route_in(world, frontend, route).ok()?;
            whole::route(world, frontend, route)?
        }
        Target::Server(farm, server) => whole::server(world, server_in(world, farm, server).ok()?.1)?,
        Target::Certificates | Target::Farms | Target::Frontends | Target::Routes(_) | Target::Servers(_) => {
            return None;
        }
    };
    // A form has its secrets, and whoever may read has everything else of it: no digest that he could compute too. Tags of
    // an earlier process are nobody's.
    HeaderValue::from_str(&format!("\"{}\"", secret::keyed(&Value::Object(form).to_string()))).ok()
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
                return Err(EditError::Stale { path: target.path() });
            }
        }
        plan(objects, desk, world, (target, verb))
    };
    objects.edit(&plan, when, act)
}

fn world_of<'v>(view: &'v View, when: When<'_>) -> &'v World {
    match when {
        When::Live => &view.live,
        When::Staged { .. } => &view.ahead,
    }
}

fn plan(
    objects: &dyn Objects,
    desk: &Desk<'_>,
    world: &World,
    (target, verb): (&Target, &Verb),
) -> Result<Vec<Edit>, EditError> {
    let maker = Maker { shape: SHAPE.into(), service: None, zone: None };
    match (target, verb) {
        (Target::Certificate(certificate), verb) => {
            let known = certificate_in(world, certificate)?;
            match said(verb, Some(form::object(&known.form))) {
                Some(form) => certificates::replace(known, form),
                None => certificates::delete(objects, desk.view, known),
            }
        }
        (Target::Certificates, Verb::Create(name, form)) => certificates::create(desk, &maker, name, form.clone()),
        (Target::Farms, Verb::Create(name, form)) => whole::create_farm(desk, &maker, name, form.clone()),
        (Target::Frontends, Verb::Create(name, form)) => whole::create_frontend(desk, &maker, name, form.clone()),
        (Target::Routes(frontend), Verb::Create(name, form)) => {
            whole::create_one_route(desk, world, &maker, frontend_in(world, frontend)?, name, form.clone())
        }
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
        (Target::Route(frontend, route), verb) => {
            let (frontend, id) = route_in(world, frontend, route)?;
            match said(verb, whole::route(world, frontend, id)) {
                Some(form) => whole::replace_one_route(desk, world, &maker, (frontend, id), form),
                None => Ok(vec![Edit::Delete { id: id.into() }]),
            }
        }
        (Target::Server(farm, server), verb) => {
            let id: ObjectId = server_in(world, farm, server)?.1.into();
            let edit = said(verb, whole::server(world, ServerId(id.0)));
            Ok(vec![edit.map_or(Edit::Delete { id }, |form| whole::replaced(id, form))])
        }
        (
            Target::Certificates | Target::Farms | Target::Frontends | Target::Routes(_) | Target::Servers(_),
            Verb::Delete | Verb::Merge(_) | Verb::Replace(_),
        ) => Ok(Vec::new()),
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
    let (target, is_new) = match verb {
        Verb::Create(name, _) => (target.named(name), true),
        Verb::Delete | Verb::Merge(_) | Verb::Replace(_) => (target.clone(), false),
    };
    let mut response = shown(state, &snapshot, &target)?;
    if is_new {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(place) = HeaderValue::from_str(&target.place()) {
            response.headers_mut().insert(header::LOCATION, place);
        }
    }
    if let Some(tag) = tag_of(&state.objects.view().live, &target) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn shown(state: &AdminState, snapshot: &Snapshot, target: &Target) -> Result<Response, Failure> {
    let made = &snapshot.made;
    match target {
        Target::Certificate(certificate) => answered(&certificates::one(state, certificate, snapshot.at)?),
        Target::Farm(farm) => answered(&to_wire::farm(farm_of(snapshot, farm)?, made, snapshot.at)),
        Target::Frontend(frontend) => answered(&to_wire::frontend(snapshot, frontend_of(snapshot, frontend)?)),
        Target::Route(frontend, route) => answered(&route_of(snapshot, (frontend, route))?),
        Target::Server(farm, server) => {
            let (farm, server) = rows_of(snapshot, (farm, server))?;
            answered(&to_wire::server(farm, server, made, snapshot.at))
        }
        Target::Certificates | Target::Farms | Target::Frontends | Target::Routes(_) | Target::Servers(_) => {
            Err(Failure::bug())
        }
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

/// Returns the zone that a write is to wait for. There is one: what is for all of them is for this one.
fn zone_to_stage(view: &View, zone: &str) -> Result<Name, AdminError> {
    let own = &view.live.of_file().service.zone;
    if zone == EVERY_ZONE || zone == own.as_str() {
        return Ok(own.clone());
    }
    Err(told::unknown_zone("stage", zone, &[own.as_str()]))
}
