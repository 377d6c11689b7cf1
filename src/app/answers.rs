//! What the admin side answers from beside the Store: the last events, the journal, recent requests, and what is counted
//! of the journal and of the receivers of webhooks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::AdminState;
use crate::admin::asked::{Asked, Keep};
use crate::admin::outlets::{
    AccessLogNumbers, CertificateNumbers, JournalNumbers, MemoryNumbers, Outlets, ReadNumbers, ReceiverNumbers,
    SpanNumbers,
};
use crate::admin::traffic::{self, Meter};
use crate::feed::Ring;
use crate::journal::{FILE_NAME, SqliteJournal};
use crate::model::Name;
use crate::model::credential::AskedCredential;
use crate::model::settings::Settings;
use crate::model::traffic::MonthTraffic;
use crate::proxy::{Certificates, Memory, ReadAgain};
use crate::store::{EventSink, Journal, JournalError, Requests};
use crate::telemetry::access::{AccessCounters, AccessHandle};
use crate::telemetry::traces::{SpanCounters, SpanHandle};
use crate::webhook::ReceiverCells;

use super::Core;
use super::control::Controller;
use super::webhooks::Webhooks;

/// What counts where requests are told of.
pub(super) struct Told {
    pub(super) access: Option<AccessHandle>,
    pub(super) spans: Option<SpanHandle>,
}

/// See the module's doc.
pub(super) struct Answers {
    feed: Arc<Ring>,
    asked: Arc<Asked>,
    traffic: Arc<Meter>,
    obtains: bool,
    journal: SqliteJournal,
    has_history: bool,
    outlets: Counted,
}

impl Answers {
    pub(super) fn new(
        settings: &Settings,
        journal: &SqliteJournal,
        webhooks: &Webhooks,
        told: Told,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            feed: Arc::new(Ring::new(journal.last_event_id()?)),
            asked: Arc::new(Asked::load(Box::new(KeptInJournal(journal.clone())))?),
            traffic: Arc::new(Meter::load(Box::new(CountedInJournal(journal.clone())))?),
            obtains: settings.acme.is_some() && settings.state_dir.is_some(),
            journal: journal.clone(),
            has_history: settings.state_dir.is_some() && !settings.journal.history.is_zero(),
            outlets: Counted::new(settings, journal, webhooks, told),
        })
    }

    /// Returns what is to be told of every event.
    pub(super) fn sink(&self) -> EventSink {
        let feed = Arc::clone(&self.feed);
        Box::new(move |event| feed.push(event))
    }

    /// Returns what the admin side answers from.
    pub(super) fn state(
        self,
        core: &Arc<Core>,
        requests: Arc<dyn Requests>,
        certificates: Arc<Certificates>,
        memory: Arc<Memory>,
    ) -> AdminState {
        let Self { feed, asked, traffic, obtains, journal, has_history, outlets } = self;
        let outlets = Arc::new(Counted { certificates: Some(certificates), memory: Some(memory), ..outlets });
        let (store, credentials) = (Arc::clone(&core.store), Arc::clone(&core.credentials));
        let state = AdminState::new(store, credentials, Arc::new(Controller(Arc::clone(core))));
        let objects = Arc::clone(&core.objects);
        let chronicle: Option<Arc<dyn crate::store::Chronicle>> = Some(Arc::new(journal));
        let state = AdminState { chronicle, has_history, traffic, obtains, ..state };
        AdminState { feed, objects, asked, requests, outlets, ..state }
    }
}

/// What went through by month, in the journal.
struct CountedInJournal(SqliteJournal);

impl traffic::Keep for CountedInJournal {
    fn all(&self) -> Result<Vec<MonthTraffic>, JournalError> {
        self.0.traffic()
    }

    fn put(&self, month: &MonthTraffic) -> Result<u64, JournalError> {
        self.0.put_traffic(month)
    }
}

/// Credentials that applications asked for, in the journal.
struct KeptInJournal(SqliteJournal);

impl Keep for KeptInJournal {
    fn all(&self) -> Result<Vec<AskedCredential>, JournalError> {
        self.0.credentials()
    }

    fn add(&self, credential: &AskedCredential) -> Result<u64, JournalError> {
        self.0.add_credential(credential)
    }

    fn put(&self, credential: &AskedCredential) -> Result<(), JournalError> {
        self.0.put_credential(credential)
    }

    fn forget(&self, id: u64) -> Result<(), JournalError> {
        self.0.drop_credential(id)
    }
}

/// What the scrape reads.
struct Counted {
    journal: SqliteJournal,
    /// The files that the journal is in.
    files: Vec<PathBuf>,
    receivers: Vec<(Box<str>, Arc<ReceiverCells>)>,
    told: Told,
    /// Known once the data plane is there.
    certificates: Option<Arc<Certificates>>,
    memory: Option<Arc<Memory>>,
}

impl Counted {
    fn new(settings: &Settings, journal: &SqliteJournal, webhooks: &Webhooks, told: Told) -> Self {
        let files = |dir: &PathBuf| ["", "-wal"].map(|end| dir.join(format!("{FILE_NAME}{end}")));
        let files = settings.state_dir.iter().flat_map(files).collect();
        let receivers = webhooks.cells();
        Self { journal: journal.clone(), files, receivers, told, certificates: None, memory: None }
    }
}

impl Outlets for Counted {
    fn certificates(&self) -> Vec<CertificateNumbers> {
        let mut first_to_end = BTreeMap::new();
        for row in self.certificates.iter().flat_map(|certificates| certificates.rows()) {
            let until = first_to_end.entry((row.frontend, row.name, row.algorithm)).or_insert(row.until);
            *until = row.until.min(*until);
        }
        let numbers = |((frontend, certificate, algorithm), until): ((Name, _, _), _)| CertificateNumbers {
            frontend: frontend.as_str().into(),
            certificate,
            algorithm,
            until,
        };
        first_to_end.into_iter().map(numbers).collect()
    }

    fn certificate_reads(&self) -> Vec<ReadNumbers> {
        let numbers = |ReadAgain { frontend, applied, refused }| ReadNumbers {
            frontend: frontend.as_str().into(),
            applied,
            refused,
        };
        self.certificates.iter().flat_map(|certificates| certificates.read_again()).map(numbers).collect()
    }

    fn journal(&self) -> JournalNumbers {
        let counters = self.journal.counters();
        // A file that is not there has no size.
        let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
        JournalNumbers {
            written: [counters.events_written, counters.checks_written, counters.evidence_written],
            dropped: [counters.events_lost, counters.checks_dropped, counters.evidence_dropped],
            failures: counters.failures,
            backlog: counters.backlog,
            bytes: self.files.iter().map(size).sum(),
        }
    }

    fn memory(&self) -> Option<MemoryNumbers> {
        let memory = self.memory.as_ref()?;
        Some(MemoryNumbers { resident: memory.resident(), bound: memory.bound() })
    }

    fn access_log(&self) -> Option<AccessLogNumbers> {
        let AccessCounters { written, dropped, refused } = self.told.access.as_ref()?.counters();
        Some(AccessLogNumbers { lines: [written, dropped, refused] })
    }

    fn spans(&self) -> Option<SpanNumbers> {
        let SpanCounters { taken, dropped, refused } = self.told.spans.as_ref()?.counters();
        Some(SpanNumbers { spans: [taken, dropped, refused] })
    }

    fn receivers(&self) -> Vec<ReceiverNumbers> {
        let of = |(name, cells): &(Box<str>, Arc<ReceiverCells>)| ReceiverNumbers {
            name: name.clone(),
            delivered: cells.delivered(),
            failed: cells.failed(),
            lag: cells.lag(),
        };
        self.receivers.iter().map(of).collect()
    }
}
