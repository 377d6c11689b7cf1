//! Checks and what they do to traffic: out within the bound, back after `rise`, one bad server delays nobody.

use std::time::{Duration, Instant};

use crate::harness::{Behaviour, FAST, Farmgate, Origin, Server, Setup, TcpBehaviour, TcpOrigin, refused_port, until};

/// What a busy machine may add to a time that is bounded by the config.
const SLACK: Duration = Duration::from_secs(1);

/// Servers `a` and `b` under a fast probe.
fn two() -> (Origin, Origin, Farmgate) {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(FAST));
    (a, b, farmgate)
}

/// The check status of a server's last check.
fn last_status(farmgate: &Farmgate, name: &str) -> String {
    farmgate.server(name)["last_check"]["status"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn server_answering_503_is_down_within_the_bound_and_gets_nothing_more() {
    let (a, _b, farmgate) = two();
    farmgate.wait_for_state("a", "UP");
    a.health(Behaviour::Status(503));
    let began = Instant::now();
    let server = farmgate.wait_for_state("a", "DOWN");
    let bound = 4 * Duration::from_millis(200);
    assert!(began.elapsed() < bound + SLACK, "took {:?}", began.elapsed());
    assert_eq!(server["health"], "down");
    assert_eq!(server["last_check"]["status"], "L7STS");
    assert_eq!(server["last_check"]["code"].to_string().trim_matches('"'), "503");
    assert_eq!(server["effective_weight"], 0);
    let before = a.requests().len();
    let mut client = farmgate.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").origin(), "b");
    }
    assert_eq!(a.requests().len(), before);
}

#[test]
fn server_failing_fewer_checks_than_fall_stays_up() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let probe = "{type: http, url: /healthz, interval: 200ms, timeout: 150ms, rise: 2, fall: 1000}";
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(probe));
    a.health(Behaviour::Status(500));
    let server = until("progress towards down", || {
        let server = farmgate.server("a");
        server["state"].as_str().is_some_and(|s| s.starts_with("UP 99")).then_some(server)
    });
    assert_eq!(server["health"], "up");
    let mut client = farmgate.client();
    let by_a = (0..10).filter(|_| client.get("/").origin() == "a").count();
    assert!((4..=6).contains(&by_a), "{by_a}");
}

#[test]
fn server_is_back_after_rise_passes_and_not_before() {
    let (a, _b, farmgate) = two();
    a.health(Behaviour::Status(500));
    farmgate.wait_for_state("a", "DOWN");
    let checks_before = a.checks();
    a.health(Behaviour::Ok);
    farmgate.wait_for_state("a", "UP");
    // One check may have been answered 500 in between.
    assert!(a.checks() >= checks_before + 2, "back after {} checks", a.checks() - checks_before);
    let mut client = farmgate.client();
    let by_a = (0..10).filter(|_| client.get("/").origin() == "a").count();
    assert!((4..=6).contains(&by_a), "{by_a}");
    let flips = |to| farmgate.metric("farmgate_server_transitions_total", &["server=\"a\"", to]);
    assert!(flips("down") >= Some(1.0) && flips("up") >= Some(1.0), "{:?} {:?}", flips("down"), flips("up"));
}

#[test]
fn dripping_server_gets_its_verdict_at_the_timeout_and_delays_no_other() {
    let (a, b, farmgate) = two();
    a.health(Behaviour::DripHead(Duration::from_millis(10)));
    let server = farmgate.wait_for_state("a", "DOWN");
    assert_eq!(server["last_check"]["status"], "L7TOUT", "{server}");
    let (before, began) = (b.checks(), Instant::now());
    until("twenty checks of the other server", || (b.checks() >= before + 20).then_some(()));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(200 * 20 * 2) + SLACK, "20 checks at 200 ms took {took:?}");
    assert_eq!(farmgate.server("b")["health"], "up");
}

#[test]
fn dripping_body_is_cut_at_the_timeout_when_the_body_matters() {
    let origin = Origin::start("a");
    origin.health(Behaviour::DripBody(Duration::from_millis(10)));
    let probe = "{type: http, url: /healthz, interval: 400ms, timeout: 300ms, rise: 1, fall: 1, \
                 expect: {status: \"200\", contains: never}}";
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]).probe(probe));
    let server = farmgate.wait_for_state("a", "DOWN");
    assert_eq!(server["last_check"]["status"], "L7TOUT", "{server}");
}

#[test]
fn each_failure_is_told_by_haproxys_word() {
    let (_held, refused) = refused_port();
    let kinds = [
        ("silent", Behaviour::Silent, "L7TOUT"),
        ("nonsense", Behaviour::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()), "L7RSP"),
        ("error", Behaviour::Status(500), "L7STS"),
        ("unwanted", Behaviour::Status(404), "L7STS"),
        ("fine", Behaviour::Status(302), "L7OK"),
    ];
    let origins = kinds.clone().map(|(name, behaviour, _)| {
        let origin = Origin::start(name);
        origin.health(behaviour);
        origin
    });
    let mut servers: Vec<_> =
        origins.iter().zip(&kinds).map(|(origin, (name, ..))| Server::new(name, origin.addr(), "")).collect();
    servers.push(Server::new("refused", refused, ""));
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(FAST));
    for (name, _, want) in &kinds {
        until(&format!("{name} to be {want}"), || (last_status(&farmgate, name) == *want).then_some(()));
    }
    until("L4CON", || (last_status(&farmgate, "refused") == "L4CON").then_some(()));
    assert_eq!(farmgate.server("refused")["state"], "DOWN");
    assert_eq!(farmgate.server("fine")["state"], "UP");
}

#[test]
fn expectations_on_the_body_are_kept() {
    let answer = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes();
    let cases = [
        ("{contains: alive}", "I am alive", "UP"),
        ("{contains: alive}", "I am dead", "DOWN"),
        ("{matches: \"^state: (ok|warn)$\"}", "state: warn", "UP"),
        ("{matches: \"^state: (ok|warn)$\"}", "state: error", "DOWN"),
        ("{contains: maintenance, negate: true}", "all good", "UP"),
        ("{contains: maintenance, negate: true}", "under maintenance", "DOWN"),
    ];
    for (expect, text, want) in cases {
        let origin = Origin::start("a");
        origin.health(Behaviour::Raw(answer(text)));
        let probe = format!("{{type: http, url: /healthz, interval: 10s, timeout: 10s, expect: {expect}}}");
        let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]).probe(&probe));
        let server = farmgate.server("a");
        assert_eq!(server["state"], want, "{expect} on {text:?}: {server}");
        if want == "DOWN" {
            assert!(server["last_check"]["content"].as_str().is_some_and(|c| !c.is_empty()), "{server}");
        }
    }
}

#[test]
fn tcp_probe_sees_an_open_and_a_refused_port() {
    let (_held, refused) = refused_port();
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let servers = [Server::new("open", origin.addr(), ""), Server::new("shut", refused, "")];
    let farmgate = Farmgate::start(&Setup::tcp(&servers));
    assert_eq!((last_status(&farmgate, "open").as_str(), last_status(&farmgate, "shut").as_str()), ("L4OK", "L4CON"));
    assert_eq!(farmgate.server("open")["state"], "UP");
    assert_eq!(farmgate.server("shut")["state"], "DOWN");
}

#[test]
fn readyz_is_503_until_the_first_round_is_done() {
    let origin = Origin::start("a");
    origin.health(Behaviour::Slow(Duration::from_millis(1500)));
    let farmgate = Farmgate::start_unready(&Setup::http(&[Server::new("a", origin.addr(), "")]));
    assert_eq!(farmgate.open_get("/readyz").status, 503);
    assert_eq!(farmgate.open_get("/healthz").status, 200);
    until("/readyz to be 200", || (farmgate.open_get("/readyz").status == 200).then_some(()));
    assert_eq!(farmgate.server("a")["state"], "UP");
}

#[test]
fn readyz_does_not_wait_for_what_counts_for_nothing() {
    let origin = Origin::start("a");
    origin.traffic(Behaviour::Silent);
    // Nobody accepts: whoever connects hears nothing.
    let agent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, port) = (origin.addr(), agent.local_addr().unwrap().port());
    let hung = "interval: 10m, timeout: 10m";
    let farm = format!(
        "hung: {{protocol: http, probes: {{web: {FAST}, agent: {{type: agent, port: {port}, {hung}}}}}, shadow: {{type: \
         http, url: /silent, {hung}}}, servers: {{a: \"{addr}\"}}}}"
    );
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", addr, "")]).another_farm(&farm));
    let (_, told) = farmgate.admin_get("/api/v1/farms/hung/servers/a");
    assert_eq!(told["state"], "UP", "{told}");
}

#[test]
fn server_without_probe_is_used_and_says_no_check() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "probe: false")]));
    let server = farmgate.server("a");
    assert_eq!((&server["state"], &server["health"]), (&"no check".into(), &"off".into()));
    assert_eq!(farmgate.client().get("/").origin(), "a");
    assert_eq!(origin.checks(), 0);
}

#[test]
fn new_server_of_a_reload_is_not_used_until_its_first_check_passes() {
    let (a, c) = (Origin::start("a"), Origin::start("c"));
    c.health(Behaviour::Slow(Duration::from_millis(1200)));
    let setup = Setup::http(&[Server::new("a", a.addr(), "")]);
    let farmgate = Farmgate::start(&setup);
    let both = setup.servers(&[Server::new("a", a.addr(), ""), Server::new("c", c.addr(), "")]);
    assert_eq!(farmgate.reload(&both.yaml()).status, 200);
    let mut client = farmgate.client();
    assert_eq!(farmgate.server("c")["health"], "unknown");
    for _ in 0..10 {
        assert_eq!(client.get("/").origin(), "a");
    }
    farmgate.wait_for_state("c", "UP");
    let by_c = (0..10).filter(|_| client.get("/").origin() == "c").count();
    assert_eq!(by_c, 5);
}

#[test]
fn server_in_maintenance_is_still_probed_and_told_apart() {
    let (a, _b, farmgate) = two();
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    let before = a.checks();
    until("two more checks", || (a.checks() >= before + 2).then_some(()));
    let server = farmgate.server("a");
    assert_eq!(
        (&server["state"], &server["health"], &server["admin"]),
        (&"MAINT".into(), &"up".into(), &"maintenance".into())
    );
    a.health(Behaviour::Status(500));
    until("the verdict", || (farmgate.server("a")["health"] == "down").then_some(()));
    assert_eq!(farmgate.server("a")["state"], "MAINT");
}

#[test]
fn checks_carry_the_host_and_method_of_the_probe() {
    let origin = Origin::start("a");
    let probe =
        "{type: http, method: HEAD, url: \"/deep/check?x=1\", host: check.example, interval: 10s, timeout: 10s}";
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "")]).probe(probe));
    assert_eq!(farmgate.server("a")["state"], "UP");
    let seen = &origin.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("HEAD", "/deep/check?x=1"));
    assert_eq!(seen.header("host"), Some("check.example"));
}

#[test]
fn server_with_a_host_name_is_resolved_checked_and_used() {
    let origin = Origin::start("a");
    let servers = [Server::at("a", &format!("localhost:{}", origin.addr().port()), "")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    farmgate.wait_for_state("a", "UP");
    assert_eq!(farmgate.client().get("/").origin(), "a");
}

#[test]
fn server_whose_name_does_not_resolve_is_told_apart_and_delays_nobody() {
    let origin = Origin::start("a");
    let servers = [Server::new("a", origin.addr(), ""), Server::at("lost", "no-such-host.invalid:80", "")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    let mut client = farmgate.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").origin(), "a");
    }
    farmgate.wait_for_state("lost", "MAINT (resolution)");
}
