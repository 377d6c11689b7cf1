//! The part of the config file's schema that is a server.

use schemars::JsonSchema;
use serde::Serialize;

use super::bounds;
use super::farm::{Leftovers, Switch};
use super::probe::{Aim, Verify};
use super::text::{AddressText, Filled, Number};

/// A server, short or in full.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ServerForm {
    /// Its host:port.
    Address(AddressText),
    /// In full.
    Full(Box<Server>),
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
    /// Whether the farm's probes are run against it, and where they go then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ServerProbe>,
    /// How it is spoken to in TLS (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Switch<ServerTls>>,
    /// The PROXY header that it is sent first (http, tcp).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<Filled<ProxyOut>>,
    /// The most requests, or connections, that it is given at once; no bound where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<Number<1, { *bounds::MAX_CONNECTIONS.end() as u64 }>>,
    /// The value that a sticky cookie has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::COOKIE_BYTES_MAX))]
    pub cookie: Option<String>,
    /// What happens to what is open on it when it goes Down; as the farm says where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_down: Option<Filled<Leftovers>>,
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

/// Whether the farm's probes are run against a server, or where they go then.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ServerProbe {
    /// Whether.
    Flag(Filled<bool>),
    /// Where they go and as whom.
    Aim(Aim),
}

/// How a server is spoken to in TLS.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("dependentRequired" = {"cert": ["key"], "key": ["cert"]}))]
pub struct ServerTls {
    /// The PEM file of the authorities that its certificate must come from; this host's where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that is asked for and that its certificate must have; its own host where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether its certificate is verified, and of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Filled<Verify>>,
    /// The PEM file of the certificate that is shown to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The PEM file of that certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The PROXY header that a server is sent first.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ProxyOut {
    /// None.
    #[serde(rename = "none")]
    None,
    /// Version 1.
    #[serde(rename = "v1")]
    V1,
    /// Version 2.
    #[serde(rename = "v2")]
    V2,
    /// Version 2 with what TLS said of the client.
    #[serde(rename = "v2-ssl")]
    V2Ssl,
    /// The same with the name in its certificate.
    #[serde(rename = "v2-ssl-cn")]
    V2SslCn,
}
