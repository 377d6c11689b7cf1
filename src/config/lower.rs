//! A tree becomes the model: every key is asked for, every rule is checked, every error is collected.
//!
//! What holds between sections is checked here: a frontend's farm exists and speaks its protocol, no two listeners
//! share an address, no two objects share a numeric id. A result is used only where nothing was reported. Pure but for
//! the files that it names, read through the function handed in.

pub(super) mod alone;

mod access;
mod acme;
mod admin;
mod farm;
mod frontend;
mod journal;
mod log;
mod probe;
mod secret;
mod service;
mod text;
mod tracing;
mod webhook;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub(super) use self::frontend::NOTHING_HERE;
use self::text::path;
use super::bounds::{CHECKS_AT_ONCE, FARMS_MAX, FRONTENDS_MAX, GRACE, MEMORY, WORKERS};
use super::error::Findings;
use super::keys;
use super::read::{Section, Value};
use super::tree::{Position, Tree};
use crate::model::settings::{MemoryBound, RunAs};
use crate::model::{FarmId, ListenAddr, Name, Protocol, Settings, Topology};

/// Reads a file that the config file names.
pub(super) type ReadFile<'r> = &'r dyn Fn(&Path) -> io::Result<String>;

/// What a farm is read with beside its own section.
#[derive(Clone, Copy)]
struct Around<'r> {
    read_file: ReadFile<'r>,
    commands: Commands,
}

/// Whether probes may run programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commands {
    Allowed,
    Refused,
}

/// Something lowered, with where it was declared.
struct Placed<T> {
    path: String,
    at: Position,
    it: T,
}

impl<T> Placed<T> {
    fn new(value: &Value<'_>, it: T) -> Self {
        Self { path: value.path.clone(), at: value.key_at, it }
    }
}

/// Returns the model of the tree; it holds only if nothing was reported.
pub(super) fn lower(root: &Tree, read_file: ReadFile<'_>, findings: &mut Findings) -> Option<(Topology, Settings)> {
    let file = Value::root(root).section(findings, keys::FILE)?;
    let service = service::lower(&file, findings);

    let remedy = "write frontends: {name: {protocol: …, listen: [\"ip:port\"], farm: …}}, or {} for none";
    let frontends_value = file.need(findings, "frontends", remedy);
    let farms_value = file.need(findings, "farms", "write farms: {name: {protocol: …, servers: …}}, or {} for none");
    let farm_values = farms_value.map_or_else(Vec::new, |value| value.entries(findings, "farms", FARMS_MAX));
    let protocols = declared_protocols(&farm_values);
    let around = Around { read_file, commands: admin::commands(&file) };
    let farms: Vec<_> =
        farm_values.iter().filter_map(|v| farm::lower(v, around, findings).map(|farm| Placed::new(v, farm))).collect();

    let values = frontends_value.map_or_else(Vec::new, |value| value.entries(findings, "frontends", FRONTENDS_MAX));
    let mut listeners = Listeners::default();
    let frontends: Vec<_> = values
        .iter()
        .filter_map(|v| {
            let frontend = frontend::lower(v, &protocols, read_file, &mut listeners, findings);
            frontend.map(|frontend| Placed::new(v, frontend))
        })
        .collect();

    let settings = settings(&file, read_file, &mut listeners, findings);
    check_ids(&farms, &frontends, findings);
    warn_of_idle_farms(&farms, &frontends, findings);
    let topology = Topology {
        service: Arc::new(service?),
        frontends: frontends.into_iter().map(|f| Arc::new(f.it.frontend)).collect(),
        farms: farms.into_iter().map(|f| Arc::new(f.it.farm)).collect(),
        made: Arc::default(),
    };
    Some((topology, settings))
}

/// The farms that a frontend may name, right or wrong.
type Protocols<'t> = HashMap<&'t str, Known>;

/// A farm that a frontend may name.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// What it speaks, where that can be read.
    protocol: Option<Protocol>,
    id: FarmId,
}

impl Known {
    fn of((protocol, id): (Protocol, FarmId)) -> Self {
        Self { protocol: Some(protocol), id }
    }
}

fn declared_protocols<'t>(farms: &[Value<'t>]) -> Protocols<'t> {
    let mut unheard = Findings::default();
    let mut protocol = |value: &Value<'t>| {
        value.section(&mut unheard, keys::FARM)?.get("protocol")?.word(&mut Findings::default(), farm::PROTOCOLS)
    };
    // A farm of a bad name has its own error.
    let id = |value: &Value<'t>| Name::parse(value.key).map_or(FarmId(0), |name| FarmId::derive(&name));
    farms.iter().map(|value| (value.key, Known { protocol: protocol(value), id: id(value) })).collect()
}

fn settings(
    file: &Section<'_>,
    read_file: ReadFile<'_>,
    listeners: &mut Listeners,
    findings: &mut Findings,
) -> Settings {
    let workers = file.or(findings, "workers", None, |value, findings| {
        let mut unheard = Findings::default();
        match value.text(&mut unheard, "") {
            Some("auto") => Some(None),
            _ => value.number(findings, &WORKERS, "write auto for one per core").map(|n| Some(usize::from(n))),
        }
    });
    let state_dir = file.or(findings, "state_dir", None, |value, findings| Some(Some(path(value, findings)?)));
    let grace = file.duration(findings, "grace", &GRACE);
    let checks_at_once = file.number(findings, "checks_at_once", &CHECKS_AT_ONCE, "write a number within");
    let memory = memory(file, findings);
    let admin = file.get("admin").and_then(|value| admin::lower(&value, read_file, listeners, findings));
    let log = log::lower(file, findings);
    let journal = journal::lower(file, findings);
    let webhooks = file.get("webhooks").map_or_else(Vec::new, |value| webhook::lower(&value, read_file, findings));
    let acme = file.get("acme").and_then(|value| acme::lower(&value, state_dir.is_some(), read_file, findings));
    let tracing = file.get("tracing").and_then(|value| tracing::lower(&value, read_file, findings));
    let upgrade_socket = file.get("upgrade_socket").and_then(|value| path(&value, findings));
    Settings {
        workers,
        state_dir,
        grace,
        checks_at_once: usize::from(checks_at_once),
        memory,
        admin,
        journal,
        webhooks,
        acme,
        log,
        tracing,
        upgrade_socket,
        run_as: run_as(file, findings),
    }
}

/// Reads what the process may hold.
fn memory(file: &Section<'_>, findings: &mut Findings) -> MemoryBound {
    file.or(findings, "limits", MemoryBound::Auto, |value, findings| {
        let limits = value.section(findings, keys::PROCESS_LIMITS)?;
        limits.get("memory").and_then(|value| {
            let mut unheard = Findings::default();
            match value.text(&mut unheard, "") {
                Some("auto") => Some(MemoryBound::Auto),
                Some("none") => Some(MemoryBound::Unbounded),
                _ => value.size(findings, &MEMORY).map(MemoryBound::Bytes),
            }
        })
    })
}

/// Reads whom root becomes.
fn run_as(file: &Section<'_>, findings: &mut Findings) -> Option<RunAs> {
    let mut name = |key: &str| {
        let value = file.get(key)?;
        let text = value.text(findings, "a name").filter(|name| !name.is_empty());
        text.map(Box::from).or_else(|| {
            value.refuse(findings, "is no name; write the name of a user or group of this machine");
            None
        })
    };
    let (user, group) = (name("user"), name("group"));
    if group.is_some() && file.get("user").is_none() {
        file.complain(findings, "group: is taken on with user only; write user: NAME too");
    }
    Some(RunAs { user: user?, group })
}

/// Reads an `ip:port` to listen on.
fn listen_addr(value: &Value<'_>, findings: &mut Findings) -> Option<SocketAddr> {
    value.parsed(findings, "an ip:port to listen on", |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| "is not ip:port; write \"127.0.0.1:80\", \"0.0.0.0:80\" or \"[::]:80\" for every address")
    })
}

/// The addresses that are listened on so far, with where they were declared. Connections and datagrams may share one.
#[derive(Default)]
struct Listeners {
    connections: HashMap<ListenAddr, (String, Position)>,
    datagrams: HashMap<ListenAddr, (String, Position)>,
}

impl Listeners {
    /// Adds an address for connections, or reports who has it already. Port 0 is never the same port twice.
    fn add(&mut self, addr: &ListenAddr, value: &Value<'_>, findings: &mut Findings) {
        Self::add_to(&mut self.connections, addr, value, findings);
    }

    /// Adds an address for datagrams, or reports who has it already.
    fn add_datagrams(&mut self, addr: &ListenAddr, value: &Value<'_>, findings: &mut Findings) {
        Self::add_to(&mut self.datagrams, addr, value, findings);
    }

    /// Tells who has an address for connections.
    fn taken(&self, addr: &ListenAddr) -> Option<String> {
        Self::taken_of(&self.connections, addr)
    }

    fn add_to(
        all: &mut HashMap<ListenAddr, (String, Position)>,
        addr: &ListenAddr,
        value: &Value<'_>,
        findings: &mut Findings,
    ) {
        if addr.is_chosen() {
            return;
        }
        if let Some(taken) = Self::taken_of(all, addr) {
            value.refuse(findings, format!("{taken}; choose another address or port"));
        } else {
            all.insert(addr.clone(), (value.path.clone(), value.tree.at));
        }
    }

    fn taken_of(all: &HashMap<ListenAddr, (String, Position)>, addr: &ListenAddr) -> Option<String> {
        all.get(addr).map(|(path, at)| format!("is taken by {path} at {at}"))
    }
}

fn check_ids(farms: &[Placed<farm::Lowered>], frontends: &[Placed<frontend::Lowered>], findings: &mut Findings) {
    refuse_same_ids(farms.iter().map(|f| (f.it.farm.id.0, f.path.as_str(), f.at)), findings);
    refuse_same_ids(frontends.iter().map(|f| (f.it.frontend.id.0, f.path.as_str(), f.at)), findings);
    let servers = farms.iter().flat_map(|farm| &farm.it.servers);
    refuse_same_ids(servers.map(|s| (s.it.0, s.path.as_str(), s.at)), findings);
    let routes = frontends.iter().flat_map(|frontend| &frontend.it.routes);
    refuse_same_ids(routes.map(|r| (r.it.0, r.path.as_str(), r.at)), findings);
}

/// Ids are derived from names, so two names can, very rarely, give one id.
fn refuse_same_ids<'p, I: Copy + Eq + Hash + std::fmt::Display>(
    ids: impl Iterator<Item = (I, &'p str, Position)>,
    findings: &mut Findings,
) {
    let mut seen: HashMap<I, (&str, Position)> = HashMap::new();
    for (id, path, at) in ids {
        if let Some((first, first_at)) = seen.get(&id) {
            let text = format!("gives the numeric id {id}, as {first} at {first_at} does; rename one of the two");
            findings.error(at, path, text);
        } else {
            seen.insert(id, (path, at));
        }
    }
}

fn warn_of_idle_farms(
    farms: &[Placed<farm::Lowered>],
    frontends: &[Placed<frontend::Lowered>],
    findings: &mut Findings,
) {
    let fed: std::collections::HashSet<_> = frontends.iter().flat_map(|f| f.it.frontend.farms()).collect();
    for farm in farms.iter().filter(|farm| !fed.contains(&farm.it.farm.id)) {
        findings.warn(farm.at, &farm.path, "no frontend feeds this farm; it is only checked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_collide_are_refused_at_the_second() {
        let mut findings = Findings::default();
        let at = |line| Position { line, column: 3 };
        let ids = [(7, "farms.a", at(2)), (8, "farms.b", at(3)), (7, "farms.c", at(4))];
        refuse_same_ids(ids.into_iter(), &mut findings);
        let lines: Vec<_> = findings.errors.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["4:3 farms.c: gives the numeric id 7, as farms.a at 2:3 does; rename one of the two"]);
    }
}
