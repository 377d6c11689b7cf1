//! Credentials that applications asked for, as they are on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The body of `…/credentials/{id}/grant`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantOrder {
    /// `read`, `operate` or `admin`; the application's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The farms that it may change; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farms: Option<Vec<String>>,
    /// When it ends: a duration from now or a time; when it is revoked where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Value>,
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `/credentials`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CredentialList {
    /// All, the oldest first.
    pub credentials: Vec<CredentialWire>,
}

/// A credential that an application asked for. Its secret half is never shown.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CredentialWire {
    /// Its number.
    pub id: u64,
    /// The application that asked, by name; by its key where the config has it no more.
    pub application: String,
    /// `pendingValidation`, `validated`, `refused` or `expired`.
    pub state: String,
    /// The calls that it may make.
    pub rules: Vec<RuleWire>,
    /// Where calls may come from; empty: anywhere.
    pub allowed_ips: Vec<String>,
    /// When it was asked for.
    pub asked_at: String,
    /// What it may do, where it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The farms that it may change, where these are not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farms: Option<Vec<String>>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Who granted or refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was last used, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_use: Option<String>,
}

/// A method and a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct RuleWire {
    /// The method.
    pub method: String,
    /// The path; each `*` stands for anything.
    pub path: String,
}
