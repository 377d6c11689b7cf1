//! What is asked of the process itself: reloads and upgrades, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `reload`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Reloaded {
    /// The table that is live now.
    pub generation: u64,
}

/// The body of `upgrade`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeOrder {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The program that takes over, an absolute path; the one that the process was started as, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// The answer of `upgrade`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The one that did, and finishes what is open.
    pub replaced: u32,
}
