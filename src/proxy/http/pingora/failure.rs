//! What follows from an attempt that failed: whose fault it was, and whether another one is made.

use ::pingora::ErrorType::{
    ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed, HTTPStatus, InvalidHTTPHeader, ReadTimedout,
    WriteTimedout,
};
use ::pingora::proxy::Session;
use ::pingora::{Error, ErrorSource};

use crate::model::trace::EndedBy;
use crate::model::{AttemptOutcome, SessionKind, TrafficFault};

use super::super::super::queue::Unserved;
use super::super::exchange::attempt::{self, AttemptEnd, AttemptFailure};
use super::super::head::Fault;
use super::answer::is_final_response_written;
use super::dial::{DialError, Lines};
use super::state::{Exchange, NotServed};

/// Takes in that no connection was made; returns whether another server is tried.
pub(super) fn not_connected(session: &Session, exchange: &mut Exchange, error: &Error, lines: &Lines) -> bool {
    if let Some(why) = error.root_cause().downcast_ref::<DialError>() {
        if matches!(why, DialError::Http1Only) && !std::mem::replace(&mut exchange.is_downgraded, true) {
            // The attempt goes on, in what the server speaks.
            return true;
        }
        exchange.distrust = Some(why.reason());
        if let Some(edge) = exchange.edge().filter(|_| !matches!(why, DialError::Full)) {
            edge.tls_failures.add(1);
        }
        let entry = exchange.route.as_ref().zip(exchange.position).map(|(route, at)| &route.farm().servers[at]);
        let addr = entry.and_then(|entry| entry.addr.as_ref());
        if let Some(addr) = addr.filter(|_| !matches!(why, DialError::Full)) {
            lines.configs.say(addr, why);
        }
    }
    let is_cut = exchange.connection.as_ref().is_some_and(|connection| connection.is_cut());
    let is_full = matches!(error.root_cause().downcast_ref(), Some(DialError::Full));
    if is_cut {
        exchange.attempt_failed(AttemptOutcome::TakenOut, None);
    } else if is_full {
        exchange.is_crowded = true;
        exchange.attempt_failed(AttemptOutcome::NotConnected, None);
    } else {
        if let Some(edge) = exchange.edge() {
            edge.connect_failures.add(1);
        }
        exchange.attempt_failed(AttemptOutcome::NotConnected, Some(TrafficFault::Connect));
    }
    if let Some(position) = exchange.position {
        exchange.tried.add(position);
    }
    exchange.attempt = None;
    let is_free = is_cut || matches!(error.etype(), ConnectRefused | ConnectNoRoute);
    let retry = may_retry(session, exchange, AttemptFailure::NotServed) && (is_free || has_budget(exchange));
    if is_cut && !retry {
        explain_cut(exchange);
    }
    if !retry && *error.etype() == ConnectTimedout {
        exchange.seen.ended_by(EndedBy::ServerTimeout);
    }
    retry
}

/// Takes in that an attempt broke off; returns whether another one is made.
pub(super) fn broken_off(session: &Session, exchange: &mut Exchange, error: &Error, client_reused: bool) -> bool {
    let connection = exchange.connection.as_ref();
    let is_cut = connection.is_some_and(|connection| connection.is_cut());
    if exchange.is_stale {
        if let Some(connection) = connection {
            connection.attempt_reconnects();
        }
        // Nothing was sent: the attempt goes on, on another connection to the same server.
        return true;
    }
    let end = AttemptEnd {
        is_answered: exchange.answer.is_some() || is_final_response_written(session),
        is_cut,
        is_unsent: exchange.unserved.is_some()
            || connection.is_some_and(|connection| connection.is_cut_unsent())
            || exchange.line.as_ref().is_some_and(|line| line.passed() == exchange.line_had_passed),
        is_late: connection.is_some_and(|connection| connection.is_server_late())
            || (*error.esource() == ErrorSource::Upstream && matches!(error.etype(), ReadTimedout | WriteTimedout)),
        is_servers: *error.esource() == ErrorSource::Upstream
            && !connection.is_some_and(|connection| connection.is_client_late()),
        is_malformed: matches!(error.etype(), InvalidHTTPHeader | HTTPStatus(_)),
        is_kept: client_reused,
    };
    exchange.attempt_failed(end.outcome(), end.fault());
    if end.is_malformed && end.is_servers && !end.is_cut {
        // What the server said was refused.
        exchange.seen.ended_by(EndedBy::Proxy);
    }
    let is_refused = exchange.unserved == Some(NotServed::Refused);
    // A kept connection that turned out closed says nothing about its server, which may be the only one. One that refuses
    // a request may take it a moment later, if nobody else is there to.
    let is_free = is_cut || (client_reused && !is_refused);
    if is_refused && has_only_one(exchange) {
        exchange.refusals += 1;
    } else if let Some(position) = exchange.position.filter(|_| !is_free || is_cut) {
        exchange.tried.add(position);
    }
    let retry = may_retry(session, exchange, end.failure()) && (is_free || has_budget(exchange));
    if retry {
        exchange.attempt = None;
    } else if is_cut {
        explain_cut(exchange);
    }
    retry
}

fn has_only_one(exchange: &Exchange) -> bool {
    exchange.route.as_ref().is_some_and(|route| route.farm().servers.len() == 1)
}

/// Returns how a request ends for which there is nobody else to try.
pub(super) fn nobody_else(exchange: &mut Exchange, why: Unserved) -> Box<Error> {
    let reason = why.reason(SessionKind::Request);
    match why {
        Unserved::ClientLeft => {
            exchange.seen.ended_in(why.ended_by(), why.phase());
            Error::explain(ConnectionClosed, reason).into_down()
        }
        Unserved::LineFull | Unserved::TimeUp => {
            exchange.seen.ended_in(why.ended_by(), why.phase());
            exchange.turned_away = Some(why);
            Error::explain(HTTPStatus(503), reason).into_in()
        }
        Unserved::NoServer if exchange.is_crowded => Error::explain(HTTPStatus(503), reason).into_in(),
        Unserved::NoServer => Error::explain(HTTPStatus(502), "no other server is left to try").into_up(),
    }
}

/// Takes a retry out of the farm's budget; returns whether there was one. What is tried again since the operator took a
/// server out, since a kept connection was closed, or since nobody was there at once, gave no server work and costs
/// nothing.
fn has_budget(exchange: &Exchange) -> bool {
    let Some((route, connection)) = exchange.route.as_ref().zip(exchange.connection.as_ref()) else { return false };
    route.farm().may_retry(connection.work.now_ms())
}

/// Has the client and the log told that the server was taken out.
fn explain_cut(exchange: &Exchange) {
    if let Some(connection) = &exchange.connection {
        connection.set_fault(Fault::ServerTakenOut);
    }
}

/// Whether one more attempt is allowed: by the farm's bound on servers tried and by what may have happened already.
/// Stale kept connections count for nothing: each is gone once it failed, so there is an end to them.
fn may_retry(session: &Session, exchange: &Exchange, failure: AttemptFailure) -> bool {
    let allowed = exchange.route.as_ref().map_or(0, |route| usize::from(route.farm().farm.retry_attempts));
    let is_body_replayable = !session.as_ref().retry_buffer_truncated();
    exchange.tried.len() + exchange.refusals <= allowed
        && attempt::may_retry(failure, &session.req_header().method, is_body_replayable)
}
