//! The document against the routes that there are, against itself, and against real answers.

use std::collections::BTreeSet;

use super::*;
use crate::admin::fixture::{OPS, Running, VIEWER};
use crate::admin::native::route::Route;

fn methods(operations: &[Operation], path: &str) -> BTreeSet<&'static str> {
    operations.iter().filter(|it| it.path == path).map(|it| it.method).collect()
}

#[test]
fn every_operation_is_a_route_and_every_route_and_method_is_an_operation() {
    let all = operations::all();
    let paths: BTreeSet<&str> = all.iter().map(|it| it.path).collect();
    for path in &paths {
        let sample = path.replace(['{', '}'], "");
        let route = Route::of(&sample).unwrap_or_else(|| panic!("{path} is no route"));
        assert_eq!(route.template(), *path);
        let allowed: BTreeSet<&str> = route.allow().split(", ").filter(|method| *method != "HEAD").collect();
        assert_eq!(methods(&all, path), allowed, "{path}");
    }
    // The compiler sees to it that every route has a template; each is a line of its source.
    let source = include_str!("../route.rs");
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let templates: BTreeSet<&str> =
        source.split('"').filter(|text| text.starts_with("/api/v1/") && text.len() > 8).collect();
    assert_eq!(paths, templates);
    let ids: BTreeSet<_> = all.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "an operation's id is its own");
}

#[test]
fn document_is_openapi_and_refers_to_nothing_that_is_not_there() {
    let document = document();
    // Schemas are JSON Schema in full, which is more than the crate's types have room for.
    let mut without = document.clone();
    let schemas = std::mem::replace(&mut without["components"]["schemas"], json!({}));
    with_types(&mut without);
    let read: utoipa::openapi::OpenApi = serde_json::from_value(without).unwrap();
    for name in schemas.as_object().unwrap().keys() {
        let mut schema = reference(name);
        schema["components"] = document["components"].clone();
        jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(read.info.title, "Farmgate");
    let mut seen = 0;
    each_reference(&document, &mut |to| {
        let pointer = to.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
        seen += 1;
    });
    assert!(seen > 100, "{seen}");
    let tags: BTreeSet<&str> = operations::TAGS.iter().map(|(name, _)| *name).collect();
    assert!(operations::all().iter().all(|it| tags.contains(it.tag) && it.role != crate::model::Access::Read
        || it.method == "GET"
        || it.tag == "probes"));
}

/// Gives a type to what may be anything, for which the crate has none.
fn with_types(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("schema").and_then(Value::as_object).is_some_and(Map::is_empty) {
                map.insert("schema".to_owned(), json!({"type": "string"}));
            }
            map.values_mut().for_each(with_types);
        }
        Value::Array(items) => items.iter_mut().for_each(with_types),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

fn each_reference(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                see(to);
            }
            map.values().for_each(|value| each_reference(value, see));
        }
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, see)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns what is wrong with a value as the document has that schema.
fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

#[test]
fn examples_are_what_their_schemas_say() {
    let document = document();
    let mut seen = 0;
    for operation in operations::all() {
        let Sent::Json { schema, example, .. } = &operation.sent else { continue };
        let example: Value = serde_json::from_str(example.as_deref().unwrap()).unwrap();
        assert_eq!(faults(&document, &reference(schema), &example), Vec::<String>::new(), "{}", operation.id);
        seen += 1;
    }
    let error = &document["components"]["responses"]["Error"]["content"]["application/json"];
    assert_eq!(faults(&document, &error["schema"], &error["example"]), Vec::<String>::new());
    assert!(seen > 20, "{seen}");
}

/// Checks one answer against the document.
#[track_caller]
fn answers_as_told(running: &Running, document: &Value, (method, path, body): (&str, &str, &str)) -> u16 {
    let reply = running.call(method, path, OPS, body);
    let route = Route::of(path.split('?').next().unwrap()).unwrap();
    let operation = &document["paths"][route.template()][method.to_ascii_lowercase()];
    let told = &operation["responses"][reply.status.to_string()];
    assert!(
        told.is_object(),
        "{method} {path} answers {} and the document has no such answer: {}",
        reply.status,
        reply.body
    );
    let told = match told["$ref"].as_str() {
        Some(to) => document.pointer(&to[1..]).unwrap(),
        None => told,
    };
    let kind = reply.field("content-type").unwrap_or_default().split(';').next().unwrap();
    let media = &told["content"][kind];
    assert!(media.is_object() || reply.body.is_empty(), "{method} {path} answers {kind}");
    let is_tagged = reply.field("etag").is_some();
    assert!(!is_tagged || told["headers"]["ETag"].is_object(), "{method} {path}");
    if kind == "application/json" {
        assert_eq!(
            faults(document, &media["schema"], &reply.json()),
            Vec::<String>::new(),
            "{method} {path}: {}",
            reply.body
        );
    }
    reply.status
}

#[test]
fn real_answers_are_what_the_document_says() {
    let (running, document) = (Running::start(), document());
    let s1 = "/api/v1/farms/web/servers/s1";
    for (method, path, body, status) in [
        ("GET", "/api/v1/status", "", 200),
        ("GET", "/api/v1/farms?limit=1", "", 200),
        ("GET", "/api/v1/farms/web", "", 200),
        ("GET", "/api/v1/farms/wob", "", 404),
        ("GET", "/api/v1/farms?limit=0", "", 400),
        ("GET", "/api/v1/farms/web/servers?health=down", "", 200),
        ("GET", s1, "", 200),
        ("GET", "/api/v1/frontends", "", 200),
        ("GET", "/api/v1/frontends/web", "", 200),
        ("GET", "/api/v1/frontends/web/routes", "", 200),
        ("GET", "/api/v1/frontends/web/routes/x", "", 404),
        ("GET", "/api/v1/certificates", "", 200),
        ("GET", "/api/v1/certificates/x", "", 404),
        ("GET", "/api/v1/config", "", 200),
        ("GET", "/api/v1/events", "", 200),
        ("GET", "/api/v1/timeline", "", 200),
        ("GET", "/api/v1/farms/web/timeline", "", 200),
        ("GET", "/api/v1/farms/web/explain", "", 200),
        ("GET", "/api/v1/farms/web/servers/s3/explain", "", 200),
        ("GET", "/api/v1/requests/none/explain", "", 404),
        ("GET", "/api/v1/farms/web/servers/s3/evidence", "", 200),
        ("GET", "/api/v1/farms/web/shadow", "", 200),
        ("GET", "/api/v1/staged", "", 200),
        ("GET", "/api/v1/tasks", "", 200),
        ("GET", "/api/v1/tasks/7", "", 404),
        ("GET", "/api/v1/credentials", "", 403),
        ("POST", "/api/v1/farms/web/servers/s1/drain", "{\"reason\": \"a test\"}", 200),
        ("GET", "/api/v1/farms/web/servers/s1/drain", "", 200),
        ("POST", "/api/v1/farms/web/servers/s1/ready", "", 200),
        ("PUT", "/api/v1/farms/web/servers/s1/weight", "{\"weight\": 7}", 200),
        ("PUT", "/api/v1/farms/web/servers/s1/weight", "{\"weight\": -1}", 400),
        ("POST", "/api/v1/farms/web/servers/s1/maintenance", "", 200),
        ("POST", "/api/v1/reload", "", 200),
        ("POST", "/api/v1/upgrade", "", 200),
        ("POST", "/api/v1/farms", "{\"name\": \"shop\", \"protocol\": \"http\"}", 403),
        // Nothing waits, and nothing is kept of it either.
        ("POST", "/api/v1/refresh", "", 503),
    ] {
        let got = answers_as_told_or_default(&running, &document, (method, path, body));
        assert_eq!(got, status, "{method} {path}");
    }
}

/// As [`answers_as_told`], for answers that only the default tells of too.
#[track_caller]
fn answers_as_told_or_default(running: &Running, document: &Value, call: (&str, &str, &str)) -> u16 {
    let mut document = document.clone();
    let error = json!({"$ref": "#/components/responses/Error"});
    for operation in
        document["paths"].as_object_mut().unwrap().values_mut().flat_map(|it| it.as_object_mut().unwrap().values_mut())
    {
        let responses = operation["responses"].as_object_mut().unwrap();
        for status in [409, 500] {
            responses.entry(status.to_string()).or_insert_with(|| error.clone());
        }
    }
    answers_as_told(running, &document, call)
}

#[test]
fn document_is_open_to_all_and_read_only() {
    let running = Running::start();
    let reply = running.send("GET", PATH, &[], b"");
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")));
    assert_eq!(reply.json(), document());
    let wrong = running.call("POST", PATH, VIEWER, "");
    assert_eq!((wrong.status, wrong.field("allow")), (405, Some("get, head")));
}
