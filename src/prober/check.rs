//! Runs one check from connect to verdict and makes its record.
//!
//! One deadline covers everything. Nothing is retried here: a check that fails has failed, and `fall` is there to
//! forgive it. The connection is closed after the verdict; what had already arrived is taken first, since closing over
//! unread bytes would send a reset and fill the server's log with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::model::{AgentSays, CheckRecord, CheckStatus, Content, Evidence, Probe, ProbeKind};

use super::failure::{connect_status, errno_text};
use super::{http, protocols};

/// Reads that are made, without waiting, to empty a connection before it is closed.
const LAST_READS_MAX: usize = 4;
/// Bytes of one read.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// When a check ends at the latest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// The instant.
    pub(super) at: Instant,
    /// How long that is after the start.
    pub(super) after: Duration,
}

/// What a check found: a record without its times.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: CheckStatus,
    pub(super) code: Option<u16>,
    pub(super) content: Content,
    /// What an agent said.
    pub(super) agent: Option<AgentSays>,
    /// What a probe received that has no connection, for the evidence.
    pub(super) received: Option<Box<[u8]>>,
}

impl Finding {
    pub(super) fn new(status: CheckStatus, code: Option<u16>, words: &str) -> Self {
        Self { status, code, content: Content::from_text(words), agent: None, received: None }
    }
}

/// Checks whoever answers at `addr`; `authority` is the Host header of an HTTP probe that names none.
pub(super) async fn run(addr: SocketAddr, authority: &str, probe: &Probe) -> CheckRecord {
    let started = clock::monotonic();
    let deadline = Deadline { at: Instant::from_std(started + probe.timeout), after: probe.timeout };
    let finding = match protocols::run_apart(&probe.kind, addr, &probe.aim, deadline).await {
        Some(finding) => finding,
        None => protocols::unbegun(&probe.kind, over_a_connection(addr, authority, probe, deadline).await),
    };
    let duration = clock::monotonic().saturating_duration_since(started);
    let Finding { status, code, content, agent, received } = finding;
    let evidence = received.map(|received| {
        let received = protocols::without_secret(&probe.kind, &received).into();
        Arc::new(Evidence { received, ..Evidence::default() })
    });
    CheckRecord { status, code, content, at: clock::wall(), duration, evidence, agent: agent.map(Arc::new) }
}

async fn over_a_connection(addr: SocketAddr, authority: &str, probe: &Probe, deadline: Deadline) -> Finding {
    match timeout_at(deadline.at, connect(addr)).await {
        Err(_) => Finding::new(CheckStatus::L4Tout, None, &format!("no connection within {:?}", probe.timeout)),
        Ok(Err(finding)) => finding,
        Ok(Ok(mut stream)) => {
            let finding = converse(&mut stream, authority, probe, deadline).await;
            take_what_has_arrived(&stream);
            finding
        }
    }
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, Finding> {
    let failed = |error: &std::io::Error| Finding::new(connect_status(error), None, &errno_text(error));
    let stream = TcpStream::connect(addr).await.map_err(|error| failed(&error))?;
    // A connect to a closed port of this host can meet itself when the system picks that very port as its own.
    if stream.local_addr().is_ok_and(|local| local == addr) {
        return Err(failed(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    }
    // Requests are one small write; where the option fails the check is only slower.
    stream.set_nodelay(true).ok();
    Ok(stream)
}

async fn converse(stream: &mut TcpStream, authority: &str, probe: &Probe, deadline: Deadline) -> Finding {
    match &probe.kind {
        ProbeKind::Http(asked) => {
            http::ask(stream, asked, probe.aim.host.as_deref().unwrap_or(authority), deadline).await
        }
        ProbeKind::Tcp { banner: None, .. } => Finding::new(CheckStatus::L4Ok, None, "connected"),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Grpc { .. }
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => protocols::speak(stream, &probe.kind, deadline).await,
    }
}

fn take_what_has_arrived(stream: &TcpStream) {
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..LAST_READS_MAX {
        if !stream.try_read(&mut buffer).is_ok_and(|n| n == buffer.len()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
