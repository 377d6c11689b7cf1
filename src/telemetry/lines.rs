//! The process log's way to standard error: through a bounded queue and a thread of its own.
//!
//! Whoever reads standard error may stop reading: a pager, a container's runtime, a full disk behind a pipe. A thread
//! that logs must not stop for that, least of all the one that checks servers. So lines are offered, and beyond
//! [`LINES_WAITING_MAX`] dropped, which is counted and said once there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that may wait for the writer.
const LINES_WAITING_MAX: usize = 16 * 1024;
/// How long the end of the process waits for what waits, in steps of one look.
const END_WAIT: Duration = Duration::from_secs(2);
const END_LOOK: Duration = Duration::from_millis(2);

/// Takes lines; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    waiting: SyncSender<Vec<u8>>,
    counted: Arc<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    taken: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// Waits, when dropped, until what was logged is written, two seconds at the most.
#[derive(Debug)]
pub struct LogGuard(Arc<Counted>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let taken = self.0.taken.load(Ordering::Acquire);
        let looks = END_WAIT.as_micros() / END_LOOK.as_micros().max(1);
        for _ in 0..looks {
            if self.0.written.load(Ordering::Acquire) >= taken {
                return;
            }
            std::thread::sleep(END_LOOK);
        }
    }
}

/// Starts the thread that writes to `out`.
pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Lines, LogGuard)> {
    let (waiting, lines) = sync_channel(LINES_WAITING_MAX);
    let counted: Arc<Counted> = Arc::default();
    let (taken, ended) = (Arc::clone(&counted), Arc::clone(&counted));
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(out, &lines, &counted))?;
    Ok((Lines { waiting, counted: taken }, LogGuard(ended)))
}

/// One call is one line: so the lines are handed in.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Counted first, lest it be written before it is counted.
        self.counted.taken.fetch_add(1, Ordering::AcqRel);
        if self.waiting.try_send(line.to_vec()).is_err() {
            self.counted.written.fetch_add(1, Ordering::AcqRel);
            self.counted.dropped.fetch_add(1, Ordering::AcqRel);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(mut out: impl Write, lines: &Receiver<Vec<u8>>, counted: &Counted) {
    while let Ok(line) = lines.recv() {
        // Where the log itself cannot be written there is nowhere to say so.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        counted.written.fetch_add(1, Ordering::AcqRel);
        let dropped = counted.dropped.swap(0, Ordering::AcqRel);
        if dropped > 0 {
            tracing::warn!(lines = dropped, "log lines dropped: nobody read standard error");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A place to write to that blocks while its lock is held elsewhere.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_taken_while_nobody_reads_and_written_once_somebody_does() {
        let reader = Reader::default();
        let (mut lines, guard) = start(reader.clone()).unwrap();
        let counted = Arc::clone(&lines.counted);
        let stops_reading = reader.0.lock().unwrap();
        for n in 0..LINES_WAITING_MAX + 10 {
            lines.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        let dropped = counted.dropped.load(Ordering::Relaxed);
        assert!((9..=10).contains(&dropped), "{dropped}: one may be with the writer");
        drop(stops_reading);
        drop(guard);
        let text = String::from_utf8(reader.0.lock().unwrap().clone()).unwrap();
        let want: String = (0..LINES_WAITING_MAX as u64 + 10 - dropped).map(|n| format!("{n}\n")).collect();
        assert_eq!(text, want);
    }

    #[test]
    fn end_of_the_process_does_not_wait_for_ever() {
        let reader = Reader::default();
        let (mut lines, guard) = start(reader.clone()).unwrap();
        let stops_reading = reader.0.lock().unwrap();
        lines.write_all(b"a line\n").unwrap();
        drop(guard);
        drop(stops_reading);
    }
}
