//! Copies of requests for a second farm, which sees real work and whose answers nobody waits for.
//!
//! A copy is made of the head as the first farm's server gets it and of the body as it passes, and sent once the request
//! is whole. It never delays or fails the request it is a copy of: it has a connection and a task of its own, a server
//! that takes too long is left, and whatever cannot be copied within bounds is not: bodies of more than
//! [`COPY_BODY_BYTES_MAX`], more than [`COPIES_MAX`] at once, upgrades, farms that are spoken to in TLS or HTTP/2 or sent
//! a PROXY header. The copy's server is chosen by its farm's own rotation, takes its turn there and is counted as busy; no
//! client sticks to it, and nothing that it answers counts for its health. Counted by how it ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ::http::{HeaderMap, HeaderName, Method, Request, Uri, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use crate::farm::FarmTable;
use crate::farm::choose::Key;
use crate::metrics::Mirrored;
use crate::model::PeerAddr;
use crate::store::{FrontendTable, Table};

use super::sessions::Handle;
use super::transport::Socket;
use super::work::{InFlight, Work};

/// Bytes of a body that is copied.
pub(super) const COPY_BODY_BYTES_MAX: usize = 64 * 1024;
/// Copies of one worker under way at once.
const COPIES_MAX: usize = 128;
/// Bytes of an answer that are read before its connection is closed.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Fields of a head that are the connection's, or are made anew for the copy.
const OWN_FIELDS: [HeaderName; 5] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::EXPECT, header::TRANSFER_ENCODING, header::UPGRADE];

/// How many copies of a worker are under way.
#[derive(Default)]
pub(super) struct Copies(Arc<AtomicUsize>);

/// One of them; it ends when dropped.
struct UnderWay(Arc<AtomicUsize>);

impl Copies {
    fn begin(&self) -> Option<UnderWay> {
        let before = self.0.fetch_add(1, Relaxed);
        let one = UnderWay(Arc::clone(&self.0));
        (before < COPIES_MAX).then_some(one)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A copy in the making.
pub(super) struct Draft {
    table: Arc<Table>,
    frontend: Arc<FrontendTable>,
    feed: usize,
    client: IpAddr,
    head: Head,
    body: BytesMut,
}

/// The head of a copy.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: Bytes,
    pub(super) fields: HeaderMap,
}

impl Draft {
    /// Begins a copy for the farm at `feed`.
    pub(super) fn new(
        table: &Arc<Table>,
        frontend: &Arc<FrontendTable>,
        feed: usize,
        client: IpAddr,
        head: Head,
    ) -> Self {
        Self { table: Arc::clone(table), frontend: Arc::clone(frontend), feed, client, head, body: BytesMut::new() }
    }

    /// Takes in a piece of the body; returns whether it still is short enough.
    pub(super) fn add(&mut self, piece: &[u8]) -> bool {
        let is_short = self.body.len() + piece.len() <= COPY_BODY_BYTES_MAX;
        if is_short {
            self.body.extend_from_slice(piece);
        }
        is_short
    }

    /// Begins with the body again: it is sent to another server.
    pub(super) fn begin_again(&mut self) {
        self.body.clear();
    }

    /// Lets it be.
    pub(super) fn skip(self, work: &Work) {
        count(&self.frontend, work, Mirrored::Skipped);
    }

    /// Sends it, by a task of its own.
    pub(super) fn send(self, work: &Arc<Work>) {
        let Some((errand, head)) = self.errand(work) else { return };
        let work = Arc::clone(work);
        tokio::spawn(async move {
            let Errand { under_way, guard, cut, frontend, addr, connect, within, body } = errand;
            let asked = tokio::time::timeout(connect + within, ask(addr, connect, head, body));
            let ended = tokio::select! {
                ended = asked => ended.ok().flatten(),
                () = cut.notified() => None,
            };
            drop((guard, under_way));
            count(&frontend, &work, if ended.is_some() { Mirrored::Answered } else { Mirrored::Failed });
        });
    }

    /// Finds who takes it; counts it where nobody can.
    fn errand(self, work: &Arc<Work>) -> Option<(Errand, Head)> {
        let Self { table, frontend, feed, client, head, body } = self;
        let farm = table.farm_of(&frontend.feeds[feed]);
        let cut = Arc::new(Notify::new());
        let path = memchr::memchr(b'?', &head.target).map_or(&*head.target, |at| &head.target[..at]);
        let key = Key { source: client, uri: Some(path) };
        let found = work.copies.begin().and_then(|under_way| {
            let (position, guard) = work.assign_copy(farm, key, Handle::Tcp(Arc::clone(&cut)))?;
            Some((under_way, guard, plain_address(farm, position)?))
        });
        let Some((under_way, guard, addr)) = found else {
            count(&frontend, work, Mirrored::Skipped);
            return None;
        };
        let (connect, within) = (farm.farm.timeouts.connect, farm.farm.timeouts.response);
        Some((Errand { under_way, guard, cut, frontend, addr, connect, within, body: body.freeze() }, head))
    }
}

/// A copy on its way.
struct Errand {
    under_way: UnderWay,
    guard: InFlight,
    cut: Arc<Notify>,
    frontend: Arc<FrontendTable>,
    addr: PeerAddr,
    connect: Duration,
    within: Duration,
    body: Bytes,
}

/// Returns where a server is that takes plain HTTP/1.1 and nothing before it.
fn plain_address(farm: &FarmTable, position: usize) -> Option<PeerAddr> {
    let entry = farm.servers.get(position)?;
    let is_plain = !farm.farm.http2 && entry.server.tls.is_none() && entry.server.proxy_protocol.is_none();
    entry.addr.clone().filter(|_| is_plain)
}

/// Sends a request and reads its answer, or as much of it as is read; nothing if either fails.
async fn ask(addr: PeerAddr, connect: Duration, head: Head, body: Bytes) -> Option<()> {
    let stream = tokio::time::timeout(connect, Socket::connect(&addr)).await.ok()?.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = request_of(head, body)?;
    let asked = async {
        let mut answer = sender.send_request(request).await.ok()?;
        let mut read = 0;
        while read < ANSWER_BYTES_MAX {
            let Some(frame) = answer.frame().await else { break };
            read += frame.ok()?.data_ref().map_or(0, Bytes::len);
        }
        Some(())
    };
    tokio::pin!(asked);
    tokio::select! {
        biased;
        ended = &mut asked => ended,
        _ = connection => asked.await,
    }
}

fn request_of(head: Head, body: Bytes) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = head.method;
    *request.uri_mut() = Uri::from_maybe_shared(head.target).ok()?;
    *request.headers_mut() = head.fields;
    for name in OWN_FIELDS {
        request.headers_mut().remove(name);
    }
    Some(request)
}

fn count(frontend: &FrontendTable, work: &Work, how: Mirrored) {
    frontend.cells.of(work.ix).mirrored[how as usize].add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_under_way_are_bounded_and_make_room_again() {
        let copies = Copies::default();
        let many: Vec<_> = (0..COPIES_MAX).map(|_| copies.begin().unwrap()).collect();
        assert!(copies.begin().is_none());
        drop(many);
        assert!(copies.begin().is_some());
    }

    #[test]
    fn copy_has_its_own_framing_and_the_rest_as_it_was() {
        let fields = [
            ("host", "a"),
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("content-length", "9"),
            ("expect", "100-continue"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value.parse().unwrap());
        }
        let head = |target: &'static [u8]| Head {
            method: Method::POST,
            target: Bytes::from_static(target),
            fields: map.clone(),
        };
        let request = request_of(head(b"/a%20b?c"), Bytes::from_static(b"x")).unwrap();
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!((names, request.uri().to_string()), (vec!["host", "x-a"], "/a%20b?c".to_owned()));
        assert!(request_of(head(b"/a b"), Bytes::new()).is_none());
    }
}
