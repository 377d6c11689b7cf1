//! A conversation in turns: sends, reads until a parser has what it wants, and knows what it was waiting for.
//!
//! Knows no protocol. What has arrived and was not taken by a parser is at most [`BODY_BYTES_LOOKED_AT`] bytes. A
//! write that fails is no verdict, since the server may have answered before it closed: it is told where the answer is
//! missing. What could not be had is a [`Finding`] that says what was awaited and what was there instead.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::{CheckStatus, Content};

use super::super::check::{Deadline, Finding};
use super::super::failure::errno_text;
use super::hide;

/// Room made for one read.
const READ_BYTES: usize = 4096;

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<T> {
    /// The beginning of it.
    Incomplete,
    /// It, in that many bytes.
    Is(T, usize),
    /// Something else, and why.
    Not(&'static str),
}

/// One side of a conversation.
pub(super) struct Talk<'a, S> {
    stream: &'a mut S,
    /// What has arrived and was not taken.
    pending: Vec<u8>,
    /// Whether anything was taken.
    has_taken: bool,
    awaited: &'static str,
    farewell: Vec<u8>,
    unsent: Option<io::Error>,
    /// What is not shown where the server says it back; empty for nothing.
    secret: &'a str,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin + Send> Talk<'a, S> {
    pub(super) fn new(stream: &'a mut S) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            has_taken: false,
            awaited: "answer",
            farewell: Vec::new(),
            unsent: None,
            secret: "",
        }
    }

    /// Sets what must not be shown.
    pub(super) fn keep_secret(&mut self, secret: &'a str) {
        self.secret = secret;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        if let Err(error) = sent.await {
            self.unsent.get_or_insert(error);
        }
    }

    /// Reads until `parse` has what is awaited, and takes it; what follows is left for the next.
    pub(super) async fn next<T>(
        &mut self,
        awaited: &'static str,
        parse: impl Fn(&[u8]) -> Parsed<T>,
    ) -> Result<T, Finding> {
        self.awaited = awaited;
        loop {
            match parse(&self.pending) {
                Parsed::Incomplete => {}
                Parsed::Is(value, bytes) => {
                    self.take(bytes);
                    return Ok(value);
                }
                Parsed::Not(why) => return Err(self.failed(&format!("{awaited} is {why}"))),
            }
            if self.pending.len() >= BODY_BYTES_LOOKED_AT {
                let words = format!("{awaited} does not end within {BODY_BYTES_LOOKED_AT} bytes");
                return Err(self.failed(&words));
            }
            match self.read().await {
                Ok(0) => {
                    let why = self.unsent.as_ref().map_or_else(|| "connection closed".to_owned(), errno_text);
                    return Err(self.failed(&format!("{why} before the {awaited}")));
                }
                Ok(_) => {}
                Err(error) => return Err(self.failed(&format!("{} before the {awaited}", errno_text(&error)))),
            }
        }
    }

    /// Reads once, as much as there is room for; 0 is the end, or no room.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        let room = BODY_BYTES_LOOKED_AT.saturating_sub(self.pending.len());
        self.pending.reserve(room.min(READ_BYTES));
        (&mut *self.stream).take(room as u64).read_buf(&mut self.pending).await
    }

    /// Returns what has arrived and was not taken.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Leaves the first bytes behind.
    pub(super) fn take(&mut self, bytes: usize) {
        self.pending.drain(..bytes.min(self.pending.len()));
        self.has_taken |= bytes > 0;
    }

    /// Returns why what was sent did not go out, if it did not.
    pub(super) fn unsent(&self) -> Option<&io::Error> {
        self.unsent.as_ref()
    }

    /// Sets what is said last, after the verdict.
    pub(super) fn part_with(&mut self, farewell: &[u8]) {
        self.farewell = farewell.to_vec();
    }

    /// Says what is said last, if the deadline allows; an answer to it is not waited for.
    pub(super) async fn bid_farewell(&mut self, deadline: Deadline) {
        let farewell = std::mem::take(&mut self.farewell);
        if !farewell.is_empty() {
            // The verdict stands, whatever becomes of this.
            timeout_at(deadline.at, self.send(&farewell)).await.ok();
        }
    }

    pub(super) fn timed_out(&self, deadline: Deadline) -> Finding {
        let words = format!("no {} within {:?}, {}", self.awaited, deadline.after, self.seen());
        Finding::new(CheckStatus::L7Tout, None, &words)
    }

    /// Returns what is there, in words.
    pub(super) fn seen(&self) -> String {
        match (self.pending.is_empty(), self.has_taken) {
            (true, false) => "nothing received".to_owned(),
            (true, true) => "nothing further received".to_owned(),
            (false, _) => {
                let shown = hide(self.secret.as_bytes(), &self.pending);
                format!("received: {}", Content::from_bytes(&shown).as_str())
            }
        }
    }

    fn failed(&self, words: &str) -> Finding {
        Finding::new(CheckStatus::L7Rsp, None, &format!("{words}, {}", self.seen()))
    }
}

/// The line that these bytes begin with, without its end.
pub(super) fn line(bytes: &[u8]) -> Parsed<Vec<u8>> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => Parsed::Is(bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]).to_vec(), at + 1),
        None => Parsed::Incomplete,
    }
}
