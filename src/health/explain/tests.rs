//! Tests of the words: every state word, and what is said in each situation.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    Act, AgentSays, CheckBrief, CheckStatus, Content, Ejection, FailOpen, Farm, FarmId, FlapGuard, Leftovers, Name,
    Override, Pace, Probe, ProbeKind, ProbeSlot, ProbeStanding, Progress, Protocol, Role, Server, ServerId, Suspicion,
    SuspicionKind, Terms, Timestamp, TrafficFault, Warmup, Wish,
};

mod down;
mod farm;
mod out;
mod unmade;
mod words;

use CheckStatus::{L4Con, L4Tout, L7Ok, L7Okc, L7Sts, L7Tout};

/// 2026-11-21 12:07:11 UTC.
const NOW: Timestamp = Timestamp(1_795_262_831_000_000);

fn ago(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 - seconds * 1_000_000)
}

fn soon(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn named(kind: ProbeKind, text: &str) -> Arc<Probe> {
    Arc::new(Probe { name: name(text), interval: Duration::from_secs(10), ..Probe::new(kind) })
}

/// A situation, to be changed step by step; a server that is Up in a farm of three equal ones.
#[derive(Clone)]
struct Case {
    farm: Farm,
    server: Server,
    standing: Standing,
    probes: Vec<ProbeStanding>,
    recent: Vec<CheckBrief>,
    decided_by: Vec<CheckBrief>,
    durations: Vec<(ProbeSlot, advice::Durations)>,
    since: Timestamp,
    state_since: Timestamp,
    effective_weight: u32,
    rotation_weight: u64,
    carriers: Carriers,
    held: Option<HeldBy>,
    overrides: Vec<Override>,
    is_resolved: bool,
    leaving_since: Option<Timestamp>,
    deadline: Option<(Timestamp, Leftovers)>,
    open: u64,
    queued: u32,
}

impl Case {
    fn up() -> Self {
        let mut farm = Farm::new(FarmId(1), name("web"), Protocol::Http);
        farm.probes = Box::new([named(ProbeKind::Tls, "probe")]);
        let mut server = Server::new(ServerId(1), name("web-1"), "10.0.0.1:80".parse().unwrap());
        server.weight = Weight(100);
        let mut case = Self {
            farm,
            server,
            standing: Standing::unprobed(),
            probes: Vec::new(),
            recent: Vec::new(),
            decided_by: Vec::new(),
            durations: Vec::new(),
            since: ago(240),
            state_since: ago(240),
            effective_weight: 10_000,
            rotation_weight: 30_000,
            carriers: Carriers::Primaries,
            held: None,
            overrides: Vec::new(),
            is_resolved: true,
            leaving_since: None,
            deadline: None,
            open: 0,
            queued: 0,
        };
        case.set(Health::Up, 3, 3);
        case.check(&[L7Ok]);
        case
    }

    /// What all its probes conclude.
    fn set(&mut self, health: Health, have: u16, need: u16) {
        let progress = Progress { have, need };
        self.standing = Standing { health, progress, ..self.standing.clone() };
        let standing = |slot: u8| ProbeStanding {
            slot: ProbeSlot(slot),
            health,
            progress,
            pace: Pace::Steady,
            last: None,
            last_verdict: None,
            next_at: Some(Timestamp(NOW.0 + 1_800_000)),
        };
        self.probes = (0..self.farm.probes.len()).map(|slot| standing(u8::try_from(slot).unwrap())).collect();
    }

    fn check(&mut self, statuses: &[CheckStatus]) {
        let codes = [(L7Ok, 200), (L7Okc, 404), (L7Sts, 503)];
        let code = |status| codes.iter().find(|(known, _)| *known == status).map(|(_, code)| *code);
        self.recent = statuses.iter().map(|status| brief(*status, code(*status))).collect();
    }

    /// Out since its last three checks.
    fn down() -> Self {
        let mut case = Self::up();
        case.set(Health::Down, 0, 2);
        case.check(&[L7Sts, L7Sts, L7Tout]);
        case.decided_by.clone_from(&case.recent);
        case.effective_weight = 0;
        case
    }

    fn out(mut self) -> Self {
        self.effective_weight = 0;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn overridden(mut self, wish: Wish, declared: Wish, terms: Terms) -> Self {
        wish.apply(&mut self.server);
        let act =
            Act { actor: "ops".into(), source: "192.0.2.7".into(), reason: Some("new kernel".into()), at: ago(60) };
        let then = terms.at_deadline.unwrap_or(self.farm.drain.at_deadline);
        self.deadline = terms.deadline.map(|deadline| (deadline, then)).or(self.deadline);
        self.overrides.push(Override { wish, declared, terms, act });
        self
    }

    fn ordered(self, admin: AdminStatus, terms: Terms) -> Self {
        self.overridden(Wish::Admin(admin), Wish::Admin(AdminStatus::Active), terms).out()
    }

    fn agent(mut self, says: AgentSays) -> Self {
        self.standing.agent = Some(Arc::new(says));
        self
    }

    fn state(&self) -> String {
        haproxy_state(self.server.admin, self.server.weight, &self.standing, self.is_resolved)
    }

    fn explained(&self) -> Explanation {
        let state = self.state();
        explain(&self.facts(&state))
    }

    fn facts<'a>(&'a self, state: &'a str) -> ServerFacts<'a> {
        ServerFacts {
            farm: &self.farm,
            server: &self.server,
            state,
            standing: &self.standing,
            probes: &self.probes,
            recent: &self.recent,
            decided_by: &self.decided_by,
            durations: &self.durations,
            since: self.since,
            state_since: self.state_since,
            now: NOW,
            effective_weight: self.effective_weight,
            rotation_weight: self.rotation_weight,
            carriers: self.carriers,
            held: self.held,
            overrides: &self.overrides,
            is_resolved: self.is_resolved,
            leaving_since: self.leaving_since,
            deadline: self.deadline,
            open: self.open,
            queued: self.queued,
        }
    }
}

fn brief(status: CheckStatus, code: Option<u16>) -> CheckBrief {
    CheckBrief { slot: ProbeSlot::FIRST, status, code, at: ago(240), duration: Duration::from_millis(3) }
}

fn check(case: &Case, want: &str) {
    assert_eq!(case.explained().sentence, want);
}

fn terms(until: Option<u64>, deadline: Option<u64>) -> Terms {
    Terms { until: until.map(soon), deadline: deadline.map(soon), at_deadline: None }
}

const IN: &str = "in rotation with weight 100, 33 % of the rotation";
const PASS: &str = "its checks pass, the last L7OK 200 in 3 ms; next check in 1.8 s";
const FAILED: &str = "DOWN since 12:03:11 (4 m): 3 of 3 checks failed, L7STS 503 ×2 then L7TOUT";
const RETURN: &str = "needs 2 passes; next check in 1.8 s; earliest return 12:07:22";
const NO_NEW: &str = "no new work, what is open and sticky stays";
const MADE: &str = "by ops from 192.0.2.7, \"new kernel\"";

#[test]
fn sentence_of_a_server_that_is_up() {
    check(&Case::up(), &format!("UP since 12:03:11 (4 m): {PASS}; {IN}"));
    let one_left = |case: &mut Case| {
        case.set(Health::Up, 1, 3);
        case.check(&[L7Ok, L7Sts, L7Sts]);
    };
    check(
        &Case::up().with(one_left),
        &format!(
            "UP 1/3 since 12:03:11 (4 m): the last 2 checks failed, L7STS 503 ×2; one more failure takes it out; next check in 1.8 s; {IN}"
        ),
    );
    let two_left = |case: &mut Case| {
        case.set(Health::Up, 2, 3);
        case.check(&[L4Con]);
    };
    check(
        &Case::up().with(two_left),
        &format!(
            "UP 2/3 since 12:03:11 (4 m): the last check failed, L4CON; 2 more failures take it out; next check in 1.8 s; {IN}"
        ),
    );
    check(
        &Case::up().with(|case| case.state_since = ago(100_000)),
        &format!("UP since 2026-11-20 08:20:31 (1 d 3 h): {PASS}; {IN}"),
    );
    check(
        &Case::up().with(|case| (case.since, case.state_since) = (ago(100_000), ago(240))),
        &format!("UP since 12:03:11 (4 m): {PASS}; {IN}"),
    );
    check(
        &Case::up().with(|case| case.recent.clear()),
        &format!(
            "UP since 12:03:11 (4 m): it was Up before; not checked since this process began; next check in 1.8 s; {IN}"
        ),
    );
}

#[test]
fn sentence_of_a_server_that_is_full() {
    let with = |open, queued| {
        Case::up().with(|case| {
            case.server.max_connections = Some(100);
            (case.open, case.queued) = (open, queued);
        })
    };
    let up = format!("UP since 12:03:11 (4 m): {PASS}; {IN}");
    check(&with(99, 0), &up);
    check(&with(100, 0), &format!("{up}; full: 100 of 100"));
    check(&with(100, 12), &format!("{up}; full: 100 of 100; 12 wait"));
    let places = with(7, 1).explained().tree.into_iter().find(|fact| fact.label == "places");
    assert_eq!(places.unwrap().text, "7 of 100 taken, 1 waiting");
    assert!(Case::up().explained().tree.iter().all(|fact| fact.label != "places"));
}

#[test]
fn sentence_of_a_weight_that_is_not_the_files() {
    let warm = |case: &mut Case| {
        case.standing.warmup = Some(Warmup { since: ago(35), until: soon(65), percent: 35 });
        case.effective_weight = 3500;
        case.rotation_weight = 23_500;
    };
    check(
        &Case::up().with(warm),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; in rotation with weight 35 of 100 (warming up: 35 % now, all of it at 12:08:16 (in 1 m 5 s)), 15 % of the rotation"
        ),
    );
    let halved = AgentSays { weight: Some(AgentWeight::Percent(50)), ..AgentSays::default() };
    check(
        &Case::up().agent(halved).with(|case| case.effective_weight = 5000),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; in rotation with weight 50 of 100 (its agent asks for 50 %), 17 % of the rotation"
        ),
    );
    let set = Case::up().overridden(Wish::Weight(Weight(50)), Wish::Weight(Weight(100)), Terms::default());
    check(
        &set.with(|case| case.effective_weight = 5000),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; in rotation with weight 50 (set {MADE}; the file says 100), 17 % of the rotation"
        ),
    );
    check(
        &Case::up().out().with(|case| case.server.weight = Weight(0)),
        "DRAIN since 12:03:11 (4 m): its weight in the file is 0; no new work, what is open stays; until the file or somebody sets another; its checks pass",
    );
    check(
        &Case::up().out().overridden(Wish::Weight(Weight(0)), Wish::Weight(Weight(100)), Terms::default()),
        &format!(
            "DRAIN since 12:06:11 (1 m): weight 0 {MADE}; the file says 100; no new work, what is open stays; until somebody sets another; its checks pass"
        ),
    );
}

#[test]
fn tree_holds_everything_that_is_known() {
    let case = Case::down()
        .overridden(Wish::Weight(Weight(50)), Wish::Weight(Weight(100)), terms(Some(300), Some(30)))
        .agent(AgentSays {
            weight: Some(AgentWeight::Percent(75)),
            maxconn: Some(30),
            admin: Some(AdminStatus::Active),
            health: Some(AgentHealth::Up),
            reason: Some("warm".into()),
        })
        .with(|case| {
            let last =
                CheckRecord::new(L7Sts, Some(503), Content::from_text("sorry"), ago(1), Duration::from_millis(7));
            case.probes[0].last = Some(Arc::new(last));
            let slow = std::iter::repeat_n(Duration::from_millis(950), 200);
            case.durations.push((ProbeSlot::FIRST, advice::Durations::of(slow)));
            case.farm.shadow = Some(named(ProbeKind::Ping, "shadow"));
            case.probes.push(ProbeStanding { slot: ProbeSlot::SHADOW, ..case.probes[0].clone() });
            case.farm.flap =
                Some(FlapGuard { transitions: 4, within: Duration::from_secs(300), hold: Duration::from_secs(60) });
            (case.standing.flap_score, case.standing.held_until) = (5, Some(soon(50)));
            case.standing.held_since = Some(ago(10));
            let kind = TrafficFault::Status;
            case.standing.ejected = Some(Ejection { since: ago(10), until: soon(20), errors: 5, kind, times: 1 });
            let kind = SuspicionKind::ProbesFail;
            case.standing.suspicion = Some(Suspicion { kind, since: ago(5), good: 58, bad: 2 });
            case.held = Some(HeldBy { incident: 17, until: soon(20) });
            case.effective_weight = 3750;
        });
    insta::assert_snapshot!(drawn(&case.explained().tree, 0));
}

fn drawn(found: &[Fact], depth: usize) -> String {
    let line = |fact: &Fact| {
        format!("{}{}: {}\n{}", "  ".repeat(depth), fact.label, fact.text, drawn(&fact.children, depth + 1))
    };
    found.iter().map(line).collect()
}
