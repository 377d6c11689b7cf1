//! What is counted, where, and under which name.
//!
//! Every name stands in [`names`]. On the hot path a worker adds to its own cells ([`cells`]): no label look-up, no
//! cache line that another worker writes. A collector sums them when somebody scrapes.

pub mod cells;
pub mod handshakes;
pub mod names;
pub mod reloads;

pub use cells::{
    Cell, CheckCells, EdgeCells, FrontendCells, Histogram, Mirrored, PerWorker, Refusal, StatusClass, WorkerIx,
};
pub use handshakes::{Handshake, HandshakeCells, HandshakeFailure};
pub use reloads::ReloadCells;
