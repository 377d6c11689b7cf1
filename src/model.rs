//! The validated words of the house: what a farm, a server, a probe, a check record, a change and an event *are*.
//!
//! Plain data, parsed once at the edges and never re-checked inside. Nothing here reads a clock, a socket or a file;
//! time arrives as [`Timestamp`]. Layer 0: imports nothing of ours. The words are those of ARCHITECTURE.md's glossary.

pub mod address;
pub mod change;
pub mod check;
pub mod event;
pub mod farm;
pub mod frontend;
pub mod id;
pub mod probe;
pub mod server;
pub mod settings;
pub mod time;
pub mod topology;

pub use address::{Host, ServerAddr};
pub use change::{Act, Change, Field, Override, Wish};
pub use check::{CheckRecord, CheckStatus, Checked, Content, Verdict};
pub use event::{Event, EventKind};
pub use farm::{Balance, FailOpen, Farm, FarmTimeouts, Protocol};
pub use frontend::{Frontend, FrontendTimeouts, Limits};
pub use id::{Epoch, FarmId, FrontendId, Generation, InstanceId, Name, ServerId, ServerKey};
pub use probe::{BodyMatch, Expect, HttpProbe, Negate, Probe, ProbeKind, ProbeMethod, ProbeStart, StatusSet};
pub use server::{AdminStatus, Health, Progress, Role, Server, Weight};
pub use settings::{Access, AdminSettings, Secret, Settings};
pub use time::Timestamp;
pub use topology::{Service, Topology};
