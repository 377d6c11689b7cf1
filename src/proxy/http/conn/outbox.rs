//! Bytes on their way to the client: small writes are gathered, large ones go with them in one system call. A client
//! that takes nothing for the write deadline, or less than it must over one, is late.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::clock;

use super::super::super::transport::Transport;
use super::deadline::Deadline;
use super::taking::Taking;

/// Bytes gathered before they are sent.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// See the module's doc.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether the stream may hold back what was written to it.
    is_unflushed: bool,
    timeout: Duration,
    deadline: Deadline,
    taking: Taking,
    is_late: bool,
}

impl Outbox {
    /// `rate_min` in bytes a second; 0: any.
    pub(super) fn new(timeout: Duration, rate_min: u32) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            is_unflushed: false,
            timeout,
            deadline: Deadline::default(),
            taking: Taking::new(timeout, rate_min, Duration::ZERO),
            is_late: false,
        }
    }

    /// Returns whether the client was found to be late, and clears it.
    pub(super) fn take_late(&mut self) -> bool {
        std::mem::take(&mut self.is_late)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.is_unflushed
    }

    /// Gathers `data` whatever its size.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// Takes `data` in, or sends it together with what was gathered.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Transport,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() - self.sent + data.len() <= GATHERED_BYTES_MAX {
            self.push(data);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            let gathered = self.bytes.len() - self.sent;
            let slices = [IoSlice::new(&self.bytes[self.sent..]), IoSlice::new(data)];
            let slices = if gathered == 0 { &slices[1..] } else { &slices[..] };
            let polled = Pin::new(&mut *stream).poll_write_vectored(cx, slices);
            let n = ready!(self.in_time(polled, cx))?;
            self.is_unflushed = true;
            if n < gathered {
                self.sent += n;
                continue;
            }
            self.drop_gathered();
            if n > gathered {
                return Poll::Ready(Ok(n - gathered));
            }
        }
    }

    /// Sends what was gathered, and what the stream holds back.
    pub(super) fn poll_drain(&mut self, stream: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let polled = Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.sent..]);
            self.sent += ready!(self.in_time(polled, cx))?;
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            let flushed = Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| 1);
            ready!(self.in_time(flushed, cx))?;
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// Ends our half of the stream.
    pub(super) fn poll_shutdown(&mut self, stream: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(stream).poll_shutdown(cx).map_ok(|()| 1);
        self.in_time(ended, cx).map_ok(|_| ())
    }

    /// Forgets all that was not sent.
    pub(super) fn clear(&mut self) {
        self.drop_gathered();
        self.is_unflushed = false;
    }

    fn drop_gathered(&mut self) {
        self.bytes = Vec::new();
        self.sent = 0;
    }

    /// Turns a write that stays pending past the write deadline, writes too little over one, or nothing, into an error.
    fn in_time(&mut self, polled: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(done) => {
                self.deadline.restart();
                let n = done?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.taking.took(n);
                if self.taking.is_waiting() {
                    let now = clock::monotonic();
                    self.taking.rests(now);
                    if !self.taking.is_enough(now) {
                        return Poll::Ready(Err(self.late()));
                    }
                }
                Poll::Ready(Ok(n))
            }
            Poll::Pending => {
                let now = clock::monotonic();
                self.taking.waits(now);
                ready!(self.deadline.poll_since(now + self.timeout, cx));
                Poll::Ready(Err(self.late()))
            }
        }
    }

    fn late(&mut self) -> io::Error {
        self.is_late = true;
        io::Error::new(io::ErrorKind::TimedOut, "the client did not take the response in time")
    }
}
