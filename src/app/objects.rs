//! Objects made through APIs, wired: kept by the journal, made live through the Store and the listeners, refreshed by a
//! thread of their own.
//!
//! One lock is held for the whole of a write, a refresh and a reload, so they never meet half-way; readers take a view
//! that is there already. The order of a live write: work out → lower → check → bind sockets → journal → table → accept.
//! What goes wrong before the journal has it changes nothing; what comes after cannot fail. A refresh is one such write,
//! with its task in the same transaction. Blocking: never called on a thread of an async runtime.

mod named;
mod overtaking;
mod refresh;
mod shelf;
mod told;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;

use crate::clock;
use crate::config::Declared;
use crate::journal::SqliteJournal;
use crate::model::object::FIRST_MADE_ID;
use crate::model::{
    Act, EditKind, EventKind, Field, ObjectBatch, ObjectId, RefreshPhase, ServerKey, StagedChange, StagedKey, Task,
    TaskId, TaskStatus, Timestamp, Topology, Wish,
};
use crate::objects::overtaken::{Beside, Overtaken};
use crate::objects::staging::{Difference, Staging};
use crate::objects::{Change, Desk, EditError, Edited, Objects, Plan, Resolved, View, When, World, resolve};
use crate::report::report;
use crate::store::{JournalError, ListenerHost, OpenError, ReloadError, Store, Write};

use super::own::AdminPlace;

pub(super) use overtaking::Overtaking;
pub(super) use refresh::Refresher;
use shelf::Shelf;
use told::{lost, notes, wished};

/// How long a task is told of after it has ended.
const TASK_AGE_MAX: Duration = Duration::from_secs(48 * 3600);
/// How many tasks are remembered: for one more the oldest that has ended is forgotten. While none of them has, no other
/// is accepted.
const TASKS_MAX: usize = if cfg!(test) { 100 } else { 10_000 };

/// See the module's doc.
pub(super) struct MadeObjects {
    store: Arc<Store>,
    host: Arc<dyn ListenerHost>,
    journal: SqliteJournal,
    shelf: Shelf,
    state: Mutex<State>,
    view: ArcSwap<View>,
    overtaking: Arc<Overtaking>,
    work: Mutex<Sender<Work>>,
    own: AdminPlace,
}

/// What the refreshing thread is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// The process ends.
    End,
    /// A live change may have overtaken something.
    Overtaken,
    /// A task of this id is to be carried out.
    Refresh(TaskId),
}

/// What is known under the lock.
struct State {
    live: Arc<World>,
    ahead: Arc<World>,
    staging: Staging,
    tasks: BTreeMap<TaskId, Task>,
    last_object: u64,
    last_task: u64,
    revision: u64,
}

/// What was read of objects before anything is live.
pub(super) struct Restored {
    state: State,
    dropped: Vec<Overtaken>,
    journal: SqliteJournal,
    shelf: Shelf,
    own: AdminPlace,
}

impl Restored {
    /// Reads what the journal kept and lowers it beside the file.
    ///
    /// # Errors
    /// If the journal cannot be read, or the file and what was made through APIs do not go together.
    pub(super) fn read(
        journal: &SqliteJournal,
        state_dir: Option<&Path>,
        declared: Declared,
        topology: Topology,
    ) -> anyhow::Result<Self> {
        let saved = journal.objects()?;
        let live = Arc::new(World::new(Arc::new(declared), topology, &saved.made));
        live.check_all().map_err(|error| anyhow::anyhow!("{}", misfit(&error)))?;
        let mut staging = Staging::of(saved.staged);
        let ahead = ahead_of(&live, &staging);
        let shelf = Shelf::open(state_dir, [&ahead, &live]).context("cannot write the files of certificates")?;
        let files = |id| shelf.files(id);
        let (ahead, dropped) = staging.heal(Beside { live: &live, before: &live, files: &files }, ahead);
        named::warn(&shelf, &live);
        let tasks = saved.tasks.into_iter().map(|task| (task.id, task)).collect();
        let last_object = saved.last_object.max(FIRST_MADE_ID - 1);
        let (last_task, revision) = (saved.last_task, 0);
        let state = State { live, ahead, staging, tasks, last_object, last_task, revision };
        Ok(Self { state, dropped, journal: journal.clone(), shelf, own: AdminPlace::default() })
    }

    /// Says where the admin side listens: no server may be there.
    ///
    /// # Errors
    /// If one is.
    pub(super) fn beside(self, own: AdminPlace) -> anyhow::Result<Self> {
        allow(own, &self.state.live).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { own, ..self })
    }

    /// Returns everything that is in force.
    pub(super) fn topology(&self) -> Topology {
        self.state.live.topology()
    }
}

/// Refuses servers that are where the admin side listens.
fn allow(own: AdminPlace, world: &World) -> Result<(), EditError> {
    let faults = own.faults(&world.topology());
    if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid { faults }) }
}

/// Refuses them but for those that were there before.
fn allow_beside(own: AdminPlace, world: &World, before: &World) -> Result<(), EditError> {
    let mut faults = own.faults(&world.topology());
    if !faults.is_empty() {
        let known = own.faults(&before.topology());
        faults.retain(|fault| !known.contains(fault));
    }
    if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid { faults }) }
}

/// Says why a file and what was made through APIs do not go together.
fn misfit(error: &EditError) -> String {
    let line = |line: &str| format!("objects made through an API do not go with this file: {line}");
    error.to_string().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn ahead_of(live: &Arc<World>, staging: &Staging) -> Arc<World> {
    if staging.is_empty() { Arc::clone(live) } else { Arc::new(live.with(&staging.changes()).0) }
}

impl MadeObjects {
    /// Wires what was restored; the thread that refreshes is started with [`Refresher::start`].
    pub(super) fn new(
        restored: Restored,
        store: &Arc<Store>,
        host: Arc<dyn ListenerHost>,
        overtaking: &Arc<Overtaking>,
    ) -> (Arc<Self>, Receiver<Work>) {
        let Restored { state, dropped, journal, shelf, own } = restored;
        let (work, works) = channel();
        *lock(&overtaking.wake) = Some(work.clone());
        for task in state.tasks.values().filter(|task| task.is_refresh && !task.status.is_final()) {
            // The process that accepted it ended before it was done.
            let _ = work.send(Work::Refresh(task.id));
        }
        let view = ArcSwap::from_pointee(state.view());
        let (store, overtaking) = (Arc::clone(store), Arc::clone(overtaking));
        let (state, work) = (Mutex::new(state), Mutex::new(work));
        let own = Self { store, host, journal, shelf, state, view, overtaking, work, own };
        own.forget(&lock(&own.state), &dropped, &told::own_act("start"));
        (Arc::new(own), works)
    }

    /// Returns where the admin side listens.
    pub(super) fn own(&self) -> AdminPlace {
        self.own
    }

    /// Puts another file in the place of the one that is in force; what was made through APIs stays.
    pub(super) fn reload(&self, declared: Declared, topology: Topology) -> Result<(), String> {
        let mut state = self.settled();
        let made = Arc::clone(state.live.made());
        let live = Arc::new(World::new(Arc::new(declared), topology, &made));
        live.check_all().and_then(|()| live.check_kept(&state.live)).map_err(|error| misfit(&error))?;
        allow(self.own, &live).map_err(|error| error.to_string())?;
        let now = clock::wall();
        self.store.reload(live.topology(), &*self.host, now).map_err(|error| error.to_string())?;
        let ahead = ahead_of(&live, &state.staging);
        let before = Arc::clone(&state.ahead);
        let beside = Beside { live: &live, before: &before, files: &|id| self.shelf.files(id) };
        let (ahead, dropped) = state.staging.heal(beside, ahead);
        (state.live, state.ahead) = (live, ahead);
        self.forget(&state, &dropped, &told::own_act("reload"));
        self.publish(&mut state);
        Ok(())
    }

    fn publish(&self, state: &mut State) {
        state.revision += 1;
        self.view.store(Arc::new(state.view()));
    }

    /// Makes a write live.
    fn write_live(&self, state: &mut State, resolved: Resolved, act: &Act, last: u64) -> Result<Edited, EditError> {
        let Resolved { changes, mut wishes } = resolved;
        wishes.retain(|(server, wish)| self.live_value(*server, wish.field()) != Some(*wish));
        if changes.is_empty() && wishes.is_empty() {
            return Ok(Edited { revision: state.revision, ..Edited::default() });
        }
        let (live, touched) = state.live.with(&changes);
        live.check(&touched)?;
        named::check(&self.shelf, &live, &changes)?;
        allow(self.own, &live)?;
        let live = Arc::new(live);
        let mut staging = state.staging.clone();
        let mut difference = staging.overtake(state.live.made(), live.made(), &changes);
        let ahead = if staging.is_empty() {
            Arc::clone(&live)
        } else {
            Arc::new(state.ahead.with(&following(&live, &staging, &changes, &difference)).0)
        };
        let before = Arc::clone(&state.ahead);
        let beside = Beside { live: &live, before: &before, files: &|id| self.shelf.files(id) };
        staging.check_named(&state.live, beside, &ahead, &changes)?;
        let (ahead, dropped) = staging.heal(beside, ahead);
        difference.drop_all(dropped.iter().map(|it| it.key));
        let mut batch = state.batch(ObjectBatch::default(), &difference);
        batch.last_object = last;
        put_into(&mut batch, &changes);
        let mut told = notes(&state.live, &live, &changes, None, act);
        told.extend(lost([&state.live, &state.ahead], &difference, act));
        told.extend(told::overtaken(&dropped, act));
        self.shelf.prepare(&changes)?;
        self.adopt(&live, &wishes, &told, act, &mut batch)?;
        told::log_dropped(&dropped);
        self.shelf.follow(&changes);
        let (made, overtaken) = (changes.len() + wishes.len(), difference.lost.len() + dropped.len());
        state.last_object = last;
        (state.live, state.ahead, state.staging) = (live, ahead, staging);
        self.publish(state);
        Ok(Edited { changes: made, overtaken, revision: state.revision })
    }

    /// Keeps a write and makes it live, as one.
    fn adopt(
        &self,
        live: &World,
        wishes: &[(ServerKey, Wish)],
        told: &[EventKind],
        act: &Act,
        batch: &mut ObjectBatch,
    ) -> Result<(), EditError> {
        let journal = &self.journal;
        let mut keep = |orders: &crate::store::OverrideChanges| -> Result<(), JournalError> {
            batch.overrides_made.clone_from(&orders.made);
            batch.overrides_ended.clone_from(&orders.ended);
            journal.commit_objects(batch)
        };
        let write = Write { act, wishes, told };
        self.store.adopt(live.topology(), write, &*self.host, &mut keep).map_err(refused)
    }

    /// Keeps a write until the refresh of its zone.
    fn stage(
        &self,
        state: &mut State,
        mut resolved: Resolved,
        zone: &str,
        act: &Act,
        last: u64,
    ) -> Result<Edited, EditError> {
        let is_live = |state: &State, server, wish: Wish| {
            let staged = state.staging.wish(server, wish.field());
            staged.or_else(|| self.live_value(server, wish.field())) == Some(wish)
        };
        resolved.wishes.retain(|(server, wish)| !is_live(state, *server, *wish));
        if resolved.changes.is_empty() && resolved.wishes.is_empty() {
            return Ok(Edited { revision: state.revision, ..Edited::default() });
        }
        let takes_back = resolved.takes_back(state.live.made());
        resolved.return_to(state.live.made());
        let (ahead, touched) = state.ahead.with(&resolved.changes);
        if !takes_back {
            ahead.check_beside(&touched, &state.ahead)?;
        }
        named::check(&self.shelf, &ahead, &resolved.changes)?;
        allow_beside(self.own, &ahead, &state.ahead)?;
        let mut staging = state.staging.clone();
        let mut difference = staging.stage(state.live.made(), &resolved, zone, act);
        for (server, wish) in &resolved.wishes {
            if self.live_value(*server, wish.field()) == Some(*wish) {
                staging.settle(*server, wish.field(), &mut difference);
            }
        }
        let (mut ahead, mut dropped) = (Arc::new(ahead), Vec::new());
        if takes_back {
            // What was staged beside it may hang on what is taken back.
            let beside = Beside { live: &state.live, before: &state.ahead, files: &|id| self.shelf.files(id) };
            (ahead, dropped) = staging.heal(beside, ahead);
            difference.drop_all(dropped.iter().map(|it| it.key));
        }
        let mut batch = state.batch(ObjectBatch::default(), &difference);
        batch.last_object = last;
        self.shelf.prepare(&resolved.changes)?;
        self.keep(&batch)?;
        told::log_dropped(&dropped);
        let changes = resolved.changes.len() + resolved.wishes.len();
        let live = |server, field| self.live_value(server, field);
        let mut told = notes(&state.ahead, &ahead, &resolved.changes, Some(EditKind::Staged), act);
        told.extend(wished(&state.ahead, &state.staging, &resolved.wishes, live, act));
        told.extend(told::overtaken(&dropped, act));
        for kind in told {
            self.store.note(kind, act.at);
        }
        state.last_object = last;
        (state.ahead, state.staging) = (ahead, staging);
        self.publish(state);
        Ok(Edited { changes, overtaken: dropped.len(), revision: state.revision })
    }

    /// Returns the value that a server's field has now.
    fn live_value(&self, server: ServerKey, field: Field) -> Option<Wish> {
        let table = self.store.load();
        let farm = table.farm(server.farm)?;
        Some(Wish::current(field, &farm.servers[farm.position(server.server)?].server))
    }

    fn keep(&self, batch: &ObjectBatch) -> Result<(), EditError> {
        self.journal.commit_objects(batch).map_err(|error| not_kept(&error))
    }

    /// Keeps a task in the place of those, and shows it.
    fn keep_task(&self, state: &mut State, task: Task, forgotten: Vec<TaskId>) -> Result<Task, EditError> {
        let last_task = state.last_task.max(task.id.0);
        let last_object = state.last_object;
        let batch = ObjectBatch {
            tasks: vec![task.clone()],
            forgotten: forgotten.clone(),
            last_task,
            last_object,
            ..ObjectBatch::default()
        };
        self.keep(&batch)?;
        for id in forgotten {
            state.tasks.remove(&id);
        }
        state.last_task = last_task;
        state.tasks.insert(task.id, task.clone());
        self.publish(state);
        Ok(task)
    }

    fn begin(
        &self,
        zones: Vec<Box<str>>,
        action: &str,
        act: &Act,
        status: TaskStatus,
        is_refresh: bool,
    ) -> Result<Task, EditError> {
        let mut state = self.settled();
        let excess = (state.tasks.len() + 1).saturating_sub(TASKS_MAX);
        let ended = state.tasks.values().filter(|task| task.status.is_final()).map(|task| task.id);
        let forgotten: Vec<TaskId> = ended.take(excess).collect();
        if forgotten.len() < excess {
            return Err(EditError::TooMany { what: "tasks under way", max: TASKS_MAX });
        }
        let id = TaskId(state.last_task + 1);
        let is_over = status.is_final();
        let task = Task {
            id,
            action: action.into(),
            is_refresh,
            status,
            zones,
            progress: if is_over { 100 } else { 0 },
            created_at: act.at,
            done_at: is_over.then_some(act.at),
            failure: None,
            act: act.clone(),
        };
        self.keep_task(&mut state, task, forgotten)
    }

    /// Forgets tasks that ended long ago.
    fn forget_tasks(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        let is_old = |task: &&Task| task.done_at.is_some_and(|done| now.since(done) >= TASK_AGE_MAX);
        let forgotten: Vec<TaskId> = state.tasks.values().filter(is_old).map(|task| task.id).collect();
        if forgotten.is_empty() {
            return;
        }
        let batch = ObjectBatch { forgotten: forgotten.clone(), ..ObjectBatch::default() };
        if let Err(error) = self.keep(&batch) {
            tracing::warn!(%error, "old tasks not forgotten: tried again later");
            return;
        }
        for id in forgotten {
            state.tasks.remove(&id);
        }
        self.publish(&mut state);
    }
}

impl Objects for MadeObjects {
    fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    fn edit(&self, plan: Plan<'_>, when: When<'_>, act: &Act) -> Result<Edited, EditError> {
        let mut state = self.settled();
        let view = self.view.load_full();
        let desk = Desk::new(&view, state.last_object);
        let edits = plan(&desk)?;
        let last = desk.last();
        match when {
            When::Live => {
                let resolved = resolve(&state.live, &edits, act.at)?;
                self.write_live(&mut state, resolved, act, last)
            }
            When::Staged { zone } => {
                let resolved = resolve(&state.ahead, &edits, act.at)?;
                self.stage(&mut state, resolved, zone, act, last)
            }
        }
    }

    fn refresh(&self, zones: Option<&[Box<str>]>, action: &str, act: &Act) -> Result<Task, EditError> {
        let due = self.settled().staging.due(zones).zones;
        let (status, told) = match (due.is_empty(), zones) {
            (false, None) => (TaskStatus::Todo, due),
            (false, Some(zones)) => (TaskStatus::Todo, zones.to_vec()),
            (true, zones) => (TaskStatus::Done, zones.unwrap_or_default().to_vec()),
        };
        let task = self.begin(told, action, act, status, true)?;
        let phase = if task.status.is_final() { RefreshPhase::Done { changes: 0 } } else { RefreshPhase::Begun };
        self.store.note(told::refresh(&task, phase), act.at);
        if !task.status.is_final() {
            // Without the thread the process ends; the next one carries the task out.
            let _ = lock(&self.work).send(Work::Refresh(task.id));
        }
        Ok(task)
    }

    fn begin_task(&self, action: &str, zones: &[Box<str>], act: &Act) -> Result<Task, EditError> {
        self.begin(zones.to_vec(), action, act, TaskStatus::Todo, false)
    }

    fn report_task(&self, id: TaskId, progress: Result<u8, &str>) -> Result<Task, EditError> {
        let mut state = self.settled();
        let unknown = || EditError::Unknown { kind: "task", id: id.0 };
        let task = state.tasks.get(&id).cloned().ok_or_else(unknown)?;
        let now = clock::wall();
        let task = match progress {
            Ok(progress) if progress < 100 => Task { status: TaskStatus::Doing, progress, ..task },
            Ok(_) => Task { status: TaskStatus::Done, progress: 100, done_at: Some(now), ..task },
            Err(why) => Task { status: TaskStatus::Error, failure: Some(why.into()), done_at: Some(now), ..task },
        };
        self.keep_task(&mut state, task, Vec::new())
    }

    fn certificate_files(&self, id: ObjectId) -> Option<[PathBuf; 2]> {
        self.shelf.files(id)
    }

    fn position(&self, path: &[&str]) -> Option<String> {
        self.view.load().live.file().position(path)
    }
}

impl State {
    fn view(&self) -> View {
        View {
            live: Arc::clone(&self.live),
            ahead: Arc::clone(&self.ahead),
            staged: self.staging.iter().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            revision: self.revision,
        }
    }

    /// Returns a batch that keeps what became of staged changes, beside what is in `batch`.
    fn batch(&self, batch: ObjectBatch, difference: &Difference) -> ObjectBatch {
        ObjectBatch {
            staged: difference.put.clone(),
            unstaged: difference.gone.clone(),
            last_object: self.last_object,
            last_task: self.last_task,
            ..batch
        }
    }
}

/// Returns what the objects ahead become after a live write of these changes.
fn following(live: &World, staging: &Staging, changes: &[Change], difference: &Difference) -> Vec<Change> {
    let of_keys = |key: &StagedKey| match key {
        StagedKey::Object(id) => Some(*id),
        StagedKey::Field(..) => None,
    };
    let mut ids: Vec<ObjectId> = changes.iter().map(Change::id).collect();
    ids.extend(difference.gone.iter().chain(&difference.lost).filter_map(of_keys));
    ids.sort_unstable();
    ids.dedup();
    let now =
        |id: ObjectId| match (staging.get(StagedKey::Object(id)).map(|staged| &staged.change), live.made().get(id)) {
            (Some(StagedChange::Put(declaration)), _) => Change::Put(Arc::clone(declaration)),
            (Some(StagedChange::Delete(_) | StagedChange::Wish(..)), _) | (None, None) => Change::Delete(id),
            (None, Some(declaration)) => Change::Put(Arc::clone(declaration)),
        };
    ids.into_iter().map(now).collect()
}

fn put_into(batch: &mut ObjectBatch, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Delete(id) => batch.deleted.push(*id),
            Change::Put(declaration) => batch.put.push(Arc::clone(declaration)),
        }
    }
}

fn refused(error: ReloadError) -> EditError {
    match error {
        ReloadError::Journal(error) => not_kept(&error),
        ReloadError::Listen(errors) => {
            let address = errors.iter().find_map(|error| match error {
                OpenError::Listen(error) => Some(error.address.clone()),
                OpenError::File(_) => None,
            });
            EditError::NotOpened { address, reasons: errors.iter().map(ToString::to_string).collect() }
        }
    }
}

fn not_kept(error: &JournalError) -> EditError {
    tracing::error!(error = %report(error), "write through an api not kept");
    EditError::NotKept(error.to_string().into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
