//! Servers that somebody took out: by a drain, maintenance or a weight, at run time or in the file, or by a reload.

use super::{QUICK, Told, behind, says, seconds_of_day, served_by, setup};
use crate::harness::{Behaviour, Farmgate, Origin, Server, Setup, until};

const CALM: &str = "{type: http, url: /healthz, interval: 10s, timeout: 10s}";

fn order(farmgate: &Farmgate, path: &str, body: &str) {
    farmgate.operate("POST", &format!("/api/v1/farms/web/servers/{path}"), body);
}

/// How far the first time behind `words` is from the instant of the answer, in seconds.
#[track_caller]
fn ahead(told: &Told, words: &str) -> u64 {
    let now = seconds_of_day(&told.text("at")[11..19]);
    behind(now, told.time(words).unwrap_or_else(|| panic!("no time behind {words:?}: {}", told.sentence())))
}

#[test]
fn drained_servers_say_by_whom_why_and_until_when() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Origin::start);
    let servers = [
        Server::new("a", a.addr(), ""),
        Server::new("b", b.addr(), ""),
        Server::new("c", c.addr(), "status: drain"),
        Server::new("d", d.addr(), ""),
    ];
    let farmgate = Farmgate::start(&Setup::http(&servers).farm("balance: first"));
    a.traffic(Behaviour::Silent);
    let mut client = farmgate.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request to be under way", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    order(&farmgate, "a/drain", r#"{"reason": "disk swap", "deadline": "10m"}"#);
    let told = says(
        &farmgate,
        "web/a",
        "DRAIN since T (D): drained by ops from 127.0.0.1, \"disk swap\"; no new work, what is open and sticky stays; at T \
         (in D) what is left is closed; until somebody says ready; 1 open on it; its checks pass",
    );
    assert!((598..=600).contains(&ahead(&told, "; at ")), "{}", told.sentence());
    assert_eq!(told.json["overrides"][0]["reason"], "disk swap", "{}", told.json);
    order(&farmgate, "b/drain", r#"{"deadline": "1s", "at_deadline": "keep", "until": "1h"}"#);
    says(
        &farmgate,
        "web/b",
        "DRAIN since T (D): drained by ops from 127.0.0.1; no new work, no sticky clients any more; at the deadline, T, \
         what was left was kept; until T (in D), then back by itself, if its checks pass; its checks pass",
    );
    says(
        &farmgate,
        "web/c",
        "DRAIN since T (D): the file says drain; no new work, what is open and sticky stays; until the file or somebody says \
         otherwise; its checks pass",
    );
    order(&farmgate, "c/drain", r#"{"until": "1h"}"#);
    says(
        &farmgate,
        "web/c",
        "DRAIN since T (D): drained by ops from 127.0.0.1; no new work, what is open and sticky stays; until T (in D), then \
         back to drain, as the file says; its checks pass",
    );
    served_by(&farmgate, &["d"]);
    order(&farmgate, "a/drain", r#"{"reason": "disk swap", "deadline": "1s"}"#);
    says(
        &farmgate,
        "web/a",
        "DRAIN since T (D): drained by ops from 127.0.0.1, \"disk swap\"; no new work, no sticky clients any more; at the \
         deadline, T, what was left was closed; until somebody says ready; its checks pass",
    );
    order(&farmgate, "a/ready", "");
    says(
        &farmgate,
        "web/a",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1, 50 % of the \
         rotation",
    );
}

#[test]
fn servers_in_maintenance_say_when_they_are_back_and_what_their_checks_say() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Origin::start);
    let servers = [
        Server::new("a", a.addr(), ""),
        Server::new("b", b.addr(), ""),
        Server::new("c", c.addr(), "status: maintenance"),
        Server::new("d", d.addr(), ""),
    ];
    let setup = Setup::http(&servers).probe(QUICK).farm("incident: off").farm("slow_start: 1h");
    let farmgate = Farmgate::start(&setup);
    order(&farmgate, "a/maintenance", r#"{"reason": "new kernel", "until": "2h"}"#);
    let told = says(
        &farmgate,
        "web/a",
        "MAINT since T (D): maintenance by ops from 127.0.0.1, \"new kernel\"; until T (in D), then back by itself through \
         a slow start of D, if its checks pass; its checks pass",
    );
    assert!((7198..=7200).contains(&ahead(&told, "; until ")), "{}", told.sentence());
    order(&farmgate, "b/maintenance", "");
    b.health(Behaviour::Status(503));
    says(
        &farmgate,
        "web/b",
        "MAINT since T (D): maintenance by ops from 127.0.0.1; until somebody says ready; also 3 of 3 checks failed, \
         L7STS 503 ×3; needs 2 passes; next check in D",
    );
    says(
        &farmgate,
        "web/c",
        "MAINT since T (D): the file says maintenance; until the file or somebody says otherwise; its checks pass",
    );
    served_by(&farmgate, &["d"]);
    order(&farmgate, "a/maintenance", r#"{"until": "1s"}"#);
    let told = says(
        &farmgate,
        "web/a",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 0.01 of 1 \
         (warming up: 1 % now, all of it at T (in D)), 1 % of the rotation",
    );
    assert!(ahead(&told, "all of it at ") <= 3600, "{}", told.sentence());
}

#[test]
fn weights_that_are_not_the_files_say_who_set_them() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let servers = [
        Server::new("a", a.addr(), "weight: 0"),
        Server::new("b", b.addr(), "weight: 30"),
        Server::new("c", c.addr(), "weight: 30"),
    ];
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(CALM));
    let put = |server: &str, body: &str| {
        farmgate.operate("PUT", &format!("/api/v1/farms/web/servers/{server}/weight"), body);
    };
    says(
        &farmgate,
        "web/a",
        "DRAIN since T (D): its weight in the file is 0; no new work, what is open stays; until the file or \
         somebody sets another; its checks pass",
    );
    put("b", r#"{"weight": 10, "reason": "hot"}"#);
    let told = says(
        &farmgate,
        "web/b",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 10 (set by ops \
         from 127.0.0.1, \"hot\"; the file says 30), 25 % of the rotation",
    );
    assert_eq!((&told.json["weight"], &told.json["effective_weight"]), (&10.into(), &10.into()));
    put("c", r#"{"weight": 0, "reason": "hot"}"#);
    says(
        &farmgate,
        "web/c",
        "DRAIN since T (D): weight 0 by ops from 127.0.0.1, \"hot\"; the file says 30; no new work, what is open stays; \
         until somebody sets another; its checks pass",
    );
    served_by(&farmgate, &["b"]);
}

#[test]
fn removed_server_is_explained_while_something_is_open_on_it() {
    let [a, b] = ["a", "b"].map(Origin::start);
    let before = setup(CALM, &[&a, &b]).farm("balance: first").farm("drain: {deadline: 1h}");
    let farmgate = Farmgate::start(&before);
    a.traffic(Behaviour::Silent);
    let mut client = farmgate.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request to be under way", || (farmgate.server("a")["in_flight"] == 1).then_some(()));
    let after = before.servers(&[Server::new("b", b.addr(), "")]);
    assert_eq!(farmgate.reload(&after.yaml()).status, 200);
    let told = says(
        &farmgate,
        "web/a",
        "DRAIN since T (D): a reload removed it: no new work, what is open stays; at T (in D) what is left is closed; 1 \
         open on it",
    );
    assert!((3590..=3600).contains(&ahead(&told, "; at ")), "{}", told.sentence());
    served_by(&farmgate, &["b"]);
    a.crash();
    until("it to be forgotten once nothing is open", || {
        (farmgate.admin_get("/api/v1/farms/web/servers/a/explain").0 == 404).then_some(())
    });
}

#[test]
fn server_whose_name_has_no_address_says_so() {
    let fine = Origin::start("fine");
    let servers = [Server::new("fine", fine.addr(), ""), Server::at("lost", "no-such-host.invalid:80", "")];
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(CALM));
    says(
        &farmgate,
        "web/lost",
        "MAINT (resolution) since T (D): the name of \"no-such-host.invalid:80\" has no address, so there is nowhere to send work or \
         checks; back when the name is found, if its checks pass",
    );
    served_by(&farmgate, &["fine"]);
}
