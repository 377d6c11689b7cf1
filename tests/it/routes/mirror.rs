//! Copies of requests for a second farm.

use crate::harness::{Behaviour, until};

use super::Stage;

const ALL: &str = "{name: all, action: {farm: web, mirror: {farm: shadow, share: \"100%\"}}}";

fn copies(stage: &Stage, result: &str) -> f64 {
    stage.farmgate.metric("farmgate_mirrored_total", &[result]).unwrap_or(0.0)
}

#[test]
fn second_farm_sees_what_the_first_answers() {
    let stage = Stage::start(ALL, &["shadow"]);
    let mut client = stage.client();
    assert_eq!(client.request("GET", "/a?b", &[("X-A", "1")], b"").text(), "web");
    assert_eq!(client.request("POST", "/p", &[], b"a body").text(), "web");
    client.send("PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "web");
    until("three copies", || (copies(&stage, "answered") == 3.0).then_some(()));
    let mut seen = stage.others[0].requests();
    seen.sort_by(|a, b| a.target.cmp(&b.target));
    let told: Vec<_> = seen.iter().map(|seen| (&*seen.method, &*seen.target, &seen.body[..])).collect();
    assert_eq!(told, [("GET", "/a?b", &b""[..]), ("PUT", "/c", b"abcde"), ("POST", "/p", b"a body")]);
    assert_eq!(seen[0].header("x-a"), Some("1"));
    assert_eq!(stage.web.requests().len(), 3);
}

#[test]
fn share_of_the_copies_is_exact() {
    let stage = Stage::start(&ALL.replace("100%", "10%"), &["shadow"]);
    let mut client = stage.client();
    (0..100).for_each(|n| assert_eq!(client.get(&format!("/{n}")).text(), "web"));
    until("ten copies", || (copies(&stage, "answered") == 10.0).then_some(()));
    assert_eq!(stage.others[0].requests().len(), 10);
}

#[test]
fn second_farm_that_hangs_or_refuses_delays_and_fails_nothing() {
    let stage = Stage::start(ALL, &["shadow"]);
    stage.others[0].traffic(Behaviour::Silent);
    let mut client = stage.client();
    for n in 0..200 {
        assert_eq!(client.get(&format!("/{n}")).text(), "web");
    }
    assert!(copies(&stage, "skipped") >= 1.0, "no more than so many wait at once");
    stage.others[0].crash();
    assert_eq!(client.get("/").text(), "web");
    until("failed copies", || (copies(&stage, "failed") >= 1.0).then_some(()));
}

#[test]
fn body_that_is_too_long_is_not_copied_and_arrives() {
    let stage = Stage::start(ALL, &["shadow"]);
    let mut client = stage.client();
    assert_eq!(client.request("POST", "/p", &[], &vec![b'x'; 70_000]).text(), "web");
    until("the copy is let be", || (copies(&stage, "skipped") == 1.0).then_some(()));
    assert!(stage.others[0].requests().is_empty());
    assert_eq!(stage.web.requests()[0].body.len(), 70_000);
}
