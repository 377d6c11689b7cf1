//! Servers of several probes, of a probe that passes on condition, and of one that looks at certificates.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};

use super::{says, served_by, setup};
use crate::harness::{Behaviour, Farmgate, Origin, Server, Setup};

const WEB: &str = "{type: http, url: /healthz, interval: 250ms, timeout: 250ms, rise: 2, fall: 3}";
const DEEP: &str = "{type: http, url: /deep, interval: 250ms, timeout: 250ms, rise: 2, fall: 3}";

/// A farm of one server with both probes, for [`Setup::another_farm`].
fn both(name: &str, more: &str, origin: &Origin) -> String {
    let addr = origin.addr();
    format!(
        "{name}: {{protocol: http, incident: off, probes: {{web: {WEB}, deep: {DEEP}}}, {more} servers: {{a: \"{addr}\"}}}}"
    )
}

#[test]
fn probes_that_differ_say_which_failed_and_how_many_must_pass() {
    let [fine, half] = ["fine", "half"].map(Origin::start);
    let setup = setup(WEB, &[&fine]).another_farm(&both("all", "", &half));
    let farmgate = Farmgate::start(&setup.another_farm(&both("quorum", "quorum: 1,", &half)));
    let up = "UP since T (D): its checks pass, the last L7OK 200 in D; next check in D; in rotation with weight 1, 100 % of \
              the rotation";
    says(&farmgate, "all/a", up);
    half.traffic(Behaviour::Status(503));
    says(
        &farmgate,
        "all/a",
        "DOWN since T (D): 3 of 3 checks of probe \"deep\" failed, L7STS 503 ×3; 1 of 2 probes passes, 2 must; needs 2 \
         passes; next check in D; earliest return T",
    );
    let told = says(
        &farmgate,
        "quorum/a",
        "UP since T (D): 1 of 2 probes passes, 1 must; probe \"deep\" fails, the last L7STS 503; next check in D; in rotation with \
         weight 1, 100 % of the rotation",
    );
    let probes = told.facts("probe");
    assert!(probes.len() == 2 && probes[0].contains("\"web\" (http) up") && probes[1].contains("down"), "{probes:?}");
}

#[test]
fn server_that_passes_on_condition_says_that_it_finishes_what_it_has() {
    let [stopping, fine] = ["stopping", "fine"].map(Origin::start);
    let probe = WEB.replace("rise", "expect: {status: \"200\", stopping: \"404\"}, rise");
    let farmgate = Farmgate::start(&setup(&probe, &[&stopping, &fine]));
    farmgate.wait_for_state("stopping", "UP");
    stopping.health(Behaviour::Status(404));
    says(
        &farmgate,
        "web/stopping",
        "NOLB since T (D): its checks pass on condition, L7OKC 404: no new work, what is open and sticky stays; back with \
         the next check that passes whole; next check in D",
    );
    served_by(&farmgate, &["fine"]);
    stopping.health(Behaviour::Ok);
    farmgate.wait_for_state("stopping", "UP");
    served_by(&farmgate, &["fine", "stopping"]);
}

/// An origin whose certificate, of an authority in the file, ended in 2021.
fn expired(authority: &std::path::Path) -> SocketAddr {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(authority, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["origin.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let chain = vec![params.signed_by(&key, &issuer).unwrap().der().clone()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut server = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = Stream::new(&mut server, &mut stream).read(&mut [0; 1024]);
        }
    });
    addr
}

#[test]
fn server_whose_certificate_has_expired_says_so() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let authority = dir.path().join("ca.pem");
    let addr = expired(&authority);
    let probe = format!(
        "{{type: https, url: /healthz, sni: origin.test, ca: \"{}\", interval: 10s, timeout: 10s}}",
        authority.display()
    );
    let setup = Setup::http(&[Server::new("a", addr, "")]).probe(&probe);
    let farmgate = Farmgate::start_in(&dir, &setup, &[]);
    let told = says(
        &farmgate,
        "web/a",
        "DOWN since T (D): 1 check failed, L6RSP 45 (\"certificate expired at T\"); needs 2 passes; next check in D; earliest return T",
    );
    assert!(told.sentence().contains("expired at 2021-01-01T00:00:00.000Z"), "{}", told.sentence());
    let evidence = told.evidence("L6RSP");
    assert_eq!(evidence["certificate_sha256"].as_str().map(str::len), Some(64), "{evidence}");
}
