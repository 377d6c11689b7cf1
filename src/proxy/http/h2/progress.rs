//! How far one request of HTTP/2 has come, and when it is late.
//!
//! The stream of an HTTP/1 connection keeps the deadlines towards its client; of the requests of an HTTP/2 connection
//! each has its own, kept by the task that serves it and fed by the engine's callbacks and by [`super::pieces`]. A body
//! that is on its way is the client's to send only while there is a server that took all that came so far; an answer is
//! the client's to take while a piece of it waits. Calls of gRPC may be silent for long, either way: they have the
//! deadline of a tunnel, and their own, which their two ends keep.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::http::{Method, Uri};
use ::pingora::http::RequestHeader;

use crate::clock;
use crate::model::{FrontendTimeouts, Limits};

use super::super::conn::pace::Pace;
use super::super::conn::taking::Taking;
use super::super::control::Connection;
use super::super::head::Fault;
use super::head;

/// How often a request is looked at whose deadline is far: another one may have come nearer.
const GLANCE: Duration = Duration::from_secs(1);
/// A piece of an answer that is taken so soon did not wait for its client: it goes through two tasks and a socket.
const TAKEN_AT_ONCE: Duration = Duration::from_millis(100);

/// See the module's doc.
#[derive(Debug)]
pub(in crate::proxy) struct Progress {
    state: Mutex<State>,
    /// Whether it is a call of gRPC.
    pub(in crate::proxy) is_grpc: bool,
    /// What was asked, for the log line of a request whose head is gone.
    pub(in crate::proxy) method: Method,
    pub(in crate::proxy) uri: Uri,
    body_bytes_max: u64,
    body_rate_min: u32,
    body_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Of the attempt under way, as the next two.
    body_bytes: u64,
    pace: Pace,
    /// Pieces of the body that the server has yet to take.
    untaken: usize,
    /// Which attempt is under way, or was last.
    attempt: u32,
    /// Whether an attempt has a server to send the body to.
    is_asked: bool,
    /// Since when nothing but the client is waited for.
    awaited: Option<Instant>,
    /// When the client last sent some of its body.
    received: Instant,
    /// When some of the answer last came.
    answered: Instant,
    /// When the request was whole.
    ended: Option<Instant>,
    /// Pieces of the answer that the client has yet to take.
    waiting: usize,
    taking: Taking,
}

/// What a look at a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing can be late before then.
    Fine(Instant),
    Late(Fault),
}

impl Progress {
    pub(in crate::proxy::http) fn new(
        head: &RequestHeader,
        is_whole: bool,
        timeouts: &FrontendTimeouts,
        limits: &Limits,
    ) -> Self {
        let now = clock::monotonic();
        let state = State {
            body_bytes: 0,
            pace: Pace::default(),
            untaken: 0,
            attempt: 0,
            is_asked: false,
            awaited: None,
            received: now,
            answered: now,
            ended: is_whole.then_some(now),
            waiting: 0,
            taking: Taking::new(timeouts.write, limits.body_rate_min, TAKEN_AT_ONCE),
        };
        Self {
            state: Mutex::new(state),
            is_grpc: head::is_grpc(head),
            method: head.method.clone(),
            uri: head.uri.clone(),
            body_bytes_max: limits.body_bytes,
            body_rate_min: limits.body_rate_min,
            body_timeout: timeouts.body,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that an attempt has a server: the body is asked for, from its beginning.
    pub(in crate::proxy) fn goes(&self) {
        let mut state = self.state();
        state.body_bytes = 0;
        state.pace = Pace::default();
        state.untaken = 0;
        state.attempt = state.attempt.wrapping_add(1);
        state.is_asked = true;
        state.awaited = None;
        state.await_client(clock::monotonic());
    }

    /// Says that there is no server now: nothing is asked of the client.
    pub(in crate::proxy) fn rests(&self) {
        let mut state = self.state();
        state.is_asked = false;
        state.awaited = None;
        state.pace = Pace::default();
    }

    /// Takes in a piece of the request's body.
    ///
    /// # Errors
    /// [`Fault::BodyTooLarge`] once there is more of it than there may be, [`Fault::BodyTimeout`] where it comes to less
    /// on average than it must.
    pub(in crate::proxy) fn received(&self, bytes: usize, is_last: bool) -> Result<(), Fault> {
        let now = clock::monotonic();
        let mut state = self.state();
        state.body_bytes += bytes as u64;
        state.received = now;
        state.awaited = None;
        if is_last {
            state.ended.get_or_insert(now);
        }
        let is_in_time = state.pace.read(bytes, now, self.body_timeout, self.body_rate_min);
        state.await_client(now);
        if state.body_bytes > self.body_bytes_max {
            return Err(Fault::BodyTooLarge);
        }
        if is_in_time || self.is_grpc { Ok(()) } else { Err(Fault::BodyTimeout) }
    }

    /// Takes in that a piece of the body goes to the server; returns by which attempt.
    pub(super) fn passes_on(&self) -> u32 {
        let now = clock::monotonic();
        let mut state = self.state();
        state.untaken += 1;
        state.awaited = None;
        // What was waited so far counts, and no more.
        state.pace.read(0, now, self.body_timeout, self.body_rate_min);
        state.attempt
    }

    /// Takes in that the server took a piece.
    pub(super) fn passed_on(&self, attempt: u32) {
        let mut state = self.state();
        if state.attempt == attempt {
            state.untaken = state.untaken.saturating_sub(1);
            state.await_client(clock::monotonic());
        }
    }

    /// Takes in that a piece of the answer waits for the client.
    pub(super) fn hands(&self) {
        let mut state = self.state();
        state.waiting += 1;
        state.taking.waits(clock::monotonic());
    }

    /// Takes in that the client took a piece of so many bytes.
    pub(super) fn handed(&self, bytes: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(1);
        state.taking.took(bytes);
        if state.waiting == 0 {
            state.taking.rests(clock::monotonic());
        }
    }

    /// Takes in that the request goes to another server, from the first byte of its body on.
    pub(in crate::proxy) fn begins_again(&self) {
        self.state().body_bytes = 0;
    }

    /// Takes in that some of the answer came.
    pub(in crate::proxy) fn answered(&self) {
        self.state().answered = clock::monotonic();
    }

    /// Returns how many bytes of the body the last attempt has sent.
    pub(in crate::proxy) fn body_bytes(&self) -> u64 {
        self.state().body_bytes
    }

    /// Returns once the request is late, and how.
    pub(super) async fn late(&self, connection: &Connection) -> Fault {
        let frontend = &connection.frontend.frontend;
        loop {
            let now = clock::monotonic();
            let State { ended, answered, .. } = *self.state();
            let answer_by = connection.answer_by(ended.unwrap_or(now), answered);
            let look = self.state().look(now, self.is_grpc, answer_by, &frontend.timeouts, &frontend.limits);
            match look {
                Look::Late(fault) => return fault,
                Look::Fine(until) => tokio::time::sleep_until(until.min(now + GLANCE).into()).await,
            }
        }
    }
}

impl State {
    /// Begins to wait for the client where nothing else is waited for.
    fn await_client(&mut self, now: Instant) {
        if self.is_asked && self.untaken == 0 && self.ended.is_none() {
            self.awaited.get_or_insert(now);
            self.pace.waits(now);
        }
    }

    fn look(
        &mut self,
        now: Instant,
        is_grpc: bool,
        answer_by: Option<Instant>,
        timeouts: &FrontendTimeouts,
        limits: &Limits,
    ) -> Look {
        let until = |by, fault| if now < by { Look::Fine(by) } else { Look::Late(fault) };
        if !self.taking.is_enough(now) {
            return Look::Late(Fault::AnswerTimeout);
        }
        if is_grpc {
            return until(self.received.max(self.answered) + timeouts.tunnel, Fault::ResponseTimeout);
        }
        if self.ended.is_none() {
            let Some(since) = self.awaited else { return Look::Fine(now + GLANCE) };
            let is_in_time = self.pace.read(0, now, timeouts.body, limits.body_rate_min);
            self.pace.waits(now);
            if !is_in_time {
                return Look::Late(Fault::BodyTimeout);
            }
            return until(since.max(self.answered) + timeouts.body, Fault::BodyTimeout);
        }
        // Otherwise the answer is on its way, and the engine keeps the deadlines of both its sides.
        answer_by.map_or(Look::Fine(now + GLANCE), |by| until(by, Fault::ResponseTimeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn progress(is_whole: bool, limits: &Limits) -> Progress {
        let head = RequestHeader::build("POST", b"/", None).unwrap();
        let timeouts = FrontendTimeouts { body: 10 * SECOND, write: 10 * SECOND, ..FrontendTimeouts::default() };
        Progress::new(&head, is_whole, &timeouts, limits)
    }

    fn limits() -> Limits {
        Limits { body_rate_min: 100, ..Limits::default() }
    }

    /// A request whose body is asked for, and when that began.
    fn asked() -> (State, Instant) {
        let progress = progress(false, &limits());
        progress.goes();
        let state = *progress.state();
        (state, state.awaited.unwrap())
    }

    /// Looks at it as it would be if nothing had happened.
    fn look(state: &State, at: Instant, is_grpc: bool, answer_by: Option<Instant>) -> Look {
        let timeouts = FrontendTimeouts { body: 10 * SECOND, tunnel: 100 * SECOND, ..FrontendTimeouts::default() };
        let mut state = *state;
        state.look(at, is_grpc, answer_by, &timeouts, &limits())
    }

    #[test]
    fn body_that_stalls_is_late_while_the_client_is_waited_for() {
        let (state, began) = asked();
        assert_eq!(look(&state, began + 9 * SECOND, false, None), Look::Fine(began + 10 * SECOND));
        assert_eq!(look(&state, began + 10 * SECOND, false, None), Look::Late(Fault::BodyTimeout));
        for waits_for_another in
            [State { awaited: None, is_asked: false, ..state }, State { awaited: None, untaken: 1, ..state }]
        {
            let mut state = waits_for_another;
            state.await_client(began);
            let later = began + 1000 * SECOND;
            assert_eq!(look(&state, later, false, None), Look::Fine(later + GLANCE), "{state:?}");
        }
    }

    #[test]
    fn body_that_drips_is_late_on_average() {
        let (mut state, began) = asked();
        for n in 0..30 {
            let now = began + n * SECOND;
            state.pace.read(1, now, 10 * SECOND, 100);
            state.awaited = None;
            state.await_client(now);
            let is_late = look(&state, now, false, None) == Look::Late(Fault::BodyTimeout);
            assert_eq!(is_late, n > 10, "second {n}");
        }
    }

    #[test]
    fn piece_that_the_server_has_yet_to_take_is_not_waited_for() {
        let progress = progress(false, &limits());
        progress.goes();
        assert_eq!(progress.received(5, false), Ok(()));
        let attempt = progress.passes_on();
        assert!(progress.state().awaited.is_none());
        progress.passed_on(attempt.wrapping_sub(1));
        assert!(progress.state().awaited.is_none(), "that was of another attempt");
        progress.passed_on(attempt);
        assert!(progress.state().awaited.is_some());
        assert_eq!(progress.received(0, true), Ok(()));
        assert!(progress.state().awaited.is_none(), "it is whole");
    }

    #[test]
    fn whole_request_is_late_when_its_answer_is() {
        let began = clock::monotonic();
        let state = *progress(true, &limits()).state();
        let by = began + 30 * SECOND;
        assert_eq!(look(&state, began + 29 * SECOND, false, Some(by)), Look::Fine(by));
        assert_eq!(look(&state, by, false, Some(by)), Look::Late(Fault::ResponseTimeout));
        assert_eq!(look(&state, by, false, None), Look::Fine(by + GLANCE), "it is on its way");
    }

    #[test]
    fn call_of_grpc_is_late_only_when_both_sides_were_silent_for_long() {
        let (state, _) = asked();
        let began = state.received;
        let late = Look::Late(Fault::ResponseTimeout);
        assert_eq!(look(&state, began + 99 * SECOND, true, Some(began)), Look::Fine(began + 100 * SECOND));
        assert_eq!(look(&State { answered: began, ..state }, began + 100 * SECOND, true, None), late);
        let answered = State { answered: began + 50 * SECOND, ..state };
        assert_eq!(look(&answered, began + 100 * SECOND, true, None), Look::Fine(began + 150 * SECOND));
    }

    #[test]
    fn answer_that_its_client_does_not_take_is_late() {
        let progress = progress(true, &limits());
        progress.hands();
        progress.hands();
        let now = clock::monotonic();
        progress.handed(1);
        let state = *progress.state();
        assert_eq!(look(&state, now + 11 * SECOND, false, None), Look::Late(Fault::AnswerTimeout));
        assert_eq!(look(&state, now + 11 * SECOND, true, None), Look::Late(Fault::AnswerTimeout));
        progress.handed(1);
        let later = now + 1000 * SECOND;
        assert_eq!(look(&progress.state(), later, false, None), Look::Fine(later + GLANCE), "nothing waits");
    }

    #[test]
    fn body_is_too_large_once_it_is_and_begins_anew_with_each_attempt() {
        let progress = progress(false, &Limits { body_bytes: 10, ..Limits::default() });
        progress.goes();
        assert_eq!(progress.received(10, false), Ok(()));
        progress.rests();
        progress.goes();
        assert_eq!(progress.received(10, false), Ok(()));
        assert_eq!(progress.received(1, true), Err(Fault::BodyTooLarge));
    }
}
