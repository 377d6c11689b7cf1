//! What outlives the process, in one SQLite file in `state_dir`. Implements the Store's `Journal` and `Chronicle`.
//!
//! Three classes of writes. Overrides, objects made through APIs, tasks and receivers' cursors are on disk (`synchronous=FULL`) before the call returns:
//! a `kill -9` or a power cut loses none. Events and healths are handed to a writer thread and written within 100 ms;
//! they are kept in memory while the disk refuses, up to a bound. Evidence and the history of checks may be dropped
//! under load, which is counted; a `kill -9` loses the open blocks of the history, ten minutes at the most.
//!
//! Handing in ([`Journal::note`]) takes a short lock and never waits for the disk; everything else blocks and is not
//! for the data plane. Readers see what was noted before they asked: they hurry the writer, and look into open blocks.
//!
//! A file that cannot be read is set aside under another name and said so; the balancer starts without it. Damage that
//! shows later is an error of that call, counted. Without `state_dir` the same works in memory, without history.
//!
//! Rooms: `queue` (what waits), `writer` (the thread), `history` (the form of blocks), `blocks` (those not on disk
//! yet), `layout` (the file), `retention`, and a file for each table: `credentials`, `overrides`, `objects` (and
//! what is staged), `tasks`, `events`, `healths`, `evidence`, `block_rows`, `traffic`.

mod block_rows;
mod blocks;
mod credentials;
mod events;
mod evidence;
mod healths;
mod history;
mod layout;
mod objects;
mod overrides;
mod queue;
mod retention;
mod tasks;
mod traffic;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rusqlite::Connection;

use crate::alarm::Alarm;
use crate::model::credential::AskedCredential;
use crate::model::settings::JournalLimits;
use crate::model::traffic::MonthTraffic;
use crate::model::{
    CheckBrief, CheckRecord, Field, ObjectBatch, ProbeSlot, SavedHealth, SavedObjects, ServerKey, Timestamp,
};
use crate::store::{Chronicle, Entry, EventQuery, Journal, JournalError, RecordedEvent, SavedOverride};

use queue::Queue;
use writer::{Shared, lock};

/// The file's name in `state_dir`.
pub const FILE_NAME: &str = "farmgate.sqlite";
/// What a journal in memory may hold.
pub const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a reader waits for what was noted just before; beyond it, it gets what is on disk.
const FLUSH_WAIT: Duration = Duration::from_millis(250);
/// How long the end of the process may wait for the disk.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Ids that are skipped after a process that was killed: so many it may have told of and not written.
const IDS_SKIPPED: u64 = queue::EVENTS_WAITING_MAX as u64;

/// See the module's doc. Cheap to clone; the last one to go writes what is left, as [`Self::close`] does.
#[derive(Clone, Debug)]
pub struct SqliteJournal(Arc<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    acts: Arc<Mutex<Connection>>,
    reads: Arc<Mutex<Connection>>,
    /// Locked for as long as the file is open.
    lock: Option<File>,
}

/// What a journal did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounters {
    /// Events on disk.
    pub events_written: u64,
    /// Events lost because the disk refused for too long.
    pub events_lost: u64,
    /// Checks on disk, in the history.
    pub checks_written: u64,
    /// Checks that the history lacks.
    pub checks_dropped: u64,
    /// Checks with evidence on disk.
    pub evidence_written: u64,
    /// Checks whose evidence was dropped.
    pub evidence_dropped: u64,
    /// Transactions and reads that failed.
    pub failures: u64,
    /// Entries that wait for the disk now.
    pub backlog: u64,
}

impl SqliteJournal {
    /// Opens or makes the journal in `state_dir`, which is made too, and starts its thread. Returns the path that a
    /// damaged file was moved to, if there was one.
    ///
    /// # Errors
    /// [`JournalError`] if the directory cannot be made, the file not opened, is another process's, or was written by a
    /// newer build.
    pub fn open(state_dir: &Path, limits: JournalLimits) -> Result<(Self, Option<PathBuf>), JournalError> {
        let layout::Opened { lock: file, acts, batches, reads, aside } = layout::open(state_dir)?;
        let [acts, batches, reads] = [acts, batches, reads].map(|connection| Arc::new(Mutex::new(connection)));
        Ok((Self::start(acts, batches, reads, file, limits)?, aside))
    }

    /// Makes a journal that ends with the process and keeps no history.
    ///
    /// # Errors
    /// [`JournalError`] if there is no memory for it, or no thread.
    pub fn in_memory() -> Result<Self, JournalError> {
        let connection = Arc::new(Mutex::new(layout::open_in_memory(MEMORY_BYTES_MAX)?));
        let (history, bytes_max) = (Duration::ZERO, MEMORY_BYTES_MAX);
        let limits = JournalLimits { history, bytes_max, ..JournalLimits::DEFAULT };
        Self::start(Arc::clone(&connection), Arc::clone(&connection), connection, None, limits)
    }

    fn start(
        acts: Arc<Mutex<Connection>>,
        batches: Arc<Mutex<Connection>>,
        reads: Arc<Mutex<Connection>>,
        file: Option<File>,
        limits: JournalLimits,
    ) -> Result<Self, JournalError> {
        take_over(&lock(&acts)).map_err(|e| failed("read the last event", e))?;
        let shared = Arc::new(Shared {
            queue: Queue::new(limits.history > Duration::ZERO),
            blocks: Mutex::default(),
            batches,
            gate: Mutex::new(()),
            alarm: OnceLock::new(),
            is_lent: AtomicBool::new(false),
        });
        writer::start(&shared, limits).map_err(|e| failed("start the journal thread", e))?;
        Ok(Self(Arc::new(Open { shared, acts, reads, lock: file })))
    }

    /// Has `alarm` ring should the journal's thread be lost to a bug. The first call counts.
    pub fn ring(&self, alarm: Alarm) {
        // A second alarm changes nothing, as documented.
        let _ = self.0.shared.alarm.set(alarm);
    }

    /// Writes what was noted and ends the thread; waits for it, five seconds at the most. What is noted later is lost.
    pub fn close(&self) {
        self.0.close();
    }

    /// Writes what was noted, and lets another process have the file: until [`Self::take_back`] nothing is written, what
    /// is noted waits, and acts are refused.
    ///
    /// # Errors
    /// If the lock cannot be given up, or the disk is too slow; nothing has changed then.
    pub fn lend(&self) -> Result<(), JournalError> {
        lock(&self.0.shared.blocks).seal_all();
        self.flush(CLOSE_WAIT);
        // Whoever writes has its turn to the end, and looks at the next.
        let _turn = lock(&self.0.shared.gate);
        self.0.shared.is_lent.store(true, Ordering::Release);
        let Some(file) = &self.0.lock else { return Ok(()) };
        file.unlock().map_err(|error| {
            self.0.shared.is_lent.store(false, Ordering::Release);
            failed("give up the lock of state_dir", error)
        })
    }

    /// Takes the file back that nobody wanted.
    ///
    /// # Errors
    /// If another process has it; nothing is written then.
    pub fn take_back(&self) -> Result<(), JournalError> {
        if let Some(file) = &self.0.lock {
            file.try_lock().map_err(|error| failed("lock state_dir again", error))?;
        }
        self.0.shared.is_lent.store(false, Ordering::Release);
        Ok(())
    }

    /// Returns the objects that APIs made, what is staged and the tasks.
    ///
    /// # Errors
    /// [`JournalError`] if they cannot be read, or a newer build wrote them.
    pub fn objects(&self) -> Result<SavedObjects, JournalError> {
        self.count("read objects", objects::all(&lock(&self.0.acts)))
    }

    /// Keeps what became of objects, staged changes and tasks: together or not at all, on disk when the call returns.
    ///
    /// # Errors
    /// [`JournalError`] if nothing was kept.
    pub fn commit_objects(&self, batch: &ObjectBatch) -> Result<(), JournalError> {
        self.act("keep objects", |connection| objects::commit(connection, batch))
    }

    /// Waits until what was noted before is on disk, `bound` at the most.
    pub fn flush(&self, bound: Duration) {
        self.0.shared.queue.flush(bound);
    }

    /// Returns every credential that was asked for.
    ///
    /// # Errors
    /// [`JournalError`] if they cannot be read.
    pub fn credentials(&self) -> Result<Vec<AskedCredential>, JournalError> {
        self.count("read credentials", credentials::all(&lock(&self.0.acts)))
    }

    /// Keeps a new one. Returns its number.
    ///
    /// # Errors
    /// [`JournalError`]; it is not kept then.
    pub fn add_credential(&self, credential: &AskedCredential) -> Result<u64, JournalError> {
        self.act("keep a credential", |connection| credentials::add(connection, credential))
    }

    /// Keeps what has changed of one.
    ///
    /// # Errors
    /// [`JournalError`]; it is as it was then.
    pub fn put_credential(&self, credential: &AskedCredential) -> Result<(), JournalError> {
        self.act("keep a credential", |connection| credentials::put(connection, credential))
    }

    /// Forgets one.
    ///
    /// # Errors
    /// [`JournalError`]; it is kept then.
    pub fn drop_credential(&self, id: u64) -> Result<(), JournalError> {
        self.act("forget a credential", |connection| credentials::drop(connection, id))
    }

    /// Returns what was counted of every month, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    pub fn traffic(&self) -> Result<Vec<MonthTraffic>, JournalError> {
        self.count("read traffic", traffic::all(&lock(&self.0.acts)))
    }

    /// Keeps what was counted of a month in the place of what was kept of it. Returns its id.
    ///
    /// # Errors
    /// [`JournalError`]; it is as it was then.
    pub fn put_traffic(&self, month: &MonthTraffic) -> Result<u64, JournalError> {
        self.act("keep traffic", |connection| traffic::put(connection, month))
    }

    /// Returns what it did so far.
    #[must_use]
    pub fn counters(&self) -> JournalCounters {
        let queue = &self.0.shared.queue;
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let cells = &queue.cells;
        JournalCounters {
            events_written: read(&cells.events_written),
            events_lost: read(&cells.events_lost),
            checks_written: read(&cells.checks_written),
            checks_dropped: read(&cells.checks_dropped),
            evidence_written: read(&cells.evidence_written),
            evidence_dropped: read(&cells.evidence_dropped),
            failures: read(&cells.failures),
            backlog: queue.backlog() as u64,
        }
    }

    /// Reads, after what was noted before is written.
    fn read<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        self.flush(FLUSH_WAIT);
        self.count(what, read(&lock(&self.0.reads)))
    }

    /// Writes what must be on disk when the call returns.
    fn act<T>(
        &self,
        what: &'static str,
        act: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let _turn = lock(&self.0.shared.gate);
        if self.0.shared.is_lent.load(Ordering::Acquire) {
            let cause = "a new process takes over just now; ask again in a moment";
            return Err(JournalError { what, cause: cause.into() });
        }
        self.count(what, act(&mut lock(&self.0.acts)))
    }

    fn count<T>(&self, what: &'static str, outcome: rusqlite::Result<T>) -> Result<T, JournalError> {
        outcome.map_err(|error| {
            queue::add(&self.0.shared.queue.cells.failures, 1);
            failed(what, error)
        })
    }
}

impl Open {
    fn close(&self) {
        let is_lent = self.shared.is_lent.load(Ordering::Acquire);
        if self.shared.queue.close(CLOSE_WAIT) && !is_lent {
            // Only what ended in order is known to have written all that it told of.
            let _turn = lock(&self.shared.gate);
            let closed = lock(&self.acts).execute("UPDATE process SET is_open = 0", []);
            // What is in the log beside the file goes into it, for whoever copies the file alone.
            let carried = lock(&self.acts).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
            if closed.is_err() || carried.is_err() {
                queue::add(&self.shared.queue.cells.failures, 1);
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

/// Notes that a process runs now, and after one that was killed, that ids which it may have told of are not to be given
/// out again.
fn take_over(connection: &Connection) -> rusqlite::Result<()> {
    let was_open: bool = connection.query_row("SELECT is_open FROM process", [], |row| row.get(0))?;
    let written = events::last_id(connection)?;
    let last = if was_open { written + IDS_SKIPPED } else { written };
    connection.execute("UPDATE process SET is_open = 1, last_id = ?1", [number(last)])?;
    Ok(())
}

fn failed(what: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError { what, cause: Box::new(cause) }
}

/// SQLite keeps signed 64-bit numbers; ids have 41 bits and times 51, so both fit.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What [`number`] made; a negative one, which only damage can make, is large.
fn unsigned(n: i64) -> u64 {
    n.cast_unsigned()
}

impl Journal for SqliteJournal {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        self.read("read healths", healths::all)
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        self.read("read the last event", events::last_id)
    }

    fn note(&self, entry: Entry) {
        self.0.shared.queue.push(entry);
    }

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        self.count("read overrides", overrides::all(&lock(&self.0.acts)))
    }

    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError> {
        self.act("keep an override", |connection| overrides::put(connection, saved))
    }

    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        if fields.is_empty() {
            return Ok(());
        }
        self.act("forget overrides", |connection| overrides::drop_all(connection, fields))
    }
}

impl Chronicle for SqliteJournal {
    fn events(&self, query: &EventQuery) -> Result<Vec<RecordedEvent>, JournalError> {
        self.read("read events", |connection| events::find(connection, query))
    }

    fn evidence(&self, server: ServerKey, limit: usize) -> Result<Vec<(ProbeSlot, CheckRecord)>, JournalError> {
        self.read("read evidence", |connection| evidence::find(connection, server, limit))
    }

    fn history(
        &self,
        server: ServerKey,
        slot: ProbeSlot,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<CheckBrief>, JournalError> {
        self.flush(FLUSH_WAIT);
        let (since, until) = (history::told(since), history::told(until));
        // In this order: what is sealed and written between the two is seen twice rather than never.
        let mut fresh = lock(&self.0.shared.blocks).of((server, slot));
        let read = block_rows::find(&lock(&self.0.reads), (server, slot), since, until);
        let mut blocks = self.count("read the history", read)?;
        fresh.retain(|block| blocks.iter().all(|old| old.from != block.from));
        blocks.append(&mut fresh);
        let mut found = Vec::new();
        for block in blocks {
            let checks = block.read(slot).ok_or_else(|| {
                queue::add(&self.0.shared.queue.cells.failures, 1);
                JournalError { what: "read the history", cause: "a block is damaged".into() }
            })?;
            found.extend(checks.into_iter().filter(|check| (since..=until).contains(&check.at)));
        }
        Ok(found)
    }

    fn cursor(&self, receiver: &str) -> Result<Option<u64>, JournalError> {
        self.count("read a cursor", overrides::cursor(&lock(&self.0.acts), receiver))
    }

    fn put_cursor(&self, receiver: &str, event: u64) -> Result<(), JournalError> {
        self.act("keep a cursor", |connection| overrides::put_cursor(connection, receiver, event))
    }
}

#[cfg(test)]
mod tests;
