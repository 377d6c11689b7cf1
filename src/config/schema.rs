//! The config file as types: what its JSON Schema is made from, and what the export is written through.
//!
//! Keys, words and bounds are those of lowering (`keys`, `bounds`); tests hold the two together. Reading is never done
//! through these types: lowering knows positions and collects errors. Wherever a number, a word or a bool may stand,
//! the schema also takes a text with `${env:…}`, since that is filled in later. Fields that have a default may be left
//! out; a null is refused, as lowering refuses it.

mod admin;
mod text;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::bounds;
pub use admin::{
    AccessLog, Admin, Level, Log, LogFormat, MetricsAccess, Ovh, OvhCredential, Role, Tls, TlsForm, Token, Zenlayer,
    ZenlayerKey,
};
pub use text::{
    AddressText, DurationText, EnvText, Filled, ListenText, NameText, Named, Number, PortsText, SizeText, UrlText,
};

/// Returns the JSON Schema (2020-12) of the config file.
#[must_use]
pub fn schema_json() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    refuse_null(&mut schema);
    schema
}

/// schemars lets null stand for a field that may be left out; this file does not.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|t| t != "null"));
            }
            object.values_mut().for_each(refuse_null);
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// A Farmgate config file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The service's name, or its name, addresses and ports.
    pub service: ServiceForm,
    /// The id under which this process reports what it observes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<Number<1, { *bounds::INSTANCE_ID.range.end() }>>,
    /// The zone it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<NameText>,
    /// Data-plane threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// The directory where state outlives the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    /// How long open work may take to finish after SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<DurationText>,
    /// Checks under way at once, over all farms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks_at_once: Option<Number<1, { *bounds::CHECKS_AT_ONCE.range.end() as u64 }>>,
    /// Entries, by name.
    pub frontends: Named<Frontend>,
    /// Farms, by name.
    pub farms: Named<Farm>,
    /// The admin side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// Logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
}

/// The service, short or in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ServiceForm {
    /// Its name.
    Name(NameText),
    /// In full.
    Full(Service),
}

/// The service.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// OVHcloud's serviceName, Zenlayer's loadBalancerId.
    pub name: NameText,
    /// The IP addresses it is reached at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// The ports that frontends made through an API may use, as LOW-HIGH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_ports: Option<PortsText>,
}

/// `auto`, or a number of threads.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Workers {
    /// One per core.
    Auto(Auto),
    /// That many.
    Count(Number<{ *bounds::WORKERS.start() as u64 }, { *bounds::WORKERS.end() as u64 }>),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// Chosen at start.
    Auto,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP requests.
    Http,
    /// Raw TCP connections.
    Tcp,
}

/// An entry.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Frontend {
    /// What clients speak; the farm's is the same.
    pub protocol: Filled<Protocol>,
    /// The ip:port it listens on.
    #[schemars(length(min = 1, max = bounds::LISTENERS_MAX))]
    pub listen: Vec<ListenText>,
    /// The farm that takes its work.
    pub farm: NameText,
    /// Networks whose X-Forwarded-* and Via are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Vec<String>>,
    /// Deadlines towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<FrontendTimeouts>,
    /// Bounds on what a client may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Deadlines towards clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontendTimeouts {
    /// For a whole request head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<DurationText>,
    /// Between two reads of a request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<DurationText>,
    /// Between two requests of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// For a client to take what is written to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<DurationText>,
    /// How long an upgraded connection may be silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<DurationText>,
}

/// Bounds on what a client may send.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Number<1, { *bounds::CONNECTIONS.range.end() as u64 }>>,
    /// Request line and header fields together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_bytes: Option<SizeText>,
    /// The request target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_bytes: Option<SizeText>,
    /// A request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<SizeText>,
}

/// How new work is spread.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// The first eligible server in the order written.
    First,
    /// The least in-flight work per weight.
    LeastConn,
    /// Smooth weighted turns.
    RoundRobin,
    /// A hash of the client's address.
    Source,
    /// A hash of the request's path.
    Uri,
}

/// Servers of one protocol.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Farm {
    /// What its servers speak.
    pub protocol: Filled<Protocol>,
    /// How new work is spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Filled<Balance>>,
    /// How its servers are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Deadlines towards its servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<FarmTimeouts>,
    /// What happens after a connect failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Whether Down servers are used rather than none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<Filled<bool>>,
    /// Its servers, by name.
    pub servers: Named<ServerForm>,
}

/// Deadlines towards servers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FarmTimeouts {
    /// To establish a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<DurationText>,
    /// To the head of the response, and between two reads of its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<DurationText>,
    /// How long an unused connection is kept; TCP: how long both sides may be silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
}

/// What happens after a connect failure.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// How many other servers are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Number<0, { *bounds::RETRY_ATTEMPTS.range.end() as u64 }>>,
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeType {
    /// An HTTP/1.1 request.
    Http,
    /// A TCP connect.
    Tcp,
}

/// The method of an HTTP probe.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProbeMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// What a server counts as before its first check.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeStart {
    /// Unknown; the first check decides.
    Check,
    /// Down.
    Down,
    /// Up.
    Up,
}

/// How servers are checked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is spoken.
    pub r#type: Filled<ProbeType>,
    /// The method (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Filled<ProbeMethod>>,
    /// `/path`, `host/path` or `http://host/path` (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlText>,
    /// The Host header (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port, where it is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Number<{ *bounds::PORT.start() as u64 }, { *bounds::PORT.end() as u64 }>>,
    /// What counts as a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// From the start of one check to the start of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// The deadline of one check; at most the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Passes in a row that bring a server back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<Number<1, { *bounds::RISE.range.end() as u64 }>>,
    /// Failures in a row that take a server out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<Number<1, { *bounds::FALL.range.end() as u64 }>>,
    /// What a server counts as before its first check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Filled<ProbeStart>>,
}

/// What counts as a pass.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Statuses that pass, as `200-399,404` (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Statuses>,
    /// Bytes that the answer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A regular expression that the answer matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Whether the whole expectation is inverted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negate: Option<Filled<bool>>,
}

/// One status, or a list of statuses and ranges.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Statuses {
    /// One.
    One(Number<100, 599>),
    /// A list.
    List(String),
}

/// A server, short or in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ServerForm {
    /// Its host:port.
    Address(AddressText),
    /// In full.
    Full(Server),
}

/// A server.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its host:port.
    pub address: AddressText,
    /// Its share of the work; only ratios within the farm matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Number<0, { *bounds::WEIGHT.range.end() as u64 }>>,
    /// Whether it is used only when no other is eligible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Filled<bool>>,
    /// Whether the farm's probe is run against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Filled<bool>>,
    /// What is wanted of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Filled<AdminStatus>>,
}

/// What is wanted of a server.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminStatus {
    /// Takes work as health allows.
    Active,
    /// No new work.
    Drain,
    /// Out.
    Maintenance,
}
