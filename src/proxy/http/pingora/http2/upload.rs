//! The body of a request on its way to a server over HTTP/2: one piece at a time, as far as the server's windows allow.

use std::future::poll_fn;
use std::time::Instant;

use bytes::Bytes;
use h2::SendStream;

use crate::clock;

/// See the module's doc.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    /// What the server has not taken yet.
    rest: Bytes,
    /// Since when it takes none of that; nothing while there is nothing to take.
    waits_since: Option<Instant>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// More may come.
    Open,
    /// What is left is the last of it.
    Last,
    /// The server was told the end of it.
    Ended,
    /// The server wants no more of it; its answer says why, or its error.
    Refused,
}

impl Upload {
    /// Begins a body; `is_whole`: there is none.
    pub(super) fn new(stream: SendStream<Bytes>, is_whole: bool) -> Self {
        let stage = if is_whole { Stage::Ended } else { Stage::Open };
        Self { stream, rest: Bytes::new(), waits_since: None, stage }
    }

    /// Returns whether nothing more of it is sent.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended | Stage::Refused)
    }

    /// Returns since when the server has not taken what is there.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since
    }

    /// Takes the next piece, once the one before was taken.
    pub(super) fn put(&mut self, piece: Bytes, is_last: bool) {
        if self.is_over() {
            return;
        }
        self.rest = piece;
        if is_last {
            self.stage = Stage::Last;
        }
        if self.rest.is_empty() {
            return self.end_if_last();
        }
        self.waits_since = Some(clock::monotonic());
        self.stream.reserve_capacity(self.rest.len());
    }

    /// Ready once the server took some of what waits for it; not to be called while nothing does.
    pub(super) async fn push(&mut self) {
        let capacity = poll_fn(|cx| self.stream.poll_capacity(cx)).await;
        let Some(Ok(capacity)) = capacity else { return self.refused() };
        let now = self.rest.split_to(capacity.min(self.rest.len()));
        let is_end = self.rest.is_empty() && self.stage == Stage::Last;
        if self.stream.send_data(now, is_end).is_err() {
            return self.refused();
        }
        if self.rest.is_empty() {
            self.waits_since = None;
            if is_end {
                self.stage = Stage::Ended;
            }
        } else {
            self.waits_since = Some(clock::monotonic());
        }
    }

    fn end_if_last(&mut self) {
        if self.stage != Stage::Last {
            return;
        }
        match self.stream.send_data(Bytes::new(), true) {
            Ok(()) => self.stage = Stage::Ended,
            Err(_) => self.refused(),
        }
    }

    fn refused(&mut self) {
        self.stage = Stage::Refused;
        self.rest = Bytes::new();
        self.waits_since = None;
    }
}
