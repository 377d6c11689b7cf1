//! An HTTP request → a [`Call`], read whole within a deadline and a bound, with the guards of every shape applied.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock;

use super::call::{AdminState, Call};
use super::dispatch;
use super::error::AdminError;
use super::guard::{self, BODY_BYTES_MAX};
use super::tls::ShownCertificate;

/// How many large bodies are read at once, over all connections; bounds what strangers can make us hold.
const LARGE_BODIES_AT_ONCE: usize = 32;
/// A body declared to be no larger, in bytes, waits for no turn: large ones that drip must not keep an operator out.
const SMALL_BODY_BYTES_MAX: u64 = 16 * 1024;

/// What is read of a body that is refused, and for how long.
const POURED_AWAY_BYTES_MAX: usize = 16 * 1024 * 1024;
const POURED_AWAY_WITHIN: Duration = Duration::from_secs(2);

/// Reads bodies, so many large ones at once.
pub(super) struct Bodies {
    permits: Semaphore,
    deadline: Duration,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    pub(super) is_tls: bool,
    /// The certificate that it showed.
    pub(super) certificate: Option<Arc<ShownCertificate>>,
}

/// A call that is refused before any shape has seen it; its body is empty.
pub(super) struct Refused {
    pub(super) call: Call,
    pub(super) error: AdminError,
}

/// Reads a request.
pub(super) async fn receive(
    request: Request,
    peer: Peer,
    state: &AdminState,
    bodies: &Bodies,
) -> Result<Call, Box<Refused>> {
    let (mut head, body) = request.into_parts();
    let host = guard::host(head.version, &head.headers);
    // HTTP/2 names the host in the request target; the shapes look for it in one place.
    if !head.headers.contains_key(header::HOST)
        && let Some(host) = head.uri.authority().and_then(|a| a.as_str().parse().ok())
    {
        head.headers.insert(header::HOST, host);
    }
    let mut call = Call {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: Bytes::new(),
        peer: peer.ip,
        is_tls: peer.is_tls,
        certificate: peer.certificate,
        request_id: uuid::Uuid::new_v4().to_string(),
        now: clock::wall(),
        retry_after: OnceLock::new(),
    };
    let has_body = !HttpBody::is_end_stream(&body);
    // Pages of other sites first: they take nothing from what the source may.
    let is_let_in = host
        .and_then(|()| guard::site(&call, &state.credentials.load().hosts))
        .and_then(|()| state.let_source_in(&call))
        .and_then(|()| guard::before_body(&call, has_body));
    if let Err(error) = is_let_in {
        bodies.pour_away(&call, body).await;
        return Err(Box::new(Refused { call, error }));
    }
    if has_body {
        let is_small = is_small(&body);
        if !is_small && let Err(error) = is_known(state, &call) {
            bodies.pour_away(&call, body).await;
            return Err(Box::new(Refused { call, error }));
        }
        match bodies.read(&call, body, is_small).await {
            Ok(bytes) => call.body = bytes,
            Err(error) => return Err(Box::new(Refused { call, error })),
        }
    }
    match guard::whole(&call) {
        Ok(()) => Ok(call),
        Err(error) => {
            call.body = Bytes::new();
            Err(Box::new(Refused { call, error }))
        }
    }
}

/// By the framing's own length, which the body cannot exceed.
fn is_small(body: &Body) -> bool {
    HttpBody::size_hint(body).exact().is_some_and(|length| length <= SMALL_BODY_BYTES_MAX)
}

/// Checks that what a call shows is known: the turns of large bodies are not for strangers. What is wrong is a guess, as
/// it is when the shape finds out.
fn is_known(state: &AdminState, call: &Call) -> Result<(), AdminError> {
    if dispatch::is_known(state, call) {
        return Ok(());
    }
    let why =
        format!("a body of more than {SMALL_BODY_BYTES_MAX} bytes is read of known callers only; send a credential");
    state.guess(call, dispatch::shown(call)).and(Err(AdminError::Unauthorized(why)))
}

impl Bodies {
    /// Returns a reader that gives a body `deadline`, waiting for its turn included.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { permits: Semaphore::new(LARGE_BODIES_AT_ONCE), deadline }
    }

    async fn read(&self, call: &Call, mut body: Body, is_small: bool) -> Result<Bytes, AdminError> {
        let whole = async {
            let _permit = if is_small { None } else { Some(self.permits.acquire().await) };
            Limited::new(&mut body, BODY_BYTES_MAX).collect().await
        };
        match timeout(self.deadline, whole).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.pour_away(call, body).await;
                Err(AdminError::BodyTooLarge { max: BODY_BYTES_MAX })
            }
            Ok(Err(error)) => Err(AdminError::BadBody(format!("it broke off: {error}"))),
            Err(_) => Err(AdminError::BodyLate { seconds: self.deadline.as_secs() }),
        }
    }

    /// Reads what a client still sends though it is refused, within bounds: closed while it sends, its connection would
    /// be reset and the answer lost with it.
    async fn pour_away(&self, call: &Call, mut body: Body) {
        // Who waits to be told to go on sends nothing.
        if HttpBody::is_end_stream(&body) || call.headers.contains_key(header::EXPECT) {
            return;
        }
        let rest = async {
            let mut left = POURED_AWAY_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return;
                }
            }
        };
        // Whatever is not over by then is cut.
        let _ = timeout(POURED_AWAY_WITHIN, rest).await;
    }
}
