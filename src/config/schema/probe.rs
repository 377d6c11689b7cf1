//! The part of the config file's schema that is a probe.

use schemars::JsonSchema;
use serde::Serialize;

use super::bounds;
use super::text::{DurationText, Filled, HexText, IpText, Number, UrlText, VersionText};
use crate::model::probe::EXCHANGE_STEPS_MAX;

/// How servers are checked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"not": {"required": ["password", "password_file"]}},
    {"not": {"required": ["retries", "fall"]}},
    {"not": {"required": ["retry_interval", "fast_interval"]}}
]))]
pub struct Probe {
    /// What is spoken.
    pub r#type: Filled<ProbeType>,
    /// The method (http, https).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Filled<ProbeMethod>>,
    /// `/path`, `host/path` or `http://host/path` (http, https).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlText>,
    /// Which HTTP (http, https).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionText>,
    /// What counts as a pass (http, https, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// The service asked about (grpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The name given with HELO (smtp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// The user (mysql, pgsql).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password for AUTH (redis).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The file of the password for AUTH (redis).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// What is sent and expected, in order (exchange).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = EXCHANGE_STEPS_MAX))]
    pub steps: Option<Vec<Step>>,
    /// Whether it is spoken inside TLS (grpc, exchange, tcp, smtp, mysql, pgsql, redis, oco).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Filled<bool>>,
    /// What is sent first (agent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// The program's absolute path (command).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The program's arguments (command).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::ARGS_MAX))]
    pub args: Option<Vec<String>>,
    /// The port, where it is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Number<{ *bounds::PORT.start() as u64 }, { *bounds::PORT.end() as u64 }>>,
    /// The address, where it is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpText>,
    /// The Host header or authority (http, https, grpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The name asked for in TLS and verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether the certificate is verified, and of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Filled<Verify>>,
    /// The PEM file of the authorities to verify against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The PROXY header to send first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Filled<ProxyHeader>>,
    /// The local address to connect from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpText>,
    /// From the start of one check to the start of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// The interval while a change is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_interval: Option<DurationText>,
    /// The interval while Down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_interval: Option<DurationText>,
    /// The deadline of one check; at most the shortest interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Passes in a row that bring a server back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<Number<1, { *bounds::RISE.range.end() as u64 }>>,
    /// Failures in a row that take a server out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<Number<1, { *bounds::FALL.range.end() as u64 }>>,
    /// Checks after the first failure that must fail too; one less than fall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Number<0, { *bounds::PROBE_RETRIES.end() as u64 }>>,
    /// The same as fast_interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<DurationText>,
    /// What a server counts as before its first check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Filled<ProbeStart>>,
}

/// Where the farm's probes go for one server, and as whom.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aim {
    /// The port, where it is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Number<{ *bounds::PORT.start() as u64 }, { *bounds::PORT.end() as u64 }>>,
    /// The address, where it is not the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpText>,
    /// The Host header or authority (http, https, grpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether it is spoken inside TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Filled<bool>>,
    /// The name asked for in TLS and verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether the certificate is verified, and of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Filled<Verify>>,
    /// The PEM file of the authorities to verify against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The PROXY header to send first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Filled<ProxyHeader>>,
    /// The local address to connect from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpText>,
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeType {
    /// HAProxy's agent line.
    Agent,
    /// A program; only with admin.allow_commands.
    Command,
    /// Steps of sending and expecting.
    Exchange,
    /// grpc.health.v1.
    Grpc,
    /// An HTTP request.
    Http,
    /// An HTTP request inside TLS.
    Https,
    /// A MySQL handshake.
    Mysql,
    /// What port 79 says begins with 2.
    Oco,
    /// A PostgreSQL start-up.
    Pgsql,
    /// ICMP echo.
    Ping,
    /// A Redis PING.
    Redis,
    /// An SMTP greeting and HELO.
    Smtp,
    /// A TCP connect.
    Tcp,
    /// A TLS handshake.
    Tls,
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

/// One step of an exchange: one key.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Step {
    /// A text to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Bytes to send, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<HexText>,
    /// A text that must come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Bytes that must come, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<HexText>,
    /// A regular expression that must match what comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

/// Whether a certificate is verified.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Verify {
    /// Wholly, or not at all.
    Flag(bool),
    /// In part.
    Part(VerifiedPart),
}

/// What of a certificate is verified.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifiedPart {
    /// That it comes from the authorities of `ca`, whatever its name.
    Chain,
}

/// The form of a PROXY header.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyHeader {
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// What counts as a pass.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Statuses that pass, as `200-399,404` (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Statuses>,
    /// Statuses that pass on condition: no new work (http).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Statuses>,
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
