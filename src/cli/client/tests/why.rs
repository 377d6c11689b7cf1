//! The commands that tell why, against a running admin side.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::admin::fixture::kept::Kept;
use crate::admin::fixture::{Open, key};
use crate::cli::{events, explain, replay, shadow, timeline};
use crate::feed::samples::transition;
use crate::model::{Health, ProbeSlot, SessionKind, Timestamp};

fn with(kept: Arc<Kept>) -> Running {
    Running::start_as(&settings(), None, Arc::new(NoJournal), |state| {
        state.chronicle = Some(kept);
        state.has_history = true;
    })
}

fn explained(running: &Running, scope: &str) -> String {
    let args = explain::Args { scope: scope.parse().ok(), request: None, json: false, admin: admin(running, VIEWER) };
    said(|out| explain::run(&args, out))
}

#[test]
fn explain_prints_sentence_tree_and_evidence() {
    let kept = Kept::with(1..=1);
    kept.prove(Timestamp(3_000_000), b"HTTP/1.1 503 Service Unavailable\r\nServer: a\x1b[2J\r\n\r\n");
    let running = with(kept);
    let text = explained(&running, "web/s3");
    assert!(text.starts_with("DOWN since "), "{text}");
    let evidence = text.split_once("\nevidence, the newest first\n").unwrap().1;
    assert_eq!(
        evidence,
        "  1970-01-01T00:00:03.000Z probe L7STS 503 Service Unavailable\n    \
         connected after 0.2 ms, first byte after 11.0 ms, ended after 12.3 ms\n    \
         > GET /healthz HTTP/1.1\n    > Host: 127.0.0.1:1003\n    >\n    \
         < HTTP/1.1 503 Service Unavailable\n    < Server: a\\x1b[2J\n    <\n"
    );
    assert!(explained(&running, "web").lines().count() > 3);
    assert_eq!(explained(&running, "web/s9"), "error 1: refused: server \"s9\" does not exist");
    let request = explain::Args {
        scope: None,
        request: Some("no/such?".to_owned()),
        json: false,
        admin: admin(&running, VIEWER),
    };
    assert!(said(|out| explain::run(&request, out)).starts_with("error 1: refused: no request of that id"));
}

#[test]
fn timeline_prints_one_line_an_event_with_the_newest_last() {
    let kept = Kept::with(0..0);
    for (id, second) in [(1, 5), (2, 9)] {
        kept.keep(&transition(id, 1, Timestamp(second * 1_000_000), Health::Down, None));
    }
    let running = with(kept);
    let args = |scope: Option<&str>, since: Option<&str>| timeline::Args {
        scope: scope.map(|scope| scope.parse().unwrap()),
        since: since.map(str::to_owned),
        until: None,
        limit: None,
        json: false,
        admin: admin(&running, VIEWER),
    };
    let text = said(|out| timeline::run(&args(None, None), out));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("1970-01-01T00:00:05.000Z  transition        Server web-1 of farm api went down"),
        "{text}"
    );
    assert_eq!(said(|out| timeline::run(&args(Some("web/s1"), None), out)), "nothing happened in that time\n");
    assert_eq!(said(|out| timeline::run(&args(None, Some("1h")), out)), "nothing happened in that time\n");
    let wrong = said(|out| timeline::run(&args(None, Some("soon")), out));
    assert!(wrong.starts_with("error 1: refused: since: \"soon\" is outside a time of RFC 3339"), "{wrong}");
}

#[test]
fn events_list_goes_on_after_an_id() {
    let running = Running::start();
    drained(admin(&running, OPS), "web/s1");
    let list = |after, json| {
        let args = events::Args { follow: false, after, json, admin: admin(&running, VIEWER) };
        said(|out| events::run(&args, out))
    };
    let all = list(None, false);
    assert!(all.lines().last().unwrap().contains("from active to drain"), "{all}");
    let count = u64::try_from(all.lines().count()).unwrap();
    let last = list(Some(count - 1), true);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&last).unwrap()["id"], count);
}

#[test]
fn drain_that_waits_tells_how_it_goes_and_whether_it_ended() {
    let running = Running::start();
    let open = Arc::new(Open::default());
    open.set(&[(SessionKind::Request, 2), (SessionKind::Tunnel, 1)]);
    running.store.set_sessions(Arc::<Open>::clone(&open));
    let wait = |wait: Duration| {
        let on = on("web/s1", None, admin(&running, OPS));
        let args = drain::Args { on, terms: TermsArgs::default(), wait: Some(Some(wait)) };
        let mut out = Vec::new();
        let ended = drain::run(&args, &mut out).map_err(|error| (error.exit_code(), error.to_string()));
        (String::from_utf8(out).unwrap(), ended)
    };
    let (out, ended) = wait(Duration::from_millis(300));
    assert!(out.contains("web/s1: 3 left: 2 requests, 1 tunnel\n"), "{out}");
    let (code, message) = ended.unwrap_err();
    assert_eq!(code, 1);
    assert!(
        message.starts_with("web/s1: still open after ") && message.contains("2 requests, 1 tunnel; it drains on"),
        "{message}"
    );
    let (out, ended) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            open.set(&[]);
        });
        wait(Duration::from_secs(20))
    });
    assert_eq!(ended, Ok(()), "{out}");
    assert!(out.lines().last().unwrap().starts_with("web/s1: nothing is open after "), "{out}");
}

#[test]
fn replay_and_shadow_are_told_for_people() {
    let kept = Kept::with(1..=1);
    kept.remember(key("web", "s3"), ProbeSlot::FIRST, crate::clock::wall(), "PPFFPPFFPPPP");
    let running = with(kept);
    let args = |scope: &str| replay::Args {
        scope: scope.parse().unwrap(),
        probe: None,
        rise: Some(1),
        fall: Some(2),
        interval: None,
        timeout: None,
        status: None,
        since: None,
        until: None,
        json: false,
        admin: admin(&running, VIEWER),
    };
    let one = said(|out| replay::run(&args("web/s3"), out));
    assert!(one.starts_with("12 checks from "), "{one}");
    assert!(one.contains("as probed: never taken out\nreplayed: taken out 2 times, for 4 s in all\n"), "{one}");
    let all = said(|out| replay::run(&args("web"), out));
    assert!(
        all.contains("  s1: never taken out\n  s2: never taken out\n  s3: never taken out → taken out 2 times"),
        "{all}"
    );
    let told = |promote| {
        let args = shadow::Args { farm: "web".to_owned(), promote, json: false, admin: admin(&running, VIEWER) };
        said(|out| shadow::run(&args, out))
    };
    assert_eq!(told(false), "farm web has no shadow probe; declare one as `shadow:` beside `probe:`\n");
    assert!(told(true).starts_with("error 1: refused: farm \"web\" has no shadow probe"));
}

/// Hands lines to the test, and breaks once the test has enough.
struct Pipe(std::sync::mpsc::SyncSender<String>, Vec<u8>);

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let sent = self.0.send(String::from_utf8(line).unwrap());
            sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn events_are_followed_across_a_restart() {
    let patience = Duration::from_secs(20);
    // An address that no other test listens on, so that it is still free for the second process.
    let listen = AdminSettings { listen: SocketAddr::from(([127, 0, 13, 37], 0)), ..settings() };
    let first = Running::start_with(&listen, None, Arc::new(NoJournal));
    let listen = first.addr;
    let args = events::Args { follow: true, after: None, json: false, admin: admin(&first, VIEWER) };
    let (sender, lines) = std::sync::mpsc::sync_channel(0);
    // Not a scoped thread: should the test fail, nobody waits for a follower that goes on for ever.
    let follow = move || events::run(&args, &mut Pipe(sender, Vec::new()));
    let following = std::thread::Builder::new().spawn(follow).unwrap();
    // Whatever is drained before the follower listens is not told to it; so until it was told.
    let seen = (0..200).find_map(|weight| {
        let args = weight::Args { on: on("web/s1", None, admin(&first, OPS)), weight: 100 + weight, force: false };
        said(|out| weight::run(&args, out));
        lines.recv_timeout(Duration::from_millis(100)).ok()
    });
    assert!(seen.unwrap().contains("changed the weight of server s1"));
    // Neither process keeps anything, so the second one's ids begin anew: far below the last one that was told here.
    for weight in 300..330 {
        let args = weight::Args { on: on("web/s1", None, admin(&first, OPS)), weight, force: false };
        said(|out| weight::run(&args, out));
        assert!(lines.recv_timeout(patience).is_ok());
    }
    first.stop.send(true).unwrap();
    let mut first = first;
    let served = first.served.take().unwrap();
    first.runtime.block_on(async { tokio::time::timeout(patience, served).await }).unwrap().unwrap().unwrap();
    drop(first);
    let second = Running::start_with(&AdminSettings { listen, ..settings() }, None, Arc::new(NoJournal));
    drained(admin(&second, OPS), "web/s2");
    let found = std::iter::from_fn(|| lines.recv_timeout(patience).ok())
        .find(|line| line.contains("changed the status of server s2"));
    assert!(found.is_some(), "the stream was opened anew and nothing of it missed");
    drop(lines);
    drained(admin(&second, OPS), "web/s1");
    let ended = following.join().unwrap();
    assert!(matches!(ended, Err(CliError::Output(_))), "{ended:?}");
}
