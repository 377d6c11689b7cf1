//! One request over HTTP/2 on a fresh connection, for the HTTP and gRPC probes.
//!
//! The connection is driven inside the check itself, so nothing of it outlives the check. The reply's fields, its body
//! and what the server may send unasked are bounded. In evidence, a request and a reply that were understood stand as
//! text; the bytes themselves are kept where the server speaks something else. Source: RFC 9113.

use std::fmt::Write;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, StatusCode, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::{CheckStatus, Encryption, HttpProbe};

use super::check::{Deadline, Finding};
use super::failure::errno_text;
use super::http::judge;
use super::reply::{HEAD_BYTES_MAX, Head, reason_phrase};
use super::trace::{Trace, Traced};

/// What a server that speaks HTTP/1 begins with.
const HTTP1: &[u8] = b"HTTP/1.";
/// Where a frame says its type, and the type that every server begins with.
const FRAME_TYPE_AT: usize = 3;
const SETTINGS: u8 = 4;
/// Frames of reset streams that are remembered; a check has one stream.
const RESETS_MAX: usize = 4;

/// What has arrived of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Status and fields, once they are there.
    pub(super) head: Option<(StatusCode, HeaderMap)>,
    /// The first bytes of the body.
    pub(super) body: Vec<u8>,
    /// The fields after the body, where there are any.
    pub(super) trailers: Option<HeaderMap>,
    /// Whether nothing more will come.
    pub(super) is_complete: bool,
}

impl Answer {
    fn code(&self) -> Option<u16> {
        self.head.as_ref().map(|(status, _)| status.as_u16())
    }

    fn what_is_missing(&self, trace: &Trace) -> String {
        match &self.head {
            None if trace.received().is_empty() => "nothing received".to_owned(),
            None => "no reply to the request".to_owned(),
            Some(_) if self.body.is_empty() => "reply body incomplete: nothing of it received".to_owned(),
            Some(_) => format!("reply body incomplete: {}", String::from_utf8_lossy(&self.body)),
        }
    }
}

/// Asks the server as an HTTP probe says, and judges its reply.
pub(super) async fn ask<S>(
    stream: &mut Traced<'_, S>,
    probe: &HttpProbe,
    encryption: Encryption,
    authority: &str,
    deadline: Deadline,
) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = match request(probe.method.as_str(), scheme(encryption), authority, &probe.path) {
        Ok(request) => request,
        Err(finding) => return finding,
    };
    let verdict = |answer: &Answer| {
        let (status, _) = answer.head.as_ref()?;
        let status = status.as_u16();
        let head = Head { status, reason: reason_phrase(status, None) };
        judge(&probe.expect, &head, &answer.body, answer.is_complete)
    };
    exchange(stream, request, Bytes::new(), deadline, verdict).await
}

/// Returns the scheme of what is spoken inside TLS or in the clear.
pub(super) fn scheme(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::None => "http",
        Encryption::Tls => "https",
    }
}

/// Returns a request without fields of its own; it fails where the authority cannot be one.
pub(super) fn request(method: &str, scheme: &str, authority: &str, path: &str) -> Result<Request<()>, Finding> {
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let made = uri.and_then(|uri| {
        let agent = concat!("farmgate/", env!("CARGO_PKG_VERSION"));
        let fields = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        fields.header("user-agent", agent).header("accept", "*/*").body(())
    });
    made.map_err(|error| {
        let words = format!("cannot ask \"{authority}\" for \"{path}\": {error}");
        Finding::new(CheckStatus::SockErr, None, &words)
    })
}

/// Sends the request and returns the first verdict on what has arrived.
pub(super) async fn exchange<S>(
    stream: &mut Traced<'_, S>,
    request: Request<()>,
    body: Bytes,
    deadline: Deadline,
    verdict: impl Fn(&Answer) -> Option<Finding>,
) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = Answer::default();
    let asked = request_text(&request);
    let ended = timeout_at(deadline.at, drive(stream, request, body, &mut answer, &verdict)).await;
    let finding = match ended {
        Ok(Ok(Some(finding))) => finding,
        Ok(Ok(None)) => {
            let words = format!("connection closed, {}", answer.what_is_missing(stream.trace));
            Finding::new(CheckStatus::L7Rsp, answer.code(), &words)
        }
        Ok(Err(error)) => broken(&error, &answer, stream.trace),
        Err(_) => {
            let missing = answer.what_is_missing(stream.trace);
            let words = format!("no whole reply within {:?}, {missing}", deadline.after);
            Finding::new(CheckStatus::L7Tout, answer.code(), &words)
        }
    };
    if let Some((status, fields)) = &answer.head {
        let mut told = format!("HTTP/2 {}\r\n", status.as_u16());
        push_fields(&mut told, fields);
        told.push_str("\r\n");
        told.push_str(&String::from_utf8_lossy(&answer.body));
        if let Some(trailers) = &answer.trailers {
            told.push_str("\r\n");
            push_fields(&mut told, trailers);
        }
        stream.trace.put_in_words(&asked, &told);
    }
    finding
}

/// Drives the connection while the request is answered. Nothing, where the answer ended without a verdict.
async fn drive<S>(
    stream: &mut Traced<'_, S>,
    request: Request<()>,
    body: Bytes,
    answer: &mut Answer,
    verdict: &impl Fn(&Answer) -> Option<Finding>,
) -> Result<Option<Finding>, h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    builder.initial_window_size(u32::try_from(BODY_BYTES_LOOKED_AT).unwrap_or(u32::MAX));
    builder.max_concurrent_reset_streams(RESETS_MAX);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
    let mut connection = Box::pin(connection);
    let mut talk = pin!(talk(sender, request, body, answer, verdict));
    tokio::select! {
        biased;
        ended = &mut talk => ended,
        ended = &mut connection => {
            // What has arrived is looked at first. A connection whose writing failed has told its streams nothing: they
            // are told when it goes.
            drop(connection);
            talk.await.or_else(|error| ended.and(Err(error)))
        }
    }
}

async fn talk(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    answer: &mut Answer,
    verdict: &impl Fn(&Answer) -> Option<Finding>,
) -> Result<Option<Finding>, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut sending) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sending.send_data(body, true)?;
    }
    let (head, mut reply) = response.await?.into_parts();
    answer.head = Some((head.status, head.headers));
    // What came with the head is looked at together with it.
    let with_head = poll_fn(|context| {
        Poll::Ready(match reply.poll_data(context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => None,
        })
    });
    if let Some(piece) = with_head.await {
        take(answer, &mut reply, &piece?)?;
    }
    loop {
        if reply.is_end_stream() {
            answer.is_complete = true;
        }
        if let Some(finding) = verdict(answer) {
            return Ok(Some(finding));
        }
        if answer.is_complete {
            return Ok(None);
        }
        match reply.data().await {
            Some(piece) => take(answer, &mut reply, &piece?)?,
            None => {
                answer.trailers = reply.trailers().await?;
                answer.is_complete = true;
            }
        }
    }
}

fn take(answer: &mut Answer, reply: &mut RecvStream, piece: &Bytes) -> Result<(), h2::Error> {
    let room = BODY_BYTES_LOOKED_AT.saturating_sub(answer.body.len());
    answer.body.extend_from_slice(&piece[..piece.len().min(room)]);
    reply.flow_control().release_capacity(piece.len())
}

/// Says why there is no answer, or no whole one.
fn broken(error: &h2::Error, answer: &Answer, trace: &Trace) -> Finding {
    let received = trace.received();
    let words = if received.starts_with(HTTP1) {
        let line = received.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        format!("server speaks HTTP/1 and not HTTP/2: {}", String::from_utf8_lossy(line))
    } else if received.get(FRAME_TYPE_AT).is_some_and(|first| *first != SETTINGS) {
        format!("not an HTTP/2 reply: {}", String::from_utf8_lossy(received))
    } else if let Some(error) = error.get_io() {
        // The stream is told the kind of error only; the system's own is in the notes.
        let words = trace.errno.map_or_else(|| errno_text(error), |n| errno_text(&io::Error::from_raw_os_error(n)));
        format!("{words}, {}", answer.what_is_missing(trace))
    } else {
        format!("{error}, {}", answer.what_is_missing(trace))
    };
    Finding::new(CheckStatus::L7Rsp, answer.code(), &words)
}

fn request_text(request: &Request<()>) -> String {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut text = format!("{} {path} HTTP/2\r\nhost: {authority}\r\n", request.method());
    push_fields(&mut text, request.headers());
    text.push_str("\r\n");
    text
}

fn push_fields(text: &mut String, fields: &HeaderMap) {
    for (name, value) in fields {
        // Writing to a String cannot fail.
        write!(text, "{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())).ok();
    }
}

#[cfg(test)]
mod tests;
