//! Bodies of the native shape as they are on the wire; the CLI reads the same structs.
//!
//! Durations are texts with a unit ("2s", "500ms"), times RFC 3339 in UTC with milliseconds. What is asked for is
//! refused with unknown fields; what is answered may grow fields.

mod certificate;
mod credential;
mod events;
mod explain;
mod farm;
mod frontend;
mod objects;
mod order;
mod process;
mod replay;
mod server;
mod shadow;
mod standing;
mod status;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use certificate::{CertificateFilesWire, CertificateList, CertificateOrder, CertificateWire};
pub use credential::{CredentialList, CredentialWire, GrantOrder, RuleWire};
pub use events::{EventLine, EventList};
pub use explain::{
    AttemptWire, BranchWire, BriefWire, EvidenceList, EvidenceWire, FarmExplainWire, HistoryWire, RequestExplainWire,
    ServerExplainWire,
};
pub use farm::{CountsWire, FarmList, FarmWire};
pub use frontend::{FrontendList, FrontendWire, LimitsWire, RouteList, RouteWire};
pub use objects::{OriginWire, PendingWire, RefreshOrder, StagedList, StagedWire, TaskList, TaskWire, WrittenWire};
pub use order::{LeavingWire, OrderWire, SessionsWire, TermsOrder};
pub use process::{Reloaded, UpgradeOrder, Upgraded};
pub use replay::{
    CourseWire, FarmReplayWire, NamedReplayWire, ReplayOrder, ServerReplayWire, TotalWire, TransitionWire, WindowWire,
};
pub use server::{CheckWire, OverrideWire, ProgressWire, ServerList, ServerWire};
pub use shadow::{AgreementWire, SaysWire, ShadowWire, ShadowedWire};
pub use standing::{AgentWire, EjectedWire, ProbeStandingWire, StandingWire, SuspicionWire, WarmupWire};
pub use status::{IncidentWire, ServiceWire, StatusWire};

/// The body of `ready` and `reload`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `weight`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightOrder {
    /// 0..=65535. Any JSON, so that an error can name the value as given.
    #[serde(default)]
    pub weight: Option<Value>,
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is made although the farm's reserve would be broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Value>,
}

/// The body of every error.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorWire,
}

/// What went wrong.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ErrorWire {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The id that the log has too.
    pub request_id: String,
    /// Every single reason where there are several.
    pub details: Vec<String>,
}
