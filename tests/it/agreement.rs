//! Five ways to ask one question: OVHcloud's shape, Zenlayer's, the native API, the CLI and the metrics agree.

use serde_json::Value;

use crate::harness::{Behaviour, FAST, Farmgate, OPS_TOKEN, Origin, PATIENCE, Server, Setup, until_within};

/// What each of the five says of one server, in one vocabulary: up or not.
#[derive(Debug, PartialEq, Eq)]
struct Views {
    native: (String, String),
    ovh: (String, String, String),
    zenlayer: String,
    cli: String,
    metric: bool,
}

fn views(farmgate: &Farmgate, name: &str) -> Views {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let native = farmgate.server(name);
    let farm = farmgate.admin_get("/api/v1/farms/web").1["id"].clone();
    let path = format!("/1.0/ipLoadbalancing/it/http/farm/{farm}/server/{}", native["id"]);
    let ovh = farmgate.admin_get(&path).1["serverState"][0].clone();
    let zenlayer = describe(farmgate);
    let backends = zenlayer["response"]["backends"].as_array().expect("a flat list").clone();
    let port: u64 = native["address"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let backend = backends.iter().find(|b| b["backendPort"] == port).unwrap_or_else(|| panic!("no {port}: {zenlayer}"));
    let metric = farmgate.metric("farmgate_server_up", &["farm=\"web\"", &format!("server=\"{name}\"")]);
    Views {
        native: (text(&native["state"]), text(&native["last_check"]["status"])),
        ovh: (text(&ovh["status"]), text(&ovh["checkStatus"]), text(&ovh["checkCode"])),
        zenlayer: text(&backend["healthStatus"]),
        cli: cli_state(farmgate, name),
        metric: metric.expect("farmgate_server_up") > 0.5,
    }
}

fn describe(farmgate: &Farmgate) -> Value {
    let fields = [("X-ZC-Action", "DescribeBackendHealth"), ("X-ZC-Version", "2025-04-01")];
    let body = br#"{"loadBalancerId":"it"}"#;
    let response = farmgate.admin_with("POST", "/api/v2/zlb", Some(OPS_TOKEN), &fields, body);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// The state of a server in `farmgate status --json`, wherever the object of that name stands.
fn cli_state(farmgate: &Farmgate, name: &str) -> String {
    fn look(value: &Value, name: &str) -> Option<String> {
        match value {
            Value::Object(map) => {
                if map.get("name").and_then(Value::as_str) == Some(name) && map.contains_key("state") {
                    return map["state"].as_str().map(str::to_owned);
                }
                map.values().find_map(|v| look(v, name))
            }
            Value::Array(list) => list.iter().find_map(|v| look(v, name)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
    let ended = farmgate.cli(&["status", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let json: Value = serde_json::from_str(&ended.text).unwrap_or_else(|e| panic!("{e}: {}", ended.text));
    look(&json, name).unwrap_or_else(|| panic!("no server {name:?} in {json}"))
}

/// Polls until the five views are exactly these.
#[track_caller]
fn assert_views(farmgate: &Farmgate, name: &str, want: &Views) {
    let mut last = None;
    let agreed = until_within(PATIENCE, || {
        let now = views(farmgate, name);
        let found = (now == *want).then_some(());
        last = Some(now);
        found
    });
    assert!(agreed.is_some(), "{name}: {last:?}, wanted {want:?}");
}

fn words(native: (&str, &str), ovh: (&str, &str, &str), zenlayer: &str, cli: &str, metric: bool) -> Views {
    Views {
        native: (native.0.to_owned(), native.1.to_owned()),
        ovh: (ovh.0.to_owned(), ovh.1.to_owned(), ovh.2.to_owned()),
        zenlayer: zenlayer.to_owned(),
        cli: cli.to_owned(),
        metric,
    }
}

#[test]
fn five_views_agree_on_a_server_that_goes_down_and_comes_back() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(FAST));
    let up = words(("UP", "L7OK"), ("UP", "L7OK", "200"), "Alive", "UP", true);
    assert_views(&farmgate, "a", &up);
    a.health(Behaviour::Status(503));
    let down = words(("DOWN", "L7STS"), ("DOWN", "L7STS", "503"), "Dead", "DOWN", false);
    assert_views(&farmgate, "a", &down);
    assert_views(&farmgate, "b", &up);
    a.health(Behaviour::Ok);
    assert_views(&farmgate, "a", &up);
}

#[test]
fn five_views_agree_on_a_server_that_is_not_probed() {
    let a = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", a.addr(), "probe: false")]));
    let now = views(&farmgate, "a");
    assert_eq!((now.native.0.as_str(), now.cli.as_str(), now.zenlayer.as_str()), ("no check", "no check", "Close"));
    assert!(now.ovh.0.is_empty() || now.ovh.0 == "no check", "{now:?}");
    assert!(now.metric, "in the rotation's eyes it is up");
}

#[test]
fn a_farm_behind_two_frontends_appears_once_for_each_in_zenlayers_shape() {
    let a = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", a.addr(), "")])
        .another_frontend("second: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web}");
    let farmgate = Farmgate::start(&setup);
    let body = describe(&farmgate);
    let backends = body["response"]["backends"].as_array().unwrap().clone();
    let mut names: Vec<_> = backends.iter().map(|b| b["listenerName"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["second", "web"], "{body}");
}

#[test]
fn metrics_count_what_was_served() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let servers = [Server::new("a", a.addr(), "weight: 3"), Server::new("b", b.addr(), "weight: 1")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    let mut client = farmgate.client();
    for _ in 0..40 {
        client.get("/");
    }
    a.traffic(Behaviour::Status(404));
    b.traffic(Behaviour::Status(404));
    client.get("/");
    let requests = |labels: &[&str]| farmgate.metric("farmgate_requests_total", labels).unwrap_or(0.0);
    // The last request is counted when its connection is done with it, which may be after its answer.
    let all = until_within(PATIENCE, || (requests(&["frontend=\"web\""]) >= 41.0).then(|| requests(&[])));
    assert_eq!(all, Some(41.0));
    assert_eq!(requests(&["server=\"a\"", "code=\"2xx\""]), 30.0);
    assert_eq!(requests(&["server=\"b\"", "code=\"2xx\""]), 10.0);
    assert_eq!(requests(&["code=\"4xx\""]), 1.0);
    assert_eq!(farmgate.metric("farmgate_server_weight", &["server=\"a\""]), Some(3.0));
}

#[test]
fn metrics_count_what_was_refused_and_say_what_they_are() {
    let a = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", a.addr(), "weight: 0")]));
    farmgate.client().send("nonsense\r\n\r\n");
    assert_eq!(farmgate.client().get("/").status, 503);
    for reason in ["bad_request", "no_server"] {
        let label = format!("reason=\"{reason}\"");
        let counted = until_within(PATIENCE, || {
            farmgate.metric("farmgate_frontend_refused_total", &["frontend=\"web\"", &label]).filter(|n| *n > 0.0)
        });
        assert_eq!(counted, Some(1.0), "{reason}");
    }
    let text = farmgate.admin("GET", "/metrics", Some(OPS_TOKEN), b"").text();
    let mut described = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.insert(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            assert!(described.contains(name) || described.contains(family), "{line}");
            assert!(name.starts_with("farmgate_"), "{line}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    assert!(text.contains("farmgate_build_info{version="), "{text}");
}
