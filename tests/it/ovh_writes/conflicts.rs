//! What is staged through this shape while the file changes and others write live: it goes with what it hangs on, or can be
//! seen and removed here, and holds up nobody else.

use super::*;

const NATIVE: &str = "/api/v1/farms";

impl Shape {
    fn native(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.farmgate.admin(method, path, Some(OPS_TOKEN), body.as_bytes());
        (response.status, if response.text().trim().is_empty() { Value::Null } else { response.json() })
    }

    #[track_caller]
    fn made(&self, path: &str, body: &Value) {
        let (status, answer) = self.native("POST", path, body);
        assert_eq!(status, 201, "{answer}");
    }

    fn pending(&self) -> Value {
        self.get("/pendingChanges")
    }

    /// The events of staged changes that were dropped: path and text of each.
    fn overtaken(&self) -> Vec<(String, String)> {
        let events = self.farmgate.admin_get("/api/v1/events?after=0&limit=1000").1;
        let all = events["events"].as_array().unwrap().iter().filter(|it| it["edit"] == "overtaken");
        all.map(|it| (it["path"].as_str().unwrap().to_owned(), it["text"].as_str().unwrap().to_owned())).collect()
    }

    /// Why a refresh made now fails.
    #[track_caller]
    fn failure(&self) -> String {
        let task = self.refresh();
        assert_eq!(task["status"], "error", "{task}");
        let (_, task) = self.native("GET", &format!("/api/v1/tasks/{}", task["id"]), &Value::Null);
        task["error"].as_str().unwrap().to_owned()
    }
}

#[test]
fn staged_change_goes_with_the_farm_or_frontend_that_a_reload_removes() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let with_old =
        shape.setup.clone().another_farm(&format!("old: {{protocol: http, servers: {{a: \"{}\"}}}}", of_file.addr()));
    assert_eq!(shape.farmgate.reload(&with_old.yaml()).status, 200);
    let old = shape.get("/http/farm/old")["farmId"].clone();
    let servers = format!("/http/farm/{old}/server");
    shape.make(&servers, "serverId", server(of_file.addr(), json!({"displayName": "with"})));
    shape.make(&servers, "serverId", json!({"address": "127.0.0.1", "status": "active", "displayName": "without"}));
    let front = shape.make("/http/frontend", "frontendId", with(at(place()), json!({"defaultFarmId": old})));
    let route = json!({"frontendId": front, "action": {"type": "reject"}});
    let route = shape.make("/http/route", "routeId", route);
    let web = shape.get("/http/farm/web")["farmId"].clone();
    let kept = shape.make(&format!("/http/farm/{web}/server"), "serverId", server(of_file.addr(), json!({})));

    assert_eq!(shape.farmgate.reload(&shape.setup.yaml()).status, 200);
    assert_eq!(shape.pending(), json!([{"zone": "local", "number": 1}]));
    shape.refused("GET", &format!("/http/frontend/{front}"), Value::Null, 404);
    shape.refused("GET", &format!("/http/route/{route}"), Value::Null, 404);
    let told = shape.overtaken();
    let of = |path: &str| told.iter().find(|it| it.0.starts_with(path)).unwrap_or_else(|| panic!("{path}: {told:#?}"));
    assert_eq!(
        of("farms.old.servers.with").1.split_once(" is dropped: ").unwrap().1,
        "farmgate (from reload) made live what it does not go with: \"its farm is gone\"."
    );
    of("farms.old.servers.without");
    assert!(of("frontends.").1.ends_with("\"farms.old is gone\"."), "{told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
    shape.refreshed();
    assert_eq!(shape.get(&format!("/http/farm/{web}/server/{kept}"))["serverId"], kept);
    // Nothing comes back with the farm, and nothing with another process.
    assert_eq!(shape.farmgate.reload(&with_old.yaml()).status, 200);
    assert_eq!(shape.get(&servers).as_array().unwrap().len(), 1);
    let shape = shape.again();
    assert_eq!(shape.pending(), json!([]));
}

#[test]
fn staged_removal_of_what_is_used_live_is_dropped_and_live_removal_of_what_staged_changes_name_is_refused() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "displayName": "k"}));
    shape.make(&format!("/http/farm/{farm}/server"), "serverId", server(of_file.addr(), json!({"displayName": "s"})));
    shape.refreshed();
    shape.ok("DELETE", &format!("/http/farm/{farm}"), Value::Null);
    shape.made(&format!("{NATIVE}/k/servers"), &json!({"name": "x", "address": of_file.addr()}));
    assert_eq!(shape.pending(), json!([]), "the farm stays, and so do its servers");
    shape.refreshed();
    assert_eq!(shape.get(&format!("/http/farm/{farm}/server")).as_array().unwrap().len(), 2);

    let front = place();
    shape.ok("DELETE", &format!("/http/farm/{farm}"), Value::Null);
    shape.made("/api/v1/frontends", &json!({"name": "live", "protocol": "http", "listen": [front], "farm": "k"}));
    shape.refreshed();
    answers(front, "/", &["file"]);

    shape.made(NATIVE, &json!({"name": "k2", "protocol": "http", "servers": {"a": of_file.addr()}}));
    let k2 = shape.get("/http/farm/k2")["farmId"].clone();
    let staged = shape.make("/http/frontend", "frontendId", with(at(place()), json!({"defaultFarmId": k2})));
    let (status, told) = shape.native("DELETE", &format!("{NATIVE}/k2"), &Value::Null);
    let want = format!("farms.k2: is used by frontends.frontend-{staged} (staged); change or remove them first");
    assert_eq!((status, &told["error"]["code"], &told["error"]["message"]), (409, &json!("in_use"), &json!(want)));
    shape.ok("DELETE", &format!("/http/frontend/{staged}"), Value::Null);
    assert_eq!(shape.native("DELETE", &format!("{NATIVE}/k2"), &Value::Null).0, 204);
    shape.refreshed();
}

#[test]
fn conflict_is_told_by_the_refresh_and_by_no_write_but_its_own() {
    let of_file = Origin::start("file");
    let shape = Shape::start(&of_file);
    let web = shape.get("/http/farm/web")["farmId"].clone();
    let taken = place();
    let ours = shape.make("/http/frontend", "frontendId", with(at(taken), json!({"defaultFarmId": web})));
    shape.made("/api/v1/frontends", &json!({"name": "live", "protocol": "http", "listen": [taken], "farm": "web"}));
    // Others write as if it were not there.
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all"}));
    shape.make(&format!("/http/farm/{farm}/server"), "serverId", server(of_file.addr(), json!({})));
    shape.make("/http/frontend", "frontendId", with(at(place()), json!({"defaultFarmId": farm})));
    let told = shape.refused("POST", "/http/frontend", with(at(taken), json!({"defaultFarmId": web})), 409);
    assert!(told.contains(" is taken by frontends."), "{told}");
    let wrong = format!("frontends.frontend-{ours}.listen[0]: {taken} is taken by frontends.live.listen[0]");
    assert!(shape.failure().starts_with(&wrong), "{}", shape.failure());
    assert_eq!(shape.get(&format!("/http/frontend/{ours}"))["port"], taken.port().to_string());
    shape.ok("DELETE", &format!("/http/frontend/{ours}"), Value::Null);
    shape.refreshed();
    answers(taken, "/", &["file"]);

    // The same through the shape that staged it natively, by name.
    let other = place();
    let staged = json!({"name": "mine", "protocol": "http", "listen": [other], "farm": "web"});
    assert_eq!(shape.native("POST", "/api/v1/frontends?stage=local", &staged).0, 202);
    shape.made("/api/v1/frontends", &json!({"name": "theirs", "protocol": "http", "listen": [other], "farm": "web"}));
    assert!(shape.failure().starts_with("frontends.mine.listen[0]: "), "{}", shape.failure());
    assert_eq!(shape.native("DELETE", "/api/v1/frontends/mine?stage=local", &Value::Null).0, 202);
    shape.refreshed();
}
