//! What an operator asks for through an API or the CLI, and what is kept of it.

use super::farm::Leftovers;
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
    /// For how long, and what happens then.
    pub terms: Terms,
    /// Whether the farm's reserve is looked at.
    pub reserve: Reserve,
}

impl Change {
    /// Returns a change without terms that the farm's reserve does not stand in the way of.
    #[must_use]
    pub fn plain(target: ServerKey, wish: Wish) -> Self {
        Self { target, wish, terms: Terms::default(), reserve: Reserve::Ignored }
    }
}

/// Whether taking a server out is refused when it leaves less than the farm's reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reserve {
    /// It is made all the same.
    Ignored,
    /// It is refused.
    Kept,
}

/// For how long a server is out, and what happens then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// When maintenance or drain ends by itself: the override is dropped.
    pub until: Option<Timestamp>,
    /// When what is still open on the server counts as left over.
    pub deadline: Option<Timestamp>,
    /// What happens to leftovers at the deadline; the farm's rule where absent.
    pub at_deadline: Option<Leftovers>,
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
    /// For how long, and what happens then.
    pub terms: Terms,
    /// Who, when, why.
    pub act: Act,
}
