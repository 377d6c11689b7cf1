//! Writes that are refused: wrong values, what the file declares, and callers who may not.

use serde_json::{Value, json};

use super::writes::{Shape, authority, shape};
use crate::admin::vendor_fixture::{bearer_call, read};
use crate::model::{Access, Name, settings::Grant};

#[tokio::test]
async fn what_the_file_declares_is_refused_with_its_place_but_for_status_and_weight() {
    let shape = shape();
    let server = "/http/farm/web/server/up";
    let told = shape.get(server).await;
    // The whole object sent back changes nothing.
    shape.ok("PUT", server, told.clone()).await;
    shape.ok("PUT", "/http/farm/web", shape.get("/http/farm/web").await).await;
    shape.ok("PUT", "/http/frontend/web", shape.get("/http/frontend/web").await).await;
    assert_eq!(shape.get("/pendingChanges").await, json!([]));
    for (method, part, body, path) in [
        ("PUT", server, json!({"backup": true}), "farms.web.servers.up.backup: is declared at"),
        ("PUT", server, json!({"displayName": "x"}), "farms.web.servers.up: is declared at"),
        ("PUT", "/http/farm/web", json!({"balance": "leastconn"}), "farms.web.balance: is declared at"),
        ("PUT", "/http/frontend/web", json!({"disabled": true}), "frontends.web: is declared at"),
        ("DELETE", server, Value::Null, "farms.web.servers.up: is declared at"),
        ("DELETE", "/http/farm/web", Value::Null, "farms.web: is declared at"),
        ("DELETE", "/tcp/frontend/db", Value::Null, "frontends.db: is declared at"),
    ] {
        let (status, why) = shape.refused(method, part, body.clone()).await;
        assert_eq!((status, why.starts_with(path)), (409, true), "{method} {part} {body}: {why}");
    }
    shape.ok("PUT", server, json!({"weight": 7, "status": "inactive"})).await;
    let now = shape.get(server).await;
    assert_eq!(
        (&now["weight"], &now["status"], &now["serverState"]),
        (&json!(7), &json!("inactive"), &told["serverState"])
    );
    assert_eq!(shape.get("/pendingChanges").await, json!([{"zone": "local", "number": 2}]));
}

/// Posts what is wrong, which is told so and changes nothing.
async fn check_bad(shape: &Shape, cases: &[(&str, Value, &str)]) {
    let pending = shape.get("/pendingChanges").await;
    for (part, body, says) in cases {
        let (status, why) = shape.refused("POST", part, body.clone()).await;
        assert_eq!((status, why.contains(says)), (400, true), "{part} {body}: {why}");
    }
    assert_eq!(shape.get("/pendingChanges").await, pending);
}

#[tokio::test]
async fn bad_values_of_farms_and_servers_name_field_value_and_bound() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    let server = format!("/http/farm/{farm}/server");
    let with = |probe: Value| json!({"zone": "all", "probe": probe});
    let chain = |chain: &str| json!({"address": "10.0.0.1", "status": "active", "chain": chain});
    let block = |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
    let cases = [
        ("/http/farm", json!({"zone": "gra"}), "zone: \"gra\" is outside all, local"),
        ("/http/farm", with(json!({"type": "internal"})), "probe.type: \"internal\" is outside http, mysql, oco"),
        ("/http/farm", with(json!({"interval": 5})), "probe.interval: 5 s is outside 30..=3600 s"),
        ("/http/farm", with(json!({"interval": 3601})), "probe.interval: 3601 s is outside 30..=3600 s"),
        ("/http/farm", with(json!({"negate": false})), "probe.negate: A probe can not negate without a match"),
        (
            "/http/farm",
            with(json!({"match": "status", "pattern": "200"})),
            "probe.match: \"status\" is outside contains",
        ),
        (
            "/http/farm",
            with(json!({"type": "http", "match": "status", "pattern": "x"})),
            "probe.pattern: \"x\" is outside",
        ),
        ("/http/farm", with(json!({"type": "http", "match": "contains"})), "probe.pattern: is missing"),
        ("/http/farm", with(json!({"match": "matches", "pattern": "("})), "farms.farm-"),
        (
            server.as_str(),
            json!({"address": "::1", "status": "active"}),
            "address: \"::1\" is outside the IPv4 addresses",
        ),
        (&server, json!({"address": "10.0.0.1"}), "status: is missing"),
        (&server, json!({"address": "10.0.0.1", "status": "active", "weight": 257}), "weight: 257 is outside 0..=256"),
        (&server, chain("x"), "chain: holds no certificate; send those of the authorities in PEM, or null"),
        (&server, chain("-----BEGIN CERTIFICATE-----"), "chain: is not PEM: "),
        (&server, chain(&block("eA==")), "chain: certificate 1 cannot be used: "),
        (&server, chain(&format!("{}{}", authority(), block("eA=="))), "chain: certificate 2 cannot be used: "),
    ];
    check_bad(&shape, &cases).await;
    assert_eq!(shape.refused("POST", "/http/farm/1/server", json!({})).await.0, 404);
}

#[tokio::test]
async fn bad_values_of_frontends_and_routes_name_field_value_and_bound() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    let route = shape.make("/http/route", "routeId", json!({"action": {"type": "reject"}})).await;
    let rules = format!("/http/route/{route}/rule");
    let act = |action: Value| json!({"action": action});
    let front = |more: Value| {
        let mut body = json!({"zone": "all", "port": "8000"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        ("/http/frontend", front(json!({"defaultFarmId": 5})), "defaultFarmId: 5 is outside the ids of http farms"),
        ("/tcp/frontend", front(json!({"defaultFarmId": farm})), "is outside the ids of tcp farms"),
        ("/http/frontend", front(json!({"defaultSslId": 0})), "defaultSslId: 0 is outside the ids of certificates"),
        (
            "/http/frontend",
            front(json!({"dedicatedIpfo": ["9.9.9.9"]})),
            "dedicatedIpfo[0]: \"9.9.9.9\" is outside the",
        ),
        ("/http/frontend", front(json!({"httpHeader": ["X"]})), "httpHeader[0]: \"X\" is outside NAME VALUE"),
        ("/http/frontend", front(json!({"port": "8000-8063"})), "port: \"8000-8063\" is outside 1..=64 sockets"),
        ("/http/frontend", front(json!({"port": "80", "defaultFarmId": farm})), "port 80 is outside service.api_ports"),
        (
            "/http/frontend",
            front(json!({"allowedSource": ["10.0.0.0/8"], "deniedSource": ["10.1.0.0/16"]})),
            "deniedSource: and allowedSource are both there",
        ),
        ("/http/route", act(json!({"type": "drop"})), "action.type: \"drop\" is outside farm, redirect, reject"),
        ("/tcp/route", act(json!({"type": "redirect"})), "action.type: \"redirect\" is outside farm, reject"),
        ("/http/route", act(json!({"type": "farm"})), "action.target: is missing"),
        ("/http/route", act(json!({"type": "farm", "target": "web"})), "action.target: \"web\" is outside the ids"),
        ("/http/route", act(json!({"type": "reject", "status": 418})), "action.status: 418 is outside 200, 400, 403"),
        ("/http/route", act(json!({"type": "redirect", "target": "${hots}"})), "has the unknown variable ${hots}"),
        ("/http/route", json!({"action": {"type": "reject"}, "frontendId": 1}), "frontendId: 1 is outside the ids"),
        ("/http/route", json!({"action": {"type": "reject"}, "weight": 256}), "weight: 256 is outside 0..=255"),
        (rules.as_str(), json!({"field": "host", "match": "exists"}), "match: \"exists\" is outside is, in, contains"),
        (&rules, json!({"field": "host", "match": "is"}), "pattern: is missing"),
        (&rules, json!({"field": "header", "match": "is", "pattern": "x"}), "subField: is missing"),
        (
            &rules,
            json!({"field": "uri", "match": "is", "pattern": "x", "subField": "y"}),
            "subField: \"y\" is outside null",
        ),
        (&rules, json!({"field": "source", "match": "in", "pattern": "10.0.0.0/8, x"}), "is outside networks"),
        (&rules, json!({"field": "method", "match": "is", "pattern": "PATCH"}), "is outside GET, HEAD, POST"),
        (&rules, json!({"field": "uri", "match": "matches", "pattern": "("}), "is outside the regular expressions"),
        (&rules, json!({"field": "uri", "match": "is", "pattern": "x".repeat(256)}), "is outside texts of at most 255"),
    ];
    check_bad(&shape, &cases).await;
    for _ in 0..5 {
        shape.make(&rules, "ruleId", json!({"field": "uri", "match": "is", "pattern": "/x"})).await;
    }
    let (status, why) = shape.refused("POST", &rules, json!({"field": "uri", "match": "is", "pattern": "/x"})).await;
    assert_eq!((status, why.as_str()), (409, "rules of a route are more than 5"));
}

#[tokio::test]
async fn shortest_interval_is_the_configs() {
    let shape = shape();
    let mut credentials = (**shape.0.credentials.load()).clone();
    credentials.ovh_bounds.probe_interval_min = std::time::Duration::from_millis(1500);
    shape.0.credentials.store(credentials.into());
    let farm = |interval: u64| json!({"zone": "all", "probe": {"type": "tcp", "interval": interval}});
    let (_, why) = shape.refused("POST", "/tcp/farm", farm(1)).await;
    assert!(why.starts_with("probe.interval: 1 s is outside 2..=3600 s"), "{why}");
    let id = shape.make("/tcp/farm", "farmId", farm(2)).await;
    let view = shape.0.objects.view();
    let interval = view.ahead.farm(crate::model::FarmId(id)).unwrap().probes[0].interval;
    assert_eq!(interval, std::time::Duration::from_secs(2));
}

#[tokio::test]
async fn credential_of_some_farms_writes_these_and_a_reader_none() {
    let shape = shape();
    let grant = |access, farms: Option<&str>| {
        let farms = farms.map(|farm| [Name::parse(farm).unwrap()].into());
        let mut credentials = (**shape.0.credentials.load()).clone();
        credentials.tokens[0].grant = Grant { name: "ops".into(), access, farms };
        shape.0.credentials.store(credentials.into());
    };
    grant(Access::Admin, Some("shop"));
    let farm = |name: &str| json!({"zone": "all", "port": 80, "displayName": name});
    let id = shape.make("/http/farm", "farmId", farm("Shop")).await;
    // What a server is verified with is its farm's too.
    let server = json!({"address": "10.0.0.1", "status": "active", "chain": authority()});
    shape.make(&format!("/http/farm/{id}/server"), "serverId", server.clone()).await;
    for (method, part, body) in [
        ("POST", "/http/farm", farm("other")),
        ("POST", "/http/farm", json!({"zone": "all"})),
        ("PUT", "/http/farm/web/server/up", json!({"weight": 1})),
        ("POST", "/http/farm/web/server", server.clone()),
        ("POST", "/http/frontend", json!({"zone": "all", "port": "8000"})),
        ("POST", "/http/route", json!({"action": {"type": "reject"}})),
    ] {
        let (status, why) = shape.refused(method, part, body.clone()).await;
        assert_eq!((status, why.contains("may not change farm")), (403, true), "{method} {part} {body}: {why}");
    }
    for (part, body, farm) in [
        ("/http/farm/web/server/up", json!({"weight": 1}), "web"),
        ("/http/frontend", json!({"zone": "all", "port": "8000"}), "(all of them)"),
    ] {
        shape.ok("POST", "/refresh", Value::Null).await;
        grant(Access::Admin, None);
        shape.ok(if farm == "web" { "PUT" } else { "POST" }, part, body).await;
        grant(Access::Admin, Some("shop"));
        let (status, why) = shape.refused("POST", "/refresh", Value::Null).await;
        let want = format!("credential \"ops\" may not change farm \"{farm}\"");
        assert_eq!((status, why.starts_with(&want)), (403, true), "{why}");
        grant(Access::Admin, None);
        shape.ok("POST", "/refresh", Value::Null).await;
        grant(Access::Admin, Some("shop"));
    }
    let (status, why) = shape.refused("POST", "/http/farm", farm("shop")).await;
    assert_eq!((status, why.contains("there is one already")), (409, true), "{why}");
    let weighed = format!("/http/farm/{id}/server");
    let weighed = format!("{weighed}/{}", shape.get(&weighed).await[0]);
    grant(Access::Read, None);
    for (method, part, body, role) in [
        ("PUT", format!("/http/farm/{id}"), json!({}), "admin"),
        ("PUT", weighed.clone(), json!({"weight": 3}), "operate"),
        ("PUT", weighed.clone(), json!({"weight": 3, "address": "10.0.0.2"}), "admin"),
        ("POST", "/refresh".to_owned(), Value::Null, "operate"),
    ] {
        let (status, why) = shape.refused(method, &part, body).await;
        assert_eq!((status, why.contains(&format!("this needs role {role}"))), (403, true), "{method} {part}: {why}");
    }
    grant(Access::Operate, None);
    assert_eq!(shape.refused("DELETE", &weighed, Value::Null).await.0, 403);
    shape.ok("PUT", &weighed, json!({"weight": 3, "status": "inactive"})).await;
}

#[tokio::test]
async fn operator_makes_live_what_an_operator_may_write_and_no_more() {
    let shape = shape();
    let be = |access| {
        let mut credentials = (**shape.0.credentials.load()).clone();
        credentials.tokens[0].grant = Grant { name: "ops".into(), access, farms: None };
        shape.0.credentials.store(credentials.into());
    };
    // Both shapes have one rule.
    let native = async || {
        let call = bearer_call("POST", "/api/v1/refresh", "");
        read(crate::admin::native::answer(&shape.0, &call).await).await
    };
    let farm = json!({"zone": "all", "port": 80, "displayName": "shop"});
    let farm = shape.make("/http/farm", "farmId", farm).await;
    let server = json!({"address": "10.0.0.1", "status": "active"});
    let server = shape.make(&format!("/http/farm/{farm}/server"), "serverId", server).await;
    be(Access::Operate);
    let (status, why) = shape.refused("POST", "/refresh", Value::Null).await;
    assert_eq!((status, why.contains("this needs role admin")), (403, true), "{why}");
    assert_eq!(native().await.0, 403);
    be(Access::Admin);
    shape.ok("POST", "/refresh", Value::Null).await;
    be(Access::Operate);
    shape.ok("PUT", &format!("/http/farm/{farm}/server/{server}"), json!({"weight": 3, "status": "inactive"})).await;
    shape.ok("PUT", "/http/farm/web/server/up", json!({"weight": 7})).await;
    shape.ok("POST", "/refresh", Value::Null).await;
    assert_eq!(native().await.0, 202, "nothing waits");
    be(Access::Admin);
    shape.ok("PUT", &format!("/http/farm/{farm}/server/{server}"), json!({"backup": true})).await;
    be(Access::Operate);
    // A write of an operator's own to the same does not make it one.
    shape.ok("PUT", &format!("/http/farm/{farm}/server/{server}"), json!({"weight": 4})).await;
    assert_eq!((shape.refused("POST", "/refresh", Value::Null).await.0, native().await.0), (403, 403));
    be(Access::Read);
    assert_eq!((shape.refused("POST", "/refresh", Value::Null).await.0, native().await.0), (403, 403));
}
