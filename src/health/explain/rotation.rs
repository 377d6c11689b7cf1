//! What the rotation makes of a server: whether it takes new work, at which weight, and why at that.

use crate::model::{AgentWeight, Field, Health, Role};

use super::facts::{Carriers, ServerFacts};
use super::server::{override_of, who};
use super::words::{self, hundredths};

/// Where the server stands in the rotation; nothing where what keeps it out says so already.
pub(super) fn in_words(facts: &ServerFacts<'_>, is_kept_out: bool) -> Option<String> {
    if facts.effective_weight > 0 {
        return Some(in_rotation(facts, is_kept_out));
    }
    if is_kept_out {
        return None;
    }
    let why = match (facts.carriers, facts.server.role, facts.standing.health) {
        (_, _, Health::Unknown) => "takes work only while nobody of the farm is Up",
        (Carriers::Held | Carriers::Primaries, Role::Backup, _) => "waits as a backup: primaries serve",
        (_, Role::Backup | Role::Primary, _) => "not in rotation",
    };
    Some(why.to_owned())
}

/// That the server has all the work it may have, and how much waits for it.
pub(super) fn full_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    let most = facts.standing.max_connections(facts.server).filter(|most| facts.open >= u64::from(*most))?;
    let waiting = match facts.queued {
        0 => String::new(),
        1 => "; 1 waits".to_owned(),
        n => format!("; {n} wait"),
    };
    Some(format!("full: {} of {most}{waiting}", facts.open))
}

fn in_rotation(facts: &ServerFacts<'_>, is_kept_out: bool) -> String {
    let weight = weight_in_words(facts);
    match (facts.held, is_kept_out, facts.carriers) {
        (Some(held), true, _) => format!(
            "still in rotation with {weight}: incident {} suspects the balancer itself and holds the last good \
             rotation until {}",
            held.incident,
            words::until(held.until, facts.now)
        ),
        (None, true, Carriers::FailOpen) => format!("in rotation all the same with {weight}: the farm fails open"),
        (_, false, Carriers::Backups) => format!("in rotation as a backup with {weight}: no primary may serve"),
        (_, false, Carriers::Unproven) => format!("in rotation with {weight}: nobody of the farm is Up"),
        (
            _,
            _,
            Carriers::Backups
            | Carriers::FailOpen
            | Carriers::Held
            | Carriers::Nobody
            | Carriers::Primaries
            | Carriers::Unproven,
        ) => {
            format!("in rotation with {weight}")
        }
    }
}

/// `weight 35 of 100 (warming up: 35 % now, all of it at 12:00:00 (in 5 s)), 33 % of the rotation`.
fn weight_in_words(facts: &ServerFacts<'_>) -> String {
    let declared = u64::from(facts.server.weight.0) * 100;
    let effective = u64::from(facts.effective_weight);
    let mut text = format!("weight {}", hundredths(effective));
    if effective != declared {
        text.push_str(&format!(" of {}", hundredths(declared)));
    }
    let reasons = weight_reasons(facts);
    if !reasons.is_empty() {
        text.push_str(&format!(" ({})", reasons.join(", ")));
    }
    let all = facts.rotation_weight.max(effective);
    let percent = (effective * 100 + all / 2) / all.max(1);
    text + &format!(", {percent} % of the rotation")
}

/// Why the weight is not the file's.
pub(super) fn weight_reasons(facts: &ServerFacts<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(made) = override_of(facts, Field::Weight) {
        reasons.push(format!("set by {}; the file says {}", who(made), made.declared));
    }
    match facts.standing.agent.as_ref().and_then(|agent| agent.weight) {
        Some(AgentWeight::Percent(percent)) => reasons.push(format!("its agent asks for {percent} %")),
        Some(AgentWeight::Weight(weight)) => reasons.push(format!("its agent asks for {weight}")),
        None => {}
    }
    if let Some(warmup) = facts.standing.warmup {
        let whole = words::until(warmup.until, facts.now);
        reasons.push(format!("warming up: {} % now, all of it at {whole}", warmup.percent));
    }
    reasons
}
