//! The sessions of a UDP listener in the order they began, for when there is room for no more.
//!
//! Who is new and has sent one datagram only may have made its address up. The oldest of these goes first; who has sent
//! a second one is here no more. Sessions that ended are dropped by the way, so there are never more than twice as many
//! as there were at once.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::session::Session;

/// So many are kept before anybody is looked at again.
const KEPT_MIN: usize = 64;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Newcomers {
    sessions: VecDeque<Weak<Session>>,
    kept_max: usize,
}

impl Newcomers {
    /// Adds the newest one.
    pub(super) fn add(&mut self, session: &Arc<Session>) {
        if self.sessions.len() >= self.kept_max {
            self.sessions.retain(|session| session.upgrade().is_some_and(|session| session.is_newcomer()));
            self.kept_max = (2 * self.sessions.len()).max(KEPT_MIN);
        }
        self.sessions.push_back(Arc::downgrade(session));
    }

    /// Takes the oldest one that is still there.
    pub(super) fn next(&mut self) -> Option<Arc<Session>> {
        while let Some(session) = self.sessions.pop_front() {
            if let Some(session) = session.upgrade() {
                return Some(session);
            }
        }
        None
    }
}
