//! Backends: described, registered, changed and deregistered.
//!
//! A backend is told by its address, by its instance id where it has one, and by its port where that leaves several. With
//! no port of its own it follows the listener, to each of its ports. A change of one that is not registered registers it,
//! as the Terraform provider needs; with an instance id nobody knows it is an error.

use std::collections::HashSet;
use std::net::IpAddr;

use http::StatusCode;
use serde_json::{Map, Value};

use super::error::Refusal;
use super::find::{balancer as balancer_in, listeners_of};
use super::request::Fields;
use super::target::{Lane, Target, balancer};
use super::to_wire;
use super::wire;
use super::wire::kept::{KeptBackend, keep, kept};
use super::write::{Asked, beside, maker, write};
use crate::admin::error::AdminError;
use crate::admin::guard::quoted;
use crate::model::{Host, Name, ObjectKind, Server, ServerAddr, ServerKey, Weight, Wish};
use crate::objects::whole::Maker;
use crate::objects::{Desk, Edit, Replace, World, form};
use crate::store::Snapshot;

/// Backends that one call may name.
const NAMED_MAX: usize = 1000;
const WEIGHT_DEFAULT: u16 = 100;
const INSTANCE_ID_BYTES_MAX: usize = 128;

/// DescribeBackends.
pub(super) fn describe(snapshot: &Snapshot, fields: &Fields) -> Result<wire::Backends, Refusal> {
    let balancer = balancer_in(snapshot, &fields.need_text("loadBalancerId")?)?;
    let listeners = listeners_of(snapshot, &balancer, fields.text("listenerId")?.as_deref())?;
    let backends = listeners.iter().flat_map(|it| to_wire::backends(snapshot, it)).collect();
    Ok(wire::Backends { backends })
}

/// DescribeBackendHealth.
pub(super) fn describe_health(snapshot: &Snapshot, fields: &Fields) -> Result<wire::BackendHealths, Refusal> {
    let balancer = balancer_in(snapshot, &fields.need_text("loadBalancerId")?)?;
    let listeners = listeners_of(snapshot, &balancer, fields.text("listenerId")?.as_deref())?;
    let backends = listeners.iter().flat_map(|it| to_wire::backend_healths(snapshot, it)).collect();
    Ok(wire::BackendHealths { backends })
}

/// What is done to backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Deregister,
    Modify,
    Register,
}

/// RegisterBackend, ModifyBackend and DeregisterBackend: all that is named, or nothing.
pub(super) async fn change(asked: Asked<'_>, fields: &Fields, deed: Deed) -> Result<wire::Nothing, Refusal> {
    let (balancer_id, id) = (fields.need_text("loadBalancerId")?, fields.need_text("listenerId")?);
    let named = fields.objects("backendServers", NAMED_MAX)?;
    let named = named.iter().map(Named::read).collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() {
        return Err(AdminError::Missing("backendServers").into());
    }
    refuse_twins(&named)?;
    let caller = asked.caller.clone();
    write(asked, move |desk| {
        let world = &*desk.view.live;
        let balancer = balancer(world, &balancer_id)?;
        let listener = Target::find(world, &balancer, &id)?;
        listener.allow(&caller)?;
        let maker = maker(listener.main()?.made.and_then(|made| made.service));
        let mut plan = Plan::new(desk, &listener, &maker)?;
        for it in &named {
            match deed {
                Deed::Deregister => plan.deregister(it)?,
                Deed::Modify => plan.modify(it)?,
                Deed::Register => plan.register(it)?,
            }
        }
        Ok((plan.edits, wire::Nothing {}))
    })
    .await
}

/// A backend that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    instance_id: Option<String>,
    /// As given: an address, or the name that a server of the file has instead.
    address: Option<String>,
    weight: Option<u16>,
    port: Option<u16>,
}

impl Named {
    fn read(of: &Fields) -> Result<Self, Refusal> {
        let instance_id = of.text("backendServers.instanceId")?;
        let address = of.text("backendServers.privateIpAddress")?;
        if let Some(id) = instance_id.as_ref().filter(|id| id.len() > INSTANCE_ID_BYTES_MAX) {
            let got = format!("{} bytes", id.len());
            let bound = format!("1..={INSTANCE_ID_BYTES_MAX}");
            return Err(AdminError::BadValue { field: "backendServers.instanceId", got, bound }.into());
        }
        if instance_id.is_none() && address.is_none() {
            return Err(AdminError::Missing("backendServers.privateIpAddress").into());
        }
        let small = |number: Option<u64>| number.and_then(|number| u16::try_from(number).ok());
        let port = of
            .number_but_zero("backendServers.port", &(1..=65_535))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_SERVER_PORT", error.to_string()))?;
        Ok(Self {
            instance_id,
            address,
            weight: small(of.number("backendServers.weight", &(0..=65_535))?),
            port: small(port),
        })
    }

    /// Returns its address, which must be one that a server can have.
    fn ip(&self) -> Result<IpAddr, Refusal> {
        let Some(text) = &self.address else {
            return Err(AdminError::Missing("backendServers.privateIpAddress").into());
        };
        let is_good = |ip: &IpAddr| {
            let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
        };
        text.parse().ok().filter(is_good).ok_or_else(|| {
            let text = quoted(text);
            let message = format!(
                "backendServers.privateIpAddress: \"{}\" is no address of a server; write one, without a port",
                text.escape_default()
            );
            Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_IP_ADDRESS", message)
        })
    }

    fn said(&self) -> String {
        let parts = [self.instance_id.clone(), self.address.clone(), self.port.map(|port| port.to_string())];
        quoted(&parts.into_iter().flatten().collect::<Vec<_>>().join(" ")).escape_default().to_string()
    }
}

fn refuse_twins(named: &[Named]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for it in named {
        if !seen.insert((&it.instance_id, &it.address, it.port)) {
            let message = format!("backendServers: \"{}\" is named twice; name each once", it.said());
            return Err(Refusal::new(StatusCode::CONFLICT, "INVALID_BACKEND_INSTANCE_MULTIPLE", message));
        }
    }
    Ok(())
}

/// The edits of one call.
struct Plan<'p> {
    desk: &'p Desk<'p>,
    world: &'p World,
    listener: &'p Target<'p>,
    maker: &'p Maker,
    /// The names of servers that are there, and of those to be made.
    names: HashSet<String>,
    /// Instance ids, and addresses with ports, of the same.
    taken: HashSet<String>,
    is_unweighted: bool,
    edits: Vec<Edit>,
}

impl<'p> Plan<'p> {
    fn new(desk: &'p Desk<'p>, listener: &'p Target<'p>, maker: &'p Maker) -> Result<Self, Refusal> {
        let world = &*desk.view.live;
        let is_unweighted = listener.shown()?.is_unweighted() && listener.is_own();
        let mut plan = Self {
            desk,
            world,
            listener,
            maker,
            names: HashSet::new(),
            taken: HashSet::new(),
            is_unweighted,
            edits: Vec::new(),
        };
        for server in plan.servers()? {
            plan.names.insert(server.name.to_string());
            plan.taken.insert(server.address.to_string());
            plan.taken.extend(plan.kept(server).instance_id);
        }
        Ok(plan)
    }

    fn servers(&self) -> Result<&'p [std::sync::Arc<Server>], Refusal> {
        let main = self.listener.main()?;
        main.farm.map(|farm| &*farm.servers).ok_or_else(|| {
            let message = "the listener leads to no farm; give its frontend one first".to_owned();
            Refusal::new(StatusCode::CONFLICT, "OPERATION_CONFLICT", message)
        })
    }

    fn kept(&self, server: &Server) -> KeptBackend {
        kept(self.world.made().get(server.id.into()).map(|made| &**made))
    }

    /// Finds a registered backend: by its instance id, by its address, and by its port where that leaves several.
    fn find(&self, named: &Named) -> Result<Option<&'p Server>, Refusal> {
        let has_address = |server: &Server, text: &str| match &server.address.host {
            Host::Ip(ip) => text.parse::<IpAddr>().is_ok_and(|it| it.to_canonical() == ip.to_canonical()),
            Host::Name(name) => **name == *text,
            Host::Unix(_) => server.address.to_string() == text,
        };
        let is_it = |server: &&std::sync::Arc<Server>| {
            let id = self.kept(server).instance_id;
            let is_instance = match (&named.instance_id, &id) {
                (Some(wanted), Some(is)) => wanted == is,
                (Some(_), None) => false,
                (None, _) => true,
            };
            is_instance && named.address.as_deref().is_none_or(|text| has_address(server, text))
        };
        let found: Vec<_> = self.servers()?.iter().filter(is_it).collect();
        let by_port = found.iter().find(|it| named.port == Some(it.address.port));
        match (&found[..], by_port) {
            ([], _) => Ok(None),
            (_, Some(it)) | ([it], None) => Ok(Some(it)),
            (several, None) => {
                let message = format!("\"{}\" is {} backends; name the port of one", named.said(), several.len());
                Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_SERVER_PORT", message))
            }
        }
    }

    fn need(&self, named: &Named) -> Result<&'p Server, Refusal> {
        self.find(named)?.ok_or_else(|| self.unknown(named))
    }

    fn unknown(&self, named: &Named) -> Refusal {
        let message = format!("backend \"{}\" is not registered in this listener", named.said());
        Refusal::new(StatusCode::NOT_FOUND, "INVALID_INSTANCE_NOT_FOUND", message)
    }

    /// Returns the same server in every lane.
    fn everywhere(&self, server: &Server) -> Vec<(&'p Lane<'p>, ServerKey)> {
        let in_lane = |lane: &'p Lane<'p>| {
            let farm = lane.farm?;
            let found = farm.servers.iter().find(|it| it.name == server.name)?;
            Some((lane, ServerKey { farm: farm.id, server: found.id }))
        };
        self.listener.lanes.iter().filter_map(in_lane).collect()
    }

    fn deregister(&mut self, named: &Named) -> Result<(), Refusal> {
        let server = self.need(named)?;
        let everywhere = self.everywhere(server);
        let is_at =
            |port: u16| server.address.port == port || everywhere.iter().any(|(lane, _)| lane.ports().contains(&port));
        if named.port.is_some_and(|port| !is_at(port)) {
            return Err(self.unknown(named));
        }
        for (_, key) in everywhere {
            self.edits.push(Edit::Delete { id: key.server.into() });
        }
        Ok(())
    }

    fn register(&mut self, named: &Named) -> Result<(), Refusal> {
        let ip = named.ip()?;
        self.check_port(named)?;
        let ports = self.listener.ports();
        let own = named.port.or_else(|| ports.first().copied().filter(|_| ports.len() == 1));
        if own.is_none() && !self.listener.is_own() {
            let message = "backendServers.port is missing, and the listener has several ports; send it".to_owned();
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_SERVER_PORT", message));
        }
        let asked = named.weight.unwrap_or(WEIGHT_DEFAULT);
        let name = self.fresh_name(ip, named.port)?;
        let follows = named.port.is_none() && self.listener.is_own();
        let beside_it = KeptBackend { instance_id: named.instance_id.clone(), follows, weight: Some(asked) };
        let claimed = ServerAddr { host: Host::Ip(ip), port: own.or_else(|| ports.first().copied()).unwrap_or(0) };
        self.claim(named, &claimed)?;
        for lane in &self.listener.lanes {
            let Some(farm) = lane.farm else { continue };
            let Some(port) = named.port.or_else(|| lane.ports().first().copied()) else { continue };
            let address = ServerAddr { host: Host::Ip(ip), port };
            let form = Map::from_iter([
                ("address".to_owned(), Value::from(address.to_string())),
                ("weight".to_owned(), self.effective(asked).into()),
            ]);
            let id = self.desk.fresh_id();
            let edit = self.maker.create(id, ObjectKind::Server, &name, Some(farm.id.into()), form);
            self.edits.push(beside(edit, keep("{}", &beside_it)));
        }
        Ok(())
    }

    fn modify(&mut self, named: &Named) -> Result<(), Refusal> {
        if named.instance_id.is_none() && self.find(named)?.is_none() {
            return self.register(named);
        }
        let server = self.need(named)?;
        let port = named.port.filter(|port| *port != server.address.port);
        self.check_port(named)?;
        for (lane, key) in self.everywhere(server) {
            let Some(is) = lane.farm.and_then(|farm| farm.servers.iter().find(|it| it.id == key.server)) else {
                continue;
            };
            let made = self.world.made().get(key.server.into());
            let address = port.map(|port| ServerAddr { port, ..is.address.clone() }.to_string());
            if let Some(made) = made {
                let before: KeptBackend = kept(Some(made));
                let after = KeptBackend {
                    weight: named.weight.or(before.weight),
                    follows: before.follows && named.port.is_none(),
                    instance_id: before.instance_id,
                };
                let form = address.map(|address| form::with(&made.form, "address", address.into()));
                let extras = Some(keep(&made.extras, &after));
                self.edits.push(Edit::Replace(Replace { id: made.id, form, extras, ..Replace::default() }));
            } else if let Some(address) = address {
                let mut form = crate::objects::whole::server(self.world, key.server).unwrap_or_default();
                form.insert("address".to_owned(), address.into());
                self.edits.push(crate::objects::whole::replaced(key.server.into(), form));
            }
            if let Some(weight) = named.weight {
                let weight = if made.is_some() { self.effective(weight) } else { weight };
                self.edits.push(Edit::Wish { server: key, wish: Wish::Weight(Weight(weight)) });
            }
        }
        Ok(())
    }

    fn effective(&self, asked: u16) -> u16 {
        if self.is_unweighted { asked.min(1) } else { asked }
    }

    /// Refuses a port where the listener's decides.
    fn check_port(&self, named: &Named) -> Result<(), Refusal> {
        let shown = self.listener.shown()?;
        let why = match (named.port, self.listener.is_own()) {
            (None, _) | (Some(_), false) => return Ok(()),
            (Some(_), true) if shown.kind() == "DR" => "the listener is of kind DR",
            (Some(_), true) if self.listener.lanes.len() > 1 => "the listener has several ports",
            (Some(_), true) => return Ok(()),
        };
        let message =
            format!("backendServers.port: \"{}\" follows the listener, for {why}; leave port out", named.said());
        Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_BACKEND_SERVER_PORT", message))
    }

    /// Notes what identifies a backend; one that is there already is refused.
    fn claim(&mut self, named: &Named, address: &ServerAddr) -> Result<(), Refusal> {
        let own = [Some(address.to_string()), named.instance_id.clone()];
        for it in own.into_iter().flatten() {
            if !self.taken.insert(it.clone()) {
                let it = quoted(&it).escape_default().to_string();
                let message = format!("backend \"{it}\" is registered already; modify it instead");
                return Err(Refusal::new(StatusCode::CONFLICT, "INVALID_BACKEND_INSTANCE_LISTENER_EXIST", message));
            }
        }
        Ok(())
    }

    /// Returns a name of the address, with a number if need be.
    fn fresh_name(&mut self, ip: IpAddr, port: Option<u16>) -> Result<Name, Refusal> {
        let text = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("ip-{}", ip.to_string().replace([':', '.'], "-")),
        };
        let text = port.map_or_else(|| text.clone(), |port| format!("{text}-{port}"));
        let numbered = (2..).map(|n| format!("{text}-{n}"));
        let free = std::iter::once(text.clone()).chain(numbered.take(self.names.len() + 1));
        let free = { free }.find(|name| !self.names.contains(name)).ok_or_else(Refusal::bug)?;
        self.names.insert(free.clone());
        Name::parse(&free).map_err(|_| Refusal::bug())
    }
}
