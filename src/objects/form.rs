//! Forms and extras as JSON: read, merged, compared. Pure.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::model::secrecy::is_secret;

/// The longest value that is told, in bytes as JSON.
const TOLD_BYTES_MAX: usize = 4096;

/// Returns a key path as errors write it.
#[must_use]
pub fn key_path(keys: &[&str]) -> String {
    let plain = |key: &&str| key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let segment = |key: &&str| if plain(key) { (*key).to_owned() } else { format!("{key:?}") };
    keys.iter().map(segment).collect::<Vec<_>>().join(".")
}

/// Returns the object that a form is; nothing of what is none.
#[must_use]
pub fn object(form: &str) -> Map<String, Value> {
    match serde_json::from_str(form) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Returns the text of a form: the same for the same content.
#[must_use]
pub fn text(map: Map<String, Value>) -> std::sync::Arc<str> {
    Value::Object(map).to_string().into()
}

/// Returns the form with one key set.
#[must_use]
pub fn with(form: &str, key: &str, value: Value) -> std::sync::Arc<str> {
    let mut map = object(form);
    map.insert(key.to_owned(), value);
    text(map)
}

/// Merges a patch into a form, as RFC 7396 has it: null removes a key, an object is merged, anything else replaces.
pub fn merge(form: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, wanted) in patch {
        match (form.get_mut(key), wanted) {
            (_, Value::Null) => {
                form.remove(key);
            }
            (Some(Value::Object(inner)), Value::Object(patch)) => merge(inner, patch),
            (_, Value::Object(patch)) => {
                let mut fresh = Map::new();
                merge(&mut fresh, patch);
                form.insert(key.clone(), Value::Object(fresh));
            }
            (_, _) => {
                form.insert(key.clone(), wanted.clone());
            }
        }
    }
}

/// Returns the keys in which two forms differ, each with its value before and after as JSON, secrets masked.
#[must_use]
pub fn differences(before: &str, after: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let (before, after) = (object(before), object(after));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = |map: &Map<String, Value>, key: &str| map.get(key).map(|value| bounded(masked(key, value).to_string()));
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differ.map(|key| (key.clone(), told(&before, key), told(&after, key))).collect()
}

/// Returns what a live write leaves of a staged form: in every key that the write changed, the live value. And whether a
/// staged value of such a key is lost.
#[must_use]
pub fn overtaken(staged: &str, before: &str, after: &str) -> (std::sync::Arc<str>, bool) {
    let (mut staged, before, after) = (object(staged), object(before), object(after));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut is_lost = false;
    for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
        is_lost |= staged.get(key) != before.get(key) && staged.get(key) != after.get(key);
        match after.get(key) {
            Some(value) => staged.insert(key.clone(), value.clone()),
            None => staged.remove(key),
        };
    }
    (text(staged), is_lost)
}

/// Returns the farms that the form of a frontend or route sends work to, by name.
#[must_use]
pub fn farms(form: &str) -> Vec<String> {
    let form = object(form);
    let routes = form.get("routes").and_then(Value::as_array).into_iter().flatten();
    let actions = routes.filter_map(|route| route.get("action")).chain(form.get("action"));
    let of_actions = actions.flat_map(|action| {
        let shares = action.get("farms").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned();
        let mirror = action.get("mirror").and_then(|mirror| mirror.get("farm"));
        let one = [action.get("farm"), mirror].into_iter().flatten().filter_map(name);
        shares.chain(one).collect::<Vec<_>>()
    });
    form.get("farm").and_then(name).into_iter().chain(of_actions).collect()
}

/// Returns the name that a value is. A bare number is one, as the file has it.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
    }
}

/// Returns the `addresses` of the form of a service; none where it says none, or nothing that can be read.
#[must_use]
pub fn addresses(form: &str) -> Vec<IpAddr> {
    let map = object(form);
    let items = map.get("addresses").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str()?.parse().ok()).collect()
}

/// What is too long is told by its length.
fn bounded(json: String) -> String {
    if json.len() <= TOLD_BYTES_MAX {
        return json;
    }
    Value::String(format!("… ({} bytes)", json.len())).to_string()
}

fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Number(_) if is_secret(key) => Value::String("…".to_owned()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), masked(key, value))).collect()),
        Value::Array(items) => Value::Array(items.iter().map(|item| masked(key, item)).collect()),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
