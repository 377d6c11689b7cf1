//! What shows that a name is ours: a text under a path (RFC 8555, section 8.3), or a certificate that nobody signed with
//! the challenge's digest in it (RFC 8737).

use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// See the module's doc.
#[derive(Debug)]
pub enum Proof {
    /// Who asks for `/.well-known/acme-challenge/TOKEN` is given the text.
    Http {
        /// The end of the path.
        token: Box<str>,
        /// The text.
        text: Box<str>,
    },
    /// Who shakes hands for the name and speaks `acme-tls/1` alone is shown the certificate.
    Tls {
        /// The name.
        name: Box<str>,
        /// The certificate.
        certificate: CertificateDer<'static>,
        /// Its key.
        key: PrivateKeyDer<'static>,
    },
}

impl Proof {
    pub(super) fn http(token: &str, authorization: &KeyAuthorization) -> Self {
        Self::Http { token: token.into(), text: authorization.as_str().into() }
    }

    pub(super) fn tls(name: &str, authorization: &KeyAuthorization) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(authorization.digest().as_ref())];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self::Tls { name: name.into(), certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }
}
