//! A certificate chain with its key, checked: that the key is of the first certificate, what names it is for, until
//! when. What is odd but can be served is a warning, not a refusal.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::clock;
use crate::model::Timestamp;
use crate::model::tls::CertificateFiles;

use super::files::{self, Unusable};

/// The config keys of the two files.
pub(super) const CERT: &str = "tls.certificates.cert";
const KEY: &str = "tls.certificates.key";

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) certified: Arc<CertifiedKey>,
    /// The names that it is for, in lower case; wildcards as they are written.
    pub(super) names: Vec<Box<str>>,
    pub(super) algorithm: Algorithm,
    /// SHA-256 of the first certificate.
    pub(super) digest: [u8; 32],
    pub(super) until: Timestamp,
    /// What an operator should know of it.
    pub(super) warnings: Vec<String>,
    /// Its file, for where it has no name.
    source: Box<str>,
}

/// How a key signs; what we rather sign with comes first, since it costs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Ecdsa,
    Ed25519,
    Rsa,
}

impl Algorithm {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library may come to know more of them")]
    fn of(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::ECDSA => Self::Ecdsa,
            SignatureAlgorithm::ED25519 | SignatureAlgorithm::ED448 => Self::Ed25519,
            _ => Self::Rsa,
        }
    }
}

impl Chain {
    /// Reads and checks both files.
    pub(super) fn read(of: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, Unusable> {
        let certificates = certificates(CERT, &of.cert)?;
        let key = key(&of.key)?;
        Self::new(certificates, key, &of.cert, &of.key, provider)
    }

    fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        cert_path: &Path,
        key_path: &Path,
        provider: &CryptoProvider,
    ) -> Result<Self, Unusable> {
        let facts = Facts::of(&certificates).map_err(|why| {
            Unusable::new(CERT, cert_path, why, "give the certificates as the authority issued them, in PEM")
        })?;
        let key = provider.key_provider.load_private_key(key).map_err(|why| {
            let why = format!("holds a key that cannot be used: {}", why.to_string().to_lowercase());
            Unusable::new(KEY, key_path, why, "give an RSA key of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519")
        })?;
        let algorithm = Algorithm::of(key.algorithm());
        let digest = certificates.first().map(|leaf| Sha256::digest(leaf).into()).unwrap_or_default();
        let certified = CertifiedKey::new(certificates, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(mismatch(&certified, cert_path, key_path));
            }
            Err(why) => {
                let why = format!("cannot be used: {}", why.to_string().to_lowercase());
                return Err(Unusable::new(CERT, cert_path, why, "give an X.509 v3 certificate"));
            }
        }
        let Facts { names, until, warnings } = facts;
        let source = cert_path.display().to_string().into();
        Ok(Self { certified: Arc::new(certified), names, algorithm, digest, until, warnings, source })
    }

    /// Returns the first name that it is for; its file, where it is for none.
    pub(super) fn name(&self) -> Box<str> {
        self.names.first().unwrap_or(&self.source).clone()
    }
}

/// Reads every certificate of a file, of which there is one at least.
pub(super) fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let pem = files::read(key, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = read.map_err(|why| not_pem(key, path, &why))?;
    if certificates.is_empty() {
        return Err(Unusable::new(key, path, "holds no certificate", "give a PEM file that does"));
    }
    Ok(certificates)
}

pub(super) fn not_pem(key: &'static str, path: &Path, why: &PemError) -> Unusable {
    let why = format!("is not PEM: {}", why.to_string().to_lowercase());
    Unusable::new(key, path, why, "give a PEM file, and the whole of it")
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let pem = files::read(KEY, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|why| {
        if matches!(why, PemError::NoItemsFound) {
            let remedy = "give a PEM file that does; an encrypted key must be decrypted first";
            return Unusable::new(KEY, path, "holds no private key", remedy);
        }
        not_pem(KEY, path, &why)
    })
}

/// The key is of another certificate: perhaps of one further down in the file.
fn mismatch(certified: &CertifiedKey, cert_path: &Path, key_path: &Path) -> Unusable {
    let is_of = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match().is_ok()
    };
    let cert_path_shown = cert_path.display();
    match certified.cert.iter().position(is_of) {
        Some(position) => {
            let why = format!("begins with another certificate than the key's, which is number {}", position + 1);
            Unusable::new(CERT, cert_path, why, "put the key's certificate first, then those that vouch for it")
        }
        None => {
            let why = format!("is not the key of the certificate in \"{cert_path_shown}\"");
            Unusable::new(KEY, key_path, why, "give the key that the certificate was made with")
        }
    }
}

/// What is read from the certificates themselves.
struct Facts {
    names: Vec<Box<str>>,
    until: Timestamp,
    warnings: Vec<String>,
}

impl Facts {
    fn of(certificates: &[CertificateDer<'_>]) -> Result<Self, String> {
        let parse = |(position, der): (usize, &CertificateDer<'_>)| match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Ok(certificate.tbs_certificate.subject.as_raw().to_vec()),
            Err(why) => Err(format!("holds a certificate that cannot be read, number {}: {why}", position + 1)),
        };
        certificates.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        let parsed: Vec<_> = certificates.iter().filter_map(|der| X509Certificate::from_der(der).ok()).collect();
        let Some((_, leaf)) = parsed.first() else { return Err("holds no certificate".to_owned()) };
        let mut warnings = Vec::new();
        for (position, pair) in parsed.windows(2).enumerate() {
            if let [(_, one), (_, next)] = pair
                && one.issuer().as_raw() != next.subject().as_raw()
            {
                warnings.push(format!("certificate {} did not issue certificate {}", position + 2, position + 1));
            }
        }
        let names = names_of(leaf);
        if names.is_empty() {
            warnings.push("the certificate is for no name (subjectAltName): clients will not accept it".to_owned());
        }
        let (since, until) =
            (timestamp(leaf.validity().not_before.timestamp()), timestamp(leaf.validity().not_after.timestamp()));
        let now = clock::wall();
        if until < now {
            warnings.push(format!("the certificate expired at {until}"));
        }
        if since > now {
            warnings.push(format!("the certificate is not valid before {since}"));
        }
        Ok(Self { names, until, warnings })
    }
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut names = Vec::new();
    for extension in leaf.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else { continue };
        for name in &alternatives.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.trim_end_matches('.').to_ascii_lowercase().into());
            }
        }
    }
    names
}

fn timestamp(unix_seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(unix_seconds).unwrap_or(0).saturating_mul(1_000_000))
}
