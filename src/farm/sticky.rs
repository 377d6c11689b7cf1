//! How a client is brought back to the server it had: by a sealed cookie ([`seal`]), by its address
//! or by a field that it sends ([`client`]).
//! Pure: keys and time are handed in. Sticky work takes nobody's turn: the algorithms of `balance` are asked only where
//! there is no server to go back to.

pub mod client;
pub mod seal;

pub use client::{Client, Clients};
pub use seal::{Seals, StickyKey, presented};
