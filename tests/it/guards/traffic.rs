//! What traffic shows of servers: ejections and suspicions.

use super::*;

/// Slow to be ejected from by a check, quick to be ejected by traffic.
const OBSERVE: &str = "observe: {errors: 3, eject: 1s, eject_max: 2s, share_max: \"50%\"}";

/// Asks until the server is out for what its traffic showed, and returns it.
#[track_caller]
fn ask_until_ejected(farmgate: &Farmgate, name: &str) -> Value {
    let mut client = farmgate.client();
    until("the server to be ejected", || {
        let answer = client.get("/");
        if answer.header("connection") == Some("close") {
            client = farmgate.client();
        }
        Some(farmgate.server(name)).filter(|server| !server["standing"]["ejected"].is_null())
    })
}

#[test]
fn server_whose_traffic_fails_is_ejected_longer_each_time() {
    let (origins, setup) = farm(2, "probe: false");
    let farmgate = Farmgate::start(&setup.farm(OBSERVE));
    let a = &origins[0];
    a.traffic(Behaviour::Status(500));
    for (times, length) in [(1, 1000), (2, 2000), (3, 2000)] {
        let server = ask_until_ejected(&farmgate, "a");
        let ejected = &server["standing"]["ejected"];
        assert_eq!(
            (&ejected["kind"], &ejected["errors"], &ejected["times"]),
            (&"status".into(), &3.into(), &times.into())
        );
        assert_eq!(millis(&ejected["since"], &ejected["until"]), length, "{ejected}");
        assert_eq!((&server["state"], &server["effective_weight"]), (&"DOWN".into(), &0.into()), "{server}");
        let why = sentence(&farmgate, "a");
        assert!(why.contains("ejected") && why.contains("3 failures of its traffic in a row, the last a 5xx"), "{why}");
        let before = a.requests().len();
        let mut client = farmgate.client();
        (0..20).for_each(|_| assert_eq!(client.get("/").origin(), "b"));
        assert_eq!(a.requests().len(), before, "an ejected server was given work");
        if times == 3 {
            break;
        }
        wait_for_told(&farmgate, "farms/web/servers/a/", "ejection_ended", times);
    }
    let ejected = told(&farmgate, "farms/web/servers/a/", "ejected");
    let ended = told(&farmgate, "farms/web/servers/a/", "ejection_ended");
    assert_eq!(ejected.len(), 3, "{ejected:#?}");
    for (began, ended) in ejected.iter().zip(&ended) {
        assert!(millis(&began["until"], &ended["at"]) < 1000, "{began} {ended}");
    }
    assert!(farmgate.log().contains("ejected"));
}

#[test]
fn connections_refused_and_answers_that_do_not_come_eject_and_what_clients_do_does_not() {
    let (_held, nowhere) = refused_port();
    let (silent, good) = (Origin::doing("b", Behaviour::Silent), Origin::start("c"));
    let servers = [("a", nowhere), ("b", silent.addr()), ("c", good.addr())];
    let servers = servers.map(|(name, addr)| Server::new(name, addr, "probe: false"));
    let observe = "observe: {errors: 3, eject: 1m, share_max: \"100%\"}";
    let setup = Setup::http(&servers).farm(observe).farm("timeouts: {response: 100ms}");
    let farmgate = Farmgate::start(&setup);
    let kind = |name| ask_until_ejected(&farmgate, name)["standing"]["ejected"]["kind"].clone();
    assert_eq!((kind("a"), kind("b")), ("connect".into(), "response".into()));
    for status in [400, 404, 429, 501, 505] {
        good.traffic(Behaviour::Status(status));
        let mut client = farmgate.client();
        (0..4).for_each(|_| assert_eq!(client.get("/").status, status));
    }
    good.traffic(Behaviour::Slow(Duration::from_millis(50)));
    for _ in 0..6 {
        let so_far = good.requests().len();
        let mut client = farmgate.client();
        client.send("GET /gone HTTP/1.1\r\nHost: t\r\n\r\n");
        until("the request to arrive", || (good.requests().len() > so_far).then_some(()));
        client.reset();
    }
    until("nothing under way", || (farmgate.server("c")["in_flight"] == 0).then_some(()));
    good.traffic(Behaviour::Ok);
    assert_eq!(farmgate.client().get("/").origin(), "c");
    assert!(told(&farmgate, "farms/web/servers/c/", "ejected").is_empty());
}

#[test]
fn no_larger_share_of_a_farm_is_ejected_than_its_rule_says() {
    let (origins, setup) = farm(5, "probe: false");
    origins.iter().for_each(|origin| origin.traffic(Behaviour::Status(500)));
    let farmgate = Farmgate::start(&setup.farm("observe: {errors: 2, eject: 1m, share_max: \"50%\"}"));
    let mut client = farmgate.client();
    (0..200).for_each(|_| assert_eq!(client.get("/").status, 500));
    let farm = farm_of(&farmgate);
    let ejected = farm["servers"].as_array().unwrap().iter().filter(|s| !s["standing"]["ejected"].is_null()).count();
    assert_eq!((ejected, &farm["counts"]["in_rotation"]), (2, &3.into()), "{farm}");
    assert_eq!(told(&farmgate, "", "ejected").len(), 2);
}

#[test]
fn check_that_passes_ends_an_ejection() {
    let (origins, setup) = farm(2, "");
    let farmgate = Farmgate::start(&setup.probe(FAST).farm("observe: {errors: 3, eject: 1m}"));
    wait_until_up(&farmgate, 2);
    origins[0].traffic(Behaviour::Status(500));
    let mut client = farmgate.client();
    let (began, ended) = until("an ejection and its end", || {
        client.get("/");
        let ended = told(&farmgate, "farms/web/servers/a/", "ejection_ended").first()?.clone();
        Some((told(&farmgate, "farms/web/servers/a/", "ejected")[0].clone(), ended))
    });
    assert!(millis(&began["at"], &ended["at"]) < 10_000, "{began} {ended}");
}

#[test]
fn tcp_server_that_cannot_be_connected_to_is_ejected() {
    let ((_held, nowhere), good) = (refused_port(), TcpOrigin::start("b", TcpBehaviour::Echo));
    let servers = [Server::new("a", nowhere, "probe: false"), Server::new("b", good.addr(), "probe: false")];
    let farmgate = Farmgate::start(&Setup::tcp(&servers).farm("observe: {errors: 3, eject: 1m}"));
    until("the ejection", || {
        assert_eq!(farmgate.client().take(2).unwrap(), b"b\n", "another server is tried");
        farmgate.server("a")["standing"]["ejected"].as_object().map(drop)
    });
    assert_eq!(farmgate.server("a")["standing"]["ejected"]["kind"], "connect");
    assert!(farmgate.server("b")["standing"]["ejected"].is_null());
}

#[test]
fn server_whose_probes_and_traffic_disagree_is_suspect_until_they_do_not() {
    let (origin, other) = (Origin::doing("a", Behaviour::Status(500)), Origin::start("x"));
    other.health(UNWELL);
    let probe = |start| format!("{{type: http, url: /healthz, interval: 10s, timeout: 10s, start: {start}}}");
    let (up, down) = (probe("up"), probe("down"));
    let servers = format!("servers: {{x: \"{}\"}}", other.addr());
    let open = format!("open: {{protocol: http, fail_open: true, probe: {down}, {servers}}}");
    let front = "open: {protocol: http, listen: [\"127.0.0.1:0\"], farm: open}";
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).probe(&up);
    let farmgate = Farmgate::start(&setup.another_farm(&open).another_frontend(front));
    let mut client = farmgate.client();
    (0..30).for_each(|_| assert_eq!(client.get("/").status, 500));
    let mut well = Client::connect(farmgate.front("open"));
    (0..30).for_each(|_| assert_eq!(well.get("/").status, 200));
    let suspected = wait_for_told(&farmgate, "farms/web/servers/a/", "suspected", 1);
    // A sample may be taken between two of the requests.
    let suspicion = &suspected[0]["suspicion"];
    let bad = suspicion["bad"].as_u64().unwrap();
    assert_eq!((&suspicion["kind"], &suspicion["good"]), (&"traffic_fails".into(), &0.into()));
    assert!((20..=30).contains(&bad), "{suspicion}");
    let server = farmgate.server("a");
    assert_eq!(server["state"], "UP", "{server}");
    assert!(server["standing"]["suspicion"]["bad"].as_u64().is_some_and(|bad| bad >= 20), "{server}");
    let why = sentence(&farmgate, "a");
    assert!(why.contains("suspect: its checks pass, yet ") && why.contains(" requests failed"), "{why}");
    let of_other = wait_for_told(&farmgate, "farms/open/servers/x/", "suspected", 1);
    assert_eq!(of_other[0]["suspicion"]["kind"], "probes_fail", "{of_other:?}");
    origin.traffic(Behaviour::Ok);
    (0..120).for_each(|_| assert_eq!(client.get("/").status, 200));
    wait_for_told(&farmgate, "farms/web/servers/a/", "suspicion_ended", 1);
    assert!(farmgate.server("a")["standing"]["suspicion"].is_null());
    assert!(!sentence(&farmgate, "a").contains("suspect"));
}
