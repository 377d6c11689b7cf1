//! Farms, servers, frontends and routes made through the OVHcloud shape: staged, refreshed, carrying traffic, changed and
//! removed; over HTTP, TCP and UDP, across `kill -9`.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{
    Behaviour, Client, Farmgate, OPS_TOKEN, Origin, Server, Setup, TcpBehaviour, TcpOrigin, place, until,
};
use crate::udp::{Echo, ask, client};

mod conflicts;
mod probes;

const BASE: &str = "/1.0/ipLoadbalancing/it";

/// A Farmgate with a farm `web` of the file, in which this shape may listen on the loopback.
struct Shape {
    farmgate: Farmgate,
    dir: Arc<tempfile::TempDir>,
    setup: Setup,
}

impl Shape {
    fn start(of_file: &Origin) -> Self {
        Self::start_with(|| Setup::http(&[Server::new("a", of_file.addr(), "weight: 5")]))
    }

    fn start_with(farm: impl FnOnce() -> Setup) -> Self {
        let setup = farm()
            .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
            .top("state_dir: state")
            .admin("ovh: {probe_interval_min: 1s}");
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup }
    }

    fn call(&self, method: &str, part: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.farmgate.admin(method, &format!("{BASE}{part}"), Some(OPS_TOKEN), body.as_bytes());
        (response.status, response.json())
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a body is written where it is sent")]
    fn ok(&self, method: &str, part: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, part, &body);
        assert_eq!(status, 200, "{method} {part} {body}: {answer}");
        answer
    }

    #[track_caller]
    fn get(&self, part: &str) -> Value {
        self.ok("GET", part, Value::Null)
    }

    #[track_caller]
    fn make(&self, part: &str, id: &str, body: Value) -> u64 {
        self.ok("POST", part, body)[id].as_u64().unwrap()
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a body is written where it is sent")]
    fn refused(&self, method: &str, part: &str, body: Value, want: u16) -> String {
        let (status, answer) = self.call(method, part, &body);
        assert_eq!(status, want, "{method} {part} {body}: {answer}");
        answer["message"].as_str().unwrap().to_owned()
    }

    /// Makes live what is staged and returns its task once it has ended.
    #[track_caller]
    fn refresh(&self) -> Value {
        let task = self.ok("POST", "/refresh", Value::Null);
        assert_eq!(task["action"], "refreshIplb");
        until("the task to end", || {
            let task = self.get(&format!("/task/{}", task["id"]));
            (task["status"] == "done" || task["status"] == "error").then_some(task)
        })
    }

    #[track_caller]
    fn refreshed(&self) {
        let task = self.refresh();
        assert_eq!((&task["status"], &task["progress"]), (&json!("done"), &json!(100)), "{task}");
        assert_eq!(self.get("/pendingChanges"), json!([]));
    }

    /// Waits for the state of a server in HAProxy's words.
    #[track_caller]
    fn state(&self, part: &str, status: &str) -> Value {
        until(&format!("{part} to be {status}"), || {
            let state = self.get(part)["serverState"].as_array()?.first()?.clone();
            (state["status"] == status).then_some(state)
        })
    }

    fn again(self) -> Self {
        let Self { mut farmgate, dir, setup } = self;
        farmgate.kill();
        drop(farmgate);
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup }
    }
}

/// The fields of a frontend that listen there.
fn at(addr: SocketAddr) -> Value {
    json!({"zone": "all", "port": addr.port().to_string(), "dedicatedIpfo": [format!("{}/32", addr.ip())]})
}

#[expect(clippy::needless_pass_by_value, reason = "a body is written where it is sent")]
fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The fields of a server that is there.
fn server(addr: SocketAddr, more: Value) -> Value {
    with(json!({"address": addr.ip().to_string(), "port": addr.port(), "status": "active"}), more)
}

#[track_caller]
fn answers(addr: SocketAddr, path: &str, of: &[&str]) {
    let response = Client::connect(addr).get(path);
    assert!(response.status == 200 && of.contains(&response.origin()), "{} {}", response.status, response.text());
}

/// A farm of two servers, its frontend, and a route of that to a farm of its own.
struct Shop {
    origins: Vec<Origin>,
    front: SocketAddr,
    farm: u64,
    /// The path of its servers.
    servers: String,
    one: u64,
    two: u64,
    old: u64,
    frontend: u64,
    route: u64,
    rule: u64,
}

impl Shop {
    /// Stages it; nothing of it is live.
    fn stage() -> (Shape, Self) {
        let origins: Vec<_> = ["file", "one", "two", "old"].into_iter().map(Origin::start).collect();
        let shape = Shape::start(&origins[0]);
        let probe = json!({"type": "http", "url": "/healthz", "interval": 1, "match": "status", "pattern": "200"});
        let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "displayName": "Shop", "probe": probe}));
        let servers = format!("/http/farm/{farm}/server");
        let one = shape.make(&servers, "serverId", server(origins[1].addr(), json!({"probe": true, "weight": 3})));
        let two = shape.make(&servers, "serverId", server(origins[2].addr(), json!({"probe": true, "backup": true})));
        let old = shape.make("/http/farm", "farmId", json!({"zone": "all"}));
        shape.make(&format!("/http/farm/{old}/server"), "serverId", server(origins[3].addr(), json!({})));
        let front = place();
        let headers = json!({"defaultFarmId": farm, "httpHeader": ["X-Ip-Header %ci"]});
        let frontend = shape.make("/http/frontend", "frontendId", with(at(front), headers));
        let action = json!({"type": "farm", "target": old.to_string()});
        let route = json!({"action": action, "frontendId": frontend, "weight": 1});
        let route = shape.make("/http/route", "routeId", route);
        let rule = json!({"field": "uri", "match": "startswith", "pattern": "/old"});
        let rule = shape.make(&format!("/http/route/{route}/rule"), "ruleId", rule);
        (shape, Self { origins, front, farm, servers, one, two, old, frontend, route, rule })
    }
}

#[test]
fn life_of_a_farm_from_the_first_server_to_the_last_delete() {
    let (shape, shop) = Shop::stage();
    let Shop { origins, front, farm, servers, one, two, old, frontend, route, rule } = &shop;
    // It is all there, and nothing of it is live.
    assert_eq!(shape.get("/pendingChanges"), json!([{"zone": "local", "number": 8}]));
    assert_eq!(shape.get(&format!("{servers}/{one}"))["serverState"], json!([]));
    assert!(Client::try_connect(*front).is_err());
    assert_eq!(shape.farmgate.admin_get("/api/v1/farms/shop").0, 404);
    shape.refreshed();
    answers(*front, "/", &["one"]);
    answers(*front, "/old/page", &["old"]);
    assert_eq!(origins[1].requests().last().unwrap().header("x-ip-header"), Some("127.0.0.1"));
    let up = shape.state(&format!("{servers}/{one}"), "UP");
    assert_eq!((&up["checkStatus"], &up["checkCode"], &up["instanceId"]), (&json!("L7OK"), &json!("200"), &json!(1)));
    assert_eq!(up.as_object().unwrap().len(), 6);
    assert_eq!(shape.get("/definedRoutes")[0]["routeId"], *route);

    // One falls ill and the backup carries, with the evidence in its state.
    origins[1].health(Behaviour::Status(503));
    let down = shape.state(&format!("{servers}/{one}"), "DOWN");
    assert_eq!((&down["checkStatus"], &down["checkCode"]), (&json!("L7STS"), &json!("503")));
    assert!(down["lastCheckContent"].is_string() && down["checkTime"].is_string());
    until("the backup to answer", || (Client::connect(*front).get("/").origin() == "two").then_some(()));

    let told = shape.refused("DELETE", &format!("/http/farm/{farm}"), Value::Null, 409);
    assert!(told.contains("farms.shop: is used by frontends."), "{told}");
    let shape = shape.again();
    until("the backup to answer again", || (Client::connect(*front).get("/").origin() == "two").then_some(()));
    for part in [
        format!("/http/route/{route}/rule/{rule}"),
        format!("/http/route/{route}"),
        format!("/http/frontend/{frontend}"),
        format!("{servers}/{one}"),
        format!("{servers}/{two}"),
        format!("/http/farm/{farm}"),
        format!("/http/farm/{old}"),
    ] {
        assert_eq!(shape.ok("DELETE", &part, Value::Null), Value::Null, "{part}");
        assert!(shape.refused("GET", &part, Value::Null, 404).ends_with("does not exist"), "{part}");
    }
    assert!(Client::try_connect(*front).is_ok(), "nothing is gone before the refresh");
    shape.refreshed();
    until("the listener to close", || Client::try_connect(*front).is_err().then_some(()));
    assert_eq!(shape.get("/definedFarms").as_array().unwrap().len(), 1);
}

#[test]
fn changes_wait_for_their_refresh_and_every_shape_sees_the_others() {
    let (shape, shop) = Shop::stage();
    let Shop { front, farm, servers, one, two, .. } = &shop;
    shape.refreshed();
    answers(*front, "/", &["one"]);
    shape.ok("PUT", &format!("{servers}/{two}"), json!({"backup": false, "weight": 9}));
    shape.ok("PUT", &format!("{servers}/{one}"), json!({"status": "inactive"}));
    assert_eq!(shape.get(&format!("{servers}/{one}"))["status"], "inactive");
    answers(*front, "/", &["one"]);
    shape.refreshed();
    until("the other server to answer", || (Client::connect(*front).get("/").origin() == "two").then_some(()));
    (0..4).for_each(|_| answers(*front, "/", &["two"]));
    shape.state(&format!("{servers}/{one}"), "MAINT");
    // The native shape shows the same, and what it changes is seen here at once.
    let native = shape.farmgate.admin_get(&format!("/api/v1/farms/shop/servers/{one}")).1;
    assert_eq!(native["admin"], "maintenance");
    shape.farmgate.operate("PUT", &format!("/api/v1/farms/shop/servers/{two}/weight"), r#"{"weight": 4}"#);
    assert_eq!(shape.get(&format!("{servers}/{two}"))["weight"], 4);
    shape.farmgate.operate("PATCH", "/api/v1/farms/shop", r#"{"balance": "leastconn", "reserve": "10%"}"#);
    assert_eq!(shape.get(&format!("/http/farm/{farm}"))["balance"], "leastconn");
    shape.ok("PUT", &format!("/http/farm/{farm}"), json!({"balance": "first"}));
    // What the object itself says ends the override of it.
    shape.ok("PUT", &format!("{servers}/{two}"), json!({"weight": 9}));
    shape.refreshed();
    let native = shape.farmgate.admin_get("/api/v1/farms/shop").1;
    assert_eq!((&native["balance"], &native["reserve"]), (&json!("first"), &json!("10%")), "{native}");
    let native = shape.farmgate.admin_get(&format!("/api/v1/farms/shop/servers/{two}")).1;
    assert_eq!((&native["weight"], &native["overrides"]), (&json!(9), &json!([])), "{native}");
    let _shape = shape.again();
    answers(*front, "/", &["two"]);
}

#[test]
fn tcp_and_udp_live_the_same_life() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let (one, two) = (TcpOrigin::start("one", TcpBehaviour::Echo), TcpOrigin::start("two", TcpBehaviour::Echo));
    let farm = shape.make("/tcp/farm", "farmId", json!({"zone": "all", "stickiness": "sourceIp", "port": 9}));
    let servers = format!("/tcp/farm/{farm}/server");
    let first = shape.make(&servers, "serverId", server(one.addr(), json!({"probe": true})));
    let front = place();
    let frontend = shape.make("/tcp/frontend", "frontendId", with(at(front), json!({"defaultFarmId": farm})));
    // A farm of datagrams without a frontend is whole, and listens once it has one.
    let echo = Echo::start("dns");
    let dns = shape.make("/udp/farm", "farmId", json!({"zone": "all", "port": echo.addr.port()}));
    let dns_server = json!({"address": "127.0.0.1", "status": "active"});
    let dns_server = shape.make(&format!("/udp/farm/{dns}/server"), "serverId", dns_server);
    shape.refreshed();
    let hello = || {
        let mut client = Client::connect(front);
        String::from_utf8(client.take(4).unwrap()).unwrap()
    };
    assert_eq!(hello(), "one\n");
    // `no check` until its first one: it is probed by a connect, as no probe is one.
    shape.state(&format!("{servers}/{first}"), "UP");
    let second = shape.make(&servers, "serverId", server(two.addr(), json!({})));
    shape.ok("PUT", &format!("{servers}/{first}"), json!({"weight": 0}));
    let far = place();
    let udp = shape.make("/udp/frontend", "frontendId", with(at(far), json!({"defaultFarmId": dns})));
    shape.refreshed();
    assert_eq!(ask(&client(), far, b"ping"), "dns:ping");
    shape.ok("DELETE", &format!("{servers}/{first}"), Value::Null);
    let reject = json!({"action": {"type": "reject"}, "frontendId": frontend});
    let reject = shape.make("/tcp/route", "routeId", reject);
    let rule = json!({"field": "source", "match": "is", "pattern": "127.0.0.2"});
    shape.make(&format!("/tcp/route/{reject}/rule"), "ruleId", rule);
    shape.refreshed();
    assert_eq!(hello(), "two\n");
    let mut stranger = Client::connect_from([127, 0, 0, 2], front);
    assert!(stranger.take(1).is_err());
    for part in [
        format!("/tcp/route/{reject}"),
        format!("/tcp/frontend/{frontend}"),
        format!("{servers}/{second}"),
        format!("/tcp/farm/{farm}"),
        format!("/udp/frontend/{udp}"),
        format!("/udp/farm/{dns}/server/{dns_server}"),
        format!("/udp/farm/{dns}"),
    ] {
        shape.ok("DELETE", &part, Value::Null);
    }
    shape.refreshed();
    until("the listener to close", || Client::try_connect(front).is_err().then_some(()));
}

#[test]
fn frontend_without_a_farm_answers_and_every_frontend_is_counted() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let (front, stream, closed, away) = (place(), place(), place(), place());
    let web = shape.make("/http/frontend", "frontendId", at(front));
    shape.make("/tcp/frontend", "frontendId", at(stream));
    shape.make("/tcp/frontend", "frontendId", with(at(closed), json!({"disabled": true})));
    let redirect = json!({"redirectLocation": "https://a.test/"});
    shape.make("/http/frontend", "frontendId", with(at(away), redirect));
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all"}));
    let portless = json!({"address": "127.0.0.1", "status": "active"});
    shape.make(&format!("/http/farm/{farm}/server"), "serverId", portless);
    shape.refreshed();
    assert_eq!(Client::connect(front).get("/").status, 503);
    assert!(Client::connect(stream).take(1).is_err(), "it closes");
    assert!(Client::try_connect(closed).is_err());
    let status = until("the server of the file to be checked", || {
        let status = shape.get("/status");
        (status["servers"]["status"]["ok"] == 1).then_some(status)
    });
    let defined = shape.get("/definedFrontends").as_array().unwrap().len();
    let told = &status["frontends"];
    assert_eq!((&told["total"], defined), (&json!(5), 5), "{status}");
    assert_eq!((&told["status"]["ok"], &told["status"]["unknown"]), (&json!(4), &json!(1)), "{status}");
    assert_eq!(status["servers"]["total"], 2, "the one without a port too: {status}");
    assert_eq!(status["service"]["status"], "ok");
    shape.ok("PUT", &format!("/http/frontend/{web}"), json!({"defaultFarmId": shape.get("/http/farm/web")["farmId"]}));
    shape.refreshed();
    answers(front, "/", &["file"]);
}

#[test]
fn what_is_told_can_be_sent_back_whatever_it_is() {
    let of_file = Origin::start("file");
    let server_of_file = Server::new("a", of_file.addr(), "weight: 300");
    let shape = Shape::start_with(|| Setup::http(&[server_of_file]).farm("balance: maglev").probe("{type: ping}"));
    for part in ["/http/farm/web", "/http/farm/web/server/a"] {
        let told = shape.get(part);
        assert_eq!(shape.ok("PUT", part, told), Value::Null, "{part}");
    }
    assert_eq!(
        (shape.get("/http/farm/web")["balance"].as_str(), shape.get("/pendingChanges")),
        (Some("source"), json!([])),
        "the schema's nearest word, which changes nothing when it is sent back"
    );
    assert_eq!(shape.farmgate.admin_get("/api/v1/farms/web").1["balance"], "maglev");
    let inactive = with(shape.get("/http/farm/web/server/a"), json!({"status": "inactive"}));
    assert_eq!(inactive["weight"], 300);
    shape.ok("PUT", "/http/farm/web/server/a", inactive);
    shape.refreshed();
    assert_eq!(shape.farmgate.server("a")["admin"], "maintenance");
    let told = shape.refused("PUT", "/http/farm/web/server/a", json!({"weight": 301}), 400);
    assert_eq!(told, "weight: 301 is outside 0..=256");
}

#[test]
fn what_cannot_be_is_told_and_stays_staged_or_undone() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80}));
    // What the file declares is refused with its place; status and weight of its servers wait like all else.
    let web = shape.get("/http/farm/web");
    let a = shape.get("/http/farm/web/server/a");
    let part = format!("/http/farm/{}/server/{}", web["farmId"], a["serverId"]);
    let told = shape.refused("PUT", &part, json!({"ssl": true}), 409);
    assert!(told.starts_with("farms.web.servers.a.tls: is declared at ") && told.contains("farmgate.yaml:"), "{told}");
    let told = shape.refused("DELETE", &format!("/http/farm/{}", web["farmId"]), Value::Null, 409);
    assert!(told.starts_with("farms.web: is declared at ") && told.contains("farmgate.yaml:"), "{told}");
    shape.ok("PUT", &part, json!({"weight": 9}));
    assert_eq!((&shape.get(&part)["weight"], &shape.farmgate.server("a")["weight"]), (&json!(9), &json!(5)));
    // A drain that was ordered elsewhere reads `inactive`; saying what is read leaves it, and `active` ends it.
    shape.farmgate.operate("POST", "/api/v1/farms/web/servers/a/drain", "");
    let told = shape.get(&part);
    assert_eq!((&told["status"], &told["serverState"][0]["status"]), (&json!("inactive"), &json!("DRAIN")));
    shape.ok("PUT", &part, told);
    shape.refreshed();
    assert_eq!(shape.farmgate.server("a")["admin"], "drain");
    shape.ok("PUT", &part, json!({"status": "active"}));
    assert_eq!(shape.get(&part)["status"], "active", "it is staged");
    shape.refreshed();
    assert_eq!(shape.farmgate.server("a")["admin"], "active");
    shape.ok("PUT", &part, json!({"status": "inactive"}));
    shape.ok("PUT", &part, json!({"status": "active"}));
    assert_eq!(shape.get("/pendingChanges"), json!([]), "the last word is what is so already");

    // A server may be added to a farm of the file, and taken out of it again.
    let added = Origin::start("added");
    let servers = format!("/http/farm/{}/server", web["farmId"]);
    let added = shape.make(&servers, "serverId", server(added.addr(), json!({"weight": 2})));
    shape.ok("PUT", &format!("{servers}/{added}"), json!({"weight": 3}));
    shape.refreshed();
    assert_eq!(shape.get(&format!("{servers}/{added}"))["serverState"][0]["status"], "no check");
    shape.ok("PUT", &format!("{servers}/{added}"), json!({"weight": 4, "status": "inactive"}));
    shape.ok("DELETE", &format!("{servers}/{added}"), Value::Null);
    shape.refreshed();
    assert_eq!(shape.get(&servers), json!([a["serverId"]]));

    shape.refused("GET", "/http/farm/1", Value::Null, 404);
    shape.refused("PUT", &format!("/tcp/farm/{farm}"), json!({}), 404);
    let told = shape.refused("POST", "/tcp/farm", json!({"zone": "all", "port": "80"}), 400);
    assert_eq!(told, "port: \"80\" is outside 1..=65535");
    // A port that another program has ends the task in an error, and the change waits until it can be.
    let taken = place();
    let listener = std::net::TcpListener::bind(taken).unwrap();
    shape.make("/http/frontend", "frontendId", with(at(taken), json!({"defaultFarmId": farm})));
    let task = shape.refresh();
    assert_eq!(task["status"], "error", "{task}");
    assert_eq!(shape.get("/pendingChanges")[0]["number"], 1);
    assert_eq!(shape.get("/task?status=error"), json!([task["id"]]));
    drop(listener);
    shape.refreshed();
    // One that another frontend has is refused at once.
    let told = shape.refused("POST", "/http/frontend", with(at(taken), json!({"defaultFarmId": farm})), 409);
    assert!(told.contains("is taken by frontends."), "{told}");
}
