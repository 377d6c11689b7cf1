//! The `$1$` signature and bearer tokens. Reads the call and the credentials, nothing else; time is the call's own.
//!
//! `X-Ovh-Signature: "$1$" + hex(sha1(AS+CK+METHOD+URL+BODY+TIMESTAMP))`, joined by `+`. Clients sign different forms of
//! the same URL: python-ovh and go-ovh the literal one, node-ovh always `https` and never the port; a proxy in front
//! may change the scheme, or host and path, which the config says then. So each form that could be meant is tried. A bare SHA-1 is open to length extension, whose
//! padding always holds NUL bytes: bodies where none belong, bodies that are not UTF-8 JSON and timestamps that are not
//! exactly ten digits are refused before anything happens.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use sha1::{Digest, Sha1};

use super::credential::Known;
use super::error::Refusal;
use super::path;
use crate::admin::asked::Asked;
use crate::admin::call::{AdminState, Call, Caller, Credentials};
use crate::admin::gate::Shown;
use crate::admin::{native, secret};
use crate::model::Secret;
use crate::model::credential::AskedCredential;
use crate::model::settings::{CallRule, Grant, OvhApplication, OvhCredential};

/// How far a client's clock may be from ours, either way.
pub(super) const SKEW_SECONDS_MAX: u64 = 300;
const TIMESTAMP_DIGITS: usize = 10;

/// Returns who makes the call and with what. A signature is looked at before a bearer token.
///
/// # Errors
/// A [`Refusal`] in the order of the vendor: application key, time, consumer key, signature, rules.
pub(super) fn authenticate(credentials: &Credentials, asked: &Asked, call: &Call) -> Result<Known, Refusal> {
    if let Some(signature) = header(call, "x-ovh-signature") {
        return signed(credentials, asked, call, signature);
    }
    if !call.headers.contains_key(AUTHORIZATION) && call.certificate.is_none() {
        return Err(Refusal::not_logged_in());
    }
    let caller = native::caller(credentials, call).map_err(|why| Refusal::unknown_token(&why))?;
    Ok(Known { caller, asked: None, rules: CallRule::every() })
}

/// Returns what a call shows to say who makes it, if anything: of a signature the keys that it is by.
pub(in crate::admin) fn shown(call: &Call) -> Option<Shown> {
    if !call.headers.contains_key("x-ovh-signature") {
        return native::shown(call);
    }
    let part = |name: &str| call.headers.get(name).map_or(&b""[..], http::HeaderValue::as_bytes);
    Some(Shown::of(&[part("x-ovh-application"), part("x-ovh-consumer")]))
}

/// Returns whether the keys that a call shows are known, as far as that can be told without its body.
pub(super) fn is_known(state: &AdminState, call: &Call) -> bool {
    let credentials = state.credentials.load();
    if !call.headers.contains_key("x-ovh-signature") {
        return native::caller(&credentials, call).is_ok();
    }
    let keys = header(call, "x-ovh-application").zip(header(call, "x-ovh-consumer"));
    keys.is_some_and(|(application, consumer)| {
        let is_it = |c: &&OvhCredential| *c.application_key == *application;
        let mut declared = credentials.ovh.iter().filter(is_it);
        let asking = credentials.ovh_applications.iter().find(|known| *known.key == *application);
        declared.any(|c| secret::is_same(c.consumer_key.reveal(), consumer))
            || asking.is_some_and(|application| state.asked.find(application, consumer).is_some())
    })
}

fn signed(credentials: &Credentials, asked: &Asked, call: &Call, signature: &str) -> Result<Known, Refusal> {
    let application = header(call, "x-ovh-application").ok_or_else(Refusal::not_logged_in)?;
    let consumer = header(call, "x-ovh-consumer").ok_or_else(Refusal::not_logged_in)?;
    let mut of_application = credentials.ovh.iter().filter(|c| *c.application_key == *application).peekable();
    let asking = credentials.ovh_applications.iter().find(|known| *known.key == *application);
    if of_application.peek().is_none() && asking.is_none() {
        return Err(Refusal::unknown_application());
    }
    let timestamp = header(call, "x-ovh-timestamp").unwrap_or_default();
    check_time(timestamp, call.now.unix_seconds())?;
    let declared: Vec<_> = of_application.filter(|c| secret::is_same(c.consumer_key.reveal(), consumer)).collect();
    let found = asking.and_then(|application| Some((application, asked.find(application, consumer)?)));
    if declared.is_empty() && found.is_none() {
        return Err(Refusal::unknown_consumer());
    }
    let urls = urls(call, credentials.ovh_public_url.as_deref());
    let is_signed_with = |secret: &Secret| {
        let fits = |url: &String| secret::is_same(&expected((secret, consumer), call, url, timestamp), signature);
        urls.iter().filter(|url| fits(url)).count() > 0
    };
    let known = if let Some(credential) = declared.iter().find(|c| is_signed_with(&c.application_secret)) {
        Known { caller: Caller::of(&credential.grant), asked: None, rules: credential.rules.clone() }
    } else {
        let signed = found.filter(|(application, _)| is_signed_with(&application.secret));
        let (application, credential) = signed.ok_or_else(Refusal::bad_signature)?;
        granted(application, credential, call)?
    };
    let path = path::without_prefix(call.uri.path()).unwrap_or_default();
    if !known.rules.iter().any(|rule| rule.allows(call.method.as_str(), path)) {
        return Err(Refusal::not_granted());
    }
    Ok(known)
}

/// What was asked for is worth what an operator made of it, and no more than its application is.
fn granted(application: &OvhApplication, credential: Arc<AskedCredential>, call: &Call) -> Result<Known, Refusal> {
    let Some(granted) = credential.granted(call.now) else {
        return Err(Refusal::not_valid(credential.state(call.now).as_str()));
    };
    if !credential.allowed_ips.is_empty() && !credential.allowed_ips.iter().any(|net| net.contains(&call.peer)) {
        return Err(Refusal::not_from(call.peer));
    }
    let name = format!("{} #{}", application.name, credential.id).into();
    let access = granted.access.min(application.access);
    let caller = Caller { grant: Grant { name, access, farms: granted.farms.clone() } };
    Ok(Known { caller, rules: credential.rules.clone(), asked: Some(credential) })
}

fn check_time(timestamp: &str, now: u64) -> Result<(), Refusal> {
    let is_plain = timestamp.len() == TIMESTAMP_DIGITS && timestamp.bytes().all(|b| b.is_ascii_digit());
    let seconds = timestamp.parse::<u64>().ok().filter(|_| is_plain);
    match seconds {
        Some(seconds) if seconds.abs_diff(now) <= SKEW_SECONDS_MAX => Ok(()),
        _ => Err(Refusal::out_of_time(timestamp, now)),
    }
}

fn expected((secret, consumer): (&Secret, &str), call: &Call, url: &str, timestamp: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(secret.reveal());
    hash.update("+");
    hash.update(consumer);
    hash.update("+");
    hash.update(call.method.as_str());
    hash.update("+");
    hash.update(url);
    hash.update("+");
    hash.update(&call.body);
    hash.update("+");
    hash.update(timestamp);
    format!("$1${}", hex::encode(hash.finalize()))
}

/// Every URL that a client could mean by this request: both schemes, the host as sent and without its port, and with
/// the scheme's own port where none was sent; and the one that the config says clients know. Path and query are as sent.
fn urls(call: &Call, public: Option<&str>) -> Vec<String> {
    let sent = call.headers.get(HOST).and_then(|h| h.to_str().ok());
    let host = sent.or_else(|| call.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    let target = call.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let name = without_port(host);
    let mut urls = Vec::with_capacity(5);
    urls.extend(public.zip(path::without_prefix(target)).map(|(public, below)| format!("{public}{below}")));
    for (scheme, port) in [("http", 80), ("https", 443)] {
        urls.push(format!("{scheme}://{host}{target}"));
        urls.push(if name == host {
            format!("{scheme}://{host}:{port}{target}")
        } else {
            format!("{scheme}://{name}{target}")
        });
    }
    urls
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn header<'c>(call: &'c Call, name: &str) -> Option<&'c str> {
    call.headers.get(name)?.to_str().ok()
}
