//! Who may take new work, and who takes the next piece of it. Pure but for the counters in [`live`].

pub mod budget;
pub mod chain;
pub mod choose;
pub mod entry;
pub mod live;
pub mod places;
pub mod queue;
pub mod rotation;
pub mod sticky;
pub mod table;

pub use choose::{Ask, Choosers, Key, Tried};
pub use entry::ServerEntry;
pub use live::{FarmLive, ServerLive};
pub use rotation::{Eligible, Rotation, Serving};
pub use table::FarmTable;
