//! Counts and logs what became of a request.

use ::http::header;
use ::pingora::proxy::Session;

use crate::metrics::StatusClass;
use crate::telemetry::access::AccessLine;

use super::super::super::work::Work;
use super::state::Exchange;

/// Counts and logs a request that has ended.
pub(super) fn record(work: &Work, session: &Session, exchange: &Exchange) {
    let status = session.response_written().map_or(0, |head| head.status.as_u16());
    let took = exchange.started.elapsed();
    let (bytes_in, bytes_out) = (session.body_bytes_read() as u64, session.body_bytes_sent() as u64);
    if let Some(edge) = exchange.edge() {
        edge.requests[StatusClass::of(status) as usize].add(1);
        edge.bytes_in.add(bytes_in);
        edge.bytes_out.add(bytes_out);
        edge.duration.observe(took);
    }
    let Some(connection) = &exchange.connection else { return };
    if let Some(access) = &work.access {
        let head = session.req_header();
        let server = exchange.route.as_ref().zip(exchange.position).map(|(route, position)| {
            let farm = route.farm();
            (farm.farm.name.as_str(), farm.servers[position].server.name.as_str())
        });
        access.write(&AccessLine {
            client: connection.client,
            frontend: connection.frontend.frontend.name.as_str(),
            server,
            method: head.method.as_str(),
            target: head.raw_path(),
            host: head.headers.get(header::HOST).map_or(b"", |host| host.as_bytes()),
            status,
            bytes_in,
            bytes_out,
            duration: took,
            retries: exchange.retries(),
            reason: exchange.reason,
            ..AccessLine::new(&exchange.id)
        });
    }
}
