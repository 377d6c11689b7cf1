//! Every answer under the types of the Go SDK, the strictest reader: a field of another type fails the whole call there.

use serde::Deserialize;
use serde_json::json;

use super::writes::Shop;
use super::{CASES, ask_ok};

/// What the Go SDK decodes into: what may be absent there may be null here.
macro_rules! go {
    ($($name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        #[expect(dead_code, reason = "decoding is the test")]
        struct $name { $($field: $kind,)* }
    )*};
}

type Text = Option<String>;
type Whole = Option<i64>;

go! {
    Healths { request_id: String, backends: Vec<Health>, }
    Health {
        health_status: Text, health_status_detail: Vec<Detail>, instance_id: Text, private_ip_address: Text, weight: Whole,
        backend_port: Whole, listener_id: Text, listener_name: Text, protocol: Text, listener_port: Text,
    }
    Detail { port: i64, health_status: String, }
    Backends { request_id: String, backends: Vec<Backend>, }
    Backend {
        instance_id: Text, private_ip_address: Text, weight: Whole, backend_port: Whole, listener_id: String,
        listener_name: Text, protocol: Text, listener_port: Text,
    }
    Listeners { request_id: String, listeners: Vec<Listener>, }
    Listener {
        listener_id: String, listener_name: String, protocol: String, port: String, scheduler: String, kind: String,
        persistent: i64, idle_timeout: i64, health_check: Check, create_time: Text, algo_opts: Text, proxy_protocol: Text,
        ip_stack_type: Text,
    }
    Check {
        enabled: bool, check_type: Text, check_port: Whole, check_delay_loop: Whole, check_conn_timeout: Whole,
        check_retry: Whole, check_delay_try: Whole, check_http_get_url: Text, check_http_get_host: Text,
        check_http_status_code: Whole, fail_open: bool,
    }
    Balancers { request_id: String, total_count: i64, data_set: Vec<Balancer>, }
    Balancer {
        region_id: String, load_balancer_id: String, load_balancer_name: String, status: String, vpc_id: Text,
        subnet_id: Text, public_ip_address: Vec<String>, private_ip_address: Vec<String>,
        health_check_private_ips: Vec<String>, listener_count: i64, backend_server_count: i64, create_time: Text,
        resource_group: Group, tags: Tags, security_group_id: Text, ip_stack_type: Text,
    }
    Group { resource_group_id: String, resource_group_name: String, }
    Tags { tags: Vec<Tag>, }
    Tag { key: String, value: String, }
    Regions { request_id: String, regions: Vec<Region>, }
    Region { region_id: String, city_name: String, city_code: String, }
    Created { request_id: String, order_number: String, load_balancer_ids: Vec<String>, }
    CreatedListener { request_id: String, listener_id: String, }
    Nothing { request_id: String, }
    Failed { request_id: String, failed_load_balancer_ids: Vec<String>, }
    Monitor { request_id: String, max_value: Option<f64>, min_value: Option<f64>, avg_value: Option<f64>, metrics: Vec<Metric>, }
    Metric { time: String, value: Option<f64>, }
    Prices {
        request_id: String, load_balancer_instance_price: Price, eip_price: Price, eip_network_price: Price,
        eip_network_prices: Vec<NetworkPrice>, lcu_price: Price,
    }
    NetworkPrice { traffic_type: String, price: Price, }
    Price {
        discount: f64, discount_price: f64, original_price: f64, unit_price: f64, discount_unit_price: f64,
        charge_unit: String, step_prices: Vec<()>, amount_unit: Text, excess_unit_price: Option<f64>,
        excess_discount_unit_price: Option<f64>, excess_amount_unit: Text, category: String,
    }
}

#[tokio::test]
async fn bodies_of_the_file_decode_under_strict_types() {
    let of = r#"{"loadBalancerId":"lb-demo"}"#;
    let healths: Healths =
        serde_json::from_value(ask_ok("DescribeBackendHealth", of).await["response"].take()).unwrap();
    assert_eq!(healths.backends.len(), 2 * CASES.len() + 1);
    let listeners: Listeners =
        serde_json::from_value(ask_ok("DescribeListeners", of).await["response"].take()).unwrap();
    assert_eq!(listeners.listeners.len(), 3);
    let price = r#"{"regionId":"local"}"#;
    let _: Prices =
        serde_json::from_value(ask_ok("InquiryPriceCreateLoadBalancer", price).await["response"].take()).unwrap();
    let _: Regions =
        serde_json::from_value(ask_ok("DescribeLoadBalancerRegions", "").await["response"].take()).unwrap();
}

#[tokio::test]
async fn bodies_of_what_was_made_decode_under_strict_types() {
    let shop = Shop::open().await;
    let new = json!({"regionId": "local", "vpcId": "v", "loadBalancerName": "n", "tags": {"tags": [{"key": "k", "value": "v"}]}});
    let made: Created = serde_json::from_value(shop.ok("CreateLoadBalancer", new).await).unwrap();
    assert_eq!(made.load_balancer_ids.len(), 1);
    let body = shop.of(json!({"listenerName": "w", "protocol": "UDP", "scheduler": "sh", "port": "7000-7001",
        "healthCheck": {"checkType": "TCP", "checkPort": 99}}));
    let listener: CreatedListener = serde_json::from_value(shop.ok("CreateListener", body).await).unwrap();
    let servers = json!([{"privateIpAddress": "10.1.0.1", "instanceId": "vm"}, {"privateIpAddress": "10.1.0.2"}]);
    let body = shop.of(json!({"listenerId": listener.listener_id, "backendServers": servers}));
    let _: Nothing = serde_json::from_value(shop.ok("RegisterBackend", body).await).unwrap();
    let all: Backends = serde_json::from_value(shop.ok("DescribeBackends", shop.of(json!({}))).await).unwrap();
    let healths: Healths = serde_json::from_value(shop.ok("DescribeBackendHealth", shop.of(json!({}))).await).unwrap();
    assert_eq!((all.backends.len(), healths.backends.len()), (2, 2));
    let _: Listeners = serde_json::from_value(shop.ok("DescribeListeners", shop.of(json!({}))).await).unwrap();
    let listed: Balancers = serde_json::from_value(shop.ok("DescribeLoadBalancers", json!({})).await).unwrap();
    assert_eq!((listed.total_count, listed.data_set.len()), (3, 3));
    let ids = json!({"loadBalancerIds": [shop.id]});
    let failed: Failed = serde_json::from_value(shop.ok("UnbindSecurityGroupFromLoadBalancers", ids).await).unwrap();
    assert!(failed.failed_load_balancer_ids.is_empty());
    let body = shop.of(json!({"metricType": "CONCURRENT_CONNECTIONS", "startTime": "2025-11-21T13:30:00Z",
        "endTime": "2025-11-21T13:34:59Z"}));
    let seen: Monitor = serde_json::from_value(shop.ok("DescribeLoadBalancerMonitorData", body).await).unwrap();
    assert_eq!(seen.metrics.len(), 5);
    assert_eq!(seen.max_value, Some(0.0), "what is under way is known");
}
