//! The access log: one line a request, written by a thread of its own, never in the way of traffic.
//!
//! Workers format a line and offer it to a bounded queue; when the writer cannot keep up, lines are dropped and
//! counted rather than waited for. Lines are flushed when the queue is empty.

use std::fmt::{Display, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::model::Timestamp;
use crate::model::settings::LogFormat;

/// Lines that may wait for the writer.
const LINES_WAITING_MAX: usize = 16 * 1024;

/// One request, as logged.
#[derive(Clone, Copy)]
pub struct AccessLine<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// Its id.
    pub request_id: &'a dyn Display,
    /// Who sent it.
    pub client: SocketAddr,
    /// Where it came in.
    pub frontend: &'a str,
    /// The farm that it was given to, and the server that answered last.
    pub server: Option<(&'a str, &'a str)>,
    /// Method; empty if no head was read.
    pub method: &'a str,
    /// Request target as received.
    pub target: &'a [u8],
    /// Host as received.
    pub host: &'a [u8],
    /// Status sent; 0 if none.
    pub status: u16,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// From the head's arrival to the end.
    pub duration: Duration,
    /// Other servers tried.
    pub retries: u32,
    /// Why Farmgate itself ended it, if it did.
    pub reason: Option<&'a str>,
}

impl<'a> AccessLine<'a> {
    /// Returns a line about nothing yet but its id.
    #[must_use]
    pub fn new(request_id: &'a dyn Display) -> Self {
        Self {
            at: crate::clock::wall(),
            request_id,
            client: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            frontend: "",
            server: None,
            method: "",
            target: b"",
            host: b"",
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            retries: 0,
            reason: None,
        }
    }

    fn json(&self) -> String {
        let mut line = format!(
            "{{\"at\":\"{}\",\"request_id\":\"{}\",\"client\":\"{}\",\"frontend\":\"{}\"",
            self.at, self.request_id, self.client, self.frontend
        );
        if let Some((farm, server)) = self.server {
            push_text(&mut line, "farm", farm.as_bytes());
            push_text(&mut line, "server", server.as_bytes());
        }
        push_text(&mut line, "method", self.method.as_bytes());
        push_text(&mut line, "target", self.target);
        push_text(&mut line, "host", self.host);
        let _ = write!(
            line,
            ",\"status\":{},\"bytes_in\":{},\"bytes_out\":{},\"duration_us\":{},\"retries\":{}",
            self.status,
            self.bytes_in,
            self.bytes_out,
            self.duration.as_micros(),
            self.retries
        );
        if let Some(reason) = self.reason {
            push_text(&mut line, "reason", reason.as_bytes());
        }
        line.push_str("}\n");
        line
    }

    fn text(&self) -> String {
        let (farm, server) = self.server.unwrap_or(("-", "-"));
        let target = String::from_utf8_lossy(self.target);
        let method = if self.method.is_empty() { "-" } else { self.method };
        format!(
            "{} - - [{}] \"{method} {} HTTP\" {} {} \"{}\" {farm}/{server} {}us id={}\n",
            self.client.ip(),
            self.at,
            target.escape_default(),
            self.status,
            self.bytes_out,
            self.reason.unwrap_or("-"),
            self.duration.as_micros(),
            self.request_id,
        )
    }
}

/// Appends `,"key":"text"` with `text` escaped as JSON asks; bytes that are no UTF-8 are replaced.
fn push_text(line: &mut String, key: &str, text: &[u8]) {
    let _ = write!(line, ",\"{key}\":\"");
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// The workers' side of the access log; cheap to clone.
#[derive(Clone)]
pub struct AccessLog {
    lines: SyncSender<String>,
    format: LogFormat,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the file for appending and starts the writer, which ends when the last clone is dropped.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread not started.
    pub fn open(path: &Path, format: LogFormat) -> std::io::Result<(Self, AccessWriter)> {
        let file = File::options().create(true).append(true).open(path)?;
        let (sender, receiver) = sync_channel(LINES_WAITING_MAX);
        let dropped: Arc<AtomicU64> = Arc::default();
        let seen = Arc::clone(&dropped);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || write_lines(file, &receiver, &seen))?;
        Ok((Self { lines: sender, format, dropped }, AccessWriter(thread)))
    }

    /// Offers a line to the writer; drops and counts it when the queue is full.
    pub fn write(&self, line: &AccessLine<'_>) {
        let text = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Text => line.text(),
        };
        if self.lines.try_send(text).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Returns how many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// The writer's thread.
#[derive(Debug)]
pub struct AccessWriter(JoinHandle<()>);

impl AccessWriter {
    /// Waits until every line is written. Returns only once the last [`AccessLog`] is gone.
    pub fn join(self) {
        // A panic in the writer was reported by its thread.
        let _ = self.0.join();
    }
}

fn write_lines(file: File, lines: &Receiver<String>, dropped: &AtomicU64) {
    let mut out = BufWriter::new(file);
    let mut told = 0;
    let mut is_broken = false;
    while let Ok(line) = lines.recv() {
        let mut written = out.write_all(line.as_bytes());
        while let Ok(line) = lines.try_recv() {
            written = written.and_then(|()| out.write_all(line.as_bytes()));
        }
        let written = written.and_then(|()| out.flush());
        let now = dropped.load(Relaxed);
        if now != told {
            tracing::warn!(lines = now - told, "access log lines dropped: the disk is slower than the traffic");
            told = now;
        }
        // Said once each time it begins, not once a line: a full disk must not fill the process log as well.
        match written {
            Err(error) if !is_broken => {
                tracing::warn!(%error, "access log cannot be written");
                is_broken = true;
            }
            Err(_) => {}
            Ok(()) => is_broken = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_line_is_json_whatever_the_client_sent() {
        let line = AccessLine { target: b"/a\"\\\n\xff", reason: Some("x"), ..AccessLine::new(&"id-1") };
        let value: serde_json::Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(value["target"], "/a\"\\\n\u{fffd}");
        assert_eq!(value["request_id"], "id-1");
    }

    #[test]
    fn text_line_cannot_be_broken_by_the_client() {
        let line = AccessLine { target: b"/a\" 200\n", ..AccessLine::new(&"id-1") };
        assert_eq!(line.text().matches('\n').count(), 1);
        assert!(line.text().contains("/a\\\" 200\\n"));
    }

    #[test]
    fn lines_reach_the_file_before_the_writer_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let (log, writer) = AccessLog::open(&path, LogFormat::Json).unwrap();
        for _ in 0..1000 {
            log.write(&AccessLine::new(&"id-1"));
        }
        drop(log);
        writer.join();
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("id-1").count(), 1000);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
    }
}
