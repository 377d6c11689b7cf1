//! TLS towards clients: which certificate a handshake is made with, who may resume, who must show a certificate, and
//! how renewed files come into use.
//!
//! [`Certificates`] has one [`Terminator`] for each frontend with TLS, shared by all workers. What a handshake needs is
//! made once and replaced whole: [`Certificates::prepare`] reads and checks every file before a reload is accepted, and
//! [`Certificates::look_again`] reads those that changed since, so a handshake reads no file and takes no lock, and a
//! connection keeps what it was made with. A bad file never replaces a good one. Whoever calls `look_again` brings the
//! thread and the pace; a file must stay as it is for one round before it is read, so a pair that is written one file
//! after the other is read as a pair.
//!
//! The crypto provider is ring, named here and never taken from a process default: it is what Pingora's rustls uses,
//! so there is one in the binary, and it builds with a C compiler alone. No early data; of TLS 1.2 only suites with
//! ECDHE and AEAD.

mod build;
mod chain;
mod challenges;
mod client;
mod expiry;
mod files;
mod peer;
mod resolver;
mod sessions;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::model::tls::FrontendTls;
use crate::model::{Frontend, FrontendId, Name, Timestamp};
use crate::store::seams::FileError;

use build::{Made, Reading};
use watch::Watch;

pub use challenges::Challenges;
pub(in crate::proxy) use peer::{Peer, failure_of, peer_of};
pub use watch::Notice;

/// The TLS of every frontend that has it.
#[derive(Debug)]
pub struct Certificates {
    provider: Arc<CryptoProvider>,
    live: ArcSwap<BTreeMap<FrontendId, Terminator>>,
    /// Held by whoever changes what is live: a reload, or a look at the files.
    changing: Mutex<()>,
    challenges: Arc<Challenges>,
    /// Where the certificate of a name that is obtained by ACME is found.
    obtained: OnceLock<Obtained>,
}

/// Returns the file with the key and the chain of a name.
pub type FileOf = fn(&Path, &str) -> PathBuf;

/// Where certificates are that somebody obtains.
#[derive(Clone, Debug)]
struct Obtained {
    dir: PathBuf,
    file_of: FileOf,
}

/// Makes the handshakes of one frontend; a clone is the same one.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Terminator(Arc<Termination>);

#[derive(Debug)]
struct Termination {
    frontend: Name,
    made: ArcSwap<Made>,
    watch: Mutex<Watch>,
}

/// A certificate in use, for whoever watches over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The frontend.
    pub frontend: Name,
    /// The first name that the certificate is of.
    pub name: Box<str>,
    /// How its key signs: `ecdsa`, `ed25519` or `rsa`.
    pub algorithm: &'static str,
    /// When it ends.
    pub until: Timestamp,
}

/// How often the files of a frontend were read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAgain {
    /// The frontend.
    pub frontend: Name,
    /// Times that what was read came into use.
    pub applied: u64,
    /// Times that it was refused and the former stayed.
    pub refused: u64,
}

/// Files that were read and checked, for frontends that are not live yet.
#[derive(Debug)]
pub(in crate::proxy) struct Prepared {
    certificates: Arc<Certificates>,
    made: Vec<Of>,
}

/// What one frontend is to have, and what it had when that was found out.
#[derive(Debug)]
struct Of {
    frontend: FrontendId,
    name: Name,
    made: Arc<Made>,
    before: Option<Arc<Made>>,
}

impl Certificates {
    /// Returns the certificates of a process without frontends.
    pub(in crate::proxy) fn new() -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (challenges, obtained) = (Arc::default(), OnceLock::new());
        Arc::new(Self { provider, live: ArcSwap::default(), changing: Mutex::default(), challenges, obtained })
    }

    /// Says where the certificates of names are that somebody obtains; once, before the first frontend. They come and
    /// go: one that is not there, or cannot be read, is no error.
    pub fn find_obtained_in(&self, dir: &Path, file_of: FileOf) {
        let is_first = self.obtained.set(Obtained { dir: dir.to_owned(), file_of }).is_ok();
        debug_assert!(is_first, "a process has one directory of certificates");
    }

    /// Returns the names that certificates are to be obtained for, each with its frontend.
    #[must_use]
    pub fn wanted(&self) -> Vec<(Name, Box<str>)> {
        let live = self.live.load();
        let of_frontend = |Terminator(of): &Terminator| {
            let names = of.made.load().tls.acme.clone();
            let frontend = of.frontend.clone();
            names.into_iter().map(move |name| (frontend.clone(), name))
        };
        live.values().flat_map(of_frontend).collect()
    }

    /// Returns the answers to authorities that look whether a name is ours.
    #[must_use]
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    fn reading(&self) -> Reading<'_> {
        Reading::new(&self.provider, &self.challenges, self.obtained.get())
    }

    /// Returns what makes the handshakes of a frontend; none where it has no TLS, or not yet: a table is live a moment
    /// before its certificates are.
    pub(in crate::proxy) fn terminator(&self, frontend: FrontendId) -> Option<Terminator> {
        self.live.load().get(&frontend).cloned()
    }

    /// Reads and checks every file of these frontends; those that are live and have not changed are taken as they are.
    ///
    /// # Errors
    /// One [`FileError`] for each file that cannot be used.
    pub(in crate::proxy) fn prepare(self: &Arc<Self>, frontends: &[Arc<Frontend>]) -> Result<Prepared, Vec<FileError>> {
        let live = self.live.load_full();
        let mut reading = self.reading();
        let (mut made, mut errors) = (Vec::new(), Vec::new());
        for frontend in frontends {
            let Some(tls) = &frontend.tls else { continue };
            let before = live.get(&frontend.id).map(|terminator| terminator.0.made.load_full());
            match make(&mut reading, &frontend.name, tls, before.clone()) {
                Ok(one) => made.push(Of { frontend: frontend.id, name: frontend.name.clone(), made: one, before }),
                Err(of_frontend) => errors.extend(of_frontend),
            }
        }
        if errors.is_empty() { Ok(Prepared { certificates: Arc::clone(self), made }) } else { Err(errors) }
    }

    /// Returns every certificate in use, by frontend and in the file's order.
    #[must_use]
    pub fn rows(&self) -> Vec<CertificateRow> {
        let mut rows = Vec::new();
        for Terminator(of) in self.live.load().values() {
            rows.extend(of.made.load().chains.iter().map(|chain| CertificateRow {
                frontend: of.frontend.clone(),
                name: chain.name(),
                algorithm: chain.algorithm.as_str(),
                until: chain.until,
            }));
        }
        rows
    }

    /// Returns how often files were read again, by frontend.
    #[must_use]
    pub fn read_again(&self) -> Vec<ReadAgain> {
        let count = |Terminator(of): &Terminator| {
            let watch = of.watch.lock().unwrap_or_else(PoisonError::into_inner);
            ReadAgain { frontend: of.frontend.clone(), applied: watch.applied, refused: watch.refused }
        };
        self.live.load().values().map(count).collect()
    }

    /// Looks at every file and reads those that changed; returns what there is to tell. Blocks on the file system.
    pub fn look_again(&self, now: Timestamp) -> Vec<Notice> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reading = self.reading();
        let live = self.live.load_full();
        live.values().flat_map(|Terminator(of)| watch::look(of, &mut reading, now)).collect()
    }
}

impl Terminator {
    /// Makes a handshake with what is there now; once renewed files are read, with those. Nothing: it was an authority's,
    /// which has seen what it asked for.
    pub(in crate::proxy) async fn shake_hands<S>(&self, socket: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let made = self.0.made.load_full();
        let Some(proof) = made.proof.as_ref().filter(|proof| proof.is_asked()) else {
            return TlsAcceptor::from(Arc::clone(&made.config)).accept(socket).await.map(Some);
        };
        let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let Some(config) = proof.answer_to(&begun.client_hello()) else {
            return begun.into_stream(Arc::clone(&made.config)).await.map(Some);
        };
        let mut shown = begun.into_stream(config).await?;
        shown.shutdown().await?;
        Ok(None)
    }
}

impl Prepared {
    /// Makes what was read live. Open connections keep what they were made with.
    pub(in crate::proxy) fn commit(self) {
        let Self { certificates, made } = self;
        let _changing = certificates.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = certificates.live.load_full();
        let terminator = |Of { frontend: id, name: frontend, made, before: seen }: Of| {
            let Some(terminator) = before.get(&id) else {
                made.log_warnings(&frontend);
                let of = Termination { frontend, made: ArcSwap::new(made), watch: Mutex::default() };
                return (id, Terminator(Arc::new(of)));
            };
            // What was found unchanged stays as it is: files may have been read again since.
            let is_new = seen.is_none_or(|seen| !Arc::ptr_eq(&seen, &made));
            if is_new {
                made.log_warnings(&frontend);
                terminator.0.made.store(made);
            }
            (id, terminator.clone())
        };
        certificates.live.store(Arc::new(made.into_iter().map(terminator).collect()));
    }
}

/// Returns what is live where neither the settings nor the files are others, else what they say now.
fn make(
    reading: &mut Reading<'_>,
    frontend: &Name,
    tls: &FrontendTls,
    before: Option<Arc<Made>>,
) -> Result<Arc<Made>, Vec<FileError>> {
    match before {
        Some(before) if before.tls == *tls && before.stamps == reading.stamps(tls) => Ok(before),
        before => reading.make(frontend, tls, before.as_deref()).map(Arc::new),
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
