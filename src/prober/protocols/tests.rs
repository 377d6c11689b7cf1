//! Whole checks against scripted servers: status, code and content of each protocol, and every one's deadline.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::check::run;
use super::super::origins::{Script, black_hole, serve, start};
use super::super::tls::Trust;
use super::*;
use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::probe::{CommandProbe, ExchangeProbe, Step};
use crate::model::{AdminStatus, AgentWeight, BodyMatch, CheckRecord, Encryption, Host, Negate, Probe, Secret};
use CheckStatus::{Checked, L4Con, L4Tout, L7Ok, L7Rsp, L7Sts, L7Tout};

const TIMEOUT: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(700);

/// One turn of a scripted server.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Say(&'static [u8]),
    /// Reads exactly this, or says what it read instead.
    Hear(&'static [u8]),
    /// Reads that many bytes.
    Skip(usize),
    Hold,
}
use Turn::{Hear, Hold, Say, Skip};

async fn play(mut stream: TcpStream, turns: &'static [Turn]) {
    for turn in turns {
        match turn {
            Say(bytes) => stream.write_all(bytes).await.unwrap(),
            Hear(bytes) => {
                let mut heard = vec![0; bytes.len()];
                stream.read_exact(&mut heard).await.ok();
                if heard != *bytes {
                    stream.write_all(&[b"heard ", &heard[..]].concat()).await.unwrap();
                    return;
                }
            }
            Skip(bytes) => {
                stream.read_exact(&mut vec![0; *bytes]).await.unwrap();
            }
            Hold => {
                stream.read_to_end(&mut Vec::new()).await.ok();
            }
        }
    }
}

async fn check_at(addr: SocketAddr, kind: ProbeKind) -> CheckRecord {
    let probe = Probe { interval: TIMEOUT, timeout: TIMEOUT, ..Probe::new(kind) };
    let record = run(&Trust::default(), addr, &Host::Name("server.test".into()), &probe).await;
    assert!(record.duration < TIMEOUT + SLACK, "{record:?}");
    record
}

/// Checks a server that plays these turns; `content` is what the record's content begins with.
async fn check(turns: &'static [Turn], kind: ProbeKind, status: CheckStatus, code: Option<u16>, content: &str) {
    let record = check_at(serve(move |stream| play(stream, turns)).await, kind).await;
    assert_eq!((record.status, record.code), (status, code), "{turns:?} {record:?}");
    assert!(record.content.as_str().starts_with(content), "{turns:?} {record:?}");
    if status != L7Tout {
        assert!(record.duration < TIMEOUT, "{turns:?} {record:?}");
    }
}

fn smtp() -> ProbeKind {
    ProbeKind::Smtp { hello: "us.test".into() }
}

fn mysql(user: Option<&str>) -> ProbeKind {
    ProbeKind::Mysql { user: user.map(Into::into) }
}

fn pgsql() -> ProbeKind {
    ProbeKind::Pgsql { user: "u".into() }
}

fn redis(password: Option<&str>) -> ProbeKind {
    ProbeKind::Redis { password: password.map(Secret::new) }
}

fn agent(send: &str) -> ProbeKind {
    ProbeKind::Agent { send: send.into() }
}

fn exchange(steps: impl IntoIterator<Item = Step>) -> ProbeKind {
    ProbeKind::Exchange(ExchangeProbe { steps: steps.into_iter().collect(), encryption: Encryption::None })
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().into())
}

fn expect(text: &str) -> Step {
    Step::ExpectBytes(text.as_bytes().into())
}

fn matches(pattern: &str) -> Step {
    Step::ExpectMatch(BodyMatch::Matches(regex::bytes::Regex::new(pattern).unwrap()))
}

/// One of each that speaks over a connection.
fn each() -> Vec<ProbeKind> {
    let banner = Some(BodyMatch::Contains("never said".into()));
    vec![
        agent(""),
        exchange([expect("never said")]),
        mysql(Some("u")),
        mysql(None),
        ProbeKind::Oco,
        pgsql(),
        redis(Some("p")),
        redis(None),
        smtp(),
        ProbeKind::Tcp { banner, negate: Negate::AsWritten },
    ]
}

#[tokio::test]
async fn smtp_greeting_and_helo_decide() {
    const OK: &[Turn] =
        &[Say(b"220-mail.test\r\n220 "), Say(b"ready\r\n"), Hear(b"HELO us.test\r\n"), Say(b"250 hello\r\n"), Hold];
    check(OK, smtp(), L7Ok, Some(250), "250 hello").await;
    check(&[Say(b"554 no service\r\n"), Hold], smtp(), L7Sts, Some(554), "greeting: 554 no service").await;
    const REFUSED: &[Turn] = &[Say(b"220 x\r\n"), Hear(b"HELO us.test\r\n"), Say(b"550-go\r\n550 away\r\n"), Hold];
    check(REFUSED, smtp(), L7Sts, Some(550), "answer to HELO: 550-go\\r\\n550 away").await;
    check(&[Say(b"354 x\r\n"), Hold], smtp(), L7Sts, Some(354), "greeting: 354").await;
    check(&[Say(b"SSH-2.0-x\r\n"), Hold], smtp(), L7Rsp, None, "greeting is not of SMTP, received: SSH").await;
    let closed = "connection closed before the answer to HELO, nothing further received";
    check(&[Say(b"220 x\r\n"), Skip(14)], smtp(), L7Rsp, None, closed).await;
}

#[tokio::test]
async fn smtp_conversation_ends_with_quit_whatever_the_verdict() {
    for (greeting, said) in [("220 x\r\n", "HELO us.test\r\nQUIT\r\n"), ("421 x\r\n", "QUIT\r\n")] {
        let (sender, mut all) = tokio::sync::mpsc::unbounded_channel();
        let addr = serve(move |mut stream| {
            let sender = sender.clone();
            async move {
                stream.write_all(greeting.as_bytes()).await.unwrap();
                if greeting.starts_with('2') {
                    stream.write_all(b"250 x\r\n").await.unwrap();
                }
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.unwrap();
                sender.send(heard).unwrap();
            }
        })
        .await;
        check_at(addr, smtp()).await;
        assert_eq!(all.recv().await.unwrap(), said);
    }
}

/// A greeting of protocol 10 as MySQL 8 sends it.
const GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\
    ijklmnopqrst\0caching_sha2_password\0";
/// A login of `u` or nobody, its head included.
const LOGIN_BYTES: usize = 4 + 32 + 2 + 22;

#[tokio::test]
async fn mysql_greeting_and_login_decide() {
    const OK: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";
    check(&[Say(GREETING), Hold], mysql(None), L7Ok, None, "version 8.0.36").await;
    check(&[Say(GREETING), Skip(LOGIN_BYTES + 1), Say(OK), Hold], mysql(Some("u")), L7Ok, None, "version 8.0.36").await;
    const SWITCHED: &[Turn] = &[
        Say(GREETING),
        Skip(LOGIN_BYTES + 1),
        Say(b"\x08\0\0\x02\xfeplugin\0"),
        Hear(b"\0\0\0\x03"),
        Say(b"\x07\0\0\x04\0\0\0\x02\0\0\0"),
        Hold,
    ];
    check(SWITCHED, mysql(Some("u")), L7Ok, None, "version 8.0.36").await;
    const DENIED: &[Turn] = &[Say(GREETING), Skip(LOGIN_BYTES + 1), Say(b"\x10\0\0\x02\xff\x15\x04#28000Access")];
    check(DENIED, mysql(Some("u")), L7Rsp, None, "connection closed before the answer to the login, received:").await;
    const DENIED_WHOLE: &[Turn] = &[Say(GREETING), Skip(LOGIN_BYTES + 1), Say(b"\x0f\0\0\x02\xff\x15\x04#28000Access")];
    check(DENIED_WHOLE, mysql(Some("u")), L7Sts, Some(1045), "28000: Access").await;
    const BUSY: &[Turn] = &[Say(b"\x0b\0\0\0\xff\x10\x04Too many"), Hold];
    check(BUSY, mysql(None), L7Sts, Some(1040), "Too many").await;
    const MORE: &[Turn] = &[Say(GREETING), Skip(LOGIN_BYTES + 1), Say(b"\x02\0\0\x02\x01\x04"), Hold];
    check(MORE, mysql(Some("u")), L7Rsp, None, "the server wants more than an empty password").await;
    check(&[Say(b"220 mail\r\n"), Hold], mysql(None), L7Rsp, None, "greeting is not of MySQL, received: 220").await;
    check(&[Say(b"\x02\0\0\0\x09\0"), Hold], mysql(None), L7Rsp, None, "greeting is not of MySQL").await;
    check(&[Say(b"\0\0\0\0"), Hold], mysql(None), L7Rsp, None, "greeting is not of MySQL").await;
}

/// A greeting without an answer would be an interrupted handshake.
#[tokio::test]
async fn mysql_greeting_is_answered_after_the_verdict() {
    let (sender, mut all) = tokio::sync::mpsc::unbounded_channel();
    let addr = serve(move |mut stream| {
        let sender = sender.clone();
        async move {
            stream.write_all(GREETING).await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            sender.send(heard).unwrap();
        }
    })
    .await;
    assert_eq!(check_at(addr, mysql(None)).await.status, L7Ok);
    let heard = all.recv().await.unwrap();
    assert_eq!(heard.len(), LOGIN_BYTES + 5);
    assert_eq!(heard[..4], [56, 0, 0, 1]);
    assert!(heard.ends_with(b"\0\0mysql_native_password\0\x01\0\0\0\x01"), "{heard:?}");
}

#[tokio::test]
async fn pgsql_authentication_passes_and_an_error_does_not() {
    const START_UP: usize = 53;
    check(
        &[Skip(START_UP), Say(b"R\0\0\0\x08\0\0\0\0"), Hear(b"X\0\0\0\x04"), Hold],
        pgsql(),
        L7Ok,
        None,
        "authentication: none needed",
    )
    .await;
    check(
        &[Skip(START_UP), Say(b"R\0\0\0\x0c\0\0\0\x05salt"), Hold],
        pgsql(),
        L7Ok,
        None,
        "authentication: MD5 password",
    )
    .await;
    const STARTING: &[Turn] = &[Skip(START_UP), Say(b"N\0\0\0\x05\0E\0\0\0\x20SFATAL\0C57P03\0Mis starting\0\0"), Hold];
    check(STARTING, pgsql(), L7Sts, None, "FATAL 57P03: is starting").await;
    let asides = "only notices in answer to the start-up";
    check(&[Skip(START_UP), Say(b"N\0\0\0\x04"), Hold], pgsql(), L7Tout, None, "no answer to the start-up").await;
    const NOTICES: &[u8] = b"N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04N\0\0\0\x04";
    check(&[Skip(START_UP), Say(NOTICES), Hold], pgsql(), L7Rsp, None, asides).await;
    check(
        &[Skip(START_UP), Say(b"HTTP/1.1 400"), Hold],
        pgsql(),
        L7Rsp,
        None,
        "answer to the start-up is not of PostgreSQL",
    )
    .await;
}

#[tokio::test]
async fn redis_pong_passes_and_an_error_is_shown() {
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const AUTH: &[u8] = b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n";
    check(&[Hear(PING), Say(b"+PONG\r\n"), Hold], redis(None), L7Ok, None, "PONG").await;
    check(
        &[Hear(AUTH), Say(b"+OK\r\n"), Hear(PING), Say(b"+PONG\r\n"), Hold],
        redis(Some("secret")),
        L7Ok,
        None,
        "PONG",
    )
    .await;
    const LOADING: &[Turn] = &[Hear(PING), Say(b"-LOADING Redis is loading\r\n"), Hold];
    check(LOADING, redis(None), L7Sts, None, "LOADING Redis is loading").await;
    const QUOTED: &[Turn] = &[Hear(AUTH), Say(b"-ERR unknown command AUTH `secret`, secret\r\n"), Hold];
    check(QUOTED, redis(Some("secret")), L7Sts, None, "ERR unknown command AUTH `…`, …").await;
    check(&[Hear(PING), Say(b"+OK\r\n"), Hold], redis(None), L7Rsp, None, "answer to PING is +OK").await;
    check(&[Say(b"SSH-2.0\r\n"), Hold], redis(None), L7Rsp, None, "answer to PING is not of Redis").await;
}

/// Neither content nor evidence nor words of a failure hold the password.
#[tokio::test]
async fn redis_password_is_shown_nowhere() {
    const ECHO: &[Turn] = &[Hear(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"), Say(b"secret?\r\n"), Hold];
    let kind = redis(Some("secret"));
    let record = check_at(serve(|stream| play(stream, ECHO)).await, kind.clone()).await;
    assert_eq!(record.status, L7Rsp);
    assert!(!record.content.as_str().contains("secret"), "{record:?}");
    let shown = |bytes: &[u8]| without_secret(&kind, bytes).into_owned();
    assert_eq!(shown(b"AUTH secret\r\n"), "AUTH …\r\n".as_bytes());
    assert_eq!(shown(b"secretsecret"), "……".as_bytes());
    assert_eq!(shown(b"a secre"), b"a secre");
    let cut = [&[b'x'; EVIDENCE_BYTES_MAX - 3][..], b"sec"].concat();
    assert_eq!(shown(&cut), [&cut[..EVIDENCE_BYTES_MAX - 3], "…".as_bytes()].concat());
    assert_eq!(without_secret(&redis(None), b"secret"), &b"secret"[..]);
}

#[tokio::test]
async fn oco_first_byte_decides() {
    check(&[Say(b"2"), Hold], ProbeKind::Oco, L7Ok, None, "2").await;
    check(&[Say(b"200 OK\r\n")], ProbeKind::Oco, L7Ok, None, "200 OK").await;
    check(&[Say(b"500 full\n"), Hold], ProbeKind::Oco, L7Rsp, None, "500 full").await;
    check(&[], ProbeKind::Oco, L7Rsp, None, "connection closed before the answer, nothing received").await;
}

#[tokio::test]
async fn exchange_steps_are_taken_in_order() {
    const TALK: &[Turn] = &[Say(b"hello 1 2"), Hear(b"go\n"), Say(b" 2 done"), Hold];
    let steps = || [matches("hello [0-9]"), expect("2"), send("go\n"), expect("2"), expect("done")];
    check(TALK, exchange(steps()), L7Ok, None, " done").await;
    let twice = "step 2 (expect \"hello\"): no match within 300ms, received:  1 2";
    check(TALK, exchange([expect("hello"), expect("hello")]), L7Tout, None, twice).await;
    check(&[Say(b"no")], exchange([send("x"), expect("yes")]), L7Rsp, None, "step 2 (expect \"yes\"): ").await;
    check(&[Say(b"ab")], exchange([matches("b$")]), L7Ok, None, "ab").await;
    check(&[Skip(3)], exchange([send("abc")]), L7Ok, None, "sent, nothing expected").await;
    let late = check_at(serve(|stream| play(stream, &[Say(b"ab"), Hold])).await, exchange([matches("b$")])).await;
    assert_eq!((late.status, late.content.as_str()), (L7Ok, "ab"), "{late:?}");
    let left = check_at(serve(|stream| play(stream, &[Say(b"ab"), Hold])).await, exchange([matches("b$"), send("x")]));
    assert_eq!(left.await.status, L7Tout);
}

#[tokio::test]
async fn exchange_window_is_bounded_and_begins_after_the_last_match() {
    let big = |between: usize| async move {
        let addr = serve(move |mut stream| async move {
            let text = ["x".repeat(BODY_BYTES_LOOKED_AT - 1), "1".into(), "y".repeat(between), "2".into()].concat();
            stream.write_all(text.as_bytes()).await.ok();
            stream.read_to_end(&mut Vec::new()).await.ok();
        });
        check_at(addr.await, exchange([expect("1"), expect("2")])).await
    };
    assert_eq!(big(BODY_BYTES_LOOKED_AT - 1).await.status, L7Ok);
    let record = big(BODY_BYTES_LOOKED_AT).await;
    assert_eq!(record.status, L7Rsp);
    assert!(record.content.as_str().starts_with("step 2 (expect \"2\"): not in the first 16384 bytes"), "{record:?}");
}

#[tokio::test]
async fn agent_line_is_advice() {
    let said = |turns: &'static [Turn], ask: &'static str| async move {
        check_at(serve(move |stream| play(stream, turns)).await, agent(ask)).await
    };
    let record = said(&[Hear(b"state?\n"), Say(b"75% drain\n"), Hold], "state?\n").await;
    assert_eq!((record.status, record.content.as_str()), (L7Ok, "75% drain"));
    let agent = record.agent.unwrap();
    assert_eq!((agent.weight, agent.admin), (Some(AgentWeight::Percent(75)), Some(AdminStatus::Drain)));
    let record = said(&[Say(b"down#no disk")], "").await;
    assert_eq!((record.status, record.content.as_str()), (L7Sts, "down#no disk"));
    assert_eq!(record.agent.unwrap().reason.as_deref(), Some("no disk"));
    for (turns, status, content) in [
        (&[Say(b"what?\n"), Hold][..], L7Rsp, "not an agent's line: \"what?\""),
        (&[Say(b"\n"), Hold], L7Rsp, "not an agent's line: \"\""),
        (&[Say(&[b'9'; 256]), Hold], L7Rsp, "line is longer than 256 bytes: 999"),
        (&[], Checked, "connection closed, nothing received"),
        (&[Say(b"up"), Hold], Checked, "no line within 300ms, received: up"),
        (&[Hold], Checked, "no line within 300ms, nothing received"),
    ] {
        let record = said(turns, "").await;
        assert_eq!((record.status, &record.agent), (status, &None), "{turns:?} {record:?}");
        assert!(record.content.as_str().starts_with(content), "{turns:?} {record:?}");
    }
}

#[tokio::test]
async fn server_that_says_nothing_has_its_verdict_at_the_deadline() {
    for kind in each() {
        let want = if kind.is_agent() { Checked } else { L7Tout };
        let record = check_at(start(Script::Silent).await, kind.clone()).await;
        assert_eq!(record.status, want, "{kind:?} {record:?}");
        assert!(record.duration >= TIMEOUT, "{kind:?} {record:?}");
        assert!(record.content.as_str().contains("within 300ms"), "{kind:?} {record:?}");
    }
}

#[tokio::test]
async fn server_that_drips_has_its_verdict_at_the_deadline() {
    for (kind, whole) in [
        (agent(""), &b"ready and well"[..]),
        (exchange([expect("all of it")]), b"all of it"),
        (mysql(None), GREETING),
        (pgsql(), b"R\0\0\0\x08\0\0\0\0"),
        (redis(None), b"+PONG\r\n"),
        (smtp(), b"220 ready\r\n"),
    ] {
        let addr = serve(move |mut stream| async move {
            for byte in whole {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        });
        let record = check_at(addr.await, kind.clone()).await;
        assert_eq!(record.status, if kind.is_agent() { Checked } else { L7Tout }, "{kind:?} {record:?}");
        assert!(record.duration >= TIMEOUT, "{kind:?} {record:?}");
        assert!(record.content.as_str().contains("received: "), "{kind:?} {record:?}");
    }
}

#[tokio::test]
async fn server_that_resets_fails_at_once() {
    for kind in each() {
        let record = check_at(start(Script::ResetOnAccept).await, kind.clone()).await;
        assert_eq!(record.status, if kind.is_agent() { Checked } else { L7Rsp }, "{kind:?} {record:?}");
        assert!(record.duration < TIMEOUT, "{kind:?} {record:?}");
        assert!(record.content.as_str().contains("Connection reset by peer"), "{kind:?} {record:?}");
    }
}

#[tokio::test]
async fn server_that_never_ends_is_read_no_further_than_the_bound() {
    for kind in each() {
        let (first, again): (&[u8], &[u8]) = match &kind {
            // A packet that is whole as far as it goes.
            ProbeKind::Mysql { .. } => (b"\xff\xff\x3f\0\x0a", b"x"),
            ProbeKind::Oco => (b"3", b"x"),
            ProbeKind::Pgsql { .. } => (b"E\0\0\x3f\xff", b"x"),
            ProbeKind::Redis { .. } => (b"+", b"x"),
            ProbeKind::Smtp { .. } => (b"", b"220-x\r\n"),
            ProbeKind::Agent { .. }
            | ProbeKind::Command(_)
            | ProbeKind::Exchange(_)
            | ProbeKind::Grpc { .. }
            | ProbeKind::Http(_)
            | ProbeKind::Ping
            | ProbeKind::Tcp { .. }
            | ProbeKind::Tls => (b"", b"x"),
        };
        let addr = serve(move |mut stream| async move {
            let mut next = first.to_vec();
            while stream.write_all(&next).await.is_ok() {
                next = again.repeat(1000);
            }
        });
        let record = check_at(addr.await, kind.clone()).await;
        let want = if matches!(kind, ProbeKind::Pgsql { .. }) { L7Sts } else { L7Rsp };
        assert_eq!(record.status, want, "{kind:?} {record:?}");
        assert!(record.duration < TIMEOUT, "{kind:?} {record:?}");
    }
}

#[tokio::test]
async fn connect_that_fails_is_l4_and_for_an_agent_no_failure() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (hole, _guard) = black_hole().await;
    for kind in each() {
        for (addr, want, words) in [(free, L4Con, "Connection refused"), (hole, L4Tout, "no connection within 300ms")] {
            let record = check_at(addr, kind.clone()).await;
            let want = if kind.is_agent() { Checked } else { want };
            assert_eq!(record.status, want, "{kind:?} {record:?}");
            assert!(record.content.as_str().ends_with(words), "{kind:?} {record:?}");
        }
    }
}

/// An error of our own stays one.
#[test]
fn agent_that_could_not_even_be_tried_is_our_own_failure() {
    let ours = || Finding::new(CheckStatus::SockErr, None, "Too many open files");
    assert_eq!(unbegun(&agent(""), ours()), ours());
    assert_eq!(unbegun(&smtp(), ours()), ours());
}

/// More of a program's output than a content may have is kept as evidence.
#[tokio::test]
async fn command_output_is_evidence() {
    let args = ["-c".into(), "head -c 2000 /dev/zero | tr '\\0' x".into()].into();
    let kind = ProbeKind::Command(CommandProbe { program: std::path::Path::new("/bin/sh").into(), args });
    let probe = Probe { timeout: Duration::from_secs(10), ..Probe::new(kind) };
    let record =
        run(&Trust::default(), "127.0.0.1:1".parse::<SocketAddr>().unwrap(), &Host::Name("server.test".into()), &probe)
            .await;
    assert_eq!(record.status, CheckStatus::ProcOk);
    assert_eq!(&*record.evidence.unwrap().received, [b'x'; EVIDENCE_BYTES_MAX]);
}
