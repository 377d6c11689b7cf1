//! Everything at one instant, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FarmWire, FrontendWire, LeavingWire};

/// The answer of `/status`: everything at one instant.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StatusWire {
    /// The service.
    pub service: ServiceWire,
    /// The version of Farmgate that runs.
    pub version: String,
    /// The table that it is of.
    pub generation: u64,
    /// Whether every server was checked once.
    pub ready: bool,
    /// When.
    pub at: String,
    /// In the order written.
    pub frontends: Vec<FrontendWire>,
    /// In the order written.
    pub farms: Vec<FarmWire>,
    /// So much fails at once that Farmgate suspects itself; null: nothing of the kind.
    #[serde(default)]
    pub incident: Option<IncidentWire>,
    /// The id of the last event; 0 before the first.
    #[serde(default)]
    pub last_event: u64,
    /// Servers that a reload removed together with their farm and that have something open still.
    #[serde(default)]
    pub leaving: Vec<LeavingWire>,
}

/// So much fails at once that Farmgate suspects itself, and holds the last good rotation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct IncidentWire {
    /// The id of the event that began it.
    pub id: u64,
    /// Since when.
    pub since: String,
    /// Until when the rotation is held at the latest.
    pub until: String,
    /// The farms concerned.
    pub farms: Vec<String>,
    /// How many servers failed.
    pub servers: usize,
}

/// The service.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ServiceWire {
    /// Its name.
    pub name: String,
    /// The zone that it runs in.
    pub zone: String,
    /// The id under which this process reports.
    pub instance_id: u64,
    /// Where it is reached.
    pub addresses: Vec<String>,
}
