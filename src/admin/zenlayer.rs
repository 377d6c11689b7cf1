//! The shape of Zenlayer Cloud's ZLB API: `POST /api/v2/zlb`, the action in a header.
//!
//! The file's service is one load balancer, each that is made here another; a frontend is a listener, and a farm's servers
//! appear once for each frontend that leads to them. What is written is live when it is answered. Every answer, whatever
//! its status, is JSON with `requestId`: the published clients break on anything else. A call is authenticated ([`auth`]),
//! its action and fields are read ([`action`], [`request`]), and each kind of object has a room that answers. Reads are of
//! one Snapshot. The sources are the published API reference and the SDKs for Python, Go and Java.

mod action;
mod auth;
mod backends;
mod check;
mod error;
mod find;
mod listeners;
mod load_balancers;
mod market;
mod monitor;
mod ports;
mod request;
mod shown;
mod target;
mod to_wire;
mod wire;
mod write;

#[cfg(test)]
mod tests;

use axum::response::Response;
use http::Method;
use serde::Serialize;

use super::aside::Share;
use super::call::{AdminState, Call};
use super::error::AdminError;
use super::guard::quoted;
use crate::model::settings::Actions;
use crate::store::Snapshot;

use action::{Action, Service};
pub(super) use auth::shown;
use backends::Deed;
use error::Refusal;
use request::Fields;
use write::Asked;

/// Returns whether `path` is this shape's: `/api/v2` and everything below.
#[must_use]
pub fn claims(path: &str) -> bool {
    path.strip_prefix("/api/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one call: 200 with `response`, or an error body with `code` and `message`.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    let id = request_id(&call.request_id);
    match respond(state, call, &id).await {
        Ok(body) => error::success(body),
        Err(refusal) => refusal.response(&id),
    }
}

/// Returns the error body for a call that failed before it was whole.
#[must_use]
pub fn refuse(call: &Call, error: &AdminError) -> Response {
    Refusal::from(error).response(&request_id(&call.request_id))
}

/// Returns whether a call shows a credential that there is, as far as that can be told without its body.
#[must_use]
pub fn is_known(state: &AdminState, call: &Call) -> bool {
    auth::is_known(&state.credentials.load(), call)
}

/// The published form is `T` and a UUID in capitals.
fn request_id(id: &str) -> String {
    format!("T{}", id.to_uppercase())
}

async fn respond(state: &AdminState, call: &Call, id: &str) -> Result<Vec<u8>, Refusal> {
    let who = || auth::authenticate(&state.credentials.load(), call);
    let (caller, actions) = state.let_in(call, shown(call), who, |(caller, _)| &caller.grant)?;
    let Some(service) = Service::at(call.uri.path()) else {
        return Err(AdminError::NotFound { kind: "path", id: quoted(call.uri.path()) }.into());
    };
    if call.method != Method::POST {
        return Err(AdminError::MethodNotAllowed(call.method.to_string()).into());
    }
    let version = request::header(call, "x-zc-version");
    if let Some(version) = version.filter(|v| *v != service.version()) {
        return Err(Refusal::unknown_version(version, service.version()));
    }
    let action = Action::of(service, request::header(call, "x-zc-action"))?;
    check_listed(&actions, action)?;
    caller.needs(action.needs())?;
    let fields = Fields::parse(&call.body)?;
    perform(Asked { state, call, caller: &caller, action }, &fields, id).await
}

/// What only reads need not be listed.
fn check_listed(actions: &Actions, action: Action) -> Result<(), Refusal> {
    let is_listed = match actions {
        Actions::Reads => false,
        Actions::Listed(listed) => listed.iter().any(|name| **name == *action.name()),
        Actions::Every => true,
    };
    if is_listed || action.only_reads() { Ok(()) } else { Err(Refusal::not_listed(action.name())) }
}

async fn perform(asked: Asked<'_>, fields: &Fields, id: &str) -> Result<Vec<u8>, Refusal> {
    let state = asked.state;
    match asked.action {
        Action::AddLoadBalancersPrivateIps => envelope(id, load_balancers::addresses(asked, fields, true).await?),
        Action::AddResourceResourceGroup => envelope(id, load_balancers::group(asked, fields).await?),
        Action::AssignLoadBalancerIpv6 => {
            let why = "a load balancer has the addresses of the service; write IPv6 ones in service.addresses";
            Err(Refusal::not_offered(asked.action.name(), why))
        }
        Action::CreateListener => envelope(id, listeners::create(asked, fields).await?),
        Action::CreateLoadBalancer => envelope(id, load_balancers::create(asked, fields).await?),
        Action::DeleteListener => envelope(id, listeners::delete(asked, fields).await?),
        Action::DeleteLoadBalancersPrivateIps => envelope(id, load_balancers::addresses(asked, fields, false).await?),
        Action::DeregisterBackend => envelope(id, backends::change(asked, fields, Deed::Deregister).await?),
        Action::ModifyBackend => envelope(id, backends::change(asked, fields, Deed::Modify).await?),
        Action::ModifyListener => envelope(id, listeners::modify(asked, fields).await?),
        Action::ModifyLoadBalancersAttribute => envelope(id, load_balancers::modify(asked, fields).await?),
        Action::ModifyResourceTags => envelope(id, load_balancers::tag(asked, fields).await?),
        Action::RegisterBackend => envelope(id, backends::change(asked, fields, Deed::Register).await?),
        Action::RestoreLoadBalancer => envelope(id, load_balancers::restore(asked, fields).await?),
        Action::TerminateLoadBalancer => envelope(id, load_balancers::terminate(asked, fields).await?),
        action @ (Action::DescribeBackendHealth
        | Action::DescribeBackends
        | Action::DescribeListeners
        | Action::DescribeLoadBalancerMonitorData
        | Action::DescribeLoadBalancerRegions
        | Action::DescribeLoadBalancers
        | Action::InquiryPriceCreateLoadBalancer
        | Action::SetSecurityGroupForLoadBalancers
        | Action::UnbindSecurityGroupFromLoadBalancers) => {
            let (own, fields, id, now) = (state.clone(), fields.clone(), id.to_owned(), asked.call.now);
            let told = state.aside(asked.call, (Share::Reads, &asked.caller.grant.name), move || {
                tell(&own, &own.store.snapshot(now), action, &fields, &id)
            });
            told.await?
        }
    }
}

/// Answers an action that changes nothing. May take long.
fn tell(
    state: &AdminState,
    snapshot: &Snapshot,
    action: Action,
    fields: &Fields,
    id: &str,
) -> Result<Vec<u8>, Refusal> {
    match action {
        Action::DescribeBackendHealth => envelope(id, backends::describe_health(snapshot, fields)?),
        Action::DescribeBackends => envelope(id, backends::describe(snapshot, fields)?),
        Action::DescribeListeners => envelope(id, listeners::describe(snapshot, fields)?),
        Action::DescribeLoadBalancerMonitorData => envelope(id, monitor::describe(state, snapshot, fields)?),
        Action::DescribeLoadBalancerRegions => envelope(id, market::regions(snapshot)),
        Action::DescribeLoadBalancers => envelope(id, load_balancers::describe(snapshot, fields)?),
        Action::InquiryPriceCreateLoadBalancer => envelope(id, market::prices(snapshot, fields)?),
        Action::SetSecurityGroupForLoadBalancers => envelope(id, market::set_security_group(snapshot, fields)?),
        Action::UnbindSecurityGroupFromLoadBalancers => envelope(id, market::unbind_security_group(snapshot, fields)?),
        // Carried out before, as the writes that they are.
        Action::AddLoadBalancersPrivateIps
        | Action::AddResourceResourceGroup
        | Action::AssignLoadBalancerIpv6
        | Action::CreateListener
        | Action::CreateLoadBalancer
        | Action::DeleteListener
        | Action::DeleteLoadBalancersPrivateIps
        | Action::DeregisterBackend
        | Action::ModifyBackend
        | Action::ModifyListener
        | Action::ModifyLoadBalancersAttribute
        | Action::ModifyResourceTags
        | Action::RegisterBackend
        | Action::RestoreLoadBalancer
        | Action::TerminateLoadBalancer => Err(Refusal::bug()),
    }
}

fn envelope<T: Serialize>(request_id: &str, body: T) -> Result<Vec<u8>, Refusal> {
    let whole = wire::Envelope { request_id, response: wire::Response { request_id, body } };
    serde_json::to_vec(&whole).map_err(|_| Refusal::bug())
}
