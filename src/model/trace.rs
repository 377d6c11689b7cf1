//! What became of one recent request: where it went, why there, and how each attempt ended. For explain.

use std::net::IpAddr;
use std::time::Duration;

use super::farm::Balance;
use super::id::{FarmId, FrontendId, Generation, RouteId, ServerId};
use super::time::Timestamp;

/// Attempts of one request that are remembered: the first ones.
pub const ATTEMPTS_MAX: usize = 4;

/// One request, or raw TCP connection, that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// Its id, as error pages and the access log have it.
    pub id: Box<str>,
    /// When it ended.
    pub at: Timestamp,
    /// Who sent it.
    pub client: IpAddr,
    /// Where it came in.
    pub frontend: FrontendId,
    /// The route that took it; none if no route did.
    pub route: Option<RouteId>,
    /// The farm that it was given to; none if it was refused before.
    pub farm: Option<FarmId>,
    /// The table by which its servers were chosen; none if it was refused before.
    pub generation: Option<Generation>,
    /// The servers that it was given to, in order; at most [`ATTEMPTS_MAX`].
    pub attempts: Vec<Attempt>,
    /// How many there were.
    pub attempts_total: u32,
    /// The status sent to the client; 0 if none.
    pub status: u16,
    /// From the head's arrival to the end.
    pub duration: Duration,
    /// How long it waited for servers to have room, if it had to.
    pub queue: Option<Duration>,
    /// Why Farmgate itself ended it, if it did.
    pub reason: Option<&'static str>,
    /// Who ended it, in which phase.
    pub termination: Termination,
    /// The id under which a trusted proxy sent it, if it did.
    pub outside_id: Option<Box<str>>,
}

/// Who ended a request or connection, and in which phase: two letters, as HAProxy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Termination {
    /// Who.
    pub by: EndedBy,
    /// In which phase.
    pub phase: EndPhase,
}

impl Termination {
    /// It came to its natural end.
    pub const WELL: Self = Self { by: EndedBy::Nobody, phase: EndPhase::Over };

    /// Returns the end brought about by somebody in a phase.
    #[must_use]
    pub fn new(by: EndedBy, phase: EndPhase) -> Self {
        Self { by, phase }
    }
}

impl std::fmt::Display for Termination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        f.write_char(self.by.letter())?;
        f.write_char(self.phase.letter())
    }
}

/// Who ended a request or connection before its natural end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The balancer was stopped and its grace over.
    Balancer,
    /// A bug, or the machine.
    Bug,
    /// The client broke off.
    Client,
    /// The client was silent for too long.
    ClientTimeout,
    /// The balancer answered by itself, as its config says: a redirect, a page.
    Local,
    /// Nobody.
    #[default]
    Nobody,
    /// The balancer refused it: malformed, over a limit, not let in.
    Proxy,
    /// The server refused, broke off or was not there.
    Server,
    /// The server was silent for too long.
    ServerTimeout,
    /// The operator, or a check, took the server out and closed what was open on it.
    TakenOut,
}

impl EndedBy {
    /// Returns the first of the two letters.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Balancer => 'K',
            Self::Bug => 'I',
            Self::Client => 'C',
            Self::ClientTimeout => 'c',
            Self::Local => 'L',
            Self::Nobody => '-',
            Self::Proxy => 'P',
            Self::Server => 'S',
            Self::ServerTimeout => 's',
            Self::TakenOut => 'D',
        }
    }

    /// Returns it in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balancer => "the balancer stopped",
            Self::Bug => "an internal error ended it",
            Self::Client => "the client broke off",
            Self::ClientTimeout => "the client was silent for too long",
            Self::Local => "the balancer answered by itself",
            Self::Nobody => "it came to its natural end",
            Self::Proxy => "the balancer refused it",
            Self::Server => "the server refused, broke off or was not there",
            Self::ServerTimeout => "the server was silent for too long",
            Self::TakenOut => "the server was taken out",
        }
    }
}

/// The phase in which a request or connection was ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndPhase {
    /// While a server was being connected to.
    Connect,
    /// While the answer, or the bytes of a connection, were passed on.
    Data,
    /// After the request went to a server, before the head of its answer was whole.
    Head,
    /// It was over.
    #[default]
    Over,
    /// While it waited for a server to have room.
    Queue,
    /// Before it was given to a server.
    Request,
}

impl EndPhase {
    /// Returns the second of the two letters.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Connect => 'C',
            Self::Data => 'D',
            Self::Head => 'H',
            Self::Over => '-',
            Self::Queue => 'Q',
            Self::Request => 'R',
        }
    }

    /// Returns it in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "while a server was being connected to",
            Self::Data => "while bytes were passed on",
            Self::Head => "while the server's answer was awaited",
            Self::Over => "at the end",
            Self::Queue => "while it waited for a server to have room",
            Self::Request => "before it went to a server",
        }
    }
}

/// A request given to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The server.
    pub server: ServerId,
    /// Why this one.
    pub chosen_by: ChosenBy,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

/// Why a server was given a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChosenBy {
    /// The farm's way of spreading work chose it.
    Balance(Balance),
    /// No other was left that may take work and had not been tried.
    OnlyOneLeft,
    /// It was the first to have a place again, of those that the work waited for.
    Queue,
    /// The client's cookie names it.
    StickyCookie,
    /// The value of the client's header field was given to it before.
    StickyHeader,
    /// The client's address was given to it before.
    StickySource,
}

impl ChosenBy {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Balance(balance) => balance.as_str(),
            Self::OnlyOneLeft => "only_one_left",
            Self::Queue => "queue",
            Self::StickyCookie => "sticky_cookie",
            Self::StickyHeader => "sticky_header",
            Self::StickySource => "sticky_source",
        }
    }
}

/// How an attempt at a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The server answered to the end; a raw TCP connection was relayed to its end.
    Answered,
    /// The server broke off before or within its answer.
    BrokenOff,
    /// The client left, or failed, before the server was done.
    ClientFailed,
    /// No connection could be made.
    NotConnected,
    /// The operator had what was open on the server closed.
    TakenOut,
    /// The server did not answer in time.
    TimedOut,
}

impl AttemptOutcome {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::BrokenOff => "broken_off",
            Self::ClientFailed => "client_failed",
            Self::NotConnected => "not_connected",
            Self::TakenOut => "taken_out",
            Self::TimedOut => "timed_out",
        }
    }
}
