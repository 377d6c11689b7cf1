//! The shape of OVHcloud's Load Balancer API (`/ipLoadbalancing`), under `/1.0` and `/v1`.
//!
//! A call is parsed into a [`path::Target`], authenticated ([`auth`]), and answered or refused in the shape's own body
//! ([`error`]). Farms, servers, frontends, routes and rules are told from what is declared and staged ([`ahead`],
//! [`face`], [`shown`](mod@shown)) and from one Snapshot of what is live; they are written through [`write`](mod@write), which stages, and a
//! refresh ([`tasks`]) makes that live. What concerns the service itself is [`service`]'s; the rest is
//! told through [`to_wire`] and [`rollup`]. Nothing outside this folder
//! knows its words. Success is exactly 200: older clients take any other 2xx for an error. Field by field the source is
//! OVHcloud's published schema of the section and the clients python-ovh, go-ovh, node-ovh and the Terraform provider.

mod ahead;
mod auth;
mod credential;
mod error;
mod face;
mod fields;
mod filter;
mod listed;
mod path;
mod rollup;
mod service;
mod shown;
mod tasks;
mod to_wire;
mod wire;
mod write;

#[cfg(test)]
mod tests;

use axum::response::Response;
use http::Method;
use serde::Serialize;

use super::aside::Share;
use super::call::{AdminState, Call, Caller, Credentials};
use super::error::AdminError;
use crate::model::{Access, Act};
use crate::objects::{EditError, Objects, View};
use crate::store::Snapshot;

pub(super) use auth::shown;
use credential::Known;
use error::Refusal;
use face::Look;
use filter::Query;
use path::{Part, Target};

/// Returns whether `path` is this shape's: `/1.0`, `/v1` and everything below.
#[must_use]
pub fn claims(path: &str) -> bool {
    path::without_prefix(path).is_some()
}

/// Answers one call. Always 200 or an error body with `class`, `message`, `errorCode` and `httpCode`.
pub async fn answer(state: &AdminState, call: &Call) -> Response {
    let outcome = respond(state, call).await.unwrap_or_else(Outcome::Refused);
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

/// Returns whether a call shows a credential that there is, as far as that can be told without its body.
#[must_use]
pub fn is_known(state: &AdminState, call: &Call) -> bool {
    auth::is_known(state, call)
}

/// Counts what goes through the zone until told to stop.
pub async fn keep_counting(state: AdminState, stopped: tokio::sync::watch::Receiver<bool>) {
    service::traffic::watch(state, stopped).await;
}

/// Stages that encrypted frontends of this shape show a certificate that came by itself. Blocks.
///
/// # Errors
/// [`EditError`]; nothing was changed.
pub fn follow_certificates(objects: &dyn Objects, act: &Act) -> Result<(), EditError> {
    service::ssl::stage_shown(objects, act)
}

enum Outcome {
    Body(Vec<u8>),
    Page(Response),
    Refused(Refusal),
}

async fn respond(state: &AdminState, call: &Call) -> Result<Outcome, Refusal> {
    let target = path::without_prefix(call.uri.path()).and_then(path::parse);
    let is_read = matches!(call.method, Method::GET | Method::HEAD);
    if target == Some(Target::Time) && is_read {
        return json(&call.now.unix_seconds());
    }
    if target == Some(Target::Validate) && is_read {
        return Ok(Outcome::Page(credential::page(call)));
    }
    if let Some(Target::Document(name)) = target
        && is_read
    {
        return Ok(Outcome::Body(service::schema::document(name, call)));
    }
    check_body(call)?;
    let credentials = state.credentials.load_full();
    if target == Some(Target::Ask) && call.method == Method::POST {
        return json(&credential::ask(state, &credentials, call).await?);
    }
    let who = || auth::authenticate(&credentials, &state.asked, call);
    let known = state.let_in(call, shown(call), who, |known| &known.caller.grant)?;
    credential::note_use(state, &known, call.now).await;
    if !is_read {
        return act(state, call, &known).await;
    }
    let page = service::paging::Page::of(call)?;
    let (name, own, part) = (known.caller.grant.name.clone(), state.clone(), call.clone());
    let made = state.aside(call, (Share::Reads, &name), move || {
        let (snapshot, view) = (own.store.snapshot(part.now), own.objects.view());
        let reading = Reading { state: &own, call: &part, known: &known, snapshot: &snapshot, view: &view };
        match page {
            Some(page) => page.answer(&reading),
            None => reading.answer(),
        }
    });
    made.await?
}

fn target_of(call: &Call) -> Result<Target<'_>, Refusal> {
    let unknown = || AdminError::NotFound { kind: "path", id: call.uri.path().to_owned() };
    path::without_prefix(call.uri.path()).and_then(path::parse).ok_or_else(|| unknown().into())
}

/// A read of somebody known: all of it is answered from one view and one Snapshot.
#[derive(Clone, Copy)]
struct Reading<'r> {
    state: &'r AdminState,
    call: &'r Call,
    known: &'r Known,
    snapshot: &'r Snapshot,
    view: &'r View,
}

impl Reading<'_> {
    fn answer(self) -> Result<Outcome, Refusal> {
        let Self { state, call, known, snapshot, view } = self;
        match target_of(call)? {
            Target::Of(service, part) if service == snapshot.service.name.as_str() => {
                if let Part::Service(place) = part {
                    return service::read(self, place).map(Outcome::Body);
                }
                part_of(snapshot, view, &part, &Query::of(&call.uri)?)
            }
            Target::Of(service, _) => Err(AdminError::NotFound { kind: "service", id: service.to_owned() }.into()),
            Target::Ask | Target::Document(_) | Target::LogOut => Err(Refusal::writes_alone(&call.method)),
            Target::Time => json(&call.now.unix_seconds()),
            Target::Details => json(&to_wire::details(known)),
            Target::Credential => {
                let credentials = state.credentials.load();
                let position = credential_position(&credentials, &known.caller);
                json(&to_wire::credential(&credentials, known, position, call.now))
            }
            // Nothing has tags.
            Target::Services if Query::of(&call.uri)?.text("iamTags").is_some() => json(&[(); 0]),
            Target::Services => json(&[snapshot.service.name.as_str()]),
            Target::Validate => Ok(Outcome::Page(credential::page(call))),
            Target::Zones => json(&[snapshot.service.zone.as_str()]),
        }
    }
}

/// Answers a call of somebody known that is no read.
async fn act(state: &AdminState, call: &Call, known: &Known) -> Result<Outcome, Refusal> {
    let target = target_of(call)?;
    if target == Target::LogOut && call.method == Method::POST {
        credential::log_out(state, known, call).await?;
        return json(&());
    }
    if let Target::Of(name, Part::Service(place)) = target
        && name == state.store.load().service.name.as_str()
    {
        return service::answer(state, call, known, place).await.map(Outcome::Body);
    }
    write(state, call, known, &target).await
}

/// Carries a write out, wherever it belongs.
async fn write(state: &AdminState, call: &Call, known: &Known, target: &Target<'_>) -> Result<Outcome, Refusal> {
    let Target::Of(service, part) = target else { return Err(Refusal::write_not_offered(&call.method)) };
    let own = state.objects.view().live.of_file().service.name.clone();
    if *service != own.as_str() {
        return Err(AdminError::NotFound { kind: "service", id: (*service).to_owned() }.into());
    }
    match part {
        Part::Refresh if call.method == Method::POST => {
            // It changes frontends, which whoever only operates may not, nor whoever may change certain farms.
            let grant = &known.caller.grant;
            if grant.access >= Access::Admin && grant.farms.is_none() {
                service::follow(state, call, known).await?;
            }
            json(&tasks::refresh(state, call, known).await?)
        }
        Part::Refresh => Err(Refusal::not_with(&call.method, "POST")),
        Part::Object(object) => write::carry_out(state, call, known, *object).await.map(Outcome::Body),
        // Answered before, where the service is known.
        Part::Service(_) => Err(Refusal::bug()),
        Part::FarmProbes
        | Part::Pending
        | Part::Protocols
        | Part::RouteActions
        | Part::RouteRules
        | Part::Status
        | Part::Task(_)
        | Part::Tasks => Err(Refusal::write_not_offered(&call.method)),
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

fn part_of(snapshot: &Snapshot, view: &View, part: &Part<'_>, query: &Query) -> Result<Outcome, Refusal> {
    let service = &snapshot.service;
    match *part {
        Part::Object(object) => json(&shown::body(Look::at(view, snapshot), object, query)?),
        // Answered before, where the service is known.
        Part::Service(_) => Err(Refusal::bug()),
        Part::Status => json(&rollup::status(snapshot)),
        Part::FarmProbes => json(&to_wire::farm_probes()),
        Part::RouteActions => json(&to_wire::route_actions()),
        Part::RouteRules => json(&to_wire::route_rules()),
        Part::Protocols => json(&path::Kind::ALL.map(path::Kind::as_str)),
        Part::Pending => json(&tasks::pending(view)),
        Part::Refresh => Err(Refusal::not_with(&Method::GET, "POST")),
        Part::Tasks => json(&tasks::ids(view, query)?),
        Part::Task(id) => match tasks::task(view, service.zone.as_str(), id) {
            Some(task) => json(&task),
            None => missing("task", id),
        },
    }
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
