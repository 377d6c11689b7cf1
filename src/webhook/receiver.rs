//! What one receiver is told and when: its cursor, its order, its rests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::clock;
use crate::feed::EventWire;
use crate::feed::wire::EventType;
use crate::report::report;
use crate::store::{Chronicle, EventQuery, JournalError, Order, RecordedEvent};

use super::Receiver;
use super::delivery::Verdict;

/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 64;
/// The first rest after an attempt that was not taken, and the longest.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// How long a receiver that has everything waits before it looks again by itself: what was late on its way to the disk
/// wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Attempts in a row that are not taken, of which only the first is logged.
const FAILURES_PER_LINE: u32 = 10;

/// See the module's doc.
pub(super) struct Task {
    receiver: Receiver,
    chronicle: Arc<dyn Chronicle>,
    latest: watch::Receiver<u64>,
    chance: StdRng,
    rest_first: Duration,
    rest_max: Duration,
}

impl Task {
    pub(super) fn new(
        receiver: Receiver,
        chronicle: Arc<dyn Chronicle>,
        latest: watch::Receiver<u64>,
        seed: u64,
    ) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        Self { receiver, chronicle, latest, chance, rest_first: REST_FIRST, rest_max: REST_MAX }
    }

    /// Rests no longer than that: for tests, which have no minutes.
    #[cfg(test)]
    pub(super) fn with_rests(self, rest_first: Duration, rest_max: Duration) -> Self {
        Self { rest_first, rest_max, ..self }
    }

    /// Tells the receiver of everything, for ever.
    pub(super) async fn run(mut self, begin_after: u64) {
        let mut cursor = self.cursor(begin_after).await;
        let mut turns = interval(Duration::from_secs(1) / self.receiver.per_second_max);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.count_lag(cursor);
            let read = self.events_after(cursor).await;
            let events = match read {
                Ok(events) => events,
                Err(error) => {
                    let receiver = self.receiver.name();
                    tracing::error!(receiver, error = %report(&error), "events for a webhook cannot be read");
                    sleep(self.rest_max).await;
                    continue;
                }
            };
            if events.is_empty() {
                // Its sender is gone only when the process ends, which ends this too.
                let _ = timeout(LOOK_AGAIN, self.latest.changed()).await;
                continue;
            }
            self.look_for_missed(cursor, events[0].id).await;
            for event in events {
                if is_told_singly(&event) {
                    self.tell(&event, &mut turns).await;
                }
                cursor = event.id;
                self.keep(cursor).await;
                self.count_lag(cursor);
            }
        }
    }

    /// Sends one event until it is taken.
    async fn tell(&mut self, event: &RecordedEvent, turns: &mut Interval) {
        let mut rest = self.rest_first;
        let mut attempt = 1_u32;
        loop {
            turns.tick().await;
            match self.receiver.client.deliver(event.id, attempt, &event.json, clock::wall()).await {
                Verdict::Taken => {
                    self.receiver.cells.delivered.fetch_add(1, Ordering::Relaxed);
                    if attempt > 1 {
                        let receiver = self.receiver.name();
                        tracing::info!(receiver, event = event.id, attempt, "webhook takes events again");
                    }
                    return;
                }
                Verdict::NotTaken(reason) => {
                    self.receiver.cells.failed.fetch_add(1, Ordering::Relaxed);
                    if attempt % FAILURES_PER_LINE == 1 {
                        let receiver = self.receiver.name();
                        tracing::warn!(receiver, event = event.id, attempt, reason, "webhook does not take an event");
                    }
                }
            }
            self.count_lag(event.id.saturating_sub(1));
            // Half of it is chance, so that receivers behind one failure do not come back as one.
            sleep(rest.mul_f64(self.chance.random_range(0.5..1.0))).await;
            rest = (rest * 2).min(self.rest_max);
            attempt = attempt.saturating_add(1);
        }
    }

    /// Returns where to go on; a receiver that was never heard of begins after `begin_after`, which is kept.
    async fn cursor(&self, begin_after: u64) -> u64 {
        loop {
            let name: Box<str> = self.receiver.name().into();
            match self.blocking(move |chronicle| chronicle.cursor(&name)).await {
                Ok(Some(cursor)) => return cursor,
                Ok(None) => {
                    self.keep(begin_after).await;
                    return begin_after;
                }
                Err(error) => {
                    let receiver = self.receiver.name();
                    tracing::error!(receiver, error = %report(&error), "where a webhook stands cannot be read");
                    sleep(self.rest_max).await;
                }
            }
        }
    }

    /// Says so if events between the cursor and the next one were kept once. Where the journal has something older, they
    /// never were: ids are skipped after a process that was killed.
    async fn look_for_missed(&self, cursor: u64, next: u64) {
        let missed = next.saturating_sub(cursor.saturating_add(1));
        if missed == 0 {
            return;
        }
        let oldest = self.events(None, 1).await.ok().and_then(|events| Some(events.first()?.id));
        if oldest.is_some_and(|oldest| oldest > cursor) {
            self.receiver.cells.missed.fetch_add(missed, Ordering::Relaxed);
            let receiver = self.receiver.name();
            tracing::error!(receiver, missed, next, "webhook was away for longer than events are kept: some are gone");
        }
    }

    async fn events_after(&self, cursor: u64) -> Result<Vec<RecordedEvent>, JournalError> {
        self.events(Some(cursor), EVENTS_AT_ONCE).await
    }

    async fn events(&self, after: Option<u64>, limit: usize) -> Result<Vec<RecordedEvent>, JournalError> {
        let order = Order::OldestFirst;
        let query = EventQuery { server: None, farm: None, after, since: None, until: None, order, limit };
        self.blocking(move |chronicle| chronicle.events(&query)).await
    }

    /// Keeps the cursor. If that fails the events after the last one kept are sent again by the next process: at least
    /// once.
    async fn keep(&self, cursor: u64) {
        let name: Box<str> = self.receiver.name().into();
        if let Err(error) = self.blocking(move |chronicle| chronicle.put_cursor(&name, cursor)).await {
            let receiver = self.receiver.name();
            tracing::error!(receiver, error = %report(&error), "where a webhook stands cannot be kept");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Chronicle) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let chronicle = Arc::clone(&self.chronicle);
        let done = tokio::task::spawn_blocking(move || work(&*chronicle)).await;
        done.unwrap_or_else(|cause| Err(JournalError { what: "read or write for a webhook", cause: cause.into() }))
    }

    fn count_lag(&self, cursor: u64) {
        let lag = self.latest.borrow().saturating_sub(cursor);
        self.receiver.cells.lag.store(lag, Ordering::Relaxed);
    }
}

/// Returns whether an event is sent by itself; one that cannot be read here may be readable there.
fn is_told_singly(event: &RecordedEvent) -> bool {
    let Ok(wire) = EventWire::parse(&event.json) else { return true };
    wire.kind != EventType::Transition || wire.details.incident.is_none()
}
