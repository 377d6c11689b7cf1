//! What is told of a request beside what became of it: the ids it goes by, how long its parts took, who ended it in
//! which phase. Kept while it is on its way; does no IO.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::AttemptOutcome;
use crate::model::trace::{EndPhase, EndedBy, Termination};

use super::super::super::work::RequestId;
use super::super::exchange::short::{ShortText, Shown};
use super::traced::Traced;

/// See the module's doc.
pub(super) struct Seen {
    /// The id under which a trusted proxy sent the request.
    pub(super) outside: Option<Arc<str>>,
    /// The trace that it is part of.
    pub(super) traced: Traced,
    /// Whether anybody wants to know how long its parts took: the clock is read for nobody.
    pub(super) is_timed: bool,
    phase: EndPhase,
    ended: Option<Termination>,
    connecting: Option<Instant>,
    /// How long it waited for servers to have room, if it had to.
    pub(super) queue: Option<Duration>,
    /// How long the connection to the server took that the last attempt went through.
    pub(super) connect: Option<Duration>,
    /// When the head of the server's answer was here.
    pub(super) first_byte: Option<Instant>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            outside: None,
            traced: Traced::default(),
            is_timed: false,
            phase: EndPhase::Request,
            ended: None,
            connecting: None,
            queue: None,
            connect: None,
            first_byte: None,
        }
    }

    /// An attempt begins.
    pub(super) fn attempt_began(&mut self) {
        self.phase = EndPhase::Connect;
        self.connect = None;
        self.connecting = self.now();
    }

    /// The attempt has its connection.
    pub(super) fn connected(&mut self) {
        self.phase = EndPhase::Head;
        self.connect = self.connecting.take().map(|began| began.elapsed());
    }

    /// The head of the server's final answer is here.
    pub(super) fn answer_began(&mut self) {
        self.phase = EndPhase::Data;
        self.ended = None;
        self.first_byte = self.now();
    }

    /// The attempt failed so; the next one may go well.
    pub(super) fn attempt_failed(&mut self, outcome: AttemptOutcome) {
        let by = match outcome {
            AttemptOutcome::Answered => EndedBy::Nobody,
            AttemptOutcome::BrokenOff | AttemptOutcome::NotConnected => EndedBy::Server,
            AttemptOutcome::ClientFailed => EndedBy::Client,
            AttemptOutcome::TakenOut => EndedBy::TakenOut,
            AttemptOutcome::TimedOut => EndedBy::ServerTimeout,
        };
        self.ended_by(by);
        self.traced.attempt_ended(outcome);
    }

    /// Somebody ended it now.
    pub(super) fn ended_by(&mut self, by: EndedBy) {
        self.ended = Some(self.now_ended_by(by));
    }

    /// Somebody ended it in a phase that nobody else knows of.
    pub(super) fn ended_in(&mut self, by: EndedBy, phase: EndPhase) {
        self.ended = Some(Termination::new(by, phase));
    }

    /// Returns the end that somebody brings about now.
    pub(super) fn now_ended_by(&self, by: EndedBy) -> Termination {
        Termination::new(by, self.phase)
    }

    /// Returns whether somebody ended it.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns how it ended; a request that went to no server, and that nobody ended, was answered by the balancer.
    pub(super) fn termination(&self, status: u16) -> Termination {
        let own = if status < 400 { EndedBy::Local } else { EndedBy::Proxy };
        match (self.ended, self.phase) {
            (Some(ended), _) => ended,
            (None, EndPhase::Request) => Termination::new(own, EndPhase::Request),
            (None, _) => Termination::WELL,
        }
    }

    fn now(&self) -> Option<Instant> {
        self.is_timed.then(clock::monotonic)
    }
}

/// The id that others see of a request: the accepted one, or its own.
pub(super) struct ShownId<'a> {
    pub(super) own: RequestId,
    pub(super) outside: Option<&'a str>,
}

impl fmt::Display for ShownId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outside {
            Some(id) => f.write_str(id),
            None => self.own.fmt(f),
        }
    }
}

impl Shown for ShownId<'_> {
    fn show(&self, text: &mut ShortText) {
        match self.outside {
            Some(id) => id.show(text),
            None => self.own.show(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_told_by_who_brought_it_about_in_which_phase() {
        let code = |steps: &[&dyn Fn(&mut Seen)], status: u16| {
            let mut seen = Seen::new();
            steps.iter().for_each(|step| step(&mut seen));
            seen.termination(status).to_string()
        };
        let begin: &dyn Fn(&mut Seen) = &Seen::attempt_began;
        let connected: &dyn Fn(&mut Seen) = &Seen::connected;
        let answered: &dyn Fn(&mut Seen) = &Seen::answer_began;
        let failed = |outcome| move |seen: &mut Seen| seen.attempt_failed(outcome);
        let refused: &dyn Fn(&mut Seen) = &failed(AttemptOutcome::NotConnected);
        let broke: &dyn Fn(&mut Seen) = &failed(AttemptOutcome::BrokenOff);
        let late: &dyn Fn(&mut Seen) = &failed(AttemptOutcome::TimedOut);
        let left: &dyn Fn(&mut Seen) = &failed(AttemptOutcome::ClientFailed);
        let taken: &dyn Fn(&mut Seen) = &failed(AttemptOutcome::TakenOut);
        assert_eq!(code(&[begin, connected, answered], 200), "--");
        assert_eq!(code(&[begin, refused], 502), "SC");
        assert_eq!(code(&[begin, refused, begin, connected, answered], 200), "--", "the next server did it");
        assert_eq!(code(&[begin, connected, broke], 502), "SH");
        assert_eq!(code(&[begin, connected, late], 504), "sH");
        assert_eq!(code(&[begin, connected, left], 0), "CH");
        assert_eq!(code(&[begin, connected, answered, broke], 200), "SD");
        assert_eq!(code(&[begin, connected, answered, left], 200), "CD");
        assert_eq!(code(&[begin, connected, taken], 502), "DH");
        assert_eq!(code(&[], 301), "LR");
        assert_eq!(code(&[], 429), "PR");
    }

    #[test]
    fn clock_is_read_only_where_somebody_wants_to_know() {
        for is_timed in [false, true] {
            let mut seen = Seen { is_timed, ..Seen::new() };
            seen.attempt_began();
            seen.connected();
            seen.answer_began();
            assert_eq!((seen.connect.is_some(), seen.first_byte.is_some()), (is_timed, is_timed));
        }
    }
}
