//! What is made of a server beside its probes' verdict, and each probe's part in that, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CheckWire, ProgressWire};

/// What traffic, flapping, warm-up and an agent make of a server.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct StandingWire {
    /// Taken out for what its traffic showed.
    pub ejected: Option<EjectedWire>,
    /// When it began to be held down for changing too often, if it is.
    pub held_since: Option<String>,
    /// Held down until then for changing too often.
    pub held_until: Option<String>,
    /// Changes of health that the flap guard counts.
    pub flap_score: u16,
    /// Coming back little by little.
    pub warmup: Option<WarmupWire>,
    /// Probes and traffic disagree.
    pub suspicion: Option<SuspicionWire>,
    /// What its agent asks for.
    pub agent: Option<AgentWire>,
}

/// Taken out for what traffic showed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct EjectedWire {
    /// Since when.
    pub since: String,
    /// Until when, unless a check passes before.
    pub until: String,
    /// Failures in a row that did it.
    pub errors: u16,
    /// What the last one was: `connect`, `response` or `status`.
    pub kind: String,
    /// How many times in a row.
    pub times: u16,
}

/// Coming back little by little.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct WarmupWire {
    /// Since when.
    pub since: String,
    /// When it has its whole weight.
    pub until: String,
    /// The share of its weight now.
    pub percent: u8,
}

/// Probes and traffic disagree.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SuspicionWire {
    /// `traffic_fails` or `probes_fail`.
    pub kind: String,
    /// Since when.
    pub since: String,
    /// Work that went well in the last window.
    pub good: u64,
    /// Work that failed in it.
    pub bad: u64,
}

/// What an agent asks for; null: nothing said of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AgentWire {
    /// A weight, or a share of the declared one such as `50%`.
    pub weight: Option<String>,
    /// The most connections at once.
    pub maxconn: Option<u32>,
    /// `active`, `drain` or `maintenance`.
    pub admin: Option<String>,
    /// `up` or `down`.
    pub health: Option<String>,
    /// Its own words.
    pub reason: Option<String>,
}

/// One probe's part in a server's health.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ProbeStandingWire {
    /// The probe's name.
    pub name: String,
    /// Its number in the farm; null for the shadow.
    pub slot: Option<u8>,
    /// What it concludes by itself.
    pub health: String,
    /// How far it is from concluding the contrary.
    pub progress: ProgressWire,
    /// Which of its intervals counts: `steady`, `changing` or `down`.
    pub pace: String,
    /// Its last check.
    pub last: Option<CheckWire>,
    /// When its next check begins at the latest.
    pub next_at: Option<String>,
}
