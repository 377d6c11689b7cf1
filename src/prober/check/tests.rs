//! Checks against scripted origins: status, code, content and duration of each.

use std::net::SocketAddr;

use super::super::lane;
use super::super::origins::{self, OK, Script, black_hole, start};
use super::*;
use crate::model::{Aim, BodyMatch, Expect, HttpProbe, Negate, ProbeMethod, ProxyHeader};
use CheckStatus::{L4Con, L4Ok, L4Tout, L7Ok, L7Okc, L7Rsp, L7Sts, L7Tout, SockErr};

const TIMEOUT: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(700);

fn probe(kind: ProbeKind) -> Probe {
    Probe { interval: TIMEOUT, timeout: TIMEOUT, rise: 1, fall: 1, ..Probe::new(kind) }
}

fn http_kind(body: Option<BodyMatch>, negate: Negate) -> ProbeKind {
    let expect = Expect { body, negate, ..Expect::default() };
    ProbeKind::Http(HttpProbe { expect, ..HttpProbe::get("/healthz") })
}

fn http() -> ProbeKind {
    http_kind(None, Negate::AsWritten)
}

fn contains(text: &str) -> ProbeKind {
    http_kind(Some(BodyMatch::Contains(text.into())), Negate::AsWritten)
}

fn matches(pattern: &str) -> ProbeKind {
    let regex = regex::bytes::Regex::new(pattern).unwrap();
    http_kind(Some(BodyMatch::Matches(regex)), Negate::AsWritten)
}

fn tcp(banner: Option<&str>, negate: Negate) -> ProbeKind {
    ProbeKind::Tcp { banner: banner.map(|text| BodyMatch::Contains(text.into())), negate }
}

fn origin() -> Host {
    Host::Name("origin.test".into())
}

/// Checks as a task, and through the lane where such a check may go there.
async fn check_at(addr: SocketAddr, kind: ProbeKind) -> Vec<CheckRecord> {
    let probe = probe(kind);
    let mut records = vec![run(&Trust::default(), addr, &origin(), &probe).await];
    if lane::takes(&probe) {
        records.push(lane::tests::run(addr, &origin(), &probe).await);
    }
    for record in &records {
        assert!(record.duration < TIMEOUT + SLACK, "{record:?}");
        if matches!(record.status, L4Tout | L7Tout) {
            assert!(record.duration >= TIMEOUT, "{record:?}");
        }
    }
    records
}

/// Checks an origin of that script; `content` is what the record's content begins with. Returns the last record: the
/// lane's, where there is one.
async fn check(script: Script, kind: ProbeKind, status: CheckStatus, code: Option<u16>, content: &str) -> CheckRecord {
    let mut records = check_at(start(script).await, kind.clone()).await;
    for record in &records {
        assert_eq!((record.status, record.code), (status, code), "{script:?} {kind:?} {record:?}");
        assert!(record.content.as_str().starts_with(content), "{script:?} {kind:?} {record:?}");
    }
    records.pop().unwrap()
}

#[tokio::test]
async fn http_status_decides_and_the_reason_is_kept() {
    check(Script::Reply(OK), http(), L7Ok, Some(200), "OK").await;
    check(Script::Reply("HTTP/1.1 302 Elsewhere\r\n\r\n"), http(), L7Ok, Some(302), "Elsewhere").await;
    let empty = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let record = check(Script::Reply(empty), http(), L7Sts, Some(503), "").await;
    assert_eq!(record.content.as_str(), "Service Unavailable");
    let told = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\ndb: down";
    check(Script::Reply(told), http(), L7Sts, Some(503), "Service Unavailable: db: down").await;
    let binary = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n\0\u{1}";
    let record = check(Script::Reply(binary), http(), L7Sts, Some(500), "Oops").await;
    assert_eq!(record.content.as_str(), "Oops");
}

#[tokio::test]
async fn http_status_verdict_does_not_wait_for_the_body() {
    let held = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    let record = check(Script::ReplyAndHold(held), http(), L7Ok, Some(200), "OK").await;
    assert!(record.duration < TIMEOUT, "{record:?}");
    check(Script::EndlessBody, http(), L7Ok, Some(200), "OK").await;
}

#[tokio::test]
async fn http_body_decides_and_its_first_bytes_are_kept() {
    check(Script::Reply(OK), contains("ok"), L7Ok, Some(200), "all ok").await;
    check(Script::Reply(OK), contains("fine"), L7Rsp, Some(200), "all ok").await;
    check(Script::Reply(OK), matches("^all (ok|fine)$"), L7Ok, Some(200), "all ok").await;
    check(Script::Reply(OK), matches("^ok"), L7Rsp, Some(200), "all ok").await;
    check(Script::Reply("HTTP/1.0 200 OK\r\n\r\n"), contains("ok"), L7Rsp, Some(200), "reply body is empty").await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nal\r\n4\r\nl ok\r\n0\r\n\r\n";
    check(Script::Reply(chunked), contains("all ok"), L7Ok, Some(200), "all ok").await;
    let record = check(Script::EndlessBody, contains("needle"), L7Rsp, Some(200), "xxxx").await;
    assert!(record.duration < TIMEOUT, "an endless body is read no further than the bound: {record:?}");
    let held = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok so far";
    let record = check(Script::ReplyAndHold(held), contains("ok"), L7Ok, Some(200), "ok so far").await;
    assert!(record.duration < TIMEOUT, "a verdict that is clear is not waited for: {record:?}");
}

#[tokio::test]
async fn http_negation_inverts_the_expectation_and_no_failure() {
    let not = |text: &str| http_kind(Some(BodyMatch::Contains(text.into())), Negate::Inverted);
    let no_status = || http_kind(None, Negate::Inverted);
    check(Script::Reply(OK), no_status(), L7Sts, Some(200), "OK").await;
    check(Script::Reply("HTTP/1.1 503 Down\r\n\r\n"), no_status(), L7Ok, Some(503), "Down").await;
    check(Script::Reply(OK), not("maintenance"), L7Ok, Some(200), "all ok").await;
    check(Script::Reply(OK), not("ok"), L7Rsp, Some(200), "all ok").await;
    check(Script::Silent, no_status(), L7Tout, None, "no whole reply").await;
    check(Script::ResetOnAccept, no_status(), L7Rsp, None, "").await;
}

#[tokio::test]
async fn http_reply_that_is_none_is_l7rsp_with_the_reason() {
    check(Script::ResetOnAccept, http(), L7Rsp, None, "Connection reset by peer, nothing received").await;
    check(Script::SpeakAndClose("SSH-2.0-x\r\n"), http(), L7Rsp, None, "not an HTTP/1 reply").await;
    check(Script::Reply(""), http(), L7Rsp, None, "connection closed, nothing received").await;
    check(Script::Reply("HTTP/1.1 200"), http(), L7Rsp, None, "connection closed, reply head incomplete").await;
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort";
    let closed = "connection closed, reply body incomplete: short";
    check(Script::Reply(short), contains("ok"), L7Rsp, Some(200), closed).await;
    check(Script::ReplyAndReset(short), contains("ok"), L7Rsp, Some(200), "Connection reset by peer, reply body").await;
    check(Script::EndlessHead, http(), L7Rsp, None, "reply head is longer than 16384 bytes").await;
}

#[tokio::test]
async fn http_deadline_is_one_for_the_whole_check() {
    check(Script::Silent, http(), L7Tout, None, "no whole reply within 300ms, nothing received").await;
    let drip = Script::Drip(OK, Duration::from_millis(50));
    check(drip, http(), L7Tout, None, "no whole reply within 300ms, reply head incomplete: HTTP").await;
    let held = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso far";
    let body = "no whole reply within 300ms, reply body incomplete: so far";
    check(Script::ReplyAndHold(held), contains("ok"), L7Tout, Some(200), body).await;
}

#[tokio::test]
async fn http_request_is_whole_and_names_its_host() {
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let addr = origins::serve(move |mut stream| {
        let sender = sender.clone();
        async move { sender.send(origins::read_request(&mut stream).await).unwrap() }
    })
    .await;
    let ways = check_at(addr, http()).await.len();
    assert_eq!(ways, 2);
    let version = env!("CARGO_PKG_VERSION");
    let rest = format!("User-Agent: farmgate/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    let want = format!("GET /healthz HTTP/1.1\r\nHost: origin.test:{}\r\n{rest}", addr.port());
    for _ in 0..ways {
        assert_eq!(requests.recv().await.unwrap(), want);
    }
    let kind = ProbeKind::Http(HttpProbe { method: ProbeMethod::Head, ..HttpProbe::get("/") });
    let aim = Aim { host: Some("shop.example".into()), ..Aim::default() };
    let probe = Probe { aim, ..probe(kind) };
    run(&Trust::default(), addr, &origin(), &probe).await;
    lane::tests::run(addr, &origin(), &probe).await;
    for _ in 0..ways {
        assert_eq!(requests.recv().await.unwrap(), format!("HEAD / HTTP/1.1\r\nHost: shop.example\r\n{rest}"));
    }
}

#[tokio::test]
async fn http_status_that_means_stopping_passes_on_condition() {
    let stopping = crate::model::StatusSet::parse("404").unwrap();
    let expect = Expect { stopping, ..Expect::default() };
    let kind = ProbeKind::Http(HttpProbe { expect, ..HttpProbe::get("/healthz") });
    check(Script::Reply("HTTP/1.1 404 Not Found\r\n\r\n"), kind.clone(), L7Okc, Some(404), "Not Found").await;
    check(Script::Reply("HTTP/1.1 403 Forbidden\r\n\r\n"), kind.clone(), L7Sts, Some(403), "Forbidden").await;
    check(Script::Reply(OK), kind, L7Ok, Some(200), "OK").await;
}

#[tokio::test]
async fn evidence_is_kept_of_every_check() {
    let record = check(Script::Reply(OK), http(), L7Ok, Some(200), "OK").await;
    let evidence = record.evidence.unwrap();
    assert!(evidence.sent.starts_with(b"GET /healthz HTTP/1.1\r\nHost: origin.test:"));
    assert_eq!(&*evidence.received, OK.as_bytes());
    let times = [evidence.connect.unwrap(), evidence.first_byte.unwrap(), record.duration];
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!((evidence.tls, evidence.errno, &evidence.tls_alert), (None, None, &None));

    let record = check(Script::EndlessBody, contains("needle"), L7Rsp, Some(200), "xxxx").await;
    assert_eq!(record.evidence.unwrap().received.len(), crate::model::check::EVIDENCE_BYTES_MAX);
    let record = check(Script::ResetOnAccept, tcp(Some("220"), Negate::AsWritten), L7Rsp, None, "").await;
    let evidence = record.evidence.unwrap();
    assert_eq!((evidence.errno, evidence.first_byte, evidence.received.len()), (Some(104), None, 0));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for record in check_at(free, http()).await {
        let evidence = record.evidence.unwrap();
        assert_eq!((evidence.errno, evidence.connect), (Some(111), None));
    }
}

#[tokio::test]
async fn check_comes_from_the_source_and_begins_with_the_header_that_its_aim_names() {
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let addr = origins::serve(move |mut stream| {
        let sender = sender.clone();
        async move {
            let peer = stream.peer_addr().unwrap();
            sender.send((peer, origins::read_request(&mut stream).await)).unwrap();
        }
    })
    .await;
    let source = Some("127.0.0.77".parse().unwrap());
    for (header, begins) in [
        (None, "GET "),
        (Some(ProxyHeader::V1), "PROXY TCP4 127.0.0.77 127.0.0.1 "),
        (Some(ProxyHeader::V2), "\r\n\r\n"),
    ] {
        let aim = Aim { source, proxy: header, ..Aim::default() };
        let probe = Probe { aim, ..probe(http()) };
        run(&Trust::default(), addr, &origin(), &probe).await;
        let is_for_lane = lane::takes(&probe);
        if is_for_lane {
            lane::tests::run(addr, &origin(), &probe).await;
        }
        for _ in 0..1 + usize::from(is_for_lane) {
            let (peer, request) = heard.recv().await.unwrap();
            assert_eq!(Some(peer.ip()), source);
            assert!(request.starts_with(begins), "{request:?}");
        }
    }
}

#[tokio::test]
async fn source_that_cannot_be_used_is_sockerr_and_named() {
    let addr = start(Script::Silent).await;
    for (source, words) in [
        ("192.0.2.1", "cannot connect from source 192.0.2.1: Cannot assign requested address"),
        ("::1", "cannot reach 127.0.0.1 from source ::1: one is IPv4, the other IPv6"),
    ] {
        let aim = Aim { source: Some(source.parse().unwrap()), ..Aim::default() };
        let probe = Probe { aim, ..probe(http()) };
        let as_task = run(&Trust::default(), addr, &origin(), &probe).await;
        for record in [as_task, lane::tests::run(addr, &origin(), &probe).await] {
            assert_eq!((record.status, record.content.as_str()), (SockErr, words));
        }
    }
}

/// 10,000 checks a round: what one of them holds while it waits is what counts.
#[test]
fn future_of_a_check_is_small() {
    let (trust, host, probe) = (Trust::default(), origin(), probe(http()));
    let check = run(&trust, "127.0.0.1:1".parse::<SocketAddr>().unwrap(), &host, &probe);
    assert!(size_of_val(&check) <= 2500, "{} bytes", size_of_val(&check));
}

#[test]
fn check_allocates_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The origin lives on another thread: allocations are counted by thread.
    let (sender, receiver) = std::sync::mpsc::channel();
    let origin = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            sender.send(start(Script::Reply(OK)).await).unwrap();
            tokio::time::sleep(SLACK).await;
        });
    });
    let (addr, trust, host) = (receiver.recv().unwrap(), Trust::default(), self::origin());
    let probe = probe(http());
    let check = || runtime.block_on(run(&trust, addr, &host, &probe));
    assert_eq!(check().status, L7Ok);
    let counted = allocation_counter::measure(|| assert_eq!(check().status, L7Ok));
    assert!(counted.count_total <= 25 && counted.bytes_max <= 6 * 1024, "{counted:?}");
    assert!(counted.bytes_current <= 0, "{counted:?}");
    origin.unwrap().join().unwrap();
}

#[tokio::test]
async fn tcp_connect_is_enough_where_nothing_more_is_asked() {
    check(Script::Silent, tcp(None, Negate::AsWritten), L4Ok, None, "connected").await;
    check(Script::Speak("220 ready\r\n"), tcp(None, Negate::AsWritten), L4Ok, None, "connected").await;
}

#[tokio::test]
async fn tcp_banner_is_matched() {
    let ready = || tcp(Some("220 "), Negate::AsWritten);
    let record = check(Script::Speak("220 ready\r\n"), ready(), L7Ok, None, "220 ready\\r\\n").await;
    assert!(record.duration < TIMEOUT, "{record:?}");
    check(Script::SpeakAndClose("421 busy\r\n"), ready(), L7Rsp, None, "421 busy\\r\\n").await;
    check(Script::SpeakAndClose(""), ready(), L7Rsp, None, "nothing received").await;
    check(Script::Speak("421 busy"), ready(), L7Tout, None, "no matching banner within 300ms: 421 busy").await;
    check(Script::Silent, ready(), L7Tout, None, "no matching banner within 300ms: nothing received").await;
    check(Script::ResetOnAccept, ready(), L7Rsp, None, "Connection reset by peer").await;
}

#[tokio::test]
async fn tcp_banner_negated_is_inverted() {
    let not_busy = || tcp(Some("421"), Negate::Inverted);
    check(Script::Speak("421 busy"), not_busy(), L7Rsp, None, "421 busy").await;
    check(Script::SpeakAndClose("220 ready"), not_busy(), L7Ok, None, "220 ready").await;
    check(Script::Speak("220 ready"), not_busy(), L7Ok, None, "220 ready").await;
    check(Script::Silent, not_busy(), L7Tout, None, "no matching banner").await;
}

#[tokio::test]
async fn connect_that_fails_is_l4() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for kind in [http(), tcp(None, Negate::Inverted)] {
        for record in check_at(free, kind).await {
            assert_eq!((record.status, record.content.as_str()), (L4Con, "Connection refused"));
        }
    }
    let (hole, _guard) = black_hole().await;
    for kind in [http(), tcp(None, Negate::AsWritten)] {
        for record in check_at(hole, kind).await {
            assert_eq!((record.status, record.content.as_str()), (L4Tout, "no connection within 300ms"));
        }
    }
}

#[tokio::test]
async fn failure_of_our_own_socket_is_sockerr() {
    // A link-local address without its interface: the system cannot even begin.
    for record in check_at("[fe80::1]:80".parse().unwrap(), http()).await {
        assert_eq!((record.status, record.code), (SockErr, None), "{record:?}");
    }
}

/// An origin that has not closed sees an orderly end, not a reset, also where the reply was longer than what the verdict
/// needed.
#[tokio::test]
async fn close_after_the_verdict_is_no_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for length in [2, 20_000] {
        let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
        let addr = origins::serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                origins::read_request(&mut stream).await;
                let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
                stream.write_all(reply.as_bytes()).await.unwrap();
                sender.send(stream.read(&mut [0; 8]).await.map_err(|error| error.kind())).unwrap();
            }
        })
        .await;
        for record in check_at(addr, http()).await {
            assert_eq!(record.status, L7Ok);
            assert_eq!(ends.recv().await.unwrap(), Ok(0), "a reply of {length} bytes");
        }
    }
}

#[tokio::test]
async fn connection_that_met_itself_is_noticed_and_its_echo_is_no_answer() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    assert!(connect::has_met_itself(stream.local_addr(), &addr.into()));
    let mut trace = Trace::new(clock::monotonic());
    let deadline = Deadline { at: Instant::now() + TIMEOUT, after: TIMEOUT };
    let traced = &mut Traced::new(&mut stream, &mut trace);
    let finding = http::ask(traced, &HttpProbe::get("/"), "origin.test", deadline).await;
    assert_eq!(finding.status, L7Rsp, "{finding:?}");
    assert_eq!(connect::refused(&mut trace).status, L4Con);

    let other = start(Script::Reply(OK)).await;
    assert!(!connect::has_met_itself(TcpStream::connect(other).await.unwrap().local_addr(), &other.into()));
}
