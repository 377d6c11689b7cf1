//! Verifies a server's certificate, or lets any pass, and remembers its digest either way.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::trust::{Shown, verify_but_name};

/// Of one handshake.
#[derive(Debug)]
pub(super) struct Witness {
    /// Nothing: any certificate will do, and so will any signature by it.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    names: Names,
    schemes: Vec<SignatureScheme>,
    digest: OnceLock<[u8; 32]>,
}

/// For which names a verified certificate may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Whatever names.
    Any,
    /// The one that was asked for.
    Asked,
}

impl Witness {
    pub(super) fn new(authorities: Option<Arc<WebPkiServerVerifier>>, names: Names, provider: &CryptoProvider) -> Self {
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        Self { authorities, names, schemes, digest: OnceLock::new() }
    }

    /// Returns the SHA-256 of the certificate that was shown, if one was.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.digest.get().copied()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.digest.get_or_init(|| Sha256::digest(certificate).into());
        let Some(known) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match self.names {
            Names::Any => verify_but_name(known, &Shown { certificate, intermediates, name, ocsp, now })
                .map(|()| ServerCertVerified::assertion()),
            Names::Asked => known.verify_server_cert(certificate, intermediates, name, ocsp, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.authorities {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(known) => known.verify_tls12_signature(message, cert, dss),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.authorities {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(known) => known.verify_tls13_signature(message, cert, dss),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
