//! Runs one check from connect to verdict and makes its record.
//!
//! One deadline covers everything. Nothing is retried here: a check that fails has failed, and `fall` is there to
//! forgive it. The connection is closed after the verdict, so that no server that still listens sees a reset and fills
//! its log with it. Nothing of a check outlives it: no task of its own, no kept connection, no TLS session. Every record
//! carries its evidence.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clock;
use crate::model::{
    AgentSays, CheckRecord, CheckStatus, Content, Encryption, Evidence, Host, HttpVersion, PeerAddr, Probe, ProbeKind,
    Verdict,
};

use super::connect::Opening;
use super::tls::{ALPN_H2, ALPN_HTTP1, Trust};
use super::trace::{Trace, Traced};
use super::{connect, grpc, http, http2, protocols, tls};

/// Bytes of one read: most replies whole, and cheap for 10,000 checks at once.
pub(super) const READ_BYTES: usize = 2 * 1024;

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
        Self::with(status, code, Content::from_text(words))
    }

    pub(super) fn with(status: CheckStatus, code: Option<u16>, content: Content) -> Self {
        Self { status, code, content, agent: None, received: None }
    }
}

/// Checks whoever answers at `addr`; `host` is who the server was declared to be, for probes that say its name.
pub(super) async fn run(trust: &Trust, addr: impl Into<PeerAddr>, host: &Host, probe: &Probe) -> CheckRecord {
    let addr = addr.into();
    let started = clock::monotonic();
    let deadline = Deadline { at: Instant::from_std(started + probe.timeout), after: probe.timeout };
    let mut trace = Trace::new(started);
    let finding = if protocols::is_apart(&probe.kind) {
        // What is rare or large is kept out of the future that every check is: it is moved into its task.
        Box::pin(protocols::run_apart(&probe.kind, &addr, &probe.aim, deadline)).await
    } else {
        protocols::unbegun(&probe.kind, carry_out(trust, &addr, host, probe, deadline, &mut trace).await)
    };
    record(&probe.kind, finding, trace)
}

/// Makes the record of a check that ends now.
pub(super) fn record(kind: &ProbeKind, finding: Finding, trace: Trace) -> CheckRecord {
    let duration = trace.elapsed();
    let Finding { status, code, content, agent, received } = finding;
    let evidence = Some(Arc::new(shown(kind, trace.into_evidence(), received)));
    CheckRecord { status, code, content, at: clock::wall(), duration, evidence, agent: agent.map(Arc::new) }
}

/// The evidence as it may be shown: the probe's secret left out. `received`: of a probe without a connection.
fn shown(kind: &ProbeKind, evidence: Evidence, received: Option<Box<[u8]>>) -> Evidence {
    let received = received.unwrap_or(evidence.received);
    let sent = owned(protocols::without_secret(kind, &evidence.sent)).map(Arc::from);
    let seen = owned(protocols::without_secret(kind, &received)).map(Box::from);
    Evidence { sent: sent.unwrap_or(evidence.sent), received: seen.unwrap_or(received), ..evidence }
}

fn owned(bytes: Cow<'_, [u8]>) -> Option<Vec<u8>> {
    match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => Some(bytes),
    }
}

async fn carry_out(
    trust: &Trust,
    addr: &PeerAddr,
    host: &Host,
    probe: &Probe,
    deadline: Deadline,
    trace: &mut Trace,
) -> Finding {
    let is_one_question = is_one_question(probe);
    let opening = if is_one_question { Opening::OneQuestion } else { Opening::Any };
    let mut stream = match connect::open(addr, &probe.aim, opening, deadline, trace).await {
        Ok(stream) => stream,
        Err(finding) => return finding,
    };
    match probe.encryption() {
        Encryption::None => {
            let finding = converse(&mut Traced::new(&mut stream, trace), addr, host, probe, deadline).await;
            if is_one_question
                && finding.status.verdict() != Verdict::Passed
                && connect::has_met_itself(stream.local_addr(), addr)
            {
                return connect::refused(trace);
            }
            connect::end(&stream, trace).await;
            finding
        }
        Encryption::Tls => Box::pin(carry_out_in_tls(stream, trust, addr, host, probe, deadline, trace)).await,
    }
}

async fn carry_out_in_tls(
    tcp: TcpStream,
    trust: &Trust,
    addr: &PeerAddr,
    host: &Host,
    probe: &Probe,
    deadline: Deadline,
    trace: &mut Trace,
) -> Finding {
    let alpn = alpn(&probe.kind);
    let mut stream = match tls::handshake(tcp, trust, &probe.aim, host, alpn, deadline, trace).await {
        Ok(stream) => stream,
        Err(finding) => return finding,
    };
    let finding = if matches!(probe.kind, ProbeKind::Tcp { banner: None, .. } | ProbeKind::Tls) {
        tls::passed(&stream)
    } else {
        converse(&mut Traced::new(&mut stream, trace), addr, host, probe, deadline).await
    };
    // Says goodbye, if the socket takes it without waiting.
    poll_fn(|context| Poll::Ready(Pin::new(&mut stream).poll_shutdown(context).is_ready())).await;
    connect::take_what_has_arrived(stream.get_ref().0);
    finding
}

async fn converse<S>(
    stream: &mut Traced<'_, S>,
    addr: &PeerAddr,
    host: &Host,
    probe: &Probe,
    deadline: Deadline,
) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match &probe.kind {
        ProbeKind::Http(asked) => {
            let encryption = probe.encryption();
            let authority = http::authority(&probe.aim, host, addr.port(), encryption);
            match asked.version {
                HttpVersion::Http1 => http::ask(stream, asked, &authority, deadline).await,
                HttpVersion::Http2 => Box::pin(http2::ask(stream, asked, encryption, &authority, deadline)).await,
            }
        }
        ProbeKind::Grpc { service, .. } => {
            let encryption = probe.encryption();
            let authority = http::authority(&probe.aim, host, addr.port(), encryption);
            Box::pin(grpc::ask(stream, service, encryption, &authority, deadline)).await
        }
        ProbeKind::Tcp { banner: None, .. } => connected(),
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { banner: Some(_), .. }
        | ProbeKind::Tls => Box::pin(protocols::speak(stream, &probe.kind, deadline)).await,
    }
}

/// What a check is worth that asks no more than a connection, and has one.
pub(super) fn connected() -> Finding {
    Finding::new(CheckStatus::L4Ok, None, "connected")
}

/// Whether all that we say is one small write, said first, whose own echo does not pass for an answer.
pub(super) fn is_one_question(probe: &Probe) -> bool {
    match &probe.kind {
        ProbeKind::Http(asked) => {
            let is_clear = probe.encryption() == Encryption::None;
            asked.version == HttpVersion::Http1 && is_clear && probe.aim.proxy.is_none()
        }
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
        | ProbeKind::Tls => false,
    }
}

/// The protocol that is offered in the handshake.
fn alpn(kind: &ProbeKind) -> Option<&'static [u8]> {
    match kind {
        ProbeKind::Grpc { .. } => Some(ALPN_H2),
        ProbeKind::Http(asked) => match asked.version {
            HttpVersion::Http1 => Some(ALPN_HTTP1),
            HttpVersion::Http2 => Some(ALPN_H2),
        },
        ProbeKind::Agent { .. }
        | ProbeKind::Command(_)
        | ProbeKind::Exchange(_)
        | ProbeKind::Mysql { .. }
        | ProbeKind::Oco
        | ProbeKind::Pgsql { .. }
        | ProbeKind::Ping
        | ProbeKind::Redis { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Tcp { .. }
        | ProbeKind::Tls => None,
    }
}

#[cfg(test)]
mod tests;
