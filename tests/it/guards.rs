//! The guards, from outside: ejection by traffic, flapping, incidents, slow start, failing open, cutting what is open,
//! the reserve, and suspicion.

mod incident;
mod traffic;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Behaviour, Client, FAST, Farmgate, Load, OPS_TOKEN, Origin, Response, Server, Setup, TcpBehaviour, TcpOrigin,
    place, refused_port, until,
};

/// A probe that decides soon.
const QUICK: &str = "{type: http, url: /healthz, interval: 150ms, timeout: 150ms, rise: 1, fall: 2}";
const UNWELL: Behaviour = Behaviour::Status(503);
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// So many origins, their servers named from `a` on, at places where they can come back.
fn farm(n: usize, keys: &str) -> (Vec<Origin>, Setup) {
    let origins: Vec<_> = NAMES[..n].iter().map(|name| Origin::at(name, place())).collect();
    let servers: Vec<_> = NAMES.iter().zip(&origins).map(|(name, o)| Server::new(name, o.addr(), keys)).collect();
    (origins, Setup::http(&servers))
}

fn wait_until_up(farmgate: &Farmgate, n: usize) {
    NAMES[..n].iter().for_each(|name| drop(farmgate.wait_for_state(name, "UP")));
}

/// What a server's timeline has of one kind, the oldest first; of `standing_changed` the kind is its `change`.
fn told(farmgate: &Farmgate, path: &str, kind: &str) -> Vec<Value> {
    let (status, told) = farmgate.admin_get(&format!("/api/v1/{path}timeline?limit=1000&order=oldest"));
    assert_eq!(status, 200, "{told}");
    let is_it = |event: &&Value| event["type"] == kind || event["change"] == kind;
    told["events"].as_array().unwrap().iter().filter(is_it).cloned().collect()
}

#[track_caller]
fn wait_for_told(farmgate: &Farmgate, path: &str, kind: &str, n: usize) -> Vec<Value> {
    until(&format!("{n} {kind}"), || Some(told(farmgate, path, kind)).filter(|all| all.len() >= n))
}

fn sentence(farmgate: &Farmgate, name: &str) -> String {
    let (status, told) = farmgate.admin_get(&format!("/api/v1/farms/web/servers/{name}/explain"));
    assert_eq!(status, 200, "{told}");
    told["sentence"].as_str().unwrap().to_owned()
}

fn farm_of(farmgate: &Farmgate) -> Value {
    farmgate.admin_get("/api/v1/farms/web").1
}

/// Milliseconds from one time to another of the same day or the next.
fn millis(from: &Value, to: &Value) -> i64 {
    let of = |time: &Value| {
        let text = time.as_str().unwrap();
        let number = |at: std::ops::Range<usize>| text[at].parse::<i64>().unwrap();
        ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
    };
    (of(to) - of(from)).rem_euclid(24 * 3600 * 1000)
}

#[test]
fn server_that_flaps_is_held_down_for_a_while() {
    let (origins, setup) = farm(2, "");
    let farmgate = Farmgate::start(&setup.probe(QUICK).farm("flap: {transitions: 4, within: 1m, hold: 1s}"));
    wait_until_up(&farmgate, 2);
    let a = &origins[0];
    for _ in 0..2 {
        a.health(UNWELL);
        until("a to be down", || (farmgate.server("a")["health"] == "down").then_some(()));
        a.health(Behaviour::Ok);
        until("a to be up", || (farmgate.server("a")["health"] == "up").then_some(()));
    }
    let server = farmgate.server("a");
    assert_eq!((&server["state"], &server["effective_weight"]), (&"DOWN".into(), &0.into()), "{server}");
    assert!(server["standing"]["held_until"].is_string(), "{server}");
    let why = sentence(&farmgate, "a");
    assert!(why.contains("held down for flapping: 4 changes of health within 1 m"), "{why}");
    let held = told(&farmgate, "farms/web/servers/a/", "held_down");
    assert_eq!((&held[0]["score"], held[0]["until"].is_string()), (&4.into(), true));
    let at_last = held.last().unwrap();
    assert_eq!(millis(&at_last["at"], &at_last["until"]), 1000);
    let mut client = farmgate.client();
    while farmgate.server("a")["standing"]["held_until"].is_string() {
        let before = a.requests().len();
        let answer = client.get("/");
        if farmgate.server("a")["standing"]["held_until"].is_string() {
            assert_eq!((answer.origin(), a.requests().len()), ("b", before));
        }
    }
    farmgate.wait_for_state("a", "UP");
    let ended = wait_for_told(&farmgate, "farms/web/servers/a/", "hold_ended", 1);
    assert!(millis(&at_last["until"], &ended[0]["at"]) < 1000, "{ended:?}");
    until("a to serve", || (client.get("/").origin() == "a").then_some(()));
}

#[test]
fn server_that_returns_comes_to_its_share_little_by_little() {
    const WINDOWS: usize = 5;
    const SLOW_START: Duration = Duration::from_secs(2);
    let (origins, setup) = farm(2, "weight: 10");
    let farmgate = Farmgate::start(&setup.probe(QUICK).farm("slow_start: 2s"));
    wait_until_up(&farmgate, 2);
    let counts = || (origins[0].requests().len(), origins[1].requests().len());
    let mut client = farmgate.client();
    (0..20).for_each(|_| drop(client.get("/")));
    assert_eq!(counts(), (10, 10), "nobody warms up at the start");
    assert!(told(&farmgate, "", "warmup_began").is_empty());
    origins[0].health(UNWELL);
    farmgate.wait_for_state("a", "DOWN");
    let load = Load::start(farmgate.front("web"), &["GET", "GET"]);
    load.wait_for_more(10);
    let down = counts();
    origins[0].health(Behaviour::Ok);
    until("a to warm up", || (counts().0 > down.0).then_some(()));
    let warmup = farmgate.server("a")["standing"]["warmup"].clone();
    assert!(warmup["percent"].as_u64().unwrap() < 50 && warmup["until"].is_string(), "{warmup}");
    let why = sentence(&farmgate, "a");
    assert!(why.contains("warming up: "), "{why}");
    let (began, mut before) = (Instant::now(), counts());
    let mut shares = Vec::new();
    for n in 1..=WINDOWS {
        let end = began + SLOW_START * u32::try_from(n).unwrap() / u32::try_from(WINDOWS).unwrap();
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let now = counts();
        let (a, b) = (now.0 - before.0, now.1 - before.1);
        shares.push(a * 100 / (a + b).max(1));
        before = now;
    }
    load.finish_without_failure();
    assert!(shares[0] < 30 && shares[WINDOWS - 1] > 35, "{shares:?}");
    assert!(shares.windows(2).all(|pair| pair[1] + 5 >= pair[0]), "{shares:?}");
    wait_for_told(&farmgate, "farms/web/servers/a/", "warmup_ended", 1);
    let before = counts();
    (0..20).for_each(|_| drop(client.get("/")));
    let now = counts();
    assert_eq!((now.0 - before.0, now.1 - before.1), (10, 10), "it is whole again");
}

#[test]
fn farm_fails_open_below_the_share_asked_for_and_not_at_it() {
    let (origins, setup) = farm(4, "");
    let farmgate = Farmgate::start(&setup.probe(QUICK).farm("fail_open: \"below 50%\""));
    wait_until_up(&farmgate, 4);
    for (n, name) in [(0, "a"), (1, "b")] {
        origins[n].health(UNWELL);
        farmgate.wait_for_state(name, "DOWN");
    }
    let origins_of = |n: usize| {
        let mut client = farmgate.client();
        let mut names: Vec<_> = (0..n).map(|_| client.get("/").origin().to_owned()).collect();
        names.sort();
        names.dedup();
        names.concat()
    };
    assert_eq!((farm_of(&farmgate)["serving"].clone(), origins_of(12)), ("primaries".into(), "cd".to_owned()));
    origins[2].health(UNWELL);
    farmgate.wait_for_state("c", "DOWN");
    let farm = farm_of(&farmgate);
    assert_eq!((&farm["serving"], &farm["counts"]["in_rotation"]), (&"fail_open".into(), &4.into()), "{farm}");
    assert_eq!(origins_of(12), "abcd");
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    assert_eq!(origins_of(12), "bcd", "maintenance is meant");
    origins[2].health(Behaviour::Ok);
    farmgate.wait_for_state("c", "UP");
    assert_eq!(origins_of(12), "cd");
}

#[test]
fn tunnel_is_cut_when_its_server_goes_down_only_where_the_farm_says_close() {
    for (on_down, is_closed) in [("close", true), ("keep", false)] {
        let (origins, setup) = farm(2, "");
        origins.iter().for_each(|origin| origin.traffic(Behaviour::Upgrade));
        let setup = setup.probe(QUICK).farm(&format!("on_down: {on_down}")).farm("balance: first");
        let farmgate = Farmgate::start(&setup);
        wait_until_up(&farmgate, 2);
        let mut client = farmgate.client();
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        assert_eq!(client.request("GET", "/ws", &upgrade, b"").status, 101);
        client.send("ping");
        assert_eq!(client.take(4).unwrap(), b"ping");
        origins[0].health(UNWELL);
        farmgate.wait_for_state("a", "DOWN");
        if is_closed {
            assert!(client.is_closed_within(Duration::from_secs(5)), "{on_down}");
            until("nothing open", || (farmgate.server("a")["in_flight"] == 0).then_some(()));
        } else {
            client.send("pong");
            assert_eq!(client.take(4).unwrap(), b"pong", "{on_down}");
            assert_eq!(farmgate.server("a")["in_flight"], 1);
        }
    }
}

#[test]
fn maintenance_ends_by_itself_through_a_slow_start_and_only_for_who_is_well() {
    let (origins, setup) = farm(3, "weight: 100");
    let farmgate = Farmgate::start(&setup.probe(QUICK).farm("slow_start: 1h"));
    wait_until_up(&farmgate, 3);
    for name in ["a", "b"] {
        let path = format!("/api/v1/farms/web/servers/{name}/maintenance");
        farmgate.operate("POST", &path, r#"{"until": "600ms"}"#);
    }
    origins[1].health(UNWELL);
    wait_for_told(&farmgate, "", "order_ended", 2);
    let a = farmgate.wait_for_state("a", "UP");
    assert_eq!((&a["effective_weight"], &a["standing"]["warmup"]["percent"]), (&1.into(), &1.into()), "{a}");
    let b = farmgate.wait_for_state("b", "DOWN");
    assert_eq!((&b["effective_weight"], &b["standing"]["warmup"]), (&0.into(), &Value::Null), "{b}");
    origins[1].health(Behaviour::Ok);
    let b = farmgate.wait_for_state("b", "UP");
    assert_eq!(b["effective_weight"], 1, "{b}");
}

#[test]
fn reserve_refuses_through_the_api_and_gives_way_to_force() {
    let (_origins, setup) = farm(3, "");
    let farmgate = Farmgate::start(&setup.probe(FAST).farm("reserve: 60%"));
    wait_until_up(&farmgate, 3);
    let ask = |method: &str, path: &str, body: &str| -> Response {
        farmgate.admin(method, &format!("/api/v1/farms/web/servers/{path}"), Some(OPS_TOKEN), body.as_bytes())
    };
    assert_eq!(ask("POST", "a/drain", "{}").status, 200, "66 % is left");
    for (method, path, body) in
        [("POST", "b/drain", "{}"), ("POST", "b/maintenance", "{}"), ("PUT", "b/weight", r#"{"weight": 0}"#)]
    {
        let refused = ask(method, path, body);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (409, &"reserve".into()), "{path}");
        assert!(refused.text().contains("1 of 3 servers, 33 % of the weight"), "{}", refused.text());
        assert_eq!(farmgate.server("b")["state"], "UP", "{path}");
    }
    assert_eq!(ask("PUT", "b/weight", r#"{"weight": 0, "force": true}"#).status, 200);
    assert_eq!(farmgate.server("b")["state"], "DRAIN");
    assert_eq!(ask("PUT", "b/weight", r#"{"weight": 1}"#).status, 200, "what adds to it needs no force");
    assert_eq!(ask("POST", "b/drain", r#"{"force": true}"#).status, 200);
    let refused = farmgate.cli(&["drain", "web/c"]);
    assert!(refused.code == Some(1) && refused.text.contains("use --force"), "{}", refused.text);
    assert_eq!(farmgate.cli(&["drain", "web/c", "--force"]).code, Some(0));
    assert_eq!(farm_of(&farmgate)["counts"]["in_rotation"], 0);
    for name in ["a", "b", "c"] {
        assert_eq!(ask("POST", &format!("{name}/ready"), "{}").status, 200);
    }
}
