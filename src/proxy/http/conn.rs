//! The stream that the engine reads a client through.
//!
//! It delivers exactly one request at a time: a head only when it is whole and was accepted by [`super::head`], then
//! its body, then nothing until the engine says that the request is answered. So nothing ambiguous is passed on,
//! pipelined bytes wait their turn, and bytes behind an Upgrade are not read before the 101. It answers refused heads
//! itself, and keeps the deadlines that Pingora 0.9.1 lacks: total header, idle, body, write and tunnel, and the rates
//! below which a client is cut, whichever way the bytes go.
//!
//! Memory: an idle connection holds no buffer; a head is bounded by `limits.header_bytes`, writes by 16 KiB.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::pingora::protocols::raw_connect::ProxyDigest;
use ::pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::clock;

use super::super::transport::Transport;
use super::chunked::Chunked;
use super::control::Connection;
use super::head::{BodyFraming, Fault, Scan, Verdict};
use super::pages;

pub(super) mod deadline;
mod ending;
mod inbox;
mod outbox;
pub(super) mod pace;
pub(super) mod taking;

use deadline::Deadline;
use inbox::Inbox;
use outbox::Outbox;
use pace::Pace;

/// How long a connection that is retired before its first request waits for it: it may be on its way.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// Where in its life the connection is.
#[derive(Debug)]
enum Phase {
    /// Delivering the body.
    Body(Body),
    /// Nothing more will be delivered.
    Closed,
    /// Delivering an accepted head: bytes left, then the body.
    Deliver { left: usize, body: BodyFraming },
    /// A head is arriving.
    Head { by: Instant },
    /// A request that ended at `since` is with the engine.
    Held { since: Instant },
    /// Between two requests.
    Idle { by: Instant },
    /// Our half is closed; reading on until the client has taken what was sent.
    Lingering { by: Instant, left: usize },
    /// Sending an error page.
    Refusing,
    /// Upgraded.
    Tunnel,
}

#[derive(Debug)]
enum Body {
    Chunked(Chunked),
    Length(u64),
}

/// See the module's doc.
pub struct ConnIo {
    stream: Transport,
    connection: Arc<Connection>,
    digest: Arc<ProxyDigest>,
    phase: Phase,
    scan: Scan,
    inbox: Inbox,
    outbox: Outbox,
    is_shut: bool,
    read_deadline: Deadline,
    /// When bytes were last sent; in a tunnel, read as well.
    last_active: Instant,
    /// Whether a request head was read.
    is_used: bool,
    /// Whether the engine has yet to take up the request whose head it was given.
    is_untaken: bool,
    /// Of the body that is arriving, or arrived last.
    pace: Pace,
    /// When a connection that was retired before its first request is given up.
    farewell: Option<Instant>,
}

impl ConnIo {
    pub(in crate::proxy) fn new(stream: Transport, connection: Arc<Connection>) -> io::Result<Self> {
        // The engine hands this digest to the proxy callbacks: the way to know which connection a request is of.
        let user_data: Box<dyn std::any::Any + Send + Sync> = Box::new(Arc::clone(&connection));
        let placeholder = ::pingora::http::ResponseHeader::build(200u16, Some(0)).map_err(io::Error::other)?;
        let now = clock::monotonic();
        let (timeouts, limits) = (&connection.frontend.frontend.timeouts, &connection.frontend.frontend.limits);
        Ok(Self {
            stream,
            phase: Phase::Idle { by: now + timeouts.idle },
            outbox: Outbox::new(timeouts.write, limits.body_rate_min),
            connection,
            digest: Arc::new(ProxyDigest::new(Box::new(placeholder), Some(user_data))),
            scan: Scan::default(),
            inbox: Inbox::default(),
            is_shut: false,
            read_deadline: Deadline::default(),
            last_active: now,
            is_used: false,
            is_untaken: false,
            pace: Pace::default(),
            farewell: None,
        })
    }

    /// Returns what the engine shares of it.
    pub(in crate::proxy) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    /// Reads what comes next, whatever the phase.
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match &self.phase {
                Phase::Closed => return Poll::Ready(Ok(())),
                Phase::Body(_) => return self.poll_body(cx, buf),
                Phase::Tunnel => return self.poll_tunnel(cx, buf),
                Phase::Deliver { left, body } => {
                    let (left, body) = (*left, *body);
                    let n = self.inbox.deliver(left, buf);
                    let body_bytes_max = self.connection.frontend.frontend.limits.body_bytes;
                    self.phase = match (left - n, body) {
                        (0, BodyFraming::Length(0)) => Phase::Held { since: clock::monotonic() },
                        (0, BodyFraming::Length(length)) => Phase::Body(Body::Length(length)),
                        (0, BodyFraming::Chunked) => Phase::Body(Body::Chunked(Chunked::new(body_bytes_max))),
                        (left, body) => Phase::Deliver { left, body },
                    };
                    return Poll::Ready(Ok(()));
                }
                Phase::Head { .. }
                | Phase::Held { .. }
                | Phase::Idle { .. }
                | Phase::Lingering { .. }
                | Phase::Refusing => ready!(self.poll_between(cx))?,
            }
        }
    }

    /// Goes on where nothing is to be delivered; ready when the phase moved on.
    fn poll_between(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let goes_on = match &self.phase {
            Phase::Body(_) | Phase::Closed | Phase::Deliver { .. } | Phase::Tunnel => true,
            Phase::Head { by } => {
                let by = *by;
                ready!(self.poll_head(by, cx))?
            }
            Phase::Held { since } => {
                let since = *since;
                ready!(self.poll_held(since, cx))?;
                true
            }
            Phase::Idle { by } => {
                let by = *by;
                ready!(self.poll_idle(by, cx))?
            }
            Phase::Lingering { .. } | Phase::Refusing => {
                // Whether the client took the page changes nothing.
                let _ = ready!(self.poll_end(cx));
                false
            }
        };
        if !goes_on {
            self.phase = Phase::Closed;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for a request, so that the engine, which keeps buffers for each that it waits for, needs not: ready with
    /// whether there is something for it. What a client that sends none is owed it has had then.
    pub(in crate::proxy) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if self.connection.is_broken() {
                return Poll::Ready(false);
            }
            match &self.phase {
                Phase::Body(_) | Phase::Deliver { .. } | Phase::Tunnel => return Poll::Ready(true),
                Phase::Closed => return Poll::Ready(false),
                Phase::Head { .. }
                | Phase::Held { .. }
                | Phase::Idle { .. }
                | Phase::Lingering { .. }
                | Phase::Refusing => {}
            }
            let polled = self.poll_between(cx);
            match self.drain_while(polled, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// Lets the client have what is ready for it while it is waited for: the engine flushes an answer of known length
    /// only at its end, however slowly that comes.
    fn drain_while(&mut self, polled: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if polled.is_pending() && !self.outbox.is_empty() {
            let drained = self.outbox.poll_drain(&mut self.stream, cx);
            if let Poll::Ready(Err(error)) = self.unless_late(drained) {
                return Poll::Ready(Err(error));
            }
        }
        polled
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let bound = self.connection.frontend.frontend.limits.header_bytes as usize + 2;
        self.inbox.poll_fill(&mut self.stream, bound, cx)
    }

    fn begin_idle(&mut self) {
        self.scan = Scan::default();
        let now = clock::monotonic();
        let timeouts = &self.connection.frontend.frontend.timeouts;
        self.phase = if self.inbox.held().is_empty() {
            Phase::Idle { by: now + timeouts.idle }
        } else {
            Phase::Head { by: now + timeouts.header }
        };
    }

    /// Between requests: `Ready(true)` when bytes arrived, `Ready(false)` when the connection is to end. What is here
    /// already is read whatever else happened meanwhile.
    fn poll_idle(&mut self, by: Instant, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.poll_fill(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(false)),
            Poll::Ready(Ok(_)) => {
                self.phase = Phase::Head { by: clock::monotonic() + self.connection.frontend.frontend.timeouts.header };
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.connection.wake_when_retired(cx.waker()) => self.poll_farewell(by, cx),
            Poll::Pending => self.read_deadline.poll(by, cx).map(|()| Ok(false)),
        }
    }

    /// Retired between requests: the end, unless a request is here or may be on its way.
    fn poll_farewell(&mut self, by: Instant, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.is_used {
            let is_here = self.stream.is_more_here();
            // The reactor has yet to say so, and will.
            return if is_here { Poll::Pending } else { Poll::Ready(Ok(false)) };
        }
        let farewell = *self.farewell.get_or_insert_with(|| clock::monotonic() + FAREWELL);
        self.read_deadline.poll(by.min(farewell), cx).map(|()| Ok(false))
    }

    /// A head is arriving: `Ready(true)` when the phase moved on, `Ready(false)` when the client left.
    fn poll_head(&mut self, by: Instant, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scan = self.scan;
        let verdict = scan.look(self.inbox.held(), &self.connection.frontend.frontend.limits);
        self.scan = scan;
        match verdict {
            Verdict::Complete { start, end, body } => {
                self.inbox.consume(start);
                self.is_used = true;
                self.is_untaken = true;
                self.pace = Pace::default();
                self.phase = Phase::Deliver { left: end - start, body };
                Poll::Ready(Ok(true))
            }
            Verdict::Refused(fault) => {
                self.refuse(fault);
                Poll::Ready(Ok(true))
            }
            Verdict::Partial => match self.poll_fill(cx) {
                Poll::Ready(Ok(n)) => Poll::Ready(Ok(n > 0)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.read_deadline.poll(by, cx));
                    let has_begun = self.scan.has_begun(self.inbox.held());
                    if has_begun {
                        self.refuse(Fault::HeaderTimeout);
                    }
                    Poll::Ready(Ok(has_begun))
                }
            },
        }
    }

    fn refuse(&mut self, fault: Fault) {
        let id = self.connection.refused(fault);
        self.outbox.push(&pages::closing_response(fault.status(), fault.reason(), &id));
        self.phase = Phase::Refusing;
        self.inbox.clear();
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let left = if let Phase::Body(Body::Length(left)) = &self.phase { *left } else { u64::MAX };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if self.inbox.held().is_empty() {
            let polled = poll_read_at_most(&mut self.stream, left, cx, buf);
            if polled.is_pending() {
                self.pace.waits(clock::monotonic());
                let by = clock::monotonic() + self.connection.frontend.frontend.timeouts.body;
                ready!(self.read_deadline.poll_since(by, cx));
                return Poll::Ready(Err(self.fail(Fault::BodyTimeout)));
            }
            self.read_deadline.restart();
            ready!(polled)?;
        } else {
            self.inbox.deliver(left, buf);
        }
        let read = buf.filled().len() - before;
        if read == 0 {
            self.inbox.end();
        }
        let (timeouts, limits) =
            (&self.connection.frontend.frontend.timeouts, &self.connection.frontend.frontend.limits);
        if !self.pace.read(read, clock::monotonic(), timeouts.body, limits.body_rate_min) {
            buf.set_filled(before);
            return Poll::Ready(Err(self.fail(Fault::BodyTimeout)));
        }
        self.account(before, read, buf)
    }

    /// Follows the body's framing over `read` bytes that were put at `before`.
    fn account(&mut self, before: usize, read: usize, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Phase::Body(body) = &mut self.phase else { return Poll::Ready(Ok(())) };
        let is_over = match body {
            Body::Length(left) => {
                *left -= read as u64;
                *left == 0
            }
            Body::Chunked(chunked) => match chunked.take_in(&buf.filled()[before..]) {
                Ok(taken) => {
                    let beyond = buf.filled()[before + taken..].to_vec();
                    buf.set_filled(before + taken);
                    let is_over = chunked.is_over();
                    self.inbox.put_back(&beyond);
                    is_over
                }
                Err(fault) => {
                    buf.set_filled(before);
                    return Poll::Ready(Err(self.fail(fault)));
                }
            },
        };
        if is_over {
            self.phase = Phase::Held { since: clock::monotonic() };
        }
        Poll::Ready(Ok(()))
    }

    /// Returns an error if the answer under way was cut.
    fn unless_broken(&mut self) -> io::Result<()> {
        if self.connection.is_broken() { Err(self.fail(Fault::ServerTakenOut)) } else { Ok(()) }
    }

    /// Ends the connection of a client that was found to be late in taking what is sent: what it has must not look
    /// whole, and what it has not is thrown away.
    fn unless_late<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.outbox.take_late() {
            self.connection.takes_too_slowly();
            // Fails for a connection that is gone already.
            let _ = self.stream.set_zero_linger();
        }
        polled
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.connection.set_fault(fault);
        self.phase = Phase::Closed;
        io::Error::new(io::ErrorKind::InvalidData, fault.reason())
    }

    /// A request is with the engine: ready when the phase moved on, with an error when the client is gone or the
    /// answer late. A client that only ended its half waits for its answer, so the engine is not told: it would look
    /// away and leave the deadlines to nobody. Pipelined bytes wait their turn.
    fn poll_held(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_tunnel() {
            self.last_active = clock::monotonic();
            self.phase = Phase::Tunnel;
            return Poll::Ready(Ok(()));
        }
        if self.connection.take_answered() {
            self.begin_idle();
            return Poll::Ready(Ok(()));
        }
        let bound = self.connection.frontend.frontend.limits.header_bytes as usize;
        while !self.inbox.is_ended() && self.inbox.held().len() < bound {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        self.poll_answer_deadline(since, cx)
    }

    fn poll_answer_deadline(&mut self, since: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(by) = self.connection.answer_by(since, self.last_active) else { return Poll::Pending };
        ready!(self.read_deadline.poll(by, cx));
        Poll::Ready(Err(self.fail(Fault::ResponseTimeout)))
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.inbox.held().is_empty() {
            self.inbox.deliver(usize::MAX, buf);
            return Poll::Ready(Ok(()));
        }
        if self.inbox.is_ended() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                self.last_active = clock::monotonic();
                Poll::Ready(done)
            }
            Poll::Pending => {
                let tunnel = self.connection.frontend.frontend.timeouts.tunnel;
                loop {
                    let by = self.last_active + tunnel;
                    ready!(self.read_deadline.poll(by, cx));
                    if clock::monotonic() >= self.last_active + tunnel {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

/// Reads at most `max` bytes into `buf`.
fn poll_read_at_most(
    stream: &mut Transport,
    max: usize,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if max >= buf.remaining() {
        return Pin::new(stream).poll_read(cx, buf);
    }
    let mut part = ReadBuf::new(buf.initialize_unfilled_to(max));
    ready!(Pin::new(stream).poll_read(cx, &mut part))?;
    let n = part.filled().len();
    buf.advance(n);
    Poll::Ready(Ok(()))
}

impl AsyncRead for ConnIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.unless_broken()?;
        let polled = this.poll_next(cx, buf);
        this.drain_while(polled, cx)
    }
}

impl AsyncWrite for ConnIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.unless_broken()?;
        if this.is_untaken && !this.connection.take_taken_up() {
            // An answer to what no callback of ours has seen: Pingora refuses by itself, with a page of its own.
            this.refuse(Fault::BadRequest("the request target, the Host or a header is malformed"));
        }
        this.is_untaken = false;
        if matches!(this.phase, Phase::Refusing) {
            return Poll::Ready(Ok(data.len()));
        }
        this.last_active = clock::monotonic();
        let written = this.outbox.poll_write(&mut this.stream, cx, data);
        this.unless_late(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.unless_broken()?;
        let drained = this.outbox.poll_drain(&mut this.stream, cx);
        this.unless_late(drained)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

#[async_trait]
impl Shutdown for ConnIo {
    async fn shutdown(&mut self) {
        // Nobody is left to be told.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ConnIo {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for ConnIo {}

impl Peek for ConnIo {}

impl GetTimingDigest for ConnIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ConnIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for ConnIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Drop for ConnIo {
    fn drop(&mut self) {
        if self.connection.is_broken() {
            // However it comes to be dropped: an answer that was cut must not look whole.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl std::fmt::Debug for ConnIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnIo").field("client", &self.connection.client).field("phase", &self.phase).finish()
    }
}
