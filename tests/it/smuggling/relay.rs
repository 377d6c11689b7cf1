//! A way in: takes plain connections on a port of its own and carries their bytes to a listener of another kind, so that
//! who sends exact bytes need not know of TLS, Unix sockets or PROXY headers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// Bytes carried at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What a connection is carried through.
#[derive(Clone)]
pub(super) enum Way {
    /// A PROXY header, then the bytes.
    Introduced(SocketAddr),
    /// TLS.
    Tls(SocketAddr, TlsConnector),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Returns TLS with somebody whose certificate is this one, for one protocol.
pub(super) fn tls(root: &CertificateDer<'static>, protocol: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Takes connections until it is dropped.
pub(super) struct Relays(Option<Runtime>);

impl Relays {
    pub(super) fn new() -> Self {
        Self(Some(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()))
    }

    /// Returns a port whose connections go that way.
    pub(super) fn through(&self, way: Way) -> SocketAddr {
        let runtime = self.0.as_ref().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = way.clone();
                tokio::spawn(async move {
                    // A way that ends is the end of the connection, which the client sees.
                    let _ = carry(client, way).await;
                });
            }
        });
        addr
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn carry(client: TcpStream, way: Way) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    match way {
        Way::Introduced(front) => {
            let mut stream = TcpStream::connect(front).await?;
            stream.set_nodelay(true)?;
            stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n").await?;
            between(client, stream).await;
        }
        Way::Tls(front, connector) => {
            let stream = TcpStream::connect(front).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            between(client, connector.connect(name, stream).await?).await;
        }
        Way::Unix(path) => between(client, UnixStream::connect(path).await?).await,
    }
    Ok(())
}

/// Carries bytes until both sides have said all they will. Whoever no longer listens is still heard to the end.
async fn between(client: TcpStream, front: impl AsyncRead + AsyncWrite) {
    let (from_client, to_client) = client.into_split();
    let (from_front, to_front) = tokio::io::split(front);
    tokio::join!(one_way(from_client, to_front), one_way(from_front, to_client));
}

async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut is_heard = true;
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        is_heard = is_heard && to.write_all(&piece[..n]).await.is_ok() && to.flush().await.is_ok();
    }
    // It may be gone.
    let _ = to.shutdown().await;
}
