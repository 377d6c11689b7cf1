//! The bytes of an HTTP/2 connection to a server, which says whose heads were written to it.
//!
//! A request whose head was not, nor any of it, cannot have been served, whatever became of its connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::super::super::transport::Transport;
use super::super::super::h2::meter::Cursor;

const HEADERS: u8 = 0x1;

/// The last stream whose head was written, or some of it: heads are written in the order of their streams.
#[derive(Debug, Default)]
pub(super) struct Written(AtomicU32);

impl Written {
    /// Returns whether the head of that stream was written, in part at least.
    pub(super) fn has(&self, stream: u32) -> bool {
        self.0.load(Relaxed) >= stream
    }
}

/// See the module's doc.
pub(super) struct Wire {
    stream: Transport,
    cursor: Cursor,
    written: Arc<Written>,
}

impl Wire {
    pub(super) fn new(stream: Transport) -> (Self, Arc<Written>) {
        let written = Arc::new(Written::default());
        (Self { stream, cursor: Cursor::of_client(), written: Arc::clone(&written) }, written)
    }

    fn passed(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.cursor.next(&mut bytes) {
            if frame.kind == HEADERS {
                self.written.0.fetch_max(frame.stream, Relaxed);
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.stream).poll_write(cx, data))?;
        this.passed(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut left = n;
        for slice in slices {
            let taken = left.min(slice.len());
            this.passed(&slice[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
