//! Lists of events as a client reads them. An event's own schema is `feed`'s; what a client needs to show one is here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event as far as a reader shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct EventLine {
    /// Strictly increasing.
    pub id: u64,
    /// When.
    pub at: String,
    /// The word for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sentence for people.
    pub text: String,
    /// The farm that it is about, if it is about one.
    #[serde(default)]
    pub farm: Option<String>,
    /// The server that it is about, if it is about one.
    #[serde(default)]
    pub server: Option<String>,
}

/// The answer of `/events` and of every timeline.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EventList {
    /// In the order asked for.
    pub events: Vec<EventLine>,
    /// The id of the last event there is; absent in timelines.
    #[serde(default)]
    pub latest: Option<u64>,
}
