//! How a client is brought back to the server it had: by a sealed cookie ([`seal`]) or by its address ([`source`]).
//! Pure: keys and time are handed in. Sticky work takes nobody's turn: the algorithms of `balance` are asked only where
//! there is no server to go back to.

pub mod seal;
pub mod source;

pub use seal::{Seals, StickyKey, presented};
pub use source::Sources;
