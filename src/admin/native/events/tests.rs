//! The stream as a reader sees it: whole, in order, once; bounded; ended in time.

use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;

use super::*;
use crate::admin::Credentials;
use crate::admin::fixture::credentials;
use crate::admin::fixture::kept::Kept;
use crate::admin::fixture::{Lines, OPS, Running, VIEWER, settings};
use crate::admin::long::{LONG_CALLS_OF_ONE_MAX, LongCalls};
use crate::admin::vendor_fixture;
use crate::feed::samples::{NOON, transition};
use crate::model::Health;
use crate::store::NoJournal;

const S1: &str = "/api/v1/farms/web/servers/s1";
const STREAM: &str = "Accept: text/event-stream\r\n";

fn numbers(ids: &[String]) -> Vec<u64> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn stream_joins_journal_and_memory_without_a_gap_and_nothing_twice() {
    let feed = Arc::new(Ring::new(300));
    let kept = Kept::with(1..=300);
    let (writer, memory) = (Arc::clone(&kept), Arc::clone(&feed));
    let running = Running::start_as(&settings(), None, Arc::new(NoJournal), |state| {
        state.feed = memory;
        state.chronicle = Some(kept);
    });
    let push = |id| {
        let event = transition(id, 1, NOON, Health::Up, None);
        writer.keep(&event);
        feed.push(&event);
    };
    (301..=320).for_each(&push);
    let mut lines = Lines::of(&running, "/api/v1/events?after=0", STREAM);
    assert_eq!(numbers(&lines.values("id", 200)), (1..=200).collect::<Vec<_>>());
    // While it reads, so much happens that the memory no longer reaches back to where the reader is.
    (321..=320 + 4200).for_each(&push);
    assert_eq!(numbers(&lines.values("id", 4320)), (201..=4520).collect::<Vec<_>>());
    let mut resumed = Lines::of(&running, "/api/v1/events?after=7", &format!("{STREAM}Last-Event-ID: 4518\r\n"));
    assert_eq!(numbers(&resumed.values("id", 2)), [4519, 4520], "the field is newer than the target");
}

#[test]
fn part_of_the_journal_waits_for_what_is_on_its_way_to_the_disk() {
    let kept = Kept::with(1..=100);
    let of = |last, end| part(&*kept, About::default(), last, end).unwrap();
    let up_to = |part: Part| match part {
        Part::Events { text, up_to } => Some((text.matches("id: ").count(), up_to)),
        Part::OnItsWay => None,
    };
    assert_eq!(up_to(of(0, 100)), Some((AT_ONCE, 32)));
    assert_eq!(up_to(of(90, 100)), Some((10, 100)));
    assert_eq!(up_to(of(90, 95)), Some((5, 95)));
    kept.on_disk.store(93, Relaxed);
    assert_eq!(up_to(of(90, 100)), Some((3, 93)));
    assert_eq!(up_to(of(93, 100)), None);
    kept.on_disk.store(0, Relaxed);
    assert_eq!(up_to(of(0, 100)), None);
}

#[test]
fn part_of_the_journal_about_another_farm_is_passed_over_not_waited_for() {
    let kept = Kept::with(1..=100);
    let other = About { farm: Some(crate::model::FarmId(1)), server: None };
    assert_eq!(part(&*kept, other, 0, 100).unwrap(), Part::Events { text: String::new(), up_to: 100 });
    kept.on_disk.store(60, Relaxed);
    assert_eq!(part(&*kept, other, 0, 100).unwrap(), Part::Events { text: String::new(), up_to: 60 });
    assert_eq!(part(&*kept, other, 60, 100).unwrap(), Part::OnItsWay);
}

#[test]
fn stream_tells_what_happens_about_what_was_asked() {
    let running = Running::start();
    let mut all = Lines::of(&running, "/api/v1/events", STREAM);
    let mut web = Lines::of(&running, "/api/v1/events?farm=web&server=s1", STREAM);
    let mut other = Lines::of(&running, "/api/v1/events?farm=web&server=s2", STREAM);
    running.call("POST", &format!("{S1}/drain"), OPS, "{\"reason\": \"disk\"}");
    for lines in [&mut all, &mut web] {
        assert_eq!(lines.values("event", 1), ["changed"]);
        let data: serde_json::Value = serde_json::from_str(&lines.values("data", 1)[0]).unwrap();
        assert_eq!((&data["type"], &data["to"]), (&"changed".into(), &"drain".into()));
    }
    running.call("POST", "/api/v1/farms/web/servers/s2/maintenance", OPS, "");
    let data: serde_json::Value = serde_json::from_str(&other.values("data", 1)[0]).unwrap();
    assert_eq!((&data["server"], &data["to"]), (&"s2".into(), &"maintenance".into()), "nothing of s1 before it");
}

#[test]
fn reader_from_before_the_process_is_told_what_is_lost_and_one_from_nowhere_begins_anew() {
    let feed = Arc::new(Ring::new(40));
    let memory = Arc::clone(&feed);
    let running = Running::start_as(&settings(), None, Arc::new(NoJournal), |state| state.feed = memory);
    feed.push(&transition(41, 1, NOON, Health::Down, None));
    let mut behind = Lines::of(&running, "/api/v1/events?after=30", STREAM);
    assert!(behind.by_ref().any(|line| line == ": events 31 to 40 are not held any more"));
    assert_eq!(behind.values("id", 1), ["41"]);
    let mut ahead = Lines::of(&running, "/api/v1/events?after=9000", STREAM);
    assert!(ahead.by_ref().any(|line| line == ": the ids began anew"));
    assert_eq!(ahead.values("id", 1), ["41"]);
}

#[test]
fn stream_outlives_the_deadlines_of_calls_and_ends_with_the_admin_side() {
    let soon = Duration::from_millis(200);
    let mut running = Running::start_with(&settings(), Some(soon), Arc::new(NoJournal));
    let mut lines = Lines::of(&running, "/api/v1/events", STREAM);
    std::thread::sleep(soon * 4);
    running.call("POST", &format!("{S1}/drain"), OPS, "");
    assert_eq!(lines.values("event", 1), ["changed"]);
    running.stop.send(true).unwrap();
    assert!(lines.by_ref().any(|line| line == ": farmgate stops"));
    assert_eq!(lines.next().as_deref().unwrap_or(""), "");
    let served = running.served.take().unwrap();
    running
        .runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), served).await })
        .unwrap()
        .unwrap()
        .unwrap();
}

#[test]
fn streams_beyond_the_bound_are_refused_and_others_are_not() {
    let running = Running::start();
    let mut open: Vec<_> = (0..LONG_CALLS_OF_ONE_MAX).map(|_| Lines::of(&running, "/api/v1/events", STREAM)).collect();
    let (_, refused) = Lines::ask(&running, "/api/v1/events", STREAM);
    assert!(refused.starts_with("HTTP/1.0 503"), "{refused}");
    let waits = running.call("POST", &format!("{S1}/drain?wait=5s"), OPS, "");
    assert_eq!((waits.status, &waits.json()["error"]["code"]), (503, &"too_many_open".into()));
    assert_eq!(running.call("GET", S1, VIEWER, "").json()["admin"], "active", "and nothing was changed");
    let other = running.call("GET", &format!("{S1}/drain?wait=5s"), VIEWER, "");
    assert_eq!(other.json()["error"]["code"], "no_order", "another credential has places of its own");
    open.pop();
    let again = || Lines::ask(&running, "/api/v1/events", STREAM).1.starts_with("HTTP/1.0 200");
    assert!((0..200).any(|_| again() || {
        std::thread::sleep(Duration::from_millis(20));
        false
    }));
}

#[tokio::test(start_paused = true)]
async fn silent_stream_says_that_it_is_alive() {
    use http_body_util::BodyExt as _;

    let calls = LongCalls::default();
    let (response, stream) = Stream::open(calls.begin("a").unwrap());
    let mut body = response.into_body();
    let heartbeat = interval(HEARTBEAT);
    let feed = Arc::new(Ring::new(0));
    let (state, call) = (vendor_fixture::state(), vendor_fixture::bearer_call("GET", "/api/v1/events", ""));
    let caller = crate::admin::native::caller(&state.credentials.load(), &call).unwrap();
    let (held, turns) = (Held::of(&state, &call, &caller), Arc::default());
    let teller =
        Teller { feed, chronicle: None, about: About::default(), last: 0, heartbeat, asked: 0, stream, held, turns };
    let running = tokio::spawn(teller.run());
    let began = tokio::time::Instant::now();
    let mut beats = 0;
    while beats < 4 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        beats += u32::from(frame == ":\n\n");
    }
    // The first one comes at once.
    assert!(began.elapsed() <= HEARTBEAT * 3 + LOOK_EVERY * 4, "{:?}", began.elapsed());
    drop(body);
    running.await.unwrap();
}

#[test]
fn list_goes_on_after_an_event_or_shows_the_newest() {
    let running = Running::start();
    for act in ["drain", "maintenance", "ready"] {
        running.call("POST", &format!("{S1}/{act}"), OPS, "");
    }
    let list = |query: &str| running.call("GET", &format!("/api/v1/events?{query}"), VIEWER, "").json();
    let latest = list("")["latest"].as_u64().unwrap();
    let ids = |body: &serde_json::Value| {
        body["events"].as_array().unwrap().iter().map(|event| event["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&list("limit=2")), [latest - 1, latest]);
    assert_eq!(ids(&list(&format!("after={}", latest - 3))), [latest - 2, latest - 1, latest]);
    assert_eq!(ids(&list(&format!("after={}&limit=1", latest - 3))), [latest - 2]);
    assert_eq!(ids(&list("farm=db")).len(), 0);
    let newest = running.call("GET", &format!("{S1}/timeline?limit=3"), VIEWER, "").json();
    let oldest = running.call("GET", "/api/v1/farms/web/timeline?limit=1000&order=oldest", VIEWER, "").json();
    assert_eq!(newest["events"][0]["to"], "active");
    let mut sorted = ids(&oldest);
    sorted.sort_unstable();
    assert_eq!(ids(&oldest), sorted);
    for (path, message) in [
        ("/api/v1/events?server=s1", "farm is missing; send it"),
        ("/api/v1/events?farm=wob", "farm \"wob\" does not exist"),
        ("/api/v1/timeline?limit=0", "limit: \"0\" is outside 1..=1000"),
        ("/api/v1/timeline?after=1", "unknown query parameter \"after\"; this path takes limit, order, since, until"),
    ] {
        assert_eq!(running.call("GET", path, VIEWER, "").json()["error"]["message"], message, "{path}");
    }
}

#[test]
fn stream_ends_when_its_credential_is_taken_away_and_no_other_does() {
    let known = Arc::new(ArcSwap::from_pointee(credentials()));
    let live = Arc::clone(&known);
    let running = Running::start_as(&settings(), None, Arc::new(NoJournal), |state| state.credentials = live);
    running.call("POST", &format!("{S1}/drain"), OPS, "");
    let mut stream = Lines::of(&running, "/api/v1/events", STREAM);
    // Another secret of somebody else's ends nothing.
    let mut others = credentials();
    others.tokens.retain(|token| &*token.grant.name != "viewer");
    known.store(Arc::new(others));
    running.call("POST", &format!("{S1}/maintenance"), OPS, "");
    assert_eq!(stream.values("event", 1), ["changed"]);
    let mut gone = Credentials::default();
    gone.tokens.extend(credentials().tokens.into_iter().filter(|token| &*token.grant.name == "viewer"));
    known.store(Arc::new(gone));
    let last = ": the credential of this stream is one no more";
    assert!(stream.by_ref().any(|line| line == last), "the stream of events goes on");
}
