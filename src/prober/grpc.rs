//! The gRPC probe: `grpc.health.v1.Health/Check` of one service.
//!
//! One request and one reply message, whose single fields are read and written here. The call's own status is in the
//! trailers, or in the head where there is no message. Source: grpc.io `PROTOCOL-HTTP2.md`, `health.proto` of
//! grpc.health.v1.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::expect::BODY_BYTES_LOOKED_AT;
use crate::model::{CheckStatus, Encryption};

use super::check::{Deadline, Finding};
use super::http2::{Answer, exchange, request, scheme};
use super::trace::Traced;

const PATH: &str = "/grpc.health.v1.Health/Check";
const CONTENT_TYPE: &str = "application/grpc";
/// Bytes before a message: a flag and its length.
const PREFIX_BYTES: usize = 5;
/// `HealthCheckRequest.service` and `HealthCheckResponse.status`: both are field 1.
const FIELD: u64 = 1;

/// The statuses of a call, by number.
const CALL_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `HealthCheckResponse.ServingStatus`, by number.
const SERVING_STATUSES: [&str; 4] = ["UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: &str = "SERVING";

/// Asks how the service does; an empty one is the server as a whole.
pub(super) async fn ask<S>(
    stream: &mut Traced<'_, S>,
    service: &str,
    encryption: Encryption,
    authority: &str,
    deadline: Deadline,
) -> Finding
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = match request("POST", scheme(encryption), authority, PATH) {
        Ok(request) => request,
        Err(finding) => return finding,
    };
    let fields = request.headers_mut();
    fields.remove("accept");
    fields.insert("content-type", HeaderValue::from_static(CONTENT_TYPE));
    fields.insert("te", HeaderValue::from_static("trailers"));
    exchange(stream, request, Bytes::from(message(service)), deadline, verdict).await
}

/// Returns a framed `HealthCheckRequest`.
fn message(service: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if !service.is_empty() {
        push_varint(&mut body, FIELD << 3 | 2);
        push_varint(&mut body, service.len() as u64);
        body.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &body].concat()
}

/// Returns the verdict once the call has ended, or can end well no more.
fn verdict(answer: &Answer) -> Option<Finding> {
    let rejected = |words: &str| Some(Finding::new(CheckStatus::L7Rsp, None, words));
    let (status, head) = answer.head.as_ref()?;
    if let Some(call) = call_status(head) {
        return Some(judge(call, head, &answer.body));
    }
    if *status != StatusCode::OK {
        let words = format!("HTTP {status} and no gRPC");
        return Some(Finding::new(CheckStatus::L7Sts, Some(status.as_u16()), &words));
    }
    let content_type = head.get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(CONTENT_TYPE.as_bytes()) {
        return rejected(&format!("not a gRPC reply: its type is \"{}\"", String::from_utf8_lossy(content_type)));
    }
    if answer.body.len() >= BODY_BYTES_LOOKED_AT {
        return rejected(&format!("reply is longer than {BODY_BYTES_LOOKED_AT} bytes"));
    }
    if !answer.is_complete {
        return None;
    }
    match answer.trailers.as_ref().and_then(|fields| Some((call_status(fields)?, fields))) {
        Some((call, fields)) => Some(judge(call, fields, &answer.body)),
        None => rejected("reply ended without a grpc-status"),
    }
}

fn call_status(fields: &HeaderMap) -> Option<u16> {
    let text = fields.get("grpc-status")?.to_str().ok()?;
    // A status that is no number counts as UNKNOWN (PROTOCOL-HTTP2.md says so of clients).
    Some(text.parse().unwrap_or(2))
}

fn judge(call: u16, fields: &HeaderMap, body: &[u8]) -> Finding {
    if call != 0 {
        let name = CALL_STATUSES.get(usize::from(call)).copied().unwrap_or("unknown");
        let said = fields.get("grpc-message").map(|text| percent_decoded(text.as_bytes())).unwrap_or_default();
        let separator = if said.is_empty() { "" } else { ": " };
        return Finding::new(CheckStatus::L7Sts, Some(call), &format!("grpc-status {call} {name}{separator}{said}"));
    }
    match serving_status(body) {
        Err(words) => Finding::new(CheckStatus::L7Rsp, Some(call), words),
        Ok(number) => {
            let name = usize::try_from(number).ok().and_then(|number| SERVING_STATUSES.get(number)).copied();
            let status = if name == Some(SERVING) { CheckStatus::L7Ok } else { CheckStatus::L7Sts };
            let words = name.map_or_else(|| format!("unknown serving status {number}"), str::to_owned);
            Finding::new(status, Some(call), &words)
        }
    }
}

/// Reads the number in a framed `HealthCheckResponse`; 0 where it is left out, as protobuf does with zeros.
fn serving_status(body: &[u8]) -> Result<u64, &'static str> {
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX_BYTES>() else { return Err("reply has no message") };
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return Err("reply message is compressed, which was not asked for");
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let Some(mut rest) = rest.get(..length) else { return Err("reply message is cut off") };
    let mut status = 0;
    while !rest.is_empty() {
        let field = take_varint(&mut rest).ok_or(NOT_PROTOBUF)?;
        let skipped = match (field >> 3, field & 7) {
            (FIELD, 0) => {
                status = take_varint(&mut rest).ok_or(NOT_PROTOBUF)?;
                0
            }
            (_, 0) => take_varint(&mut rest).map(|_| 0).ok_or(NOT_PROTOBUF)?,
            (_, 1) => 8,
            (_, 2) => take_varint(&mut rest).ok_or(NOT_PROTOBUF)?,
            (_, 5) => 4,
            _ => return Err(NOT_PROTOBUF),
        };
        rest = usize::try_from(skipped).ok().and_then(|skipped| rest.get(skipped..)).ok_or(NOT_PROTOBUF)?;
    }
    Ok(status)
}

const NOT_PROTOBUF: &str = "reply message is not protobuf";

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        bytes.push(low | 0x80);
        number >>= 7;
    }
    let [last, ..] = number.to_le_bytes();
    bytes.push(last);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Undoes the escapes of `grpc-message`; what is no escape stays.
fn percent_decoded(text: &[u8]) -> String {
    let digit =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
