//! How work is shared: exact weights, and what is left of them when a server goes.

use std::collections::BTreeMap;

use crate::harness::{Behaviour, Client, Farmgate, Origin, Server, Setup, until};

/// Origins a, b and c with weights 5, 3 and 2 behind one frontend.
fn five_three_two(probe: Option<&str>) -> ([Origin; 3], Farmgate) {
    let origins = ["a", "b", "c"].map(Origin::start);
    let servers: Vec<_> = origins.iter().zip([("a", 5), ("b", 3), ("c", 2)]).map(weighted).collect();
    let setup = Setup::http(&servers);
    let setup = if let Some(probe) = probe { setup.probe(probe) } else { setup };
    let farmgate = Farmgate::start(&setup);
    (origins, farmgate)
}

fn weighted((origin, (name, weight)): (&Origin, (&str, u16))) -> Server {
    Server::new(name, origin.addr(), &format!("weight: {weight}"))
}

/// Sends `n` requests on one connection and counts who answered.
#[track_caller]
fn shares(client: &mut Client, n: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..n {
        let response = client.get("/");
        assert_eq!(response.status, 200, "{}", response.text());
        *counts.entry(response.origin().to_owned()).or_insert(0) += 1;
    }
    counts
}

#[track_caller]
fn assert_within_one(counts: &BTreeMap<String, usize>, want: &[(&str, usize)]) {
    assert!(counts.keys().all(|name| want.iter().any(|(n, _)| n == name)), "{counts:?}, wanted {want:?}");
    for (name, want) in want {
        let got = counts.get(*name).copied().unwrap_or(0);
        assert!(got.abs_diff(*want) <= 1, "{name} answered {got}, not {want}: {counts:?}");
    }
}

#[test]
fn shares_of_1000_requests_on_one_connection_are_exact() {
    let (origins, farmgate) = five_three_two(None);
    let counts = shares(&mut farmgate.client(), 1000);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [500, 300, 200]);
    assert_eq!(origins.map(|o| o.requests().len()), [500, 300, 200]);
}

#[test]
fn shares_over_many_connections_and_workers_come_out_right() {
    let (origins, farmgate) = five_three_two(None);
    let mut clients: Vec<_> = (0..16).map(|_| farmgate.client()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
    }
    // Exact for each of two workers; each may be cut off within a round of ten.
    let counts = origins.map(|o| o.requests().len());
    for (got, want) in counts.iter().zip([160, 96, 64]) {
        assert!(usize::abs_diff(*got, want) <= 2, "{counts:?}");
    }
}

#[test]
fn shares_any_ten_requests_in_a_row_are_exact_and_never_in_bursts() {
    let (_origins, farmgate) = five_three_two(None);
    let mut client = farmgate.client();
    let order: Vec<String> = (0..60).map(|_| client.get("/").origin().to_owned()).collect();
    for window in order.windows(10) {
        let count = |name: &str| window.iter().filter(|o| *o == name).count();
        assert_eq!([count("a"), count("b"), count("c")], [5, 3, 2], "{order:?}");
    }
    for window in order.windows(3) {
        assert!(window.iter().any(|o| *o != window[0]), "three in a row: {order:?}");
    }
}

#[test]
fn shares_first_server_down_rest_split_three_to_two() {
    // Checks of the others may be late on a busy machine; that must not take them out.
    let patient = "{type: http, url: /healthz, interval: 1s, timeout: 1s, rise: 1, fall: 1}";
    let (origins, farmgate) = five_three_two(Some(patient));
    origins[0].health(Behaviour::Status(503));
    farmgate.wait_for_state("a", "DOWN");
    let before = origins[0].requests().len();
    let counts = shares(&mut farmgate.client(), 500);
    assert_within_one(&counts, &[("b", 300), ("c", 200)]);
    assert_eq!(origins[0].requests().len(), before);
}

#[test]
fn shares_first_server_in_maintenance_rest_split_three_to_two() {
    let (_origins, farmgate) = five_three_two(None);
    let mut client = farmgate.client();
    assert_within_one(&shares(&mut client, 100), &[("a", 50), ("b", 30), ("c", 20)]);
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    assert_within_one(&shares(&mut client, 500), &[("b", 300), ("c", 200)]);
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/ready", "");
    assert_within_one(&shares(&mut client, 500), &[("a", 250), ("b", 150), ("c", 100)]);
}

#[test]
fn shares_drained_server_gets_no_new_request_on_an_open_connection() {
    let (origins, farmgate) = five_three_two(None);
    let mut client = farmgate.client();
    shares(&mut client, 10);
    farmgate.operate("POST", "/api/v1/farms/web/servers/b/drain", "");
    let before = origins[1].requests().len();
    assert_within_one(&shares(&mut client, 140), &[("a", 100), ("c", 40)]);
    assert_eq!(origins[1].requests().len(), before);
}

#[test]
fn shares_weight_changed_through_the_api_hold_from_the_next_request() {
    let (_origins, farmgate) = five_three_two(None);
    let mut client = farmgate.client();
    shares(&mut client, 7);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 1}"#);
    assert_within_one(&shares(&mut client, 600), &[("a", 100), ("b", 300), ("c", 200)]);
}

#[test]
fn shares_weight_zero_takes_nothing() {
    let (_origins, farmgate) = five_three_two(None);
    farmgate.operate("PUT", "/api/v1/farms/web/servers/b/weight", r#"{"weight": 0}"#);
    assert_within_one(&shares(&mut farmgate.client(), 140), &[("a", 100), ("c", 40)]);
    assert_eq!(farmgate.server("b")["state"], "DRAIN");
}

#[test]
fn shares_every_weight_zero_is_503_and_heals() {
    let origin = Origin::start("a");
    let farmgate = Farmgate::start(&Setup::http(&[Server::new("a", origin.addr(), "weight: 0")]));
    let mut client = farmgate.client();
    let response = client.get("/");
    assert_eq!(response.status, 503);
    let id = response.header("x-request-id").expect("a request id").to_owned();
    assert!(!id.is_empty() && response.text().contains(&id), "{}", response.text());
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", r#"{"weight": 1}"#);
    assert_eq!(farmgate.client().get("/").origin(), "a");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn shares_largest_weights_are_exact() {
    let origins = ["a", "b"].map(Origin::start);
    let servers =
        [Server::new("a", origins[0].addr(), "weight: 65535"), Server::new("b", origins[1].addr(), "weight: 65535")];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    assert_within_one(&shares(&mut farmgate.client(), 100), &[("a", 50), ("b", 50)]);
}

#[test]
fn backup_is_used_only_while_no_primary_is_up() {
    let origins = ["a", "b", "spare"].map(Origin::start);
    let servers = [
        Server::new("a", origins[0].addr(), ""),
        Server::new("b", origins[1].addr(), ""),
        Server::new("spare", origins[2].addr(), "backup: true"),
    ];
    let farmgate = Farmgate::start(&Setup::http(&servers));
    let mut client = farmgate.client();
    assert_within_one(&shares(&mut client, 20), &[("a", 10), ("b", 10)]);
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    assert_within_one(&shares(&mut client, 20), &[("b", 20)]);
    farmgate.operate("POST", "/api/v1/farms/web/servers/b/maintenance", "");
    assert_eq!(shares(&mut client, 20), BTreeMap::from([("spare".to_owned(), 20)]));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/ready", "");
    assert_eq!(shares(&mut client, 20), BTreeMap::from([("a".to_owned(), 20)]));
}

/// Three even servers under that algorithm.
fn three_even(balance: &str) -> ([Origin; 3], Farmgate) {
    let origins = ["a", "b", "c"].map(Origin::start);
    let servers: Vec<_> = origins.iter().zip(["a", "b", "c"]).map(|(o, n)| Server::new(n, o.addr(), "")).collect();
    let farmgate = Farmgate::start(&Setup::http(&servers).farm(&format!("balance: {balance}")));
    (origins, farmgate)
}

#[test]
fn first_uses_the_first_server_until_it_is_out() {
    let (_origins, farmgate) = three_even("first");
    assert_eq!(shares(&mut farmgate.client(), 10), BTreeMap::from([("a".to_owned(), 10)]));
    farmgate.operate("POST", "/api/v1/farms/web/servers/a/maintenance", "");
    assert_eq!(shares(&mut farmgate.client(), 10), BTreeMap::from([("b".to_owned(), 10)]));
}

#[test]
fn source_keeps_a_client_on_its_server() {
    let (_origins, farmgate) = three_even("source");
    let first = farmgate.client().get("/").origin().to_owned();
    for _ in 0..5 {
        assert_eq!(farmgate.client().get("/other").origin(), first);
    }
}

#[test]
fn uri_keeps_a_path_on_its_server_and_moves_only_what_a_lost_server_held() {
    let (_origins, farmgate) = three_even("uri");
    let mut client = farmgate.client();
    let mut places = |tag: &str| -> Vec<String> {
        (0..60).map(|n| client.get(&format!("/item/{n}?{tag}")).origin().to_owned()).collect()
    };
    let before = places("one");
    assert_eq!(before, places("two"), "the query is no part of the key");
    for name in ["a", "b", "c"] {
        assert!(before.iter().filter(|o| *o == name).count() >= 5, "{before:?}");
    }
    farmgate.operate("POST", "/api/v1/farms/web/servers/b/maintenance", "");
    for (was, is) in before.iter().zip(places("three")) {
        assert!(is != "b" && (was == "b" || *was == is), "{was} became {is}");
    }
}

#[test]
fn leastconn_avoids_the_servers_with_work_under_way() {
    let (origins, farmgate) = three_even("leastconn");
    origins[0].traffic(Behaviour::Silent);
    origins[1].traffic(Behaviour::Silent);
    let mut stuck: Vec<Client> = Vec::new();
    // The stuck requests end up on a and b: c answers at once and is free again.
    while origins[0].requests().is_empty() || origins[1].requests().is_empty() {
        assert!(stuck.len() < 20, "a and b never got a request");
        let mut client = farmgate.client();
        client.send("GET /stuck HTTP/1.1\r\nHost: test.example\r\n\r\n");
        stuck.push(client);
        let sent = stuck.len();
        until("the request to reach an origin", || {
            (origins.iter().map(|o| o.requests().len()).sum::<usize>() >= sent).then_some(())
        });
    }
    // Other workers' counts are known with a delay, the API's sum is not.
    until("both to show as busy", || {
        (farmgate.server("a")["in_flight"].as_u64() > Some(0) && farmgate.server("b")["in_flight"].as_u64() > Some(0))
            .then_some(())
    });
    let counts = shares(&mut farmgate.client(), 20);
    assert_eq!(counts, BTreeMap::from([("c".to_owned(), 20)]));
}
