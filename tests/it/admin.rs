//! The admin side: who may do what, what each path answers, and each shape's own words for what is wrong.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use serde_json::Value;

use crate::harness::{Client, EYE_TOKEN, Farmgate, OPS_TOKEN, Origin, Server, Setup, run_to_end};

fn one() -> (Origin, Farmgate) {
    let origin = Origin::start("a");
    let servers = [Server::new("a", origin.addr(), "weight: 7")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    (origin, farmgate)
}

/// An error body of the native shape: an object that holds a sentence.
#[track_caller]
fn assert_native_error(body: &Value) {
    let text =
        body["error"]["message"].as_str().or_else(|| body["error"].as_str()).or_else(|| body["message"].as_str());
    assert!(text.is_some_and(|t| t.len() > 5), "no sentence in {body}");
}

/// An error body of OVHcloud's shape: an object with a string `message`.
#[track_caller]
fn assert_ovh_error(body: &Value) {
    assert!(body["message"].as_str().is_some_and(|t| !t.is_empty()), "{body}");
    assert!(body["class"].as_str().is_some_and(|c| c.starts_with("Client::") || c.starts_with("Server::")), "{body}");
}

/// An error body of Zenlayer's shape: requestId, code and message, all strings.
#[track_caller]
fn assert_zenlayer_error(body: &Value) {
    for field in ["requestId", "code", "message"] {
        assert!(body[field].as_str().is_some_and(|t| !t.is_empty()), "{field} in {body}");
    }
    assert!(body.get("response").is_none(), "{body}");
}

#[test]
fn every_path_but_the_open_ones_wants_a_credential() {
    let (_origin, farmgate) = one();
    for path in ["/healthz", "/readyz", "/1.0/auth/time", "/v1/auth/time"] {
        assert_eq!(farmgate.open_get(path).status, 200, "{path}");
    }
    let time: i64 = farmgate.open_get("/1.0/auth/time").text().trim().parse().expect("a bare integer");
    assert!(time > 1_600_000_000);
    for path in ["/api/v1/farms", "/api/v1/farms/web", "/api/v1/farms/web/servers/a", "/api/v1/nothing", "/nothing"] {
        let response = farmgate.open_get(path);
        assert_eq!(response.status, 401, "{path}");
        assert_native_error(&response.json());
    }
    assert_eq!(farmgate.open_get("/metrics").status, 401);
    for path in ["/1.0/ipLoadbalancing", "/1.0/ipLoadbalancing/it/http/farm", "/v1/ipLoadbalancing/it/status"] {
        let response = farmgate.open_get(path);
        assert_eq!(response.status, 401, "{path}");
        assert_ovh_error(&response.json());
    }
    let response = farmgate.admin("POST", "/api/v2/zlb", None, b"{}");
    assert!((400..500).contains(&response.status));
    assert_zenlayer_error(&response.json());
}

#[test]
fn metrics_may_be_opened_to_everybody_and_nothing_else_is() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]).admin("metrics: open"));
    assert_eq!(farmgate.open_get("/metrics").status, 200);
    assert_eq!(farmgate.open_get("/api/v1/farms").status, 401);
}

#[test]
fn wrong_tokens_are_refused() {
    let (_origin, farmgate) = one();
    for token in ["", "x", "ops-token-0123456789abcde", "ops-token-0123456789abcdefg", "OPS-TOKEN-0123456789ABCDEF"] {
        let response = farmgate.admin("GET", "/api/v1/farms", Some(token), b"");
        assert_eq!(response.status, 401, "{token:?}");
    }
    let basic = [("Authorization", "Basic b3BzOnRva2Vu")];
    assert_eq!(farmgate.admin_with("GET", "/api/v1/farms", None, &basic, b"").status, 401);
}

#[test]
fn role_read_reads_everything_and_changes_nothing() {
    let (_origin, farmgate) = one();
    for path in ["/api/v1/farms", "/api/v1/farms/web/servers/a", "/1.0/ipLoadbalancing", "/metrics"] {
        assert_eq!(farmgate.admin("GET", path, Some(EYE_TOKEN), b"").status, 200, "{path}");
    }
    for (method, path, body) in [
        ("POST", "/api/v1/farms/web/servers/a/maintenance", ""),
        ("POST", "/api/v1/farms/web/servers/a/drain", ""),
        ("POST", "/api/v1/farms/web/servers/a/ready", ""),
        ("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 1}"#),
        ("POST", "/api/v1/reload", ""),
        ("POST", "/api/v1/upgrade", ""),
    ] {
        let response = farmgate.admin(method, path, Some(EYE_TOKEN), body.as_bytes());
        assert_eq!(response.status, 403, "{path}");
        assert_native_error(&response.json());
    }
    let server = farmgate.server("a");
    assert_eq!((&server["admin"], &server["state"]), (&"active".into(), &"UP".into()));
}

#[test]
fn farms_and_servers_are_told_by_name_and_by_id() {
    let (origin, farmgate) = one();
    let (status, farms) = farmgate.admin_get("/api/v1/farms");
    assert_eq!(status, 200);
    let list = farms.as_array().or_else(|| farms["farms"].as_array()).expect("a list of farms");
    assert_eq!((list.len(), &list[0]["name"]), (1, &"web".into()));
    let (_, by_name) = farmgate.admin_get("/api/v1/farms/web");
    let farm_id = by_name["id"].as_u64().expect("a numeric id");
    let (_, by_id) = farmgate.admin_get(&format!("/api/v1/farms/{farm_id}"));
    assert_eq!((&by_id["name"], &by_id["id"]), (&by_name["name"], &by_name["id"]));
    let server = farmgate.server("a");
    let server_id = server["id"].as_u64().expect("a numeric id");
    let (_, again) = farmgate.admin_get(&format!("/api/v1/farms/{farm_id}/servers/{server_id}"));
    assert_eq!(again["name"], "a");
    assert_eq!(server["address"], origin.addr().to_string());
    assert_eq!((&server["state"], &server["health"], &server["admin"]), (&"UP".into(), &"up".into(), &"active".into()));
    assert_eq!(
        (&server["weight"], &server["effective_weight"], &server["in_flight"]),
        (&7.into(), &7.into(), &0.into())
    );
    assert_eq!(server["last_check"]["status"], "L7OK");
    assert_eq!(server["last_check"]["code"].to_string().trim_matches('"'), "200");
}

#[test]
fn unknown_things_are_told_in_each_shapes_own_words() {
    let (_origin, farmgate) = one();
    for path in [
        "/api/v1/farms/none",
        "/api/v1/farms/99",
        "/api/v1/farms/web/servers/none",
        "/api/v1/farms/web/servers/99999999999999999999999",
        "/api/v1/none",
        "/none",
    ] {
        let (status, body) = farmgate.admin_get(path);
        assert_eq!(status, 404, "{path}");
        assert_native_error(&body);
    }
    for path in [
        "/1.0/ipLoadbalancing/none",
        "/1.0/ipLoadbalancing/it/http/farm/99",
        "/1.0/ipLoadbalancing/it/http/farm/none",
        "/1.0/ipLoadbalancing/it/tcp/farm/99/server/1",
        "/v1/ipLoadbalancing/it/none",
        "/1.0/none",
    ] {
        let (status, body) = farmgate.admin_get(path);
        assert_eq!(status, 404, "{path}");
        assert_ovh_error(&body);
    }
    let action = [("X-ZC-Action", "DescribeBackendHealth"), ("X-ZC-Version", "2025-04-01")];
    let ask = |fields: &[(&str, &str)], body: &str| {
        let response = farmgate.admin_with("POST", "/api/v2/zlb", Some(OPS_TOKEN), fields, body.as_bytes());
        assert_zenlayer_error(&response.json());
        (response.status, response.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&action, r#"{"loadBalancerId": "none"}"#), (404, "INVALID_LB_NOT_FOUND".to_owned()));
    assert_eq!(ask(&action, r#"{"loadBalancerId": "it", "listenerId": "99"}"#).0, 404);
    assert_eq!(ask(&action, "{}").0, 400);
    assert_eq!(ask(&action, "not json").0, 400);
    assert_eq!(ask(&[("X-ZC-Version", "2025-04-01")], r#"{"loadBalancerId": "it"}"#).0, 400);
    assert!((400..500).contains(&ask(&[("X-ZC-Action", "Nonsense")], r#"{"loadBalancerId": "it"}"#).0));
}

#[test]
fn bodies_that_cannot_be_are_refused_before_any_effect() {
    let (_origin, farmgate) = one();
    let native = |method, path, body: &[u8]| {
        let response = farmgate.admin(method, path, Some(OPS_TOKEN), body);
        assert_native_error(&response.json());
        response.status
    };
    let weight = "/api/v1/farms/web/servers/a/weight";
    assert_eq!(native("GET", "/api/v1/farms", b"{}"), 400);
    for bad in [
        "",
        "{}",
        "[]",
        "nonsense",
        r#"{"weight": 65536}"#,
        r#"{"weight": -1}"#,
        r#"{"weight": "5"}"#,
        r#"{"weight": 1.5}"#,
        "\u{feff}",
    ] {
        assert_eq!(native("PUT", weight, bad.as_bytes()), 400, "{bad:?}");
    }
    assert_eq!(native("PUT", weight, b"{\"weight\": \xff}"), 400);
    assert_eq!(farmgate.server("a")["weight"], 7);
    assert_eq!(native("DELETE", weight, b""), 405);
    assert_eq!(native("POST", "/api/v1/farms", b"{}"), 400);
    assert_eq!(native("POST", "/api/v1/status", b"{}"), 405);
    let big = format!("{{\"weight\": 1, \"why\": \"{}\"}}", "x".repeat(4 << 20));
    assert_eq!(native("PUT", weight, big.as_bytes()), 413);
    assert_eq!(farmgate.server("a")["weight"], 7);
    assert_eq!(farmgate.open_get("/healthz").status, 200, "serves on");
}

/// As clients do that send all before they read: closed meanwhile, they would see a reset and no answer.
#[test]
fn answer_to_a_body_that_is_too_large_reaches_who_still_sends() {
    use std::io::{Read as _, Write as _};
    let (_origin, farmgate) = one();
    let body = "x".repeat(5 << 20);
    for (path, authorization, want) in [
        ("/api/v2/zlb", format!("Authorization: Bearer {OPS_TOKEN}\r\n"), 413),
        ("/api/v1/farms", String::new(), 413),
        ("/1.0/ipLoadbalancing/it/http/farm", String::new(), 413),
    ] {
        for length in [format!("Content-Length: {}\r\n\r\n{body}", body.len()), {
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        }] {
            let mut stream = std::net::TcpStream::connect(farmgate.admin_addr()).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{authorization}");
            let is_chunked = length.starts_with("Transfer");
            stream.write_all(format!("{head}{length}").as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            // A stranger's body of unknown length is not read to its end to be measured.
            let want = if is_chunked && authorization.is_empty() { 401 } else { want };
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {want}"), "{path}, chunked: {is_chunked}");
        }
    }
}

#[test]
fn garbage_on_the_admin_port_does_no_harm() {
    let (_origin, farmgate) = one();
    for bytes in ["\x16\x03\x01\x02\0\x01", "GET / HTTP/9\r\n\r\n", "hello\r\n\r\n"] {
        let mut client = Client::connect(farmgate.admin_addr());
        client.send(bytes);
        client.finish_writes();
        assert!(client.is_closed_within(std::time::Duration::from_secs(5)), "{bytes:?}");
    }
    assert_eq!(farmgate.open_get("/healthz").status, 200);
}

#[test]
fn write_that_a_browser_sends_for_another_sites_page_is_refused() {
    let (_origin, farmgate) = one();
    let foreign = [("Origin", "http://evil.example")];
    let path = "/api/v1/farms/web/servers/a/maintenance";
    // The client of these tests calls it by a name that the config does not have.
    let response = farmgate.admin_with("POST", path, Some(OPS_TOKEN), &foreign, b"");
    assert_eq!(response.status, 421, "{}", response.text());
    assert_eq!(farmgate.server("a")["admin"], "active");
}

#[test]
fn browser_is_answered_under_the_names_of_the_config_and_for_their_own_pages() {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).admin("hosts: [test.example]");
    let farmgate = Farmgate::start_in(&Arc::new(tempfile::tempdir().unwrap()), &setup, &[]);
    let ask =
        |fields: &[(&str, &str)]| farmgate.admin_with("GET", "/api/v1/farms", Some(OPS_TOKEN), fields, b"").status;
    assert_eq!(ask(&[("Origin", "http://test.example")]), 200);
    assert_eq!(ask(&[("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(ask(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[("Sec-Fetch-Site", "cross-site")]), 403);
}

#[test]
fn admin_over_tls_of_its_own_making_prints_the_fingerprint() {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).admin("tls: auto");
    let farmgate = Farmgate::start_in(&Arc::new(tempfile::tempdir().unwrap()), &setup, &[]);
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().proxy(None).tls_config(tls).build());
    let url = format!("https://127.0.0.1:{}/healthz", farmgate.admin_addr().port());
    assert_eq!(agent.get(&url).call().unwrap().status(), 200);
    assert!(farmgate.log().to_lowercase().contains("fingerprint"), "{}", farmgate.log());
    let plain = Client::connect(farmgate.admin_addr()).try_request("GET", "/healthz", &[], b"");
    assert!(plain.is_err(), "plain HTTP was answered: {plain:?}");
}

#[test]
fn fingerprint_is_printed_whatever_the_log_level() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = Setup::http(&[]).admin("tls: auto").log("{level: error}").yaml();
    let yaml = yaml.replace("    servers:\n", "    servers: {}\n");
    std::fs::write(dir.path().join("quiet.yaml"), yaml).unwrap();
    let mut quiet = std::process::Command::new(env!("CARGO_BIN_EXE_farmgate"))
        .args(["run", "-c", "quiet.yaml"])
        .current_dir(dir.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let read = BufReader::new(quiet.stderr.take().unwrap()).read_line(&mut line);
    quiet.kill().unwrap();
    quiet.wait().unwrap();
    read.unwrap();
    let print = line.trim_end().rsplit(' ').next().unwrap();
    assert!(line.starts_with("farmgate: ") && print.len() == 95 && print.split(':').count() == 32, "{line:?}");
}

#[test]
fn admin_that_strangers_could_read_is_refused_at_the_start() {
    let origin = Origin::start("a");
    let yaml = Setup::http(&[Server::new("a", origin.addr(), "")]).yaml();
    let admin = yaml.find("admin:").unwrap();
    let beyond_loopback = yaml[..admin].to_owned() + &yaml[admin..].replace("127.0.0.1:0", "0.0.0.0:0");
    let without_credentials = yaml[..admin].to_owned() + "admin: {listen: \"0.0.0.0:0\", tls: auto}\n";
    let dir = tempfile::tempdir().unwrap();
    for yaml in [beyond_loopback, without_credentials] {
        std::fs::write(dir.path().join("open.yaml"), &yaml).unwrap();
        let ended = run_to_end(dir.path(), &["check", "-c", "open.yaml"], &[]);
        assert_eq!(ended.code, Some(78), "{}\n{yaml}", ended.text);
        assert!(ended.text.contains("admin"), "{}", ended.text);
    }
}

#[test]
fn drain_maintenance_ready_and_weight_are_shown_as_set() {
    let (_origin, farmgate) = one();
    for (action, admin, state) in
        [("drain", "drain", "DRAIN"), ("maintenance", "maintenance", "MAINT"), ("ready", "active", "UP")]
    {
        farmgate.operate("POST", &format!("/api/v1/farms/web/servers/a/{action}"), "");
        let server = farmgate.server("a");
        assert_eq!((&server["admin"], &server["state"]), (&admin.into(), &state.into()), "{action}");
        assert_eq!(server["effective_weight"], if admin == "active" { 7 } else { 0 });
    }
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 9}"#);
    let server = farmgate.server("a");
    assert_eq!((&server["weight"], &server["effective_weight"]), (&9.into(), &9.into()));
}

#[test]
fn cli_changes_and_shows_what_the_api_does() {
    let (_origin, farmgate) = one();
    for (args, admin, state) in [
        (&["drain", "web/a"][..], "drain", "DRAIN"),
        (&["maintain", "web/a"], "maintenance", "MAINT"),
        (&["ready", "web/a"], "active", "UP"),
    ] {
        let ended = farmgate.cli(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.text);
        let server = farmgate.server("a");
        assert_eq!((&server["admin"], &server["state"]), (&admin.into(), &state.into()), "{args:?}");
        let status = farmgate.cli(&["status"]);
        assert!(
            status.code == Some(0) && status.text.contains(state) && status.text.contains("web"),
            "{}",
            status.text
        );
    }
    assert_eq!(farmgate.cli(&["weight", "web/a", "3"]).code, Some(0));
    assert_eq!(farmgate.server("a")["weight"], 3);
    assert_eq!(farmgate.cli(&["reload"]).code, Some(0));
    let wrong = farmgate.cli(&["drain", "web/none"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.text);
    assert!(wrong.text.contains("none"), "{}", wrong.text);
}

#[test]
fn ovh_shape_lists_the_farm_and_its_server() {
    let (origin, farmgate) = one();
    let (status, services) = farmgate.admin_get("/1.0/ipLoadbalancing");
    assert_eq!((status, services), (200, serde_json::json!(["it"])));
    let (_, farms) = farmgate.admin_get("/1.0/ipLoadbalancing/it/http/farm");
    let farm = farms[0].as_u64().expect("a list of ids");
    let (_, servers) = farmgate.admin_get(&format!("/v1/ipLoadbalancing/it/http/farm/{farm}/server"));
    let server = servers[0].as_u64().expect("a list of ids");
    let (status, body) = farmgate.admin_get(&format!("/1.0/ipLoadbalancing/it/http/farm/{farm}/server/{server}"));
    assert_eq!(status, 200, "{body}");
    assert_eq!((&body["address"], &body["port"]), (&"127.0.0.1".into(), &origin.addr().port().into()));
    assert_eq!((&body["status"], &body["weight"]), (&"active".into(), &7.into()));
    let state = &body["serverState"][0];
    assert_eq!(
        (&state["status"], &state["checkStatus"], &state["checkCode"]),
        (&"UP".into(), &"L7OK".into(), &"200".into())
    );
    assert_eq!(farmgate.admin_get("/1.0/ipLoadbalancing/it/tcp/farm").1, serde_json::json!([]));
}

#[test]
fn ovh_shape_tells_tcp_farms_from_http_farms() {
    let origin = Origin::start("a");
    let farm = format!("db: {{protocol: tcp, servers: {{db-1: {{address: \"{}\"}}}}}}", origin.addr());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .another_farm(&farm)
        .another_frontend("db: {protocol: tcp, listen: [\"127.0.0.1:0\"], farm: db}");
    let farmgate = Farmgate::start(&setup);
    let (_, tcp) = farmgate.admin_get("/1.0/ipLoadbalancing/it/tcp/farm");
    let (_, http) = farmgate.admin_get("/1.0/ipLoadbalancing/it/http/farm");
    assert_eq!((tcp.as_array().map(Vec::len), http.as_array().map(Vec::len)), (Some(1), Some(1)));
    assert_eq!(farmgate.admin_get(&format!("/1.0/ipLoadbalancing/it/http/farm/{}", tcp[0])).0, 404);
    let (status, defined) = farmgate.admin_get("/1.0/ipLoadbalancing/it/definedFarms");
    assert_eq!((status, defined.as_array().map(Vec::len)), (200, Some(2)));
    let (status, summary) = farmgate.admin_get("/1.0/ipLoadbalancing/it/status");
    assert_eq!((status, &summary["farms"]["total"], &summary["servers"]["total"]), (200, &2.into(), &2.into()));
    let (status, instances) = farmgate.admin_get("/1.0/ipLoadbalancing/it/instancesState");
    assert_eq!((status, &instances[0]["state"]), (200, &"running".into()));
}
