//! Who serves a farm, and why they.

use super::{QUICK, farm_says, says, served_by, setup};
use crate::harness::{Behaviour, Farmgate, Origin, Server, Setup};

const UNWELL: Behaviour = Behaviour::Status(503);
const UP: &str = "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; ";

#[test]
fn backup_waits_serves_and_is_told_as_the_reason() {
    let [a, b] = ["a", "b"].map(Origin::start);
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "backup: true")];
    let farmgate = Farmgate::start(&setup(QUICK, &[]).servers(&servers));
    farmgate.wait_for_state("a", "UP");
    farmgate.wait_for_state("b", "UP");
    says(&farmgate, "web/b", &format!("{UP}waits as a backup: primaries serve"));
    farm_says(&farmgate, "web", "served by 1 of 2 servers; not in rotation: b UP (backup)");
    served_by(&farmgate, &["a"]);
    a.health(UNWELL);
    farmgate.wait_for_state("a", "DOWN");
    says(
        &farmgate,
        "web/b",
        &format!("{UP}in rotation as a backup with weight 1, 100 % of the rotation: no primary may serve"),
    );
    farm_says(
        &farmgate,
        "web",
        "served by 1 backup because its only primary server may not take work: a DOWN (L7STS 503 ×3)",
    );
    served_by(&farmgate, &["b"]);
    b.health(UNWELL);
    farmgate.wait_for_state("b", "DOWN");
    farm_says(
        &farmgate,
        "web",
        "served by nobody because none of its 2 servers may take work: a DOWN (L7STS 503 ×3), b DOWN (L7STS 503 ×3)",
    );
    assert_eq!(farmgate.client().get("/").status, 503);
    a.health(Behaviour::Ok);
    farmgate.wait_for_state("a", "UP");
    farm_says(&farmgate, "web", "served by 1 of 2 servers; not in rotation: b DOWN (L7STS 503 ×3)");
}

#[test]
fn farm_that_fails_open_says_so_of_itself_and_of_its_servers() {
    let [a, b] = ["a", "b"].map(Origin::start);
    let farmgate = Farmgate::start(&setup(QUICK, &[&a, &b]).farm("fail_open: true"));
    for origin in [&a, &b] {
        farmgate.wait_for_state(origin.name(), "UP");
    }
    farm_says(&farmgate, "web", "served by all its 2 servers");
    for origin in [&a, &b] {
        origin.health(UNWELL);
        farmgate.wait_for_state(origin.name(), "DOWN");
    }
    says(
        &farmgate,
        "web/a",
        "DOWN since T (D): 3 of 3 checks failed, L7STS 503 ×3; needs 2 passes; next check in D; earliest return T; in rotation all the same \
         with weight 1, 50 % of the rotation: the farm fails open",
    );
    farm_says(
        &farmgate,
        "web",
        "fails open because none of its servers is good: 2 of 2 take work, these of them not good: a DOWN (L7STS 503 ×3), b \
         DOWN (L7STS 503 ×3)",
    );
    served_by(&farmgate, &["a", "b"]);
}

#[test]
fn farm_without_a_verdict_and_farm_without_servers_say_so() {
    let slow = Origin::start("slow");
    slow.health(Behaviour::Silent);
    let probe = "{type: http, url: /healthz, interval: 20s, timeout: 20s}";
    let setup = Setup::http(&[Server::new("slow", slow.addr(), "")]).probe(probe);
    let farmgate = Farmgate::start_unready(&setup.another_farm("empty: {protocol: http, servers: {}}"));
    farm_says(&farmgate, "web", "served by 1 server without a verdict yet, because nobody is Up");
    farm_says(&farmgate, "empty", "served by nobody because it has no server");
}
