//! What follows from a write: servers without a port have their farm's, which may be its frontend's; a probe speaks as
//! the server that it checks is spoken to; a frontend listens once it has somewhere to send its work.
//!
//! The config says each of these outright, the vendor's objects leave them to be inherited. So after a write, what is
//! concerned is worked out again and edited with it.

use serde_json::{Map, Value};

use super::farm::{OCO, probe_form};
use super::frontend::is_idle;
use super::{Planning, put};
use crate::admin::ovh::ahead::{Ahead, Item, Said, kind_of_farm};
use crate::admin::ovh::face::{self, Look};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Farm, FarmId, FrontendId, ObjectKind, ProbeKind, Server};
use crate::objects::edit::Replace;
use crate::objects::{Edit, EditError, World, form, resolve};

impl Planning<'_> {
    /// Adds the edits that follow from these for frontends: whether they carry traffic.
    pub(super) fn settle_frontends(
        self,
        edits: &mut Vec<Edit>,
        frontends: impl IntoIterator<Item = FrontendId>,
    ) -> Result<(), EditError> {
        let after = self.after(edits)?;
        let ahead = Ahead { world: &after };
        let look = Look { ahead, ..self.look };
        for id in frontends {
            let Some(item) = ahead.frontend_of(id) else { continue };
            // One that another shape made is its own to open and close.
            let Some(made) = item.made.as_ref().filter(|_| item.said() != Said::default()) else { continue };
            let has_routes = after.made().of(Some(item.id), ObjectKind::Route).any(|route| !route.is_inert);
            let is_inert = is_idle(&face::frontend(look, &item), &item.form(), has_routes);
            if made.is_inert != is_inert {
                edits.push(Edit::Replace(Replace { id: item.id, is_inert: Some(is_inert), ..Replace::default() }));
            }
        }
        Ok(())
    }

    /// Adds the edits that follow from these for farms: the ports of servers that name none, and how probes speak.
    pub(super) fn settle_farms(
        self,
        edits: &mut Vec<Edit>,
        farms: impl IntoIterator<Item = FarmId>,
    ) -> Result<(), EditError> {
        let mut farms = farms.into_iter().peekable();
        if farms.peek().is_none() {
            return Ok(());
        }
        let after = self.after(edits)?;
        let settling = Planning {
            ahead: Ahead { world: &after },
            look: Look { ahead: Ahead { world: &after }, ..self.look },
            ..self
        };
        for id in farms {
            let Some(farm) = settling.ahead.farm_of(id) else { continue };
            edits.extend(settling.ahead.servers(&farm).iter().filter_map(|it| settling.with_inherited(it, &farm)));
            edits.extend(with_probe(&farm));
        }
        Ok(())
    }

    /// Returns what the form of a server says of its probe: whether there is one, and where it speaks as its server is
    /// spoken to. At a port that is neither the farm's nor the server's it does not (the vendor resets both there).
    pub(super) fn server_probe(self, server: &wire::Server, kind: Kind, farm: &Item<Farm>) -> Value {
        if !server.probe || kind == Kind::Udp {
            return Value::Bool(false);
        }
        let probe = face::farm(self.look, farm).probe.unwrap_or_default();
        let port = if probe.kind.as_deref() == Some(OCO) { ProbeKind::Oco.fixed_port() } else { probe.port };
        let known = [server.port, self.ahead.port_of(farm)];
        let mut aim = Map::new();
        if port.is_none() || known.contains(&port) {
            put(&mut aim, "tls", server.ssl.then_some(true));
            let proxy = server.proxy_protocol_version.as_deref();
            put(&mut aim, "proxy", proxy.map(|form| if form == "v1" { "v1" } else { "v2" }));
        }
        if aim.is_empty() { Value::Bool(true) } else { Value::Object(aim) }
    }

    /// Returns the edit that has a server say what it inherits, where that has changed: its port, and how its probe speaks.
    fn with_inherited(self, server: &Item<Server>, farm: &Item<Farm>) -> Option<Edit> {
        let made = server.made.as_ref()?;
        let (mut said, mut own) = (server.said(), server.form());
        let (was, mut is_inert) = (own.clone(), made.is_inert);
        let inherits = said.fields.get("port").is_some_and(Value::is_null) && said.stands("address", &own);
        if let Some(host) = said.fields.get("address").and_then(Value::as_str).filter(|_| inherits) {
            let port = self.ahead.port_of(farm);
            let address = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            is_inert = port.is_none();
            put(&mut own, "address", Some(address.as_str()));
            put(&mut said.form, "address", Some(address));
        }
        if said.fields.contains_key("probe") && said.stands("probe", &was) {
            let face = face::server(self.look, farm, server);
            let probe = self.server_probe(&face, kind_of_farm(farm)?, farm);
            put(&mut own, "probe", Some(probe.clone()));
            put(&mut said.form, "probe", Some(probe));
        }
        if own == was && made.is_inert == is_inert {
            return None;
        }
        let (form, extras) = (Some(form::text(own)), Some(said.extras(&made.extras)));
        Some(Edit::Replace(Replace { id: server.id, form, extras, is_inert: Some(is_inert), ..Replace::default() }))
    }

    /// Returns the world after these edits.
    fn after(self, edits: &[Edit]) -> Result<World, EditError> {
        let world = &self.desk.view.ahead;
        Ok(world.with(&resolve(world, edits, self.terms.now)?.changes).0)
    }
}

fn with_probe(farm: &Item<Farm>) -> Option<Edit> {
    let made = farm.made.as_ref()?;
    let (mut said, mut own) = (farm.said(), farm.form());
    let is_ours = said.fields.contains_key("probe") && said.stands("probe", &own);
    if !is_ours || kind_of_farm(farm) == Some(Kind::Udp) {
        return None;
    }
    let face: wire::Farm = face::typed(said.fields.clone());
    let probe = probe_form(&face.probe.unwrap_or_default());
    if own.get("probe") == Some(&probe) {
        return None;
    }
    put(&mut own, "probe", Some(probe.clone()));
    put(&mut said.form, "probe", Some(probe));
    let (form, extras) = (Some(form::text(own)), Some(said.extras(&made.extras)));
    Some(Edit::Replace(Replace { id: farm.id, form, extras, ..Replace::default() }))
}
