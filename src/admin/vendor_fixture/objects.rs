//! Objects in memory, for the tests of the vendor shapes: writes are staged and refreshed as in a running process, and
//! nothing of it reaches the Store.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::model::object::FIRST_MADE_ID;
use crate::model::{Act, Made, ObjectId, Task, TaskId, TaskStatus, Timestamp, Topology, Wish};
use crate::objects::staging::Staging;
use crate::objects::{Desk, EditError, Edited, Objects, Plan, View, When, World, resolve};

/// See the module's doc.
pub(crate) struct MemoryObjects(Mutex<State>);

struct State {
    live: Arc<World>,
    ahead: Arc<World>,
    staging: Staging,
    tasks: Vec<Task>,
    last: u64,
}

impl MemoryObjects {
    /// Keeps objects beside those of a file.
    pub(crate) fn beside(topology: Topology) -> Self {
        let live = Arc::new(World::new(Arc::default(), topology, &Made::default()));
        let (ahead, staging, tasks) = (Arc::clone(&live), Staging::default(), Vec::new());
        Self(Mutex::new(State { live, ahead, staging, tasks, last: FIRST_MADE_ID - 1 }))
    }

    fn task(&self, action: &str, zones: Vec<Box<str>>, status: TaskStatus, act: &Act) -> Task {
        let mut state = self.0.lock().unwrap();
        let id = TaskId(state.tasks.len() as u64 + 1);
        let done_at = status.is_final().then_some(act.at);
        let task = Task {
            id,
            action: action.into(),
            is_refresh: status.is_final(),
            status,
            zones,
            progress: if status.is_final() { 100 } else { 0 },
            created_at: act.at,
            done_at,
            failure: None,
            act: act.clone(),
        };
        state.tasks.push(task.clone());
        task
    }
}

impl State {
    fn view(&self) -> View {
        View {
            live: Arc::clone(&self.live),
            ahead: Arc::clone(&self.ahead),
            staged: self.staging.iter().cloned().collect(),
            tasks: self.tasks.clone(),
            revision: self.last,
        }
    }
}

impl Objects for MemoryObjects {
    fn view(&self) -> Arc<View> {
        Arc::new(self.0.lock().unwrap().view())
    }

    fn edit(&self, plan: Plan<'_>, when: When<'_>, act: &Act) -> Result<Edited, EditError> {
        let mut state = self.0.lock().unwrap();
        let view = state.view();
        let desk = Desk::new(&view, state.last);
        let edits = plan(&desk)?;
        let mut resolved = resolve(&state.ahead, &edits, act.at)?;
        let staging = &state.staging;
        resolved.wishes.retain(|(key, wish)| {
            let farm = view.live.farm(key.farm);
            let server = farm.and_then(|farm| farm.servers.iter().find(|server| server.id == key.server));
            let live = server.map(|server| Wish::current(wish.field(), server));
            staging.wish(*key, wish.field()).or(live) != Some(*wish)
        });
        let (ahead, touched) = state.ahead.with(&resolved.changes);
        ahead.check_beside(&touched, &state.ahead)?;
        state.last = desk.last();
        let live = Arc::clone(&state.live);
        match when {
            When::Live => state.live = Arc::new(live.with(&resolved.changes).0),
            When::Staged { zone } => drop(state.staging.stage(live.made(), &resolved, zone, act)),
        }
        state.ahead = Arc::new(ahead);
        Ok(Edited { changes: resolved.changes.len() + resolved.wishes.len(), ..Edited::default() })
    }

    fn refresh(&self, zones: Option<&[Box<str>]>, action: &str, act: &Act) -> Result<Task, EditError> {
        let mut state = self.0.lock().unwrap();
        let due = state.staging.due(zones);
        state.live = Arc::new(state.live.with(&due.changes).0);
        state.staging.done(&due.keys);
        drop(state);
        Ok(self.task(action, due.zones, TaskStatus::Done, act))
    }

    fn begin_task(&self, action: &str, zones: &[Box<str>], act: &Act) -> Result<Task, EditError> {
        Ok(self.task(action, zones.to_vec(), TaskStatus::Todo, act))
    }

    fn report_task(&self, id: TaskId, progress: Result<u8, &str>) -> Result<Task, EditError> {
        let mut state = self.0.lock().unwrap();
        let unknown = EditError::Unknown { kind: "task", id: id.0 };
        let task = state.tasks.iter_mut().find(|task| task.id == id).ok_or(unknown)?;
        task.status = if progress.is_err() { TaskStatus::Error } else { TaskStatus::Done };
        task.done_at = Some(Timestamp(task.created_at.0 + 1));
        Ok(task.clone())
    }

    fn certificate_files(&self, id: ObjectId) -> Option<[PathBuf; 2]> {
        Some(["cert", "key"].map(|part| PathBuf::from(format!("/state/{id}.{part}.pem"))))
    }

    fn position(&self, _path: &[&str]) -> Option<String> {
        Some("farmgate.yaml:1:1".to_owned())
    }
}

/// Objects whose staged writes are all refused.
pub(crate) struct Unstaged {
    /// What keeps the rest.
    pub(crate) objects: Arc<dyn Objects>,
    /// What a staged write comes to.
    pub(crate) why: fn() -> EditError,
}

impl Objects for Unstaged {
    fn view(&self) -> Arc<View> {
        self.objects.view()
    }

    fn edit(&self, plan: Plan<'_>, when: When<'_>, act: &Act) -> Result<Edited, EditError> {
        match when {
            When::Live => self.objects.edit(plan, when, act),
            When::Staged { .. } => Err((self.why)()),
        }
    }

    fn refresh(&self, zones: Option<&[Box<str>]>, action: &str, act: &Act) -> Result<Task, EditError> {
        self.objects.refresh(zones, action, act)
    }

    fn begin_task(&self, action: &str, zones: &[Box<str>], act: &Act) -> Result<Task, EditError> {
        self.objects.begin_task(action, zones, act)
    }

    fn report_task(&self, id: TaskId, progress: Result<u8, &str>) -> Result<Task, EditError> {
        self.objects.report_task(id, progress)
    }

    fn certificate_files(&self, id: ObjectId) -> Option<[PathBuf; 2]> {
        self.objects.certificate_files(id)
    }

    fn position(&self, path: &[&str]) -> Option<String> {
        self.objects.position(path)
    }
}
