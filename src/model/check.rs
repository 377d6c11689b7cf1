//! One run of a probe and what it found, in HAProxy's vocabulary.

use std::sync::Arc;
use std::time::Duration;

use super::id::{Epoch, ServerKey};
use super::probe::{Pace, ProbeSlot};
use super::server::{AdminStatus, Weight};
use super::time::Timestamp;

/// Bytes of evidence that a check record keeps of a reply.
pub const CONTENT_BYTES_MAX: usize = 256;

/// How a check ended; the names are HAProxy's `check_status` (src/check.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// Valid, and says nothing of health: an agent's advice, or an agent that could not be reached.
    Checked,
    /// Connection refused, reset or unreachable.
    L4Con,
    /// Connected; that was all that was asked.
    L4Ok,
    /// No connection within the deadline.
    L4Tout,
    /// TLS handshake done; that was all that was asked.
    L6Ok,
    /// TLS handshake refused, or the certificate not good.
    L6Rsp,
    /// Connected, and no TLS handshake within the deadline.
    L6Tout,
    /// Reply passed.
    L7Ok,
    /// Reply passed on condition: no new work.
    L7Okc,
    /// Reply cannot be understood, or its content does not match.
    L7Rsp,
    /// Reply has a status outside the expected set.
    L7Sts,
    /// Connected, and no whole reply within the deadline.
    L7Tout,
    /// The command failed.
    ProcErr,
    /// The command passed.
    ProcOk,
    /// The command did not end within the deadline and was killed.
    ProcTout,
    /// A failure of our own socket: recorded, and never counted for or against the server.
    SockErr,
}

impl CheckStatus {
    /// Returns HAProxy's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "CHECKED",
            Self::L4Con => "L4CON",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L6Ok => "L6OK",
            Self::L6Rsp => "L6RSP",
            Self::L6Tout => "L6TOUT",
            Self::L7Ok => "L7OK",
            Self::L7Okc => "L7OKC",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
            Self::L7Tout => "L7TOUT",
            Self::ProcErr => "PROCERR",
            Self::ProcOk => "PROCOK",
            Self::ProcTout => "PROCTOUT",
            Self::SockErr => "SOCKERR",
        }
    }

    /// Every status, in alphabetical order of its word.
    pub const ALL: [Self; 16] = [
        Self::Checked,
        Self::L4Con,
        Self::L4Ok,
        Self::L4Tout,
        Self::L6Ok,
        Self::L6Rsp,
        Self::L6Tout,
        Self::L7Ok,
        Self::L7Okc,
        Self::L7Rsp,
        Self::L7Sts,
        Self::L7Tout,
        Self::ProcErr,
        Self::ProcOk,
        Self::ProcTout,
        Self::SockErr,
    ];

    /// Returns the status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Returns whether such a check tells of the way to the server rather than of what it answers: what fails in this
    /// manner everywhere at once is likely the balancer's own fault.
    #[must_use]
    pub fn is_of_the_network(self) -> bool {
        matches!(self, Self::L4Con | Self::L4Tout | Self::SockErr)
    }

    /// Returns whether such a check may have been cut by the network after it had connected.
    #[must_use]
    pub fn is_broken_off(self) -> bool {
        matches!(self, Self::L6Rsp | Self::L6Tout | Self::L7Rsp | Self::L7Tout)
    }

    /// Returns what such a check counts as.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::ProcOk => Verdict::Passed,
            Self::L7Okc => Verdict::Conditional,
            Self::Checked | Self::SockErr => Verdict::Neutral,
            Self::L4Con
            | Self::L4Tout
            | Self::L6Rsp
            | Self::L6Tout
            | Self::L7Rsp
            | Self::L7Sts
            | Self::L7Tout
            | Self::ProcErr
            | Self::ProcTout => Verdict::Failed,
        }
    }
}

/// What a check counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It did, and asks for no new work.
    Conditional,
    /// The server did not do what the probe expects.
    Failed,
    /// Nothing: the check was ours to fail, or advice.
    Neutral,
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
        let raw = &raw[..raw.len().min(CONTENT_BYTES_MAX)];
        let mut text = String::with_capacity(raw.len());
        for chunk in raw.utf8_chunks() {
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
    /// The code where there was one: the HTTP, SMTP or gRPC status, the TLS alert, the exit status.
    pub code: Option<u16>,
    /// Reason phrase, first bytes, or the error in words.
    pub content: Content,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What was sent, received and measured; none where only the verdict is kept.
    pub evidence: Option<Arc<Evidence>>,
    /// What an agent said.
    pub agent: Option<Arc<AgentSays>>,
}

impl CheckRecord {
    /// Returns a record without evidence.
    #[must_use]
    pub fn new(status: CheckStatus, code: Option<u16>, content: Content, at: Timestamp, duration: Duration) -> Self {
        Self { status, code, content, at, duration, evidence: None, agent: None }
    }

    /// Returns what it counts as.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.status.verdict()
    }

    /// Returns what is remembered of it among the recent ones.
    #[must_use]
    pub fn brief(&self, slot: ProbeSlot) -> CheckBrief {
        let Self { status, code, at, duration, .. } = *self;
        CheckBrief { slot, status, code, at, duration }
    }
}

/// What is remembered of a check among the recent ones, and in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckBrief {
    /// Which probe.
    pub slot: ProbeSlot,
    /// How it ended.
    pub status: CheckStatus,
    /// The code where there was one.
    pub code: Option<u16>,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
}

/// How often one probe of a server is to be run from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paced {
    /// The server.
    pub server: ServerKey,
    /// Which of its farm's probes.
    pub slot: ProbeSlot,
    /// Which of the probe's intervals counts.
    pub pace: Pace,
}

/// Bytes of a request, and of a reply, that evidence keeps.
pub const EVIDENCE_BYTES_MAX: usize = 1024;

/// What one check sent, received and measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The first bytes sent, at most [`EVIDENCE_BYTES_MAX`]; secrets left out.
    pub sent: Arc<[u8]>,
    /// The first bytes received, at most [`EVIDENCE_BYTES_MAX`].
    pub received: Box<[u8]>,
    /// From the start to the connection.
    pub connect: Option<Duration>,
    /// From the connection to the end of the TLS handshake.
    pub tls: Option<Duration>,
    /// From the start to the first byte received.
    pub first_byte: Option<Duration>,
    /// The system's error number.
    pub errno: Option<i32>,
    /// The TLS alert's name, such as `handshake_failure`.
    pub tls_alert: Option<Box<str>>,
    /// SHA-256 of the server's certificate (DER).
    pub certificate_sha256: Option<[u8; 32]>,
}

/// What an agent's line asks for (HAProxy's `agent-check`); absent: nothing said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSays {
    /// The share of the declared weight.
    pub weight: Option<AgentWeight>,
    /// The most connections at once.
    pub maxconn: Option<u32>,
    /// The admin status: `ready`, `drain` or `maint`.
    pub admin: Option<AdminStatus>,
    /// `up` or `down`, `fail`, `stopped`.
    pub health: Option<AgentHealth>,
    /// What follows `#`.
    pub reason: Option<Box<str>>,
}

impl AgentSays {
    /// Returns whether it asks that no new work be given.
    #[must_use]
    pub fn is_against_work(&self) -> bool {
        let is_weightless = self.weight.is_some_and(|weight| match weight {
            AgentWeight::Percent(percent) => percent == 0,
            AgentWeight::Weight(weight) => weight == Weight(0),
        });
        let is_admin = self.admin.is_some_and(|admin| admin != AdminStatus::Active);
        is_weightless || is_admin || self.health == Some(AgentHealth::Down)
    }
}

/// The weight that an agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentWeight {
    /// Per cent of the declared weight, 0..=100.
    Percent(u8),
    /// This weight.
    Weight(Weight),
}

/// What an agent says of its server's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentHealth {
    /// Out, whatever the probes say.
    Down,
    /// As the probes say.
    Up,
}

/// A finished check and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The server.
    pub server: ServerKey,
    /// Which of its farm's probes.
    pub slot: ProbeSlot,
    /// Its incarnation when the check began.
    pub epoch: Epoch,
    /// The result.
    pub record: Arc<CheckRecord>,
    /// When the next one begins at the latest, as far as is known now.
    pub next_at: Timestamp,
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
