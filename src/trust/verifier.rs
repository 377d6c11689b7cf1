//! One verifier of servers' certificates, told how to judge them. Whoever shows a certificate must hold its key:
//! signatures are always verified, by the provider's algorithms.

use std::fmt;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// What a server shows, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its own certificate.
    pub certificate: &'a CertificateDer<'a>,
    /// Those that come with it.
    pub intermediates: &'a [CertificateDer<'a>],
    /// Who was asked for.
    pub name: &'a ServerName<'a>,
    /// An OCSP answer; empty if there is none.
    pub ocsp: &'a [u8],
    /// When.
    pub now: UnixTime,
}

/// Verifies that `authorities` vouch for what is shown; that it is for another name is forgiven, and nothing else.
///
/// # Errors
/// What else is wrong.
pub fn verify_but_name(authorities: &WebPkiServerVerifier, shown: &Shown<'_>) -> Result<(), Error> {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    let Shown { certificate, intermediates, name, ocsp, now } = *shown;
    // The name comes last: whatever else is wrong has been told by then.
    match authorities.verify_server_cert(certificate, intermediates, name, ocsp, now) {
        Ok(_) | Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the certificates that `judge` does not refuse.
pub struct Verifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

impl<J> Verifier<J>
where
    J: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync,
{
    /// Returns one that verifies every kind of signature that the provider can.
    pub fn new(provider: &CryptoProvider, judge: J) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { judge, algorithms, schemes: algorithms.supported_schemes() }
    }

    /// Returns one that asks servers for these kinds of signatures alone.
    #[must_use]
    pub fn asking_for(self, schemes: &[SignatureScheme]) -> Self {
        Self { schemes: schemes.to_vec(), ..self }
    }
}

impl<J> fmt::Debug for Verifier<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("schemes", &self.schemes).finish_non_exhaustive()
    }
}

impl<J> ServerCertVerifier for Verifier<J>
where
    J: Fn(&Shown<'_>) -> Result<(), Error> + Send + Sync,
{
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.judge)(&Shown { certificate, intermediates, name, ocsp, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests;
