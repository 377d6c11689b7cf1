//! The files of the admin listener's TLS: PEM, read whole; every error names the key and the file.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use crate::files;

/// Bytes of a file.
pub(super) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads the certificates of a file.
pub(super) fn chain(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain =
        chain.map_err(|e| TlsError::NotPem { key, path: path.to_owned(), cause: e.to_string().to_lowercase() })?;
    if chain.is_empty() {
        return Err(TlsError::Empty { key, path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

/// Reads the private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| {
        if matches!(e, rustls_pki_types::pem::Error::NoItemsFound) {
            return TlsError::Empty { key: "key", path: path.to_owned(), what: "private key" };
        }
        TlsError::NotPem { key: "key", path: path.to_owned(), cause: e.to_string().to_lowercase() }
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, FILE_BYTES_MAX).map_err(|cause| TlsError::Read { key, path: path.to_owned(), cause })
}
