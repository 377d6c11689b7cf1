//! The admin listener's TLS: the operator's own files, or a certificate made at the first start and kept, whose
//! fingerprint is printed; and whose certificates clients may show.
//!
//! What is in force can be replaced while the listener runs: by a reload, and when the files change. What cannot be used
//! leaves the former in force. Connections know when they were made under something else. The crypto provider is named
//! here and never taken from a process default, which another part might set.

mod kept;
mod read;
mod shown;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::files;
use crate::model::AdminSettings;
use crate::model::settings::AdminTls;
use crate::model::tls::ClientAuth;
use crate::report::report;

pub use shown::ShownCertificate;

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
    /// The authorities of clients cannot be used.
    #[error("admin.tls.client_ca: \"{path}\" cannot be used: {why}; give the authorities' own certificates", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate that was made cannot be kept.
    #[error("admin.tls: cannot keep the certificate in \"{path}\": {}; check state_dir and its permissions", cause.to_string().to_lowercase(), path = path.display())]
    Keep {
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

/// TLS of the admin listener; see the module's doc.
pub struct Tls {
    ip: IpAddr,
    wanted: Mutex<Wanted>,
    live: ArcSwap<Live>,
    changed: watch::Sender<u64>,
}

/// What the config asks for, and the files that were refused last.
struct Wanted {
    tls: AdminTls,
    clients: Option<ClientAuth>,
    state_dir: Option<PathBuf>,
    refused: Option<[u8; 32]>,
}

/// What is in force.
pub(super) struct Live {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    made: Option<Made>,
    /// SHA-256 of everything that was read.
    digest: [u8; 32],
}

/// A certificate that was made here.
struct Made {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Made {
    fn pair(&self) -> Pair {
        (vec![self.certificate.clone()], self.key.clone_key())
    }
}

/// A chain and the key of its first certificate.
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What was read and can be used, to be put in force.
pub struct Renewed {
    wanted: Wanted,
    live: Live,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl Tls {
    /// Returns the TLS of a listener at `ip`, or none where it is off. A certificate that has to be made is made for
    /// this process alone, unless [`Self::keep_in`] follows.
    ///
    /// # Errors
    /// [`TlsError`] names the key and the file.
    pub fn load(settings: &AdminSettings, ip: IpAddr) -> Result<Option<Self>, TlsError> {
        if settings.tls == AdminTls::Off {
            return Ok(None);
        }
        let wanted = Wanted::of(settings, None);
        let live = wanted.read(ip, None)?;
        let (wanted, changed) = (Mutex::new(wanted), watch::Sender::new(0));
        Ok(Some(Self { ip, wanted, live: ArcSwap::from_pointee(live), changed }))
    }

    /// Shows the certificate that is kept in `state_dir` rather than one that was made now; keeps it there if there is
    /// none, or none for this address.
    ///
    /// # Errors
    /// [`TlsError::Keep`].
    pub fn keep_in(&self, state_dir: &Path) -> Result<(), TlsError> {
        let mut wanted = self.lock();
        wanted.state_dir = Some(state_dir.to_owned());
        if wanted.tls == AdminTls::Auto {
            self.live.store(Arc::new(wanted.read(self.ip, None)?));
        }
        Ok(())
    }

    /// Reads what other settings ask for.
    ///
    /// # Errors
    /// [`TlsError`]; what is in force stays.
    pub fn renewed(&self, settings: &AdminSettings) -> Result<Renewed, TlsError> {
        let wanted = Wanted::of(settings, self.lock().state_dir.clone());
        let live = wanted.read(self.ip, Some(&self.live.load()))?;
        Ok(Renewed { wanted, live })
    }

    /// Puts in force what was read.
    pub fn put(&self, renewed: Renewed) {
        let mut wanted = self.lock();
        *wanted = renewed.wanted;
        self.replace(renewed.live);
    }

    /// Looks whether the files changed, and puts what they hold now in force. What cannot be used is said once.
    pub(super) fn look_again(&self) {
        let mut wanted = self.lock();
        let live = self.live.load();
        let digest = wanted.digest();
        if digest == Some(live.digest) || digest == wanted.refused || digest.is_none() {
            return;
        }
        match wanted.read(self.ip, Some(&live)) {
            Ok(read) => {
                wanted.refused = None;
                self.replace(read);
                tracing::info!("changed files of admin.tls are in use");
            }
            Err(error) => {
                wanted.refused = digest;
                tracing::error!(error = %report(&error), "changed files of admin.tls cannot be used: the former still are");
            }
        }
    }

    fn replace(&self, live: Live) {
        if live.digest != self.live.load().digest {
            self.live.store(Arc::new(live));
            self.changed.send_modify(|generation| *generation += 1);
        }
    }

    /// Returns what performs the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.live.load().config))
    }

    /// Returns what tells a connection that something else is in force.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns the SHA-256 of a certificate made here, as `openssl x509 -fingerprint -sha256` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        let live = self.live.load();
        live.made.as_ref().map(|made| fingerprint(&made.certificate))
    }

    /// Returns the certificate that clients see, DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        self.live.load().certificate.to_vec()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Wanted {
    fn of(settings: &AdminSettings, state_dir: Option<PathBuf>) -> Self {
        let AdminSettings { tls, clients, .. } = settings;
        Self { tls: tls.clone(), clients: clients.clone(), state_dir, refused: None }
    }

    /// Returns the SHA-256 of the files as they are; none where one cannot be read, as while it is replaced.
    fn digest(&self) -> Option<[u8; 32]> {
        let files: Vec<&Path> = match &self.tls {
            AdminTls::Files { cert, key } => vec![cert, key],
            AdminTls::Auto | AdminTls::Off => Vec::new(),
        };
        let mut digest = Sha256::new();
        for file in files.into_iter().chain(self.clients.iter().map(|clients| &*clients.ca)) {
            digest.update(Sha256::digest(files::read(file, read::FILE_BYTES_MAX).ok()?));
        }
        digest.update([u8::from(self.clients.as_ref().is_some_and(|clients| clients.is_required))]);
        Some(digest.finalize().into())
    }

    /// Reads the files, or the certificate that is kept. One that is kept nowhere stays as it is in `before`.
    fn read(&self, ip: IpAddr, before: Option<&Live>) -> Result<Live, TlsError> {
        let digest = self.digest().unwrap_or_default();
        let (chain, key) = match &self.tls {
            AdminTls::Files { cert, key } => (read::chain("cert", cert)?, read::key(key)?),
            AdminTls::Auto | AdminTls::Off => match (&self.state_dir, before.and_then(|live| live.made.as_ref())) {
                (None, Some(made)) => made.pair(),
                (None, None) => kept::made_for(ip)?,
                (Some(dir), _) => kept::pair(dir, ip)?,
            },
        };
        let certificate = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let is_made = !matches!(self.tls, AdminTls::Files { .. });
        let made = is_made.then(|| Made { certificate: certificate.clone(), key: key.clone_key() });
        let config = Arc::new(config(chain, key, self.clients.as_ref())?);
        Ok(Live { config, certificate, made, digest })
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<&ClientAuth>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let unusable = |why: String| TlsError::Authorities { path: clients.ca.to_path_buf(), why };
            let mut roots = RootCertStore::empty();
            for certificate in read::chain("client_ca", &clients.ca)? {
                roots.add(certificate).map_err(|why| unusable(why.to_string().to_lowercase()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if clients.is_required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|why| unusable(why.to_string().to_lowercase()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns the SHA-256 of a certificate: upper-case hexadecimal pairs joined by colons.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<_> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests;
