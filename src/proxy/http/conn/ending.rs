//! How a connection ends: what is buffered is sent, our half closed, and the client read on for a moment where it may
//! still be sending, since unread bytes would reset the connection and the client might lose its answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use crate::clock;

use super::{ConnIo, Phase};

/// Bytes read at once from a client whose bytes are thrown away.
const THROWN_AWAY_BYTES: usize = 16 * 1024;
/// How long, and how many bytes, a client that was answered with an error is read on, so that it sees the answer
/// rather than a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

impl ConnIo {
    /// Ends the connection; ready when it can be dropped.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            if self.connection.is_aborted() {
                self.abort();
                return Poll::Ready(Ok(()));
            }
            let drained = self.outbox.poll_drain(&mut self.stream, cx);
            ready!(self.unless_late(drained))?;
            let ended = self.outbox.poll_shutdown(&mut self.stream, cx);
            ready!(self.unless_late(ended))?;
            self.is_shut = true;
            let by = clock::monotonic() + LINGER;
            let lingers = self.may_be_sending();
            self.phase = if lingers { Phase::Lingering { by, left: LINGER_BYTES_MAX } } else { Phase::Closed };
        }
        while let Phase::Lingering { by, left } = self.phase {
            ready!(self.poll_lingering(by, left, cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client has sent, or may be about to send, what nobody will read.
    fn may_be_sending(&self) -> bool {
        if self.inbox.is_ended() {
            return false;
        }
        !matches!(self.phase, Phase::Held { .. }) || !self.inbox.held().is_empty() || self.stream.is_more_here()
    }

    /// Makes the end of the connection a reset.
    fn abort(&mut self) {
        // Fails for a connection that is gone already.
        let _ = self.stream.set_zero_linger();
        self.outbox.clear();
        self.is_shut = true;
        self.phase = Phase::Closed;
    }

    fn poll_lingering(&mut self, by: Instant, left: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; THROWN_AWAY_BYTES];
        let mut scratch = ReadBuf::new(&mut scratch);
        let read = match Pin::new(&mut self.stream).poll_read(cx, &mut scratch) {
            Poll::Pending => {
                ready!(self.read_deadline.poll(by, cx));
                0
            }
            Poll::Ready(Err(_)) => 0,
            Poll::Ready(Ok(())) => scratch.filled().len(),
        };
        let left = left.saturating_sub(read);
        self.phase = if read == 0 || left == 0 { Phase::Closed } else { Phase::Lingering { by, left } };
        Poll::Ready(())
    }
}
