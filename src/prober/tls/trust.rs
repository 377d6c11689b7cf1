//! The authorities that certificates are verified against: the system's, or a PEM file's.
//!
//! The system's are read once, when first asked for. A file is looked at again after [`LOOK_AGAIN`] and read anew where
//! it has changed, so an authority can be replaced without a reload. What could not be read is tried again after as
//! long. Files are small and local; they are read on the prober's thread.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;

use super::witness::{Names, Witness};
use crate::clock;
use crate::trust::{self, TrustError};

/// How long a file is taken as it was.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Files that are remembered.
const FILES_MAX: usize = 256;

/// Why there is nothing to verify against, for an operator.
type Unreadable = Arc<str>;
type Authorities = Result<Arc<WebPkiServerVerifier>, Unreadable>;

/// See the module's doc.
#[derive(Debug)]
pub(in crate::prober) struct Trust {
    pub(super) provider: Arc<CryptoProvider>,
    base: OnceLock<Result<ClientConfig, Unreadable>>,
    known: Mutex<BTreeMap<Option<Arc<Path>>, Known>>,
}

#[derive(Debug)]
struct Known {
    looked_at: Instant,
    /// What the file was when it was read.
    version: Option<(SystemTime, u64)>,
    authorities: Authorities,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            base: OnceLock::new(),
            known: Mutex::default(),
        }
    }
}

impl Trust {
    /// Returns what to verify against: this file's authorities, or the system's.
    pub(super) fn authorities(&self, file: Option<&Arc<Path>>) -> Authorities {
        let now = clock::monotonic();
        let key = file.cloned();
        // A panic while it was held cannot have left it half changed.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&key) {
            let is_settled = file.is_none() && known.authorities.is_ok();
            if is_settled || now.saturating_duration_since(known.looked_at) < LOOK_AGAIN {
                return known.authorities.clone();
            }
            known.looked_at = now;
            if known.authorities.is_ok() && file.is_some_and(|file| version(file) == known.version) {
                return known.authorities.clone();
            }
        }
        if known.len() >= FILES_MAX {
            known.clear();
        }
        let version = file.and_then(|file| version(file));
        let authorities = self.read(file.map(|file| &**file));
        known.insert(key, Known { looked_at: now, version, authorities: authorities.clone() });
        authorities
    }

    /// Returns a configuration that only lacks its verifier and its protocols. No session is kept: one that is resumed
    /// shows no certificate.
    pub(super) fn base(&self) -> Result<ClientConfig, Unreadable> {
        let build = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
            let builder =
                builder.with_safe_default_protocol_versions().map_err(|error| Arc::from(error.to_string()))?;
            let nobody = Arc::new(Witness::new(None, Names::Asked, &self.provider));
            let mut config = builder.dangerous().with_custom_certificate_verifier(nobody).with_no_client_auth();
            config.resumption = Resumption::disabled();
            Ok(config)
        };
        self.base.get_or_init(build).clone()
    }

    fn read(&self, file: Option<&Path>) -> Authorities {
        let roots = trust::roots(file).map_err(|error| {
            let or = if matches!(error, TrustError::NoneHere) { ", or set verify to off" } else { "" };
            format!("{error}{or}")
        })?;
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        builder.build().map_err(|error| Arc::from(format!("cannot use the authorities: {error}")))
    }
}

fn version(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
