//! Drain and maintenance as objects: their terms, how they stand, and waiting for them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::admin::fixture::{Lines, OPS, Open, Running, VIEWER, settings};
use crate::model::{Field, SavedHealth, ServerKey, SessionKind};
use crate::store::{Entry, Journal, JournalError, NoJournal, SavedOverride};

const DRAIN: &str = "/api/v1/farms/web/servers/s1/drain";
const STREAM: &str = "Accept: text/event-stream\r\n";

fn with_open(groups: &[(SessionKind, u64)]) -> (Running, Arc<Open>) {
    let running = Running::start_as(&settings(), None, Arc::new(NoJournal), |_| {});
    let open = Arc::new(Open::default());
    open.set(groups);
    running.store.set_sessions(Arc::<Open>::clone(&open));
    (running, open)
}

#[test]
fn order_tells_who_why_until_when_and_what_is_open() {
    let (running, _open) = with_open(&[(SessionKind::Request, 2), (SessionKind::Tunnel, 1)]);
    let body = "{\"reason\": \"disk swap\", \"deadline\": \"1h\", \"until\": \"2h\", \"at_deadline\": \"keep\"}";
    let answered = running.call("POST", DRAIN, OPS, body).json();
    let order = running.call("GET", DRAIN, VIEWER, "");
    insta::assert_snapshot!(order.stable());
    assert_eq!(answered["order"]["reason"], order.json()["reason"]);
    assert_eq!(
        running.call("POST", "/api/v1/farms/web/servers/s1/ready", OPS, "").json()["order"],
        serde_json::Value::Null
    );
}

#[test]
fn order_that_is_none_is_404_and_says_so() {
    let (running, _open) = with_open(&[]);
    for fields in ["", STREAM] {
        let (mut lines, first) = Lines::ask(&running, DRAIN, fields);
        assert!(first.starts_with("HTTP/1.0 404"), "{first}");
        assert!(lines.next().unwrap().contains("is neither in drain nor in maintenance"), "{fields}");
    }
    let unknown = running.call("GET", "/api/v1/farms/web/servers/s9/drain?wait=1s", VIEWER, "");
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &"not_found".into()));
}

#[test]
fn wait_answers_as_soon_as_nothing_is_open() {
    let (running, open) = with_open(&[(SessionKind::Connection, 3)]);
    let began = crate::clock::monotonic();
    let (server, order) = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let answered = running.call("POST", &format!("{DRAIN}?wait=20s"), OPS, "");
            (answered.json(), running.call("GET", &format!("{DRAIN}?wait=20s"), VIEWER, "").json())
        });
        std::thread::sleep(Duration::from_millis(400));
        assert!(!waiter.is_finished(), "three are open");
        open.set(&[]);
        waiter.join().unwrap()
    });
    assert_eq!((&server["order"]["left"], &order["left"]), (&0.into(), &0.into()));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn wait_answers_what_is_left_when_the_time_is_up() {
    let (running, _open) = with_open(&[(SessionKind::Connection, 3)]);
    assert_eq!(running.call("POST", &format!("{DRAIN}?wait=0s"), OPS, "").json()["order"]["left"], 3);
    let began = crate::clock::monotonic();
    assert_eq!(running.call("GET", &format!("{DRAIN}?wait=300ms"), VIEWER, "").json()["left"], 3);
    assert!(began.elapsed() >= Duration::from_millis(300));
    let refused = running.call("POST", &format!("{DRAIN}?wait=1h"), OPS, "");
    assert_eq!(refused.json()["error"]["message"], "wait: \"1h\" is outside 0s..=10m, such as 30s");
}

#[test]
fn wait_ends_with_the_admin_side() {
    let (running, _open) = with_open(&[(SessionKind::Tunnel, 1)]);
    let answered = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| running.call("POST", &format!("{DRAIN}?wait=10m"), OPS, ""));
        std::thread::sleep(Duration::from_millis(300));
        running.stop.send(true).unwrap();
        waiter.join().unwrap()
    });
    assert_eq!((answered.status, &answered.json()["order"]["left"]), (200, &1.into()));
}

#[test]
fn stream_tells_how_a_drain_goes_until_nothing_is_open() {
    let (running, open) = with_open(&[(SessionKind::Request, 2)]);
    running.call("POST", DRAIN, OPS, "");
    let mut lines = Lines::of(&running, DRAIN, STREAM);
    assert_eq!(lines.values("event", 1), ["drain"]);
    let left = |lines: &mut Lines| {
        let data: serde_json::Value = serde_json::from_str(&lines.values("data", 1)[0]).unwrap();
        data["left"].as_u64().unwrap()
    };
    assert_eq!(left(&mut lines), 2);
    open.set(&[]);
    while left(&mut lines) > 0 {}
    assert_eq!(lines.find(|line| !line.is_empty()), None, "it ended");
}

#[test]
fn stream_of_a_drain_that_is_ended_says_so() {
    let (running, _open) = with_open(&[(SessionKind::Request, 2)]);
    running.call("POST", DRAIN, OPS, "");
    let mut lines = Lines::of(&running, DRAIN, STREAM);
    assert_eq!(lines.values("event", 1), ["drain"]);
    running.call("POST", "/api/v1/farms/web/servers/s1/ready", OPS, "");
    assert!(lines.any(|line| line == ": the order is over"));
}

/// A disk that stalls: each override says that it has come and waits to be let go.
struct Stalled(Mutex<(Sender<()>, Receiver<()>)>);

impl Journal for Stalled {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        NoJournal.healths()
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        NoJournal.last_event_id()
    }

    fn note(&self, entry: Entry) {
        NoJournal.note(entry);
    }

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        NoJournal.overrides()
    }

    fn put_override(&self, _saved: &SavedOverride) -> Result<(), JournalError> {
        let gate = self.0.lock().unwrap();
        gate.0.send(()).unwrap();
        let let_go = gate.1.recv_timeout(Duration::from_secs(20));
        let_go.map_err(|why| JournalError { what: "keep an override", cause: why.into() })
    }

    fn drop_overrides(&self, _fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        Ok(())
    }
}

#[test]
fn order_that_waits_for_the_disk_holds_up_no_other_call() {
    let ((come, has_come), (let_go, go)) = (channel(), channel());
    let journal = Arc::new(Stalled(Mutex::new((come, go))));
    let running = Running::start_as(&settings(), None, journal, |_| {});
    std::thread::scope(|scope| {
        let ordered = scope.spawn(|| running.call("POST", DRAIN, OPS, ""));
        has_come.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(running.call("GET", "/healthz", "", "").status, 200);
        let server = running.call("GET", "/api/v1/farms/web/servers/s1", VIEWER, "").json();
        assert_eq!((&server["admin"], ordered.is_finished()), (&"active".into(), false), "{server}");
        let_go.send(()).unwrap();
        let answered = ordered.join().unwrap();
        assert_eq!((answered.status, &answered.json()["admin"]), (200, &"drain".into()));
    });
}
