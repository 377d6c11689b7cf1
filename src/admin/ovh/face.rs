//! What is declared → the vendor's objects. Pure.
//!
//! A field is told as this shape wrote it, as long as what it came to in the form still stands; otherwise, and for what
//! others declare, it is made from the definition. So a client reads back what it sent, nulls too, and sees every change
//! that somebody else made. The status and the weight of a server are the live ones unless something else is staged.
//!
//! Choices where the vendor leaves them open: `serverState` has one element for each balancer instance that knows the
//! server, and none for one that is staged only; a server that is not probed reads `no check` there with every check
//! field null, and one that waits for its first check reads `INI`, as HAProxy words both. `address` is where connections
//! go; while a name has no address, or for what it cannot be (it is IPv4 in the schema), it is the host as resolved or as
//! written. `inactive` is what takes no new work: one in maintenance, and one that somebody drained, which has `DRAIN` as
//! its state.

mod farm;
mod frontend;
mod route;
mod server;

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ahead::{Ahead, Item};
use crate::model::{FarmId, Name, ObjectId};
use crate::objects::View;
use crate::store::Snapshot;
use crate::store::snapshot::ServerRow;

pub(super) use farm::farm;
pub(super) use frontend::frontend;
pub(super) use route::{route, rule};
pub(super) use server::{server, server_at, told};

/// What objects are told from.
#[derive(Clone, Copy)]
pub(super) struct Look<'l> {
    /// What is declared.
    pub(super) ahead: Ahead<'l>,
    /// What is staged of it.
    pub(super) view: &'l View,
    /// What is live; none: nothing of that is told.
    pub(super) snapshot: Option<&'l Snapshot>,
    /// The zone of this process.
    pub(super) zone: &'l Name,
}

impl<'l> Look<'l> {
    /// Looks at a view and what is live.
    pub(super) fn at(view: &'l View, snapshot: &'l Snapshot) -> Self {
        Self { ahead: Ahead::of(view), view, snapshot: Some(snapshot), zone: &snapshot.service.zone }
    }

    /// Looks at what is declared alone.
    pub(super) fn declared(view: &'l View) -> Self {
        Self { ahead: Ahead::of(view), view, snapshot: None, zone: &view.ahead.of_file().service.zone }
    }

    /// Returns what is live of the servers of a farm.
    pub(super) fn rows(self, farm: FarmId) -> Rows<'l> {
        let row = self.snapshot.and_then(|snapshot| snapshot.farms.iter().find(|row| row.farm.id == farm));
        Rows(row.iter().flat_map(|row| &row.servers).map(|row| (row.server.id.into(), row)).collect())
    }

    /// Returns the zone that an object was made for.
    pub(super) fn zone_of<T>(self, item: &Item<T>) -> String {
        let made = item.made.as_ref().and_then(|made| made.zone.as_deref());
        made.unwrap_or(self.zone.as_str()).to_owned()
    }
}

/// What is live of the servers of one farm, by id: for whoever tells of many.
pub(super) struct Rows<'l>(HashMap<ObjectId, &'l ServerRow>);

impl<'l> Rows<'l> {
    /// Returns what is live of a server.
    pub(super) fn get(&self, server: ObjectId) -> Option<&'l ServerRow> {
        self.0.get(&server).copied()
    }
}

/// Returns a struct of the wire as JSON.
pub(super) fn object<T: Serialize>(face: &T) -> Map<String, Value> {
    match serde_json::to_value(face) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Returns JSON as a struct of the wire; where it is none, its defaults.
pub(super) fn typed<T: DeserializeOwned + Default>(map: Map<String, Value>) -> T {
    serde_json::from_value(Value::Object(map)).unwrap_or_default()
}

/// Returns a face with the fields that this shape wrote and that still stand; `key_of` tells what key of a form a field
/// comes to, if any.
fn overlaid<F: Serialize + DeserializeOwned + Default, T>(
    face: &F,
    item: &Item<T>,
    key_of: fn(&str) -> Option<&'static str>,
) -> F {
    let (said, form) = (item.said(), item.form());
    let mut map = object(face);
    for (field, value) in &said.fields {
        if key_of(field).is_none_or(|key| said.stands(key, &form)) {
            map.insert(field.clone(), value.clone());
        }
    }
    typed(map)
}

/// Returns the key of a farm's form that a field comes to.
pub(super) fn farm_key(field: &str) -> Option<&'static str> {
    match field {
        "balance" => Some("balance"),
        "probe" => Some("probe"),
        "stickiness" => Some("stickiness"),
        _ => None,
    }
}

/// Returns the key of a server's form that a field comes to.
pub(super) fn server_key(field: &str) -> Option<&'static str> {
    match field {
        "address" | "port" => Some("address"),
        "backup" => Some("backup"),
        "chain" | "ssl" => Some("tls"),
        "cookie" => Some("cookie"),
        "onMarkedDown" => Some("on_down"),
        "probe" => Some("probe"),
        "proxyProtocolVersion" => Some("proxy_protocol"),
        "status" => Some("status"),
        "weight" => Some("weight"),
        _ => None,
    }
}

/// Returns the key of a frontend's form that a field comes to.
pub(super) fn frontend_key(field: &str) -> Option<&'static str> {
    match field {
        "allowedSource" => Some("allow"),
        "dedicatedIpfo" | "port" => Some("listen"),
        "defaultFarmId" => Some("farm"),
        "defaultSslId" | "ssl" => Some("tls"),
        "deniedSource" => Some("deny"),
        "hsts" => Some("hsts"),
        "httpHeader" => Some("request_headers"),
        "redirectLocation" => Some("redirect"),
        _ => None,
    }
}

/// Returns the key of a route's form that a field comes to.
pub(super) fn route_key(field: &str) -> Option<&'static str> {
    match field {
        "action" => Some("action"),
        "weight" => Some("priority"),
        _ => None,
    }
}

/// Returns the key of a rule's form that a field comes to.
pub(super) fn rule_key(field: &str) -> Option<&'static str> {
    match field {
        "field" => Some("field"),
        "match" => Some("match"),
        "negate" => Some("negate"),
        "pattern" => Some("pattern"),
        "subField" => Some("sub_field"),
        _ => None,
    }
}
