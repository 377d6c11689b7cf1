//! A server: what the operator declared of it, what the operator wants of it, and what checks conclude of it.
//!
//! The admin status (wanted) and the health (observed) are two independent axes; the state that people read is
//! derived from both by `health::explain` and stored nowhere.

use std::fmt;
use std::sync::Arc;

use super::address::ServerAddr;
use super::farm::Leftovers;
use super::id::{Name, ServerId};
use super::probe::Aim;
use super::tls::ServerTls;

/// A server's share: 0..=65535; 0 takes no new work. Only ratios within a farm matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub u16);

impl Weight {
    /// The weight of a server that names none.
    pub const DEFAULT: Self = Self(1);

    /// Returns the weight, or nothing when `n` is outside 0..=65535.
    #[must_use]
    pub fn new(n: i64) -> Option<Self> {
        u16::try_from(n).ok().map(Self)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the operator wants of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminStatus {
    /// Take work as health allows.
    Active,
    /// No new work; what is open stays.
    Drain,
    /// Out; still probed, the verdict shown and not used.
    Maintenance,
}

impl AdminStatus {
    /// Returns the word of the config file and the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }

    /// Returns the status of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "active" => Some(Self::Active),
            "drain" => Some(Self::Drain),
            "maintenance" => Some(Self::Maintenance),
            _ => None,
        }
    }
}

/// What checks conclude of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Checks failed.
    Down,
    /// Not probed: the farm has no probe or the server opted out.
    Off,
    /// Checks pass on condition: no new work, what is open and sticky stays.
    Stopping,
    /// Probed, and no verdict yet.
    Unknown,
    /// Checks passed.
    Up,
}

impl Health {
    /// Returns the word of the native API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Off => "off",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
            Self::Up => "up",
        }
    }

    /// Returns the health of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Down, Self::Off, Self::Stopping, Self::Unknown, Self::Up].into_iter().find(|h| h.as_str() == word)
    }
}

/// How far a server is from changing its health: `have` of `need`. While Up, lives left of `fall`; while Down, passes
/// of `rise`. `have == need` while Up and 0 while Down mean "no change under way".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// How many are there.
    pub have: u16,
    /// How many make a full set.
    pub need: u16,
}

/// When a server is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Only when no primary server of the farm is eligible.
    Backup,
    /// Always.
    Primary,
}

/// The PROXY header that a server is sent first: who the client is, and with `-ssl` what TLS said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyOut {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Version 2 with the client's TLS version and whether it showed a certificate.
    V2Ssl,
    /// The same with the name in its certificate.
    V2SslCn,
}

impl ProxyOut {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::V1, Self::V2, Self::V2Ssl, Self::V2SslCn];

    /// Returns the word of the config file and of OVHcloud's `proxyProtocolVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V2Ssl => "v2-ssl",
            Self::V2SslCn => "v2-ssl-cn",
        }
    }
}

/// A server as declared, with overrides applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its numeric id, derived from the farm's and its own name.
    pub id: ServerId,
    /// Its name, unique within the farm.
    pub name: Name,
    /// Where it is.
    pub address: ServerAddr,
    /// Its share of the work.
    pub weight: Weight,
    /// Primary or backup.
    pub role: Role,
    /// Whether the farm's probes are run against it.
    pub probed: bool,
    /// Where its probes go and as whom, where that differs from what they say.
    pub aim: Aim,
    /// The value that a sticky cookie has for this server; made up where absent.
    pub cookie: Option<Box<str>>,
    /// How it is spoken to in TLS, if it is.
    pub tls: Option<Arc<ServerTls>>,
    /// The PROXY header that it is sent first, if any.
    pub proxy_protocol: Option<ProxyOut>,
    /// The most requests, or connections, that it is given at once, over all workers; no bound where absent.
    pub max_connections: Option<u32>,
    /// What happens to what is open on it when it goes Down; as the farm says where absent.
    pub on_down: Option<Leftovers>,
    /// What the operator wants.
    pub admin: AdminStatus,
}

impl Server {
    /// Returns a server with the values of a file that says nothing else.
    #[must_use]
    pub fn new(id: ServerId, name: Name, address: ServerAddr) -> Self {
        Self {
            id,
            name,
            address,
            weight: Weight::DEFAULT,
            role: Role::Primary,
            probed: true,
            aim: Aim::default(),
            cookie: None,
            tls: None,
            proxy_protocol: None,
            max_connections: None,
            on_down: None,
            admin: AdminStatus::Active,
        }
    }
}
