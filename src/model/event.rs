//! What happened: the one record from which log lines, metrics and pushes are made.

use std::sync::Arc;

use super::change::{Act, Terms, Wish};
use super::check::{AgentSays, CheckBrief, CheckRecord};
use super::id::{FarmId, Generation, Name, ObjectId, ServerKey, TaskId};
use super::object::ObjectKind;
use super::probe::ProbeSlot;
use super::server::{AdminStatus, Health, Progress};
use super::standing::{Ejection, Suspicion};
use super::time::Timestamp;

/// Something that happened, emitted once by the Store.
#[derive(Clone, Debug)]
pub struct Event {
    /// Strictly increasing; with a `state_dir` across restarts too.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// The table that shows it.
    pub generation: Generation,
    /// What.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Debug)]
pub enum EventKind {
    /// A certificate that clients are shown was renewed, comes to its end, or its new files cannot be used.
    Certificate {
        /// The frontend.
        frontend: Name,
        /// The first name that it is of; where a file cannot be used, its path.
        certificate: Box<str>,
        /// What became of it.
        change: CertificateChange,
    },
    /// An operator changed a server.
    Changed {
        /// The server.
        server: ServerKey,
        /// The farm's name.
        farm_name: Name,
        /// The server's name.
        server_name: Name,
        /// The field's value before.
        from: Wish,
        /// The field's value now.
        to: Wish,
        /// For how long, and what happens then.
        terms: Terms,
        /// Who, when, why.
        act: Act,
    },
    /// A farm's checks by one of its probes cannot be made, for a reason of this process or machine, or can be again.
    Checking {
        /// The farm.
        farm: FarmId,
        /// Its name.
        farm_name: Name,
        /// The probe's name.
        probe: Name,
        /// Whether they can be.
        change: CheckingChange,
    },
    /// Something was asked of the process itself through the admin side; what comes of it is told by other events.
    Commanded {
        /// What.
        command: CommandKind,
        /// Who, when, why.
        act: Act,
    },
    /// A credential was asked for, or something was made of it.
    Credential {
        /// Its number.
        id: u64,
        /// The application that asked for it, by name; by its key where the config has it no more.
        application: Box<str>,
        /// What was made of it.
        change: CredentialChange,
        /// What it is and may do now, and did before, by key; no secret is among them.
        fields: Vec<FieldChange>,
        /// Who, when, why.
        act: Act,
    },
    /// An object was made, changed or removed through an API.
    Edited {
        /// What it is.
        object: ObjectKind,
        /// Its id.
        id: ObjectId,
        /// Its key path.
        path: Box<str>,
        /// What became of it.
        edit: EditKind,
        /// What it says now and said before, by key; secrets masked.
        fields: Vec<FieldChange>,
        /// Who, when, why.
        act: Act,
    },
    /// A farm's way of serving changed (normal, backups, fail open, none).
    FarmServing {
        /// The farm.
        farm: FarmId,
        /// Its name.
        farm_name: Name,
        /// How it serves now, in one word.
        serving: &'static str,
    },
    /// Most of what is observed fails at once: the balancer suspects itself and holds the last good rotation, or stops
    /// doing so.
    Incident {
        /// Numbers incidents; the id of the event that began it.
        incident: u64,
        /// Whether it begins or how it ended.
        phase: IncidentPhase,
        /// The farms concerned.
        farms: Vec<(FarmId, Name)>,
        /// How many servers failed.
        servers: usize,
        /// Until when the rotation is held at the latest.
        until: Timestamp,
    },
    /// A server that a reload removed has nothing open any more.
    Left {
        /// The server.
        server: ServerKey,
        /// The farm's name.
        farm_name: Name,
        /// The server's name.
        server_name: Name,
        /// What was closed for it rather than ended by itself.
        closed: u64,
    },
    /// A drain or maintenance came to its deadline or its end.
    OrderEnded {
        /// The server.
        server: ServerKey,
        /// The farm's name.
        farm_name: Name,
        /// The server's name.
        server_name: Name,
        /// What came to it.
        order: AdminStatus,
        /// What came.
        ending: OrderEnding,
        /// Connections closed.
        closed: u64,
    },
    /// A refresh of what is staged begins, or is over.
    Refresh {
        /// The task that carries it out.
        task: TaskId,
        /// The zones; none: all.
        zones: Vec<Box<str>>,
        /// Whether it begins or how it ended.
        phase: RefreshPhase,
        /// Who, when, why.
        act: Act,
    },
    /// A new topology is live.
    Reloaded {
        /// Servers that are new.
        added: usize,
        /// Servers that are gone.
        removed: usize,
        /// Overrides dropped because the file's own value changed.
        overrides_dropped: usize,
    },
    /// Something other than the probes' verdict changed what is made of a server.
    StandingChanged {
        /// The server.
        server: ServerKey,
        /// The farm's name.
        farm_name: Name,
        /// The server's name.
        server_name: Name,
        /// What.
        change: StandingChange,
    },
    /// A server's health changed.
    Transition {
        /// The server.
        server: ServerKey,
        /// The farm's name.
        farm_name: Name,
        /// The server's name.
        server_name: Name,
        /// Health before.
        from: Health,
        /// Health now.
        to: Health,
        /// Which probe's check decided.
        slot: ProbeSlot,
        /// The check that decided.
        check: Arc<CheckRecord>,
        /// The checks that led to it, the oldest first, the deciding one last.
        chain: Vec<CheckBrief>,
        /// Rise or fall progress after it.
        progress: Progress,
        /// The incident that it is part of, if any.
        incident: Option<u64>,
    },
}

impl EventKind {
    /// Returns the server that it is about, if it is about one.
    #[must_use]
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::Changed { server, .. }
            | Self::Left { server, .. }
            | Self::OrderEnded { server, .. }
            | Self::StandingChanged { server, .. }
            | Self::Transition { server, .. } => Some(*server),
            Self::Certificate { .. }
            | Self::Checking { .. }
            | Self::Commanded { .. }
            | Self::Credential { .. }
            | Self::Edited { .. }
            | Self::FarmServing { .. }
            | Self::Incident { .. }
            | Self::Refresh { .. }
            | Self::Reloaded { .. } => None,
        }
    }
}

/// Whether a farm's checks can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckingChange {
    /// Of one server at least they cannot.
    Impossible {
        /// Why not.
        why: Box<str>,
    },
    /// Every server of which they could not was checked again.
    Possible,
}

impl CheckingChange {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Impossible { .. } => "impossible",
            Self::Possible => "possible",
        }
    }
}

/// What is asked of the process itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// To read its config again.
    Reload,
    /// To give way to a new process.
    Upgrade,
}

impl CommandKind {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
        }
    }
}

/// What is made of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialChange {
    /// An application asked for it.
    Asked,
    /// An operator let it be used.
    Granted,
    /// Its own holder ended it.
    LoggedOut,
    /// An operator would not have it used.
    Refused,
    /// An operator ended it.
    Revoked,
}

impl CredentialChange {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Granted => "granted",
            Self::LoggedOut => "logged_out",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }
}

/// Whether a refresh begins or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshPhase {
    /// It was accepted.
    Begun,
    /// What was staged is live.
    Done {
        /// How many objects and fields that were.
        changes: usize,
    },
    /// Nothing of it is live: it is still staged.
    Failed {
        /// Why.
        why: Box<str>,
    },
}

impl RefreshPhase {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What became of an object that is written through APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EditKind {
    /// It says something else.
    Changed,
    /// It is there.
    Created,
    /// It is gone.
    Deleted,
    /// What was staged of it is lost to what was made live by somebody else, or by a reload.
    Overtaken,
    /// It waits for a refresh.
    Staged,
}

impl EditKind {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Overtaken => "overtaken",
            Self::Staged => "staged",
        }
    }
}

/// A key of an object and its value before and after, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The key.
    pub key: Box<str>,
    /// Its value before; none: it was not there.
    pub before: Option<Box<str>>,
    /// Its value now; none: it is there no more.
    pub after: Option<Box<str>>,
}

/// What became of a certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateChange {
    /// It is past its end and still shown: there is no other.
    Expired {
        /// When it ended.
        until: Timestamp,
    },
    /// It comes to its end and was not renewed.
    Expiring {
        /// When it ends.
        until: Timestamp,
        /// In how many days, rounded up.
        days: u32,
    },
    /// It was not obtained from the authority that is asked.
    NotObtained {
        /// Why, and when it is tried again.
        why: Box<str>,
    },
    /// Its files changed and cannot be used; what was shown before still is.
    Refused {
        /// Why, and what to do about it.
        why: Box<str>,
    },
    /// It took the place of another one.
    Renewed {
        /// When it ends.
        until: Timestamp,
    },
}

impl CertificateChange {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::Expiring { .. } => "expiring",
            Self::NotObtained { .. } => "not_obtained",
            Self::Refused { .. } => "refused",
            Self::Renewed { .. } => "renewed",
        }
    }
}

/// Whether an incident begins or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IncidentPhase {
    /// It begins.
    Began,
    /// The servers failed for longer than the rotation is held: they are believed to be down.
    Believed,
    /// The servers came back.
    Recovered,
}

impl IncidentPhase {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Believed => "believed",
            Self::Recovered => "recovered",
        }
    }
}

/// What a drain or maintenance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderEnding {
    /// The deadline: what was left over was closed or kept, as told.
    Deadline,
    /// Nothing is open on the server any more.
    Idle,
    /// The end: the server is active again.
    Until,
}

impl OrderEnding {
    /// Returns the word of the event schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Until => "until",
        }
    }
}

/// What changed of a server beside the probes' verdict.
#[derive(Clone, Debug, PartialEq)]
pub enum StandingChange {
    /// Its agent asks for something else.
    AgentSaid(Arc<AgentSays>),
    /// It was taken out for what its traffic showed.
    Ejected(Ejection),
    /// Its ejection is over.
    EjectionEnded,
    /// It is held down for changing too often.
    HeldDown {
        /// Until when.
        until: Timestamp,
        /// Changes counted.
        score: u16,
    },
    /// It is held down no more.
    HoldEnded,
    /// Probes and traffic disagree.
    Suspected(Suspicion),
    /// They agree again.
    SuspicionEnded,
    /// It begins to come back little by little.
    WarmupBegan {
        /// When it is whole.
        until: Timestamp,
    },
    /// It has its whole weight.
    WarmupEnded,
}
