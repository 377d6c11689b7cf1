//! Notes of one check for its evidence: what it sent and received, when, and what went wrong.
//!
//! [`Traced`] wraps the stream that a conversation is held on (inside TLS: its plaintext) and keeps the first bytes of
//! both directions. Nothing is allocated before a byte passes, and no more than passed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock;
use crate::model::Evidence;
use crate::model::check::EVIDENCE_BYTES_MAX;

use super::tls;

/// The notes of one check.
#[derive(Debug)]
pub(super) struct Trace {
    started: Instant,
    sent: Vec<u8>,
    /// What was sent, all of it, where it is kept for further checks anyway.
    question: Option<Arc<[u8]>>,
    received: Vec<u8>,
    pub(super) connect: Option<Duration>,
    pub(super) tls: Option<Duration>,
    first_byte: Option<Duration>,
    pub(super) errno: Option<i32>,
    pub(super) tls_alert: Option<Box<str>>,
    pub(super) certificate_sha256: Option<[u8; 32]>,
    /// The last read left nothing behind.
    pub(super) is_emptied: bool,
}

impl Trace {
    /// Returns the empty notes of a check that began then.
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            sent: Vec::new(),
            question: None,
            received: Vec::new(),
            connect: None,
            tls: None,
            first_byte: None,
            errno: None,
            tls_alert: None,
            certificate_sha256: None,
            is_emptied: false,
        }
    }

    /// Returns how long the check has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.started)
    }

    /// Notes bytes that were sent.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        keep_first(&mut self.sent, bytes);
    }

    /// Notes that the next bytes of a question were sent, so many from `at` on.
    pub(super) fn asked(&mut self, question: &Arc<[u8]>, at: usize, count: usize) {
        if at == 0 && count == question.len() && count <= EVIDENCE_BYTES_MAX {
            self.question = Some(Arc::clone(question));
        } else {
            self.sent(&question[at..at + count]);
        }
    }

    /// Notes what a read into a buffer of that length brought.
    pub(super) fn read(&mut self, bytes: &[u8], buffer_len: usize) {
        self.received_more(bytes);
        self.is_emptied = bytes.len() < buffer_len;
    }

    /// Returns what has been received, as far as it is kept.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Notes an error of the stream.
    pub(super) fn failed(&mut self, error: &io::Error) {
        self.errno = error.raw_os_error().or(self.errno);
        self.tls_alert = tls::alert_in(error).or_else(|| self.tls_alert.take());
    }

    /// Keeps these texts in place of the bytes sent and received: what they mean, where the bytes are not for reading.
    pub(super) fn put_in_words(&mut self, sent: &str, received: &str) {
        self.sent.clear();
        keep_first(&mut self.sent, sent.as_bytes());
        self.received.clear();
        keep_first(&mut self.received, received.as_bytes());
    }

    /// Returns the notes as evidence.
    pub(super) fn into_evidence(self) -> Evidence {
        Evidence {
            sent: self.question.unwrap_or_else(|| self.sent.into()),
            received: self.received.into_boxed_slice(),
            connect: self.connect,
            tls: self.tls,
            first_byte: self.first_byte,
            errno: self.errno,
            tls_alert: self.tls_alert,
            certificate_sha256: self.certificate_sha256,
        }
    }

    fn received_more(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && self.first_byte.is_none() {
            self.first_byte = Some(self.elapsed());
        }
        keep_first(&mut self.received, bytes);
    }
}

fn keep_first(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = EVIDENCE_BYTES_MAX.saturating_sub(kept.len());
    let first = &bytes[..bytes.len().min(room)];
    if !first.is_empty() {
        kept.reserve_exact(first.len());
        kept.extend_from_slice(first);
    }
}

/// A stream whose bytes are noted.
#[derive(Debug)]
pub(super) struct Traced<'a, S> {
    inner: &'a mut S,
    pub(super) trace: &'a mut Trace,
}

impl<'a, S> Traced<'a, S> {
    /// Wraps a stream.
    pub(super) fn new(inner: &'a mut S, trace: &'a mut Trace) -> Self {
        Self { inner, trace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Traced<'_, S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut *this.inner).poll_read(context, buffer));
        match &result {
            Ok(()) => {
                let room = buffer.filled().len() - before + buffer.remaining();
                this.trace.read(&buffer.filled()[before..], room);
            }
            Err(error) => this.trace.failed(error),
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Traced<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = ready!(Pin::new(&mut *this.inner).poll_write(context, bytes));
        match &result {
            Ok(taken) => this.trace.sent(&bytes[..*taken]),
            Err(error) => this.trace.failed(error),
        }
        Poll::Ready(result)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn first_bytes_of_both_directions_are_kept_and_no_more() {
        let (mut near, mut far) = tokio::io::duplex(8192);
        let mut trace = Trace::new(clock::monotonic());
        let mut stream = Traced::new(&mut near, &mut trace);
        stream.write_all(b"hello").await.unwrap();
        stream.write_all(&[b'x'; 2000]).await.unwrap();
        far.write_all(b"220 ").await.unwrap();
        far.write_all(&[b'y'; 3000]).await.unwrap();
        stream.read_exact(&mut [0; 3004]).await.unwrap();
        let evidence = trace.into_evidence();
        assert!(evidence.sent.starts_with(b"helloxx") && evidence.received.starts_with(b"220 yy"));
        assert_eq!((evidence.sent.len(), evidence.received.len()), (EVIDENCE_BYTES_MAX, EVIDENCE_BYTES_MAX));
        assert!(evidence.first_byte.is_some() && evidence.errno.is_none());
    }

    #[tokio::test]
    async fn silence_is_no_first_byte_and_takes_no_memory() {
        let (mut near, far) = tokio::io::duplex(64);
        drop(far);
        let mut trace = Trace::new(clock::monotonic());
        assert_eq!(Traced::new(&mut near, &mut trace).read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!((trace.sent.capacity(), trace.received.capacity()), (0, 0));
        assert_eq!(trace.into_evidence(), Evidence::default());
    }
}
