//! What a config file declares about the process itself rather than about traffic. Fixed at start except where a
//! reload is said to change it.

mod access;
mod logs;
mod traces;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::tls::ClientAuth;

pub use access::{
    Access, Actions, BearerToken, CallRate, CallRule, CertificateHolder, CertificateMatch, Grant, OvhApplication,
    OvhBounds, OvhCredential, ZenlayerKey,
};
pub use logs::{AccessField, AccessFormat, AccessLog, LogFormat, LogSettings};
pub use traces::{MILLION, Otlp, TraceSettings};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the secret, for comparing and signing only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How the admin listener is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminTls {
    /// A certificate made at start; its fingerprint is printed.
    Auto,
    /// The operator's own, PEM.
    Files {
        /// Certificate chain.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// Plain HTTP; loopback only.
    Off,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Anybody who reaches the listener.
    Open,
    /// Whoever has a bearer token; no other credential will do.
    Token,
}

/// Who is told of events as they happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// What it is called in logs and metrics.
    pub name: Box<str>,
    /// Where events are posted: http or https.
    pub url: Box<str>,
    /// What the body is signed with (HMAC-SHA256).
    pub secret: Secret,
    /// A PEM file with the authorities to verify against; the system's where absent.
    pub ca: Option<PathBuf>,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// The most deliveries a second.
    pub per_second_max: u32,
}

/// How certificates are obtained by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// Where the authority's directory is: https.
    pub directory: Box<str>,
    /// Who it may write to: `mailto:` URLs.
    pub contact: Vec<Box<str>>,
    /// A PEM file with the authorities to verify its server against; the system's where absent.
    pub ca: Option<PathBuf>,
    /// How it is shown that a name is ours.
    pub challenge: AcmeChallenge,
}

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By an answer over HTTP, on port 80.
    #[default]
    Http01,
    /// By a certificate in a handshake, on port 443.
    TlsAlpn01,
}

/// How much the journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// How long events and evidence are kept.
    pub timeline: Duration,
    /// How long the history of every check is kept; on disk only.
    pub history: Duration,
    /// The largest size of it all, in bytes; the oldest goes first.
    pub bytes_max: u64,
    /// Failing checks of one server whose evidence is kept.
    pub evidence_per_server: u32,
}

impl JournalLimits {
    /// What is kept where the file does not say.
    pub const DEFAULT: Self = Self {
        timeline: Duration::from_secs(30 * 24 * 3600),
        history: Duration::from_secs(24 * 3600),
        bytes_max: 200 * 1024 * 1024,
        evidence_per_server: 16,
    };
}

/// The admin side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens; port 0: the system chooses.
    pub listen: SocketAddr,
    /// Its encryption. A reload changes which certificate, not whether there is one.
    pub tls: AdminTls,
    /// How clients are asked for certificates, if they are. A reload changes it.
    pub clients: Option<ClientAuth>,
    /// Names under which browsers may ask it, beside addresses and localhost. A reload changes them.
    pub hosts: Vec<Box<str>>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// How often one credential may call. A reload changes it.
    pub rate: CallRate,
    /// Bearer tokens.
    pub tokens: Vec<BearerToken>,
    /// Whose certificates stand for a bearer token.
    pub holders: Vec<CertificateHolder>,
    /// OVHcloud-shape credentials.
    pub ovh: Vec<OvhCredential>,
    /// Applications that may ask for further ones.
    pub ovh_applications: Vec<OvhApplication>,
    /// Bounds of what the OVHcloud shape may write.
    pub ovh_bounds: OvhBounds,
    /// The URL, without a slash at its end, at which clients of the OVHcloud shape know it, where that is another than
    /// requests tell.
    pub ovh_public_url: Option<Box<str>>,
    /// Zenlayer-shape access keys.
    pub zenlayer: Vec<ZenlayerKey>,
    /// Whether probes may run programs, and upgrades a program of the caller's choice.
    pub allow_commands: bool,
}

/// What the process may hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBound {
    /// So much of what the machine, or the group of processes that it is in, has.
    Auto,
    /// So many bytes.
    Bytes(u64),
    /// As much as there is.
    Unbounded,
}

/// Everything of a config file that is not traffic. A reload changes `grace` and the admin side's credentials, rate and
/// certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Data-plane threads; none = one per core.
    pub workers: Option<usize>,
    /// Where state outlives the process, if anywhere.
    pub state_dir: Option<PathBuf>,
    /// How long open work may take to finish after SIGTERM. A reload changes it.
    pub grace: Duration,
    /// Checks under way at once, over all farms.
    pub checks_at_once: usize,
    /// What the process may hold in memory.
    pub memory: MemoryBound,
    /// The admin side, if any.
    pub admin: Option<AdminSettings>,
    /// How much the journal keeps.
    pub journal: JournalLimits,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// How certificates are obtained, if any are.
    pub acme: Option<AcmeSettings>,
    /// Logs.
    pub log: LogSettings,
    /// Traces of requests; none: trace contexts are passed on, and that is all.
    pub tracing: Option<TraceSettings>,
    /// Where a new process asks for the listening sockets; none: in `state_dir`, or where the user's sockets are.
    pub upgrade_socket: Option<PathBuf>,
    /// Whom root becomes once everything is bound, if anybody.
    pub run_as: Option<RunAs>,
}

/// Whom root becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user, by name.
    pub user: Box<str>,
    /// The group, by name; the user's own where absent.
    pub group: Option<Box<str>>,
}

impl Settings {
    /// Returns the keys that differ from `live` and that a running process cannot change, in the file's order.
    #[must_use]
    pub fn fixed_differences(&self, live: &Self) -> Vec<&'static str> {
        let (admin, live_admin) = (self.admin.as_ref(), live.admin.as_ref());
        [
            ("workers", self.workers != live.workers),
            ("state_dir", self.state_dir != live.state_dir),
            ("checks_at_once", self.checks_at_once != live.checks_at_once),
            ("limits.memory", self.memory != live.memory),
            ("admin", admin.is_some() != live_admin.is_some()),
            ("admin.listen", admin.zip(live_admin).is_some_and(|(a, b)| a.listen != b.listen)),
            (
                "admin.tls",
                admin.zip(live_admin).is_some_and(|(a, b)| (a.tls == AdminTls::Off) != (b.tls == AdminTls::Off)),
            ),
            ("admin.metrics", admin.zip(live_admin).is_some_and(|(a, b)| a.metrics != b.metrics)),
            ("admin.allow_commands", admin.zip(live_admin).is_some_and(|(a, b)| a.allow_commands != b.allow_commands)),
            ("journal", self.journal != live.journal),
            ("webhooks", self.webhooks != live.webhooks),
            ("acme", self.acme != live.acme),
            ("log", self.log != live.log),
            ("tracing", self.tracing != live.tracing),
            ("upgrade_socket", self.upgrade_socket != live.upgrade_socket),
            ("user", self.run_as != live.run_as),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Settings {
        let admin = AdminSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            tls: AdminTls::Off,
            clients: None,
            hosts: Vec::new(),
            metrics: MetricsAccess::Token,
            rate: CallRate::DEFAULT,
            tokens: Vec::new(),
            holders: Vec::new(),
            ovh: Vec::new(),
            ovh_applications: Vec::new(),
            ovh_bounds: OvhBounds::default(),
            ovh_public_url: None,
            zenlayer: Vec::new(),
            allow_commands: false,
        };
        let log = LogSettings { level: "info".into(), format: LogFormat::Text, access: None };
        let grace = Duration::from_secs(1);
        let (journal, webhooks) = (JournalLimits::DEFAULT, Vec::new());
        Settings {
            workers: None,
            state_dir: None,
            grace,
            checks_at_once: 1,
            memory: MemoryBound::Auto,
            admin: Some(admin),
            journal,
            webhooks,
            acme: None,
            log,
            tracing: None,
            upgrade_socket: None,
            run_as: None,
        }
    }

    #[test]
    fn differences_that_wait_for_a_start_are_named_and_the_others_not() {
        let mut file = live();
        file.grace = Duration::from_secs(2);
        let token = BearerToken {
            grant: Grant { name: "ops".into(), access: Access::Read, farms: None },
            token: Secret::new("t"),
        };
        file.admin.as_mut().unwrap().tokens.push(token);
        assert!(file.fixed_differences(&live()).is_empty());
        file.workers = Some(2);
        let admin = file.admin.as_mut().unwrap();
        (admin.metrics, admin.tls) = (MetricsAccess::Open, AdminTls::Auto);
        assert_eq!(file.fixed_differences(&live()), ["workers", "admin.tls", "admin.metrics"]);
        file = live();
        file.admin.as_mut().unwrap().allow_commands = true;
        file.journal.evidence_per_server += 1;
        assert_eq!(file.fixed_differences(&live()), ["admin.allow_commands", "journal"]);
        file = Settings { admin: None, ..live() };
        assert_eq!(file.fixed_differences(&live()), ["admin"]);
    }
}
