//! One delivery: connect, verify, post, read the verdict, all under one deadline.
//!
//! HTTP/1.1. A connection is kept for the next delivery; if the receiver had closed it meanwhile, one fresh connection
//! is tried within the same deadline. Of an answer the status counts; its body is read up to [`ANSWER_BYTES_MAX`] so
//! that the connection can be kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::model::Timestamp;
use crate::model::settings::{Secret, Webhook};
use crate::trust::{self, TrustError};

use super::url::Target;

/// Bytes of an answer that are read; a longer one ends its connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why a receiver cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// There are no authorities to verify it against.
    #[error("webhook \"{name}\": ca: {cause}")]
    Authorities {
        /// The receiver.
        name: Box<str>,
        /// Why.
        #[source]
        cause: TrustError,
    },
    /// TLS cannot be set up.
    #[error("webhook \"{name}\": cannot set up TLS")]
    Tls {
        /// The receiver.
        name: Box<str>,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
    /// Its URL is none.
    #[error("webhook \"{name}\": url {url:?} cannot be used: {reason}")]
    Url {
        /// The receiver.
        name: Box<str>,
        /// As it was given.
        url: Box<str>,
        /// Why.
        reason: &'static str,
    },
}

/// What a delivery came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver took the event.
    Taken,
    /// It did not, for this reason.
    NotTaken(String),
}

/// Sends to one receiver.
pub(super) struct Client {
    target: Target,
    secret: Secret,
    timeout: Duration,
    tls: Option<TlsConnector>,
    kept: Option<Connection>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A connection and what moves its bytes, which ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(super) fn new(webhook: &Webhook) -> Result<Self, ReceiverError> {
        let target = Target::of(webhook).map_err(|reason| {
            let (name, url) = (webhook.name.clone(), webhook.url.clone());
            ReceiverError::Url { name, url, reason }
        })?;
        let tls = if target.is_tls { Some(connector(webhook)?) } else { None };
        Ok(Self { target, secret: webhook.secret.clone(), timeout: webhook.timeout, tls, kept: None })
    }

    /// Posts an event.
    pub(super) async fn deliver(&mut self, event: u64, attempt: u32, body: &str, now: Timestamp) -> Verdict {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let verdict = tokio::time::timeout(self.timeout, self.post(event, attempt, &body, now)).await;
        match verdict {
            Ok(Ok(status)) if status.is_success() => Verdict::Taken,
            Ok(Ok(status)) => Verdict::NotTaken(format!("answered {}", status.as_u16())),
            Ok(Err(reason)) => Verdict::NotTaken(reason),
            Err(_) => Verdict::NotTaken(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn post(&mut self, event: u64, attempt: u32, body: &Bytes, now: Timestamp) -> Result<StatusCode, String> {
        // Taken out: a delivery that is cut leaves no connection in an unknown state.
        if let Some(mut connection) = self.kept.take().filter(|kept| kept.sender.is_ready()) {
            let sent = self.send(&mut connection, event, attempt, body, now).await;
            if let Ok((status, is_whole)) = sent {
                self.kept = is_whole.then_some(connection);
                return Ok(status);
            }
        }
        let mut connection = self.connect().await?;
        let (status, is_whole) = self.send(&mut connection, event, attempt, body, now).await?;
        self.kept = is_whole.then_some(connection);
        Ok(status)
    }

    /// Returns the status, and whether the answer was read whole.
    async fn send(
        &self,
        connection: &mut Connection,
        event: u64,
        attempt: u32,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<(StatusCode, bool), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&*self.target.path_and_query)
            .header(header::HOST, &*self.target.authority)
            .header(header::USER_AGENT, concat!("farmgate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .header("farmgate-event", event)
            .header("farmgate-delivery", format!("{event}-{attempt}"))
            .header("farmgate-signature", signature(&self.secret, now, body))
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())?;
        let answer = connection.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let is_whole = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok();
        Ok((status, is_whole && connection.sender.ready().await.is_ok()))
    }

    async fn connect(&self) -> Result<Connection, String> {
        let Target { host, port, .. } = &self.target;
        let stream = TcpStream::connect((&**host, *port)).await.map_err(|error| format!("cannot connect: {error}"))?;
        // Its own packets suffice; without it they only come later.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return over(stream).await };
        let name = ServerName::try_from(host.to_string()).map_err(|error| error.to_string())?;
        over(tls.connect(name, stream).await.map_err(|error| format!("cannot connect with TLS: {error}"))?).await
    }
}

async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Connection, String> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(async move {
        // Its error is the sender's too.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver })
}

/// Returns `t=<unix seconds>,v1=<hex>`.
pub(super) fn signature(secret: &Secret, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.unix_seconds();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

fn connector(webhook: &Webhook) -> Result<TlsConnector, ReceiverError> {
    let roots = trust::roots(webhook.ca.as_deref());
    let roots = roots.map_err(|cause| ReceiverError::Authorities { name: webhook.name.clone(), cause })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| ReceiverError::Tls { name: webhook.name.clone(), cause })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
