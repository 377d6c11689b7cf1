//! Every write is told: who, from where, why, what it was before and is now; in the timeline, after a restart too, and never
//! with a secret in it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Farmgate, OPS_TOKEN, Origin, Server, Setup, until};

const APPLICATION_SECRET: &str = "application-secret-0123456789";
/// A secret in what is written.
const FIELD_SECRET: &str = "field-secret-0123456789";

fn call(farmgate: &Farmgate, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = farmgate.operate(method, path, &body);
    if reply.text().trim().is_empty() { Value::Null } else { reply.json() }
}

/// The events since that id, the oldest first, those about servers' health left out.
fn told(farmgate: &Farmgate, after: u64) -> Vec<Value> {
    let (status, told) = farmgate.admin_get(&format!("/api/v1/events?limit=1000&after={after}"));
    assert_eq!(status, 200, "{told}");
    let is_write = |event: &&Value| !matches!(event["type"].as_str(), Some("transition" | "farm_serving"));
    told["events"].as_array().unwrap().iter().filter(is_write).cloned().collect()
}

fn last_id(farmgate: &Farmgate) -> u64 {
    told(farmgate, 0).last().map_or(0, |event| event["id"].as_u64().unwrap())
}

/// Makes a write and returns what is told of it, all but its acts checked.
#[track_caller]
fn write(farmgate: &Farmgate, method: &str, path: &str, body: &Value) -> Vec<Value> {
    let before = last_id(farmgate);
    call(farmgate, method, path, body);
    let events = told(farmgate, before);
    assert!(!events.is_empty(), "{method} {path}: nothing is told");
    for event in &events {
        assert_eq!((&event["act"]["actor"], &event["act"]["source"]), (&"ops".into(), &"127.0.0.1".into()), "{event}");
    }
    events
}

/// Key, before and after of each field.
fn fields(event: &Value) -> Value {
    let one = |field: &Value| json!([field["key"], field["before"], field["after"]]);
    event["fields"].as_array().map(|fields| fields.iter().map(one).collect()).unwrap_or_default()
}

fn start(dir: &Arc<tempfile::TempDir>, origin: &Origin) -> Farmgate {
    let application =
        format!("{{name: tf, role: operate, application_key: tf-key, application_secret: {APPLICATION_SECRET}}}");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "weight: 5")])
        .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
        .top("state_dir: state")
        .admin(&format!("ovh: {{applications: [{application}]}}"));
    Farmgate::start_in(dir, &setup, &[])
}

fn ask(farmgate: &Farmgate) -> (String, String) {
    let fields = [("X-Ovh-Application", "tf-key")];
    let body = json!({"accessRules": [{"method": "GET", "path": "/*"}]}).to_string();
    let reply = farmgate.admin_with("POST", "/1.0/auth/credential", None, &fields, body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (key, url) = (reply.json()["consumerKey"].clone(), reply.json()["validationUrl"].clone());
    let id = url.as_str().unwrap().rsplit('=').next().unwrap().to_owned();
    (id, key.as_str().unwrap().to_owned())
}

#[test]
fn every_write_is_told_with_who_and_what_was_before() {
    let (origin, dir) = (Origin::start("a"), Arc::new(tempfile::tempdir().unwrap()));
    let mut farmgate = start(&dir, &origin);
    let farm = "/api/v1/farms/shop";
    let probe = json!({"type": "redis", "password": FIELD_SECRET, "interval": "10s"});
    let whole = json!({"name": "shop", "protocol": "tcp", "probe": probe, "servers": {"x": origin.addr()}});
    let events = write(&farmgate, "POST", "/api/v1/farms", &whole);
    let paths: Vec<_> = events.iter().map(|event| json!([event["type"], event["edit"], event["path"]])).collect();
    assert_eq!(
        Value::from(paths),
        json!([["edited", "created", "farms.shop"], ["edited", "created", "farms.shop.servers.x"]])
    );
    let told_of = events[0]["fields"].as_array().unwrap().iter().find(|field| field["key"] == "probe").unwrap();
    assert_eq!(told_of["after"], json!({"type": "redis", "password": "…", "interval": "10s"}));

    let events = write(&farmgate, "PATCH", farm, &json!({"balance": "leastconn"}));
    assert_eq!(fields(&events[0]), json!([["balance", null, "leastconn"]]));
    let events = write(&farmgate, "PATCH", farm, &json!({"balance": "first"}));
    assert_eq!(fields(&events[0]), json!([["balance", "leastconn", "first"]]));
    let events = write(&farmgate, "PATCH", &format!("{farm}?stage=local"), &json!({"balance": "roundrobin"}));
    assert_eq!(
        (&events[0]["edit"], fields(&events[0])),
        (&"staged".into(), json!([["balance", "first", "roundrobin"]]))
    );

    // The weight of a server of the file, staged: a value and no object.
    let server = "/api/v1/farms/web/servers/a?stage=local";
    let events = write(&farmgate, "PATCH", server, &json!({"weight": 6}));
    assert_eq!((&events[0]["edit"], &events[0]["path"]), (&"staged".into(), &"farms.web.servers.a".into()));
    assert_eq!(fields(&events[0]), json!([["weight", 5, 6]]));
    let events = write(&farmgate, "PATCH", server, &json!({"weight": 7}));
    assert_eq!(fields(&events[0]), json!([["weight", 6, 7]]));

    let before = last_id(&farmgate);
    let task = call(&farmgate, "POST", "/api/v1/refresh", &json!({"zones": ["local"], "reason": "tuesday"}));
    let events = until("the refresh to be told", || {
        Some(told(&farmgate, before)).filter(|all| all.iter().any(|event| event["phase"] == "done"))
    });
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let refresh = of("refresh");
    assert_eq!((refresh.len(), &refresh[0]["phase"], &refresh[1]["changes"]), (2, &"begun".into(), &2.into()));
    for event in &refresh {
        assert_eq!((&event["task"], &event["zones"]), (&task["id"], &json!(["local"])));
        assert_eq!(event["act"], json!({"actor": "ops", "source": "127.0.0.1", "reason": "tuesday"}));
    }
    assert_eq!(fields(of("edited")[0]), json!([["balance", "first", "roundrobin"]]));
    let changed = of("changed");
    assert_eq!((&changed[0]["from"], &changed[0]["to"]), (&"5".into(), &"7".into()), "{changed:?}");

    let events = write(&farmgate, "POST", "/api/v1/farms/web/servers/a/drain", &json!({"reason": "disk"}));
    assert_eq!(
        (&events[0]["type"], &events[0]["from"], &events[0]["to"]),
        (&"changed".into(), &"active".into(), &"drain".into())
    );
    assert_eq!(events[0]["act"]["reason"], "disk");
    let events = write(&farmgate, "DELETE", farm, &Value::Null);
    assert!(events.iter().all(|event| event["edit"] == "deleted"), "{events:?}");
    let before = last_id(&farmgate);
    call(&farmgate, "POST", "/api/v1/reload", &json!({"reason": "new file"}));
    let events = told(&farmgate, before);
    assert_eq!((&events[0]["type"], &events[0]["command"]), (&"commanded".into(), &"reload".into()), "{events:?}");
    assert_eq!(events[0]["act"], json!({"actor": "ops", "source": "127.0.0.1", "reason": "new file"}));

    // Whatever was told is there after the process.
    let all = told(&farmgate, 0);
    until("the journal to have it", || is_in(dir.path(), "new file").then_some(()));
    farmgate.kill();
    let again = start(&dir, &origin);
    let ids = |events: &[Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&told(&again, 0))[..all.len()], ids(&all));
    assert!(!Value::from(all).to_string().contains(FIELD_SECRET) && !farmgate.log().contains(FIELD_SECRET));
}

#[test]
fn what_is_made_of_credentials_is_told_and_no_secret_is_kept_or_logged() {
    let (origin, dir) = (Origin::start("a"), Arc::new(tempfile::tempdir().unwrap()));
    let farmgate = start(&dir, &origin);
    let before = last_id(&farmgate);
    let (first, first_key) = ask(&farmgate);
    let events = told(&farmgate, before);
    let event = &events[0];
    assert_eq!((&event["type"], &event["change"]), (&"credential".into(), &"asked".into()), "{event}");
    assert_eq!((event["credential"].to_string(), &event["application"]), (first.clone(), &"tf".into()));
    assert_eq!(event["act"], json!({"actor": "tf", "source": "127.0.0.1"}));
    assert_eq!(fields(event), json!([["state", null, "pendingValidation"], ["rules", null, ["GET /*"]]]));

    let (second, second_key) = ask(&farmgate);
    let path = |id: &str, act: &str| format!("/api/v1/credentials/{id}/{act}");
    let grant = json!({"role": "read", "farms": ["web"], "reason": "for terraform"});
    let events = write(&farmgate, "POST", &path(&first, "grant"), &grant);
    assert_eq!((&events[0]["change"], &events[0]["act"]["reason"]), (&"granted".into(), &"for terraform".into()));
    let want = json!([["state", "pendingValidation", "validated"], ["role", null, "read"], ["farms", null, ["web"]]]);
    assert_eq!(fields(&events[0]), want);
    let events = write(&farmgate, "POST", &path(&second, "refuse"), &Value::Null);
    assert_eq!(fields(&events[0]), json!([["state", "pendingValidation", "refused"]]));
    let events = write(&farmgate, "POST", &path(&first, "revoke"), &Value::Null);
    let want = json!([
        ["state", "validated", null],
        ["rules", ["GET /*"], null],
        ["role", "read", null],
        ["farms", ["web"], null]
    ]);
    assert_eq!((&events[0]["change"], fields(&events[0])), (&"revoked".into(), want));

    until("the journal to have it", || is_in(dir.path(), "revoked").then_some(()));
    let log = farmgate.log();
    for secret in [&first_key, &second_key, APPLICATION_SECRET, OPS_TOKEN] {
        assert!(!is_in(dir.path(), secret), "{secret} is in state_dir");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert!(log.contains("credential asked for or decided"), "{log}");
}

/// Whether a file of `state_dir` holds that text.
fn is_in(dir: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(dir.join("state")).unwrap().map(|file| file.unwrap().path());
    let mut contents = files.filter(|path| path.is_file()).map(|path| std::fs::read(path).unwrap());
    contents.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}
