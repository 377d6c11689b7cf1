//! HTTP/2 from clients: one connection, many requests.
//!
//! Frames, windows and header compression are the engine's (Pingora over `h2`), started from its bounded options.
//! Around it: [`wire`] meters what passes and never gets stuck, [`meter`] counts frames against budgets, [`head`] says
//! what a request must be and makes it look like one of HTTP/1, [`progress`] keeps the deadlines of each request, and
//! [`stream`] serves one, in a task of its own with a [`Connection`] of its own, so that what is cut or late is that
//! request and no other. A connection ends in silence when idle, is told to go when retired, and when there was too
//! much of anything.
//!
//! A task for the connection and one for each request, all on the worker's thread. Memory: the windows, times
//! `limits.streams`. No WebSocket over HTTP/2 (RFC 8441): it is not offered.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::pingora::http::ResponseHeader;
use ::pingora::protocols::Digest;
use ::pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use ::pingora::protocols::raw_connect::ProxyDigest;
use ::pingora::proxy::HttpProxy;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::metrics::Refusal;
use crate::model::Limits;

use super::super::transport::Transport;
use super::control::Connection;
use super::pingora::Engine;

pub(super) mod head;
pub(super) mod meter;
pub(super) mod progress;
mod stream;
mod wire;

use wire::{Gauge, Wire};

/// Bytes of a request body that may be on their way unread.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of an answer that wait in memory for the client to take them.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What a field costs beside its bytes in the size of a head (RFC 9113 §6.5.2).
const FIELD_BYTES: u32 = 32;
/// Streams that a client had us reset, kept to tell late frames from wrong ones.
const LOCAL_RESETS_MAX: usize = 256;
/// Requests that the engine refused by itself on one connection, before the connection is.
const MALFORMED_MAX: usize = 32;
/// How long a client with which there was too much may take to hear so.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client that asks nothing may take to answer that it was told to go; its requests may be on their way.
const LEAVING: Duration = Duration::from_secs(3);

/// Serves one client connection that speaks HTTP/2 to its end.
pub(in crate::proxy) async fn serve(
    engine: &Arc<HttpProxy<Engine>>,
    transport: Transport,
    connection: Arc<Connection>,
    is_stopping: &watch::Receiver<bool>,
) {
    let frontend = Arc::clone(&connection.frontend);
    let (timeouts, limits) = (&frontend.frontend.timeouts, &frontend.frontend.limits);
    let gauge = Arc::new(Gauge::default());
    let wire = Wire::new(transport, Arc::clone(&gauge), timeouts);
    let greeted = tokio::time::timeout(timeouts.header, handshake(Box::new(wire), Some(options(limits)))).await;
    let Ok(greeted) = greeted else { return count(&connection, Refusal::HeaderTimeout) };
    let Ok(mut client) = greeted else { return };

    let mut streams = JoinSet::new();
    let Ok(mut next) = Stream::of(&connection) else { return };
    let mut malformed = 0;
    let mut is_leaving = false;
    let mut idle = Box::pin(tokio::time::sleep(timeouts.idle));
    loop {
        tokio::select! {
            biased;
            Some(_) = streams.join_next(), if !streams.is_empty() => {
                if streams.is_empty() {
                    let wait = if is_leaving { FAREWELL } else { timeouts.idle };
                    idle.as_mut().reset((clock::monotonic() + wait).into());
                }
            }
            accepted = HttpSession::from_h2_conn(&mut client, Arc::clone(&next.digest)) => match accepted {
                Ok(Some(H2Accept::Session(session))) => {
                    let Ok(after) = Stream::of(&connection) else { break };
                    let stream = std::mem::replace(&mut next, after);
                    if streams.len() < most_tasks(limits) {
                        let is_stopping = is_stopping.clone();
                        streams.spawn(stream::serve(Arc::clone(engine), session, stream.connection, is_stopping));
                    }
                }
                Ok(Some(H2Accept::Rejected)) => {
                    count(&connection, Refusal::BadRequest);
                    malformed += 1;
                    if malformed >= MALFORMED_MAX {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if let Some(refusal) = gauge.excess() {
                        count(&connection, refusal);
                    }
                    tracing::debug!(client = %connection.client, %error, "http/2 connection broken");
                    break;
                }
            },
            // Looked at whenever the connection was: what sets it is read and written there.
            refusal = exceeded(&gauge) => {
                count(&connection, refusal);
                send_away(&mut client, &next.digest).await;
                break;
            }
            () = retired(&connection), if !is_leaving => {
                client.graceful_shutdown();
                is_leaving = true;
                idle.as_mut().reset((clock::monotonic() + LEAVING).into());
            }
            () = &mut idle, if streams.is_empty() => {
                if is_leaving {
                    break;
                }
                client.graceful_shutdown();
                is_leaving = true;
                idle.as_mut().reset((clock::monotonic() + LEAVING).into());
            }
        }
    }
    drop(client);
    // Their streams are gone with the connection, which each sees when it looks next.
    while streams.join_next().await.is_some() {}
}

/// Tells a client that there was too much, without waiting for it for long.
async fn send_away(client: &mut h2::server::Connection<::pingora::protocols::Stream, Bytes>, digest: &Arc<Digest>) {
    client.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
    let told = async { while let Ok(Some(_)) = HttpSession::from_h2_conn(client, Arc::clone(digest)).await {} };
    let _ = tokio::time::timeout(FAREWELL, told).await;
}

/// The engine's bounded options (CVE-2026-105297), and ours.
fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    let fields = FIELD_BYTES.saturating_mul(u32::from(limits.header_fields));
    options
        .max_header_list_size(limits.header_bytes.saturating_add(fields))
        .max_concurrent_streams(limits.streams)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
    options
}

/// Tasks of one connection: streams that were reset leave theirs behind for a moment.
fn most_tasks(limits: &Limits) -> usize {
    2 * limits.streams as usize
}

/// A request that is to come: its own [`Connection`], and the digest in which the engine's callbacks find it.
struct Stream {
    connection: Arc<Connection>,
    digest: Arc<Digest>,
}

impl Stream {
    fn of(connection: &Arc<Connection>) -> io::Result<Self> {
        let connection = Connection::stream_of(connection);
        let user_data: Box<dyn std::any::Any + Send + Sync> = Box::new(Arc::clone(&connection));
        let placeholder = ResponseHeader::build(200u16, Some(0)).map_err(io::Error::other)?;
        let proxy_digest = Some(Arc::new(ProxyDigest::new(Box::new(placeholder), Some(user_data))));
        Ok(Self { connection, digest: Arc::new(Digest { proxy_digest, ..Digest::default() }) })
    }
}

/// Ready once no further request is wanted.
async fn retired(connection: &Connection) {
    poll_fn(|cx| if connection.wake_when_leaving(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Ready once there was too much of something.
async fn exceeded(gauge: &Gauge) -> Refusal {
    poll_fn(|_| gauge.excess().map_or(Poll::Pending, Poll::Ready)).await
}

fn count(connection: &Connection, refusal: Refusal) {
    connection.cells().refused[refusal as usize].add(1);
}
