//! Certificates obtained from a real authority: Let's Encrypt's test server, from Debian's package `pebble`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::certificates::connect;
use crate::harness::{Farmgate, Origin, Server, Setup, free_port, until};

/// An authority that trusts the system's resolver and looks at these ports.
pub(crate) struct Pebble {
    child: Child,
    pub(crate) directory: String,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pebble {
    pub(crate) fn start(dir: &Path, http: u16, tls: u16) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(dir.join("ca.key"), key.serialize_pem()).unwrap();
        let (listen, manage) = (free_port(), free_port());
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{manage}"),
            "certificate": dir.join("ca.pem"),
            "privateKey": dir.join("ca.key"),
            "httpPort": http,
            "tlsPort": tls,
        }});
        std::fs::write(dir.join("pebble.json"), config.to_string()).unwrap();
        let child = Command::new("pebble")
            .arg("-config")
            .arg(dir.join("pebble.json"))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble must be installed: apt-get install pebble");
        until("pebble", || std::net::TcpStream::connect(("127.0.0.1", listen)).ok());
        Self { child, directory: format!("https://localhost:{listen}/dir") }
    }
}

fn obtains(challenge: &str) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (http, tls) = (free_port(), free_port());
    let pebble = Pebble::start(dir.path(), http, tls);
    let origin = Origin::start("a");
    let (state, ca) = (dir.path().join("state"), dir.path().join("ca.pem"));
    let directory = &pebble.directory;
    let secure =
        format!("secure: {{protocol: http, listen: [\"127.0.0.1:{tls}\"], farm: web, tls: {{acme: [localhost]}}}}");
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .frontend(&format!("listen: [\"127.0.0.1:{http}\"]"))
        .another_frontend(&secure)
        .top(&format!("state_dir: {state:?}"))
        .top(&format!("acme: {{directory: {directory:?}, ca: {ca:?}, challenge: {challenge}, terms_agreed: true}}"));
    let mut farmgate = Farmgate::start_in(&dir, &setup, &[]);
    let front = SocketAddr::from(([127, 0, 0, 1], tls));
    let file = state.join("acme/certificates/localhost.pem");
    until("a certificate", || file.exists().then_some(()));
    let chain: Vec<_> = CertificateDer::pem_file_iter(&file).unwrap().map(Result::unwrap).collect();
    assert!(chain.len() >= 2, "the authority's own certificate comes with it");
    // The authority below which it is, is taken for a root here.
    let root = chain.last().unwrap();
    until("the certificate to be shown", || connect(front, "localhost", root).ok());
    let log = farmgate.log();
    assert!(log.contains("acme: certificate obtained") && !log.contains("not obtained"), "{log}");
    // Another process finds what the first has kept, and asks nobody.
    farmgate.signal("TERM");
    farmgate.wait();
    drop(pebble);
    let kept = std::fs::read(&file).unwrap();
    let again = Farmgate::start_in(&dir, &setup, &[]);
    until("the certificate to be shown again", || connect(front, "localhost", root).ok());
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    assert!(!again.log().contains("not obtained"), "{}", again.log());
}

#[test]
#[ignore = "needs Debian's pebble: apt-get install pebble, then cargo test --test it acme:: -- --ignored"]
fn certificate_is_obtained_by_http_and_kept() {
    obtains("http-01");
}

#[test]
#[ignore = "needs Debian's pebble: apt-get install pebble, then cargo test --test it acme:: -- --ignored"]
fn certificate_is_obtained_by_a_handshake_and_kept() {
    obtains("tls-alpn-01");
}

#[test]
fn authority_that_cannot_be_reached_is_told_of_and_traffic_goes_on() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let origin = Origin::start("a");
    let ca = dir.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let (port, state) = (free_port(), dir.path().join("state"));
    let setup = Setup::http(&[Server::new("a", origin.addr(), "")])
        .another_frontend("secure: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web, tls: {acme: [localhost]}}")
        .top(&format!("state_dir: {state:?}"))
        .top(&format!("acme: {{directory: \"https://localhost:{port}/dir\", ca: {ca:?}, terms_agreed: true}}"));
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    until("the failure", || farmgate.log().contains("certificate not obtained").then_some(()));
    assert!(farmgate.log().contains("tried again in 60s"), "{}", farmgate.log());
    assert_eq!(farmgate.client().get("/").status, 200);
    assert_eq!(
        farmgate.client().get("/.well-known/acme-challenge/unknown").status,
        200,
        "it is the server's to answer"
    );
    let made = CertificateDer::from(made.cert.der().to_vec());
    assert!(connect(farmgate.front("secure"), "localhost", &made).is_err(), "there is no certificate yet");
}
