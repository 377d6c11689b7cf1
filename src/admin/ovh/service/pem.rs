//! Certificates as PEM: whether one that is brought can be served, and what it says. Reads the clock nowhere: whether it
//! has expired is for who looks at it.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::model::Timestamp;

/// Certificates in a chain.
const CHAIN_MAX: usize = 16;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) san: Vec<String>,
    /// SHA-256, in pairs of upper-case hexadecimal digits with colons between them.
    pub(super) fingerprint: String,
    /// In upper-case hexadecimal digits.
    pub(super) serial: String,
    pub(super) until: Timestamp,
}

/// Checks what is brought; returns the chain as one text, the certificate first.
///
/// # Errors
/// A sentence that begins with the field. It repeats nothing of the key.
pub(super) fn check(certificate: &str, key: &str, chain: Option<&str>) -> Result<String, String> {
    let mut certificates = certificates(certificate).map_err(|why| format!("certificate: {why}"))?;
    if certificates.is_empty() {
        return Err("certificate: holds no certificate; send it in PEM, from BEGIN CERTIFICATE on".to_owned());
    }
    let own = certificates.len();
    if let Some(chain) = chain.filter(|chain| !chain.trim().is_empty()) {
        let further = self::certificates(chain).map_err(|why| format!("chain: {why}"))?;
        if further.is_empty() {
            return Err("chain: holds no certificate; send those of the authorities in PEM, or null".to_owned());
        }
        certificates.extend(further);
    }
    if certificates.len() > CHAIN_MAX {
        return Err(format!("chain: {} certificates are more than {CHAIN_MAX}", certificates.len()));
    }
    let field = |position: usize| if position < own { "certificate" } else { "chain" };
    let mut issuers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (position, der) in certificates.iter().enumerate() {
        let parsed = X509Certificate::from_der(der);
        let (_, it) = parsed.map_err(|why| {
            format!("{}: certificate {} cannot be read: {why}; send X.509 v3", field(position), position + 1)
        })?;
        issuers.push((it.subject().as_raw().to_vec(), it.issuer().as_raw().to_vec()));
    }
    for (position, pair) in issuers.windows(2).enumerate() {
        if let [(_, issuer), (subject, _)] = pair
            && issuer != subject
        {
            let (next, field) = (position + 2, field(position + 1));
            return Err(format!(
                "{field}: certificate {next} did not issue certificate {}; send each behind the one that it issued",
                position + 1
            ));
        }
    }
    let joined = [Some(certificate), chain].into_iter().flatten().map(str::trim).filter(|text| !text.is_empty());
    let joined = joined.map(|text| format!("{text}\n")).collect();
    check_key(certificates, key)?;
    Ok(joined)
}

/// Checks the authorities that the certificate of a server is to come from.
///
/// # Errors
/// A sentence without the field.
pub(in crate::admin::ovh) fn check_authorities(text: &str) -> Result<(), String> {
    let certificates = certificates(text)?;
    if certificates.is_empty() {
        return Err("holds no certificate; send those of the authorities in PEM, or null".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (position, certificate) in certificates.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|why| format!("certificate {} cannot be used: {why}; send X.509 v3", position + 1))?;
    }
    Ok(())
}

/// Returns what the first certificate of a text says; nothing where there is none.
pub(super) fn facts(pem: &str) -> Option<Facts> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, it) = X509Certificate::from_der(&der).ok()?;
    let mut san = Vec::new();
    for extension in it.extensions() {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { continue };
        san.extend(names.general_names.iter().filter_map(name));
    }
    let seconds = u64::try_from(it.validity().not_after.timestamp()).unwrap_or(0);
    Some(Facts {
        subject: it.subject().to_string(),
        san,
        fingerprint: pairs(&Sha256::digest(&der)).join(":"),
        serial: pairs(it.raw_serial()).concat(),
        until: Timestamp(seconds.saturating_mul(1_000_000)),
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may come to know more of them")]
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let any = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            any.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn pairs(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    read.map_err(|why| format!("is not PEM: {why}; send the text of the file, line breaks and all"))
}

fn check_key(certificates: Vec<CertificateDer<'static>>, key: &str) -> Result<(), String> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
        return Err("key: holds no private key that can be read without a password; send it in PEM".to_owned());
    };
    let key = ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| {
        "key: cannot be used; send an RSA key of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519".to_owned()
    })?;
    match CertifiedKey::new(certificates, key).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("key: is not the key of certificate; send the two that belong together".to_owned())
        }
        Err(why) => Err(format!("certificate: cannot be used: {}", why.to_string().to_lowercase())),
    }
}

#[cfg(test)]
mod tests;
