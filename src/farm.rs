//! Who may take new work, and who takes the next piece of it. Pure but for the counters in [`live`].

pub mod chain;
pub mod choose;
pub mod entry;
pub mod live;
pub mod rotation;
pub mod sticky;
pub mod table;

pub use choose::{Ask, Choosers, Key, Tried};
pub use entry::ServerEntry;
pub use live::ServerLive;
pub use rotation::{Eligible, Rotation, Serving};
pub use table::FarmTable;
