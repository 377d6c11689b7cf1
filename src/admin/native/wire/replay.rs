//! What another probe would have made of the checks that were recorded, on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The body of `…/probe/replay`: what would be different. Values are any JSON, so that an error can name them as given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    /// Which of the farm's probes; the first one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Passes in a row that bring a server back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<Value>,
    /// Failures in a row that take it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<Value>,
    /// From check to check; no shorter than it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Value>,
    /// The deadline of one check; no longer than it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Value>,
    /// HTTP statuses that pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Where the checks begin: a time, or how long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Value>,
    /// Where they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Value>,
}

/// The answer for one server.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ServerReplayWire {
    /// The time that the checks are of.
    pub window: WindowWire,
    /// How many checks.
    pub checks: u64,
    /// What the recorded checks cannot tell.
    pub caveats: Vec<String>,
    /// With the probe as it is.
    pub as_probed: CourseWire,
    /// With the probe as it would be.
    pub replayed: CourseWire,
}

/// The answer for a farm.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FarmReplayWire {
    /// The time that the checks are of.
    pub window: WindowWire,
    /// How many checks.
    pub checks: u64,
    /// What the recorded checks cannot tell.
    pub caveats: Vec<String>,
    /// With the probe as it is, all servers together.
    pub as_probed: TotalWire,
    /// With the probe as it would be.
    pub replayed: TotalWire,
    /// The largest share of the farm's weight that would have been out at once, in per cent.
    pub share_lost_max: f64,
    /// Each server, in the order written.
    pub servers: Vec<NamedReplayWire>,
}

/// One server of a farm's answer.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct NamedReplayWire {
    /// Its name.
    pub server: String,
    /// How many checks.
    pub checks: u64,
    /// With the probe as it is.
    pub as_probed: CourseWire,
    /// With the probe as it would be.
    pub replayed: CourseWire,
}

/// From when to when; null where there was no check.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct WindowWire {
    /// The first check.
    pub from: Option<String>,
    /// The last one.
    pub to: Option<String>,
}

/// How the health of one server would have gone.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CourseWire {
    /// How often it would have been taken out.
    pub removals: u64,
    /// How long it would have been out, in seconds.
    pub down_s: f64,
    /// Every change, the oldest first.
    pub transitions: Vec<TransitionWire>,
}

/// The same, of several servers together.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TotalWire {
    /// How often a server would have been taken out.
    pub removals: u64,
    /// How long servers would have been out, in seconds.
    pub down_s: f64,
}

/// One change of health.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct TransitionWire {
    /// When.
    pub at: String,
    /// To what: `up`, `down` …
    pub to: String,
}
