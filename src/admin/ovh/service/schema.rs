//! The documents that describe this API to generators and to the vendor's page: operations with their parameters, and
//! models. What is not offered here is not in them.
//!
//! Each is written once in a short form (`schema/*.txt`) and put into the vendor's JSON at the first call. Nobody need be
//! known to read them.

mod parse;

use std::sync::OnceLock;

use http::header::HOST;
use serde_json::{Map, Value, json};

use crate::admin::call::Call;

/// Returns the document of that name for whoever calls us by that host.
pub(in crate::admin::ovh) fn document(name: &str, call: &Call) -> Vec<u8> {
    static AUTH: OnceLock<Value> = OnceLock::new();
    static SERVICE: OnceLock<Value> = OnceLock::new();
    let (document, resource) = match name {
        "auth" => (AUTH.get_or_init(|| parse::parsed(include_str!("schema/auth.txt"))), "/auth"),
        _ => (SERVICE.get_or_init(|| parse::parsed(include_str!("schema/ipLoadbalancing.txt"))), "/ipLoadbalancing"),
    };
    let sent = call.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = sent.or_else(|| call.uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let scheme = if call.is_tls { "https" } else { "http" };
    let mut whole: Map<String, Value> = document.as_object().cloned().unwrap_or_default();
    whole.insert("apiVersion".to_owned(), json!("1.0"));
    whole.insert("basePath".to_owned(), json!(format!("{scheme}://{host}/1.0")));
    whole.insert("resourcePath".to_owned(), json!(resource));
    Value::Object(whole).to_string().into_bytes()
}
