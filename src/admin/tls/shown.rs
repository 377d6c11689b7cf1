//! A certificate that a client of the admin side showed, and that an authority of `admin.tls.client_ca` vouches for.

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::model::settings::CertificateMatch;

/// See the module's doc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// The common name of its subject, if it has exactly one.
    pub common_name: Option<Box<str>>,
}

impl ShownCertificate {
    /// Returns what is known of it.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let parsed = X509Certificate::from_der(certificate).ok();
        let common_name = parsed.as_ref().and_then(|(_, leaf)| {
            let mut names = leaf.subject().iter_common_name();
            // Of two names nobody could tell which one is meant.
            let only = names.next().filter(|_| names.next().is_none())?;
            only.as_str().ok().filter(|name| !name.is_empty()).map(Into::into)
        });
        Self { sha256: Sha256::digest(certificate).into(), common_name }
    }

    /// Returns whether it is the one that a credential is for.
    #[must_use]
    pub fn is(&self, wanted: &CertificateMatch) -> bool {
        match wanted {
            CertificateMatch::CommonName(name) => self.common_name.as_ref() == Some(name),
            CertificateMatch::Sha256(digest) => self.sha256 == *digest,
        }
    }
}
