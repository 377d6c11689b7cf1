//! Judgements of certificates, and handshakes with servers that hold their key and that do not.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, version,
};

use super::*;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Who signs certificates, and what believes them.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec!["ca.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        Self { issuer: Issuer::new(params, key), verifier }
    }

    /// For `a.test`, from 2020 until that year.
    fn signs(&self, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }

    /// Judges at the beginning of 2025.
    fn judges(&self, certificate: &CertificateDer<'_>, name: &'static str) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_735_689_600));
        let name = ServerName::try_from(name).unwrap();
        verify_but_name(&self.verifier, &Shown { certificate, intermediates: &[], name: &name, ocsp: &[], now })
    }
}

#[test]
fn another_name_is_forgiven_and_nothing_else_that_comes_with_it() {
    let (known, stranger) = (Authority::new(), Authority::new());
    for name in ["a.test", "b.test", "10.0.0.1"] {
        assert_eq!(known.judges(&known.signs(2030), name), Ok(()), "{name}");
        let over = known.judges(&known.signs(2024), name);
        let is_over = matches!(over, Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. })));
        assert!(is_over, "{name}: {over:?}");
        let strange = known.judges(&stranger.signs(2030), name);
        let is_strange = matches!(
            strange,
            Err(Error::InvalidCertificate(CertificateError::BadSignature | CertificateError::UnknownIssuer))
        );
        assert!(is_strange, "{name}: {strange:?}");
        let junk = known.judges(&CertificateDer::from(vec![0; 3]), name);
        assert_eq!(junk, Err(Error::InvalidCertificate(CertificateError::BadEncoding)), "{name}");
    }
}

/// Shows a certificate and signs with whatever key.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server that shows a certificate of the first key and signs with the second.
fn server(shown: &KeyPair, signing: &KeyPair) -> Arc<ServerConfig> {
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(shown).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let shows = Shows(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)));
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(shows)))
}

/// Shakes hands; returns what the client says.
fn meets(
    verifier: impl ServerCertVerifier + 'static,
    version: &'static SupportedProtocolVersion,
    server: &Arc<ServerConfig>,
) -> Result<(), Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("b.test").unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        // What it says no to, it tells the client.
        let _ = server.process_new_packets();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn signature_by_another_key_is_refused_whatever_the_judge_says() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    for version in [&version::TLS12, &version::TLS13] {
        let anybody = || Verifier::new(&provider(), |_| Ok(()));
        assert_eq!(meets(anybody(), version, &server(&key, &key)), Ok(()), "{version:?}");
        let bad = Err(Error::InvalidCertificate(CertificateError::BadSignature));
        assert_eq!(meets(anybody(), version, &server(&key, &other)), bad, "{version:?}");
    }
}

#[test]
fn judge_is_shown_what_the_server_shows_and_its_word_ends_the_handshake() {
    let (key, refusal) = (KeyPair::generate().unwrap(), Error::InvalidCertificate(CertificateError::Revoked));
    let told = refusal.clone();
    let nobody = Verifier::new(&provider(), move |shown| {
        let is_whole = !shown.certificate.is_empty() && shown.intermediates.is_empty();
        assert!(is_whole && shown.name.to_str() == "b.test");
        Err(told.clone())
    });
    assert_eq!(meets(nobody, &version::TLS13, &server(&key, &key)), Err(refusal));
}

#[test]
fn kinds_of_signatures_are_the_providers_or_those_that_are_asked_for() {
    let verifier = Verifier::new(&provider(), |_| Ok(()));
    let all = provider().signature_verification_algorithms.supported_schemes();
    assert_eq!(verifier.supported_verify_schemes(), all);
    let one = [SignatureScheme::ED25519];
    assert_eq!(verifier.asking_for(&one).supported_verify_schemes(), one);
    // A server that cannot sign so says so.
    let key = KeyPair::generate().unwrap();
    let picky = Verifier::new(&provider(), |_| Ok(())).asking_for(&one);
    assert!(matches!(meets(picky, &version::TLS13, &server(&key, &key)), Err(Error::AlertReceived(_))));
}
