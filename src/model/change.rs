//! What an operator asks for through an API or the CLI, and what is kept of it.

use super::id::ServerKey;
use super::server::{AdminStatus, Weight};
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
