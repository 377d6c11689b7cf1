//! The shape of OVHcloud's Load Balancer API (`/ipLoadbalancing`), read side, under `/1.0` and `/v1`.
//!
//! A call is parsed into a [`path::Target`], authenticated ([`auth`]), answered from one Snapshot through [`to_wire`]
//! and [`rollup`], or refused in the shape's own body ([`error`]). Nothing outside this folder knows its words. Success
//! is exactly 200: older clients take any other 2xx for an error. Reads nothing but the call and the state; writes are
//! answered 405. Field by field the source is OVHcloud's published schema of the section and the clients python-ovh,
//! go-ovh, node-ovh and the Terraform provider.

mod auth;
mod credential;
mod error;
mod filter;
mod path;
mod rollup;
mod to_wire;
mod wire;

#[cfg(test)]
mod tests;

use axum::response::Response;
use http::Method;
use serde::Serialize;

use super::call::{AdminState, Call, Caller, Credentials};
use super::error::AdminError;
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow};

use error::Refusal;
use filter::Query;
use path::{Kind, Part, Target};

/// Returns whether `path` is this shape's: `/1.0`, `/v1` and everything below.
#[must_use]
pub fn claims(path: &str) -> bool {
    path::without_prefix(path).is_some()
}

/// Answers one call. Always 200 or an error body with `class`, `message`, `errorCode` and `httpCode`.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    let outcome = respond(state, call).unwrap_or_else(Outcome::Refused);
    match outcome {
        Outcome::Body(body) => error::success(&call.request_id, call.now, body),
        Outcome::Page(response) => response,
        Outcome::Refused(refusal) => refusal.response(&call.request_id, call.now),
    }
}

/// Returns the error body for a call that failed before it was whole.
#[must_use]
pub fn refuse(call: &Call, error: &AdminError) -> Response {
    Refusal::from(error).response(&call.request_id, call.now)
}

enum Outcome {
    Body(Vec<u8>),
    Page(Response),
    Refused(Refusal),
}

fn respond(state: &AdminState, call: &Call) -> Result<Outcome, Refusal> {
    let target = path::without_prefix(call.uri.path()).and_then(path::parse);
    let is_read = matches!(call.method, Method::GET | Method::HEAD);
    if target == Some(Target::Time) && is_read {
        return json(&call.now.unix_seconds());
    }
    if target == Some(Target::Validate) && is_read {
        return Ok(Outcome::Page(credential::page(call)));
    }
    check_body(call)?;
    let credentials = state.credentials.load();
    if target == Some(Target::Ask) && call.method == Method::POST {
        return json(&credential::ask(state, &credentials, call)?);
    }
    let who = || auth::authenticate(&credentials, &state.asked, call);
    let known = state.let_in(call, who, |known| &known.caller.grant)?;
    let Some(target) = target else {
        return Err(AdminError::NotFound { kind: "path", id: call.uri.path().to_owned() }.into());
    };
    if target == Target::LogOut && call.method == Method::POST {
        credential::log_out(state, &known, call)?;
        return json(&());
    }
    if !is_read {
        return Err(Refusal::write_not_offered(&call.method));
    }
    let snapshot = state.store.snapshot(call.now);
    match target {
        Target::Ask | Target::LogOut => Err(Refusal::writes_alone(&call.method)),
        Target::Time => json(&call.now.unix_seconds()),
        Target::Details => json(&to_wire::details(&known)),
        Target::Credential => {
            let position = credential_position(&credentials, &known.caller);
            json(&to_wire::credential(&credentials, &known, position, call.now))
        }
        Target::Services => json(&[snapshot.service.name.as_str()]),
        Target::Validate => Ok(Outcome::Page(credential::page(call))),
        Target::Zones => json(&[snapshot.service.zone.as_str()]),
        Target::WriteOnly => Err(Refusal::write_not_offered(&call.method)),
        Target::Of(service, part) if service == snapshot.service.name.as_str() => {
            part_of(&snapshot, &part, &Query::of(&call.uri)?)
        }
        Target::Of(service, _) => Err(AdminError::NotFound { kind: "service", id: service.to_owned() }.into()),
    }
}

/// Neither signature would notice bytes appended to a body that nobody reads, so there must be none.
fn check_body(call: &Call) -> Result<(), AdminError> {
    if call.body.is_empty() {
        return Ok(());
    }
    if matches!(call.method, Method::GET | Method::HEAD | Method::DELETE) {
        return Err(AdminError::BodyUnexpected(call.method.to_string()));
    }
    let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&call.body);
    parsed.map_err(|e| AdminError::BadBody(e.to_string()))?;
    std::str::from_utf8(&call.body).map_err(|e| AdminError::BadBody(e.to_string()))?;
    Ok(())
}

/// Where the caller's credential stands among all of the config, from 1: its id for as long as the config lives.
fn credential_position(credentials: &Credentials, caller: &Caller) -> usize {
    let ovh = credentials.ovh.iter().map(|c| &c.grant.name);
    let names = ovh.chain(credentials.tokens.iter().map(|t| &t.grant.name));
    names.into_iter().position(|name| *name == caller.grant.name).map_or(0, |at| at + 1)
}

fn part_of(snapshot: &Snapshot, part: &Part<'_>, query: &Query) -> Result<Outcome, Refusal> {
    let service = &snapshot.service;
    match *part {
        Part::Service => json(&to_wire::service(snapshot)),
        Part::DefinedFarms if query.integer("vrackNetworkId")?.is_some() => json(&[(); 0]),
        Part::DefinedFarms => json(&to_wire::defined_farms(snapshot)),
        Part::DefinedFrontends => json(&to_wire::defined_frontends(snapshot)),
        Part::Status => json(&rollup::status(snapshot)),
        Part::InstancesState => json(&to_wire::instances(snapshot)),
        Part::FarmProbes => json(&to_wire::farm_probes()),
        Part::Protocols => json(&["http", "tcp"]),
        Part::Zones => json(&[service.zone.as_str()]),
        Part::Zone(zone) if zone == service.zone.as_str() => json(&to_wire::zone(service)),
        Part::Zone(zone) => missing("zone", zone),
        Part::NatIp => json(&to_wire::nat_ips(service)),
        Part::EmptyList => json(&[(); 0]),
        Part::NeverThere(kind, id) => missing(kind, id),
        Part::Farms(kind) => json(&farm_ids(snapshot, kind, query)?),
        Part::Farm(kind, id) => json(&to_wire::farm(snapshot, farm(snapshot, kind, id)?)),
        Part::Servers(kind, id) => json(&server_ids(farm(snapshot, kind, id)?, query)?),
        Part::Server(kind, id, server) => {
            let farm = farm(snapshot, kind, id)?;
            let row = farm.server_named(server).ok_or_else(|| not_found("server", server))?;
            match kind {
                Kind::Http => json(&to_wire::http_server(snapshot, farm, row)),
                Kind::Tcp | Kind::Udp => json(&to_wire::server(snapshot, farm, row)),
            }
        }
        Part::Frontends(kind) => json(&frontend_ids(snapshot, kind, query)?),
        Part::Frontend(kind, id) => {
            let row = frontend(snapshot, kind, id)?;
            match kind {
                Kind::Http => json(&to_wire::http_frontend(snapshot, row)),
                Kind::Tcp | Kind::Udp => json(&to_wire::frontend(snapshot, row)),
            }
        }
    }
}

fn farm<'s>(snapshot: &'s Snapshot, kind: Kind, id: &str) -> Result<&'s FarmRow, AdminError> {
    let row = snapshot.farm_named(id).filter(|row| kind.speaks(row.farm.protocol));
    row.ok_or_else(|| not_found("farm", id))
}

fn frontend<'s>(snapshot: &'s Snapshot, kind: Kind, id: &str) -> Result<&'s FrontendRow, AdminError> {
    let number = id.parse().ok();
    let is_it = |row: &&FrontendRow| Some(row.frontend.id.0) == number || row.frontend.name.as_str() == id;
    let row = snapshot.frontends.iter().find(is_it).filter(|row| kind.speaks(row.frontend.protocol));
    row.ok_or_else(|| not_found("frontend", id))
}

fn farm_ids(snapshot: &Snapshot, kind: Kind, query: &Query) -> Result<Vec<u64>, AdminError> {
    if query.integer("vrackNetworkId")?.is_some() || !query.is_zone(&snapshot.service.zone) {
        return Ok(Vec::new());
    }
    let rows = snapshot.farms.iter().filter(|row| kind.speaks(row.farm.protocol));
    Ok(rows.map(|row| row.farm.id.0).collect())
}

fn server_ids(farm: &FarmRow, query: &Query) -> Result<Vec<u64>, AdminError> {
    let status = query.one_of("status", &["active", "inactive"])?;
    // No server has a cookie of its own, and nothing is LIKE null.
    if query.text("cookie").is_some() {
        return Ok(Vec::new());
    }
    let rows = farm.servers.iter().filter(|row| {
        status.is_none_or(|want| want == to_wire::customer_status(row.server.admin))
            && query.text("address").is_none_or(|want| want == to_wire::address(row))
    });
    Ok(rows.map(|row| row.server.id.0).collect())
}

fn frontend_ids(snapshot: &Snapshot, kind: Kind, query: &Query) -> Result<Vec<u64>, AdminError> {
    let farm = query.integer("defaultFarmId")?;
    if query.integer("defaultSslId")?.is_some() || !query.is_zone(&snapshot.service.zone) {
        return Ok(Vec::new());
    }
    let rows = snapshot.frontends.iter().filter(|row| {
        kind.speaks(row.frontend.protocol)
            && farm.is_none_or(|want| Some(want) == row.frontend.default_farm().map(|farm| farm.0))
            && query.text("port").is_none_or(|like| filter::is_like(like, &to_wire::ports(&row.frontend)))
    });
    Ok(rows.map(|row| row.frontend.id.0).collect())
}

fn missing(kind: &'static str, id: &str) -> Result<Outcome, Refusal> {
    Err(not_found(kind, id).into())
}

fn not_found(kind: &'static str, id: &str) -> AdminError {
    AdminError::NotFound { kind, id: id.to_owned() }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Outcome, Refusal> {
    serde_json::to_vec(value).map(Outcome::Body).map_err(|_| Refusal::bug())
}
