//! Bytes that were read from the client and not yet delivered. Holds no memory while empty.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::super::transport::Transport;

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// See the module's doc.
#[derive(Default)]
pub(super) struct Inbox {
    /// Held are `bytes[start..]`.
    bytes: Vec<u8>,
    start: usize,
    is_ended: bool,
}

impl Inbox {
    pub(super) fn held(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Returns whether the client said that it sends no more.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Notes that the client sends no more.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
    }

    /// Takes `n` bytes off the front.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }

    /// Moves up to `max` bytes into `buf`; returns how many.
    pub(super) fn deliver(&mut self, max: usize, buf: &mut ReadBuf<'_>) -> usize {
        let n = max.min(self.held().len()).min(buf.remaining());
        buf.put_slice(&self.held()[..n]);
        self.consume(n);
        n
    }

    /// Puts bytes before those held.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let mut all = bytes.to_vec();
            all.extend_from_slice(self.held());
            self.bytes = all;
            self.start = 0;
        }
    }

    /// Reads more, while fewer than `bound` bytes are held as far as they go and otherwise one; `Ready(0)` at the end
    /// of the stream. Allocates only once bytes are there.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut Transport,
        bound: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_ended {
            return Poll::Ready(Ok(0));
        }
        ready!(stream.poll_read_ready(cx))?;
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let before = self.bytes.len();
        self.bytes.resize((before + READ_BYTES).min(bound.max(before + 1)), 0);
        let mut spare = ReadBuf::new(&mut self.bytes[before..]);
        let polled = Pin::new(stream).poll_read(cx, &mut spare);
        let n = spare.filled().len();
        self.bytes.truncate(before + n);
        if self.bytes.is_empty() {
            // In TLS, where bytes may have come that are no data.
            self.clear();
        }
        ready!(polled)?;
        self.is_ended = n == 0;
        Poll::Ready(Ok(n))
    }
}
