//! What the journal is handed, and what checks and traffic do beside changing health.

use super::*;
use crate::model::{Leftovers, TrafficFault};

fn notes(ledger: &Ledger) -> (usize, usize) {
    let others = std::mem::take(&mut *ledger.others.lock().unwrap());
    let checks = others.iter().filter(|entry| matches!(entry, Entry::Check { .. })).count();
    (checks, others.len() - checks)
}

fn of_slot(store: &Store, slot: ProbeSlot, status: CheckStatus, at: u64) {
    let epoch = epoch_of(store, key(1));
    store.observe(vec![Checked { slot, ..checked(key(1), epoch, record(status, at)) }]);
}

#[test]
fn every_check_is_noted_and_the_notable_ones_with_evidence() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(topology(vec![server("web", 1, 1)], Some(probe())), &ledger);
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    assert_eq!(notes(&ledger), (1, 1), "the first to pass");
    store.observe_one(key(1), record(CheckStatus::L7Ok, 6));
    assert_eq!(notes(&ledger), (1, 0));
    store.observe_one(key(1), record(CheckStatus::L7Sts, 7));
    store.observe_one(key(1), record(CheckStatus::L7Tout, 8));
    assert_eq!(notes(&ledger), (2, 2));
    store.observe_one(key(7), record(CheckStatus::L7Ok, 9));
    assert_eq!(notes(&ledger), (0, 0), "of a server that is not there");
}

#[test]
fn health_is_noted_when_it_changes_and_every_event_always() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(topology(vec![server("web", 1, 1)], Some(probe())), &ledger);
    let saved = || ledger.healths.lock().unwrap().get(&key(1)).map(|saved| (saved.health, saved.since));
    assert_eq!(saved(), None);
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    assert_eq!(saved(), Some((Health::Up, Timestamp(5))));
    ledger.healths.lock().unwrap().clear();
    store.observe_one(key(1), record(CheckStatus::L7Sts, 6));
    assert_eq!(saved(), None, "progress is not kept");
    store.observe_one(key(1), record(CheckStatus::L7Sts, 7));
    assert_eq!(saved(), Some((Health::Down, Timestamp(7))));
    let kinds = ledger.take_events();
    let transitions = kinds.iter().filter(|kind| matches!(kind, EventKind::Transition { .. })).count();
    assert_eq!((transitions, kinds.len()), (2, 5), "reloaded, up, primaries, down, nobody: {kinds:?}");
}

#[test]
fn shadow_probe_is_recorded_and_changes_nothing() {
    let ledger = Arc::new(Ledger::default());
    let with_shadow = with_farm(&topology(vec![server("web", 1, 1)], Some(probe())), |farm| {
        farm.shadow = Some(Arc::new(Probe { fall: 1, ..probe() }));
    });
    let store = store_with(with_shadow, &ledger);
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    ledger.take_events();
    notes(&ledger);
    let before = store.load().generation;
    for at in 6..20 {
        of_slot(&store, ProbeSlot::SHADOW, CheckStatus::L4Con, at);
    }
    assert_eq!(notes(&ledger).0, 14);
    assert_eq!((store.load().generation, ledger.take_events().len()), (before, 0));
    let snapshot = store.snapshot(Timestamp(30));
    let row = &snapshot.farms[0].servers[0];
    assert_eq!((row.state.as_str(), row.last_check.as_ref().map(|check| check.at)), ("UP", Some(Timestamp(5))));
    let counted: u64 = store.load().farms[0].servers[0].live.checks.by_status.iter().map(|cell| cell.value()).sum();
    assert_eq!(counted, 1);
}

#[test]
fn agent_counts_as_a_check_and_is_not_the_last_one_shown() {
    let agent = Arc::new(Probe::new(ProbeKind::Agent { send: "".into() }));
    let with_agent = with_farm(&topology(vec![server("web", 1, 1)], Some(probe())), |farm| {
        farm.probes = farm.probes.iter().cloned().chain([agent]).collect();
    });
    let store = store(with_agent);
    store.observe_one(key(1), record(CheckStatus::L7Ok, 5));
    of_slot(&store, ProbeSlot(1), CheckStatus::Checked, 6);
    let snapshot = store.snapshot(Timestamp(30));
    assert_eq!(snapshot.farms[0].servers[0].last_check.as_ref().map(|check| check.at), Some(Timestamp(5)));
    of_slot(&store, ProbeSlot(9), CheckStatus::L4Con, 7);
    assert_eq!(states(&store), ["UP"], "a slot that is not there");
}

#[test]
fn server_that_goes_down_is_closed_only_where_the_farm_says_so() {
    for (on_down, want) in [(Leftovers::Close, vec![key(1)]), (Leftovers::Keep, vec![])] {
        let store = store(with_farm(&topology(vec![server("web", 1, 1)], Some(probe())), |f| f.on_down = on_down));
        let open = Arc::new(Open::default());
        store.set_sessions(Arc::clone(&open) as Arc<dyn Sessions>);
        for (status, at) in [(CheckStatus::L7Ok, 2), (CheckStatus::L4Con, 3)] {
            store.observe_one(key(1), record(status, at));
        }
        assert!(open.closed.lock().unwrap().is_empty(), "it is Up still");
        (4..9).for_each(|at| store.observe_one(key(1), record(CheckStatus::L4Con, at)));
        assert_eq!(*open.closed.lock().unwrap(), want);
    }
}

#[test]
fn server_that_goes_down_is_closed_as_it_says_itself_before_its_farm() {
    for (own, farms, want) in [
        (Some(Leftovers::Close), Leftovers::Keep, vec![key(1)]),
        (Some(Leftovers::Keep), Leftovers::Close, vec![]),
        (None, Leftovers::Close, vec![key(1)]),
    ] {
        let declared = Server { on_down: own, ..server("web", 1, 1) };
        let store = store(with_farm(&topology(vec![declared], Some(probe())), |farm| farm.on_down = farms));
        let open = Arc::new(Open::default());
        store.set_sessions(Arc::clone(&open) as Arc<dyn Sessions>);
        store.observe_one(key(1), record(CheckStatus::L7Ok, 2));
        (3..9).for_each(|at| store.observe_one(key(1), record(CheckStatus::L4Con, at)));
        assert_eq!(*open.closed.lock().unwrap(), want, "{own:?} in a farm of {farms:?}");
    }
}

#[test]
fn fault_of_traffic_begins_the_count_anew_and_of_an_unknown_server_does_nothing() {
    let store = store(topology(vec![server("web", 1, 1)], Some(probe())));
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    (1..=5).for_each(|n| assert_eq!(live.traffic.failed(WorkerIx(0)), n));
    store.traffic_failed(key(1), 5, TrafficFault::Connect, Timestamp(9));
    assert_eq!(live.traffic.failed(WorkerIx(0)), 1);
    store.traffic_failed(key(7), 5, TrafficFault::Connect, Timestamp(9));
}

#[test]
fn sample_of_traffic_takes_what_came_since_the_last() {
    let store = store(topology(vec![server("web", 1, 1), server("web", 2, 1)], Some(probe())));
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    (0..5).for_each(|_| live.traffic.went_well(WorkerIx(1)));
    live.traffic.failed(WorkerIx(0));
    let sampled = |n: u16| {
        let state = store.lock();
        let row = &state.rows[&key(n)];
        (row.sampled, row.quiet_samples)
    };
    store.sample_traffic(second(5));
    assert_eq!((sampled(1), sampled(2)), (((5, 1), 0), ((0, 0), u8::MAX)));
    store.sample_traffic(second(10));
    assert_eq!(sampled(1), ((5, 1), 1));
}

/// 10,000 servers are 2,000 checks a second, all of which take the Store's lock.
#[test]
fn check_that_changes_nothing_costs_no_allocation_and_no_table() {
    let servers: Vec<u16> = (1..=100).collect();
    let store = store(topology(servers.iter().map(|n| server("web", *n, 1)).collect(), Some(probe())));
    let epochs: Vec<_> = servers.iter().map(|n| epoch_of(&store, key(*n))).collect();
    let round = |at: u64| -> Vec<Checked> {
        let all = servers.iter().zip(&epochs);
        all.map(|(n, epoch)| checked(key(*n), *epoch, record(CheckStatus::L7Ok, at))).collect()
    };
    (1..=20).for_each(|at| drop(store.observe(round(at))));
    let (before, checks) = (store.load().generation, round(30));
    let one = checks[0].clone();
    let mut alone = store.lock().rows[&one.server].health.clone().unwrap();
    alone.checked(one.slot, &one.record, one.next_at, one.record.at).unwrap();
    let of_health =
        allocation_counter::measure(|| drop(alone.checked(one.slot, &one.record, one.next_at, one.record.at)));
    let seen = allocation_counter::measure(|| drop(store.observe(checks)));
    assert_eq!(seen.count_total, 1 + 100 * of_health.count_total, "the paces that are returned, and what health takes");
    assert_eq!(store.load().generation, before);
}
