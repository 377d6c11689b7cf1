//! Writes: what a client reads back, and what waits.

use serde_json::{Value, json};

use super::super::answer;
use super::{GoFarm, GoFrontend, GoServer};
use crate::admin::call::AdminState;
use crate::admin::vendor_fixture::{bearer_call, read, state};
use crate::model::{Encryption, Negate, ProbeKind, ProxyHeader, Server, Verify};

pub(super) const BASE: &str = "/1.0/ipLoadbalancing/lb-demo";

pub(super) struct Shape(pub(super) AdminState);

impl Shape {
    pub(super) async fn call(&self, method: &str, part: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(answer(&self.0, &bearer_call(method, &format!("{BASE}{part}"), &body)).await).await
    }

    pub(super) async fn ok(&self, method: &str, part: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, part, &body).await;
        assert_eq!(status, 200, "{method} {part} {body}: {answer}");
        answer
    }

    pub(super) async fn get(&self, part: &str) -> Value {
        self.ok("GET", part, Value::Null).await
    }

    pub(super) async fn refused(&self, method: &str, part: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.call(method, part, &body).await;
        assert_ne!(status, 200, "{method} {part} {body}: {answer}");
        (status, answer["message"].as_str().unwrap().to_owned())
    }

    /// Makes an object and returns its id.
    pub(super) async fn make(&self, part: &str, id: &str, body: Value) -> u64 {
        self.ok("POST", part, body).await[id].as_u64().unwrap()
    }
}

pub(super) fn shape() -> Shape {
    Shape(state())
}

#[tokio::test]
async fn farm_reads_back_as_it_was_sent_and_a_put_merges() {
    let shape = shape();
    // As the Terraform provider sends it, step by step.
    let probe = json!({"forceSsl": false, "interval": 30, "negate": null, "type": "oco"});
    let body = json!({"balance": "roundrobin", "displayName": "Test ACC", "port": 12345, "probe": probe, "stickiness": null,
        "zone": "all"});
    let made = shape.ok("POST", "/http/farm", body).await;
    let id = made["farmId"].as_u64().unwrap();
    assert!(id >= 1 << 40);
    let told = json!({"farmId": id, "zone": "all", "displayName": "Test ACC", "balance": "roundrobin", "port": 12345,
        "stickiness": null, "vrackNetworkId": null, "probe": {"type": "oco", "interval": 30, "port": null, "method": null,
        "url": null, "match": null, "pattern": null, "negate": null, "forceSsl": false}});
    assert_eq!(made, told);
    let part = format!("/http/farm/{id}");
    assert_eq!(shape.get(&part).await, told);
    serde_json::from_value::<GoFarm>(told).unwrap();
    assert_eq!(shape.get("/http/farm/test-acc").await["farmId"], id, "by its name too");
    for (change, field, want) in [
        (json!({"balance": "leastconn", "zone": "gra", "farmId": 1, "nobody": 2}), "balance", json!("leastconn")),
        (json!({"stickiness": "cookie"}), "balance", json!("leastconn")),
        (json!({}), "stickiness", json!("cookie")),
        (json!({"stickiness": null}), "stickiness", Value::Null),
        (
            json!({"probe": {"type": "http", "url": "/x", "match": "status", "pattern": "200,204", "negate": true}}),
            "zone",
            json!("all"),
        ),
        (json!({"port": null, "balance": null, "displayName": null}), "displayName", Value::Null),
    ] {
        assert_eq!(shape.ok("PUT", &part, change.clone()).await, Value::Null, "{change}");
        assert_eq!(shape.get(&part).await[field], want, "{change}");
    }
    let farm = shape.get(&part).await;
    assert_eq!((&farm["probe"]["pattern"], &farm["probe"]["interval"]), (&json!("200,204"), &json!(30)));
    assert_eq!((&farm["port"], &farm["balance"]), (&Value::Null, &Value::Null));
    assert_eq!(shape.ok("PUT", &part, json!({"probe": null})).await, Value::Null);
    assert_eq!(shape.get(&part).await["probe"], Value::Null);
    assert_eq!(shape.get("/definedFarms").await.as_array().unwrap().len(), 3);
    assert_eq!(shape.get("/http/farm?zone=all").await, json!([id]));
    assert_eq!(shape.ok("DELETE", &part, Value::Null).await, Value::Null);
    assert_eq!(shape.refused("GET", &part, Value::Null).await.0, 404);
    assert_eq!(shape.get("/pendingChanges").await, json!([]), "what was made and removed was never there");
}

/// Returns the certificate of an authority, PEM.
pub(super) fn authority() -> String {
    rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem()
}

#[tokio::test]
async fn server_has_its_farms_port_and_every_field_can_be_cleared() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "local", "displayName": "shop"})).await;
    let servers = format!("/http/farm/{farm}/server");
    let body = json!({"address": "10.0.0.11", "status": "active", "displayName": "testBackendA"});
    let made = shape.ok("POST", &servers, body).await;
    let told = json!({"serverId": made["serverId"], "backendId": farm, "address": "10.0.0.11", "status": "active",
        "displayName": "testBackendA", "port": null, "probe": false, "weight": null, "backup": false, "ssl": false,
        "chain": null, "cookie": null, "proxyProtocolVersion": null, "onMarkedDown": null, "serverState": []});
    assert_eq!(made, told);
    serde_json::from_value::<GoServer>(made.clone()).unwrap();
    let part = format!("{servers}/{}", made["serverId"]);
    let address = |shape: &Shape| {
        let view = shape.0.objects.view();
        let farm = view.ahead.farm(crate::model::FarmId(farm)).cloned();
        farm.unwrap().servers.first().map(|server| server.address.to_string())
    };
    assert_eq!(address(&shape), None, "without a port it is kept only");
    shape.ok("PUT", &format!("/http/farm/{farm}"), json!({"port": 8080})).await;
    assert_eq!(address(&shape).as_deref(), Some("10.0.0.11:8080"));
    shape.ok("PUT", &part, json!({"port": 81, "address": "10.9.9.9", "serverState": [1]})).await;
    assert_eq!(address(&shape).as_deref(), Some("10.0.0.11:81"));
    let all = json!({"weight": 3, "backup": true, "probe": true, "ssl": true, "cookie": "A1", "status": "inactive",
        "proxyProtocolVersion": "v2", "onMarkedDown": "shutdown-sessions", "chain": authority()});
    shape.ok("PUT", &part, all.clone()).await;
    let server = shape.get(&part).await;
    for (field, value) in all.as_object().unwrap() {
        assert_eq!(&server[field], value, "{field}");
    }
    let view = shape.0.objects.view();
    let model = view.ahead.farm(crate::model::FarmId(farm)).unwrap().servers[0].clone();
    assert_eq!((model.weight.0, model.admin.as_str(), model.probed), (3, "maintenance", true));
    assert!(model.tls.as_ref().unwrap().ca.is_some() && model.proxy_protocol.is_some() && model.on_down.is_some());
    let none = json!({"weight": null, "cookie": null, "proxyProtocolVersion": null, "onMarkedDown": null, "chain": null,
        "port": null, "status": "active"});
    shape.ok("PUT", &part, none.clone()).await;
    let server = shape.get(&part).await;
    for (field, value) in none.as_object().unwrap() {
        assert_eq!(&server[field], value, "{field}");
    }
    assert_eq!(shape.get(&format!("{servers}?status=inactive")).await, json!([]));
    assert_eq!(shape.get(&format!("{servers}?address=10.0.0.11&cookie=%25")).await, json!([]));
    assert_eq!(shape.get(&format!("{servers}?address=10.0.0.11")).await, json!([made["serverId"]]));
    assert_eq!(shape.ok("DELETE", &part, Value::Null).await, Value::Null);
    assert_eq!(shape.refused("DELETE", &part, Value::Null).await.0, 404);
    shape.ok("DELETE", &format!("/http/farm/{farm}"), Value::Null).await;
    assert_eq!(shape.get("/pendingChanges").await, json!([]), "nothing of what was never there waits");
}

/// How the check of a server is made: in TLS, with which verification, behind which PROXY header.
type Spoken = (bool, Option<Verify>, Option<ProxyHeader>);

#[tokio::test]
async fn check_speaks_as_its_server_is_spoken_to_unless_it_goes_to_another_port() {
    let shape = shape();
    let probe = |more: Value| {
        let mut probe =
            json!({"type": "http", "url": "https://x.example/live", "match": "contains", "pattern": "fine"});
        probe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"port": 80, "probe": probe})
    };
    let mut body = probe(json!({}));
    body["zone"] = json!("all");
    let farm = shape.make("/http/farm", "farmId", body).await;
    let part = format!("/http/farm/{farm}");
    let spoken = || -> Vec<Spoken> {
        let view = shape.0.objects.view();
        let farm = view.ahead.farm(crate::model::FarmId(farm)).unwrap();
        let probe = &farm.probes[0];
        assert_eq!((probe.kind.as_str(), probe.aim.host.as_deref()), ("http", Some("x.example")));
        let of = |server: &std::sync::Arc<Server>| {
            let probe = probe.aimed(&server.aim);
            (probe.encryption() == Encryption::Tls, probe.aim.verify, probe.aim.proxy)
        };
        farm.servers.iter().map(of).collect()
    };
    let servers = format!("{part}/server");
    let server = |more: Value| {
        let mut server = json!({"address": "10.0.0.1", "status": "active", "probe": true});
        server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server
    };
    let both = json!({"ssl": true, "chain": authority(), "proxyProtocolVersion": "v2-ssl-cn"});
    for more in [json!({}), json!({"ssl": true}), json!({"proxyProtocolVersion": "v1", "port": 81}), both] {
        shape.make(&servers, "serverId", server(more)).await;
    }
    let inherited: [Spoken; 4] = [
        (false, None, None),
        (true, Some(Verify::Off), None),
        (false, None, Some(ProxyHeader::V1)),
        (true, Some(Verify::Chain), Some(ProxyHeader::V2)),
    ];
    let (clear, of_81): (Spoken, Spoken) = ((false, None, None), inherited[2]);
    assert_eq!(spoken(), inherited);
    for (port, want) in [
        (json!(80), [inherited[0], inherited[1], of_81, inherited[3]]),
        (json!(81), [clear, clear, of_81, clear]),
        (json!(82), [clear; 4]),
        (Value::Null, inherited),
    ] {
        shape.ok("PUT", &part, probe(json!({"port": port}))).await;
        assert_eq!(spoken(), want, "{port}");
        assert_eq!(shape.get(&part).await["probe"]["url"], "https://x.example/live");
    }
    shape.ok("PUT", &part, probe(json!({"port": 80}))).await;
    shape.ok("PUT", &part, json!({"port": 8080})).await;
    assert_eq!(spoken(), [clear; 4], "the farm's port is another one now");
    shape.ok("PUT", &part, probe(json!({"port": null}))).await;
    let [plain, last] = [0, 3].map(|place: usize| (place, &servers));
    let ids = shape.get(&servers).await;
    let of = |(place, servers): (usize, &String)| format!("{servers}/{}", ids[place]);
    shape.ok("PUT", &of(plain), json!({"ssl": true})).await;
    shape.ok("PUT", &of(last), json!({"ssl": false, "proxyProtocolVersion": null})).await;
    assert_eq!(spoken(), [inherited[1], inherited[1], of_81, clear]);
    shape.ok("PUT", &of(plain), json!({"probe": false})).await;
    assert_eq!((shape.get(&of(plain)).await["probe"].clone(), spoken()[0]), (json!(false), clear));
}

#[tokio::test]
async fn every_type_of_check_is_in_tls_where_that_is_forced_and_none_is_changed_by_it() {
    let shape = shape();
    for probe in [
        json!({"type": "http", "match": "contains", "pattern": "x"}),
        json!({"type": "tcp"}),
        json!({"type": "tcp", "match": "contains", "pattern": "x", "negate": true}),
        json!({"type": "tcp", "match": "matches", "pattern": "x"}),
        json!({"type": "smtp"}),
        json!({"type": "mysql"}),
        json!({"type": "pgsql"}),
        json!({"type": "oco"}),
    ] {
        let mut forced = probe.clone();
        forced["forceSsl"] = json!(true);
        forced["interval"] = json!(30);
        let body = json!({"zone": "all", "port": 80, "probe": forced});
        let farm = shape.make("/tcp/farm", "farmId", body).await;
        let view = shape.0.objects.view();
        let made = view.ahead.farm(crate::model::FarmId(farm)).unwrap().probes[0].clone();
        assert_eq!((made.encryption(), made.aim.verify), (Encryption::Tls, Some(Verify::Off)), "{probe}");
        let told = shape.get(&format!("/tcp/farm/{farm}")).await;
        for (field, value) in forced.as_object().unwrap() {
            assert_eq!(&told["probe"][field], value, "{field} {probe}");
        }
        let is_negated = matches!(made.kind, ProbeKind::Tcp { negate: Negate::Inverted, .. });
        assert_eq!(is_negated, probe["negate"] == json!(true), "{probe}");
    }
}

#[tokio::test]
async fn frontend_says_all_that_it_was_told_and_listens_unless_it_is_disabled() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    let body = json!({"port": "22280", "zone": "all", "allowedSource": [], "dedicatedIpfo": ["10.0.0.2/32"],
        "deniedSource": [], "disabled": true, "ssl": true, "displayName": "Front", "httpHeader":
        ["X-Ip-Header %ci", "X-Port-Header %cp"]});
    let made = shape.ok("POST", "/http/frontend", body.clone()).await;
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    serde_json::from_value::<GoFrontend>(made.clone()).unwrap();
    let part = format!("/http/frontend/{}", made["frontendId"]);
    let listens = |shape: &Shape| {
        let view = shape.0.objects.view();
        let id = crate::model::FrontendId(made["frontendId"].as_u64().unwrap());
        view.ahead.frontend(id).map(|it| it.listen.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(listens(&shape), None);
    let (status, why) = shape.refused("PUT", &part, json!({"disabled": false, "port": "22281"})).await;
    assert_eq!((status, why.split(':').next()), (400, Some("ssl")), "{why}");
    shape.ok("PUT", &part, json!({"disabled": false, "ssl": false})).await;
    assert_eq!(listens(&shape).unwrap(), ["10.0.0.2:22280"], "it listens, and has no farm to give its work to");
    shape
        .ok("PUT", &part, json!({"defaultFarmId": farm, "port": "22280,22443-22444", "allowedSource": ["8.8.8.8/32"]}))
        .await;
    assert_eq!(listens(&shape).unwrap(), ["10.0.0.2:22280", "10.0.0.2:22443", "10.0.0.2:22444"]);
    shape.ok("PUT", &part, json!({"allowedSource": [], "deniedSource": ["8.8.8.8/32"]})).await;
    let frontend = shape.get(&part).await;
    assert_eq!((&frontend["allowedSource"], &frontend["deniedSource"]), (&json!([]), &json!(["8.8.8.8/32"])));
    assert_eq!(shape.get("/http/frontend?port=%253333%25").await, json!([]));
    assert_eq!(shape.get("/http/frontend?port=22280%25").await, json!([made["frontendId"]]));
    assert_eq!(shape.get(&format!("/http/frontend?defaultFarmId={farm}")).await, json!([made["frontendId"]]));
    let (status, why) = shape.refused("DELETE", &format!("/http/farm/{farm}"), Value::Null).await;
    assert_eq!((status, why.contains("is used by frontends.front")), (409, true), "{why}");
    shape.ok("PUT", &part, json!({"defaultFarmId": null, "redirectLocation": "https://${host}${uri}"})).await;
    assert!(listens(&shape).is_some());
    shape.ok("DELETE", &format!("/http/farm/{farm}"), Value::Null).await;
    shape.ok("DELETE", &part, Value::Null).await;
    assert_eq!(shape.get("/pendingChanges").await, json!([]));
}

#[tokio::test]
async fn server_without_a_port_has_that_of_the_frontend_that_feeds_it() {
    let shape = shape();
    let farm = shape.make("/tcp/farm", "farmId", json!({"zone": "all"})).await;
    let server = json!({"address": "10.0.0.1", "status": "active"});
    shape.make(&format!("/tcp/farm/{farm}/server"), "serverId", server).await;
    let port = |shape: &Shape| {
        let view = shape.0.objects.view();
        view.ahead.farm(crate::model::FarmId(farm)).unwrap().servers.first().map(|server| server.address.port)
    };
    assert_eq!(port(&shape), None);
    let front = json!({"port": "5000", "zone": "all", "defaultFarmId": farm});
    let front = shape.make("/tcp/frontend", "frontendId", front).await;
    assert_eq!(port(&shape), Some(5000));
    shape.ok("PUT", &format!("/tcp/frontend/{front}"), json!({"port": "5001"})).await;
    assert_eq!(port(&shape), Some(5001));
    shape.ok("DELETE", &format!("/tcp/frontend/{front}"), Value::Null).await;
    assert_eq!(port(&shape), None);
}

#[tokio::test]
async fn routes_and_rules_live_with_a_frontend_and_without() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    let action = json!({"target": "https://${host}${path}${arguments}", "status": 302, "type": "redirect"});
    let made = shape.ok("POST", "/http/route", json!({"action": action, "displayName": "To TLS", "weight": 0})).await;
    assert_eq!(
        made,
        json!({"routeId": made["routeId"], "displayName": "To TLS", "frontendId": null, "weight": 0, "action": action,
            "rules": [], "status": "ok"})
    );
    let away = made["routeId"].as_u64().unwrap();
    let rule = json!({"displayName": "host", "field": "header", "match": "is", "negate": false, "pattern": "example.com",
        "subField": "Host"});
    let ruled = shape.ok("POST", &format!("/http/route/{away}/rule"), rule.clone()).await;
    for (field, value) in rule.as_object().unwrap() {
        assert_eq!(&ruled[field], value, "{field}");
    }
    let front = json!({"port": "8000", "zone": "all"});
    let front = shape.make("/http/frontend", "frontendId", front).await;
    let is_open = |shape: &Shape| shape.0.objects.view().ahead.frontend(crate::model::FrontendId(front)).cloned();
    assert!(is_open(&shape).unwrap().routes.is_empty());
    shape.ok("PUT", &format!("/http/route/{away}"), json!({"frontendId": front})).await;
    let routes = is_open(&shape).unwrap().routes.clone();
    assert_eq!((routes.len(), routes[0].rules.len(), routes[0].id.0), (1, 1, away));
    let forward = json!({"action": {"type": "farm", "target": farm.to_string()}, "frontendId": front, "weight": 9});
    let last = shape.make("/http/route", "routeId", forward).await;
    let reject = json!({"action": {"type": "reject"}, "frontendId": front, "weight": 255});
    let reject = shape.make("/http/route", "routeId", reject).await;
    assert_eq!(shape.get("/http/route").await, json!([away, reject, last]), "in the order in which they are looked at");
    assert_eq!(shape.get(&format!("/http/route?frontendId={front}")).await, json!([away, reject, last]));
    assert_eq!(
        shape.get(&format!("/http/route/{reject}")).await["action"],
        json!({"type": "reject", "target": null,
        "status": 403})
    );
    assert_eq!(shape.refused("DELETE", &format!("/http/farm/{farm}"), Value::Null).await.0, 409);
    let rule = format!("/http/route/{away}/rule/{}", ruled["ruleId"]);
    shape.ok("PUT", &rule, json!({"match": "exists", "negate": true, "pattern": null})).await;
    let told = shape.get(&format!("/http/route/{away}")).await["rules"].clone();
    assert_eq!(
        told,
        json!([{"ruleId": ruled["ruleId"], "field": "header", "match": "exists", "negate": true,
        "pattern": null, "subField": "Host"}])
    );
    shape.ok("DELETE", &rule, Value::Null).await;
    assert_eq!(shape.get(&format!("/http/route/{away}/rule")).await, json!([]));
    shape.ok("DELETE", &format!("/http/frontend/{front}"), Value::Null).await;
    assert_eq!(shape.get(&format!("/http/route/{away}")).await["frontendId"], Value::Null);
    assert_eq!(shape.get("/definedRoutes").await.as_array().unwrap().len(), 3);
    let tcp = shape.ok("POST", "/tcp/route", json!({"action": {"type": "reject"}, "displayName": "no"})).await;
    assert_eq!(tcp["action"], json!({"type": "reject", "target": null}));
    assert_eq!(shape.get("/tcp/route").await, json!([tcp["routeId"]]));
    shape.ok("DELETE", &format!("/http/route/{last}"), Value::Null).await;
    assert_eq!(shape.refused("GET", &format!("/http/route/{last}"), Value::Null).await.0, 404);
}

#[tokio::test]
async fn udp_has_its_own_fields_in_every_answer() {
    let shape = shape();
    let farm = shape.ok("POST", "/udp/farm", json!({"port": 53, "zone": "all", "displayName": "dns"})).await;
    assert_eq!(
        farm,
        json!({"farmId": farm["farmId"], "zone": "all", "displayName": "dns", "port": 53, "vrackNetworkId": null})
    );
    let servers = format!("/udp/farm/{}/server", farm["farmId"]);
    let server = shape.ok("POST", &servers, json!({"address": "10.0.0.5", "status": "active"})).await;
    assert_eq!(
        server,
        json!({"serverId": server["serverId"], "backendId": farm["farmId"], "address": "10.0.0.5", "status": "active",
            "displayName": null, "port": null})
    );
    shape.ok("PUT", &format!("{servers}/{}", server["serverId"]), json!({"status": "inactive"})).await;
    assert_eq!(shape.get(&format!("{servers}?status=inactive")).await, json!([server["serverId"]]));
    let front = json!({"port": "5353", "zone": "all", "defaultFarmId": farm["farmId"]});
    let front = shape.ok("POST", "/udp/frontend", front).await;
    assert_eq!(
        front,
        json!({"frontendId": front["frontendId"], "zone": "all", "port": "5353", "displayName": null,
            "defaultFarmId": farm["farmId"], "disabled": false, "dedicatedIpfo": []})
    );
    let (status, why) = shape.refused("POST", "/udp/farm", json!({"zone": "all"})).await;
    assert_eq!((status, why.as_str()), (400, "port: is missing; send it"));
}

#[tokio::test]
async fn what_waits_is_told_by_zone_until_a_refresh_is_done() {
    let shape = shape();
    assert_eq!(shape.get("/pendingChanges").await, json!([]));
    shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    assert_eq!(shape.get("/pendingChanges").await, json!([{"zone": "local", "number": 1}]));
    let (status, why) = shape.refused("POST", "/refresh", json!({"zone": "gra"})).await;
    assert_eq!((status, why.as_str()), (400, "zone: \"gra\" is outside all, local"));
    let task = shape.ok("POST", "/refresh", json!({"zone": "LOCAL"})).await;
    assert_eq!((&task["action"], &task["zones"]), (&json!("refreshIplb"), &json!(["local"])));
    let told = shape.get(&format!("/task/{}", task["id"])).await;
    assert_eq!((&told["status"], &told["progress"]), (&json!("done"), &json!(100)));
    assert_eq!(told.as_object().unwrap().len(), 7);
    assert_eq!(shape.get("/pendingChanges").await, json!([]));
    for (query, want) in [
        ("", true),
        ("?action=refreshIplb&status=done", true),
        ("?status=todo", false),
        ("?action=install", false),
        ("?creationDate.from=2025-11-21T13:34:20Z&doneDate.to=2026-01-01T00:00:00Z", true),
        ("?creationDate.to=2020-01-01T00:00:00Z", false),
        ("?doneDate.from=2027-01-01T00:00:00Z", false),
    ] {
        let ids = shape.get(&format!("/task{query}")).await;
        assert_eq!(ids, if want { json!([task["id"]]) } else { json!([]) }, "{query}");
    }
    let again = shape.ok("POST", "/refresh", Value::Null).await;
    assert_eq!((&again["status"], &again["zones"]), (&json!("done"), &json!(["local"])));
}

#[tokio::test]
async fn drained_server_reads_inactive_and_active_is_the_last_word() {
    let shape = shape();
    let part = "/http/farm/web/server/drain";
    let told = shape.get(part).await;
    assert_eq!((&told["status"], &told["serverState"][0]["status"]), (&json!("inactive"), &json!("DRAIN")));
    let wish = || {
        let view = shape.0.objects.view();
        view.staged.iter().map(|staged| format!("{:?}", staged.change)).collect::<Vec<_>>().join(" ")
    };
    shape.ok("PUT", part, told).await;
    shape.ok("PUT", part, json!({"status": "inactive"})).await;
    assert_eq!(wish(), "", "what is told already changes nothing");
    shape.ok("PUT", part, json!({"status": "active"})).await;
    assert_eq!((shape.get(part).await["status"].as_str(), wish().contains("Admin(Active)")), (Some("active"), true));
    // Once it is to take work again it can be taken out, and brought back before anything is live.
    shape.ok("PUT", part, json!({"status": "inactive"})).await;
    assert!(wish().contains("Admin(Maintenance)"), "{}", wish());
    shape.ok("PUT", part, json!({"status": "active"})).await;
    assert_eq!((shape.get(part).await["status"].as_str(), wish().contains("Admin(Active)")), (Some("active"), true));
}
