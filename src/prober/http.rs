//! The HTTP probe: one request on a fresh connection, and the reply read as far as the verdict needs.
//!
//! A status verdict falls with the head; the body is read only where the probe looks at it. Source: RFC 9112.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::health::expect::{Decision, Mismatch, decide};
use crate::model::{Aim, CheckStatus, Content, Encryption, Expect, Host, HttpProbe, ProbeMethod, ServerAddr};

use super::check::{Deadline, Finding, READ_BYTES};
use super::failure::errno_text;
use super::reply::{Head, Reply};

/// First bytes of a body that must be printable for it to be shown beside a status.
const TEXT_BYTES: usize = 64;

/// Asks the server and judges its reply.
pub(super) async fn ask<S>(stream: &mut S, probe: &HttpProbe, authority: &str, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut exchange = Exchange::new(probe.method);
    let in_time = timeout_at(deadline.at, carry(stream, probe, authority, &mut exchange)).await;
    in_time.unwrap_or_else(|_| exchange.timed_out(deadline.after))
}

/// One question and as much of its answer as has arrived, whoever carries the bytes.
#[derive(Debug)]
pub(super) struct Exchange {
    reply: Reply,
    /// Why the question could not be sent. That is no verdict: the server may have answered before it closed.
    unsent: Option<io::Error>,
}

impl Exchange {
    /// Returns the exchange before the first byte.
    pub(super) fn new(method: ProbeMethod) -> Self {
        Self { reply: Reply::new(method), unsent: None }
    }

    /// Takes that the question cannot be sent to its end.
    pub(super) fn cannot_send(&mut self, error: io::Error) {
        self.unsent = Some(error);
    }

    /// Takes what a read brought, no byte at the end of the stream; returns the verdict once there is one.
    pub(super) fn take(&mut self, probe: &HttpProbe, read: Result<&[u8], &io::Error>) -> Option<Finding> {
        let reply = &mut self.reply;
        let step = match read {
            Ok([]) => reply.end().map_err(|words| self.unsent.as_ref().map_or(words, |error| broken(error, reply))),
            Ok(bytes) => reply.feed(bytes),
            Err(error) => Err(broken(error, reply)),
        };
        let judged = |head| judge(&probe.expect, head, reply.body(), reply.is_complete());
        let finding = reply.head().and_then(judged);
        finding.or_else(|| Some(Finding::new(CheckStatus::L7Rsp, code(reply), &step.err()?)))
    }

    /// Returns what it is worth at the deadline, which was so long after the start.
    pub(super) fn timed_out(&self, after: Duration) -> Finding {
        let words = format!("no whole reply within {after:?}, {}", self.reply.what_is_missing());
        Finding::new(CheckStatus::L7Tout, code(&self.reply), &words)
    }
}

/// Returns the Host header: the aim's own, else the declared host and the probed port, left out where it is the usual one.
pub(super) fn authority<'a>(aim: &'a Aim, host: &Host, port: u16, encryption: Encryption) -> Cow<'a, str> {
    if let Some(own) = &aim.host {
        return Cow::Borrowed(own);
    }
    if let Host::Unix(_) = host {
        return Cow::Borrowed("localhost");
    }
    let usual = match encryption {
        Encryption::None => ":80",
        Encryption::Tls => ":443",
    };
    let mut text = ServerAddr { host: host.clone(), port }.to_string();
    if text.ends_with(usual) {
        text.truncate(text.len() - usual.len());
    }
    Cow::Owned(text)
}

/// Returns the verdict, once there is one, with what an operator needs to see why: the first bytes of the body where
/// the body decided, otherwise the reason phrase, followed for a wrong status by the text that came with it.
pub(super) fn judge(expect: &Expect, head: &Head, body: &[u8], is_complete: bool) -> Option<Finding> {
    let code = Some(head.status);
    let is_body_looked_at = expect.body.is_some() && expect.status.contains(head.status);
    let finding = match decide(expect, head.status, body, is_complete) {
        Decision::NeedMore => return None,
        Decision::Conditional => Finding::new(CheckStatus::L7Okc, code, &head.reason),
        Decision::Pass if is_body_looked_at => Finding::with(CheckStatus::L7Ok, code, first_bytes(body)),
        Decision::Pass => Finding::new(CheckStatus::L7Ok, code, &head.reason),
        Decision::Fail(Mismatch::Body) => Finding::with(CheckStatus::L7Rsp, code, first_bytes(body)),
        Decision::Fail(Mismatch::Status) if is_text(body) => {
            let words = format!("{}: {}", head.reason, String::from_utf8_lossy(body));
            Finding::new(CheckStatus::L7Sts, code, words.trim_end())
        }
        Decision::Fail(Mismatch::Status) => Finding::new(CheckStatus::L7Sts, code, &head.reason),
    };
    Some(finding)
}

async fn carry<S>(stream: &mut S, probe: &HttpProbe, authority: &str, exchange: &mut Exchange) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(error) = send(stream, request(probe, authority).as_bytes()).await {
        exchange.cannot_send(error);
    }
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stream.read(&mut buffer).await;
        if let Some(finding) = exchange.take(probe, read.as_ref().map(|n| &buffer[..*n])) {
            return finding;
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn broken(error: &io::Error, reply: &Reply) -> String {
    format!("{}, {}", errno_text(error), reply.what_is_missing())
}

/// Returns the whole request.
pub(super) fn request(probe: &HttpProbe, authority: &str) -> String {
    [
        probe.method.as_str(),
        " ",
        &probe.path,
        " HTTP/1.1\r\nHost: ",
        authority,
        concat!("\r\nUser-Agent: farmgate/", env!("CARGO_PKG_VERSION"), "\r\nAccept: */*\r\nConnection: close\r\n\r\n"),
    ]
    .concat()
}

fn code(reply: &Reply) -> Option<u16> {
    reply.head().map(|head| head.status)
}

fn first_bytes(body: &[u8]) -> Content {
    if body.is_empty() { Content::from_text("reply body is empty") } else { Content::from_bytes(body) }
}

fn is_text(body: &[u8]) -> bool {
    let first = &body[..body.len().min(TEXT_BYTES)];
    !first.trim_ascii().is_empty() && first.iter().all(|b| *b >= b' ' || b.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_leaves_out_the_usual_port() {
        use Encryption::{None, Tls};
        for (address, port, encryption, want) in [
            ("10.0.0.1:80", 80, None, "10.0.0.1"),
            ("10.0.0.1:80", 80, Tls, "10.0.0.1:80"),
            ("10.0.0.1:443", 443, Tls, "10.0.0.1"),
            ("10.0.0.1:80", 8080, None, "10.0.0.1:8080"),
            ("[::1]:80", 80, None, "[::1]"),
            ("shop.example:8080", 8080, None, "shop.example:8080"),
        ] {
            let address: ServerAddr = address.parse().unwrap();
            assert_eq!(authority(&Aim::default(), &address.host, port, encryption), want);
            let own = Aim { host: Some("own.example".into()), ..Aim::default() };
            assert_eq!(authority(&own, &address.host, port, encryption), "own.example");
        }
    }
}
