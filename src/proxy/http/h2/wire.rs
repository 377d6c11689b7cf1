//! The bytes of an HTTP/2 connection, as the engine reads and writes them: metered, and never stuck.
//!
//! A client that takes nothing for `timeouts.write`, or leaves a head half sent for `timeouts.header`, loses its
//! connection; everything else that can take too long is of one stream, and watched there. Once there is too much of
//! anything nothing more is read: whoever drives the connection sees it in the [`Gauge`] and says goodbye.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::pingora::protocols::raw_connect::ProxyDigest;
use ::pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::clock;
use crate::metrics::Refusal;
use crate::model::FrontendTimeouts;

use super::super::super::transport::Transport;
use super::super::conn::deadline::Deadline;
use super::meter::Meter;

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
}

impl Wire {
    pub(super) fn new(stream: Transport, gauge: Arc<Gauge>, timeouts: &FrontendTimeouts) -> Self {
        Self {
            stream,
            meter: Meter::new(clock::monotonic()),
            gauge,
            header: timeouts.header,
            write: timeouts.write,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
        }
    }

    /// Turns a write that stays pending past the write deadline into an error.
    fn in_time<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            ready!(self.write_deadline.poll_since(clock::monotonic() + self.write, cx));
            let late = io::Error::new(io::ErrorKind::TimedOut, "the client did not take what was sent in time");
            return Poll::Ready(Err(late));
        }
        self.write_deadline.restart();
        polled
    }

    fn written(&mut self, bytes: &[u8]) {
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
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                if let Some(excess) = this.meter.read(&buf.filled()[before..], clock::monotonic()) {
                    this.gauge.set(excess);
                    buf.set_filled(before);
                    return Poll::Pending;
                }
                if !this.meter.is_head_open() {
                    this.read_deadline.restart();
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
