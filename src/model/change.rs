//! What an operator asks for through an API or the CLI, and what is kept of it.

use super::id::ServerKey;
use super::server::{AdminStatus, Server, Weight};
use super::time::Timestamp;

/// A request to change the live state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The server to change.
    pub target: ServerKey,
    /// What is wanted of it.
    pub wish: Wish,
}

/// An operational field of a server and its wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The admin status.
    Admin(AdminStatus),
    /// The weight.
    Weight(Weight),
}

impl Wish {
    /// Returns which field it is about.
    #[must_use]
    pub fn field(self) -> Field {
        match self {
            Self::Admin(_) => Field::Admin,
            Self::Weight(_) => Field::Weight,
        }
    }

    /// Returns the value that `server` has in that field.
    #[must_use]
    pub fn current(field: Field, server: &Server) -> Self {
        match field {
            Field::Admin => Self::Admin(server.admin),
            Field::Weight => Self::Weight(server.weight),
        }
    }

    /// Puts the value into `server`.
    pub fn apply(self, server: &mut Server) {
        match self {
            Self::Admin(status) => server.admin = status,
            Self::Weight(weight) => server.weight = weight,
        }
    }
}

/// As the config file writes it: `maintenance`, `50`.
impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admin(status) => f.write_str(status.as_str()),
            Self::Weight(weight) => weight.fmt(f),
        }
    }
}

/// An operational field: one that an API may override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The admin status; `status` in the config file.
    Admin,
    /// The weight.
    Weight,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 2] = [Self::Admin, Self::Weight];

    /// Returns the config file's key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "status",
            Self::Weight => "weight",
        }
    }
}

/// Who asked, from where and why; kept with every override and event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The credential's name.
    pub actor: Box<str>,
    /// The client's address, or `local`.
    pub source: Box<str>,
    /// The operator's own words, if any.
    pub reason: Option<Box<str>>,
    /// When.
    pub at: Timestamp,
}

/// An operational field whose live value is not the file's. Dropped as soon as the file's own value changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The field and its live value.
    pub wish: Wish,
    /// The file's value when the override was made.
    pub declared: Wish,
    /// Who, when, why.
    pub act: Act,
}
