//! Farms, servers, frontends, routes and rules; each struct has the fields of all kinds, and those that a kind lacks
//! are left out by whoever answers.

use serde::{Deserialize, Serialize};

/// `BackendHttp`, `BackendTcp` and `BackendUdp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Farm {
    pub(in crate::admin::ovh) farm_id: u64,
    pub(in crate::admin::ovh) zone: String,
    pub(in crate::admin::ovh) display_name: Option<String>,
    pub(in crate::admin::ovh) balance: Option<String>,
    pub(in crate::admin::ovh) port: Option<u16>,
    pub(in crate::admin::ovh) probe: Option<Probe>,
    pub(in crate::admin::ovh) stickiness: Option<String>,
    pub(in crate::admin::ovh) vrack_network_id: Option<u64>,
}

/// `BackendProbe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Probe {
    #[serde(rename = "type")]
    pub(in crate::admin::ovh) kind: Option<String>,
    pub(in crate::admin::ovh) interval: Option<u64>,
    pub(in crate::admin::ovh) port: Option<u16>,
    pub(in crate::admin::ovh) method: Option<String>,
    pub(in crate::admin::ovh) url: Option<String>,
    #[serde(rename = "match")]
    pub(in crate::admin::ovh) rule: Option<String>,
    pub(in crate::admin::ovh) pattern: Option<String>,
    pub(in crate::admin::ovh) negate: Option<bool>,
    pub(in crate::admin::ovh) force_ssl: Option<bool>,
}

/// `BackendHTTPServer`, `BackendTCPServer` and `BackendUDPServer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Server {
    pub(in crate::admin::ovh) server_id: u64,
    pub(in crate::admin::ovh) backend_id: u64,
    pub(in crate::admin::ovh) address: String,
    pub(in crate::admin::ovh) status: String,
    pub(in crate::admin::ovh) display_name: Option<String>,
    pub(in crate::admin::ovh) port: Option<u16>,
    pub(in crate::admin::ovh) probe: bool,
    pub(in crate::admin::ovh) weight: Option<u16>,
    pub(in crate::admin::ovh) backup: bool,
    pub(in crate::admin::ovh) ssl: bool,
    pub(in crate::admin::ovh) chain: Option<String>,
    pub(in crate::admin::ovh) cookie: Option<String>,
    pub(in crate::admin::ovh) proxy_protocol_version: Option<String>,
    pub(in crate::admin::ovh) on_marked_down: Option<String>,
    #[serde(skip_deserializing)]
    pub(in crate::admin::ovh) server_state: Vec<ServerState>,
}

/// `ServerState`: what one instance sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::ovh) struct ServerState {
    pub(in crate::admin::ovh) instance_id: u64,
    pub(in crate::admin::ovh) status: String,
    pub(in crate::admin::ovh) check_status: Option<&'static str>,
    pub(in crate::admin::ovh) check_code: Option<String>,
    pub(in crate::admin::ovh) last_check_content: Option<String>,
    pub(in crate::admin::ovh) check_time: Option<String>,
}

/// `FrontendHttp`, `FrontendTcp` and `FrontendUdp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Frontend {
    pub(in crate::admin::ovh) frontend_id: u64,
    pub(in crate::admin::ovh) zone: String,
    pub(in crate::admin::ovh) port: String,
    pub(in crate::admin::ovh) display_name: Option<String>,
    pub(in crate::admin::ovh) default_farm_id: Option<u64>,
    pub(in crate::admin::ovh) default_ssl_id: Option<u64>,
    pub(in crate::admin::ovh) disabled: bool,
    pub(in crate::admin::ovh) ssl: bool,
    pub(in crate::admin::ovh) hsts: bool,
    pub(in crate::admin::ovh) http_header: Vec<String>,
    pub(in crate::admin::ovh) redirect_location: Option<String>,
    pub(in crate::admin::ovh) allowed_source: Vec<String>,
    pub(in crate::admin::ovh) denied_source: Vec<String>,
    pub(in crate::admin::ovh) dedicated_ipfo: Vec<String>,
    pub(in crate::admin::ovh) vrack_network_id: Option<u64>,
    pub(in crate::admin::ovh) vrack_vrouter_id: Option<u64>,
}

/// `RouteHttp` and `RouteTcp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Route {
    pub(in crate::admin::ovh) route_id: u64,
    pub(in crate::admin::ovh) display_name: Option<String>,
    pub(in crate::admin::ovh) frontend_id: Option<u64>,
    pub(in crate::admin::ovh) weight: u8,
    pub(in crate::admin::ovh) action: Action,
    #[serde(skip_deserializing)]
    pub(in crate::admin::ovh) rules: Vec<ListedRule>,
    pub(in crate::admin::ovh) status: String,
}

/// `RouteHttpAction` and `RouteTcpAction`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Action {
    #[serde(rename = "type")]
    pub(in crate::admin::ovh) kind: String,
    pub(in crate::admin::ovh) target: Option<String>,
    pub(in crate::admin::ovh) status: Option<u16>,
}

/// `RouteRule`, as its own calls have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::admin::ovh) struct Rule {
    pub(in crate::admin::ovh) rule_id: u64,
    pub(in crate::admin::ovh) display_name: Option<String>,
    pub(in crate::admin::ovh) field: String,
    #[serde(rename = "match")]
    pub(in crate::admin::ovh) kind: String,
    pub(in crate::admin::ovh) negate: bool,
    pub(in crate::admin::ovh) pattern: Option<String>,
    pub(in crate::admin::ovh) sub_field: Option<String>,
}

/// `RouteRule`, as routes list it: without its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::ovh) struct ListedRule {
    pub(in crate::admin::ovh) rule_id: u64,
    pub(in crate::admin::ovh) field: String,
    #[serde(rename = "match")]
    pub(in crate::admin::ovh) kind: String,
    pub(in crate::admin::ovh) negate: bool,
    pub(in crate::admin::ovh) pattern: Option<String>,
    pub(in crate::admin::ovh) sub_field: Option<String>,
}

/// `DefinedRoute`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::ovh) struct DefinedRoute {
    pub(in crate::admin::ovh) route_id: u64,
    #[serde(rename = "type")]
    pub(in crate::admin::ovh) kind: &'static str,
    pub(in crate::admin::ovh) display_name: Option<String>,
}

/// `RouteAvailableAction`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::admin::ovh) struct AvailableAction {
    pub(in crate::admin::ovh) name: &'static str,
    #[serde(rename = "type")]
    pub(in crate::admin::ovh) kind: &'static str,
    pub(in crate::admin::ovh) status: Option<&'static [u16]>,
    pub(in crate::admin::ovh) destination: Option<&'static str>,
}

/// `RouteAvailableRule`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::ovh) struct AvailableRule {
    pub(in crate::admin::ovh) name: &'static str,
    #[serde(rename = "type")]
    pub(in crate::admin::ovh) kind: &'static str,
    pub(in crate::admin::ovh) has_sub_field: bool,
    pub(in crate::admin::ovh) matches: &'static [&'static str],
    pub(in crate::admin::ovh) pattern: &'static str,
    #[serde(rename = "enum")]
    pub(in crate::admin::ovh) words: Option<&'static [&'static str]>,
}

/// `PendingChanges`.
#[derive(Clone, Debug, Serialize)]
pub(in crate::admin::ovh) struct Pending {
    pub(in crate::admin::ovh) zone: String,
    pub(in crate::admin::ovh) number: u64,
}

/// `Task`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::admin::ovh) struct Task {
    pub(in crate::admin::ovh) id: u64,
    pub(in crate::admin::ovh) action: String,
    pub(in crate::admin::ovh) status: &'static str,
    pub(in crate::admin::ovh) progress: u8,
    pub(in crate::admin::ovh) zones: Vec<String>,
    pub(in crate::admin::ovh) creation_date: String,
    pub(in crate::admin::ovh) done_date: Option<String>,
}
