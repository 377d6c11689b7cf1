//! The admin side: one listener of its own that speaks several shapes and stops last.
//!
//! A call is read whole (bounded), given to the shape that claims its path, and answered from one Snapshot; a write
//! becomes one `Change` on the Store. Each shape owns its authentication, its router and its error bodies, so that
//! its clients never see another shape's words. Runs on its own runtime; never on a data-plane thread.

pub mod call;
pub mod error;
pub mod ovh;
pub mod zenlayer;

mod token;

#[cfg(test)]
mod vendor_fixture;

pub use call::{AdminState, Call, Caller, Control, Credentials};
pub use error::AdminError;
