//! Tests of the words: every state word, and what is said in each situation.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    Act, AgentSays, CheckBrief, CheckStatus, Content, Ejection, FailOpen, Farm, FarmId, FlapGuard, Leftovers, Name,
    Override, Pace, Probe, ProbeKind, ProbeSlot, ProbeStanding, Progress, Protocol, Role, Server, ServerId, Suspicion,
    SuspicionKind, Terms, Timestamp, TrafficFault, Warmup, Wish,
};

mod farm;
mod out;
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
        "DRAIN: its weight in the file is 0; no new work, what is open stays; until the file or somebody sets another; its checks pass",
    );
    check(
        &Case::up().out().overridden(Wish::Weight(Weight(0)), Wish::Weight(Weight(100)), Terms::default()),
        &format!(
            "DRAIN since 12:06:11 (1 m): weight 0 {MADE}; the file says 100; no new work, what is open stays; until somebody sets another; its checks pass"
        ),
    );
}

#[test]
fn sentence_of_a_server_that_is_down() {
    check(&Case::down(), &format!("{FAILED}; {RETURN}"));
    let coming = |case: &mut Case| case.set(Health::Down, 1, 2);
    check(
        &Case::down().with(coming),
        "DOWN 1/2 since 12:03:11 (4 m): 3 of 3 checks failed, L7STS 503 ×2 then L7TOUT; 1 of 2 passes so far, needs 1 more pass; next check in 1.8 s; earliest return 12:07:12",
    );
    let of_late = |case: &mut Case| case.recent.push(brief(L4Con, None));
    check(&Case::down().with(of_late), &format!("{FAILED}; of late L4CON; {RETURN}"));
    let at_once = |case: &mut Case| {
        case.check(&[L4Tout]);
        case.decided_by.clone_from(&case.recent);
    };
    check(&Case::down().with(at_once), &format!("DOWN since 12:03:11 (4 m): 1 check failed, L4TOUT; {RETURN}"));
    let forgotten = |case: &mut Case| {
        case.decided_by.clear();
        case.recent.clear();
    };
    check(
        &Case::down().with(forgotten),
        "DOWN since 12:03:11 (4 m): it begins Down until its checks pass; needs 2 passes; not checked since this process began; next check in 1.8 s; earliest return 12:07:22",
    );
    check(
        &Case::down().with(|case| case.decided_by.clear()),
        &format!("DOWN since 12:03:11 (4 m): none of the checks that decided is remembered; of late L7TOUT; {RETURN}"),
    );
    check(
        &Case::down().with(|case| case.recent.clear()),
        &format!(
            "{FAILED}; needs 2 passes; not checked since this process began; next check in 1.8 s; earliest return 12:07:22"
        ),
    );
    let said = |status, said: &'static str| {
        move |case: &mut Case| {
            case.check(&[status]);
            case.decided_by.clone_from(&case.recent);
            let last = CheckRecord::new(status, case.recent[0].code, Content::from_text(said), ago(1), Duration::ZERO);
            case.probes[0].last = Some(Arc::new(last));
        }
    };
    check(
        &Case::down().with(said(L4Con, "connection refused")),
        &format!("DOWN since 12:03:11 (4 m): 1 check failed, L4CON (\"connection refused\"); {RETURN}"),
    );
    let plain = format!("DOWN since 12:03:11 (4 m): 1 check failed, L7STS 503; {RETURN}");
    check(&Case::down().with(said(L7Sts, "Service Unavailable")), &plain);
    let due = |case: &mut Case| case.probes[0].next_at = Some(ago(1));
    check(&Case::down().with(due), &format!("{FAILED}; needs 2 passes; next check now; earliest return 12:07:20"));
    let fast = |case: &mut Case| {
        let fast_interval = Some(Duration::from_secs(1));
        case.farm.probes = Box::new([Arc::new(Probe { fast_interval, ..Probe::clone(&case.farm.probes[0]) })]);
    };
    check(
        &Case::down().with(fast),
        &format!("{FAILED}; needs 2 passes; next check in 1.8 s; earliest return 12:07:13"),
    );
}

#[test]
fn sentence_of_a_down_server_with_more_to_it() {
    let held = |case: &mut Case| {
        case.held = Some(HeldBy { incident: 17, until: soon(20) });
        case.effective_weight = 10_000;
    };
    check(
        &Case::down().with(held),
        &format!(
            "{FAILED}; {RETURN}; still in rotation with weight 100, 33 % of the rotation: incident 17 suspects the balancer itself and holds the last good rotation until 12:07:31 (in 20 s)"
        ),
    );
    let open = |case: &mut Case| (case.carriers, case.effective_weight) = (Carriers::FailOpen, 10_000);
    check(
        &Case::down().with(open),
        &format!(
            "{FAILED}; {RETURN}; in rotation all the same with weight 100, 33 % of the rotation: the farm fails open"
        ),
    );
    check(
        &Case::down().ordered(AdminStatus::Drain, Terms::default()),
        &format!(
            "{FAILED}; needs 2 passes; next check in 1.8 s; also drained {MADE}; {NO_NEW}; until somebody says ready"
        ),
    );
    let flapping = |case: &mut Case| {
        case.farm.flap =
            Some(FlapGuard { transitions: 4, within: Duration::from_secs(300), hold: Duration::from_secs(60) });
        (case.standing.flap_score, case.standing.held_until) = (5, Some(soon(50)));
    };
    check(
        &Case::down().with(flapping),
        &format!(
            "{FAILED}; needs 2 passes; next check in 1.8 s; also held down for flapping: 5 changes of health within 5 m; until 12:08:01 (in 50 s), later if it changes again; earliest return 12:08:01"
        ),
    );
    check(
        &Case::up().out().with(flapping),
        "DOWN since 12:07:01 (10 s): held down for flapping: 5 changes of health within 5 m; until 12:08:01 (in 50 s), later if it changes again; its checks pass",
    );
    let suspect = |kind| {
        move |case: &mut Case| {
            case.standing.suspicion = Some(Suspicion { kind, since: ago(5), good: 58, bad: 2 });
        }
    };
    check(
        &Case::down().with(suspect(SuspicionKind::ProbesFail)),
        &format!("{FAILED}; {RETURN}; suspect: its checks fail, yet only 2 of 60 requests failed in the last 30 s"),
    );
    check(
        &Case::up().with(suspect(SuspicionKind::TrafficFails)),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; {IN}; suspect: its checks pass, yet 2 of 60 requests failed in the last 30 s"
        ),
    );
}

#[test]
fn sentence_of_a_server_with_several_probes() {
    let two = |case: &mut Case| {
        case.farm.probes = Box::new([named(ProbeKind::Tls, "port"), named(ProbeKind::Oco, "login")]);
        case.set(Health::Up, 3, 3);
        case.set(Health::Down, 0, 2);
        case.probes[0].health = Health::Up;
        for brief in &mut case.decided_by {
            brief.slot = ProbeSlot(1);
        }
    };
    check(
        &Case::down().with(two),
        &format!(
            "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 1 of 2 probes passes, 2 must; {RETURN}"
        ),
    );
    let enough = |case: &mut Case| {
        two(case);
        case.standing.health = Health::Up;
        case.standing.progress = Progress { have: 3, need: 3 };
        case.farm.quorum = Some(1);
    };
    check(
        &Case::up().with(enough),
        &format!(
            "UP since 12:03:11 (4 m): 1 of 2 probes passes, 1 must; probe \"login\" fails; next check in 1.8 s; {IN}"
        ),
    );
    let neither = |case: &mut Case| {
        two(case);
        case.probes[0].health = Health::Down;
        case.probes[0].next_at = Some(soon(30));
        case.farm.quorum = Some(1);
    };
    check(
        &Case::down().with(neither),
        &format!(
            "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 0 of 2 probes pass, 1 must; {RETURN}"
        ),
    );
    let both = |case: &mut Case| {
        neither(case);
        case.farm.quorum = None;
    };
    check(
        &Case::down().with(both),
        "DOWN since 12:03:11 (4 m): 3 of 3 checks of probe \"login\" failed, L7STS 503 ×2 then L7TOUT; 0 of 2 probes pass, 2 must; needs 2 passes; next check in 1.8 s; earliest return 12:07:50",
    );
}

#[test]
fn sentence_of_a_server_without_a_verdict_or_a_primary_before_it() {
    let unknown = |case: &mut Case| {
        case.set(Health::Unknown, 0, 2);
        case.recent.clear();
    };
    check(
        &Case::up().out().with(unknown),
        "no check: its first check has not ended yet; next check in 1.8 s; takes work only while nobody of the farm is Up",
    );
    check(
        &Case::up().with(unknown).with(|case| case.carriers = Carriers::Unproven),
        "no check: its first check has not ended yet; next check in 1.8 s; in rotation with weight 100, 33 % of the rotation: nobody of the farm is Up",
    );
    let unprobed = |case: &mut Case| {
        case.farm.probes = Box::default();
        case.set(Health::Off, 0, 0);
    };
    check(&Case::up().with(unprobed), &format!("no check: the farm has no probe; {IN}"));
    let opted_out = |case: &mut Case| {
        case.set(Health::Off, 0, 0);
        case.server.probed = false;
        case.probes.clear();
    };
    check(&Case::up().with(opted_out), &format!("no check: its probes are switched off (`probe: false`); {IN}"));
    let backup = |case: &mut Case| case.server.role = Role::Backup;
    check(
        &Case::up().out().with(backup),
        &format!("UP since 12:03:11 (4 m): {PASS}; waits as a backup: primaries serve"),
    );
    check(
        &Case::up().with(backup).with(|case| case.carriers = Carriers::Backups),
        &format!(
            "UP since 12:03:11 (4 m): {PASS}; in rotation as a backup with weight 100, 33 % of the rotation: no primary may serve"
        ),
    );
    let stopping = |case: &mut Case| {
        case.set(Health::Stopping, 3, 3);
        case.check(&[L7Okc]);
        case.decided_by.clone_from(&case.recent);
    };
    check(
        &Case::up().out().with(stopping),
        &format!(
            "NOLB since 12:03:11 (4 m): its checks pass on condition, L7OKC 404: {NO_NEW}; back with the next check that passes whole; next check in 1.8 s"
        ),
    );
    let nameless = |case: &mut Case| {
        case.server.address = "app.example:80".parse().unwrap();
        case.is_resolved = false;
        case.set(Health::Unknown, 0, 2);
    };
    check(
        &Case::up().out().with(nameless),
        "MAINT (resolution): the name of \"app.example:80\" has no address, so there is nowhere to send work or checks; back when the name is found, if its checks pass",
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
