//! For the tests of this room: authorities, certificates in files, frontends that name them, and handshakes without
//! sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;

use super::{Certificates, Peer, Terminator, failure_of, peer_of};
use crate::metrics::HandshakeFailure;
use crate::model::tls::{Alpn, CertificateFiles, ClientAuth, FrontendTls, TlsProfile};
use crate::model::{FarmId, Frontend, FrontendId, Name, Protocol};
use crate::store::seams::FileError;
use crate::trust::Verifier;

/// A certificate that is shown, without its signature being looked at.
type Shown = Option<CertificateDer<'static>>;

/// A directory of PEM files.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Arc<Path> {
        let path = self.path(name);
        // As careful writers do, so that every write is another file.
        let fresh = self.path(&format!("{name}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        path.into()
    }

    /// Writes a pair and returns where it is.
    pub(super) fn put(&self, name: &str, pair: &Pair) -> CertificateFiles {
        let cert = self.write(&format!("{name}.pem"), &pair.chain);
        CertificateFiles { cert, key: self.write(&format!("{name}.key"), &pair.key) }
    }

    /// What the messages of errors say, without the place of this directory.
    pub(super) fn told(&self, errors: &[FileError]) -> Vec<String> {
        errors.iter().map(|error| error.to_string().replace(&self.0.path().display().to_string(), "DIR")).collect()
    }
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Pair {
    /// An RSA key and its certificate for `shop.test`; ring makes no RSA keys.
    pub(super) fn rsa() -> Self {
        Self { chain: include_str!("fixture/rsa.pem").to_owned(), key: include_str!("fixture/rsa.key").to_owned() }
    }

    /// The first certificate alone.
    pub(super) fn leaf_pem(&self) -> String {
        self.chain.split_inclusive("-----END CERTIFICATE-----\n").take(1).collect()
    }

    pub(super) fn leaf(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }
}

/// Who signs certificates.
pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate of these names until that year; the first is its common name, `serial` its number.
    pub(super) fn signs(&self, names: &[&str], serial: u64, until: i32) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.as_str());
        }
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { chain: certificate.pem() + &self.pem, key: key.serialize_pem() }
    }

    /// A list that revokes these numbers.
    pub(super) fn revokes(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2025, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Settings with these certificates, and nothing else said.
pub(super) fn tls(certificates: &[CertificateFiles]) -> FrontendTls {
    FrontendTls {
        certificates: certificates.into(),
        acme: Box::default(),
        profile: TlsProfile::Intermediate,
        alpn: [Alpn::H2, Alpn::Http1].into(),
        client_auth: None,
    }
}

pub(super) fn with_clients(tls: &FrontendTls, ca: &Arc<Path>, crl: Option<&Arc<Path>>, required: bool) -> FrontendTls {
    let client_auth = ClientAuth { ca: Arc::clone(ca), crl: crl.cloned(), is_required: required };
    FrontendTls { client_auth: Some(client_auth), ..tls.clone() }
}

pub(super) fn frontend(name: &str, tls: &FrontendTls) -> Arc<Frontend> {
    let name = Name::parse(name).unwrap();
    let mut frontend = Frontend::new(FrontendId::derive(&name), name, Protocol::Http, FarmId(1));
    frontend.tls = Some(tls.clone());
    Arc::new(frontend)
}

pub(super) fn id(name: &str) -> FrontendId {
    FrontendId::derive(&Name::parse(name).unwrap())
}

/// Reads and makes live.
pub(super) fn load(certificates: &Arc<Certificates>, frontends: &[Arc<Frontend>]) {
    certificates.prepare(frontends).unwrap().commit();
}

/// What a handshake at a frontend is made with now.
pub(super) fn at(certificates: &Certificates, name: &str) -> Arc<ServerConfig> {
    Arc::clone(&certificates.terminator(id(name)).unwrap().0.made.load().config)
}

/// A client. Two handshakes of one client may be one session.
#[derive(Clone)]
pub(super) struct Client {
    config: ClientConfig,
}

impl Client {
    pub(super) fn new() -> Self {
        Self::of(&[&rustls::version::TLS12, &rustls::version::TLS13], None)
    }

    pub(super) fn of(versions: &[&'static SupportedProtocolVersion], identity: Option<&Pair>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // It believes every certificate.
        let verifier = Arc::new(Verifier::new(&provider, |_| Ok(())));
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Pair { chain, key }) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).take(1).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config }
    }

    /// One that verifies only such signatures.
    pub(super) fn verifying(schemes: &[SignatureScheme]) -> Self {
        let mut client = Self::new();
        let verifier = Verifier::new(&rustls::crypto::ring::default_provider(), |_| Ok(())).asking_for(schemes);
        client.config.dangerous().set_certificate_verifier(Arc::new(verifier));
        client
    }

    pub(super) fn offering(mut self, alpn: &[&[u8]]) -> Self {
        self.config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    /// One that knows no tickets.
    pub(super) fn without_tickets(mut self) -> Self {
        self.config.resumption = Resumption::in_memory_sessions(16).tls12_resumption(Tls12Resumption::SessionIdOnly);
        self
    }

    /// Shakes hands; returns what the server knows then, and the certificate that was shown.
    pub(super) fn meets(&self, server: &Arc<ServerConfig>, name: &str) -> Result<(Peer, Shown), HandshakeFailure> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        loop {
            let moved = carry(|wire| client.write_tls(wire), |wire| server.read_tls(wire));
            server.process_new_packets().map_err(|why| failure_of(&io::Error::new(io::ErrorKind::InvalidData, why)))?;
            let back = carry(|wire| server.write_tls(wire), |wire| client.read_tls(wire));
            // A client that says no has told the server so: the next round shows it.
            let _ = client.process_new_packets();
            if moved + back == 0 {
                break;
            }
        }
        if server.is_handshaking() {
            return Err(HandshakeFailure::Closed);
        }
        let shown = client.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
        Ok((peer_of(&server), shown))
    }

    /// Shakes hands as a connection does; returns the certificate that was shown and what was agreed on, and whether the
    /// server goes on.
    pub(super) async fn comes(&self, server: &Terminator, name: &str) -> io::Result<(Shown, Option<Vec<u8>>, bool)> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let connector = TlsConnector::from(Arc::new(self.config.clone()));
        let client = async {
            let mut stream = connector.connect(name, near).await?;
            // With TLS 1.3 the server's word on the client's certificate comes after the client's end of the handshake.
            let said = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0])).await;
            let goes_on = said.map_or(Ok(true), |said| said.map(|n| n > 0))?;
            let (_, state) = stream.get_ref();
            let shown = state.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
            Ok::<_, io::Error>((shown, state.alpn_protocol().map(<[u8]>::to_vec), goes_on))
        };
        let (client, server) = tokio::join!(client, async {
            let stream = server.shake_hands(far).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.map(|stream| stream.is_some())
        });
        let (shown, alpn, goes_on) = client?;
        assert_eq!(server.ok(), Some(goes_on));
        Ok((shown, alpn, goes_on))
    }

    /// The certificate that is shown.
    pub(super) fn sees(&self, server: &Arc<ServerConfig>, name: &str) -> Shown {
        self.meets(server, name).unwrap().1
    }
}

fn carry(
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
    mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>,
) -> usize {
    let mut wire = Vec::new();
    while write(&mut wire).unwrap() > 0 {}
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        read(&mut rest).unwrap();
    }
    wire.len()
}
