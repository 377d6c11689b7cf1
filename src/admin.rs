//! The admin side: one listener of its own that speaks several shapes and stops last.
//!
//! A call is read whole (bounded), given to the shape that claims its path, and answered from one Snapshot; a write
//! becomes one `Change` on the Store. Each shape owns its authentication, its router and its error bodies, so that
//! its clients never see another shape's words. Runs on its own runtime; never on a data-plane thread.
//!
//! The way of a call: [`server`] accepts, `receive` reads it and applies the guards that hold for every shape,
//! `dispatch` finds who answers: `pages` (`/healthz`, `/readyz`, `/metrics`), `haproxy` (what HAProxy's tools read), `page` (what people see) or a shape. What
//! stays open, a wait or a stream, is held by `long`.

pub mod asked;
pub mod call;
pub mod error;
pub mod metrics;
pub mod minutes;
pub mod native;
pub mod outlets;
pub mod ovh;
pub mod server;
pub mod tls;
pub mod traffic;
pub mod zenlayer;

mod aside;
mod audit;
mod dispatch;
mod gate;
mod guard;
mod haproxy;
mod long;
mod page;
mod pages;
mod rates;
mod receive;
mod secret;

#[cfg(test)]
mod vendor_fixture;

pub use aside::Turns;
pub use call::{AdminState, Call, Caller, Control, Credentials, Succession};
pub use error::AdminError;
pub use gate::Gate;
pub use long::LongCalls;
pub use metrics::Collector;
pub use server::{AdminServer, BindError};
pub use tls::TlsError;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
