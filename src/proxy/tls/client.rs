//! Certificates that clients show: who signed them, who is revoked, and whether one must be shown.
//!
//! With a list of revocations, every certificate of a client's chain must be covered by one; a list that is past its
//! own date still counts, since a list that was not renewed must not lock everybody out.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};

use crate::model::tls::ClientAuth;

use super::chain;
use super::files::{self, Unusable};

/// The config keys of the two files.
const CA: &str = "tls.client_ca";
const CRL: &str = "tls.client_crl";

/// How clients' certificates are verified.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// SHA-256 of everything that it decides by.
    pub(super) digest: [u8; 32],
}

impl Verifier {
    /// Reads and checks the files.
    pub(super) fn read(of: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Self, Unusable> {
        let mut digest = Sha256::new();
        let mut roots = RootCertStore::empty();
        for certificate in chain::certificates(CA, &of.ca)? {
            digest.update(&certificate);
            roots.add(certificate).map_err(|why| {
                let why = format!("holds a certificate that cannot be used: {}", why.to_string().to_lowercase());
                Unusable::new(CA, &of.ca, why, "give the authorities' own certificates")
            })?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let culprit = of.crl.as_ref().map_or((CA, &of.ca), |crl| (CRL, crl));
        if let Some(path) = &of.crl {
            let pem = files::read(CRL, path)?;
            let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
            let lists = read.map_err(|why| chain::not_pem(CRL, path, &why))?;
            if lists.is_empty() {
                let why = "holds no certificate revocation list";
                return Err(Unusable::new(CRL, path, why, "give a PEM file that does (X509 CRL)"));
            }
            digest.update([0]);
            lists.iter().for_each(|list| digest.update(list));
            builder = builder.with_crls(lists);
        }
        digest.update([u8::from(of.is_required)]);
        if !of.is_required {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|why| {
            let why = format!("cannot be used: {}", why.to_string().to_lowercase());
            Unusable::new(culprit.0, culprit.1, why, "give what the authority issued")
        })?;
        Ok(Self { verifier, digest: digest.finalize().into() })
    }
}
