//! Turns verdicts of checks into health, and health into words. Pure: no sockets, no clock.

pub mod explain;
pub mod machine;

pub use machine::{Machine, Rule};
