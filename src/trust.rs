//! Whom to trust in TLS: the authorities of a PEM file, or else of this system, and verifiers that judge as they are
//! told.
//!
//! Everybody who connects to somebody else reads authorities here, each with a key `ca` of its own, which it puts before
//! what is said of a file. Nothing is kept: whoever wants a file that has changed reads it again. Blocks as long as the
//! disk does; what is read is bounded by [`FILE_BYTES_MAX`].

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

use crate::files;

mod verifier;

pub use verifier::{Shown, Verifier, verify_but_name};

/// Bytes of a file of authorities; those of a whole system are a quarter of a million.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there are no authorities to verify anybody against. For the operator; nothing is there to be used.
// The causes stand in the sentences, before what to do: a check's content is one sentence, and cut at its end.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is a file, and no certificate in it.
    #[error(
        "cannot use the authorities in {path:?}: it holds no certificate in PEM; give a PEM file with certificates"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No file was named, and this system has none.
    #[error("this system has no certificate authorities; install ca-certificates or name a PEM file as ca")]
    NoneHere,
    /// The file is no PEM.
    #[error("cannot use the authorities in {path:?}: it is no PEM: {cause}; give a PEM file with certificates")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: pem::Error,
    },
    /// The file cannot be read.
    #[error("cannot use the authorities in {path:?}: {}; check the path and who may read it", .cause.to_string().to_lowercase())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says, or [`files::read`].
        #[source]
        cause: io::Error,
    },
    /// A certificate in the file is none of an authority.
    #[error(
        "cannot use the authorities in {path:?}: certificate {number} cannot be used: {cause}; give certificates of authorities"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Which of its certificates, from 1.
        number: usize,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}

/// Returns the certificates of a file, in its order, or of this system; one at least. Nobody has looked into them.
///
/// # Errors
/// Any [`TrustError`] but [`TrustError::Unusable`].
pub fn certificates(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    match file {
        Some(path) => certificates_in(path),
        None => some(of_system()),
    }
}

/// Returns the authorities of a file, each of which must be usable, or those of this system that are; one at least.
///
/// # Errors
/// Any [`TrustError`].
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let Some(path) = file else { return usable(of_system()) };
    let mut roots = RootCertStore::empty();
    for (certificate, number) in certificates_in(path)?.into_iter().zip(1..) {
        let added = roots.add(certificate);
        added.map_err(|cause| TrustError::Unusable { path: path.to_owned(), number, cause })?;
    }
    Ok(roots)
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let path_of = || path.to_owned();
    let text = files::read(path, FILE_BYTES_MAX);
    let text = text.map_err(|cause| TrustError::Unreadable { path: path_of(), cause })?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|cause| TrustError::NotPem { path: path_of(), cause })?;
    if read.is_empty() { Err(TrustError::Empty { path: path_of() }) } else { Ok(read) }
}

/// Some of a system's authorities may be unreadable: the others count.
fn of_system() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

fn some(read: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    if read.is_empty() { Err(TrustError::NoneHere) } else { Ok(read) }
}

fn usable(read: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read);
    if roots.is_empty() { Err(TrustError::NoneHere) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DER that is no certificate.
    const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn authority() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap()
    }

    /// Returns how many are read from a file of this text, unseen and looked into, or what is said of the place DIR.
    fn read(text: impl AsRef<[u8]>) -> (Result<usize, String>, Result<usize, String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        let told = |error: TrustError| told(&error).replace(&dir.path().display().to_string(), "DIR");
        let unseen = certificates(Some(&path)).map(|read| read.len()).map_err(told);
        (unseen, roots(Some(&path)).map(|roots| roots.len()).map_err(told))
    }

    fn told(error: &TrustError) -> String {
        // With the causes, which stand in its words already.
        let told = crate::report::report(error).to_string();
        assert_eq!(told, error.to_string());
        told
    }

    #[test]
    fn file_gives_every_certificate_and_nothing_else_that_is_in_it() {
        let (one, other) = (authority(), authority());
        let text = format!("words\n{}{}{}", one.cert.pem(), one.signing_key.serialize_pem(), other.cert.pem());
        assert_eq!(read(text), (Ok(2), Ok(2)));
    }

    #[test]
    fn file_that_gives_nothing_is_told_with_its_place_and_what_to_do() {
        let not_pem = format!(
            "it is no PEM: missing section end marker: {:?}; give a PEM file with certificates",
            b"CERTIFICATE"
        );
        let empty = "it holds no certificate in PEM; give a PEM file with certificates";
        let long = "it is longer than 4194304 bytes; check the path and who may read it";
        let half = &NO_CERTIFICATE[..40];
        for (text, why) in [("", empty), ("ca", empty), (half, &*not_pem), (&" ".repeat(4_194_305), long)] {
            let told = Err(format!("cannot use the authorities in \"DIR/ca.pem\": {why}"));
            assert_eq!(read(text), (told.clone(), told));
        }
        let lost = told(&roots(Some(Path::new("/nonexistent/ca.pem"))).unwrap_err());
        let why = "no such file or directory (os error 2); check the path and who may read it";
        assert_eq!(lost, format!("cannot use the authorities in \"/nonexistent/ca.pem\": {why}"));
    }

    #[test]
    fn file_with_something_else_than_authorities_is_refused_where_they_are_looked_into() {
        let why =
            "certificate 2 cannot be used: invalid peer certificate: BadEncoding; give certificates of authorities";
        let told = format!("cannot use the authorities in \"DIR/ca.pem\": {why}");
        assert_eq!(read(authority().cert.pem() + NO_CERTIFICATE), (Ok(2), Err(told)));
    }

    #[test]
    fn system_counts_what_is_usable_and_without_any_says_what_to_install() {
        let junk = || CertificateDer::from(vec![0; 3]);
        assert_eq!(usable(vec![junk(), authority().cert.der().clone()]).unwrap().len(), 1);
        let want = "this system has no certificate authorities; install ca-certificates or name a PEM file as ca";
        assert_eq!(told(&usable(vec![junk()]).unwrap_err()), want);
        assert_eq!(told(&some(Vec::new()).unwrap_err()), want);
        assert_eq!(certificates(None).is_ok(), roots(None).is_ok());
    }
}
