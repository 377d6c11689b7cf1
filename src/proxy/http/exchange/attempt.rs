//! How an attempt at a server ended: whether another one may follow, how it is remembered, whose fault it was. Pure.

use ::http::{Method, StatusCode};

use crate::model::{AttemptOutcome, TrafficFault};

/// Why an attempt at a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// The server saw nothing of the request, or did nothing with it: no connection was made, or it is known otherwise.
    NotServed,
    /// The connection broke before any of the response arrived.
    NothingAnswered,
    /// The response began, or the client failed, or time ran out: trying again would be wrong or too late.
    Final,
}

/// What is known of an attempt at a server that was connected and did not end well.
#[derive(Clone, Copy, Debug)]
pub struct AttemptEnd {
    /// The server had begun its final response.
    pub is_answered: bool,
    /// The operator had it cut.
    pub is_cut: bool,
    /// It is known that the server did nothing with the request: nothing was sent, or the server says so.
    pub is_unsent: bool,
    /// The server did not take the request, or did not answer it, in time.
    pub is_late: bool,
    /// It was the connection to the server that failed.
    pub is_servers: bool,
    /// What the server, or the client, sent could not be understood.
    pub is_malformed: bool,
    /// The connection had served another request before.
    pub is_kept: bool,
}

impl AttemptEnd {
    /// Returns what it means for another attempt.
    #[must_use]
    pub fn failure(&self) -> AttemptFailure {
        if self.is_answered {
            AttemptFailure::Final
        } else if self.is_cut {
            if self.is_unsent { AttemptFailure::NotServed } else { AttemptFailure::NothingAnswered }
        } else if self.is_late || self.is_malformed || !self.is_servers {
            AttemptFailure::Final
        } else if self.is_unsent {
            AttemptFailure::NotServed
        } else {
            AttemptFailure::NothingAnswered
        }
    }

    /// Returns how it is remembered.
    #[must_use]
    pub fn outcome(&self) -> AttemptOutcome {
        if self.is_cut {
            AttemptOutcome::TakenOut
        } else if self.is_late {
            AttemptOutcome::TimedOut
        } else if self.is_servers {
            AttemptOutcome::BrokenOff
        } else {
            AttemptOutcome::ClientFailed
        }
    }

    /// Returns what of it is the server's fault. A kept connection that turned out closed says nothing about it, nor
    /// does what the operator did or the client.
    #[must_use]
    pub fn fault(&self) -> Option<TrafficFault> {
        let is_closed_while_idle = self.is_kept && !self.is_answered && !self.is_late && !self.is_malformed;
        match self.outcome() {
            AttemptOutcome::TimedOut => Some(TrafficFault::Response),
            AttemptOutcome::BrokenOff if !is_closed_while_idle => Some(TrafficFault::Response),
            AttemptOutcome::Answered
            | AttemptOutcome::BrokenOff
            | AttemptOutcome::ClientFailed
            | AttemptOutcome::NotConnected
            | AttemptOutcome::TakenOut => None,
        }
    }
}

/// Returns whether another server may be tried: always when this one saw nothing; when it may have seen the request,
/// only for a method that is safe to repeat whose body can be sent again.
#[must_use]
pub fn may_retry(failure: AttemptFailure, method: &Method, is_body_replayable: bool) -> bool {
    match failure {
        AttemptFailure::NotServed => is_body_replayable,
        AttemptFailure::NothingAnswered => method.is_idempotent() && is_body_replayable,
        AttemptFailure::Final => false,
    }
}

/// Returns whether a status says that the server failed, rather than that it will not do what was asked.
#[must_use]
pub fn is_servers_failure(status: StatusCode) -> bool {
    status.is_server_error()
        && status != StatusCode::NOT_IMPLEMENTED
        && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_is_allowed_only_where_nothing_can_happen_twice() {
        use AttemptFailure::{Final, NotServed, NothingAnswered};
        for (failure, method, replayable, want) in [
            (NotServed, Method::POST, true, true),
            (NotServed, Method::POST, false, false),
            (NothingAnswered, Method::GET, true, true),
            (NothingAnswered, Method::PUT, true, true),
            (NothingAnswered, Method::PUT, false, false),
            (NothingAnswered, Method::POST, true, false),
            (Final, Method::GET, true, false),
        ] {
            assert_eq!(may_retry(failure, &method, replayable), want, "{failure:?} {method} {replayable}");
        }
    }

    #[test]
    fn attempt_that_ended_badly_is_judged_by_whose_fault_it_was() {
        use AttemptFailure::{Final, NotServed, NothingAnswered};
        use AttemptOutcome::{BrokenOff, ClientFailed, TakenOut, TimedOut};
        let broke = AttemptEnd {
            is_answered: false,
            is_cut: false,
            is_unsent: false,
            is_late: false,
            is_servers: true,
            is_malformed: false,
            is_kept: false,
        };
        let fault = Some(TrafficFault::Response);
        for (name, end, want) in [
            ("broke off", broke, (NothingAnswered, BrokenOff, fault)),
            ("broke off its answer", AttemptEnd { is_answered: true, ..broke }, (Final, BrokenOff, fault)),
            ("kept and closed", AttemptEnd { is_kept: true, ..broke }, (NothingAnswered, BrokenOff, None)),
            (
                "kept, within its answer",
                AttemptEnd { is_kept: true, is_answered: true, ..broke },
                (Final, BrokenOff, fault),
            ),
            ("late", AttemptEnd { is_late: true, ..broke }, (Final, TimedOut, fault)),
            (
                "late, the stream says",
                AttemptEnd { is_late: true, is_servers: false, ..broke },
                (Final, TimedOut, fault),
            ),
            ("malformed", AttemptEnd { is_malformed: true, ..broke }, (Final, BrokenOff, fault)),
            ("client left", AttemptEnd { is_servers: false, ..broke }, (Final, ClientFailed, None)),
            ("unsent", AttemptEnd { is_unsent: true, ..broke }, (NotServed, BrokenOff, fault)),
            ("unsent and kept", AttemptEnd { is_unsent: true, is_kept: true, ..broke }, (NotServed, BrokenOff, None)),
            ("unsent and late", AttemptEnd { is_unsent: true, is_late: true, ..broke }, (Final, TimedOut, fault)),
            (
                "unsent, the client left",
                AttemptEnd { is_unsent: true, is_servers: false, ..broke },
                (Final, ClientFailed, None),
            ),
            ("unsent, answered", AttemptEnd { is_unsent: true, is_answered: true, ..broke }, (Final, BrokenOff, fault)),
            ("cut", AttemptEnd { is_cut: true, ..broke }, (NothingAnswered, TakenOut, None)),
            ("cut, unsent", AttemptEnd { is_cut: true, is_unsent: true, ..broke }, (NotServed, TakenOut, None)),
            ("cut, answered", AttemptEnd { is_cut: true, is_answered: true, ..broke }, (Final, TakenOut, None)),
        ] {
            assert_eq!((end.failure(), end.outcome(), end.fault()), want, "{name}");
        }
    }

    #[test]
    fn server_fails_with_a_5xx_but_those_that_refuse_what_was_asked() {
        for (status, want) in [(200, false), (404, false), (500, true), (501, false), (503, true), (505, false)] {
            assert_eq!(is_servers_failure(StatusCode::from_u16(status).unwrap()), want, "{status}");
        }
    }
}
