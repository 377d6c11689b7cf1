//! Why a farm is served as it is, in one sentence and a tree of its servers.

use crate::model::{FailOpen, Health, Role};

use super::facts::{Carriers, Explanation, Fact, FarmFacts, HeldBy, ServerFacts};
use super::server::{explain, has_failed};
use super::words::{self, count};

/// Servers that a sentence names; the others are counted.
const NAMED_MAX: usize = 5;

/// Returns why a farm is served as it is.
#[must_use]
pub fn explain_farm(facts: &FarmFacts<'_>) -> Explanation {
    let fact = |server: &ServerFacts<'_>| {
        let text = format!("{}: {}", server.server.name, explain(server).sentence);
        Fact::plain("server", text)
    };
    Explanation { sentence: sentence(facts), tree: facts.servers.iter().map(fact).collect() }
}

fn sentence(facts: &FarmFacts<'_>) -> String {
    let (all, carrying) = (facts.servers.len(), facts.servers.iter().filter(|server| is_in(server)).count());
    let of = |role| facts.servers.iter().filter(move |server| server.server.role == role);
    let primaries = of(Role::Primary).count() as u64;
    let none_of = |n: u64, thing: &str| match n {
        1 => format!("its only {thing} may not take work"),
        n => format!("none of its {} may take work", count(n, thing)),
    };
    let primaries_out = || format!("{}: {}", none_of(primaries, "primary server"), out(of(Role::Primary)));
    let everyone_out = || format!("{}: {}", none_of(all as u64, "server"), out(facts.servers.iter()));
    let bad = || facts.servers.iter().filter(|server| is_in(server) && !is_good(server));
    let mut text = match facts.carriers {
        Carriers::Primaries if carrying == all => format!("served by all its {}", count(all as u64, "server")),
        Carriers::Primaries => {
            let text = format!("served by {carrying} of {}", count(all as u64, "server"));
            text + &format!("; not in rotation: {}", out(facts.servers.iter()))
        }
        Carriers::Backups => format!("served by {} because {}", count(carrying as u64, "backup"), primaries_out()),
        Carriers::Unproven => {
            format!("served by {} without a verdict yet, because nobody is Up", count(carrying as u64, "server"))
        }
        Carriers::FailOpen => {
            let rule = match facts.farm.fail_open {
                FailOpen::Below(n) => format!("fewer than {} may take work", count(u64::from(n), "server")),
                FailOpen::BelowShare(percent) => format!("less than {percent} % of its servers may take work"),
                FailOpen::Never | FailOpen::WhenAllDown => "none of its servers is good".to_owned(),
            };
            format!("fails open because {rule}: {carrying} of {all} take work, these of them not good: {}", list(bad()))
        }
        Carriers::Held => {
            format!("served by {carrying} of {}, these of them not good: {}", count(all as u64, "server"), list(bad()))
        }
        Carriers::Nobody if all == 0 => "served by nobody because it has no server".to_owned(),
        Carriers::Nobody => format!("served by nobody because {}", everyone_out()),
    };
    if let Some(HeldBy { incident, until }) = facts.servers.iter().find_map(|server| server.held) {
        let until = words::until(until, facts.now);
        text.push_str(&format!(
            "; incident {incident} suspects the balancer itself and holds the last good rotation until {until}"
        ));
    }
    text
}

fn is_in(server: &ServerFacts<'_>) -> bool {
    server.effective_weight > 0
}

fn is_good(server: &ServerFacts<'_>) -> bool {
    let standing = server.standing;
    matches!(standing.health, Health::Up | Health::Off) && standing.ejected.is_none() && standing.held_until.is_none()
}

/// Those that are not in rotation.
fn out<'a>(servers: impl Iterator<Item = &'a ServerFacts<'a>>) -> String {
    list(servers.filter(|server| !is_in(server)))
}

/// `web-1 DOWN (L7STS 503 ×3), web-2 MAINT and 4 more`.
fn list<'a>(servers: impl Iterator<Item = &'a ServerFacts<'a>>) -> String {
    let servers: Vec<_> = servers.collect();
    let named: Vec<String> = servers.iter().take(NAMED_MAX).map(|server| short(server)).collect();
    match servers.len() {
        0 => "none".to_owned(),
        n if n > NAMED_MAX => format!("{} and {} more", named.join(", "), n - NAMED_MAX),
        _ => named.join(", "),
    }
}

/// `web-1 DOWN (L7STS 503 ×3)`.
fn short(server: &ServerFacts<'_>) -> String {
    let standing = server.standing;
    let failed: Vec<_> = server.decided_by.iter().filter(|brief| has_failed(brief)).copied().collect();
    let why = if standing.ejected.is_some() {
        " (ejected by its traffic)".to_owned()
    } else if standing.held_until.is_some() {
        " (held down for flapping)".to_owned()
    } else if standing.health == Health::Down && !failed.is_empty() && server.state.starts_with("DOWN") {
        format!(" ({})", words::checks(&failed))
    } else if !is_in(server)
        && server.server.role == Role::Backup
        && server.carriers == Carriers::Primaries
        && is_good(server)
    {
        " (backup)".to_owned()
    } else {
        String::new()
    };
    format!("{} {}{why}", server.server.name, server.state)
}
