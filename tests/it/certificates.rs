//! Certificates of frontends: refused with their reason, renewed without anybody noticing, and told of.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest as _, Sha256};

use crate::harness::{Farmgate, OPS_TOKEN, Origin, PATIENCE, Server, Setup, run_to_end, until};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Writes a pair for `localhost`, as a careful tool does; returns the certificate.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    for (name, text) in [("web.pem", certificate.pem()), ("web.key", key.serialize_pem())] {
        std::fs::write(dir.join("fresh"), text).unwrap();
        std::fs::rename(dir.join("fresh"), dir.join(name)).unwrap();
    }
    certificate.der().clone()
}

fn setup(origin: &Origin, dir: &Path) -> Setup {
    let (cert, key) = (dir.join("web.pem"), dir.join("web.key"));
    let tls = format!("tls: {{certificates: [{{cert: {cert:?}, key: {key:?}}}], alpn: [http/1.1]}}");
    Setup::http(&[Server::new("a", origin.addr(), "")]).frontend(&tls)
}

/// Shakes hands with somebody whose certificate is this one.
pub(crate) fn connect(addr: SocketAddr, name: &str, root: &CertificateDer<'static>) -> std::io::Result<Stream> {
    connect_as(addr, name, root, None)
}

/// The same, showing a certificate of one's own if there is one.
fn connect_as(
    addr: SocketAddr,
    name: &str,
    root: &CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = versions.with_root_certificates(roots);
    let config = Arc::new(match own {
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => config.with_no_client_auth(),
    });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub(crate) fn get(stream: &mut Stream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..n]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn certificate_events(farmgate: &Farmgate) -> Vec<(String, String)> {
    let (status, events) = farmgate.admin_get("/api/v1/events");
    assert_eq!(status, 200, "{events}");
    let all = events["events"].as_array().unwrap().iter().filter(|event| event["type"] == "certificate");
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    all.map(|event| (text(event, "change"), text(event, "error"))).collect()
}

#[test]
fn server_is_told_whose_certificate_the_client_showed() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start("a"));
    let root = renew(dir.path());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = KeyPair::generate().unwrap();
    std::fs::write(dir.path().join("ca.pem"), params.self_signed(&authority).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, authority);
    let mut params = CertificateParams::new(vec!["ann.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "ann");
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let digest: String = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    let [cert, web_key, ca] = ["web.pem", "web.key", "ca.pem"].map(|name| dir.path().join(name));
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!(
            "tls: {{certificates: [{{cert: {cert:?}, key: {web_key:?}}}], alpn: [http/1.1], client_ca: {ca:?}, client_auth: optional}}"
        ))
        .frontend("request_headers: {set: {X-Client: \"${client_cn}\", X-Digest: \"${client_cert_sha256}\"}}");
    let farmgate = Farmgate::start(&setup);
    for (own, want) in [
        (Some((certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())), ["ann", &digest]),
        (None, ["", ""]),
    ] {
        let mut stream = connect_as(farmgate.front("web"), "localhost", &root, own).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Client: root\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
        let seen = origin.requests().pop().unwrap();
        assert_eq!([seen.values("x-client").concat(), seen.values("x-digest").concat()], want);
    }
}

#[test]
fn renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start("a"));
    let before = renew(dir.path());
    let farmgate = Farmgate::start(&setup(&origin, dir.path()));
    let front = farmgate.front("web");
    let mut held = connect(front, "localhost", &before).unwrap();
    assert!(get(&mut held).starts_with("HTTP/1.1 200"));
    let after = renew(dir.path());
    until("the renewed certificate", || connect(front, "localhost", &after).ok());
    assert!(get(&mut held).starts_with("HTTP/1.1 200"), "who is connected notices nothing");
    assert!(connect(front, "localhost", &before).is_err());
    until("the event", || certificate_events(&farmgate).iter().any(|(change, _)| change == "renewed").then_some(()));
    let applied = farmgate.metric("farmgate_certificate_reads_total", &["result=\"applied\""]);
    assert!(applied >= Some(1.0), "{applied:?}");
    let until_when = farmgate.metric("farmgate_certificate_expiry_timestamp_seconds", &["certificate=\"localhost\""]);
    assert!(until_when > Some(4e9), "{until_when:?}");
    let full = farmgate.metric("farmgate_tls_handshakes_total", &["version=\"TLSv1.3\"", "resumed=\"false\""]);
    assert!(full >= Some(2.0), "{full:?}");
    let refused = farmgate.metric("farmgate_tls_handshake_failures_total", &["reason=\"alert\""]);
    assert!(refused >= Some(1.0), "{refused:?}");
}

#[test]
fn bad_new_certificate_leaves_the_old_one_and_is_told_of() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start("a"));
    let before = renew(dir.path());
    let setup = setup(&origin, dir.path());
    let farmgate = Farmgate::start(&setup);
    std::fs::write(dir.path().join("web.key"), "nonsense").unwrap();
    let why = until("the event", || {
        certificate_events(&farmgate).into_iter().find(|(change, _)| change == "refused").map(|(_, why)| why)
    });
    assert!(why.contains("holds no private key"), "{why}");
    assert!(connect(farmgate.front("web"), "localhost", &before).is_ok());
    assert_eq!(farmgate.metric("farmgate_certificate_reads_total", &["result=\"refused\""]), Some(1.0));
    let refused = farmgate.reload(&setup.yaml());
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("tls.certificates.key"), "{}", refused.text());
    assert!(connect(farmgate.front("web"), "localhost", &before).is_ok());
}

#[test]
fn start_with_a_certificate_that_cannot_be_used_is_refused_with_its_reason() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::start("a"));
    renew(dir.path());
    std::fs::write(dir.path().join("web.pem"), "").unwrap();
    let config = dir.path().join("farmgate.yaml");
    std::fs::write(&config, setup(&origin, dir.path()).yaml()).unwrap();
    let ended = run_to_end(dir.path(), &["run", "-c", config.to_str().unwrap()], &[("OPS", OPS_TOKEN)]);
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text);
    let said = "frontend \"web\": tls.certificates.cert: ";
    assert!(ended.text.contains(said) && ended.text.contains("holds no certificate"), "{}", ended.text);
}

#[test]
fn name_that_nobody_obtains_a_certificate_for_is_told_of_once() {
    let origin = Origin::start("a");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")]).frontend("tls: {acme: [localhost]}");
    let farmgate = Farmgate::start(&setup);
    let told = || certificate_events(&farmgate);
    let why =
        until("the event", || told().into_iter().find(|(change, _)| change == "not_obtained").map(|(_, why)| why));
    assert!(why.contains("write acme: {terms_agreed: true}"), "{why}");
    assert_eq!(farmgate.reload(&setup.yaml()).status, 200);
    assert_eq!(told().len(), 1);
}
