//! Response bodies, field by field as OVHcloud's published schema has them; nothing but data for serde.
//!
//! Types are strict: ids and counts are integers, a frontend's port is text, lists are never null where the schema has
//! them required. What this version has no meaning for is there as the schema's own "not set".

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

/// `BackendHttp` and `BackendTcp`, which have the same fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Farm<'a> {
    pub(super) farm_id: u64,
    pub(super) zone: &'a str,
    pub(super) display_name: &'a str,
    pub(super) balance: &'static str,
    pub(super) port: Option<u16>,
    pub(super) probe: Option<Probe<'a>>,
    pub(super) stickiness: Option<&'a str>,
    pub(super) vrack_network_id: Option<u64>,
}

/// `BackendProbe`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Probe<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) interval: u64,
    pub(super) port: Option<u16>,
    pub(super) method: Option<&'static str>,
    pub(super) url: Option<String>,
    #[serde(rename = "match")]
    pub(super) rule: &'static str,
    pub(super) pattern: Option<std::borrow::Cow<'a, str>>,
    pub(super) negate: bool,
    pub(super) force_ssl: bool,
}

/// `BackendTCPServer`, and all that `BackendHTTPServer` shares with it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Server<'a> {
    pub(super) server_id: u64,
    pub(super) backend_id: u64,
    pub(super) address: String,
    pub(super) status: &'static str,
    pub(super) display_name: &'a str,
    pub(super) port: u16,
    pub(super) probe: bool,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) ssl: bool,
    pub(super) chain: Option<&'a str>,
    pub(super) proxy_protocol_version: Option<&'a str>,
    pub(super) on_marked_down: Option<&'a str>,
    pub(super) server_state: [ServerState<'a>; 1],
}

/// `BackendHTTPServer`.
#[derive(Serialize)]
pub(super) struct HttpServer<'a> {
    #[serde(flatten)]
    pub(super) server: Server<'a>,
    pub(super) cookie: Option<&'a str>,
}

/// `ServerState`: what one instance sees.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerState<'a> {
    pub(super) instance_id: u64,
    pub(super) status: &'a str,
    pub(super) check_status: Option<&'static str>,
    pub(super) check_code: Option<String>,
    pub(super) last_check_content: Option<&'a str>,
    pub(super) check_time: Option<String>,
}

/// `FrontendTcp`, and all that `FrontendHttp` shares with it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frontend<'a> {
    pub(super) frontend_id: u64,
    pub(super) zone: &'a str,
    pub(super) port: String,
    pub(super) display_name: &'a str,
    pub(super) default_farm_id: Option<u64>,
    pub(super) default_ssl_id: Option<u64>,
    pub(super) disabled: bool,
    pub(super) ssl: bool,
    pub(super) allowed_source: [String; 0],
    pub(super) denied_source: [String; 0],
    pub(super) dedicated_ipfo: Vec<String>,
    pub(super) vrack_network_id: Option<u64>,
    pub(super) vrack_vrouter_id: Option<u64>,
}

/// `FrontendHttp`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpFrontend<'a> {
    #[serde(flatten)]
    pub(super) frontend: Frontend<'a>,
    pub(super) hsts: bool,
    pub(super) http_header: [String; 0],
    pub(super) redirect_location: Option<&'a str>,
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
    pub(super) allowed_routes: Vec<Route<'a>>,
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
    pub(super) rules: Vec<Route<'a>>,
}

/// A method and the paths it is allowed on.
#[derive(Serialize)]
pub(super) struct Route<'a> {
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
