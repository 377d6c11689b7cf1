//! What an explanation is made of, and what it is.

use crate::model::{CheckBrief, Farm, Leftovers, Override, ProbeSlot, ProbeStanding, Server, Standing, Timestamp};

use super::advice::Durations;

/// Everything that is known of a server at one instant.
#[derive(Clone, Copy, Debug)]
pub struct ServerFacts<'a> {
    /// Its farm, overrides applied.
    pub farm: &'a Farm,
    /// The server, overrides applied.
    pub server: &'a Server,
    /// Its state in HAProxy's words.
    pub state: &'a str,
    /// What is concluded of it.
    pub standing: &'a Standing,
    /// Each probe's part.
    pub probes: &'a [ProbeStanding],
    /// Its last checks, the oldest first.
    pub recent: &'a [CheckBrief],
    /// The checks that made its health what it is, the oldest first.
    pub decided_by: &'a [CheckBrief],
    /// How long the checks of each probe took, as far as they are on record.
    pub durations: &'a [(ProbeSlot, Durations)],
    /// Since when its health is what it is.
    pub since: Timestamp,
    /// Since when its state is what it is, progress aside.
    pub state_since: Timestamp,
    /// The instant.
    pub now: Timestamp,
    /// The weight at which it takes new work now, in hundredths; 0: it takes none.
    pub effective_weight: u32,
    /// The same of all servers of the rotation together.
    pub rotation_weight: u64,
    /// Who carries the farm.
    pub carriers: Carriers,
    /// The incident that holds it in rotation, if one does.
    pub held: Option<HeldBy>,
    /// Its fields that are not the file's.
    pub overrides: &'a [Override],
    /// Whether its name has an address.
    pub is_resolved: bool,
    /// Since when it is not declared any more, if a reload removed it.
    pub leaving_since: Option<Timestamp>,
    /// When what is open on it counts as left over, and what happens then, if it is drained or leaving.
    pub deadline: Option<(Timestamp, Leftovers)>,
    /// Requests and connections open on it.
    pub open: u64,
    /// How many wait for a place at it.
    pub queued: u32,
}

/// Who carries a farm: the tier of its rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carriers {
    /// Backups: no primary may.
    Backups,
    /// Down servers too: the farm fails open.
    FailOpen,
    /// Those of before an incident, some of which fail by now.
    Held,
    /// Nobody.
    Nobody,
    /// Primaries.
    Primaries,
    /// Servers without a verdict: nobody is Up.
    Unproven,
}

impl Carriers {
    /// Returns the carriers of the native API's word for how a farm serves.
    #[must_use]
    pub fn parse(serving: &str) -> Option<Self> {
        match serving {
            "backups" => Some(Self::Backups),
            "fail_open" => Some(Self::FailOpen),
            "held" => Some(Self::Held),
            "nobody" => Some(Self::Nobody),
            "primaries" => Some(Self::Primaries),
            "unproven" => Some(Self::Unproven),
            _ => None,
        }
    }
}

/// The incident that holds a server in rotation though its probes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// Its number.
    pub incident: u64,
    /// Until when at the latest.
    pub until: Timestamp,
}

/// Everything that is known of a farm at one instant.
#[derive(Clone, Copy, Debug)]
pub struct FarmFacts<'a> {
    /// The farm, overrides applied.
    pub farm: &'a Farm,
    /// Who carries it.
    pub carriers: Carriers,
    /// Its servers, in the order written.
    pub servers: &'a [ServerFacts<'a>],
    /// The instant.
    pub now: Timestamp,
}

/// Why something is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// In one sentence, without a full stop.
    pub sentence: String,
    /// In full.
    pub tree: Vec<Fact>,
}

/// One fact and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about, in one word.
    pub label: &'static str,
    /// The fact.
    pub text: String,
    /// What it rests on.
    pub children: Vec<Self>,
}

impl Fact {
    pub(super) fn plain(label: &'static str, text: impl Into<String>) -> Self {
        Self { label, text: text.into(), children: Vec::new() }
    }
}
