//! Certificates made through an API, as they are on the wire. A key goes in and never comes out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OriginWire;

/// The body that makes or replaces a certificate.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateOrder {
    /// Its name; only where it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The certificate and those that vouch for it, in PEM.
    pub cert: String,
    /// Its private key, in PEM.
    pub key: String,
}

/// The answer of `/certificates`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CertificateList {
    /// How many there are that the filters let through, on whatever page.
    pub total: usize,
    /// By id.
    pub certificates: Vec<CertificateWire>,
}

/// A certificate. Its key is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct CertificateWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who declared it.
    pub origin: OriginWire,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// Whose it is, as X.509 writes it.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
    /// When it begins to be valid.
    pub not_before: String,
    /// When it ends to be.
    pub not_after: String,
    /// Whether it is past its end.
    pub expired: bool,
    /// How many certificates the chain has.
    pub chain: usize,
    /// The files under which a frontend names it, as `tls.certificates`; null where nothing is kept on disk.
    pub files: Option<CertificateFilesWire>,
    /// The frontends that show it, by name, staged ones too.
    pub used_by: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was last replaced.
    pub updated_at: String,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct CertificateFilesWire {
    /// The chain.
    pub cert: String,
    /// The key, which only the process can read.
    pub key: String,
}
