//! Tests of the incident detector: what begins one, what does not, and how long it lasts.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{Name, Probe, ProbeKind, Protocol, Server, ServerId};

const HOLD: Duration = Duration::from_secs(30);
/// Interval and timeout of the farms' probe together.
const WINDOW: u64 = 3;

fn farm(name: &str, servers: u64) -> Farm {
    let name = Name::parse(name).unwrap();
    let mut farm = Farm::new(FarmId::derive(&name), name, Protocol::Http);
    farm.incident = Some(IncidentGuard { share: 50, hold: HOLD });
    farm.probes = Box::new([Arc::new(Probe::new(ProbeKind::Tls))]);
    farm.servers = (0..servers).map(|n| Arc::new(server(n))).collect();
    farm
}

fn server(n: u64) -> Server {
    Server::new(ServerId(n), Name::parse(&format!("s{n}")).unwrap(), "127.0.0.1:80".parse().unwrap())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000 + seconds * 1_000_000)
}

/// A detector of these farms, and the short way to tell it of a check of the n-th server.
struct Bench {
    detector: IncidentDetector,
    farms: Vec<Farm>,
}

impl Bench {
    fn new(farms: Vec<Farm>) -> Self {
        let mut detector = IncidentDetector::default();
        assert_eq!(detector.watch(&farms), None);
        Self { detector, farms }
    }

    fn check(&mut self, farm: usize, n: u64, status: CheckStatus, health: (Health, Health), now: Timestamp) -> Told {
        let server = ServerKey { farm: self.farms[farm].id, server: ServerId(n) };
        let seen = Seen { server, slot: ProbeSlot::FIRST, status, before: health.0, after: health.1 };
        told(self.detector.checked(seen, 7, now))
    }

    /// A check that fails and takes the server out.
    fn lose(&mut self, farm: usize, n: u64, status: CheckStatus, now: Timestamp) -> Told {
        self.check(farm, n, status, (Health::Up, Health::Down), now)
    }

    fn pass(&mut self, farm: usize, n: u64, now: Timestamp) -> Told {
        self.check(farm, n, CheckStatus::L4Ok, (Health::Down, Health::Up), now)
    }
}

/// A change in short: what, and how many servers.
type Told = Option<(&'static str, usize)>;

fn told(change: Option<IncidentChange>) -> Told {
    change.map(|change| match change {
        IncidentChange::Began(incident) => ("began", incident.servers.len()),
        IncidentChange::Ended(incident, phase) => (phase.as_str(), incident.servers.len()),
        IncidentChange::Joined(incident, _) => ("joined", incident.servers.len()),
        IncidentChange::Released(incident, _) => ("released", incident.servers.len()),
        IncidentChange::Unwatched(servers) => ("unwatched", servers.len()),
    })
}

use CheckStatus::{L4Con, L4Tout, L7Sts, SockErr};

#[test]
fn incident_begins_when_more_than_the_share_is_lost_together() {
    let mut bench = Bench::new(vec![farm("web", 6)]);
    for n in 0..3 {
        assert_eq!(bench.lose(0, n, L4Tout, at(n)), None, "{n}: half is not more than half");
    }
    assert_eq!(bench.lose(0, 3, L4Con, at(3)), Some(("began", 4)));
    let incident = bench.detector.current().unwrap();
    assert_eq!((incident.id, incident.since, incident.until), (7, at(3), at(33)));
    let held = ServerKey { farm: bench.farms[0].id, server: ServerId(0) };
    assert!(bench.detector.holding(held).is_some(), "one lost a moment before is held too");
}

#[test]
fn incident_begins_at_the_first_loss_when_the_others_already_fail() {
    let mut bench = Bench::new(vec![farm("web", 4)]);
    for n in 0..4 {
        assert_eq!(bench.check(0, n, L4Tout, (Health::Up, Health::Up), at(0)), None, "nothing is lost yet");
    }
    assert_eq!(bench.lose(0, 2, L4Tout, at(4)), Some(("began", 4)));
}

#[test]
fn incident_does_not_begin_from_other_causes_few_servers_or_apart() {
    let lost = |farm: Farm, losses: &[(u64, CheckStatus, u64)]| {
        let mut bench = Bench::new(vec![farm]);
        losses.iter().filter_map(|(n, status, now)| bench.lose(0, *n, *status, at(*now))).collect::<Vec<_>>()
    };
    let unguarded = Farm { incident: None, ..farm("web", 3) };
    for (what, farm, losses) in [
        ("two servers", farm("web", 2), vec![(0, L4Tout, 0), (1, L4Tout, 0)]),
        ("an answer", farm("web", 3), vec![(0, L4Tout, 0), (1, L7Sts, 0), (2, L4Tout, 0)]),
        ("answers only", farm("web", 3), vec![(0, L7Sts, 0), (1, L7Sts, 0), (2, L7Sts, 0)]),
        ("apart", farm("web", 3), vec![(0, L4Tout, 0), (1, L4Tout, 2), (2, L4Tout, WINDOW + 1)]),
        ("the same one", farm("web", 3), vec![(0, L4Tout, 0), (0, L4Tout, 1), (0, L4Tout, 2)]),
        ("no guard", unguarded, vec![(0, L4Tout, 0), (1, L4Tout, 0), (2, L4Tout, 0)]),
    ] {
        assert_eq!(lost(farm, &losses), [], "{what}");
    }
}

#[test]
fn incident_begins_though_a_server_fails_for_a_reason_of_its_own() {
    let mut bench = Bench::new(vec![farm("web", 6)]);
    assert_eq!(bench.lose(0, 5, L7Sts, at(0)), None);
    let lost: Vec<_> = (0..4).filter_map(|n| bench.lose(0, n, L4Tout, at(1))).collect();
    assert_eq!(lost, [("began", 4)]);
    let answers = ServerKey { farm: bench.farms[0].id, server: ServerId(5) };
    assert_eq!(bench.detector.holding(answers), None, "it can be reached");
}

/// The checks that were under way when the network went had connected before.
#[test]
fn incident_counts_a_server_whose_first_failing_check_was_broken_off() {
    let stays = (Health::Up, Health::Up);
    for first in [CheckStatus::L6Rsp, CheckStatus::L6Tout, CheckStatus::L7Rsp, CheckStatus::L7Tout] {
        let mut bench = Bench::new(vec![farm("web", 3)]);
        assert_eq!((0..3).find_map(|n| bench.check(0, n, first, stays, at(0))), None, "{first:?}");
        let lost: Vec<_> = (0..3).map(|n| bench.lose(0, n, L4Tout, at(1))).collect();
        assert_eq!(lost, [None, None, Some(("began", 3))], "{first:?}");
    }
    for (first, second) in [(L7Sts, L4Tout), (CheckStatus::L7Tout, CheckStatus::L7Tout), (L4Tout, CheckStatus::L7Tout)]
    {
        let mut bench = Bench::new(vec![farm("web", 3)]);
        let checks = (0..3).flat_map(|n| [(n, first), (n, second), (n, L4Tout)]);
        let begun: Vec<_> = checks.filter_map(|(n, status)| bench.lose(0, n, status, at(0))).collect();
        assert_eq!(begun, [], "{first:?}, then {second:?}");
    }
    let mut bench = Bench::new(vec![farm("web", 3)]);
    assert_eq!((0..3).find_map(|n| bench.lose(0, n, CheckStatus::L7Tout, at(0))), None, "it may be the servers");
}

#[test]
fn incident_begins_and_is_joined_where_the_first_check_already_takes_servers_out() {
    let mut bench = Bench::new(vec![farm("web", 4)]);
    let down = (Health::Down, Health::Down);
    assert_eq!((0..4).find_map(|n| bench.lose(0, n, CheckStatus::L7Tout, at(0))), None);
    let seconds: Vec<_> = (0..4).map(|n| bench.check(0, n, L4Tout, down, at(1))).collect();
    assert_eq!(seconds, [None, None, Some(("began", 3)), Some(("joined", 4))]);
}

#[test]
fn incident_counts_no_server_that_was_not_in_work() {
    let mut bench = Bench::new(vec![farm("web", 3)]);
    for (n, before) in [(0, Health::Unknown), (1, Health::Down)] {
        assert_eq!(bench.check(0, n, L4Tout, (before, Health::Down), at(0)), None);
    }
    assert_eq!(bench.lose(0, 2, L4Tout, at(0)), None);
}

#[test]
fn incident_spans_farms_of_which_most_fails() {
    let mut bench = Bench::new(vec![farm("a", 2), farm("b", 2), farm("c", 50)]);
    assert_eq!(bench.lose(0, 0, L4Tout, at(0)), None);
    assert_eq!(bench.lose(0, 1, L4Tout, at(0)), None);
    assert_eq!(bench.lose(1, 0, L4Tout, at(1)), Some(("began", 3)));
    assert_eq!(bench.detector.current().unwrap().farms.len(), 2);
    assert_eq!(bench.lose(1, 1, L4Tout, at(1)), None, "it belongs to the incident without a word");
    assert_eq!(bench.detector.current().unwrap().servers.len(), 4);
    assert_eq!(bench.lose(2, 0, L4Tout, at(1)), None, "one of fifty is no part of it");
}

#[test]
fn incident_is_joined_by_a_farm_that_fails_as_well() {
    let mut bench = Bench::new(vec![farm("a", 3), farm("b", 9)]);
    let mut lose = |farm, n, now| bench.lose(farm, n, L4Tout, at(now));
    assert_eq!((0..3).filter_map(|n| lose(0, n, 0)).collect::<Vec<_>>(), [("began", 3)]);
    let joined: Vec<_> = (0..9).map(|n| lose(1, n, 1)).collect();
    assert_eq!(joined[..3], [None; 3], "3 and 3 of 12 are no more than half");
    assert_eq!(joined[3], Some(("joined", 7)));
    assert_eq!(joined[4..], [None; 5]);
    let incident = bench.detector.current().unwrap();
    assert_eq!((incident.servers.len(), incident.until), (12, at(30)));
}

#[test]
fn incident_of_our_own_sockets_is_shown_though_nothing_goes_down() {
    let mut bench = Bench::new(vec![farm("web", 4)]);
    let checks: Vec<_> = (0..4).map(|n| bench.check(0, n, SockErr, (Health::Up, Health::Up), at(0))).collect();
    assert_eq!(checks, [None, None, Some(("began", 3)), None]);
    let ends: Vec<_> = (0..4).map(|n| bench.pass(0, n, at(1))).collect();
    assert_eq!(ends, [None, None, Some(("recovered", 4)), None]);
}

#[test]
fn incident_ends_believed_at_its_time_and_not_again_before_a_pass() {
    let mut bench = Bench::new(vec![farm("web", 3)]);
    let lose_all = |bench: &mut Bench, now| (0..3).filter_map(|n| bench.lose(0, n, L4Tout, now)).collect::<Vec<_>>();
    assert_eq!(lose_all(&mut bench, at(0)), [("began", 3)]);
    assert_eq!(told(bench.detector.tick(at(29))), None);
    assert_eq!(bench.detector.next_due(), Some(at(30)));
    assert_eq!(told(bench.detector.tick(at(30))), Some(("believed", 3)));
    assert_eq!(lose_all(&mut bench, at(31)), [], "held once already");
    for n in 0..3 {
        assert_eq!(bench.pass(0, n, at(40)), None);
    }
    assert_eq!(lose_all(&mut bench, at(50)), [("began", 3)]);
}

#[test]
fn incident_waits_for_every_probe_of_a_server_to_pass() {
    let mut bench = Bench::new(vec![farm("web", 3)]);
    for n in 0..3 {
        bench.lose(0, n, L4Tout, at(0));
    }
    let server = ServerKey { farm: bench.farms[0].id, server: ServerId(0) };
    let other = |status| Seen { server, slot: ProbeSlot(1), status, before: Health::Down, after: Health::Down };
    assert_eq!(told(bench.detector.checked(other(L4Tout), 8, at(1))), None);
    bench.pass(0, 0, at(2));
    assert_eq!(bench.pass(0, 1, at(2)), None, "two of three still fail");
    assert_eq!(told(bench.detector.checked(other(CheckStatus::L4Ok), 8, at(3))), Some(("recovered", 3)));
}

#[test]
fn incident_lets_go_of_a_server_that_answers_and_fails() {
    let mut bench = Bench::new(vec![farm("web", 4)]);
    for n in 0..4 {
        bench.lose(0, n, L4Tout, at(0));
    }
    let down = (Health::Down, Health::Down);
    assert_eq!(bench.check(0, 0, L7Sts, down, at(1)), Some(("released", 3)));
    assert_eq!(bench.check(0, 0, L7Sts, down, at(2)), None);
    assert_eq!(bench.check(0, 0, L4Tout, down, at(3)), None, "it does not come back without a pass");
    let server = ServerKey { farm: bench.farms[0].id, server: ServerId(0) };
    assert_eq!(bench.detector.holding(server), None);
}

#[test]
fn incident_keeps_a_server_that_passes_once_and_fails_again() {
    let mut bench = Bench::new(vec![farm("web", 4)]);
    for n in 0..4 {
        bench.lose(0, n, L4Tout, at(0));
    }
    let down = (Health::Down, Health::Down);
    assert_eq!(bench.check(0, 0, CheckStatus::L4Ok, down, at(1)), None);
    assert_eq!(bench.check(0, 0, L4Tout, down, at(2)), None);
    let server = ServerKey { farm: bench.farms[0].id, server: ServerId(0) };
    assert!(bench.detector.holding(server).is_some());
}

#[test]
fn incident_ends_when_its_farm_is_gone() {
    let mut bench = Bench::new(vec![farm("web", 3)]);
    for n in 0..3 {
        bench.lose(0, n, L4Tout, at(0));
    }
    assert_eq!(told(bench.detector.watch(&[farm("other", 3)])), Some(("recovered", 3)));
    assert!(bench.detector.current().is_none());
}

#[test]
fn incident_lets_go_of_the_servers_of_a_farm_that_is_guarded_no_more() {
    let mut bench = Bench::new(vec![farm("a", 3), farm("b", 3)]);
    for (farm, n) in (0..2).flat_map(|farm| (0..3).map(move |n| (farm, n))) {
        bench.lose(farm, n, L4Tout, at(0));
    }
    let mut farms = bench.farms.clone();
    farms[0].incident = None;
    assert_eq!(told(bench.detector.watch(&farms)), Some(("unwatched", 3)));
    let servers = &bench.detector.current().unwrap().servers;
    assert!(servers.len() == 3 && servers.iter().all(|server| server.farm == farms[1].id), "{servers:?}");
    assert_eq!(told(bench.detector.watch(&farms)), None);
}

#[test]
fn incident_is_no_longer_than_its_length_when_the_clock_is_set_back() {
    let mut bench = Bench::new(vec![farm("web", 3)]);
    for n in 0..3 {
        bench.lose(0, n, L4Tout, at(3600));
    }
    assert_eq!(told(bench.detector.tick(at(0))), None);
    assert_eq!(bench.detector.next_due(), Some(at(30)));
}

/// What may happen, by number: farm, server, check, seconds that pass.
fn anything() -> impl Strategy<Value = Vec<(usize, u64, u8, u64)>> {
    prop::collection::vec((0..3usize, 0..5u64, 0..5u8, 0..4u64), 1..200)
}

proptest! {
    #[test]
    fn incident_holds_nobody_beyond_its_hold_and_no_farm_with_one_failure(steps in anything()) {
        let mut bench = Bench::new(vec![farm("a", 3), farm("b", 4), farm("c", 5)]);
        let mut now = 0;
        for (farm, n, check, seconds) in steps {
            now += seconds;
            bench.detector.tick(at(now));
            let before = bench.detector.current().cloned();
            let status = [L4Tout, L4Con, L7Sts, SockErr, CheckStatus::L4Ok][usize::from(check)];
            match check {
                0..=2 => bench.lose(farm, n, status, at(now)),
                3 => bench.check(farm, n, status, (Health::Up, Health::Up), at(now)),
                _ => bench.pass(farm, n, at(now)),
            };
            let Some(incident) = bench.detector.current() else { continue };
            prop_assert!(incident.until > at(now) && incident.until <= incident.since + HOLD);
            if before.is_none() {
                prop_assert!(incident.servers.len() >= SERVERS_MIN);
                prop_assert!(incident.since == at(now) && status.is_of_the_network());
                let starts = || incident.servers.iter().map(|server| bench.detector.failing[server].since);
                let (first, last) = (starts().min().unwrap(), starts().max().unwrap());
                prop_assert!(last.since(first) <= Duration::from_secs(WINDOW));
                let causes = incident.servers.iter().map(|server| bench.detector.failing[server].cause);
                prop_assert!(causes.into_iter().all(|cause| cause == Cause::Network));
            }
        }
    }

    #[test]
    fn incident_never_begins_from_one_server_however_it_fails(checks in prop::collection::vec(0..5u8, 1..60)) {
        let mut bench = Bench::new(vec![farm("a", 1), farm("b", 3)]);
        for (now, check) in (0..).zip(checks) {
            let status = [L4Tout, L4Con, L7Sts, SockErr, CheckStatus::L4Ok][usize::from(check)];
            prop_assert_eq!(bench.lose(0, 0, status, at(now)), None);
        }
    }
}

#[test]
fn incident_of_ten_thousand_servers_is_one_and_holds_them_all() {
    let mut bench = Bench::new((0..100).map(|n| farm(&format!("f{n}"), 100)).collect());
    let mut began = 0;
    for n in 0..100 {
        for farm in 0..100 {
            let now = Timestamp(at(0).0 + n * 10_000);
            let told = bench.lose(farm, n, L4Tout, now);
            began += usize::from(told.is_some_and(|(what, _)| what == "began"));
        }
    }
    assert_eq!((began, bench.detector.current().map(|incident| incident.servers.len())), (1, Some(10_000)));
}

#[test]
fn failures_of_a_probe_that_is_gone_count_for_nothing() {
    let mut two = farm("web", 4);
    let probe = Arc::clone(&two.probes[0]);
    two.probes = Box::new([Arc::clone(&probe), probe]);
    let mut bench = Bench::new(vec![two]);
    for n in 0..4 {
        let server = ServerKey { farm: bench.farms[0].id, server: ServerId(n) };
        let (before, after) = (Health::Up, Health::Up);
        let seen = Seen { server, slot: ProbeSlot(1), status: L7Sts, before, after };
        assert_eq!(told(bench.detector.checked(seen, 7, at(0))), None);
    }
    bench.farms = vec![farm("web", 4)];
    assert_eq!(bench.detector.watch(&bench.farms), None);
    let told: Vec<_> = (0..4).filter_map(|n| bench.lose(0, n, L4Tout, at(60))).collect();
    assert_eq!(told.first(), Some(&("began", 3)), "what the second probe said is forgotten with it");
}
