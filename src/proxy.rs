//! The data plane: accepts connections, chooses servers, moves bytes.
//!
//! One worker thread per core ([`worker`]), each with its own single-threaded runtime, its own SO_REUSEPORT socket per
//! listener ([`accept`]), its own HTTP engine and connections to servers ([`http`]). Reads the Store's table once per
//! request; writes nothing but counters. [`tcp`] relays raw connections. What is open and what was is asked through
//! [`Plane::sessions`] and [`Plane::requests`].

pub mod accept;
pub mod http;
pub mod worker;

mod client_hello;
mod command;
mod entry;
#[cfg(test)]
mod fuzz;
mod mirror;
mod owner;
mod proxy_header;
mod queue;
mod rate;
mod recent;
mod registry;
mod sessions;
mod sticking;
mod tcp;
mod tls;
mod transport;
mod turns;
mod udp;
mod upstream_tls;
mod work;

pub use accept::{HandedOver, Listeners, Traffic, bind_ahead};
pub use command::Farewell;
pub use tls::{CertificateRow, Certificates, Challenges, FileOf, Notice, ReadAgain};
pub use worker::{Chance, Plane, PlaneError};
