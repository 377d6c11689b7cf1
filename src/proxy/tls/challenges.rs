//! Answers to an authority that looks whether a name is ours: over HTTP, and in a handshake of its own kind.
//!
//! Written a few times in two months, by whoever obtains certificates; read without a lock. While nothing is asked,
//! requests pay a comparison of the path's beginning and handshakes a load.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What an authority asks for begins with this.
const PATH: &str = "/.well-known/acme-challenge/";
/// What an authority speaks in a handshake that asks.
pub(super) const ALPN: &[u8] = b"acme-tls/1";

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

    /// Returns the certificate that an authority is to be shown.
    pub(super) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.load().get(name).cloned()
    }

    /// Returns whether an authority may shake hands now.
    pub(super) fn is_asked(&self) -> bool {
        !self.certificates.load().is_empty()
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
