//! A farm: servers of one protocol with balance, probe, timeouts and retry rules.

use std::sync::Arc;
use std::time::Duration;

use super::id::{FarmId, Name};
use super::probe::{Probe, ProbeSlot};
use super::server::Server;

/// What a frontend or farm speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP requests.
    Http,
    /// Raw TCP connections.
    Tcp,
    /// UDP datagrams, by the address that they come from.
    Udp,
}

impl Protocol {
    /// Returns the word of the config file and of OVHcloud's paths.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// How a farm spreads new work; the words are OVHcloud's, where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The quickest of two drawn by weight: the time that its answers take, and what is in flight there.
    Ewma,
    /// The first eligible server in the order written.
    First,
    /// The least in-flight work per weight.
    LeastConn,
    /// A hash in a table of turns, which few keys leave when servers come or go, and which costs the same for any number.
    Maglev,
    /// The one with less in flight per weight of two drawn by weight.
    Random,
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
            Self::Ewma => "ewma",
            Self::First => "first",
            Self::LeastConn => "leastconn",
            Self::Maglev => "maglev",
            Self::Random => "random",
            Self::RoundRobin => "roundrobin",
            Self::Source => "source",
            Self::Uri => "uri",
        }
    }

    /// Returns the algorithm of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Ewma,
            Self::First,
            Self::LeastConn,
            Self::Maglev,
            Self::Random,
            Self::RoundRobin,
            Self::Source,
            Self::Uri,
        ];
        all.into_iter().find(|b| b.as_str() == word)
    }
}

/// How a farm hashes, where its balance does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashRule {
    /// What is hashed, for [`Balance::Maglev`]; the others say it by their name.
    pub key: HashKey,
    /// The most that a server has in flight before another takes its work, in per cent of its fair share, above 100;
    /// no bound where absent.
    pub load_max: Option<u16>,
}

/// What is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The value of a header field, its name in lower case; the client's address where there is none.
    Header(Box<str>),
    /// The client's address.
    #[default]
    Source,
    /// The request's path, up to `?`.
    Uri,
}

/// How long work waits for a server that has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRule {
    /// The most that wait, over all workers; 0: none.
    pub length: u32,
    /// How long they wait before they are refused.
    pub timeout: Duration,
}

/// How much work may be tried again, so that a failing farm is not asked for more than it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The share of the farm's requests, in per cent.
    pub share: u8,
    /// How many a second may be in any case.
    pub per_second_min: u32,
}

/// How connections to servers are kept and used again; HTTP only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// The most idle ones that a worker keeps to one server; 0: none is kept.
    pub idle_max: u32,
    /// How old one may be to take another request; any age where absent.
    pub age_max: Option<Duration>,
    /// How many requests it may take; any number where absent.
    pub requests_max: Option<u32>,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams: u32,
    /// The most HTTP/2 connections of a worker to one server.
    pub connections: u32,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { idle_max: 256, age_max: None, requests_max: None, streams: 100, connections: 16 }
    }
}

/// When Down servers are used rather than too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailOpen {
    /// Whenever fewer servers than this may take work.
    Below(u16),
    /// Whenever less than this share of the farm's willing servers, in per cent, 1..=100, may take work.
    BelowShare(u8),
    /// Never: the work is refused.
    Never,
    /// When none may take work.
    WhenAllDown,
}

/// What is learnt of a server from the traffic it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Failures in a row that eject it, at least 1.
    pub errors: u16,
    /// Whether a connection that cannot be made is a failure.
    pub connect: bool,
    /// Whether a 5xx other than 501 and 505 is a failure.
    pub status: bool,
    /// Whether a response that does not come in time, or breaks off, is a failure.
    pub response: bool,
    /// How long the first ejection lasts; each further one twice the one before, up to `eject_max`.
    pub eject: Duration,
    /// The longest ejection.
    pub eject_max: Duration,
    /// The largest share of a farm's servers that is ejected at once, in per cent; one may always be.
    pub share_max: u8,
}

/// When a server that keeps changing is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapGuard {
    /// Changes of health within `within` that hold it down.
    pub transitions: u16,
    /// The time in which they are counted.
    pub within: Duration,
    /// How long it is held down.
    pub hold: Duration,
}

/// When failures are so many at once that the balancer suspects itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentGuard {
    /// The share of a farm's probed servers, in per cent, that must fail within one probe window; at least three do.
    pub share: u8,
    /// How long the last good rotation is held.
    pub hold: Duration,
}

/// What happens to what is open on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leftovers {
    /// It is closed.
    Close,
    /// It stays until it ends.
    Keep,
}

impl Leftovers {
    /// Returns the word of the config file and the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Keep => "keep",
        }
    }

    /// Returns the meaning of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Close, Self::Keep].into_iter().find(|l| l.as_str() == word)
    }
}

/// How a farm's servers are taken out, unless the operator says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainRule {
    /// How long what is open and sticky may stay; for ever where absent.
    pub deadline: Option<Duration>,
    /// What happens to it then.
    pub at_deadline: Leftovers,
}

/// How a client is brought back to the server it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stickiness {
    /// By a cookie; HTTP only.
    Cookie(CookieRule),
    /// By the value of a header field; HTTP only.
    Header {
        /// Its name, in lower case.
        name: Box<str>,
        /// How long a client may stay away and still be known.
        idle: Duration,
        /// The most clients known at once.
        clients_max: u32,
    },
    /// It is not.
    None,
    /// By its address.
    Source {
        /// How long a client may stay away and still be known.
        idle: Duration,
        /// The most clients known at once.
        clients_max: u32,
    },
}

/// A sticky cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieRule {
    /// Its name.
    pub name: Box<str>,
    /// How long it lasts; until the browser ends where absent.
    pub max_age: Option<Duration>,
    /// Whether it is `Secure`.
    pub is_secure: bool,
    /// Whether it is `HttpOnly`.
    pub is_http_only: bool,
    /// Its `SameSite`.
    pub same_site: SameSite,
    /// The key that seals it, so that a client can choose no server; made at start where absent.
    pub key: Option<super::settings::Secret>,
}

/// A cookie's `SameSite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// `Lax`.
    Lax,
    /// `None`.
    None,
    /// `Strict`.
    Strict,
}

impl SameSite {
    /// Returns the attribute's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::None => "None",
            Self::Strict => "Strict",
        }
    }
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
    /// How it hashes, where its balance does.
    pub hash: HashRule,
    /// Whether its servers are spoken to in HTTP/2: with TLS as agreed there, without by prior knowledge.
    pub http2: bool,
    /// How connections to its servers are used again.
    pub reuse: Reuse,
    /// How long work waits for servers that are full.
    pub queue: QueueRule,
    /// How much may be tried again; without bound where absent.
    pub retry_budget: Option<RetryBudget>,
    /// How its servers are checked; none: not at all. At most [`PROBES_MAX`](super::probe::PROBES_MAX).
    pub probes: Box<[Arc<Probe>]>,
    /// How many of the probes, agents not counted, must find a server good; all of them where absent.
    pub quorum: Option<u8>,
    /// A probe that is run and recorded, and counts for nothing.
    pub shadow: Option<Arc<Probe>>,
    /// What is learnt from traffic, if anything.
    pub observe: Option<Observe>,
    /// How long a server that returns takes to come to its whole weight; zero: none.
    pub slow_start: Duration,
    /// When a server that keeps changing is held down, if ever.
    pub flap: Option<FlapGuard>,
    /// When failures are so many at once that the balancer suspects itself, if ever.
    pub incident: Option<IncidentGuard>,
    /// What happens to what is open on a server that goes Down.
    pub on_down: Leftovers,
    /// How servers are taken out.
    pub drain: DrainRule,
    /// The share of the farm's weight, in per cent, that must be left when a server is taken out, unless forced.
    pub reserve: u8,
    /// How clients are brought back to the server they had.
    pub stickiness: Stickiness,
    /// Deadlines towards its servers.
    pub timeouts: FarmTimeouts,
    /// How many other servers are tried after a connect failure; 0 = none.
    pub retry_attempts: u8,
    /// When Down servers are used.
    pub fail_open: FailOpen,
    /// Its servers, in the order written.
    pub servers: Vec<Arc<Server>>,
}

impl Farm {
    /// Returns a farm without servers with the values of a file that says nothing else.
    #[must_use]
    pub fn new(id: FarmId, name: Name, protocol: Protocol) -> Self {
        let seconds = Duration::from_secs;
        Self {
            id,
            name,
            protocol,
            balance: Balance::RoundRobin,
            hash: HashRule::default(),
            http2: false,
            reuse: Reuse::default(),
            queue: QueueRule { length: 1000, timeout: seconds(5) },
            retry_budget: Some(RetryBudget { share: 20, per_second_min: 10 }),
            probes: Box::default(),
            quorum: None,
            shadow: None,
            observe: None,
            slow_start: Duration::ZERO,
            flap: None,
            incident: None,
            on_down: Leftovers::Keep,
            drain: DrainRule { deadline: None, at_deadline: Leftovers::Close },
            reserve: 0,
            stickiness: Stickiness::None,
            timeouts: FarmTimeouts { connect: seconds(2), response: seconds(30), idle: seconds(60) },
            retry_attempts: 2,
            fail_open: FailOpen::Never,
            servers: Vec::new(),
        }
    }

    /// Returns the probe that stands for the farm where a shape knows one only: the first that is no agent.
    #[must_use]
    pub fn main_probe(&self) -> Option<&Arc<Probe>> {
        self.probes.iter().find(|probe| !probe.kind.is_agent())
    }

    /// Returns every probe that is run against its servers, with its slot; the shadow last.
    pub fn probes_with_slots(&self) -> impl Iterator<Item = (ProbeSlot, &Arc<Probe>)> {
        let own = (0..).map(ProbeSlot).zip(&self.probes);
        own.chain(self.shadow.iter().map(|probe| (ProbeSlot::SHADOW, probe)))
    }

    /// Returns the probe of that slot.
    #[must_use]
    pub fn probe_at(&self, slot: ProbeSlot) -> Option<&Arc<Probe>> {
        if slot == ProbeSlot::SHADOW { self.shadow.as_ref() } else { self.probes.get(usize::from(slot.0)) }
    }
}
