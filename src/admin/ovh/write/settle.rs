//! What follows from a write: servers without a port have their farm's, which may be its frontend's; a probe speaks TLS
//! where the probed servers do; a frontend listens once it has somewhere to send its work.
//!
//! The config says each of these outright, the vendor's objects leave them to be inherited. So after a write, what is
//! concerned is worked out again and edited with it.

use serde_json::Value;

use super::farm::probe_form;
use super::frontend::is_idle;
use super::{Planning, put};
use crate::admin::ovh::ahead::{Ahead, Item, Said, kind_of_farm};
use crate::admin::ovh::face::{self, Look};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Farm, FarmId, FrontendId, ObjectKind, Server};
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
            let port = settling.ahead.port_of(&farm);
            edits.extend(settling.ahead.servers(&farm).iter().filter_map(|server| with_port(server, port)));
            edits.extend(settling.with_probe(&farm));
        }
        Ok(())
    }

    /// Returns whether the servers of a farm that are probed, some there are, are spoken to in TLS.
    pub(super) fn is_tls(self, farm: &Item<Farm>) -> bool {
        let probed = |server: &Item<Server>| {
            let Some(model) = &server.model else {
                let form = server.form();
                return (form.get("probe") == Some(&Value::Bool(true))).then(|| form.contains_key("tls"));
            };
            model.probed.then(|| model.tls.is_some())
        };
        let all: Vec<bool> = self.ahead.servers(farm).iter().filter_map(probed).collect();
        !all.is_empty() && all.iter().all(|is_tls| *is_tls)
    }

    fn with_probe(self, farm: &Item<Farm>) -> Option<Edit> {
        let made = farm.made.as_ref()?;
        let (mut said, mut own) = (farm.said(), farm.form());
        // A probe that this shape never spoke of is whoever's made the farm.
        let is_ours = said.fields.contains_key("probe") && said.stands("probe", &own);
        if !is_ours || kind_of_farm(farm) == Some(Kind::Udp) {
            return None;
        }
        let face: wire::Farm = face::typed(said.fields.clone());
        let probe = probe_form(&face.probe.unwrap_or_default(), self.is_tls(farm));
        if own.get("probe") == Some(&probe) {
            return None;
        }
        put(&mut own, "probe", Some(probe.clone()));
        put(&mut said.form, "probe", Some(probe));
        let (form, extras) = (Some(form::text(own)), Some(said.extras(&made.extras)));
        Some(Edit::Replace(Replace { id: farm.id, form, extras, ..Replace::default() }))
    }

    /// Returns the world after these edits.
    fn after(self, edits: &[Edit]) -> Result<World, EditError> {
        let world = &self.desk.view.ahead;
        Ok(world.with(&resolve(world, edits, self.terms.now)?.changes).0)
    }
}

fn with_port(server: &Item<Server>, port: Option<u16>) -> Option<Edit> {
    let made = server.made.as_ref()?;
    let (mut said, mut own) = (server.said(), server.form());
    let inherits = said.fields.get("port").is_some_and(Value::is_null);
    if !inherits || !said.stands("address", &own) {
        return None;
    }
    let host = said.fields.get("address")?.as_str()?;
    let address = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    if own.get("address").and_then(Value::as_str) == Some(&address) && made.is_inert == port.is_none() {
        return None;
    }
    put(&mut own, "address", Some(address.as_str()));
    put(&mut said.form, "address", Some(address.as_str()));
    let (form, extras) = (Some(form::text(own)), Some(said.extras(&made.extras)));
    let is_inert = Some(port.is_none());
    Some(Edit::Replace(Replace { id: server.id, form, extras, is_inert, ..Replace::default() }))
}
