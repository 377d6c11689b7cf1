//! The file: its layout, the connections to it, and what to do with one that cannot be used.
//!
//! Layout 5. Ids and times (µs since 1970) are SQLite's signed 64-bit numbers; ids have 41 bits and times 51, so both
//! fit. `PRAGMA user_version` has the layout; an older one is brought up to date in one transaction.
//!
//! Two processes on one file would overwrite one another: [`LOCK_NAME`] is locked for as long as the journal is open,
//! and released by the system however the process ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::store::JournalError;

use super::{FILE_NAME, failed};

/// The name of the file in `state_dir` whose lock says that the directory is in use.
pub(super) const LOCK_NAME: &str = "farmgate.lock";
/// How often somebody else's lock is looked at, and how long between two looks.
const LOCK_LOOKS: u32 = 50;
const LOCK_REST: Duration = Duration::from_millis(10);
/// The layout this build writes.
const LAYOUT: i64 = 5;
/// How long a connection waits for another of ours; and, at opening, for a build that locked the file itself.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Files up to this size are checked whole at opening; of a larger one only the tables that promises rest on, so that
/// starting takes no second. Damage elsewhere shows when it is read.
const CHECKED_WHOLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the log beside the file may keep between two of its uses.
pub(super) const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A log begins with these bytes, the last of them 82 or 83, in a head of so many (SQLite's file format, section 4.1).
const LOG_MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];
const LOG_HEAD_BYTES: usize = 32;

const LAYOUT_1: &str = "
    CREATE TABLE override (
        farm INTEGER NOT NULL, server INTEGER NOT NULL, field TEXT NOT NULL,
        value TEXT NOT NULL, declared TEXT NOT NULL,
        actor TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, at_us INTEGER NOT NULL,
        PRIMARY KEY (farm, server, field)
    ) STRICT, WITHOUT ROWID;";

const LAYOUT_2: &str = "
    ALTER TABLE override ADD COLUMN until_us INTEGER;
    ALTER TABLE override ADD COLUMN deadline_us INTEGER;
    ALTER TABLE override ADD COLUMN at_deadline TEXT;
    CREATE TABLE cursor (receiver TEXT PRIMARY KEY, event INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE health (
        farm INTEGER NOT NULL, server INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY (farm, server)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, farm INTEGER, server INTEGER, json TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_at ON event (at_us);
    CREATE INDEX event_server ON event (server) WHERE server IS NOT NULL;
    CREATE INDEX event_farm ON event (farm) WHERE farm IS NOT NULL;
    -- The farms of events that are about several.
    CREATE TABLE event_farms (
        farm INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (farm, event)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX event_farms_event ON event_farms (event);
    CREATE TRIGGER event_gone AFTER DELETE ON event BEGIN DELETE FROM event_farms WHERE event = old.id; END;
    CREATE TABLE evidence (
        id INTEGER PRIMARY KEY, farm INTEGER NOT NULL, server INTEGER NOT NULL, slot INTEGER NOT NULL,
        at_us INTEGER NOT NULL, failed INTEGER NOT NULL, status TEXT NOT NULL, code INTEGER, content TEXT NOT NULL,
        duration_us INTEGER NOT NULL, sent BLOB, received BLOB, connect_us INTEGER, tls_us INTEGER,
        first_byte_us INTEGER, errno INTEGER, alert TEXT, certificate BLOB
    ) STRICT;
    CREATE INDEX evidence_server ON evidence (server, farm, failed);
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, server INTEGER NOT NULL, farm INTEGER NOT NULL, slot INTEGER NOT NULL,
        UNIQUE (server, farm, slot)
    ) STRICT;
    CREATE TABLE block (
        id INTEGER PRIMARY KEY, series INTEGER NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER NOT NULL,
        checks INTEGER NOT NULL, runs BLOB NOT NULL
    ) STRICT;
    CREATE INDEX block_series ON block (series, from_us);
    -- How the process ended that wrote last: is_open is 1 while one runs and after one that was killed. No event has an
    -- id up to last_id again.
    CREATE TABLE process (
        only INTEGER PRIMARY KEY CHECK (only = 0), is_open INTEGER NOT NULL, last_id INTEGER NOT NULL
    ) STRICT;
    INSERT INTO process VALUES (0, 0, 0);";

const LAYOUT_3: &str = "
    -- A number is never given twice, so that of a revoked one opens nothing.
    CREATE TABLE credential (id INTEGER PRIMARY KEY AUTOINCREMENT, json TEXT NOT NULL) STRICT;";

const LAYOUT_4: &str = "
    CREATE TABLE object (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, parent INTEGER, shape TEXT NOT NULL,
        service INTEGER, zone TEXT, inert INTEGER NOT NULL, form TEXT NOT NULL, extras TEXT NOT NULL,
        created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, version INTEGER NOT NULL
    ) STRICT;
    -- What waits for a refresh: a field of a server (farm to value), an object that goes (gone and id), or one that comes
    -- or changes (id to version).
    CREATE TABLE staged (
        key TEXT PRIMARY KEY, farm INTEGER, server INTEGER, field TEXT, value TEXT, gone INTEGER NOT NULL,
        zone_staged TEXT NOT NULL, writes INTEGER NOT NULL,
        actor TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, at_us INTEGER NOT NULL,
        id INTEGER, kind TEXT, name TEXT, parent INTEGER, shape TEXT, service INTEGER, zone TEXT, inert INTEGER,
        form TEXT, extras TEXT, created_us INTEGER, updated_us INTEGER, version INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE task (
        id INTEGER PRIMARY KEY, action TEXT NOT NULL, refreshes INTEGER NOT NULL, status TEXT NOT NULL,
        zones TEXT NOT NULL, progress INTEGER NOT NULL, created_us INTEGER NOT NULL, done_us INTEGER, failure TEXT,
        actor TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, at_us INTEGER NOT NULL
    ) STRICT;
    -- The largest ids given out: none is given to another.
    CREATE TABLE given (
        only INTEGER PRIMARY KEY CHECK (only = 0), last_object INTEGER NOT NULL, last_task INTEGER NOT NULL
    ) STRICT;
    INSERT INTO given VALUES (0, 0, 0);";

const LAYOUT_5: &str = "
    CREATE TABLE traffic (
        id INTEGER PRIMARY KEY AUTOINCREMENT, zone TEXT NOT NULL, since_us INTEGER NOT NULL, bytes INTEGER NOT NULL,
        counted_us INTEGER NOT NULL, UNIQUE (zone, since_us)
    ) STRICT;";

/// An open file: its connections, the lock that keeps others out, and where a damaged one went.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lock: Option<File>,
    /// For what must be on disk when the call returns.
    pub(super) acts: Connection,
    /// For the writer.
    pub(super) batches: Connection,
    /// For readers.
    pub(super) reads: Connection,
    pub(super) aside: Option<PathBuf>,
}

/// Opens or makes the file in `state_dir`, which is made too.
pub(super) fn open(state_dir: &Path) -> Result<Opened, JournalError> {
    std::fs::create_dir_all(state_dir).map_err(|e| failed("make state_dir", e))?;
    let lock = lock(state_dir)?;
    let path = state_dir.join(FILE_NAME);
    let log_aside = set_log_aside(&path).map_err(|e| failed("set a damaged journal's log aside", e))?;
    let (first, aside) = match open_sound(&path) {
        Ok(connection) => (connection, None),
        Err(OpenFailure::Damaged) => {
            let aside = set_aside(&path).map_err(|e| failed("set a damaged journal aside", e))?;
            let connection = open_sound(&path).map_err(|failure| failure.into_error(state_dir))?;
            (connection, Some(aside))
        }
        Err(other) => return Err(other.into_error(state_dir)),
    };
    let connect = || -> rusqlite::Result<(Connection, Connection)> {
        settle(&first)?;
        // So that the file by itself, without the log beside it, has what there was at the start; on a full disk, later.
        let _ = first.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        // Durable when the call returns; what it leaves in the log is carried into the file by the writer.
        first.pragma_update(None, "synchronous", "FULL")?;
        first.pragma_update(None, "wal_autocheckpoint", 0)?;
        let batches = Connection::open(&path)?;
        settle(&batches)?;
        // Survives the end of the process, however sudden, without a sync for each transaction.
        batches.pragma_update(None, "synchronous", "NORMAL")?;
        let reads = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reads.busy_timeout(BUSY_WAIT)?;
        Ok((batches, reads))
    };
    let (batches, reads) = connect().map_err(|e| OpenFailure::from(e).into_error(state_dir))?;
    Ok(Opened { lock: Some(lock), acts: first, batches, reads, aside: aside.or(log_aside) })
}

/// Makes a journal that lives as long as its connection.
pub(super) fn open_in_memory(bytes_max: u64) -> Result<Connection, JournalError> {
    let make = || -> Result<Connection, OpenFailure> {
        let mut connection = Connection::open_in_memory()?;
        migrate(&mut connection)?;
        let page: u64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        connection.pragma_update(None, "max_page_count", bytes_max / page.max(1))?;
        Ok(connection)
    };
    make().map_err(|failure| failure.into_error(Path::new("")))
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn lock(state_dir: &Path) -> Result<File, JournalError> {
    let path = state_dir.join(LOCK_NAME);
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|e| failed("open the lock file", e))?;
    for _ in 0..LOCK_LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // Whoever let go of it may just be starting a program, which holds what is open until it runs.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_REST),
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
    }
    Err(OpenFailure::InUse.into_error(state_dir))
}

#[derive(Debug)]
enum OpenFailure {
    Damaged,
    InUse,
    Other(rusqlite::Error),
    TooNew(i64),
}

impl OpenFailure {
    fn into_error(self, state_dir: &Path) -> JournalError {
        match self {
            Self::Damaged => JournalError { what: "open", cause: "the file is damaged".into() },
            Self::InUse => {
                let cause = format!("state_dir {state_dir:?} is in use by another farmgate; give each its own");
                JournalError { what: "open", cause: cause.into() }
            }
            Self::Other(cause) => failed("open", cause),
            Self::TooNew(found) => {
                let cause = format!("layout {found} is newer than this build's {LAYOUT}; run the newer build");
                JournalError { what: "open", cause: cause.into() }
            }
        }
    }
}

impl From<rusqlite::Error> for OpenFailure {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::InUse,
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged,
            _ => Self::Other(error),
        }
    }
}

fn open_sound(path: &Path) -> Result<Connection, OpenFailure> {
    let mut connection = Connection::open(path)?;
    // Objects made through APIs may hold secrets. Companions get the file's mode. Who may open it may not own it.
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    connection.busy_timeout(BUSY_WAIT)?;
    // Should the file turn out damaged, closing it must leave its companions as they are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Before the file has a first page: it decides how free pages are given back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
    let layout = layout(&connection)?;
    if layout > LAYOUT {
        return Err(OpenFailure::TooNew(layout));
    }
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if !is_sound(&connection, bytes, layout)? {
        return Err(OpenFailure::Damaged);
    }
    migrate(&mut connection)?;
    let auto_vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if auto_vacuum != 2 {
        // A file of the first layout: small.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

fn is_sound(connection: &Connection, bytes: u64, layout: i64) -> Result<bool, OpenFailure> {
    let checks: &[&str] = if bytes <= CHECKED_WHOLE_BYTES_MAX || layout < LAYOUT {
        &["PRAGMA quick_check(1)"]
    } else {
        &[
            "PRAGMA quick_check(override)",
            "PRAGMA quick_check(health)",
            "PRAGMA quick_check(cursor)",
            "PRAGMA quick_check(object)",
            "PRAGMA quick_check(staged)",
        ]
    };
    for check in checks {
        let verdict: Option<String> = connection.query_row(check, [], |row| row.get(0)).optional()?;
        if verdict.as_deref() != Some("ok") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn layout(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> Result<(), OpenFailure> {
    let transaction = connection.transaction()?;
    let found = layout(&transaction)?;
    for (to, batch) in [(1, LAYOUT_1), (2, LAYOUT_2), (3, LAYOUT_3), (4, LAYOUT_4), (5, LAYOUT_5)] {
        if found < to {
            transaction.execute_batch(batch)?;
        }
    }
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    Ok(())
}

/// Moves a log that SQLite would silently take for none out of the way: one without its head, or without the file that it
/// belongs to. Returns where it is now.
fn set_log_aside(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let log = companion(path, "-wal");
    let mut head = [0; LOG_HEAD_BYTES];
    let is_log = match File::open(&log).map(|mut file| std::io::Read::read_exact(&mut file, &mut head)) {
        Ok(Ok(())) => head.starts_with(&LOG_MAGIC),
        // Nothing was written to it yet.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(Err(error)) | Err(error) => return Err(error),
    };
    let has_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if is_log && has_file {
        return Ok(None);
    }
    let aside = companion(&unused_name(path), "-wal");
    std::fs::rename(&log, &aside)?;
    // An index of the log, which SQLite makes anew.
    match std::fs::remove_file(companion(path, "-shm")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(Some(aside)),
    }
}

/// Moves the file and SQLite's companions out of the way, keeping what was set aside before. The companions keep the
/// names that SQLite looks for, and go first: left behind, they would be taken for the next file's.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = unused_name(path);
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(companion(path, suffix), companion(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn unused_name(path: &Path) -> PathBuf {
    let mut numbered = (1..=u32::MAX).map(|n| path.with_extension(format!("damaged-{n}")));
    let is_unused = |aside: &PathBuf| !aside.exists() && !companion(aside, "-wal").exists();
    numbered.find(is_unused).unwrap_or_else(|| path.with_extension("damaged"))
}

/// Returns the path of a file that SQLite keeps beside another.
pub(super) fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_file_is_checked_where_promises_rest_on_it() {
        let connection = open_in_memory(1 << 20).unwrap();
        for bytes in [0, CHECKED_WHOLE_BYTES_MAX + 1] {
            assert!(is_sound(&connection, bytes, LAYOUT).unwrap());
        }
        // Another table's pages are taken for those of the overrides.
        let broken = "PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'event')
                WHERE name = 'override';
            PRAGMA writable_schema = RESET;";
        connection.execute_batch(broken).unwrap();
        let verdict = is_sound(&connection, CHECKED_WHOLE_BYTES_MAX + 1, LAYOUT);
        assert!(matches!(verdict, Ok(false) | Err(OpenFailure::Damaged)), "{verdict:?}");
    }
}
