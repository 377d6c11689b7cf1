//! A probe: how a farm's servers are checked, and what counts as a pass.
//!
//! Everything is validated: ranges hold, patterns are compiled. `rise` and `fall` are HAProxy's. What a probe speaks is
//! in [`ProbeKind`]; where it goes, and as whom, in [`Aim`], which a server may override key by key.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::expect::{BodyMatch, Expect, Negate};
use super::id::Name;

/// Probes that a farm may have, its shadow not counted.
pub const PROBES_MAX: usize = 16;

/// Which probe of a farm: its position in `Farm::probes`, or the shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeSlot(pub u8);

impl ProbeSlot {
    /// The first probe; the only one of most farms.
    pub const FIRST: Self = Self(0);
    /// The shadow probe: recorded, and counted for nothing.
    pub const SHADOW: Self = Self(u8::MAX);
}

/// How servers of a farm are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its name within the farm; `probe` where the farm has one without a name, `shadow` for the shadow.
    pub name: Name,
    /// What is spoken.
    pub kind: ProbeKind,
    /// Where it goes and as whom, unless the server says otherwise.
    pub aim: Aim,
    /// From the start of one check to the start of the next, at most: jitter only shortens it.
    pub interval: Duration,
    /// The interval while a change is under way: failures while Up (keepalived's `retry_interval`), passes while Down.
    /// The steady one where absent.
    pub fast_interval: Option<Duration>,
    /// The interval while Down and nothing is under way; the steady one where absent.
    pub down_interval: Option<Duration>,
    /// The hard deadline of one check, connect and all; no longer than the shortest interval.
    pub timeout: Duration,
    /// Passes in a row that bring a Down server back; at least 1.
    pub rise: u16,
    /// Failures in a row that take an Up server out; at least 1. Keepalived's `retries` plus 1.
    pub fall: u16,
    /// What a server counts as before its first check.
    pub start: ProbeStart,
}

impl Probe {
    /// Returns a probe of that kind with the values of a file that says nothing else.
    #[must_use]
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            name: Name::fixed("probe"),
            kind,
            aim: Aim::default(),
            interval: Duration::from_secs(2),
            fast_interval: None,
            down_interval: None,
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            start: ProbeStart::Check,
        }
    }

    /// Returns the interval in that phase.
    #[must_use]
    pub fn interval_in(&self, pace: Pace) -> Duration {
        match pace {
            Pace::Changing => self.fast_interval.unwrap_or(self.interval),
            Pace::Down => self.down_interval.unwrap_or(self.interval),
            Pace::Steady => self.interval,
        }
    }

    /// Returns the probe as it is run against a server with this aim: the server's own keys win one by one. An agent
    /// is a program of its own beside the server: only the server's `address` and `source` are its too, and its `port`
    /// where the agent has none.
    #[must_use]
    pub fn aimed(self: &Arc<Self>, own: &Aim) -> Arc<Self> {
        let own = match self.kind.is_agent() {
            true => {
                let port = own.port.filter(|_| self.aim.port.is_none());
                Aim { address: own.address, source: own.source, port, ..Aim::default() }
            }
            false => own.clone(),
        };
        if own == Aim::default() {
            return Arc::clone(self);
        }
        Arc::new(Self { aim: own.or(&self.aim), ..Self::clone(self) })
    }

    /// Returns the port that it goes to, on a server of this port: its aim's, else the one that its kind has, else the
    /// server's own.
    #[must_use]
    pub fn port_of(&self, own: u16) -> u16 {
        self.aim.port.or_else(|| self.kind.fixed_port()).unwrap_or(own)
    }

    /// Returns whether its conversation is encrypted.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.kind.encryption(self.aim.tls)
    }

    /// Returns whether one check can stand for both: the same words to the same place at the same times. Names and
    /// thresholds may differ.
    #[must_use]
    pub fn is_same_check(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.aim == other.aim
            && self.timeout == other.timeout
            && self.interval == other.interval
            && self.fast_interval == other.fast_interval
            && self.down_interval == other.down_interval
    }
}

/// Which of a probe's intervals counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pace {
    /// A change of health is under way.
    Changing,
    /// The server is Up, or has no verdict.
    Steady,
    /// The server is Down and shows no sign of coming back.
    Down,
}

/// Where a probe goes and as whom. Absent keys: as the farm's probe says, then as the server is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// The port; the one that its kind has, else the server's own, where absent.
    pub port: Option<u16>,
    /// The address; the server's own where absent.
    pub address: Option<IpAddr>,
    /// The Host header or authority; the server's own address where absent.
    pub host: Option<Box<str>>,
    /// Whether the conversation is encrypted; as the probe's kind has it where absent.
    pub tls: Option<Encryption>,
    /// The name asked for in TLS and verified; the host's, else the server's declared name, where absent.
    pub sni: Option<Box<str>>,
    /// Whether the certificate is verified; it is where absent.
    pub verify: Option<Verify>,
    /// A PEM file with the authorities to verify against; the system's where absent.
    pub ca: Option<Arc<Path>>,
    /// The PROXY header to send first; none where absent.
    pub proxy: Option<ProxyHeader>,
    /// The local address to connect from; the system's choice where absent.
    pub source: Option<IpAddr>,
}

impl Aim {
    /// Returns this aim with `other` where this one says nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            port: self.port.or(other.port),
            address: self.address.or(other.address),
            host: self.host.or_else(|| other.host.clone()),
            tls: self.tls.or(other.tls),
            sni: self.sni.or_else(|| other.sni.clone()),
            verify: self.verify.or(other.verify),
            ca: self.ca.or_else(|| other.ca.clone()),
            proxy: self.proxy.or(other.proxy),
            source: self.source.or(other.source),
        }
    }
}

/// Whether a server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Chain and time; it may be for any name, as HAProxy's `verify required` has it without `verifyhost`.
    Chain,
    /// Any certificate will do; its digest is kept as evidence.
    Off,
    /// Chain, time and name.
    On,
}

/// A PROXY protocol header (haproxy.org `proxy-protocol.txt`): the check speaks for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyHeader {
    /// The text form, with the check's own addresses: many servers refuse UNKNOWN.
    V1,
    /// The binary form, with LOCAL.
    V2,
}

impl ProxyHeader {
    /// Returns the word of the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Whether a probe's conversation is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// In the clear.
    None,
    /// Inside TLS from the first byte.
    Tls,
}

/// What a probe speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// HAProxy's agent line: one line of text that says weight, maintenance, up or down.
    Agent {
        /// What is sent first, if anything.
        send: Box<str>,
    },
    /// A program: exit status 0 passes.
    Command(CommandProbe),
    /// Steps of sending and expecting.
    Exchange(ExchangeProbe),
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service asked about; empty for the server as a whole.
        service: Box<str>,
        /// In the clear (h2c) or in TLS.
        encryption: Encryption,
    },
    /// One HTTP request.
    Http(HttpProbe),
    /// A MySQL handshake.
    Mysql {
        /// The user to log in as without a password; only the greeting is read where absent.
        user: Option<Box<str>>,
    },
    /// OVHcloud's `oco`: what port 79 says first must begin with `2`.
    Oco,
    /// A PostgreSQL start-up.
    Pgsql {
        /// The user named in the start-up packet.
        user: Box<str>,
    },
    /// ICMP echo.
    Ping,
    /// A Redis PING.
    Redis {
        /// The password for AUTH, if any.
        password: Option<super::settings::Secret>,
    },
    /// SMTP: greeting, HELO, both 2xx.
    Smtp {
        /// The name given with HELO.
        hello: Box<str>,
    },
    /// TCP connect; with an expectation, the first bytes that the server sends on its own are matched.
    Tcp {
        /// What the banner must hold, if anything.
        banner: Option<BodyMatch>,
        /// Whether the match is inverted.
        negate: Negate,
    },
    /// A TLS handshake.
    Tls,
}

impl ProbeKind {
    /// Returns the word of the config file, where it can be OVHcloud's `probe.type`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Agent { .. } => "agent",
            Self::Command(_) => "command",
            Self::Exchange(_) => "exchange",
            Self::Grpc { .. } => "grpc",
            Self::Http(HttpProbe { encryption: Encryption::Tls, .. }) => "https",
            Self::Http(_) => "http",
            Self::Mysql { .. } => "mysql",
            Self::Oco => "oco",
            Self::Pgsql { .. } => "pgsql",
            Self::Ping => "ping",
            Self::Redis { .. } => "redis",
            Self::Smtp { .. } => "smtp",
            Self::Tcp { .. } => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Returns the port that such a probe goes to unless it is told another, whatever the server's is.
    #[must_use]
    pub fn fixed_port(&self) -> Option<u16> {
        /// Finger's port, where OVHcloud's `oco` servers tell how they are.
        const OCO_PORT: u16 = 79;
        matches!(self, Self::Oco).then_some(OCO_PORT)
    }

    /// Returns whether such a conversation is encrypted where `asked` says so, or says nothing. A handshake is one; an
    /// agent is spoken to in the clear, and some kinds have no conversation.
    #[must_use]
    pub fn encryption(&self, asked: Option<Encryption>) -> Encryption {
        match self {
            Self::Agent { .. } | Self::Command(_) | Self::Ping => Encryption::None,
            Self::Exchange(ExchangeProbe { encryption, .. })
            | Self::Grpc { encryption, .. }
            | Self::Http(HttpProbe { encryption, .. }) => asked.unwrap_or(*encryption),
            Self::Mysql { .. }
            | Self::Oco
            | Self::Pgsql { .. }
            | Self::Redis { .. }
            | Self::Smtp { .. }
            | Self::Tcp { .. } => asked.unwrap_or(Encryption::None),
            Self::Tls => Encryption::Tls,
        }
    }

    /// Returns whether the probe is an agent's: it advises and is counted in no quorum.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        matches!(self, Self::Agent { .. })
    }
}

/// A program to run: no shell, an own process group, killed at the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProbe {
    /// The program's absolute path.
    pub program: Arc<Path>,
    /// Its arguments; `{address}` and `{port}` are replaced by the server's.
    pub args: Box<[Box<str>]>,
}

/// Sends and expects in turn; all in order, all under the check's one deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeProbe {
    /// The steps, at least one, at most [`EXCHANGE_STEPS_MAX`].
    pub steps: Box<[Step]>,
    /// Whether they are spoken inside TLS.
    pub encryption: Encryption,
}

/// Steps that an exchange may have.
pub const EXCHANGE_STEPS_MAX: usize = 32;

/// One step of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// What the server says next must hold these bytes; what is after them is left for the next step.
    ExpectBytes(Box<[u8]>),
    /// What the server says next must match; what is after the match is left for the next step.
    ExpectMatch(BodyMatch),
    /// These bytes are sent.
    Send(Box<[u8]>),
}

/// One HTTP request and what its answer must be.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// The method.
    pub method: ProbeMethod,
    /// Path and query, beginning with `/`.
    pub path: Box<str>,
    /// Which HTTP.
    pub version: HttpVersion,
    /// In the clear or in TLS.
    pub encryption: Encryption,
    /// What counts as a pass.
    pub expect: Expect,
}

impl HttpProbe {
    /// Returns a GET over HTTP/1.1 in the clear that any 2xx or 3xx passes.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            method: ProbeMethod::Get,
            path: path.into(),
            version: HttpVersion::Http1,
            encryption: Encryption::None,
            expect: Expect::default(),
        }
    }
}

/// Which HTTP a probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN inside TLS, with prior knowledge (h2c) in the clear.
    Http2,
}

/// The request method of an HTTP probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

impl ProbeMethod {
    /// Returns the method's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// What a server counts as before its first check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeStart {
    /// Unknown: used only while nothing of the farm is Up; its first check decides at once.
    Check,
    /// Down: needs `rise` passes.
    Down,
    /// Up: one failed first check takes it out.
    Up,
}

impl ProbeStart {
    /// Returns the word of the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}
