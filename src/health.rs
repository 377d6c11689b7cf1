//! Turns verdicts of checks into health, and health into words; says when to check and what a reply is worth. Pure:
//! no sockets, no clock.

pub mod agent;
pub mod expect;
pub mod explain;
pub mod incident;
pub mod machine;
pub mod replay;
pub mod scatter;
pub mod schedule;
pub mod server;
pub mod suspicion;

mod flap;
mod outlier;
mod warmup;

pub use expect::{Decision, Mismatch};
pub use explain::{Explanation, FarmFacts, ServerFacts, explain, explain_farm, haproxy_state};
pub use incident::{Incident, IncidentChange, IncidentDetector, Seen};
pub use machine::{Machine, Rule};
pub use outlier::may_eject;
pub use replay::{Replay, Replayed, ShareLost, replay, share_lost};
pub use schedule::{CheckId, RunEnd, Schedule, Ticket};
pub use server::{Outcome, ServerHealth};
