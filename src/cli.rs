//! The command line: one file a command.
//!
//! The commands that speak to a running process are clients of the native API and know nothing else of it.

pub mod check;
pub mod client;
pub mod drain;
pub mod maintain;
pub mod ready;
pub mod reload;
pub mod schema;
pub mod status;
pub mod weight;

mod act;
mod pinned;
