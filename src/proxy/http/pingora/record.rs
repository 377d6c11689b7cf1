//! Counts, logs, traces and remembers what became of a request.

use std::fmt::Display;
use std::time::Duration;

use ::http::Version;
use ::http::header::{self, HeaderName};
use ::pingora::proxy::Session;

use crate::metrics::StatusClass;
use crate::model::Alpn;
use crate::model::trace::EndedBy;
use crate::telemetry::access::AccessLine;

use super::super::super::recent::Ended;
use super::super::control::TAKEN_OUT;
use super::spans;
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
    let field = |name: &HeaderName| head.headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let id = exchange.shown_id();
    let line = AccessLine {
        method: head.method.as_str(),
        target: head.raw_path(),
        host: field(&header::HOST),
        protocol: version(head.version),
        user_agent: field(&header::USER_AGENT),
        referer: field(&header::REFERER),
        termination: exchange.seen.termination(traffic.status),
        reason: exchange.reason,
        ..AccessLine::new(&id)
    };
    tell(exchange, &traffic, line);
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "",
    }
}

/// What the route is called that took a request.
fn route_name(exchange: &Exchange) -> Option<&str> {
    let (id, route) = (exchange.taken_by?, exchange.route.as_ref()?);
    route.frontend.frontend.routes.iter().find(|one| one.id == id).map(|one| one.name.as_str())
}

/// Records a request that was dropped with its task; what it was is not known any more.
pub(super) fn record_lost(exchange: &Exchange) {
    let Some(connection) = &exchange.connection else { return };
    let status = exchange.answer.map_or(0, |status| status.as_u16());
    let traffic = Traffic { status, bytes_in: 0, bytes_out: 0, took: exchange.started.elapsed() };
    let (unsaid, by) = if connection.is_cut() { (TAKEN_OUT, EndedBy::TakenOut) } else { (STOPPED, EndedBy::Balancer) };
    let (reason, by) = connection.take_fault().map_or((unsaid, by), |fault| (fault.reason(), fault.ended_by()));
    let (id, termination) = (exchange.shown_id(), exchange.seen.now_ended_by(by));
    tell(exchange, &traffic, AccessLine { termination, reason: Some(reason), ..AccessLine::new(&id) });
}

/// `line` has what is told of the request's head and of how it ended.
fn tell(exchange: &Exchange, traffic: &Traffic, line: AccessLine<'_>) {
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
        route: exchange.taken_by,
        given: route.map(|route| (route.farm().farm.id, route.table.generation)),
        attempts: exchange.attempts,
        status,
        duration: took,
        queue: exchange.seen.queue,
        reason: line.reason,
        termination: line.termination,
        outside: exchange.seen.outside.clone(),
        ..Ended::new(exchange.id)
    });
    let recorded = exchange.seen.traced.recorded.as_deref().zip(connection.work.tracer.as_ref());
    if connection.work.access.is_none() && recorded.is_none() {
        return;
    }
    let server = route.zip(exchange.position).map(|(route, position)| {
        let farm = route.farm();
        (farm.farm.name.as_str(), farm.servers[position].server.name.as_str())
    });
    let outside = exchange.seen.outside.as_ref();
    let tls = connection.from.tls.as_deref();
    let line = AccessLine {
        route: route_name(exchange).unwrap_or_default(),
        tls: tls.map_or("", |peer| peer.version),
        sni: tls.and_then(|peer| peer.sni.as_deref()).unwrap_or_default().as_bytes(),
        alpn: tls.and_then(|peer| peer.alpn).map_or("", Alpn::as_str).as_bytes(),
        trace_id: exchange.seen.traced.id.as_ref().map(|trace| trace as &dyn Display),
        own_id: outside.map(|_| &exchange.id as &dyn Display),
        client: connection.client,
        frontend: connection.frontend.frontend.name.as_str(),
        server,
        status,
        bytes_in,
        bytes_out,
        duration: took,
        queue: exchange.seen.queue,
        connect: exchange.seen.connect,
        first_byte: exchange.seen.first_byte.map(|at| at - exchange.started),
        retries: exchange.attempts.retries(),
        ..line
    };
    if let Some(access) = &connection.work.access {
        access.write(&line);
    }
    if let Some((recorded, tracer)) = recorded {
        tracer.offer(spans::spans(exchange, recorded, &line));
    }
}
