//! What tells why, end to end: explanations, evidence, history, timelines, replay and the shadow probe.

use std::sync::Arc;

use crate::admin::fixture::kept::Kept;
use crate::admin::fixture::{OPS, Reply, Running, VIEWER, key, settings};
use crate::feed::samples::transition;
use crate::model::{Health, ProbeSlot, Timestamp};
use crate::store::NoJournal;

const S3: &str = "/api/v1/farms/web/servers/s3";

fn get(running: &Running, path: &str) -> Reply {
    running.call("GET", path, VIEWER, "")
}

fn with(kept: Arc<Kept>) -> Running {
    Running::start_as(&settings(), None, Arc::new(NoJournal), |state| {
        state.chronicle = Some(kept);
        state.has_history = true;
    })
}

/// Replaces what is of the moment of the test: lengths of time since 1970.
fn timeless(text: &str) -> String {
    let ago = regex::Regex::new(r"\d+ d\b(?: \d+ h\b)?|\d{2}:\d{2}:\d{2}").unwrap();
    ago.replace_all(text, "<span>").into_owned()
}

#[test]
fn server_is_explained_in_a_sentence_a_tree_and_evidence() {
    let kept = Kept::with(1..=1);
    kept.prove(Timestamp(3_000_000), b"HTTP/1.1 503 Service Unavailable\r\n\r\nno\x00\xff");
    let reply = get(&with(kept), &format!("{S3}/explain"));
    insta::assert_snapshot!(timeless(&reply.stable()));
}

#[test]
fn farm_is_explained_by_who_carries_it() {
    let running = Running::start();
    insta::assert_snapshot!(timeless(&get(&running, "/api/v1/farms/web/explain").stable()));
    for server in ["s1", "s2"] {
        running.call("POST", &format!("/api/v1/farms/web/servers/{server}/maintenance"), OPS, "{\"force\": true}");
    }
    let told = get(&running, "/api/v1/farms/web/explain").json();
    assert_eq!(told["serving"], "nobody", "{told}");
}

#[test]
fn request_that_is_not_remembered_is_404_and_says_where_ids_are() {
    let reply = get(&Running::start(), "/api/v1/requests/no-such/explain");
    assert_eq!(reply.status, 404);
    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("X-Request-Id"), "{}", reply.body);
}

#[test]
fn evidence_is_what_the_journal_kept_or_what_is_in_memory() {
    let kept = Kept::with(1..=1);
    for second in 0..5 {
        kept.prove(Timestamp(second * 1_000_000), b"HTTP/1.1 503\r\n");
    }
    let list = get(&with(kept), &format!("{S3}/evidence?limit=2")).json();
    let list = list["evidence"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["at"]), (2, &"1970-01-01T00:00:04.000Z".into()), "the newest first");
    assert_eq!((&list[0]["received"], list[0].get("received_hex")), (&"HTTP/1.1 503\n".into(), None));
    let memory = get(&Running::start(), &format!("{S3}/evidence")).json();
    assert_eq!(memory["evidence"][0]["content"], "Service Unavailable");
}

#[test]
fn history_names_its_window_and_probe() {
    let kept = Kept::with(1..=1);
    let until = Timestamp(1_763_732_060_000_000);
    kept.remember(key("web", "s3"), ProbeSlot::FIRST, until, "PPFF");
    let running = with(kept);
    let window = "since=2025-11-21T13:00:00Z&until=2025-11-21T13:34:18Z";
    let told = get(&running, &format!("{S3}/history?probe=probe&{window}"));
    insta::assert_snapshot!(told.body);
    let wrong = get(&running, &format!("{S3}/history?probe=agent"));
    assert_eq!(wrong.json()["error"]["message"], "probe \"agent\" does not exist; this farm has probe");
    let none = get(&running, "/api/v1/farms/db/servers/d1/history");
    assert_eq!((none.status, &none.json()["error"]["code"]), (409, &"no_probe".into()));
}

#[test]
fn what_needs_a_history_says_so_without_a_state_dir() {
    let running = Running::start();
    for (method, path) in [("GET", "history"), ("POST", "probe/replay")] {
        let reply = running.call(method, &format!("{S3}/{path}"), VIEWER, "");
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &"no_history".into()), "{path}");
    }
}

#[test]
fn replay_tells_what_another_probe_would_have_made_of_the_checks() {
    let kept = Kept::with(1..=1);
    let now = crate::clock::wall();
    for (server, course) in [("s1", "PPPPPPPPPPPP"), ("s2", "PPFFFPPPPPPP"), ("s3", "PPFFPPFFPPPP")] {
        kept.remember(key("web", server), ProbeSlot::FIRST, now, course);
    }
    let running = with(kept);
    let one = running.call("POST", &format!("{S3}/probe/replay"), VIEWER, "{\"fall\": 2, \"rise\": 1}").json();
    assert_eq!((&one["checks"], &one["as_probed"]["removals"]), (&12.into(), &0.into()), "{one}");
    assert_eq!(one["replayed"]["removals"], 2, "{one}");
    assert_eq!(one["replayed"]["transitions"][0]["to"], "down");
    let farm = running.call("POST", "/api/v1/farms/web/probe/replay", VIEWER, "{\"fall\": 2, \"rise\": 1}").json();
    assert_eq!((&farm["replayed"]["removals"], &farm["as_probed"]["removals"]), (&3.into(), &1.into()), "{farm}");
    // s2 and s3 have 4 of the farm's 9, and are down at the same time.
    assert_eq!((&farm["share_lost_max"], &farm["servers"][0]["server"]), (&44.0.into(), &"s1".into()));
    for (body, message) in [
        ("{\"rise\": 0}", "rise: 0 is outside 1..=1000, whole"),
        ("{\"timeout\": \"2\"}", "timeout: \"2\" is outside 10ms..=24h, such as \"2s\""),
        ("{\"status\": \"2xx\"}", "status: \"2xx\" is outside sets of HTTP statuses such as 200-399,404"),
        ("{\"probe\": \"x\"}", "probe \"x\" does not exist; this farm has probe"),
    ] {
        let reply = running.call("POST", "/api/v1/farms/web/probe/replay", VIEWER, body);
        assert_eq!(reply.json()["error"]["message"], message, "{body}");
    }
    let unknown = running.call("POST", "/api/v1/farms/web/probe/replay", VIEWER, "{\"fail\": 1}");
    assert!(unknown.body.contains("unknown field `fail`"), "{}", unknown.body);
}

#[test]
fn advice_follows_the_slowest_checks_of_the_last_hour() {
    let kept = Kept::with(1..=1);
    let course = "SSPPPPPPPP".repeat(20);
    kept.remember(key("web", "s3"), ProbeSlot::FIRST, crate::clock::wall(), &course);
    let told = get(&with(kept), &format!("{S3}/explain")).json();
    let advice = told["advice"][0].as_str().unwrap_or_default();
    assert!(advice.starts_with("probe: timeout 1 s, p99 is "), "{told}");
}

#[test]
fn timeline_is_of_a_server_a_farm_or_everything_within_its_window() {
    let kept = Kept::with(0..0);
    let now = crate::clock::wall();
    for (id, minutes) in [(1, 90), (2, 30), (3, 1)] {
        kept.keep(&transition(id, 1, Timestamp(now.0 - minutes * 60_000_000), Health::Down, None));
    }
    let running = with(kept);
    let ids = |query: &str| {
        let told = get(&running, &format!("/api/v1/timeline?{query}")).json();
        told["events"].as_array().unwrap().iter().map(|event| event["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(""), [3, 2, 1]);
    assert_eq!(ids("order=oldest&limit=2"), [1, 2]);
    assert_eq!(ids("since=1h"), [3, 2]);
    assert_eq!(ids("since=2h&until=10m"), [2, 1]);
    let of_web = get(&running, &format!("{S3}/timeline")).json();
    assert_eq!(of_web["events"], serde_json::json!([]), "the events are of another farm");
}

#[test]
fn journal_that_cannot_be_read_is_503_without_the_inside() {
    let running = with(Kept::broken());
    for path in ["/api/v1/timeline", "/api/v1/events", &format!("{S3}/evidence"), &format!("{S3}/explain")] {
        let reply = get(&running, path);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &"journal_unreadable".into()), "{path}");
        assert!(!reply.body.contains("secret"), "{}", reply.body);
    }
}

#[test]
fn farm_without_a_shadow_says_how_to_have_one() {
    let running = Running::start();
    let told = get(&running, "/api/v1/farms/web/shadow").json();
    assert_eq!(told, serde_json::json!({"shadow": null, "servers": [], "agreement": null}));
    let reply = get(&running, "/api/v1/farms/web/shadow/promote");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &"no_shadow".into()));
}
