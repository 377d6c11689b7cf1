//! One request over HTTP/2 to a server, and its answer back, both at once.
//!
//! A piece of the body is read once the server took the one before; a piece of the answer is given back to the server's
//! window once the client took it. Deadlines: the whole head is waited for by whoever serves the client, who has this
//! attempt given up; between two pieces of the answer, and while the server takes nothing of the body, here. Dropping a
//! request that is not over resets its stream, and nothing else of its connection.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use ::http::header::{CONTENT_LENGTH, HOST, HeaderValue, TE, TRANSFER_ENCODING};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use ::pingora::ErrorType::{ConnectionClosed, H2Error, InvalidHTTPHeader, ReadTimedout, WriteTimedout};
use ::pingora::http::{RequestHeader, ResponseHeader};
use ::pingora::protocols::http::HttpTask;
use ::pingora::proxy::{ProxyHttp, Session};
use ::pingora::{Error, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;

use crate::clock;

use super::super::super::conn::deadline::Deadline;
use super::super::super::control::{Connection, TAKEN_OUT};
use super::super::super::exchange::{framing, strip_for_http2};
use super::super::super::h2::head::is_grpc;
use super::super::Engine;
use super::super::state::{Exchange, NotServed};
use super::link::Lease;
use super::links::Terms;
use super::upload::Upload;

/// See the module's doc.
pub(super) struct Pass<'a> {
    engine: &'a Engine,
    session: &'a mut Session,
    exchange: &'a mut Exchange,
    lease: Arc<Lease>,
    terms: Terms,
    is_tls: bool,
}

/// A request that was sent.
struct Sent {
    upload: Upload,
    answer: Answer,
    /// When the last of the answer, or the end of the request, was seen to.
    moved: Instant,
    deadline: Deadline,
    /// Whether the answer may pause for as long as it likes.
    may_pause: bool,
    /// Whether the client has said all of its request. The engine does not say so of one that ends with trailers: asked for
    /// more, it would answer that there is none, at once and for ever.
    is_heard: bool,
}

/// How far the answer has come.
enum Answer {
    Head(ResponseFuture),
    Body(RecvStream),
    Over,
}

/// What comes of an answer.
enum Part {
    Head(Response<RecvStream>),
    Piece(Bytes),
    End(Option<HeaderMap>),
}

/// What happened first.
enum Event {
    Answered(std::result::Result<Part, h2::Error>),
    Asked(Result<Option<Bytes>>),
    GivenUp,
    Late,
    Pushed,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        session: &'a mut Session,
        exchange: &'a mut Exchange,
        lease: Arc<Lease>,
        terms: Terms,
        is_tls: bool,
    ) -> Self {
        Self { engine, session, exchange, lease, terms, is_tls }
    }

    /// Passes the request and its whole answer.
    pub(super) async fn run(mut self) -> Result<()> {
        let connection = self.exchange.connection.clone();
        if connection.as_ref().is_some_and(|connection| !connection.attempt_shares()) {
            return Err(Error::explain(ConnectionClosed, TAKEN_OUT).into_up());
        }
        self.exchange.seen.connected();
        self.exchange.is_shared = true;
        let head = self.head().await?;
        let is_whole = self.session.as_mut().is_body_empty();
        let may_pause = is_grpc(self.session.req_header());
        let sent = self.lease.send.clone().send_request(head, is_whole);
        let (answer, body) = sent.map_err(|error| {
            self.exchange.unserved = Some(NotServed::Unsent);
            Error::because(H2Error, "sending a request", error).into_up()
        })?;
        let stream = answer.stream_id().as_u32();
        let mut sent = Sent {
            upload: Upload::new(body, is_whole),
            answer: Answer::Head(answer),
            moved: clock::monotonic(),
            deadline: Deadline::default(),
            may_pause,
            is_heard: is_whole,
        };
        self.session.as_mut().enable_retry_buffering();
        let ended = self.exchange_bodies(&mut sent, connection.as_deref()).await;
        if let Err(error) = &ended {
            self.exchange.unserved = not_served(error, !self.lease.has_written(stream));
            let is_late = matches!(error.etype(), ReadTimedout | WriteTimedout);
            if is_late || connection.is_some_and(|connection| connection.is_server_late()) {
                self.lease.doubt();
            }
        }
        ended
    }

    /// Returns the head of the request as its server is to see it.
    async fn head(&mut self) -> Result<Request<()>> {
        let refused = |why: &'static str| Error::explain(InvalidHTTPHeader, why).into_down();
        let asked = self.session.req_header();
        let takes_trailers = asked.headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
        let mut head: RequestHeader = asked.clone();
        if !strip_for_http2(&mut head) {
            return Err(refused("Connection names fields that may not be left out"));
        }
        self.engine.upstream_request_filter(self.session, &mut head, self.exchange).await?;
        if takes_trailers {
            head.insert_header(TE, HeaderValue::from_static("trailers"))?;
        }
        if !head.raw_path_is_utf8() {
            return Err(refused("HTTP/2 cannot carry the request target"));
        }
        let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let authority = match head.remove_header(&HOST) {
            Some(host) => Authority::try_from(host.as_bytes()).ok(),
            None => head.uri.authority().cloned(),
        };
        let authority = authority.filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| refused("the request names no host that HTTP/2 could carry"))?;
        let scheme = if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        head.set_uri(uri.map_err(|_| refused("HTTP/2 cannot carry the request target"))?);
        head.set_version(Version::HTTP_2);
        let parts: ::http::request::Parts = head.into();
        Ok(Request::from_parts(parts, ()))
    }

    async fn exchange_bodies(&mut self, sent: &mut Sent, connection: Option<&Connection>) -> Result<()> {
        // What was read of the body for a server that was tried before.
        let read = self.session.as_mut().get_retry_buffer();
        if read.is_some() || (self.session.is_body_done() && !sent.upload.is_over()) {
            self.put(sent, read).await?;
        }
        loop {
            let late = sent.late_at(self.terms);
            let Sent { upload, answer, deadline, is_heard, .. } = sent;
            let (waits, is_heard) = (upload.waits_since().is_some(), *is_heard);
            let event = tokio::select! {
                biased;
                () = given_up(connection) => Event::GivenUp,
                asked = heard(self.session, waits, is_heard) => Event::Asked(asked),
                () = upload.push(), if waits => Event::Pushed,
                part = answer.next() => Event::Answered(part),
                () = past(deadline, late) => Event::Late,
            };
            match event {
                Event::Answered(part) => {
                    let part = part.map_err(|error| Error::because(H2Error, "reading an answer", error).into_up())?;
                    self.answered(sent, part).await?;
                    sent.moved = clock::monotonic();
                    if matches!(sent.answer, Answer::Over) {
                        return self.session.as_mut().finish_body().await.map(|_| ()).map_err(|e| e.into_down());
                    }
                }
                Event::Asked(piece) => {
                    let piece = piece.map_err(|error| error.into_down())?;
                    self.put(sent, piece).await?;
                }
                Event::GivenUp => {
                    let why = if connection.is_some_and(Connection::is_cut) { TAKEN_OUT } else { "it took too long" };
                    return Err(Error::explain(ConnectionClosed, why).into_up());
                }
                Event::Late if waits => {
                    return Err(Error::explain(WriteTimedout, "the server takes no more of the request").into_up());
                }
                Event::Late => return Err(Error::explain(ReadTimedout, "the server paused its answer").into_up()),
                Event::Pushed => sent.moved = clock::monotonic(),
            }
        }
    }

    /// Takes in the next piece of the request's body.
    async fn put(&mut self, sent: &mut Sent, mut piece: Option<Bytes>) -> Result<()> {
        let is_last = self.session.is_body_done();
        self.engine.request_body_filter(self.session, &mut piece, is_last, self.exchange).await?;
        sent.moved = clock::monotonic();
        // No piece is the end of it, whatever was announced.
        let is_last = is_last || piece.is_none();
        sent.is_heard |= is_last;
        sent.upload.put(piece.unwrap_or_default(), is_last);
        Ok(())
    }

    /// Passes a part of the answer on.
    async fn answered(&mut self, sent: &mut Sent, part: Part) -> Result<()> {
        match part {
            Part::Head(response) => sent.answer = self.answer_began(response).await?,
            Part::Piece(piece) => {
                let Answer::Body(body) = &mut sent.answer else { return Ok(()) };
                let bytes = piece.len();
                let is_last = body.is_end_stream();
                if is_last {
                    ended_well(body).await?;
                } else if piece.is_empty() {
                    return Ok(());
                }
                let mut piece = Some(piece);
                self.engine.response_body_filter(self.session, &mut piece, is_last, self.exchange)?;
                self.session.write_response_tasks(vec![HttpTask::Body(piece, is_last)]).await?;
                if is_last {
                    sent.answer = Answer::Over;
                } else {
                    let released = body.flow_control().release_capacity(bytes);
                    released.map_err(|error| Error::because(H2Error, "reading an answer", error).into_up())?;
                }
            }
            Part::End(trailers) => {
                let task = trailers.map_or(HttpTask::Done, |trailers| HttpTask::Trailer(Some(Box::new(trailers))));
                self.session.write_response_tasks(vec![task]).await?;
                sent.answer = Answer::Over;
            }
        }
        Ok(())
    }

    async fn answer_began(&mut self, response: Response<RecvStream>) -> Result<Answer> {
        let (parts, mut body) = response.into_parts();
        let mut head = ResponseHeader::from(parts);
        if !framing::are_names_tokens(&head.headers) {
            return Err(Error::explain(InvalidHTTPHeader, "a header name is no token").into_up());
        }
        let has_none = self.session.req_header().method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = length_of(&head.headers)?;
        let is_over = body.is_end_stream();
        self.engine.upstream_response_filter(self.session, &mut head, self.exchange).await?;
        if is_over {
            ended_well(&mut body).await?;
            if !has_none && length.is_some_and(|length| length > 0) {
                return Err(Error::explain(H2Error, "the server ended its answer before its body").into_up());
            }
        }
        if !has_none && length.is_none() {
            // For clients of HTTP/1.1; what is only of one connection is left out where it has no place.
            if is_over {
                head.insert_header(CONTENT_LENGTH, HeaderValue::from_static("0"))?;
            } else {
                head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
        head.set_version(Version::HTTP_11);
        self.engine.response_filter(self.session, &mut head, self.exchange).await?;
        self.session.write_response_tasks(vec![HttpTask::Header(Box::new(head), is_over)]).await?;
        Ok(if is_over { Answer::Over } else { Answer::Body(body) })
    }
}

impl Sent {
    /// Returns when the server is late, as far as that is seen to here.
    fn late_at(&self, terms: Terms) -> Option<Instant> {
        if let Some(since) = self.upload.waits_since() {
            return Some(since + terms.response);
        }
        let is_servers_turn = self.upload.is_over() && matches!(self.answer, Answer::Body(_));
        (is_servers_turn && !self.may_pause).then(|| self.moved + terms.response)
    }
}

impl Answer {
    async fn next(&mut self) -> std::result::Result<Part, h2::Error> {
        match self {
            Self::Head(response) => response.await.map(Part::Head),
            Self::Body(body) => match body.data().await {
                Some(piece) => piece.map(Part::Piece),
                None => body.trailers().await.map(Part::End),
            },
            Self::Over => pending().await,
        }
    }
}

/// What the client says: more of its request, whether or not the server still takes it; once that was all, that it left.
/// While the server has yet to take a piece (`waits`), only that it left.
async fn heard(session: &mut Session, waits: bool, is_heard: bool) -> Result<Option<Bytes>> {
    if !waits {
        return session.downstream_session.read_body_or_idle(is_heard).await;
    }
    let Some(closed) = session.downstream_session.watch_h2_stream_close() else { return pending().await };
    closed.await?;
    Err(Error::explain(ConnectionClosed, "the client reset its request"))
}

async fn given_up(connection: Option<&Connection>) {
    let Some(connection) = connection else { return pending().await };
    poll_fn(|_| if connection.is_given_up() { Poll::Ready(()) } else { Poll::Pending }).await;
}

async fn past(deadline: &mut Deadline, at: Option<Instant>) {
    match at {
        Some(at) => poll_fn(|cx| deadline.poll(at, cx)).await,
        None => pending().await,
    }
}

/// A stream may seem to have ended because of an error.
async fn ended_well(body: &mut RecvStream) -> Result<()> {
    match body.data().await {
        None => Ok(()),
        Some(Ok(_)) => Err(Error::explain(H2Error, "an answer goes on behind its end").into_up()),
        Some(Err(error)) => Err(Error::because(H2Error, "reading the end of an answer", error).into_up()),
    }
}

/// Returns the length that an answer announces.
fn length_of(headers: &HeaderMap) -> Result<Option<u64>> {
    let refused = || Error::explain(InvalidHTTPHeader, "the server announces no length or several").into_up();
    let mut given = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), None) = (given.next(), given.next()) else {
        return if headers.contains_key(CONTENT_LENGTH) { Err(refused()) } else { Ok(None) };
    };
    let is_number = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    let length = length.to_str().ok().filter(|_| is_number).and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(refused)
}

/// Returns how it is known that the server did nothing with a request that failed so, if it is.
fn not_served(error: &Error, is_unsent: bool) -> Option<NotServed> {
    let of_server = error.root_cause().downcast_ref::<h2::Error>().filter(|error| error.is_remote());
    if of_server.is_some_and(|error| error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)) {
        return Some(NotServed::Refused);
    }
    // Told to those only that come after the last one which the server began with (RFC 9113 §6.8).
    let is_beyond = of_server.is_some_and(h2::Error::is_go_away);
    (is_unsent || is_beyond).then_some(NotServed::Unsent)
}
