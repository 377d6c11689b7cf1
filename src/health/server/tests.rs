//! Tests of one server's health: every state and event as a snapshot, and what holds of any sequence.

use proptest::prelude::*;

use super::*;
use crate::model::{
    AgentWeight, CheckStatus, Content, Ejection, FarmId, FlapGuard, Name, Observe, ProbeKind, Protocol, ServerId,
    Suspicion,
};

const AGENT: ProbeSlot = ProbeSlot(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000 + seconds * 1_000_000)
}

/// A farm with a probe, an agent, a shadow and every guard: rise 2, fall 3.
fn farm() -> Farm {
    let name = Name::parse("web").unwrap();
    let mut farm = Farm::new(FarmId::derive(&name), name, Protocol::Http);
    farm.probes = Box::new([probe(ProbeKind::Tls), probe(ProbeKind::Agent { send: "".into() })]);
    farm.shadow = Some(probe(ProbeKind::Oco));
    farm.slow_start = Duration::from_secs(100);
    farm.flap = Some(FlapGuard { transitions: 4, within: Duration::from_secs(300), hold: Duration::from_secs(60) });
    farm.observe = Some(Observe {
        errors: 5,
        connect: true,
        status: true,
        response: true,
        eject: Duration::from_secs(10),
        eject_max: Duration::from_secs(60),
        share_max: 50,
    });
    farm
}

fn probe(kind: ProbeKind) -> Arc<Probe> {
    Arc::new(Probe::new(kind))
}

fn server() -> Server {
    let name = Name::parse("web-1").unwrap();
    Server::new(ServerId(1), name, "127.0.0.1:80".parse().unwrap())
}

/// A server's health and the short ways to tell it things.
#[derive(Clone)]
struct Bench {
    farm: Farm,
    health: ServerHealth,
    now: u64,
}

use CheckStatus::{L6Ok, L7Okc, L7Sts, SockErr};

impl Bench {
    fn new(farm: Farm) -> Self {
        let health = ServerHealth::new(&farm, &server()).unwrap();
        Self { farm, health, now: 0 }
    }

    fn check_at(&mut self, slot: ProbeSlot, status: CheckStatus) -> Outcome {
        self.now += 1;
        let record = record(status, self.now);
        self.health.checked(slot, &Arc::new(record), at(self.now + 2), at(self.now)).unwrap()
    }

    fn check(&mut self, status: CheckStatus) -> Outcome {
        self.check_at(ProbeSlot::FIRST, status)
    }

    fn checks(mut self, statuses: &[CheckStatus]) -> Self {
        for status in statuses {
            self.check(*status);
        }
        self
    }

    fn agent(&mut self, says: AgentSays) -> Outcome {
        self.now += 1;
        let record = CheckRecord { agent: Some(Arc::new(says)), ..record(CheckStatus::Checked, self.now) };
        self.health.checked(AGENT, &Arc::new(record), at(self.now + 2), at(self.now)).unwrap()
    }

    fn fail_traffic(&mut self, may_eject: bool) -> Outcome {
        self.health.traffic_failed(&self.farm, 5, TrafficFault::Connect, may_eject, at(self.now))
    }

    fn tick_after(&mut self, seconds: u64) -> Outcome {
        self.now += seconds;
        self.health.tick(&self.farm, at(self.now))
    }
}

fn record(status: CheckStatus, seconds: u64) -> CheckRecord {
    CheckRecord::new(status, None, Content::from_text(""), at(seconds), Duration::from_millis(5))
}

fn says_health(health: AgentHealth) -> AgentSays {
    AgentSays { health: Some(health), ..AgentSays::default() }
}

fn says_admin(admin: AdminStatus) -> AgentSays {
    AgentSays { admin: Some(admin), ..AgentSays::default() }
}

/// Every state that a server can be in, by name.
fn states() -> Vec<(&'static str, Bench)> {
    let fresh = || Bench::new(farm());
    let up = || fresh().checks(&[L6Ok]);
    let after = |mut bench: Bench, act: &dyn Fn(&mut Bench)| {
        act(&mut bench);
        bench
    };
    vec![
        ("unknown", fresh()),
        ("up", up()),
        ("up 2/3", up().checks(&[L7Sts])),
        ("up 1/3", up().checks(&[L7Sts, L7Sts])),
        ("stopping", up().checks(&[L7Okc])),
        ("down", up().checks(&[L7Sts, L7Sts, L7Sts])),
        ("down 1/2", up().checks(&[L7Sts, L7Sts, L7Sts, L6Ok])),
        ("warming up", up().checks(&[L7Sts, L7Sts, L7Sts, L6Ok, L6Ok])),
        ("held up", up().checks(&[L7Sts, L7Sts, L7Sts, L6Ok, L6Ok, L7Sts, L7Sts, L7Sts, L6Ok, L6Ok])),
        ("ejected", after(up(), &|b| drop(b.fail_traffic(true)))),
        ("agent down", after(up(), &|b| drop(b.agent(says_health(AgentHealth::Down))))),
        ("agent drain", after(up(), &|b| drop(b.agent(says_admin(AdminStatus::Drain))))),
        (
            "suspect",
            after(up(), &|b| drop((b.health.traffic_sampled(0, 1, at(1)), b.health.traffic_sampled(0, 40, at(1))))),
        ),
    ]
}

type Act = fn(&mut Bench) -> Outcome;

/// Everything that can happen to a server, by name.
fn events() -> Vec<(&'static str, Act)> {
    vec![
        ("check passes", |b| b.check(L6Ok)),
        ("check passes on condition", |b| b.check(L7Okc)),
        ("check fails", |b| b.check(L7Sts)),
        ("check cannot be made", |b| b.check(SockErr)),
        ("shadow fails", |b| b.check_at(ProbeSlot::SHADOW, L7Sts)),
        ("agent says up", |b| b.agent(says_health(AgentHealth::Up))),
        ("agent says down", |b| b.agent(says_health(AgentHealth::Down))),
        ("agent says ready", |b| b.agent(says_admin(AdminStatus::Active))),
        ("agent says drain", |b| b.agent(says_admin(AdminStatus::Drain))),
        ("agent says 50%", |b| b.agent(AgentSays { weight: Some(AgentWeight::Percent(50)), ..AgentSays::default() })),
        ("traffic fails", |b| b.fail_traffic(true)),
        ("traffic fails without room", |b| b.fail_traffic(false)),
        ("sample of failures", |b| b.health.traffic_sampled(0, 40, at(b.now))),
        ("sample of successes", |b| b.health.traffic_sampled(400, 0, at(b.now))),
        ("operator lets it back", |b| b.health.returned(&b.farm, at(b.now))),
        ("tick at once", |b| b.tick_after(0)),
        ("tick after 6 s", |b| b.tick_after(6)),
        ("tick after 1 h", |b| b.tick_after(3600)),
    ]
}

/// A standing in few words.
fn short(standing: &Standing) -> String {
    let mut text = format!("{} {}/{}", standing.health.as_str(), standing.progress.have, standing.progress.need);
    let mut add = |is_so: bool, word: String| {
        if is_so {
            text.push_str(&format!(" {word}"));
        }
    };
    let agent = standing.agent.as_deref().cloned().unwrap_or_default();
    add(agent.health.is_some(), format!("agent:{:?}", agent.health.unwrap_or(AgentHealth::Up)));
    add(agent.admin.is_some(), format!("agent:{:?}", agent.admin.unwrap_or(AdminStatus::Active)));
    add(agent.weight.is_some(), format!("agent:{:?}", agent.weight.unwrap_or(AgentWeight::Percent(0))));
    add(standing.ejected.is_some(), "ejected".to_owned());
    add(standing.held_until.is_some(), "held".to_owned());
    add(standing.flap_score > 0, format!("score:{}", standing.flap_score));
    let suspected = standing.suspicion.map_or("", |suspicion| suspicion.kind.as_str());
    add(standing.suspicion.is_some(), suspected.to_owned());
    let percent = standing.warmup.map_or(0, |warmup| warmup.percent);
    add(standing.warmup.is_some(), format!("warm:{percent}%"));
    text
}

fn word(change: &StandingChange) -> &'static str {
    match change {
        StandingChange::AgentSaid(_) => "agent_said",
        StandingChange::Ejected(_) => "ejected",
        StandingChange::EjectionEnded => "ejection_ended",
        StandingChange::HeldDown { .. } => "held_down",
        StandingChange::HoldEnded => "hold_ended",
        StandingChange::Suspected(_) => "suspected",
        StandingChange::SuspicionEnded => "suspicion_ended",
        StandingChange::WarmupBegan { .. } => "warmup_began",
        StandingChange::WarmupEnded => "warmup_ended",
    }
}

#[test]
fn server_every_state_and_event() {
    let mut table = String::new();
    for (state, bench) in states() {
        table.push_str(&format!("{state}: {}\n", short(&bench.health.standing())));
        for (event, act) in events() {
            let mut bench = bench.clone();
            let before = bench.health.standing();
            let outcome = act(&mut bench);
            let after = bench.health.standing();
            assert_eq!(outcome.is_visible, before != after, "{state}, {event}");
            assert_eq!(outcome.transition.map(|(_, to)| to), (before.health != after.health).then_some(after.health));
            let told: Vec<_> = outcome.changes.iter().map(word).collect();
            let same = if outcome.is_visible { short(&after) } else { "as before".to_owned() };
            table.push_str(&format!("    {event:<28} {same}  {}\n", told.join(" ")).replace("  \n", "\n"));
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn server_slow_start_comes_after_having_been_seen_out_and_at_no_other_time() {
    let warm = |statuses: &[CheckStatus], start| {
        let mut probe = Probe::new(ProbeKind::Tls);
        probe.start = start;
        let farm = Farm { probes: Box::new([Arc::new(probe)]), ..farm() };
        Bench::new(farm).checks(statuses).health.standing().warmup.is_some()
    };
    use crate::model::ProbeStart::{Check, Down, Up};
    assert!(!warm(&[L6Ok], Check), "the first verdict is no return");
    assert!(!warm(&[L6Ok, L6Ok], Down), "a server that starts Down was not seen out");
    assert!(!warm(&[L6Ok], Up));
    assert!(!warm(&[L6Ok, L7Sts, L7Sts, L6Ok], Check), "it never went out");
    assert!(warm(&[L7Sts, L6Ok, L6Ok], Check));
    assert!(warm(&[L7Sts, L6Ok, L6Ok], Down));
    assert!(warm(&[L7Okc, L6Ok], Check), "it was given no new work");
}

#[test]
fn server_warm_up_is_dropped_when_it_goes_out_again() {
    let mut bench = Bench::new(farm()).checks(&[L7Sts, L6Ok, L6Ok]);
    assert!(bench.health.standing().warmup.is_some());
    bench.fail_traffic(true);
    assert_eq!(bench.health.standing().warmup, None);
    let ended = bench.tick_after(10);
    assert_eq!(ended.changes.iter().map(word).collect::<Vec<_>>(), ["ejection_ended", "warmup_began"]);
}

#[test]
fn server_back_from_maintenance_warms_up_only_if_its_checks_pass() {
    let mut bench = Bench::new(farm()).checks(&[L6Ok]);
    let returned = bench.health.returned(&bench.farm, at(9));
    assert_eq!(returned.changes, [StandingChange::WarmupBegan { until: at(109) }]);
    let mut bench = Bench::new(farm()).checks(&[L7Sts]);
    assert_eq!(bench.health.returned(&bench.farm, at(9)), Outcome::default());
    bench.check(L6Ok);
    assert_eq!(bench.check(L6Ok).changes.iter().map(word).collect::<Vec<_>>(), ["warmup_began"]);
}

#[test]
fn server_is_as_good_as_its_quorum_says() {
    let three = || [probe(ProbeKind::Tls), probe(ProbeKind::Oco), probe(ProbeKind::Ping)];
    let of = |quorum, statuses: [CheckStatus; 3]| {
        let mut bench = Bench::new(Farm { probes: Box::new(three()), quorum, ..farm() });
        for (slot, status) in (0..).map(ProbeSlot).zip(statuses) {
            bench.check_at(slot, status);
        }
        let standing = bench.health.standing();
        (standing.health, standing.progress.have, standing.progress.need)
    };
    assert_eq!(of(None, [L6Ok, L6Ok, L6Ok]), (Health::Up, 3, 3));
    assert_eq!(of(None, [L6Ok, L6Ok, L7Sts]), (Health::Down, 0, 2));
    assert_eq!(of(Some(2), [L6Ok, L6Ok, L7Sts]), (Health::Up, 3, 3));
    assert_eq!(of(Some(2), [L6Ok, L7Okc, L7Sts]), (Health::Stopping, 3, 3));
    assert_eq!(of(Some(2), [L6Ok, L7Sts, SockErr]), (Health::Unknown, 0, 2));
    assert_eq!(of(Some(2), [L6Ok, L7Sts, L7Sts]), (Health::Down, 0, 2));
    assert_eq!(of(Some(1), [L6Ok, L7Sts, L7Sts]), (Health::Up, 3, 3));
}

#[test]
fn server_progress_is_that_of_the_probe_that_decides() {
    let two = [probe(ProbeKind::Tls), probe(ProbeKind::Oco)];
    let mut bench = Bench::new(Farm { probes: Box::new(two), quorum: None, ..farm() });
    for slot in [ProbeSlot(0), ProbeSlot(1)] {
        bench.check_at(slot, L7Sts);
    }
    bench.check_at(ProbeSlot(0), L6Ok);
    assert_eq!(bench.health.standing().progress, Progress { have: 0, need: 2 }, "the other one has not begun");
    bench.check_at(ProbeSlot(1), L6Ok);
    assert_eq!(bench.health.standing().progress, Progress { have: 1, need: 2 });
}

#[test]
fn server_agent_keeps_what_a_later_line_leaves_out() {
    let mut bench = Bench::new(farm()).checks(&[L6Ok]);
    bench.agent(AgentSays { reason: Some("full".into()), ..says_health(AgentHealth::Down) });
    bench.agent(AgentSays { weight: Some(AgentWeight::Percent(30)), ..AgentSays::default() });
    let standing = bench.health.standing();
    let agent = standing.agent.unwrap();
    assert_eq!((standing.health, agent.health), (Health::Down, Some(AgentHealth::Down)));
    assert_eq!((agent.weight, agent.reason.as_deref()), (Some(AgentWeight::Percent(30)), Some("full")));
    let again = bench.agent(AgentSays { weight: Some(AgentWeight::Percent(30)), ..AgentSays::default() });
    assert_eq!((again.changes, again.is_visible), (vec![], false), "nothing new was said");
    assert_eq!(bench.agent(says_health(AgentHealth::Up)).transition, Some((Health::Down, Health::Up)));
}

#[test]
fn server_restored_is_as_its_probes_say_once_its_agent_says_up() {
    let mut bench = Bench::new(farm()).checks(&[L6Ok]);
    bench.agent(says_health(AgentHealth::Down));
    let saved = bench.health.saved(ServerKey { farm: bench.farm.id, server: ServerId(1) }, 7, at(1));
    let mut restored = Bench { now: bench.now, ..Bench::new(farm()) };
    restored.health.restore(&saved, &farm(), at(bench.now));
    assert_eq!(restored.health.standing().health, Health::Down);
    assert_eq!(restored.agent(says_health(AgentHealth::Up)).transition, Some((Health::Down, Health::Up)));
    let without = Farm { probes: Box::new([probe(ProbeKind::Tls)]), ..farm() };
    let mut restored = Bench::new(without.clone());
    restored.health.restore(&saved, &without, at(0));
    assert_eq!(restored.health.standing().agent, None, "it has no agent to take the word back");
}

#[test]
fn server_remembers_the_run_that_decided_and_nothing_before_it() {
    let bench = Bench::new(farm()).checks(&[L6Ok, L7Sts, L6Ok, L7Sts, CheckStatus::L7Tout, SockErr, L7Sts]);
    let statuses: Vec<_> = bench.health.decided_by().iter().map(|brief| brief.status).collect();
    assert_eq!(statuses, [L7Sts, CheckStatus::L7Tout, L7Sts]);
    let bench = bench.checks(&[L7Sts, L7Sts, L6Ok, L6Ok]);
    let seconds: Vec<_> = bench.health.decided_by().iter().map(|brief| brief.at).collect();
    assert_eq!(seconds, [at(10), at(11)]);
}

#[test]
fn server_notable_checks_are_failures_and_the_first_pass_after() {
    let mut bench = Bench::new(farm());
    let notable: Vec<_> =
        [L6Ok, L6Ok, L7Sts, SockErr, L7Sts, L6Ok, L6Ok].map(|status| bench.check(status).is_notable).into();
    assert_eq!(notable, [true, false, true, false, true, true, false]);
}

#[test]
fn server_without_probes_is_observed_and_warmed_up_where_the_farm_says_so() {
    let plain = Farm { probes: Box::default(), shadow: None, ..farm() };
    let deaf = Farm { observe: None, slow_start: Duration::ZERO, ..plain.clone() };
    assert!(ServerHealth::new(&deaf, &server()).is_none());
    let mut bench = Bench::new(plain);
    assert_eq!(bench.health.standing().health, Health::Off);
    assert_eq!(bench.fail_traffic(true).changes.iter().map(word).collect::<Vec<_>>(), ["ejected"]);
    assert_eq!(bench.health.checked(ProbeSlot::FIRST, &Arc::new(record(L6Ok, 1)), at(2), at(1)), None);
    let opted_out = Server { probed: false, ..server() };
    assert!(ServerHealth::new(&farm(), &opted_out).unwrap().probes().is_empty());
}

#[test]
fn server_restored_is_what_was_saved_and_ends_what_is_over() {
    for (state, bench) in states() {
        let saved = bench.health.saved(ServerKey { farm: bench.farm.id, server: ServerId(1) }, 7, at(1));
        let mut restored = Bench { now: bench.now, ..Bench::new(farm()) };
        restored.health.restore(&saved, &farm(), at(bench.now));
        let again = restored.health.saved(saved.server, 7, at(1));
        assert_eq!(again, saved, "{state}");
        let (is, was) = (restored.health.standing(), bench.health.standing());
        assert_eq!((is.health, is.agent), (was.health, was.agent), "{state}");
        assert_eq!(restored.health.decided_by(), bench.health.decided_by(), "{state}");
        let ended: Vec<_> = restored.tick_after(7200).changes.iter().map(word).collect();
        let standing = restored.health.standing();
        assert!(standing.ejected.is_none() && standing.held_until.is_none(), "{state} {ended:?}");
    }
}

#[test]
fn server_retuned_keeps_its_health_and_ends_what_the_farm_no_longer_wants() {
    let states = states();
    for wanted in ["ejected", "held up", "warming up"] {
        let (_, mut bench) = states.iter().find(|(state, _)| *state == wanted).cloned().unwrap();
        bench.farm = Farm { observe: None, flap: None, slow_start: Duration::ZERO, ..bench.farm };
        bench.health.retune(&bench.farm);
        let outcome = bench.tick_after(0);
        let standing = bench.health.standing();
        assert_eq!(standing.health, Health::Up, "{wanted}");
        assert!(standing.ejected.is_none() && standing.held_until.is_none() && standing.warmup.is_none(), "{wanted}");
        assert_eq!(outcome.changes.len(), 1, "{wanted}: {:?}", outcome.changes);
    }
}

#[test]
fn server_numbers_of_a_suspicion_follow_the_traffic() {
    let (_, mut bench) = states().pop().unwrap();
    let numbers = |bench: &Bench| bench.health.standing().suspicion.map(|Suspicion { good, bad, .. }| (good, bad));
    assert_eq!(numbers(&bench), Some((0, 40)));
    assert!(bench.health.traffic_sampled(5, 10, at(9)).is_visible);
    assert_eq!(numbers(&bench), Some((5, 50)));
}

/// Things that happen, by their place among [`events`], each with the seconds that pass before.
fn story() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0..events().len(), 0..30u64), 0..120)
}

proptest! {
    #[test]
    fn server_beside_its_probes_changes_no_health(story in story()) {
        let events = events();
        let mut bench = Bench::new(farm());
        let mut machine = Machine::new(Rule::of(&bench.farm.probes[0]), bench.farm.probes[0].start);
        let mut is_agent_down = false;
        for (event, seconds) in story {
            let (name, act) = events[event];
            bench.now += seconds;
            let outcome = act(&mut bench);
            match name {
                "check passes" => drop(machine.record(Verdict::Passed)),
                "check passes on condition" => drop(machine.record(Verdict::Conditional)),
                "check fails" => drop(machine.record(Verdict::Failed)),
                "agent says up" => is_agent_down = false,
                "agent says down" => is_agent_down = true,
                _ => prop_assert_eq!(outcome.transition, None),
            }
            let want = if is_agent_down { Health::Down } else { machine.health() };
            prop_assert_eq!(bench.health.standing().health, want, "after {}", name);
        }
    }

    #[test]
    fn server_next_due_is_to_come_after_a_tick_and_never_earlier_than_before(story in story()) {
        let events = events();
        let mut bench = Bench::new(farm());
        for (event, seconds) in story {
            bench.now += seconds;
            events[event].1(&mut bench);
            let before = bench.health.next_due();
            bench.tick_after(0);
            let after = bench.health.next_due();
            prop_assert!(after.is_none_or(|due| due > at(bench.now)));
            prop_assert!(before.zip(after).is_none_or(|(before, after)| after >= before));
            prop_assert_eq!(bench.tick_after(0), Outcome::default(), "a second tick has nothing to do");
        }
        for _ in 0..1000 {
            let Some(due) = bench.health.next_due() else { break };
            bench.health.tick(&bench.farm, due);
        }
        prop_assert_eq!(bench.health.next_due(), None, "everything ends");
    }

    #[test]
    fn server_out_for_any_reason_does_not_warm_up(story in story()) {
        let events = events();
        let mut bench = Bench::new(farm());
        for (event, seconds) in story {
            bench.now += seconds;
            events[event].1(&mut bench);
            bench.tick_after(0);
            let standing = bench.health.standing();
            let is_out = standing.ejected.is_some() || standing.held_until.is_some() || standing.health == Health::Down;
            prop_assert!(!is_out || standing.warmup.is_none());
            let long = |e: Ejection| e.until.since(at(bench.now)) > bench.farm.observe.unwrap().eject_max;
            prop_assert!(!standing.ejected.is_some_and(long));
        }
    }
}
