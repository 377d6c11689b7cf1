//! Servers, and the certificates that they are verified with.

use serde_json::{Map, Value, json};

use super::{CHAIN_SHAPE, Change, New, Planned, Planning, kept, merged, put, unknown};
use crate::admin::ovh::ahead::{Item, Said};
use crate::admin::ovh::face::{self, server_key};
use crate::admin::ovh::fields::{self, Purpose, SERVER};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::{service, wire};
use crate::model::{AdminStatus, FarmId, Name, ObjectId, ObjectKind, Server, ServerId, ServerKey, Weight, Wish};
use crate::objects::certificate::chain_name;
use crate::objects::edit::{Create, Replace};
use crate::objects::{Edit, EditError, form};

impl Planning<'_> {
    pub(super) fn make_server(self, kind: Kind, farm: &str, body: &[u8]) -> Planned {
        let farm = self.ahead.farm(kind, farm).ok_or_else(|| unknown("farm", farm))?;
        let written = fields::read(body, kind, SERVER, Purpose::Make)?;
        let new = merged(&face::object(&wire::Server::default()), &written);
        let server: wire::Server = face::typed(new.clone());
        let id = self.desk.fresh_id();
        let servers = self.ahead.servers(&farm);
        let is_taken = |name: &str| servers.iter().any(|server| server.name.as_str() == name);
        let name = self.name(ObjectKind::Server, id, server.display_name.as_deref(), &is_taken)?;
        let mut edits = Vec::new();
        let chain = self.chain(id, &server, &mut edits)?;
        let port = server.port.or_else(|| self.ahead.port_of(&farm));
        let mut form = server_form(&server, kind, port, chain.as_deref());
        put(&mut form, "probe", Some(self.server_probe(&server, kind, &farm)));
        let said = Said { kind: None, fields: kept(new, kind, SERVER), form };
        let (parent, is_inert) = (Some(farm.id), port.is_none());
        edits.push(self.create(New { id, kind: ObjectKind::Server, name, parent, zone: None, said, is_inert }));
        self.settle_farms(&mut edits, [FarmId(farm.id.0)])?;
        Ok((edits, Some(id)))
    }

    pub(super) fn change_server(self, kind: Kind, (farm, id): (&str, &str), body: &[u8]) -> Planned {
        let farm = self.ahead.farm(kind, farm).ok_or_else(|| unknown("farm", farm))?;
        let item = self.ahead.server(&farm, id).ok_or_else(|| unknown("server", id))?;
        let told = face::object(&face::told(self.look, &farm, &item, self.terms.live.as_deref()));
        let mut written = fields::read_change(body, kind, SERVER, &told)?;
        let old = face::object(&face::server(self.look, &farm, &item));
        let key = ServerKey { farm: FarmId(farm.id.0), server: ServerId(item.id.0) };
        let wishes = self.wishes(&item, &written);
        let mut edits: Vec<Edit> = wishes.iter().map(|wish| Edit::Wish { server: key, wish: *wish }).collect();
        if item.made.is_none() {
            // They are overrides, and nothing else of it can be written.
            written.retain(|field, _| !matches!(field.as_str(), "status" | "weight"));
        }
        let new = merged(&old, &written);
        let server: wire::Server = face::typed(new.clone());
        let chain = if item.made.is_some() { self.chain(item.id, &server, &mut edits)? } else { None };
        let port = server.port.or_else(|| self.ahead.port_of(&farm));
        let mut form = server_form(&server, kind, port, chain.as_deref());
        put(&mut form, "probe", Some(self.server_probe(&server, kind, &farm)));
        let path = ["farms", farm.name.as_str(), "servers", item.name.as_str()].map(str::to_owned);
        let key_of = server_key;
        let change = Change { item: &item, list: &path, old: &old, new: &new, written: &written, form: &form, key_of };
        if let Some(mut replace) = self.change(&change)? {
            replace.form = replace.form.map(|form| without(&form, &wishes, &item));
            edits.insert(0, Edit::Replace(replace));
        }
        self.settle_farms(&mut edits, [FarmId(farm.id.0)])?;
        Ok((edits, None))
    }

    pub(super) fn delete_server(self, kind: Kind, farm: &str, id: &str) -> Planned {
        let farm = self.ahead.farm(kind, farm).ok_or_else(|| unknown("farm", farm))?;
        let item = self.ahead.server(&farm, id).ok_or_else(|| unknown("server", id))?;
        let mut edits = vec![Edit::Delete { id: item.id }];
        edits.extend(self.chain_gone(item.id));
        self.settle_farms(&mut edits, [FarmId(farm.id.0)])?;
        Ok((edits, None))
    }

    /// Returns what is wished of the two fields that are the operator's: of a server of the file they are overrides, and of
    /// another one a wish ends the override that there is. What is told already was not written: saying `inactive` of a
    /// server that somebody drained leaves it drained.
    fn wishes(self, item: &Item<Server>, written: &Map<String, Value>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        if let Some(weight) = written.get("weight") {
            wishes.push(Wish::Weight(weight.as_i64().and_then(Weight::new).unwrap_or(Weight::DEFAULT)));
        }
        let live = self.terms.live.as_deref();
        match written.get("status").and_then(Value::as_str) {
            Some("active") => wishes.push(Wish::Admin(AdminStatus::Active)),
            Some("inactive") => wishes.push(Wish::Admin(AdminStatus::Maintenance)),
            Some(_) | None => {}
        }
        let made = self.desk.view.live.made().get(item.id);
        let farm = made.and_then(|made| self.desk.view.live.farm(FarmId(made.parent?.0)));
        let declared = farm.and_then(|farm| farm.servers.iter().find(|server| server.id.0 == item.id.0));
        let is_override = |wish: &Wish| {
            let (Some(live), Some(declared)) = (live, declared) else { return false };
            Wish::current(wish.field(), live) != Wish::current(wish.field(), declared)
        };
        wishes.retain(|wish| item.made.is_none() || is_override(wish));
        wishes
    }

    /// Keeps the chain of a server as files and returns that of the certificates.
    fn chain(self, id: ObjectId, server: &wire::Server, edits: &mut Vec<Edit>) -> Result<Option<String>, EditError> {
        let known = self.ahead.world.made().named(None, ObjectKind::Certificate, &chain_name(id));
        let Some(chain) = server.chain.as_deref().filter(|chain| !chain.is_empty()) else {
            edits.extend(self.chain_gone(id));
            return Ok(None);
        };
        service::check_authorities(chain).map_err(|why| EditError::fault("chain", &why))?;
        let form = form::text(Map::from_iter([("cert".to_owned(), json!(chain)), ("key".to_owned(), json!(""))]));
        match known {
            Some(known) => {
                edits.push(Edit::Replace(Replace { id: known.id, form: Some(form), ..Replace::default() }));
                self.files_of(known.id).map(Some)
            }
            None => {
                let own = self.desk.fresh_id();
                let name = Name::parse(&chain_name(id))
                    .map_err(|why| EditError::NotKept(format!("the name of a chain {why}").into()))?;
                edits.push(Edit::Create(Create {
                    id: own,
                    kind: ObjectKind::Certificate,
                    name,
                    parent: None,
                    service: None,
                    zone: None,
                    shape: CHAIN_SHAPE.into(),
                    is_inert: false,
                    form,
                    extras: "{}".into(),
                }));
                self.files_of(own).map(Some)
            }
        }
    }

    /// Returns the edit that removes the chain of a server, if it has one.
    pub(super) fn chain_gone(self, id: ObjectId) -> Option<Edit> {
        let known = self.ahead.world.made().named(None, ObjectKind::Certificate, &chain_name(id))?;
        Some(Edit::Delete { id: known.id })
    }

    fn files_of(self, id: ObjectId) -> Result<String, EditError> {
        let files = (self.files)(id).ok_or_else(|| {
            EditError::fault("chain", "cannot be kept: certificates need state_dir; set it in the config, or send null")
        })?;
        Ok(files[0].to_string_lossy().into_owned())
    }
}

/// Returns what the config file would say of a server, its probe apart. A chain is what its certificate must come from, whatever its name:
/// servers have addresses alone here. Without one any will do, as the vendor has it.
fn server_form(server: &wire::Server, kind: Kind, port: Option<u16>, chain: Option<&str>) -> Map<String, Value> {
    let mut form = Map::new();
    // One without a port is kept only, until its farm has one.
    let address = port.map_or_else(|| server.address.clone(), |port| format!("{}:{port}", server.address));
    put(&mut form, "address", Some(address));
    put(&mut form, "status", Some(if server.status == "inactive" { "maintenance" } else { "active" }));
    if kind == Kind::Udp {
        return form;
    }
    put(&mut form, "weight", Some(server.weight.unwrap_or(Weight::DEFAULT.0)));
    put(&mut form, "backup", server.backup.then_some(true));
    put(&mut form, "cookie", server.cookie.as_deref().filter(|cookie| !cookie.is_empty()));
    put(&mut form, "proxy_protocol", server.proxy_protocol_version.as_deref());
    put(&mut form, "on_down", server.on_marked_down.as_ref().map(|_| "close"));
    if server.ssl {
        let tls = chain.map_or_else(|| json!({"verify": false}), |file| json!({"ca": file, "verify": "chain"}));
        put(&mut form, "tls", Some(tls));
    }
    form
}

/// Returns a form in which what is wished is as it was: the wish says it.
fn without(form: &str, wishes: &[Wish], item: &Item<Server>) -> std::sync::Arc<str> {
    let (mut form, was) = (form::object(form), item.form());
    for key in wishes.iter().map(|wish| wish.field().as_str()) {
        match was.get(key) {
            Some(value) => form.insert(key.to_owned(), value.clone()),
            None => form.remove(key),
        };
    }
    form::text(form)
}
