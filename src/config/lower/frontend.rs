//! `frontends.NAME`: an entry with its listeners, whom it lets in, what it makes of them and where their work goes.

mod action;
mod bounded;
mod entry;
mod heads;
mod page;
mod routes;
mod rule;

use std::sync::Arc;

use ipnet::IpNet;

use self::action::farm;
pub(super) use self::heads::{by_header, lower_name};
use super::farm::PROTOCOLS;
use super::{Listeners, Placed, Protocols, ReadFile};
use crate::config::bounds::{LIST_MAX, LISTENERS_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::tree::Content;
use crate::model::{Action, Forward, Frontend, FrontendId, ListenAddr, Name, Protocol, RouteId};

/// What clients get whom no route takes, of an http frontend that says nothing of them.
pub(in crate::config) const NOTHING_HERE: u16 = 404;

/// A frontend, with the places of its routes.
pub(super) struct Lowered {
    pub(super) frontend: Frontend,
    pub(super) routes: Vec<Placed<RouteId>>,
}

/// What the parts of a frontend are read against.
#[derive(Clone, Copy)]
struct Ground<'f> {
    protocol: Option<Protocol>,
    protocols: &'f Protocols<'f>,
    read_file: ReadFile<'f>,
}

impl Ground<'_> {
    /// Returns the word of a protocol that has no requests.
    fn without_requests(self) -> Option<&'static str> {
        self.protocol.filter(|protocol| *protocol != Protocol::Http).map(Protocol::as_str)
    }

    /// Refuses what a frontend without requests cannot have.
    fn refuse_without_requests(self, value: &Value<'_>, findings: &mut Findings) {
        if let Some(word) = self.without_requests() {
            value.complain(findings, format!("needs requests, and this frontend is {word}; remove it"));
        }
    }

    /// Refuses what datagrams cannot have.
    fn refuse_on_udp(self, value: &Value<'_>, findings: &mut Findings) {
        if self.protocol == Some(Protocol::Udp) {
            value.complain(findings, "needs connections, and this frontend is udp; remove it");
        }
    }

    /// Warns of a key that means nothing on a frontend of one of these protocols.
    fn warn_of(self, section: &Section<'_>, keys: &[&str], of: &[Protocol], findings: &mut Findings) {
        let Some(protocol) = self.protocol.filter(|protocol| of.contains(protocol)) else { return };
        for value in keys.iter().filter_map(|key| section.get(key)) {
            value.warn(findings, format!("has no effect on a {} frontend; remove it", protocol.as_str()));
        }
    }
}

/// Lowers one frontend; nothing where it has no name, protocol or place for its work.
pub(super) fn lower(
    value: &Value<'_>,
    protocols: &Protocols<'_>,
    read_file: ReadFile<'_>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Option<Lowered> {
    let name = value.key_name(findings);
    let section = value.section(findings, keys::FRONTEND)?;
    let protocol = section
        .need(findings, "protocol", "write protocol: http, protocol: tcp or protocol: udp")
        .and_then(|value| value.word(findings, PROTOCOLS));
    let ground = Ground { protocol, protocols, read_file };
    let listen = listen(&section, ground, listeners, findings);
    let tls = entry::tls(&section, ground, findings);
    let h2c = entry::h2c(&section, tls.is_some(), ground, findings);
    let accept_proxy = entry::accept_proxy(&section, ground, findings);
    let sources = entry::sources(&section, findings);
    let trust = section.or(findings, "trust", Vec::new(), |value, findings| {
        Some(networks(value, findings)).filter(|_| ground.without_requests().is_none())
    });
    ground.warn_of(&section, &["trust"], &[Protocol::Tcp, Protocol::Udp], findings);
    let hsts = page::hsts(&section, ground, findings);
    let maintenance = page::maintenance(&section, ground, findings);
    let request_headers = heads::rules(&section, "request_headers", ground, findings);
    let response_headers = heads::rules(&section, "response_headers", ground, findings);
    let timeouts = bounded::timeouts(&section, ground, findings);
    let limits = bounded::limits(&section, ground, findings);
    // A frontend without a good name still has its routes read, for their errors.
    let owner = name.clone().or_else(|| Name::parse("unnamed").ok())?;
    let routes = routes::lower(&section, &owner, ground, findings);
    let otherwise = otherwise(&section, ground, findings);
    let name = name?;
    let places = routes.iter().map(|r| Placed { path: r.path.clone(), at: r.at, it: r.it.id }).collect();
    let frontend = Frontend {
        id: FrontendId::derive(&name),
        name,
        protocol: protocol?,
        listen,
        tls,
        h2c,
        accept_proxy,
        sources,
        routes: routes.into_iter().map(|route| Arc::new(route.it)).collect(),
        otherwise: otherwise?,
        trust,
        maintenance,
        hsts,
        request_headers,
        response_headers,
        timeouts,
        limits,
    };
    Some(Lowered { frontend, routes: places })
}

fn listen(
    section: &Section<'_>,
    ground: Ground<'_>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Vec<ListenAddr> {
    let Some(value) = section.need(findings, "listen", "write listen: [\"ip:port\"]") else { return Vec::new() };
    let items = value.list(findings, "ip:port", LISTENERS_MAX);
    if matches!(value.tree.content, Content::List(_)) && items.is_empty() {
        value.complain(findings, "is an empty list; write at least one \"ip:port\"");
    }
    let mut addrs = Vec::new();
    for item in items {
        let Some(addr) = item.parsed(findings, "an address to listen on", parse_listen) else { continue };
        if addr.ip().is_none() {
            ground.refuse_on_udp(&item, findings);
        }
        if ground.protocol == Some(Protocol::Udp) {
            listeners.add_datagrams(&addr, &item, findings);
        } else {
            listeners.add(&addr, &item, findings);
        }
        addrs.push(addr);
    }
    addrs
}

fn parse_listen(text: &str) -> Result<ListenAddr, &'static str> {
    let is_line = !text.chars().any(char::is_control) && crate::config::tree::old_line_break(text).is_none();
    ListenAddr::parse(text).filter(|_| is_line).ok_or_else(|| {
        if text.starts_with("unix:") {
            "is no Unix socket; write unix:/path, absolute and at most 107 bytes"
        } else {
            "is not ip:port; write \"127.0.0.1:80\", \"0.0.0.0:80\" or \"[::]:80\" for every address, or \"unix:/path\""
        }
    })
}

/// What becomes of the work that no route takes: a farm's, a redirect's, rejected, or nothing where routes are all there
/// is.
fn otherwise(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Option<Action> {
    let farm = section.get("farm").map(|value| (farm(&value, ground, findings), value));
    let reject = section.get("reject").map(|value| {
        ground.refuse_on_udp(&value, findings);
        (action::reject(&value, ground, findings), value)
    });
    if let Some((_, value)) = &reject
        && let Some(other) = ["redirect", "farm"].into_iter().find(|key| section.get(key).is_some())
    {
        value
            .warn(findings, format!("has no effect beside {other}, which has what no route takes; remove one of them"));
    }
    if let Some(value) = section.get("redirect") {
        ground.refuse_without_requests(&value, findings);
        if let Some((_, value)) = &farm {
            value
                .warn(findings, "has no effect beside redirect, which answers what no route takes; remove one of them");
        }
        return action::redirect(&value, findings).map(Action::Redirect);
    }
    if let Some((farm, _)) = farm {
        return farm.map(|farm| Action::Forward(Forward::to(farm)));
    }
    if let Some((status, _)) = reject {
        return status.map(Action::Reject);
    }
    if section.get("routes").is_none_or(|value| value.is_empty()) {
        section.need(findings, "farm", "write the name of one of the farms, or a redirect, or routes");
        return None;
    }
    Some(Action::Reject(if ground.without_requests().is_some() { action::CLOSED } else { NOTHING_HERE }))
}

/// Reads a list of networks.
fn networks(value: &Value<'_>, findings: &mut Findings) -> Vec<IpNet> {
    let items = value.list(findings, "networks", LIST_MAX);
    items.iter().filter_map(|item| item.parsed(findings, "a network", entry::parse_network)).collect()
}
