//! What a credential of some farms, and one that may only operate, may write: every way of writing an object, live and
//! staged.

use serde_json::{Value, json};

use crate::harness::{CREW_TOKEN, Farmgate, OPS_TOKEN, Origin, Response, Server, Setup, until};

/// Role admin for the farm `shop`, which the file does not declare.
const SHOP_TOKEN: &str = "shop-token-0123456789abcdef";
const FARMS: &str = "/api/v1/farms";
const FRONTENDS: &str = "/api/v1/frontends";

struct Running {
    farmgate: Farmgate,
    origin: Origin,
}

impl Running {
    fn start() -> Self {
        let origin = Origin::start("a");
        let setup = Setup::http(&[Server::new("a", origin.addr(), "weight: 5")])
            .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
            .token(&format!("{{name: shop, role: admin, farms: [shop], token: {SHOP_TOKEN}}}"));
        Self { farmgate: Farmgate::start(&setup), origin }
    }

    fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.farmgate.admin(method, path, Some(token), body.as_bytes())
    }

    /// Everything that is declared, and what is staged.
    fn all(&self) -> Value {
        let (_, farms) = self.farmgate.admin_get(FARMS);
        let farms = farms["farms"].as_array().unwrap().iter().map(|farm| {
            let server = |it: &Value| json!([it["name"], it["address"], it["weight"], it["admin"]]);
            let servers: Vec<_> = farm["servers"].as_array().unwrap().iter().map(server).collect();
            json!([farm["name"], farm["balance"], servers])
        });
        let farms: Vec<_> = farms.collect();
        let (_, frontends) = self.farmgate.admin_get(FRONTENDS);
        let frontends: Vec<_> =
            frontends["frontends"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        json!([farms, frontends, self.farmgate.admin_get("/api/v1/staged").1])
    }

    #[track_caller]
    fn allowed(&self, token: &str, method: &str, path: &str, body: &Value) {
        let response = self.call(token, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path}: {} {}", response.status, response.text());
    }

    #[track_caller]
    fn forbidden(&self, token: &str, method: &str, path: &str, body: &Value, why: &str) {
        let before = self.all();
        let response = self.call(token, method, path, body);
        let error = response.json()["error"].clone();
        assert_eq!(
            (response.status, &error["code"]),
            (403, &"forbidden".into()),
            "{method} {path}: {}",
            response.text()
        );
        assert!(error["message"].as_str().unwrap().contains(why), "{method} {path}: {error}");
        assert_eq!(self.all(), before, "{method} {path}");
    }

    fn farm(&self, name: &str) -> Value {
        json!({"name": name, "protocol": "http", "servers": {"a": self.origin.addr()}})
    }

    /// Every write of what belongs to a farm, and of what belongs to none.
    fn writes(&self, farm: &str) -> Vec<(&'static str, String, Value)> {
        let (of, server) = (format!("{FARMS}/{farm}"), json!({"address": self.origin.addr()}));
        let whole = json!({"protocol": "http", "servers": {"a": self.origin.addr()}});
        vec![
            ("PUT", of.clone(), whole),
            ("PATCH", of.clone(), json!({"balance": "leastconn"})),
            ("POST", format!("{of}/servers"), json!({"name": "b", "address": self.origin.addr()})),
            ("PUT", format!("{of}/servers/a"), server),
            ("PATCH", format!("{of}/servers/a"), json!({"weight": 9})),
            ("DELETE", format!("{of}/servers/a"), Value::Null),
            ("DELETE", of, Value::Null),
        ]
    }
}

#[test]
fn credential_of_some_farms_writes_those_and_nothing_else() {
    let running = Running::start();
    running.allowed(OPS_TOKEN, "POST", FARMS, &running.farm("other"));
    let id = running.farmgate.admin_get(&format!("{FARMS}/other")).1["id"].to_string();
    for farm in ["other", "web", &id] {
        let name = if farm == id { "other" } else { farm };
        for (method, path, body) in running.writes(farm) {
            running.forbidden(SHOP_TOKEN, method, &path, &body, &format!("may not change farm \"{name}\""));
            let staged = format!("{path}?stage=local");
            running.forbidden(SHOP_TOKEN, method, &staged, &body, &format!("may not change farm \"{name}\""));
        }
    }
    running.forbidden(SHOP_TOKEN, "POST", FARMS, &running.farm("new"), "may not change farm \"new\"");
    running.forbidden(SHOP_TOKEN, "POST", &format!("{FARMS}?stage=local"), &running.farm("new"), "\"new\"");
    running.allowed(SHOP_TOKEN, "POST", FARMS, &running.farm("shop"));
    for (method, path, body) in running.writes("shop") {
        running.allowed(SHOP_TOKEN, method, &path, &body);
    }
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);
}

#[test]
fn frontends_are_for_who_may_change_every_farm() {
    let running = Running::start();
    running.allowed(SHOP_TOKEN, "POST", FARMS, &running.farm("shop"));
    // Not even one that leads to its own farm: it would take a port and a name that are everybody's.
    for farm in ["shop", "web"] {
        let front = json!({"name": "f", "protocol": "http", "listen": ["127.0.0.1:20000"], "farm": farm});
        for path in [FRONTENDS.to_owned(), format!("{FRONTENDS}?stage=local")] {
            running.forbidden(SHOP_TOKEN, "POST", &path, &front, "(all of them)");
        }
    }
    let front = format!("{FRONTENDS}/web");
    running.forbidden(SHOP_TOKEN, "PATCH", &front, &json!({"farm": "shop"}), "(all of them)");
    running.forbidden(SHOP_TOKEN, "PUT", &front, &json!({"protocol": "http", "farm": "shop"}), "(all of them)");
    running.forbidden(SHOP_TOKEN, "DELETE", &front, &Value::Null, "(all of them)");
}

#[test]
fn refresh_is_for_who_may_change_everything_that_waits() {
    let running = Running::start();
    let ovh = "/1.0/ipLoadbalancing/it";
    let shop = format!("{FARMS}/shop/servers/a");
    let ends = |path: &str, task: &Value| {
        let done = || (running.farmgate.admin_get(path).1["status"] == "done").then_some(());
        until(&format!("the refresh {task} to be done"), done);
    };
    // Its own: through both shapes, a weight, a server, and all of it gone again.
    running.allowed(OPS_TOKEN, "POST", FARMS, &running.farm("shop"));
    running.allowed(SHOP_TOKEN, "POST", "/api/v1/refresh", &json!({}));
    running.allowed(SHOP_TOKEN, "PATCH", &format!("{shop}?stage=local"), &json!({"weight": 9}));
    let task = running.call(SHOP_TOKEN, "POST", "/api/v1/refresh", &json!({"zones": ["local"]})).json();
    ends(&format!("/api/v1/tasks/{}", task["id"]), &task);
    assert_eq!(running.farmgate.admin_get(&shop).1["weight"], 9);
    let more = json!({"address": "127.0.0.1", "port": 9, "status": "active", "displayName": "b"});
    running.allowed(SHOP_TOKEN, "POST", &format!("{ovh}/http/farm/shop/server"), &more);
    let task = running.call(SHOP_TOKEN, "POST", &format!("{ovh}/refresh"), &json!({}));
    assert_eq!(task.status, 200, "{}", task.text());
    ends(&format!("/api/v1/tasks/{}", task.json()["id"]), &task.json());
    running.allowed(SHOP_TOKEN, "DELETE", &format!("{FARMS}/shop?stage=local"), &Value::Null);

    // Another's beside it: the farm is named; what is no farm's is everybody's.
    running.allowed(CREW_TOKEN, "PUT", &format!("{FARMS}/web/servers/a/weight"), &json!({"weight": 3}));
    running.allowed(OPS_TOKEN, "PATCH", &format!("{FARMS}/web/servers/a?stage=local"), &json!({"weight": 6}));
    running.forbidden(SHOP_TOKEN, "POST", "/api/v1/refresh", &json!({}), "may not change farm \"web\"");
    let refused = running.call(SHOP_TOKEN, "POST", &format!("{ovh}/refresh"), &json!({}));
    assert!(refused.status == 403 && refused.text().contains("may not change farm"), "{}", refused.text());
    assert!(refused.text().contains("web"), "{}", refused.text());
    running.allowed(OPS_TOKEN, "PATCH", &format!("{FARMS}/web/servers/a?stage=local"), &json!({"weight": 3}));
    let front = json!({"name": "f", "protocol": "http", "listen": ["127.0.0.1:20000"], "farm": "web"});
    running.allowed(OPS_TOKEN, "POST", &format!("{FRONTENDS}?stage=local"), &front);
    running.forbidden(SHOP_TOKEN, "POST", "/api/v1/refresh", &json!({}), "(all of them)");
    running.allowed(OPS_TOKEN, "DELETE", &format!("{FRONTENDS}/f?stage=local"), &Value::Null);
    let task = running.call(SHOP_TOKEN, "POST", "/api/v1/refresh", &json!({})).json();
    ends(&format!("/api/v1/tasks/{}", task["id"]), &task);
    assert_eq!(running.farmgate.admin_get(&format!("{FARMS}/shop")).0, 404);
}

#[test]
fn reload_and_upgrade_are_for_who_may_change_every_farm() {
    let running = Running::start();
    for path in ["/api/v1/reload", "/api/v1/upgrade"] {
        running.forbidden(SHOP_TOKEN, "POST", path, &json!({}), "(all of them)");
    }
    running.allowed(CREW_TOKEN, "POST", "/api/v1/reload", &json!({}));
}

#[test]
fn who_may_operate_writes_no_object() {
    let running = Running::start();
    let mut writes = running.writes("web");
    let front = json!({"name": "f", "protocol": "http", "listen": ["127.0.0.1:20000"], "farm": "web"});
    writes.push(("POST", FARMS.to_owned(), running.farm("new")));
    writes.push(("POST", FRONTENDS.to_owned(), front));
    writes.push(("DELETE", format!("{FRONTENDS}/web"), Value::Null));
    for (method, path, body) in writes {
        running.forbidden(CREW_TOKEN, method, &path, &body, "needs role admin");
    }
    running.allowed(CREW_TOKEN, "POST", "/api/v1/refresh", &json!({}));
    running.allowed(SHOP_TOKEN, "POST", &format!("{FARMS}?stage=local"), &running.farm("shop"));
    // An object waits, which whoever operates could not have made.
    running.forbidden(CREW_TOKEN, "POST", "/api/v1/refresh", &json!({}), "needs role admin");
    running.allowed(CREW_TOKEN, "POST", &format!("{FARMS}/web/servers/a/drain"), &Value::Null);
    running.allowed(CREW_TOKEN, "PUT", &format!("{FARMS}/web/servers/a/weight"), &json!({"weight": 2}));
}
