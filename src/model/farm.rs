//! A farm: servers of one protocol with balance, probe, timeouts and retry rules.

use std::sync::Arc;
use std::time::Duration;

use super::id::{FarmId, Name};
use super::probe::Probe;
use super::server::Server;

/// What a frontend or farm speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP requests.
    Http,
    /// Raw TCP connections.
    Tcp,
}

impl Protocol {
    /// Returns the word of the config file and of OVHcloud's paths.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// How a farm spreads new work; the words are OVHcloud's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The first eligible server in the order written.
    First,
    /// The least in-flight work per weight.
    LeastConn,
    /// Smooth weighted turns.
    RoundRobin,
    /// A hash of the client's address.
    Source,
    /// A hash of the request's path, up to `?`.
    Uri,
}

impl Balance {
    /// Returns the word of the config file and of OVHcloud's `balance`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::LeastConn => "leastconn",
            Self::RoundRobin => "roundrobin",
            Self::Source => "source",
            Self::Uri => "uri",
        }
    }

    /// Returns the algorithm of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::First, Self::LeastConn, Self::RoundRobin, Self::Source, Self::Uri]
            .into_iter()
            .find(|b| b.as_str() == word)
    }
}

/// What happens when every server of a farm is Down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailOpen {
    /// Refuse the work.
    Never,
    /// Use the Down servers rather than refuse.
    WhenAllDown,
}

/// Deadlines towards the servers of a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarmTimeouts {
    /// To establish a connection.
    pub connect: Duration,
    /// HTTP: from the end of the request to the head of the response, and between two reads of its body.
    pub response: Duration,
    /// HTTP: how long an unused connection to a server is kept. TCP: how long both sides may be silent.
    pub idle: Duration,
}

/// A farm as declared, with overrides applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Farm {
    /// Its numeric id, derived from its name.
    pub id: FarmId,
    /// Its name.
    pub name: Name,
    /// What its servers speak.
    pub protocol: Protocol,
    /// How new work is spread.
    pub balance: Balance,
    /// How its servers are checked, if at all.
    pub probe: Option<Arc<Probe>>,
    /// Deadlines towards its servers.
    pub timeouts: FarmTimeouts,
    /// How many other servers are tried after a connect failure; 0 = none.
    pub retry_attempts: u8,
    /// What happens when every server is Down.
    pub fail_open: FailOpen,
    /// Its servers, in the order written.
    pub servers: Vec<Arc<Server>>,
}
