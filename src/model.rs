//! The validated words of the house: what a farm, a server, a probe, a check record, a change and an event *are*.
//!
//! Plain data, parsed once at the edges and never re-checked inside. Nothing here reads a clock, a socket or a file;
//! time arrives as [`Timestamp`]. Layer 0: imports nothing of ours. The words are those of ARCHITECTURE.md's glossary.

pub mod address;
pub mod change;
pub mod check;
pub mod credential;
pub mod event;
pub mod expect;
pub mod farm;
pub mod frontend;
#[cfg(test)]
pub(crate) mod fuzz;
pub mod id;
pub mod listen;
pub mod object;
pub mod probe;
pub mod route;
pub mod secrecy;
pub mod server;
pub mod settings;
pub mod standing;
pub mod template;
pub mod time;
pub mod tls;
pub mod topology;
pub mod trace;
pub mod traffic;
pub mod wildcard;

pub use address::{Host, PeerAddr, ServerAddr};
pub use change::{Act, Change, Field, Override, Reserve, Terms, Wish};
pub use check::{
    AgentHealth, AgentSays, AgentWeight, CheckBrief, CheckRecord, CheckStatus, Checked, Content, Evidence, Paced,
    Verdict,
};
pub use event::{
    CertificateChange, CheckingChange, CommandKind, CredentialChange, EditKind, Event, EventKind, FieldChange,
    IncidentPhase, OrderEnding, RefreshPhase, StandingChange,
};
pub use expect::{BodyMatch, Expect, Negate, StatusSet};
pub use farm::{
    Balance, CookieRule, DrainRule, FailOpen, Farm, FarmTimeouts, FlapGuard, HashKey, HashRule, IncidentGuard,
    Leftovers, Observe, Protocol, QueueRule, RetryBudget, Reuse, SameSite, Stickiness,
};
pub use frontend::{Frontend, FrontendTimeouts, Limits, RateKey, RateLimit, Sources};
pub use id::{Epoch, FarmId, FrontendId, Generation, InstanceId, Name, ObjectId, RouteId, ServerId, ServerKey, TaskId};
pub use listen::ListenAddr;
pub use object::{
    Declaration, Made, ObjectBatch, ObjectKind, SavedObjects, Staged, StagedChange, StagedKey, Task, TaskStatus,
};
pub use probe::{
    Aim, CommandProbe, Encryption, ExchangeProbe, HttpProbe, HttpVersion, Pace, Probe, ProbeKind, ProbeMethod,
    ProbeSlot, ProbeStart, ProxyHeader, Step, Verify,
};
pub use route::{
    Action, Forward, HeaderRules, Hsts, MaintenancePage, Mirror, Redirect, Rewrite, Route, Rule, Share, Subject, Test,
};
pub use server::{AdminStatus, Health, Progress, ProxyOut, Role, Server, Weight};
pub use settings::{Access, AdminSettings, Secret, Settings};
pub use standing::{
    Ejection, ProbeStanding, SavedHealth, SessionGroup, SessionKind, Standing, Suspicion, SuspicionKind, TrafficFault,
    Warmup,
};
pub use template::{Piece, Template, TemplateError, Variable};
pub use time::Timestamp;
pub use tls::{Alpn, CertificateFiles, ClientAuth, FrontendTls, ServerTls, TlsProfile};
pub use topology::{Service, Topology};
pub use trace::{Attempt, AttemptOutcome, ChosenBy, RequestTrace};
