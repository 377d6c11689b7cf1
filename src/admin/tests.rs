//! The admin listener as a client sees it: guards, credentials, HTTP mechanics, TLS, the process's own pages.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName};

use super::fixture::{NARROW, OPS, Reply, Running, VIEWER, credentials, key, settings, stable, store_with};
use super::guard::BODY_BYTES_MAX;
use super::{AdminServer, BindError, Collector};
use crate::metrics::{Refusal, ReloadCells, WorkerIx};
use crate::model::settings::{AdminTls, MetricsAccess};
use crate::model::{AdminSettings, Timestamp};
use crate::store::NoJournal;

mod metrics;

const SERVER: &str = "/api/v1/farms/web/servers/s1";
const SOON: Duration = Duration::from_millis(300);

fn impatient() -> Running {
    Running::start_with(&settings(), Some(SOON), Arc::new(NoJournal))
}

fn encrypted() -> Running {
    Running::start_with(&AdminSettings { tls: AdminTls::Auto, ..settings() }, None, Arc::new(NoJournal))
}

#[test]
fn credentials_decide_route_by_route() {
    let running = Running::start();
    let mut table = String::new();
    for (method, path, body) in [
        ("GET", "/healthz", ""),
        ("GET", "/readyz", ""),
        ("GET", "/metrics", ""),
        ("GET", "/", ""),
        ("GET", "/api/v1/nothing", ""),
        ("GET", "/api/v1/status", ""),
        ("GET", "/api/v1/farms", ""),
        ("GET", "/api/v1/farms/web", ""),
        ("GET", "/api/v1/farms/web/servers", ""),
        ("GET", SERVER, ""),
        ("GET", "/api/v1/frontends", ""),
        ("GET", "/api/v1/frontends/web", ""),
        ("POST", "/api/v1/farms/web/servers/s1/drain", ""),
        ("POST", "/api/v1/farms/web/servers/s1/maintenance", ""),
        ("POST", "/api/v1/farms/web/servers/s1/ready", ""),
        ("PUT", "/api/v1/farms/web/servers/s1/weight", "{\"weight\":5}"),
        ("POST", "/api/v1/reload", ""),
    ] {
        let status = |fields: &[(&str, &str)]| running.send(method, path, fields, body.as_bytes()).status.to_string();
        let bearer = |token: &str| status(&[("Authorization", &format!("Bearer {token}"))]);
        let columns = [
            status(&[]),
            status(&[("Authorization", "Basic b3BzOm9wcw==")]),
            bearer("token-of-op"),
            status(&[("Authorization", "Bearer x"), ("Authorization", &format!("Bearer {OPS}"))]),
            bearer(VIEWER),
            bearer(OPS),
        ];
        table.push_str(&format!("{method:4} {path:44} {}\n", columns.join(" ")));
    }
    insta::assert_snapshot!(format!("{:49} none basic wrong twice read operate\n{table}", ""));
}

#[test]
fn refused_caller_changes_nothing() {
    let running = Running::start();
    let before = running.store.load().generation;
    for (token, act) in [(VIEWER, "drain"), ("wrong", "maintenance")] {
        let reply = running.call("POST", &format!("{SERVER}/{act}"), token, "");
        assert!(matches!(reply.status, 401 | 403), "{reply:?}");
    }
    running.call("PUT", &format!("{SERVER}/weight"), VIEWER, "{\"weight\":9}");
    running.call("POST", "/api/v1/reload", VIEWER, "");
    assert_eq!(running.store.load().generation, before);
    assert!(running.reloader.acts.lock().unwrap().is_empty());
}

#[test]
fn token_for_some_farms_changes_no_other_and_reads_all() {
    let running = Running::start();
    let before = running.store.load().generation;
    for (method, act, body) in [("POST", "drain", ""), ("POST", "ready", ""), ("PUT", "weight", "{\"weight\":9}")] {
        let reply = running.call(method, &format!("{SERVER}/{act}"), NARROW, body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, error["code"].as_str()), (403, Some("forbidden")), "{reply:?}");
        assert!(error["message"].as_str().unwrap().contains("may not change farm \"web\""), "{reply:?}");
    }
    assert_eq!(running.store.load().generation, before);
    assert_eq!(running.call("GET", SERVER, NARROW, "").status, 200);
}

#[test]
fn unauthorized_answer_says_how_to_send_a_token() {
    let running = Running::start();
    let reply = running.send("GET", SERVER, &[], b"");
    assert_eq!(reply.field("www-authenticate"), Some("bearer realm=\"farmgate\""));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("x-request-id"), reply.json()["error"]["request_id"].as_str());
    insta::assert_snapshot!(reply.stable());
}

#[test]
fn guards_refuse_before_any_effect() {
    let running = Running::start();
    let before = running.store.load().generation;
    let token = format!("Bearer {OPS}");
    let token = ("Authorization", token.as_str());
    let drain = format!("{SERVER}/drain");
    let origin = |origin| [token, ("Origin", origin)];
    let mut table = String::new();
    let mut row = |what: &str, reply: &Reply| {
        let error = &reply.json()["error"];
        let message = error["message"].as_str().unwrap().replace(&running.addr.to_string(), "HOST");
        table.push_str(&format!("{what}: {} {} {message}\n", reply.status, error["code"].as_str().unwrap()));
    };
    row("body on GET", &running.send("GET", SERVER, &[token], b"{}"));
    row("body on DELETE", &running.send("DELETE", SERVER, &[token], b"{}"));
    row("chunked body on GET", &running.send("GET", SERVER, &[token, ("Transfer-Encoding", "chunked")], b"0\r\n\r\n"));
    row("not UTF-8", &running.send("POST", &drain, &[token], b"{\"reason\": \"\xff\"}"));
    row("not JSON", &running.send("POST", &drain, &[token], b"reason=x"));
    row("two values", &running.send("POST", &drain, &[token], b"{} {}"));
    row("announced too large", &running.send("POST", &drain, &[token, ("Content-Length", "1048577")], b""));
    let mut chunked = Vec::new();
    for _ in 0..17 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b' '; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    row("turns out too large", &running.send("POST", &drain, &[token, ("Transfer-Encoding", "chunked")], &chunked));
    row("foreign origin", &running.send("POST", &drain, &origin("http://evil.example"), b""));
    row("no origin of its own", &running.send("POST", &drain, &origin("null"), b""));
    insta::assert_snapshot!(table);
    assert_eq!(running.store.load().generation, before);
    let own = format!("http://{}", running.addr);
    assert_eq!(running.send("POST", &drain, &origin(&own), b"").status, 200);
    assert_eq!(running.send("GET", SERVER, &origin("http://evil.example"), b"").status, 403);
    assert_eq!(running.send("GET", SERVER, &origin(&own), b"").status, 200);
}

#[test]
fn request_for_no_host_or_two_is_refused_in_the_words_of_its_shape() {
    let running = Running::start();
    let ask = |path: &str, version: &str, hosts: &str| {
        running.raw(format!("GET {path} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n").as_bytes())
    };
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nHost: b\r\n"] {
        let native = ask("/healthz", "1.1", hosts);
        assert_eq!((native.status, &native.json()["error"]["code"]), (400, &"bad_host".into()), "{hosts:?}");
        let ovh = ask("/1.0/auth/time", "1.1", hosts);
        assert_eq!((ovh.status, &ovh.json()["class"]), (400, &"Client::BadRequest".into()), "{hosts:?}");
        let zenlayer = ask("/api/v2/zlb", "1.1", hosts);
        assert_eq!((zenlayer.status, &zenlayer.json()["code"]), (400, &"INVALID_HOST".into()), "{hosts:?}");
    }
    assert_eq!(ask("/healthz", "1.1", "Host: a\r\n").status, 200);
    assert_eq!(ask("/healthz", "1.0", "").status, 200);
}

/// Each shape's own words, before anything else of the call is looked at: no credential is sent.
#[test]
fn guards_hold_for_every_shape_and_speak_its_words() {
    let running = Running::start();
    let big = "x".repeat(BODY_BYTES_MAX + 1);
    let shapes = [
        ("POST", "/api/v1/farms/web/servers/s1/drain", "/error/code"),
        ("POST", "/1.0/ipLoadbalancing/it/refresh", "/errorCode"),
        ("POST", "/api/v2/zlb", "/code"),
    ];
    let mut table = String::new();
    for (method, path, code) in shapes {
        let mut row = |what: &str, reply: &Reply| {
            let body = reply.json();
            let code = body.pointer(code).and_then(|code| code.as_str()).unwrap_or("none");
            table.push_str(&format!("{path} {what}: {} {code}\n", reply.status));
        };
        let send = |fields: &[(&str, &str)], body: &[u8]| running.send(method, path, fields, body);
        row("foreign origin", &send(&[("Origin", "http://evil.example")], b"{}"));
        row("origin null", &send(&[("Origin", "null")], b"{}"));
        row("foreign site", &send(&[("Sec-Fetch-Site", "cross-site")], b"{}"));
        row("two hosts", &send(&[("Host", "other.example")], b"{}"));
        row("too large", &send(&[], big.as_bytes()));
        row("announced too large", &send(&[("Content-Length", "1048577")], b""));
        row("not UTF-8", &send(&[], b"{\"a\": \"\xff\"}"));
        row("not JSON", &send(&[], b"a=1"));
        row("body on GET", &running.send("GET", path, &[], b"{}"));
        row("body on DELETE", &running.send("DELETE", path, &[], b"{}"));
        row(
            "own origin",
            &send(&[("Origin", &format!("http://{}", running.addr)), ("Sec-Fetch-Site", "same-origin")], b"{}"),
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn small_body_is_read_while_large_ones_drip() {
    let running = Running::start();
    let head = |body: &str| format!("POST {SERVER}/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPS}\r\n{body}");
    let drip = |length: &str| {
        let mut stream = running.connect();
        stream.write_all(head(&format!("{length}\r\n\r\n")).as_bytes()).unwrap();
        stream
    };
    let large = (0..20).map(|_| drip("Content-Length: 16385"));
    let undeclared = (0..20).map(|_| drip("Transfer-Encoding: chunked"));
    let _open: Vec<_> = large.chain(undeclared).collect();
    // An answer to a later call of the same thread: those above have been taken in.
    assert_eq!(running.send("GET", "/healthz", &[], b"").status, 200);
    let began = crate::clock::monotonic();
    assert_eq!(running.call("POST", &format!("{SERVER}/drain"), OPS, "{}").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "it waited for its turn: {:?}", began.elapsed());
}

#[test]
fn large_body_of_a_stranger_takes_no_turn() {
    let running = Running::start();
    for (path, shown, status) in [
        ("/api/v1/farms/web/servers/s1/drain", "Authorization: Bearer wrong\r\n", 401),
        ("/api/v1/farms/web/servers/s1/drain", "", 401),
        ("/1.0/ipLoadbalancing/x/ssl", "X-Ovh-Application: a\r\nX-Ovh-Consumer: c\r\nX-Ovh-Signature: $1$0\r\n", 401),
        ("/1.0/ipLoadbalancing/x/ssl", "Authorization: Bearer wrong\r\n", 401),
        ("/api/v2/zlb", "Authorization: ZC2-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=0\r\n", 401),
        ("/api/v2/zlb", "", 401),
    ] {
        // Of the body comes nothing: an answer is not waited for behind it.
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{shown}Content-Length: 16385\r\n\r\n");
        let mut stream = running.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(String::from_utf8_lossy(&first), format!("HTTP/1.1 {status}"), "{path} {shown}");
    }
    let body = format!("{{\"reason\": \"{}\"}}", " ".repeat(20_000));
    assert_ne!(running.call("POST", &format!("{SERVER}/drain"), OPS, &body).status, 401);
}

#[test]
fn body_that_drips_is_refused_at_the_deadline() {
    let running = impatient();
    let mut stream = running.connect();
    let head = format!(
        "POST {SERVER}/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPS}\r\nContent-Length: 9\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let reply = Reply::read(stream);
    assert_eq!(reply.status, 408, "{reply:?}");
    assert_eq!(reply.json()["error"]["code"], "body_late");
}

#[test]
fn connection_that_says_nothing_or_never_ends_its_head_is_closed() {
    let running = impatient();
    for bytes in ["", "PRI * HT", "GET /healthz HTTP/1.1\r\nHost: x\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = running.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(bytes.ends_with("\r\n\r\n"), all.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
}

#[test]
fn oversized_head_is_refused() {
    let running = Running::start();
    let long = "x".repeat(70_000);
    assert_eq!(running.send("GET", "/healthz", &[("X-Long", &long)], b"").status, 431);
    assert!(matches!(running.send("GET", &format!("/{long}"), &[], b"").status, 414 | 431));
    assert_eq!(running.raw(b"nonsense\r\n\r\n").status, 400);
}

#[test]
fn head_is_answered_as_get_without_a_body() {
    let running = Running::start();
    let get = running.call("GET", SERVER, VIEWER, "");
    let head = running.call("HEAD", SERVER, VIEWER, "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.field("content-length"), get.field("content-length"));
    assert_eq!(running.send("HEAD", "/readyz", &[], b"").status, 503);
}

#[test]
fn readiness_follows_the_first_round() {
    let running = Running::start();
    let before = running.send("GET", "/readyz", &[], b"");
    assert_eq!(
        before.stable(),
        "503\n{\n  \"ready\": false,\n  \"reason\": \"the first round of checks is not done\"\n}"
    );
    assert_eq!(running.send("GET", "/healthz", &[], b"").body, "ok\n");
    running.store.first_round_done();
    assert_eq!(running.send("GET", "/readyz", &[], b"").status, 200);
    let wrong = running.send("POST", "/readyz", &[], b"");
    assert_eq!((wrong.status, wrong.field("allow")), (405, Some("get, head")));
}

#[test]
fn port_in_use_is_one_clear_line() {
    let running = Running::start();
    let taken = AdminSettings { listen: running.addr, ..settings() };
    let error = AdminServer::bind(&taken, Arc::default(), None).unwrap_err();
    assert!(matches!(error, BindError::Listen { .. }));
    assert_eq!(
        error.to_string().replace(&running.addr.to_string(), "ADDR"),
        "admin: cannot listen on ADDR: the address is in use; stop the process that listens there (`ss -ltnp` names \
         it) or choose another port"
    );
}

#[test]
fn stop_ends_serving_although_a_client_keeps_its_connection() {
    let mut running = impatient();
    let mut stream = running.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    running.stop.send(true).unwrap();
    let served = running.served.take().unwrap();
    let ended = running.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), served).await });
    ended.unwrap().unwrap().unwrap();
    assert!(std::net::TcpStream::connect(running.addr).is_err());
}

#[test]
fn http2_is_spoken_in_the_clear_too() {
    let running = Running::start();
    let (status, host_answer) = running.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = |origin: &str| {
            hyper::Request::post(format!("http://{}{SERVER}/drain", running.addr))
                .header("authorization", format!("Bearer {OPS}"))
                .header("origin", origin)
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap()
        };
        let foreign = send.send_request(request("http://evil.example")).await.unwrap();
        let own = send.send_request(request(&format!("http://{}", running.addr))).await.unwrap();
        let body = own.into_body().collect().await.unwrap().to_bytes();
        (foreign.status().as_u16(), serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    });
    assert_eq!(status, 403);
    assert_eq!(host_answer["admin"], "drain");
}

/// Connects with TLS, trusting `certificate` alone.
fn tls(running: &Running, alpn: &[u8]) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(running.certificate.clone().unwrap())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = running.connect();
    connection.complete_io(&mut stream).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

#[test]
fn tls_auto_serves_under_the_certificate_whose_fingerprint_is_told() {
    let running = encrypted();
    let mut stream = tls(&running, b"http/1.1");
    let certificate = stream.conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(running.fingerprint.as_deref(), Some(super::tls::fingerprint(&certificate).as_str()));
    assert_eq!(stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Reply::read(stream).body, "ok\n");
    assert_eq!(tls(&running, b"h2").conn.alpn_protocol(), Some(b"h2".as_slice()));
}

#[test]
fn tls_listener_answers_nothing_in_the_clear_and_waits_for_nobody() {
    let running =
        Running::start_with(&AdminSettings { tls: AdminTls::Auto, ..settings() }, Some(SOON), Arc::new(NoJournal));
    assert_eq!(running.send("GET", "/healthz", &[], b"").status, 0);
    let mut silent = running.connect();
    let mut all = Vec::new();
    silent.read_to_end(&mut all).unwrap();
    assert!(all.is_empty());
}

#[test]
fn reads_change_nothing() {
    let running = Running::start();
    let state = |running: &Running| stable(&running.call("GET", "/api/v1/status", VIEWER, "").body);
    let before = (running.store.load().generation, state(&running));
    assert_eq!(running.call("GET", &format!("{SERVER}/drain"), OPS, "").json()["error"]["code"], "no_order");
    for act in ["maintenance", "ready", "weight"] {
        let reply = running.call("GET", &format!("{SERVER}/{act}"), OPS, "");
        assert_eq!(reply.status, 405, "{act}");
        assert_eq!(reply.field("allow"), Some(if act == "weight" { "put" } else { "post" }));
    }
    assert_eq!(running.call("DELETE", SERVER, VIEWER, "").status, 403);
    assert_eq!(running.call("DELETE", "/api/v1/status", OPS, "").status, 405);
    assert_eq!(running.call("GET", "/api/v1/reload", OPS, "").status, 405);
    for path in ["/api/v1/farms", "/api/v1/frontends", SERVER, "/metrics", "/readyz", "/healthz"] {
        running.call("GET", path, OPS, "");
    }
    assert_eq!((running.store.load().generation, state(&running)), before);
    assert!(running.store.load().farm(key("web", "s1").farm).is_some());
    assert!(running.reloader.acts.lock().unwrap().is_empty());
}

#[test]
fn credentials_of_a_config_without_tokens_let_nobody_in() {
    let mut none = credentials();
    none.tokens.clear();
    let headers = [("authorization".parse().unwrap(), "Bearer ".parse().unwrap())].into_iter().collect();
    let call = super::Call {
        method: http::Method::GET,
        uri: "/api/v1/farms".parse().unwrap(),
        headers,
        body: bytes::Bytes::new(),
        peer: [127, 0, 0, 1].into(),
        is_tls: false,
        certificate: None,
        request_id: "r".to_owned(),
        now: Timestamp(0),
        retry_after: std::sync::OnceLock::new(),
    };
    assert!(super::native::caller(&none, &call).is_err());
}

/// As of a process that another one takes over from: who was let in just before is answered.
#[test]
fn connection_let_in_before_the_end_may_ask_once_more() {
    let running = Running::start();
    let mut early = running.connect();
    // Connections are let in one after the other, so that one was.
    assert_eq!(running.send("GET", "/healthz", &[], b"").status, 200);
    running.stop.send(true).unwrap();
    early.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    // It is read to its end: once answered, the connection is closed.
    let reply = Reply::read(early);
    assert_eq!(reply.status, 200, "{}", reply.head);
}
