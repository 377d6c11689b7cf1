//! The thread `acme`: obtains what frontends want, and what was asked for through an API, and has no file yet, or soon
//! none that is good.

use std::path::PathBuf;
use std::sync::Arc;

use crate::acme::{self, Host, Proof};
use crate::alarm::Alarm;
use crate::clock;
use crate::model::settings::AcmeSettings;
use crate::model::{CertificateChange, EventKind, Name};
use crate::objects::Objects;
use crate::proxy::Certificates;
use crate::report::report;
use crate::store::Store;

use super::free::Free;
use super::{Edge, on_own_thread};

/// Starts the thread.
pub(super) fn start(
    settings: AcmeSettings,
    dir: PathBuf,
    certificates: Arc<Certificates>,
    (store, objects): (&Arc<Store>, Arc<dyn Objects>),
    alarm: &Alarm,
) -> anyhow::Result<Edge> {
    let free = Free::new(objects, dir.clone());
    let host: Arc<dyn Host> = Arc::new(Wanting { certificates, store: Arc::clone(store), free });
    on_own_thread("acme", alarm, move |stopped| async move {
        if let Err(error) = acme::run(&settings, dir, &host, stopped).await {
            tracing::error!(error = %report(&error), "certificates cannot be obtained: there is nowhere to keep them");
        }
    })
}

struct Wanting {
    certificates: Arc<Certificates>,
    store: Arc<Store>,
    free: Free,
}

impl Host for Wanting {
    fn wanted(&self) -> Vec<(Name, Box<str>)> {
        let mut wanted = self.certificates.wanted();
        wanted.extend(self.free.wanted());
        wanted
    }

    fn look(&self) {
        self.free.take_over();
    }

    fn answer(&self, proof: &Proof) {
        let challenges = self.certificates.challenges();
        match proof {
            Proof::Http { token, text } => challenges.put_text(token, text),
            Proof::Tls { name, certificate, key } => challenges.put_certificate(name, certificate, key),
        }
    }

    fn forget(&self, proof: &Proof) {
        match proof {
            Proof::Http { token, .. } => self.certificates.challenges().forget(token),
            Proof::Tls { name, .. } => self.certificates.challenges().forget(name),
        }
    }

    fn failed(&self, frontend: &Name, name: &str, why: &str) {
        self.free.failed(name, why);
        if !self.certificates.wanted().iter().any(|(_, wanted)| &**wanted == name) {
            return;
        }
        let change = CertificateChange::NotObtained { why: why.into() };
        let kind = EventKind::Certificate { frontend: frontend.clone(), certificate: name.into(), change };
        self.store.note(kind, clock::wall());
    }
}
