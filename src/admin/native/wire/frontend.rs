//! Frontends and their routes as they are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::OriginWire;

/// The answer of `/frontends`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FrontendList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// How many there are that the filters let through, on whatever page.
    #[serde(default)]
    pub total: usize,
    /// In the order written.
    pub frontends: Vec<FrontendWire>,
}

/// A frontend.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FrontendWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who declared it.
    #[serde(default)]
    pub origin: OriginWire,
    /// http, tcp or udp.
    pub protocol: String,
    /// The addresses it listens on, as written.
    pub listen: Vec<String>,
    /// The farm that takes its work; of several, the one that takes what no route takes; null where none does.
    pub farm: Option<String>,
    /// The redirect that answers what no route takes, as the config file writes it; null where none does. So are the
    /// next ones, each null where it is not.
    #[serde(default)]
    pub redirect: Value,
    /// Its routes, in the order in which they are looked at.
    #[serde(default)]
    pub routes: Vec<RouteWire>,
    /// How it is encrypted; the names of files, never what they hold.
    #[serde(default)]
    pub tls: Value,
    /// Whether HTTP/2 is spoken without TLS too.
    #[serde(default)]
    pub h2c: bool,
    /// Networks whose PROXY headers are read.
    #[serde(default)]
    pub accept_proxy: Vec<String>,
    /// Networks that may connect; null: all.
    #[serde(default)]
    pub allow: Option<Vec<String>>,
    /// Networks that may not.
    #[serde(default)]
    pub deny: Option<Vec<String>>,
    /// Strict-Transport-Security.
    #[serde(default)]
    pub hsts: Value,
    /// What clients are told while it is closed.
    #[serde(default)]
    pub maintenance: Value,
    /// Changes of every head towards a server.
    #[serde(default)]
    pub request_headers: Value,
    /// Changes of every head towards a client.
    #[serde(default)]
    pub response_headers: Value,
    /// Client connections open now.
    pub connections_open: u64,
    /// Networks whose X-Forwarded-* are kept.
    pub trust: Vec<String>,
    /// Deadlines towards clients, by name.
    pub timeouts: BTreeMap<String, String>,
    /// Bounds on what one client may send.
    pub limits: LimitsWire,
}

/// Bounds on what one client may send.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LimitsWire {
    /// Open connections of the frontend.
    pub connections: u32,
    /// Open connections of one client address; 0: no bound.
    #[serde(default)]
    pub connections_per_source: u32,
    /// TLS handshakes under way at once.
    #[serde(default)]
    pub handshakes: u32,
    /// Request line and header fields, in bytes.
    pub header_bytes: u32,
    /// Header fields of a request.
    #[serde(default)]
    pub header_fields: u16,
    /// The request target, in bytes.
    pub uri_bytes: u32,
    /// A request body, in bytes.
    pub body_bytes: u64,
    /// What a request body must come to on average, in bytes a second; 0: no bound.
    #[serde(default)]
    pub body_rate_min: u32,
    /// Requests under way at once on one HTTP/2 connection.
    #[serde(default)]
    pub streams: u32,
    /// How often one client may ask, as the config file writes it; null: as often as it likes.
    #[serde(default)]
    pub rate: Value,
}

/// The answer of `/frontends/{frontend}/routes`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct RouteList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// How many there are.
    pub total: usize,
    /// In the order in which they are looked at.
    pub routes: Vec<RouteWire>,
}

/// A route of a frontend.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct RouteWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who declared it.
    #[serde(default)]
    pub origin: OriginWire,
    /// The smaller, the earlier.
    pub priority: u8,
    /// What must hold, all of it, as the config file writes it.
    pub rules: Vec<Value>,
    /// What is done, as the config file writes it.
    pub action: Value,
}
