//! Servers that their traffic, their flapping, a warm-up, an incident or their agent weighs on.

use super::{QUICK, Told, says, served_by, setup};
use crate::harness::{Behaviour, Farmgate, Origin, Server, Setup, TcpBehaviour, TcpOrigin, until};

const UNWELL: Behaviour = Behaviour::Status(500);

#[test]
fn ejected_server_says_what_its_traffic_saw_and_when_it_is_back() {
    let [bad, fine, plain] = ["bad", "fine", "plain"].map(Origin::start);
    let servers = [
        Server::new("bad", bad.addr(), ""),
        Server::new("plain", plain.addr(), "probe: false"),
        Server::new("fine", fine.addr(), ""),
    ];
    let probe = "{type: http, url: /healthz, interval: 1m, timeout: 1m}";
    let observe = "observe: {errors: 4, eject: 4s, eject_max: 4s, share_max: 100%}";
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(probe).farm(observe));
    farmgate.wait_for_state("bad", "UP");
    // No further check ends before the ejection does.
    bad.health(Behaviour::Silent);
    bad.traffic(UNWELL);
    plain.traffic(Behaviour::Status(503));
    let mut client = farmgate.client();
    until("both to be ejected", || {
        client.get("/");
        (farmgate.server("bad")["state"] == "DOWN" && farmgate.server("plain")["state"] == "DOWN").then_some(())
    });
    let told = says(
        &farmgate,
        "web/bad",
        "DOWN since T (D): ejected: 4 failures of its traffic in a row, the last a 5xx; until T (in D) or a check that \
         passes; its checks pass; next check in D",
    );
    served_by(&farmgate, &["fine"]);
    let until_then = told.time("until ").unwrap();
    says(
        &farmgate,
        "web/plain",
        "DOWN since T (D): ejected: 4 failures of its traffic in a row, the last a 5xx; until T (in D); it is not checked",
    );
    let told = says(
        &farmgate,
        "web/bad",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1, 33 % of the \
         rotation",
    );
    let back = super::seconds_of_day(&told.text("at")[11..19]);
    assert!(super::behind(until_then, back) < 5, "back {back} s of the day, said {until_then}");
}

#[test]
fn flapping_server_says_that_it_is_held_and_then_warms_up() {
    let [flapper, fine] = ["flapper", "fine"].map(Origin::start);
    let servers =
        [Server::new("flapper", flapper.addr(), "weight: 100"), Server::new("fine", fine.addr(), "weight: 100")];
    let probe = "{type: http, url: /healthz, interval: 250ms, timeout: 250ms, rise: 1, fall: 1}";
    let setup = Setup::http(&servers).probe(probe).farm("slow_start: 1h");
    let farmgate = Farmgate::start(&setup.farm("flap: {transitions: 2, within: 1m, hold: 3s}"));
    farmgate.wait_for_state("flapper", "UP");
    flapper.health(UNWELL);
    until("the fall", || (farmgate.server("flapper")["health"] == "down").then_some(()));
    flapper.health(Behaviour::Ok);
    let told = says(
        &farmgate,
        "web/flapper",
        "DOWN since T (D): held down for flapping: 2 changes of health within D; until T (in D), later if it changes \
         again; its checks pass",
    );
    served_by(&farmgate, &["fine"]);
    let until_then = told.time("until ").unwrap();
    let told = says(
        &farmgate,
        "web/flapper",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1 of 100 \
         (warming up: 1 % now, all of it at T (in D)), 1 % of the rotation",
    );
    let back = super::seconds_of_day(&told.text("at")[11..19]);
    assert!(super::behind(until_then, back) < 5, "back {back} s of the day, said {until_then}");
}

#[test]
fn suspect_server_says_that_checks_and_traffic_disagree() {
    let [suspect, fine] = ["suspect", "fine"].map(Origin::start);
    suspect.traffic(UNWELL);
    let farmgate = Farmgate::start(&setup(QUICK, &[&suspect, &fine]));
    farmgate.wait_for_state("suspect", "UP");
    let mut client = farmgate.client();
    let told = until("the suspicion", || {
        for _ in 0..4 {
            client.get("/");
        }
        let told = Told::now(&farmgate, "web/suspect");
        told.sentence().contains("suspect").then_some(told)
    });
    assert!(told.sentence().starts_with("UP since "), "{}", told.sentence());
    let words = told.sentence().split("suspect: its checks pass, yet ").nth(1).unwrap();
    let numbers: Vec<u64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [bad, all, window] = numbers[..] else { panic!("{words}") };
    assert!(bad == all && all >= 20 && window == 30, "{words}");
    assert!(words.ends_with("requests failed in the last 30 s"), "{words}");
}

#[test]
fn incident_says_that_it_holds_who_failed() {
    let [a, b, c, fine] = ["a", "b", "c", "fine"].map(Origin::start);
    let origins = [&a, &b, &c, &fine];
    let servers: Vec<_> = origins.iter().map(|origin| Server::new(origin.name(), origin.addr(), "")).collect();
    // Connects only: an HTTP check under way at the crash is broken off, which is no failure of the network.
    let probe = "{type: tcp, interval: 250ms, timeout: 250ms, rise: 2, fall: 2}";
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(probe).farm("incident: {share: 50%, hold: 5s}"));
    for origin in origins {
        farmgate.wait_for_state(origin.name(), "UP");
    }
    [&a, &b, &c].into_iter().for_each(Origin::crash);
    let told = says(
        &farmgate,
        "web/a",
        "DOWN since T (D): 2 of 2 checks failed, L4CON ×2 (\"Connection refused\"); needs 2 passes; next check in D; earliest return T; still in rotation with weight \
         1, 25 % of the rotation: incident N suspects the balancer itself and holds the last good rotation until T (in \
         D)",
    );
    super::farm_says(
        &farmgate,
        "web",
        "served by 4 of 4 servers, these of them not good: a DOWN (L4CON ×2), b DOWN (L4CON ×2), c DOWN (L4CON ×2); \
         incident N suspects the balancer itself and holds the last good rotation until T (in D)",
    );
    assert_eq!(told.json["effective_weight"], 1, "{}", told.json);
    says(
        &farmgate,
        "web/a",
        "DOWN since T (D): 2 of 2 checks failed, L4CON ×2 (\"Connection refused\"); needs 2 passes; next check in D; earliest return T",
    );
    served_by(&farmgate, &["fine"]);
}

#[test]
fn agents_say_what_they_ask_for() {
    let fine = Origin::start("fine");
    let lines = ["down#disk full", "drain", "50%", "maint", "0%"];
    let agents = lines.map(|line| TcpOrigin::start(line, TcpBehaviour::CloseFirst));
    let mut setup = Setup::http(&[Server::new("fine", fine.addr(), "")]).probe(QUICK);
    for (name, agent) in ["down", "drain", "half", "maint", "zero"].iter().zip(&agents) {
        let (http, port) = (QUICK, agent.addr().port());
        setup = setup.another_farm(&format!(
            "{name}: {{protocol: http, probes: {{web: {http}, agent: {{type: agent, port: {port}, interval: 250ms, timeout: \
             250ms}}}}, servers: {{a: {{address: \"{}\", weight: 10, probe: {{port: {}}}}}}}}}",
            fine.addr(),
            // Where its checks go; its agent has a port of its own.
            fine.addr().port()
        ));
    }
    let farmgate = Farmgate::start(&setup);
    says(
        &farmgate,
        "down/a",
        "DOWN (agent) since T (D): its agent says down (\"disk full\"), whatever the probes say; until it says up; its \
         checks pass",
    );
    says(
        &farmgate,
        "drain/a",
        "DRAIN (agent) since T (D): its agent asks for drain; until it says ready; its checks pass",
    );
    says(
        &farmgate,
        "maint/a",
        "MAINT since T (D): its agent asks for maintenance; until it says ready; its checks pass",
    );
    says(
        &farmgate,
        "zero/a",
        "DRAIN (agent) since T (D): its agent asks for 0 % of its weight: no new work; until it asks for more; its checks pass",
    );
    says(
        &farmgate,
        "half/a",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 5 of 10 (its \
         agent asks for 50 %), 100 % of the rotation",
    );
}
