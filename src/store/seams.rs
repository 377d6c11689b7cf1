//! What the Store needs of the outside, as traits: sockets that listen and a journal that outlives the process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{
    CheckBrief, CheckRecord, Event, FarmId, Field, Frontend, ListenAddr, Name, Override, ProbeSlot, RequestTrace,
    SavedHealth, ServerKey, SessionGroup, Timestamp, TrafficFault,
};

/// Opens and closes the sockets of frontends; implemented by the proxy.
pub trait ListenerHost: Send + Sync {
    /// Binds what `frontends` need beyond what is open, without accepting yet, and reads the files that they name.
    /// Dropping the result undoes it.
    ///
    /// # Errors
    /// One [`OpenError`] for each address that cannot be bound and each file that cannot be used.
    fn prepare(&self, frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>>;
}

/// Sockets bound by [`ListenerHost::prepare`].
pub trait PreparedListeners {
    /// Accepts on the new sockets and stops accepting on those that no frontend wants any more.
    fn commit(self: Box<Self>);
}

/// Why a frontend cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that it names cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// A file of a frontend that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frontend \"{frontend}\": {key}: \"{}\" {why}; {remedy}", path.display())]
pub struct FileError {
    /// The frontend that names it.
    pub frontend: Name,
    /// The config key below the frontend.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, as the sentence goes on behind its name.
    pub why: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("frontend \"{frontend}\": cannot listen on {address}: {}; {}", reason(cause), self.remedy())]
pub struct ListenError {
    /// The frontend that wants it.
    pub frontend: Name,
    /// The address.
    pub address: ListenAddr,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

impl ListenError {
    fn remedy(&self) -> &'static str {
        if self.address.ip().is_some() { remedy(&self.cause) } else { remedy_for_path(&self.cause) }
    }
}

/// Returns what to do about the path of a Unix socket.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more kinds of errors than we have remedies")]
fn remedy_for_path(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the process that listens there (`ss -lxp` names it), remove the file if it is no socket, or choose another \
             path"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "make its directory or choose another path",
        io::ErrorKind::PermissionDenied => "let this user write to its directory or choose another path",
        _ => "check the path",
    }
}

/// Returns why an address cannot be listened on, in plain words.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has more kinds of errors than we have remedies")]
pub fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address".to_owned(),
        io::ErrorKind::NotFound => "its directory does not exist".to_owned(),
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

/// What is open on servers; implemented by the proxy.
pub trait Sessions: Send + Sync {
    /// Returns what is open on a server, by kind.
    fn of(&self, server: ServerKey) -> Vec<SessionGroup>;

    /// Closes everything that is open on a server; returns how many were.
    fn close(&self, server: ServerKey) -> u64;
}

/// The sessions of a process without a data plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSessions;

impl Sessions for NoSessions {
    fn of(&self, _server: ServerKey) -> Vec<SessionGroup> {
        Vec::new()
    }

    fn close(&self, _server: ServerKey) -> u64 {
        0
    }
}

/// Takes what the data plane finds wrong with servers; implemented by the thread that keeps the Store's time.
pub trait Faults: Send + Sync {
    /// Says that so many pieces of work in a row failed on a server, the last one in this manner. Never blocks; may be
    /// dropped under load, since the next failure says it again.
    fn failed(&self, server: ServerKey, errors: u32, kind: TrafficFault);
}

/// The faults of a process in which nobody takes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn failed(&self, _server: ServerKey, _errors: u32, _kind: TrafficFault) {}
}

/// What became of recent requests; implemented by the proxy.
pub trait Requests: Send + Sync {
    /// Returns what became of the request of that id; nothing, if it is under way, long ago or of another process.
    fn find(&self, id: &str) -> Option<RequestTrace>;
}

/// The requests of a process without a data plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRequests;

impl Requests for NoRequests {
    fn find(&self, _id: &str) -> Option<RequestTrace> {
        None
    }
}

/// What is handed to the journal's writer.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A check for the history. May be dropped under load; what is dropped is counted.
    Check {
        /// Whose.
        server: ServerKey,
        /// What is remembered of it.
        brief: CheckBrief,
    },
    /// An event for the timeline. Never dropped.
    Event(Arc<Event>),
    /// A check with what it sent and received. May be dropped under load; what is dropped is counted.
    Evidence {
        /// Whose.
        server: ServerKey,
        /// Which probe.
        slot: ProbeSlot,
        /// The check.
        record: Arc<CheckRecord>,
    },
    /// The health of these servers is not to be kept any longer. Never dropped.
    Forgotten(Vec<ServerKey>),
    /// What outlives the process of a server's health, in place of what was kept before. Never dropped.
    Health(Box<SavedHealth>),
}

/// Keeps what outlives the process. Overrides are durable when the call returns; entries within 100 ms.
pub trait Journal: Send + Sync {
    /// Returns the health of every server that was saved.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError>;

    /// Returns the id of the last event kept; 0 if there is none.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn last_event_id(&self) -> Result<u64, JournalError>;

    /// Hands an entry to the writer. Never blocks on the disk.
    fn note(&self, entry: Entry);

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
#[error("journal: {what}: {cause}{}", remedy_of_journal(&cause.to_string()))]
pub struct JournalError {
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    #[source]
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// A cause that names its own remedy, behind a semicolon, needs no other.
fn remedy_of_journal(cause: &str) -> &'static str {
    if cause.contains("; ") { "" } else { "; check the space and the permissions of state_dir" }
}

/// The journal of a process without `state_dir`: keeps nothing, so nothing outlives the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        Ok(Vec::new())
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn note(&self, _entry: Entry) {}

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

/// Reads what the journal keeps. Blocking: not for the data plane.
pub trait Chronicle: Send + Sync {
    /// Returns events.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn events(&self, query: &EventQuery) -> Result<Vec<RecordedEvent>, JournalError>;

    /// Returns the evidence of a server's checks, the newest first.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn evidence(&self, server: ServerKey, limit: usize) -> Result<Vec<(ProbeSlot, CheckRecord)>, JournalError>;

    /// Returns the history of one probe's checks within that time, the oldest first; empty where none is kept.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn history(
        &self,
        server: ServerKey,
        slot: ProbeSlot,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<CheckBrief>, JournalError>;

    /// Returns the last event that a receiver has taken; nothing for one never heard of.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read.
    fn cursor(&self, receiver: &str) -> Result<Option<u64>, JournalError>;

    /// Keeps the last event that a receiver has taken.
    ///
    /// # Errors
    /// [`JournalError`] if it is not kept.
    fn put_cursor(&self, receiver: &str, event: u64) -> Result<(), JournalError>;
}

/// Which events are wanted; absent: of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// About this server.
    pub server: Option<ServerKey>,
    /// About this farm or a server of it.
    pub farm: Option<FarmId>,
    /// With a larger id than this.
    pub after: Option<u64>,
    /// No earlier than this.
    pub since: Option<Timestamp>,
    /// No later than this.
    pub until: Option<Timestamp>,
    /// Which come first, and so which are left out beyond the limit.
    pub order: Order,
    /// The most that are returned.
    pub limit: usize,
}

/// Which events come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The newest.
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// An event as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its id.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// It in the one schema of events, as JSON.
    pub json: Arc<str>,
}
