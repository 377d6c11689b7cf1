//! One run of a probe and what it found, in HAProxy's vocabulary.

use std::time::Duration;

use super::id::{Epoch, ServerKey};
use super::time::Timestamp;

/// Bytes of evidence that a check record keeps of a reply.
pub const CONTENT_BYTES_MAX: usize = 256;

/// How a check ended; the names are HAProxy's `check_status` (src/check.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// Connection refused, reset or unreachable.
    L4Con,
    /// Connected; that was all that was asked.
    L4Ok,
    /// No connection within the deadline.
    L4Tout,
    /// Reply passed.
    L7Ok,
    /// Reply cannot be understood, or its content does not match.
    L7Rsp,
    /// Reply has a status outside the expected set.
    L7Sts,
    /// Connected, and no whole reply within the deadline.
    L7Tout,
    /// A failure of our own socket: recorded, and never counted for or against the server.
    SockErr,
}

impl CheckStatus {
    /// Returns HAProxy's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L4Con => "L4CON",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L7Ok => "L7OK",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
            Self::L7Tout => "L7TOUT",
            Self::SockErr => "SOCKERR",
        }
    }

    /// Every status, in alphabetical order of its word.
    pub const ALL: [Self; 8] =
        [Self::L4Con, Self::L4Ok, Self::L4Tout, Self::L7Ok, Self::L7Rsp, Self::L7Sts, Self::L7Tout, Self::SockErr];

    /// Returns whether such a check tells of us rather than of the server.
    #[must_use]
    pub fn is_ours(self) -> bool {
        self == Self::SockErr
    }

    /// Returns whether such a check passed.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::L4Ok | Self::L7Ok => Verdict::Passed,
            Self::L4Con | Self::L4Tout | Self::L7Rsp | Self::L7Sts | Self::L7Tout | Self::SockErr => Verdict::Failed,
        }
    }
}

/// Pass or fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The server did not do what the probe expects.
    Failed,
    /// It did.
    Passed,
}

/// What the server sent, or the error in words: at most [`CONTENT_BYTES_MAX`] bytes, control bytes escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content(Box<str>);

impl Content {
    /// Returns the printable form of the first bytes of `raw`: UTF-8 kept, everything else as `\xNN`, line ends as
    /// `\r` and `\n`.
    #[must_use]
    pub fn from_bytes(raw: &[u8]) -> Self {
        let mut text = String::new();
        for chunk in raw[..raw.len().min(CONTENT_BYTES_MAX)].utf8_chunks() {
            for c in chunk.valid().chars() {
                push_printable(&mut text, c);
            }
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self(bounded(text))
    }

    /// Returns `text` as content.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// Returns the printable text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn push_printable(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => text.push(c),
    }
}

/// Cuts at a character boundary so that escapes do not carry the text past the bound.
fn bounded(mut text: String) -> Box<str> {
    if text.len() > CONTENT_BYTES_MAX {
        let mut end = CONTENT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text.into_boxed_str()
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRecord {
    /// How it ended.
    pub status: CheckStatus,
    /// The layer 7 code where there was one: the HTTP status.
    pub code: Option<u16>,
    /// Reason phrase, first bytes, or the error in words.
    pub content: Content,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
}

/// A finished check and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The server.
    pub server: ServerKey,
    /// Its incarnation when the check began.
    pub epoch: Epoch,
    /// The result.
    pub record: CheckRecord,
}

impl CheckRecord {
    /// Returns whether it passed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.status.verdict()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_escapes_control_and_invalid_bytes_and_is_bounded() {
        assert_eq!(Content::from_bytes(b"a\r\nb\x00\xff").as_str(), "a\\r\\nb\\x00\\xff");
        assert_eq!(Content::from_bytes(&[0; 4096]).as_str().len(), CONTENT_BYTES_MAX);
        assert!(Content::from_text(&"é".repeat(4096)).as_str().len() <= CONTENT_BYTES_MAX + 4);
    }
}
