//! One HTTP/2 connection to a server: who uses it, and how it ends.
//!
//! A task drives it. It takes no more requests once its server said goodbye, once it is too old or has served enough, or
//! once nobody used it for long; it ends when the last of its requests has. A server that let a request wait for too long
//! is asked for a sign of life: if none comes the connection ends with all that is on it, for it would be late for
//! everybody; if one comes only that request was.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::Notify;

use crate::clock;
use crate::model::Reuse;

use super::super::super::super::transport::Transport;
use super::links::{Group, Terms};
use super::wire::{Wire, Written};

/// Bytes of an answer that may be here and not with its client yet. Those of all requests of a connection may be at once,
/// so that no client that reads slowly holds up another.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// The most that a window may be (RFC 9113 §6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// Bytes of a request's body that wait in memory for the server to take them.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of the head of an answer, and of its trailers.
const HEAD_BYTES_MAX: u32 = 256 * 1024;

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Link {
    uses: Mutex<Uses>,
    written: Arc<Written>,
    born: Instant,
    doubted: Notify,
}

#[derive(Debug)]
struct Uses {
    /// Nothing once it takes no more requests.
    send: Option<SendRequest<Bytes>>,
    streams: u32,
    served: u32,
    idle_since: Instant,
}

/// The place of one request on a connection; free again when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    link: Arc<Link>,
    group: Arc<Group>,
    pub(super) send: SendRequest<Bytes>,
    /// Whether the connection served another request before.
    pub(super) is_kept: bool,
}

impl Link {
    /// Speaks HTTP/2 on a connection that is there; drives it in a task of its own, which tells the group of its end.
    pub(super) async fn start(transport: Transport, terms: Terms, group: &Arc<Group>) -> Result<Arc<Self>, h2::Error> {
        let (wire, written) = Wire::new(transport);
        let streams = terms.reuse.streams.max(1);
        let (send, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES.saturating_mul(streams).min(WINDOW_BYTES_MAX))
            .initial_max_send_streams(streams as usize)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .handshake(wire)
            .await?;
        let now = clock::monotonic();
        let uses = Uses { send: Some(send), streams: 0, served: 0, idle_since: now };
        let link = Arc::new(Self { uses: Mutex::new(uses), written, born: now, doubted: Notify::new() });
        tokio::spawn(drive(connection, Arc::clone(&link), terms, Arc::downgrade(group)));
        Ok(link)
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place on the connection, if it has one.
    pub(super) fn lease(self: &Arc<Self>, rule: Reuse, group: &Arc<Group>) -> Option<Lease> {
        let mut uses = self.uses();
        let mut send = uses.send.clone()?;
        let is_worn = rule.requests_max.is_some_and(|most| uses.served >= most.max(1));
        let is_old = || uses.served > 0 && rule.age_max.is_some_and(|most| self.born.elapsed() > most);
        // A copy that has sent nothing never waits: it is ready, or the server said goodbye.
        let is_over = is_worn || is_old() || !is_ready(&mut send);
        if is_over {
            let gone = uses.send.take();
            drop(uses);
            drop(gone);
            return None;
        }
        let most = usize::try_from(rule.streams.max(1)).unwrap_or(usize::MAX).min(send.current_max_send_streams());
        if uses.streams as usize >= most {
            return None;
        }
        let is_kept = uses.served > 0;
        uses.streams += 1;
        uses.served = uses.served.saturating_add(1);
        drop(uses);
        Some(Lease { link: Arc::clone(self), group: Arc::clone(group), send, is_kept })
    }

    /// Takes no more requests.
    fn retire(&self) {
        let gone = self.uses().send.take();
        // Its end wakes the task that drives the connection.
        drop(gone);
    }

    /// Returns how long it may go on without a request; nothing once that is over.
    fn idle_left(&self, idle: Duration) -> Option<Duration> {
        let uses = self.uses();
        if uses.streams > 0 {
            return Some(idle.max(Duration::from_millis(1)));
        }
        idle.checked_sub(uses.idle_since.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Lease {
    /// Returns whether the head of that stream was written, in part at least.
    pub(super) fn has_written(&self, stream: u32) -> bool {
        self.link.written.has(stream)
    }

    /// Asks the server for a sign of life.
    pub(super) fn doubt(&self) {
        self.link.doubted.notify_one();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut uses = self.link.uses();
        uses.streams = uses.streams.saturating_sub(1);
        uses.idle_since = clock::monotonic();
        drop(uses);
        self.group.changed();
    }
}

fn is_ready(send: &mut SendRequest<Bytes>) -> bool {
    matches!(send.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

async fn drive(mut connection: Connection<Wire, Bytes>, link: Arc<Link>, terms: Terms, group: Weak<Group>) {
    let ping = connection.ping_pong();
    {
        let idle = pin!(until_idle(&link, terms.idle));
        let hung = pin!(until_hung(&link, ping, terms.connect));
        tokio::select! {
            biased;
            ended = connection => tracing::trace!(?ended, "http/2 connection to a server ended"),
            () = hung => tracing::debug!("http/2 connection to a server gives no sign of life"),
            () = idle => {}
        }
    }
    link.retire();
    if let Some(group) = group.upgrade() {
        group.ended(&link);
    }
}

/// Has the connection end once nobody used it for so long; never ready.
async fn until_idle(link: &Link, idle: Duration) {
    while let Some(left) = link.idle_left(idle) {
        tokio::time::sleep(left).await;
    }
    link.retire();
    std::future::pending().await
}

/// Ready once the server was asked for a sign of life and gave none for as long as a connection may take.
async fn until_hung(link: &Link, ping: Option<PingPong>, within: Duration) {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        link.doubted.notified().await;
        match tokio::time::timeout(within, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
