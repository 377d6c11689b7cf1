//! Every kind of listener and of client through upgrades: HTTP/2, UDP, Unix sockets, sticky cookies.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::harness::h2::{END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, frame, head};
use crate::harness::{Client, Farmgate, Frames, H2, Origin, PATIENCE, Server, Setup, until};
use crate::udp::{self, Echo};

use super::{Heirs, has_ended};

const UPGRADES: usize = 3;

/// Has the process replaced again and again while every one of these goes on; each counts what it did.
fn through_upgrades(farmgate: &Farmgate, heirs: &mut Heirs, doing: &[&(dyn Fn() + Sync)]) {
    let is_over = AtomicBool::new(false);
    let done: Vec<_> = doing.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let mut threads = Vec::new();
        for (&act, count) in doing.iter().zip(&done) {
            threads.push(scope.spawn(move || {
                while !is_over.load(SeqCst) {
                    act();
                    count.fetch_add(1, SeqCst);
                }
            }));
        }
        for n in 0..=UPGRADES {
            let before: Vec<_> = done.iter().map(|count| count.load(SeqCst)).collect();
            until("everybody to go on", || {
                let is_further = |(count, before): (&AtomicUsize, &usize)| count.load(SeqCst) > before + 3;
                let has_failed = threads.iter().any(std::thread::ScopedJoinHandle::is_finished);
                (has_failed || done.iter().zip(&before).all(is_further)).then_some(())
            });
            if threads.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
            if n < UPGRADES {
                heirs.upgrade(farmgate);
            }
        }
        is_over.store(true, SeqCst);
    });
    assert_eq!(heirs.0.len(), UPGRADES);
}

#[test]
fn http_2_clients_are_told_to_go_and_no_request_is_lost() {
    let (_origin, _dir, mut farmgate) = with_h2c();
    let front = farmgate.front("web");
    let mut heirs = Heirs::new();
    let told = AtomicUsize::new(0);
    // One connection as long as it lasts, with several requests at a time; what was sent must be answered.
    let asking = || {
        let client = H2::connect(front);
        while client.run(|send| async move { ask(send).await }) {}
        told.fetch_add(1, SeqCst);
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = [(); 3].map(|()| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    asking();
                }
            })
        });
        // And one that connects anew for every few requests.
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                H2::connect(front).run(|send| async move { ask(send).await });
            }
        });
        for n in 1..=UPGRADES {
            heirs.upgrade(&farmgate);
            until("every client to have been told to go", || {
                (told.load(SeqCst) >= 3 * n || asking.iter().any(|t| t.is_finished())).then_some(())
            });
        }
        is_over.store(true, SeqCst);
        heirs.upgrade(&farmgate);
    });
    assert!(told.load(SeqCst) > 3 * UPGRADES);
    assert_eq!(farmgate.wait().code(), Some(0), "who was replaced ends long before its grace");
}

/// Sends several requests; returns false if the connection takes no more. Panics if one that was sent has no answer.
async fn ask(send: h2::client::SendRequest<bytes::Bytes>) -> bool {
    let mut answers = Vec::new();
    let mut is_open = true;
    for _ in 0..4 {
        // A client sends nothing to who has told it to go.
        let Ok(mut ready) = send.clone().ready().await else {
            is_open = false;
            break;
        };
        let Ok((answer, _)) = ready.send_request(H2::head("GET", "/"), true) else {
            is_open = false;
            break;
        };
        answers.push(answer);
    }
    for answer in answers {
        let answer = answer.await.expect("an answer to what was sent");
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece.expect("a whole body").len()).unwrap();
        }
    }
    is_open
}

fn with_h2c() -> (Origin, Arc<tempfile::TempDir>, Farmgate) {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend("h2c: true").top("grace: 60s");
    let farmgate = Farmgate::start_in(&dir, &with_socket(setup, dir.path()), &[]);
    farmgate.wait_for_state("a", "UP");
    (origin, dir, farmgate)
}

#[test]
fn request_that_a_client_of_http_2_had_begun_when_it_was_told_to_go_is_answered() {
    let (_origin, _dir, mut farmgate) = with_h2c();
    let mut client = Frames::connect(farmgate.front("web"));
    client.get(1).unwrap();
    assert_eq!(client.next_of(HEADERS).map(|frame| frame.stream), Some(1));
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    assert_eq!(
        client.next_of(GOAWAY).unwrap().payload[..4],
        [0x7f, 0xff, 0xff, 0xff],
        "whatever is on its way is taken in"
    );
    let ping = client.next_of(PING).unwrap();
    // As clients do: control frames first, what waited in line behind them.
    let (ack, end) = (1, 0x4 | END_STREAM);
    let both = [frame(PING, ack, 0, &ping.payload), frame(HEADERS, end, 3, &head("GET", &[]))].concat();
    client.raw(&both).unwrap();
    let frames = client.rest();
    assert!(frames.iter().any(|frame| frame.kind == HEADERS && frame.stream == 3), "{frames:?}");
    let last = frames.iter().rfind(|frame| frame.kind == GOAWAY).expect("a last word");
    assert_eq!((&last.payload[..4], last.code()), (&[0, 0, 0, 3][..], 0));
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn client_that_connected_before_and_asks_afterwards_is_answered() {
    let (_origin, _dir, mut farmgate) = with_h2c();
    let front = farmgate.front("web");
    let (mut one, mut two) = (Client::connect(front), Frames::connect_silently(front));
    until("both to be let in", || {
        (farmgate.metric("farmgate_frontend_connections_open", &["web"])? >= 2.0).then_some(())
    });
    let mut heirs = Heirs::new();
    heirs.upgrade(&farmgate);
    let answer = one.get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    two.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    two.send(SETTINGS, 0, 0, &[]).unwrap();
    two.get(1).unwrap();
    assert_eq!(two.next_of(HEADERS).map(|frame| frame.stream), Some(1));
    drop(two);
    assert_eq!(farmgate.wait().code(), Some(0));
}

#[test]
fn datagrams_are_answered_all_along() {
    let (a, origin) = (Echo::start("a"), Origin::start("a"));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .another_frontend("dns: {protocol: udp, listen: [\"127.0.0.1:0\"], farm: dns}")
        .another_farm(&format!("dns: {{protocol: udp, timeouts: {{idle: 1s}}, servers: {{a: \"{}\"}}}}", a.addr));
    let mut farmgate = Farmgate::start_in(&dir, &with_socket(setup, dir.path()), &[]);
    let front = farmgate.front("dns");
    let mut heirs = Heirs::new();
    let known = [udp::client(), udp::client()];
    let again = |n: usize| assert_eq!(udp::ask(&known[n], front, b"known"), "a:known");
    let anew = || assert_eq!(udp::ask(&udp::client(), front, b"new"), "a:new");
    through_upgrades(&farmgate, &mut heirs, &[&|| again(0), &|| again(1), &anew, &anew]);
    assert_eq!(farmgate.wait().code(), Some(0), "sessions of who was replaced end in silence");
    heirs.end();
}

#[test]
fn unix_sockets_are_never_refused_and_their_file_goes_with_the_last_process() {
    let origin = Origin::start("a");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("web.sock");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"127.0.0.1:0\", \"unix:{}\"]", path.display()));
    let mut farmgate = Farmgate::start_in(&dir, &with_socket(setup, dir.path()), &[]);
    farmgate.wait_for_state("a", "UP");
    let mut heirs = Heirs::new();
    let ask = || {
        let mut stream = UnixStream::connect(&path).expect("nobody is refused");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    through_upgrades(&farmgate, &mut heirs, &[&ask, &ask]);
    assert_eq!(farmgate.wait().code(), Some(0));
    for pid in &heirs.0[..UPGRADES - 1] {
        until("those before to end", || has_ended(pid).then_some(()));
    }
    assert!(path.exists());
    ask();
    heirs.end();
    assert!(!path.exists(), "nobody listens there any more");
}

#[test]
fn cookie_that_was_sealed_before_brings_its_client_back_afterwards() {
    let origins = ["a", "b", "c"].map(Origin::start);
    let servers: Vec<_> =
        origins.iter().zip(["a", "b", "c"]).map(|(origin, name)| Server::new(name, origin.addr(), "")).collect();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let setup = with_socket(Setup::http(&servers).farm("stickiness: {cookie: {name: WAY}}"), dir.path());
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    for name in ["a", "b", "c"] {
        farmgate.wait_for_state(name, "UP");
    }
    let front = farmgate.front("web");
    let given: Vec<_> = (0..6).map(|_| Client::connect(front).get("/")).collect();
    let mut heirs = Heirs::new();
    for _ in 0..2 {
        heirs.upgrade(&farmgate);
        for first in &given {
            let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap();
            let again = ask_with(front, cookie);
            assert_eq!((again.origin(), again.header("set-cookie")), (first.origin(), None));
        }
    }
    let forged = ask_with(front, "WAY=0000000000000001.00000000000000000000000000000000");
    assert!(forged.header("set-cookie").is_some(), "only what was sealed is believed");
}

fn ask_with(front: SocketAddr, cookie: &str) -> crate::harness::Response {
    Client::connect(front).request("GET", "/", &[("Cookie", cookie)], b"")
}

/// Has the processes meet in a directory of the test's own.
fn with_socket(setup: Setup, dir: &Path) -> Setup {
    setup.top(&format!("upgrade_socket: \"{}\"", dir.join("upgrade.sock").display()))
}
