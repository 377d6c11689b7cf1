//! Bodies of the native shape as they are on the wire; the CLI reads the same structs.
//!
//! Durations are texts with a unit ("2s", "500ms"), times RFC 3339 in UTC with milliseconds. What is asked for is
//! refused with unknown fields; what is answered may grow fields.

mod credential;
mod events;
mod explain;
mod objects;
mod order;
mod replay;
mod shadow;
mod standing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use credential::{CredentialList, CredentialWire, GrantOrder, RuleWire};
pub use events::{EventLine, EventList};
pub use explain::{
    AttemptWire, BranchWire, BriefWire, EvidenceList, EvidenceWire, FarmExplainWire, HistoryWire, RequestExplainWire,
    ServerExplainWire,
};
pub use objects::{PendingWire, RefreshOrder, StagedList, StagedWire, TaskList, TaskWire, WrittenWire};
pub use order::{LeavingWire, OrderWire, SessionsWire, TermsOrder};
pub use replay::{
    CourseWire, FarmReplayWire, NamedReplayWire, ReplayOrder, ServerReplayWire, TotalWire, TransitionWire, WindowWire,
};
pub use shadow::{AgreementWire, SaysWire, ShadowWire, ShadowedWire};
pub use standing::{AgentWire, EjectedWire, ProbeStandingWire, StandingWire, SuspicionWire, WarmupWire};

/// The body of `ready` and `reload`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `weight`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOrder {
    /// 0..=65535. Any JSON, so that an error can name the value as given.
    #[serde(default)]
    pub weight: Option<Value>,
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is made although the farm's reserve would be broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Value>,
}

/// The body of every error.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorWire,
}

/// What went wrong.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ErrorWire {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The id that the log has too.
    pub request_id: String,
    /// Every single reason where there are several.
    pub details: Vec<String>,
}

/// The answer of `reload`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reloaded {
    /// The table that is live now.
    pub generation: u64,
}

/// The body of `upgrade`; all of it optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeOrder {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The program that takes over, an absolute path; the one that the process was started as, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// The answer of `upgrade`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The one that did, and finishes what is open.
    pub replaced: u32,
}

/// The answer of `/farms`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FarmList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// In the order written.
    pub farms: Vec<FarmWire>,
}

/// The answer of `/farms/{farm}/servers`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// In the order written.
    pub servers: Vec<ServerWire>,
}

/// The answer of `/frontends`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FrontendList {
    /// The table that it is of.
    pub generation: u64,
    /// When.
    pub at: String,
    /// In the order written.
    pub frontends: Vec<FrontendWire>,
}

/// The answer of `/status`: everything at one instant.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StatusWire {
    /// The service.
    pub service: ServiceWire,
    /// The version of Farmgate that runs.
    pub version: String,
    /// The table that it is of.
    pub generation: u64,
    /// Whether every server was checked once.
    pub ready: bool,
    /// When.
    pub at: String,
    /// In the order written.
    pub frontends: Vec<FrontendWire>,
    /// In the order written.
    pub farms: Vec<FarmWire>,
    /// So much fails at once that Farmgate suspects itself; null: nothing of the kind.
    #[serde(default)]
    pub incident: Option<IncidentWire>,
    /// The id of the last event; 0 before the first.
    #[serde(default)]
    pub last_event: u64,
    /// Servers that a reload removed together with their farm and that have something open still.
    #[serde(default)]
    pub leaving: Vec<LeavingWire>,
}

/// So much fails at once that Farmgate suspects itself, and holds the last good rotation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct IncidentWire {
    /// The id of the event that began it.
    pub id: u64,
    /// Since when.
    pub since: String,
    /// Until when the rotation is held at the latest.
    pub until: String,
    /// The farms concerned.
    pub farms: Vec<String>,
    /// How many servers failed.
    pub servers: usize,
}

/// The service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceWire {
    /// Its name.
    pub name: String,
    /// The zone that it runs in.
    pub zone: String,
    /// The id under which this process reports.
    pub instance_id: u64,
    /// Where it is reached.
    pub addresses: Vec<String>,
}

/// A frontend.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FrontendWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// http, tcp or udp.
    pub protocol: String,
    /// The addresses it listens on, as written.
    pub listen: Vec<String>,
    /// The farm that takes its work; of several, the one that takes what no route takes; null where none does.
    pub farm: Option<String>,
    /// The redirect that answers what no route takes, as the config file writes it; null where none does. So are the
    /// next ones, each null where it is not.
    #[serde(default)]
    pub redirect: Value,
    /// Its routes, in the order in which they are looked at.
    #[serde(default)]
    pub routes: Vec<Value>,
    /// How it is encrypted; the names of files, never what they hold.
    #[serde(default)]
    pub tls: Value,
    /// Whether HTTP/2 is spoken without TLS too.
    #[serde(default)]
    pub h2c: bool,
    /// Networks whose PROXY headers are read.
    #[serde(default)]
    pub accept_proxy: Vec<String>,
    /// Networks that may connect; null: all.
    #[serde(default)]
    pub allow: Option<Vec<String>>,
    /// Networks that may not.
    #[serde(default)]
    pub deny: Option<Vec<String>>,
    /// Strict-Transport-Security.
    #[serde(default)]
    pub hsts: Value,
    /// What clients are told while it is closed.
    #[serde(default)]
    pub maintenance: Value,
    /// Changes of every head towards a server.
    #[serde(default)]
    pub request_headers: Value,
    /// Changes of every head towards a client.
    #[serde(default)]
    pub response_headers: Value,
    /// Client connections open now.
    pub connections_open: u64,
    /// Networks whose X-Forwarded-* are kept.
    pub trust: Vec<String>,
    /// Deadlines towards clients, by name.
    pub timeouts: BTreeMap<String, String>,
    /// Bounds on what one client may send.
    pub limits: LimitsWire,
}

/// Bounds on what one client may send.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LimitsWire {
    /// Open connections of the frontend.
    pub connections: u32,
    /// Open connections of one client address; 0: no bound.
    #[serde(default)]
    pub connections_per_source: u32,
    /// TLS handshakes under way at once.
    #[serde(default)]
    pub handshakes: u32,
    /// Request line and header fields, in bytes.
    pub header_bytes: u32,
    /// Header fields of a request.
    #[serde(default)]
    pub header_fields: u16,
    /// The request target, in bytes.
    pub uri_bytes: u32,
    /// A request body, in bytes.
    pub body_bytes: u64,
    /// What a request body must come to on average, in bytes a second; 0: no bound.
    #[serde(default)]
    pub body_rate_min: u32,
    /// Requests under way at once on one HTTP/2 connection.
    #[serde(default)]
    pub streams: u32,
    /// How often one client may ask, as the config file writes it; null: as often as it likes.
    #[serde(default)]
    pub rate: Value,
}

/// A farm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FarmWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// http, tcp or udp.
    pub protocol: String,
    /// How new work is spread.
    pub balance: String,
    /// How it hashes, as the config file writes it; null where its balance does not.
    #[serde(default)]
    pub hash: Value,
    /// Whether its servers are spoken to in HTTP/2.
    #[serde(default)]
    pub http2: bool,
    /// How connections to its servers are used again, as the config file writes it; null where they are not.
    #[serde(default)]
    pub reuse: Value,
    /// How long work waits for servers that are full, as the config file writes it.
    #[serde(default)]
    pub queue: Value,
    /// How its servers are checked, if at all: the first probe that is no agent, as the config file writes it.
    pub probe: Option<Value>,
    /// Every probe as the config file writes it, with its `name`. No secret is ever part of it.
    #[serde(default)]
    pub probes: Vec<Value>,
    /// The probe that is run and recorded, and counts for nothing, as the config file writes it.
    #[serde(default)]
    pub shadow: Option<Value>,
    /// How many of the probes, agents not counted, must pass; null: all.
    #[serde(default)]
    pub quorum: Option<u8>,
    /// What is learnt from traffic, as the config file writes it; `off` where nothing is. So are the next two.
    #[serde(default)]
    pub observe: Value,
    /// When a server that keeps changing is held down.
    #[serde(default)]
    pub flap: Value,
    /// When failures are so many at once that the balancer suspects itself.
    #[serde(default)]
    pub incident: Value,
    /// How long a server that returns takes to come to its whole weight.
    #[serde(default)]
    pub slow_start: String,
    /// What happens to what is open on a server that goes Down: keep or close.
    #[serde(default)]
    pub on_down: String,
    /// How servers are taken out, as the config file writes it.
    #[serde(default)]
    pub drain: Value,
    /// The share of the weight that must be left when a server is taken out, as `50%`.
    #[serde(default)]
    pub reserve: String,
    /// How clients are brought back, as the config file writes it; never the key of a cookie.
    #[serde(default)]
    pub stickiness: Value,
    /// Deadlines towards its servers, by name.
    pub timeouts: BTreeMap<String, String>,
    /// Other servers tried after a connect failure.
    pub retry_attempts: u8,
    /// How much may be tried again, as the config file writes it; `off`: without bound.
    #[serde(default)]
    pub retry_budget: Value,
    /// When Down servers are used: never, all_down, `below 2` or `below 50%`.
    pub fail_open: String,
    /// Which servers carry it: primaries, backups, unproven, fail_open or nobody.
    pub serving: String,
    /// How many of its servers are what.
    pub counts: CountsWire,
    /// In the order written.
    pub servers: Vec<ServerWire>,
    /// Servers that a reload removed and that have something open still.
    #[serde(default)]
    pub leaving: Vec<LeavingWire>,
}

/// How many servers of a farm are what: by rotation, by health, by admin status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct CountsWire {
    /// All.
    pub servers: usize,
    /// That take new work now.
    pub in_rotation: usize,
    /// Health up.
    pub up: usize,
    /// Health down.
    pub down: usize,
    /// Health stopping: no new work.
    #[serde(default)]
    pub stopping: usize,
    /// No verdict yet.
    pub unknown: usize,
    /// Not probed.
    pub off: usize,
    /// Admin status active.
    pub active: usize,
    /// Admin status drain.
    pub drain: usize,
    /// Admin status maintenance.
    pub maintenance: usize,
    /// Requests or connections under way.
    pub in_flight: u64,
}

/// A server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerWire {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address as written.
    pub address: String,
    /// Where connections go; null while its name has no address.
    pub resolved: Option<String>,
    /// Its state in HAProxy's words.
    pub state: String,
    /// What checks conclude: up, down, unknown or off.
    pub health: String,
    /// How far checks are from concluding the contrary.
    pub progress: ProgressWire,
    /// What the operator wants: active, drain or maintenance.
    pub admin: String,
    /// The weight, overrides applied.
    pub weight: u16,
    /// The weight at which it takes new work now; 0 while it takes none.
    pub effective_weight: u16,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// How many wait for a place at it, those that would take one elsewhere too.
    #[serde(default)]
    pub queued: u32,
    /// Whether it is used only when no primary is.
    pub backup: bool,
    /// Whether it is checked.
    pub probed: bool,
    /// Where its probes go and as whom where that differs from what they say, as the config file writes it.
    #[serde(default)]
    pub aim: Value,
    /// The value that a sticky cookie has for it, where the config file says so.
    #[serde(default)]
    pub cookie: Option<String>,
    /// How it is spoken to in TLS, as the config file writes it; null where it is not.
    #[serde(default)]
    pub tls: Value,
    /// The PROXY header that it is sent first; null: none.
    #[serde(default)]
    pub proxy_protocol: Option<String>,
    /// The most requests, or connections, that it is given at once; null: no bound.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// What happens to what is open on it when it goes Down; null: as its farm says.
    #[serde(default)]
    pub on_down: Option<String>,
    /// When health, admin status or weight last changed.
    pub since: String,
    /// Fields whose live value is not the file's.
    pub overrides: Vec<OverrideWire>,
    /// The last check; null before the first.
    pub last_check: Option<CheckWire>,
    /// Its drain or maintenance, if it is in one.
    #[serde(default)]
    pub order: Option<OrderWire>,
    /// What is made of it beside its probes' verdict.
    #[serde(default)]
    pub standing: StandingWire,
    /// Each probe's part in its health.
    #[serde(default)]
    pub probes: Vec<ProbeStandingWire>,
    /// The shadow probe's, which counts for nothing.
    #[serde(default)]
    pub shadow: Option<ProbeStandingWire>,
    /// Whether it is in rotation only because an incident holds what was good before.
    #[serde(default)]
    pub held_by_incident: bool,
    /// Who wants it to take no new work: `agent`, `file`, `override`, and `unresolved` while its name has no address.
    #[serde(default)]
    pub causes: Vec<String>,
}

/// `have` of `need`; see the model's Progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ProgressWire {
    /// How many are there.
    pub have: u16,
    /// How many make a full set.
    pub need: u16,
}

/// A field whose live value is not the file's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OverrideWire {
    /// `status` or `weight`, as in the config file.
    pub field: String,
    /// Its live value, as in the config file.
    pub value: Value,
    /// The file's value.
    pub declared: Value,
    /// Who changed it.
    pub actor: String,
    /// From where.
    pub source: String,
    /// Why, in the operator's own words.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

/// One check and what it found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CheckWire {
    /// How it ended, in HAProxy's words.
    pub status: String,
    /// The HTTP status, if there was one.
    pub code: Option<u16>,
    /// What the server sent, or the error in words.
    pub content: String,
    /// When it ended.
    pub at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Whether it passed.
    pub passed: bool,
}
