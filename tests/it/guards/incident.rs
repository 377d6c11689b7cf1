//! Most of a farm fails at once: the last good rotation is held, until the servers are back or are believed.

use super::*;

/// Four servers that stop listening at once, with an incident held for so long.
fn four_gone(hold: &str) -> (Vec<Origin>, Farmgate) {
    let (origins, setup) = farm(4, "");
    let setup = setup.probe(QUICK).farm(&format!("incident: {{hold: {hold}}}")).farm("retries: {attempts: 3}");
    let farmgate = Farmgate::start(&setup);
    wait_until_up(&farmgate, 4);
    origins.iter().for_each(Origin::crash);
    (origins, farmgate)
}

fn phases(farmgate: &Farmgate) -> Vec<String> {
    told(farmgate, "", "incident").iter().map(|event| event["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn servers_that_fail_all_at_once_are_held_until_they_are_back() {
    let (origins, farmgate) = four_gone("1m");
    until("all to be down", || (farm_of(&farmgate)["counts"]["down"] == 4).then_some(()));
    let farm = farm_of(&farmgate);
    assert_eq!((&farm["serving"], &farm["counts"]["in_rotation"]), (&"held".into(), &4.into()), "{farm}");
    assert!(farm["servers"].as_array().unwrap().iter().all(|server| server["held_by_incident"] == true), "{farm}");
    let why = sentence(&farmgate, "a");
    assert!(why.contains("suspects the balancer itself and holds the last good rotation"), "{why}");
    let (_, status) = farmgate.admin_get("/api/v1/status");
    assert_eq!((&status["incident"]["servers"], &status["incident"]["farms"][0]), (&4.into(), &"web".into()));
    assert_eq!(farmgate.client().get("/").status, 502, "they are tried");
    let back = Origin::at("c", origins[2].addr());
    let mut client = farmgate.client();
    for _ in 0..8 {
        assert_eq!(client.get("/").origin(), "c", "who answers is found");
    }
    let rest: Vec<_> = [0, 1, 3].map(|n| Origin::at(NAMES[n], origins[n].addr())).into();
    wait_until_up(&farmgate, 4);
    until("the incident to end", || (farmgate.admin_get("/api/v1/status").1["incident"].is_null()).then_some(()));
    assert_eq!(phases(&farmgate), ["began", "recovered"]);
    assert_eq!(farm_of(&farmgate)["serving"], "primaries");
    drop((back, rest));
}

#[test]
fn servers_that_stay_away_are_believed_to_be_down() {
    let (_origins, farmgate) = four_gone("1s");
    until("the incident to end", || (phases(&farmgate).len() == 2).then_some(()));
    assert_eq!(phases(&farmgate), ["began", "believed"]);
    let incident = told(&farmgate, "", "incident");
    assert!((1000..2000).contains(&millis(&incident[0]["at"], &incident[1]["at"])), "{incident:?}");
    let farm = until("nobody to serve", || Some(farm_of(&farmgate)).filter(|farm| farm["serving"] == "nobody"));
    assert_eq!((&farm["counts"]["down"], &farm["counts"]["in_rotation"]), (&4.into(), &0.into()), "{farm}");
    assert_eq!(farmgate.client().get("/").status, 503);
    assert_eq!(farmgate.server("a")["state"], "DOWN");
}

#[test]
fn farm_of_two_is_never_held() {
    let (origins, setup) = farm(2, "");
    let farmgate = Farmgate::start(&setup.probe(QUICK));
    wait_until_up(&farmgate, 2);
    origins.iter().for_each(Origin::crash);
    until("nobody to serve", || (farm_of(&farmgate)["serving"] == "nobody").then_some(()));
    assert_eq!(farm_of(&farmgate)["counts"]["down"], 2);
    assert!(phases(&farmgate).is_empty());
    assert!(farmgate.admin_get("/api/v1/status").1["incident"].is_null());
}

/// Four raw TCP servers, each with a connection that goes on when they listen no more, and a client on the first.
fn four_tcp(keys: &[&str]) -> (Vec<TcpOrigin>, Setup, Farmgate, Client) {
    let origins: Vec<_> = NAMES[..4].iter().map(|name| TcpOrigin::start(name, TcpBehaviour::Echo)).collect();
    let servers: Vec<_> = NAMES.iter().zip(&origins).map(|(name, o)| Server::new(name, o.addr(), "")).collect();
    let setup = Setup::tcp(&servers).probe("{type: tcp, interval: 150ms, timeout: 150ms, rise: 1, fall: 2}");
    let setup = keys.iter().fold(setup.farm("balance: first"), |setup, key| setup.farm(key));
    let farmgate = Farmgate::start(&setup);
    wait_until_up(&farmgate, 4);
    let mut client = farmgate.client();
    assert_eq!(client.take(2).unwrap(), b"a\n");
    (origins, setup, farmgate, client)
}

#[test]
fn connection_is_cut_when_its_server_goes_down_but_not_while_an_incident_holds_it() {
    let (mut origins, setup, farmgate, mut client) = four_tcp(&["on_down: close"]);
    origins.clear();
    until("all to be down", || (farm_of(&farmgate)["counts"]["down"] == 4).then_some(()));
    assert_eq!(phases(&farmgate), ["began"]);
    client.send("held");
    assert_eq!(client.take(4).unwrap(), b"held");
    assert_eq!(farmgate.reload(&setup.farm("incident: off").yaml()).status, 200);
    assert!(client.is_closed_within(Duration::from_secs(10)), "nobody suspects the balancer any more");
    assert_eq!(farm_of(&farmgate)["serving"], "nobody");

    let (mut origins, _, farmgate, mut client) = four_tcp(&["on_down: close", "incident: {hold: 1s}"]);
    origins.clear();
    assert!(client.is_closed_within(Duration::from_secs(10)));
    assert_eq!(phases(&farmgate), ["began", "believed"]);

    let (mut origins, _, farmgate, mut client) = four_tcp(&["on_down: close"]);
    drop(origins.remove(0));
    assert!(client.is_closed_within(Duration::from_secs(10)));
    farmgate.wait_for_state("a", "DOWN");
    assert!(phases(&farmgate).is_empty());
}
