//! Health in words: a server's state as HAProxy says it, from one function, and why a server or a farm is in the state
//! it is in, as one sentence and a tree.
//!
//! Pure: everything that is said is handed in, `now` too. What is said is true of that instant and complete: every
//! cause that keeps a server out is named. Times of day are UTC.

pub mod advice;
pub mod words;

mod facts;
mod farm;
mod outlook;
mod rotation;
mod server;
mod tree;
mod unmade;

pub use facts::{Carriers, Explanation, Fact, FarmFacts, HeldBy, ServerFacts};
pub use farm::explain_farm;
pub use server::explain;

use crate::model::{AdminStatus, AgentHealth, AgentWeight, CheckRecord, Health, Standing, Weight};

/// Returns the state of a server as HAProxy's stats page words it: `UP`, `UP 2/3`, `DOWN`, `DOWN 1/2`, `DOWN (agent)`,
/// `NOLB`, `NOLB 2/3`, `DRAIN`, `DRAIN 2/3`, `DRAIN (agent)`, `MAINT`, `MAINT (resolution)` or `no check`.
///
/// `is_resolved` is false while the server's name has no address. Weight 0 reads as DRAIN, as there. A server that its
/// traffic had ejected or that is held for flapping reads as DOWN, as one that `observe` marked down does there.
#[must_use]
pub fn haproxy_state(admin: AdminStatus, weight: Weight, standing: &Standing, is_resolved: bool) -> String {
    let (word, has_progress) = state_word(admin, weight, standing, is_resolved);
    let progress = standing.progress;
    let is_under_way = has_progress && progress.have > 0 && progress.have < progress.need;
    if is_under_way { format!("{word} {}/{}", progress.have, progress.need) } else { word.to_owned() }
}

/// Returns the word of [`haproxy_state`] without progress, and whether progress is told with it.
#[must_use]
pub fn state_word(admin: AdminStatus, weight: Weight, standing: &Standing, is_resolved: bool) -> (&'static str, bool) {
    let health = standing.health;
    let agent = standing.agent.as_deref();
    let wanted = standing.admin_with_agent(admin);
    if wanted == AdminStatus::Maintenance {
        return ("MAINT", false);
    }
    if !is_resolved {
        return ("MAINT (resolution)", false);
    }
    if agent.is_some_and(|agent| agent.health == Some(AgentHealth::Down)) {
        return ("DOWN (agent)", false);
    }
    if health == Health::Down {
        return ("DOWN", true);
    }
    if standing.ejected.is_some() || standing.held_until.is_some() {
        return ("DOWN", false);
    }
    if admin == AdminStatus::Drain || weight == Weight(0) {
        return ("DRAIN", true);
    }
    let weighs_nothing = agent.and_then(|agent| agent.weight).is_some_and(|weight| match weight {
        AgentWeight::Percent(percent) => percent == 0,
        AgentWeight::Weight(weight) => weight == Weight(0),
    });
    if wanted == AdminStatus::Drain || weighs_nothing {
        return ("DRAIN (agent)", false);
    }
    match health {
        Health::Down => ("DOWN", true),
        Health::Off | Health::Unknown => ("no check", false),
        Health::Stopping => ("NOLB", true),
        Health::Up => ("UP", true),
    }
}

/// Returns the word for how the last check ended, as HAProxy's stats page has it: `HANA` while traffic keeps the server
/// out, `INI` before the first check, `UNK` where there is none to come.
#[must_use]
pub fn check_status_word(standing: &Standing, last: Option<&CheckRecord>) -> &'static str {
    match (standing.ejected, last, standing.health) {
        (Some(_), _, _) => "HANA",
        (None, Some(last), _) => last.status.as_str(),
        (None, None, Health::Off) => "UNK",
        (None, None, Health::Down | Health::Stopping | Health::Unknown | Health::Up) => "INI",
    }
}

#[cfg(test)]
mod tests;
