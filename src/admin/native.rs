//! The native shape: `/api/v1`, and every path that no other shape claims.
//!
//! Reads are answered from one Snapshot and the journal; a write becomes one `Change`, and its answer is the server as it
//! is then. Errors are `{"error": {code, message, request_id, details}}`. Authentication comes before everything: who has
//! no token cannot learn which paths or servers exist. What stays open (`?wait=`, streams) waits on the admin runtime and
//! holds one of few places.

pub(in crate::admin) mod openapi;
pub mod when;
pub mod wire;

mod auth;
mod config;
mod credentials;
mod error;
mod events;
mod explain;
mod from_wire;
mod objects;
mod orders;
mod query;
mod replay;
mod route;
mod shadow;
mod timeline;
mod to_wire;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use crate::model::{Access, ServerKey};
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, LeavingRow, ServerRow};

use super::aside::{NotMade, Share};
use super::call::{AdminState, Call, Caller, Succession};
use super::error::AdminError;
use super::guard::quoted;

use error::Failure;
use query::Query;
use route::{Explained, Read, Route, Write};
use timeline::About;

pub(super) use auth::{caller, shown};

/// Returns true: what no other shape claims is answered here, if only with 404.
#[must_use]
pub fn claims(_path: &str) -> bool {
    true
}

/// Answers a whole call.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    match respond(state, call).await {
        Ok(response) => response,
        Err(failure) => failure.response(call),
    }
}

/// Returns whether a call shows a credential that there is.
#[must_use]
pub fn is_known(state: &AdminState, call: &Call) -> bool {
    caller(&state.credentials.load(), call).is_ok()
}

/// Refuses a call that failed before it was whole.
#[must_use]
pub fn refuse(call: &Call, error: &AdminError) -> Response {
    Failure::from(error.clone()).response(call)
}

/// Refuses a call of one of the process's own pages for its method.
pub(super) fn method_not_allowed(call: &Call, allow: &'static str) -> Response {
    Failure::method(&call.method, allow).response(call)
}

/// Answers a call that failed for a fault of our own; the log has it.
pub(super) fn bug(call: &Call) -> Response {
    Failure::bug().response(call)
}

/// Answers a call of one of the process's own pages that was not made.
pub(super) fn not_made(call: &Call, why: NotMade) -> Response {
    Failure::from(why).response(call)
}

/// What a read is made of: bytes and what they are.
struct Made {
    content_type: &'static str,
    body: Bytes,
}

async fn respond(state: &AdminState, call: &Call) -> Result<Response, Failure> {
    let caller = state.let_in(call, shown(call), || caller(&state.credentials.load(), call), |caller| &caller.grant)?;
    let path = call.uri.path();
    let unknown = || AdminError::NotFound { kind: "path", id: quoted(path) };
    let route = Route::of(path).ok_or_else(unknown)?;
    if !route.allows(&call.method) {
        return Err(Failure::method(&call.method, route.allow()));
    }
    if route.writes(&call.method) {
        caller.needs(Access::Admin)?;
        let query = Query::parse(call.uri.query(), &["stage"])?;
        return objects::write(state, call, &caller, route, &query).await;
    }
    let query = match route.query_keys() {
        Some(keys) => Query::parse(call.uri.query(), keys)?,
        None => Query::default(),
    };
    match route {
        Route::Drain { farm, server } if call.method == Method::POST => {
            operate(&caller)?;
            orders::drain(state, call, &caller, (farm, server), query.wait()?).await
        }
        Route::Drain { farm, server } if streams(call) => orders::stream(state, call, &caller, (farm, server)),
        Route::Drain { farm, server } => orders::read(state, call, &caller, (farm, server), query.wait()?).await,
        Route::Read(Read::Credential { id }) => {
            caller.needs(Access::Admin)?;
            answered(&credentials::one(state, id, call.now)?)
        }
        Route::Read(Read::Credentials) => {
            caller.needs(Access::Admin)?;
            answered(&credentials::list(state, call.now))
        }
        Route::Read(Read::Events) if streams(call) => events::stream(state, call, &caller, &query),
        Route::Read(_) | Route::Replay { .. } => read(state, call, &caller, query).await,
        Route::Write(write) => {
            operate(&caller)?;
            match write {
                Write::Act { farm, server, act } => orders::act(state, call, &caller, (farm, server), act).await,
                Write::Refresh => objects::told::refresh(state, call, &caller).await,
                Write::Credential { id, act } => {
                    caller.needs(Access::Admin)?;
                    credentials::act(state, call, &caller, (id, act)).await
                }
                // These are of every farm.
                Write::Reload => {
                    caller.may_change_all()?;
                    reload(state, call, &caller).await
                }
                Write::Upgrade => {
                    caller.may_change_all()?;
                    upgrade(state, call, &caller).await
                }
                Write::Weight { farm, server } => orders::weight(state, call, &caller, (farm, server)).await,
            }
        }
    }
}

/// Whoever only reads changes nothing.
fn operate(caller: &Caller) -> Result<(), AdminError> {
    caller.needs(Access::Operate)
}

/// Whether the caller asks for a stream.
fn streams(call: &Call) -> bool {
    let accepts = call.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepts.flat_map(|value| value.split(','));
    call.method == Method::GET
        && kinds.any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

/// Makes the answer of a read on a thread of its own.
async fn read(state: &AdminState, call: &Call, caller: &Caller, query: Query) -> Result<Response, Failure> {
    let (own, uri, body, now) = (state, call.uri.clone(), call.body.clone(), call.now);
    let share = match Route::of(uri.path()) {
        Some(Route::Replay { .. } | Route::Read(Read::Shadow { .. })) => Share::Replays,
        Some(Route::Drain { .. } | Route::Read(_) | Route::Write(_)) | None => Share::Reads,
    };
    let state = own.clone();
    let made = own.aside(call, (share, &caller.grant.name), move || {
        let snapshot = state.store.snapshot(now);
        match Route::of(uri.path()) {
            Some(Route::Read(read)) => read_from(&state, &snapshot, read, &query),
            Some(Route::Replay { farm, server }) => replay::answer(&state, &snapshot, (farm, server), &body, now),
            Some(Route::Drain { .. } | Route::Write(_)) | None => Err(Failure::bug()),
        }
    });
    let Made { content_type, body } = made.await??;
    let mut response = json(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(Route::Read(read)) = Route::of(call.uri.path())
        && let Some(tag) = objects::etag(own, read)
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn read_from(state: &AdminState, snapshot: &Snapshot, read: Read<'_>, query: &Query) -> Result<Made, Failure> {
    let now = snapshot.at;
    match read {
        // Answered before, for whoever may see them.
        Read::Credential { .. } | Read::Credentials => Err(Failure::bug()),
        Read::Certificate { certificate } => encode(&objects::certificates::one(state, certificate, now)?),
        Read::Certificates => encode(&objects::certificates::list(state, query, now)?),
        Read::Config => config::answer(state, snapshot),
        Read::Events => text(timeline::list(state, about_named(snapshot, query)?, query)?),
        Read::Evidence { farm, server } => {
            let rows = rows_of(snapshot, (farm, server))?;
            encode(&timeline::evidence(state, rows, timeline::evidence_limit(query)?)?)
        }
        Read::Explain(Explained::Farm { farm }) => encode(&explain::farm(snapshot, farm_of(snapshot, farm)?)),
        Read::Explain(Explained::Request { id }) => encode(&explain::request(state, snapshot, id)?),
        Read::Explain(Explained::Server { farm, server }) => {
            let row = farm_of(snapshot, farm)?;
            match leaving_of(row, server) {
                Some(leaving) => encode(&explain::leaving(snapshot, row, leaving)),
                None => encode(&explain::server(state, snapshot, (row, server_of(row, server)?))?),
            }
        }
        Read::Farm { farm } => encode(&to_wire::farm(farm_of(snapshot, farm)?, &snapshot.made, now)),
        Read::Farms => encode(&to_wire::farms(snapshot, &query.filter()?)),
        Read::Frontend { frontend } => encode(&to_wire::frontend(snapshot, frontend_of(snapshot, frontend)?)),
        Read::Frontends => encode(&to_wire::frontends(snapshot, &query.filter()?)),
        Read::History { farm, server } => {
            encode(&timeline::history(state, rows_of(snapshot, (farm, server))?, query, now)?)
        }
        Read::Promote { farm } => shadow::promote(farm_of(snapshot, farm)?),
        Read::Route { frontend, route } => encode(&route_of(snapshot, (frontend, route))?),
        Read::Routes { frontend } => encode(&to_wire::routes(snapshot, frontend_of(snapshot, frontend)?)),
        Read::Server { farm, server } => {
            let (farm, server) = rows_of(snapshot, (farm, server))?;
            encode(&to_wire::server(farm, server, &snapshot.made, now))
        }
        Read::Servers { farm } => encode(&to_wire::servers(snapshot, farm_of(snapshot, farm)?, &query.filter()?)),
        Read::Shadow { farm } => encode(&shadow::answer(state, farm_of(snapshot, farm)?, now)?),
        Read::Staged => objects::told::staged(state),
        Read::Status => encode(&to_wire::Status(snapshot)),
        Read::Task { task } => objects::told::task(state, task),
        Read::Tasks => objects::told::tasks(state, query),
        Read::Timeline { farm, server } => {
            let about = about(snapshot, farm, server)?;
            text(timeline::timeline(state, about, query, now)?)
        }
    }
}

/// Reloads, to its end even if the client leaves meanwhile.
async fn reload(state: &AdminState, call: &Call, caller: &Caller) -> Result<Response, Failure> {
    let order = from_wire::order(&call.body)?;
    let act = caller.act(call, order.reason.as_deref());
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.grant.name,
        source = %call.peer,
        action = "reload",
        "admin reload"
    );
    let control = Arc::clone(&state.control);
    let done = tokio::spawn(async move { control.reload(act).await }).await;
    match done {
        Ok(Ok(())) => answered(&wire::Reloaded { generation: state.store.load().generation.0 }),
        Ok(Err(reasons)) => Err(Failure::reload(&reasons)),
        Err(error) => {
            tracing::error!(request_id = call.request_id, %error, "admin reload broke off");
            Err(Failure::bug())
        }
    }
}

/// Has a new process take over, to the end even if the client leaves meanwhile.
async fn upgrade(state: &AdminState, call: &Call, caller: &Caller) -> Result<Response, Failure> {
    let order = from_wire::upgrade(&call.body)?;
    let act = caller.act(call, order.reason.as_deref());
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.grant.name,
        source = %call.peer,
        action = "upgrade",
        "admin upgrade"
    );
    let control = Arc::clone(&state.control);
    let done = tokio::spawn(async move { control.upgrade(act, order.binary.map(Into::into)).await }).await;
    match done {
        Ok(Ok(Succession { pid, replaced })) => answered(&wire::Upgraded { pid, replaced }),
        Ok(Err(reasons)) => Err(Failure::upgrade(&reasons)),
        Err(error) => {
            tracing::error!(request_id = call.request_id, %error, "admin upgrade broke off");
            Err(Failure::bug())
        }
    }
}

/// Returns whose events a path asks for.
fn about(snapshot: &Snapshot, farm: Option<&str>, server: Option<&str>) -> Result<About, Failure> {
    let Some(farm) = farm else { return Ok(About::default()) };
    let row = farm_of(snapshot, farm)?;
    let id = row.farm.id;
    let Some(server) = server else { return Ok(About { farm: Some(id), server: None }) };
    let server = server_of(row, server)?.server.id;
    Ok(About { farm: None, server: Some(ServerKey { farm: id, server }) })
}

/// Returns whose events a query asks for.
fn about_named(snapshot: &Snapshot, query: &Query) -> Result<About, Failure> {
    match (query.get("farm"), query.get("server")) {
        (None, Some(_)) => Err(AdminError::Missing("farm").into()),
        (farm, server) => about(snapshot, farm, server),
    }
}

fn rows_of<'a>(
    snapshot: &'a Snapshot,
    (farm, server): (&str, &str),
) -> Result<(&'a FarmRow, &'a ServerRow), AdminError> {
    let farm = farm_of(snapshot, farm)?;
    Ok((farm, server_of(farm, server)?))
}

fn farm_of<'a>(snapshot: &'a Snapshot, farm: &str) -> Result<&'a FarmRow, AdminError> {
    snapshot.farm_named(farm).ok_or_else(|| AdminError::NotFound { kind: "farm", id: quoted(farm) })
}

fn server_of<'a>(farm: &'a FarmRow, server: &str) -> Result<&'a ServerRow, AdminError> {
    farm.server_named(server).ok_or_else(|| AdminError::NotFound { kind: "server", id: quoted(server) })
}

/// A server that a reload removed and that is not declared anew.
fn leaving_of<'a>(farm: &'a FarmRow, server: &str) -> Option<&'a LeavingRow> {
    let is_it = |row: &&LeavingRow| row.server.name.as_str() == server || row.key.server.to_string() == server;
    farm.leaving.iter().find(is_it).filter(|_| farm.server_named(server).is_none())
}

fn frontend_of<'a>(snapshot: &'a Snapshot, frontend: &str) -> Result<&'a FrontendRow, AdminError> {
    let is_it = |row: &&FrontendRow| row.frontend.name.as_str() == frontend || row.frontend.id.to_string() == frontend;
    snapshot.frontends.iter().find(is_it).ok_or_else(|| AdminError::NotFound { kind: "frontend", id: quoted(frontend) })
}

fn route_of(snapshot: &Snapshot, (frontend, route): (&str, &str)) -> Result<wire::RouteWire, AdminError> {
    let routes = to_wire::routes(snapshot, frontend_of(snapshot, frontend)?).routes;
    let mut found = routes.into_iter().filter(|it| it.name == route || it.id.to_string() == route);
    found.next().ok_or_else(|| AdminError::NotFound { kind: "route", id: quoted(route) })
}

fn encode<T: Serialize>(body: &T) -> Result<Made, Failure> {
    // Numbers, texts and maps with text keys cannot fail to be written.
    let mut bytes = serde_json::to_vec(body).map_err(|_| Failure::bug())?;
    bytes.push(b'\n');
    Ok(Made { content_type: "application/json", body: bytes.into() })
}

/// JSON that was written before.
#[expect(clippy::unnecessary_wraps, reason = "one of several ways to make an answer")]
fn text(body: String) -> Result<Made, Failure> {
    Ok(Made { content_type: "application/json", body: body.into() })
}

fn answered<T: Serialize>(body: &T) -> Result<Response, Failure> {
    Ok(json(StatusCode::OK, encode(body)?.body))
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
