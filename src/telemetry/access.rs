//! The access log: one line a request, written by a thread of its own, never in the way of traffic.
//!
//! Workers format a line and offer it to a bounded queue; when the writer cannot keep up, lines are dropped and
//! counted rather than waited for. Lines are written when the queue is empty, or when there are many. What the disk
//! refuses is lost, counted, and said once each time that begins. The file is opened again when asked: whoever rotates
//! logs moves it away first.

mod line;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use crate::model::settings::{self, AccessField, AccessFormat};

pub use line::AccessLine;

/// Lines that may wait for the writer.
const LINES_WAITING_MAX: usize = 16 * 1024;
/// Bytes that are gathered before they are written, though more lines wait.
const PIECE_BYTES: usize = 64 * 1024;

/// The workers' side of the access log; cheap to clone.
#[derive(Clone)]
pub struct AccessLog(Arc<Ends>);

struct Ends {
    lines: SyncSender<String>,
    format: AccessFormat,
    fields: Box<[AccessField]>,
    counted: Arc<Counted>,
}

/// What the two sides share.
#[derive(Debug, Default)]
struct Counted {
    written: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    is_to_reopen: AtomicBool,
}

/// What an access log did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessCounters {
    /// Lines in the file.
    pub written: u64,
    /// Lines dropped because the disk was slower than the traffic.
    pub dropped: u64,
    /// Lines that the disk refused.
    pub refused: u64,
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog").field("counted", &self.0.counted).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the file for appending and starts the writer, which ends when the last clone is dropped.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn open(settings: &settings::AccessLog) -> io::Result<(Self, AccessWriter)> {
        let file = open(&settings.path)?;
        let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
        let counted: Arc<Counted> = Arc::default();
        let writer = Writer {
            path: settings.path.clone(),
            file: Box::new(file),
            counted: Arc::clone(&counted),
            told: 0,
            is_broken: false,
            is_torn: false,
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting))?;
        let fields = settings.fields.clone().into_boxed_slice();
        let ends = Arc::new(Ends { lines, format: settings.format, fields, counted: Arc::clone(&counted) });
        let writer = AccessWriter { thread, ends: Arc::downgrade(&ends), counted };
        Ok((Self(ends), writer))
    }

    /// Offers a line to the writer; drops and counts it when the queue is full.
    pub fn write(&self, line: &AccessLine<'_>) {
        let text = line.in_form(self.0.format, &self.0.fields);
        if self.0.lines.try_send(text).is_err() {
            self.0.counted.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The writer's thread, and the way to it that does not keep it.
#[derive(Debug)]
pub struct AccessWriter {
    thread: JoinHandle<()>,
    ends: Weak<Ends>,
    counted: Arc<Counted>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

/// Has the file opened again, and tells what was counted; may outlive the writer.
#[derive(Clone, Debug)]
pub struct AccessHandle {
    ends: Weak<Ends>,
    counted: Arc<Counted>,
}

impl AccessWriter {
    /// Returns what has the file opened again.
    #[must_use]
    pub fn handle(&self) -> AccessHandle {
        AccessHandle { ends: Weak::clone(&self.ends), counted: Arc::clone(&self.counted) }
    }

    /// Waits until every line is written. Returns only once the last [`AccessLog`] is gone.
    pub fn join(self) {
        // A panic in the writer was reported by its thread.
        let _ = self.thread.join();
    }
}

impl AccessHandle {
    /// Has the file opened again under its name, soon; what was offered before goes to the old one, or to the new one.
    pub fn reopen(&self) {
        self.counted.is_to_reopen.store(true, Relaxed);
        if let Some(ends) = self.ends.upgrade() {
            // Wakes a writer that waits; one that has much to write looks by itself.
            let _ = ends.lines.try_send(String::new());
        }
    }

    /// Returns what it did so far.
    #[must_use]
    pub fn counters(&self) -> AccessCounters {
        let Counted { written, dropped, refused, .. } = &*self.counted;
        let read = |cell: &AtomicU64| cell.load(Relaxed);
        AccessCounters { written: read(written), dropped: read(dropped), refused: read(refused) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

struct Writer {
    path: PathBuf,
    file: Box<dyn Write + Send>,
    counted: Arc<Counted>,
    /// Lines whose dropping was said.
    told: u64,
    /// The last piece was refused.
    is_broken: bool,
    /// What is in the file may end within a line.
    is_torn: bool,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<String>) {
        let mut piece = String::with_capacity(PIECE_BYTES);
        while let Ok(line) = waiting.recv() {
            let mut lines = 0_u64;
            let mut next = Some(line);
            while let Some(line) = next {
                lines += u64::from(!line.is_empty());
                piece.push_str(&line);
                next = if piece.len() < PIECE_BYTES { waiting.try_recv().ok() } else { None };
            }
            self.write(&piece, lines);
            piece.clear();
            self.tell_of_dropped();
            if self.counted.is_to_reopen.swap(false, Relaxed) {
                self.reopen();
            }
        }
    }

    fn write(&mut self, piece: &str, lines: u64) {
        if piece.is_empty() {
            return;
        }
        let ended = if self.is_torn { self.file.write_all(b"\n") } else { Ok(()) };
        match ended.and_then(|()| self.file.write_all(piece.as_bytes())) {
            Ok(()) => {
                self.counted.written.fetch_add(lines, Relaxed);
                if std::mem::take(&mut self.is_broken) {
                    let refused = self.counted.refused.load(Relaxed);
                    tracing::info!(refused, "access log can be written again");
                }
                self.is_torn = false;
            }
            Err(error) => {
                self.counted.refused.fetch_add(lines, Relaxed);
                self.is_torn = true;
                // Said once each time it begins, not once a line: a full disk must not fill the process log as well.
                if !std::mem::replace(&mut self.is_broken, true) {
                    let path = self.path.display();
                    tracing::warn!(%error, %path, "access log cannot be written; its lines are lost and counted");
                }
            }
        }
    }

    fn tell_of_dropped(&mut self) {
        let now = self.counted.dropped.load(Relaxed);
        if now != self.told {
            let lines = now - std::mem::replace(&mut self.told, now);
            tracing::warn!(lines, "access log lines dropped: the disk is slower than the traffic");
        }
    }

    fn reopen(&mut self) {
        let path = self.path.display();
        match open(&self.path) {
            Ok(file) => {
                tracing::info!(%path, "access log opened again");
                self.file = Box::new(file);
                self.is_torn = false;
            }
            Err(error) => {
                tracing::error!(%error, %path, "access log cannot be opened again; lines go where they went before");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn declared(path: &Path) -> settings::AccessLog {
        settings::AccessLog { path: path.to_owned(), format: AccessFormat::Json, fields: AccessField::usual() }
    }

    #[test]
    fn lines_reach_the_file_before_the_writer_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let (log, writer) = AccessLog::open(&declared(&path)).unwrap();
        let handle = writer.handle();
        for _ in 0..1000 {
            log.write(&AccessLine::new(&"id-1"));
        }
        drop(log);
        writer.join();
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("id-1").count(), 1000);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
        assert_eq!(handle.counters(), AccessCounters { written: 1000, dropped: 0, refused: 0 });
    }

    #[test]
    fn file_moved_away_is_followed_by_a_new_one_when_asked_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let (log, writer) = AccessLog::open(&declared(&path)).unwrap();
        let handle = writer.handle();
        let write = |id: &str, total: u64| {
            log.write(&AccessLine::new(&id));
            while handle.counters().written < total {
                std::thread::yield_now();
            }
        };
        write("first", 1);
        std::fs::rename(&path, &moved).unwrap();
        write("second", 2);
        assert!(!path.exists());
        handle.reopen();
        while !path.exists() {
            std::thread::yield_now();
        }
        write("third", 3);
        drop(log);
        writer.join();
        let (old, new) = (std::fs::read_to_string(&moved).unwrap(), std::fs::read_to_string(&path).unwrap());
        assert!(old.contains("first") && old.contains("second") && !old.contains("third"));
        assert!(new.contains("third") && !new.contains("second"));
    }

    /// Refuses every write but those that it is let, each after the first byte.
    struct Disk {
        is_full: Arc<AtomicBool>,
        holds: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut holds = self.holds.lock().unwrap();
            if self.is_full.load(Relaxed) {
                holds.push(bytes[0]);
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            holds.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted_and_the_next_one_is_whole() {
        let (is_full, holds): (Arc<AtomicBool>, Arc<Mutex<Vec<u8>>>) = Default::default();
        let disk = Disk { is_full: Arc::clone(&is_full), holds: Arc::clone(&holds) };
        let counted: Arc<Counted> = Arc::default();
        let mut writer = Writer {
            path: "/var/log/access.log".into(),
            file: Box::new(disk),
            counted: Arc::clone(&counted),
            told: 0,
            is_broken: false,
            is_torn: false,
        };
        writer.write("a\n", 1);
        is_full.store(true, Relaxed);
        writer.write("b\nc\n", 2);
        assert!(writer.is_broken);
        is_full.store(false, Relaxed);
        writer.write("d\n", 1);
        assert!(!writer.is_broken);
        assert_eq!((counted.written.load(Relaxed), counted.refused.load(Relaxed)), (2, 2));
        assert_eq!(String::from_utf8_lossy(&holds.lock().unwrap()), "a\nb\nd\n");
    }

    #[test]
    fn queue_that_is_full_drops_and_counts() {
        let (lines, _waiting) = sync_channel(1);
        let counted: Arc<Counted> = Arc::default();
        let fields = Box::default();
        let log =
            AccessLog(Arc::new(Ends { lines, format: AccessFormat::Json, fields, counted: Arc::clone(&counted) }));
        for _ in 0..3 {
            log.write(&AccessLine::new(&"id-1"));
        }
        assert_eq!(counted.dropped.load(Relaxed), 2);
    }
}
