//! `admin`: where the admin side listens, how it is encrypted and who may use it.
//!
//! Plain HTTP is for loopback only and nobody listens without a credential: the vendors' signatures cover too little of
//! a request to be the only protection.

use std::net::SocketAddr;

use super::{Commands, Listeners, ReadFile, access, listen_addr, path};
use crate::config::bounds::{ADMIN_LISTEN, LIST_MAX, RATE_REQUESTS, RATE_WINDOW};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::AdminSettings;
use crate::model::settings::{AdminTls, CallRate, MetricsAccess};
use crate::model::tls::ClientAuth;

/// Whether a client must show a certificate.
const ASKS: &[(&str, bool)] = &[("required", true), ("optional", false)];
/// The longest host name there is, in bytes.
const HOST_BYTES_MAX: usize = 253;
const METRICS: &[(&str, MetricsAccess)] = &[("token", MetricsAccess::Token), ("open", MetricsAccess::Open)];

/// Lowers `admin`.
pub(super) fn lower(
    value: &Value<'_>,
    read_file: ReadFile<'_>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Option<AdminSettings> {
    let section = value.section(findings, keys::ADMIN)?;
    let tls = section.get("tls").map_or(Some((AdminTls::Off, None)), |value| tls(&value, findings));
    let (tls, clients) = tls.map_or((None, None), |(tls, clients)| (Some(tls), clients));
    let listen = listen(&section, tls.as_ref(), listeners, findings);
    let hosts = section.get("hosts").map(|value| hosts(&value, findings)).unwrap_or_default();
    let metrics =
        section.or(findings, "metrics", MetricsAccess::Token, |value, findings| value.word(findings, METRICS));
    let commands = allowed(&section, findings);
    let rate = section.get("rate").map_or(Some(CallRate::DEFAULT), |value| rate(&value, findings));
    let tokens = section.get("tokens").map(|value| access::tokens(&value, read_file, clients.is_some(), findings));
    let (tokens, holders) = tokens.unwrap_or_default();
    let ovh = section.get("ovh").map(|value| access::ovh(&value, read_file, findings));
    let (ovh, ovh_applications) = ovh.unwrap_or_default();
    let ovh_bounds = section.get("ovh").map(|value| access::ovh_bounds(&value, findings)).unwrap_or_default();
    let ovh_public_url = section.get("ovh").and_then(|value| access::ovh_public_url(&value, findings));
    let zenlayer = section.get("zenlayer").map(|value| access::zenlayer(&value, read_file, findings));
    refuse_without_credentials(&section, findings);
    if section.get("tokens").is_none_or(|value| !holds_any(&value)) {
        let metrics = if metrics == MetricsAccess::Token { ", /metrics" } else { "" };
        let remedy = "write tokens: [{name: ops, role: operate, token_file: FILE}]";
        section
            .warn(findings, format!("nobody can use /api/v1{metrics} and the command line without tokens; {remedy}"));
    }
    Some(AdminSettings {
        listen: listen?,
        tls: tls?,
        clients,
        hosts,
        metrics,
        rate: rate?,
        tokens,
        holders,
        ovh,
        ovh_applications,
        ovh_bounds,
        ovh_public_url,
        zenlayer: zenlayer.unwrap_or_default(),
        allow_commands: commands == Commands::Allowed,
    })
}

/// Returns whether probes may run programs, for the farms, which are read first. Says nothing of what is wrong.
pub(super) fn commands(file: &Section<'_>) -> Commands {
    let mut unheard = Findings::default();
    let section = file.get("admin").and_then(|value| value.section(&mut unheard, keys::ADMIN));
    section.map_or(Commands::Refused, |section| allowed(&section, &mut unheard))
}

fn allowed(section: &Section<'_>, findings: &mut Findings) -> Commands {
    if section.or(findings, "allow_commands", false, Value::flag) { Commands::Allowed } else { Commands::Refused }
}

/// Reads names of the admin side: without port, and none that only looks like one.
fn hosts(value: &Value<'_>, findings: &mut Findings) -> Vec<Box<str>> {
    let items = value.list(findings, "host names", LIST_MAX);
    let name = |item: &Value<'_>, findings: &mut Findings| {
        item.parsed(findings, "a host name", |text| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            let is_good = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
            is_good.then(|| Box::from(text)).ok_or("is no host name; write it without scheme and port, e.g. lb.example")
        })
    };
    items.iter().filter_map(|item| name(item, findings)).collect()
}

fn rate(value: &Value<'_>, findings: &mut Findings) -> Option<CallRate> {
    let section = value.section(findings, keys::CALL_RATE)?;
    let requests = section
        .need(findings, "requests", "write how many calls a window one credential may make")
        .and_then(|value| value.number(findings, &RATE_REQUESTS, "it counts calls a window"));
    let window = section.duration(findings, "window", &RATE_WINDOW);
    let burst = section.or(findings, "burst", requests, |value, findings| {
        value.number(findings, &RATE_REQUESTS, "it counts calls that may come at once").map(Some)
    });
    Some(CallRate { requests: requests?, window, burst: burst? })
}

/// Reads how the listener is encrypted and how clients are asked for certificates.
fn tls(value: &Value<'_>, findings: &mut Findings) -> Option<(AdminTls, Option<ClientAuth>)> {
    if value.is_scalar() {
        let remedy = "is not auto and not a mapping; write auto or {cert: FILE, key: FILE}";
        let auto = (AdminTls::Auto, None);
        return value.parsed(findings, "auto", |text| (text == "auto").then_some(auto).ok_or(remedy));
    }
    let section = value.section(findings, keys::TLS)?;
    let clients = clients(&section, findings);
    if section.get("cert").is_none() && section.get("key").is_none() && section.get("client_ca").is_some() {
        return Some((AdminTls::Auto, clients));
    }
    let cert = section.need(findings, "cert", "write cert: FILE, a PEM chain").and_then(|value| path(&value, findings));
    let key =
        section.need(findings, "key", "write key: FILE, a PEM private key").and_then(|value| path(&value, findings));
    Some((AdminTls::Files { cert: cert?, key: key? }, clients))
}

fn clients(section: &Section<'_>, findings: &mut Findings) -> Option<ClientAuth> {
    let asks = section.or(findings, "client_auth", None, |value, findings| Some(Some(value.word(findings, ASKS)?)));
    let Some(value) = section.get("client_ca") else {
        if let Some(value) = section.get("client_auth") {
            value.complain(findings, "needs client_ca, the file of the authorities of clients; write it");
        }
        return None;
    };
    Some(ClientAuth { ca: path(&value, findings)?.into(), crl: None, is_required: asks.unwrap_or(true) })
}

fn listen(
    section: &Section<'_>,
    tls: Option<&AdminTls>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Option<SocketAddr> {
    let Some(value) = section.get("listen") else {
        let addr: SocketAddr = ADMIN_LISTEN.parse().ok()?;
        if let Some(taken) = listeners.taken(&addr.into()) {
            section.complain(findings, format!("listens on {addr} by default, which {taken}; write another as listen"));
        }
        return Some(addr);
    };
    let addr = listen_addr(&value, findings)?;
    listeners.add(&addr.into(), &value, findings);
    if !addr.ip().is_loopback() && tls == Some(&AdminTls::Off) {
        let remedy = "add tls: auto or tls: {cert: FILE, key: FILE}, or listen on 127.0.0.1";
        value.refuse(findings, format!("is outside loopback and not encrypted; {remedy}"));
    }
    Some(addr)
}

/// Counts what is written rather than what is right: a wrong credential has its own error.
fn refuse_without_credentials(section: &Section<'_>, findings: &mut Findings) {
    let inner = |key: &str, keys, lists: &[&str]| {
        section.get(key).is_some_and(|value| {
            let inner = value.section(&mut Findings::default(), keys);
            inner.is_none_or(|inner| {
                let written: Vec<_> = lists.iter().filter_map(|list| inner.get(list)).collect();
                written.is_empty() || written.iter().any(holds_any)
            })
        })
    };
    let has_any = section.get("tokens").is_some_and(|value| holds_any(&value))
        || inner("ovh", keys::OVH, &["credentials", "applications"])
        || inner("zenlayer", keys::ZENLAYER, &["access_keys"]);
    if !has_any {
        let remedy = "write tokens: [{name: ops, role: operate, token_file: FILE}], or remove admin";
        section.complain(findings, format!("nobody could use it: there is no credential; {remedy}"));
    }
}

fn holds_any(value: &Value<'_>) -> bool {
    !value.is_empty()
}
