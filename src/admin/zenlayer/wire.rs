//! Response bodies, field by field as the published API reference and SDKs have them; nothing but data for serde.
//!
//! The strictest reader is the Go SDK: text is text (`listenerPort` too), whole numbers are plain, lists are lists. In
//! the Python SDK a list or object that is null is an attribute that does not exist, so none is.

use serde::Serialize;

/// A success.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a, T> {
    pub(super) request_id: &'a str,
    pub(super) response: Response<'a, T>,
}

/// The inner half of a success, which repeats the id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a, T> {
    pub(super) request_id: &'a str,
    #[serde(flatten)]
    pub(super) body: T,
}

/// A failure.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Error<'a> {
    pub(super) request_id: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// DescribeLoadBalancers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancers<'a> {
    pub(super) total_count: usize,
    pub(super) data_set: Vec<LoadBalancer<'a>>,
}

/// `LoadBalancer`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer<'a> {
    pub(super) region_id: &'a str,
    pub(super) load_balancer_id: &'a str,
    pub(super) load_balancer_name: &'a str,
    pub(super) status: &'static str,
    pub(super) vpc_id: Option<&'a str>,
    pub(super) public_ip_address: Vec<String>,
    pub(super) private_ip_address: Vec<String>,
    pub(super) health_check_private_ips: [String; 0],
    pub(super) listener_count: usize,
    pub(super) backend_server_count: usize,
    pub(super) create_time: Option<&'a str>,
    pub(super) resource_group: ResourceGroup,
    pub(super) tags: Tags,
    pub(super) security_group_id: Option<&'a str>,
}

/// `ResourceGroup`: never null, or the Terraform provider panics.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceGroup {
    pub(super) resource_group_id: &'static str,
    pub(super) resource_group_name: &'static str,
}

/// `Tags`: an object that wraps the list.
#[derive(Serialize)]
pub(super) struct Tags {
    pub(super) tags: [(); 0],
}

/// DescribeListeners.
#[derive(Serialize)]
pub(super) struct Listeners<'a> {
    pub(super) listeners: Vec<Listener<'a>>,
}

/// `Listener`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener<'a> {
    pub(super) listener_id: String,
    pub(super) listener_name: &'a str,
    pub(super) protocol: &'static str,
    pub(super) port: String,
    pub(super) scheduler: &'static str,
    pub(super) kind: &'static str,
    pub(super) persistent: u64,
    pub(super) idle_timeout: u64,
    pub(super) health_check: HealthCheck<'a>,
    pub(super) create_time: Option<&'a str>,
}

/// `HealthCheck`: never null, or the Terraform provider panics.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthCheck<'a> {
    pub(super) enabled: bool,
    pub(super) check_type: Option<&'static str>,
    pub(super) check_port: Option<u16>,
    pub(super) check_delay_loop: Option<u64>,
    pub(super) check_conn_timeout: Option<u64>,
    pub(super) check_retry: Option<u16>,
    pub(super) check_delay_try: Option<u64>,
    pub(super) check_http_get_url: &'a str,
    pub(super) check_http_status_code: Option<u16>,
    pub(super) fail_open: bool,
}

/// DescribeBackends.
#[derive(Serialize)]
pub(super) struct Backends<'a> {
    pub(super) backends: Vec<Backend<'a>>,
}

/// `ListenerBackend`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend<'a> {
    pub(super) instance_id: Option<&'a str>,
    pub(super) private_ip_address: String,
    pub(super) weight: u16,
    pub(super) backend_port: u16,
    pub(super) listener_id: String,
    pub(super) listener_name: &'a str,
    pub(super) protocol: &'static str,
    pub(super) listener_port: String,
}

/// DescribeBackendHealth.
#[derive(Serialize)]
pub(super) struct BackendHealths<'a> {
    pub(super) backends: Vec<BackendHealth<'a>>,
}

/// `ListenerBackendHealth`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendHealth<'a> {
    pub(super) health_status: &'static str,
    pub(super) health_status_detail: Vec<PortHealth>,
    #[serde(flatten)]
    pub(super) backend: Backend<'a>,
}

/// `BackendHealthStatusDetail`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortHealth {
    pub(super) port: u16,
    pub(super) health_status: &'static str,
}
