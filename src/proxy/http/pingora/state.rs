//! One request on its way, as the engine's callbacks hand it to each other, and where it goes. Does no IO; what may
//! become of a request is decided here and in [`super::super::exchange`].

use std::sync::Arc;
use std::time::Instant;

use ::http::{HeaderValue, StatusCode};

use crate::clock;
use crate::farm::FarmTable;
use crate::farm::choose::Tried;
use crate::metrics::{EdgeCells, WorkerIx};
use crate::model::{Action, AttemptOutcome, Forward, RouteId, TrafficFault};
use crate::routing::Place;
use crate::store::{Feed, FrontendTable, Table};

use super::super::super::mirror::Draft;
use super::super::super::queue::Unserved;
use super::super::super::recent::Attempts;
use super::super::super::sticking::Cookies;
use super::super::super::work::{Assigned, InFlight, RequestId};
use super::super::control::Connection;
use super::super::exchange::attempt::is_servers_failure;
use super::copy;
use super::dial::Line;
use super::record::record_lost;
use super::seen::{Seen, ShownId};

/// One request on its way.
pub struct Exchange {
    pub(super) id: RequestId,
    pub(super) started: Instant,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) route: Option<Route>,
    /// The route that took it, if one did.
    pub(super) taken_by: Option<RouteId>,
    pub(super) tried: Tried,
    /// A copy of it for another farm, until that is sent.
    pub(super) draft: Option<Box<Draft>>,
    pub(super) attempt: Option<InFlight>,
    /// The server of the last attempt.
    pub(super) position: Option<usize>,
    pub(super) attempts: Attempts,
    /// Whether the last attempt was counted as one that went well or failed.
    is_judged: bool,
    /// The cookies of a sticky farm.
    cookies: Option<Cookies>,
    /// Interim answers of the attempt.
    pub(super) interims: u8,
    /// The status of the server's final response, once it began.
    pub(super) answer: Option<StatusCode>,
    /// Whether the kept connection that the attempt was to use had been closed.
    pub(super) is_stale: bool,
    /// Whether the attempt goes over TLS, and HTTP/1.1.
    pub(super) is_over_tls: bool,
    /// Whether the attempt goes over a connection that others share.
    pub(super) is_shared: bool,
    /// What is known of an attempt whose request was not served.
    pub(super) unserved: Option<NotServed>,
    /// Why no other server was tried, after one had failed.
    pub(super) turned_away: Option<Unserved>,
    /// Whether a server that was tried has all the connections that it may have.
    pub(super) is_crowded: bool,
    /// Refusals of requests by the only server there is.
    pub(super) refusals: usize,
    /// Whether the attempt is to go on in HTTP/1.1, which is all that its server speaks.
    pub(super) is_downgraded: bool,
    /// Why there was no TLS with a server that was tried.
    pub(super) distrust: Option<&'static str>,
    /// The connection that the answer comes on, where its bytes are moved by us.
    pub(super) line: Option<Arc<Line>>,
    /// What had passed through it before.
    pub(super) line_had_passed: u64,
    /// Whether only the end of the connection ends the answer.
    pub(super) is_ended_by_close: bool,
    /// Why Farmgate itself ended the request.
    pub(super) reason: Option<&'static str>,
    /// What else is told of it.
    pub(super) seen: Seen,
    /// Whether it was counted and logged.
    pub(super) is_recorded: bool,
}

/// How it is known that a server did nothing with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    /// It said so of this request, and may take others.
    Refused,
    /// Nothing of it was sent, or the connection ended and the server said with which request it had begun last.
    Unsent,
}

/// Where a request goes, fixed for its life.
pub(super) struct Route {
    pub(super) table: Arc<Table>,
    pub(super) frontend: Arc<FrontendTable>,
    /// Which of the frontend's farms.
    pub(super) feed: usize,
    /// What the frontend's routes say of it.
    pub(super) place: Place,
}

impl Route {
    pub(super) fn feed(&self) -> &Feed {
        &self.frontend.feeds[self.feed]
    }

    pub(super) fn farm(&self) -> &FarmTable {
        self.table.farm_of(self.feed())
    }

    /// What becomes of it on the way to its farm.
    pub(super) fn forward(&self) -> Option<&Forward> {
        match self.frontend.routes.at(self.place).0 {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Reject(_) => None,
        }
    }

    /// What is counted of its work at the server of that position.
    pub(super) fn edge(&self, position: usize, worker: WorkerIx) -> &EdgeCells {
        self.feed().edges[position].of(worker)
    }
}

impl Exchange {
    pub(super) fn new(id: RequestId) -> Self {
        Self {
            id,
            started: clock::monotonic(),
            connection: None,
            route: None,
            taken_by: None,
            tried: Tried::default(),
            draft: None,
            attempt: None,
            position: None,
            attempts: Attempts::default(),
            is_judged: false,
            cookies: None,
            interims: 0,
            answer: None,
            is_stale: false,
            is_over_tls: false,
            is_shared: false,
            unserved: None,
            turned_away: None,
            is_crowded: false,
            refusals: 0,
            is_downgraded: false,
            distrust: None,
            line: None,
            line_had_passed: 0,
            is_ended_by_close: false,
            reason: None,
            seen: Seen::new(),
            is_recorded: false,
        }
    }

    /// Returns the id that server, client and log see.
    pub(super) fn shown_id(&self) -> ShownId<'_> {
        ShownId { own: self.id, outside: self.seen.outside.as_deref() }
    }

    pub(super) fn edge(&self) -> Option<&EdgeCells> {
        let (route, position) = (self.route.as_ref()?, self.position?);
        let connection = self.connection.as_ref()?;
        Some(route.edge(position, connection.work.ix))
    }

    /// Returns the frontend that its answers are of.
    pub(super) fn frontend(&self) -> Option<Arc<FrontendTable>> {
        self.route.as_ref().map(|route| Arc::clone(&route.frontend))
    }

    /// Notes that an attempt begins.
    pub(super) fn attempt_began(&mut self, assigned: Assigned) {
        let Assigned { position, chosen_by, guard, cookies } = assigned;
        if let Some(connection) = &self.connection {
            connection.attempt_began();
        }
        if let Some(route) = &self.route {
            self.attempts.begin(route.farm().servers[position].server.id, chosen_by);
        }
        self.attempt = Some(guard);
        self.unserved = None;
        self.is_shared = false;
        self.line = None;
        self.position = Some(position);
        self.cookies = cookies;
        self.is_judged = false;
        self.interims = 0;
        self.seen.attempt_began();
        let tracer = self.connection.as_ref().and_then(|connection| connection.work.tracer.as_ref());
        self.seen.traced.attempt_began(position, chosen_by, tracer);
    }

    /// Notes that the server began its final answer.
    pub(super) fn answer_began(&mut self, status: StatusCode, is_upgrade_asked: bool) {
        self.answer = Some(status);
        self.seen.answer_began();
        self.seen.traced.answer_began(status.as_u16());
        if let Some(attempt) = &mut self.attempt {
            attempt.answered();
        }
        let (Some(connection), Some(route)) = (&self.connection, &self.route) else { return };
        if is_upgrade_asked && status != StatusCode::SWITCHING_PROTOCOLS {
            connection.expect_more_within(route.farm().farm.timeouts.response);
        } else {
            connection.answer_began();
        }
    }

    /// Notes that the request has become a tunnel, which is all that its server had to do with it.
    pub(super) fn upgraded(&mut self) {
        if let Some(connection) = &self.connection {
            connection.upgraded();
        }
        if let Some(attempt) = &self.attempt {
            attempt.upgraded();
        }
        self.judge(None);
    }

    /// Notes that the attempt failed, and whose fault it was, if it was the server's.
    pub(super) fn attempt_failed(&mut self, outcome: AttemptOutcome, fault: Option<TrafficFault>) {
        if let Some(connection) = &self.connection {
            connection.attempt_ended();
        }
        self.attempts.end(outcome);
        self.seen.attempt_failed(outcome);
        if fault.is_some() {
            self.judge(fault);
        }
        self.is_judged = true;
    }

    /// Notes that the exchange is over. An answer that nothing was said of is worth what its status says.
    pub(super) fn ended(&mut self) {
        copy::abandon(self);
        if let Some(connection) = &self.connection {
            connection.attempt_ended();
        }
        self.attempt = None;
        if let Some(status) = self.answer {
            self.judge(is_servers_failure(status).then_some(TrafficFault::Status));
        }
    }

    /// Returns the Set-Cookie that the client needs to come back to the server that answers.
    pub(super) fn set_cookie(&self) -> Option<HeaderValue> {
        let cookies = self.cookies.as_ref()?;
        let server = self.route.as_ref()?.farm().servers.get(self.position?)?.server.id;
        if cookies.named == Some(server) { None } else { cookies.seals.set_cookie(server).cloned() }
    }

    fn judge(&mut self, fault: Option<TrafficFault>) {
        let (Some(connection), Some(route), Some(position)) = (&self.connection, &self.route, self.position) else {
            return;
        };
        if !std::mem::replace(&mut self.is_judged, true) {
            connection.work.judge(route.farm(), position, fault);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_recorded {
            record_lost(self);
        }
    }
}
