//! Frontends.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Change, New, Planned, Planning, is_formed, kept, merged, put, unknown};
use crate::admin::ovh::ahead::Said;
use crate::admin::ovh::face::{self, frontend_key};
use crate::admin::ovh::fields::{self, FRONTEND, LISTENERS_MAX, Purpose, outside};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::{service, wire};
use crate::model::{Declaration, FarmId, FrontendId, ObjectId, ObjectKind, Service};
use crate::objects::edit::Replace;
use crate::objects::{Edit, EditError, form};

/// What HTTP clients are answered where there is no farm.
const NO_SERVER: u16 = 503;

impl Planning<'_> {
    pub(super) fn make_frontend(self, kind: Kind, body: &[u8]) -> Planned {
        let written = fields::read(body, kind, FRONTEND, Purpose::Make)?;
        let new = merged(&face::object(&wire::Frontend::default()), &written);
        let frontend: wire::Frontend = face::typed(new.clone());
        let zone = self.zone(&frontend.zone)?;
        let id = self.desk.fresh_id();
        let view = self.desk.view;
        let is_taken =
            |name: &str| view.live.frontend_named(name).or_else(|| view.ahead.frontend_named(name)).is_some();
        let name = self.name(ObjectKind::Frontend, id, frontend.display_name.as_deref(), &is_taken)?;
        let form = self.frontend_form(&frontend, kind)?;
        let is_inert = is_idle(&frontend, &form, false);
        let said = Said { kind: None, fields: kept(new, kind, FRONTEND), form };
        let made = New { id, kind: ObjectKind::Frontend, name, parent: None, zone: Some(zone), said, is_inert };
        let mut edits = vec![self.create(made)];
        self.settle_farms(&mut edits, frontend.default_farm_id.map(FarmId))?;
        Ok((edits, Some(id)))
    }

    pub(super) fn change_frontend(self, kind: Kind, id: &str, body: &[u8]) -> Planned {
        let item = self.ahead.frontend(kind, id).ok_or_else(|| unknown("frontend", id))?;
        let was = face::frontend(self.look, &item);
        let old = face::object(&was);
        let written = fields::read_change(body, kind, FRONTEND, &old)?;
        let new = merged(&old, &written);
        let frontend: wire::Frontend = face::typed(new.clone());
        let path = ["frontends".to_owned(), item.name.to_string()];
        let key_of = frontend_key;
        // One that is to open is looked at even if its form stays: it may have waited for a certificate.
        let opens = was.disabled && !frontend.disabled;
        let is_ours = item.made.is_some() && (opens || is_formed(&old, &written, key_of));
        let form = if is_ours { self.frontend_form(&frontend, kind)? } else { Map::new() };
        let change = Change { item: &item, list: &path, old: &old, new: &new, written: &written, form: &form, key_of };
        let mut edits = Vec::new();
        if let Some(replace) = self.change(&change)? {
            let zone = if was.zone == frontend.zone { None } else { Some(Some(self.zone(&frontend.zone)?)) };
            let closes = frontend.disabled && !was.disabled;
            let extras = item.made.as_ref().filter(|_| closes).and_then(|made| remembered(made, &replace, &new, kind));
            let extras = extras.or_else(|| replace.extras.clone());
            edits.push(Edit::Replace(Replace { zone, extras, ..replace }));
            self.settle_frontends(&mut edits, [FrontendId(item.id.0)])?;
            let farms = [was.default_farm_id, frontend.default_farm_id];
            self.settle_farms(&mut edits, farms.into_iter().flatten().map(FarmId))?;
        }
        Ok((edits, None))
    }

    /// Deletes a frontend; its routes become routes of none.
    pub(super) fn delete_frontend(self, kind: Kind, id: &str) -> Planned {
        let item = self.ahead.frontend(kind, id).ok_or_else(|| unknown("frontend", id))?;
        let routes = self.ahead.world.made().of(Some(item.id), ObjectKind::Route);
        let loose = |id: ObjectId| Edit::Replace(Replace { id, parent: Some(None), ..Replace::default() });
        let mut edits: Vec<Edit> = routes.map(|route| loose(route.id)).collect();
        edits.push(Edit::Delete { id: item.id });
        if item.made.is_some() {
            let farm = face::frontend(self.look, &item).default_farm_id;
            self.settle_farms(&mut edits, farm.map(FarmId))?;
        }
        Ok((edits, None))
    }

    /// Returns what the config file would say of a frontend, its routes apart.
    fn frontend_form(self, frontend: &wire::Frontend, kind: Kind) -> Result<Map<String, Value>, EditError> {
        let mut form = Map::new();
        put(&mut form, "protocol", Some(kind.as_str()));
        put(&mut form, "listen", Some(listen(frontend, &self.ahead.world.of_file().service)?));
        if let Some(id) = frontend.default_farm_id {
            let farm = self.ahead.farm(kind, &id.to_string());
            let farm =
                farm.ok_or_else(|| outside("defaultFarmId", id, &format!("the ids of {} farms", kind.as_str())))?;
            put(&mut form, "farm", Some(farm.name.as_str()));
        }
        if !frontend.allowed_source.is_empty() && !frontend.denied_source.is_empty() {
            return Err(EditError::fault(
                "deniedSource",
                "and allowedSource are both there; send one of the two as []",
            ));
        }
        let list = |items: &[String]| (!items.is_empty()).then(|| json!(items));
        put(&mut form, "allow", list(&frontend.allowed_source));
        put(&mut form, "deny", list(&frontend.denied_source));
        let certificates = self.certificates(frontend, kind)?;
        put(&mut form, "tls", certificates.clone());
        if kind == Kind::Http {
            put(&mut form, "hsts", (frontend.hsts && certificates.is_some()).then_some(true));
            put(&mut form, "request_headers", headers(&frontend.http_header)?);
            put(&mut form, "redirect", frontend.redirect_location.as_deref().filter(|to| !to.is_empty()));
        }
        if !["farm", "redirect"].iter().any(|key| form.contains_key(*key)) {
            put(&mut form, "reject", rejection(kind));
        }
        Ok(form)
    }

    /// Returns what is said of the certificates of an encrypted frontend: its default one, then all others, which clients
    /// choose among by the name that they ask for. None: it is not encrypted, or closed and without any.
    fn certificates(self, frontend: &wire::Frontend, kind: Kind) -> Result<Option<Value>, EditError> {
        let made = self.ahead.world.made();
        let mut ids: Vec<ObjectId> = service::certificates(made).map(|it| it.id).collect();
        if let Some(default) = frontend.default_ssl_id {
            if !ids.contains(&ObjectId(default)) {
                return Err(outside("defaultSslId", default, "the ids of certificates; see /ssl"));
            }
            ids.sort_by_key(|id| (id.0 != default, *id));
        }
        if !frontend.ssl || kind == Kind::Udp {
            return Ok(None);
        }
        if ids.is_empty() {
            if frontend.disabled {
                return Ok(None);
            }
            let bound = "false: there is no certificate; POST one to /ssl first, or send disabled: true";
            return Err(outside("ssl", true, bound));
        }
        Ok(Some(service::tls(&ids, self.files, service::configuration(made).as_deref())))
    }
}

/// Returns the extras of a frontend that another shape made and that is closed here: what is told of it as long as it is
/// out of force, which its form alone does not tell.
fn remembered(made: &Declaration, replace: &Replace, face: &Map<String, Value>, kind: Kind) -> Option<Arc<str>> {
    let (form, extras) = (replace.form.as_ref().unwrap_or(&made.form), replace.extras.as_ref()?);
    let own = form::object(form);
    let mut said = Said::of(&Declaration { extras: Arc::clone(extras), ..made.clone() });
    for (field, value) in kept(face.clone(), kind, FRONTEND) {
        if let Some((key, value)) = frontend_key(&field).and_then(|key| Some((key, own.get(key)?))) {
            said.form.insert(key.to_owned(), value.clone());
        }
        said.fields.entry(field).or_insert(value);
    }
    Some(said.extras(extras))
}

/// Returns how a frontend without a farm and a redirect answers what no route takes, as the vendor's engine does: with
/// 503, or by closing. Datagrams cannot be answered.
fn rejection(kind: Kind) -> Option<Value> {
    match kind {
        Kind::Http => Some(json!(NO_SERVER)),
        Kind::Tcp => Some(json!(true)),
        Kind::Udp => None,
    }
}

/// Returns whether a frontend carries no traffic: it is disabled, or of datagrams without a farm, or is to be encrypted
/// and has no certificate.
pub(in crate::admin::ovh) fn is_idle(frontend: &wire::Frontend, form: &Map<String, Value>, has_routes: bool) -> bool {
    let goes_nowhere =
        !["farm", "redirect", "reject", "routes"].iter().any(|key| form.contains_key(*key)) && !has_routes;
    frontend.disabled || goes_nowhere || (frontend.ssl && !form.contains_key("tls"))
}

/// Returns where a frontend listens: on its ports of its dedicated addresses, else of all of the service.
fn listen(frontend: &wire::Frontend, service: &Service) -> Result<Value, EditError> {
    let ports =
        fields::ports(&frontend.port).map_err(|bound| outside("port", format!("{:?}", frontend.port), &bound))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    if frontend.dedicated_ipfo.is_empty() {
        addresses.clone_from(&service.addresses);
    }
    for (i, text) in frontend.dedicated_ipfo.iter().enumerate() {
        let Some(block) = fields::block(text) else { continue };
        let mut within: Vec<IpAddr> = service.addresses.iter().copied().filter(|ip| block.contains(ip)).collect();
        let is_any = |ip: &&IpAddr| ip.is_unspecified() && ip.is_ipv4() == block.addr().is_ipv4();
        if within.is_empty()
            && block.prefix_len() == block.max_prefix_len()
            && service.addresses.iter().any(|ip| is_any(&ip))
        {
            within.push(block.addr());
        }
        if within.is_empty() {
            let known: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
            let bound = format!("the addresses of the service: {}", known.join(", "));
            return Err(outside(&format!("dedicatedIpfo[{i}]"), format!("{text:?}"), &bound));
        }
        addresses.extend(within);
    }
    if addresses.is_empty() {
        let why =
            "cannot be listened on: service.addresses of the config is empty; write there what APIs may listen on";
        return Err(EditError::fault("port", why));
    }
    let sockets: Vec<String> = addresses
        .iter()
        .flat_map(|ip| ports.iter().map(|port| std::net::SocketAddr::new(*ip, *port).to_string()))
        .collect();
    if sockets.len() > LISTENERS_MAX {
        let bound = format!("1..={LISTENERS_MAX} sockets: {} ports on {} addresses", ports.len(), addresses.len());
        return Err(outside("port", format!("{:?}", frontend.port), &bound));
    }
    Ok(json!(sockets))
}

/// Returns header rules of lines such as `X-Ip-Header %ci`. A name that comes once replaces what a client sent.
fn headers(lines: &[String]) -> Result<Option<Value>, EditError> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some((name, value)) = line.trim().split_once([' ', ':']) else {
            return Err(outside(
                &format!("httpHeader[{i}]"),
                format!("{line:?}"),
                "NAME VALUE, such as X-Ip-Header %ci",
            ));
        };
        let value = value.trim_start_matches(':').trim();
        match all.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, values)) => values.push(value),
            None => all.push((name, vec![value])),
        }
    }
    if all.is_empty() {
        return Ok(None);
    }
    let (mut set, mut add) = (Map::new(), Map::new());
    for (name, values) in all {
        match values.as_slice() {
            [one] => set.insert(name.to_owned(), json!(one)),
            several => add.insert(name.to_owned(), json!(several)),
        };
    }
    let mut rules = Map::new();
    put(&mut rules, "set", (!set.is_empty()).then_some(Value::Object(set)));
    put(&mut rules, "add", (!add.is_empty()).then_some(Value::Object(add)));
    Ok(Some(Value::Object(rules)))
}
