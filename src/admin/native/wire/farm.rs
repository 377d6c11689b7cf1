//! Farms as they are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{LeavingWire, OriginWire, ServerWire};

/// The answer of `/farms`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FarmList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// How many there are that the filters let through, on whatever page.
    #[serde(default)]
    pub total: usize,
    /// In the order written.
    pub farms: Vec<FarmWire>,
}

/// A farm.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FarmWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who declared it.
    #[serde(default)]
    pub origin: OriginWire,
    /// http, tcp or udp.
    pub protocol: String,
    /// How new work is spread.
    pub balance: String,
    /// How it hashes, as the config file writes it; null where its balance does not.
    #[serde(default)]
    pub hash: Value,
    /// Whether its servers are spoken to in HTTP/2.
    #[serde(default)]
    pub http2: bool,
    /// How connections to its servers are used again, as the config file writes it; null where they are not.
    #[serde(default)]
    pub reuse: Value,
    /// How long work waits for servers that are full, as the config file writes it.
    #[serde(default)]
    pub queue: Value,
    /// How its servers are checked, if at all: the first probe that is no agent, as the config file writes it.
    pub probe: Option<Value>,
    /// Every probe as the config file writes it, with its `name`. No secret is ever part of it.
    #[serde(default)]
    pub probes: Vec<Value>,
    /// The probe that is run and recorded, and counts for nothing, as the config file writes it.
    #[serde(default)]
    pub shadow: Option<Value>,
    /// How many of the probes, agents not counted, must pass; null: all.
    #[serde(default)]
    pub quorum: Option<u8>,
    /// What is learnt from traffic, as the config file writes it; `off` where nothing is. So are the next two.
    #[serde(default)]
    pub observe: Value,
    /// When a server that keeps changing is held down.
    #[serde(default)]
    pub flap: Value,
    /// When failures are so many at once that the balancer suspects itself.
    #[serde(default)]
    pub incident: Value,
    /// How long a server that returns takes to come to its whole weight.
    #[serde(default)]
    pub slow_start: String,
    /// What happens to what is open on a server that goes Down: keep or close.
    #[serde(default)]
    pub on_down: String,
    /// How servers are taken out, as the config file writes it.
    #[serde(default)]
    pub drain: Value,
    /// The share of the weight that must be left when a server is taken out, as `50%`.
    #[serde(default)]
    pub reserve: String,
    /// How clients are brought back, as the config file writes it; never the key of a cookie.
    #[serde(default)]
    pub stickiness: Value,
    /// Deadlines towards its servers, by name.
    pub timeouts: BTreeMap<String, String>,
    /// Other servers tried after a connect failure.
    pub retry_attempts: u8,
    /// How much may be tried again, as the config file writes it; `off`: without bound.
    #[serde(default)]
    pub retry_budget: Value,
    /// When Down servers are used: never, all_down, `below 2` or `below 50%`.
    pub fail_open: String,
    /// Which servers carry it: primaries, backups, unproven, fail_open or nobody.
    pub serving: String,
    /// How many of its servers are what.
    pub counts: CountsWire,
    /// In the order written.
    pub servers: Vec<ServerWire>,
    /// Servers that a reload removed and that have something open still.
    #[serde(default)]
    pub leaving: Vec<LeavingWire>,
}

/// How many servers of a farm are what: by rotation, by health, by admin status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct CountsWire {
    /// All.
    pub servers: usize,
    /// That take new work now.
    pub in_rotation: usize,
    /// Health up.
    pub up: usize,
    /// Health down.
    pub down: usize,
    /// Health stopping: no new work.
    #[serde(default)]
    pub stopping: usize,
    /// No verdict yet.
    pub unknown: usize,
    /// Not probed.
    pub off: usize,
    /// Admin status active.
    pub active: usize,
    /// Admin status drain.
    pub drain: usize,
    /// Admin status maintenance.
    pub maintenance: usize,
    /// Requests or connections under way.
    pub in_flight: u64,
}
