//! The config file as types: what its JSON Schema is made from, and what the export is written through.
//!
//! Keys, words and bounds are those of lowering (`keys`, `bounds`); tests hold the two together. Reading is never done
//! through these types: lowering knows positions and collects errors. Wherever a number, a word or a bool may stand,
//! the schema also takes a text with `${env:…}`, since that is filled in later. Fields that have a default may be left
//! out; a null is refused, as lowering refuses it.

mod admin;
mod farm;
mod frontend;
mod probe;
mod route;
mod server;
mod text;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::bounds;
pub use admin::{
    AccessField, AccessFormat, AccessLog, Acme, AcmeChallenge, Admin, AdminClientAuth, CallMethod, CallRate, CallRule,
    Journal, Level, Log, LogFormat, MetricsAccess, Otlp, Ovh, OvhApplication, OvhCredential, Role, Tls, TlsForm, Token,
    Tracing, Webhook, Zenlayer, ZenlayerKey,
};
pub use farm::{
    Balance, Counted, Drain, FailOpen, Farm, FarmTimeouts, Flap, Hash, HashKey, HashWord, Incident, Leftovers, Observe,
    Off, Queue, Retries, RetryBudget, Reuse, SameSite, Stickiness, StickinessForm, StickinessWord, StickyCookie,
    StickyHeader, StickyHeaderForm, StickySource, Switch,
};
pub use frontend::{
    AcceptProxy, Alpn, ByHeader, Certificate, ClientAuth, Frontend, FrontendTimeouts, FrontendTls, Hsts, Limits,
    Maintenance, Rate, RateKey, SourceWord, TlsProfile,
};
pub use probe::{
    Aim, Expect, Probe, ProbeMethod, ProbeStart, ProbeType, ProxyHeader, Statuses, Step, VerifiedPart, Verify,
};
pub use route::{
    Action, Field, HeaderRules, Match, Mirror, PatternText, Redirect, RedirectStatus, RedirectTo, Reject, RejectStatus,
    Rewrite, Route, Rule,
};
pub use server::{AdminStatus, ProxyOut, Server, ServerForm, ServerProbe, ServerTls};
pub use text::{
    AddressText, BelowText, DurationText, EnvText, Fields, Filled, HexText, IpText, ListenText, NameText, Named,
    Number, OneOrMany, PercentText, PortsText, SampleText, SizeText, UrlText, VersionText, WebhookUrlText,
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
    /// Bounds on the process as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ProcessLimits>,
    /// Entries, by name.
    pub frontends: Named<Frontend>,
    /// Farms, by name.
    pub farms: Named<Farm>,
    /// The admin side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// How much of what happened is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// Who is told of events, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks: Option<Named<Webhook>>,
    /// How certificates are obtained by ACME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// Logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// Traces of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Where a new process asks for the listening sockets, at SIGUSR2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_socket: Option<String>,
    /// The user that root becomes once everything is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group that root takes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
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
    /// Directories whose files what is made through an API may name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_files: Option<Vec<String>>,
    /// Directories whose Unix sockets servers made through an API may be at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_sockets: Option<Vec<String>>,
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

/// Bounds on the process as a whole.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessLimits {
    /// What it may hold in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
}

/// `auto`, `none` or a size.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum MemoryLimit {
    /// In proportion to what there is.
    Auto(Auto),
    /// As much as there is.
    Unbounded(Unbounded),
    /// That much.
    Size(SizeText),
}

/// The word `none`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unbounded {
    /// No bound.
    None,
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
    /// UDP datagrams.
    Udp,
}
