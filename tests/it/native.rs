//! The native API over the real binary: routes and certificates made, changed and removed; the config as it is live; and
//! that every answer is what `/openapi.json` says.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::harness::{Client, Farmgate, OPS_TOKEN, Origin, Response, Server, Setup, place, run_to_end};

/// A farm `web` of the file, whose service lets APIs listen, and a secret in the clear.
struct Running {
    farmgate: Farmgate,
    dir: Arc<tempfile::TempDir>,
    origins: Vec<Origin>,
    document: Value,
}

impl Running {
    fn start() -> Self {
        let origins: Vec<_> = ["file", "other"].into_iter().map(Origin::start).collect();
        let setup = Setup::http(&[Server::new("a", origins[0].addr(), "weight: 5")])
            .farm("stickiness: {cookie: {key: hush-hush-hush-16}}")
            .top("service: {name: it, addresses: [\"0.0.0.0\"], api_ports: \"1024-65535\"}")
            .top("state_dir: state");
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let farmgate = Farmgate::start_in(&dir, &setup, &[]);
        let document = farmgate.open_get("/openapi.json").json();
        Self { farmgate, dir, origins, document }
    }

    /// Makes a call and holds its answer against the document.
    #[track_caller]
    fn call(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.farmgate.admin_with(method, path, Some(OPS_TOKEN), fields, body.as_bytes());
        self.check(method, path, &response);
        response
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, response: &Response) {
        let place: Vec<_> = path.split(['?']).next().unwrap().split('/').collect();
        let is_it = |template: &&String| {
            let parts: Vec<_> = template.split('/').collect();
            parts.len() == place.len() && parts.iter().zip(&place).all(|(part, is)| part == is || part.starts_with('{'))
        };
        let paths = self.document["paths"].as_object().unwrap();
        let template = paths.keys().find(is_it).unwrap_or_else(|| panic!("{path} is not in the document"));
        let told = &paths[template][method.to_ascii_lowercase()]["responses"][response.status.to_string()];
        let told = told["$ref"].as_str().map_or(told, |to| self.document.pointer(&to[1..]).unwrap());
        assert!(told.is_object(), "{method} {path}: {} {}", response.status, response.text());
        let kind = response.header("content-type").unwrap_or_default();
        let media = &told["content"][kind.split(';').next().unwrap()];
        if kind == "application/json" {
            let mut schema = media["schema"].clone();
            schema["components"] = self.document["components"].clone();
            let faults: Vec<_> = jsonschema::validator_for(&schema)
                .unwrap()
                .iter_errors(&response.json())
                .map(|error| format!("{}: {error}", error.instance_path))
                .collect();
            assert_eq!(faults, Vec::<String>::new(), "{method} {path}: {}", response.text());
        }
    }

    #[track_caller]
    fn made(&self, method: &str, path: &str, body: &Value) -> Value {
        let response = self.call(method, path, &[], body);
        assert!((200..300).contains(&response.status), "{method} {path}: {} {}", response.status, response.text());
        if response.text().trim().is_empty() { Value::Null } else { response.json() }
    }

    #[track_caller]
    fn refused(&self, method: &str, path: &str, body: &Value, status: u16, code: &str) -> String {
        let response = self.call(method, path, &[], body);
        assert_eq!((response.status, &response.json()["error"]["code"]), (status, &code.into()), "{}", response.text());
        response.json()["error"]["message"].as_str().unwrap().to_owned()
    }

    fn live(&self) -> String {
        self.call("GET", "/api/v1/config", &[], &Value::Null).text()
    }

    /// Writes a config file beside the one that runs and returns its path.
    fn file(&self, text: &str) -> String {
        let path = self.dir.path().join("other.yaml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn certificate(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn route_is_made_changed_under_its_tag_and_removed_and_requests_follow() {
    let running = Running::start();
    let (addr, other) = (place(), running.origins[1].addr());
    running.made("POST", "/api/v1/farms", &json!({"name": "other", "protocol": "http", "servers": {"o": other}}));
    running.made(
        "POST",
        "/api/v1/frontends",
        &json!({"name": "shop", "protocol": "http", "listen": [addr], "farm": "web"}),
    );
    let routes = "/api/v1/frontends/shop/routes";
    let origin_of = |path: &str| Client::connect(addr).get(path).origin().to_owned();
    assert_eq!(origin_of("/api/x"), "file");
    let rule = json!({"field": "uri", "match": "startswith", "pattern": "/api"});
    let route = json!({"name": "api", "rules": [rule], "action": {"farm": "other"}});
    let response = running.call("POST", routes, &[], &route);
    assert_eq!((response.status, response.header("location")), (201, Some("/api/v1/frontends/shop/routes/api")));
    let tag = response.header("etag").unwrap().to_owned();
    let made = response.json();
    assert_eq!((&made["origin"]["by"], &made["origin"]["shape"]), (&"api".into(), &"native".into()));
    assert_eq!((origin_of("/api/x"), origin_of("/x")), ("other".to_owned(), "file".to_owned()));
    assert_eq!(
        running.refused("POST", routes, &route, 409, "name_taken"),
        "frontends.shop.routes.api: there is one already; choose another name"
    );

    let one = format!("{routes}/api");
    assert_eq!(running.call("GET", &one, &[], &Value::Null).header("etag"), Some(&*tag));
    let patch = json!({"rules": [{"field": "uri", "match": "startswith", "pattern": "/v2"}]});
    let stale = running.call("PATCH", &one, &[("If-Match", "\"0\"")], &patch);
    assert_eq!((stale.status, origin_of("/v2")), (412, "file".to_owned()));
    let changed = running.call("PATCH", &one, &[("If-Match", &tag)], &patch);
    assert_eq!((changed.status, origin_of("/v2"), origin_of("/api")), (200, "other".to_owned(), "file".to_owned()));
    assert_ne!(changed.header("etag"), Some(&*tag));
    assert_eq!(running.call("DELETE", &one, &[("If-Match", &tag)], &Value::Null).status, 412);

    // Staged: kept, and not live before the refresh.
    let staged = running.made("DELETE", &format!("{one}?stage=local"), &Value::Null);
    assert_eq!((&staged["zone"], origin_of("/v2")), (&"local".into(), "other".to_owned()));
    assert_eq!(running.made("GET", "/api/v1/staged", &Value::Null)["staged"][0]["change"], "delete");
    running.made("DELETE", &one, &Value::Null);
    assert_eq!(origin_of("/v2"), "file");
    assert_eq!(running.made("GET", routes, &Value::Null)["total"], 0);
    running.refused("GET", &one, &Value::Null, 404, "not_found");
    let wrong = json!({"name": "x", "rules": 5, "action": {"farm": "other"}});
    assert_eq!(
        running.refused("POST", routes, &wrong, 422, "invalid"),
        "frontends.shop.routes.x.rules: is not a list of rules"
    );
}

#[test]
fn certificate_is_shown_without_its_key_used_by_a_frontend_and_kept_while_it_is() {
    let running = Running::start();
    let certificates = "/api/v1/certificates";
    let ((cert, key), (other, other_key)) = (certificate("shop.test"), certificate("other.test"));
    let message =
        running.refused("POST", certificates, &json!({"name": "shop", "cert": cert, "key": other_key}), 422, "invalid");
    assert_eq!(message, "certificates.shop.key: is not the key of the certificate; send the one that it was made with");
    let response = running.call("POST", certificates, &[], &json!({"name": "shop", "cert": cert, "key": key}));
    let (made, tag) = (response.json(), response.header("etag").unwrap().to_owned());
    assert_eq!((response.status, &made["names"], &made["used_by"]), (201, &json!(["shop.test"]), &json!([])));
    assert_eq!((made["fingerprint"].as_str().unwrap().len(), &made["expired"]), (64, &json!(false)));
    let secret = key.lines().nth(1).unwrap();
    for path in [certificates, "/api/v1/certificates/shop", "/api/v1/config", "/api/v1/events"] {
        assert!(!running.call("GET", path, &[], &Value::Null).text().contains(secret), "{path}");
    }

    let (addr, files) = (place(), made["files"].clone());
    let frontend =
        json!({"name": "shop", "protocol": "http", "listen": [addr], "farm": "web", "tls": {"certificates": [files]}});
    running.made("POST", "/api/v1/frontends", &frontend);
    assert_eq!(running.made("GET", "/api/v1/certificates/shop", &Value::Null)["used_by"], json!(["shop"]));
    let message = running.refused("DELETE", "/api/v1/certificates/shop", &Value::Null, 409, "in_use");
    assert_eq!(message, "certificates.shop: is used by frontends.shop; change or remove them first");
    let renewed = json!({"cert": other, "key": other_key});
    let stale = running.call("PUT", "/api/v1/certificates/shop", &[("If-Match", "\"0-0\"")], &renewed);
    assert_eq!(stale.status, 412);
    let renewed = running.call("PUT", "/api/v1/certificates/shop", &[("If-Match", &tag)], &renewed);
    assert_eq!((renewed.status, &renewed.json()["names"]), (200, &json!(["other.test"])));
    assert_eq!(
        std::fs::read_to_string(running.dir.path().join(made["files"]["cert"].as_str().unwrap())).unwrap(),
        other
    );
    running.made("DELETE", "/api/v1/frontends/shop", &Value::Null);
    running.made("DELETE", "/api/v1/certificates/shop", &Value::Null);
    assert_eq!(running.made("GET", certificates, &Value::Null)["total"], 0);
}

#[test]
fn live_config_passes_check_diff_tells_it_from_the_file_and_a_process_started_with_it_is_the_same() {
    let running = Running::start();
    let own = running.farmgate.config_path().display().to_string();
    let diff = |file: &str| running.farmgate.cli(&["diff", "-c", file]);
    let same = diff(&own);
    assert_eq!((same.code, same.text.as_str()), (Some(0), &*format!("{own}: nothing differs from what is live\n")),);

    let other = running.origins[1].addr();
    running.made("POST", "/api/v1/farms", &json!({"name": "other", "protocol": "http", "servers": {"o": other}}));
    running.made("POST", "/api/v1/farms/web/servers", &json!({"name": "b", "address": other}));
    running.made("PUT", "/api/v1/farms/web/servers/a/weight", &json!({"weight": 9}));
    let differs = diff(&own);
    assert_eq!(differs.code, Some(1), "{}", differs.text);
    for line in [
        "- farms.other: live only; made through the native API and kept by a reload\n",
        "- farms.web.servers.b: live only; made through the native API and kept by a reload\n",
        "~ farms.web.servers.a.weight: 9 live, 5 in the file; set by ops and kept by a reload of the same file\n",
    ] {
        assert!(differs.text.contains(line), "{}", differs.text);
    }

    let live = running.live();
    assert!(!live.contains("hush-hush") && live.contains("FARMGATE_FARMS_WEB_STICKINESS_COOKIE_KEY"), "{live}");
    let file = running.file(&live);
    let names = live.lines().filter_map(|line| line.strip_prefix("#   ")?.split(':').next());
    // Tokens must differ.
    let values: Vec<_> = names.map(|name| (name, format!("secret-of-{}", name.to_lowercase()))).collect();
    let env: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let checked = run_to_end(running.dir.path(), &["check", "-c", &file], &env);
    assert_eq!(checked.code, Some(0), "{}\n{live}", checked.text);
    assert!(checked.text.contains("2 farms, 3 servers"), "{}", checked.text);
    let missing = run_to_end(running.dir.path(), &["check", "-c", &file], &[]);
    assert_eq!(missing.code, Some(78));
    assert!(missing.text.contains("FARMGATE_FARMS_WEB_STICKINESS_COOKIE_KEY"), "{}", missing.text);
}

#[test]
fn lists_are_filtered_and_paged_and_say_who_declared_what() {
    let running = Running::start();
    let other = running.origins[1].addr();
    for name in ["one", "two"] {
        running.made("POST", "/api/v1/farms", &json!({"name": name, "protocol": "tcp", "servers": {"o": other}}));
    }
    let names = |query: &str| {
        let list = running.made("GET", &format!("/api/v1/farms?{query}"), &Value::Null);
        let names: Vec<_> =
            list["farms"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        (list["total"].as_u64().unwrap(), names.join(" "))
    };
    assert_eq!(names(""), (3, "web one two".to_owned()));
    assert_eq!(names("origin=file"), (1, "web".to_owned()));
    assert_eq!(names("protocol=tcp&offset=1&limit=1"), (2, "two".to_owned()));
    assert_eq!(names("name=*o*"), (2, "one two".to_owned()));
    running.refused("GET", "/api/v1/farms?protocol=smtp", &Value::Null, 400, "bad_value");
    running.refused("GET", "/api/v1/farms?colour=red", &Value::Null, 400, "unknown_parameter");
    let server = running.made("GET", "/api/v1/farms/one/servers/o", &Value::Null);
    assert_eq!(server["origin"], json!({"by": "api", "shape": "native"}));
    let server = running.made("GET", "/api/v1/farms/web/servers/a", &Value::Null);
    assert_eq!(server["origin"], json!({"by": "file", "shape": null}));
}
