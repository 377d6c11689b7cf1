//! What happened: the one record from which log lines, metrics and pushes are made.

use std::sync::Arc;

use super::change::{Act, Wish};
use super::check::CheckRecord;
use super::id::{FarmId, Generation, Name, ServerKey};
use super::server::{Health, Progress};
use super::time::Timestamp;

/// Something that happened, emitted once by the Store.
#[derive(Clone, Debug)]
pub struct Event {
    /// Strictly increasing within a process.
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
    /// A new topology is live.
    Reloaded {
        /// Servers that are new.
        added: usize,
        /// Servers that are gone.
        removed: usize,
        /// Overrides dropped because the file's own value changed.
        overrides_dropped: usize,
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
        /// The check that decided.
        check: Arc<CheckRecord>,
        /// Rise or fall progress after it.
        progress: Progress,
    },
}
