//! The admin listener: accepts, speaks TLS where told, HTTP/1.1 and HTTP/2, and gives each call to `dispatch`.
//!
//! Everything that a stranger can make it hold or wait for has a bound below. It is bound early, so that a port in
//! use is found before anything else starts, and stops last. Runs on the admin runtime.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::clock;
use crate::metrics::ReloadCells;
use crate::model::AdminSettings;
use crate::model::settings::MetricsAccess;
use crate::store::seams::{reason, remedy};

use super::call::{AdminState, Call};
use super::long::StillOpen;
use super::metrics::Collector;
use super::receive::{Bodies, Peer, receive};
use super::tls::{ShownCertificate, Tls, TlsError};
use super::{dispatch, gate, pages};

/// Connections open at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// Those of one source; of this machine, half of all.
const CONNECTIONS_OF_SOURCE_MAX: usize = 32;
const CONNECTIONS_OF_MACHINE_MAX: usize = CONNECTIONS_MAX / 2;
/// HTTP/2 calls under way on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 8;
/// A request head over HTTP/1.1, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How often the counters of traffic are looked at, for those minutes that are over.
const TRAFFIC_LOOKS: Duration = Duration::from_secs(1);
/// How long a connection that was let in and has asked nothing yet may still ask once the admin side stops: its request
/// may be on its way.
const FIRST_CALL: Duration = Duration::from_millis(500);
/// How often such a connection is looked at.
const FIRST_CALL_LOOKS: Duration = Duration::from_millis(10);
/// How long accepting pauses when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may keep the admin side waiting, and how often files are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// A TLS handshake.
    pub(super) handshake: Duration,
    /// A request head, and a connection with nothing under way.
    pub(super) idle: Duration,
    /// A body, all of it.
    pub(super) body: Duration,
    /// Open calls, once the admin side stops.
    pub(super) close: Duration,
    /// Between two looks at the files of TLS.
    pub(super) look: Duration,
}

impl Deadlines {
    /// What holds outside tests.
    const USUAL: Self = Self {
        handshake: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        body: Duration::from_secs(10),
        close: Duration::from_secs(2),
        look: Duration::from_secs(2),
    };
}

/// The admin listener; see the module's doc.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    metrics: MetricsAccess,
    reloads: Arc<ReloadCells>,
    pub(super) deadlines: Deadlines,
}

/// Why the admin side cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("admin: cannot listen on {address}: {}; {}", reason(cause), remedy(cause))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said; the message has it in plain words.
        cause: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What every call is answered from.
pub(super) struct Site {
    pub(super) state: AdminState,
    pub(super) metrics: MetricsAccess,
    pub(super) collector: Collector,
    bodies: Bodies,
}

impl AdminServer {
    /// Listens, unless a socket was bound before, and loads or makes the certificate. Nothing is accepted before [`Self::serve`].
    ///
    /// # Errors
    /// [`BindError`] is one line for the operator.
    pub fn bind(
        settings: &AdminSettings,
        reloads: Arc<ReloadCells>,
        bound: Option<TcpListener>,
    ) -> Result<Self, BindError> {
        let listen = |cause| BindError::Listen { address: settings.listen, cause };
        let listener = bound.map_or_else(|| TcpListener::bind(settings.listen), Ok).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = Tls::load(settings, address.ip())?.map(Arc::new);
        Ok(Self { listener, address, tls, metrics: settings.metrics, reloads, deadlines: Deadlines::USUAL })
    }

    /// Returns the address that it listens on, the system's choice of port included.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns its socket once more, for the process that replaces this one.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn socket(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Returns the SHA-256 of the certificate, if it was made at start.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.tls.as_ref()?.fingerprint()
    }

    /// Returns the certificate that clients see, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.tls.as_ref().map(|tls| tls.certificate())
    }

    /// Returns its TLS, which can be renewed while it runs; none where it is off.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Serves until `shutdown` is true or its sender is gone, then lets open calls finish for up to 2 s.
    ///
    /// # Errors
    /// The listener cannot be used on this runtime.
    pub async fn serve(self, state: AdminState, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
        let deadlines = self.deadlines;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let collector = Collector::new(Arc::clone(&state.store), self.reloads).with(Arc::clone(&state.outlets));
        let (long_calls, store, minutes) =
            (state.long_calls.clone(), Arc::clone(&state.store), Arc::clone(&state.minutes));
        let mut looks = tokio::time::interval(TRAFFIC_LOOKS);
        let site = Site { state, metrics: self.metrics, collector, bodies: Bodies::new(deadlines.body) };
        let router = Router::new().fallback(answer).with_state(Arc::new(site));
        let tls = self.tls;
        let looking = tls.clone().map(|tls| tokio::spawn(look_at_files(tls, deadlines.look)));
        let (permits, sources) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Sources::default()));
        let mut open = JoinSet::new();
        loop {
            let (stream, from, permit) = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                Some(_) = open.join_next() => continue,
                _ = looks.tick() => {
                    minutes.tick(&store, clock::wall());
                    continue;
                }
                accepted = accept(&listener, &permits) => match accepted {
                    Some(accepted) => accepted,
                    None => continue,
                },
            };
            let ip = from.ip().to_canonical();
            let Some(place) = Place::take(&sources, ip) else {
                tracing::debug!(peer = %ip, "admin connection closed: too many from there");
                continue;
            };
            let (tls, peer) = (tls.clone(), Peer { ip, is_tls: tls.is_some(), certificate: None });
            let talk = Talk { router: router.clone(), peer, deadline: deadlines.idle, closing: shutdown.clone() };
            open.spawn(async move {
                let (_permit, _place) = (permit, place);
                match tls {
                    None => talk.converse(stream, None).await,
                    Some(tls) => talk.shake_hands(stream, &tls, deadlines.handshake).await,
                }
            });
        }
        if let Some(looking) = looking {
            looking.abort();
        }
        drop(listener);
        long_calls.close();
        let all_closed = async { while open.join_next().await.is_some() {} };
        if timeout(deadlines.close, all_closed).await.is_err() {
            tracing::warn!(connections = open.len(), "admin calls cut off");
        }
        Ok(())
    }
}

/// How many connections each source has.
#[derive(Default)]
struct Sources(Mutex<BTreeMap<IpAddr, usize>>);

/// A connection of a source, until it is dropped.
struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Place {
    /// Returns none if the source has as many as one may.
    fn take(sources: &Arc<Sources>, peer: IpAddr) -> Option<Self> {
        let (source, most) = if peer.is_loopback() {
            // Whatever address of it was chosen.
            (IpAddr::V4(Ipv4Addr::LOCALHOST), CONNECTIONS_OF_MACHINE_MAX)
        } else {
            (gate::source(peer), CONNECTIONS_OF_SOURCE_MAX)
        };
        let mut open = sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry(source).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        drop(open);
        Some(Self { sources: Arc::clone(sources), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.source) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(open.remove(&self.source)),
        }
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Waits for room and a connection. Cancelling it loses neither.
async fn accept(listener: &tokio::net::TcpListener, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, from)) => {
            // Without it, a small answer may wait 40 ms for the client's acknowledgement.
            let _ = stream.set_nodelay(true);
            Some((stream, from, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "admin cannot accept");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// What one connection has done so far; the idle watch reads it.
#[derive(Default)]
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Activity {
    /// Returns once something was asked, or nothing is to be expected any more.
    async fn first_call(&self) {
        let asked = async {
            while self.begun.load(Relaxed) == 0 {
                sleep(FIRST_CALL_LOOKS).await;
            }
        };
        // Who says nothing has nothing to lose.
        let _ = timeout(FIRST_CALL, asked).await;
    }
}

/// What one connection is answered with, and when it ends.
struct Talk {
    router: Router,
    peer: Peer,
    deadline: Duration,
    closing: watch::Receiver<bool>,
}

impl Talk {
    async fn shake_hands(mut self, stream: tokio::net::TcpStream, tls: &Tls, deadline: Duration) {
        // Before the handshake: what is put in force during it ends this connection.
        let changes = tls.changes();
        match timeout(deadline, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                self.peer.certificate = shown.map(|leaf| Arc::new(ShownCertificate::of(leaf)));
                self.converse(stream, Some(changes)).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %self.peer.ip, %error, "admin handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer.ip, "admin handshake took too long"),
        }
    }

    /// Speaks HTTP on one connection until it ends, is idle too long, other TLS is in force, or the admin side stops.
    async fn converse<I>(self, stream: I, changes: Option<watch::Receiver<u64>>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { router, peer, deadline, closing } = self;
        let activity = Arc::new(Activity::default());
        let asked = Arc::clone(&activity);
        let closing = async move {
            is_to_close(closing, changes).await;
            asked.first_call().await;
        };
        let mut closing = std::pin::pin!(closing);
        let (seen, ip) = (Arc::clone(&activity), peer.ip);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (router, activity, peer) = (router.clone(), Arc::clone(&seen), peer.clone());
            activity.begun.fetch_add(1, Relaxed);
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(peer);
                let mut response = router.oneshot(request).await;
                let Ok(Some(open)) = response.as_mut().map(|made| made.extensions_mut().remove::<StillOpen>()) else {
                    activity.ended.fetch_add(1, Relaxed);
                    return response;
                };
                // A stream is under way until it was told to its end; what a reader leaves untaken then, it loses.
                tokio::spawn(async move {
                    open.ended().await;
                    activity.ended.fetch_add(1, Relaxed);
                });
                response
            }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(deadline).max_buf_size(HEAD_BYTES_MAX);
        http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut is_closing = false;
        let idle = idle(&activity, deadline);
        let mut idle = std::pin::pin!(idle);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %ip, error = %error, "admin connection broke");
                    }
                    return;
                }
                () = idle.as_mut() => return,
                () = &mut closing, if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Returns once the admin side stops, or something else than what a connection was made under is in force.
async fn is_to_close(mut closing: watch::Receiver<bool>, changes: Option<watch::Receiver<u64>>) {
    let changed = async {
        match changes {
            Some(mut changes) => drop(changes.changed().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = closing.wait_for(|stop| *stop) => {}
        () = changed => {}
    }
}

/// Looks at the files of TLS again and again, beside the threads that answer: a disk may be slow.
async fn look_at_files(tls: Arc<Tls>, every: Duration) {
    loop {
        sleep(every).await;
        let own = Arc::clone(&tls);
        // A look that panicked was reported by its thread.
        let _ = tokio::task::spawn_blocking(move || own.look_again()).await;
    }
}

/// Returns once nothing was under way and nothing began for `deadline`. Also ends a connection that never
/// says which HTTP it speaks, and one whose client does not take its answer.
async fn idle(activity: &Activity, deadline: Duration) {
    loop {
        let before = activity.begun.load(Relaxed);
        sleep(deadline).await;
        let after = activity.begun.load(Relaxed);
        if after == before && activity.ended.load(Relaxed) == after {
            return;
        }
    }
}

/// The one route: every call comes through here.
async fn answer(State(site): State<Arc<Site>>, mut request: Request) -> Response {
    let Some(peer) = request.extensions_mut().remove::<Peer>() else {
        // Only `converse` makes requests, and it always says who is there.
        return Response::new(Body::empty());
    };
    match receive(request, peer, &site.state, &site.bodies).await {
        Ok(call) => {
            let response = match pages::answer(&site, &call).await {
                Some(response) => response,
                None => dispatch::answer(&site.state, &call).await,
            };
            finish(&call, response)
        }
        Err(refused) => finish(&refused.call, dispatch::refuse(&refused.call, &refused.error)),
    }
}

/// Stamps what every answer carries, whatever its shape, and logs the call.
fn finish(call: &Call, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&call.request_id) {
        headers.insert("x-request-id", id);
    }
    if let Some(seconds) = call.retry_after.get() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    tracing::debug!(
        request_id = call.request_id,
        peer = %call.peer,
        method = %call.method,
        path = call.uri.path(),
        status = response.status().as_u16(),
        "admin call"
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_has_some_connections_and_leaves_others_theirs() {
        let sources = Arc::new(Sources::default());
        let fill = |peer: &str| {
            let peer = peer.parse().unwrap();
            std::iter::from_fn(|| Place::take(&sources, peer)).take(CONNECTIONS_MAX).collect::<Vec<_>>()
        };
        let own = fill("127.0.0.1");
        assert_eq!((own.len(), fill("127.0.0.2").len(), fill("::1").len()), (CONNECTIONS_OF_MACHINE_MAX, 0, 0));
        let mut one = fill("2001:db8:1:2::1");
        assert_eq!((one.len(), fill("2001:db8:1:2:ffff::").len()), (CONNECTIONS_OF_SOURCE_MAX, 0));
        assert_eq!(fill("2001:db8:1:3::1").len(), CONNECTIONS_OF_SOURCE_MAX);
        assert_eq!(fill("192.0.2.1").len(), CONNECTIONS_OF_SOURCE_MAX);
        one.pop();
        assert_eq!(fill("2001:db8:1:2::2").len(), 1);
        drop((own, one));
        assert!(sources.0.lock().unwrap().is_empty(), "nothing is left of who is gone");
    }
}
