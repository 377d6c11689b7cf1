//! The thread that writes: gathers, writes in transactions of bounded size, retries, looks after what is old.
//!
//! What a transaction could not write is kept and tried again, with growing rests, until it is written: new events wait
//! in the queue meanwhile. Of a failure that lasts, one line a minute is logged. When told to end it seals every block,
//! writes what is left and, should the disk refuse, gives up after a few attempts and counts what is lost. Between two
//! transactions others get their turn: an admin write waits for one of them at the most.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::alarm::Alarm;
use crate::model::settings::JournalLimits;
use crate::model::{Event, SavedHealth, ServerKey, Timestamp};
use crate::report::report;

use super::blocks::Blocks;
use super::queue::{Batch, Queue, Seen, Turn, add};
use super::{block_rows, events, evidence, healths, retention};

/// How long the writer sleeps while nothing comes, before it looks after what is old; and while there is more of that.
const IDLE: Duration = Duration::from_secs(1);
const IDLE_BEHIND: Duration = Duration::from_millis(10);
/// Rows of one transaction.
const ROWS_MAX: usize = 500;
/// The first rest after a failure, and the longest.
const REST_FIRST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);
/// How often the writer looks whether the file is its own again.
const REST_LENT: Duration = Duration::from_millis(20);
/// Failures in a row of which only the first is logged: a minute, with the longest rest.
const FAILURES_PER_LINE: u32 = 12;
/// Looks at what is old that fail in a row of which only the first is logged: a minute, one each second.
const IDLE_TURNS_PER_LINE: u32 = 60;
/// Attempts when there is no time left.
const LAST_ATTEMPTS: u32 = 3;
/// Turns between two looks at what is old while much comes; without work there is one each second.
const TURNS_PER_STEP: u32 = 16;

/// What the writer shares with those who read and act.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) blocks: Mutex<Blocks>,
    pub(super) batches: Arc<Mutex<Connection>>,
    /// Held for a transaction, so that nobody polls for SQLite's own lock.
    pub(super) gate: Mutex<()>,
    pub(super) alarm: OnceLock<Alarm>,
    /// Another process has the file.
    pub(super) is_lent: AtomicBool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What SQLite began is undone when a transaction is dropped; the rest changes in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module's doc.
pub(super) struct Writer {
    shared: Arc<Shared>,
    limits: JournalLimits,
    /// The time of the last entry: what is old is told by it, so that no clock is read here.
    now: Timestamp,
    turns: u32,
    /// There is more that is old than the last look took.
    is_behind: bool,
    failures_in_a_row: u32,
    retention_failures: u32,
}

/// What is to be written, the oldest first.
#[derive(Default)]
struct Work {
    events: VecDeque<Arc<Event>>,
    healths: VecDeque<(ServerKey, Option<Box<SavedHealth>>)>,
    evidence: VecDeque<Seen>,
}

/// Rows that one transaction wrote.
#[derive(Default)]
struct Wrote {
    events: usize,
    healths: usize,
    evidence: usize,
    blocks: usize,
    checks: u64,
}

impl Wrote {
    fn rows(&self) -> usize {
        self.events + self.healths + self.evidence + self.blocks
    }
}

/// Starts the thread. It ends when the queue is closed.
pub(super) fn start(shared: &Arc<Shared>, limits: JournalLimits) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let now = Timestamp(0);
    let writer =
        Writer { shared, limits, now, turns: 0, is_behind: false, failures_in_a_row: 0, retention_failures: 0 };
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
    Ok(())
}

/// Says that the writer is gone, and rings if it is by a panic.
pub(super) struct Leaving(pub(super) Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.queue.ended();
        drop(self.0.alarm.get().map(|alarm| alarm.guard("journal")));
    }
}

impl Writer {
    fn run(mut self) {
        let _leaving = Leaving(Arc::clone(&self.shared));
        let tidied = block_rows::forget_unused(&lock(&self.shared.batches));
        if let Err(error) = tidied {
            self.tell(&error);
        }
        loop {
            let Turn { batch, up_to, is_last } =
                self.shared.queue.next(if self.is_behind { IDLE_BEHIND } else { IDLE });
            let is_idle = batch.events.is_empty() && batch.checks.is_empty();
            self.take_in(batch, is_last);
            self.shared.queue.written(up_to);
            if is_last {
                return;
            }
            self.turns += 1;
            let is_lent = self.shared.is_lent.load(Ordering::Acquire);
            if !is_lent && (is_idle || self.is_behind || self.turns >= TURNS_PER_STEP) {
                self.look_after_the_old();
            }
        }
    }

    /// Takes a batch in: checks into blocks, the rest and whole blocks to disk.
    fn take_in(&mut self, batch: Batch, is_last: bool) {
        let last = [
            batch.events.back().map(|event| event.at),
            batch.checks.back().map(|(_, brief)| brief.at),
            batch.evidence.back().map(|seen| seen.record.at),
        ];
        self.now = last.into_iter().flatten().max().unwrap_or(self.now);
        {
            let mut blocks = lock(&self.shared.blocks);
            for (server, brief) in &batch.checks {
                blocks.add(*server, brief);
            }
            if is_last {
                blocks.seal_all();
            }
            add(&self.shared.queue.cells.checks_dropped, blocks.take_lost());
        }
        let healths = batch.healths.into_iter().collect();
        let mut work = Work { events: batch.events, healths, evidence: batch.evidence };
        let mut rest = REST_FIRST;
        let mut last_attempts = 0;
        loop {
            match self.write_some(&work) {
                // What waits is written if the file comes back, and of no use if another process has it to the end.
                Ok(None) => {
                    if self.shared.queue.rest(REST_LENT) {
                        return;
                    }
                }
                Ok(Some(wrote)) => {
                    if wrote.rows() > 0 {
                        (rest, self.failures_in_a_row) = (REST_FIRST, 0);
                    }
                    self.count(&wrote, &mut work);
                    if wrote.rows() < ROWS_MAX {
                        return;
                    }
                }
                Err(error) => {
                    self.tell(&error);
                    self.make_room();
                    let is_closing = self.shared.queue.rest(rest);
                    rest = (rest * 2).min(REST_MAX);
                    last_attempts += u32::from(is_closing);
                    if last_attempts >= LAST_ATTEMPTS {
                        self.give_up(&work);
                        return;
                    }
                }
            }
        }
    }

    /// Writes up to [`ROWS_MAX`] rows in one transaction; healths before the events that tell of them, so that whoever
    /// was told to be Down is known to be Down, wherever the process is killed. Nothing, while another process has the file.
    fn write_some(&self, work: &Work) -> rusqlite::Result<Option<Wrote>> {
        let mut wrote = Wrote::default();
        let blocks = lock(&self.shared.blocks).waiting(ROWS_MAX);
        if work.events.is_empty() && work.healths.is_empty() && work.evidence.is_empty() && blocks.is_empty() {
            return Ok(Some(wrote));
        }
        let _turn = lock(&self.shared.gate);
        if self.shared.is_lent.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut connection = lock(&self.shared.batches);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (server, saved) in work.healths.iter().take(ROWS_MAX) {
            match saved {
                Some(saved) => healths::put(&transaction, saved)?,
                None => healths::forget(&transaction, *server)?,
            }
            wrote.healths += 1;
        }
        for event in work.events.iter().take(ROWS_MAX - wrote.rows()) {
            events::put(&transaction, event)?;
            wrote.events += 1;
        }
        for seen in work.evidence.iter().take(ROWS_MAX - wrote.rows()) {
            evidence::put(&transaction, seen, self.limits.evidence_per_server)?;
            wrote.evidence += 1;
        }
        for (series, block) in blocks.iter().take(ROWS_MAX - wrote.rows()) {
            block_rows::put(&transaction, *series, block)?;
            wrote.blocks += 1;
            wrote.checks += u64::from(block.checks);
        }
        transaction.commit()?;
        Ok(Some(wrote))
    }

    fn count(&self, wrote: &Wrote, work: &mut Work) {
        let cells = &self.shared.queue.cells;
        work.events.drain(..wrote.events);
        work.healths.drain(..wrote.healths);
        work.evidence.drain(..wrote.evidence);
        lock(&self.shared.blocks).written(wrote.blocks);
        add(&cells.events_written, wrote.events as u64);
        add(&cells.evidence_written, wrote.evidence as u64);
        add(&cells.checks_written, wrote.checks);
    }

    fn give_up(&self, work: &Work) {
        let cells = &self.shared.queue.cells;
        let (events, evidence) = (work.events.len(), work.evidence.len());
        add(&cells.events_lost, events as u64);
        add(&cells.evidence_dropped, evidence as u64);
        tracing::error!(events, evidence, "journal could not be written before the end: lost");
    }

    /// Lets go what may go: it may be what the disk, or the memory, lacks.
    fn make_room(&mut self) {
        for _ in 0..TURNS_PER_STEP {
            self.look_after_the_old();
            if !self.is_behind {
                return;
            }
        }
    }

    fn look_after_the_old(&mut self) {
        lock(&self.shared.blocks).seal_due(self.now);
        let outcome = {
            let _turn = lock(&self.shared.gate);
            let mut connection = lock(&self.shared.batches);
            retain(&mut connection, &self.limits, self.now)
        };
        match outcome {
            Ok(is_behind) => {
                (self.retention_failures, self.turns, self.is_behind) = (0, 0, is_behind);
            }
            Err(error) => {
                add(&self.shared.queue.cells.failures, 1);
                if self.retention_failures.is_multiple_of(IDLE_TURNS_PER_LINE) {
                    let error = report(&error);
                    tracing::error!(%error, "journal cannot forget what is old; check the disk of state_dir");
                }
                self.retention_failures += 1;
                self.is_behind = false;
            }
        }
    }

    /// Counts a failed transaction and, now and then, logs it.
    fn tell(&mut self, error: &rusqlite::Error) {
        add(&self.shared.queue.cells.failures, 1);
        if self.failures_in_a_row.is_multiple_of(FAILURES_PER_LINE) {
            let backlog = self.shared.queue.backlog();
            tracing::error!(
                error = %report(error),
                backlog,
                "journal cannot be written: kept in memory and tried again; check the space and the disk of state_dir"
            );
        }
        self.failures_in_a_row += 1;
    }
}

fn retain(connection: &mut Connection, limits: &JournalLimits, now: Timestamp) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_behind = retention::step(&transaction, limits, now)?;
    transaction.commit()?;
    Ok(is_behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::samples::{every_kind, server};
    use crate::journal::{MEMORY_BYTES_MAX, layout};

    #[test]
    fn writer_writes_healths_before_the_events_that_tell_of_them() {
        let connection = Arc::new(Mutex::new(layout::open_in_memory(MEMORY_BYTES_MAX).unwrap()));
        let shared = Arc::new(Shared {
            queue: Queue::new(false),
            blocks: Mutex::default(),
            batches: connection,
            gate: Mutex::new(()),
            alarm: OnceLock::new(),
            is_lent: AtomicBool::new(true),
        });
        let (limits, now) = (JournalLimits::DEFAULT, Timestamp(0));
        let writer =
            Writer { shared, limits, now, turns: 0, is_behind: false, failures_in_a_row: 0, retention_failures: 0 };
        let healths = (0..ROWS_MAX as u64).map(|n| (server(n).0, None)).collect();
        let events = every_kind().into_iter().take(1).map(Arc::new).collect();
        let mut work = Work { events, healths, ..Work::default() };
        assert!(writer.write_some(&work).unwrap().is_none(), "another process has the file");
        writer.shared.is_lent.store(false, Ordering::Release);
        let first = writer.write_some(&work).unwrap();
        let first = first.unwrap();
        assert_eq!((first.healths, first.events), (ROWS_MAX, 0));
        writer.count(&first, &mut work);
        let second = writer.write_some(&work).unwrap().unwrap();
        assert_eq!((second.healths, second.events), (0, 1));
    }
}
