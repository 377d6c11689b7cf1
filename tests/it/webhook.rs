//! Events out: a receiver that was away, hung, failed and was lied to about where to go gets every event that the API
//! lists, in order, signed, in the one schema; and no receiver waits for another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{Behaviour, Delivery, Does, Farmgate, Origin, Receiver, Server, Setup, place, until};

const SECRET: &str = "a-secret-for-this-suite-alone";
/// The deliveries a second of the receiver that is there all the time.
const RATE: usize = 25;
/// What a busy machine may add to it: deliveries that were sent one after the other arrive together.
const RATE_SLACK: usize = 5;
/// A probe that decides at the first check.
const QUICK: &str = "{type: http, url: /healthz, interval: 100ms, timeout: 100ms, rise: 1, fall: 1}";

/// HMAC-SHA256 as RFC 2104 defines it, in hexadecimal.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    hex::encode(Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize())
}

#[test]
fn hmac_of_this_suite_is_that_of_rfc_4231() {
    let told = hmac(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(told, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let told = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(told, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

#[track_caller]
fn assert_signed(delivery: &Delivery) {
    let signature = delivery.field("farmgate-signature");
    let (time, sum) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap();
    let text = [time.as_bytes(), b".", &delivery.body].concat();
    assert_eq!(sum, hmac(SECRET.as_bytes(), &text), "{signature}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 60, "{signature}");
}

fn hook(name: &str, receiver: &Receiver, per_second_max: usize) -> String {
    let url = receiver.url();
    format!("{name}: {{url: \"{url}\", secret: \"{SECRET}\", timeout: 200ms, per_second_max: {per_second_max}}}")
}

/// Every event that the journal holds, the oldest first.
#[track_caller]
fn timeline(farmgate: &Farmgate) -> Vec<Value> {
    let (status, told) = farmgate.admin_get("/api/v1/timeline?limit=1000&order=oldest");
    assert_eq!(status, 200, "{told}");
    told["events"].as_array().unwrap().clone()
}

fn id(event: &Value) -> u64 {
    event["id"].as_u64().unwrap()
}

/// Waits until a receiver has taken the last event there is, and returns every event there is.
#[track_caller]
fn wait_for_all(farmgate: &Farmgate, receiver: &Receiver) -> Vec<Value> {
    until("the receiver to have everything", || {
        let events = timeline(farmgate);
        let last = events.iter().rfind(|event| is_told_singly(event)).map(id);
        (receiver.taken().last().copied() == last).then_some(events)
    })
}

/// Whether an event is delivered by itself, rather than by its incident's.
fn is_told_singly(event: &Value) -> bool {
    event["type"] != "transition" || event["incident"].is_null()
}

/// Every event arrived, in order, as the API has it; what was sent again was the same again.
#[track_caller]
fn assert_told_of(receiver: &Receiver, events: &[Value]) {
    let deliveries = receiver.deliveries();
    for delivery in &deliveries {
        assert_signed(delivery);
        let (event, line) = (delivery.json(), delivery.line.as_str());
        assert_eq!(line, "POST /hook?to=it HTTP/1.1");
        assert_eq!(delivery.field("content-type"), "application/json");
        assert_eq!(delivery.field("farmgate-event"), event["id"].to_string());
        let attempt = delivery.field("farmgate-delivery").strip_prefix(&format!("{}-", event["id"])).unwrap();
        assert!(attempt.parse::<u32>().unwrap() > 0, "{attempt}");
        assert_eq!(events.iter().find(|listed| id(listed) == id(&event)), Some(&event));
    }
    let mut seen = BTreeSet::new();
    let first_times: Vec<u64> = receiver.taken().into_iter().filter(|id| seen.insert(*id)).collect();
    let wanted: Vec<u64> = events.iter().filter(|event| is_told_singly(event)).map(id).collect();
    assert_eq!(first_times, wanted);
}

fn deliveries_within_a_second(receiver: &Receiver) -> usize {
    let at: Vec<_> = receiver.deliveries().iter().map(|delivery| delivery.at).collect();
    let within = |first: usize| at[first..].iter().take_while(|t| **t - at[first] < Duration::from_secs(1)).count();
    (0..at.len()).map(within).max().unwrap_or(0)
}

fn weigh(farmgate: &Farmgate, weight: u16) {
    farmgate.operate("PUT", "/api/v1/farms/web/servers/a/weight", &format!("{{\"weight\": {weight}}}"));
}

/// More than thirty events of many kinds.
fn keep_busy(farmgate: &Farmgate, setup: &Setup, b: &Origin) {
    (10..30).for_each(|weight| weigh(farmgate, weight));
    for _ in 0..2 {
        for act in ["drain", "ready", "maintenance", "ready"] {
            farmgate.operate("POST", &format!("/api/v1/farms/web/servers/a/{act}"), r#"{"reason": "it"}"#);
        }
        b.health(Behaviour::Status(503));
        farmgate.wait_for_state("b", "DOWN");
        b.health(Behaviour::Ok);
        farmgate.wait_for_state("b", "UP");
    }
    assert_eq!(farmgate.reload(&setup.clone().farm("timeouts: {connect: 1s}").yaml()).status, 200);
}

#[test]
fn receiver_that_was_away_gets_every_event_in_order_once_it_is_back() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let (mut away, there) = (Receiver::start(), Receiver::start());
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let hooks = format!("webhooks: {{{}, {}}}", hook("away", &away, 1000), hook("there", &there, RATE));
    let servers = [Server::new("a", a.addr(), ""), Server::new("b", b.addr(), "")];
    let setup = Setup::http(&servers).probe(QUICK).top("state_dir: state").top(&hooks);
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[]);
    farmgate.wait_for_state("b", "UP");
    weigh(&farmgate, 9);
    let at_first = wait_for_all(&farmgate, &away).len();

    away.go_away();
    keep_busy(&farmgate, &setup, &b);
    let before = wait_for_all(&farmgate, &there);
    assert!(before.len() - at_first >= 30, "{} after {at_first}", before.len());
    assert_eq!(away.taken().len(), at_first);
    let lag = |farmgate: &Farmgate, name: &str| farmgate.metric("farmgate_webhook_lag", &[name]).unwrap();
    assert!(lag(&farmgate, "receiver=\"away\"") >= 30.0);
    until("the other to lag behind nothing", || (lag(&farmgate, "receiver=\"there\"") == 0.0).then_some(()));

    farmgate.kill();
    drop(farmgate);
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    (30..35).for_each(|weight| weigh(&farmgate, weight));
    let again = timeline(&farmgate);
    assert_eq!(again[..before.len()], before, "what was told stays as it was");
    assert!(again.is_sorted_by(|a, b| id(a) < id(b)));
    assert_eq!(away.taken().len(), at_first);

    let taken = Does::Answer(200);
    away.script([taken, Does::Hang, taken, Does::Answer(500), taken, Does::Redirect, taken, Does::Close]);
    away.come_back();
    let events = wait_for_all(&farmgate, &away);
    wait_for_all(&farmgate, &there);
    let events = if timeline(&farmgate).len() > events.len() { wait_for_all(&farmgate, &away) } else { events };
    assert_told_of(&away, &events);
    assert_told_of(&there, &events);
    assert!(away.deliveries().iter().filter(|delivery| !delivery.was_taken).count() >= 4);
    let most = deliveries_within_a_second(&there);
    assert!(most <= RATE + RATE_SLACK, "{most} deliveries within a second");
    assert!(farmgate.log().contains("webhook takes events again"));
}

#[test]
fn transitions_of_an_incident_are_told_by_its_one_event() {
    let receiver = Receiver::start();
    let places = [place(), place(), place(), place(), place()];
    let origins: Vec<_> = places.iter().map(|addr| Origin::at("x", *addr)).collect();
    let servers: Vec<_> = ["a", "b", "c", "d", "e"].iter().zip(places).map(|(n, p)| Server::new(n, p, "")).collect();
    // Connects only: an HTTP check under way at the crash is broken off, which is no failure of the network.
    let probe = "{type: tcp, interval: 200ms, timeout: 200ms, rise: 1, fall: 2}";
    let hooks = format!("webhooks: {{{}}}", hook("pager", &receiver, 1000));
    let farmgate = Farmgate::start(&Setup::http(&servers).probe(probe).top(&hooks));
    ["a", "b", "c", "d", "e"].iter().for_each(|name| drop(farmgate.wait_for_state(name, "UP")));
    origins.iter().for_each(Origin::crash);
    let events = until("all to be down", || {
        let events = timeline(&farmgate);
        let downs = events.iter().filter(|event| event["type"] == "transition" && event["to"] == "down").count();
        (downs == 5).then_some(events)
    });
    let silent = events.iter().filter(|event| !is_told_singly(event)).count();
    assert!(silent > 0, "{events:#?}");
    let events = wait_for_all(&farmgate, &receiver);
    assert_told_of(&receiver, &events);
    let told: Vec<Value> = receiver.deliveries().iter().map(Delivery::json).collect();
    let incidents: Vec<_> = told.iter().filter(|event| event["type"] == "incident").collect();
    assert_eq!(incidents.len(), 1, "{told:#?}");
    assert_eq!((&incidents[0]["phase"], &incidents[0]["incident"]), (&"began".into(), &incidents[0]["id"]));
}
