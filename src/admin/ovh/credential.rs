//! `/auth/credential`, `/auth/currentCredential`, `/auth/details`, `/auth/logout`: how a client comes by a credential of
//! its own and what it learns of it.
//!
//! An application asks with its key alone. What it gets opens nothing until an operator grants it with
//! `farmgate credentials`; the page of `validationUrl` says so.

use std::sync::Arc;

use axum::response::Response;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;

use super::error::Refusal;
use super::wire;
use crate::admin::aside;
use crate::admin::asked::AskError;
use crate::admin::audit;
use crate::admin::call::{AdminState, Call, Caller, Credentials};
use crate::admin::error::AdminError;
use crate::admin::gate;
use crate::admin::guard::quoted;
use crate::model::credential::AskedCredential;
use crate::model::settings::{CallRule, OvhApplication};
use crate::model::{Act, CredentialChange, Timestamp};
use crate::report::report;

/// The most rules, and the most networks, of one credential.
const LIST_MAX: usize = 64;
const REDIRECTION_BYTES_MAX: usize = 2048;

/// Who calls, and with what.
#[derive(Debug)]
pub(super) struct Known {
    /// Who.
    pub(super) caller: Caller,
    /// The credential that was asked for, if it is one.
    pub(super) asked: Option<Arc<AskedCredential>>,
    /// The calls that it may make.
    pub(super) rules: Vec<CallRule>,
}

/// Answers `POST /auth/credential`.
pub(super) async fn ask(
    state: &AdminState,
    credentials: &Arc<Credentials>,
    call: &Call,
) -> Result<wire::NewCredential, Refusal> {
    let (state, credentials, call) = (state.clone(), Arc::clone(credentials), call.clone());
    let asked = aside::done(move || ask_now(&state, &credentials, &call));
    asked.await.unwrap_or_else(|| Err(Refusal::bug()))
}

/// Waits for the disk.
fn ask_now(state: &AdminState, credentials: &Credentials, call: &Call) -> Result<wire::NewCredential, Refusal> {
    let application = application(credentials, call)?;
    let wanted: wire::WantedCredential =
        serde_json::from_slice(&call.body).map_err(|e| AdminError::BadBody(e.to_string()))?;
    let credential = credential(application, wanted, call.now)?;
    state.let_ask(call)?;
    let asked = state.asked.ask(application, credential.clone(), gate::source(call.peer), call.now);
    let (id, consumer_key) = asked.map_err(|error| refused(call, &error))?;
    let (actor, source) = (application.name.clone(), call.peer.to_string().into());
    let act = Act { actor, source, reason: None, at: call.now };
    audit::credential(state, (None, Some(&AskedCredential { id, ..credential })), CredentialChange::Asked, act);
    let scheme = if call.is_tls { "https" } else { "http" };
    let host = call.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| call.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let validation_url = format!("{scheme}://{host}/1.0/auth/validate?credentialId={id}");
    Ok(wire::NewCredential { consumer_key, state: "pendingValidation", validation_url })
}

/// Answers `POST /auth/logout`: a credential that was asked for ends.
pub(super) async fn log_out(state: &AdminState, known: &Known, call: &Call) -> Result<(), Refusal> {
    let Some(credential) = &known.asked else { return Err(Refusal::of_the_config(&known.caller.grant.name)) };
    let (asked, id) = (Arc::clone(&state.asked), credential.id);
    let revoked = aside::done(move || asked.revoke(id)).await.ok_or_else(Refusal::bug)?;
    let gone = revoked.map_err(|error| refused(call, &error))?;
    audit::credential(state, (Some(&gone), None), CredentialChange::LoggedOut, known.caller.act(call, None));
    Ok(())
}

/// Notes that a credential was used, where that is to be kept again.
pub(super) async fn note_use(state: &AdminState, known: &Known, now: Timestamp) {
    if let Some(credential) = known.asked.as_ref().filter(|credential| state.asked.is_use_due(credential.id, now)) {
        let (asked, id) = (Arc::clone(&state.asked), credential.id);
        // That it is not kept is no reason to refuse the call.
        let _ = aside::done(move || asked.used(id, now)).await;
    }
}

/// The page of `validationUrl`. It tells nothing that depends on which numbers exist.
pub(super) fn page(call: &Call) -> Response {
    let id = call.uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("credentialId="));
    let id = id.filter(|id| (1..=19).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()));
    let command = format!("farmgate credentials grant {}", id.unwrap_or("NUMBER"));
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Farmgate: a credential waits</title>\
         <body><h1>A credential waits to be granted</h1><p>Somebody who operates this balancer looks at it with \
         <code>farmgate credentials</code> and grants it with</p><pre>{command}</pre></body></html>\n"
    );
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (HeaderName::from_static("content-security-policy"), "default-src 'none'"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Only the key is sent: it is public, so what it may do is ask.
fn application<'c>(credentials: &'c Credentials, call: &Call) -> Result<&'c OvhApplication, Refusal> {
    let key = call.headers.get("x-ovh-application").and_then(|key| key.to_str().ok());
    let key = key.ok_or_else(Refusal::not_logged_in)?;
    let found = credentials.ovh_applications.iter().find(|known| *known.key == *key);
    let is_known = credentials.ovh.iter().any(|known| *known.application_key == *key);
    found.ok_or_else(|| if is_known { Refusal::may_not_ask() } else { Refusal::unknown_application() })
}

fn credential(
    application: &OvhApplication,
    wanted: wire::WantedCredential,
    now: Timestamp,
) -> Result<AskedCredential, AdminError> {
    let wire::WantedCredential { access_rules, redirection, allowed_ips } = wanted;
    let rules = access_rules.ok_or(AdminError::Missing("accessRules"))?;
    let nets = allowed_ips.unwrap_or_default();
    bounded("accessRules", rules.len(), 1)?;
    bounded("allowedIPs", nets.len(), 0)?;
    let bad = |field, got: &str, bound: String| AdminError::BadValue { field, got: quoted(got), bound };
    let rule = |rule: &wire::WantedRule| {
        let bound = |why| format!("what a rule is: {why}");
        CallRule::new(&rule.method, &rule.path).map_err(|why| bad("accessRules", &rule.path, bound(why)))
    };
    let net = |text: &String| {
        let net = text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| IpNet::from(ip)));
        net.ok_or_else(|| bad("allowedIPs", text, "addresses and networks, e.g. 192.0.2.0/24".to_owned()))
    };
    if let Some(long) = redirection.as_ref().filter(|url| url.len() > REDIRECTION_BYTES_MAX) {
        return Err(bad("redirection", long, format!("{REDIRECTION_BYTES_MAX} bytes")));
    }
    Ok(AskedCredential {
        id: 0,
        application_key: application.key.clone(),
        nonce: rand::random(),
        rules: rules.iter().map(rule).collect::<Result<_, _>>()?,
        allowed_ips: nets.iter().map(net).collect::<Result<_, _>>()?,
        redirection: redirection.map(Into::into),
        asked_at: now,
        verdict: None,
        last_use: None,
    })
}

fn bounded(field: &'static str, count: usize, least: usize) -> Result<(), AdminError> {
    if (least..=LIST_MAX).contains(&count) {
        return Ok(());
    }
    Err(AdminError::BadValue { field, got: format!("{count} of them"), bound: format!("{least}..={LIST_MAX}") })
}

fn refused(call: &Call, error: &AskError) -> Refusal {
    match error {
        AskError::Journal(error) => {
            tracing::error!(request_id = call.request_id, error = %report(error), "credential not kept");
            AdminError::NotKept.into()
        }
        AskError::NoRoom(_) => Refusal::too_many(&error.to_string()),
        AskError::NotPending { .. } => AdminError::Conflict(error.to_string()).into(),
        AskError::Unknown(id) => AdminError::NotFound { kind: "credential", id: id.to_string() }.into(),
    }
}
