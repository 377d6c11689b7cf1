//! Sticky clients by the keys of the config: cookies and addresses, over HTTP and TCP, through drains, maintenance,
//! falls and restarts. `sticky` asks what no key reaches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Behaviour, Client, Farmgate, Origin, Response, Server, Setup, TcpBehaviour, TcpOrigin, until};

/// A probe that decides soon.
const QUICK: &str = "{type: http, url: /healthz, interval: 150ms, timeout: 150ms, rise: 1, fall: 2}";
const KEYED: &str = "stickiness: {cookie: {name: WAY, max_age: 1h, secure: true, http_only: true, same_site: strict, \
                     key: key-of-this-suite-alone}}";
const UNKEYED: &str = "stickiness: {cookie: {name: WAY}}";
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three servers, of which `b` has a cookie of its own.
fn three(stickiness: &str) -> (Vec<Origin>, Setup) {
    let origins: Vec<_> = NAMES.map(Origin::start).into();
    let keys = ["", "cookie: bee", ""].into_iter().map(|cookie| if stickiness.contains("WAY") { cookie } else { "" });
    let of = |((name, origin), keys): ((&&str, &Origin), &str)| Server::new(name, origin.addr(), keys);
    let servers: Vec<_> = NAMES.iter().zip(&origins).zip(keys).map(of).collect();
    (origins, Setup::http(&servers).probe(QUICK).farm(stickiness).top("workers: 1"))
}

fn start(setup: &Setup) -> Farmgate {
    let farmgate = Farmgate::start(setup);
    NAMES.iter().for_each(|name| drop(farmgate.wait_for_state(name, "UP")));
    farmgate
}

/// The cookie that an answer sets, as the client sends it back.
fn set(answer: &Response) -> Option<String> {
    answer.header("set-cookie").map(|line| line.split(';').next().unwrap().to_owned())
}

/// A request on a connection of its own.
#[track_caller]
fn get(farmgate: &Farmgate, cookie: &str) -> Response {
    farmgate.client().request("GET", "/", &[("Cookie", cookie)], b"")
}

/// A client for each server, with its cookie.
fn a_client_of_each(farmgate: &Farmgate) -> BTreeMap<String, String> {
    let mut cookies = BTreeMap::new();
    for _ in NAMES {
        let answer = farmgate.client().get("/");
        cookies.insert(answer.origin().to_owned(), set(&answer).unwrap());
    }
    assert_eq!(cookies.len(), NAMES.len(), "{cookies:?}");
    cookies
}

fn act(farmgate: &Farmgate, name: &str, act: &str) {
    farmgate.operate("POST", &format!("/api/v1/farms/web/servers/{name}/{act}"), "");
}

#[test]
fn cookie_is_set_once_as_the_file_says_and_brings_the_client_back() {
    let (_origins, setup) = three(KEYED);
    let farmgate = start(&setup);
    let cookies = a_client_of_each(&farmgate);
    for (name, cookie) in &cookies {
        for _ in 0..5 {
            let again = get(&farmgate, &format!("other=1; {cookie}; more=2"));
            assert_eq!((again.origin(), again.header("set-cookie")), (name.as_str(), None));
        }
    }
    assert!(cookies["b"].starts_with("WAY=bee."), "{}", cookies["b"]);
    let line = farmgate.client().get("/").header("set-cookie").unwrap().to_owned();
    let attributes = "; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict";
    assert!(line.starts_with("WAY=") && line.ends_with(attributes), "{line}");
    let (_plain_origins, plain) = three(UNKEYED);
    let line = start(&plain).client().get("/").header("set-cookie").unwrap().to_owned();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
}

#[test]
fn cookie_that_is_not_ours_is_as_good_as_none_and_replaced() {
    let (_origins, setup) = three(KEYED);
    let (_others, other) = three(&KEYED.replace("key-of-this", "key-of-another"));
    let farmgate = start(&setup);
    let bee = a_client_of_each(&farmgate)["b"].clone();
    let foreign = a_client_of_each(&start(&other))["b"].clone();
    let (value, tag) = bee.split_once('.').unwrap();
    let cut = bee[..bee.len() - 1].to_owned();
    let zeros = format!("{value}.{}", "0".repeat(tag.len()));
    for forged in [value.to_owned(), zeros, cut, foreign, "WAY=".to_owned(), "WAY=b".to_owned(), "WAY".to_owned()] {
        let mut seen: Vec<_> = (0..3)
            .map(|_| {
                let answer = get(&farmgate, &forged);
                let ours = set(&answer).unwrap_or_else(|| panic!("{forged} was not replaced"));
                assert_eq!(get(&farmgate, &ours).origin(), answer.origin(), "{forged}");
                answer.origin().to_owned()
            })
            .collect();
        seen.sort();
        assert_eq!(seen, NAMES, "{forged} took part in the turns");
    }
    let lines = [("Cookie", "WAY=forged"), ("Cookie", bee.as_str())];
    let answer = farmgate.client().request("GET", "/", &lines, b"");
    assert_eq!((answer.origin(), set(&answer)), ("b", None), "the one that is ours counts");
}

#[test]
fn cookie_outlives_the_process_with_a_key_and_not_without() {
    for (stickiness, outlives) in [(KEYED, true), (UNKEYED, false)] {
        let (_origins, setup) = three(stickiness);
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut first = Farmgate::start_in(&dir, &setup, &[]);
        NAMES.iter().for_each(|name| drop(first.wait_for_state(name, "UP")));
        let cookies = a_client_of_each(&first);
        assert_eq!(first.reload(&setup.clone().farm("timeouts: {connect: 1s}").yaml()).status, 200);
        for (name, cookie) in &cookies {
            assert_eq!(get(&first, cookie).origin(), name, "a reload keeps them");
        }
        first.kill();
        drop(first);
        let second = Farmgate::start_in(&dir, &setup, &[]);
        NAMES.iter().for_each(|name| drop(second.wait_for_state(name, "UP")));
        for (name, cookie) in &cookies {
            let answer = get(&second, cookie);
            assert_eq!(set(&answer).is_none(), outlives, "{stickiness}");
            assert!(!outlives || answer.origin() == name, "{stickiness}");
        }
    }
}

#[test]
fn cookie_holds_through_a_drain_and_is_renewed_by_maintenance_and_a_fall() {
    let (origins, setup) = three(KEYED);
    let farmgate = start(&setup);
    let cookies = a_client_of_each(&farmgate);
    act(&farmgate, "a", "drain");
    for _ in 0..6 {
        let answer = get(&farmgate, &cookies["a"]);
        assert_eq!((answer.origin(), set(&answer)), ("a", None));
        assert_ne!(farmgate.client().get("/").origin(), "a", "a new client went to a server that drains");
    }
    let leave = |taken_out: &str| {
        let moved = get(&farmgate, &cookies["a"]);
        assert_ne!(moved.origin(), "a", "{taken_out}");
        let renewed = set(&moved).unwrap_or_else(|| panic!("{taken_out}: nothing new is set"));
        for _ in 0..5 {
            let again = get(&farmgate, &renewed);
            assert_eq!((again.origin(), set(&again)), (moved.origin(), None), "{taken_out}");
        }
        renewed
    };
    act(&farmgate, "a", "maintenance");
    let renewed = leave("maintenance");
    act(&farmgate, "a", "ready");
    assert_eq!(get(&farmgate, &cookies["a"]).origin(), "a", "the old cookie is good again");
    assert_ne!(get(&farmgate, &renewed).origin(), "a", "who moved stays");
    origins[0].health(Behaviour::Status(503));
    farmgate.wait_for_state("a", "DOWN");
    leave("down");
    act(&farmgate, "a", "drain");
    leave("down and draining");
}

#[test]
fn sticky_clients_leave_the_shares_of_the_others_exact() {
    let origins: Vec<_> = NAMES.map(Origin::start).into();
    let weights = ["weight: 3", "weight: 2", "weight: 1"];
    let of = |((name, origin), keys): ((&&str, &Origin), &str)| Server::new(name, origin.addr(), keys);
    let servers: Vec<_> = NAMES.iter().zip(&origins).zip(weights).map(of).collect();
    let farmgate = start(&Setup::http(&servers).farm(KEYED).top("workers: 1"));
    let first = farmgate.client().get("/");
    let (had, cookie) = (first.origin().to_owned(), set(&first).unwrap());
    // The first of the others is asked for here, before the window that is counted.
    (0..5).for_each(|_| drop(farmgate.client().get("/")));
    let mut counts = BTreeMap::new();
    let mut client = farmgate.client();
    for n in 0..60 {
        for _ in 0..n % 3 {
            assert_eq!(get(&farmgate, &cookie).origin(), had);
        }
        *counts.entry(client.get("/").origin().to_owned()).or_insert(0) += 1;
    }
    let counts: Vec<(&str, i32)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("a", 30), ("b", 20), ("c", 10)]);
}

/// Asks as the client of that last byte.
#[track_caller]
fn get_from(farmgate: &Farmgate, last: u8) -> String {
    Client::connect_from([127, 0, 0, last], farmgate.front("web")).get("/").origin().to_owned()
}

#[test]
fn client_is_known_by_its_address_until_it_stays_away() {
    let (origins, setup) = three("stickiness: source");
    let farmgate = start(&setup);
    let had: BTreeMap<u8, String> = (2..8).map(|last| (last, get_from(&farmgate, last))).collect();
    for name in NAMES {
        assert_eq!(had.values().filter(|had| *had == name).count(), 2, "new clients take turns: {had:?}");
    }
    for _ in 0..3 {
        had.iter().for_each(|(last, had)| assert_eq!(get_from(&farmgate, *last), *had));
    }
    let (client, name) = (2, &had[&2]);
    act(&farmgate, name, "drain");
    assert_eq!(get_from(&farmgate, client), *name);
    (20..26).for_each(|last| assert_ne!(get_from(&farmgate, last), *name));
    act(&farmgate, name, "maintenance");
    let moved = get_from(&farmgate, client);
    assert_ne!(moved, *name);
    act(&farmgate, name, "ready");
    assert_eq!(get_from(&farmgate, client), moved, "who moved stays");
    let position = NAMES.iter().position(|name| **name == moved).unwrap();
    origins[position].health(Behaviour::Status(503));
    farmgate.wait_for_state(&moved, "DOWN");
    let again = get_from(&farmgate, client);
    assert_ne!(again, moved);
    origins[position].health(Behaviour::Ok);
    farmgate.wait_for_state(&moved, "UP");
    assert_eq!(get_from(&farmgate, client), again);
}

#[test]
fn client_that_stays_away_for_longer_than_the_file_says_is_new() {
    let (_origins, setup) = three("stickiness: {source: {idle: 1s}}");
    let farmgate = start(&setup);
    let turns: Vec<_> = (0..3)
        .map(|_| {
            let had = get_from(&farmgate, 2);
            std::thread::sleep(Duration::from_millis(1100));
            had
        })
        .collect();
    assert!(turns[0] != turns[1] && turns[1] != turns[2], "each time it takes the next turn: {turns:?}");
}

#[test]
fn tcp_client_is_known_by_its_address() {
    let origins: Vec<_> = NAMES.map(|name| TcpOrigin::start(name, TcpBehaviour::Echo)).into();
    let servers: Vec<_> = NAMES.iter().zip(&origins).map(|(name, o)| Server::new(name, o.addr(), "")).collect();
    let setup = Setup::tcp(&servers).farm("stickiness: source").top("workers: 1");
    let farmgate = start(&setup.probe("{type: tcp, interval: 100ms, timeout: 100ms, rise: 1, fall: 1}"));
    let served_by = |last: u8| {
        let mut client = Client::connect_from([127, 0, 0, last], farmgate.front("web"));
        String::from_utf8(client.take(2).unwrap()).unwrap().trim_end().to_owned()
    };
    let had: BTreeMap<u8, String> = (2..8).map(|last| (last, served_by(last))).collect();
    for name in NAMES {
        assert_eq!(had.values().filter(|had| *had == name).count(), 2, "new clients take turns: {had:?}");
    }
    had.iter().for_each(|(last, had)| assert_eq!(served_by(*last), *had));
    act(&farmgate, &had[&2], "drain");
    assert_eq!(served_by(2), had[&2]);
    act(&farmgate, &had[&2], "maintenance");
    let moved = served_by(2);
    assert_ne!(moved, had[&2]);
    act(&farmgate, &had[&2], "ready");
    until("the server to be in rotation", || (farmgate.server(&had[&2])["effective_weight"] == 1).then_some(()));
    assert_eq!(served_by(2), moved, "who moved stays");
}
