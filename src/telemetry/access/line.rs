//! One line of the access log: what is known of a request, and its four forms. Pure.

use std::fmt::{Display, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::model::Timestamp;
use crate::model::settings::{AccessField, AccessFormat};
use crate::model::trace::Termination;

/// Months as the Common Log Format has them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// One request, as logged.
#[derive(Clone, Copy)]
pub struct AccessLine<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// Its id, the accepted one where there is one.
    pub request_id: &'a dyn Display,
    /// The id that the balancer gave it, where another one was accepted.
    pub own_id: Option<&'a dyn Display>,
    /// The trace that it is part of.
    pub trace_id: Option<&'a dyn Display>,
    /// Who sent it.
    pub client: SocketAddr,
    /// Where it came in.
    pub frontend: &'a str,
    /// The route that took it; empty if none.
    pub route: &'a str,
    /// The farm that it was given to, and the server that answered last.
    pub server: Option<(&'a str, &'a str)>,
    /// Method; empty if no head was read.
    pub method: &'a str,
    /// Request target as received.
    pub target: &'a [u8],
    /// Host as received.
    pub host: &'a [u8],
    /// The version of HTTP that the client spoke; empty if none.
    pub protocol: &'a str,
    /// The version of TLS that the client spoke; empty if none.
    pub tls: &'a str,
    /// The name that the client asked for in the TLS handshake; empty if none.
    pub sni: &'a [u8],
    /// What client and balancer agreed on in the TLS handshake; empty if nothing.
    pub alpn: &'a [u8],
    /// User-Agent as received.
    pub user_agent: &'a [u8],
    /// Referer as received.
    pub referer: &'a [u8],
    /// Status sent; 0 if none.
    pub status: u16,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// From the head's arrival to the end.
    pub duration: Duration,
    /// How long it waited for a server to have room, if it had to.
    pub queue: Option<Duration>,
    /// How long the connection to the server took.
    pub connect: Option<Duration>,
    /// From the head's arrival to the head of the server's answer.
    pub first_byte: Option<Duration>,
    /// Other servers tried.
    pub retries: u32,
    /// Who ended it, in which phase.
    pub termination: Termination,
    /// Why Farmgate itself ended it, if it did.
    pub reason: Option<&'static str>,
}

impl<'a> AccessLine<'a> {
    /// Returns a line about nothing yet but its id.
    #[must_use]
    pub fn new(request_id: &'a dyn Display) -> Self {
        Self {
            at: crate::clock::wall(),
            request_id,
            own_id: None,
            trace_id: None,
            client: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            frontend: "",
            route: "",
            server: None,
            method: "",
            target: b"",
            host: b"",
            protocol: "",
            tls: "",
            sni: b"",
            alpn: b"",
            user_agent: b"",
            referer: b"",
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            queue: None,
            connect: None,
            first_byte: None,
            retries: 0,
            termination: Termination::WELL,
            reason: None,
        }
    }

    /// Returns the line in a form, its end included; `fields` are those of the JSON form.
    pub(super) fn in_form(&self, format: AccessFormat, fields: &[AccessField]) -> String {
        match format {
            AccessFormat::Clf => self.clf(false),
            AccessFormat::Combined => self.clf(true),
            AccessFormat::Json => self.json(fields),
            AccessFormat::Text => self.text(),
        }
    }

    fn json(&self, fields: &[AccessField]) -> String {
        let mut line = String::with_capacity(384);
        for field in fields {
            self.push(&mut line, *field);
        }
        // Every field begins with a comma; the first one has the brace in its place.
        if line.is_empty() {
            line.push('{');
        } else {
            line.replace_range(..1, "{");
        }
        line.push_str("}\n");
        line
    }

    /// Appends a field; nothing, where there is nothing to say of it.
    fn push(&self, line: &mut String, field: AccessField) {
        let key = field.as_str();
        let micros = |duration: Duration| duration.as_micros();
        match field {
            AccessField::Alpn => push_some(line, key, self.alpn),
            AccessField::At => push_shown(line, key, &self.at),
            AccessField::BytesIn => push_number(line, key, self.bytes_in),
            AccessField::BytesOut => push_number(line, key, self.bytes_out),
            AccessField::Client => push_shown(line, key, &self.client),
            AccessField::ConnectUs => push_number_of(line, key, self.connect.map(micros)),
            AccessField::DurationUs => push_number(line, key, self.duration.as_micros()),
            AccessField::Farm => push_some(line, key, self.server.map_or("", |(farm, _)| farm).as_bytes()),
            AccessField::FirstByteUs => push_number_of(line, key, self.first_byte.map(micros)),
            AccessField::Frontend => push_text(line, key, self.frontend.as_bytes()),
            AccessField::Host => push_text(line, key, self.host),
            AccessField::Method => push_text(line, key, self.method.as_bytes()),
            AccessField::OwnId => {
                if let Some(id) = self.own_id {
                    push_shown(line, key, id);
                }
            }
            AccessField::Protocol => push_some(line, key, self.protocol.as_bytes()),
            AccessField::QueueUs => push_number_of(line, key, self.queue.map(micros)),
            AccessField::Reason => push_some(line, key, self.reason.unwrap_or_default().as_bytes()),
            AccessField::Referer => push_some(line, key, self.referer),
            AccessField::RequestId => push_text(line, key, self.request_id.to_string().as_bytes()),
            AccessField::Retries => push_number(line, key, self.retries),
            AccessField::Route => push_some(line, key, self.route.as_bytes()),
            AccessField::Server => push_some(line, key, self.server.map_or("", |(_, server)| server).as_bytes()),
            AccessField::Sni => push_some(line, key, self.sni),
            AccessField::Status => push_number(line, key, self.status),
            AccessField::Target => push_text(line, key, self.target),
            AccessField::Termination => push_shown(line, key, &self.termination),
            AccessField::Tls => push_some(line, key, self.tls.as_bytes()),
            AccessField::TraceId => {
                if let Some(id) = self.trace_id {
                    push_shown(line, key, id);
                }
            }
            AccessField::UserAgent => push_some(line, key, self.user_agent),
        }
    }

    fn text(&self) -> String {
        let (farm, server) = self.server.unwrap_or(("-", "-"));
        format!(
            "{} {} {} {farm}/{server} \"{} {}\" {} {} {}us {} \"{}\" id={}\n",
            self.at,
            self.client,
            self.frontend,
            or_dash(self.method),
            String::from_utf8_lossy(self.target).escape_default(),
            self.status,
            self.bytes_out,
            self.duration.as_micros(),
            self.termination,
            self.reason.unwrap_or("-"),
            // An accepted id is visible ASCII.
            self.request_id,
        )
    }

    /// `192.0.2.7 - - [21/Nov/2026:22:49:53 +0000] "GET / HTTP/1.1" 200 12 "referer" "user agent"`.
    fn clf(&self, is_combined: bool) -> String {
        let mut line = format!("{} - - [", self.client.ip());
        push_clf_time(&mut line, self.at);
        line.push_str("] \"");
        if self.method.is_empty() {
            line.push('-');
        } else {
            line.push_str(self.method);
            line.push(' ');
            push_quoted(&mut line, self.target);
            let _ = write!(line, " {}", or_dash(self.protocol));
        }
        let _ = write!(line, "\" {} ", self.status);
        match self.bytes_out {
            0 => line.push('-'),
            bytes => {
                let _ = write!(line, "{bytes}");
            }
        }
        if is_combined {
            for text in [self.referer, self.user_agent] {
                line.push_str(" \"");
                push_quoted(&mut line, if text.is_empty() { b"-" } else { text });
                line.push('"');
            }
        }
        line.push('\n');
        line
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn push_clf_time(line: &mut String, at: Timestamp) {
    // `2026-11-21T22:49:53.123Z` always has these places.
    let shown = at.to_string();
    let part = |range: std::ops::Range<usize>| shown.get(range).unwrap_or("-");
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let _ = write!(line, "{}/{}/{}:{} +0000", part(8..10), month.unwrap_or(&"-"), part(0..4), part(11..19));
}

/// Appends a text that stands between quotes: what could end the quotes or the line is written `\xhh`.
fn push_quoted(line: &mut String, text: &[u8]) {
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(line, "\\x{byte:02x}");
            }
            byte => line.push(char::from(*byte)),
        }
    }
}

fn push_number(line: &mut String, key: &str, number: impl Display) {
    let _ = write!(line, ",\"{key}\":{number}");
}

fn push_number_of(line: &mut String, key: &str, number: Option<u128>) {
    if let Some(number) = number {
        push_number(line, key, number);
    }
}

/// Appends what is shown without anything that JSON escapes.
fn push_shown(line: &mut String, key: &str, shown: &dyn Display) {
    let _ = write!(line, ",\"{key}\":\"{shown}\"");
}

/// Appends `,"key":"text"`, unless there is no text.
fn push_some(line: &mut String, key: &str, text: &[u8]) {
    if !text.is_empty() {
        push_text(line, key, text);
    }
}

/// Appends `,"key":"text"` with `text` escaped as JSON asks; bytes that are no UTF-8 are replaced.
fn push_text(line: &mut String, key: &str, text: &[u8]) {
    let _ = write!(line, ",\"{key}\":\"");
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::trace::{EndPhase, EndedBy};

    const NASTY: &[u8] = b"/a\" 200\n\\\xff";

    #[test]
    fn json_line_has_the_fields_that_are_asked_for_in_their_order() {
        let termination = Termination::new(EndedBy::Server, EndPhase::Head);
        let line =
            AccessLine { status: 502, termination, connect: Some(Duration::from_millis(2)), ..AccessLine::new(&"i") };
        let fields = [AccessField::Status, AccessField::RequestId, AccessField::Termination, AccessField::ConnectUs];
        let said = line.in_form(AccessFormat::Json, &fields);
        assert_eq!(said, "{\"status\":502,\"request_id\":\"i\",\"termination\":\"SH\",\"connect_us\":2000}\n");
        assert_eq!(line.in_form(AccessFormat::Json, &[]), "{}\n");
        assert_eq!(line.in_form(AccessFormat::Json, &[AccessField::Sni]), "{}\n");
    }

    #[test]
    fn common_and_combined_lines_are_read_by_what_reads_apaches() {
        let line = AccessLine {
            at: Timestamp(1_795_301_393_123_456),
            client: "192.0.2.7:1".parse().unwrap(),
            method: "GET",
            target: b"/a?b=\"c",
            protocol: "HTTP/1.1",
            status: 200,
            bytes_out: 12,
            user_agent: b"curl/8 \"x\"",
            ..AccessLine::new(&"i")
        };
        let common = "192.0.2.7 - - [21/Nov/2026:22:49:53 +0000] \"GET /a?b=\\x22c HTTP/1.1\" 200 12";
        assert_eq!(line.in_form(AccessFormat::Clf, &[]), format!("{common}\n"));
        assert_eq!(line.in_form(AccessFormat::Combined, &[]), format!("{common} \"-\" \"curl/8 \\x22x\\x22\"\n"));
        let none = AccessLine { at: line.at, ..AccessLine::new(&"i") };
        assert!(none.in_form(AccessFormat::Clf, &[]).ends_with("\"-\" 0 -\n"));
    }

    proptest! {
        #[test]
        fn line_is_one_line_of_its_form_whatever_the_client_sent(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for text in [&text[..], NASTY] {
                let line = AccessLine {
                    target: text, host: text, user_agent: text, referer: text, sni: text, alpn: text, method: "GET",
                    ..AccessLine::new(&"id-1")
                };
                let all: Vec<_> = AccessField::WORDS.iter().map(|(_, field)| *field).collect();
                for format in [AccessFormat::Clf, AccessFormat::Combined, AccessFormat::Json, AccessFormat::Text] {
                    let said = line.in_form(format, &all);
                    prop_assert_eq!(said.matches('\n').count(), 1);
                    prop_assert!(said.ends_with('\n'));
                }
                let value: serde_json::Value = serde_json::from_str(&line.in_form(AccessFormat::Json, &all)).unwrap();
                prop_assert_eq!(value["target"].as_str().unwrap(), String::from_utf8_lossy(text));
                let combined = line.in_form(AccessFormat::Combined, &all);
                prop_assert_eq!(combined.matches('"').count(), 6);
            }
        }
    }
}
