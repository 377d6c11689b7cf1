//! What is said of checks that cannot be made. The fault is ours, so they count for nothing: what is concluded of the
//! server stays what it was, however old that is.

use crate::model::{CheckRecord, CheckStatus, Health, ProbeStanding};

use super::facts::ServerFacts;
use super::outlook;
use super::words::{self, span};

/// Returns what there is to say of each probe whose last check could not be made.
pub(super) fn in_words(facts: &ServerFacts<'_>) -> Vec<String> {
    let is_alone = outlook::counted(facts).count() == 1;
    let of = |(standing, last, name)| {
        let whose = if is_alone { "its checks".to_owned() } else { format!("the checks of probe \"{name}\"") };
        format!("{whose} cannot be made{}{}", why(last), verdict(facts, standing))
    };
    let unmade = outlook::counted(facts).filter_map(|(standing, probe)| Some((standing, last(standing)?, &probe.name)));
    unmade.map(of).collect()
}

/// Returns whether that is so of any probe that counts.
pub(super) fn is_any(facts: &ServerFacts<'_>) -> bool {
    outlook::counted(facts).any(|(standing, _)| last(standing).is_some())
}

/// Returns whether that is so of every probe that counts.
pub(super) fn is_all(facts: &ServerFacts<'_>) -> bool {
    is_any(facts) && outlook::counted(facts).all(|(standing, _)| last(standing).is_some())
}

/// Returns the last check, if it could not be made.
pub(super) fn last(standing: &ProbeStanding) -> Option<&CheckRecord> {
    standing.last.as_deref().filter(|last| last.status == CheckStatus::SockErr)
}

fn why(last: &CheckRecord) -> String {
    // Whole, for it may be the remedy; it is no more than a check keeps of a reply.
    match last.content.as_str() {
        "" => String::new(),
        content => format!(": {content}"),
    }
}

fn verdict(facts: &ServerFacts<'_>, standing: &ProbeStanding) -> String {
    match (standing.last_verdict, standing.health) {
        (Some(brief), _) => {
            format!("; last verdict {} {} ago", words::check(&brief), span(facts.now.since(brief.at)))
        }
        (None, Health::Off | Health::Unknown) => String::new(),
        (None, Health::Down | Health::Stopping | Health::Up) => "; no verdict since this process began".to_owned(),
    }
}
