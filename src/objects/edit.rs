//! What can be written of objects, and why a write is refused. Plain data.

use std::sync::Arc;

use crate::config::declared::Fault;
use crate::model::{ListenAddr, Name, ObjectId, ObjectKind, ServerKey, Wish};

/// One thing that a write does. Edits are looked at in their order and made together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Makes an object.
    Create(Create),
    /// Removes an object made through an API, and its children with it. A farm that a frontend uses stays.
    Delete {
        /// Which.
        id: ObjectId,
    },
    /// Replaces what an object says. Of an object of the file: refused, unless it says the same, or differs in the admin
    /// status and weight of a server only, which become an override.
    Replace(Replace),
    /// Sets an operational field of a server: of one of the file an override; of one made through an API its own value,
    /// and an override of that field ends.
    Wish {
        /// Which.
        server: ServerKey,
        /// The value.
        wish: Wish,
    },
}

/// An object to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its id, one that the desk gave out.
    pub id: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, one that no other of its kind and parent has; it stays.
    pub name: Name,
    /// The farm of a server, the frontend of a route, the route of a rule.
    pub parent: Option<ObjectId>,
    /// The service that it is of; none: the file's.
    pub service: Option<ObjectId>,
    /// The zone that it is made for, where its shape has zones.
    pub zone: Option<Box<str>>,
    /// The API shape that makes it.
    pub shape: Box<str>,
    /// Whether it is kept only and carries no traffic.
    pub is_inert: bool,
    /// What the config file would say of it, without its children: a JSON object.
    pub form: Arc<str>,
    /// What its shape keeps beside: a JSON object, `{}` for nothing.
    pub extras: Arc<str>,
}

/// What an object is to say from now on. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replace {
    /// Which.
    pub id: ObjectId,
    /// What the config file would say of it, whole.
    pub form: Option<Arc<str>>,
    /// What its shape keeps beside, whole.
    pub extras: Option<Arc<str>>,
    /// Whether it is kept only.
    pub is_inert: Option<bool>,
    /// What it is part of: of a route, its frontend; `Some(None)`: of nothing.
    pub parent: Option<Option<ObjectId>>,
    /// The zone that it is for.
    pub zone: Option<Option<Box<str>>>,
}

/// When a write is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<'z> {
    /// At once. It wins over what is staged of the same fields.
    Live,
    /// With the next refresh of this zone.
    Staged {
        /// The zone.
        zone: &'z str,
    },
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// How many objects and fields it made, changed or removed; 0: everything was so already.
    pub changes: usize,
    /// How many staged changes it overtook.
    pub overtaken: usize,
    /// The revision of the view that shows it.
    pub revision: u64,
}

/// Why a write was not made. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// What the file declares can be changed in the file only.
    #[error("{path}: is declared at {position}; change it there and reload")]
    FileMade {
        /// The key path of the field, or of the object.
        path: String,
        /// Where the file declares it.
        position: String,
    },
    /// Other objects use it.
    #[error("{path}: is used by {}; change or remove them first", by.join(", "))]
    InUse {
        /// The key path of the object.
        path: String,
        /// The key paths of those that use it.
        by: Vec<String>,
    },
    /// What would be in force does not hold together: every reason, with its key path.
    #[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Every reason.
        faults: Vec<Fault>,
    },
    /// A precondition of the caller's does not hold any more: somebody else wrote meanwhile.
    #[error("{path}: was changed meanwhile; read it again")]
    Stale {
        /// The key path of the object.
        path: String,
    },
    /// There is another of that name.
    #[error("{path}: there is one already{}; choose another name", position.as_ref().map_or_else(String::new, |at| format!(", declared at {at}")))]
    NameTaken {
        /// The key path that is taken.
        path: String,
        /// Where the file declares it, if the file does.
        position: Option<String>,
    },
    /// The journal or another part of the process could not take it.
    #[error("the change could not be kept: {0}")]
    NotKept(Box<str>),
    /// A listener, or a file that it names, cannot be opened: every reason.
    #[error("{}", reasons.join("\n"))]
    NotOpened {
        /// The address that is taken, where that is the first reason.
        address: Option<ListenAddr>,
        /// Every reason.
        reasons: Vec<String>,
    },
    /// Another listener has the address.
    #[error("{path}: {address} is taken by {by}; choose another address or port")]
    PortTaken {
        /// The key path of the listener.
        path: String,
        /// The address.
        address: ListenAddr,
        /// The key path of who has it.
        by: String,
    },
    /// There are or would be too many.
    #[error("{what} are more than {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// There is no object of that name.
    #[error("{kind} \"{name}\" does not exist")]
    UnknownName {
        /// What is looked for.
        kind: &'static str,
        /// Its name or id as given.
        name: String,
    },
    /// There is no such object.
    #[error("{kind} {id} does not exist")]
    Unknown {
        /// What is looked for.
        kind: &'static str,
        /// Its id.
        id: u64,
    },
}

impl EditError {
    /// Returns the error of one thing that is wrong.
    #[must_use]
    pub fn fault(path: &str, message: &str) -> Self {
        Self::faults([(path.to_owned(), message.to_owned())])
    }

    /// Returns the error of several: where, and what.
    #[must_use]
    pub fn faults(faults: impl IntoIterator<Item = (String, String)>) -> Self {
        let fault = |(path, message): (String, String)| Fault { path: path.into(), message: message.into() };
        Self::Invalid { faults: faults.into_iter().map(fault).collect() }
    }
}
