//! `frontends.NAME`: an entry with its listeners, deadlines and bounds.

use std::net::IpAddr;

use ipnet::IpNet;

use super::farm::PROTOCOLS;
use super::{Listeners, Protocols, listen_addr};
use crate::config::bounds::{
    BODY, BODY_BYTES, CLIENT_IDLE, CONNECTIONS, HEADER, HEADER_BYTES, LIST_MAX, LISTENERS_MAX, TUNNEL, URI_BYTES, WRITE,
};
use crate::config::error::{Findings, did_you_mean};
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::tree::Content;
use crate::config::units::show_size;
use crate::model::{FarmId, Frontend, FrontendId, FrontendTimeouts, Limits, ListenAddr, Name, Protocol};

/// Lowers one frontend; nothing where it has no name, protocol or farm.
pub(super) fn lower(
    value: &Value<'_>,
    protocols: &Protocols<'_>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Option<Frontend> {
    let name = value.key_name(findings);
    let section = value.section(findings, keys::FRONTEND)?;
    let protocol = section
        .need(findings, "protocol", "write protocol: http or protocol: tcp")
        .and_then(|value| value.word(findings, PROTOCOLS));
    let listen = listen(&section, listeners, findings);
    let farm = section
        .need(findings, "farm", "write the name of one of the farms")
        .and_then(|value| farm(&value, protocol, protocols, findings));
    let trust = section.or(findings, "trust", Vec::new(), |value, findings| {
        let items = value.list(findings, "networks", LIST_MAX);
        Some(items.iter().filter_map(|item| network(item, findings)).collect())
    });
    let timeouts = timeouts(&section, findings);
    let limits = limits(&section, findings);
    if protocol == Some(Protocol::Tcp) {
        warn_of_http_keys(&section, findings);
    }
    let name = name?;
    Some(Frontend {
        listen,
        trust,
        timeouts,
        limits,
        ..Frontend::new(FrontendId::derive(&name), name, protocol?, farm?)
    })
}

fn listen(section: &Section<'_>, listeners: &mut Listeners, findings: &mut Findings) -> Vec<ListenAddr> {
    let Some(value) = section.need(findings, "listen", "write listen: [\"ip:port\"]") else { return Vec::new() };
    let items = value.list(findings, "ip:port", LISTENERS_MAX);
    if matches!(value.tree.content, Content::List(_)) && items.is_empty() {
        value.complain(findings, "is an empty list; write at least one \"ip:port\"");
    }
    let mut addrs = Vec::new();
    for item in items {
        if let Some(addr) = listen_addr(&item, findings) {
            listeners.add(addr, &item, findings);
            addrs.push(addr.into());
        }
    }
    addrs
}

fn farm(
    value: &Value<'_>,
    protocol: Option<Protocol>,
    protocols: &Protocols<'_>,
    findings: &mut Findings,
) -> Option<FarmId> {
    let text = value.text(findings, "the name of a farm")?;
    let Some(of_farm) = protocols.get(text) else {
        let mut names: Vec<_> = protocols.keys().copied().collect();
        names.sort_unstable();
        value.refuse(findings, format!("is not a farm of this file; {}", did_you_mean(text, names.into_iter())));
        return None;
    };
    if let (Some(ours), Some(theirs)) = (protocol, of_farm)
        && ours != *theirs
    {
        let (ours, theirs) = (ours.as_str(), theirs.as_str());
        value.refuse(findings, format!("speaks {theirs} and this frontend {ours}; give both the same protocol"));
    }
    Name::parse(text).ok().map(|name| FarmId::derive(&name))
}

fn network(value: &Value<'_>, findings: &mut Findings) -> Option<IpNet> {
    value.parsed(findings, "a network", |text| {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| "is not a network; write for example \"10.0.0.0/8\" or \"::1/128\"")
    })
}

fn timeouts(section: &Section<'_>, findings: &mut Findings) -> FrontendTimeouts {
    section.or(findings, "timeouts", FrontendTimeouts::default(), |value, findings| {
        let section = value.section(findings, keys::FRONTEND_TIMEOUTS)?;
        Some(FrontendTimeouts {
            header: section.duration(findings, "header", &HEADER),
            body: section.duration(findings, "body", &BODY),
            idle: section.duration(findings, "idle", &CLIENT_IDLE),
            write: section.duration(findings, "write", &WRITE),
            tunnel: section.duration(findings, "tunnel", &TUNNEL),
            ..FrontendTimeouts::default()
        })
    })
}

fn limits(section: &Section<'_>, findings: &mut Findings) -> Limits {
    section.or(findings, "limits", Limits::default(), |value, findings| {
        let section = value.section(findings, keys::LIMITS)?;
        let header_bytes = section.size(findings, "header_bytes", &HEADER_BYTES);
        let uri_bytes = section.size(findings, "uri_bytes", &URI_BYTES);
        if let Some(value) = section.get("uri_bytes")
            && uri_bytes > header_bytes
        {
            let head = show_size(header_bytes.into());
            value.refuse(findings, format!("is more than header_bytes, {head}, which holds the target too; lower it"));
        }
        Some(Limits {
            connections: section.number(findings, "connections", &CONNECTIONS, "write a number within"),
            header_bytes,
            uri_bytes: uri_bytes.min(header_bytes),
            body_bytes: section.size(findings, "body_bytes", &BODY_BYTES),
            ..Limits::default()
        })
    })
}

fn warn_of_http_keys(section: &Section<'_>, findings: &mut Findings) {
    for key in ["trust", "timeouts"] {
        if let Some(value) = section.get(key) {
            value.warn(findings, "has no effect on a tcp frontend; remove it");
        }
    }
}
