//! What outlives the process, in one SQLite file in `state_dir`. Implements the Store's `Journal`.
//!
//! Overrides are written before the answer that promises them, with `synchronous=FULL`: a `kill -9` or a power cut
//! loses none. A file that cannot be read is set aside under another name and said so; the balancer starts without it.
//! The file is locked from opening to the process's end: two processes would overwrite one another's overrides.
//! Blocking; called by admin writes and reloads only, never by traffic.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::{
    Act, AdminStatus, FarmId, Field, Override, SavedHealth, ServerId, ServerKey, Terms, Timestamp, Weight, Wish,
};
use crate::store::{Entry, Journal, JournalError, SavedOverride};

/// The file's name in `state_dir`.
pub const FILE_NAME: &str = "farmgate.sqlite";
/// The layout this build writes; kept in `PRAGMA user_version`.
const LAYOUT: i64 = 1;
/// How long opening waits for the file of another process, which keeps it for as long as it lives.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// See the module's doc.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Mutex<Connection>,
}

impl SqliteJournal {
    /// Opens or makes the journal in `state_dir`, which is made too. Returns the path that a damaged file was moved
    /// to, if there was one.
    ///
    /// # Errors
    /// [`JournalError`] if the directory cannot be made, the file not opened, is another process's, or was written by a
    /// newer build.
    pub fn open(state_dir: &Path) -> Result<(Self, Option<PathBuf>), JournalError> {
        std::fs::create_dir_all(state_dir).map_err(|e| failed("make state_dir", e))?;
        let path = state_dir.join(FILE_NAME);
        match open_sound(&path) {
            Ok(connection) => Ok((Self { connection: Mutex::new(connection) }, None)),
            Err(OpenFailure::Damaged) => {
                let aside = set_aside(&path).map_err(|e| failed("set a damaged journal aside", e))?;
                let connection = open_sound(&path).map_err(|failure| failure.into_error(state_dir))?;
                Ok((Self { connection: Mutex::new(connection) }, Some(aside)))
            }
            Err(other) => Err(other.into_error(state_dir)),
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(what: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> JournalError {
    JournalError { what, cause: Box::new(cause) }
}

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
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_WAIT)?;
    // Should the file turn out damaged, closing it must leave its companions as they are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // The first access; it takes the lock that only closing gives back.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let verdict: Option<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
    if verdict.as_deref() != Some("ok") {
        return Err(OpenFailure::Damaged);
    }
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout > LAYOUT {
        return Err(OpenFailure::TooNew(layout));
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS override (
            farm INTEGER NOT NULL, server INTEGER NOT NULL, field TEXT NOT NULL,
            value TEXT NOT NULL, declared TEXT NOT NULL,
            actor TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, at_us INTEGER NOT NULL,
            PRIMARY KEY (farm, server, field)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;",
    )?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Moves the file and SQLite's companions out of the way, keeping what was set aside before. The companions keep the
/// names that SQLite looks for, and go first: left behind, they would be taken for the next file's.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let numbered = (1..=u32::MAX).map(|n| path.with_extension(format!("damaged-{n}")));
    let aside = numbered.into_iter().find(|aside| !aside.exists()).unwrap_or_else(|| path.with_extension("damaged"));
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(companion(path, suffix), companion(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite keeps signed 64-bit numbers; ids have 40 bits and times 51, so both fit.
fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn wish(field: &str, value: &str) -> Option<Wish> {
    match field {
        "status" => AdminStatus::parse(value).map(Wish::Admin),
        "weight" => value.parse().ok().and_then(Weight::new).map(Wish::Weight),
        _ => None,
    }
}

impl Journal for SqliteJournal {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        Ok(Vec::new())
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn note(&self, _entry: Entry) {}

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        let connection = self.connection();
        let read = || -> rusqlite::Result<Vec<Option<SavedOverride>>> {
            let mut statement = connection
                .prepare("SELECT farm, server, field, value, declared, actor, source, reason, at_us FROM override")?;
            let rows = statement.query_map([], |row| {
                let id = |n| row.get::<_, i64>(n).map(i64::cast_unsigned);
                let text = |n| row.get::<_, String>(n);
                let field = text(2)?;
                let act = Act {
                    actor: text(5)?.into(),
                    source: text(6)?.into(),
                    reason: row.get::<_, Option<String>>(7)?.map(Into::into),
                    at: Timestamp(id(8)?),
                };
                let server = ServerKey { farm: FarmId(id(0)?), server: ServerId(id(1)?) };
                let values = wish(&field, &text(3)?).zip(wish(&field, &text(4)?));
                Ok(values.map(|(wish, declared)| SavedOverride {
                    server,
                    made: Override { wish, declared, terms: Terms::default(), act },
                }))
            })?;
            rows.collect()
        };
        // A row of a field or value that this build does not know is left alone.
        Ok(read().map_err(|e| failed("read overrides", e))?.into_iter().flatten().collect())
    }

    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError> {
        let Override { wish, declared, act, .. } = &saved.made;
        self.connection()
            .execute(
                "INSERT OR REPLACE INTO override
                    (farm, server, field, value, declared, actor, source, reason, at_us)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    number(saved.server.farm.0),
                    number(saved.server.server.0),
                    wish.field().as_str(),
                    wish.to_string(),
                    declared.to_string(),
                    &*act.actor,
                    &*act.source,
                    act.reason.as_deref(),
                    number(act.at.0),
                ],
            )
            .map_err(|e| failed("keep an override", e))?;
        Ok(())
    }

    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        if fields.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection();
        let mut forget = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for (server, field) in fields {
                transaction.execute(
                    "DELETE FROM override WHERE farm = ?1 AND server = ?2 AND field = ?3",
                    params![number(server.farm.0), number(server.server.0), field.as_str()],
                )?;
            }
            transaction.commit()
        };
        forget().map_err(|e| failed("forget overrides", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(server: u64, wish: Wish, declared: Wish) -> SavedOverride {
        let act =
            Act { actor: "ops".into(), source: "127.0.0.1".into(), reason: Some("disk".into()), at: Timestamp(5) };
        let server = ServerKey { farm: FarmId(1), server: ServerId(server) };
        SavedOverride { server, made: Override { wish, declared, terms: Terms::default(), act } }
    }

    fn drain(server: u64) -> SavedOverride {
        saved(server, Wish::Admin(AdminStatus::Drain), Wish::Admin(AdminStatus::Active))
    }

    #[test]
    fn overrides_are_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, aside) = SqliteJournal::open(&dir.path().join("made")).unwrap();
        assert_eq!(aside, None);
        let weight = saved(2, Wish::Weight(Weight(7)), Wish::Weight(Weight(5)));
        journal.put_override(&drain(1)).unwrap();
        journal.put_override(&saved(2, Wish::Weight(Weight(6)), Wish::Weight(Weight(5)))).unwrap();
        journal.put_override(&weight).unwrap();
        drop(journal);
        let (journal, _) = SqliteJournal::open(&dir.path().join("made")).unwrap();
        assert_eq!(journal.overrides().unwrap(), [drain(1), weight]);
        let gone = [(drain(1).server, Field::Admin), (drain(9).server, Field::Weight)];
        journal.drop_overrides(&gone).unwrap();
        assert_eq!(journal.overrides().unwrap().len(), 1);
    }

    #[test]
    fn damaged_file_is_set_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for n in 1..=2 {
            std::fs::write(&path, vec![b'x'; 8192]).unwrap();
            let (journal, aside) = SqliteJournal::open(dir.path()).unwrap();
            let aside = aside.unwrap();
            assert!(aside.ends_with(format!("farmgate.damaged-{n}")), "{aside:?}");
            assert_eq!(std::fs::read(&aside).unwrap(), vec![b'x'; 8192]);
            journal.put_override(&drain(1)).unwrap();
            assert_eq!(journal.overrides().unwrap(), [drain(1)]);
            drop(journal);
        }
    }

    #[test]
    fn companions_of_a_damaged_file_are_kept_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = SqliteJournal::open(dir.path()).unwrap();
        journal.put_override(&drain(1)).unwrap();
        // What a power cut leaves: the override is in the log only.
        let path = dir.path().join(FILE_NAME);
        let log = std::fs::read(companion(&path, "-wal")).unwrap();
        drop(journal);
        assert!(log.len() > 4096, "{}", log.len());
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        std::fs::write(companion(&path, "-wal"), &log[..log.len() / 2]).unwrap();
        std::fs::write(companion(&path, "-shm"), b"shared").unwrap();
        let (_journal, aside) = SqliteJournal::open(dir.path()).unwrap();
        let aside = aside.unwrap();
        assert_eq!(std::fs::read(&aside).unwrap(), vec![b'x'; 8192]);
        assert_eq!(std::fs::read(companion(&aside, "-wal")).unwrap(), &log[..log.len() / 2]);
        assert_eq!(std::fs::read(companion(&aside, "-shm")).unwrap(), b"shared");
    }

    #[test]
    fn state_dir_of_another_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = SqliteJournal::open(dir.path()).unwrap();
        let refused = SqliteJournal::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("state_dir {:?} is in use by another farmgate", dir.path())), "{refused}");
        first.put_override(&drain(1)).unwrap();
        drop(first);
        let (second, aside) = SqliteJournal::open(dir.path()).unwrap();
        assert_eq!((second.overrides().unwrap(), aside), (vec![drain(1)], None));
    }

    #[test]
    fn file_of_a_newer_build_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteJournal::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let refused = SqliteJournal::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("layout 99 is newer"), "{refused}");
    }

    #[test]
    fn unwritable_state_dir_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = SqliteJournal::open(&file.join("sub")).unwrap_err().to_string();
        assert!(refused.starts_with("journal: make state_dir: "), "{refused}");
    }
}
