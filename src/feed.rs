//! The one schema of events: what the journal keeps, what is pushed to readers and what receivers are sent is the same
//! JSON, made here once from an `Event`.
//!
//! [`wire`] has the fields, [`sentence()`] says the same for people, [`Ring`] holds the last events for readers that
//! follow along. Pure: no clock, no file, no socket; the Store numbers events, an edge carries them. The schema grows
//! by new fields and new words only: a reader ignores what it does not know.

pub mod wire;

mod ring;
mod sentence;

use crate::model::{Event, EventKind, FarmId, ObjectKind};

pub use ring::{EVENTS_HELD_MAX, Ring, Since, Told};
pub use sentence::sentence;
pub use wire::{AgentWire, EventWire};

/// Returns an event in the one schema, as JSON on one line.
#[must_use]
pub fn json(event: &Event) -> String {
    EventWire::of(event).to_json()
}

/// Returns the farms that an event is about; none where it is about the process.
#[must_use]
pub fn farms(kind: &EventKind) -> Vec<FarmId> {
    match kind {
        EventKind::Changed { server, .. }
        | EventKind::Left { server, .. }
        | EventKind::OrderEnded { server, .. }
        | EventKind::StandingChanged { server, .. }
        | EventKind::Transition { server, .. } => vec![server.farm],
        EventKind::Checking { farm, .. } | EventKind::FarmServing { farm, .. } => vec![*farm],
        EventKind::Incident { farms, .. } => farms.iter().map(|(id, _)| *id).collect(),
        EventKind::Edited { object: ObjectKind::Farm, id, .. } => vec![FarmId(id.0)],
        EventKind::Certificate { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::Edited { .. }
        | EventKind::Refresh { .. }
        | EventKind::Reloaded { .. } => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
