//! `/openapi.json`: the native API, told to programs (OpenAPI 3.1).
//!
//! Made once, of the structs that are on the wire (`schemas`), the schema of the config file (what bodies of objects are),
//! and the table of operations (`operations`); which query keys a path takes is asked of its route, so that the document
//! cannot say another. Open to all, as the pages are: it holds nothing but what the program is.

mod operations;
mod parameters;
mod schemas;

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use crate::admin::call::Call;

use operations::{Answer, Operation, Sent};
use schemas::reference;

/// Where it is.
const PATH: &str = "/openapi.json";
/// The scheme of `securitySchemes`.
const BEARER: &str = "token";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

/// Answers a call for the document; none if the path is another's.
pub(in crate::admin) fn answer(call: &Call) -> Option<Response> {
    if call.uri.path() != PATH {
        return None;
    }
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Some(super::method_not_allowed(call, "GET, HEAD"));
    }
    let mut response = Response::new(Body::from(DOCUMENT.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(response)
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method.to_ascii_lowercase()] = told(&operation);
    }
    let about = "Everything that farmgate knows of its farms, frontends and servers, and everything that can be changed \
                 of them. Durations are texts with a unit (\"2s\"), times RFC 3339 in UTC with milliseconds. What is sent \
                 with an unknown field or query parameter is refused; what is answered may grow fields. Every error has \
                 the same body.";
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Farmgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{BEARER: []}],
        "tags": operations::TAGS.iter().map(|(name, about)| json!({"name": name, "description": about})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "responses": {"Error": error()},
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of admin.tokens. Its role says what it may do: read, operate, admin.",
                },
            },
        },
    })
}

fn told(operation: &Operation) -> Value {
    let Operation { id, tag, summary, about, role, .. } = operation;
    let role = format!("Needs role {}.", role.as_str());
    let about = if about.is_empty() { role } else { format!("{about} {role}") };
    let mut told = json!({
        "operationId": id,
        "tags": [tag],
        "summary": summary,
        "description": about,
        "parameters": parameters::of(operation),
        "responses": answers(operation),
    });
    match &operation.sent {
        Sent::Nothing => {}
        Sent::Json { schema, is_required, example } => {
            let mut media = json!({"schema": reference(schema)});
            if let Some(example) = example.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()) {
                media["example"] = example;
            }
            told["requestBody"] = json!({"required": is_required, "content": {"application/json": media}});
        }
    }
    told
}

fn answers(operation: &Operation) -> Value {
    let mut answers = Map::new();
    for answer in &operation.answers {
        let (status, told) = match answer {
            Answer::Json { status, schema, about } => {
                (status, json!({"description": about, "content": {"application/json": {"schema": reference(schema)}}}))
            }
            Answer::Nothing { status, about } => (status, json!({"description": about})),
            Answer::Text { status, kind, about } => {
                (status, json!({"description": about, "content": {*kind: {"schema": {"type": "string"}}}}))
            }
        };
        let told = with_tag(operation, *status, told);
        match answers.get_mut(&status.to_string()) {
            // Another form of the same answer.
            Some(known) => {
                if let (Some(content), Some(Value::Object(more))) =
                    (known["content"].as_object_mut(), told.get("content").cloned())
                {
                    content.extend(more);
                }
            }
            None => {
                answers.insert(status.to_string(), told);
            }
        }
    }
    for status in operation.errors() {
        answers.insert(status.to_string(), json!({"$ref": "#/components/responses/Error"}));
    }
    answers.insert("default".to_owned(), json!({"$ref": "#/components/responses/Error"}));
    Value::Object(answers)
}

/// Adds the tag that an answer with a whole object has.
fn with_tag(operation: &Operation, status: u16, mut told: Value) -> Value {
    if operation.is_tagged && matches!(status, 200 | 201) {
        let about = "What is declared of the object; to be sent back as If-Match.";
        told["headers"] = json!({"ETag": {"description": about, "schema": {"type": "string"}}});
    }
    told
}

fn error() -> Value {
    let example = json!({"error": {
        "code": "not_found",
        "message": "farm \"wob\" does not exist",
        "request_id": "3d2a5f0e-6b7c-4f0a-9d57-0d4d8f5b2c11",
        "details": [],
    }});
    let media = json!({"schema": reference("ErrorBody"), "example": example});
    json!({"description": "What is wrong, and the remedy.", "content": {"application/json": media}})
}

#[cfg(test)]
mod tests;
