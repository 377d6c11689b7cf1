//! What is written, read again: bodies, defaults, leniencies.

use serde_json::{Value, json};

use super::kept;
use crate::admin::AdminState;
use crate::admin::vendor_fixture::{bearer_call, put_header, read};
use crate::model::Balance;

pub(super) struct Shop {
    pub(super) state: AdminState,
    pub(super) id: String,
}

impl Shop {
    pub(super) async fn open() -> Self {
        let mut shop = Self { state: kept::state(), id: String::new() };
        let made =
            shop.ok("CreateLoadBalancer", json!({"regionId": "local", "vpcId": "v", "loadBalancerName": "shop"}));
        shop.id = made.await["loadBalancerIds"][0].as_str().unwrap().to_owned();
        shop
    }

    pub(super) async fn ask(&self, action: &str, body: &Value) -> (u16, Value) {
        let path = match action {
            "AddResourceResourceGroup" => "/api/v2/user",
            "ModifyResourceTags" => "/api/v2/zrm",
            _ => super::PATH,
        };
        let mut call = bearer_call("POST", path, &body.to_string());
        put_header(&mut call, "x-zc-action", action);
        read(super::answer(&self.state, &call).await).await
    }

    /// Asks with the load balancer's id added.
    pub(super) fn of(&self, mut body: Value) -> Value {
        body["loadBalancerId"] = json!(self.id);
        body
    }

    pub(super) async fn ok(&self, action: &str, body: Value) -> Value {
        let (status, mut answer) = self.ask(action, &body).await;
        assert_eq!(status, 200, "{action} {body}: {answer}");
        answer["response"].take()
    }

    #[track_caller]
    pub(super) fn is_refused(&self, answer: &(u16, Value), status: u16, code: &str) -> String {
        assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{answer:?}");
        answer.1["message"].as_str().unwrap().to_owned()
    }

    pub(super) async fn listener(&self, more: Value) -> String {
        let mut body = self.of(json!({"listenerName": "web", "protocol": "TCP", "scheduler": "wrr", "port": "7000"}));
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.ok("CreateListener", body).await["listenerId"].as_str().unwrap().to_owned()
    }

    pub(super) async fn listeners(&self) -> Vec<Value> {
        let mut all = self.ok("DescribeListeners", self.of(json!({}))).await;
        serde_json::from_value(all["listeners"].take()).unwrap()
    }

    pub(super) async fn backends(&self) -> Vec<Value> {
        let mut all = self.ok("DescribeBackends", self.of(json!({}))).await;
        serde_json::from_value(all["backends"].take()).unwrap()
    }

    pub(super) async fn change(&self, action: &str, listener: &str, servers: Value) -> (u16, Value) {
        self.ask(action, &self.of(json!({"listenerId": listener, "backendServers": servers}))).await
    }

    /// The ports and weights at which a server is, by farm.
    fn live(&self, ip: &str) -> Vec<(u16, u16)> {
        let snapshot = self.state.store.snapshot(crate::admin::vendor_fixture::NOW);
        let farms = snapshot.farms.iter().filter(|it| snapshot.made.get(it.farm.id.into()).is_some());
        let servers = farms.flat_map(|farm| &farm.servers);
        let own = servers.filter(|it| it.server.address.to_string().starts_with(&format!("{ip}:")));
        own.map(|it| (it.server.address.port, it.server.weight.0)).collect()
    }
}

#[tokio::test]
async fn load_balancer_that_is_made_is_described_as_it_was_asked_for() {
    let shop = Shop::open().await;
    let body = json!({
        "regionId": "local", "subnetId": "sub", "loadBalancerName": "Two words", "number": "2",
        "healthCheckPrivateIps": ["10.0.0.3", "10.0.0.4"], "internetChargeType": "ByBandwidth", "bandwidthMbps": 5,
        "resourceGroupId": "rg-1", "tags": {"tags": [{"key": "env", "value": "prod"}]}, "eipIds": [],
        "marketingOptions": {"discountCode": "x"}, "unknown": {"a": [1]}
    });
    let made = shop.ok("CreateLoadBalancer", body).await;
    let ids: Vec<&str> = made["loadBalancerIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert!(!made["orderNumber"].as_str().unwrap().is_empty());
    assert!(ids.iter().all(|id| id.parse::<u64>().unwrap() >= 1 << 40), "{ids:?}");
    for filter in [
        json!({"loadBalancerIds": ids}),
        json!({"loadBalancerName": "Two*"}),
        json!({"tagKeys": ["env"]}),
        json!({"loadBalancerName": "Two*", "ipStackType": "IPv4_IPv6"}),
        json!({"tags": [{"key": "env", "value": "prod"}], "resourceGroupId": "rg-1"}),
    ] {
        let found = shop.ok("DescribeLoadBalancers", filter.clone()).await;
        assert_eq!(found["totalCount"], 2, "{filter}");
        let one = &found["dataSet"][0];
        assert_eq!(
            (&one["loadBalancerId"], &one["status"], &one["regionId"]),
            (&json!(ids[0]), &json!("RUNNING"), &json!("local"))
        );
        assert_eq!((&one["vpcId"], &one["subnetId"], &one["listenerCount"]), (&json!(null), &json!("sub"), &json!(0)));
        assert_eq!(one["tags"], json!({"tags": [{"key": "env", "value": "prod"}]}));
        assert_eq!(one["resourceGroup"]["resourceGroupId"], "rg-1");
        assert_eq!(one["privateIpAddress"], json!(["10.0.0.2"]));
        assert_eq!(one["publicIpAddress"], json!(["203.0.113.7", "2001:db8::7"]));
        assert_eq!(one["createTime"], "2025-11-21T13:34:20Z");
    }
    assert_eq!(shop.ok("DescribeLoadBalancers", json!({"ipStackType": "IPv6"})).await["totalCount"], 0);
    let v4 = json!({"regionId": "local", "vpcId": "v", "loadBalancerName": "v4", "ipStackType": "IPv4"});
    let told = shop.is_refused(&shop.ask("CreateLoadBalancer", &v4).await, 400, "INVALID_PARAMETER");
    assert_eq!(told, "ipStackType: IPv4 cannot be had: service.addresses are IPv4_IPv6; send that or nothing");
    let page = |size: u64, page: u64| shop.ok("DescribeLoadBalancers", json!({"pageSize": size, "pageNum": page}));
    for (size, number, shown) in [(3, 1, 3), (3, 2, 1), (3, 3, 0), (2, 2, 2), (0, 0, 4)] {
        let found = page(size, number).await;
        assert_eq!((&found["totalCount"], found["dataSet"].as_array().unwrap().len()), (&json!(4), shown));
    }
    shop.ok("ModifyLoadBalancersAttribute", json!({"loadBalancerIds": ids, "loadBalancerName": "new"})).await;
    let found = shop.ok("DescribeLoadBalancers", json!({"loadBalancerName": "new"})).await;
    assert_eq!(found["totalCount"], 2);
    // Where the Terraform provider goes with these.
    let tags =
        json!({"resourceUuid": ids[0], "replaceTags": [{"key": "team", "value": "a"}], "deleteTagKeys": ["env"]});
    shop.ok("ModifyResourceTags", tags).await;
    shop.ok("AddResourceResourceGroup", json!({"resources": ids, "resourceGroupId": "rg-2"})).await;
    let found = shop.ok("DescribeLoadBalancers", json!({"resourceGroupId": "rg-2", "tagKeys": ["team"]})).await;
    assert_eq!(
        (&found["totalCount"], &found["dataSet"][0]["tags"]["tags"]),
        (&json!(1), &json!([{"key": "team", "value": "a"}]))
    );
    for (action, body) in [
        ("ModifyResourceTags", json!({"resourceUuid": "lb-demo", "deleteTagKeys": ["x"]})),
        ("AddResourceResourceGroup", json!({"resources": ["lb-demo"], "resourceGroupId": "g"})),
    ] {
        shop.is_refused(&shop.ask(action, &body).await, 409, "OPERATION_DENIED_FILE_MADE");
    }
}

#[tokio::test]
async fn listener_is_told_as_it_was_asked_for_with_the_published_defaults() {
    let shop = Shop::open().await;
    shop.listener(json!({})).await;
    let [plain] = &shop.listeners().await[..] else { panic!("one") };
    assert_eq!(
        (&plain["protocol"], &plain["port"], &plain["scheduler"], &plain["kind"], &plain["persistent"]),
        (&json!("TCP"), &json!("7000"), &json!("wrr"), &json!("FNAT"), &json!(0))
    );
    assert_eq!((&plain["idleTimeout"], &plain["listenerName"]), (&json!(300), &json!("web")));
    assert_eq!((&plain["healthCheck"]["enabled"], &plain["healthCheck"]["failOpen"]), (&json!(false), &json!(false)));
    assert_eq!(
        (&plain["healthCheck"]["checkHttpGetUrl"], &plain["healthCheck"]["checkType"]),
        (&json!(""), &json!(null))
    );

    shop.listener(json!({
        "listenerName": "mail.example", "port": "7003,7001,7002,7010", "scheduler": "lc", "persistent": "120",
        "idleTimeout": 15, "proxyProtocol": "V2",
        "healthCheck": {"checkType": "HTTP_GET", "checkHttpStatusCode": "204", "checkHttpGetHost": "www.example.com",
            "failOpen": true, "checkConnTimeout": 15, "checkDelayTry": 1, "checkPort": 0, "checkRetry": null}
    }))
    .await;
    let told = &shop.listeners().await[1];
    assert_eq!(
        (&told["port"], &told["scheduler"], &told["persistent"]),
        (&json!("7003,7001-7002,7010"), &json!("lc"), &json!(120))
    );
    assert_eq!((&told["idleTimeout"], &told["proxyProtocol"]), (&json!(15), &json!("v2")));
    assert_eq!(
        told["healthCheck"],
        json!({"enabled": true, "checkType": "HTTP_GET", "checkPort": null, "checkDelayLoop": 3, "checkConnTimeout": 15,
            "checkRetry": 2, "checkDelayTry": 1, "checkHttpGetUrl": "/", "checkHttpGetHost": "www.example.com",
            "checkHttpStatusCode": 204, "failOpen": true})
    );
    // A long name leaves room for the port of each frontend.
    shop.listener(json!({"listenerName": "x".repeat(64), "port": "7020,7022,7024"})).await;
    let body = shop.of(json!({"listenerId": shop.listeners().await[2]["listenerId"]}));
    shop.ok("DeleteListener", body).await;
    // One frontend and farm for each port, on each address of the service, and one listener.
    let snapshot = shop.state.store.snapshot(crate::admin::vendor_fixture::NOW);
    let made: Vec<_> =
        snapshot.frontends.iter().filter(|row| snapshot.made.get(row.frontend.id.into()).is_some()).collect();
    assert_eq!(made.len(), 5);
    assert!(made.iter().all(|row| row.frontend.listen.len() == 3));
    assert_eq!(made[0].frontend.name.as_str(), "shop-web");
    let farm = &snapshot.farms[made[1].farms[0]].farm;
    assert_eq!(farm.balance, Balance::LeastConn);
    let probe = farm.main_probe().unwrap();
    // keepalived waits as long after a check; here a check is over before the next one begins.
    assert_eq!((probe.interval.as_secs(), probe.timeout.as_secs(), probe.rise, probe.fall), (15, 15, 1, 3));
}

#[tokio::test]
async fn listener_that_is_changed_keeps_what_was_not_said_and_moves_to_its_ports() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({"healthCheck": {"checkType": "TCP"}})).await;
    let servers = json!([{"privateIpAddress": "10.1.0.1", "weight": 7}]);
    assert_eq!(shop.change("RegisterBackend", &id, servers).await.0, 200);
    let modify = |body: Value| {
        let mut body = shop.of(body);
        body["listenerId"] = json!(id);
        shop.ok("ModifyListener", body)
    };
    modify(json!({"listenerName": "front", "scheduler": "mh", "kind": ""})).await;
    let told = shop.listeners().await.remove(0);
    assert_eq!(
        (&told["listenerName"], &told["scheduler"], &told["port"]),
        (&json!("front"), &json!("mh"), &json!("7000"))
    );
    assert_eq!(told["healthCheck"]["checkType"], "TCP");
    // As published: what says nothing is as if it were absent.
    let check = json!({"enabled": true, "checkType": "PING_CHECK", "checkPort": 0, "checkHttpGetUrl": "",
        "checkHttpStatusCode": null, "checkDelayLoop": "5"});
    modify(json!({"healthCheck": check, "persistent": 0, "idleTimeout": 0})).await;
    let told = shop.listeners().await.remove(0);
    assert_eq!(
        (&told["healthCheck"]["checkType"], &told["healthCheck"]["checkDelayLoop"]),
        (&json!("PING_CHECK"), &json!(5))
    );
    assert_eq!(told["idleTimeout"], 300);
    // To several ports, to others, and back to one that another lane has: the backend follows.
    for (port, live) in [
        ("7000-7002", vec![7000, 7001, 7002]),
        ("7002,7005", vec![7005, 7002]),
        ("7002", vec![7002]),
        ("7000", vec![7000]),
    ] {
        modify(json!({"port": port})).await;
        assert_eq!(shop.listeners().await.remove(0)["port"], port);
        let mut ports: Vec<u16> = shop.live("10.1.0.1").into_iter().map(|(port, _)| port).collect();
        let mut live = live;
        ports.sort_unstable();
        live.sort_unstable();
        assert_eq!(ports, live, "{port}");
        let [backend] = &shop.backends().await[..] else { panic!("one backend") };
        assert_eq!(
            (&backend["weight"], &backend["backendPort"], &backend["listenerPort"]),
            (&json!(7), &json!(null), &json!(port))
        );
    }
    // Replies that go past the balancer leave no other port; what has one follows from then on.
    let fixed = json!([{"privateIpAddress": "10.1.0.2", "port": 9000}]);
    assert_eq!(shop.change("RegisterBackend", &id, fixed).await.0, 200);
    modify(json!({"kind": "DR", "scheduler": "mh", "algoOpts": "mh-port"})).await;
    assert_eq!(shop.live("10.1.0.2"), [(7000, 100)]);
    assert_eq!(shop.listeners().await.remove(0)["algoOpts"], "mh-port");
    for without in [json!({"scheduler": "rr"}), json!({"persistent": 60})] {
        let mut body = shop.of(without);
        body["listenerId"] = json!(id);
        let told = shop.is_refused(&shop.ask("ModifyListener", &body).await, 400, "INVALID_PARAMETER");
        assert!(told.starts_with("algoOpts: \"mh-port\"") && told.ends_with("send None to take them away"), "{told}");
    }
    modify(json!({"algoOpts": "None"})).await;
    assert_eq!(shop.listeners().await.remove(0)["algoOpts"], "");
    modify(json!({"healthCheck": {"enabled": false}})).await;
    assert_eq!(shop.listeners().await.remove(0)["healthCheck"]["enabled"], false);
    let body = shop.of(json!({"listenerId": id}));
    shop.ok("DeleteListener", body.clone()).await;
    assert_eq!(shop.listeners().await, Vec::<Value>::new());
    shop.is_refused(&shop.ask("DeleteListener", &body).await, 404, "INVALID_LB_LISTENER_NOT_FOUND");
    assert_eq!(shop.live("10.1.0.1"), []);
}

#[tokio::test]
async fn ports_are_told_as_they_were_sent_for_as_long_as_they_are_those() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({"port": "7005,7000"})).await;
    let servers = json!([{"privateIpAddress": "10.1.0.1"}]);
    assert_eq!(shop.change("RegisterBackend", &id, servers).await.0, 200);
    assert_eq!(shop.listeners().await.remove(0)["port"], "7005,7000");
    for (port, told) in [("7000,7005", "7000,7005"), ("7002, 7000-7001", "7002,7000-7001")] {
        shop.ok("ModifyListener", shop.of(json!({"listenerId": id, "port": port}))).await;
        assert_eq!(shop.listeners().await.remove(0)["port"], told);
    }
    // Each of them leads there: the backend has no port of its own, not even one of these.
    let own = json!([{"privateIpAddress": "10.1.0.1", "port": 7002}]);
    shop.is_refused(&shop.change("ModifyBackend", &id, own).await, 400, "INVALID_BACKEND_SERVER_PORT");
}

#[tokio::test]
async fn backend_is_registered_changed_and_deregistered_and_a_scheduler_without_weights_looks_at_none() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({"scheduler": "rr"})).await;
    let servers = json!([
        {"instanceId": "vm-1", "privateIpAddress": "10.1.0.1", "weight": "50"},
        {"instanceId": "", "privateIpAddress": "10.1.0.2", "port": 9000},
        {"privateIpAddress": "2001:db8::9", "weight": 0, "port": "0"},
    ]);
    assert_eq!(shop.change("RegisterBackend", &id, servers).await.0, 200);
    let told: Vec<_> = shop
        .backends()
        .await
        .iter()
        .map(|it| json!([it["instanceId"], it["privateIpAddress"], it["weight"], it["backendPort"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["vm-1", "10.1.0.1", 50, null]),
            json!([null, "10.1.0.2", 100, 9000]),
            json!([null, "2001:db8::9", 0, null])
        ]
    );
    assert_eq!((shop.live("10.1.0.1"), shop.live("10.1.0.2")), (vec![(7000, 1)], vec![(9000, 1)]));
    let modify = json!([{"instanceId": "vm-1", "privateIpAddress": "10.1.0.1", "weight": 20}]);
    assert_eq!(shop.change("ModifyBackend", &id, modify).await.0, 200);
    assert_eq!((&shop.backends().await[0]["weight"], shop.live("10.1.0.1")), (&json!(20), vec![(7000, 1)]));
    // With weights they count again.
    shop.ok("ModifyListener", shop.of(json!({"listenerId": id, "scheduler": "wrr"}))).await;
    assert_eq!((shop.live("10.1.0.1"), shop.live("10.1.0.2")), (vec![(7000, 20)], vec![(9000, 100)]));
    // The provider changes what it never registered.
    let modify = json!([{"instanceId": "", "privateIpAddress": "10.1.0.3", "weight": 3}, {"privateIpAddress": "10.1.0.2", "port": 9001}]);
    assert_eq!(shop.change("ModifyBackend", &id, modify).await.0, 200);
    assert_eq!((shop.live("10.1.0.3"), shop.live("10.1.0.2")), (vec![(7000, 3)], vec![(9001, 100)]));
    let other = json!([{"privateIpAddress": "10.1.0.1", "port": 9999}]);
    shop.is_refused(&shop.change("DeregisterBackend", &id, other).await, 404, "INVALID_INSTANCE_NOT_FOUND");
    let gone = json!([{"instanceId": "vm-1", "privateIpAddress": "10.1.0.1"}, {"instanceId": "", "privateIpAddress": "10.1.0.2"}]);
    assert_eq!(shop.change("DeregisterBackend", &id, gone.clone()).await.0, 200);
    assert_eq!(shop.backends().await.len(), 2);
    shop.is_refused(&shop.change("DeregisterBackend", &id, gone).await, 404, "INVALID_INSTANCE_NOT_FOUND");
}

#[tokio::test]
async fn terminated_load_balancer_is_gone_and_comes_back_or_is_removed_for_good() {
    let shop = Shop::open().await;
    let id = shop.listener(json!({"port": "7000,7001"})).await;
    shop.change("RegisterBackend", &id, json!([{"privateIpAddress": "10.1.0.1"}])).await;
    let own = shop.of(json!({}));
    shop.is_refused(&shop.ask("RestoreLoadBalancer", &own).await, 400, "INVALID_LB_STATUS");
    shop.ok("TerminateLoadBalancer", own.clone()).await;
    let listed = shop.ok("DescribeLoadBalancers", json!({"loadBalancerIds": [shop.id]})).await;
    assert_eq!(listed["totalCount"], 0);
    assert_eq!(shop.live("10.1.0.1"), []);
    shop.is_refused(&shop.ask("DescribeListeners", &own).await, 404, "INVALID_LB_NOT_FOUND");
    let answer = shop.change("RegisterBackend", &id, json!([{"privateIpAddress": "10.1.0.2"}])).await;
    assert!(shop.is_refused(&answer, 400, "INVALID_LB_STATUS").contains("restore it"), "{answer:?}");

    shop.ok("RestoreLoadBalancer", own.clone()).await;
    assert_eq!((shop.listeners().await.len(), shop.backends().await.len()), (1, 1));
    assert_eq!(shop.live("10.1.0.1").len(), 2);
    for _ in 0..2 {
        shop.ok("TerminateLoadBalancer", own.clone()).await;
    }
    shop.is_refused(&shop.ask("TerminateLoadBalancer", &own).await, 404, "INVALID_LB_NOT_FOUND");
    assert!(shop.state.objects.view().made().is_empty());
}

#[tokio::test]
async fn addresses_are_given_and_taken_and_listeners_follow() {
    let shop = Shop::open().await;
    shop.listener(json!({"port": "7000,7002"})).await;
    let listens = || {
        let snapshot = shop.state.store.snapshot(crate::admin::vendor_fixture::NOW);
        let made = snapshot.frontends.iter().filter(|row| snapshot.made.get(row.frontend.id.into()).is_some());
        made.map(|row| row.frontend.listen.len()).collect::<Vec<_>>()
    };
    assert_eq!(listens(), [3, 3]);
    for ip in ["203.0.113.7", "2001:db8::7"] {
        shop.ok("DeleteLoadBalancersPrivateIps", shop.of(json!({"privateIps": [ip]}))).await;
    }
    assert_eq!(listens(), [1, 1]);
    let bad = |ip: &str| shop.of(json!({"privateIps": [ip], "subnetId": "s"}));
    for (action, ip) in [
        ("DeleteLoadBalancersPrivateIps", "10.0.0.2"),
        ("DeleteLoadBalancersPrivateIps", "203.0.113.7"),
        ("AddLoadBalancersPrivateIps", "10.0.0.2"),
        ("AddLoadBalancersPrivateIps", "192.0.2.1"),
        ("AddLoadBalancersPrivateIps", "x"),
    ] {
        shop.is_refused(&shop.ask(action, &bad(ip)).await, 400, "INVALID_INSTANCE_IP_ADDRESS");
    }
    shop.ok("AddLoadBalancersPrivateIps", bad("203.0.113.7")).await;
    assert_eq!(listens(), [2, 2]);
}
