//! Drain and maintenance on the wire: what is ordered, and how an order stands.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The body of `drain` and `maintenance`; all of it optional. Values are any JSON, so that an error can name them as
/// given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsOrder {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When what is still open counts as left over: a duration from now, or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Value>,
    /// When the order ends by itself: a duration from now, or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Value>,
    /// What happens to what is left over: `close` or `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_deadline: Option<Value>,
    /// Whether it is made although the farm's reserve would be broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Value>,
}

/// How a drain or maintenance stands.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct OrderWire {
    /// `drain` or `maintenance`.
    pub admin: String,
    /// Who ordered it; null: the config file.
    pub actor: Option<String>,
    /// From where.
    pub source: Option<String>,
    /// Why, in the operator's own words.
    pub reason: Option<String>,
    /// Since when; null where it is the config file's.
    pub since: Option<String>,
    /// When it ends by itself.
    pub until: Option<String>,
    /// When what is still open counts as left over.
    pub deadline: Option<String>,
    /// What happens to it then: `close` or `keep`.
    pub at_deadline: String,
    /// Whether the deadline has come.
    pub past_deadline: bool,
    /// What is open, by kind.
    pub sessions: Vec<SessionsWire>,
    /// How much is open in all.
    pub left: u64,
    /// When nothing will be open any more, guessed from how fast it ended so far; null where that says nothing.
    pub eta: Option<String>,
}

/// What is open of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct SessionsWire {
    /// `connection`, `request` or `tunnel`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// How old the oldest is, in milliseconds.
    pub oldest_ms: u64,
}

/// A server that a reload removed and that has something open still.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LeavingWire {
    /// Its farm's name.
    pub farm: String,
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address as it was written.
    pub address: String,
    /// Since when it is gone from the config.
    pub since: String,
    /// When what is still open counts as left over.
    pub deadline: Option<String>,
    /// What happens to it then: `close` or `keep`.
    pub at_deadline: String,
    /// What is open, by kind.
    pub sessions: Vec<SessionsWire>,
    /// Requests or connections under way.
    pub in_flight: u64,
}
