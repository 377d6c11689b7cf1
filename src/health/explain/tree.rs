//! Everything that a server's sentence rests on, as a tree.

use crate::model::{AgentHealth, AgentWeight, CheckBrief, Health, ProbeSlot, ProbeStanding};

use super::facts::{Carriers, Fact, ServerFacts};
use super::rotation::weight_reasons;
use super::server::{fault_in_words, suspicion_in_words, who};
use super::words::{self, count, hundredths, span};
use super::{advice, outlook, unmade};

pub(super) fn of_server(facts: &ServerFacts<'_>) -> Vec<Fact> {
    let mut found = vec![Fact::plain("state", facts.state)];
    if let Some(since) = facts.leaving_since {
        found.push(Fact::plain("leaving", words::since(since, facts.now)));
        found.push(Fact::plain("rotation", "takes no new work"));
        return found;
    }
    found.push(admin(facts));
    if !facts.is_resolved {
        found.push(Fact::plain("address", format!("\"{}\" has no address", facts.server.address)));
    }
    found.push(health(facts));
    found.extend(agent(facts));
    found.extend(traffic(facts));
    found.extend(flapping(facts));
    found.extend(facts.held.map(|held| {
        let until = words::until(held.until, facts.now);
        Fact::plain("incident", format!("{} holds the last good rotation until {until}", held.incident))
    }));
    found.push(rotation(facts));
    found.extend(
        facts
            .standing
            .max_connections(facts.server)
            .map(|most| Fact::plain("places", format!("{} of {most} taken, {} waiting", facts.open, facts.queued))),
    );
    found.extend(shadow(facts));
    found
}

fn admin(facts: &ServerFacts<'_>) -> Fact {
    let of = |made: &crate::model::Override| {
        let mut text = format!(
            "{}: {} instead of the file's {}, by {}, since {}",
            made.wish.field().as_str(),
            made.wish,
            made.declared,
            who(made),
            words::since(made.act.at, facts.now)
        );
        for (word, at) in [("until", made.terms.until), ("deadline", made.terms.deadline)] {
            if let Some(at) = at {
                text.push_str(&format!(", {word} {}", words::until(at, facts.now)));
            }
        }
        Fact::plain("override", text)
    };
    let children = facts.overrides.iter().map(of).collect();
    Fact { label: "admin", text: facts.server.admin.as_str().to_owned(), children }
}

fn health(facts: &ServerFacts<'_>) -> Fact {
    let standing = facts.standing;
    let mut text = format!("{} since {}", standing.health.as_str(), words::since(facts.since, facts.now));
    let all = outlook::counted(facts).count();
    if all > 1 {
        text.push_str(&format!(", {} of {all} probes must pass", outlook::needed(facts)));
    }
    let mut children: Vec<Fact> =
        outlook::counted(facts).map(|(standing, _)| probe(facts, "probe", standing)).collect();
    if !facts.decided_by.is_empty() {
        let checks = facts.decided_by.iter().map(|brief| check(facts, brief)).collect();
        children.push(Fact { label: "decided_by", text: words::checks(facts.decided_by), children: checks });
    }
    if standing.health == Health::Down {
        let earliest = outlook::earliest_return(facts);
        children.extend(earliest.map(|at| Fact::plain("earliest_pass", words::until(at, facts.now))));
    }
    Fact { label: "health", text, children }
}

fn probe(facts: &ServerFacts<'_>, label: &'static str, standing: &ProbeStanding) -> Fact {
    let declared = facts.farm.probe_at(standing.slot);
    let name = declared.map_or_else(String::new, |probe| format!("\"{}\" ({}) ", probe.name, probe.kind.as_str()));
    let progress = standing.progress;
    let text = format!("{name}{} {}/{}", standing.health.as_str(), progress.have, progress.need);
    let mut children = Vec::new();
    if let Some(last) = &standing.last {
        let brief = last.brief(standing.slot);
        let mut fact = check(facts, &brief);
        if !last.content.as_str().is_empty() {
            fact.text.push_str(&format!(": \"{}\"", last.content.as_str()));
        }
        children.push(Fact { label: "last_check", ..fact });
    }
    let stale = standing.last_verdict.filter(|_| unmade::last(standing).is_some());
    children.extend(stale.map(|brief| Fact { label: "last_verdict", ..check(facts, &brief) }));
    children.extend(standing.next_at.map(|at| Fact::plain("next_check", words::when(at, facts.now))));
    let durations = facts.durations.iter().find(|(slot, _)| *slot == standing.slot).map(|(_, durations)| durations);
    let advised = durations.zip(declared).and_then(|(durations, probe)| advice::advice(durations, probe.timeout));
    children.extend(advised.map(|text| Fact::plain("advice", text)));
    Fact { label, text, children }
}

fn check(facts: &ServerFacts<'_>, brief: &CheckBrief) -> Fact {
    let at = words::clock(brief.at, facts.now);
    Fact::plain("check", format!("{} at {at} in {}", words::check(brief), span(brief.duration)))
}

fn agent(facts: &ServerFacts<'_>) -> Option<Fact> {
    let says = facts.standing.agent.as_deref()?;
    let mut words = Vec::new();
    words.extend(says.health.map(|health| match health {
        AgentHealth::Down => "down".to_owned(),
        AgentHealth::Up => "up".to_owned(),
    }));
    words.extend(says.admin.map(|admin| admin.as_str().to_owned()));
    words.extend(says.weight.map(|weight| match weight {
        AgentWeight::Percent(percent) => format!("{percent} % of its weight"),
        AgentWeight::Weight(weight) => format!("weight {weight}"),
    }));
    words.extend(says.maxconn.map(|most| match most {
        0 => "any number of connections".to_owned(),
        most => format!("at most {}", count(u64::from(most), "connection")),
    }));
    words.extend(says.reason.as_ref().map(|reason| format!("\"{reason}\"")));
    Some(Fact::plain("agent", words.join(", ")))
}

fn traffic(facts: &ServerFacts<'_>) -> Vec<Fact> {
    let ejected = facts.standing.ejected.map(|ejection| {
        let text = format!(
            "ejected since {} until {}: {} in a row, {}",
            words::since(ejection.since, facts.now),
            words::until(ejection.until, facts.now),
            count(u64::from(ejection.errors), "failure"),
            fault_in_words(ejection.kind)
        );
        Fact::plain("traffic", text)
    });
    let suspicion = suspicion_in_words(facts).map(|text| Fact::plain("suspicion", text));
    ejected.into_iter().chain(suspicion).collect()
}

fn flapping(facts: &ServerFacts<'_>) -> Option<Fact> {
    let standing = facts.standing;
    if standing.flap_score == 0 && standing.held_until.is_none() {
        return None;
    }
    let mut text = format!("{} of health", count(u64::from(standing.flap_score), "change"));
    if let Some(guard) = facts.farm.flap {
        text.push_str(&format!(" within {}; {} hold it down", span(guard.within), guard.transitions));
    }
    if let Some(until) = standing.held_until {
        let since = standing.held_since.map(|since| format!(" since {}", words::since(since, facts.now)));
        text.push_str(&format!("; held down{} until {}", since.unwrap_or_default(), words::until(until, facts.now)));
    }
    Some(Fact::plain("flapping", text))
}

fn rotation(facts: &ServerFacts<'_>) -> Fact {
    let effective = u64::from(facts.effective_weight);
    let text = match effective {
        0 => "takes no new work".to_owned(),
        weight => format!("takes new work with weight {}", hundredths(weight)),
    };
    let carriers = match facts.carriers {
        Carriers::Backups => "backups carry the farm",
        Carriers::FailOpen => "the farm fails open",
        Carriers::Held => "those of before the incident carry the farm",
        Carriers::Nobody => "nobody carries the farm",
        Carriers::Primaries => "primaries carry the farm",
        Carriers::Unproven => "servers without a verdict carry the farm",
    };
    let mut children = vec![Fact::plain("carriers", carriers)];
    children.push(Fact::plain("weight", format!("{} declared or set", facts.server.weight)));
    children.extend(weight_reasons(facts).into_iter().map(|reason| Fact::plain("weight", reason)));
    Fact { label: "rotation", text, children }
}

fn shadow(facts: &ServerFacts<'_>) -> Option<Fact> {
    let standing = facts.probes.iter().find(|standing| standing.slot == ProbeSlot::SHADOW)?;
    Some(probe(facts, "shadow", standing))
}
