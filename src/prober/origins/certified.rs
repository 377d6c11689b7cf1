//! Certificates for the tests of this room: an authority of a test's own, and origins that it vouches for.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::model::Aim;

/// The name that origins are certified for unless told otherwise.
pub(in crate::prober) const NAME: &str = "origin.test";

static MADE: AtomicU32 = AtomicU32::new(0);

/// An authority whose certificate is in a file.
pub(in crate::prober) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

/// What an origin shows.
pub(in crate::prober) struct Shown {
    /// TLS as the origin speaks it.
    pub(in crate::prober) config: Arc<ServerConfig>,
    /// SHA-256 of its certificate.
    pub(in crate::prober) digest: [u8; 32],
}

impl Authority {
    pub(in crate::prober) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // Authorities of one name are taken for one another.
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    pub(in crate::prober) fn file(&self) -> &Path {
        self.file.path()
    }

    /// An aim that trusts this authority and asks for [`NAME`].
    pub(in crate::prober) fn aim(&self) -> Aim {
        Aim { ca: Some(self.file().into()), sni: Some(NAME.into()), ..Aim::default() }
    }

    /// An origin certified for `name` in the years `from..to`.
    pub(in crate::prober) fn shown(&self, name: &str, (from, to): (i32, i32), alpn: &[&[u8]]) -> Shown {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let digest = Sha256::digest(&certificate).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Shown { config: Arc::new(config), digest }
    }

    /// An origin certified for [`NAME`], now.
    pub(in crate::prober) fn good(&self, alpn: &[&[u8]]) -> Shown {
        self.shown(NAME, (2020, 2090), alpn)
    }
}

/// Starts an origin that hands every connection to `each` once TLS is there.
pub(in crate::prober) async fn serve<F>(
    config: &Arc<ServerConfig>,
    each: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    super::serve(move |stream| {
        let (acceptor, each) = (acceptor.clone(), each.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                each(stream).await;
            }
        }
    })
    .await
}
