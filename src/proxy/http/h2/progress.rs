//! How far one request of HTTP/2 has come, and when it is late.
//!
//! The stream of an HTTP/1 connection keeps the deadlines towards its client; of the requests of an HTTP/2 connection
//! each has its own, kept by the task that serves it and fed by the engine's callbacks. Calls of gRPC may be silent for
//! long, either way: they have the deadline of a tunnel, and their own, which their two ends keep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::{FrontendTimeouts, Limits};

use super::super::control::Connection;
use super::super::head::Fault;

/// How often a request is looked at whose deadline is far: another one may have come nearer.
const GLANCE: Duration = Duration::from_secs(1);

/// See the module's doc.
#[derive(Debug)]
pub(in crate::proxy) struct Progress {
    state: Mutex<State>,
    /// Whether it is a call of gRPC.
    pub(in crate::proxy) is_grpc: bool,
    body_bytes_max: u64,
}

#[derive(Clone, Copy, Debug)]
struct State {
    began: Instant,
    body_bytes: u64,
    /// When the client last sent some of its body.
    received: Instant,
    /// When some of the answer last came.
    answered: Instant,
    /// When the request was whole.
    ended: Option<Instant>,
}

/// What a look at a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing can be late before then.
    Fine(Instant),
    Late(Fault),
}

impl Progress {
    pub(in crate::proxy::http) fn new(is_grpc: bool, is_whole: bool, limits: &Limits) -> Self {
        let now = clock::monotonic();
        let state = State { began: now, body_bytes: 0, received: now, answered: now, ended: is_whole.then_some(now) };
        Self { state: Mutex::new(state), is_grpc, body_bytes_max: limits.body_bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a piece of the request's body.
    ///
    /// # Errors
    /// [`Fault::BodyTooLarge`] once there is more of it than there may be.
    pub(in crate::proxy) fn received(&self, bytes: usize, is_last: bool) -> Result<(), Fault> {
        let now = clock::monotonic();
        let mut state = self.state();
        state.body_bytes += bytes as u64;
        state.received = now;
        if is_last {
            state.ended.get_or_insert(now);
        }
        if state.body_bytes > self.body_bytes_max { Err(Fault::BodyTooLarge) } else { Ok(()) }
    }

    /// Takes in that the request goes to another server, from the first byte of its body on.
    pub(in crate::proxy) fn begins_again(&self) {
        self.state().body_bytes = 0;
    }

    /// Takes in that some of the answer came.
    pub(in crate::proxy) fn answered(&self) {
        self.state().answered = clock::monotonic();
    }

    /// Returns once the request is late, and how.
    pub(super) async fn late(&self, connection: &Connection) -> Fault {
        let frontend = &connection.frontend.frontend;
        loop {
            let now = clock::monotonic();
            let state = *self.state();
            let answer_by = connection.answer_by(state.ended.unwrap_or(now), state.answered);
            match state.look(now, self.is_grpc, answer_by, &frontend.timeouts, &frontend.limits) {
                Look::Late(fault) => return fault,
                Look::Fine(until) => tokio::time::sleep_until(until.min(now + GLANCE).into()).await,
            }
        }
    }
}

impl State {
    fn look(
        &self,
        now: Instant,
        is_grpc: bool,
        answer_by: Option<Instant>,
        timeouts: &FrontendTimeouts,
        limits: &Limits,
    ) -> Look {
        let active = self.received.max(self.answered);
        let until = |by, fault| if now < by { Look::Fine(by) } else { Look::Late(fault) };
        if is_grpc {
            return until(active + timeouts.tunnel, Fault::ResponseTimeout);
        }
        if self.ended.is_none() {
            if self.is_too_slow(now, timeouts, limits) {
                return Look::Late(Fault::BodyTimeout);
            }
            return until(active + timeouts.body, Fault::BodyTimeout);
        }
        // Otherwise the answer is on its way, and the engine keeps the deadlines of both its sides.
        answer_by.map_or(Look::Fine(now + GLANCE), |by| until(by, Fault::ResponseTimeout))
    }

    /// Whether the body comes to less, on average, than it must.
    fn is_too_slow(&self, now: Instant, timeouts: &FrontendTimeouts, limits: &Limits) -> bool {
        let took = now.saturating_duration_since(self.began);
        took >= timeouts.body && self.body_bytes < took.as_secs().saturating_mul(u64::from(limits.body_rate_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn look(state: &State, after: u64, is_grpc: bool, answer_by: Option<Instant>) -> Look {
        let timeouts = FrontendTimeouts { body: 10 * SECOND, tunnel: 100 * SECOND, ..FrontendTimeouts::default() };
        let limits = Limits { body_rate_min: 100, ..Limits::default() };
        let after = u32::try_from(after).unwrap();
        state.look(state.began + after * SECOND, is_grpc, answer_by, &timeouts, &limits)
    }

    fn began() -> State {
        let now = clock::monotonic();
        State { began: now, body_bytes: 0, received: now, answered: now, ended: None }
    }

    #[test]
    fn body_that_stalls_or_drips_is_late() {
        let state = began();
        assert_eq!(look(&state, 9, false, None), Look::Fine(state.began + 10 * SECOND));
        assert_eq!(look(&state, 10, false, None), Look::Late(Fault::BodyTimeout));
        let drips = State { body_bytes: 999, received: state.began + 9 * SECOND, ..state };
        assert_eq!(look(&drips, 10, false, None), Look::Late(Fault::BodyTimeout));
        let flows = State { body_bytes: 1000, ..drips };
        assert_eq!(look(&flows, 10, false, None), Look::Fine(state.began + 19 * SECOND));
    }

    #[test]
    fn whole_request_is_late_when_its_answer_is() {
        let state = State { ended: Some(clock::monotonic()), ..began() };
        let by = state.began + 30 * SECOND;
        assert_eq!(look(&state, 29, false, Some(by)), Look::Fine(by));
        assert_eq!(look(&state, 30, false, Some(by)), Look::Late(Fault::ResponseTimeout));
        assert_eq!(look(&state, 31, false, None), Look::Fine(state.began + 32 * SECOND), "it is on its way");
    }

    #[test]
    fn call_of_grpc_is_late_only_when_both_sides_were_silent_for_long() {
        let state = began();
        assert_eq!(look(&state, 99, true, Some(state.began)), Look::Fine(state.began + 100 * SECOND));
        assert_eq!(look(&state, 100, true, None), Look::Late(Fault::ResponseTimeout));
        let answered = State { answered: state.began + 50 * SECOND, ..state };
        assert_eq!(look(&answered, 100, true, None), Look::Fine(state.began + 150 * SECOND));
    }

    #[test]
    fn body_is_too_large_once_it_is() {
        let progress = Progress::new(false, false, &Limits { body_bytes: 10, ..Limits::default() });
        assert_eq!(progress.received(10, false), Ok(()));
        assert_eq!(progress.received(1, true), Err(Fault::BodyTooLarge));
    }
}
