//! The part of the config file's schema that is a frontend; its routes have their own.

use schemars::JsonSchema;
use serde::Serialize;

use super::farm::Switch;
use super::route::{HeaderRules, Redirect, Reject, Route};
use super::text::{DurationText, Filled, ListenText, NameText, Number, SizeText};
use super::{Protocol, bounds};

/// An entry.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = {"required": ["allow", "deny"]}))]
pub struct Frontend {
    /// What clients speak; its farms' is the same.
    pub protocol: Filled<Protocol>,
    /// The ip:port, or unix:/path, that it listens on.
    #[schemars(length(min = 1, max = bounds::LISTENERS_MAX))]
    pub listen: Vec<ListenText>,
    /// How it is encrypted (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<FrontendTls>,
    /// Whether HTTP/2 is spoken without TLS too, by prior knowledge (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h2c: Option<Filled<bool>>,
    /// Whose PROXY headers are read (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_proxy: Option<AcceptProxy>,
    /// The networks that may connect; everybody where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LIST_MAX))]
    pub allow: Option<Vec<String>>,
    /// The networks that may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::LIST_MAX))]
    pub deny: Option<Vec<String>>,
    /// Networks whose X-Forwarded-*, Via, request ids and trace contexts are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Vec<String>>,
    /// Strict-Transport-Security (http with tls).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Switch<Hsts>>,
    /// Whether it is closed for maintenance, and what clients are told then (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Switch<Maintenance>>,
    /// Changes of every head towards a server (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderRules>,
    /// Changes of every head towards a client (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderRules>,
    /// Deadlines towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<FrontendTimeouts>,
    /// Bounds on what a client may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Which work goes elsewhere (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ROUTES_MAX))]
    pub routes: Option<Vec<Route>>,
    /// Where clients are sent whom no route takes (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// How clients are rejected whom no route takes (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<Reject>,
    /// The farm that takes what no route takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farm: Option<NameText>,
}

/// How a frontend is encrypted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["certificates"]}, {"required": ["acme"]}]))]
pub struct FrontendTls {
    /// Certificates, chosen among by the name that a client asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::CERTIFICATES_MAX))]
    pub certificates: Option<Vec<Certificate>>,
    /// Names whose certificates are obtained by ACME.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ACME_NAMES_MAX))]
    pub acme: Option<Vec<String>>,
    /// Which versions and cipher suites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Filled<TlsProfile>>,
    /// The protocols that are agreed to, the most wanted first (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub alpn: Option<Vec<Filled<Alpn>>>,
    /// The PEM file of the authorities of clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// The PEM file of what these have revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<String>,
    /// Whether clients show a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<Filled<ClientAuth>>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The PEM file of the chain, the leaf first.
    pub cert: String,
    /// The PEM file of the private key.
    pub key: String,
}

/// Versions and cipher suites.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3.
    Intermediate,
    /// TLS 1.3 only.
    Modern,
}

/// A protocol that a handshake agrees on.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum Alpn {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// Whose PROXY headers are read.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptProxy {
    /// Networks that begin with one.
    #[schemars(length(min = 1, max = bounds::LIST_MAX))]
    pub from: Vec<String>,
}

/// Strict-Transport-Security.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// How long browsers keep to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<DurationText>,
    /// Whether it holds for names below, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_subdomains: Option<Filled<bool>>,
}

/// What clients of a closed frontend are told.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = {"required": ["body", "body_file"]}))]
pub struct Maintenance {
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status:
        Option<Number<{ *bounds::PAGE_STATUS.range.start() as u64 }, { *bounds::PAGE_STATUS.range.end() as u64 }>>,
    /// The page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The file of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_file: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::PAGE_TYPE_BYTES_MAX))]
    pub content_type: Option<String>,
    /// When clients may come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<DurationText>,
}

/// Deadlines towards clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrontendTimeouts {
    /// For a PROXY header and a TLS handshake, each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<DurationText>,
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
    /// How long a connection may last (tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<DurationText>,
}

/// Bounds on what a client may send.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections; udp: clients known at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Number<1, { *bounds::CONNECTIONS.range.end() as u64 }>>,
    /// Open connections of one client address; 0: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_source: Option<Number<0, { *bounds::PER_SOURCE.range.end() as u64 }>>,
    /// TLS handshakes under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Number<1, { *bounds::HANDSHAKES.range.end() as u64 }>>,
    /// Request line and header fields together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_bytes: Option<SizeText>,
    /// Header fields of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_fields: Option<Number<1, { *bounds::HEADER_FIELDS.range.end() as u64 }>>,
    /// The request target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri_bytes: Option<SizeText>,
    /// A request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<SizeText>,
    /// What a request body must come to on average, and what a client must take of an answer that waits for it, a
    /// second; 0B: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_rate_min: Option<SizeText>,
    /// Requests under way at once on one HTTP/2 connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Number<1, { *bounds::STREAMS.range.end() as u64 }>>,
    /// How often one client may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How often one client may ask.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Who one client is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<RateKey>,
    /// How many requests.
    pub requests: Number<1, { *bounds::RATE_REQUESTS.end() as u64 }>,
    /// In how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<DurationText>,
    /// How many at once, after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Number<1, { *bounds::RATE_REQUESTS.end() as u64 }>>,
}

/// Who one client is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RateKey {
    /// An address.
    Source(Filled<SourceWord>),
    /// Whoever sends the same value in a header field.
    Header(ByHeader),
}

/// The word `source`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceWord {
    /// The client's address.
    Source,
}

/// The value of a header field.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByHeader {
    /// Its name.
    #[schemars(length(min = 1, max = bounds::FIELD_BYTES_MAX))]
    pub header: String,
}
