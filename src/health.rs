//! Turns verdicts of checks into health, and health into words; says when to check and what a reply is worth. Pure:
//! no sockets, no clock.

pub mod agent;
pub mod expect;
pub mod explain;
pub mod machine;
pub mod schedule;
pub mod server;

pub use expect::{Decision, Mismatch};
pub use machine::{Machine, Rule};
pub use schedule::{CheckId, RunEnd, Schedule, Ticket};
pub use server::{Outcome, ServerHealth};
