//! The thread `certificates`: looks at the files of TLS every [`LOOK`], since looking may block on a slow disk, and has
//! the Store tell what came of it, and which names nobody obtains a certificate for. A file must stay as it is for one look to be read, so a renewal is in use after two.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alarm::Alarm;
use crate::clock;
use crate::model::settings::{AcmeSettings, Settings};
use crate::model::{CertificateChange, EventKind};
use crate::objects::Objects;
use crate::proxy::{Certificates, Notice};
use crate::store::Store;

use super::acme;
use super::edges::{Edge, on_own_thread};

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(2);

/// Why a name under `tls.acme` gets no certificate where the file has no `acme`.
const NOBODY: &str =
    "nobody is named to obtain it from; write acme: {terms_agreed: true} at the top level and start again";

/// Below `state_dir`: the account and the certificates that are obtained.
const ACME_DIR: &str = "acme";

/// What is done about certificates, told where obtained ones are and not started yet.
pub(super) struct Caring {
    certificates: Arc<Certificates>,
    obtaining: Option<(AcmeSettings, PathBuf)>,
}

/// The running threads.
pub(super) struct Cared {
    watch: Edge,
    acme: Option<Edge>,
}

impl Caring {
    /// Says where obtained certificates are; before the first frontend.
    pub(super) fn prepare(settings: &Settings, certificates: Arc<Certificates>) -> Self {
        let obtaining = settings.acme.clone().zip(settings.state_dir.as_ref().map(|dir| dir.join(ACME_DIR)));
        if let Some((_, dir)) = &obtaining {
            certificates.find_obtained_in(dir, crate::acme::file_of);
        }
        Self { certificates, obtaining }
    }

    /// Starts the threads.
    pub(super) fn start(self, store: &Arc<Store>, objects: &Arc<dyn Objects>, alarm: &Alarm) -> anyhow::Result<Cared> {
        let Self { certificates, obtaining } = self;
        let watch = watch(Arc::clone(&certificates), obtaining.is_some(), store, alarm)?;
        let start = |(settings, dir)| acme::start(settings, dir, certificates, (store, Arc::clone(objects)), alarm);
        let acme = obtaining.map(start).transpose()?;
        Ok(Cared { watch, acme })
    }
}

impl Cared {
    /// Ends the threads.
    pub(super) fn stop(self) {
        self.watch.stop();
        if let Some(acme) = self.acme {
            acme.stop();
        }
    }
}

/// Starts the thread that looks.
fn watch(certificates: Arc<Certificates>, has_acme: bool, store: &Arc<Store>, alarm: &Alarm) -> anyhow::Result<Edge> {
    let store = Arc::clone(store);
    let mut told = BTreeSet::new();
    on_own_thread("certificates", alarm, move |mut stopped| async move {
        loop {
            let now = clock::wall();
            for Notice { frontend, certificate, change } in certificates.look_again(now) {
                store.note(EventKind::Certificate { frontend, certificate, change }, now);
            }
            if !has_acme {
                let wanted: BTreeSet<_> = certificates.wanted().into_iter().collect();
                for (frontend, name) in wanted.difference(&told) {
                    let change = CertificateChange::NotObtained { why: NOBODY.into() };
                    let (frontend, certificate) = (frontend.clone(), name.clone());
                    store.note(EventKind::Certificate { frontend, certificate, change }, now);
                }
                told = wanted;
            }
            // Told to stop, or whoever could tell is gone.
            if tokio::time::timeout(LOOK, stopped.wait_for(|is_stopped| *is_stopped)).await.is_ok() {
                return;
            }
        }
    })
}
