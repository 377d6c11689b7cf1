//! Answers to an authority that looks whether a name is ours: over HTTP, and in a handshake of its own kind.
//!
//! That handshake (RFC 8737) is one for itself: its authority shows no certificate, whatever clients must, and nothing
//! is said after it, so nobody comes in this way. While no name is to be shown, nobody speaks so.
//!
//! Written a few times in two months, by whoever obtains certificates; read without a lock. While nothing is asked,
//! requests pay a comparison of the path's beginning and handshakes a load.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

/// What an authority asks for begins with this.
const PATH: &str = "/.well-known/acme-challenge/";
/// What an authority speaks in a handshake that asks.
const ALPN: &[u8] = b"acme-tls/1";

/// See the module's doc.
#[derive(Debug, Default)]
pub struct Challenges {
    texts: ArcSwap<BTreeMap<Box<str>, Arc<str>>>,
    certificates: ArcSwap<BTreeMap<Box<str>, Arc<CertifiedKey>>>,
}

impl Challenges {
    /// Gives this text to who asks for the token.
    pub fn put_text(&self, token: &str, text: &str) {
        change(&self.texts, |texts| {
            texts.insert(token.into(), text.into());
        });
    }

    /// Shows this certificate to an authority that shakes hands for the name; a key that cannot sign is no answer.
    pub fn put_certificate(&self, name: &str, certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) {
        let provider: CryptoProvider = rustls::crypto::ring::default_provider();
        let Ok(key) = provider.key_provider.load_private_key(key.clone_key()) else { return };
        let certified = Arc::new(CertifiedKey::new(vec![certificate.clone()], key));
        change(&self.certificates, |certificates| {
            certificates.insert(name.into(), Arc::clone(&certified));
        });
    }

    /// Answers that token and that name no more; one of the two is known.
    pub fn forget(&self, token_or_name: &str) {
        change(&self.texts, |texts| {
            texts.remove(token_or_name);
        });
        change(&self.certificates, |certificates| {
            certificates.remove(token_or_name);
        });
    }

    /// Returns the text that an authority is to be given under a path, if it is one of its paths.
    pub(in crate::proxy) fn text(&self, path: &str) -> Option<Arc<str>> {
        let token = path.strip_prefix(PATH)?;
        self.texts.load().get(token).cloned()
    }

    fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.load().get(name).cloned()
    }
}

/// What a handshake is made with that shows an authority that a name is ours.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    challenges: Arc<Challenges>,
    config: Arc<ServerConfig>,
}

impl Proof {
    pub(super) fn of(provider: &Arc<CryptoProvider>, challenges: &Arc<Challenges>) -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(Shown(Arc::clone(challenges))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { challenges: Arc::clone(challenges), config: Arc::new(config) })
    }

    /// Returns whether an authority may shake hands now.
    pub(super) fn is_asked(&self) -> bool {
        !self.challenges.certificates.load().is_empty()
    }

    /// Returns what to go on with after that hello, if it is an authority's, which speaks nothing else.
    pub(super) fn answer_to(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut offered = hello.alpn()?;
        (offered.next() == Some(ALPN) && offered.next().is_none()).then(|| Arc::clone(&self.config))
    }
}

#[derive(Debug)]
struct Shown(Arc<Challenges>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate(hello.server_name()?)
    }
}

/// One thread obtains certificates, so nobody else changes a map meanwhile.
fn change<V: Clone>(map: &ArcSwap<BTreeMap<Box<str>, V>>, how: impl Fn(&mut BTreeMap<Box<str>, V>)) {
    map.rcu(|before| {
        let mut after = BTreeMap::clone(before);
        how(&mut after);
        after
    });
}
