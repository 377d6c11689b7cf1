//! Response bodies, field by field as the published API reference and SDKs have them; nothing but data for serde.
//!
//! The strictest reader is the Go SDK: text is text (`listenerPort` too), whole numbers are plain, lists are lists. In
//! the Python SDK a list or object that is null is an attribute that does not exist, so none is.

pub(super) mod kept;

use serde::{Deserialize, Serialize};

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

/// An answer without fields of its own.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// DescribeLoadBalancerRegions.
#[derive(Serialize)]
pub(super) struct Regions {
    pub(super) regions: Vec<Region>,
}

/// `Region`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Region {
    pub(super) region_id: String,
    pub(super) city_name: String,
    pub(super) city_code: String,
}

/// DescribeLoadBalancers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancers {
    pub(super) total_count: usize,
    pub(super) data_set: Vec<LoadBalancer>,
}

/// `LoadBalancer`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    pub(super) region_id: String,
    pub(super) load_balancer_id: String,
    pub(super) load_balancer_name: String,
    pub(super) status: &'static str,
    pub(super) ip_stack_type: Option<&'static str>,
    pub(super) vpc_id: Option<String>,
    pub(super) subnet_id: Option<String>,
    pub(super) public_ip_address: Vec<String>,
    pub(super) private_ip_address: Vec<String>,
    pub(super) health_check_private_ips: [String; 0],
    pub(super) listener_count: usize,
    pub(super) backend_server_count: usize,
    pub(super) create_time: Option<String>,
    pub(super) resource_group: ResourceGroup,
    pub(super) tags: Tags,
    pub(super) security_group_id: Option<String>,
}

/// `ResourceGroup`: never null, or the Terraform provider panics.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceGroup {
    pub(super) resource_group_id: String,
    pub(super) resource_group_name: String,
}

/// `Tags`: an object that wraps the list.
#[derive(Serialize)]
pub(super) struct Tags {
    pub(super) tags: Vec<Tag>,
}

/// `Tag`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    pub(super) value: String,
}

/// CreateLoadBalancer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    pub(super) order_number: String,
    pub(super) load_balancer_ids: Vec<String>,
}

/// SetSecurityGroupForLoadBalancers and UnbindSecurityGroupFromLoadBalancers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FailedLoadBalancers {
    pub(super) failed_load_balancer_ids: Vec<String>,
}

/// InquiryPriceCreateLoadBalancer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prices {
    pub(super) load_balancer_instance_price: Price,
    pub(super) eip_price: Price,
    pub(super) eip_network_price: Price,
    pub(super) eip_network_prices: Vec<NetworkPrice>,
    pub(super) lcu_price: Price,
}

/// `BandwidthPriceResponseItem`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkPrice {
    pub(super) traffic_type: &'static str,
    pub(super) price: Price,
}

/// `PriceItem`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Price {
    pub(super) discount: f64,
    pub(super) discount_price: f64,
    pub(super) original_price: f64,
    pub(super) unit_price: f64,
    pub(super) discount_unit_price: f64,
    pub(super) charge_unit: &'static str,
    pub(super) step_prices: [(); 0],
    pub(super) amount_unit: Option<String>,
    pub(super) excess_unit_price: Option<f64>,
    pub(super) excess_discount_unit_price: Option<f64>,
    pub(super) excess_amount_unit: Option<String>,
    pub(super) category: &'static str,
}

/// DescribeLoadBalancerMonitorData.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MonitorData {
    pub(super) max_value: Option<f64>,
    pub(super) min_value: Option<f64>,
    pub(super) avg_value: Option<f64>,
    pub(super) metrics: Vec<Metric>,
}

/// `MetricValue`.
#[derive(Serialize)]
pub(super) struct Metric {
    pub(super) time: String,
    pub(super) value: Option<f64>,
}

/// DescribeListeners.
#[derive(Serialize)]
pub(super) struct Listeners {
    pub(super) listeners: Vec<Listener>,
}

/// `Listener`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listener {
    pub(super) listener_id: String,
    pub(super) listener_name: String,
    pub(super) protocol: &'static str,
    pub(super) port: String,
    pub(super) ip_stack_type: Option<&'static str>,
    pub(super) scheduler: String,
    pub(super) kind: String,
    pub(super) persistent: u64,
    pub(super) idle_timeout: u64,
    pub(super) algo_opts: String,
    pub(super) proxy_protocol: Option<String>,
    pub(super) health_check: HealthCheck,
    pub(super) create_time: Option<String>,
}

/// CreateListener.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedListener {
    pub(super) listener_id: String,
}

/// `HealthCheck`: never null, or the Terraform provider panics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HealthCheck {
    pub(super) enabled: bool,
    pub(super) check_type: Option<String>,
    pub(super) check_port: Option<u16>,
    pub(super) check_delay_loop: Option<u64>,
    pub(super) check_conn_timeout: Option<u64>,
    pub(super) check_retry: Option<u64>,
    pub(super) check_delay_try: Option<u64>,
    pub(super) check_http_get_url: String,
    pub(super) check_http_get_host: Option<String>,
    pub(super) check_http_status_code: Option<u16>,
    pub(super) fail_open: bool,
}

/// DescribeBackends.
#[derive(Serialize)]
pub(super) struct Backends {
    pub(super) backends: Vec<Backend>,
}

/// `ListenerBackend`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend {
    pub(super) instance_id: Option<String>,
    pub(super) private_ip_address: String,
    pub(super) weight: u16,
    pub(super) backend_port: Option<u16>,
    pub(super) listener_id: String,
    pub(super) listener_name: String,
    pub(super) protocol: &'static str,
    pub(super) listener_port: String,
}

/// DescribeBackendHealth.
#[derive(Serialize)]
pub(super) struct BackendHealths {
    pub(super) backends: Vec<BackendHealth>,
}

/// `ListenerBackendHealth`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendHealth {
    pub(super) health_status: &'static str,
    pub(super) health_status_detail: Vec<PortHealth>,
    #[serde(flatten)]
    pub(super) backend: Backend,
}

/// `BackendHealthStatusDetail`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortHealth {
    pub(super) port: u16,
    pub(super) health_status: &'static str,
}
