//! Reloads: whole or not at all, and nobody who is being served notices.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Behaviour, Client, EYE_TOKEN, FAST, Farmgate, Load, OPS_TOKEN, Origin, Server, Setup, until};

fn one() -> (Origin, Setup, Farmgate) {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]);
    let farmgate = Farmgate::start(&setup);
    (origin, setup, farmgate)
}

#[test]
fn invalid_file_changes_nothing_and_every_error_is_told() {
    let (_origin, setup, farmgate) = one();
    let broken =
        setup.yaml().replace("weight: 1", "").replace("protocol: http", "protocol: gopher") + "surprise: true\n";
    let response = farmgate.reload(&broken);
    assert!((400..500).contains(&response.status), "{}", response.status);
    let text = response.text();
    for what in ["gopher", "surprise", "farmgate.yaml:"] {
        assert!(text.contains(what), "{what} is not told: {text}");
    }
    assert_eq!(farmgate.client().get("/").status, 200);
    assert_eq!(farmgate.server("a")["state"], "UP");
    assert_eq!(farmgate.open_get("/readyz").status, 200);
    assert_eq!(farmgate.reload(&setup.yaml()).status, 200, "a good file is taken afterwards");
}

#[test]
fn file_that_is_gone_changes_nothing() {
    let (_origin, _setup, farmgate) = one();
    std::fs::remove_file(farmgate.config_path()).unwrap();
    let response = farmgate.admin("POST", "/api/v1/reload", Some(OPS_TOKEN), b"");
    assert!((400..600).contains(&response.status), "{}", response.status);
    assert_eq!(farmgate.client().get("/").status, 200);
}

#[test]
fn token_that_the_file_no_longer_has_is_good_for_nothing() {
    let (_origin, setup, farmgate) = one();
    let status = |token| farmgate.admin("GET", "/api/v1/status", Some(token), b"").status;
    assert_eq!(status(EYE_TOKEN), 200);
    let next = "eye-token-of-the-next-month";
    assert_eq!(farmgate.reload(&setup.yaml().replace(EYE_TOKEN, next)).status, 200);
    assert_eq!((status(EYE_TOKEN), status(next), status(OPS_TOKEN)), (401, 200, 200));
    assert_eq!(farmgate.admin("GET", "/metrics", Some(EYE_TOKEN), b"").status, 401);
    assert_eq!(farmgate.admin("GET", "/1.0/ipLoadbalancing", Some(EYE_TOKEN), b"").status, 403);
    assert_eq!(farmgate.admin("POST", "/api/v2/zlb", Some(EYE_TOKEN), b"{}").status, 401);
    let refused = farmgate.reload(&(setup.yaml() + "surprise: true\n"));
    assert_eq!((refused.status, status(EYE_TOKEN)), (422, 401), "a refused file brings no token back");
    assert!(!farmgate.log().contains("at the next start"), "{}", farmgate.log());
}

#[test]
fn settings_that_wait_for_the_next_start_are_named() {
    let (_origin, setup, farmgate) = one();
    let other = setup.admin("metrics: open").top("checks_at_once: 7");
    assert_eq!(farmgate.reload(&other.yaml()).status, 200);
    until("the warning", || farmgate.log().contains("checks_at_once, admin.metrics").then_some(()));
    assert_eq!(farmgate.open_get("/metrics").status, 401);
}

#[test]
fn command_probe_that_arrives_by_a_reload_is_refused_until_the_next_start() {
    let (_origin, setup, farmgate) = one();
    let probe = "shadow: {type: command, program: /bin/true}";
    let refused = farmgate.reload(&setup.clone().farm(probe).admin("allow_commands: true").yaml());
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(
        text.contains("a command probe needs admin.allow_commands, which takes effect at the next start"),
        "{text}"
    );
    let setup = setup.admin("allow_commands: true");
    let allowed = Farmgate::start(&setup);
    let taken = allowed.reload(&setup.farm(probe).yaml());
    assert_eq!(taken.status, 200, "{}", taken.text());
}

#[test]
fn sighup_reloads_too() {
    let (_origin, setup, farmgate) = one();
    let b = Origin::start("b");
    let other = setup.servers(&[Server::new("b", b.addr(), "")]);
    std::fs::write(farmgate.config_path(), other.yaml()).unwrap();
    farmgate.signal("HUP");
    until("server b", || (farmgate.admin_get("/api/v1/farms/web/servers/b").0 == 200).then_some(()));
    assert_eq!(farmgate.admin_get("/api/v1/farms/web/servers/a").0, 404);
    until("b to answer", || (farmgate.client().get("/").origin() == "b").then_some(()));
}

#[test]
fn sighup_with_an_invalid_file_is_refused_in_the_log() {
    let (_origin, setup, farmgate) = one();
    std::fs::write(farmgate.config_path(), setup.yaml().replace("protocol: http", "protocol: gopher")).unwrap();
    farmgate.signal("HUP");
    until("the log to tell the error", || farmgate.log().contains("gopher").then_some(()));
    assert_eq!(farmgate.client().get("/").status, 200);
}

#[test]
fn port_that_is_taken_refuses_the_whole_reload() {
    let (_origin, setup, farmgate) = one();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let other = setup
        .another_frontend(&format!("second: {{protocol: http, listen: [\"{address}\"], farm: web}}"))
        .farm("balance: leastconn");
    let response = farmgate.reload(&other.yaml());
    assert!((400..600).contains(&response.status), "{}", response.status);
    let text = response.text();
    assert!(text.contains("second") && text.contains(&address.to_string()), "{text}");
    assert_eq!(farmgate.client().get("/").status, 200);
    let farm = farmgate.admin_get("/api/v1/farms/web").1;
    assert_eq!(farm["balance"], "roundrobin", "nothing of the refused file is live");
}

#[test]
fn listener_added_serves_and_removed_refuses() {
    let (_origin, setup, farmgate) = one();
    let with_second = setup.clone().another_frontend("second: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web}");
    assert_eq!(farmgate.reload(&with_second.yaml()).status, 200);
    let second = farmgate.front("second");
    let mut open = Client::connect(second);
    assert_eq!(open.get("/").origin(), "a");
    assert_eq!(farmgate.reload(&setup.yaml()).status, 200);
    until("the removed listener to refuse", || Client::try_connect(second).is_err().then_some(()));
    assert_eq!(farmgate.client().get("/").status, 200);
}

#[test]
fn twenty_reloads_under_load_cost_no_request() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let all = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), ""), Server::new("c", c.addr(), "")];
    let setup = Setup::http(&all[..1]);
    let farmgate = Farmgate::start(&setup);
    let load = Load::start(farmgate.front("web"), &["GET", "POST", "GET", "POST"]);
    for round in 0..20_usize {
        let mut next = setup.clone().servers(&all[..1 + round % 3]);
        if round % 2 == 0 {
            next = next.another_frontend("second: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web}");
        }
        let response = farmgate.reload(&next.yaml());
        assert_eq!(response.status, 200, "round {round}: {}", response.text());
        load.wait_for_more(20);
    }
    load.finish_without_failure();
    assert!(!b.requests().is_empty() && !c.requests().is_empty(), "the added servers were used");
}

#[test]
fn override_of_an_operator_survives_a_reload_and_yields_to_a_changed_file() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let of = |keys: &str| [Server::new("a", a.addr(), keys), Server::new("b", b.addr(), "")];
    let setup = Setup::http(&of("weight: 5"));
    let farmgate = Farmgate::start(&setup);
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 3}"#);
    let other = setup.farm("retries: {attempts: 1}");
    assert_eq!(farmgate.reload(&other.yaml()).status, 200);
    let server = farmgate.server("a");
    assert_eq!((&server["state"], &server["weight"]), (&"MAINT".into(), &3.into()), "kept: {server}");
    let changed = other.servers(&of("weight: 8"));
    assert_eq!(farmgate.reload(&changed.yaml()).status, 200);
    let server = farmgate.server("a");
    assert_eq!((&server["state"], &server["weight"]), (&"MAINT".into(), &8.into()), "the file's new weight wins");
    let drained = changed.servers(&of("weight: 8, status: drain"));
    assert_eq!(farmgate.reload(&drained.yaml()).status, 200);
    assert_eq!(farmgate.server("a")["admin"], "drain", "the file's new status wins");
}

#[test]
fn health_and_work_under_way_outlive_a_reload() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let of = |weight: u16| {
        [Server::new("a", a.addr(), &format!("weight: {weight}")), Server::new("b", b.addr(), "weight: 1")]
    };
    let setup = Setup::http(&of(1)).probe(FAST);
    let farmgate = Farmgate::start(&setup);
    b.health(Behaviour::Status(500));
    farmgate.wait_for_state("b", "DOWN");
    a.traffic(Behaviour::Slow(Duration::from_millis(1500)));
    let mut slow = farmgate.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request under way", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    b.health(Behaviour::Silent);
    assert_eq!(farmgate.reload(&setup.servers(&of(7)).yaml()).status, 200);
    let (a_now, b_now) = (farmgate.server("a"), farmgate.server("b"));
    assert_eq!(
        (&a_now["state"], &a_now["weight"], &a_now["in_flight"]),
        (&"UP".into(), &7.into(), &1.into()),
        "{a_now}"
    );
    assert_eq!(b_now["state"], "DOWN", "{b_now}");
    assert_eq!(slow.response().origin(), "a");
    until("nothing under way", || (farmgate.server("a")["in_flight"] == 0).then_some(()));
}

#[test]
fn server_removed_finishes_what_it_has_under_way() {
    let (a, b) = (Origin::doing("a", Behaviour::Slow(Duration::from_millis(1000))), Origin::start("b"));
    let setup = Setup::http(&[Server::new("a", a.addr(), "")]);
    let farmgate = Farmgate::start(&setup);
    let mut slow = farmgate.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request at the origin", || (a.requests().len() == 1).then_some(()));
    assert_eq!(farmgate.reload(&setup.servers(&[Server::new("b", b.addr(), "")]).yaml()).status, 200);
    assert_eq!(slow.response().origin(), "a");
    until("b to serve", || (slow.get("/").origin() == "b").then_some(()));
}

#[test]
fn server_with_a_new_address_starts_afresh_under_its_old_name() {
    let (a, other) = (Origin::start("a"), Origin::start("other"));
    let setup = Setup::http(&[Server::new("a", a.addr(), "")]);
    let farmgate = Farmgate::start(&setup);
    let id = farmgate.server("a")["id"].clone();
    assert_eq!(farmgate.reload(&setup.servers(&[Server::new("a", other.addr(), "")]).yaml()).status, 200);
    until("the new address to answer", || (farmgate.client().get("/").origin() == "other").then_some(()));
    let server = farmgate.server("a");
    assert_eq!((&server["id"], server["address"].as_str().unwrap()), (&id, other.addr().to_string().as_str()));
}

#[test]
fn storm_of_reloads_is_taken_one_by_one() {
    let (_origin, setup, farmgate) = one();
    let load = Load::start(farmgate.front("web"), &["GET"]);
    for round in 0..40 {
        let next = if round % 2 == 0 { setup.clone().farm("balance: first") } else { setup.clone() };
        std::fs::write(farmgate.config_path(), next.yaml()).unwrap();
        farmgate.signal("HUP");
    }
    assert_eq!(farmgate.reload(&setup.farm("balance: leastconn").yaml()).status, 200);
    until("the last config", || (farmgate.admin_get("/api/v1/farms/web").1["balance"] == "leastconn").then_some(()));
    load.finish_without_failure();
}

/// What must be the same of a server before and after.
fn standing_of(farmgate: &Farmgate, name: &str) -> Value {
    let mut server = farmgate.server(name);
    let kept =
        ["id", "state", "health", "admin", "weight", "effective_weight", "since", "order", "standing", "overrides"];
    server.as_object_mut().unwrap().retain(|field, _| kept.contains(&field.as_str()));
    server
}

fn event_count(farmgate: &Farmgate, name: &str) -> usize {
    let (_, told) = farmgate.admin_get(&format!("/api/v1/farms/web/servers/{name}/timeline?limit=1000"));
    told["events"].as_array().unwrap().len()
}

#[test]
fn reload_keeps_everything_that_is_known_of_servers_that_stay() {
    let names = ["drained", "down", "flapping", "ejected", "heavy", "kept", "fine"];
    let origins: Vec<_> = names.map(Origin::start).into();
    let of = |fine: &str, heavy: &str| -> Vec<Server> {
        let keys = |name| match name {
            "ejected" => "probe: false",
            "fine" => fine,
            "heavy" => heavy,
            _ => "",
        };
        names.iter().zip(&origins).map(|(name, origin)| Server::new(name, origin.addr(), keys(*name))).collect()
    };
    let setup = Setup::http(&of("", ""))
        .probe("{type: http, url: /healthz, interval: 200ms, timeout: 200ms, rise: 1, fall: 2}")
        .farm("observe: {errors: 3, eject: 1h, eject_max: 1h}")
        .farm("flap: {transitions: 2, within: 1h, hold: 1h}")
        .farm("slow_start: 1h");
    let farmgate = Farmgate::start(&setup);
    farmgate.wait_for_state("flapping", "UP");
    let post = |path: &str, body: &str| farmgate.operate("POST", &format!("/api/v1/farms/web/servers/{path}"), body);
    origins[2].health(Behaviour::Status(503));
    origins[1].health(Behaviour::Status(503));
    farmgate.wait_for_state("down", "DOWN");
    farmgate.wait_for_state("flapping", "DOWN");
    origins[2].health(Behaviour::Ok);
    until("flapping to be held", || farmgate.server("flapping")["standing"]["held_until"].as_str().map(drop));
    origins[3].traffic(Behaviour::Status(500));
    let mut client = farmgate.client();
    until("the ejection", || {
        client.get("/");
        farmgate.server("ejected")["standing"]["ejected"].as_object().map(drop)
    });
    post("drained/drain", r#"{"deadline": "1h", "reason": "kernel"}"#);
    post("kept/maintenance", r#"{"until": "1h"}"#);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/heavy/weight", r#"{"weight": 7}"#);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/fine/weight", r#"{"weight": 7}"#);
    post("fine/drain", "");
    let is_idle = || farmgate.log().matches("nothing is open on the server any more").count() == 3;
    until("each of the three orders to find nothing open", || is_idle().then_some(()));
    let before = names.map(|name| (standing_of(&farmgate, name), event_count(&farmgate, name)));

    let changed = setup.farm("timeouts: {connect: 1s}").farm("reserve: 10%");
    let new = Origin::start("new");
    let mut servers = of("", "");
    servers.insert(0, Server::new("new", new.addr(), ""));
    assert_eq!(farmgate.reload(&changed.clone().servers(&servers).yaml()).status, 200);
    for (name, (was, events)) in names.iter().zip(&before) {
        assert_eq!((standing_of(&farmgate, name), event_count(&farmgate, name)), (was.clone(), *events), "{name}");
    }
    farmgate.wait_for_state("new", "UP");

    // The file's own change of a field wins over what was set by hand, of that field and that server alone.
    servers[5] = Server::new("heavy", origins[4].addr(), "weight: 3");
    servers[7] = Server::new("fine", origins[6].addr(), "weight: 4");
    assert_eq!(farmgate.reload(&changed.servers(&servers).yaml()).status, 200);
    let (heavy, fine) = (farmgate.server("heavy"), farmgate.server("fine"));
    assert_eq!((&heavy["weight"], heavy["overrides"].as_array().unwrap().len()), (&3.into(), 0), "{heavy}");
    assert_eq!((&fine["weight"], &fine["admin"]), (&4.into(), &"drain".into()), "{fine}");
    assert_eq!((&fine["overrides"][0]["field"], fine["overrides"].as_array().unwrap().len()), (&"status".into(), 1));
    for (name, (was, events)) in names[..4].iter().zip(&before) {
        assert_eq!((standing_of(&farmgate, name), event_count(&farmgate, name)), (was.clone(), *events), "{name}");
    }
    assert_eq!(standing_of(&farmgate, "kept"), before[5].0);
}

#[test]
fn server_removed_stays_visible_until_what_is_open_on_it_ends() {
    let (a, b) = (Origin::doing("a", Behaviour::Upgrade), Origin::start("b"));
    let another =
        |addr| format!("extra: {{protocol: http, servers: {{x: \"{addr}\"}}, probe: {{type: tcp, interval: 10s}}}}");
    let front = "extra: {protocol: http, listen: [\"127.0.0.1:0\"], farm: extra}";
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let alone = Setup::http(&servers).farm("balance: first");
    let both = alone.clone().another_farm(&another(a.addr())).another_frontend(front);
    let farmgate = Farmgate::start(&both);
    let tunnel = |front: &str| {
        let mut client = Client::connect(farmgate.front(front));
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
        assert_eq!(client.request("GET", "/ws", &upgrade, b"").status, 101);
        client
    };
    let mut tunnels = [tunnel("web"), tunnel("extra")];
    let left = alone.servers(&[Server::new("b", b.addr(), "")]);
    assert_eq!(farmgate.reload(&left.yaml()).status, 200);
    let of_farm = || farmgate.admin_get("/api/v1/farms/web").1["leaving"].clone();
    let of_all = || farmgate.admin_get("/api/v1/status").1["leaving"].clone();
    let (a_leaves, x_leaves) = (of_farm()[0].clone(), of_all()[0].clone());
    assert_eq!((&a_leaves["farm"], &a_leaves["name"], &a_leaves["in_flight"]), (&"web".into(), &"a".into(), &1.into()));
    assert_eq!((&x_leaves["farm"], &x_leaves["name"]), (&"extra".into(), &"x".into()), "{x_leaves}");
    assert_eq!((&a_leaves["sessions"][0]["kind"], &a_leaves["sessions"][0]["count"]), (&"tunnel".into(), &1.into()));
    assert_eq!(farmgate.admin_get("/api/v1/farms/extra").0, 404);
    assert_eq!(farmgate.client().get("/").origin(), "b");
    for tunnel in &mut tunnels {
        tunnel.send("ping");
        assert_eq!(tunnel.take(4).unwrap(), b"ping");
    }
    for tunnel in &mut tunnels {
        tunnel.finish_writes();
        tunnel.rest().unwrap();
    }
    until("nobody to be leaving", || {
        (of_farm() == Value::from([0; 0]) && of_all() == Value::from([0; 0])).then_some(())
    });
    let (_, told) = farmgate.admin_get("/api/v1/timeline?limit=1000");
    let left: Vec<_> = told["events"].as_array().unwrap().iter().filter(|event| event["type"] == "left").collect();
    assert_eq!((left.len(), &left[0]["closed"], &left[1]["closed"]), (2, &0.into(), &0.into()), "{left:?}");
}
