//! Objects that were made through an API: what is kept of each, what is staged, and the tasks that make staged ones
//! live.
//!
//! A [`Declaration`] says what the config file would say of the object, as JSON: whatever can be made through an API can
//! be written in the file. Plain data: what a form means is the business of whoever lowers it, what extras mean that of
//! the API shape which wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::{Act, Field, Override, Wish};
use super::id::{Name, ObjectId, ServerKey, TaskId};
use super::time::Timestamp;

/// The smallest id of an object that is made through an API. Ids of what the file declares are derived from names and
/// have 40 bits, so the two never meet.
pub const FIRST_MADE_ID: u64 = 1 << 40;

/// What kind of object a [`Declaration`] declares. Parents come before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A service of its own, with addresses and ports.
    Service,
    /// A certificate and its key, in files of `state_dir`.
    Certificate,
    /// A farm without its servers.
    Farm,
    /// A server of a farm.
    Server,
    /// A frontend; its routes are here or objects of their own.
    Frontend,
    /// A route of a frontend; its rules are here or objects of their own.
    Route,
    /// A rule of a route.
    Rule,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Service, Self::Certificate, Self::Farm, Self::Server, Self::Frontend, Self::Route, Self::Rule];

    /// Returns its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Farm => "farm",
            Self::Frontend => "frontend",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Server => "server",
            Self::Service => "service",
        }
    }

    /// Returns the kind of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns of what kind its parent is, if it has one.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Certificate | Self::Farm | Self::Frontend | Self::Service => None,
            Self::Route => Some(Self::Frontend),
            Self::Rule => Some(Self::Route),
            Self::Server => Some(Self::Farm),
        }
    }
}

/// An object that was made through an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its id: [`FIRST_MADE_ID`] or larger, never given to another object.
    pub id: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, one that no other of its kind and parent has.
    pub name: Name,
    /// What it is part of: the id of an object made through an API or of one of the file. A route or rule may be without
    /// one, and is inert then.
    pub parent: Option<ObjectId>,
    /// The API shape that made it.
    pub shape: Box<str>,
    /// The service that it is of; none: the file's.
    pub service: Option<ObjectId>,
    /// The zone that it was made for, where its shape has zones.
    pub zone: Option<Box<str>>,
    /// Whether it is kept only and carries no traffic: a disabled frontend, a route of no frontend.
    pub is_inert: bool,
    /// What the config file would say of it, without its children: a JSON object.
    pub form: Arc<str>,
    /// What its shape keeps beside: a JSON object.
    pub extras: Arc<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes from 1 on.
    pub version: u64,
}

impl Declaration {
    /// Returns whether `other` says the same, whenever it was written.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let content = |it: &Self| (it.is_inert, it.service, it.zone.clone(), Arc::clone(&it.form));
        content(self) == content(other) && self.extras == other.extras && self.parent == other.parent
    }
}

/// Every object that was made through an API, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    by_id: BTreeMap<ObjectId, Arc<Declaration>>,
    by_parent: BTreeSet<(Option<ObjectId>, ObjectKind, ObjectId)>,
}

impl Made {
    /// Returns an object.
    #[must_use]
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Declaration>> {
        self.by_id.get(&id)
    }

    /// Returns every object, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Declaration>> {
        self.by_id.values()
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Returns the objects of that kind with that parent, by id.
    pub fn of(&self, parent: Option<ObjectId>, kind: ObjectKind) -> impl Iterator<Item = &Arc<Declaration>> {
        let range = (parent, kind, ObjectId(0))..=(parent, kind, ObjectId(u64::MAX));
        self.by_parent.range(range).filter_map(|(_, _, id)| self.by_id.get(id))
    }

    /// Returns the object of that kind, parent and name.
    #[must_use]
    pub fn named(&self, parent: Option<ObjectId>, kind: ObjectKind, name: &str) -> Option<&Arc<Declaration>> {
        self.of(parent, kind).find(|declaration| declaration.name.as_str() == name)
    }

    /// Puts an object in, in the place of the one of its id.
    pub fn put(&mut self, declaration: Arc<Declaration>) {
        self.remove(declaration.id);
        self.by_parent.insert((declaration.parent, declaration.kind, declaration.id));
        self.by_id.insert(declaration.id, declaration);
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: ObjectId) -> Option<Arc<Declaration>> {
        let was = self.by_id.remove(&id)?;
        self.by_parent.remove(&(was.parent, was.kind, id));
        Some(was)
    }
}

impl FromIterator<Arc<Declaration>> for Made {
    fn from_iter<I: IntoIterator<Item = Arc<Declaration>>>(all: I) -> Self {
        let mut made = Self::default();
        all.into_iter().for_each(|declaration| made.put(declaration));
        made
    }
}

/// What a staged change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StagedKey {
    /// An operational field of a server that the file declares.
    Field(ServerKey, Field),
    /// An object made through an API.
    Object(ObjectId),
}

/// What waits for a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StagedChange {
    /// The object goes.
    Delete(ObjectId),
    /// The object comes, or becomes this.
    Put(Arc<Declaration>),
    /// The server of the file gets this value.
    Wish(ServerKey, Wish),
}

/// A change that is accepted and goes live with the next refresh of its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The zone whose refresh makes it live.
    pub zone: Box<str>,
    /// What.
    pub change: StagedChange,
    /// How many writes it is the sum of.
    pub writes: u32,
    /// Who made the last of them, and when.
    pub act: Act,
}

impl Staged {
    /// Returns what it is of.
    #[must_use]
    pub fn key(&self) -> StagedKey {
        match &self.change {
            StagedChange::Delete(id) => StagedKey::Object(*id),
            StagedChange::Put(declaration) => StagedKey::Object(declaration.id),
            StagedChange::Wish(server, wish) => StagedKey::Field(*server, wish.field()),
        }
    }
}

/// How far a [`Task`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Accepted.
    Todo,
    /// Under way.
    Doing,
    /// Ended well.
    Done,
    /// Ended without effect; the task says why.
    Error,
}

impl TaskStatus {
    /// Returns its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doing => "doing",
            Self::Done => "done",
            Self::Error => "error",
            Self::Todo => "todo",
        }
    }

    /// Returns the status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Todo, Self::Doing, Self::Done, Self::Error].into_iter().find(|status| status.as_str() == word)
    }

    /// Returns whether nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Doing | Self::Todo => false,
            Self::Done | Self::Error => true,
        }
    }
}

/// Work that was accepted and is done behind the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id; never given to another task.
    pub id: TaskId,
    /// What is done, in the word of the shape that asked for it.
    pub action: Box<str>,
    /// Whether it makes staged changes live; other tasks are carried out by whoever began them.
    pub is_refresh: bool,
    /// How far it is.
    pub status: TaskStatus,
    /// The zones concerned.
    pub zones: Vec<Box<str>>,
    /// How much of it is done, in per cent.
    pub progress: u8,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub done_at: Option<Timestamp>,
    /// Why it ended in an error: every reason, one a line.
    pub failure: Option<Box<str>>,
    /// Who asked for it.
    pub act: Act,
}

/// What the journal keeps of objects, staged changes and tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedObjects {
    /// Live objects.
    pub made: Made,
    /// Staged changes.
    pub staged: Vec<Staged>,
    /// Tasks.
    pub tasks: Vec<Task>,
    /// The largest id ever given to an object; 0 before the first.
    pub last_object: u64,
    /// The largest id ever given to a task; 0 before the first.
    pub last_task: u64,
}

/// One transaction of objects, staged changes and tasks: kept whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectBatch {
    /// Objects that are live from now on, in the place of those of the same id.
    pub put: Vec<Arc<Declaration>>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectId>,
    /// Staged changes, in the place of those of the same key.
    pub staged: Vec<Staged>,
    /// Staged changes that are no more.
    pub unstaged: Vec<StagedKey>,
    /// Tasks, in the place of those of the same id.
    pub tasks: Vec<Task>,
    /// Overrides that it makes.
    pub overrides_made: Vec<(ServerKey, Override)>,
    /// Overrides that end with it.
    pub overrides_ended: Vec<(ServerKey, Field)>,
    /// Tasks that are forgotten.
    pub forgotten: Vec<TaskId>,
    /// The largest id given to an object so far.
    pub last_object: u64,
    /// The largest id given to a task so far.
    pub last_task: u64,
}
