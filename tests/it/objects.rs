//! Farms, servers and frontends made through the API: live at once or staged, beside the file, across reloads, restarts
//! and `kill -9`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Farmgate, OPS_TOKEN, Origin, Response, Server, Setup, place, until};

const FARMS: &str = "/api/v1/farms";
const FRONTENDS: &str = "/api/v1/frontends";

/// A file with a farm `web` of one server, whose service lets APIs listen on the loopback.
fn setup(origin: &Origin) -> Setup {
    Setup::http(&[Server::new("a", origin.addr(), "weight: 5")])
        .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
        .top("state_dir: state")
}

struct Running {
    farmgate: Farmgate,
    dir: Arc<tempfile::TempDir>,
    setup: Setup,
    origins: Vec<Origin>,
}

impl Running {
    fn start() -> Self {
        let origins: Vec<_> = ["file", "one", "two"].into_iter().map(Origin::start).collect();
        let (setup, dir) = (setup(&origins[0]), Arc::new(tempfile::tempdir().unwrap()));
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origins }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.farmgate.admin(method, path, Some(OPS_TOKEN), body.as_bytes())
    }

    #[track_caller]
    fn made(&self, method: &str, path: &str, body: &Value) -> Value {
        let response = self.call(method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path}: {} {}", response.status, response.text());
        if response.text().trim().is_empty() { Value::Null } else { response.json() }
    }

    #[track_caller]
    fn refused(&self, method: &str, path: &str, body: &Value, status: u16, code: &str) -> String {
        let response = self.call(method, path, body);
        assert_eq!((response.status, &response.json()["error"]["code"]), (status, &code.into()), "{}", response.text());
        response.json()["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Makes a farm `NAME` of the origins one and two and a frontend `NAME` that listens where it says.
    fn make(&self, name: &str) -> SocketAddr {
        let addr = place();
        self.made("POST", FARMS, &self.farm(name));
        self.made("POST", FRONTENDS, &json!({"name": name, "protocol": "http", "listen": [addr], "farm": name}));
        addr
    }

    fn farm(&self, name: &str) -> Value {
        let [_, one, two] = &self.origins[..] else { panic!("three origins") };
        let servers = json!({"one": {"address": one.addr(), "weight": 3}, "two": two.addr()});
        json!({"name": name, "protocol": "http", "servers": servers})
    }

    /// Kills the process and starts another one.
    fn again(self) -> Self {
        let Self { mut farmgate, dir, setup, origins } = self;
        farmgate.kill();
        drop(farmgate);
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        Self { farmgate, dir, setup, origins }
    }

    #[track_caller]
    fn task(&self, id: &Value) -> Value {
        until("the task to end", || {
            let (_, task) = self.farmgate.admin_get(&format!("/api/v1/tasks/{id}"));
            (task["status"] == "done" || task["status"] == "error").then_some(task)
        })
    }

    fn staged(&self) -> Value {
        self.farmgate.admin_get("/api/v1/staged").1
    }
}

/// Who answers there.
#[track_caller]
fn answers(addr: SocketAddr, of: &[&str]) {
    let response = Client::connect(addr).get("/");
    assert!(response.status == 200 && of.contains(&response.origin()), "{} {}", response.status, response.text());
}

fn is_closed(addr: SocketAddr) -> Option<()> {
    Client::try_connect(addr).is_err().then_some(())
}

#[test]
fn farm_and_frontend_made_at_run_time_carry_traffic_until_they_are_removed() {
    let running = Running::start();
    let addr = running.make("shop");
    answers(addr, &["one", "two"]);
    let farm = running.farmgate.admin_get(&format!("{FARMS}/shop")).1;
    let weights: BTreeMap<_, _> = farm["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].to_string(), it["weight"].to_string()))
        .collect();
    assert_eq!(weights, BTreeMap::from([("\"one\"".into(), "3".into()), ("\"two\"".into(), "1".into())]));
    assert!(farm["id"].as_u64().unwrap() >= 1 << 40);

    // One server leaves, another comes back as the only one.
    running.made("DELETE", &format!("{FARMS}/shop/servers/one"), &Value::Null);
    (0..4).for_each(|_| answers(addr, &["two"]));
    let server = json!({"name": "three", "address": running.origins[1].addr()});
    let made = running.made("POST", &format!("{FARMS}/shop/servers"), &server);
    running.made("PATCH", &format!("{FARMS}/shop"), &json!({"servers": {"two": null}, "balance": "leastconn"}));
    (0..4).for_each(|_| answers(addr, &["one"]));
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).1["balance"], "leastconn");

    let told = running.refused("DELETE", &format!("{FARMS}/shop"), &Value::Null, 409, "in_use");
    assert_eq!(told, "farms.shop: is used by frontends.shop; change or remove them first");
    running.made("DELETE", &format!("{FRONTENDS}/shop"), &Value::Null);
    until("the listener to close", || is_closed(addr));
    running.made("DELETE", &format!("{FARMS}/shop"), &Value::Null);
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);
    // An id is never given to another.
    running.made("POST", FARMS, &running.farm("shop"));
    let again = running.farmgate.admin_get(&format!("{FARMS}/shop/servers/one")).1;
    assert!(again["id"].as_u64().unwrap() > made["id"].as_u64().unwrap());
    let events = running.farmgate.admin_get("/api/v1/events?after=0&limit=1000").1;
    let edited: Vec<_> = events["events"].as_array().unwrap().iter().filter(|it| it["type"] == "edited").collect();
    assert!(edited.iter().any(|it| it["path"] == "farms.shop.servers.two" && it["edit"] == "deleted"), "{edited:#?}");
    assert!(edited.iter().all(|it| it["act"]["actor"] == "ops"), "{edited:#?}");
}

#[test]
fn objects_outlive_kill_and_reload_and_the_file_knows_nothing_of_them() {
    let running = Running::start();
    let addr = running.make("shop");
    running.made("PUT", &format!("{FARMS}/shop/servers/one/weight"), &json!({"weight": 9}));
    let running = running.again();
    answers(addr, &["one", "two"]);
    let yaml = running.setup.yaml();
    assert!(!yaml.contains("shop"));
    assert_eq!(running.farmgate.reload(&yaml).status, 200);
    answers(addr, &["one", "two"]);
    let one = running.farmgate.admin_get(&format!("{FARMS}/shop/servers/one")).1;
    assert_eq!((&one["weight"], &one["overrides"][0]["declared"]), (&json!(9), &json!(3)), "{one}");
    // The object's own value ends the override of it.
    running.made("PATCH", &format!("{FARMS}/shop/servers/one"), &json!({"weight": 4}));
    let one = running.farmgate.admin_get(&format!("{FARMS}/shop/servers/one")).1;
    assert_eq!((&one["weight"], &one["overrides"]), (&json!(4), &json!([])), "{one}");
    running.made("DELETE", &format!("{FRONTENDS}/shop"), &Value::Null);
    let running = running.again();
    assert!(is_closed(addr).is_some());
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 200);
}

#[test]
fn file_and_api_do_not_take_each_others_names_and_fields() {
    let running = Running::start();
    running.make("shop");
    // The API is refused what the file has.
    let farm = running.farm("web");
    let told = running.refused("POST", FARMS, &farm, 409, "name_taken");
    assert!(told.contains("farms.web: there is one already, declared at") && told.contains("farmgate.yaml:"), "{told}");
    let told = running.refused("PATCH", &format!("{FARMS}/web"), &json!({"balance": "leastconn"}), 409, "file_made");
    assert!(told.starts_with("farms.web.balance: is declared at ") && told.contains("farmgate.yaml:"), "{told}");
    running.refused("DELETE", &format!("{FARMS}/web"), &Value::Null, 409, "file_made");
    let a = format!("{FARMS}/web/servers/a");
    running.refused("PATCH", &a, &json!({"backup": true}), 409, "file_made");
    // The same value again is no change, and weight and status are overrides.
    running.made("PATCH", &a, &json!({"backup": false, "weight": 5}));
    assert_eq!(running.farmgate.server("a")["overrides"], json!([]));
    running.made("PATCH", &a, &json!({"weight": 7, "status": "drain"}));
    let fields: Vec<_> = running.farmgate.server("a")["overrides"].as_array().unwrap().clone();
    assert_eq!(fields.len(), 2, "{fields:?}");
    running.made("PATCH", &a, &json!({"weight": 5, "status": "active"}));
    assert_eq!(running.farmgate.server("a")["overrides"], json!([]));

    // The file is refused what the API has; a farm of the file with a server of the API stays whole.
    let more = running.setup.clone().another_farm("shop: {protocol: http, servers: {}}");
    let reply = running.farmgate.reload(&more.yaml());
    let told = reply.json()["error"]["details"][0].as_str().unwrap().to_owned();
    assert!(reply.status == 422 && told.contains("farms.shop: there is one already"), "{}", reply.text());
    running.made("POST", &format!("{FARMS}/web/servers"), &json!({"name": "b", "address": running.origins[1].addr()}));
    let front = running.farmgate.front("web");
    until("the server of the API to answer", || (Client::connect(front).get("/").origin() == "one").then_some(()));
    let twice = running.setup.clone().servers(&[
        Server::new("a", running.origins[0].addr(), "weight: 5"),
        Server::new("b", running.origins[2].addr(), ""),
    ]);
    let reply = running.farmgate.reload(&twice.yaml());
    assert!(reply.status == 422 && reply.text().contains("farms.web.servers.b"), "{}", reply.text());
    assert_eq!(running.farmgate.reload(&running.setup.yaml()).status, 200);
    until("the server of the API to answer", || (Client::connect(front).get("/").origin() == "one").then_some(()));
}

#[test]
fn errors_name_the_key_path_and_a_write_is_whole_or_nothing() {
    let running = Running::start();
    let mut farm = running.farm("shop");
    farm["servers"]["one"]["weight"] = json!(70000);
    farm["servers"]["two"] = json!({"address": "nowhere"});
    let response = running.call("POST", FARMS, &farm);
    let details = response.json()["error"]["details"].clone();
    assert_eq!(response.status, 422, "{}", response.text());
    assert_eq!(details.as_array().unwrap().len(), 2, "{details}");
    let first = "farms.shop.servers.one.weight: 70000 is outside 0..=65535; only ratios matter, divide all weights of this farm";
    assert_eq!(details[0], first);
    assert!(details[1].as_str().unwrap().starts_with("farms.shop.servers.two.address: "), "{details}");
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);

    running.made("POST", FARMS, &running.farm("shop"));
    let front = |listen: &str, farm: &str| json!({"name": "f", "protocol": "http", "listen": [listen], "farm": farm});
    for (body, path) in [
        (front("127.0.0.1:80", "shop"), "frontends.f.listen[0]: port 80 is outside service.api_ports 1024-65535"),
        (front("[::1]:8080", "shop"), "frontends.f.listen[0]: ::1 is not among service.addresses"),
        (front("127.0.0.1:8080", "shoo"), "frontends.f.farm: \"shoo\" is the name of no farm; did you mean \"shop\"?"),
        (front("unix:/tmp/x.sock", "shop"), "frontends.f.listen[0]: is a Unix socket"),
    ] {
        let told = running.refused("POST", FRONTENDS, &body, 422, "invalid");
        assert!(told.starts_with(path), "{told}");
    }
    let path = std::env::current_dir().unwrap().join("Cargo.toml");
    let page = json!({"name": "f", "protocol": "http", "listen": ["127.0.0.1:8080"], "farm": "shop",
        "maintenance": {"body_file": path}});
    let told = running.refused("POST", FRONTENDS, &page, 422, "invalid");
    assert!(told.starts_with("frontends.f.maintenance.body_file: names a file"), "{told}");
    let command =
        json!({"name": "c", "protocol": "http", "servers": {}, "probe": {"type": "command", "run": ["/bin/true"]}});
    running.refused("POST", FARMS, &command, 422, "invalid");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let told = running.refused("POST", FRONTENDS, &front(&listen, "shop"), 409, "not_opened");
    assert!(told.contains("cannot listen on") && told.contains("the address is in use"), "{told}");
    let addr = running.make("other");
    let told = running.refused("POST", FRONTENDS, &front(&addr.to_string(), "shop"), 409, "port_taken");
    assert!(told.contains("is taken by frontends.other.listen[0]"), "{told}");
    assert_eq!(running.farmgate.admin_get(&format!("{FRONTENDS}/f")).0, 404);
    // Nobody without the role, and nothing without a name.
    let reply = running.farmgate.admin("POST", FARMS, Some(crate::harness::EYE_TOKEN), b"{\"name\":\"x\"}");
    assert_eq!(reply.status, 403);
    running.refused("POST", FARMS, &json!({"protocol": "http"}), 400, "missing");
}

#[test]
fn write_with_another_tag_than_the_objects_is_refused() {
    let running = Running::start();
    running.make("shop");
    let path = format!("{FARMS}/shop");
    let tag = |path: &str| {
        let reply = running.farmgate.admin("GET", path, Some(OPS_TOKEN), b"");
        reply.header("etag").unwrap().to_owned()
    };
    let put = |tag: &str, body: &Value| {
        let fields = [("If-Match", tag)];
        running.farmgate.admin_with("PATCH", &path, Some(OPS_TOKEN), &fields, body.to_string().as_bytes())
    };
    let first = tag(&path);
    let reply = put(&first, &json!({"balance": "random"}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let second = tag(&path);
    assert!(second != first && reply.header("etag") == Some(&second));
    let reply = put(&first, &json!({"balance": "first"}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (412, &"changed_meanwhile".into()));
    assert_eq!(put("*", &json!({"balance": "random"})).status, 200);
    assert_eq!(tag(&path), second, "saying the same is no change");
    running.made("PATCH", &format!("{path}/servers/one"), &json!({"weight": 8}));
    assert_ne!(tag(&path), second, "a farm's tag is of its servers too");
}

#[test]
fn staged_writes_go_live_with_a_refresh_or_not_at_all() {
    let running = Running::start();
    let addr = place();
    let front = json!({"name": "shop", "protocol": "http", "listen": [addr], "farm": "shop"});
    running.made("POST", &format!("{FARMS}?stage=local"), &running.farm("shop"));
    running.made("POST", &format!("{FRONTENDS}?stage=local"), &front);
    running.made("PATCH", &format!("{FARMS}/web/servers/a?stage=local"), &json!({"weight": 8}));
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);
    let staged = running.staged();
    assert_eq!(staged["pending"], json!([{"zone": "local", "writes": 5}]), "{staged}");
    let running = running.again();
    assert_eq!(running.staged()["pending"], staged["pending"]);

    // Somebody has the port: the task says so, and everything stays staged.
    let taken = std::net::TcpListener::bind(addr).unwrap();
    let task = running.made("POST", "/api/v1/refresh", &json!({"zones": ["local"]}));
    let task = running.task(&task["id"]);
    assert_eq!(task["status"], "error", "{task}");
    assert!(task["error"].as_str().unwrap().contains("the address is in use"), "{task}");
    assert_eq!(running.staged()["pending"], staged["pending"]);
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);
    drop(taken);
    // A process that another test is just starting has the socket a moment longer.
    until("the refresh to be done", || {
        let task = running.made("POST", "/api/v1/refresh", &json!({"zones": ["local"]}));
        let task = running.task(&task["id"]);
        ((&task["status"], &task["progress"]) == (&json!("done"), &json!(100))).then_some(())
    });
    answers(addr, &["one", "two"]);
    assert_eq!(running.farmgate.server("a")["weight"], 8);
    running.made("PATCH", &format!("{FARMS}/web/servers/a?stage=all"), &json!({"weight": 9}));
    assert_eq!(running.staged()["pending"], json!([{"zone": "local", "writes": 1}]));
    let task = running.made("POST", "/api/v1/refresh", &Value::Null);
    assert_eq!(running.task(&task["id"])["zones"], json!(["local"]));
    assert_eq!(running.farmgate.server("a")["weight"], 9);
    let nothing = running.made("POST", "/api/v1/refresh", &Value::Null);
    assert_eq!((&nothing["status"], &nothing["done_at"]), (&json!("done"), &nothing["created_at"]));
    assert_eq!(running.again().farmgate.server("a")["weight"], 9);
}

#[test]
fn zone_that_is_none_takes_no_writes_and_no_refresh() {
    let running = Running::start();
    let told = running.refused("POST", &format!("{FARMS}?stage=gra"), &running.farm("shop"), 400, "bad_value");
    assert_eq!(told, "stage: \"gra\" is outside all, local");
    let told = running.refused("POST", "/api/v1/refresh", &json!({"zones": ["local", "gra"]}), 400, "bad_value");
    assert_eq!(told, "zones: \"gra\" is outside all, local");
    assert_eq!(running.staged()["pending"], json!([]));
}

#[test]
fn live_write_wins_over_what_is_staged_of_the_same_field() {
    let running = Running::start();
    running.make("shop");
    let (shop, a) = (format!("{FARMS}/shop"), "/api/v1/farms/web/servers/a");
    running.made("PATCH", &format!("{shop}?stage=local"), &json!({"balance": "first", "reserve": "10%"}));
    running.made("PATCH", &format!("{a}?stage=local"), &json!({"weight": 8, "status": "drain"}));
    running.made("PATCH", &shop, &json!({"balance": "random"}));
    running.made("PUT", &format!("{a}/weight"), &json!({"weight": 3}));
    until("the staged weight to be dropped", || {
        let staged = running.staged();
        let staged = staged["staged"].as_array()?;
        (!staged.iter().any(|it| it["change"] == "weight")).then_some(())
    });
    let events = running.farmgate.admin_get("/api/v1/events?after=0&limit=1000").1;
    let lost: Vec<_> = events["events"].as_array().unwrap().iter().filter(|it| it["edit"] == "overtaken").collect();
    assert_eq!(lost.len(), 2, "{lost:#?}");
    let task = running.made("POST", "/api/v1/refresh", &Value::Null);
    assert_eq!(running.task(&task["id"])["status"], "done");
    let farm = running.farmgate.admin_get(&shop).1;
    assert_eq!((&farm["balance"], &farm["reserve"]), (&json!("random"), &json!("10%")), "{farm}");
    let server = running.farmgate.server("a");
    assert_eq!((&server["weight"], &server["admin"]), (&json!(3), &json!("drain")), "{server}");
    // What is staged below an object that is removed live goes with it.
    running.made("POST", &format!("{shop}/servers?stage=local"), &json!({"name": "x", "address": "127.0.0.1:9"}));
    running.made("DELETE", &format!("{FRONTENDS}/shop"), &Value::Null);
    running.made("DELETE", &shop, &Value::Null);
    assert_eq!(running.staged()["staged"], json!([]));
}

#[test]
fn twenty_kills_in_a_storm_of_writes_lose_nothing_that_was_answered() {
    let mut running = Running::start();
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let mut answered = 0;
    for round in 0..20_u32 {
        // What the killed process may have made without having said so.
        let mut open: Option<(String, Option<Value>)> = None;
        let admin = running.farmgate.admin_addr();
        let pid = running.farmgate.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(40 + u64::from(round) * 17 % 150));
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        });
        for n in 0..10_000_u32 {
            let name = format!("farm-{}", n % 7);
            let path = format!("{FARMS}/{name}");
            let weight = round * 100 + n % 100 + 1;
            let servers = json!({"a": {"address": "127.0.0.1:9", "weight": weight}, "b": {"address": "127.0.0.1:10", "weight": weight}});
            let (method, path, body, after) = match (known.contains_key(&name), n % 5) {
                (false, _) => {
                    let body = json!({"name": name, "protocol": "http", "servers": servers});
                    ("POST", FARMS.to_owned(), body.to_string(), Some(json!(weight)))
                }
                (true, 0) => ("DELETE", path, String::new(), None),
                (true, _) => ("PATCH", path, json!({"servers": servers}).to_string(), Some(json!(weight))),
            };
            open = Some((name.clone(), after.clone()));
            let Ok(mut client) = Client::try_connect(admin) else { break };
            let bearer = format!("Bearer {OPS_TOKEN}");
            let mut fields = vec![("Authorization", bearer.as_str())];
            if !body.is_empty() {
                fields.push(("Content-Type", "application/json"));
            }
            let Ok(reply) = client.try_request(method, &path, &fields, body.as_bytes()) else { break };
            assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text());
            match after {
                Some(weight) => known.insert(name, weight),
                None => known.remove(&name),
            };
            open = None;
            answered += 1;
        }
        killer.join().unwrap();
        running = running.again();
        let farms = running.farmgate.admin_get(FARMS).1;
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for farm in farms["farms"].as_array().unwrap().iter().filter(|farm| farm["name"] != "web") {
            let servers = farm["servers"].as_array().unwrap();
            assert_eq!(servers.len(), 2, "round {round}: half a write: {farm}");
            assert_eq!(servers[0]["weight"], servers[1]["weight"], "round {round}: half a write: {farm}");
            found.insert(farm["name"].as_str().unwrap().to_owned(), servers[0]["weight"].clone());
        }
        let mut maybe = known.clone();
        if let Some((name, after)) = open {
            match after {
                Some(weight) => maybe.insert(name, weight),
                None => maybe.remove(&name),
            };
        }
        assert!(found == known || found == maybe, "round {round}: {found:?} is neither {known:?} nor {maybe:?}");
        known = found;
    }
    assert!(answered > 40, "{answered} writes are no storm");
}

#[test]
fn port_that_was_closed_is_there_for_the_next_frontend_at_once() {
    let running = Running::start();
    let [_, one, _] = &running.origins[..] else { panic!("three origins") };
    let farm = json!({"name": "udp", "protocol": "udp", "servers": {"one": one.addr()}});
    running.made("POST", FARMS, &farm);
    for (protocol, farm, rounds) in [("http", "web", 20), ("udp", "udp", 3)] {
        let addr = place();
        for n in 0..rounds {
            let name = format!("{protocol}-{n}");
            running.made(
                "POST",
                FRONTENDS,
                &json!({"name": name, "protocol": protocol, "listen": [addr], "farm": farm}),
            );
            if protocol == "http" {
                answers(addr, &["file"]);
            } else {
                // Leaves a session behind, whose server never answers.
                std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", addr).unwrap();
            }
            running.made("DELETE", &format!("{FRONTENDS}/{name}"), &Value::Null);
        }
    }
}
