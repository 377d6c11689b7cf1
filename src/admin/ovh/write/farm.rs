//! Farms and their probes.

use serde_json::{Map, Value};

use super::{Change, New, Planned, Planning, kept, merged, put, unknown};
use crate::admin::ovh::ahead::{Item, Said};
use crate::admin::ovh::face::{self, farm_key};
use crate::admin::ovh::fields::{self, FARM, Purpose, missing, outside};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Farm, FarmId, ObjectKind};
use crate::objects::{Edit, EditError};

/// The interval of a probe that names none, in seconds.
const INTERVAL_DEFAULT_S: u64 = 30;
/// The type of probe that has a port of its own.
pub(super) const OCO: &str = "oco";
/// The longest interval, in seconds.
const INTERVAL_MAX_S: u64 = 3600;
/// Checks in a row that bring a server back (HAProxy's default) and that take it out (the vendor's own).
const RISE: u64 = 2;
const FALL: u64 = 2;

impl Planning<'_> {
    pub(super) fn make_farm(self, kind: Kind, body: &[u8]) -> Planned {
        let written = fields::read(body, kind, FARM, Purpose::Make)?;
        let new = merged(&face::object(&wire::Farm::default()), &written);
        let farm: wire::Farm = face::typed(new.clone());
        let zone = self.zone(&farm.zone)?;
        let id = self.desk.fresh_id();
        let view = self.desk.view;
        let is_taken = |name: &str| view.live.farm_named(name).or_else(|| view.ahead.farm_named(name)).is_some();
        let name = self.name(ObjectKind::Farm, id, farm.display_name.as_deref(), &is_taken)?;
        let form = farm_form(&farm, kind);
        self.check_probe(&farm)?;
        let said = Said { kind: None, fields: kept(with_interval(new), kind, FARM), form };
        let farm = New { id, kind: ObjectKind::Farm, name, parent: None, zone: Some(zone), said, is_inert: false };
        Ok((vec![self.create(farm)], Some(id)))
    }

    pub(super) fn change_farm(self, kind: Kind, id: &str, body: &[u8]) -> Planned {
        let item = self.ahead.farm(kind, id).ok_or_else(|| unknown("farm", id))?;
        let old = face::object(&face::farm(self.look, &item));
        let written = with_interval(fields::read_change(body, kind, FARM, &old)?);
        let new = merged(&old, &written);
        let farm: wire::Farm = face::typed(new.clone());
        if item.made.is_some() && old.get("probe") != new.get("probe") {
            self.check_probe(&farm)?;
        }
        let form = farm_form(&farm, kind);
        let path = ["farms".to_owned(), item.name.to_string()];
        let change =
            Change { item: &item, list: &path, old: &old, new: &new, written: &written, form: &form, key_of: farm_key };
        let mut edits: Vec<Edit> = self.change(&change)?.into_iter().map(Edit::Replace).collect();
        self.settle_farms(&mut edits, [FarmId(item.id.0)])?;
        Ok((edits, None))
    }

    pub(super) fn delete_farm(self, kind: Kind, id: &str) -> Planned {
        let item = self.ahead.farm(kind, id).ok_or_else(|| unknown("farm", id))?;
        let by = self.users_of(&item);
        if item.made.is_some() && !by.is_empty() {
            let path = crate::objects::form::key_path(&["farms", item.name.as_str()]);
            return Err(EditError::InUse { path, by });
        }
        let mut edits = vec![Edit::Delete { id: item.id }];
        edits.extend(self.ahead.servers(&item).iter().flat_map(|server| self.chain_gone(server.id)));
        Ok((edits, None))
    }

    /// Returns the key paths of what names a farm, carrying traffic or not.
    fn users_of(self, farm: &Item<Farm>) -> Vec<String> {
        let id = farm.id.0;
        let path = |keys: &[&str]| crate::objects::form::key_path(keys);
        let frontends = self.ahead.frontends(None);
        let of_frontends = frontends.iter().filter(|it| face::frontend(self.look, it).default_farm_id == Some(id));
        let mut by: Vec<_> = of_frontends.map(|it| path(&["frontends", it.name.as_str()])).collect();
        for route in self.ahead.routes(None) {
            let action = face::route(self.look, &route).action;
            if action.kind == "farm" && action.target == Some(id.to_string()) {
                by.push(path(&["routes", route.item.name.as_str()]));
            }
        }
        by
    }

    /// Checks what fields of a probe can say only together.
    fn check_probe(self, farm: &wire::Farm) -> Result<(), EditError> {
        let Some(probe) = &farm.probe else { return Ok(()) };
        let least = self.terms.probe_interval_min;
        let least_s = (least.as_secs() + u64::from(least.subsec_nanos() > 0)).max(1);
        if let Some(got) = probe.interval.filter(|interval| !(least_s..=INTERVAL_MAX_S).contains(interval)) {
            let bound = format!("{least_s}..={INTERVAL_MAX_S} s; send a number within, or null for the default");
            return Err(outside("probe.interval", format!("{got} s"), &bound));
        }
        let kind = probe.kind.as_deref().unwrap_or("tcp");
        if probe.negate.is_some() && probe.rule.is_none() {
            return Err(EditError::fault("probe.negate", "A probe can not negate without a match"));
        }
        let rule = probe.rule.as_deref().unwrap_or("default");
        let rules: &[&str] = match kind {
            "http" => &["contains", "default", "matches", "status"],
            "tcp" => &["contains", "default", "matches"],
            _ => &["default"],
        };
        if !rules.contains(&rule) {
            return Err(outside("probe.match", format!("{rule:?}"), &format!("{} of type {kind}", rules.join(", "))));
        }
        if rule == "default" {
            if probe.negate == Some(true) {
                return Err(EditError::fault("probe.negate", "true is outside false: match default is not negated"));
            }
            return Ok(());
        }
        let pattern = probe.pattern.as_deref().unwrap_or_default();
        if pattern.is_empty() {
            return Err(missing("probe.pattern"));
        }
        let is_body = rule != "status";
        if is_body && probe.method.as_deref() == Some("HEAD") && kind == "http" {
            let bound = format!("GET, OPTIONS with match {rule}: the answer to a HEAD has no body");
            return Err(outside("probe.method", "\"HEAD\"", &bound));
        }
        if rule == "status" && crate::model::StatusSet::parse(pattern).is_none() {
            return Err(outside(
                "probe.pattern",
                format!("{pattern:?}"),
                "lists of statuses 100..=599, such as 200,204",
            ));
        }
        Ok(())
    }
}

/// Returns what the config file would say of a farm.
fn farm_form(farm: &wire::Farm, kind: Kind) -> Map<String, Value> {
    let mut form = Map::new();
    put(&mut form, "protocol", Some(kind.as_str()));
    if kind == Kind::Udp {
        return form;
    }
    put(&mut form, "balance", farm.balance.as_deref());
    let stickiness = farm.stickiness.as_deref().map(|word| if word == "cookie" { "cookie" } else { "source" });
    put(&mut form, "stickiness", stickiness);
    put(&mut form, "probe", Some(probe_form(&farm.probe.clone().unwrap_or_default())));
    form
}

/// Returns what the config file would say of a probe. Without a type it is a connect; in TLS where that is asked for, and
/// as its servers are spoken to where these say so.
pub(super) fn probe_form(probe: &wire::Probe) -> Value {
    let mut form = Map::new();
    let kind = probe.kind.as_deref().unwrap_or("tcp");
    let rule = probe.rule.as_deref().unwrap_or("default");
    let in_tls = probe.force_ssl == Some(true);
    let word = match kind {
        "http" if in_tls => "https",
        "tcp" if in_tls && rule == "default" => "tls",
        _ => kind,
    };
    put(&mut form, "type", Some(word));
    let interval = probe.interval.unwrap_or(INTERVAL_DEFAULT_S);
    put(&mut form, "interval", Some(format!("{interval}s")));
    put(&mut form, "rise", Some(RISE));
    put(&mut form, "fall", Some(FALL));
    put(&mut form, "port", probe.port.filter(|_| kind != OCO));
    if kind == "http" {
        put(&mut form, "method", probe.method.as_deref());
        put(&mut form, "url", probe.url.as_deref().and_then(url));
    }
    if in_tls {
        put(&mut form, "tls", Some(true).filter(|_| word == kind));
        put(&mut form, "verify", Some(false));
    }
    let pattern = probe.pattern.as_deref().unwrap_or_default();
    put(&mut form, "expect", expect(rule, pattern, probe.negate == Some(true)));
    Value::Object(form)
}

fn expect(rule: &str, pattern: &str, is_negated: bool) -> Option<Value> {
    let mut expect = Map::new();
    match rule {
        "contains" | "matches" | "status" => put(&mut expect, rule, Some(pattern)),
        _ => return None,
    }
    if is_negated {
        put(&mut expect, "negate", Some(true));
    }
    Some(Value::Object(expect))
}

/// Returns a probe's URL without its scheme, which says nothing: whether it is TLS is `forceSsl`'s and the servers' to say.
fn url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url);
    if rest.is_empty() {
        return None;
    }
    Some(if rest.contains('/') { rest.to_owned() } else { format!("{rest}/") })
}

/// A probe that names no interval has the default one, and says so.
fn with_interval(mut farm: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(probe)) = farm.get_mut("probe") {
        let whole: wire::Probe = face::typed(std::mem::take(probe));
        let interval = whole.interval.or(Some(INTERVAL_DEFAULT_S));
        *probe = face::object(&wire::Probe { interval, ..whole });
    }
    farm
}
