//! What is concluded of a server from all that is observed: checks, traffic, flapping, warm-up. Derived by
//! `health::ServerHealth`; read by the rotation, the snapshot and explain.

use std::sync::Arc;
use std::time::Duration;

use super::check::{AgentSays, CheckBrief, CheckRecord};
use super::id::ServerKey;
use super::probe::{Pace, ProbeSlot};
use super::server::{AdminStatus, Health, Progress, Server, Weight};
use super::time::Timestamp;

/// Everything observed of one server, at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What its probes conclude together.
    pub health: Health,
    /// How far they are from concluding the contrary.
    pub progress: Progress,
    /// What its agent asks for, if it has one that spoke.
    pub agent: Option<Arc<AgentSays>>,
    /// Taken out for what its traffic showed, until then.
    pub ejected: Option<Ejection>,
    /// When it began to be held down for changing too often, if it is.
    pub held_since: Option<Timestamp>,
    /// Held down for changing too often, until then.
    pub held_until: Option<Timestamp>,
    /// Changes of health within the flap guard's time.
    pub flap_score: u16,
    /// Coming back: its share of its weight, if not whole.
    pub warmup: Option<Warmup>,
    /// Probes and traffic disagree.
    pub suspicion: Option<Suspicion>,
}

impl Standing {
    /// Returns the standing of a server that is not probed.
    #[must_use]
    pub fn unprobed() -> Self {
        Self::of(Health::Off, Progress { have: 0, need: 0 })
    }

    /// Returns the standing of a server of which only this is known.
    #[must_use]
    pub fn of(health: Health, progress: Progress) -> Self {
        Self {
            health,
            progress,
            agent: None,
            ejected: None,
            held_since: None,
            held_until: None,
            flap_score: 0,
            warmup: None,
            suspicion: None,
        }
    }

    /// Returns the weight that remains of `weight` after agent and warm-up, in hundredths, so that a share of a small
    /// weight is not lost: `weight` × 100 for a server that is whole. Never 0 for a server that warms up.
    #[must_use]
    pub fn weight_hundredths(&self, weight: Weight) -> u32 {
        use super::check::AgentWeight;
        let base = match self.agent.as_ref().and_then(|agent| agent.weight) {
            Some(AgentWeight::Percent(percent)) => u32::from(weight.0) * u32::from(percent.min(100)),
            Some(AgentWeight::Weight(weight)) => u32::from(weight.0) * 100,
            None => u32::from(weight.0) * 100,
        };
        match self.warmup {
            Some(warmup) if base > 0 => (base * u32::from(warmup.percent.min(100)) / 100).max(1),
            Some(_) | None => base,
        }
    }

    /// Returns the admin status with what the agent asks for: the stricter of the two.
    #[must_use]
    pub fn admin_with_agent(&self, admin: AdminStatus) -> AdminStatus {
        let asked = self.agent.as_ref().and_then(|agent| agent.admin).unwrap_or(AdminStatus::Active);
        match (admin, asked) {
            (AdminStatus::Maintenance, _) | (_, AdminStatus::Maintenance) => AdminStatus::Maintenance,
            (AdminStatus::Drain, _) | (_, AdminStatus::Drain) => AdminStatus::Drain,
            (AdminStatus::Active, AdminStatus::Active) => AdminStatus::Active,
        }
    }

    /// Returns how many connections the server may have at once, the agent's number before the server's own; none: any
    /// number, for which an agent says 0, as to HAProxy.
    #[must_use]
    pub fn max_connections(&self, server: &Server) -> Option<u32> {
        let asked = self.agent.as_ref().and_then(|agent| agent.maxconn);
        asked.or(server.max_connections).filter(|most| *most > 0)
    }
}

/// Taken out for what traffic showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless a check passes before.
    pub until: Timestamp,
    /// Failures in a row that did it.
    pub errors: u16,
    /// What the last one was.
    pub kind: TrafficFault,
    /// How many times in a row.
    pub times: u16,
}

/// What can go wrong with work given to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrafficFault {
    /// No connection could be made.
    Connect,
    /// No response in time, or one that broke off.
    Response,
    /// A 5xx.
    Status,
}

impl TrafficFault {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Response => "response",
            Self::Status => "status",
        }
    }

    /// Returns the fault of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Connect, Self::Response, Self::Status].into_iter().find(|fault| fault.as_str() == word)
    }
}

/// Coming back little by little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// Since when.
    pub since: Timestamp,
    /// When it is whole.
    pub until: Timestamp,
    /// The share of its weight now, 1..=99.
    pub percent: u8,
}

/// Probes and traffic disagree, over the window that the numbers are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Who says what.
    pub kind: SuspicionKind,
    /// Since when.
    pub since: Timestamp,
    /// Work that went well in the last window.
    pub good: u64,
    /// Work that failed in the last window.
    pub bad: u64,
}

/// How probes and traffic disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuspicionKind {
    /// Probes fail while traffic goes well.
    ProbesFail,
    /// Probes pass while traffic fails.
    TrafficFails,
}

impl SuspicionKind {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProbesFail => "probes_fail",
            Self::TrafficFails => "traffic_fails",
        }
    }
}

/// One probe's part in a server's standing, for explain and the snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeStanding {
    /// Which probe.
    pub slot: ProbeSlot,
    /// What it concludes by itself.
    pub health: Health,
    /// How far it is from concluding the contrary.
    pub progress: Progress,
    /// Which of its intervals counts now.
    pub pace: Pace,
    /// Its last check.
    pub last: Option<Arc<CheckRecord>>,
    /// The last of its checks that counted: one that could not be made does not.
    pub last_verdict: Option<CheckBrief>,
    /// When its next check begins at the latest; none before the first result.
    pub next_at: Option<Timestamp>,
}

/// Checks that a server's row remembers.
pub const RECENT_CHECKS_MAX: usize = 16;

/// What outlives the process of a server's health.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHealth {
    /// The server.
    pub server: ServerKey,
    /// Tells whether it is still the same address and probes; another one starts afresh.
    pub fingerprint: u64,
    /// What its probes concluded, whatever its agent says.
    pub health: Health,
    /// Since when it is in or out, for its probes or its agent.
    pub since: Timestamp,
    /// What its agent said.
    pub agent: Option<Arc<AgentSays>>,
    /// Since when its agent keeps it out, if it does; none where an earlier build kept no word of it.
    pub agent_since: Option<Timestamp>,
    /// Recent changes of health, the oldest first.
    pub changes: Vec<Timestamp>,
    /// Held down since then; none where an earlier build kept no word of it.
    pub held_since: Option<Timestamp>,
    /// Held down until then.
    pub held_until: Option<Timestamp>,
    /// Its ejection.
    pub ejected: Option<Ejection>,
    /// When it began to warm up.
    pub warm_since: Option<Timestamp>,
    /// The checks that decided, the oldest first.
    pub decided_by: Vec<CheckBrief>,
}

/// How much of a piece of work's kind is under way at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionGroup {
    /// What they are.
    pub kind: SessionKind,
    /// How many.
    pub count: u64,
    /// How old the oldest is.
    pub oldest: Duration,
}

/// What is open on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionKind {
    /// A raw TCP connection.
    Connection,
    /// An HTTP request.
    Request,
    /// An upgraded connection, such as a WebSocket.
    Tunnel,
}

impl SessionKind {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Tunnel => "tunnel",
        }
    }
}
