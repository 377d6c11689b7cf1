//! What traffic, flapping and a slow start make of the rotation, through the Store and its clock.

use super::*;
use crate::model::{FlapGuard, IncidentGuard, Observe, StandingChange, Terms, TrafficFault};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn observe(share_max: u8) -> Observe {
    let (errors, connect, status, response) = (3, true, true, true);
    Observe { errors, connect, status, response, eject: seconds(10), eject_max: seconds(60), share_max }
}

/// Four servers, all Up at second 1.
fn setup(change: impl FnOnce(&mut Farm)) -> (Store, Arc<Ledger>) {
    let all = topology((1..=4).map(|n| server("web", n, 1)).collect(), Some(probe()));
    let ledger = Arc::new(Ledger::default());
    let store = store_with(with_farm(&all, change), &ledger);
    (1..=4).for_each(|n| store.observe_one(key(n), record(CheckStatus::L7Ok, second(1).0)));
    ledger.take_events();
    (store, ledger)
}

fn fault(store: &Store, n: u16, at: u64) {
    store.traffic_failed(key(n), 3, TrafficFault::Connect, second(at));
}

fn changes(ledger: &Ledger) -> Vec<&'static str> {
    let of = |kind: EventKind| match kind {
        EventKind::StandingChanged { change, .. } => Some(match change {
            StandingChange::AgentSaid(_) => "agent",
            StandingChange::Ejected(_) => "ejected",
            StandingChange::EjectionEnded => "ejection ended",
            StandingChange::HeldDown { .. } => "held",
            StandingChange::HoldEnded => "hold ended",
            StandingChange::Suspected(_) => "suspected",
            StandingChange::SuspicionEnded => "suspicion ended",
            StandingChange::WarmupBegan { .. } => "warm-up",
            StandingChange::WarmupEnded => "warm",
        }),
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
        | EventKind::Left { .. }
        | EventKind::OrderEnded { .. }
        | EventKind::Edited { .. }
        | EventKind::Checking { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::Refresh { .. }
        | EventKind::Reloaded { .. }
        | EventKind::Transition { .. } => None,
    };
    ledger.take_events().into_iter().filter_map(of).collect()
}

#[test]
fn server_whose_traffic_fails_is_out_until_its_time_and_no_more_than_the_share_are() {
    let (store, ledger) = setup(|farm| farm.observe = Some(observe(50)));
    (1..=3).for_each(|n| fault(&store, n, 10));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![2, 3]), "two of four are half");
    assert_eq!(store.next_due(), Some(second(20)));
    store.tick(second(20)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0, 1, 2, 3]));
    assert_eq!(changes(&ledger), ["ejected", "ejected", "ejection ended", "ejection ended"]);
    let servers = &store.snapshot(second(30)).farms[0].servers;
    assert!(servers[..2].iter().all(|row| row.state_since == second(20) && row.health_since < second(20)));
    assert!(servers[2].state_since < second(10), "one that was never out");
}

#[test]
fn one_server_may_be_ejected_whatever_the_share_and_none_while_the_balancer_suspects_itself() {
    let (store, _) = setup(|farm| farm.observe = Some(observe(1)));
    fault(&store, 1, 10);
    fault(&store, 2, 10);
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1, 2, 3]));
    let (store, ledger) = setup(|farm| {
        farm.observe = Some(observe(100));
        farm.incident = Some(IncidentGuard { share: 50, hold: seconds(30) });
    });
    for at in [10, 12] {
        (1..=4).for_each(|n| store.observe_one(key(n), record(CheckStatus::L4Tout, second(at).0)));
    }
    fault(&store, 1, 13);
    assert_eq!((rotation(&store), changes(&ledger)), ((Serving::Held, vec![0, 1, 2, 3]), vec![]));
}

#[test]
fn server_that_keeps_changing_is_held_down_and_that_survives_a_restart() {
    let (store, ledger) = setup(|farm| {
        farm.flap = Some(FlapGuard { transitions: 2, within: seconds(60), hold: seconds(30) });
    });
    let rise_and_fall = [CheckStatus::L7Sts, CheckStatus::L7Sts, CheckStatus::L7Ok, CheckStatus::L7Ok];
    for (at, status) in (10..).zip(rise_and_fall) {
        store.observe_one(key(1), record(status, second(at).0));
    }
    let health = store.snapshot(second(20)).farms[0].servers[0].standing.health;
    assert_eq!((health, rotation(&store).1), (Health::Up, vec![1, 2, 3]), "good, and out all the same");
    assert_eq!(changes(&ledger), ["held"]);
    let saved = ledger.healths.lock().unwrap()[&key(1)].clone();
    assert_eq!((saved.held_until, saved.changes.len()), (store.next_due(), 2));
    assert_eq!(saved.held_since, Some(second(13)));
    let topology = store.declared();
    let again = Store::new(service(), 1, Arc::clone(&ledger) as Arc<dyn Journal>, Vec::new()).unwrap();
    again.reload(topology, &AnyHost, second(15)).unwrap();
    assert_eq!(rotation(&again).1, [1, 2, 3]);
    let held = &again.snapshot(second(16)).farms[0].servers[0];
    assert_eq!((held.standing.held_since, held.state_since), (Some(second(13)), second(13)));
    again.tick(saved.held_until.unwrap()).unwrap();
    assert_eq!(rotation(&again).1, [0, 1, 2, 3]);
}

#[test]
fn server_back_from_maintenance_warms_up_by_the_clock() {
    let (store, ledger) = setup(|farm| farm.slow_start = seconds(100));
    let terms = Terms { until: Some(second(50)), ..Terms::default() };
    let wish = Wish::Admin(AdminStatus::Maintenance);
    store.change(&Change { terms, ..Change::plain(key(1), wish) }, Act { at: second(10), ..act() }).unwrap();
    let weight = |now: u64| store.snapshot(second(now)).farms[0].servers[0].effective_hundredths;
    store.tick(second(50)).unwrap();
    assert_eq!((changes(&ledger), weight(50) < 10), (vec!["warm-up"], true));
    let mut steps = 0;
    while let Some(due) = store.next_due() {
        let before = weight(due.unix_seconds());
        store.tick(due).unwrap();
        assert!(weight(due.unix_seconds() + 1) >= before);
        steps += 1;
        assert!(steps <= 101, "the agenda comes to rest");
    }
    assert_eq!((weight(151), changes(&ledger)), (100, vec!["warm"]));
    assert!(store.load().farms[0].rotation.eligible.iter().all(|eligible| eligible.weight == 1));
}

#[test]
fn server_back_from_maintenance_stays_out_while_its_checks_fail() {
    let (store, _) = setup(|farm| farm.slow_start = seconds(100));
    set(&store, 1, Wish::Admin(AdminStatus::Maintenance));
    [20, 21].into_iter().for_each(|at| store.observe_one(key(1), record(CheckStatus::L4Con, second(at).0)));
    set(&store, 1, Wish::Admin(AdminStatus::Active));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1, 2, 3]));
}

#[test]
fn probes_that_pass_while_traffic_fails_are_told_and_seen() {
    let (store, ledger) = setup(|farm| farm.observe = Some(Observe { errors: 1000, ..observe(50) }));
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    for n in 1..=12 {
        (0..40).for_each(|_| assert!(live.traffic.failed(WorkerIx(0)) > 0));
        store.sample_traffic(second(n * 5));
    }
    assert_eq!(changes(&ledger), ["suspected"]);
    let snapshot = store.snapshot(second(100));
    assert!(snapshot.farms[0].servers[0].standing.suspicion.is_some_and(|suspicion| suspicion.bad > 0));
    (13..=30).for_each(|n| store.sample_traffic(second(n * 5)));
    assert_eq!(changes(&ledger), ["suspicion ended"], "without traffic there is nothing to suspect");
}

#[test]
fn clock_that_is_set_back_prolongs_neither_ejection_nor_hold_nor_warm_up() {
    let (store, ledger) = setup(|farm| {
        farm.observe = Some(observe(50));
        farm.flap = Some(FlapGuard { transitions: 1, within: seconds(60), hold: seconds(30) });
        farm.slow_start = seconds(20);
    });
    fault(&store, 1, 3600);
    for (at, status) in (3600..).zip([CheckStatus::L7Sts, CheckStatus::L7Sts, CheckStatus::L7Ok, CheckStatus::L7Ok]) {
        store.observe_one(key(2), record(status, second(at).0));
    }
    set(&store, 3, Wish::Admin(AdminStatus::Maintenance));
    store.change(&Change::plain(key(3), Wish::Admin(AdminStatus::Active)), Act { at: second(3600), ..act() }).unwrap();
    assert_eq!(changes(&ledger), ["ejected", "held", "held", "warm-up"]);
    store.sample_traffic(second(100));
    for now in 100..=160 {
        store.tick(second(now)).unwrap();
    }
    let ended: Vec<_> =
        changes(&ledger).into_iter().filter(|change| change.contains("ended") || *change == "warm").collect();
    assert_eq!(ended, ["ejection ended", "warm", "hold ended", "warm", "warm"]);
    let whole = |n: usize| store.snapshot(second(161)).farms[0].servers[n].effective_hundredths;
    assert_eq!([0, 1, 2, 3].map(whole), [100; 4]);
}
