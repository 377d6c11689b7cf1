//! Counts, logs and remembers what became of a request.

use std::time::Duration;

use ::http::header;
use ::pingora::proxy::Session;

use crate::metrics::StatusClass;
use crate::telemetry::access::AccessLine;

use super::super::super::recent::Ended;
use super::super::control::TAKEN_OUT;
use super::super::head::Fault;
use super::state::Exchange;

/// Why a request ends whose task ended before it did.
const STOPPED: &str = "the balancer stopped before the request had ended";

/// What was sent and received of a request.
struct Traffic {
    status: u16,
    bytes_in: u64,
    bytes_out: u64,
    took: Duration,
}

/// Records a request that has ended.
pub(super) fn record(session: &Session, exchange: &mut Exchange) {
    exchange.is_recorded = true;
    let traffic = Traffic {
        status: session.response_written().map_or(0, |head| head.status.as_u16()),
        bytes_in: session.body_bytes_read() as u64,
        bytes_out: session.body_bytes_sent() as u64,
        took: exchange.started.elapsed(),
    };
    let head = session.req_header();
    let line = AccessLine {
        method: head.method.as_str(),
        target: head.raw_path(),
        host: head.headers.get(header::HOST).map_or(b"", |host| host.as_bytes()),
        ..AccessLine::new(&exchange.id)
    };
    tell(exchange, &traffic, exchange.reason, line);
}

/// Records a request that was dropped with its task; what it was is not known any more.
pub(super) fn record_lost(exchange: &Exchange) {
    let Some(connection) = &exchange.connection else { return };
    let status = exchange.answer.map_or(0, |status| status.as_u16());
    let traffic = Traffic { status, bytes_in: 0, bytes_out: 0, took: exchange.started.elapsed() };
    let unsaid = if connection.is_cut() { TAKEN_OUT } else { STOPPED };
    let reason = connection.take_fault().map_or(unsaid, Fault::reason);
    tell(exchange, &traffic, Some(reason), AccessLine::new(&exchange.id));
}

fn tell(exchange: &Exchange, traffic: &Traffic, reason: Option<&'static str>, line: AccessLine<'_>) {
    let Traffic { status, bytes_in, bytes_out, took } = *traffic;
    if let Some(edge) = exchange.edge() {
        edge.requests[StatusClass::of(status) as usize].add(1);
        edge.bytes_in.add(bytes_in);
        edge.bytes_out.add(bytes_out);
        edge.duration.observe(took);
    }
    let Some(connection) = &exchange.connection else { return };
    let route = exchange.route.as_ref();
    connection.work.remember(Ended {
        at: line.at,
        client: connection.client.ip(),
        frontend: route.map_or(connection.frontend.frontend.id, |route| route.frontend.frontend.id),
        given: route.map(|route| (route.farm().farm.id, route.table.generation)),
        attempts: exchange.attempts,
        status,
        duration: took,
        reason,
        ..Ended::new(exchange.id)
    });
    let Some(access) = &connection.work.access else { return };
    let server = route.zip(exchange.position).map(|(route, position)| {
        let farm = route.farm();
        (farm.farm.name.as_str(), farm.servers[position].server.name.as_str())
    });
    access.write(&AccessLine {
        client: connection.client,
        frontend: connection.frontend.frontend.name.as_str(),
        server,
        status,
        bytes_in,
        bytes_out,
        duration: took,
        retries: exchange.attempts.retries(),
        reason,
        ..line
    });
}
