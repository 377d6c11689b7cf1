//! A certificate that was made here: for this process alone, or kept in `state_dir`, so that its fingerprint stays.
//!
//! One file, 0600, written whole under another name and renamed. One that cannot be used, or is for another address than
//! the one that is listened on, is replaced.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{Certificate, CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::read::FILE_BYTES_MAX;
use super::{Pair, TlsError};
use crate::files;

/// The file in `state_dir`: the certificate, then its key.
pub(super) const FILE_NAME: &str = "admin-tls.pem";

/// Returns the pair that is kept, or makes one and keeps it.
pub(super) fn pair(state_dir: &Path, ip: IpAddr) -> Result<Pair, TlsError> {
    let path = state_dir.join(FILE_NAME);
    match files::read(&path, FILE_BYTES_MAX) {
        Ok(pem) => match of_pem(&pem).filter(|(chain, _)| chain.first().is_some_and(|it| is_for(it, ip))) {
            Some(kept) => return Ok(kept),
            None => {
                tracing::warn!(path = %path.display(), "certificate of the admin side is of no use: another is made")
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(TlsError::Keep { path, cause }),
    }
    let (certificate, key) = make(ip)?;
    keep(state_dir, &path, &(certificate.pem() + &key.serialize_pem()))
        .map_err(|cause| TlsError::Keep { path, cause })?;
    Ok(der(&certificate, &key))
}

/// Makes one that is kept nowhere.
pub(super) fn made_for(ip: IpAddr) -> Result<Pair, TlsError> {
    make(ip).map(|(certificate, key)| der(&certificate, &key))
}

/// Makes a certificate that is good for this machine's own names and for the address that is listened on.
fn make(ip: IpAddr) -> Result<(Certificate, KeyPair), TlsError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if is_named(ip) {
        names.push(ip.to_string());
    }
    let mut params = CertificateParams::new(names).map_err(TlsError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "farmgate admin");
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    Ok((params.self_signed(&key).map_err(TlsError::Make)?, key))
}

fn der(certificate: &Certificate, key: &KeyPair) -> Pair {
    (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// Whether a certificate has to name the address: others than these it always does.
fn is_named(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified()
}

fn is_for(certificate: &CertificateDer<'_>, ip: IpAddr) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let has = |name: &GeneralName<'_>| matches!(name, GeneralName::IPAddress(own) if *own == octets);
    !is_named(ip) || names.is_some_and(|names| names.value.general_names.iter().any(has))
}

fn of_pem(pem: &[u8]) -> Option<Pair> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
    // The key must be that of the certificate: a pair that is not whole is of no use.
    super::config(chain.clone(), key.clone_key(), None).ok()?;
    Some((chain, key))
}

fn keep(state_dir: &Path, path: &Path, pem: &str) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
