//! What the admin side answers from beside the Store: the last events, the journal, recent requests, and what is counted
//! of the journal, of the receivers of webhooks and of certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::AdminState;
use crate::admin::outlets::{CertificateNumbers, JournalNumbers, Outlets, ReadNumbers, ReceiverNumbers};
use crate::feed::Ring;
use crate::journal::{FILE_NAME, SqliteJournal};
use crate::model::Name;
use crate::model::settings::Settings;
use crate::proxy::{Certificates, ReadAgain};
use crate::store::{EventSink, Journal, JournalError, Requests};
use crate::webhook::ReceiverCells;

use super::webhooks::Webhooks;
use super::{Core, Reloader};

/// See the module's doc.
pub(super) struct Answers {
    feed: Arc<Ring>,
    journal: SqliteJournal,
    has_history: bool,
    journal_files: Vec<PathBuf>,
    receivers: Vec<(Box<str>, Arc<ReceiverCells>)>,
}

impl Answers {
    pub(super) fn new(settings: &Settings, journal: &SqliteJournal, webhooks: &Webhooks) -> Result<Self, JournalError> {
        Ok(Self {
            feed: Arc::new(Ring::new(journal.last_event_id()?)),
            journal: journal.clone(),
            has_history: settings.state_dir.is_some() && !settings.journal.history.is_zero(),
            journal_files: settings.state_dir.iter().flat_map(files_of_journal).collect(),
            receivers: webhooks.cells(),
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
    ) -> AdminState {
        let Self { feed, journal, has_history, journal_files, receivers } = self;
        let outlets = Arc::new(Counted { journal: journal.clone(), journal_files, receivers, certificates });
        let (store, credentials) = (Arc::clone(&core.store), Arc::clone(&core.credentials));
        let state = AdminState::new(store, credentials, Arc::new(Reloader(Arc::clone(core))));
        AdminState { feed, chronicle: Some(Arc::new(journal)), has_history, requests, outlets, ..state }
    }
}

/// What the scrape reads.
struct Counted {
    journal: SqliteJournal,
    /// The files that the journal is in.
    journal_files: Vec<PathBuf>,
    receivers: Vec<(Box<str>, Arc<ReceiverCells>)>,
    certificates: Arc<Certificates>,
}

fn files_of_journal(dir: &PathBuf) -> [PathBuf; 2] {
    ["", "-wal"].map(|end| dir.join(format!("{FILE_NAME}{end}")))
}

impl Outlets for Counted {
    fn certificates(&self) -> Vec<CertificateNumbers> {
        let mut first_to_end = BTreeMap::new();
        for row in self.certificates.rows() {
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
        self.certificates.read_again().into_iter().map(numbers).collect()
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
            bytes: self.journal_files.iter().map(size).sum(),
        }
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
