//! Servers that their checks took out, or are about to, or bring back.

use std::sync::Arc;

use super::{QUICK, STAYS, Told, farm, says, served_by, setup, single};
use crate::harness::{Behaviour, Farmgate, Origin, Server, Setup, refused_port, until};

const UNWELL: Behaviour = Behaviour::Status(503);

/// A listener whose queue is full: whoever connects hears nothing.
fn deaf_port() -> (Vec<socket2::Socket>, std::net::SocketAddr) {
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let waiting = socket();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&addr.into());
        held.push(waiting);
    }
    (held, addr)
}

#[test]
fn down_servers_are_explained_by_what_their_checks_saw() {
    let (_held, refused) = refused_port();
    let (_deaf, deaf) = deaf_port();
    let [fine, error, silent, garbage] = ["fine", "error", "silent", "garbage"].map(Origin::start);
    let origins = [&fine, &error, &silent, &garbage];
    let mut servers: Vec<_> = origins.iter().map(|origin| Server::new(origin.name(), origin.addr(), "")).collect();
    servers.extend([Server::new("refused", refused, ""), Server::new("deaf", deaf, "")]);
    let body = Origin::start("body");
    body.health(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nI am dead".to_vec()));
    let expecting = QUICK.replace("rise", "expect: {contains: alive}, rise");
    let farmgate =
        Farmgate::start(&setup(QUICK, &[]).servers(&servers).another_farm(&single("body", &expecting, &body)));
    for origin in origins {
        farmgate.wait_for_state(origin.name(), "UP");
    }
    error.health(UNWELL);
    silent.health(Behaviour::Silent);
    garbage.health(Behaviour::Raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()));
    let down = |checks: &str| format!("DOWN since T (D): {checks}; needs 2 passes; next check in D; earliest return T");
    let told = says(&farmgate, "web/error", &down("3 of 3 checks failed, L7STS 503 ×3"));
    let evidence = told.evidence("L7STS");
    assert!(evidence["sent"].as_str().unwrap().starts_with("GET /healthz HTTP/1.1\n"), "{evidence}");
    assert_eq!(
        evidence["received"], "HTTP/1.1 503 Whatever\nX-Origin: error\nContent-Length: 5\n\nerror",
        "{evidence}"
    );
    let told = says(&farmgate, "web/silent", &down("3 of 3 checks failed, L7TOUT ×3"));
    assert_eq!(told.evidence("L7TOUT")["received"], "");
    let told = says(
        &farmgate,
        "web/garbage",
        &down(
            "3 of 3 checks failed, L7RSP ×3 (\"not an HTTP/1 reply (invalid HTTP version): SSH-2.0-OpenSSH_9.9\\r\\n\\r\\n\")",
        ),
    );
    assert_eq!(told.evidence("L7RSP")["received"], "SSH-2.0-OpenSSH_9.9\n\n");
    let told = says(&farmgate, "web/refused", &down("1 check failed, L4CON (\"Connection refused\")"));
    assert_eq!(told.evidence("L4CON")["errno"], 111);
    let told = says(&farmgate, "web/deaf", &down("1 check failed, L4TOUT"));
    assert_eq!((&told.evidence("L4TOUT")["sent"], &told.evidence("L4TOUT")["received"]), (&"".into(), &"".into()));
    let told = says(&farmgate, "body/a", &down("1 check failed, L7RSP 200 (\"I am dead\")"));
    assert!(told.evidence("L7RSP")["received"].as_str().unwrap().ends_with("\n\nI am dead"), "{}", told.json);
    says(
        &farmgate,
        "web/fine",
        "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1, 100 % of \
         the rotation",
    );
    served_by(&farmgate, &["fine"]);
}

#[test]
fn servers_on_the_way_out_and_back_say_how_far_they_are() {
    let [fine, shaky, back] = ["fine", "shaky", "back"].map(Origin::start);
    back.health(UNWELL);
    let probe = STAYS.replace("down_interval: 1m", "down_interval: 500ms");
    let farmgate = farm(&probe, &[&fine, &shaky, &back]);
    farmgate.wait_for_state("back", "DOWN");
    shaky.health(UNWELL);
    back.health(Behaviour::Ok);
    let told = says(
        &farmgate,
        "web/shaky",
        "UP 2/3 since T (D): the last check failed, L7STS 503; 2 more failures take it out; next check in D; in \
         rotation with weight 1, 50 % of the rotation",
    );
    assert!(told.evidence("L7STS")["received"].as_str().unwrap().starts_with("HTTP/1.1 503 "), "{}", told.json);
    says(
        &farmgate,
        "web/back",
        "DOWN 1/2 since T (D): 1 check failed, L7STS 503; 1 of 2 passes so far, needs 1 more pass; next check in D; \
         earliest return T",
    );
    served_by(&farmgate, &["fine", "shaky"]);
}

#[test]
fn codes_are_told_in_their_order() {
    let origin = Origin::start("a");
    let probe = "{type: http, url: /healthz, interval: 250ms, fast_interval: 2s, down_interval: 1m, timeout: 250ms, \
                 rise: 2, fall: 2}";
    let farmgate = farm(probe, &[&origin]);
    origin.health(UNWELL);
    farmgate.wait_for_state("a", "UP 1/2");
    origin.health(Behaviour::Silent);
    let told = says(
        &farmgate,
        "web/a",
        "DOWN since T (D): 2 of 2 checks failed, L7STS 503 then L7TOUT; needs 2 passes; next check in D; earliest \
         return T",
    );
    assert_eq!(told.facts("decided_by"), ["L7STS 503 then L7TOUT"]);
}

#[test]
fn servers_without_a_verdict_say_so() {
    let [slow, fine] = ["slow", "fine"].map(Origin::start);
    slow.health(Behaviour::Silent);
    let probe = "{type: http, url: /healthz, interval: 20s, timeout: 20s}";
    let servers = [
        Server::new("slow", slow.addr(), ""),
        Server::new("fine", fine.addr(), ""),
        Server::new("opted", fine.addr(), "probe: false"),
    ];
    let unprobed = format!("unprobed: {{protocol: http, servers: {{a: \"{}\"}}}}", fine.addr());
    let setup = Setup::http(&servers).probe(probe).another_farm(&single("alone", probe, &slow));
    let farmgate = Farmgate::start_unready(&setup.another_farm(&unprobed));
    says(
        &farmgate,
        "web/slow",
        "no check: its first check has not ended yet; takes work only while nobody of the farm is Up",
    );
    says(
        &farmgate,
        "alone/a",
        "no check: its first check has not ended yet; in rotation with weight 1, 100 % of the rotation: nobody of the farm \
         is Up",
    );
    says(
        &farmgate,
        "web/opted",
        "no check: its probes are switched off (`probe: false`); in rotation with weight 1, 50 % of the rotation",
    );
    says(&farmgate, "unprobed/a", "no check: the farm has no probe; in rotation with weight 1, 100 % of the rotation");
    served_by(&farmgate, &["fine"]);
}

#[test]
fn servers_restored_after_a_kill_say_that_they_were_not_checked_since() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let [bad, fine] = ["bad", "fine"].map(Origin::start);
    bad.health(UNWELL);
    let probe = "{type: http, url: /healthz, interval: 20s, timeout: 20s, rise: 2, fall: 3}";
    let setup = setup(probe, &[&bad, &fine]).another_farm(&single("gone", probe, &bad)).top("state_dir: state");
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[]);
    farmgate.wait_for_state("bad", "DOWN");
    farmgate.wait_for_state("fine", "UP");
    let since = Told::now(&farmgate, "web/bad").time("since ");
    until("all verdicts to be on disk", || {
        let saved = rusqlite::Connection::open(dir.path().join("state/farmgate.sqlite")).ok()?;
        let count: u64 = saved.query_row("SELECT count(*) FROM health", (), |row| row.get(0)).ok()?;
        (count == 3).then_some(())
    });
    farmgate.kill();
    bad.health(Behaviour::Silent);
    fine.health(Behaviour::Silent);
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    let told = says(
        &farmgate,
        "web/bad",
        "DOWN since T (D): 1 check failed, L7STS 503; needs 2 passes; not checked since this process began",
    );
    until("the farm without servers to be told of", || (lines(&farmgate, "farm has no server") == 1).then_some(()));
    assert_eq!(told.time("since "), since, "it is down since before the kill");
    says(
        &farmgate,
        "web/fine",
        "UP since T (D): it was Up before; not checked since this process began; in rotation with \
         weight 1, 100 % of the rotation",
    );
    served_by(&farmgate, &["fine"]);
}

/// The lines of the log so far that hold these words.
fn lines(farmgate: &Farmgate, words: &str) -> usize {
    farmgate.log().lines().filter(|line| line.contains(words)).count()
}

#[test]
fn servers_whose_checks_cannot_be_made_say_so_and_one_line_tells_it() {
    /// No address of this machine.
    const ELSEWHERE: &str = "rise: 2, source: 10.99.99.98";
    const BEGAN: &str = "checks cannot be made: what is known of the servers grows old";
    const OVER: &str = "checks can be made again";
    let [a, b] = ["a", "b"].map(Origin::start);
    let blind = single("blind", &QUICK.replace("rise: 2", ELSEWHERE), &b);
    let before = setup(QUICK, &[&a, &b]).another_farm(&blind);
    let farmgate = Farmgate::start(&before);
    let up = "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1, 50 % of \
              the rotation";
    says(&farmgate, "web/a", up);
    says(
        &farmgate,
        "blind/a",
        "no check: its checks cannot be made: cannot connect from source 10.99.99.98: Cannot assign requested address; next check in D; in rotation with weight \
         1, 100 % of the rotation: nobody of the farm is Up",
    );
    until("it to be told of the one farm", || (lines(&farmgate, BEGAN) == 1).then_some(()));
    let moved = setup(&QUICK.replace("rise: 2", ELSEWHERE), &[&a, &b]).another_farm(&blind);
    assert_eq!(farmgate.reload(&moved.yaml()).status, 200);
    for server in ["web/a", "web/b"] {
        let told = says(
            &farmgate,
            server,
            "UP since T (D): its checks cannot be made: cannot connect from source 10.99.99.98: Cannot assign requested address; last verdict L7OK 200 D ago; next \
             check in D; in rotation with weight 1, 50 % of the rotation",
        );
        assert!(told.facts("last_verdict")[0].starts_with("L7OK 200 at "), "{}", told.json);
    }
    until("it to be told of the other farm", || (lines(&farmgate, BEGAN) == 2).then_some(()));
    served_by(&farmgate, &["a", "b"]);
    assert_eq!(farmgate.reload(&before.yaml()).status, 200);
    says(&farmgate, "web/a", up);
    says(&farmgate, "web/b", up);
    until("the end to be told", || (lines(&farmgate, OVER) == 1).then_some(()));
    assert_eq!(lines(&farmgate, BEGAN), 2, "{}", farmgate.log());
    let (_, told) = farmgate.admin_get("/api/v1/farms/web/timeline?limit=100&order=oldest");
    let checking = told["events"].as_array().unwrap().iter().filter(|event| event["type"] == "checking");
    let told: Vec<_> = checking.map(|event| (&event["change"], &event["probe"], &event["error"])).collect();
    let (why, nothing) =
        ("cannot connect from source 10.99.99.98: Cannot assign requested address".into(), serde_json::Value::Null);
    assert_eq!(told, [(&"impossible".into(), &"probe".into(), &why), (&"possible".into(), &"probe".into(), &nothing)]);
}
