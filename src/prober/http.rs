//! The HTTP probe: one request on a fresh connection, and the reply read as far as the verdict needs.
//!
//! A status verdict falls with the head; the body is read only where the probe looks at it. Source: RFC 9112.

use std::borrow::Cow;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::health::expect::{Decision, Mismatch, decide};
use crate::model::{Aim, CheckStatus, Content, Encryption, Expect, Host, HttpProbe, ServerAddr};

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
    let mut reply = Reply::new(probe.method);
    let in_time = timeout_at(deadline.at, exchange(stream, probe, authority, &mut reply)).await;
    in_time.unwrap_or_else(|_| {
        let words = format!("no whole reply within {:?}, {}", deadline.after, reply.what_is_missing());
        Finding::new(CheckStatus::L7Tout, code(&reply), &words)
    })
}

/// Returns the Host header: the aim's own, else the declared host and the probed port, left out where it is the usual one.
pub(super) fn authority<'a>(aim: &'a Aim, host: &Host, port: u16, encryption: Encryption) -> Cow<'a, str> {
    if let Some(own) = &aim.host {
        return Cow::Borrowed(own);
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

async fn exchange<S>(stream: &mut S, probe: &HttpProbe, authority: &str, reply: &mut Reply) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A write that fails is no verdict: the server may have answered before it closed.
    let unsent = send(stream, request(probe, authority).as_bytes()).await.err();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let step = match stream.read(&mut buffer).await {
            Ok(0) => reply.end().map_err(|words| unsent.as_ref().map_or(words, |error| broken(error, reply))),
            Ok(n) => reply.feed(&buffer[..n]),
            Err(error) => Err(broken(&error, reply)),
        };
        let judged = |head| judge(&probe.expect, head, reply.body(), reply.is_complete());
        if let Some(finding) = reply.head().and_then(judged) {
            return finding;
        }
        if let Err(words) = step {
            return Finding::new(CheckStatus::L7Rsp, code(reply), &words);
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

fn request(probe: &HttpProbe, authority: &str) -> String {
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
