//! The part of the config file's schema that is a farm and its servers.

use schemars::JsonSchema;
use serde::Serialize;

use super::frontend::ByHeader;
use super::probe::Probe;
use super::server::{ProxyOut, ServerForm, ServerTls};
use super::text::{BelowText, DurationText, Filled, Named, Number, PercentText};
use super::{Protocol, bounds};
use crate::model::probe::PROBES_MAX;

/// How new work is spread.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// The quickest of two.
    Ewma,
    /// The first eligible server in the order written.
    First,
    /// The least in-flight work per weight.
    LeastConn,
    /// A hash, in constant time.
    Maglev,
    /// The less busy of two.
    Random,
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
#[schemars(extend("not" = {"required": ["probe", "probes"]}))]
pub struct Farm {
    /// What its servers speak.
    pub protocol: Filled<Protocol>,
    /// How new work is spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Filled<Balance>>,
    /// How it hashes, where its balance does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// Whether its servers are spoken to in HTTP/2 (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2: Option<Filled<bool>>,
    /// How its servers are spoken to in TLS, unless they say otherwise (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Switch<ServerTls>>,
    /// The PROXY header that its servers are sent first, unless they say otherwise (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<Filled<ProxyOut>>,
    /// How connections to its servers are used again (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// How long work waits for servers that are full (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// How its servers are checked, where that is one probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How its servers are checked, by name, where that is several probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = PROBES_MAX))]
    pub probes: Option<Named<Probe>>,
    /// How many of the probes, agents not counted, must pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Number<1, { PROBES_MAX as u64 }>>,
    /// A probe that is run and recorded, and counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Probe>,
    /// What is learnt from traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe: Option<Switch<Observe>>,
    /// How long a server that returns takes to come to its whole weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<DurationText>,
    /// When a server that keeps changing is held down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flap: Option<Switch<Flap>>,
    /// When failures are so many at once that the balancer suspects itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<Switch<Incident>>,
    /// What happens to what is open on a server that goes Down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_down: Option<Filled<Leftovers>>,
    /// How servers are taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// The share of the weight that must be left when a server is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<PercentText>,
    /// How clients are brought back to the server they had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<StickinessForm>,
    /// Deadlines towards its servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<FarmTimeouts>,
    /// What happens after a connect failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When Down servers are used rather than too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<FailOpen>,
    /// Its servers, by name.
    pub servers: Named<ServerForm>,
}

/// Off, on with the defaults, or written out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Switch<T> {
    /// Off.
    Off(Off),
    /// On or off.
    Flag(Filled<bool>),
    /// On, like this.
    Set(T),
}

/// The word `off`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Off {
    /// Not at all.
    Off,
}

/// What is learnt of a server from the traffic it serves.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// Failures in a row that eject it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Number<1, { *bounds::OBSERVE_ERRORS.range.end() as u64 }>>,
    /// What is a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub count: Option<Vec<Filled<Counted>>>,
    /// How long the first ejection lasts; each further one twice the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eject: Option<DurationText>,
    /// The longest ejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eject_max: Option<DurationText>,
    /// The largest share of a farm's servers that is ejected at once; one may always be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_max: Option<PercentText>,
}

/// A failure that traffic shows.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// A connection that cannot be made.
    Connect,
    /// A response that does not come in time, or breaks off.
    Response,
    /// A 5xx other than 501 and 505 (http).
    Status,
}

/// When a server that keeps changing is held down.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// Changes of health that hold it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Number<2, { *bounds::TRANSITIONS.range.end() as u64 }>>,
    /// The time in which they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<DurationText>,
    /// How long it is held down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<DurationText>,
}

/// When failures are so many at once that the balancer suspects itself.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// The share of a farm's probed servers that must fail at once; at least three do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<PercentText>,
    /// How long the last good rotation is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<DurationText>,
}

/// What happens to what is open on a server.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Leftovers {
    /// It is closed.
    Close,
    /// It stays until it ends.
    Keep,
}

/// How servers are taken out, unless the operator says otherwise.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// How long what is open and sticky may stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DurationText>,
    /// What happens to it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_deadline: Option<Filled<Leftovers>>,
}

/// How clients are brought back, as a word or in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum StickinessForm {
    /// As a word.
    Word(Filled<StickinessWord>),
    /// In full.
    Full(Box<Stickiness>),
}

/// How clients are brought back, as a word.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StickinessWord {
    /// They are not.
    None,
    /// By their address.
    Source,
    /// By a cookie (http).
    Cookie,
}

/// How clients are brought back: one of the three.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Stickiness {
    /// By their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<StickySource>,
    /// By a cookie (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<StickyCookie>,
    /// By the value of a header field (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<StickyHeaderForm>,
}

/// Stickiness by header, as the field's name or in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum StickyHeaderForm {
    /// The field's name.
    Name(String),
    /// In full.
    Full(StickyHeader),
}

/// Stickiness by header.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickyHeader {
    /// The field's name.
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub name: String,
    /// How long a client may stay away and still be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// The most clients known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_max: Option<Number<1, { *bounds::STICKY_CLIENTS.range.end() as u64 }>>,
}

/// Stickiness by address.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickySource {
    /// How long a client may stay away and still be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// The most clients known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_max: Option<Number<1, { *bounds::STICKY_CLIENTS.range.end() as u64 }>>,
}

/// A sticky cookie.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = {"required": ["key", "key_file"]}))]
pub struct StickyCookie {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::COOKIE_BYTES_MAX))]
    pub name: Option<String>,
    /// How long it lasts; until the browser ends where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<DurationText>,
    /// Whether it is `Secure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<Filled<bool>>,
    /// Whether it is `HttpOnly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_only: Option<Filled<bool>>,
    /// Its `SameSite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_site: Option<Filled<SameSite>>,
    /// The key that seals it; made at start where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The file of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
}

/// A cookie's `SameSite`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// `Lax`.
    Lax,
    /// `None`.
    None,
    /// `Strict`.
    Strict,
}

/// When Down servers are used: yes or no, or below a number of servers or a share of them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FailOpen {
    /// When all are Down, or never.
    Flag(Filled<bool>),
    /// `all_down`, `never`, `below N` or `below N%`.
    Text(BelowText),
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
    /// How much may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Switch<RetryBudget>>,
}

/// How much may be tried again: a share of the requests, and some in any case.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// The share of the farm's requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<PercentText>,
    /// How many a second may be in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second_min: Option<Number<0, { *bounds::RETRY_PER_SECOND.range.end() as u64 }>>,
}

/// How a farm hashes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// What is hashed (maglev).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<HashKey>,
    /// The most that a server has, in per cent of its fair share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_max: Option<PercentText>,
}

/// What is hashed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HashKey {
    /// As a word.
    Word(Filled<HashWord>),
    /// The value of a header field (http).
    Header(ByHeader),
}

/// What is hashed, as a word.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HashWord {
    /// The client's address.
    Source,
    /// The request's path (http).
    Uri,
}

/// How long work waits for a server that is full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// The most that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<Number<0, { *bounds::QUEUE_LENGTH.range.end() as u64 }>>,
    /// How long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// How connections to servers are used again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reuse {
    /// The most idle ones that a worker keeps to one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_max: Option<Number<0, { *bounds::IDLE_MAX.range.end() as u64 }>>,
    /// How old one may be to take another request; any age where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_max: Option<DurationText>,
    /// How many requests it may take; any number where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_max: Option<Number<1, { *bounds::REQUESTS_MAX.end() as u64 }>>,
    /// Requests under way at once on one HTTP/2 connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Number<1, { *bounds::SERVER_STREAMS.range.end() as u64 }>>,
    /// The most HTTP/2 connections of a worker to one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Number<1, { *bounds::SERVER_CONNECTIONS.range.end() as u64 }>>,
}
