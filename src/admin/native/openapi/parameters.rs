//! Parameters of operations: what stands in the path, what the query takes, and preconditions.

use serde_json::{Value, json};

use super::operations::Operation;

/// Returns every parameter of an operation.
pub(super) fn of(operation: &Operation) -> Vec<Value> {
    let mut all: Vec<Value> = operation.names().map(in_path).collect();
    all.extend(operation.query_keys().iter().map(|key| in_query(key)));
    if operation.is_conditional() {
        all.push(json!({
            "name": "If-Match",
            "in": "header",
            "required": false,
            "description": "ETags of which one must be the object's, or *; else nothing is written and 412 answers.",
            "schema": {"type": "string"},
            "example": "*",
        }));
    }
    all
}

fn in_path(name: &str) -> Value {
    let about = match name {
        "certificate" | "farm" | "frontend" | "route" | "server" => format!("Name or id of the {name}."),
        "task" => "Id of the task.".to_owned(),
        _ => "Its id.".to_owned(),
    };
    let pattern = match name {
        "task" => "^[0-9]{1,20}$",
        _ => "^[A-Za-z0-9._-]{1,128}$",
    };
    let schema = json!({"type": "string", "pattern": pattern});
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema})
}

fn in_query(key: &str) -> Value {
    let (about, schema) = match key {
        "admin" => ("Those with this admin status only.", words(&["active", "drain", "maintenance"])),
        "after" => ("Those behind the event of this id.", json!({"type": "integer", "minimum": 0})),
        "farm" => ("Those about this farm, by name or id.", json!({"type": "string"})),
        "health" => ("Those of this health only.", words(&["up", "down", "stopping", "unknown", "off"])),
        "limit" => ("How many at most.", json!({"type": "integer", "minimum": 1, "maximum": 1000})),
        "name" => ("Those of this name only; each * stands for anything.", json!({"type": "string"})),
        "offset" => {
            ("How many are left out at the beginning.", json!({"type": "integer", "minimum": 0, "maximum": 1_000_000}))
        }
        "order" => ("Which come first.", words(&["newest", "oldest"])),
        "origin" => ("Those of this origin only.", words(&["file", "api"])),
        "probe" => ("The probe, by name; the first one where absent.", json!({"type": "string"})),
        "protocol" => ("Those of this protocol only.", words(&["http", "tcp", "udp"])),
        "server" => ("Those about this server of the farm, by name or id.", json!({"type": "string"})),
        "since" => ("From when on: a time of RFC 3339, or how long ago such as 15m.", moment("1h")),
        "stage" => (
            "Keeps the write until this zone is refreshed: the one that the config names, or all.",
            json!({"type": "string", "pattern": "^[a-z][a-z0-9._-]*$"}),
        ),
        "status" => ("Those with this status only.", words(&["todo", "doing", "done", "error"])),
        "until" => ("Up to when: a time of RFC 3339, or how long ago such as 15m.", moment("2026-11-21T13:34:20Z")),
        "wait" => ("How long the answer may be held back until nothing is open any more; at most 10m.", moment("0s")),
        _ => ("", json!({"type": "string"})),
    };
    json!({"name": key, "in": "query", "required": false, "description": about, "schema": schema})
}

fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

fn moment(example: &str) -> Value {
    json!({"type": "string", "examples": [example]})
}
