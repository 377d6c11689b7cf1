//! The thread `keeper`: keeps the Store's time and takes what the data plane finds wrong with servers.
//!
//! It sleeps until the next thing is due, a sample of the traffic at the latest, or until it is poked: by a fault, or
//! by an event, since whatever puts something on the Store's agenda is told as one. Its queue is bounded; what does not
//! fit is dropped and counted, and said once a sample. The clock may be set: it is read anew each turn, and a sample
//! that seems further away than the distance of two is taken at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;

use crate::alarm::Alarm;
use crate::clock;
use crate::health::suspicion::SAMPLE_INTERVAL;
use crate::model::{ServerKey, Timestamp, TrafficFault};
use crate::report::report;
use crate::store::{EventSink, Faults, Store};

/// Pokes that wait for the thread.
const POKES_MAX: usize = 1024;
/// From one sample of the traffic to the next, and so the longest sleep.
const SAMPLE: Duration = SAMPLE_INTERVAL;

/// Why the thread is to look up.
#[derive(Clone, Copy, Debug)]
enum Poke {
    /// Something may be due sooner than it knew, or it is to end.
    Due,
    /// Work given to a server failed.
    Fault { server: ServerKey, errors: u32, kind: TrafficFault },
}

/// Says what the keeper must know; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub(super) struct FaultSender {
    pokes: SyncSender<Poke>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A [`Poke::Due`] is in the queue: one is enough.
    is_poked: AtomicBool,
    is_stopping: AtomicBool,
    dropped: AtomicU64,
}

/// The keeper's end of the queue.
#[derive(Debug)]
pub(super) struct Pokes {
    waiting: Receiver<Poke>,
    sender: FaultSender,
}

/// The running thread.
#[derive(Debug)]
pub(super) struct Keeper {
    sender: FaultSender,
    thread: JoinHandle<()>,
}

/// Returns both ends of the keeper's queue.
pub(super) fn channel() -> (FaultSender, Pokes) {
    let (pokes, waiting) = sync_channel(POKES_MAX);
    let sender = FaultSender { pokes, shared: Arc::default() };
    (sender.clone(), Pokes { waiting, sender })
}

impl FaultSender {
    /// Says that something may be due sooner than the keeper knows.
    pub(super) fn due(&self) {
        if !self.shared.is_poked.swap(true, Ordering::AcqRel) && self.pokes.try_send(Poke::Due).is_err() {
            // The queue is full, so the keeper is about to look up anyway.
            self.shared.is_poked.store(false, Ordering::Release);
        }
    }

    /// Returns what is to be told of every event: whatever brings something to come by the clock is one as well.
    pub(super) fn sink(&self) -> EventSink {
        let keeper = self.clone();
        Box::new(move |_| keeper.due())
    }
}

impl Faults for FaultSender {
    fn failed(&self, server: ServerKey, errors: u32, kind: TrafficFault) {
        if self.pokes.try_send(Poke::Fault { server, errors, kind }).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(store: &Arc<Store>, pokes: Pokes, alarm: &Alarm) -> anyhow::Result<Self> {
        let (store, guard, sender) = (Arc::clone(store), alarm.guard("keeper"), pokes.sender.clone());
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let _guard = guard;
            keep(&store, &pokes);
        });
        let thread = thread.map_err(|error| anyhow!("cannot start the keeper thread: {error}"))?;
        Ok(Self { sender, thread })
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        self.sender.shared.is_stopping.store(true, Ordering::Release);
        self.sender.due();
        // A panic was reported by the alarm.
        let _ = self.thread.join();
    }
}

fn keep(store: &Store, pokes: &Pokes) {
    let shared = &pokes.sender.shared;
    let mut sample_at = clock::wall() + SAMPLE;
    while !shared.is_stopping.load(Ordering::Acquire) {
        let now = clock::wall();
        if let Err(error) = store.tick(now) {
            tracing::error!(error = %report(&error), "order came to its end and the journal still has it");
        }
        if is_time(now, sample_at) {
            store.sample_traffic(now);
            sample_at = now + SAMPLE;
            let dropped = shared.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "faults of traffic dropped: too many at once");
            }
            let untold = store.take_untold();
            if untold > 0 {
                tracing::warn!(untold, "events not logged: the log was blocked for too long; the timeline has them");
            }
        }
        let next = store.next_due().map_or(sample_at, |due| due.min(sample_at));
        match pokes.waiting.recv_timeout(next.since(clock::wall()).min(SAMPLE)) {
            Ok(poke) => {
                std::iter::once(poke).chain(pokes.waiting.try_iter().take(POKES_MAX)).for_each(|poke| match poke {
                    Poke::Due => shared.is_poked.store(false, Ordering::Release),
                    Poke::Fault { server, errors, kind } => store.traffic_failed(server, errors, kind, clock::wall()),
                })
            }
            // The keeper itself holds a sender.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Whether a sample is due, or the clock was set back so far that it would not be for long.
fn is_time(now: Timestamp, sample_at: Timestamp) -> bool {
    now >= sample_at || sample_at.since(now) > SAMPLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FarmId, ServerId};

    #[test]
    fn keeper_is_poked_once_for_many_events_and_again_after_it_looked() {
        let (sender, pokes) = channel();
        (0..5).for_each(|_| sender.due());
        assert_eq!(pokes.waiting.try_iter().count(), 1);
        sender.shared.is_poked.store(false, Ordering::Release);
        sender.due();
        assert_eq!(pokes.waiting.try_iter().count(), 1);
    }

    #[test]
    fn keeper_drops_faults_beyond_its_queue_and_counts_them() {
        let (sender, pokes) = channel();
        let server = ServerKey { farm: FarmId(1), server: ServerId(1) };
        (0..POKES_MAX + 3).for_each(|_| sender.failed(server, 5, TrafficFault::Connect));
        assert_eq!(sender.shared.dropped.load(Ordering::Relaxed), 3);
        sender.due();
        assert!(!sender.shared.is_poked.load(Ordering::Acquire), "it can be poked again");
        assert_eq!(pokes.waiting.try_iter().count(), POKES_MAX);
    }

    #[test]
    fn keeper_samples_at_its_time_and_when_the_clock_was_set_back() {
        let at = Timestamp(100_000_000);
        assert!(is_time(at, at) && is_time(Timestamp(50_000_000), at));
        assert!(!is_time(Timestamp(99_999_999), at));
    }
}
