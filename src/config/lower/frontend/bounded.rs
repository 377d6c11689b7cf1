//! `timeouts` and `limits` of a frontend: what clients may take and send.

use super::{Ground, heads};
use crate::config::bounds::{
    BODY, BODY_BYTES, BODY_RATE_MIN, CLIENT_IDLE, CONNECTIONS, HANDSHAKE, HANDSHAKES, HEADER, HEADER_BYTES,
    HEADER_FIELDS, PER_SOURCE, RATE_REQUESTS, RATE_WINDOW, SESSION, STREAMS, TUNNEL, URI_BYTES, WRITE,
};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::config::units::show_size;
use crate::model::{FrontendTimeouts, Limits, Protocol, RateKey, RateLimit};

/// Lowers `timeouts`.
pub(super) fn timeouts(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> FrontendTimeouts {
    section.or(findings, "timeouts", FrontendTimeouts::default(), |value, findings| {
        let section = value.section(findings, keys::FRONTEND_TIMEOUTS)?;
        let of_requests = ["header", "body", "idle", "write", "tunnel"];
        ground.warn_of(&section, &of_requests, &[Protocol::Tcp, Protocol::Udp], findings);
        ground.warn_of(&section, &["handshake"], &[Protocol::Udp], findings);
        ground.warn_of(&section, &["session"], &[Protocol::Http, Protocol::Udp], findings);
        let read = FrontendTimeouts {
            handshake: section.duration(findings, "handshake", &HANDSHAKE),
            header: section.duration(findings, "header", &HEADER),
            body: section.duration(findings, "body", &BODY),
            idle: section.duration(findings, "idle", &CLIENT_IDLE),
            write: section.duration(findings, "write", &WRITE),
            tunnel: section.duration(findings, "tunnel", &TUNNEL),
            session: section.get("session").and_then(|value| value.duration(findings, &SESSION)),
        };
        // What has no effect is as if it were not written.
        let (handshake, session) = (read.handshake, read.session);
        Some(match ground.protocol {
            None | Some(Protocol::Http) => FrontendTimeouts { session: None, ..read },
            Some(Protocol::Tcp) => FrontendTimeouts { handshake, session, ..FrontendTimeouts::default() },
            Some(Protocol::Udp) => FrontendTimeouts::default(),
        })
    })
}

/// Lowers `limits`.
pub(super) fn limits(section: &Section<'_>, ground: Ground<'_>, findings: &mut Findings) -> Limits {
    section.or(findings, "limits", Limits::default(), |value, findings| {
        let section = value.section(findings, keys::LIMITS)?;
        let of_requests =
            ["header_bytes", "header_fields", "uri_bytes", "body_bytes", "body_rate_min", "streams", "rate"];
        ground.warn_of(&section, &of_requests, &[Protocol::Tcp, Protocol::Udp], findings);
        ground.warn_of(&section, &["handshakes", "connections_per_source"], &[Protocol::Udp], findings);
        let header_bytes = section.size(findings, "header_bytes", &HEADER_BYTES);
        let uri_bytes = section.size(findings, "uri_bytes", &URI_BYTES);
        if let Some(value) = section.get("uri_bytes")
            && uri_bytes > header_bytes
        {
            let head = show_size(header_bytes.into());
            value.refuse(findings, format!("is more than header_bytes, {head}, which holds the target too; lower it"));
        }
        let remedy = "write a number within";
        let read = Limits {
            connections: section.number(findings, "connections", &CONNECTIONS, remedy),
            connections_per_source: section.number(findings, "connections_per_source", &PER_SOURCE, "0 is no bound"),
            handshakes: section.number(findings, "handshakes", &HANDSHAKES, remedy),
            header_bytes,
            header_fields: section.number(findings, "header_fields", &HEADER_FIELDS, remedy),
            uri_bytes: uri_bytes.min(header_bytes),
            body_bytes: section.size(findings, "body_bytes", &BODY_BYTES),
            body_rate_min: section.size(findings, "body_rate_min", &BODY_RATE_MIN),
            streams: section.number(findings, "streams", &STREAMS, remedy),
            rate: section.get("rate").and_then(|value| rate(&value, findings)),
        };
        let (connections, handshakes) = (read.connections, read.handshakes);
        let connections_per_source = read.connections_per_source;
        Some(match ground.protocol {
            None | Some(Protocol::Http) => read,
            Some(Protocol::Tcp) => Limits { connections, connections_per_source, handshakes, ..Limits::default() },
            Some(Protocol::Udp) => Limits { connections, ..Limits::default() },
        })
    })
}

fn rate(value: &Value<'_>, findings: &mut Findings) -> Option<RateLimit> {
    let section = value.section(findings, keys::RATE)?;
    let per = section.or(findings, "per", RateKey::Source, |value, findings| {
        if value.is_scalar() {
            let remedy = "is not source or {header: NAME}; write one of the two";
            return value.parsed(findings, "source or {header: NAME}", |text| {
                (text == "source").then_some(RateKey::Source).ok_or(remedy)
            });
        }
        heads::by_header(value, findings).map(RateKey::Header)
    });
    let requests = section
        .need(findings, "requests", "write how many requests a window one client may send")
        .and_then(|value| value.number(findings, &RATE_REQUESTS, "count requests a window"));
    let window = section.duration(findings, "window", &RATE_WINDOW);
    let burst = section.or(findings, "burst", requests, |value, findings| {
        value.number(findings, &RATE_REQUESTS, "it counts requests that may come at once").map(Some)
    });
    Some(RateLimit { per, requests: requests?, window, burst: burst? })
}
