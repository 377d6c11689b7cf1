//! Makes the spans of a request that has ended: one of the request as it was received, and one of each attempt at a
//! server. What they tell has the names of OpenTelemetry's conventions for HTTP, and `farmgate.` before what is ours.
//! Queries are left out: they are where secrets are. Does no IO.

use std::borrow::Cow;
use std::time::Instant;

use crate::farm::ServerEntry;
use crate::model::AttemptOutcome;
use crate::model::trace::{EndedBy, Termination};
use crate::telemetry::access::AccessLine;
use crate::telemetry::traces::{Parent, Role, Span, Value};

use super::state::Exchange;
use super::traced::{Recorded, Tried};

/// Methods that are told as they are; any other could be anything.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// What another method is told as.
const OTHER_METHOD: &str = "_OTHER";
/// What a span is called whose method is not told.
const NAMELESS: &str = "HTTP";
/// Bytes of a text of the client's that are told.
const TEXT_BYTES_MAX: usize = 1024;

type Attributes = Vec<(&'static str, Value)>;

/// Returns the spans of a request; `line` is what its access log line tells.
pub(super) fn spans(exchange: &Exchange, recorded: &Recorded, line: &AccessLine<'_>) -> Vec<Span> {
    let mut spans = Vec::with_capacity(1 + recorded.attempts.len());
    let ended_ns = recorded.began.0.saturating_mul(1000).saturating_add(nanos(line.duration));
    let whole = Whole { exchange, recorded, line, ended_ns };
    spans.push(whole.request());
    spans.extend(recorded.attempts.iter().enumerate().filter_map(|(n, tried)| whole.attempt(n, tried)));
    spans
}

/// A request that has ended.
struct Whole<'a> {
    exchange: &'a Exchange,
    recorded: &'a Recorded,
    line: &'a AccessLine<'a>,
    ended_ns: u64,
}

impl Whole<'_> {
    fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.exchange.started);
        self.recorded.began.0.saturating_mul(1000).saturating_add(nanos(since))
    }

    fn span(&self, id: u64, role: Role) -> Span {
        let method = self.line.method;
        Span {
            trace: self.recorded.trace,
            id,
            parent: Some(Parent { id: self.recorded.span, is_remote: false }),
            state: self.recorded.state.clone(),
            role,
            name: if METHODS.contains(&method) { method.into() } else { NAMELESS.into() },
            began_ns: self.recorded.began.0.saturating_mul(1000),
            ended_ns: self.ended_ns,
            attributes: Vec::new(),
            is_failed: false,
        }
    }

    /// As it was received.
    fn request(&self) -> Span {
        let line = self.line;
        let mut attributes = self.common();
        let mut tell = |name: &'static str, text: &[u8]| {
            if !text.is_empty() {
                attributes.push((name, text_of(text)));
            }
        };
        let (host, port) = split_port(line.host);
        tell("url.path", path(line.target));
        tell("server.address", host);
        tell("user_agent.original", line.user_agent);
        tell("network.protocol.version", version(line.protocol).as_bytes());
        tell("farmgate.frontend", line.frontend.as_bytes());
        tell("farmgate.route", line.route.as_bytes());
        tell("farmgate.reason", line.reason.unwrap_or_default().as_bytes());
        if let Some((farm, server)) = line.server {
            tell("farmgate.farm", farm.as_bytes());
            tell("farmgate.server", server.as_bytes());
        }
        if let Some(connection) = &self.exchange.connection {
            tell("url.scheme", connection.from.scheme().as_bytes());
        }
        attributes.extend(port.map(|port| ("server.port", port.into())));
        attributes.push(("client.address", line.client.ip().to_string().into()));
        attributes.push(("client.port", line.client.port().into()));
        attributes.push(("farmgate.request_id", line.request_id.to_string().into()));
        attributes.push(("farmgate.termination", line.termination.to_string().into()));
        attributes.push(("farmgate.retries", line.retries.into()));
        if let Some(waited) = line.queue {
            attributes
                .push(("farmgate.queue_us", Value::Number(i64::try_from(waited.as_micros()).unwrap_or(i64::MAX))));
        }
        if line.status > 0 {
            attributes.push(("http.response.status_code", line.status.into()));
        }
        let is_failed = line.status >= 500 || is_failure(line.termination);
        if is_failed {
            let kind = if line.status >= 500 { line.status.to_string() } else { line.termination.to_string() };
            attributes.push(("error.type", kind.into()));
        }
        let parent = self.recorded.parent.map(|id| Parent { id, is_remote: true });
        Span { parent, attributes, is_failed, ..self.span(self.recorded.span, Role::Server) }
    }

    /// As it was sent to a server; nothing, where that is not known any more.
    fn attempt(&self, n: usize, tried: &Tried) -> Option<Span> {
        let farm = self.exchange.route.as_ref()?.farm();
        let entry = farm.servers.get(tried.position)?;
        let mut attributes = self.common();
        if let Some(addr) = entry.addr {
            let path = String::from_utf8_lossy(bounded(path(self.line.target)));
            attributes.push(("server.address", addr.ip().to_string().into()));
            attributes.push(("server.port", addr.port().into()));
            attributes.push(("url.full", format!("{}://{addr}{path}", scheme(entry)).into()));
        }
        attributes.push(("farmgate.farm", farm.farm.name.as_str().into()));
        attributes.push(("farmgate.server", entry.server.name.as_str().into()));
        attributes.push(("farmgate.chosen_by", tried.chosen_by.as_str().into()));
        if n > 0 {
            attributes.push(("http.request.resend_count", Value::Number(i64::try_from(n).unwrap_or(i64::MAX))));
        }
        attributes.extend(tried.status.map(|status| ("http.response.status_code", status.into())));
        let failure = self.failure_of(tried);
        let outcome = tried.ended.map(|(_, outcome)| outcome);
        let outcome = if failure.is_none() { Some(outcome.unwrap_or(AttemptOutcome::Answered)) } else { outcome };
        attributes.extend(outcome.map(|outcome| ("farmgate.outcome", outcome.as_str().into())));
        let is_failed = failure.is_some();
        attributes.extend(failure.map(|kind| ("error.type", kind.into_owned().into())));
        let ended_ns = tried.ended.map_or(self.ended_ns, |(at, _)| self.at(at));
        let began_ns = self.at(tried.began);
        Some(Span { began_ns, ended_ns, attributes, is_failed, ..self.span(tried.span, Role::Client) })
    }

    /// Returns what went wrong with an attempt, if anything did.
    fn failure_of(&self, tried: &Tried) -> Option<Cow<'static, str>> {
        match (tried.ended, tried.status) {
            (Some((_, outcome)), _) if outcome != AttemptOutcome::Answered => Some(outcome.as_str().into()),
            (_, Some(status)) if status >= 400 => Some(status.to_string().into()),
            (None, _) if is_failure(self.line.termination) => Some(self.line.termination.to_string().into()),
            (Some(_) | None, Some(_) | None) => None,
        }
    }

    /// What is told of the request on both sides.
    fn common(&self) -> Attributes {
        match self.line.method {
            "" => Vec::new(),
            method if METHODS.contains(&method) => vec![("http.request.method", method.into())],
            method => vec![
                ("http.request.method", OTHER_METHOD.into()),
                ("http.request.method_original", text_of(method.as_bytes())),
            ],
        }
    }
}

/// Returns whether a request that ended so failed for another reason than its client.
fn is_failure(termination: Termination) -> bool {
    match termination.by {
        EndedBy::Balancer | EndedBy::Bug | EndedBy::Server | EndedBy::ServerTimeout | EndedBy::TakenOut => true,
        EndedBy::Client | EndedBy::ClientTimeout | EndedBy::Local | EndedBy::Nobody | EndedBy::Proxy => false,
    }
}

fn scheme(entry: &ServerEntry) -> &'static str {
    if entry.server.tls.is_some() { "https" } else { "http" }
}

/// The version as the conventions have it: `1.1`, `2`.
fn version(protocol: &str) -> &str {
    let version = protocol.strip_prefix("HTTP/").unwrap_or_default();
    version.strip_suffix(".0").filter(|major| *major != "1").unwrap_or(version)
}

fn path(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

fn bounded(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT_BYTES_MAX)]
}

fn text_of(text: &[u8]) -> Value {
    String::from_utf8_lossy(bounded(text)).into_owned().into()
}

/// Splits a Host into name and port.
fn split_port(host: &[u8]) -> (&[u8], Option<u16>) {
    let Some(at) = host.iter().rposition(|byte| *byte == b':') else { return (host, None) };
    let port = std::str::from_utf8(&host[at + 1..]).ok().and_then(|port| port.parse().ok());
    // The colons of an IPv6 address stand in brackets.
    if port.is_some() && !host[at..].contains(&b']') { (&host[..at], port) } else { (host, None) }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_told_apart_from_its_port() {
        for (host, name, port) in [
            ("a.example", "a.example", None),
            ("a.example:81", "a.example", Some(81)),
            ("[::1]", "[::1]", None),
            ("[::1]:81", "[::1]", Some(81)),
            ("a:b", "a:b", None),
            ("", "", None),
        ] {
            assert_eq!(split_port(host.as_bytes()), (name.as_bytes(), port), "{host}");
        }
    }

    #[test]
    fn version_is_written_as_the_conventions_have_it() {
        assert_eq!(["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", ""].map(version), ["1.0", "1.1", "2", ""]);
    }

    #[test]
    fn query_is_no_part_of_what_is_told() {
        assert_eq!(path(b"/a?token=secret?x"), b"/a");
        assert_eq!(path(b""), b"");
    }
}
