//! What a config file declares about logs.

use std::path::PathBuf;

/// The form of a line of the process log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The form of a line of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// The Common Log Format of NCSA and Apache.
    Clf,
    /// The Common Log Format with Referer and User-Agent behind it.
    Combined,
    /// One JSON object a line, with the fields that are asked for.
    Json,
    /// For people.
    Text,
}

/// A field of the JSON access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessField {
    /// The protocol that client and balancer agreed on in the TLS handshake.
    Alpn,
    /// When it ended.
    At,
    /// Body bytes from the client.
    BytesIn,
    /// Body bytes to the client.
    BytesOut,
    /// Who sent it, with the port.
    Client,
    /// How long the connection to the server took, in microseconds.
    ConnectUs,
    /// From the head's arrival to the end, in microseconds.
    DurationUs,
    /// The farm that it was given to.
    Farm,
    /// From the head's arrival to the head of the server's answer, in microseconds.
    FirstByteUs,
    /// Where it came in.
    Frontend,
    /// Host as received.
    Host,
    /// Method; `TCP` for a raw connection.
    Method,
    /// The id that the balancer gave it, where another one was accepted.
    OwnId,
    /// The version of HTTP that the client spoke.
    Protocol,
    /// How long it waited for a server to have room, in microseconds.
    QueueUs,
    /// Why Farmgate itself ended it.
    Reason,
    /// Referer as received.
    Referer,
    /// Its id: the accepted one, or its own.
    RequestId,
    /// Other servers tried.
    Retries,
    /// The route that took it.
    Route,
    /// The server that it was given to last.
    Server,
    /// The name that the client asked for in the TLS handshake.
    Sni,
    /// Status sent; 0 if none.
    Status,
    /// Request target as received.
    Target,
    /// Who ended it, in which phase.
    Termination,
    /// The version of TLS that the client spoke.
    Tls,
    /// The trace that it is part of.
    TraceId,
    /// User-Agent as received.
    UserAgent,
}

impl AccessField {
    /// Every field with its word, in the order in which a line has them.
    pub const WORDS: &[(&str, Self)] = &[
        ("at", Self::At),
        ("request_id", Self::RequestId),
        ("own_id", Self::OwnId),
        ("trace_id", Self::TraceId),
        ("client", Self::Client),
        ("frontend", Self::Frontend),
        ("route", Self::Route),
        ("farm", Self::Farm),
        ("server", Self::Server),
        ("method", Self::Method),
        ("target", Self::Target),
        ("host", Self::Host),
        ("protocol", Self::Protocol),
        ("tls", Self::Tls),
        ("sni", Self::Sni),
        ("alpn", Self::Alpn),
        ("user_agent", Self::UserAgent),
        ("referer", Self::Referer),
        ("status", Self::Status),
        ("bytes_in", Self::BytesIn),
        ("bytes_out", Self::BytesOut),
        ("duration_us", Self::DurationUs),
        ("queue_us", Self::QueueUs),
        ("connect_us", Self::ConnectUs),
        ("first_byte_us", Self::FirstByteUs),
        ("retries", Self::Retries),
        ("termination", Self::Termination),
        ("reason", Self::Reason),
    ];

    /// What a line has where the file does not say: everything but what a client may write at length about itself.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let is_usual = |field: &Self| !matches!(field, Self::UserAgent | Self::Referer);
        Self::WORDS.iter().map(|(_, field)| *field).filter(is_usual).collect()
    }

    /// Returns the word of the config file, which is the key of the line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, field)| *field == self).map_or("", |(word, _)| word)
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file it is appended to.
    pub path: PathBuf,
    /// The form of a line.
    pub format: AccessFormat,
    /// What a JSON line has, in this order; the other forms have their own.
    pub fields: Vec<AccessField>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Least level of the process log: error, warn, info, debug or trace.
    pub level: Box<str>,
    /// Form of the process log, on standard error.
    pub format: LogFormat,
    /// One line a request, if wanted.
    pub access: Option<AccessLog>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_one_word_that_leads_back_to_it() {
        for (word, field) in AccessField::WORDS {
            assert_eq!(field.as_str(), *word);
        }
        assert_eq!(AccessField::usual().len(), AccessField::WORDS.len() - 2);
    }
}
