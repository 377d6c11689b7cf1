//! The schemas of the document: the structs that are on the wire, and what the config file says of farms, servers,
//! frontends and routes, which is what bodies of objects are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::admin::native::wire;
use crate::config::schema::schema_json;

/// Where a schema of the config file is, and what it is called here.
const FORMS: [(&str, &str); 4] =
    [("Farm", "FarmForm"), ("Frontend", "FrontendForm"), ("Route", "RouteForm"), ("Server", "ServerForm")];
/// What the others of the config file are called, so that they meet none of the wire.
const PREFIX: &str = "Config.";

/// Returns what refers to a schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Returns every schema, by name.
pub(super) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    for (name, schema) in of_wire() {
        // Schemas cannot fail to be written.
        all.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    forms(&mut all);
    all
}

fn of_wire() -> Vec<(String, RefOr<Schema>)> {
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    let mut all = Vec::new();
    let every = [
        add::<wire::CertificateList>,
        add::<wire::CertificateOrder>,
        add::<wire::CredentialList>,
        add::<wire::ErrorBody>,
        add::<wire::EventList>,
        add::<wire::EvidenceList>,
        add::<wire::FarmExplainWire>,
        add::<wire::FarmReplayWire>,
        add::<wire::FrontendList>,
        add::<wire::GrantOrder>,
        add::<wire::HistoryWire>,
        add::<wire::Order>,
        add::<wire::RefreshOrder>,
        add::<wire::Reloaded>,
        add::<wire::ReplayOrder>,
        add::<wire::RequestExplainWire>,
        add::<wire::RouteList>,
        add::<wire::ServerExplainWire>,
        add::<wire::ServerReplayWire>,
        add::<wire::ShadowWire>,
        add::<wire::StagedList>,
        add::<wire::StatusWire>,
        add::<wire::FarmList>,
        add::<wire::ServerList>,
        add::<wire::TaskList>,
        add::<wire::TermsOrder>,
        add::<wire::UpgradeOrder>,
        add::<wire::Upgraded>,
        add::<wire::WeightOrder>,
        add::<wire::WrittenWire>,
    ];
    every.into_iter().for_each(|add| add(&mut all));
    all
}

/// Adds the schemas of the config file, those that are made of them, and what they refer to.
fn forms(all: &mut Map<String, Value>) {
    let schema = schema_json();
    let Some(config) = schema.get("$defs").and_then(Value::as_object) else { return };
    let mut wanted: Vec<String> = FORMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut seen: BTreeSet<String> = wanted.iter().cloned().collect();
    while let Some(name) = wanted.pop() {
        let Some(mut schema) = config.get(&name).cloned() else { continue };
        let mut found = Vec::new();
        rename(&mut schema, &mut found);
        wanted.extend(found.into_iter().filter(|name| seen.insert(name.clone())));
        all.insert(format!("{PREFIX}{name}"), schema);
    }
    for (of, called) in FORMS {
        let Some(whole) = all.get(&format!("{PREFIX}{of}")).cloned() else { continue };
        let (to_create, to_replace) = (made(whole.clone(), Name::Needed), made(whole.clone(), Name::None));
        all.insert(format!("{called}Create"), to_create);
        all.insert(called.to_owned(), to_replace);
        all.insert(format!("{called}Patch"), patch(called));
    }
    all.insert("CertificatePatch".to_owned(), patch("CertificateOrder"));
    certificate_bodies(all);
}

/// Whether a form says its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Needed,
    None,
}

/// A form as it is made, with its name, or put, without.
fn made(mut schema: Value, name: Name) -> Value {
    let property = json!({"type": "string", "pattern": "^[a-z][a-z0-9._-]*$", "description": "Its name; it stays."});
    let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
    let mut needed: Vec<Value> = required(&schema).into_iter().filter(|key| key != "name").collect();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("name");
        if name == Name::Needed {
            properties.insert("name".to_owned(), property);
            needed.push("name".into());
        }
    }
    // Servers of a farm may be made on their own.
    needed.retain(|key| key != "servers");
    schema["required"] = needed.into();
    schema
}

fn patch(called: &str) -> Value {
    let about =
        format!("Keys of {called} that change (RFC 7396): null takes one back to its default, a mapping is merged.");
    json!({"type": "object", "description": about, "additionalProperties": true})
}

/// A certificate has its name where it is made, and only there.
fn certificate_bodies(all: &mut Map<String, Value>) {
    let Some(whole) = all.get("CertificateOrder").cloned() else { return };
    all.insert("CertificateCreate".to_owned(), made(whole.clone(), Name::Needed));
    all.insert("CertificateOrder".to_owned(), made(whole, Name::None));
}

/// Turns references of the config's schema into those of the document, and notes what they are to.
fn rename(schema: &mut Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(to)) = map.get_mut("$ref")
                && let Some(name) = to.strip_prefix("#/$defs/").map(str::to_owned)
            {
                *to = format!("#/components/schemas/{PREFIX}{name}");
                found.push(name);
            }
            map.values_mut().for_each(|value| rename(value, found));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, found)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}
