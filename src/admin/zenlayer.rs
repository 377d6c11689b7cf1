//! The shape of Zenlayer Cloud's ZLB API: `POST /api/v2/zlb`, the action in a header.
//!
//! DescribeBackendHealth is what it is for; DescribeLoadBalancers, DescribeListeners and DescribeBackends are answered
//! from the same rows. Every other action of the published API is refused as not offered. The service is the one load
//! balancer, a frontend is a listener, and a farm's servers appear once for each frontend that leads to them. Every
//! answer, whatever its status, is JSON with `requestId`: the published clients break on anything else. A call is
//! authenticated ([`auth`]) and answered from one Snapshot ([`to_wire`]). The sources are the published API reference
//! and the SDKs for Python, Go and Java.

mod auth;
mod error;
mod request;
mod to_wire;
mod wire;

#[cfg(test)]
mod tests;

use axum::response::Response;
use http::Method;
use serde::Serialize;

use super::call::{AdminState, Call};
use super::error::AdminError;
use super::guard::quoted;
use crate::model::settings::Actions;
use crate::store::Snapshot;
use crate::store::snapshot::FrontendRow;

use error::Refusal;
use request::{Action, Request};

const PATH: &str = "/api/v2/zlb";
const VERSION: &str = "2025-04-01";

/// Returns whether `path` is this shape's: `/api/v2` and everything below.
#[must_use]
pub fn claims(path: &str) -> bool {
    path.strip_prefix("/api/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one call: 200 with `response`, or an error body with `code` and `message`.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    let id = request_id(&call.request_id);
    match respond(state, call, &id) {
        Ok(body) => error::success(body),
        Err(refusal) => refusal.response(&id),
    }
}

/// Returns the error body for a call that failed before it was whole.
#[must_use]
pub fn refuse(call: &Call, error: &AdminError) -> Response {
    Refusal::from(error).response(&request_id(&call.request_id))
}

/// The published form is `T` and a UUID in capitals.
fn request_id(id: &str) -> String {
    format!("T{}", id.to_uppercase())
}

fn respond(state: &AdminState, call: &Call, id: &str) -> Result<Vec<u8>, Refusal> {
    let who = || auth::authenticate(&state.credentials.load(), call);
    let (_caller, actions) = state.let_in(call, who, |(caller, _)| &caller.grant)?;
    if call.uri.path() != PATH {
        return Err(AdminError::NotFound { kind: "path", id: quoted(call.uri.path()) }.into());
    }
    if call.method != Method::POST {
        return Err(AdminError::MethodNotAllowed(call.method.to_string()).into());
    }
    let version = request::header(call, "x-zc-version");
    if let Some(version) = version.filter(|v| *v != VERSION) {
        return Err(Refusal::unknown_version(version, VERSION));
    }
    let name = request::header(call, "x-zc-action");
    let action = Action::of(name)?;
    if !matches!(action, Action::NotOffered(_)) {
        check_listed(&actions, name.unwrap_or_default())?;
    }
    let request = Request::parse(&call.body)?;
    let snapshot = state.store.snapshot(call.now);
    perform(&snapshot, action, &request, id)
}

/// What only reads need not be listed.
fn check_listed(actions: &Actions, name: &str) -> Result<(), Refusal> {
    let is_listed = match actions {
        Actions::Reads => false,
        Actions::Listed(listed) => listed.iter().any(|action| **action == *name),
        Actions::Every => true,
    };
    if is_listed || request::only_reads(name) { Ok(()) } else { Err(Refusal::not_listed(name)) }
}

fn perform(snapshot: &Snapshot, action: Action<'_>, request: &Request, id: &str) -> Result<Vec<u8>, Refusal> {
    match action {
        Action::NotOffered(action) => Err(Refusal::not_offered(action)),
        Action::DescribeLoadBalancers => envelope(id, to_wire::load_balancers(snapshot, request)),
        Action::DescribeListeners => {
            is_load_balancer(snapshot, request)?;
            let is_wanted = |row: &&FrontendRow| {
                (request.listener_ids.is_empty() || request.listener_ids.iter().any(|id| is_listener(row, id)))
                    && request.protocol.as_ref().is_none_or(|p| p == to_wire::PROTOCOL)
            };
            let rows = snapshot.frontends.iter().filter(is_wanted);
            let listeners = rows.map(|row| to_wire::listener(snapshot, row)).collect();
            envelope(id, wire::Listeners { listeners })
        }
        Action::DescribeBackends => {
            let rows = listeners(snapshot, request)?;
            let backends = rows.into_iter().flat_map(|row| to_wire::backends(snapshot, row)).collect();
            envelope(id, wire::Backends { backends })
        }
        Action::DescribeBackendHealth => {
            let rows = listeners(snapshot, request)?;
            let backends = rows.into_iter().flat_map(|row| to_wire::backend_healths(snapshot, row)).collect();
            envelope(id, wire::BackendHealths { backends })
        }
    }
}

/// Returns the frontends that a request is about: all, or the one of its `listenerId`.
fn listeners<'s>(snapshot: &'s Snapshot, request: &Request) -> Result<Vec<&'s FrontendRow>, AdminError> {
    is_load_balancer(snapshot, request)?;
    let Some(id) = &request.listener_id else { return Ok(snapshot.frontends.iter().collect()) };
    let found = snapshot.frontends.iter().find(|row| is_listener(row, id));
    found.map(|row| vec![row]).ok_or_else(|| AdminError::NotFound { kind: error::LISTENER, id: id.clone() })
}

fn is_load_balancer(snapshot: &Snapshot, request: &Request) -> Result<(), AdminError> {
    match request.load_balancer_id.as_deref() {
        None => Err(AdminError::Missing("loadBalancerId")),
        Some(id) if id == snapshot.service.name.as_str() => Ok(()),
        Some(id) => Err(AdminError::NotFound { kind: error::LOAD_BALANCER, id: id.to_owned() }),
    }
}

fn is_listener(row: &FrontendRow, id: &str) -> bool {
    row.frontend.id.to_string() == id || row.frontend.name.as_str() == id
}

fn envelope<T: Serialize>(request_id: &str, body: T) -> Result<Vec<u8>, Refusal> {
    let whole = wire::Envelope { request_id, response: wire::Response { request_id, body } };
    serde_json::to_vec(&whole).map_err(|_| Refusal::bug())
}
