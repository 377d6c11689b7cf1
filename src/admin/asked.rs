//! Credentials that applications ask for: asked for through the OVHcloud shape, granted, refused and revoked through
//! the native one.
//!
//! The secret half of a credential, its consumer key, is kept nowhere: it is made of the number, the nonce and the
//! application's secret, which is in the config. So a journal alone opens nothing, and a new application secret ends
//! what was granted under the old one. The number is part of the key: finding one takes one look-up and one comparison
//! in constant time. Everything decided is kept before it counts; when one was last used is kept once a minute. Writers
//! wait for the disk, one after the other, and not while they hold what is looked up in: on a thread that may block.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::model::Timestamp;
use crate::model::credential::{AskedCredential, AskedState, Verdict};
use crate::model::settings::OvhApplication;
use crate::store::JournalError;

use super::secret;

/// Credentials that wait for an operator, at the most: whoever knows an application's public key may ask.
pub const PENDING_MAX: usize = 64;
/// Those of them that one source asked for.
const PENDING_OF_SOURCE_MAX: usize = 8;
/// Credentials that are kept, at the most.
pub const KEPT_MAX: usize = 1024;
/// How often it is kept when one was last used.
const USE_KEPT_EVERY: Duration = Duration::from_secs(60);
/// Digits of the number in a consumer key, and of its secret: 96 bits.
const NUMBER_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 24;

/// Where credentials outlive the process.
pub trait Keep: Send + Sync {
    /// Returns all.
    ///
    /// # Errors
    /// If they cannot be read.
    fn all(&self) -> Result<Vec<AskedCredential>, JournalError>;

    /// Keeps a new one and returns its number.
    ///
    /// # Errors
    /// If it is not kept.
    fn add(&self, credential: &AskedCredential) -> Result<u64, JournalError>;

    /// Keeps what has changed of one.
    ///
    /// # Errors
    /// If it is not kept.
    fn put(&self, credential: &AskedCredential) -> Result<(), JournalError>;

    /// Forgets one.
    ///
    /// # Errors
    /// If it is still kept.
    fn forget(&self, id: u64) -> Result<(), JournalError>;
}

/// Keeps nothing.
struct Nowhere;

impl Nowhere {
    fn refuse<T>() -> Result<T, JournalError> {
        Err(JournalError { what: "keep a credential", cause: "there is no journal".into() })
    }
}

impl Keep for Nowhere {
    fn all(&self) -> Result<Vec<AskedCredential>, JournalError> {
        Ok(Vec::new())
    }

    fn add(&self, _credential: &AskedCredential) -> Result<u64, JournalError> {
        Self::refuse()
    }

    fn put(&self, _credential: &AskedCredential) -> Result<(), JournalError> {
        Self::refuse()
    }

    fn forget(&self, _id: u64) -> Result<(), JournalError> {
        Self::refuse()
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing was kept.
    #[error("cannot keep it")]
    Journal(#[from] JournalError),
    /// So many wait, or are kept, that there is no room.
    #[error("{0}")]
    NoRoom(String),
    /// It does not wait for an operator any more.
    #[error("credential {id} is {} and not pending; ask for a new one", .state.as_str())]
    NotPending {
        /// Its number.
        id: u64,
        /// What it is.
        state: AskedState,
    },
    /// There is none of that number.
    #[error("credential \"{0}\" does not exist; see `farmgate credentials`")]
    Unknown(u64),
}

/// See the module's doc.
pub struct Asked {
    kept: Mutex<BTreeMap<u64, Arc<AskedCredential>>>,
    /// Held by whoever changes what is kept, from before it is worked out until it counts; taken before `kept`.
    writing: Mutex<()>,
    keep: Box<dyn Keep>,
    /// Where those that wait were asked for from, as far as this process saw it.
    sources: Mutex<BTreeMap<u64, IpAddr>>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").finish_non_exhaustive()
    }
}

impl Asked {
    /// Returns those that an earlier process left.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn load(keep: Box<dyn Keep>) -> Result<Self, JournalError> {
        let kept = keep.all()?.into_iter().map(|credential| (credential.id, Arc::new(credential))).collect();
        let sources = Mutex::default();
        Ok(Self { kept: Mutex::new(kept), writing: Mutex::default(), keep, sources })
    }

    /// Returns one that has no place to keep any, so that none can be asked for.
    #[must_use]
    pub fn nowhere() -> Self {
        let keep = Box::new(Nowhere);
        Self { kept: Mutex::default(), writing: Mutex::default(), keep, sources: Mutex::default() }
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<u64, IpAddr>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many that were asked for from there wait.
    fn waiting_of(&self, source: IpAddr) -> usize {
        let (kept, mut sources) = (self.lock(), self.sources());
        sources.retain(|id, _| kept.get(id).is_some_and(|c| c.verdict.is_none()));
        sources.values().filter(|from| **from == source).count()
    }

    /// Notes that a credential is asked for, and from where. Returns its number and its consumer key, which nobody learns
    /// again. What nobody granted in time makes room, and where all is full so does what was refused or is over.
    ///
    /// # Errors
    /// [`AskError::NoRoom`] or [`AskError::Journal`].
    pub fn ask(
        &self,
        application: &OvhApplication,
        mut credential: AskedCredential,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(u64, String), AskError> {
        let _writing = self.write();
        let is_over = |c: &Arc<AskedCredential>| c.verdict.is_none() && c.state(now) != AskedState::PendingValidation;
        let over: Vec<u64> = self.lock().values().filter(|c| is_over(c)).map(|c| c.id).collect();
        for id in over {
            self.keep.forget(id)?;
            self.lock().remove(&id);
        }
        let (pending, all) = {
            let kept = self.lock();
            (kept.values().filter(|c| c.verdict.is_none()).count(), kept.len())
        };
        if pending >= PENDING_MAX {
            return Err(AskError::NoRoom(format!(
                "{pending} credentials wait for an operator; grant or refuse some with `farmgate credentials`"
            )));
        }
        if self.waiting_of(source) >= PENDING_OF_SOURCE_MAX {
            return Err(AskError::NoRoom(format!(
                "{PENDING_OF_SOURCE_MAX} credentials asked for from {source} wait for an operator; grant or refuse some \
                 with `farmgate credentials`"
            )));
        }
        let is_ended = |c: &&Arc<AskedCredential>| matches!(c.state(now), AskedState::Expired | AskedState::Refused);
        let ended = self.lock().values().find(is_ended).map(|c| c.id).filter(|_| all >= KEPT_MAX);
        if let Some(id) = ended {
            self.keep.forget(id)?;
            self.lock().remove(&id);
        } else if all >= KEPT_MAX {
            return Err(AskError::NoRoom(format!(
                "{KEPT_MAX} credentials are kept; revoke some with `farmgate credentials`"
            )));
        }
        credential.id = self.keep.add(&credential)?;
        let (id, key) = (credential.id, consumer_key(application.secret.reveal(), &credential));
        self.lock().insert(id, Arc::new(credential));
        self.sources().insert(id, source);
        Ok((id, key))
    }

    /// Returns the credential of that consumer key, whatever its state.
    pub fn find(&self, application: &OvhApplication, key: &str) -> Option<Arc<AskedCredential>> {
        let id = u64::from_str_radix(key.get(..NUMBER_DIGITS)?, 16).ok()?;
        let found = self.lock().get(&id).map(Arc::clone)?;
        let is_its = *found.application_key == *application.key
            && secret::is_same(&consumer_key(application.secret.reveal(), &found), key);
        is_its.then_some(found)
    }

    /// Returns all, the oldest first.
    pub fn all(&self) -> Vec<Arc<AskedCredential>> {
        self.lock().values().cloned().collect()
    }

    /// Has an operator's verdict on one that waits for it.
    ///
    /// # Errors
    /// [`AskError`]; nothing was changed.
    pub fn decide(&self, id: u64, verdict: Verdict) -> Result<Arc<AskedCredential>, AskError> {
        let _writing = self.write();
        let credential = self.known(id).ok_or(AskError::Unknown(id))?;
        let state = credential.state(verdict.act.at);
        if state != AskedState::PendingValidation {
            return Err(AskError::NotPending { id, state });
        }
        let decided = Arc::new(AskedCredential { verdict: Some(verdict), ..(*credential).clone() });
        self.keep.put(&decided)?;
        self.lock().insert(id, Arc::clone(&decided));
        Ok(decided)
    }

    /// Ends one, whatever its state.
    ///
    /// # Errors
    /// [`AskError`]; nothing was changed.
    pub fn revoke(&self, id: u64) -> Result<Arc<AskedCredential>, AskError> {
        let _writing = self.write();
        self.known(id).ok_or(AskError::Unknown(id))?;
        self.keep.forget(id)?;
        self.lock().remove(&id).ok_or(AskError::Unknown(id))
    }

    /// Returns whether it is time to note that one was used.
    pub fn is_use_due(&self, id: u64, now: Timestamp) -> bool {
        self.known(id).is_some_and(|known| known.last_use.is_none_or(|last| now >= last + USE_KEPT_EVERY))
    }

    /// Notes that one was used, where it is time to. That it cannot be kept is no reason to refuse the call.
    pub fn used(&self, id: u64, now: Timestamp) {
        let _writing = self.write();
        let Some(credential) = self.known(id).filter(|_| self.is_use_due(id, now)) else { return };
        let used = Arc::new(AskedCredential { last_use: Some(now), ..(*credential).clone() });
        // At once: calls that come meanwhile have nothing to keep.
        self.lock().insert(id, Arc::clone(&used));
        if let Err(error) = self.keep.put(&used) {
            tracing::warn!(credential = id, error = %crate::report::report(&error), "last use of a credential not kept");
        }
    }

    fn known(&self, id: u64) -> Option<Arc<AskedCredential>> {
        self.lock().get(&id).map(Arc::clone)
    }

    fn write(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<AskedCredential>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number in hexadecimal digits, and as many of the keyed hash of number and nonce.
fn consumer_key(application_secret: &str, credential: &AskedCredential) -> String {
    // HMAC takes keys of any length; nothing is the same as an empty consumer key.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(application_secret.as_bytes()) else { return String::new() };
    mac.update(b"farmgate consumer key");
    mac.update(&credential.id.to_be_bytes());
    mac.update(&credential.nonce);
    let hash = hex::encode(mac.finalize().into_bytes());
    format!("{:0NUMBER_DIGITS$x}{}", credential.id, &hash[..SECRET_DIGITS])
}

#[cfg(test)]
pub(crate) mod tests;
