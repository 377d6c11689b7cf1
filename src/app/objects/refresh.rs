//! The thread that carries refreshes out, drops what live changes overtook, and forgets old tasks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;

use crate::alarm::Alarm;
use crate::clock;
use crate::model::{ObjectBatch, RefreshPhase, Task, TaskId, TaskStatus};
use crate::objects::EditError;
use crate::objects::overtaken::Beside;
use crate::objects::staging::Due;

use super::{MadeObjects, Work, lock, notes, put_into, told};

/// How often it is looked for tasks that ended long ago.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The running thread.
pub(crate) struct Refresher {
    objects: Arc<MadeObjects>,
    thread: JoinHandle<()>,
}

impl Refresher {
    /// Starts the thread, which rings if it is lost.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(crate) fn start(objects: &Arc<MadeObjects>, works: Receiver<Work>, alarm: &Alarm) -> anyhow::Result<Self> {
        let own = Arc::clone(objects);
        let guard = alarm.guard("objects");
        let thread = std::thread::Builder::new().name("objects".to_owned()).spawn(move || {
            let _guard = guard;
            own.forget_tasks(clock::wall());
            loop {
                match works.recv_timeout(LOOK_EVERY) {
                    Ok(Work::End) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(Work::Overtaken) => drop(own.settled()),
                    Ok(Work::Refresh(id)) => own.carry_out(id),
                    Err(RecvTimeoutError::Timeout) => own.forget_tasks(clock::wall()),
                }
            }
        });
        let thread = thread.map_err(|error| anyhow!("cannot start the objects thread: {error}"))?;
        Ok(Self { objects: Arc::clone(objects), thread })
    }

    /// Ends the thread once what it does is done.
    pub(crate) fn stop(self) {
        // It may be gone.
        let _ = lock(&self.objects.work).send(Work::End);
        // A panic was reported by its thread.
        let _ = self.thread.join();
    }
}

impl MadeObjects {
    /// Carries a refresh out; its task says what came of it.
    fn carry_out(&self, id: TaskId) {
        let mut state = self.settled();
        let Some(task) = state.tasks.get(&id).filter(|task| !task.status.is_final()).cloned() else { return };
        let task = Task { status: TaskStatus::Doing, progress: 50, ..task };
        // Should the process end meanwhile, the next one begins again: nothing rests on this being kept.
        state.tasks.insert(id, task.clone());
        self.publish(&mut state);
        drop(state);
        let ended = match self.make_due(&task) {
            Ok(()) => return,
            Err(error) => Task {
                status: TaskStatus::Error,
                failure: Some(error.to_string().into()),
                done_at: Some(clock::wall()),
                ..task
            },
        };
        let why = ended.failure.clone().unwrap_or_default();
        self.store.note(told::refresh(&ended, RefreshPhase::Failed { why }), clock::wall());
        let mut state = self.settled();
        if self.keep_task(&mut state, ended.clone(), Vec::new()).is_err() {
            // Told already; shown all the same, and kept with the next write of it.
            state.tasks.insert(id, ended);
            self.publish(&mut state);
        }
    }

    /// Makes live what is staged for the zones of a task, and ends it.
    fn make_due(&self, task: &Task) -> Result<(), EditError> {
        let mut state = self.settled();
        let zones = if task.zones.is_empty() { None } else { Some(&*task.zones) };
        let Due { changes, mut wishes, keys, .. } = state.staging.due(zones);
        let (live, touched) = state.live.with(&changes);
        live.check(&touched)?;
        super::named::check(&self.shelf, &live, &changes)?;
        super::allow(self.own, &live)?;
        wishes.retain(|(server, wish)| self.live_value(*server, wish.field()) != Some(*wish));
        let (live, mut staging) = (Arc::new(live), state.staging.clone());
        staging.done(&keys);
        // What waits for other zones may have hung on what was live.
        let before = Arc::clone(&state.ahead);
        let beside = Beside { live: &live, before: &before, files: &|id| self.shelf.files(id) };
        let (ahead, dropped) = staging.heal(beside, super::ahead_of(&live, &staging));
        let done = Task { status: TaskStatus::Done, progress: 100, done_at: Some(clock::wall()), ..task.clone() };
        let mut batch = ObjectBatch {
            unstaged: keys.into_iter().chain(dropped.iter().map(|it| it.key)).collect(),
            tasks: vec![done.clone()],
            last_object: state.last_object,
            last_task: state.last_task,
            ..ObjectBatch::default()
        };
        put_into(&mut batch, &changes);
        let act = crate::model::Act { at: clock::wall(), ..task.act.clone() };
        let mut events = notes(&state.live, &live, &changes, None, &act);
        events.extend(told::overtaken(&dropped, &act));
        events.push(told::refresh(&done, RefreshPhase::Done { changes: changes.len() + wishes.len() }));
        self.shelf.prepare(&changes)?;
        self.adopt(&live, &wishes, &events, &act, &mut batch)?;
        told::log_dropped(&dropped);
        self.shelf.follow(&changes);
        (state.live, state.ahead, state.staging) = (live, ahead, staging);
        state.tasks.insert(done.id, done);
        self.publish(&mut state);
        Ok(())
    }
}
