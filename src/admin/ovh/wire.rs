//! Response bodies, field by field as OVHcloud's published schema has them; nothing but data for serde.
//!
//! Types are strict: ids and counts are integers, a frontend's port is text, lists are never null where the schema has
//! them required. What this version has no meaning for is there as the schema's own "not set".

mod objects;

pub(super) use objects::{
    Action, AvailableAction, AvailableRule, DefinedRoute, Farm, Frontend, ListedRule, Pending, Probe, Route, Rule,
    Server, ServerState, Task,
};

use serde::{Deserialize, Serialize};

/// An error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Error<'a> {
    pub(super) class: &'a str,
    pub(super) message: &'a str,
    pub(super) error_code: &'a str,
    pub(super) http_code: &'a str,
}

/// `ipLoadbalancing.IpWithIAM`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service<'a> {
    pub(super) service_name: &'a str,
    pub(super) display_name: std::borrow::Cow<'a, str>,
    pub(super) ip_loadbalancing: String,
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) zone: [&'a str; 1],
    pub(super) offer: &'static str,
    pub(super) orderable_zone: [(); 0],
    pub(super) ssl_configuration: Option<&'a str>,
    pub(super) state: &'static str,
    pub(super) vrack_eligibility: bool,
    pub(super) vrack_name: Option<&'a str>,
    pub(super) metrics_token: Option<&'a str>,
    pub(super) iam: Option<()>,
}

/// `DefinedFarm` and `DefinedFrontend`.
#[derive(Serialize)]
pub(super) struct Defined {
    pub(super) id: u64,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

/// `Status`: the roll-up.
#[derive(Serialize)]
pub(super) struct Status {
    pub(super) service: StatusService,
    pub(super) frontends: Component,
    pub(super) farms: Component,
    pub(super) servers: Component,
}

/// `status.Service`.
#[derive(Serialize)]
pub(super) struct StatusService {
    pub(super) status: &'static str,
}

/// `status.Component`.
#[derive(Serialize)]
pub(super) struct Component {
    pub(super) total: usize,
    pub(super) status: ComponentStatus,
}

/// How many are in each state; the sum is the total.
#[derive(Serialize, Default)]
pub(super) struct ComponentStatus {
    pub(super) ok: usize,
    pub(super) warn: usize,
    pub(super) error: usize,
    pub(super) unknown: usize,
}

/// `InstancesState`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceState<'a> {
    pub(super) internal_id: u64,
    pub(super) state: &'static str,
    pub(super) zone: &'a str,
    pub(super) last_update_date: String,
}

/// `FarmAvailableProbe`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FarmProbe {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) port: bool,
    pub(super) url: bool,
    pub(super) method: Option<&'static [&'static str]>,
    pub(super) matches: &'static [&'static str],
    pub(super) negatable_matches: &'static [&'static str],
}

/// `Zone`.
#[derive(Serialize)]
pub(super) struct Zone<'a> {
    pub(super) name: &'a str,
    pub(super) state: &'static str,
}

/// `NatIps`.
#[derive(Serialize)]
pub(super) struct NatIps<'a> {
    pub(super) zone: &'a str,
    pub(super) ip: [String; 0],
}

/// `auth.Details`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details<'a> {
    pub(super) account: &'a str,
    pub(super) method: &'static str,
    pub(super) identities: [String; 0],
    pub(super) roles: [&'static str; 1],
    pub(super) user: Option<&'a str>,
    pub(super) description: Option<&'a str>,
    pub(super) allowed_routes: Vec<CallRule<'a>>,
}

/// `api.Credential`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credential<'a> {
    pub(super) credential_id: u64,
    pub(super) application_id: usize,
    pub(super) status: &'static str,
    pub(super) creation: String,
    pub(super) expiration: Option<String>,
    pub(super) last_use: Option<String>,
    pub(super) ovh_support: bool,
    #[serde(rename = "allowedIPs")]
    pub(super) allowed_ips: Option<Vec<String>>,
    pub(super) rules: Vec<CallRule<'a>>,
}

/// A method and the paths it is allowed on.
#[derive(Serialize)]
pub(super) struct CallRule<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
}

/// `auth.Credential`, as it is asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewCredential {
    pub(super) consumer_key: String,
    pub(super) state: &'static str,
    pub(super) validation_url: String,
}

/// What is asked of `POST /auth/credential`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WantedCredential {
    pub(super) access_rules: Option<Vec<WantedRule>>,
    pub(super) redirection: Option<String>,
    #[serde(rename = "allowedIPs")]
    pub(super) allowed_ips: Option<Vec<String>>,
}

/// `auth.AccessRule`.
#[derive(Deserialize)]
pub(super) struct WantedRule {
    pub(super) method: String,
    pub(super) path: String,
}
