//! What the client is told about a request that failed, and whether its connection may go on after an answer.

use ::http::{StatusCode, header};
use ::pingora::ErrorType::{
    ConnectTimedout, HTTPStatus, InvalidHTTPHeader, ReadTimedout, TLSHandshakeTimedout, WriteTimedout,
};
use ::pingora::http::ResponseHeader;
use ::pingora::proxy::Session;
use ::pingora::{Error, ErrorSource, Result};
use bytes::Bytes;

use crate::store::FrontendTable;

use super::super::pages;
use super::heads;
use super::state::Exchange;

/// Sends an error page; the connection closes after it unless the request was read to its end.
pub(super) async fn respond(
    session: &mut Session,
    exchange: &mut Exchange,
    frontend: Option<&FrontendTable>,
    status: u16,
    why: &str,
) -> Result<()> {
    let (mut head, body) = page(exchange, status, why)?;
    if status == 503 {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    respond_with(session, exchange, frontend, head, body).await
}

/// Returns an error page, to be sent by [`respond_with`].
pub(super) fn page(exchange: &Exchange, status: u16, why: &str) -> Result<(ResponseHeader, Bytes)> {
    let body = pages::body(status, why, &exchange.shown_id().to_string());
    let mut head = ResponseHeader::build(status, Some(6))?;
    head.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    Ok((head, Bytes::from(body)))
}

/// Sends an answer of Farmgate's own. The rules of the frontend hold for it as for those of servers.
pub(super) async fn respond_with(
    session: &mut Session,
    exchange: &mut Exchange,
    frontend: Option<&FrontendTable>,
    mut head: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    head.insert_header("X-Request-Id", exchange.shown_id().to_string())?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    if let Some((frontend, connection)) = frontend.zip(exchange.connection.as_ref()) {
        heads::own(session.req_header(), &mut head, exchange, connection, &frontend.frontend);
    }
    close_unless_in_step(session);
    close_if_retired(session, exchange);
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await
}

/// What the client is told about a failed exchange.
pub(super) fn verdict(error: &Error) -> (u16, &'static str) {
    match (error.etype(), error.esource()) {
        (HTTPStatus(status), _) => (*status, "the request could not be served"),
        (ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout, ErrorSource::Upstream) => {
            (504, "the server did not answer in time")
        }
        (_, ErrorSource::Upstream) => (502, "the server could not be reached or broke off its answer"),
        (InvalidHTTPHeader, ErrorSource::Downstream) => (400, "the request is malformed"),
        (_, ErrorSource::Downstream) => (0, "the client left"),
        (_, ErrorSource::Internal | ErrorSource::Unset) => (500, "the request could not be served"),
    }
}

/// A client that waits for 100 Continue and is answered otherwise may or may not send its body: nobody can tell what
/// its next bytes are.
pub(super) fn close_unless_in_step(session: &mut Session) {
    let waits = session.req_header().headers.contains_key(header::EXPECT) && session.response_written().is_none();
    if waits && !session.is_body_done() {
        session.set_keepalive(None);
    }
}

/// The last answer on a retired connection says that it is the last.
pub(super) fn close_if_retired(session: &mut Session, exchange: &Exchange) {
    if exchange.connection.as_ref().is_some_and(|connection| connection.is_retired()) {
        session.set_keepalive(None);
    }
}

pub(super) fn is_final_response_written(session: &Session) -> bool {
    session
        .response_written()
        .is_some_and(|head| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS)
}
