//! What the Store needs of the outside, as traits: sockets that listen and a journal that outlives the process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{Field, Frontend, Name, Override, ServerKey};

/// Opens and closes the sockets of frontends; implemented by the proxy.
pub trait ListenerHost: Send + Sync {
    /// Binds what `frontends` need beyond what is open, without accepting yet. Dropping the result undoes it.
    ///
    /// # Errors
    /// One [`ListenError`] for each address that cannot be bound.
    fn prepare(&self, frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<ListenError>>;
}

/// Sockets bound by [`ListenerHost::prepare`].
pub trait PreparedListeners {
    /// Accepts on the new sockets and stops accepting on those that no frontend wants any more.
    fn commit(self: Box<Self>);
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("frontend \"{frontend}\": cannot listen on {address}: {}; {}", reason(cause), remedy(cause))]
pub struct ListenError {
    /// The frontend that wants it.
    pub frontend: Name,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

/// Returns why an address cannot be listened on, in plain words.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more kinds of errors than we have remedies")]
pub fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => cause.to_string().to_lowercase(),
    }
}

/// Returns what to do about it.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more kinds of errors than we have remedies")]
pub fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "stop the process that listens there (`ss -ltnp` names it) or choose another port",
        io::ErrorKind::AddrNotAvailable => "use 0.0.0.0, [::] or an address that `ip address` lists",
        io::ErrorKind::PermissionDenied => "run with CAP_NET_BIND_SERVICE or choose a port above 1023",
        _ => "check the address",
    }
}

/// An override and the server that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOverride {
    /// The server.
    pub server: ServerKey,
    /// The override.
    pub made: Override,
}

/// Keeps what outlives the process. Every write is durable when it returns.
pub trait Journal: Send + Sync {
    /// Returns every saved override.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError>;

    /// Saves an override in place of the one of the same server and field, if any.
    ///
    /// # Errors
    /// [`JournalError`] if it is not kept.
    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError>;

    /// Forgets the overrides of these fields, together or not at all. Unknown ones are no error.
    ///
    /// # Errors
    /// [`JournalError`] if nothing was forgotten.
    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError>;
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("journal: {what}: {cause}; check the space and the permissions of state_dir")]
pub struct JournalError {
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// The journal of a process without `state_dir`: keeps nothing, so nothing outlives the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        Ok(Vec::new())
    }

    fn put_override(&self, _saved: &SavedOverride) -> Result<(), JournalError> {
        Ok(())
    }

    fn drop_overrides(&self, _fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        Ok(())
    }
}
