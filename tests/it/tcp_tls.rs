//! TCP with TLS: passed through and routed by what the client says first, or ended here; and what servers are told of
//! the client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Client, Farmgate, Fault, PATIENCE, Server, Setup, TcpBehaviour, TcpOrigin, until};

/// Waits long enough for a client that says nothing.
const HANDSHAKE: &str = "timeouts: {handshake: 1s}";

fn client_config(roots: RootCertStore, alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What a client says first that asks for that name and offers these protocols.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(client_config(RootCertStore::empty(), alpn), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same in records of that many bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1], &u16::try_from(piece.len()).unwrap().to_be_bytes()[..], piece].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

/// A hello of post-quantum size: padded (RFC 7685) to some 18 KiB, over two records.
fn large(name: &str) -> Vec<u8> {
    let mut message = hello(name, &[])[5..].to_vec();
    let padding = 18_000_u16;
    // The length of the extensions stands behind version, random, session id, suites and compression.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(message[at]);
    at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    at += 1 + usize::from(message[at]);
    let length = u16::from_be_bytes([message[at], message[at + 1]]) + padding + 4;
    message[at..at + 2].copy_from_slice(&length.to_be_bytes());
    message.splice(at + 2..at + 2, [&[0, 21][..], &padding.to_be_bytes(), &vec![0; usize::from(padding)]].concat());
    let whole = u32::try_from(message.len() - 4).unwrap().to_be_bytes();
    message[1..4].copy_from_slice(&whole[1..]);
    in_records(&[&[0; 5][..], &message].concat(), 1 << 14)
}

struct Routed {
    _origins: [TcpOrigin; 3],
    farmgate: Farmgate,
}

/// `a.example` goes to a, what offers `h2` to b, `evil.example` nowhere, and everything else to d.
fn routed() -> Routed {
    let origins = ["d", "a", "b"].map(|name| TcpOrigin::start(name, TcpBehaviour::Echo));
    let [d, a, b] = &origins;
    let probe = "{type: tcp, interval: 10s, timeout: 10s}";
    let farm = |name: &str, origin: &TcpOrigin| {
        format!("{name}: {{protocol: tcp, probe: {probe}, servers: {{{name}: {{address: \"{}\"}}}}}}", origin.addr())
    };
    let rule = |field: &str, pattern: &str| format!("rules: [{{field: {field}, match: is, pattern: {pattern}}}]");
    let routes = format!(
        "routes: [{{name: a, {}, action: {{farm: a}}}}, {{name: b, {}, action: {{farm: b}}}}, \
         {{name: evil, {}, action: {{reject: true}}}}]",
        rule("host", "a.example"),
        rule("protocol", "http/2.0"),
        rule("host", "evil.example"),
    );
    let setup = Setup::tcp(&[Server::new("d", d.addr(), "")])
        .another_farm(&farm("a", a))
        .another_farm(&farm("b", b))
        .frontend(&routes)
        .frontend(HANDSHAKE);
    Routed { farmgate: Farmgate::start(&setup), _origins: origins }
}

/// The first server that speaks, and then everything that was said, back.
#[track_caller]
fn assert_echoed(client: &mut Client, name: &str, said: &[u8]) {
    assert_eq!(client.take(2).unwrap(), format!("{name}\n").as_bytes());
    assert!(client.take(said.len()).unwrap() == said, "what was looked at is passed on whole");
}

#[track_caller]
fn wait_refused(farmgate: &Farmgate, reason: &str) {
    let labels = ["frontend=\"web\"".to_owned(), format!("reason=\"{reason}\"")];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let count = || farmgate.metric("farmgate_frontend_refused_total", &labels);
    until(&format!("a refusal for {reason}"), || (count() == Some(1.0)).then_some(()));
}

#[test]
fn connection_goes_where_the_name_that_it_asks_for_goes() {
    let Routed { farmgate, _origins } = routed();
    for (said, name) in [
        (hello("a.example", &[]), "a"),
        (hello("A.Example", &["h2"]), "a"),
        (in_records(&hello("a.example", &[]), 7), "a"),
        (large("a.example"), "a"),
        (hello("c.example", &["h2", "http/1.1"]), "b"),
        (hello("c.example", &["http/1.1"]), "d"),
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "d"),
    ] {
        let mut client = farmgate.client();
        client.send(&said);
        assert_echoed(&mut client, name, &said);
    }
    let mut dripping = farmgate.client();
    let said = hello("a.example", &[]);
    for byte in &said {
        dripping.send([*byte]);
    }
    assert_echoed(&mut dripping, "a", &said);
}

#[test]
fn client_that_waits_for_the_server_to_begin_goes_to_the_default_farm() {
    let Routed { farmgate, _origins } = routed();
    let mut client = farmgate.client();
    assert_echoed(&mut client, "d", b"");
    client.send("still here");
    assert_eq!(client.take(10).unwrap(), b"still here");
}

#[test]
fn connection_is_routed_by_whether_http_is_spoken_in_the_clear() {
    let [web, other] = ["w", "o"].map(|name| TcpOrigin::start(name, TcpBehaviour::Echo));
    let route = "routes: [{name: web, rules: [{field: protocol, match: is, pattern: http}], action: {farm: clear}}]";
    let setup = Setup::tcp(&[Server::new("o", other.addr(), "")])
        .frontend(route)
        .another_farm(&format!("clear: {{protocol: tcp, servers: {{w: {{address: \"{}\"}}}}}}", web.addr()));
    let farmgate = Farmgate::start(&setup);
    for (pieces, want) in [
        (&["GET / HTTP/1.1\r\n\r\n"][..], "w\nGET / HTTP/1.1\r\n\r\n"),
        (&["GE", "T ", "/"], "w\nGET /"),
        (&["EHLO mail.example\r\n"], "o\nEHLO mail.example\r\n"),
        (&["\x00\x01"], "o\n\x00\x01"),
    ] {
        let mut client = farmgate.client();
        pieces.iter().for_each(|piece| client.send(piece));
        let got = client.take(want.len());
        assert_eq!(got.as_deref().map(String::from_utf8_lossy), Ok(want.into()), "{pieces:?}");
    }
}

#[test]
fn connection_that_a_route_rejects_or_that_cannot_be_read_is_closed() {
    let Routed { farmgate, _origins } = routed();
    let mut two_names = hello("a.example", &[]);
    let at = two_names.windows(9).position(|bytes| bytes == b"a.example").unwrap();
    two_names[at] = 0;
    let mut short = hello("a.example", &[]);
    short.truncate(100);
    for (said, reason) in
        [(hello("evil.example", &[]), "rejected"), (two_names, "client_hello"), (short, "client_hello_timeout")]
    {
        let mut client = farmgate.client();
        client.send(&said);
        assert!(matches!(client.take(1), Err(Fault::Closed(0) | Fault::Reset(0))), "{reason}");
        wait_refused(&farmgate, reason);
    }
}

/// Writes a certificate for `localhost` and its key; returns the keys of a frontend's `tls` that name them.
fn certificate(dir: &Path) -> (String, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("web.pem"), dir.join("web.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()).unwrap();
    (format!("tls: {{certificates: [{{cert: {}, key: {}}}]}}", cert.display(), key.display()), roots)
}

fn connect(farmgate: &Farmgate, roots: &RootCertStore) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(farmgate.front("web")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(client_config(roots.clone(), &[]), name).unwrap(), stream)
}

#[test]
fn tls_ends_here_and_bytes_pass_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, roots) = certificate(dir.path());
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let farmgate = Farmgate::start(&Setup::tcp(&[Server::new("a", origin.addr(), "")]).frontend(&tls));
    let mut client = connect(&farmgate, &roots);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"a\n");
    let mut back = Vec::new();
    for piece in sent.chunks(100_000) {
        client.write_all(piece).unwrap();
        let before = back.len();
        back.resize(before + piece.len(), 0);
        client.read_exact(&mut back[before..]).unwrap();
    }
    assert!(back == sent);
    client.conn.send_close_notify();
    client.flush().unwrap();
    // The end is announced: without a close_notify this is an error.
    assert_eq!(client.read(&mut greeting).unwrap(), 0);
}

#[test]
fn what_is_no_tls_is_refused_where_tls_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, _) = certificate(dir.path());
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", origin.addr(), "")]).frontend(&tls).frontend(HANDSHAKE);
    let farmgate = Farmgate::start(&setup);
    let mut client = farmgate.client();
    client.send("SSH-2.0-OpenSSH_9.6\r\n");
    client.rest().map(|bytes| assert!(!bytes.starts_with(b"a\n"))).unwrap_or_default();
    let mut silent = farmgate.client();
    assert!(matches!(silent.take(1), Err(Fault::Closed(0) | Fault::Reset(0))));
    let failed = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        farmgate.metric("farmgate_tls_handshake_failures_total", &["frontend=\"web\"", &reason])
    };
    until("both to be counted", || (failed("malformed") == Some(1.0) && failed("timeout") == Some(1.0)).then_some(()));
}

#[test]
fn server_is_told_of_the_client_in_the_form_that_it_wants() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, roots) = certificate(dir.path());
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = |form: &str| Setup::tcp(&[Server::new("a", origin.addr(), &format!("proxy_protocol: {form}"))]);
    let farmgate = Farmgate::start(&setup("v1"));
    let mut client = farmgate.client();
    let front = farmgate.front("web");
    let line = format!("a\nPROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.local_addr().port(), front.port());
    assert_eq!(client.take(line.len()).unwrap(), line.as_bytes());
    client.send("x");
    assert_eq!(client.take(1).unwrap(), b"x");

    let farmgate = Farmgate::start(&setup("v2-ssl").frontend(&tls));
    let mut client = connect(&farmgate, &roots);
    let port = client.sock.local_addr().unwrap().port().to_be_bytes();
    let front = farmgate.front("web").port().to_be_bytes();
    let mut header = b"a\n\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1e\x7f\0\0\x01\x7f\0\0\x01".to_vec();
    header.extend_from_slice(&[port, front].concat());
    header.extend_from_slice(b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3");
    let mut got = vec![0; header.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, header);
}

#[test]
fn connection_lasts_no_longer_than_it_may_however_busy_it_is() {
    let origin = TcpOrigin::start("a", TcpBehaviour::Echo);
    let setup = Setup::tcp(&[Server::new("a", origin.addr(), "")]).frontend("timeouts: {session: 1s}");
    let farmgate = Farmgate::start(&setup);
    let mut client = farmgate.client();
    client.take(2).unwrap();
    until("the connection to end", || {
        std::thread::sleep(Duration::from_millis(20));
        (client.try_send("x").is_err() || client.take(1).is_err()).then_some(())
    });
}

/// A server that speaks TLS with the certificate of [`certificate`] for one connection, and says whether it was given
/// a PROXY header first.
fn tls_server(dir: &Path) -> std::net::SocketAddr {
    let chain = CertificateDer::from_pem_file(dir.join("web.pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(dir.join("web.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(versions.with_no_client_auth().with_single_cert(vec![chain], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 6];
            if stream.peek(&mut head).is_ok_and(|n| n == 6) && &head == b"PROXY " {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {}
            }
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut said = [0; 4];
            if stream.read_exact(&mut said).is_ok() {
                let told = if head == *b"PROXY " { b"told " } else { b"fresh" };
                let _ = stream.write_all(&[&said[..], told].concat());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    addr
}

#[test]
fn server_is_spoken_to_in_tls_and_only_if_its_certificate_is_good() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let server = tls_server(dir.path());
    let ca = dir.path().join("web.pem");
    let farmgate = |keys: &str| {
        let server = Server::new("a", server, keys);
        Farmgate::start(&Setup::tcp(&[server]).farm("timeouts: {connect: 5s}"))
    };
    let asked = |farmgate: &Farmgate| {
        let mut client = farmgate.client();
        client.send("ping");
        client.take(9)
    };
    let tls = format!("tls: {{ca: {}, sni: localhost}}", ca.display());
    let good = farmgate(&tls);
    assert_eq!(asked(&good).unwrap(), b"pingfresh");
    assert_eq!(asked(&farmgate(&format!("{tls}, proxy_protocol: v1"))).unwrap(), b"pingtold ");
    assert_eq!(asked(&farmgate("tls: {verify: false}")).unwrap(), b"pingfresh");
    for keys in [format!("tls: {{ca: {}, sni: other.example}}", ca.display()), "tls: true".to_owned()] {
        let wary = farmgate(&keys);
        assert!(asked(&wary).is_err(), "{keys}");
        let failures = || wary.metric("farmgate_connect_failures_total", &["server=\"a\""]);
        until("the failure to be counted", || failures().is_some_and(|n| n >= 1.0).then_some(()));
    }
}
