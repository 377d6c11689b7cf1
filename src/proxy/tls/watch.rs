//! A look at the files of one frontend: what changed is read, what was read and is good comes into use, what is bad is
//! said once and leaves the former where it is.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::model::{CertificateChange, Name, Timestamp};

use super::Termination;
use super::build::{Made, Reading};
use super::expiry::{self, Told};
use super::files::Stamps;

/// Something about a certificate that is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The frontend.
    pub frontend: Name,
    /// The first name that the certificate is of; of a file that cannot be used, its path.
    pub certificate: Box<str>,
    /// What.
    pub change: CertificateChange,
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The files as they were at the last look, where they are not those in use.
    seen: Option<Stamps>,
    /// The files that were read and are bad.
    refused_as: Option<Stamps>,
    told: BTreeMap<[u8; 32], Told>,
    pub(super) applied: u64,
    pub(super) refused: u64,
}

/// Looks at the files of one frontend; returns what there is to tell.
pub(super) fn look(of: &Termination, reading: &mut Reading<'_>, now: Timestamp) -> Vec<Notice> {
    let mut watch = of.watch.lock().unwrap_or_else(PoisonError::into_inner);
    let mut notices = read_changed(of, &mut watch, reading);
    let made = of.made.load();
    watch.told.retain(|digest, _| made.chains.iter().any(|chain| chain.digest == *digest));
    for chain in &made.chains {
        let told = watch.told.entry(chain.digest).or_default();
        if let Some(change) = expiry::to_tell(told, chain.until, now) {
            notices.push(Notice { frontend: of.frontend.clone(), certificate: chain.name(), change });
        }
    }
    notices
}

fn read_changed(of: &Termination, watch: &mut Watch, reading: &mut Reading<'_>) -> Vec<Notice> {
    let before = of.made.load_full();
    let stamps = reading.stamps(&before.tls);
    if stamps == before.stamps || watch.refused_as.as_ref() == Some(&stamps) {
        watch.seen = None;
        return Vec::new();
    }
    if watch.seen.as_ref() != Some(&stamps) {
        // Perhaps somebody is still writing: what is the same at the next look is whole.
        watch.seen = Some(stamps);
        return Vec::new();
    }
    watch.seen = None;
    match reading.make(&of.frontend, &before.tls, Some(&before)) {
        Ok(made) => {
            watch.refused_as = None;
            watch.applied += 1;
            made.log_warnings(&of.frontend);
            tracing::info!(frontend = %of.frontend, "changed files of tls are in use");
            let notices = renewed(&of.frontend, &before, &made);
            of.made.store(Arc::new(made));
            notices
        }
        Err(errors) => {
            watch.refused_as = Some(stamps);
            watch.refused += 1;
            let refused = |error: crate::store::seams::FileError| Notice {
                frontend: of.frontend.clone(),
                certificate: error.path.display().to_string().into(),
                change: CertificateChange::Refused { why: error.to_string().into() },
            };
            errors.into_iter().map(refused).collect()
        }
    }
}

/// The certificates of `made` that `before` had not.
fn renewed(frontend: &Name, before: &Made, made: &Made) -> Vec<Notice> {
    let is_new = |digest: &[u8; 32]| before.chains.iter().all(|chain| chain.digest != *digest);
    let fresh = made.chains.iter().filter(|chain| is_new(&chain.digest));
    let notice = |chain: &Arc<super::chain::Chain>| Notice {
        frontend: frontend.clone(),
        certificate: chain.name(),
        change: CertificateChange::Renewed { until: chain.until },
    };
    fresh.map(notice).collect()
}
