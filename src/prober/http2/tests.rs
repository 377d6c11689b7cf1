//! HTTP/2 against real servers of it, and against some that speak something else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use h2::server::SendResponse;
use http::Response;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::check;
use super::super::origins::certified::{Authority, serve};
use super::super::origins::{self, Script, start};
use super::super::tls::{ALPN_H2, Trust};
use super::*;
use crate::clock;
use crate::model::{Aim, BodyMatch, CheckRecord, Expect, Host, HttpVersion, Negate, Probe, ProbeKind, StatusSet};
use CheckStatus::{L7Ok, L7Okc, L7Rsp, L7Sts, L7Tout};

const TIMEOUT: Duration = Duration::from_millis(500);

/// What an origin does with a request.
#[derive(Clone, Copy, Debug)]
enum Play {
    /// Answers with this status and body.
    Answer(u16, &'static str),
    /// Answers 200 and a body that never ends.
    EndlessBody,
    /// Answers 200 with more fields than anyone wants.
    EndlessHead,
    /// Answers 200 and this, and then no more.
    Hold(&'static str),
    /// Answers 200 and this, and resets the connection.
    ResetConnection(&'static str),
    /// Resets the stream.
    ResetStream,
    /// Never answers.
    Silent,
}

/// Starts an origin in the clear that plays this; the channel tells the end of every connection.
async fn origin(play: Play) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let addr = origins::serve(move |stream| {
        let ended = ended.clone();
        async move {
            speak(stream, play).await;
            ended.send(()).ok();
        }
    });
    (addr.await, ends)
}

async fn speak(stream: TcpStream, play: Play) {
    let mut patience = Duration::from_secs(3600);
    if matches!(play, Play::ResetConnection(_)) {
        stream.set_zero_linger().unwrap();
        patience = Duration::from_millis(80);
    }
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Ok(Some(Ok((request, answer)))) = tokio::time::timeout(patience, connection.accept()).await {
        assert_eq!(request.uri().path(), "/healthz");
        tokio::spawn(perform(answer, play));
    }
}

async fn perform(mut answer: SendResponse<Bytes>, play: Play) {
    let ok = || Response::builder().header("server", "test");
    match play {
        Play::Answer(status, body) => {
            let head = ok().status(status).body(()).unwrap();
            let mut sending = answer.send_response(head, body.is_empty()).unwrap();
            if !body.is_empty() {
                sending.send_data(body.into(), true).unwrap();
            }
        }
        Play::EndlessBody => {
            let mut sending = answer.send_response(ok().body(()).unwrap(), false).unwrap();
            loop {
                sending.reserve_capacity(4096);
                let room = poll_fn(|context| sending.poll_capacity(context)).await;
                let Some(Ok(room)) = room else { return };
                if sending.send_data(vec![b'x'; room].into(), false).is_err() {
                    return;
                }
            }
        }
        Play::EndlessHead => {
            let head = (0..2000).fold(ok(), |head, n| head.header(format!("x-{n}"), "and more of it"));
            answer.send_response(head.body(()).unwrap(), true).ok();
        }
        Play::Hold(body) | Play::ResetConnection(body) => {
            let mut sending = answer.send_response(ok().body(()).unwrap(), false).unwrap();
            sending.send_data(body.into(), false).unwrap();
            let rest = if matches!(play, Play::Hold(_)) { Duration::from_secs(5) } else { Duration::ZERO };
            tokio::time::sleep(rest).await;
            std::mem::forget(sending);
        }
        Play::ResetStream => answer.send_reset(h2::Reason::REFUSED_STREAM),
        Play::Silent => tokio::time::sleep(Duration::from_secs(5)).await,
    }
}

fn kind(expect: Expect, encryption: Encryption) -> ProbeKind {
    let probe = HttpProbe { version: HttpVersion::Http2, encryption, expect, ..HttpProbe::get("/healthz") };
    ProbeKind::Http(probe)
}

fn contains(text: &str) -> Expect {
    Expect { body: Some(BodyMatch::Contains(text.into())), ..Expect::default() }
}

async fn check_at(addr: SocketAddr, kind: ProbeKind, aim: Aim) -> CheckRecord {
    let probe = Probe { interval: TIMEOUT, timeout: TIMEOUT, aim, ..Probe::new(kind) };
    let record = check::run(&Trust::default(), addr, &Host::Name("origin.test".into()), &probe).await;
    assert!(record.duration < TIMEOUT + Duration::from_millis(700), "{record:?}");
    record
}

async fn check(play: Play, expect: Expect, status: CheckStatus, code: Option<u16>, content: &str) -> CheckRecord {
    let (addr, mut ends) = origin(play).await;
    let record = check_at(addr, kind(expect, Encryption::None), Aim::default()).await;
    assert_eq!((record.status, record.code), (status, code), "{play:?} {record:?}");
    assert!(record.content.as_str().starts_with(content), "{play:?} {record:?}");
    let end = tokio::time::timeout(Duration::from_secs(5), ends.recv()).await;
    assert_eq!(end, Ok(Some(())), "the connection outlives the check");
    record
}

#[tokio::test]
async fn status_and_body_are_judged_as_in_http1() {
    let inverted = Expect { negate: Negate::Inverted, ..Expect::default() };
    let stopping = Expect { stopping: StatusSet::parse("404").unwrap(), ..Expect::default() };
    check(Play::Answer(200, "all ok"), Expect::default(), L7Ok, Some(200), "OK").await;
    check(Play::Answer(204, ""), Expect::default(), L7Ok, Some(204), "No Content").await;
    check(Play::Answer(503, "db: down"), Expect::default(), L7Sts, Some(503), "Service Unavailable: db: down").await;
    check(Play::Answer(503, ""), inverted, L7Ok, Some(503), "Service Unavailable").await;
    check(Play::Answer(404, "gone"), stopping, L7Okc, Some(404), "Not Found").await;
    check(Play::Answer(200, "all ok"), contains("ok"), L7Ok, Some(200), "all ok").await;
    check(Play::Answer(200, "all ok"), contains("fine"), L7Rsp, Some(200), "all ok").await;
    check(Play::Answer(200, ""), contains("fine"), L7Rsp, Some(200), "reply body is empty").await;
}

#[tokio::test]
async fn verdict_waits_for_no_more_than_it_needs() {
    let held = Play::Hold("ok so far");
    assert!(check(held, Expect::default(), L7Ok, Some(200), "OK").await.duration < TIMEOUT);
    assert!(check(held, contains("ok"), L7Ok, Some(200), "ok so far").await.duration < TIMEOUT);
    assert!(check(Play::EndlessBody, Expect::default(), L7Ok, Some(200), "OK").await.duration < TIMEOUT);
    assert!(check(Play::EndlessBody, contains("needle"), L7Rsp, Some(200), "xxxx").await.duration < TIMEOUT);
}

#[tokio::test]
async fn deadline_is_kept_and_says_what_is_missing() {
    let silent = check(Play::Silent, Expect::default(), L7Tout, None, "no whole reply within 500ms, no reply to");
    assert!(silent.await.duration >= TIMEOUT);
    let words = "no whole reply within 500ms, reply body incomplete: so far";
    check(Play::Hold("so far"), contains("needle"), L7Tout, Some(200), words).await;
    for script in [Script::Silent, Script::Drip("\0\0\0\x04\0\0\0\0\0", Duration::from_millis(90))] {
        let record = check_at(start(script).await, kind(Expect::default(), Encryption::None), Aim::default()).await;
        assert_eq!(record.status, L7Tout, "{script:?} {record:?}");
    }
}

#[tokio::test]
async fn answer_that_is_none_is_l7rsp_with_the_reason() {
    let refused = "stream error received: refused stream before processing any application logic, no reply";
    check(Play::ResetStream, Expect::default(), L7Rsp, None, refused).await;
    let record =
        check(Play::ResetConnection("half"), contains("x"), L7Rsp, Some(200), "Connection reset by peer").await;
    assert_eq!(record.evidence.unwrap().errno, Some(104));
    check(Play::EndlessHead, Expect::default(), L7Rsp, None, "").await;
    let http1 = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (script, words) in [
        (Script::Speak(http1), "server speaks HTTP/1 and not HTTP/2: HTTP/1.1 400 Bad Request"),
        (Script::Speak("220 mail.test ready\r\n"), "not an HTTP/2 reply: 220 mail.test ready"),
        (Script::ResetOnAccept, "Connection reset by peer, nothing received"),
    ] {
        let record = check_at(start(script).await, kind(Expect::default(), Encryption::None), Aim::default()).await;
        assert_eq!((record.status, record.code), (L7Rsp, None), "{script:?} {record:?}");
        assert!(record.content.as_str().starts_with(words), "{script:?} {record:?}");
        if words.contains("HTTP/1.1") {
            assert_eq!(
                &*record.evidence.unwrap().received,
                http1.as_bytes(),
                "the bytes, where nothing was understood"
            );
        }
    }
}

/// A connection that takes the first bytes, breaks at the next, and is never heard of again.
struct Breaks(usize);

impl AsyncRead for Breaks {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Breaks {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Poll::Ready(if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn connection_that_breaks_while_it_is_written_to_ends_the_check_at_once() {
    // The first 24 bytes say that it is HTTP/2.
    for taken in [0, 24, 30, 60] {
        let mut trace = Trace::new(clock::monotonic());
        let deadline = Deadline { at: Instant::now() + TIMEOUT, after: TIMEOUT };
        let probe = HttpProbe { version: HttpVersion::Http2, ..HttpProbe::get("/healthz") };
        let mut stream = Breaks(taken);
        let stream = &mut Traced::new(&mut stream, &mut trace);
        let finding = ask(stream, &probe, Encryption::None, "origin.test", deadline).await;
        assert_eq!((finding.status, finding.code), (L7Rsp, None), "{taken}: {finding:?}");
        assert!(finding.content.as_str().ends_with("nothing received"), "{taken}: {finding:?}");
    }
}

#[tokio::test]
async fn evidence_is_the_exchange_in_words() {
    let record = check(Play::Answer(503, "db: down"), Expect::default(), L7Sts, Some(503), "").await;
    let evidence = record.evidence.unwrap();
    let [sent, received] = [&*evidence.sent, &*evidence.received].map(String::from_utf8_lossy);
    assert!(sent.starts_with("GET /healthz HTTP/2\r\nhost: origin.test:"), "{sent}");
    assert!(sent.ends_with(&format!("user-agent: farmgate/{}\r\naccept: */*\r\n\r\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(received, "HTTP/2 503\r\nserver: test\r\n\r\ndb: down");
    assert!(evidence.connect.unwrap() <= evidence.first_byte.unwrap());
}

#[tokio::test]
async fn http2_is_agreed_on_inside_tls() {
    let authority = Authority::new();
    let addr = serve(&authority.good(&[ALPN_H2]).config, |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, answer))) = connection.accept().await {
            let is_whole = request.uri().scheme_str() == Some("https") && request.uri().host() == Some("shop.test");
            let status = if is_whole { 200 } else { 421 };
            tokio::spawn(perform(answer, Play::Answer(status, "all ok")));
        }
    })
    .await;
    let aim = Aim { host: Some("shop.test".into()), ..authority.aim() };
    let record = check_at(addr, kind(contains("all ok"), Encryption::Tls), aim).await;
    assert_eq!((record.status, record.code, record.content.as_str()), (L7Ok, Some(200), "all ok"));
    let evidence = record.evidence.unwrap();
    assert!(evidence.received.starts_with(b"HTTP/2 200\r\n") && evidence.certificate_sha256.is_some());
}

#[tokio::test]
async fn authority_that_cannot_be_one_is_our_own_fault() {
    let (addr, _ends) = origin(Play::Answer(200, "")).await;
    let aim = Aim { host: Some("no host".into()), ..Aim::default() };
    let record = check_at(addr, kind(Expect::default(), Encryption::None), aim).await;
    assert_eq!(record.status, CheckStatus::SockErr);
    assert!(record.content.as_str().starts_with("cannot ask \"no host\" for \"/healthz\": "), "{record:?}");
}
