//! What probes speak once they are connected, HTTP, gRPC and TLS left out; and the probes that need no connection.
//!
//! Knows nothing of how the connection was made: a conversation is held over any stream, in the clear or not, and the
//! same words are spoken again at every check. Every reader is bounded, every parser takes any bytes, and one deadline
//! covers all that is said. Each protocol is a file: a pure parser of what arrives, and the conversation above it.

mod agent;
mod command;
mod exchange;
mod mysql;
mod oco;
mod pgsql;
mod ping;
mod redis;
mod smtp;
mod talk;

use std::borrow::Cow;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::model::check::EVIDENCE_BYTES_MAX;
use crate::model::{Aim, CheckStatus, Content, PeerAddr, ProbeKind};

use super::banner;
use super::check::{Deadline, Finding};
use talk::Talk;

/// What stands for a secret where it must not be shown.
const HIDDEN: &str = "…";

/// Holds the conversation of a probe that speaks over a connection, and judges it.
pub(super) async fn speak<S>(stream: &mut S, kind: &ProbeKind, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match kind {
        ProbeKind::Agent { send } => agent::listen(stream, send, deadline).await,
        ProbeKind::Exchange(exchange) => exchange::hold(stream, exchange, deadline).await,
        ProbeKind::Tcp { banner: Some(wanted), negate } => banner::read(stream, wanted, *negate, deadline).await,
        ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. } => in_turns(stream, kind, deadline).await,
        ProbeKind::Tcp { banner: None, .. }
        | ProbeKind::Command(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Http(_)
        | ProbeKind::Ping
        | ProbeKind::Tls => not_ours(kind),
    }
}

/// Whether a probe makes no connection.
pub(super) fn is_apart(kind: &ProbeKind) -> bool {
    match kind {
        ProbeKind::Command(_) | ProbeKind::Ping => true,
        ProbeKind::Agent { .. }
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Http(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => false,
    }
}

/// Runs a probe that makes no connection.
pub(super) async fn run_apart(kind: &ProbeKind, addr: &PeerAddr, aim: &Aim, deadline: Deadline) -> Finding {
    match kind {
        ProbeKind::Command(probe) => command::run(probe, addr, deadline).await,
        ProbeKind::Ping => match addr {
            PeerAddr::Ip(addr) => ping::ask(*addr, aim.source, deadline).await,
            PeerAddr::Unix(_) => Finding::new(CheckStatus::SockErr, None, "a Unix socket cannot be pinged"),
        },
        ProbeKind::Agent { .. }
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Http(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => not_ours(kind),
    }
}

/// Returns what it means for this probe that no conversation began: an agent that cannot be reached advises nothing,
/// which is no failure of its server.
pub(super) fn unbegun(kind: &ProbeKind, finding: Finding) -> Finding {
    use CheckStatus::{L4Con, L4Tout, L6Rsp, L6Tout};
    if !kind.is_agent() || !matches!(finding.status, L4Con | L4Tout | L6Rsp | L6Tout) {
        return finding;
    }
    let words = format!("agent not reached: {}", finding.content.as_str());
    Finding::new(CheckStatus::Checked, finding.code, &words)
}

/// Returns these bytes of a conversation, sent or received, as they may be shown: the probe's secret is left out, also
/// where evidence was cut in the middle of it.
pub(super) fn without_secret<'a>(kind: &ProbeKind, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match kind {
        ProbeKind::Redis { password: Some(secret) } => hide(secret.reveal().as_bytes(), bytes),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Http(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { password: None }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => Cow::Borrowed(bytes),
    }
}

/// The protocols in which each side waits for the other.
async fn in_turns<S>(stream: &mut S, kind: &ProbeKind, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut talk = Talk::new(stream);
    let spoken = async {
        match kind {
            ProbeKind::Mysql { user } => mysql::talk(&mut talk, user.as_deref()).await,
            ProbeKind::Oco => oco::talk(&mut talk).await,
            ProbeKind::Pgsql { user } => pgsql::talk(&mut talk, user).await,
            ProbeKind::Redis { password } => redis::talk(&mut talk, password.as_ref()).await,
            ProbeKind::Smtp { hello } => smtp::talk(&mut talk, hello).await,
            ProbeKind::Agent { .. }
            | ProbeKind::Command(_)
            | ProbeKind::Exchange(_)
            | ProbeKind::Grpc { .. }
            | ProbeKind::Http(_)
            | ProbeKind::Ping
            | ProbeKind::Tcp { .. }
            | ProbeKind::Tls => Err(not_ours(kind)),
        }
    };
    let finding = match timeout_at(deadline.at, spoken).await {
        Ok(Ok(finding) | Err(finding)) => finding,
        Err(_) => talk.timed_out(deadline),
    };
    talk.bid_farewell(deadline).await;
    finding
}

fn not_ours(kind: &ProbeKind) -> Finding {
    Finding::new(CheckStatus::SockErr, None, &format!("bug: {} is not spoken here", kind.as_str()))
}

/// A finding whose content is what the server said.
fn heard(status: CheckStatus, code: Option<u16>, said: &[u8]) -> Finding {
    Finding { content: Content::from_bytes(said), ..Finding::new(status, code, "") }
}

fn hide<'a>(secret: &[u8], bytes: &'a [u8]) -> Cow<'a, [u8]> {
    if secret.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let mut shown = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(secret.len()).position(|window| window == secret) {
        shown.extend_from_slice(&rest[..at]);
        shown.extend_from_slice(HIDDEN.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    let is_cut = bytes.len() >= EVIDENCE_BYTES_MAX;
    let begun = (1..secret.len()).rev().find(|n| is_cut && rest.ends_with(&secret[..*n])).unwrap_or(0);
    if shown.is_empty() && begun == 0 {
        return Cow::Borrowed(bytes);
    }
    shown.extend_from_slice(&rest[..rest.len() - begun]);
    if begun > 0 {
        shown.extend_from_slice(HIDDEN.as_bytes());
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests;
