//! A shadow probe beside the farm's own, on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The answer of `/farms/{farm}/shadow`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ShadowWire {
    /// The shadow probe as the config file writes it; null: the farm has none.
    pub shadow: Option<Value>,
    /// What both say of each server, in the order written.
    pub servers: Vec<ShadowedWire>,
    /// Servers of which both say the same; null while none was checked by both.
    pub agreement: Option<AgreementWire>,
}

/// Of how many servers probe and shadow say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct AgreementWire {
    /// Of which they do.
    pub agree: usize,
    /// Of which both say anything.
    pub compared: usize,
}

/// What probe and shadow say of one server.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ShadowedWire {
    /// The server's name.
    pub server: String,
    /// What the farm's probe says.
    pub probe: Option<SaysWire>,
    /// What the shadow says.
    pub shadow: Option<SaysWire>,
    /// Whether they contradict one another now.
    pub differs: bool,
}

/// What one probe says of one server.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SaysWire {
    /// What it concludes.
    pub health: String,
    /// Recorded checks of the last hour that passed; null where none are recorded.
    pub passed: Option<u64>,
    /// Recorded checks of the last hour that failed.
    pub failed: Option<u64>,
}
