//! Writes that are refused: by the published codes, and for who asks or what is asked about.

use serde_json::{Value, json};

use super::writes::Shop;
use crate::admin::vendor_fixture::{bearer_call, read};
use crate::model::settings::{BearerToken, Grant};
use crate::model::{Access, Secret};

#[tokio::test]
async fn wrong_backends_are_refused_whole_by_the_published_codes() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({})).await;
    let many = shop.listener(json!({"listenerName": "many", "port": "7100,7102"})).await;
    let one = json!([{"privateIpAddress": "10.1.0.1", "instanceId": "vm"}]);
    assert_eq!(shop.change("RegisterBackend", &id, one).await.0, 200);
    for (action, listener, servers, status, code) in [
        ("RegisterBackend", &id, json!([]), 400, "MISSING_PARAMETER"),
        ("RegisterBackend", &id, json!([{"weight": 1}]), 400, "MISSING_PARAMETER"),
        ("RegisterBackend", &id, json!([{"instanceId": "x"}]), 400, "MISSING_PARAMETER"),
        ("RegisterBackend", &id, json!("10.1.0.1"), 400, "INVALID_REQUEST_BODY"),
        ("RegisterBackend", &id, json!([{"privateIpAddress": "host"}]), 400, "INVALID_BACKEND_IP_ADDRESS"),
        ("RegisterBackend", &id, json!([{"privateIpAddress": "0.0.0.0"}]), 400, "INVALID_BACKEND_IP_ADDRESS"),
        (
            "RegisterBackend",
            &id,
            json!([{"privateIpAddress": "10.1.0.9", "port": 70000}]),
            400,
            "INVALID_BACKEND_SERVER_PORT",
        ),
        ("RegisterBackend", &id, json!([{"privateIpAddress": "10.1.0.9", "weight": 65536}]), 400, "INVALID_PARAMETER"),
        (
            "RegisterBackend",
            &id,
            json!([{"privateIpAddress": "10.1.0.1"}]),
            409,
            "INVALID_BACKEND_INSTANCE_LISTENER_EXIST",
        ),
        (
            "RegisterBackend",
            &id,
            json!([{"privateIpAddress": "10.1.0.9", "instanceId": "vm"}]),
            409,
            "INVALID_BACKEND_INSTANCE_LISTENER_EXIST",
        ),
        (
            "RegisterBackend",
            &id,
            json!([{"privateIpAddress": "10.1.0.9"}, {"privateIpAddress": "10.1.0.9"}]),
            409,
            "INVALID_BACKEND_INSTANCE_MULTIPLE",
        ),
        (
            "RegisterBackend",
            &many,
            json!([{"privateIpAddress": "10.1.0.9", "port": 80}]),
            400,
            "INVALID_BACKEND_SERVER_PORT",
        ),
        (
            "ModifyBackend",
            &id,
            json!([{"privateIpAddress": "10.1.0.1", "instanceId": "other"}]),
            404,
            "INVALID_INSTANCE_NOT_FOUND",
        ),
        (
            "ModifyBackend",
            &"7".to_owned(),
            json!([{"privateIpAddress": "10.1.0.1"}]),
            404,
            "INVALID_LB_LISTENER_NOT_FOUND",
        ),
    ] {
        shop.is_refused(&shop.change(action, listener, servers.clone()).await, status, code);
    }
    // Nothing of a call that was refused is there.
    assert_eq!(shop.backends().await.len(), 1);
}

#[tokio::test]
async fn wrong_listeners_are_refused_by_the_published_codes() {
    let shop = Shop::open().await;
    shop.listener(json!({})).await;
    let good = shop.of(json!({"listenerName": "b", "protocol": "TCP", "scheduler": "wrr", "port": "7001"}));
    for (key, value, code) in [
        ("port", json!("80"), "INVALID_PORT_RANGE"),
        ("port", json!("7001-7030"), "INVALID_PORT_RANGE"),
        ("port", json!("0"), "INVALID_PORT_RANGE"),
        ("port", json!("http"), "INVALID_PORT_FORMAT_ERROR"),
        ("port", json!("7000"), "INVALID_LISTENER_PORT_CONFLICT"),
        ("port", json!("7001,7001"), "INVALID_LISTENER_PORT_CONFLICT_SELF"),
        ("port", json!(null), "MISSING_PARAMETER"),
        ("protocol", json!("HTTP"), "INVALID_PARAMETER"),
        ("scheduler", json!("best"), "INVALID_PARAMETER"),
        ("kind", json!("DR"), "INVALID_PARAMETER"),
        ("listenerName", json!("-b"), "INVALID_PARAMETER"),
        ("persistent", json!(3601), "INVALID_PARAMETER"),
        ("algoOpts", json!("mh-port"), "INVALID_PARAMETER"),
        ("healthCheck", json!({}), "MISSING_PARAMETER"),
        ("healthCheck", json!([]), "INVALID_REQUEST_BODY"),
        ("healthCheck", json!({"checkType": "TCP_CHECK"}), "INVALID_PARAMETER"),
        ("healthCheck", json!({"checkType": "TCP", "checkDelayLoop": 31}), "INVALID_PARAMETER"),
        ("healthCheck", json!({"checkType": "TCP", "checkRetry": 6}), "INVALID_PARAMETER"),
        ("healthCheck", json!({"checkType": "HTTP_GET", "checkHttpGetUrl": "x"}), "INVALID_PARAMETER"),
        ("loadBalancerId", json!("x"), "INVALID_LB_NOT_FOUND"),
    ] {
        let mut body = good.clone();
        body[key] = value.clone();
        let answer = shop.ask("CreateListener", &body).await;
        let status = if code == "INVALID_LB_NOT_FOUND" { 404 } else { 400 };
        shop.is_refused(&answer, status, code);
    }
    assert_eq!(shop.listeners().await.len(), 1);
    // Datagrams have ports of their own.
    let mut udp = good.clone();
    (udp["protocol"], udp["port"]) = (json!("UDP"), json!("7000"));
    shop.ok("CreateListener", udp).await;
    assert_eq!(shop.listeners().await[1]["protocol"], "UDP");
}

#[tokio::test]
async fn what_the_file_declares_is_changed_in_the_file() {
    let shop = Shop::open().await;
    let of_file = |mut body: Value| {
        body["loadBalancerId"] = json!("lb-demo");
        body["loadBalancerIds"] = json!(["lb-demo"]);
        body
    };
    for (action, body) in [
        ("TerminateLoadBalancer", json!({})),
        ("ModifyLoadBalancersAttribute", json!({"loadBalancerName": "x"})),
        ("AddLoadBalancersPrivateIps", json!({"privateIps": ["10.0.0.2"]})),
        ("DeleteListener", json!({"listenerId": "db"})),
        ("DeregisterBackend", json!({"listenerId": "db", "backendServers": [{"privateIpAddress": "10.0.0.31"}]})),
    ] {
        shop.is_refused(&shop.ask(action, &of_file(body)).await, 409, "OPERATION_DENIED_FILE_MADE");
    }
    shop.ok("ModifyLoadBalancersAttribute", of_file(json!({"loadBalancerName": "lb-demo"}))).await;
    // The same once more is no change, and weights are anybody's.
    shop.ok(
        "ModifyListener",
        of_file(json!({"listenerId": "db", "listenerName": "db", "port": "5432", "scheduler": "wlc"})),
    )
    .await;
    let weight = json!({"listenerId": "db", "backendServers": [{"privateIpAddress": "10.0.0.31", "weight": 9}]});
    shop.ok("ModifyBackend", of_file(weight)).await;
    let told = shop.ok("DescribeBackends", of_file(json!({"listenerId": "db"}))).await;
    assert_eq!(told["backends"][0]["weight"], 9);
}

#[tokio::test]
async fn credential_that_reads_or_is_of_some_farms_writes_no_more_than_that() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({})).await;
    let other = shop.listener(json!({"listenerName": "other", "port": "7001"})).await;
    let of = |farms: Option<&str>, access| {
        let farms = farms.map(|farm| [crate::admin::vendor_fixture::name(farm)].into());
        let grant = Grant { name: "ops".into(), access, farms };
        let mut credentials = crate::admin::Credentials::clone(&shop.state.credentials.load());
        credentials.tokens = vec![BearerToken { grant, token: Secret::new("t-ops") }];
        shop.state.credentials.store(credentials.into());
    };
    let servers = json!([{"privateIpAddress": "10.1.0.1"}]);
    of(None, Access::Read);
    shop.is_refused(&shop.change("RegisterBackend", &id, servers.clone()).await, 403, "OPERATION_DENIED_ROLE");
    of(None, Access::Operate);
    shop.is_refused(&shop.change("RegisterBackend", &id, servers.clone()).await, 403, "OPERATION_DENIED_ROLE");
    of(Some("shop-web"), Access::Admin);
    assert_eq!(shop.change("RegisterBackend", &id, servers.clone()).await.0, 200);
    let told = shop.is_refused(&shop.change("RegisterBackend", &other, servers).await, 403, "OPERATION_DENIED_ROLE");
    assert!(told.contains("shop-other"), "{told}");
    for (action, body) in [
        ("TerminateLoadBalancer", shop.of(json!({}))),
        ("DeleteListener", shop.of(json!({"listenerId": id}))),
        ("CreateLoadBalancer", json!({"regionId": "local", "vpcId": "v", "loadBalancerName": "x"})),
    ] {
        shop.is_refused(&shop.ask(action, &body).await, 403, "OPERATION_DENIED_ROLE");
    }
}

/// What OVHcloud's shape keeps of its service is no load balancer here, and nothing that is done here takes it away.
#[tokio::test]
async fn service_that_another_shape_keeps_is_no_load_balancer() {
    let shop = Shop::open().await;
    let put = bearer_call("PUT", "/1.0/ipLoadbalancing/lb-demo", &json!({"displayName": "ours"}).to_string());
    assert_eq!(read(crate::admin::ovh::answer(&shop.state, &put).await).await.0, 200);
    let snapshot = shop.state.store.snapshot(crate::admin::vendor_fixture::NOW);
    let services = snapshot.made.of(None, crate::model::ObjectKind::Service);
    let foreign: Vec<_> = services.filter(|it| it.id.to_string() != shop.id).collect();
    let [kept] = &foreign[..] else { panic!("what was put is kept in an object: {foreign:?}") };
    assert_eq!(shop.ok("DescribeLoadBalancers", json!({})).await["totalCount"], 2);
    let id = kept.id.to_string();
    for (action, body) in [
        ("TerminateLoadBalancer", json!({"loadBalancerId": id})),
        ("DescribeListeners", json!({"loadBalancerId": id})),
        ("ModifyLoadBalancersAttribute", json!({"loadBalancerIds": [id], "loadBalancerName": "mine"})),
    ] {
        shop.is_refused(&shop.ask(action, &body).await, 404, "INVALID_LB_NOT_FOUND");
    }
}
