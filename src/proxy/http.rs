//! HTTP/1.1 and HTTP/2 on both sides.
//!
//! [`conn`] is the stream handed to Pingora's engine: it frames requests strictly before the engine sees a byte,
//! keeps every deadline towards the client, and refuses what is ambiguous ([`head`], [`chunked`]: pure). [`h2`] does the
//! same for the requests of an HTTP/2 connection, which the engine frames itself. [`exchange`]
//! holds what happens to one request as pure steps; [`pingora`] is the engine that calls them.

pub mod chunked;
pub mod conn;
pub mod control;
pub mod exchange;
#[cfg(test)]
mod fuzz;
pub(super) mod h2;
pub mod head;
mod kept;
pub mod pages;
pub mod pingora;
