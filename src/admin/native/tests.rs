//! The native shape end to end: every route, every body, what changes and what does not.

use crate::admin::fixture::{OPS, Reply, Running, VIEWER, key, settings};
use crate::model::{AdminStatus, FarmId, Field, FrontendId, ServerKey};
use crate::store::{Journal, JournalError, SavedOverride};

const S1: &str = "/api/v1/farms/web/servers/s1";

fn get(running: &Running, path: &str) -> Reply {
    running.call("GET", path, VIEWER, "")
}

fn admin_of(running: &Running, server: &str) -> AdminStatus {
    let table = running.store.load();
    let farm = table.farm(key("web", server).farm).unwrap();
    farm.servers[farm.position(key("web", server).server).unwrap()].server.admin
}

#[test]
fn status_tells_everything_at_one_instant() {
    insta::assert_snapshot!(get(&Running::start(), "/api/v1/status").stable());
}

#[test]
fn lists_and_single_objects_agree_by_name_and_by_id() {
    let running = Running::start();
    let status = get(&running, "/api/v1/status").json();
    assert_eq!(get(&running, "/api/v1/farms").json()["farms"], status["farms"]);
    assert_eq!(get(&running, "/api/v1/frontends").json()["frontends"], status["frontends"]);
    assert_eq!(get(&running, "/api/v1/farms/web/servers").json()["servers"], status["farms"][0]["servers"]);
    let (web, s3) = (key("web", "s3").farm, key("web", "s3").server);
    let front = FrontendId::derive(&crate::admin::fixture::name("db"));
    for (path, want) in [
        ("/api/v1/farms/web".to_owned(), &status["farms"][0]),
        (format!("/api/v1/farms/{web}"), &status["farms"][0]),
        ("/api/v1/farms/web/servers/s3".to_owned(), &status["farms"][0]["servers"][2]),
        (format!("/api/v1/farms/{web}/servers/{s3}"), &status["farms"][0]["servers"][2]),
        ("/api/v1/frontends/db".to_owned(), &status["frontends"][1]),
        (format!("/api/v1/frontends/{front}"), &status["frontends"][1]),
    ] {
        assert_eq!(&get(&running, &path).json(), want, "{path}");
    }
}

#[test]
fn unknown_things_are_named_in_the_error() {
    let running = Running::start();
    let FarmId(db) = key("db", "d1").farm;
    let mut table = String::new();
    for path in [
        "/nothing",
        "/api/v1/nothing",
        "/api/v1/farms/",
        "/api/v1/farms/wob",
        "/api/v1/farms/1",
        "/api/v1/farms/WEB",
        "/api/v1/farms/web/servers/s9",
        &format!("/api/v1/farms/{db}/servers/s1"),
        "/api/v1/frontends/api",
        "/api/v1/farms/%77eb",
        "/api/v1/farms/web?x=/../db",
    ] {
        let reply = get(&running, path);
        table.push_str(&format!("{path} {} {}\n", reply.status, reply.json()["error"]["message"]));
    }
    insta::assert_snapshot!(table);
    insta::assert_snapshot!(get(&running, "/api/v1/farms/wob").stable());
}

#[test]
fn drain_maintenance_and_ready_are_kept_as_overrides_and_undone() {
    let running = Running::start();
    let drained = running.call("POST", &format!("{S1}/drain"), OPS, "{\"reason\": \"disk swap\"}");
    insta::assert_snapshot!(drained.stable());
    assert_eq!(admin_of(&running, "s1"), AdminStatus::Drain);
    let generation = running.store.load().generation;
    let again = running.call("POST", &format!("{S1}/drain"), OPS, "");
    assert_eq!((again.status, running.store.load().generation), (200, generation), "draining twice is once");
    assert_eq!(again.json()["overrides"][0]["reason"], "disk swap");
    let maintained = running.call("POST", &format!("{S1}/maintenance"), OPS, "{}");
    assert_eq!(
        (maintained.json()["state"].as_str(), admin_of(&running, "s1")),
        (Some("MAINT"), AdminStatus::Maintenance)
    );
    let ready = running.call("POST", &format!("{S1}/ready"), OPS, "").json();
    assert_eq!(
        (&ready["state"], &ready["admin"], &ready["overrides"]),
        (&"UP".into(), &"active".into(), &serde_json::json!([]))
    );
    assert_eq!(admin_of(&running, "s2"), AdminStatus::Active, "nobody else was touched");
}

#[test]
fn weight_is_set_and_its_errors_name_field_value_and_bound() {
    let running = Running::start();
    let put = |body: &str| running.call("PUT", &format!("{S1}/weight"), OPS, body);
    let set = put("{\"weight\": 0}").json();
    assert_eq!((&set["weight"], &set["effective_weight"], &set["state"]), (&0.into(), &0.into(), &"DRAIN".into()));
    assert_eq!((&set["overrides"][0]["field"], &set["overrides"][0]["declared"]), (&"weight".into(), &5.into()));
    let generation = running.store.load().generation;
    for (body, code) in [
        ("{\"weight\": 70000}", "bad_value"),
        ("{\"weight\": -1}", "bad_value"),
        ("{\"weight\": null}", "missing"),
        ("{\"weight\": 5, \"wait\": 1}", "bad_body"),
        ("\"5\"", "bad_body"),
        ("[5]", "bad_body"),
        ("", "missing"),
    ] {
        let reply = put(body);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &code.into()), "{body}");
    }
    assert_eq!(running.store.load().generation, generation);
    insta::assert_snapshot!(put("{\"weight\": 70000}").stable());
}

#[test]
fn order_with_an_unknown_field_is_refused_by_name() {
    let running = Running::start();
    let reply = running.call("POST", &format!("{S1}/drain"), OPS, "{\"reasn\": \"x\"}");
    insta::assert_snapshot!(reply.stable());
    assert_eq!(admin_of(&running, "s1"), AdminStatus::Active);
}

#[test]
fn reload_answers_the_generation_or_every_reason() {
    let running = Running::start();
    let done = running.call("POST", "/api/v1/reload", OPS, "{\"reason\": \"new farm\"}");
    assert_eq!((done.status, done.json()["generation"].as_u64()), (200, Some(running.store.load().generation.0)));
    let act = running.reloader.acts.lock().unwrap()[0].clone();
    assert_eq!((&*act.actor, &*act.source, act.reason.as_deref()), ("ops", "127.0.0.1", Some("new farm")));
    let reasons = "farmgate.yaml:4:9 farms.web: one\nfarmgate.yaml:9:1 farms.db: two\n";
    *running.reloader.refusal.lock().unwrap() = Some(reasons.to_owned());
    insta::assert_snapshot!(running.call("POST", "/api/v1/reload", OPS, "").stable());
}

#[test]
fn upgrade_answers_who_serves_or_every_reason() {
    let running = Running::start();
    let body = "{\"reason\": \"0.3\", \"binary\": \"/opt/farmgate\"}";
    let done = running.call("POST", "/api/v1/upgrade", OPS, body);
    assert_eq!(
        (done.status, done.json()["pid"].as_u64(), done.json()["replaced"].as_u64()),
        (200, Some(4711), Some(4242))
    );
    let act = running.reloader.acts.lock().unwrap()[0].clone();
    assert_eq!((&*act.actor, act.reason.as_deref()), ("ops", Some("0.3")));
    assert_eq!(running.call("POST", "/api/v1/upgrade", OPS, "").status, 200);
    assert_eq!(*running.reloader.binaries.lock().unwrap(), [Some("/opt/farmgate".into()), None]);
    assert_eq!(running.call("POST", "/api/v1/upgrade", OPS, "{\"path\": \"/x\"}").status, 400);
    assert_eq!(running.call("POST", "/api/v1/upgrade", VIEWER, "").status, 403);
    assert_eq!(running.call("GET", "/api/v1/upgrade", OPS, "").status, 405);
    assert_eq!(running.reloader.acts.lock().unwrap().len(), 2, "who is refused starts nothing");
    *running.reloader.refusal.lock().unwrap() =
        Some("f.yaml:4:9 one\nthe new process ended: exit status: 78".to_owned());
    insta::assert_snapshot!(running.call("POST", "/api/v1/upgrade", OPS, "").stable());
}

struct Broken;

impl Journal for Broken {
    fn healths(&self) -> Result<Vec<crate::model::SavedHealth>, JournalError> {
        Ok(Vec::new())
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn note(&self, _entry: crate::store::Entry) {}

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        Ok(Vec::new())
    }

    fn put_override(&self, _saved: &SavedOverride) -> Result<(), JournalError> {
        Err(JournalError { what: "put", cause: "secret inside".into() })
    }

    fn drop_overrides(&self, _fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        Ok(())
    }
}

#[test]
fn change_that_cannot_be_kept_is_refused_without_the_inside() {
    let running = Running::start_with(&settings(), None, std::sync::Arc::new(Broken));
    let reply = running.call("POST", &format!("{S1}/drain"), OPS, "");
    assert_eq!((reply.status, reply.body.contains("secret")), (503, false));
    assert_eq!(reply.json()["error"]["code"], "not_kept");
    assert_eq!(admin_of(&running, "s1"), AdminStatus::Active);
}

mod credentials;
mod hidden;
mod orders;
mod why;
