//! What is encrypted, and with which files: towards clients and towards servers.
//!
//! Files are named here and read elsewhere: a certificate that is renewed is another one under the same name.

use std::path::Path;
use std::sync::Arc;

use super::probe::Verify;

/// How a frontend's clients are spoken to in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendTls {
    /// The certificates, chosen among by the name that the client asks for; the first also serves clients that name
    /// none, or one that no certificate has.
    pub certificates: Box<[CertificateFiles]>,
    /// Names for which a certificate is obtained by ACME; at least one name or certificate there is.
    pub acme: Box<[Box<str>]>,
    /// Which versions and cipher suites.
    pub profile: TlsProfile,
    /// The protocols that are agreed to, the most wanted first; HTTP only.
    pub alpn: Box<[Alpn]>,
    /// Whether clients show a certificate.
    pub client_auth: Option<ClientAuth>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub cert: Arc<Path>,
    /// The private key.
    pub key: Arc<Path>,
}

/// Versions and cipher suites; the words are OVHcloud's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3.
    #[default]
    Intermediate,
    /// TLS 1.3 only.
    Modern,
}

impl TlsProfile {
    /// Returns the word of the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intermediate => "intermediate",
            Self::Modern => "modern",
        }
    }
}

/// A protocol that a handshake agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Alpn {
    /// Returns the protocol's registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http1 => "http/1.1",
        }
    }
}

/// How clients are asked for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that sign them, PEM.
    pub ca: Arc<Path>,
    /// What these have revoked, PEM.
    pub crl: Option<Arc<Path>>,
    /// Whether a client without one is refused.
    pub is_required: bool,
}

/// How a server is spoken to in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The authorities that its certificate must come from, PEM; this host's where absent.
    pub ca: Option<Arc<Path>>,
    /// The name that is asked for and that its certificate must have; the server's declared host where absent.
    pub sni: Option<Box<str>>,
    /// Whether its certificate is verified.
    pub verify: Verify,
    /// The certificate that is shown to it.
    pub identity: Option<CertificateFiles>,
}
