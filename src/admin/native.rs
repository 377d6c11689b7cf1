//! The native shape: `/api/v1`, and every path that no other shape claims.
//!
//! Reads are answered from one Snapshot; a write becomes one `Change`, and its answer is the server as it is then.
//! Errors are `{"error": {code, message, request_id, details}}`. Authentication comes before everything: who has no
//! token cannot learn which paths or servers exist.

pub mod wire;

mod auth;
mod error;
mod from_wire;
mod route;
mod to_wire;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::model::{Access, Change, ServerKey, Wish};
use crate::report::report;
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};
use crate::store::{ChangeError, Snapshot};

use super::aside;
use super::call::{AdminState, Call, Caller};
use super::error::AdminError;
use super::guard::quoted;

use error::Failure;
use route::{Read, Route, Write};

pub(super) use auth::caller;

/// Returns true: what no other shape claims is answered here, if only with 404.
#[must_use]
pub fn claims(_path: &str) -> bool {
    true
}

/// Answers a whole call.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    match respond(state, call).await {
        Ok(body) => json(StatusCode::OK, body),
        Err(failure) => failure.response(call),
    }
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

async fn respond(state: &AdminState, call: &Call) -> Result<Bytes, Failure> {
    let caller = caller(&state.credentials.load(), call)?;
    let path = call.uri.path();
    let unknown = || AdminError::NotFound { kind: "path", id: quoted(path) };
    let route = Route::of(path).ok_or_else(unknown)?;
    if !route.allows(&call.method) {
        return Err(Failure::method(&call.method, route.allow()));
    }
    match route {
        Route::Read(_) => {
            let (store, uri, now) = (Arc::clone(&state.store), call.uri.clone(), call.now);
            let body = aside::made(move || match Route::of(uri.path()) {
                Some(Route::Read(read)) => read_from(&store.snapshot(now), read),
                Some(Route::Write(_)) | None => Err(Failure::bug()),
            });
            body.await.unwrap_or_else(|| Err(Failure::bug()))
        }
        Route::Write(_) if caller.access != Access::Operate => Err(AdminError::Forbidden(caller.name).into()),
        Route::Write(Write::Act { farm, server, act }) => {
            let order = from_wire::order(&call.body)?;
            change(state, call, &caller, (farm, server), Wish::Admin(act.wanted()), order.reason.as_deref())
        }
        Route::Write(Write::Reload) => reload(state, call, &caller).await,
        Route::Write(Write::Weight { farm, server }) => {
            let (weight, reason) = from_wire::weight(&call.body)?;
            change(state, call, &caller, (farm, server), Wish::Weight(weight), reason.as_deref())
        }
    }
}

fn read_from(snapshot: &Snapshot, read: Read<'_>) -> Result<Bytes, Failure> {
    match read {
        Read::Farm { farm } => encode(&to_wire::farm(farm_of(snapshot, farm)?)),
        Read::Farms => encode(&to_wire::farms(snapshot)),
        Read::Frontend { frontend } => encode(&to_wire::frontend(snapshot, frontend_of(snapshot, frontend)?)),
        Read::Frontends => encode(&to_wire::frontends(snapshot)),
        Read::Server { farm, server } => encode(&to_wire::server(server_of(farm_of(snapshot, farm)?, server)?)),
        Read::Servers { farm } => encode(&to_wire::servers(snapshot, farm_of(snapshot, farm)?)),
        Read::Status => encode(&to_wire::status(snapshot)),
    }
}

/// Makes a change and returns the server as it is after it.
fn change(
    state: &AdminState,
    call: &Call,
    caller: &Caller,
    (farm, server): (&str, &str),
    wish: Wish,
    reason: Option<&str>,
) -> Result<Bytes, Failure> {
    let snapshot = state.store.snapshot(call.now);
    let farm_row = farm_of(&snapshot, farm)?;
    let server_row = server_of(farm_row, server)?;
    let target = ServerKey { farm: farm_row.farm.id, server: server_row.server.id };
    let gone = || AdminError::NotFound { kind: "server", id: quoted(server) };
    match state.store.change(&Change::plain(target, wish), caller.act(call, reason)) {
        Ok(()) => {}
        Err(ChangeError::UnknownServer(_)) => return Err(gone().into()),
        Err(error @ ChangeError::Reserve { .. }) => return Err(AdminError::Conflict(error.to_string()).into()),
        Err(error @ ChangeError::Journal(_)) => {
            tracing::error!(request_id = call.request_id, error = %report(&error), "admin change not kept");
            return Err(AdminError::NotKept.into());
        }
    }
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.name,
        source = %call.peer,
        farm = %farm_row.farm.name,
        server = %server_row.server.name,
        field = wish.field().as_str(),
        value = %wish,
        "admin change"
    );
    let after = state.store.snapshot(call.now);
    let row = after.farms.iter().find(|f| f.farm.id == target.farm).map(|f| &f.servers);
    let row = row.and_then(|servers| servers.iter().find(|s| s.server.id == target.server));
    encode(&to_wire::server(row.ok_or_else(gone)?))
}

/// Reloads, to its end even if the client leaves meanwhile.
async fn reload(state: &AdminState, call: &Call, caller: &Caller) -> Result<Bytes, Failure> {
    let order = from_wire::order(&call.body)?;
    let act = caller.act(call, order.reason.as_deref());
    tracing::info!(
        request_id = call.request_id,
        actor = %caller.name,
        source = %call.peer,
        action = "reload",
        "admin reload"
    );
    let control = Arc::clone(&state.control);
    let done = tokio::spawn(async move { control.reload(act).await }).await;
    match done {
        Ok(Ok(())) => encode(&wire::Reloaded { generation: state.store.load().generation.0 }),
        Ok(Err(reasons)) => Err(Failure::reload(&reasons)),
        Err(error) => {
            tracing::error!(request_id = call.request_id, %error, "admin reload broke off");
            Err(Failure::bug())
        }
    }
}

fn farm_of<'a>(snapshot: &'a Snapshot, farm: &str) -> Result<&'a FarmRow, AdminError> {
    snapshot.farm_named(farm).ok_or_else(|| AdminError::NotFound { kind: "farm", id: quoted(farm) })
}

fn server_of<'a>(farm: &'a FarmRow, server: &str) -> Result<&'a ServerRow, AdminError> {
    farm.server_named(server).ok_or_else(|| AdminError::NotFound { kind: "server", id: quoted(server) })
}

fn frontend_of<'a>(snapshot: &'a Snapshot, frontend: &str) -> Result<&'a FrontendRow, AdminError> {
    let is_it = |row: &&FrontendRow| row.frontend.name.as_str() == frontend || row.frontend.id.to_string() == frontend;
    snapshot.frontends.iter().find(is_it).ok_or_else(|| AdminError::NotFound { kind: "frontend", id: quoted(frontend) })
}

fn encode<T: Serialize>(body: &T) -> Result<Bytes, Failure> {
    // Numbers, texts and maps with text keys cannot fail to be written.
    let mut bytes = serde_json::to_vec(body).map_err(|_| Failure::bug())?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
