//! Engine 1: Pingora's HTTP proxy, driven from our own accept loops.
//!
//! Each callback asks [`super::exchange`] what to do and touches the Store's table only in `request_filter`: retries
//! and the log line use the same generation. Connections to servers are kept per worker; those over HTTP/2 are our own
//! ([`http2`]), and the engine serves only the client's side of what goes over them. Traps of Pingora 0.9.1 that
//! are guarded here: no deadline towards servers by default, retries that must be decided by us, hop-by-hop fields of
//! responses, HTTP/1.0 clients, the empty last body piece (cloudflare/pingora#935), its own error pages and log lines.

use std::future::poll_fn;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::{StatusCode, Version};
use ::pingora::ErrorType::{ConnectionClosed, HTTPStatus};
use ::pingora::apps::{HttpPersistentSettings, HttpServerApp};
use ::pingora::http::{RequestHeader, ResponseHeader};
use ::pingora::protocols::http::ServerSession;
use ::pingora::protocols::{Digest, UniqueID};
use ::pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session};
use ::pingora::server::configuration::ServerConf;
use ::pingora::upstreams::peer::HttpPeer;
use ::pingora::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;

use crate::farm::choose::Key;
use crate::model::{Protocol, SessionKind};

use super::super::queue::Unserved;
use super::super::sessions::Handle;
use super::super::upstream_tls::Offer;
use super::super::work::{Errand, Work};
use super::conn::ConnIo;
use super::control::{Connection, TAKEN_OUT};
use super::exchange;
use super::h2::pieces;
use super::head::Fault;
use super::kept;

mod answer;
mod blame;
mod copy;
mod dial;
mod failure;
mod heads;
mod http2;
mod peer;
mod record;
pub(in crate::proxy) mod reuse;
mod route;
mod seen;
mod spans;
mod state;
mod traced;

use answer::{is_final_response_written, respond, verdict};
use dial::Lines;
use http2::Links;
use record::record;
pub use state::Exchange;
use traced::Traced;

/// Idle connections to servers that a worker keeps.
const IDLE_SERVER_CONNECTIONS_MAX: usize = 4096;
/// How long the rest of a request body is read after its response.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a request whose answer was cut may take to end by itself.
const CUT_WAIT: Duration = Duration::from_millis(500);

/// Certificate authorities for connections to servers: none, since none of them is encrypted yet. Without this Pingora
/// reads the system's bundle twice a worker, and panics where there is none.
const NO_AUTHORITIES: &str = "/dev/null";

/// Returns a worker's engine.
pub(in crate::proxy) fn engine(work: Arc<Work>) -> Arc<HttpProxy<Engine>> {
    let conf = ServerConf {
        threads: 1,
        ca_file: Some(NO_AUTHORITIES.to_owned()),
        upstream_keepalive_pool_size: IDLE_SERVER_CONNECTIONS_MAX,
        max_retries: usize::from(u8::MAX),
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(Engine { work, lines: Arc::default(), links: Links::default() }, Arc::new(conf));
    proxy.handle_init_modules();
    Arc::new(proxy)
}

/// Serves one client connection to its end.
pub(in crate::proxy) async fn serve(
    engine: &Arc<HttpProxy<Engine>>,
    client: ConnIo,
    is_stopping: &tokio::sync::watch::Receiver<bool>,
) {
    let connection = client.connection();
    connection.is_on(client.id());
    connection.runs_in(&poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
    let (mut client, mut settings) = (Box::new(client), None::<HttpPersistentSettings>);
    // Between two requests there is nothing but the stream: all that the engine holds for a request ends with it.
    while poll_fn(|cx| client.poll_request(cx)).await {
        let mut session = ServerSession::new_http1(client);
        match settings.take() {
            Some(settings) => settings.apply_to_session(&mut session),
            // Pingora's own loop ends a connection that is silent for its first 60 s; the stream has our deadlines.
            None => session.set_keepalive(Some(0)),
        }
        let reused = tokio::select! {
            biased;
            () = given_up(&connection) => return,
            reused = engine.process_new_http(session, is_stopping) => reused,
        };
        let Some(reused) = reused else { return };
        let (stream, kept) = reused.consume();
        settings = kept;
        // The engine gives back what it was given.
        client = match stream.into_any().downcast() {
            Ok(client) => client,
            Err(_) => return,
        };
    }
}

/// Ready some time after an answer was cut: the engine looks neither at the client nor for its answer while the server
/// takes no more of the request, and would not notice.
async fn given_up(connection: &Connection) {
    poll_fn(|_| if connection.is_broken() { Poll::Ready(()) } else { Poll::Pending }).await;
    tokio::time::sleep(CUT_WAIT).await;
}

/// See the module's doc.
pub struct Engine {
    work: Arc<Work>,
    lines: Arc<Lines>,
    links: Links,
}

impl Engine {
    /// Chooses a server for the next attempt, and waits for one where all are full.
    async fn choose(&self, session: &Session, exchange: &mut Exchange) -> std::result::Result<(), Unserved> {
        let route = exchange.route.as_ref().ok_or(Unserved::NoServer)?;
        let connection = exchange.connection.as_ref().ok_or(Unserved::NoServer)?;
        let head = session.req_header();
        let path = exchange::hashed_path(head.raw_path());
        let errand = Errand {
            farm: route.farm(),
            key: Key { source: connection.client.ip(), uri: Some(path) },
            headers: Some(&head.headers),
            tried: &exchange.tried,
            kind: SessionKind::Request,
        };
        let handle = Handle::Http(Arc::clone(connection));
        let waited = &mut exchange.seen.queue;
        let assigned = self.work.give(&errand, &handle, connection.left(), waited).await?;
        exchange.attempt_began(assigned);
        Ok(())
    }

    /// Has an attempt begin, unless one is under way.
    async fn begin_attempt(&self, session: &Session, exchange: &mut Exchange) -> Result<()> {
        if std::mem::take(&mut exchange.is_stale) {
            // Others are likely to be closed too: the runtime finds them before the next one is taken.
            tokio::task::yield_now().await;
        }
        if exchange.attempt.is_some() {
            return Ok(());
        }
        let before = exchange.position;
        if let Err(why) = self.choose(session, exchange).await {
            return Err(failure::nobody_else(exchange, why));
        }
        if let (Some(route), Some(before), Some(connection)) = (&exchange.route, before, &exchange.connection) {
            route.edge(before, connection.work.ix).retries.add(1);
            if let Some(progress) = connection.progress() {
                progress.begins_again();
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Engine {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.work.next_request_id())
    }

    /// No modules: the default one compresses, which nobody asked for.
    fn init_downstream_modules(&self, _modules: &mut ::pingora::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let digest = session.digest().and_then(|digest| digest.proxy_digest.as_ref());
        let user_data = digest.and_then(|digest| digest.user_data.as_ref());
        let connection = user_data.and_then(|data| data.downcast_ref::<Arc<Connection>>());
        let Some(connection) = connection.map(Arc::clone) else {
            return Err(Error::explain(HTTPStatus(500), "bug: a connection without its control"));
        };
        connection.taken_up();
        let trust = &connection.frontend.frontend.trust;
        let (headers, client) = (&session.req_header().headers, connection.client.ip());
        exchange.seen.outside = exchange::accepted_id(headers, client, trust);
        let is_trusted = || exchange::is_trusted(client, trust);
        exchange.seen.traced = Traced::begin(headers, is_trusted, connection.work.tracer.as_ref());
        exchange.seen.is_timed = connection.work.access.is_some() || exchange.seen.traced.is_recorded();
        exchange.connection = Some(connection);
        // The stream keeps every deadline towards the client.
        session.set_read_timeout(None);
        session.set_write_timeout(None);
        session.set_total_drain_timeout(Some(DRAIN));
        session.set_abort_on_close(false);
        if let Some(connection) = exchange.connection.as_ref().filter(|connection| connection.progress().is_some()) {
            // But for HTTP/2, where each answer is written by itself.
            session.set_write_timeout(Some(connection.frontend.frontend.timeouts.write));
        }
        let connection = exchange.connection.as_ref();
        exchange::make_origin_form(session.req_header_mut(), || {
            connection.map(|connection| connection.from.came_to()).unwrap_or_default()
        });
        if exchange::asks_to_close(&session.req_header().headers) {
            // The engine looks at the first Connection field only.
            session.set_keepalive(None);
        }
        if session.req_header().version == Version::HTTP_10 {
            // To HTTP/1.0 an interim answer would be the answer.
            session.set_ignore_info_resp(true);
        }
        // The stream frames bodies, so an answer before the end of the body leaves the connection in step.
        session.set_close_on_response_before_downstream_finish(false);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let Some(connection) = exchange.connection.clone() else { return Ok(false) };
        // A frontend that speaks raw TCP now has no server for what this connection speaks.
        match connection.owner.find(&self.work.store).await.filter(|(_, f)| f.frontend.protocol == Protocol::Http) {
            Some(found) => {
                if route::decide(session, exchange, &connection, found).await? {
                    return Ok(true);
                }
            }
            None => session.set_keepalive(None),
        }
        let Err(why) = self.choose(session, exchange).await else { return Ok(false) };
        let reason = why.reason(SessionKind::Request);
        exchange.reason = Some(reason);
        exchange.seen.ended_in(why.ended_by(), why.phase());
        if why == Unserved::ClientLeft {
            return Err(Error::explain(ConnectionClosed, reason).into_down());
        }
        connection.count_own_answer(503, why.refusal());
        let frontend = exchange.frontend();
        respond(session, exchange, frontend.as_deref(), 503, reason).await?;
        Ok(true)
    }

    /// Requests over HTTP/2 do not go through the engine, but for their client's side.
    async fn proxy_upstream_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        if !exchange.route.as_ref().is_some_and(|route| route.farm().farm.http2) {
            return Ok(true);
        }
        // Most farms speak HTTP/1.1, and are not to carry what this needs.
        Box::pin(http2::serve(self, session, exchange)).await
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        self.begin_attempt(session, exchange).await?;
        if let Some(look) = peer::look(exchange, &self.lines, Offer::Http1) {
            look.await;
        }
        let peer = peer::of(session, exchange, &self.lines);
        peer.ok_or_else(|| Error::explain(HTTPStatus(500), "bug: an attempt without a server"))
    }

    /// A request that could not be sent again must not be written to a connection that is closed already.
    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        is_reused: bool,
        _peer: &HttpPeer,
        socket: RawFd,
        digest: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.line = if exchange.is_over_tls { self.lines.line(socket) } else { None };
        exchange.line_had_passed = exchange.line.as_ref().map_or(0, |line| line.passed());
        if !exchange.connection.as_ref().is_none_or(|connection| connection.attempt_goes_through(socket)) {
            return Err(Error::explain(ConnectionClosed, TAKEN_OUT).into_up());
        }
        if !reuse::may_serve(&self.work, exchange, is_reused, socket, digest) {
            exchange.is_stale = true;
            return Err(Error::explain(ConnectionClosed, "a kept connection has served its time").into_up());
        }
        let is_repeatable = session.req_header().method.is_idempotent() && session.as_mut().is_body_empty();
        if is_reused && !is_repeatable {
            if exchange.line.is_some() {
                // What its server said last is read by a task of ours.
                tokio::task::yield_now().await;
            }
            if !kept::is_quiet(socket) {
                exchange.is_stale = true;
                return Err(Error::explain(ConnectionClosed, "a kept connection was closed by its server").into_up());
            }
        }
        exchange.seen.connected();
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        heads::towards_server(session, head, exchange);
        copy::begin(session, head, exchange);
        Ok(())
    }

    /// An empty last piece would end a chunked body twice (cloudflare/pingora#935).
    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if let Some((connection, progress)) = exchange.connection.as_ref().and_then(|c| Some((c, c.progress()?)))
            && let Err(fault) = progress.received(body.as_ref().map_or(0, Bytes::len), end_of_stream)
        {
            connection.set_fault(fault);
            return Err(Error::explain(HTTPStatus(fault.status()), fault.reason()).into_down());
        }
        copy::add(exchange, body.as_deref(), end_of_stream);
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if let Some(connection) = &exchange.connection {
            *body = body.take().map(|piece| pieces::towards_server(connection, piece));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        heads::from_server(session, head, exchange)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if matches!(exchange.answer, Some(StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)) {
            // A server of HTTP/2 can send one where there is none.
            *body = None;
        }
        if end_of_stream && exchange.line.as_ref().is_some_and(|line| line.is_broken()) {
            return Err(Error::explain(ConnectionClosed, "the server broke off its answer").into_up());
        }
        if let Some((connection, progress)) = exchange.connection.as_ref().and_then(|c| Some((c, c.progress()?))) {
            progress.answered();
            *body = body.take().map(|piece| pieces::towards_client(connection, piece));
        }
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        heads::towards_client(session, head, exchange)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(failure::not_connected(session, exchange, &error, &self.lines));
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        client_reused: bool,
    ) -> Box<Error> {
        error.set_retry(failure::broken_off(session, exchange, &error, client_reused));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        let fault = exchange.connection.as_ref().and_then(|connection| {
            connection.take_fault().or_else(|| {
                // The engine's own deadline for a piece of an answer.
                blame::is_slow_client(error).then(|| connection.takes_too_slowly())?;
                connection.take_fault()
            })
        });
        let (status, why) = fault.map_or_else(|| verdict(error), |fault| (fault.status(), fault.reason()));
        let why = exchange.distrust.filter(|_| matches!(status, 502 | 503)).unwrap_or(why);
        let why = exchange.turned_away.map_or(why, |away| away.reason(SessionKind::Request));
        exchange.reason = Some(why);
        if let Some(by) = blame::of(fault, error, exchange.seen.is_ended()) {
            exchange.seen.ended_by(by);
        }
        tracing::debug!(request_id = %exchange.shown_id(), status, why, %error, "request failed");
        if status > 0 && !is_final_response_written(session) {
            if let Some(connection) = &exchange.connection {
                let away = exchange.turned_away.and_then(Unserved::refusal);
                connection.count_own_answer(status, away.or_else(|| fault.and_then(Fault::refusal)));
            }
            session.set_keepalive(None);
            let frontend = exchange.frontend();
            if let Err(error) = respond(session, exchange, frontend.as_deref(), status, why).await {
                tracing::debug!(request_id = %exchange.shown_id(), %error, "error page not sent");
            }
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _exchange: &Exchange,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        reuse::ended(&self.work, exchange, error.is_none());
        exchange.ended();
        record(session, exchange);
        let Some(connection) = &exchange.connection else { return };
        connection.answered();
        if error.is_some() {
            // Pingora 0.9.1 drops the connection of a failed request as it is: bytes of the client that are still
            // unread would then reset it and take the page with them.
            if exchange.is_ended_by_close && is_final_response_written(session) {
                connection.abort();
            }
            session.shutdown().await;
        }
    }
}
