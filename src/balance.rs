//! Who takes the next piece of work: one file an algorithm, over plain weights and numbers.
//!
//! Knows positions in a list, weights and counts; nothing of farms, health or sockets (`farm::choose` joins them).
//! Every algorithm tolerates weight 0 (such a server takes nothing) and answers nothing when nobody can take work.
//! Pure and owned by one thread: time and chance are handed in, picking never allocates. Shared below: [`seed`], a
//! generator of numbers from a seed, and a tournament tree that finds the least key in O(log n).

pub mod bounded;
mod draw;
pub mod ewma;
pub mod first;
pub mod hash;
pub mod least_conn;
pub mod maglev;
pub mod random;
pub mod round_robin;
pub mod seed;
mod tournament;

pub use ewma::Latency;
pub use hash::Rendezvous;
pub use least_conn::LeastConn;
pub use maglev::Maglev;
pub use random::{Cost, TwoChoices};
pub use round_robin::{Turns, greatest_common_divisor};
