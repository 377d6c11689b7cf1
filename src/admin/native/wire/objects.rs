//! What is staged, refreshes and tasks on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of a write that is staged.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct WrittenWire {
    /// How many objects and fields it changes.
    pub changes: usize,
    /// The zone whose refresh makes it live.
    pub zone: String,
    /// Counts the writes.
    pub revision: u64,
}

/// The body of `refresh`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshOrder {
    /// Which zones: `all`, the one that the config names, or one that something still waits for; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `/staged`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StagedList {
    /// How many writes wait, by zone.
    pub pending: Vec<PendingWire>,
    /// What waits.
    pub staged: Vec<StagedWire>,
}

/// How many writes wait for the refresh of a zone.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PendingWire {
    /// The zone.
    pub zone: String,
    /// How many.
    pub writes: u64,
}

/// A change that waits for a refresh.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct StagedWire {
    /// The object's id.
    pub id: u64,
    /// Its key path.
    pub path: String,
    /// `put`, `delete`, or the field of a server that gets another value.
    pub change: String,
    /// The zone.
    pub zone: String,
    /// How many writes it is the sum of.
    pub writes: u32,
    /// Who made the last of them.
    pub actor: String,
    /// When.
    pub at: String,
}

/// The answer of `/tasks`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TaskList {
    /// How many there are that the filters let through, on whatever page.
    #[serde(default)]
    pub total: usize,
    /// Under way, and ended within the last 48 hours; by id.
    pub tasks: Vec<TaskWire>,
}

/// Work that is done behind the answer.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TaskWire {
    /// Its id.
    pub id: u64,
    /// What is done.
    pub action: String,
    /// todo, doing, done or error.
    pub status: String,
    /// The zones concerned.
    pub zones: Vec<String>,
    /// How much of it is done, in per cent.
    pub progress: u8,
    /// When it was accepted.
    pub created_at: String,
    /// When it ended; null before.
    pub done_at: Option<String>,
    /// Why it ended in an error; every reason, one a line.
    pub error: Option<String>,
    /// Who asked for it.
    pub actor: String,
}

/// Who declared an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct OriginWire {
    /// `file` or `api`.
    pub by: String,
    /// The shape of the API that made it: `native`, `ovh` or `zenlayer`; null where the file declares it.
    pub shape: Option<String>,
}

impl Default for OriginWire {
    /// Returns the file.
    fn default() -> Self {
        Self { by: "file".to_owned(), shape: None }
    }
}
