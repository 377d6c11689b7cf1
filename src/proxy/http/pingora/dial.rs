//! How a connection to a server is made that needs more than TCP, or goes over HTTP/2: a PROXY header first, then TLS.
//!
//! For HTTP/1.1 Pingora 0.9.1 makes a new TLS configuration for each connection of a server with authorities of its own, and has no
//! place for another stream than its own, so the handshake is made here, with what [`ClientConfigs`] keeps. What
//! Pingora gets is one end of a socket pair, whose number it knows the connection by; a task moves the bytes between the
//! other end and TLS. A pair ends as its server did, but a Unix socket knows no reset: who reads an answer that only its
//! end ends asks the [`Line`] whether that end was one.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::pingora::ErrorType::{ConnectError, TLSHandshakeFailure};
use ::pingora::connectors::l4::Connect;
use ::pingora::protocols::l4::stream::Stream;
use ::pingora::{Error, Result};
use async_trait::async_trait;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock;

use super::super::super::transport::{Socket, Transport};
use super::super::super::upstream_tls::{ClientConfigs, UNEQUIPPED, Untrusted};

/// Bytes moved at once, each way.
const PIECE_BYTES: usize = 16 * 1024;
/// How long a server that agreed to HTTP/1.1 only is not asked for HTTP/2.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Servers that are remembered for it.
const REMEMBERED_MAX: usize = 1024;

/// Why there is no connection, where it is not the network.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DialError {
    /// It has all the connections that it may have, and nothing more goes through them.
    #[error("every connection to the server is full")]
    Full,
    /// The server speaks HTTP/1.1 only: it is to be asked again, for that.
    #[error("the server agreed to HTTP/1.1 only")]
    Http1Only,
    /// Nothing to make a handshake with.
    #[error("{0}")]
    Unusable(Arc<str>),
    /// There was no TLS.
    #[error("{kind}: {words}")]
    Untrusted {
        /// What kind of failure it was.
        kind: Untrusted,
        /// In the words of who found it.
        words: String,
    },
}

impl DialError {
    /// Returns it in words that any client may read.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Full => "every connection to the server is full",
            Self::Http1Only => "the server does not speak HTTP/2",
            Self::Unusable(_) => UNEQUIPPED,
            Self::Untrusted { kind, .. } => kind.as_str(),
        }
    }
}

/// What a worker knows of its connections to servers.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) configs: ClientConfigs,
    /// By the number of the end that the engine has.
    open: Mutex<HashMap<RawFd, Arc<Line>>>,
    http1_only: Mutex<HashMap<u64, Instant>>,
}

/// A connection whose bytes are moved here.
#[derive(Debug, Default)]
pub(super) struct Line {
    is_broken: AtomicBool,
    /// Bytes that were handed to TLS for the server.
    passed: AtomicU64,
}

impl Line {
    /// Returns whether it ended otherwise than by its server's word.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    /// Returns how many bytes were handed on to the server: what was not cannot have arrived.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Relaxed)
    }
}

impl Lines {
    fn open(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<Line>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection that the engine knows by that number.
    pub(super) fn line(&self, socket: RawFd) -> Option<Arc<Line>> {
        self.open().get(&socket).cloned()
    }

    fn close(&self, socket: RawFd, line: &Arc<Line>) {
        let mut open = self.open();
        // The number may be another connection's by now.
        if open.get(&socket).is_some_and(|known| Arc::ptr_eq(known, line)) {
            open.remove(&socket);
        }
    }

    /// Returns whether a server is known to agree to HTTP/1.1 only.
    pub(super) fn is_http1_only(&self, key: u64) -> bool {
        let known = self.http1_only.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).is_some_and(|since| clock::monotonic().saturating_duration_since(*since) < REMEMBERED)
    }

    fn is_http1_only_now(&self, key: u64) {
        let mut known = self.http1_only.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, clock::monotonic());
    }
}

/// The way to one server, for one attempt.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) lines: Arc<Lines>,
    pub(super) addr: SocketAddr,
    /// Sent before anything else.
    pub(super) header: Option<Vec<u8>>,
    pub(super) tls: Option<Tls>,
}

/// How its TLS is spoken.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) with: std::result::Result<(Arc<ClientConfig>, ServerName<'static>), Arc<str>>,
    /// Whether the engine is to speak HTTP/2 on it.
    pub(super) is_http2: bool,
    /// What the server is remembered by.
    pub(super) key: u64,
}

#[async_trait]
impl Connect for Dial {
    async fn connect(&self, _addr: &::pingora::protocols::l4::socket::SocketAddr) -> Result<Stream> {
        let stream = self.tcp().await?;
        match &self.tls {
            None => Ok(stream.into()),
            Some(tls) => self.moved(self.encrypted(tls, stream).await?),
        }
    }
}

impl Dial {
    /// Returns a connection to the server, of which nobody else moves the bytes.
    pub(super) async fn reach(&self) -> Result<Transport> {
        let stream = self.tcp().await?;
        match &self.tls {
            None => Ok(stream.into()),
            Some(tls) => Ok(Transport::tls(self.encrypted(tls, Socket::Tcp(stream)).await?.into())),
        }
    }

    async fn tcp(&self) -> Result<TcpStream> {
        if let Some(Tls { with: Err(why), .. }) = &self.tls {
            return Err(Error::because(TLSHandshakeFailure, "before connecting", DialError::Unusable(Arc::clone(why))));
        }
        let failed = |error: io::Error| Error::because(ConnectError, "connecting to a server", error);
        let mut stream = TcpStream::connect(self.addr).await.map_err(failed)?;
        // Latency over segments; a failure only costs that.
        let _ = stream.set_nodelay(true);
        if let Some(header) = &self.header {
            stream.write_all(header).await.map_err(failed)?;
        }
        Ok(stream)
    }

    async fn encrypted<S: AsyncRead + AsyncWrite + Unpin>(&self, tls: &Tls, stream: S) -> Result<TlsStream<S>> {
        let refused = |why: DialError| Error::because(TLSHandshakeFailure, "in the TLS handshake", why);
        let (config, name) = tls.with.as_ref().map_err(|why| refused(DialError::Unusable(Arc::clone(why))))?;
        let connected = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
        let stream = connected
            .map_err(|error| refused(DialError::Untrusted { kind: Untrusted::of(&error), words: error.to_string() }))?;
        if tls.is_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            self.lines.is_http1_only_now(tls.key);
            return Err(refused(DialError::Http1Only));
        }
        Ok(stream)
    }

    /// Returns a stream as the engine takes it, between which and TLS a task moves the bytes.
    fn moved(&self, stream: TlsStream<TcpStream>) -> Result<Stream> {
        let failed = |error: io::Error| Error::because(ConnectError, "making a socket pair", error);
        let (engines, ours) = UnixStream::pair().map_err(failed)?;
        let socket = engines.as_raw_fd();
        let line = Arc::new(Line::default());
        self.lines.open().insert(socket, Arc::clone(&line));
        let lines = Arc::clone(&self.lines);
        tokio::spawn(async move {
            if carry(ours, stream, &line).await.is_err() {
                tracing::trace!("connection to a server broken");
            }
            lines.close(socket, &line);
        });
        Ok(engines.into())
    }
}

/// Moves bytes both ways until either side ends.
async fn carry(ours: UnixStream, servers: TlsStream<TcpStream>, line: &Line) -> io::Result<()> {
    let (mut from_engine, mut to_engine) = ours.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(servers);
    let up = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = from_engine.read(&mut piece).await?;
            if n == 0 {
                return to_server.shutdown().await;
            }
            line.passed.fetch_add(n as u64, Relaxed);
            to_server.write_all(&piece[..n]).await?;
            to_server.flush().await?;
        }
    };
    let down = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = match from_server.read(&mut piece).await {
                // Many servers close without a word of TLS; HTTP says by itself where most of its bodies end.
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    line.is_broken.store(true, Relaxed);
                    return Err(error);
                }
                read => read.unwrap_or(0),
            };
            if n == 0 {
                return Ok(());
            }
            to_engine.write_all(&piece[..n]).await?;
        }
    };
    tokio::select! {
        // What a server that has ended is not told, it cannot have been told.
        biased;
        ended = down => ended,
        ended = up => ended,
    }
}
