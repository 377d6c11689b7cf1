//! Objects that are made through APIs: what can be written, whether it holds together, what is staged and what it comes
//! to. Pure; who keeps them and makes them live is behind [`Objects`].
//!
//! An object is kept as a declaration in the config's own form. What is in force is the file and the declarations,
//! lowered together, so everything that an API can make is something the file can say, and every error names the key
//! path that it has there (`farms.web.servers.a.address`). [`World`] is that whole at one instant: it lowers one farm or
//! frontend at a time and only those that a write touches. A write is a list of [`Edit`]s, made whole or not at all,
//! live or staged; a staged one goes live with the refresh of its zone, and a live write to the same field wins over it.
//! What the file declares is the file's: only the admin status and weight of its servers can be written.
//!
//! Rooms: `edit` (what can be written, and why not), `resolve` (edits → changes of declarations), `world` (declarations
//! → a topology, and whether it holds), `certificate` (PEM), `staging` (what waits, and who wins), `overtaken`
//! (what of it can never be), `obtained` (certificates from an authority), `form` (JSON in and out), `named` (what forms name on this machine), `whole` (a farm
//! with its servers, a frontend with its routes → edits).

pub mod certificate;
pub mod edit;
pub mod form;
pub mod named;
pub mod obtained;
pub mod overtaken;
pub mod staging;
pub mod whole;
pub mod world;

mod resolve;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{
    Act, Declaration, Field, Made, ObjectId, ObjectKind, Staged, StagedChange, StagedKey, Task, TaskId,
};

pub use self::edit::{Create, Edit, EditError, Edited, Replace, When};
pub use self::resolve::{Resolved, resolve};
pub use self::world::{Change, World, covers};

/// How many objects may be made through APIs, all kinds together.
pub const OBJECTS_MAX: usize = 100_000;
/// How many edits one write may have.
pub const EDITS_MAX: usize = 2_000;
/// How large the form or the extras of one object may be, in bytes.
pub const FORM_BYTES_MAX: usize = 256 * 1024;

/// What is live, what is staged and what is being done, at one instant.
#[derive(Debug)]
pub struct View {
    /// What is live.
    pub live: Arc<World>,
    /// What will be live after the next refresh of everything; the same one where nothing is staged.
    pub ahead: Arc<World>,
    /// What is staged, in the order of what it is of.
    pub staged: Vec<Staged>,
    /// Tasks under way, and those that ended within the last 48 hours; by id.
    pub tasks: Vec<Task>,
    /// Counts the writes, staged ones and refreshes too.
    pub revision: u64,
}

impl View {
    /// Returns the live objects.
    #[must_use]
    pub fn made(&self) -> &Made {
        self.live.made()
    }

    /// Returns the objects as they will be after the next refresh.
    #[must_use]
    pub fn made_ahead(&self) -> &Made {
        self.ahead.made()
    }

    /// Returns what is staged of an object or field.
    #[must_use]
    pub fn staged_of(&self, key: StagedKey) -> Option<&Staged> {
        self.staged.binary_search_by_key(&key, Staged::key).ok().map(|at| &self.staged[at])
    }

    /// Returns the zones that something is staged for, each with how many writes.
    #[must_use]
    pub fn pending(&self) -> Vec<(&str, u64)> {
        let mut pending: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
        for staged in &self.staged {
            *pending.entry(&staged.zone).or_default() += u64::from(staged.writes);
        }
        pending.into_iter().collect()
    }
}

impl View {
    /// Returns whether a refresh of these zones, none: of all, changes nothing but how servers that are there take part:
    /// their status and their weight, which whoever operates may change. What else waits needs whoever may make it.
    #[must_use]
    pub fn is_due_operational(&self, zones: Option<&[Box<str>]>) -> bool {
        let is_due = |staged: &&Staged| zones.is_none_or(|zones| zones.contains(&staged.zone));
        self.staged.iter().filter(is_due).all(|staged| match &staged.change {
            StagedChange::Wish(..) => true,
            StagedChange::Delete(_) => false,
            StagedChange::Put(is) => self.live.made().get(is.id).is_some_and(|was| is_as_operated(was, is)),
        })
    }
}

impl View {
    /// Returns the farms that a refresh of these zones, none: of all, changes; none for what belongs to no single farm, as a
    /// frontend.
    #[must_use]
    pub fn farms_due(&self, zones: Option<&[Box<str>]>) -> Vec<Option<String>> {
        let is_due = |staged: &&Staged| zones.is_none_or(|zones| zones.contains(&staged.zone));
        let farm_of = |staged: &Staged| {
            let id = match &staged.change {
                StagedChange::Wish(server, _) => server.server.into(),
                StagedChange::Delete(id) => *id,
                StagedChange::Put(is) => is.id,
            };
            let made = self.ahead.made().get(id).or_else(|| self.live.made().get(id));
            let id = made.and_then(|made| certificate::server_of_chain(made)).unwrap_or(id);
            let path = self.ahead.path(id).or_else(|| self.live.path(id)).unwrap_or_default();
            match &path[..] {
                [list, farm, ..] if list == "farms" => Some(farm.clone()),
                _ => None,
            }
        };
        self.staged.iter().filter(is_due).map(farm_of).collect()
    }
}

/// Returns whether an object differs from what it was in no more than a server's status and weight.
fn is_as_operated(was: &Declaration, is: &Declaration) -> bool {
    let bare = |form: &str| {
        let mut form = form::object(form);
        for field in [Field::Admin, Field::Weight] {
            form.remove(field.as_str());
        }
        form
    };
    let place = |it: &Declaration| (it.kind, it.name.clone(), it.parent, it.service, it.zone.clone(), it.is_inert);
    is.kind == ObjectKind::Server && place(was) == place(is) && bare(&was.form) == bare(&is.form)
}

/// Where a write is planned: what there is now, and ids for what is to be made.
#[derive(Debug)]
pub struct Desk<'v> {
    /// What there is. Nothing else writes until the plan is carried out.
    pub view: &'v View,
    last: AtomicU64,
}

impl<'v> Desk<'v> {
    /// Returns a desk that gives out ids beyond `last`.
    #[must_use]
    pub fn new(view: &'v View, last: u64) -> Self {
        Self { view, last: AtomicU64::new(last) }
    }

    /// Returns an id that no object had or will have. One that the write does not use may be given out again.
    pub fn fresh_id(&self) -> ObjectId {
        ObjectId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Returns the last id given out.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

/// Plans a write: called once, while nothing else writes, so that reading, deciding and writing are one step. Quick,
/// without IO.
pub type Plan<'p> = &'p dyn Fn(&Desk<'_>) -> Result<Vec<Edit>, EditError>;

/// Keeps objects and makes them live. What it answers is kept: no crash loses it, none leaves a part of it. Everything
/// but [`Self::view`] blocks, on the disk too: not for an async thread.
pub trait Objects: Send + Sync {
    /// Returns what there is.
    fn view(&self) -> Arc<View>;

    /// Plans and makes a write. Live: the table shows it when the call returns, and listeners are open. Staged: it is
    /// kept and waits for the refresh of its zone. An empty plan is a write that changes nothing.
    ///
    /// # Errors
    /// [`EditError`]; nothing was changed.
    fn edit(&self, plan: Plan<'_>, when: When<'_>, act: &Act) -> Result<Edited, EditError>;

    /// Begins to make live what is staged for these zones; none: for all. The task ends in `done`, or in `error`, with
    /// what was staged still staged. Nothing staged: a task that is done at once.
    ///
    /// # Errors
    /// [`EditError::NotKept`].
    fn refresh(&self, zones: Option<&[Box<str>]>, action: &str, act: &Act) -> Result<Task, EditError>;

    /// Begins a task of another kind, in status todo.
    ///
    /// # Errors
    /// [`EditError::NotKept`].
    fn begin_task(&self, action: &str, zones: &[Box<str>], act: &Act) -> Result<Task, EditError>;

    /// Notes how far a task is that [`Self::begin_task`] began; `Err`: it failed, and why.
    ///
    /// # Errors
    /// [`EditError::NotKept`], and [`EditError::Unknown`] if there is no such task.
    fn report_task(&self, id: TaskId, progress: Result<u8, &str>) -> Result<Task, EditError>;

    /// Returns the files in which listeners find a certificate made through an API and its key: what forms name as `cert`
    /// and `key`. Its own form has the two as PEM under the same keys. None where nothing is kept on disk.
    fn certificate_files(&self, id: ObjectId) -> Option<[PathBuf; 2]>;

    /// Returns where the file declares what has that key path, as `farmgate.yaml:41:13`.
    fn position(&self, path: &[&str]) -> Option<String>;
}

/// The objects of a process that keeps none: reads are empty, writes are refused.
#[derive(Debug)]
pub struct NoObjects(Arc<View>);

impl Default for NoObjects {
    fn default() -> Self {
        let world = Arc::new(World::empty());
        let view = View { ahead: Arc::clone(&world), live: world, staged: vec![], tasks: vec![], revision: 0 };
        Self(Arc::new(view))
    }
}

impl NoObjects {
    fn refused<T>() -> Result<T, EditError> {
        Err(EditError::NotKept("this process keeps no objects".into()))
    }
}

impl Objects for NoObjects {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.0)
    }

    fn edit(&self, _plan: Plan<'_>, _when: When<'_>, _act: &Act) -> Result<Edited, EditError> {
        Self::refused()
    }

    fn refresh(&self, _zones: Option<&[Box<str>]>, _action: &str, _act: &Act) -> Result<Task, EditError> {
        Self::refused()
    }

    fn begin_task(&self, _action: &str, _zones: &[Box<str>], _act: &Act) -> Result<Task, EditError> {
        Self::refused()
    }

    fn report_task(&self, _id: TaskId, _progress: Result<u8, &str>) -> Result<Task, EditError> {
        Self::refused()
    }

    fn certificate_files(&self, _id: ObjectId) -> Option<[PathBuf; 2]> {
        None
    }

    fn position(&self, _path: &[&str]) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests;
