//! Obtains certificates by ACME (RFC 8555) and renews them: who is asked, what is shown to be ours, what is kept.
//!
//! Everything is kept below one directory: the account's key, and a file for each name with its key and chain, each
//! readable by this user alone and written by rename. Whoever shows certificates watches those files and hears of
//! nothing else. A certificate is renewed once two thirds of its life are over; a failure is told and tried again after
//! a pause that doubles, since authorities count failures. One order at a time, on the thread that calls [`run`], under
//! a deadline. Which names are wanted, and the answers to challenges, are the [`Host`]'s.

mod account;
mod client;
mod order;
mod plan;
mod proof;
mod shelf;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock;
use crate::model::Name;
use crate::model::settings::AcmeSettings;
use crate::trust::TrustError;

use plan::Plans;
use shelf::Shelf;

pub use proof::Proof;

/// From one look at what is wanted to the next.
const LOOK: Duration = Duration::from_secs(2);
/// How long one order may take, from the account to the certificate.
const ORDER: Duration = Duration::from_secs(300);

/// A certificate could not be obtained.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority said no, or could not be asked.
    #[error("{what}: {cause}")]
    Asking {
        /// What was asked.
        what: &'static str,
        /// What came of it.
        #[source]
        cause: instant_acme::Error,
    },
    /// There are no authorities to verify the directory against.
    #[error("acme.ca: cannot verify the directory: {0}")]
    Authorities(#[source] TrustError),
    /// A key or a request could not be made.
    #[error("cannot make a key or a request: {0}")]
    Make(#[from] rcgen::Error),
    /// The authority did not believe that the name is ours.
    #[error("the authority did not find the name to be ours: {0}; look whether it reaches this machine by that name")]
    NotProven(String),
    /// Something could not be kept.
    #[error("cannot keep {what} in {path:?}: {cause}; check the permissions of state_dir")]
    Keep {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It took too long.
    #[error("no certificate within {ORDER:?}")]
    Late,
}

/// Whom certificates are obtained for.
pub trait Host: Send + Sync {
    /// Returns the names that certificates are wanted for, each with its frontend.
    fn wanted(&self) -> Vec<(Name, Box<str>)>;

    /// Answers a challenge from now on.
    fn answer(&self, proof: &Proof);

    /// Answers it no more.
    fn forget(&self, proof: &Proof);

    /// Looks at what is kept by now; called before every look at what is wanted, and after each certificate.
    fn look(&self);

    /// Hears that a certificate could not be obtained, and when it is tried again.
    fn failed(&self, frontend: &Name, name: &str, why: &str);
}

/// Returns where the certificate and the key of a name are, below a `state_dir`'s directory for ACME.
#[must_use]
pub fn file_of(dir: &std::path::Path, name: &str) -> PathBuf {
    shelf::file_of(dir, name)
}

/// Obtains and renews what the host wants, until stopped.
///
/// # Errors
/// [`AcmeError`] if there is nowhere to keep anything.
pub async fn run(
    settings: &AcmeSettings,
    dir: PathBuf,
    host: &Arc<dyn Host>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), AcmeError> {
    let shelf = Shelf::open(dir)?;
    let mut plans = Plans::default();
    loop {
        host.look();
        let mut wanted = host.wanted();
        wanted.sort_by(|a, b| a.1.cmp(&b.1));
        wanted.dedup_by(|a, b| a.1 == b.1);
        plans.keep_only(&wanted);
        for (frontend, name) in &wanted {
            if !plans.is_due(name, clock::wall(), || shelf.life_of(name)) {
                continue;
            }
            let work = tokio::time::timeout(ORDER, order::obtain(settings, &shelf, host, name));
            let ended = tokio::select! {
                ended = work => ended.unwrap_or(Err(AcmeError::Late)),
                _ = stopped.wait_for(|is_stopped| *is_stopped) => return Ok(()),
            };
            match ended {
                Ok(()) => {
                    plans.obtained(name, shelf.life_of(name));
                    host.look();
                }
                Err(error) => {
                    let pause = plans.failed(name, clock::wall());
                    host.failed(frontend, name, &format!("{error}; tried again in {pause:?}"));
                }
            }
        }
        // Told to stop, or whoever could tell is gone.
        if tokio::time::timeout(LOOK, stopped.wait_for(|is_stopped| *is_stopped)).await.is_ok() {
            return Ok(());
        }
    }
}
