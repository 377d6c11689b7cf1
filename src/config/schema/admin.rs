//! The part of the config file's schema that is not traffic: `admin`, `journal`, `webhooks` and `log`.

use schemars::JsonSchema;
use serde::Serialize;

use super::text::{DurationText, Fields, Filled, ListenText, NameText, Number, SampleText, SizeText, WebhookUrlText};
use super::{Auto, bounds};

/// The admin side.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The ip:port it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenText>,
    /// Its encryption; needed outside loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsForm>,
    /// Names under which browsers may ask it, beside addresses and localhost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Who may read /metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Filled<MetricsAccess>>,
    /// Whether probes may run programs, and upgrades a program of the caller's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_commands: Option<Filled<bool>>,
    /// How often one credential may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<CallRate>,
    /// Bearer tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<Token>>,
    /// Credentials of the OVHcloud shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovh: Option<Ovh>,
    /// Credentials of the Zenlayer shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zenlayer: Option<Zenlayer>,
}

/// How often one credential may call; one address, four times as often.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRate {
    /// How many calls.
    pub requests: Number<1, { *bounds::RATE_REQUESTS.end() as u64 }>,
    /// In how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<DurationText>,
    /// How many at once, after a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Number<1, { *bounds::RATE_REQUESTS.end() as u64 }>>,
}

/// A certificate made at start, or the operator's own.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TlsForm {
    /// Made at start.
    Auto(Auto),
    /// The operator's own.
    Files(Tls),
}

/// A certificate and its key, both or none; and certificates of clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {"cert": ["key"], "key": ["cert"], "client_auth": ["client_ca"]}))]
pub struct Tls {
    /// The file of the PEM chain; made at the first start where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The file of the PEM private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The PEM file of the authorities that sign clients' certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Whether a client without one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<Filled<AdminClientAuth>>,
}

/// Whether a client of the admin side must show a certificate.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminClientAuth {
    /// It may send a token instead.
    Optional,
    /// It must.
    Required,
}

/// Who may read /metrics.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Anybody who reaches the listener.
    Open,
    /// Whoever has a bearer token of `tokens`; no other credential will do.
    Token,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read and change everything that can be changed.
    Admin,
    /// Read, change admin status and weights, reload.
    Operate,
    /// Read only.
    Read,
}

/// A bearer token, or a client's certificate that stands for one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["token"]},
    {"required": ["token_file"]},
    {"required": ["client_cert_sha256"]},
    {"required": ["client_cert_cn"]}
]))]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Filled<Role>>,
    /// The farms that it may change, by name; absent: all. It reads everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farms: Option<Vec<NameText>>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The file of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// The SHA-256 of a client's certificate that stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_sha256: Option<String>,
    /// The common name of clients' certificates that stand for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert_cn: Option<String>,
}

/// Credentials of the OVHcloud shape, and what it may write.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ovh {
    /// The credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vec<OvhCredential>>,
    /// Applications that may ask for credentials, which an operator grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applications: Option<Vec<OvhApplication>>,
    /// The shortest interval of a probe that is made through this shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_interval_min: Option<DurationText>,
    /// The URL at which clients know this shape, its /1.0 included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = bounds::TEXT_BYTES_MAX))]
    pub public_url: Option<String>,
}

/// An application that may ask for credentials.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["application_secret"]}, {"required": ["application_secret_file"]}]))]
pub struct OvhApplication {
    /// What it is called.
    pub name: String,
    /// The most that a credential of it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Filled<Role>>,
    /// X-Ovh-Application.
    pub application_key: String,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_secret: Option<String>,
    /// The file of its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_secret_file: Option<String>,
}

/// Calls that a credential may make.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRule {
    /// The method.
    pub method: CallMethod,
    /// The path below /1.0; each * stands for anything.
    pub path: String,
}

/// A method of the OVHcloud shape.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallMethod {
    /// Removes.
    Delete,
    /// Reads.
    Get,
    /// Makes.
    Post,
    /// Changes.
    Put,
}

/// A credential of OVHcloud's `$1$` signature.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {"oneOf": [{"required": ["application_secret"]}, {"required": ["application_secret_file"]}]},
    {"oneOf": [{"required": ["consumer_key"]}, {"required": ["consumer_key_file"]}]}
]))]
pub struct OvhCredential {
    /// Whose it is.
    pub name: String,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Filled<Role>>,
    /// The farms that it may change, by name; absent: all. It reads everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farms: Option<Vec<NameText>>,
    /// The calls that it may make; absent: all that its role allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<CallRule>>,
    /// X-Ovh-Application.
    pub application_key: String,
    /// The application's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_secret: Option<String>,
    /// The file of the application's secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_secret_file: Option<String>,
    /// X-Ovh-Consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_key: Option<String>,
    /// The file of the consumer key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_key_file: Option<String>,
}

/// Credentials of the Zenlayer shape.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zenlayer {
    /// The access keys.
    pub access_keys: Vec<ZenlayerKey>,
}

/// An access key of Zenlayer's ZC2-HMAC-SHA256 signature.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["secret"]}, {"required": ["secret_file"]}]))]
pub struct ZenlayerKey {
    /// Whose it is.
    pub name: String,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Filled<Role>>,
    /// The farms that it may change, by name; absent: all. It reads everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farms: Option<Vec<NameText>>,
    /// The actions that it may ask for beside those that only read; "*" for all. They need the role as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<String>>,
    /// The access key id.
    pub id: String,
    /// The access key password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The file of the access key password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

/// How much of what happened is kept.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// How long events and evidence are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<DurationText>,
    /// How long the history of every check is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<DurationText>,
    /// The largest size of it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_max: Option<SizeText>,
    /// Failing checks of one server whose evidence is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_per_server: Option<Number<1, { *bounds::EVIDENCE.range.end() as u64 }>>,
}

/// Who is told of events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["secret"]}, {"required": ["secret_file"]}]))]
pub struct Webhook {
    /// Where events are posted.
    pub url: WebhookUrlText,
    /// What the body is signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The file of what the body is signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// The PEM file of the authorities to verify against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How long one delivery may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// The most deliveries a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second_max: Option<Number<1, { *bounds::WEBHOOK_RATE.range.end() as u64 }>>,
}

/// How certificates are obtained by ACME.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// Where the authority's directory is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<WebhookUrlText>,
    /// Whom it may write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Vec<String>>,
    /// The PEM file of the authorities to verify its server against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How it is shown that a name is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Filled<AcmeChallenge>>,
    /// That the authority's terms are agreed to.
    pub terms_agreed: Filled<bool>,
}

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum AcmeChallenge {
    /// By an answer over HTTP.
    #[serde(rename = "http-01")]
    Http01,
    /// By a certificate in a handshake.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// Logs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Least level of the process log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Filled<Level>>,
    /// Form of the process log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Filled<LogFormat>>,
    /// One line a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessLog>,
}

/// A level of the process log.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything on the way.
    Trace,
    /// Per connection.
    Debug,
    /// Life and state changes.
    Info,
    /// Degraded but serving.
    Warn,
    /// Someone must act.
    Error,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The access log.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file it is appended to; opened again at SIGUSR1.
    pub path: String,
    /// The form of a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Filled<AccessFormat>>,
    /// What a line has, with format json.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<Filled<AccessField>>>,
}

/// The form of a line of the access log.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// The Common Log Format.
    Clf,
    /// The Common Log Format with Referer and User-Agent behind it.
    Combined,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A field of the JSON access log.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessField {
    /// The protocol that client and balancer agreed on in the TLS handshake.
    Alpn,
    /// When it ended.
    At,
    /// Body bytes from the client.
    BytesIn,
    /// Body bytes to the client.
    BytesOut,
    /// Who sent it, with the port.
    Client,
    /// How long the connection to the server took, in microseconds.
    ConnectUs,
    /// From the head's arrival to the end, in microseconds.
    DurationUs,
    /// The farm that it was given to.
    Farm,
    /// From the head's arrival to the head of the server's answer, in microseconds.
    FirstByteUs,
    /// Where it came in.
    Frontend,
    /// Host as received.
    Host,
    /// Method; `TCP` for a raw connection.
    Method,
    /// The id that the balancer gave it, where another one was accepted.
    OwnId,
    /// The version of HTTP that the client spoke.
    Protocol,
    /// How long it waited for a server to have room, in microseconds.
    QueueUs,
    /// Why Farmgate itself ended it.
    Reason,
    /// Referer as received.
    Referer,
    /// Its id: the accepted one, or its own.
    RequestId,
    /// Other servers tried.
    Retries,
    /// The route that took it.
    Route,
    /// The server that it was given to last.
    Server,
    /// The name that the client asked for in the TLS handshake.
    Sni,
    /// Status sent; 0 if none.
    Status,
    /// Request target as received.
    Target,
    /// Who ended it, in which phase.
    Termination,
    /// The version of TLS that the client spoke.
    Tls,
    /// The trace that it is part of.
    TraceId,
    /// User-Agent as received.
    UserAgent,
}

/// Traces of requests.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The share of the traces beginning here that is recorded, with up to four places behind the point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleText>,
    /// What spans are said to be of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Who is sent spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

/// Who is sent spans, by OTLP over HTTP with protobuf.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Where they are posted.
    pub url: WebhookUrlText,
    /// Fields that every request has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Fields<String>>,
    /// The PEM file of the authorities to verify against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How long one request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}
