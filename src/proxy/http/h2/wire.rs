//! The bytes of an HTTP/2 connection, as the engine reads and writes them: metered, and never stuck.
//!
//! A client that takes nothing for `timeouts.write`, or less than `limits.body_rate_min` over one, or leaves a head half sent for `timeouts.header`, loses its
//! connection; everything else that can take too long is of one stream, and watched there. Once there is too much of
//! anything nothing more is read: whoever drives the connection sees it in the [`Gauge`] and says goodbye.
//!
//! A client that is told to go answers a PING, upon which the engine takes in no further request. Clients send that
//! answer before requests that they had begun, so it is held back for a moment ([`ANSWER_HOLD`]): requests that are lost
//! to a farewell many clients do not send again.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::pingora::protocols::raw_connect::ProxyDigest;
use ::pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::clock;
use crate::metrics::Refusal;
use crate::model::{FrontendTimeouts, Limits};

use super::super::super::transport::Transport;
use super::super::conn::deadline::Deadline;
use super::super::conn::taking::Taking;
use super::meter::{Meter, PING_BYTES};

/// How long after the answer to a farewell requests may still come.
const ANSWER_HOLD: Duration = Duration::from_millis(500);

/// What there was too much of, if anything; shared by the bytes and by whoever drives the connection, in one task.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Option<Refusal>>);

impl Gauge {
    fn set(&self, excess: Refusal) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(excess);
    }

    /// Returns what there was too much of.
    pub(super) fn excess(&self) -> Option<Refusal> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's doc.
pub(super) struct Wire {
    stream: Transport,
    meter: Meter,
    gauge: Arc<Gauge>,
    header: Duration,
    write: Duration,
    read_deadline: Deadline,
    write_deadline: Deadline,
    taking: Taking,
    /// The answer to a farewell.
    held: Option<Held>,
}

/// A frame that waits for its turn.
struct Held {
    frame: [u8; PING_BYTES],
    passed: usize,
    until: Instant,
    deadline: Deadline,
}

impl Wire {
    pub(super) fn new(stream: Transport, gauge: Arc<Gauge>, timeouts: &FrontendTimeouts, limits: &Limits) -> Self {
        Self {
            stream,
            meter: Meter::new(clock::monotonic()),
            gauge,
            header: timeouts.header,
            write: timeouts.write,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
            taking: Taking::new(timeouts.write, limits.body_rate_min, Duration::ZERO),
            held: None,
        }
    }

    /// Turns a write that stays pending past the write deadline, or comes to too little over one, into an error.
    fn in_time<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let now = clock::monotonic();
            self.taking.waits(now);
            ready!(self.write_deadline.poll_since(now + self.write, cx));
            return Poll::Ready(Err(self.late()));
        }
        self.write_deadline.restart();
        if self.taking.is_waiting() {
            let now = clock::monotonic();
            self.taking.rests(now);
            if !self.taking.is_enough(now) {
                return Poll::Ready(Err(self.late()));
            }
        }
        polled
    }

    fn late(&self) -> io::Error {
        self.gauge.set(Refusal::AnswerTimeout);
        io::Error::new(io::ErrorKind::TimedOut, "the client did not take what was sent in time")
    }

    /// Takes the answer to a farewell out of what was read behind `before`.
    fn hold_answer(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let Some(at) = self.meter.answer().filter(|_| self.held.is_none()) else { return };
        let start = before + at;
        let read = buf.filled_mut();
        let Some(frame) = read.get(start..).and_then(|from| from.first_chunk().copied()) else { return };
        read.copy_within(start + PING_BYTES.., start);
        let left = read.len() - PING_BYTES;
        buf.set_filled(left);
        let until = clock::monotonic() + ANSWER_HOLD;
        self.held = Some(Held { frame, passed: 0, until, deadline: Deadline::default() });
    }

    /// Passes on what was held, once it is time and its place; returns whether it did.
    fn pass_held(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> bool {
        let Some(held) = &mut self.held else { return false };
        let is_begun = held.passed > 0;
        if !is_begun && (held.deadline.poll(held.until, cx).is_pending() || !self.meter.is_between_frames()) {
            return false;
        }
        let left = &held.frame[held.passed..];
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        held.passed += now;
        if held.passed == PING_BYTES {
            self.held = None;
        }
        true
    }

    fn written(&mut self, bytes: &[u8]) {
        self.taking.took(bytes.len());
        if let Some(excess) = self.meter.written(bytes, clock::monotonic()) {
            self.gauge.set(excess);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gauge.excess().is_some() {
            return Poll::Pending;
        }
        if this.pass_held(cx, buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                let is_end = buf.filled().len() == before;
                if let Some(excess) = this.meter.read(&buf.filled()[before..], clock::monotonic()) {
                    this.gauge.set(excess);
                    buf.set_filled(before);
                    return Poll::Pending;
                }
                if !this.meter.is_head_open() {
                    this.read_deadline.restart();
                }
                this.hold_answer(buf, before);
                if buf.filled().len() == before && !is_end {
                    // Nothing else came, which must not look like the end.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(done)
            }
            Poll::Pending if this.meter.is_head_open() => {
                ready!(this.read_deadline.poll_since(clock::monotonic() + this.header, cx));
                this.gauge.set(Refusal::HeaderTimeout);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "a head did not arrive in time")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, data);
        let n = ready!(this.in_time(polled, cx))?;
        this.written(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        let n = ready!(this.in_time(polled, cx))?;
        let mut left = n;
        for slice in slices {
            let taken = left.min(slice.len());
            this.written(&slice[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.in_time(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.in_time(polled, cx)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // Nobody is left to be told.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for Wire {}

impl Peek for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("stream", &self.stream).finish_non_exhaustive()
    }
}
