//! What the scrape reads of the journal and of the receivers of webhooks.

use std::path::PathBuf;
use std::sync::Arc;

use crate::admin::outlets::{JournalNumbers, Outlets, ReceiverNumbers};
use crate::journal::{FILE_NAME, SqliteJournal};
use crate::model::settings::Settings;
use crate::webhook::ReceiverCells;

use super::webhooks::Webhooks;

/// See the module's doc.
pub(super) struct Counted {
    journal: SqliteJournal,
    /// The files that the journal is in.
    files: Vec<PathBuf>,
    receivers: Vec<(Box<str>, Arc<ReceiverCells>)>,
}

impl Counted {
    pub(super) fn new(settings: &Settings, journal: &SqliteJournal, webhooks: &Webhooks) -> Self {
        let files = |dir: &PathBuf| ["", "-wal"].map(|end| dir.join(format!("{FILE_NAME}{end}")));
        let files = settings.state_dir.iter().flat_map(files).collect();
        Self { journal: journal.clone(), files, receivers: webhooks.cells() }
    }
}

impl Outlets for Counted {
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
