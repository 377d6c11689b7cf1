//! The last requests of one worker, in a ring that is filled once and then written over.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::trace::{ATTEMPTS_MAX, Termination};
use crate::model::{
    Attempt, AttemptOutcome, ChosenBy, FarmId, FrontendId, Generation, RequestTrace, RouteId, ServerId, Timestamp,
};

use super::work::RequestId;

/// Requests of one worker that are remembered.
const RECENT_MAX: usize = 2048;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Recent {
    ended: Vec<Ended>,
    next: usize,
}

impl Recent {
    pub(super) fn add(&mut self, ended: Ended) {
        if self.ended.len() < RECENT_MAX {
            self.ended.push(ended);
        } else {
            self.ended[self.next] = ended;
        }
        self.next = (self.next + 1) % RECENT_MAX;
    }

    /// Returns what became of a request, if that is not too long ago.
    pub(super) fn find(&self, id: RequestId) -> Option<RequestTrace> {
        self.ended.iter().find(|ended| ended.id == id).map(Ended::trace)
    }

    /// Returns what became of the last request that was accepted under an id.
    pub(super) fn find_outside(&self, id: &str) -> Option<RequestTrace> {
        let (newer, older) = self.ended.split_at(self.next.min(self.ended.len()));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first.into_iter().find(|ended| ended.outside.as_deref() == Some(id)).map(Ended::trace)
    }
}

/// What became of one request; only an id from outside is allocated, with the request.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) id: RequestId,
    pub(super) at: Timestamp,
    pub(super) client: IpAddr,
    pub(super) frontend: FrontendId,
    pub(super) route: Option<RouteId>,
    pub(super) given: Option<(FarmId, Generation)>,
    pub(super) attempts: Attempts,
    pub(super) status: u16,
    pub(super) duration: Duration,
    /// How long it waited for servers to have room, if it had to.
    pub(super) queue: Option<Duration>,
    pub(super) reason: Option<&'static str>,
    pub(super) termination: Termination,
    /// The id under which a trusted proxy sent it.
    pub(super) outside: Option<Arc<str>>,
}

impl Ended {
    /// Returns the end of a request of which only its id is known.
    pub(super) fn new(id: RequestId) -> Self {
        Self {
            id,
            at: crate::clock::wall(),
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            frontend: FrontendId(0),
            route: None,
            given: None,
            attempts: Attempts::default(),
            status: 0,
            duration: Duration::ZERO,
            queue: None,
            reason: None,
            termination: Termination::WELL,
            outside: None,
        }
    }

    fn trace(&self) -> RequestTrace {
        RequestTrace {
            id: self.id.to_string().into(),
            at: self.at,
            client: self.client,
            frontend: self.frontend,
            route: self.route,
            farm: self.given.map(|(farm, _)| farm),
            generation: self.given.map(|(_, generation)| generation),
            attempts: self.attempts.first.iter().copied().flatten().collect(),
            attempts_total: self.attempts.total,
            status: self.status,
            duration: self.duration,
            queue: self.queue,
            reason: self.reason,
            termination: self.termination,
            outside_id: self.outside.as_deref().map(Into::into),
        }
    }
}

/// The attempts of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    first: [Option<Attempt>; ATTEMPTS_MAX],
    total: u32,
}

impl Attempts {
    /// Notes that an attempt begins; unless told otherwise it goes well.
    pub(super) fn begin(&mut self, server: ServerId, chosen_by: ChosenBy) {
        let at = self.total as usize;
        self.total += 1;
        if let Some(place) = self.first.get_mut(at) {
            *place = Some(Attempt { server, chosen_by, outcome: AttemptOutcome::Answered });
        }
    }

    /// Notes how the attempt that began last ended.
    pub(super) fn end(&mut self, outcome: AttemptOutcome) {
        let last = (self.total as usize).checked_sub(1).and_then(|at| self.first.get_mut(at));
        if let Some(Some(attempt)) = last {
            attempt.outcome = outcome;
        }
    }

    /// Returns how many began after the first.
    pub(super) fn retries(&self) -> u32 {
        self.total.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Balance;

    fn id(number: u64) -> RequestId {
        RequestId { boot: 1, worker: 0, number }
    }

    #[test]
    fn ring_keeps_the_last_requests_and_no_more() {
        let mut recent = Recent::default();
        let last = RECENT_MAX as u64 + 9;
        for number in 0..=last {
            recent.add(Ended::new(id(number)));
        }
        assert_eq!(recent.ended.len(), RECENT_MAX);
        assert!(recent.find(id(9)).is_none());
        assert!(recent.find(id(10)).is_some());
        assert_eq!(&*recent.find(id(last)).unwrap().id, "00000001-0-809");
    }

    #[test]
    fn request_from_outside_is_found_by_its_last_use_of_the_id() {
        let mut recent = Recent::default();
        let ended = |number, outside: &str| Ended { outside: Some(outside.into()), ..Ended::new(id(number)) };
        recent.add(ended(0, "x"));
        recent.add(ended(1, "y"));
        recent.add(ended(2, "x"));
        let found = |recent: &Recent, outside: &str| recent.find_outside(outside).map(|trace| trace.id.to_string());
        assert_eq!(found(&recent, "x").as_deref(), Some("00000001-0-2"));
        assert_eq!(found(&recent, "z"), None);
        for number in 3..RECENT_MAX as u64 + 1 {
            recent.add(Ended::new(id(number)));
        }
        recent.add(ended(5000, "x"));
        assert_eq!(found(&recent, "x").as_deref(), Some("00000001-0-1388"), "the ring has come round");
        assert_eq!(found(&recent, "y"), None);
    }

    #[test]
    fn attempts_beyond_the_first_are_counted_only() {
        let mut attempts = Attempts::default();
        for n in 0..6 {
            attempts.begin(ServerId(n), ChosenBy::Balance(Balance::First));
            attempts.end(AttemptOutcome::NotConnected);
        }
        let trace = Ended { attempts, ..Ended::new(id(1)) }.trace();
        assert_eq!((trace.attempts.len(), trace.attempts_total, attempts.retries()), (4, 6, 5));
        assert!(trace.attempts.iter().all(|attempt| attempt.outcome == AttemptOutcome::NotConnected));
    }
}
