//! What outlives the process, and that the file's own change of a field wins over it, field by field. The faults of
//! HAProxy's state file that are named here were read in its tracker.

use super::*;
use crate::model::{AgentSays, AgentWeight, Leftovers, Terms};

fn one(weight: u16) -> Topology {
    topology(vec![server("web", 1, weight), server("web", 2, 1)], Some(probe()))
}

fn row(store: &Store, n: usize) -> (Health, u16, AdminStatus) {
    let snapshot = store.snapshot(Timestamp(u64::MAX / 2));
    let row = &snapshot.farms[0].servers[n];
    (row.standing.health, row.server.weight.0, row.server.admin)
}

/// A first process in which the first server is Down, the second Up.
fn ran_before(ledger: &Arc<Ledger>) {
    let store = store_with(one(5), ledger);
    store.observe_one(key(1), record(CheckStatus::L4Con, 7));
    store.observe_one(key(2), record(CheckStatus::L7Ok, 8));
}

/// haproxy#199 and #409: nobody needs to save anything by a script.
#[test]
fn server_that_was_down_is_down_from_the_first_table_on() {
    let ledger = Arc::new(Ledger::default());
    ran_before(&ledger);
    let store = Store::new(service(), 2, Arc::clone(&ledger) as Arc<dyn Journal>, Vec::new()).unwrap();
    store.reload(one(5), &AnyHost, Timestamp(40)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1]));
    assert_eq!((row(&store, 0).0, row(&store, 1).0), (Health::Down, Health::Up));
    let snapshot = store.snapshot(Timestamp(50));
    let since: Vec<_> = snapshot.farms[0].servers.iter().map(|row| row.health_since).collect();
    assert_eq!(since, [Timestamp(7), Timestamp(8)], "since when it is so, and not since the start");
    assert_eq!(snapshot.farms[0].servers[0].decided_by.len(), 1, "why it is so");
}

#[test]
fn reload_after_a_restart_keeps_what_was_restored() {
    let ledger = Arc::new(Ledger::default());
    ran_before(&ledger);
    let store = store_with(one(5), &ledger);
    store.reload(one(6), &AnyHost, Timestamp(9)).unwrap();
    assert_eq!(row(&store, 0), (Health::Down, 6, AdminStatus::Active));
    let third = store_with(one(6), &ledger);
    assert_eq!(row(&third, 0).0, Health::Down);
}

/// haproxy#3296 and #1412: a saved state must not bring an old port or address back, nor count for the new one.
#[test]
fn health_of_another_port_or_address_counts_for_nothing_and_is_forgotten() {
    for address in ["127.0.0.1:9", "127.0.0.9:1001", "other.invalid:1001"] {
        let ledger = Arc::new(Ledger::default());
        ran_before(&ledger);
        let moved = Server { address: address.parse().unwrap(), ..server("web", 1, 5) };
        let store = store_with(topology(vec![moved.clone(), server("web", 2, 1)], Some(probe())), &ledger);
        assert_eq!(row(&store, 0).0, Health::Unknown, "{address}");
        assert_eq!(row(&store, 1).0, Health::Up, "{address}: the other server has not moved");
        let table = store.load();
        assert_eq!(table.farms[0].servers[0].server.address, moved.address);
        assert_eq!(table.farms[0].servers[0].addr, moved.address.literal());
        assert_eq!(ledger.healths.lock().unwrap().keys().collect::<Vec<_>>(), [&key(2)], "{address}");
    }
}

/// haproxy#2103: a weight changed in the file wins over the one set at run time; the drain set at run time stays.
#[test]
fn weight_of_the_file_wins_over_the_saved_one_and_other_fields_stay() {
    let ledger = Arc::new(Ledger::default());
    let first = store_with(one(5), &ledger);
    set(&first, 1, Wish::Weight(Weight(9)));
    set(&first, 1, Wish::Admin(AdminStatus::Drain));
    drop(first);
    assert_eq!(row(&store_with(one(5), &ledger), 0), (Health::Unknown, 9, AdminStatus::Drain), "nothing changed");
    assert_eq!(row(&store_with(one(6), &ledger), 0), (Health::Unknown, 6, AdminStatus::Drain));
    assert_eq!(row(&store_with(one(5), &ledger), 0).1, 5, "the saved weight has ended for good");
}

/// haproxy#2506: a status changed in the file wins over the one set at run time; the weight set at run time stays.
#[test]
fn status_of_the_file_wins_over_the_saved_one_and_other_fields_stay() {
    let ledger = Arc::new(Ledger::default());
    let first = store_with(one(5), &ledger);
    set(&first, 1, Wish::Weight(Weight(9)));
    set(&first, 1, Wish::Admin(AdminStatus::Drain));
    drop(first);
    let in_maintenance = Server { admin: AdminStatus::Maintenance, ..server("web", 1, 5) };
    let second = store_with(topology(vec![in_maintenance, server("web", 2, 1)], Some(probe())), &ledger);
    assert_eq!(row(&second, 0), (Health::Unknown, 9, AdminStatus::Maintenance));
    drop(second);
    assert_eq!(row(&store_with(one(5), &ledger), 0), (Health::Unknown, 9, AdminStatus::Active));
}

#[test]
fn health_of_a_server_that_is_declared_no_more_is_forgotten() {
    let ledger = Arc::new(Ledger::default());
    ran_before(&ledger);
    let _second = store_with(topology(vec![server("web", 2, 1)], Some(probe())), &ledger);
    assert_eq!(ledger.healths.lock().unwrap().keys().collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(row(&store_with(one(5), &ledger), 0).0, Health::Unknown);
}

#[test]
fn other_thresholds_keep_the_saved_health_and_another_probe_does_not() {
    let ledger = Arc::new(Ledger::default());
    ran_before(&ledger);
    let slower = Probe { rise: 7, interval: Duration::from_secs(9), ..probe() };
    let servers = || vec![server("web", 1, 5), server("web", 2, 1)];
    assert_eq!(row(&store_with(topology(servers(), Some(slower)), &ledger), 0).0, Health::Down);
    assert_eq!(row(&store_with(topology(servers(), Some(Probe::new(ProbeKind::Tls))), &ledger), 0).0, Health::Unknown);
}

#[test]
fn event_ids_go_on_where_the_last_process_ended() {
    let ledger = Arc::new(Ledger::default());
    ran_before(&ledger);
    ran_before(&ledger);
    let ids: Vec<_> = ledger.events.lock().unwrap().iter().map(|event| event.id).collect();
    assert!(ids.len() > 4 && ids.windows(2).all(|two| two[0] + 1 == two[1]), "{ids:?}");
}

#[test]
fn order_that_came_to_its_end_meanwhile_ends_at_once_and_the_others_stay() {
    let ledger = Arc::new(Ledger::default());
    let first = store_with(one(5), &ledger);
    let terms = |until| Terms { until: Some(until), deadline: Some(second(2)), at_deadline: Some(Leftovers::Close) };
    for (n, until) in [(1, second(5)), (2, second(50))] {
        let change = Change { terms: terms(until), ..Change::plain(key(n), Wish::Admin(AdminStatus::Maintenance)) };
        first.change(&change, act()).unwrap();
    }
    drop(first);
    ledger.take_events();
    let store = Store::new(service(), 1, Arc::clone(&ledger) as Arc<dyn Journal>, Vec::new()).unwrap();
    store.reload(one(5), &AnyHost, second(10)).unwrap();
    assert_eq!((row(&store, 0).2, row(&store, 1).2), (AdminStatus::Maintenance, AdminStatus::Maintenance));
    store.tick(second(10)).unwrap();
    store.tick(second(11)).unwrap();
    assert_eq!((row(&store, 0).2, row(&store, 1).2), (AdminStatus::Active, AdminStatus::Maintenance));
    assert_eq!(ledger.kept.lock().unwrap().len(), 1);
    let told = ledger.take_events();
    let ended = told.iter().filter(|kind| matches!(kind, EventKind::OrderEnded { .. })).count();
    assert_eq!(ended, 1, "neither idle nor a deadline of the earlier process is told again: {told:?}");
}

/// A store of a second process that began at that time, and since when the first server's state is said to be so.
fn state_since(topology: Topology, ledger: &Arc<Ledger>, now: Timestamp) -> Timestamp {
    let store = Store::new(service(), 1, Arc::clone(ledger) as Arc<dyn Journal>, Vec::new()).unwrap();
    store.reload(topology, &AnyHost, now).unwrap();
    store.snapshot(second(9_999)).farms[0].servers[0].state_since
}

#[test]
fn state_is_said_to_last_no_longer_than_is_known_after_a_restart() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(one(5), &ledger);
    store.observe_one(key(1), record(CheckStatus::L7Ok, second(10).0));
    assert_eq!(state_since(one(5), &ledger, second(100)), second(10), "Up since its checks pass");
    assert_eq!(state_since(one(0), &ledger, second(100)), second(100), "weight 0 of the file: since it is known");
    let drained = Server { admin: AdminStatus::Drain, ..server("web", 1, 5) };
    let drained = topology(vec![drained, server("web", 2, 1)], Some(probe()));
    assert_eq!(state_since(drained, &ledger, second(100)), second(100), "drained by the file: since it is known");
}

#[test]
fn state_that_the_agent_asked_for_began_when_it_did_after_a_restart_too() {
    let ledger = Arc::new(Ledger::default());
    let with_agent = with_farm(&one(5), |farm| {
        let agent = Probe::new(ProbeKind::Agent { send: "".into() });
        farm.probes = [Arc::new(probe()), Arc::new(agent)].into();
    });
    let store = store_with(with_agent.clone(), &ledger);
    store.observe_one(key(1), record(CheckStatus::L7Ok, second(10).0));
    let says = |at: u64, weight| {
        let says = AgentSays { admin: Some(AdminStatus::Drain), weight, ..AgentSays::default() };
        let record = CheckRecord { agent: Some(Arc::new(says)), ..record(CheckStatus::Checked, second(at).0) };
        store.observe(vec![Checked { slot: ProbeSlot(1), ..checked(key(1), epoch_of(&store, key(1)), record) }]);
    };
    says(20, None);
    says(30, Some(AgentWeight::Percent(50)));
    assert_eq!(store.snapshot(second(9_999)).farms[0].servers[0].state_since, second(20));
    assert_eq!(state_since(with_agent.clone(), &ledger, second(100)), second(20));
    ledger.healths.lock().unwrap().get_mut(&key(1)).unwrap().agent_since = None;
    assert_eq!(state_since(with_agent, &ledger, second(100)), second(100), "kept by an older build");
}

#[test]
fn farms_that_do_not_serve_normally_are_told_with_the_first_table() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(one(5), &ledger);
    for (n, status) in [(1, CheckStatus::L4Con), (2, CheckStatus::L4Con)] {
        store.observe_one(key(n), record(status, 7));
    }
    drop(store);
    ledger.take_events();
    let again = store_with(one(5), &ledger);
    let told = ledger.take_events();
    let is_told = |told: &[EventKind]| match told {
        [EventKind::Reloaded { .. }, EventKind::FarmServing { serving, .. }] => Some(*serving),
        _ => None,
    };
    assert_eq!(is_told(&told), Some("nobody"), "{told:?}");
    again.reload(one(5), &AnyHost, Timestamp(50)).unwrap();
    assert_eq!(ledger.take_events().len(), 1, "a reload that changes nothing tells it no second time");
    again.observe_one(key(1), record(CheckStatus::L7Ok, 60));
    again.observe_one(key(1), record(CheckStatus::L7Ok, 61));
    let told = ledger.take_events();
    assert!(matches!(told[..], [.., EventKind::FarmServing { serving: "primaries", .. }]), "{told:?}");
}

#[test]
fn farms_of_the_first_table_that_serve_or_were_not_checked_yet_are_not_told() {
    let ledger = Arc::new(Ledger::default());
    let unproven = store_with(one(5), &ledger);
    let told = ledger.take_events();
    assert!(matches!(told[..], [EventKind::Reloaded { .. }]), "without a verdict yet: {told:?}");
    unproven.observe_one(key(1), record(CheckStatus::L7Ok, 7));
    ledger.take_events();
    store_with(one(5), &ledger);
    let told = ledger.take_events();
    assert!(matches!(told[..], [EventKind::Reloaded { .. }]), "Up before: {told:?}");
    store_with(topology(Vec::new(), Some(probe())), &Arc::clone(&ledger));
    let told = ledger.take_events();
    assert!(matches!(told[..], [EventKind::Reloaded { .. }]), "without servers: {told:?}");
}
