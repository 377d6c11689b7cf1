//! The agent probe: one line of text that says how much work the server wants, if any.
//!
//! What the words mean is `health::agent`'s business. An agent that says nothing, or too late, advises nothing: that
//! is recorded and is no failure. A line that is none is a failure of the agent, and told as one.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::health::agent::{LINE_BYTES_MAX, read};
use crate::model::{AgentHealth, CheckStatus, Content};

use super::super::check::{Deadline, Finding};
use super::super::failure::errno_text;
use super::heard;
use super::talk::Talk;

pub(super) async fn listen<S>(stream: &mut S, send: &str, deadline: Deadline) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut talk = Talk::new(stream);
    let spoken = timeout_at(deadline.at, line(&mut talk, send)).await;
    match spoken {
        Ok(Ok(line)) => judge(&line),
        Ok(Err(finding)) => finding,
        Err(_) => silent(&format!("no line within {:?}, {}", deadline.after, talk.seen())),
    }
}

/// Returns the first line, without its end: what ends it is a line feed, a carriage return or the connection's end.
async fn line<S>(talk: &mut Talk<'_, S>, send: &str) -> Result<Vec<u8>, Finding>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if !send.is_empty() {
        talk.send(send.as_bytes()).await;
    }
    loop {
        let has_ended = match talk.read().await {
            Ok(n) => n == 0,
            Err(error) => return Err(silent(&format!("{}, {}", errno_text(&error), talk.seen()))),
        };
        let said = talk.pending();
        let end = said.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        match end {
            Some(end) if end < LINE_BYTES_MAX => return Ok(said[..end].to_vec()),
            _ if said.len() >= LINE_BYTES_MAX => {
                let words =
                    format!("line is longer than {LINE_BYTES_MAX} bytes: {}", Content::from_bytes(said).as_str());
                return Err(Finding::new(CheckStatus::L7Rsp, None, &words));
            }
            _ if has_ended && said.is_empty() => return Err(silent("connection closed, nothing received")),
            _ if has_ended => return Ok(said.to_vec()),
            _ => {}
        }
    }
}

fn silent(words: &str) -> Finding {
    Finding::new(CheckStatus::Checked, None, words)
}

fn judge(line: &[u8]) -> Finding {
    let Some(says) = read(line) else {
        let words = format!("not an agent's line: \"{}\"", Content::from_bytes(line).as_str());
        return Finding::new(CheckStatus::L7Rsp, None, &words);
    };
    let status = match says.health {
        Some(AgentHealth::Down) => CheckStatus::L7Sts,
        Some(AgentHealth::Up) | None => CheckStatus::L7Ok,
    };
    Finding { agent: Some(says), ..heard(status, None, line.trim_ascii()) }
}
