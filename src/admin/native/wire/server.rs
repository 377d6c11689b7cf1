//! Servers, their overrides and their checks as they are on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{OrderWire, OriginWire, ProbeStandingWire, StandingWire};

/// The answer of `/farms/{farm}/servers`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ServerList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// How many there are that the filters let through, on whatever page.
    #[serde(default)]
    pub total: usize,
    /// In the order written.
    pub servers: Vec<ServerWire>,
}

/// A server.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ServerWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who declared it.
    #[serde(default)]
    pub origin: OriginWire,
    /// Its address as written.
    pub address: String,
    /// Where connections go; null while its name has no address.
    pub resolved: Option<String>,
    /// Its state in HAProxy's words.
    pub state: String,
    /// What checks conclude: up, down, unknown or off.
    pub health: String,
    /// How far checks are from concluding the contrary.
    pub progress: ProgressWire,
    /// What the operator wants: active, drain or maintenance.
    pub admin: String,
    /// The weight, overrides applied.
    pub weight: u16,
    /// The weight at which it takes new work now; 0 while it takes none.
    pub effective_weight: u16,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// How many wait for a place at it, those that would take one elsewhere too.
    #[serde(default)]
    pub queued: u32,
    /// Whether it is used only when no primary is.
    pub backup: bool,
    /// Whether it is checked.
    pub probed: bool,
    /// Where its probes go and as whom where that differs from what they say, as the config file writes it.
    #[serde(default)]
    pub aim: Value,
    /// The value that a sticky cookie has for it, where the config file says so.
    #[serde(default)]
    pub cookie: Option<String>,
    /// How it is spoken to in TLS, as the config file writes it; null where it is not.
    #[serde(default)]
    pub tls: Value,
    /// The PROXY header that it is sent first; null: none.
    #[serde(default)]
    pub proxy_protocol: Option<String>,
    /// The most requests, or connections, that it is given at once; null: no bound.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// What happens to what is open on it when it goes Down; null: as its farm says.
    #[serde(default)]
    pub on_down: Option<String>,
    /// When health, admin status or weight last changed.
    pub since: String,
    /// Fields whose live value is not the file's.
    pub overrides: Vec<OverrideWire>,
    /// The last check; null before the first.
    pub last_check: Option<CheckWire>,
    /// Its drain or maintenance, if it is in one.
    #[serde(default)]
    pub order: Option<OrderWire>,
    /// What is made of it beside its probes' verdict.
    #[serde(default)]
    pub standing: StandingWire,
    /// Each probe's part in its health.
    #[serde(default)]
    pub probes: Vec<ProbeStandingWire>,
    /// The shadow probe's, which counts for nothing.
    #[serde(default)]
    pub shadow: Option<ProbeStandingWire>,
    /// Whether it is in rotation only because an incident holds what was good before.
    #[serde(default)]
    pub held_by_incident: bool,
    /// Who wants it to take no new work: `agent`, `file`, `override`, and `unresolved` while its name has no address.
    #[serde(default)]
    pub causes: Vec<String>,
}

/// `have` of `need`; see the model's Progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct ProgressWire {
    /// How many are there.
    pub have: u16,
    /// How many make a full set.
    pub need: u16,
}

/// A field whose live value is not the file's.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct OverrideWire {
    /// `status` or `weight`, as in the config file.
    pub field: String,
    /// Its live value, as in the config file.
    pub value: Value,
    /// The file's value.
    pub declared: Value,
    /// Who changed it.
    pub actor: String,
    /// From where.
    pub source: String,
    /// Why, in the operator's own words.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

/// One check and what it found.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CheckWire {
    /// How it ended, in HAProxy's words.
    pub status: String,
    /// The HTTP status, if there was one.
    pub code: Option<u16>,
    /// What the server sent, or the error in words.
    pub content: String,
    /// When it ended.
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Whether it passed.
    pub passed: bool,
}
