//! Clients that are brought back to the server they had, by cookie and by address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use farmgate::model::{AdminStatus, CookieRule, Farm, Protocol, SameSite, Server, Stickiness};

use crate::harness::{Behaviour, InProcess, Origin, Response, TcpBehaviour, TcpOrigin};

fn by_cookie(farm: &mut Farm) {
    farm.stickiness = Stickiness::Cookie(CookieRule {
        name: "WAY".into(),
        max_age: None,
        is_secure: true,
        is_http_only: true,
        same_site: SameSite::Strict,
        key: None,
    });
}

fn by_source(farm: &mut Farm) {
    farm.stickiness = Stickiness::Source { idle: Duration::from_secs(60), clients_max: 100 };
}

fn three(adjust: impl FnOnce(&mut Farm)) -> (Vec<Origin>, InProcess) {
    let origins: Vec<_> = ["a", "b", "c"].map(Origin::start).into();
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(Origin::addr)).collect();
    let plane = InProcess::start(Protocol::Http, &servers, adjust);
    (origins, plane)
}

/// The cookie that an answer sets, as the client sends it back.
fn set(response: &Response) -> Option<String> {
    response.header("set-cookie").map(|line| line.split(';').next().unwrap().to_owned())
}

fn get(plane: &InProcess, cookie: &str) -> Response {
    plane.client().request("GET", "/", &[("Cookie", cookie)], b"")
}

#[test]
fn cookie_brings_a_client_back_and_is_set_once() {
    let (_origins, plane) = three(by_cookie);
    let first = plane.client().get("/");
    let line = first.header("set-cookie").unwrap();
    assert!(line.starts_with("WAY=") && line.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{line}");
    let cookie = set(&first).unwrap();
    for _ in 0..10 {
        let again = get(&plane, &format!("other=1; {cookie}"));
        assert_eq!((again.origin(), set(&again)), (first.origin(), None));
    }
    assert_eq!(plane.attempts(plane.access(11).last().unwrap())[0].1, "sticky_cookie");
}

#[test]
fn cookie_that_is_forged_is_replaced() {
    let (_origins, plane) = three(by_cookie);
    let first = plane.client().get("/");
    let (value, tag) = set(&first).unwrap().split_once('.').map(|(v, t)| (v.to_owned(), t.to_owned())).unwrap();
    for forged in [value.clone(), format!("{value}.{}", "0".repeat(tag.len())), "WAY=a".to_owned()] {
        let answer = get(&plane, &forged);
        assert_eq!(answer.status, 200);
        assert!(set(&answer).is_some(), "{forged}");
    }
}

#[test]
fn cookie_holds_for_a_server_that_drains_and_not_for_one_in_maintenance() {
    let (_origins, mut plane) = three(by_cookie);
    let first = plane.client().get("/");
    let (had, cookie) = (first.origin().to_owned(), set(&first).unwrap());
    plane.set(&had, AdminStatus::Drain);
    assert_eq!(get(&plane, &cookie).origin(), had);
    for _ in 0..6 {
        assert_ne!(plane.client().get("/").origin(), had, "a new client went to a server that drains");
    }
    plane.set(&had, AdminStatus::Maintenance);
    let moved = get(&plane, &cookie);
    assert_ne!(moved.origin(), had);
    let new = set(&moved).expect("a new cookie");
    assert_eq!((get(&plane, &new).origin(), set(&get(&plane, &new))), (moved.origin(), None));
}

#[test]
fn cookie_of_a_server_that_cannot_be_reached_is_replaced_by_the_next_ones() {
    let (origins, plane) = three(by_cookie);
    let first = plane.client().get("/");
    let cookie = set(&first).unwrap();
    origins.iter().zip(["a", "b", "c"]).find(|(_, name)| *name == first.origin()).unwrap().0.crash();
    let moved = get(&plane, &cookie);
    assert_eq!(moved.status, 200);
    assert_ne!(moved.origin(), first.origin());
    let new = set(&moved).expect("a new cookie");
    assert_eq!(get(&plane, &new).origin(), moved.origin());
    let attempts = plane.attempts(&plane.access(2)[1]);
    let (last, before) = attempts.split_last().unwrap();
    assert_eq!((last.1, last.2), ("roundrobin", "answered"), "{attempts:?}");
    // How a server that dies is met depends on how far it has come with that.
    let is_sticky = |(_, why, how): &(String, &str, &str)| *why == "sticky_cookie" && *how != "answered";
    assert!(!before.is_empty() && before.iter().all(is_sticky), "{attempts:?}");
}

#[test]
fn cookie_is_the_servers_own_where_it_has_one() {
    let (_origins, plane) = three(|farm| {
        by_cookie(farm);
        farm.servers.truncate(1);
        farm.servers[0] = Arc::new(Server { cookie: Some("own".into()), ..(*farm.servers[0]).clone() });
    });
    assert!(set(&plane.client().get("/")).unwrap().starts_with("WAY=own."));
}

#[test]
fn cookie_comes_with_an_upgrade_too() {
    let (origins, plane) = three(by_cookie);
    for origin in &origins {
        origin.traffic(Behaviour::Upgrade);
    }
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let answer = plane.client().request("GET", "/ws", &fields, b"");
    assert_eq!(answer.status, 101);
    assert!(set(&answer).is_some());
}

#[test]
fn sticky_requests_take_nobodys_turn() {
    let (_origins, plane) = three(by_cookie);
    let mut client = plane.client();
    let cookie = set(&client.get("/")).unwrap();
    let mut shares = BTreeMap::new();
    // One connection, so one worker's turns.
    client.get("/");
    client.get("/");
    for _ in 0..30 {
        client.request("GET", "/", &[("Cookie", &cookie)], b"");
        *shares.entry(client.get("/").origin().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn address_brings_a_client_back_whatever_worker_it_meets() {
    let (_origins, mut plane) = three(by_source);
    let had = plane.client().get("/").origin().to_owned();
    for _ in 0..20 {
        let again = plane.client().get("/");
        assert_eq!((again.origin(), again.header("set-cookie")), (&*had, None));
    }
    assert_eq!(plane.attempts(plane.access(21).last().unwrap())[0].1, "sticky_source");
    plane.set(&had, AdminStatus::Drain);
    assert_eq!(plane.client().get("/").origin(), had);
    plane.set(&had, AdminStatus::Maintenance);
    let moved = plane.client().get("/").origin().to_owned();
    assert_ne!(moved, had);
    plane.set(&had, AdminStatus::Active);
    assert_eq!(plane.client().get("/").origin(), moved, "it stays where it went");
}

#[test]
fn address_brings_raw_connections_back() {
    let origins = ["a", "b", "c"].map(|name| TcpOrigin::start(name, TcpBehaviour::Echo));
    let servers: Vec<_> = ["a", "b", "c"].into_iter().zip(origins.iter().map(TcpOrigin::addr)).collect();
    let plane = InProcess::start(Protocol::Tcp, &servers, by_source);
    let mut greetings: Vec<_> = (0..10).map(|_| plane.client().take(2).unwrap()).collect();
    greetings.dedup();
    assert_eq!(greetings.len(), 1);
}

#[test]
fn farm_that_is_not_sticky_sets_no_cookie_and_follows_none() {
    let (_origins, plane) = three(|_| {});
    let mut origins: Vec<_> = (0..12)
        .map(|_| {
            let answer = get(&plane, "WAY=x");
            assert_eq!(answer.header("set-cookie"), None);
            answer.origin().to_owned()
        })
        .collect();
    origins.sort();
    origins.dedup();
    assert_eq!(origins.len(), 3);
}
