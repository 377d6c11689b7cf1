//! What is counted where events and spans go, the journal, the receivers of webhooks and of traces, and which certificates clients are shown,
//! as the scrape reads it.
//!
//! The admin side knows neither; whoever builds the process says what they count.

use crate::model::Timestamp;

/// What is counted beside the Store.
pub trait Outlets: Send + Sync {
    /// Returns the certificates that clients are shown, one for each frontend, first name and algorithm.
    fn certificates(&self) -> Vec<CertificateNumbers>;

    /// Returns how often changed files of TLS were read again, by frontend.
    fn certificate_reads(&self) -> Vec<ReadNumbers>;

    /// Returns what the access log counts, if there is one.
    fn access_log(&self) -> Option<AccessLogNumbers>;

    /// Returns what became of spans, if they are sent anywhere.
    fn spans(&self) -> Option<SpanNumbers>;

    /// Returns what the journal counts.
    fn journal(&self) -> JournalNumbers;

    /// Returns what each receiver of webhooks counts.
    fn receivers(&self) -> Vec<ReceiverNumbers>;
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNumbers {
    /// The frontend.
    pub frontend: Box<str>,
    /// The first name that it is for.
    pub certificate: Box<str>,
    /// How its key signs.
    pub algorithm: &'static str,
    /// When it ends.
    pub until: Timestamp,
}

/// How often changed files of one frontend were read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadNumbers {
    /// The frontend.
    pub frontend: Box<str>,
    /// Times that they came into use.
    pub applied: u64,
    /// Times that they could not be used.
    pub refused: u64,
}

/// What the access log counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogNumbers {
    /// Lines: written, dropped because the disk was slower than the traffic, refused by the disk.
    pub lines: [u64; 3],
}

/// What became of lines of the access log, in the order of its numbers.
pub const ACCESS_LOG_OUTCOMES: [&str; 3] = ["written", "dropped", "refused"];

/// What became of the spans of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanNumbers {
    /// Spans: taken by their receiver, dropped because it was slower than the traffic, refused by it.
    pub spans: [u64; 3],
}

/// What became of spans, in the order of its numbers.
pub const SPAN_OUTCOMES: [&str; 3] = ["taken", "dropped", "refused"];

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
    fn certificates(&self) -> Vec<CertificateNumbers> {
        Vec::new()
    }

    fn certificate_reads(&self) -> Vec<ReadNumbers> {
        Vec::new()
    }

    fn access_log(&self) -> Option<AccessLogNumbers> {
        None
    }

    fn spans(&self) -> Option<SpanNumbers> {
        None
    }

    fn journal(&self) -> JournalNumbers {
        JournalNumbers::default()
    }

    fn receivers(&self) -> Vec<ReceiverNumbers> {
        Vec::new()
    }
}
