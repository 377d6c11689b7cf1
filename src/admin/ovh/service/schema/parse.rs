//! The short form → the vendor's JSON. Pure; the tests read every line of the forms that there are.
//!
//! `VERB path -> type | what | parameters`, `enum name words`, `model name | what` with its fields below. A line that is
//! none of these is left out, which a test would see.

use serde_json::{Map, Value, json};

/// Returns `apis` and `models`.
pub(super) fn parsed(text: &str) -> Value {
    let mut paths: Vec<(String, Vec<Value>)> = Vec::new();
    let mut models = Map::new();
    let mut model: Option<String> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if let Some(field) = line.strip_prefix("  ") {
            let properties = model.as_ref().and_then(|name| models.get_mut(name)?.get_mut("properties"));
            if let (Some((name, property)), Some(Value::Object(all))) = (property(field), properties) {
                all.insert(name, property);
            }
        } else if let Some((name, words)) = line.strip_prefix("enum ").and_then(|rest| rest.split_once(' ')) {
            let words: Vec<&str> = words.split(' ').collect();
            let mut it = named(name, "What it may be");
            it.insert("enum".to_owned(), json!(words));
            it.insert("enumType".to_owned(), json!("string"));
            models.insert(name.to_owned(), Value::Object(it));
        } else if let Some((name, what)) = line.strip_prefix("model ").and_then(|rest| rest.split_once(" | ")) {
            let mut it = named(name, what);
            it.insert("properties".to_owned(), json!({}));
            models.insert(name.to_owned(), Value::Object(it));
            model = Some(name.to_owned());
        } else if let Some((path, operation)) = operation(line) {
            match paths.iter_mut().find(|(known, _)| *known == path) {
                Some((_, operations)) => operations.push(operation),
                None => paths.push((path, vec![operation])),
            }
        }
    }
    let api = |(path, operations): (String, Vec<Value>)| {
        let what = operations.first().and_then(|first| first.get("description")).cloned();
        json!({"path": path, "description": what, "operations": operations})
    };
    json!({"apis": paths.into_iter().map(api).collect::<Vec<_>>(), "models": models})
}

fn named(name: &str, what: &str) -> Map<String, Value> {
    let (namespace, id) = name.rsplit_once('.').unwrap_or(("", name));
    let own = [("id", id), ("namespace", namespace), ("description", what)];
    own.into_iter().map(|(key, text)| (key.to_owned(), json!(text))).collect()
}

fn property(line: &str) -> Option<(String, Value)> {
    let mut words = line.split_whitespace();
    let (name, kind) = (words.next()?, words.next()?);
    let flags: Vec<&str> = words.collect();
    let may_be_null = flags.contains(&"null");
    let it = json!({
        "type": kind,
        "fullType": kind,
        "canBeNull": may_be_null,
        "readOnly": flags.contains(&"read"),
        "required": !may_be_null,
        "description": null,
    });
    Some((name.to_owned(), it))
}

fn operation(line: &str) -> Option<(String, Value)> {
    let mut parts = line.split(" | ");
    let (call, answer) = parts.next()?.split_once(" -> ")?;
    let (verb, path) = call.split_once(' ')?;
    let (verb, is_open) = verb.strip_suffix('!').map_or((verb, false), |verb| (verb, true));
    let what = parts.next()?;
    let mut parameters: Vec<Value> = path.split('/').filter_map(in_path).collect();
    parameters.extend(parts.next().into_iter().flat_map(|list| list.split(", ")).filter_map(parameter));
    let operation = json!({
        "httpMethod": verb,
        "description": what,
        "responseType": answer,
        "noAuthentication": is_open,
        "apiStatus": {"value": "PRODUCTION", "description": "Stable production version"},
        "parameters": parameters,
    });
    Some((path.to_owned(), operation))
}

fn in_path(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let kind = if matches!(name, "serviceName" | "zone" | "name") { "string" } else { "long" };
    Some(described(name, kind, "path", true))
}

fn parameter(text: &str) -> Option<Value> {
    if let Some(whole) = text.strip_prefix('=') {
        return Some(described("", whole, "body", true));
    }
    let (name, kind) = text.split_once(':')?;
    let (kind, is_required) = kind.strip_suffix('*').map_or((kind, false), |kind| (kind, true));
    match name.strip_prefix('?') {
        Some(name) => Some(described(name, kind, "query", is_required)),
        None => Some(described(name, kind, "body", is_required)),
    }
}

fn described(name: &str, kind: &str, place: &str, is_required: bool) -> Value {
    json!({
        "name": name,
        "dataType": kind,
        "fullType": kind,
        "paramType": place,
        "required": is_required,
        "description": null,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FORMS: [&str; 2] = [include_str!("ipLoadbalancing.txt"), include_str!("auth.txt")];

    /// Every line comes to something, and every type that is named is there.
    #[test]
    fn forms_are_whole() {
        for text in FORMS {
            let document = parsed(text);
            let (apis, models) = (document["apis"].as_array().unwrap(), document["models"].as_object().unwrap());
            let lines = |begins: &str| text.lines().filter(|line| line.starts_with(begins)).count();
            let operations: Vec<&Value> = apis.iter().flat_map(|api| api["operations"].as_array().unwrap()).collect();
            let verbs = ["GET", "POST", "PUT", "DELETE"].map(lines).iter().sum::<usize>();
            assert_eq!((operations.len(), models.len()), (verbs, lines("enum ") + lines("model ")));
            let fields = models.values().filter_map(|model| model["properties"].as_object()).map(Map::len);
            assert_eq!(fields.sum::<usize>(), lines("  "));
            let mut named = BTreeSet::new();
            for operation in &operations {
                named.insert(operation["responseType"].as_str().unwrap());
                for parameter in operation["parameters"].as_array().unwrap() {
                    named.insert(parameter["dataType"].as_str().unwrap());
                }
            }
            for field in models.values().filter_map(|model| model["properties"].as_object()).flat_map(Map::values) {
                named.insert(field["type"].as_str().unwrap());
            }
            for kind in named {
                let kind = kind.trim_end_matches("[]");
                assert!(!kind.contains('.') || models.contains_key(kind), "{kind} is not described");
            }
        }
    }

    #[test]
    fn operation_has_its_parameters_where_they_belong() {
        let (path, operation) =
            operation("PUT /a/{serviceName}/b/{id} -> x.Y[] | Does it | ?q:long, b:string*, =x.Z").unwrap();
        assert_eq!((path.as_str(), operation["httpMethod"].as_str()), ("/a/{serviceName}/b/{id}", Some("PUT")));
        let parameters = operation["parameters"].as_array().unwrap();
        let told = |it: &Value| {
            format!("{}:{}:{}:{}", it["paramType"], it["name"], it["dataType"], it["required"]).replace('"', "")
        };
        assert_eq!(
            parameters.iter().map(told).collect::<Vec<_>>(),
            [
                "path:serviceName:string:true",
                "path:id:long:true",
                "query:q:long:false",
                "body:b:string:true",
                "body::x.Z:true"
            ]
        );
    }
}
