//! Why one server is in or out, in one sentence.
//!
//! The sentence begins with the state and since when. Then come the causes that keep the server out, the one that the
//! state is named after first; where there is none, why it is in. Last comes what the rotation makes of it.

use crate::model::{
    AdminStatus, AgentHealth, AgentWeight, CheckBrief, CheckStatus, Field, Health, Leftovers, Override, Probe,
    ProbeSlot, ProbeStanding, Protocol, SuspicionKind, Timestamp, TrafficFault, Verdict, Weight, Wish,
};

use super::facts::{Explanation, ServerFacts};
use super::words::{self, count, span};
use super::{outlook, rotation, tree, unmade};
use crate::health::suspicion;

/// Returns why a server is in the state it is in.
#[must_use]
pub fn explain(facts: &ServerFacts<'_>) -> Explanation {
    Explanation { sentence: sentence(facts), tree: tree::of_server(facts) }
}

/// Characters of what came with a check that a sentence quotes.
const CONTENT_CHARS_MAX: usize = 100;

/// One thing that keeps a server from new work.
struct Cause {
    kind: Kind,
    since: Option<Timestamp>,
    texts: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It ends when somebody says so.
    Asked,
    /// The probes say so.
    Checks,
    /// It ends by time.
    Timed,
}

fn sentence(facts: &ServerFacts<'_>) -> String {
    let causes = causes(facts);
    let mut parts = Vec::new();
    let since = match causes.split_first() {
        None => {
            parts.extend(in_words(facts));
            Some(facts.state_since).filter(|_| !matches!(facts.standing.health, Health::Off | Health::Unknown))
        }
        Some((first, others)) => {
            parts.extend(first.texts.iter().cloned());
            for cause in others {
                let mut texts = cause.texts.iter();
                parts.extend(texts.next().map(|text| format!("also {text}")));
                parts.extend(texts.cloned());
            }
            parts.extend(checks_beside(facts, &causes));
            parts.extend(return_in_words(facts, &causes));
            first.since.or(Some(facts.state_since))
        }
    };
    parts.extend(rotation::in_words(facts, !causes.is_empty()));
    parts.extend(rotation::full_in_words(facts));
    parts.extend(suspicion_in_words(facts));
    let since = since.map_or_else(String::new, |since| format!(" since {}", words::since(since, facts.now)));
    format!("{}{since}: {}", facts.state, parts.join("; "))
}

/// Everything that keeps the server from new work, in the order in which the state names it.
fn causes(facts: &ServerFacts<'_>) -> Vec<Cause> {
    if let Some(since) = facts.leaving_since {
        return vec![leaving(facts, since)];
    }
    let asked = facts.standing.agent.as_ref().and_then(|agent| agent.admin);
    let agent_for = |status| (asked == Some(status)).then(|| agent_asks(facts, status.as_str()));
    [
        (facts.server.admin == AdminStatus::Maintenance).then(|| maintenance(facts)),
        agent_for(AdminStatus::Maintenance),
        (!facts.is_resolved).then(|| unresolved(facts)),
        agent_down(facts),
        down(facts),
        ejected(facts),
        held_down(facts),
        (facts.server.admin == AdminStatus::Drain).then(|| drain(facts)),
        (facts.server.weight == Weight(0)).then(|| weightless(facts)),
        agent_for(AdminStatus::Drain),
        agent_weightless(facts),
        (facts.standing.health == Health::Stopping).then(|| stopping(facts)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn leaving(facts: &ServerFacts<'_>, since: Timestamp) -> Cause {
    let mut texts = vec!["a reload removed it: no new work, what is open stays".to_owned()];
    texts.extend(deadline_in_words(facts));
    texts.push(open_in_words(facts).unwrap_or_else(|| "nothing is open on it any more".to_owned()));
    Cause { kind: Kind::Asked, since: Some(since), texts }
}

fn maintenance(facts: &ServerFacts<'_>) -> Cause {
    let made = override_of(facts, Field::Admin);
    let mut texts = vec![match made {
        Some(made) => format!("maintenance by {}", who(made)),
        None => "the file says maintenance".to_owned(),
    }];
    texts.push(order_end(facts, made));
    texts.extend(open_in_words(facts));
    Cause { kind: Kind::Asked, since: made.map(|made| made.act.at), texts }
}

fn drain(facts: &ServerFacts<'_>) -> Cause {
    let made = override_of(facts, Field::Admin);
    let mut texts = vec![match made {
        Some(made) => format!("drained by {}", who(made)),
        None => "the file says drain".to_owned(),
    }];
    texts.push(match facts.deadline.is_some_and(|(deadline, _)| deadline <= facts.now) {
        true => "no new work, no sticky clients any more".to_owned(),
        false => "no new work, what is open and sticky stays".to_owned(),
    });
    texts.extend(deadline_in_words(facts));
    texts.push(order_end(facts, made));
    texts.extend(open_in_words(facts));
    Cause { kind: Kind::Asked, since: made.map(|made| made.act.at), texts }
}

/// What happens, or happened, to what is open at the deadline.
fn deadline_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    let (deadline, then) = facts.deadline?;
    let then = match then {
        Leftovers::Close => "closed",
        Leftovers::Keep => "kept",
    };
    Some(match deadline > facts.now {
        true => format!("at {} what is left is {then}", words::until(deadline, facts.now)),
        false => format!("at the deadline, {}, what was left was {then}", words::clock(deadline, facts.now)),
    })
}

/// What ends a drain or maintenance.
fn order_end(facts: &ServerFacts<'_>, made: Option<&Override>) -> String {
    match made.and_then(|made| made.terms.until) {
        Some(until) if let Some(status) = made.and_then(declared_out) => {
            format!("until {}, then back to {}, as the file says", words::until(until, facts.now), status.as_str())
        }
        Some(until) => {
            let slowly = match facts.farm.slow_start {
                length if length.is_zero() => String::new(),
                length => format!(" through a slow start of {}", span(length)),
            };
            let checks = if_checks_pass(facts);
            format!("until {}, then back by itself{slowly}{checks}", words::until(until, facts.now))
        }
        None if made.is_some() => "until somebody says ready".to_owned(),
        None => "until the file or somebody says otherwise".to_owned(),
    }
}

/// The status that the file itself takes the server out with.
fn declared_out(made: &Override) -> Option<AdminStatus> {
    match made.declared {
        Wish::Admin(AdminStatus::Active) | Wish::Weight(_) => None,
        Wish::Admin(status @ (AdminStatus::Drain | AdminStatus::Maintenance)) => Some(status),
    }
}

fn weightless(facts: &ServerFacts<'_>) -> Cause {
    let made = override_of(facts, Field::Weight);
    let (text, end) = match made {
        Some(made) => {
            (format!("weight 0 by {}; the file says {}", who(made), made.declared), "until somebody sets another")
        }
        None => ("its weight in the file is 0".to_owned(), "until the file or somebody sets another"),
    };
    let texts = vec![text, "no new work, what is open stays".to_owned(), end.to_owned()];
    Cause { kind: Kind::Asked, since: made.map(|made| made.act.at), texts }
}

fn unresolved(facts: &ServerFacts<'_>) -> Cause {
    let name = facts.server.address.to_string();
    let texts = vec![
        format!("the name of \"{name}\" has no address, so there is nowhere to send work or checks"),
        format!("back when the name is found{}", if_checks_pass(facts)),
    ];
    Cause { kind: Kind::Asked, since: None, texts }
}

fn agent_asks(facts: &ServerFacts<'_>, what: &str) -> Cause {
    let texts = vec![format!("its agent asks for {what}{}", agent_reason(facts)), "until it says ready".to_owned()];
    Cause { kind: Kind::Asked, since: None, texts }
}

fn agent_down(facts: &ServerFacts<'_>) -> Option<Cause> {
    let agent = facts.standing.agent.as_ref()?;
    if agent.health != Some(AgentHealth::Down) {
        return None;
    }
    let said = format!("its agent says down{}, whatever the probes say", agent_reason(facts));
    let mut texts = vec![said, "until it says up".to_owned(), probes_in_words(facts).to_owned()];
    texts.extend(unmade::in_words(facts));
    Some(Cause { kind: Kind::Asked, since: Some(facts.since), texts })
}

fn agent_weightless(facts: &ServerFacts<'_>) -> Option<Cause> {
    let text = match facts.standing.agent.as_ref()?.weight? {
        AgentWeight::Percent(0) => "its agent asks for 0 % of its weight: no new work".to_owned(),
        AgentWeight::Weight(Weight(0)) => "its agent asks for weight 0: no new work".to_owned(),
        AgentWeight::Percent(_) | AgentWeight::Weight(_) => return None,
    };
    let texts = vec![text, "until it asks for more".to_owned()];
    Some(Cause { kind: Kind::Asked, since: None, texts })
}

fn down(facts: &ServerFacts<'_>) -> Option<Cause> {
    let says_agent = facts.standing.agent.as_ref().is_some_and(|agent| agent.health == Some(AgentHealth::Down));
    if facts.standing.health != Health::Down || says_agent {
        return None;
    }
    let failed: Vec<CheckBrief> = facts.decided_by.iter().filter(|brief| has_failed(brief)).copied().collect();
    let (n, which) = (failed.len(), probe_in_words(facts, failed.last().map(|brief| brief.slot)));
    let why = failed.last().and_then(|brief| content_in_words(facts, brief)).unwrap_or_default();
    let mut texts = vec![match n {
        0 if !facts.recent.iter().any(counts) => "it begins Down until its checks pass".to_owned(),
        0 => "none of the checks that decided is remembered".to_owned(),
        1 => format!("1 check{which} failed, {}{why}", words::checks(&failed)),
        n => format!("{n} of {n} checks{which} failed, {}{why}", words::checks(&failed)),
    }];
    texts.extend(quorum_in_words(facts));
    let last = facts.recent.iter().rev().find(|brief| has_failed(brief));
    let is_new = |brief: &&CheckBrief| failed.last().map(words::check) != Some(words::check(brief));
    texts.extend(
        last.filter(is_new).map(|brief| {
            format!("of late {}{}", words::check(brief), content_in_words(facts, brief).unwrap_or_default())
        }),
    );
    let progress = facts.standing.progress;
    let left = u64::from(progress.need.saturating_sub(progress.have).max(1));
    texts.push(match progress.have {
        0 => format!("needs {}", passes(left, "")),
        have => format!("{have} of {} passes so far, needs {}", progress.need, passes(left, " more")),
    });
    texts.extend(unchecked_in_words(facts));
    texts.extend(unmade::in_words(facts));
    texts.extend(next_in_words(facts, |health| health == Health::Down));
    Some(Cause { kind: Kind::Checks, since: Some(facts.since), texts })
}

/// What came with a check that ended as `brief` did, where its code alone says little: ` ("connection refused")`.
fn content_in_words(facts: &ServerFacts<'_>, brief: &CheckBrief) -> Option<String> {
    let probe = facts.probes.iter().find(|probe| probe.slot == brief.slot)?;
    let last = probe.last.as_ref().filter(|last| last.status == brief.status && last.code == brief.code)?;
    let is_plain = matches!(
        (last.status, last.code),
        (CheckStatus::L7Sts, Some(_)) | (CheckStatus::L7Tout | CheckStatus::L4Tout, _)
    );
    let content: String = last.content.as_str().chars().take(CONTENT_CHARS_MAX).collect();
    (!is_plain && !content.is_empty()).then(|| format!(" (\"{content}\")"))
}

fn ejected(facts: &ServerFacts<'_>) -> Option<Cause> {
    let ejection = facts.standing.ejected?;
    let what = fault_in_words(ejection.kind);
    let again = if ejection.times > 1 { format!(" ({} times in a row)", ejection.times) } else { String::new() };
    let mut texts = vec![format!("ejected{again}: {} of its traffic in a row, {what}", failures(ejection.errors))];
    let or_check = if facts.standing.health == Health::Off { "" } else { " or a check that passes" };
    texts.push(format!("until {}{or_check}", words::until(ejection.until, facts.now)));
    Some(Cause { kind: Kind::Timed, since: Some(ejection.since), texts })
}

fn held_down(facts: &ServerFacts<'_>) -> Option<Cause> {
    let until = facts.standing.held_until?;
    let guard = facts.farm.flap?;
    let score = count(u64::from(facts.standing.flap_score), "change");
    let texts = vec![
        format!("held down for flapping: {score} of health within {}", span(guard.within)),
        format!("until {}, later if it changes again", words::until(until, facts.now)),
    ];
    Some(Cause { kind: Kind::Timed, since: facts.standing.held_since, texts })
}

fn stopping(facts: &ServerFacts<'_>) -> Cause {
    let conditional = facts.decided_by.iter().rev().find(|brief| brief.status.verdict() == Verdict::Conditional);
    let how = conditional.map_or_else(String::new, |brief| format!(", {}", words::check(brief)));
    let mut texts = vec![format!("its checks pass on condition{how}: no new work, what is open and sticky stays")];
    texts.push("back with the next check that passes whole".to_owned());
    texts.extend(unmade::in_words(facts));
    texts.extend(next_in_words(facts, |_| true));
    Cause { kind: Kind::Checks, since: Some(facts.since), texts }
}

/// What there is to say of a server that nothing keeps out.
fn in_words(facts: &ServerFacts<'_>) -> Vec<String> {
    let standing = facts.standing;
    let mut texts = Vec::new();
    match standing.health {
        Health::Up if standing.progress.have < standing.progress.need => {
            texts.extend(failing_in_words(facts));
            texts.push(match standing.progress.have {
                1 => "one more failure takes it out".to_owned(),
                n => format!("{n} more failures take it out"),
            });
            texts.extend(unmade::in_words(facts));
        }
        Health::Up => texts.extend(passing_in_words(facts)),
        Health::Unknown if facts.recent.is_empty() => texts.push("its first check has not ended yet".to_owned()),
        Health::Unknown if unmade::is_any(facts) => texts.extend(unmade::in_words(facts)),
        Health::Unknown => texts.push("its checks have no verdict yet".to_owned()),
        Health::Off if !facts.server.probed => texts.push("its probes are switched off (`probe: false`)".to_owned()),
        Health::Off if facts.farm.main_probe().is_none() => texts.push("the farm has no probe".to_owned()),
        Health::Off => texts.push("not probed".to_owned()),
        Health::Down | Health::Stopping => {}
    }
    if matches!(standing.health, Health::Up | Health::Unknown) {
        texts.extend(next_in_words(facts, |_| true));
    }
    texts
}

/// What there is to say of checks that find the server good, those that cannot be made last.
fn passing_in_words(facts: &ServerFacts<'_>) -> Vec<String> {
    let unmade = unmade::in_words(facts);
    if unmade::is_all(facts) {
        return unmade;
    }
    verdicts_in_words(facts).into_iter().chain(unmade).collect()
}

fn verdicts_in_words(facts: &ServerFacts<'_>) -> Vec<String> {
    let others: Vec<_> = outlook::counted(facts).filter(|(probe, _)| probe.health != Health::Up).collect();
    if !others.is_empty() {
        let of = |(standing, probe): &(&ProbeStanding, &Probe)| {
            let last = standing.last.as_ref().filter(|_| unmade::last(standing).is_none());
            let last = last.map(|last| last.brief(standing.slot));
            let how = last.map_or_else(String::new, |brief| format!(", the last {}", words::check(&brief)));
            let word = match standing.health {
                Health::Down => "fails",
                Health::Stopping => "passes on condition",
                Health::Off | Health::Unknown | Health::Up => "has no verdict yet",
            };
            format!("probe \"{}\" {word}{how}", probe.name)
        };
        return quorum_in_words(facts).into_iter().chain(others.iter().map(of)).collect();
    }
    if let Some(text) = unchecked_in_words(facts) {
        return vec!["it was Up before".to_owned(), text];
    }
    vec![match facts.recent.iter().rev().find(|brief| counts(brief) && !has_failed(brief)) {
        Some(brief) => format!("its checks pass, the last {} in {}", words::check(brief), span(brief.duration)),
        None => "its checks pass".to_owned(),
    }]
}

/// That no check of this process has ended.
fn unchecked_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    facts.recent.is_empty().then(|| "not checked since this process began".to_owned())
}

/// The failures at the end of what is remembered, of the probe that is about to take the server out.
fn failing_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    let shaken = |health, have, need| health == Health::Up && have < need;
    let (probe, _) = outlook::counted(facts)
        .filter(|(probe, _)| shaken(probe.health, probe.progress.have, probe.progress.need))
        .min_by_key(|(probe, _)| probe.progress.have)?;
    let is_its = |brief: &&CheckBrief| brief.slot == probe.slot && counts(brief);
    let run = facts.recent.iter().rev().filter(is_its).take_while(|brief| has_failed(brief));
    let mut run: Vec<CheckBrief> = run.copied().collect();
    run.reverse();
    let which = probe_in_words(facts, Some(probe.slot));
    match run.len() {
        0 => None,
        1 => Some(format!("the last check{which} failed, {}", words::checks(&run))),
        n => Some(format!("the last {n} checks{which} failed, {}", words::checks(&run))),
    }
}

/// What the checks say of a server that is kept out by something else.
fn checks_beside(facts: &ServerFacts<'_>, causes: &[Cause]) -> Vec<String> {
    let says_agent = facts.standing.agent.as_ref().is_some_and(|agent| agent.health == Some(AgentHealth::Down));
    let is_said = says_agent || causes.iter().any(|cause| cause.kind == Kind::Checks);
    if is_said || facts.leaving_since.is_some() || !facts.is_resolved {
        return Vec::new();
    }
    let next = facts.standing.ejected.and_then(|_| next_in_words(facts, |_| true));
    let said = match unmade::is_all(facts) {
        true => unmade::in_words(facts),
        false => vec![verdict_in_words(facts).to_owned()],
    };
    said.into_iter().chain(next).collect()
}

/// When the server can be back, where time and checks alone decide.
fn return_in_words(facts: &ServerFacts<'_>, causes: &[Cause]) -> Option<String> {
    let is_asked = causes.iter().any(|cause| cause.kind == Kind::Asked);
    if is_asked || facts.standing.health != Health::Down || unmade::is_any(facts) {
        return None;
    }
    let checked = outlook::earliest_return(facts)?;
    let earliest = facts.standing.held_until.map_or(checked, |held| checked.max(held));
    Some(format!("earliest return {}", words::clock(earliest, facts.now)))
}

pub(super) fn suspicion_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    let suspicion = facts.standing.suspicion?;
    let (bad, all) = (suspicion.bad, suspicion.good.saturating_add(suspicion.bad));
    let window = span(suspicion::WINDOW);
    let work = match facts.farm.protocol {
        Protocol::Http => "requests",
        Protocol::Tcp => "connections",
        Protocol::Udp => "sessions",
    };
    Some(match suspicion.kind {
        SuspicionKind::TrafficFails => {
            format!("suspect: its checks pass, yet {bad} of {all} {work} failed in the last {window}")
        }
        SuspicionKind::ProbesFail => {
            format!("suspect: its checks fail, yet only {bad} of {all} {work} failed in the last {window}")
        }
    })
}

/// `ops from 192.0.2.7, "new kernel"`.
pub(super) fn who(made: &Override) -> String {
    let act = &made.act;
    let from = if &*act.source == "local" { String::new() } else { format!(" from {}", act.source) };
    let why = act.reason.as_ref().map_or_else(String::new, |reason| format!(", \"{reason}\""));
    format!("{}{from}{why}", act.actor)
}

pub(super) fn fault_in_words(fault: TrafficFault) -> &'static str {
    match fault {
        TrafficFault::Connect => "the last a connection that was not made",
        TrafficFault::Response => "the last a response that did not come in time or broke off",
        TrafficFault::Status => "the last a 5xx",
    }
}

/// Whether a check was one that says anything.
fn counts(brief: &CheckBrief) -> bool {
    brief.status.verdict() != Verdict::Neutral
}

pub(super) fn has_failed(brief: &CheckBrief) -> bool {
    brief.status.verdict() == Verdict::Failed
}

/// What the probes say beside an agent that says down.
fn probes_in_words(facts: &ServerFacts<'_>) -> &'static str {
    let (mut counted, mut good) = (0, 0);
    for (probe, _) in outlook::counted(facts) {
        counted += 1;
        good += usize::from(matches!(probe.health, Health::Stopping | Health::Up));
    }
    match counted {
        0 => "there is no probe beside it",
        _ if good >= outlook::needed(facts) => "its checks pass",
        _ => "its checks do not pass either",
    }
}

fn verdict_in_words(facts: &ServerFacts<'_>) -> &'static str {
    match facts.standing.health {
        Health::Down => "its checks fail",
        Health::Off => "it is not checked",
        Health::Stopping => "its checks pass on condition",
        Health::Unknown => "its checks have no verdict yet",
        Health::Up => "its checks pass",
    }
}

fn if_checks_pass(facts: &ServerFacts<'_>) -> &'static str {
    let is_checked = facts.server.probed && facts.farm.main_probe().is_some();
    if is_checked { ", if its checks pass" } else { "" }
}

fn open_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    (facts.open > 0).then(|| format!("{} open on it", facts.open))
}

/// ` of probe "login"` where the farm has several.
fn probe_in_words(facts: &ServerFacts<'_>, slot: Option<ProbeSlot>) -> String {
    let probe = slot.and_then(|slot| facts.farm.probe_at(slot)).filter(|_| outlook::counted(facts).count() > 1);
    probe.map_or_else(String::new, |probe| format!(" of probe \"{}\"", probe.name))
}

fn quorum_in_words(facts: &ServerFacts<'_>) -> Option<String> {
    let all = outlook::counted(facts).count();
    let good = outlook::counted(facts).filter(|(probe, _)| probe.health == Health::Up).count();
    let pass = if good == 1 { "passes" } else { "pass" };
    (all > 1).then(|| format!("{good} of {all} probes {pass}, {} must", outlook::needed(facts)))
}

fn next_in_words(facts: &ServerFacts<'_>, wanted: impl Fn(Health) -> bool) -> Option<String> {
    let next = outlook::next_check(facts, wanted)?;
    Some(format!("next check {}", words::when(next, facts.now)))
}

fn agent_reason(facts: &ServerFacts<'_>) -> String {
    let reason = facts.standing.agent.as_ref().and_then(|agent| agent.reason.as_ref());
    reason.map_or_else(String::new, |reason| format!(" (\"{reason}\")"))
}

fn passes(n: u64, more: &str) -> String {
    if n == 1 { format!("1{more} pass") } else { format!("{n}{more} passes") }
}

fn failures(n: u16) -> String {
    count(u64::from(n), "failure")
}

pub(super) fn override_of<'a>(facts: &ServerFacts<'a>, field: Field) -> Option<&'a Override> {
    let of = |made: &&Override| match made.wish {
        Wish::Admin(_) => field == Field::Admin,
        Wish::Weight(_) => field == Field::Weight,
    };
    facts.overrides.iter().find(of)
}
