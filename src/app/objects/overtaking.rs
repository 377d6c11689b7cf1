//! What live changes take from what is staged: those of servers, which are told by the Store, and what can never be any
//! more. Kept by the journal and told.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock;
use crate::model::{Act, Event, EventKind, Field, ObjectBatch, ServerKey, StagedKey};
use crate::objects::overtaken::Overtaken;
use crate::objects::staging::Difference;
use crate::report::report;
use crate::store::EventSink;

use super::told::{self, lost};
use super::{MadeObjects, State, Work, ahead_of, lock};

/// Live changes of servers that were told and not looked at yet.
#[derive(Default)]
pub(in crate::app) struct Overtaking {
    pub(super) told: Mutex<Vec<(ServerKey, Field, Act)>>,
    pub(super) wake: Mutex<Option<Sender<Work>>>,
}

impl Overtaking {
    /// Returns what is to be told of every event.
    pub(in crate::app) fn sink(self: &Arc<Self>) -> EventSink {
        let own = Arc::clone(self);
        Box::new(move |event: &Arc<Event>| {
            let EventKind::Changed { server, to, act, .. } = &event.kind else { return };
            lock(&own.told).push((*server, to.field(), act.clone()));
            if let Some(wake) = &*lock(&own.wake) {
                // Without the thread the process ends.
                let _ = wake.send(Work::Overtaken);
            }
        })
    }
}

impl MadeObjects {
    /// Takes the lock, once live changes that were told have won over what is staged.
    pub(super) fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        let told = std::mem::take(&mut *lock(&self.overtaking.told));
        for (server, field, act) in told {
            self.overtake_field(&mut state, server, field, &act);
        }
        state
    }

    fn overtake_field(&self, state: &mut State, server: ServerKey, field: Field, act: &Act) {
        let keys = [StagedKey::Field(server, field), StagedKey::Object(server.server.into())];
        let is_older = |key: &StagedKey| state.staging.get(*key).is_some_and(|staged| staged.act.at <= act.at);
        if !keys.iter().any(is_older) {
            return;
        }
        let mut staging = state.staging.clone();
        let live = state.live.made().get(server.server.into()).cloned();
        let difference = staging.overtake_field(server, field, live.as_deref());
        if difference == Difference::default() {
            return;
        }
        let batch = state.batch(ObjectBatch::default(), &difference);
        if let Err(error) = self.journal.commit_objects(&batch) {
            tracing::error!(error = %report(&error), "staged change not dropped: it is dropped with the next write");
            lock(&self.overtaking.told).push((server, field, act.clone()));
            return;
        }
        for kind in lost([&state.live, &state.ahead], &difference, act) {
            self.store.note(kind, clock::wall());
        }
        state.staging = staging;
        state.ahead = ahead_of(&state.live, &state.staging);
        self.publish(state);
    }

    /// Takes out of the journal what is not staged any more, and tells it.
    pub(super) fn forget(&self, state: &State, dropped: &[Overtaken], act: &Act) {
        if dropped.is_empty() {
            return;
        }
        let mut difference = Difference::default();
        difference.drop_all(dropped.iter().map(|it| it.key));
        if let Err(error) = self.journal.commit_objects(&state.batch(ObjectBatch::default(), &difference)) {
            tracing::error!(error = %report(&error), "dropped changes still in the journal: the next start drops them again");
        }
        told::log_dropped(dropped);
        for kind in told::overtaken(dropped, act) {
            self.store.note(kind, act.at);
        }
    }
}
