//! The HTTP probe: one request on a fresh connection, and the reply read as far as the verdict needs.
//!
//! A status verdict falls with the head; the body is read only where the probe looks at it. Source: RFC 9112.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::health::expect::{Decision, Mismatch, decide};
use crate::model::{CheckStatus, Content, Host, HttpProbe, ServerAddr};

use super::check::{Deadline, Finding, READ_BYTES};
use super::failure::errno_text;
use super::reply::{Head, Reply};

/// First bytes of a body that must be printable for it to be shown beside a status.
const TEXT_BYTES: usize = 64;

/// Asks the server and judges its reply.
pub(super) async fn ask(stream: &mut TcpStream, probe: &HttpProbe, authority: &str, deadline: Deadline) -> Finding {
    let mut reply = Reply::new(probe.method);
    let in_time = timeout_at(deadline.at, exchange(stream, probe, authority, &mut reply)).await;
    in_time.unwrap_or_else(|_| {
        let words = format!("no whole reply within {:?}, {}", deadline.after, reply.what_is_missing());
        Finding::new(CheckStatus::L7Tout, code(&reply), &words)
    })
}

/// Returns the Host header for a server: its declared host and the probed port, which is left out where it is 80.
pub(super) fn authority(host: &Host, port: u16) -> String {
    let text = ServerAddr { host: host.clone(), port }.to_string();
    text.strip_suffix(":80").map(str::to_owned).unwrap_or(text)
}

async fn exchange(stream: &mut TcpStream, probe: &HttpProbe, authority: &str, reply: &mut Reply) -> Finding {
    // A write that fails is no verdict: the server may have answered before it closed.
    let unsent = stream.write_all(request(probe, authority).as_bytes()).await.err();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let step = match stream.read(&mut buffer).await {
            Ok(0) => reply.end().map_err(|words| unsent.as_ref().map_or(words, |error| broken(error, reply))),
            Ok(n) => reply.feed(&buffer[..n]),
            Err(error) => Err(broken(&error, reply)),
        };
        if let Some(finding) = reply.head().and_then(|head| judge(probe, head, reply)) {
            return finding;
        }
        if let Err(words) = step {
            return Finding::new(CheckStatus::L7Rsp, code(reply), &words);
        }
    }
}

fn broken(error: &io::Error, reply: &Reply) -> String {
    format!("{}, {}", errno_text(error), reply.what_is_missing())
}

fn request(probe: &HttpProbe, authority: &str) -> String {
    format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: farmgate/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.method.as_str(),
        probe.path,
        authority,
        env!("CARGO_PKG_VERSION"),
    )
}

fn code(reply: &Reply) -> Option<u16> {
    reply.head().map(|head| head.status)
}

/// Returns the verdict, once there is one, with what an operator needs to see why: the first bytes of the body where
/// the body decided, otherwise the reason phrase, followed for a wrong status by the text that came with it.
fn judge(probe: &HttpProbe, head: &Head, reply: &Reply) -> Option<Finding> {
    let code = Some(head.status);
    let body = reply.body();
    let is_body_looked_at = probe.expect.body.is_some() && probe.expect.status.contains(head.status);
    let finding = match decide(&probe.expect, head.status, body, reply.is_complete()) {
        Decision::NeedMore => return None,
        Decision::Pass if is_body_looked_at => {
            Finding { content: first_bytes(body), ..Finding::new(CheckStatus::L7Ok, code, "") }
        }
        Decision::Pass => Finding::new(CheckStatus::L7Ok, code, &head.reason),
        Decision::Fail(Mismatch::Body) => {
            Finding { content: first_bytes(body), ..Finding::new(CheckStatus::L7Rsp, code, "") }
        }
        Decision::Fail(Mismatch::Status) if is_text(body) => {
            let words = format!("{}: {}", head.reason, String::from_utf8_lossy(body));
            Finding::new(CheckStatus::L7Sts, code, words.trim_end())
        }
        Decision::Fail(Mismatch::Status) => Finding::new(CheckStatus::L7Sts, code, &head.reason),
    };
    Some(finding)
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
    fn authority_leaves_out_port_80() {
        for (address, port, want) in [
            ("10.0.0.1:80", 80, "10.0.0.1"),
            ("10.0.0.1:80", 8080, "10.0.0.1:8080"),
            ("[::1]:80", 80, "[::1]"),
            ("shop.example:8080", 8080, "shop.example:8080"),
        ] {
            let address: ServerAddr = address.parse().unwrap();
            assert_eq!(authority(&address.host, port), want);
        }
    }
}
