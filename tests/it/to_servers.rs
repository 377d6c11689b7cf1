//! Connections to servers that are more than TCP: PROXY headers, TLS, HTTP/2.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use farmgate::model::tls::ServerTls;
use farmgate::model::{Farm, Protocol, ProxyOut, Server, Verify};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{InProcess, client::find, until};

mod restarts;
mod verified;

/// Changes every server of a farm.
fn each(farm: &mut Farm, change: impl Fn(&mut Server)) {
    for server in &mut farm.servers {
        change(Arc::make_mut(server));
    }
}

/// Serves each connection in a thread of its own; returns where, and how many there were.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (serve, count) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    (addr, count)
}

/// Answers each request once it is whole, until the other side leaves; `saw` is told its target before.
pub(crate) fn answer_each(stream: &mut (impl Read + Write), saw: impl Fn(&str)) {
    const LENGTH: &str = "content-length: ";
    let mut held = Vec::new();
    loop {
        while let Some(at) = find(&held, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&held[..at]).into_owned();
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(LENGTH)?.parse().ok());
            let end = at + 4 + length.unwrap_or(0_usize);
            if held.len() < end {
                break;
            }
            held.drain(..end);
            saw(head.split(' ').nth(1).unwrap_or_default());
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved";
            if stream.write_all(answer).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(n @ 1..) => held.extend_from_slice(&piece[..n]),
            _ => return,
        }
    }
}

/// Answers requests with `body`, each, until the other side leaves.
fn answer(stream: &mut (impl Read + Write), body: &str, more: &str) {
    let mut held = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(n @ 1..) => held.extend_from_slice(&piece[..n]),
            _ => return,
        }
        while let Some(at) = find(&held, b"\r\n\r\n") {
            held.drain(..at + 4);
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len());
            if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err() || !more.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn connection_with_a_proxy_header_is_used_again_for_its_client_only() {
    let (addr, connections) = server(|mut stream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            line.push(byte[0]);
        }
        answer(&mut stream, String::from_utf8(line).unwrap().trim_end(), "");
    });
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        each(farm, |server| server.proxy_protocol = Some(ProxyOut::V1));
    });
    let mut clients = [plane.client(), plane.client()];
    for _ in 0..3 {
        for client in &mut clients {
            let (from, to) = (client.local_addr(), plane.front());
            let told = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", from.port(), to.port());
            assert_eq!(client.get("/").text(), told);
        }
    }
    assert_eq!(connections.load(SeqCst), 2);
}

/// What a server in TLS has, and the file of its authority.
pub(crate) struct Certified {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) ca: PathBuf,
}

impl Certified {
    /// Makes a certificate for `name`.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let ca = dir.join(format!("{name}.pem"));
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        Self { config: Arc::new(config), ca }
    }
}

/// A server in TLS.
struct Encrypted {
    addr: SocketAddr,
    /// How it is spoken to.
    tls: ServerTls,
    /// The kinds of its handshakes.
    kinds: Arc<Mutex<Vec<HandshakeKind>>>,
    /// Connections that it has closed.
    closed: Arc<AtomicUsize>,
}

/// Begins one with a certificate for `name`; after an answer with `more` fields it closes the connection.
fn encrypted(dir: &Path, name: &str, more: &'static str) -> Encrypted {
    let Certified { config, ca } = Certified::new(dir, name);
    let (kinds, closed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (Arc::clone(&kinds), Arc::clone(&closed));
    let (addr, _) = server(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        if tls.conn.complete_io(&mut tls.sock).is_err() {
            return;
        }
        seen.lock().unwrap().extend(tls.conn.handshake_kind());
        answer(&mut tls, "in TLS", more);
        tls.conn.send_close_notify();
        let _ = tls.conn.write_tls(&mut tls.sock);
        drop(tls);
        counted.fetch_add(1, SeqCst);
    });
    let tls = ServerTls { ca: Some(ca.into()), sni: Some(name.into()), verify: Verify::On, identity: None };
    Encrypted { addr, tls, kinds, closed }
}

#[test]
fn connection_in_tls_is_used_again_and_its_session_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let Encrypted { addr, tls, kinds, .. } = encrypted(dir.path(), "kept.example", "");
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
    });
    let mut client = plane.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "in TLS"));
    assert_eq!(kinds.lock().unwrap().len(), 1, "one connection");

    let Encrypted { addr, tls, kinds, .. } = encrypted(dir.path(), "closed.example", "Connection: close\r\n");
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
    });
    let mut client = plane.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "in TLS"));
    let kinds = kinds.lock().unwrap();
    assert_eq!(kinds.iter().filter(|kind| **kind == HandshakeKind::Resumed).count(), 4, "{kinds:?}");
}

#[test]
fn http_2_is_agreed_on_in_tls_and_shares_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let Certified { config, ca } = Certified::new(dir.path(), "two.example");
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (addr, connections) = server(move |stream| {
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let said = format!("{} {}", request.uri(), request.headers().contains_key("host"));
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(said.into(), true).unwrap();
            }
        });
    });
    let tls = ServerTls { ca: Some(ca.into()), sni: Some("two.example".into()), verify: Verify::On, identity: None };
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        farm.http2 = true;
        each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
    });
    let mut client = plane.client();
    (0..5).for_each(|_| assert_eq!(client.get("/x?y").text(), "https://test.example/x?y false"));
    assert_eq!(connections.load(SeqCst), 1);
}

#[test]
fn server_that_agrees_to_http_1_only_is_spoken_to_so() {
    let dir = tempfile::tempdir().unwrap();
    let Encrypted { addr, tls, kinds, .. } = encrypted(dir.path(), "one.example", "");
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        farm.http2 = true;
        each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
    });
    let mut client = plane.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").text(), "in TLS"));
    assert_eq!(kinds.lock().unwrap().len(), 2, "the first was for HTTP/2");
    assert_eq!(plane.traffic("a").1, 0, "nothing failed");
}

/// The server ends each connection behind its answer, and says nothing of it before.
#[test]
fn post_on_a_kept_connection_in_tls_that_was_closed_is_served_on_another() {
    let dir = tempfile::tempdir().unwrap();
    // Other fields than Connection: the connection is kept by who is not told.
    let Encrypted { addr, tls, kinds, closed } = encrypted(dir.path(), "leaves.example", "X-Last: 1\r\n");
    let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
        each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
    });
    let mut client = plane.client();
    for n in 0..20 {
        let response = client.request("POST", "/", &[], b"");
        assert_eq!(response.status, 200, "{n}: {}", response.text());
        // Before that nobody can know, and a POST is never sent twice.
        until("the server to close the connection", || (closed.load(SeqCst) > n).then_some(()));
    }
    assert_eq!(kinds.lock().unwrap().len(), 20);
}

#[test]
fn server_whose_certificate_is_wrong_is_told_by_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let Encrypted { addr, tls: good, .. } = encrypted(dir.path(), "a.example", "");
    let Encrypted { tls: other, .. } = encrypted(dir.path(), "b.example", "");
    for (tls, want) in [
        (good.clone(), None),
        (ServerTls { ca: other.ca, ..good.clone() }, Some("the server's certificate is of an unknown authority")),
        (ServerTls { sni: other.sni, ..good.clone() }, Some("the server's certificate is not for its name")),
        (
            ServerTls { ca: Some(dir.path().join("none.pem").into()), ..good.clone() },
            Some("there are no usable files for TLS with the server"),
        ),
        (ServerTls { ca: None, verify: Verify::Off, ..good }, None),
    ] {
        let plane = InProcess::start(Protocol::Http, &[("a", addr)], |farm| {
            each(farm, |server| server.tls = Some(Arc::new(tls.clone())));
        });
        let answer = plane.client().get("/");
        assert_eq!(answer.status == 200, want.is_none(), "{} {tls:?}", answer.text());
        assert_eq!(plane.access(1)[0]["reason"].as_str(), want, "{tls:?}");
    }
}
