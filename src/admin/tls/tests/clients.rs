//! Clients that show certificates: who they are to each shape, and what a stranger and a changed authority come to.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};

use super::*;
use crate::admin::Credentials;
use crate::admin::fixture::{OPS, Reply, Running, credentials};
use crate::model::Access;
use crate::model::settings::{CertificateHolder, CertificateMatch, Grant};
use crate::store::NoJournal;

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

type Identity = (CertificateDer<'static>, Vec<u8>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn signs(&self, names: &[&str]) -> Identity {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        names.iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key.serialize_der())
    }
}

struct Office {
    running: Running,
    ca: tempfile::TempDir,
    authority: Authority,
    robot: Identity,
    pinned: Identity,
}

impl Office {
    /// `robot` reads, by its name; `pinned` operates, by its digest.
    fn open(is_required: bool) -> Self {
        let (ca, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let (robot, pinned) = (authority.signs(&["robot"]), authority.signs(&["somebody"]));
        let path = ca.path().join("ca.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        let clients = Some(ClientAuth { ca: path.into(), crl: None, is_required });
        let with = AdminSettings { tls: AdminTls::Auto, clients, ..settings() };
        let holder = |name: &str, access, certificate| CertificateHolder {
            grant: Grant { name: name.into(), access, farms: None },
            certificate,
        };
        let holders = vec![
            holder("robot", Access::Read, CertificateMatch::CommonName("robot".into())),
            holder("pinned", Access::Operate, CertificateMatch::Sha256(Sha256::digest(&pinned.0).into())),
        ];
        let known = Credentials { holders, ..credentials() };
        let running = Running::start_as(&with, Some(LOOK * 6), Arc::new(NoJournal), |state| {
            state.credentials = Arc::new(ArcSwap::from_pointee(known));
        });
        Self { running, ca, authority, robot, pinned }
    }

    fn connect(&self, identity: Option<&Identity>) -> StreamOwned<ClientConnection, std::net::TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.running.certificate.clone().unwrap())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivatePkcs8KeyDer::from(key.clone()).into();
                config.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
        };
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
        StreamOwned::new(connection, self.running.connect())
    }

    /// The answer, or status 0 where the handshake ends it.
    fn ask(&self, identity: Option<&Identity>, method: &str, path: &str, fields: &str) -> Reply {
        let mut stream = self.connect(identity);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        // A refused handshake may be told after the request was written, or before.
        let _ = stream.write_all(head.as_bytes());
        Reply::read(stream)
    }
}

#[test]
fn certificate_of_a_client_stands_for_its_credential_in_every_shape() {
    let office = Office::open(false);
    let (robot, pinned) = (Some(&office.robot), Some(&office.pinned));
    for path in ["/api/v1/status", "/metrics", "/1.0/ipLoadbalancing"] {
        assert_eq!(office.ask(robot, "GET", path, "").status, 200, "{path}");
        assert_eq!(office.ask(None, "GET", path, "").status, 401, "{path}");
    }
    let zenlayer = office.ask(robot, "POST", "/api/v2/zlb", "");
    assert_eq!((zenlayer.status, &zenlayer.json()["code"]), (400, &"INVALID_ACTION".into()), "it was let in");
    // Each has its own role.
    let drain = "/api/v1/farms/web/servers/s1/drain";
    assert_eq!(office.ask(robot, "POST", drain, "").status, 403);
    assert_eq!(office.ask(pinned, "POST", drain, "").status, 200);
    let order = office.ask(robot, "GET", drain, "").json();
    assert_eq!(order["actor"], "pinned", "{order}");
    // A token that is sent counts, and so does one without a certificate.
    let token = format!("Authorization: Bearer {OPS}\r\n");
    assert_eq!(office.ask(robot, "POST", drain, &token).status, 200);
    assert_eq!(office.ask(None, "POST", drain, &token).status, 200);
    assert_eq!(office.ask(pinned, "GET", "/api/v1/status", "Authorization: Bearer wrong\r\n").status, 401);
}

#[test]
fn certificate_that_stands_for_nothing_lets_nobody_in() {
    let office = Office::open(false);
    for names in [&["other"][..], &["Robot"], &["robot "], &[]] {
        let other = office.authority.signs(names);
        let reply = office.ask(Some(&other), "GET", "/api/v1/status", "");
        assert_eq!(reply.status, 401, "{names:?}");
        assert!(reply.body.contains("stands for no credential"), "{reply:?}");
        assert_eq!(office.ask(Some(&other), "GET", "/1.0/ipLoadbalancing", "").status, 403, "{names:?}");
    }
    let stranger = Authority::new().signs(&["robot"]);
    assert_eq!(office.ask(Some(&stranger), "GET", "/healthz", "").status, 0, "nobody vouches for it");
}

#[test]
fn certificate_that_is_required_is_required_of_everybody() {
    let office = Office::open(true);
    assert_eq!(office.ask(None, "GET", "/healthz", "").status, 0);
    assert_eq!(office.ask(Some(&office.robot), "GET", "/healthz", "").status, 200);
}

#[test]
fn other_authorities_lock_out_whom_the_former_vouched_for_and_end_their_connections() {
    let office = Office::open(false);
    let mut open = office.connect(Some(&office.robot));
    open.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    open.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let next = Authority::new();
    let robot = next.signs(&["robot"]);
    assert_eq!(office.ask(Some(&robot), "GET", "/healthz", "").status, 0);
    std::fs::write(office.ca.path().join("ca.pem"), &next.pem).unwrap();
    let end = crate::clock::monotonic() + PATIENCE;
    while office.ask(Some(&robot), "GET", "/api/v1/status", "").status != 200 {
        assert!(crate::clock::monotonic() < end, "the file is not read again");
        std::thread::sleep(LOOK);
    }
    assert_eq!(office.ask(Some(&office.robot), "GET", "/healthz", "").status, 0);
    let mut rest = Vec::new();
    // Its end, however the other side says so.
    let _ = open.read_to_end(&mut rest);
    assert!(!rest.windows(5).any(|window| window == b"HTTP/"));
}
