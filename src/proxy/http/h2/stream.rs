//! One request of an HTTP/2 connection: refused, or served to its end by the engine, under its own deadlines.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::header;
use ::pingora::apps::HttpServerApp;
use ::pingora::http::ResponseHeader;
use ::pingora::protocols::http::ServerSession;
use ::pingora::protocols::http::v2::server::HttpSession;
use ::pingora::proxy::HttpProxy;
use bytes::Bytes;
use tokio::sync::watch;

use super::super::control::Connection;
use super::super::head::Fault;
use super::super::pages;
use super::super::pingora::Engine;
use super::head;

/// How long a request whose attempt was ended may take to tell its client.
const ENDING: Duration = Duration::from_millis(500);

/// Serves one request; `connection` is its own.
pub(super) async fn serve(
    engine: Arc<HttpProxy<Engine>>,
    mut session: HttpSession,
    connection: Arc<Connection>,
    is_stopping: watch::Receiver<bool>,
) {
    let frontend = &connection.frontend.frontend;
    if let Err(fault) = head::check(session.req_header(), &frontend.limits) {
        return refuse(session, &connection, fault).await;
    }
    head::canonicalize(session.req_header_mut());
    let progress = connection.begin_progress(session.req_header(), session.is_body_done());
    connection.runs_in(&poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
    let mut work = pin!(engine.process_new_http(ServerSession::new_http2(session), &is_stopping));
    let fault = tokio::select! {
        biased;
        // The answer was cut: what is dropped unfinished is reset.
        () = broken(&connection) => return,
        _ = &mut work => return,
        fault = progress.late(&connection) => fault,
    };
    if fault == Fault::AnswerTimeout {
        return connection.takes_too_slowly();
    }
    connection.set_fault(fault);
    if connection.end_attempt() {
        // The engine sees it break, and tells the client why.
        let _ = tokio::time::timeout(ENDING, work).await;
    } else if let Some(refusal) = fault.refusal() {
        // What is dropped unfinished is reset: nothing can be said through an engine that waits.
        connection.count_refusal(refusal);
    }
}

/// Ready once the answer under way was cut.
async fn broken(connection: &Connection) {
    poll_fn(|_| if connection.is_broken() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Answers a request that does not go on.
async fn refuse(mut session: HttpSession, connection: &Connection, fault: Fault) {
    let id = connection.refused(fault);
    let body = pages::body(fault.status(), fault.reason(), &id);
    session.set_write_timeout(Some(connection.frontend.frontend.timeouts.write));
    let sent = async {
        let mut head = ResponseHeader::build(fault.status(), Some(5))?;
        head.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
        head.insert_header(header::CACHE_CONTROL, "no-store")?;
        head.insert_header("X-Request-Id", id.to_string())?;
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        if fault.status() == 405 {
            head.insert_header(header::ALLOW, pages::METHODS)?;
        }
        session.write_response_header(Box::new(head), false)?;
        session.write_body(Bytes::from(body), true).await
    };
    if let Err(error) = sent.await {
        tracing::debug!(request_id = %id, %error, "error page not sent");
    }
}
