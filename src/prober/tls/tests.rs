//! Handshakes with certified origins, and with some that speak no TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::check;
use super::super::origins::certified::{Authority, NAME, Shown, serve};
use super::super::origins::{self, OK, Script, read_request, start};
use super::*;
use crate::model::{BodyMatch, CheckRecord, Encryption, Expect, HttpProbe, Negate, Probe, ProbeKind, ProxyHeader};
use CheckStatus::{L6Ok, L6Rsp, L6Tout, L7Ok, L7Rsp, L7Sts, L7Tout, SockErr};

const TIMEOUT: Duration = Duration::from_millis(500);

fn probe(kind: ProbeKind, aim: Aim) -> Probe {
    Probe { interval: TIMEOUT, timeout: TIMEOUT, aim, ..Probe::new(kind) }
}

fn https(path: &str) -> HttpProbe {
    HttpProbe { encryption: Encryption::Tls, ..HttpProbe::get(path) }
}

async fn check_at(addr: std::net::SocketAddr, kind: ProbeKind, aim: Aim) -> CheckRecord {
    let host = Host::Name("declared.test".into());
    let record = check::run(&Trust::default(), addr, &host, &probe(kind, aim)).await;
    assert!(record.duration < TIMEOUT + Duration::from_millis(700), "{record:?}");
    record
}

/// Runs a tls probe against an origin that shows this.
async fn shake(shown: &Shown, aim: Aim) -> CheckRecord {
    let addr = serve(&shown.config, |mut stream| async move {
        stream.read_u8().await.ok();
    })
    .await;
    check_at(addr, ProbeKind::Tls, aim).await
}

#[tokio::test]
async fn good_certificate_passes_and_its_digest_is_kept() {
    let authority = Authority::new();
    let shown = authority.good(&[]);
    let record = shake(&shown, authority.aim()).await;
    assert_eq!((record.status, record.code, record.content.as_str()), (L6Ok, None, "TLS 1.3 handshake done"));
    let evidence = record.evidence.unwrap();
    assert_eq!(evidence.certificate_sha256, Some(shown.digest));
    assert!(evidence.tls.is_some() && evidence.connect.is_some() && evidence.tls_alert.is_none());
}

#[tokio::test]
async fn bad_certificate_is_l6rsp_with_the_reason_unless_nobody_looks() {
    let authority = Authority::new();
    let off = Aim { verify: Some(Verify::Off), ..authority.aim() };
    for (shown, aim, code, alert, words) in [
        (
            authority.shown(NAME, (2000, 2001), &[]),
            authority.aim(),
            45,
            "certificate_expired",
            "certificate expired at 2001-01-01T00:00:00.000Z",
        ),
        (
            authority.shown(NAME, (2090, 2091), &[]),
            authority.aim(),
            45,
            "certificate_expired",
            "certificate not valid before 2090-01-01T00:00:00.000Z",
        ),
        (
            authority.shown("b.test", (2020, 2090), &[]),
            authority.aim(),
            42,
            "bad_certificate",
            "certificate not valid for name \"origin.test\"; its names: b.test",
        ),
        (Authority::new().good(&[]), authority.aim(), 48, "unknown_ca", "certificate of an unknown authority"),
    ] {
        let record = shake(&shown, aim).await;
        assert_eq!((record.status, record.code, record.content.as_str()), (L6Rsp, Some(code), words));
        let evidence = record.evidence.unwrap();
        assert_eq!(evidence.tls_alert.as_deref(), Some(alert));
        assert_eq!(evidence.certificate_sha256, Some(shown.digest), "{words}");
        let record = shake(&shown, off.clone()).await;
        assert_eq!((record.status, record.evidence.unwrap().certificate_sha256), (L6Ok, Some(shown.digest)), "{words}");
    }
}

#[tokio::test]
async fn chain_is_verified_where_the_name_may_be_any() {
    let authority = Authority::new();
    let chain = Aim { verify: Some(Verify::Chain), sni: None, ..authority.aim() };
    let other = authority.shown("b.test", (2020, 2090), &[]);
    for (shown, want) in [
        (&other, (L6Ok, "TLS 1.3 handshake done")),
        (&authority.shown("b.test", (2000, 2001), &[]), (L6Rsp, "certificate expired at 2001-01-01T00:00:00.000Z")),
        (&Authority::new().shown("b.test", (2020, 2090), &[]), (L6Rsp, "certificate of an unknown authority")),
    ] {
        let record = shake(shown, chain.clone()).await;
        assert_eq!((record.status, record.content.as_str()), want);
        assert_eq!(record.evidence.unwrap().certificate_sha256, Some(shown.digest));
    }
    assert_eq!(shake(&other, Aim { verify: Some(Verify::On), ..chain }).await.status, L6Rsp);
}

#[tokio::test]
async fn any_conversation_is_held_inside_tls_where_the_aim_says_so() {
    let authority = Authority::new();
    let aim = Aim { tls: Some(Encryption::Tls), ..authority.aim() };
    let tcp = |text: &str, negate| {
        let banner = (!text.is_empty()).then(|| BodyMatch::Contains(text.into()));
        ProbeKind::Tcp { banner, negate }
    };
    let (plain, negated) = (Negate::AsWritten, Negate::Inverted);
    let smtp = ProbeKind::Smtp { hello: "localhost".into() };
    for (kind, says, want) in [
        (tcp("", plain), "", L6Ok),
        (tcp("ready", plain), "220 ready\r\n", L7Ok),
        (tcp("ready", negated), "220 ready\r\n", L7Rsp),
        (tcp("broken", negated), "220 ready\r\n", L7Ok),
        (smtp, "220 ready\r\n250 hello\r\n", L7Ok),
        (ProbeKind::Oco, "2 ok\r\n", L7Ok),
        (ProbeKind::Http(HttpProbe::get("/")), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", L7Ok),
    ] {
        let addr = serve(&authority.good(&[]).config, move |mut stream| async move {
            stream.write_all(says.as_bytes()).await.ok();
            stream.flush().await.ok();
            while stream.read_u8().await.is_ok() {}
        })
        .await;
        let record = check_at(addr, kind.clone(), aim.clone()).await;
        assert_eq!(record.status, want, "{kind:?} {record:?}");
        let record = check_at(addr, kind.clone(), Aim { tls: None, ..aim.clone() }).await;
        assert_ne!((record.status, record.evidence.unwrap().certificate_sha256.is_some()), (want, true), "{kind:?}");
    }
}

#[tokio::test]
async fn name_asked_for_is_the_aims_then_the_hosts_then_the_declared() {
    let authority = Authority::new();
    let aim = |sni: Option<&str>, host: Option<&str>| Aim {
        sni: sni.map(Into::into),
        host: host.map(Into::into),
        ..authority.aim()
    };
    for (aim, want) in [
        (aim(Some("sni.test"), Some("host.test")), "sni.test"),
        (aim(None, Some("host.test")), "host.test"),
        (aim(None, Some("host.test:8443")), "host.test"),
        (aim(None, Some("[::1]:8443")), "::1"),
        (aim(None, Some("[::1]")), "::1"),
        (aim(None, None), "declared.test"),
    ] {
        let name = server_name(&aim, &Host::Name("declared.test".into())).unwrap();
        assert_eq!(name.to_str(), want);
    }
    assert_eq!(server_name(&Aim::default(), &Host::Ip("10.0.0.1".parse().unwrap())).unwrap().to_str(), "10.0.0.1");
    let record = shake(&authority.good(&[]), aim(Some("no name"), None)).await;
    let words = "cannot ask for a certificate of \"no name\"; set sni";
    assert_eq!((record.status, record.content.as_str()), (SockErr, words));
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_sockerr_and_name_the_file() {
    let authority = Authority::new();
    let shown = authority.good(&[]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (file, why) in [
        (
            std::path::Path::new("/nonexistent/ca.pem"),
            "no such file or directory (os error 2); check the path and who may read it",
        ),
        (empty.path(), "it holds no certificate in PEM; give a PEM file with certificates"),
    ] {
        let record = shake(&shown, Aim { ca: Some(file.into()), ..authority.aim() }).await;
        let words = format!("cannot use the authorities in {file:?}: {why}");
        assert_eq!((record.status, record.content.as_str()), (SockErr, words.as_str()));
    }
}

#[tokio::test]
async fn authority_that_is_replaced_counts_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let shown = new.good(&[]);
    let addr = serve(&shown.config, |mut stream| async move {
        stream.read_u8().await.ok();
    })
    .await;
    let (trust, host, probe) = (Trust::default(), Host::Name(NAME.into()), probe(ProbeKind::Tls, old.aim()));
    assert_eq!(check::run(&trust, addr, &host, &probe).await.status, L6Rsp);
    std::fs::copy(new.file(), old.file()).unwrap();
    std::fs::File::open(old.file()).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let replaced = async {
        while check::run(&trust, addr, &host, &probe).await.status != L6Ok {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), replaced).await.unwrap();
}

#[tokio::test]
async fn alert_of_the_server_is_named() {
    let authority = Authority::new();
    let shown = authority.good(&[ALPN_HTTP1]);
    let addr = serve(&shown.config, |_| async {}).await;
    let h2 = HttpProbe { version: crate::model::HttpVersion::Http2, ..https("/") };
    let record = check_at(addr, ProbeKind::Http(h2.clone()), authority.aim()).await;
    let found = (record.status, record.code, record.content.as_str());
    assert_eq!(found, (L6Rsp, Some(120), "TLS alert no_application_protocol"));
    assert_eq!(record.evidence.unwrap().tls_alert.as_deref(), Some("no_application_protocol"));
    let addr = serve(&authority.good(&[]).config, |_| async {}).await;
    let record = check_at(addr, ProbeKind::Http(h2), authority.aim()).await;
    let words = "TLS is there, and the server does not offer HTTP/2 in it (ALPN h2)";
    assert_eq!((record.status, record.code, record.content.as_str()), (L6Rsp, None, words));
}

#[tokio::test]
async fn server_without_tls_is_l6rsp_and_one_without_a_word_l6tout() {
    let aim = || Aim { verify: Some(Verify::Off), ..Aim::default() };
    for (script, status, words) in [
        (Script::Speak("220 mail.test ESMTP ready\r\n"), L6Rsp, "not a TLS reply"),
        (Script::ResetOnAccept, L6Rsp, "Connection reset by peer in the TLS handshake"),
        (Script::Silent, L6Tout, "no TLS handshake within 500ms"),
    ] {
        let record = check_at(start(script).await, ProbeKind::Tls, aim()).await;
        assert_eq!((record.status, record.code), (status, None), "{script:?} {record:?}");
        assert!(record.content.as_str().starts_with(words), "{script:?} {record:?}");
        let is_reset = matches!(script, Script::ResetOnAccept);
        assert_eq!(record.evidence.unwrap().errno, is_reset.then_some(104));
    }
    let closing = origins::serve(|mut stream| async move {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    });
    let record = check_at(closing.await, ProbeKind::Tls, aim()).await;
    assert_eq!((record.status, record.content.as_str()), (L6Rsp, "connection closed in the TLS handshake"));
    // The first bytes of a ServerHello, one at a time.
    let drip = origins::serve(|mut stream| async move {
        for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03".iter().chain([0; 100].iter()) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let record = check_at(drip.await, ProbeKind::Tls, aim()).await;
    assert_eq!(record.status, L6Tout, "{record:?}");
    let (hole, _guard) = origins::black_hole().await;
    assert_eq!(check_at(hole, ProbeKind::Tls, aim()).await.status, CheckStatus::L4Tout);
}

#[tokio::test]
async fn http_is_spoken_inside_tls_and_its_plaintext_is_the_evidence() {
    let authority = Authority::new();
    let addr = serve(&authority.good(&[ALPN_HTTP1]).config, |mut stream| async move {
        let sni = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
        let request = read_request(&mut stream).await;
        let status = if request.starts_with("GET /up ") { "200 OK" } else { "503 Service Unavailable" };
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{sni}", sni.len());
        stream.write_all(reply.as_bytes()).await.ok();
        stream.shutdown().await.ok();
    })
    .await;
    let expect = Expect { body: Some(BodyMatch::Contains(NAME.into())), ..Expect::default() };
    let record = check_at(addr, ProbeKind::Http(HttpProbe { expect, ..https("/up") }), authority.aim()).await;
    assert_eq!((record.status, record.code, record.content.as_str()), (L7Ok, Some(200), NAME), "SNI was sent");
    let evidence = record.evidence.unwrap();
    let host = format!("GET /up HTTP/1.1\r\nHost: declared.test:{}\r\n", addr.port());
    assert!(evidence.sent.starts_with(host.as_bytes()), "{:?}", String::from_utf8_lossy(&evidence.sent));
    assert!(evidence.received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let times = [evidence.connect, evidence.first_byte].map(Option::unwrap);
    assert!(times.is_sorted() && times[1] <= record.duration && evidence.tls.unwrap() <= times[1]);
    let record = check_at(addr, ProbeKind::Http(https("/down")), authority.aim()).await;
    assert_eq!((record.status, record.code), (L7Sts, Some(503)));
}

#[tokio::test]
async fn http_inside_tls_gets_its_verdict_at_the_deadline_whatever_the_server_does() {
    let authority = Authority::new();
    let config = authority.good(&[]).config;
    let needle = Expect { body: Some(BodyMatch::Contains("needle".into())), ..Expect::default() };
    let kind = || ProbeKind::Http(HttpProbe { expect: needle.clone(), ..https("/") });

    let drip = serve(&config, |mut stream| async move {
        read_request(&mut stream).await;
        for byte in OK.as_bytes() {
            stream.write_all(&[*byte]).await.ok();
            stream.flush().await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let record = check_at(drip.await, kind(), authority.aim()).await;
    assert_eq!(record.status, L7Tout, "{record:?}");
    let endless = serve(&config, |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let record = check_at(endless.await, kind(), authority.aim()).await;
    assert_eq!((record.status, record.code), (L7Rsp, Some(200)), "{record:?}");
    let reset = serve(&config, |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.ok();
        stream.flush().await.ok();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.get_ref().0.set_zero_linger().unwrap();
    });
    let record = check_at(reset.await, kind(), authority.aim()).await;
    assert_eq!((record.status, record.code), (L7Rsp, Some(200)), "{record:?}");
    assert!(record.content.as_str().starts_with("Connection reset by peer, reply body incomplete"), "{record:?}");
    assert_eq!(record.evidence.unwrap().errno, Some(104));
}

#[tokio::test]
async fn proxy_header_comes_before_tls() {
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.good(&[]).config);
    let (sender, mut headers) = tokio::sync::mpsc::unbounded_channel();
    let addr = origins::serve(move |mut stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let mut header = Vec::new();
            while !header.ends_with(b"\n") {
                header.push(stream.read_u8().await.unwrap());
            }
            sender.send((String::from_utf8(header).unwrap(), stream.peer_addr().unwrap())).unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.read_u8().await.ok();
        }
    })
    .await;
    let aim = Aim { proxy: Some(ProxyHeader::V1), ..authority.aim() };
    let record = check_at(addr, ProbeKind::Tls, aim).await;
    assert_eq!(record.status, L6Ok, "{record:?}");
    let (header, peer) = headers.recv().await.unwrap();
    let want = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", peer.port(), addr.port());
    assert_eq!(header, want);
    assert_eq!(&*record.evidence.unwrap().sent, want.as_bytes());
}
