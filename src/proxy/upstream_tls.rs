//! TLS towards servers: what handshakes are made with, one for each distinct setting, and why one failed in words.
//!
//! A worker has its own: what it knows is made when first asked for and used by every connection after, so sessions are
//! resumed, and never between settings that differ in what they trust or show. Files are looked at again after
//! [`LOOK_AGAIN`], when a connection is made, and read anew where they changed; a bad one never replaces a good one.
//! They are read on a thread of their own, and whoever needs them waits for that no longer than [`LOOK_WAIT_MAX`], or
//! [`FIRST_LOOK_WAIT_MAX`]: a disk that hangs holds up no other connection. TLS 1.2 and 1.3, ring.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::model::tls::{CertificateFiles, ServerTls};
use crate::model::{Host, PeerAddr, Verify};
use crate::trust::{TrustError, Verifier, verify_but_name};
use crate::{clock, files, trust};

/// How long files are taken as they were.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a look at files is waited for, from when it began: then what is known is used.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(1);
/// The same where nothing good is known, and this machine may have much else to do.
const FIRST_LOOK_WAIT_MAX: Duration = Duration::from_secs(5);
/// What is known of files until they have been read.
const UNREAD: &str = "the files for TLS with the server are still being read; look at the disk that they are on";
/// How long settings are remembered that no connection is made with.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Bytes of a file with a certificate or its key.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How often it is said that TLS to servers fails.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// What the log and the trace are told where there is nothing to make a handshake with.
pub(super) const UNEQUIPPED: &str = "there are no usable files for TLS with the server";
/// HTTP/2 and HTTP/1.1 as handshakes name them.
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Which protocols are offered to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1.
    Http1,
    /// Both versions of HTTP.
    Http2,
    /// None: what is spoken is known to others.
    Nothing,
}

/// What the handshakes of one setting are made with.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) config: Arc<ClientConfig>,
    /// Another number once anything about it changed: connections made before are not used again.
    pub(super) version: u64,
}

/// See the module's doc.
#[derive(Debug, Default)]
pub(super) struct ClientConfigs {
    shared: Arc<Shared>,
}

/// Ends once files have been looked at, or when that takes too long.
pub(super) type Look = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What looks at files have in common with whoever waits for them.
#[derive(Debug)]
struct Shared {
    provider: Arc<CryptoProvider>,
    known: Mutex<Vec<Known>>,
    /// Told when a look has ended.
    looked: Notify,
    /// When it was said last that TLS to a server fails.
    said: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Known {
    /// Its name apart, which a configuration does not know.
    tls: ServerTls,
    offer: Offer,
    /// When the last look began.
    looked_at: Instant,
    is_being_looked_at: bool,
    stamps: Stamps,
    profile: Result<Profile, Arc<str>>,
}

/// What the files were when they were read.
type Stamps = [Option<(SystemTime, u64)>; 3];

impl Default for Shared {
    fn default() -> Self {
        Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            known: Mutex::default(),
            looked: Notify::new(),
            said: Mutex::default(),
        }
    }
}

impl ClientConfigs {
    /// Has the files of that setting looked at where it is time; returns what to wait for before asking for its profile,
    /// if there is anything. On a runtime.
    pub(super) fn look(&self, tls: &ServerTls, offer: Offer) -> Option<Look> {
        let now = clock::monotonic();
        let mut all = self.shared.known();
        let since = |known: &Known| now.saturating_duration_since(known.looked_at);
        let mut patience = FIRST_LOOK_WAIT_MAX;
        match all.iter_mut().find(|known| known.is(tls, offer)) {
            // A disk hangs: what is known has to do.
            Some(known) if known.is_being_looked_at && since(known) >= known.patience() => return None,
            Some(known) if !known.is_being_looked_at && since(known) < LOOK_AGAIN => return None,
            Some(known) => {
                patience = known.patience();
                if !known.is_being_looked_at {
                    (known.looked_at, known.is_being_looked_at) = (now, true);
                    self.shared.begin(known);
                }
            }
            None => {
                // What no server asks for any more, after reloads that name other files.
                all.retain(|known| known.is_being_looked_at || since(known) < FORGOTTEN_AFTER);
                let known = Known {
                    tls: tls.clone(),
                    offer,
                    looked_at: now,
                    is_being_looked_at: true,
                    stamps: Stamps::default(),
                    profile: Err(UNREAD.into()),
                };
                self.shared.begin(&known);
                all.push(known);
            }
        }
        drop(all);
        let (shared, tls) = (Arc::clone(&self.shared), tls.clone());
        Some(Box::pin(async move {
            // Late: it goes on, and what is known is used.
            let _ = timeout(patience, shared.settled(&tls, offer)).await;
        }))
    }

    /// Returns what handshakes of that setting are made with, as of the last look.
    ///
    /// # Errors
    /// Why there is nothing, for an operator.
    pub(super) fn profile(&self, tls: &ServerTls, offer: Offer) -> Result<Profile, Arc<str>> {
        let all = self.shared.known();
        all.iter().find(|known| known.is(tls, offer)).map_or_else(|| Err(UNREAD.into()), |known| known.profile.clone())
    }

    /// Tells the operator why there is no TLS to a server, now and then.
    pub(super) fn say(&self, server: &PeerAddr, why: &dyn fmt::Display) {
        let now = clock::monotonic();
        let mut said = self.shared.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| now.saturating_duration_since(at) >= SAID_EVERY) {
            *said = Some(now);
            tracing::warn!(%server, %why, "no TLS to a server");
        }
    }
}

impl Shared {
    /// A panic while it was held cannot have left it half changed.
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a look at files, which ends even if it panics.
    fn begin(self: &Arc<Self>, known: &Known) {
        let before = known.profile.is_ok().then_some(known.stamps);
        let ending = Ending { shared: Arc::clone(self), tls: known.tls.clone(), offer: known.offer };
        spawn_blocking(move || {
            let stamps = stamps(&ending.tls);
            if before != Some(stamps) {
                let read = config(&ending.shared.provider, &ending.tls, ending.offer);
                ending.take(read, stamps);
            }
        });
    }

    /// Waits until nobody looks at the files of that setting.
    async fn settled(&self, tls: &ServerTls, offer: Offer) {
        loop {
            // Before it is asked: it is told of every look that ends from here on.
            let looked = self.looked.notified();
            if !self.known().iter().any(|known| known.is(tls, offer) && known.is_being_looked_at) {
                return;
            }
            looked.await;
        }
    }
}

/// A look at files that is under way.
struct Ending {
    shared: Arc<Shared>,
    tls: ServerTls,
    offer: Offer,
}

impl Ending {
    /// Takes what was read.
    fn take(&self, read: Result<Arc<ClientConfig>, Arc<str>>, stamps: Stamps) {
        let mut all = self.shared.known();
        let next = all.iter().filter_map(|known| known.profile.as_ref().ok()).map(|p| p.version).max().unwrap_or(0) + 1;
        let Some(known) = all.iter_mut().find(|known| known.is(&self.tls, self.offer)) else { return };
        match read {
            Ok(config) => known.profile = Ok(Profile { config, version: next }),
            Err(why) if known.profile.is_ok() => {
                tracing::warn!(%why, "a file for TLS to servers is not used: the one before it stays");
            }
            Err(why) => known.profile = Err(why),
        }
        known.stamps = stamps;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        for known in self.shared.known().iter_mut().filter(|known| known.is(&self.tls, self.offer)) {
            known.is_being_looked_at = false;
        }
        self.shared.looked.notify_waiters();
    }
}

impl Known {
    fn patience(&self) -> Duration {
        if self.profile.is_ok() { LOOK_WAIT_MAX } else { FIRST_LOOK_WAIT_MAX }
    }

    fn is(&self, tls: &ServerTls, offer: Offer) -> bool {
        let own = &self.tls;
        self.offer == offer && (&own.ca, own.verify, &own.identity) == (&tls.ca, tls.verify, &tls.identity)
    }
}

/// Returns the name that is asked for, and that the certificate must have.
///
/// # Errors
/// That it is none.
pub(super) fn server_name(tls: &ServerTls, declared: &Host) -> Result<ServerName<'static>, Arc<str>> {
    let name = match (&tls.sni, declared) {
        (Some(name), _) => name,
        (None, Host::Ip(ip)) => return Ok(ServerName::IpAddress((*ip).into())),
        (None, Host::Name(name)) => name,
        (None, Host::Unix(_)) => {
            return Err("a Unix socket has no name to ask for a certificate of; set tls.sni".into());
        }
    };
    let named = ServerName::try_from(name.to_string());
    named.map_err(|_| format!("cannot ask for a certificate of \"{name}\"; set tls.sni").into())
}

fn stamps(tls: &ServerTls) -> Stamps {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    let identity = tls.identity.as_ref();
    [tls.ca.as_deref(), identity.map(|files| &*files.cert), identity.map(|files| &*files.key)]
        .map(|path| path.and_then(stamp))
}

fn config(provider: &Arc<CryptoProvider>, tls: &ServerTls, offer: Offer) -> Result<Arc<ClientConfig>, Arc<str>> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| Arc::from(error.to_string()))?;
    let builder = match tls.verify {
        // Any certificate that belongs to the key that is used.
        Verify::Off => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(provider, |_| Ok(()))))
        }
        Verify::Chain | Verify::On => {
            let roots = roots(tls.ca.as_deref())?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            let verifier = verifier.map_err(|error| format!("cannot use the authorities: {error}"))?;
            if tls.verify == Verify::Chain {
                let verifier = Verifier::new(provider, move |shown| verify_but_name(&verifier, shown));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            } else {
                builder.with_webpki_verifier(verifier)
            }
        }
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = identity(files)?;
            let shown = builder.with_client_auth_cert(chain, key);
            shown.map_err(|error| format!("cannot show the certificate in {:?}: {error}", files.cert))?
        }
    };
    config.alpn_protocols = match offer {
        Offer::Http1 => vec![ALPN_HTTP1.into()],
        Offer::Http2 => vec![ALPN_H2.into(), ALPN_HTTP1.into()],
        Offer::Nothing => Vec::new(),
    };
    Ok(Arc::new(config))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, Arc<str>> {
    trust::roots(file).map_err(|error| {
        let or = if matches!(error, TrustError::NoneHere) { ", or set tls.verify to false" } else { "" };
        format!("{error}{or}").into()
    })
}

fn identity(files: &CertificateFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Arc<str>> {
    let unusable = |file: &Path, why: String| Arc::from(format!("cannot show the certificate in {file:?}: {why}"));
    let pem = read(&files.cert).map_err(|why| unusable(&files.cert, why))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(&files.cert, error.to_string()))?;
    let pem = read(&files.key).map_err(|why| unusable(&files.key, why))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(&files.key, error.to_string()))?;
    Ok((chain, key))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    files::read(file, FILE_BYTES_MAX).map_err(|error| error.to_string().to_lowercase())
}

/// Why there is no TLS to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// Its certificate is over.
    Expired,
    /// Its certificate is not for the name that was asked for.
    Name,
    /// Its certificate is not good in some other way.
    Certificate,
    /// Its certificate is of an authority that is not trusted.
    Issuer,
    /// Anything else.
    Handshake,
}

impl Untrusted {
    /// Returns why a handshake failed.
    pub(super) fn of(error: &io::Error) -> Self {
        let Some(rustls::Error::InvalidCertificate(cause)) = error.get_ref().and_then(|cause| cause.downcast_ref())
        else {
            return Self::Handshake;
        };
        use CertificateError as E;
        if matches!(cause, E::Expired | E::ExpiredContext { .. }) {
            Self::Expired
        } else if matches!(cause, E::NotValidForName | E::NotValidForNameContext { .. }) {
            Self::Name
        } else if matches!(cause, E::UnknownIssuer | E::BadSignature) {
            // The second: an authority of that name is trusted, and another one signed.
            Self::Issuer
        } else {
            Self::Certificate
        }
    }

    /// Returns it in words, for the log and the trace.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "the server's certificate is not good",
            Self::Expired => "the server's certificate has expired",
            Self::Handshake => "the TLS handshake with the server failed",
            Self::Issuer => "the server's certificate is of an unknown authority",
            Self::Name => "the server's certificate is not for its name",
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ca: &Path) -> ServerTls {
        ServerTls { ca: Some(ca.into()), sni: None, verify: Verify::On, identity: None }
    }

    async fn profile(configs: &ClientConfigs, tls: &ServerTls) -> Result<Profile, Arc<str>> {
        if let Some(look) = configs.look(tls, Offer::Http1) {
            look.await;
        }
        configs.profile(tls, Offer::Http1)
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    /// Its reader would wait for whoever writes into it, for ever.
    #[tokio::test]
    async fn pipe_in_the_place_of_a_file_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("ca.pem");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let why = profile(&ClientConfigs::default(), &settings(&pipe)).await.unwrap_err();
        assert!(why.contains("it is not a regular file"), "{why}");
    }

    #[tokio::test]
    async fn file_is_read_once_for_all_and_anew_where_it_changed_and_a_bad_one_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, authority()).unwrap();
        let (configs, tls) = (ClientConfigs::default(), settings(&file));
        assert_eq!(configs.profile(&tls, Offer::Http1).unwrap_err().as_ref(), UNREAD);
        let looks = [configs.look(&tls, Offer::Http1), configs.look(&tls, Offer::Http1)];
        for look in looks.into_iter().flatten() {
            look.await;
        }
        let first = configs.profile(&tls, Offer::Http1).unwrap();
        assert_eq!(first.version, 1);
        assert!(configs.look(&tls, Offer::Http1).is_none(), "it is not time yet");
        for (text, version) in [("", 1), ("no PEM at all", 1), (&*format!("{0}{0}", authority()), 2)] {
            std::fs::write(&file, text).unwrap();
            // As if a second were over.
            configs.shared.known()[0].looked_at -= LOOK_AGAIN;
            assert_eq!(profile(&configs, &tls).await.unwrap().version, version, "{text}");
        }
    }

    /// As on a disk that hangs: the look never ends.
    #[tokio::test(start_paused = true)]
    async fn look_that_does_not_end_is_waited_for_once_and_what_is_known_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, authority()).unwrap();
        let (configs, tls) = (ClientConfigs::default(), settings(&file));
        profile(&configs, &tls).await.unwrap();
        configs.shared.known()[0].is_being_looked_at = true;
        let began = tokio::time::Instant::now();
        assert_eq!(profile(&configs, &tls).await.unwrap().version, 1);
        assert_eq!(began.elapsed(), LOOK_WAIT_MAX);
        configs.shared.known()[0].looked_at -= LOOK_WAIT_MAX;
        assert!(configs.look(&tls, Offer::Http1).is_none());
        // Nothing good is known: it is waited for longer, and not for ever.
        configs.shared.known()[0].profile = Err(UNREAD.into());
        let began = tokio::time::Instant::now();
        assert_eq!(profile(&configs, &tls).await.unwrap_err().as_ref(), UNREAD);
        assert_eq!(began.elapsed(), FIRST_LOOK_WAIT_MAX);
        configs.shared.known()[0].looked_at -= FIRST_LOOK_WAIT_MAX;
        assert!(configs.look(&tls, Offer::Http1).is_none());
    }
}
