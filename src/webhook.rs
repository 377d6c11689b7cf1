//! Tells receivers of events: each is posted every event of the one schema, in order, at least once.
//!
//! A receiver is an HTTP server that the config names. What it has taken is kept in the journal as its cursor, so what
//! it misses while it is away, or while this process is, waits in the journal and comes first when it is back. An event
//! that is not taken (no connection, no answer in time, any status but 2xx; redirects are not followed) is sent again
//! until it is, after a rest that doubles from 1 s to 60 s; nothing overtakes it. A receiver that was never heard of
//! begins with what happens from now on. One that is away for longer than the journal keeps events misses those that
//! went, which is logged as an error.
//!
//! A transition that is part of an incident is not sent singly: the incident's own event stands for all of them.
//!
//! Each delivery is a POST of the event's JSON with `Farmgate-Event` (its id), `Farmgate-Delivery` (id and attempt) and
//! `Farmgate-Signature`: `t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<t>.<body>">`, keyed with the receiver's secret.
//!
//! One task for each receiver on the caller's runtime; the journal is read on its blocking threads.

mod delivery;
mod receiver;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::model::settings::Webhook;
use crate::store::Chronicle;

use delivery::Client;
use receiver::Task;

pub use delivery::ReceiverError;

/// What is counted of one receiver; read at any time.
#[derive(Debug, Default)]
pub struct ReceiverCells {
    /// Events that it took.
    delivered: AtomicU64,
    /// Attempts that it did not take.
    failed: AtomicU64,
    /// How far its cursor is behind the newest event, in ids.
    lag: AtomicU64,
    /// Ids of events that the journal had forgotten before it took them.
    missed: AtomicU64,
}

impl ReceiverCells {
    /// Returns how many events it took.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Returns how many attempts it did not take.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns how far it is behind the newest event: the difference of ids, an upper bound of the events it lacks.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// Returns how many events the journal had forgotten before it took them: the difference of ids, an upper bound.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// A receiver that can be told: its settings were read and are good.
#[derive(Debug)]
pub struct Receiver {
    name: Box<str>,
    client: Client,
    per_second_max: u32,
    cells: Arc<ReceiverCells>,
}

impl Receiver {
    /// Returns the receiver that the config declares.
    ///
    /// # Errors
    /// [`ReceiverError`] if the URL is none, or the authorities cannot be read.
    pub fn new(webhook: &Webhook) -> Result<Self, ReceiverError> {
        let client = Client::new(webhook)?;
        let (name, per_second_max) = (webhook.name.clone(), webhook.per_second_max.max(1));
        Ok(Self { name, client, per_second_max, cells: Arc::default() })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is counted of it.
    #[must_use]
    pub fn cells(&self) -> Arc<ReceiverCells> {
        Arc::clone(&self.cells)
    }
}

/// Tells all receivers until stopped. `latest` is the id of the newest event and wakes them; `begin_after` is where a
/// receiver begins that was never heard of; `seed` spreads their rests.
pub async fn run(
    receivers: Vec<Receiver>,
    chronicle: Arc<dyn Chronicle>,
    latest: watch::Receiver<u64>,
    begin_after: u64,
    seed: u64,
    stopped: watch::Receiver<bool>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for (seed, receiver) in (seed..).zip(receivers) {
        let task = Task::new(receiver, Arc::clone(&chronicle), latest.clone(), seed);
        let mut stopped = stopped.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = task.run(begin_after) => {}
                // Whoever held the other end is gone: that is the end, too.
                _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        // A task ends by itself only through a bug: whoever guards this thread is to know.
        if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
            std::panic::resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests;
