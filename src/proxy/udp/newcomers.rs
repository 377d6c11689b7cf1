//! The UDP sessions of each frontend in the order they began, over all workers, for when there is room for no more.
//!
//! Who is new and has sent one datagram only may have made its address up. The oldest of these goes first; who has sent
//! a second one is here no more. Sessions that ended are dropped by the way, so there are never many more than twice as
//! many as there were at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::model::FrontendId;

use super::super::entry::Pass;
use super::session::Session;

/// So many are kept before anybody is looked at again.
const KEPT_MIN: usize = 64;

/// See the module's doc.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Newcomers(Mutex<BTreeMap<FrontendId, Queue>>);

#[derive(Debug, Default)]
struct Queue {
    sessions: VecDeque<Weak<Session>>,
    kept_max: usize,
}

impl Newcomers {
    /// Adds the newest one.
    pub(super) fn add(&self, session: &Arc<Session>) {
        let mut queues = self.queues();
        let queue = queues.entry(session.frontend()).or_default();
        if queue.sessions.len() >= queue.kept_max {
            queue.sessions.retain(|session| session.upgrade().is_some_and(|session| session.is_newcomer()));
            queue.kept_max = (2 * queue.sessions.len()).max(KEPT_MIN);
        }
        queue.sessions.push_back(Arc::downgrade(session));
    }

    /// Ends the session of the frontend's oldest newcomer and returns its place, if there is one.
    pub(super) fn make_room(&self, frontend: FrontendId) -> Option<Pass> {
        let mut queues = self.queues();
        let sessions = &mut queues.get_mut(&frontend)?.sessions;
        while let Some(session) = sessions.pop_front() {
            if let Some(place) = session.upgrade().and_then(|session| session.give_way()) {
                return Some(place);
            }
        }
        None
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<FrontendId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
