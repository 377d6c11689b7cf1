//! What became of one recent request: where it went, why there, and how each attempt ended. For explain.

use std::net::IpAddr;
use std::time::Duration;

use super::farm::Balance;
use super::id::{FarmId, FrontendId, Generation, ServerId};
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
    /// Why Farmgate itself ended it, if it did.
    pub reason: Option<&'static str>,
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
