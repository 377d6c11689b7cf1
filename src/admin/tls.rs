//! The admin listener's TLS: the operator's own files, or a certificate made at start whose fingerprint is printed.
//!
//! The crypto provider is named here and never taken from a process default, which another part might set.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::model::settings::AdminTls;

/// Why the admin listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds nothing of what it must hold.
    #[error("admin.tls.{key}: \"{path}\" holds no {what}; give a PEM file that does", path = path.display())]
    Empty {
        /// The config key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A file is no PEM.
    #[error("admin.tls.{key}: \"{path}\" is not PEM: {cause}", path = path.display())]
    NotPem {
        /// The config key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A certificate could not be made.
    #[error("admin.tls: cannot make a certificate: {0}")]
    Make(#[source] rcgen::Error),
    /// A file cannot be read.
    #[error("admin.tls.{key}: cannot read \"{path}\": {}; check the path and its permissions", cause.to_string().to_lowercase(), path = path.display())]
    Read {
        /// The config key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Certificate and key cannot be used together.
    #[error("admin.tls: certificate and key cannot be used: {}; give the key that the first certificate is of", .0.to_string().to_lowercase())]
    Unusable(#[source] rustls::Error),
}

/// TLS for the admin listener.
pub struct Tls {
    /// Performs handshakes.
    pub acceptor: TlsAcceptor,
    /// SHA-256 of a certificate made here, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: Option<String>,
    /// The certificate that clients see, DER.
    pub certificate: CertificateDer<'static>,
}

impl Tls {
    /// Returns the TLS of a listener at `ip`, or none where it is off.
    ///
    /// # Errors
    /// [`TlsError`] names the key and the file.
    pub fn load(settings: &AdminTls, ip: IpAddr) -> Result<Option<Self>, TlsError> {
        match settings {
            AdminTls::Off => Ok(None),
            AdminTls::Auto => {
                let (certificate, key) = made_for(ip)?;
                let fingerprint = Some(fingerprint(&certificate));
                Self::new(vec![certificate], key, fingerprint).map(Some)
            }
            AdminTls::Files { cert, key } => Self::new(read_chain(cert)?, read_key(key)?, None).map(Some),
        }
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        fingerprint: Option<String>,
    ) -> Result<Self, TlsError> {
        let certificate = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), fingerprint, certificate })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Returns the SHA-256 of a certificate: upper-case hexadecimal pairs joined by colons.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<_> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// Makes a certificate that is good for this machine's own names and for the address that is listened on.
fn made_for(ip: IpAddr) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !ip.is_loopback() && !ip.is_unspecified() {
        names.push(ip.to_string());
    }
    let mut params = CertificateParams::new(names).map_err(TlsError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "farmgate admin");
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = params.self_signed(&key).map_err(TlsError::Make)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read("cert", path)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| TlsError::NotPem {
        key: "cert",
        path: path.to_owned(),
        cause: e.to_string().to_lowercase(),
    })?;
    if chain.is_empty() {
        return Err(TlsError::Empty { key: "cert", path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| {
        if matches!(e, rustls_pki_types::pem::Error::NoItemsFound) {
            return TlsError::Empty { key: "key", path: path.to_owned(), what: "private key" };
        }
        TlsError::NotPem { key: "key", path: path.to_owned(), cause: e.to_string().to_lowercase() }
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Read { key, path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn files(cert: &str, key: &str) -> (tempfile::TempDir, AdminTls) {
        let dir = tempfile::tempdir().unwrap();
        let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert_path, cert).unwrap();
        std::fs::write(&key_path, key).unwrap();
        (dir, AdminTls::Files { cert: cert_path, key: key_path })
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn refused(cert: &str, key: &str) -> String {
        let (dir, settings) = files(cert, key);
        let error = Tls::load(&settings, LOCAL).unwrap_err().to_string();
        error.replace(dir.path().to_str().unwrap(), "DIR")
    }

    #[test]
    fn tls_of_files_names_the_file_that_is_wrong() {
        let ((cert, key), (_, other)) = (pair(), pair());
        let (_dir, good) = files(&cert, &key);
        assert!(Tls::load(&good, LOCAL).unwrap().unwrap().fingerprint.is_none());
        assert_eq!(
            refused("", &key),
            "admin.tls.cert: \"DIR/cert.pem\" holds no certificate; give a PEM file that does"
        );
        assert_eq!(
            refused(&cert, "x"),
            "admin.tls.key: \"DIR/key.pem\" holds no private key; give a PEM file that does"
        );
        assert!(refused(&cert, &other).starts_with("admin.tls: certificate and key cannot be used: "));
        let lost = AdminTls::Files { cert: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
        assert_eq!(
            Tls::load(&lost, LOCAL).unwrap_err().to_string(),
            "admin.tls.cert: cannot read \"/nowhere/cert.pem\": no such file or directory (os error 2); \
             check the path and its permissions"
        );
    }

    #[test]
    fn tls_auto_makes_a_new_certificate_and_prints_its_digest() {
        let one = Tls::load(&AdminTls::Auto, LOCAL).unwrap().unwrap();
        let two = Tls::load(&AdminTls::Auto, LOCAL).unwrap().unwrap();
        let print = one.fingerprint.unwrap();
        assert_eq!(print, fingerprint(&one.certificate));
        assert_eq!(print.len(), 32 * 3 - 1);
        assert_ne!(Some(print), two.fingerprint);
    }
}
