//! What is counted where events go: the journal and the receivers of webhooks, as the scrape reads it.
//!
//! The admin side knows neither; whoever builds the process says what they count.

/// Where events go, to be counted.
pub trait Outlets: Send + Sync {
    /// Returns what the access log counts, if there is one.
    fn access_log(&self) -> Option<AccessLogNumbers>;

    /// Returns what the journal counts.
    fn journal(&self) -> JournalNumbers;

    /// Returns what each receiver of webhooks counts.
    fn receivers(&self) -> Vec<ReceiverNumbers>;
}

/// What the access log counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogNumbers {
    /// Lines: written, dropped because the disk was slower than the traffic, refused by the disk.
    pub lines: [u64; 3],
}

/// What became of lines of the access log, in the order of its numbers.
pub const ACCESS_LOG_OUTCOMES: [&str; 3] = ["written", "dropped", "refused"];

/// What the journal counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalNumbers {
    /// Written: events, checks, evidence.
    pub written: [u64; 3],
    /// Lost under load or because the disk refused: events, checks, evidence.
    pub dropped: [u64; 3],
    /// Transactions and reads that failed.
    pub failures: u64,
    /// Entries that wait for the disk.
    pub backlog: u64,
    /// The size of its files; 0 without a `state_dir`.
    pub bytes: u64,
}

/// The kinds of what the journal counts, in the order of its numbers.
pub const JOURNAL_KINDS: [&str; 3] = ["event", "check", "evidence"];

/// What one receiver counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverNumbers {
    /// Its name.
    pub name: Box<str>,
    /// Events that it took.
    pub delivered: u64,
    /// Attempts that it did not take.
    pub failed: u64,
    /// How far it is behind the newest event.
    pub lag: u64,
}

/// The outlets of a process that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutlets;

impl Outlets for NoOutlets {
    fn access_log(&self) -> Option<AccessLogNumbers> {
        None
    }

    fn journal(&self) -> JournalNumbers {
        JournalNumbers::default()
    }

    fn receivers(&self) -> Vec<ReceiverNumbers> {
        Vec::new()
    }
}
