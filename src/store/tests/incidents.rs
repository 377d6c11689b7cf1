//! When most of what is checked fails at once.

use std::collections::BTreeSet;

use super::*;
use crate::model::{IncidentGuard, IncidentPhase, Leftovers};

/// One farm of so many servers, all Up at second 1; checks every 2 s.
fn setup(servers: u16) -> (Store, Arc<Ledger>, Arc<Open>) {
    let all = topology((1..=servers).map(|n| server("web", n, 1)).collect(), Some(probe()));
    let guarded = with_farm(&all, |farm| {
        farm.incident = Some(IncidentGuard { share: 60, hold: Duration::from_secs(30) });
        farm.on_down = Leftovers::Close;
    });
    let (ledger, open) = (Arc::new(Ledger::default()), Arc::new(Open::default()));
    let store = store_with(guarded, &ledger);
    store.set_sessions(Arc::clone(&open) as Arc<dyn Sessions>);
    (1..=servers).for_each(|n| check(&store, n, CheckStatus::L7Ok, 1));
    ledger.take_events();
    (store, ledger, open)
}

fn check(store: &Store, n: u16, status: CheckStatus, at: u64) {
    store.observe_one(key(n), record(status, second(at).0));
}

fn phases(ledger: &Ledger) -> Vec<(IncidentPhase, usize)> {
    let of = |kind: &EventKind| match kind {
        EventKind::Incident { phase, servers, .. } => Some((*phase, *servers)),
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Left { .. }
        | EventKind::OrderEnded { .. }
        | EventKind::Edited { .. }
        | EventKind::Checking { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::Refresh { .. }
        | EventKind::Reloaded { .. }
        | EventKind::StandingChanged { .. }
        | EventKind::Transition { .. } => None,
    };
    ledger.take_events().iter().filter_map(of).collect()
}

#[test]
fn failures_of_most_at_once_hold_the_last_rotation_until_they_are_believed() {
    let (store, ledger, open) = setup(4);
    for at in [10, 12] {
        (1..=4).for_each(|n| check(&store, n, CheckStatus::L4Tout, at));
    }
    assert_eq!(rotation(&store), (Serving::Held, vec![0, 1, 2, 3]));
    assert_eq!(states(&store), ["DOWN"; 4], "what is seen is shown");
    assert!(open.closed.lock().unwrap().is_empty());
    let snapshot = store.snapshot(second(13));
    let incident = snapshot.incident.as_ref().unwrap();
    assert_eq!((incident.since, incident.until, incident.servers.len()), (second(12), second(42), 4));
    assert!(snapshot.farms[0].servers.iter().all(|row| row.is_held_by_incident));
    let events = ledger.events.lock().unwrap().clone();
    assert!(events.iter().any(|event| event.id == incident.id && matches!(event.kind, EventKind::Incident { .. })));
    let belongs =
        |kind: &EventKind| matches!(kind, EventKind::Transition { incident: Some(id), .. } if *id == incident.id);
    assert_eq!(events.iter().filter(|event| belongs(&event.kind)).count(), 4);
    assert_eq!(phases(&ledger), [(IncidentPhase::Began, 4)]);

    assert_eq!(store.next_due(), Some(second(42)));
    store.tick(second(42)).unwrap();
    assert_eq!(rotation(&store), (Serving::Nobody, vec![]));
    assert_eq!(open.closed.lock().unwrap().len(), 4);
    assert_eq!(phases(&ledger), [(IncidentPhase::Believed, 4)]);
    (1..=4).for_each(|n| check(&store, n, CheckStatus::L4Tout, 43));
    assert_eq!(rotation(&store), (Serving::Nobody, vec![]), "what is believed begins no new incident");
    assert!(store.snapshot(second(44)).incident.is_none() && phases(&ledger).is_empty());
}

#[test]
fn servers_that_answer_again_end_the_incident_and_those_that_do_not_leave() {
    let (store, ledger, open) = setup(4);
    for at in [10, 12] {
        (1..=4).for_each(|n| check(&store, n, CheckStatus::L4Con, at));
    }
    (1..=2).for_each(|n| check(&store, n, CheckStatus::L7Ok, 14));
    assert_eq!(rotation(&store), (Serving::Held, vec![0, 1, 2, 3]));
    check(&store, 3, CheckStatus::L7Ok, 14);
    assert_eq!(phases(&ledger), [(IncidentPhase::Began, 4), (IncidentPhase::Recovered, 4)]);
    assert_eq!(*open.closed.lock().unwrap(), [key(4)]);
    assert_eq!(states(&store), ["DOWN 1/2", "DOWN 1/2", "DOWN 1/2", "DOWN"]);
    assert_eq!(rotation(&store), (Serving::Held, vec![0, 1, 2]), "who answers stays until it is Up");
    check(&store, 1, CheckStatus::L7Ok, 16);
    check(&store, 2, CheckStatus::L7Sts, 16);
    assert_eq!(rotation(&store), (Serving::Held, vec![0, 2]));
    check(&store, 3, CheckStatus::L7Ok, 16);
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0, 2]));
}

#[test]
fn failures_that_are_few_slow_or_of_the_servers_own_are_no_incident() {
    let (store, ledger, _) = setup(5);
    for at in [10, 12] {
        (1..=2).for_each(|n| check(&store, n, CheckStatus::L4Tout, at));
    }
    assert_eq!(rotation(&store), (Serving::Primaries, vec![2, 3, 4]), "two are too few");
    (3..=5).for_each(|n| check(&store, n, CheckStatus::L4Tout, 40 + u64::from(n) * 10));
    assert_eq!(phases(&ledger), [], "one after the other");
    let (store, ledger, _) = setup(4);
    for at in [10, 12] {
        (1..=4).for_each(|n| check(&store, n, CheckStatus::L7Sts, at));
    }
    assert_eq!((rotation(&store).0, phases(&ledger)), (Serving::Nobody, vec![]));
}

#[test]
fn server_that_was_down_before_is_not_brought_back_by_an_incident() {
    let (store, _, _) = setup(5);
    (4..8).for_each(|at| check(&store, 1, CheckStatus::L7Sts, at));
    for at in [20, 22] {
        (1..=5).for_each(|n| check(&store, n, CheckStatus::L4Tout, at));
    }
    assert_eq!(rotation(&store), (Serving::Held, vec![1, 2, 3, 4]));
}

#[test]
fn small_farms_that_fail_together_are_one_incident() {
    let guard = Some(IncidentGuard { share: 60, hold: Duration::from_secs(30) });
    let farm = |text: &str| {
        let servers = (1..=2).map(|n| Arc::new(server(text, n, 1))).collect();
        let probes = vec![Arc::new(probe())].into();
        let plain = Farm::new(FarmId::derive(&name(text)), name(text), Protocol::Http);
        Arc::new(Farm { servers, probes, incident: guard, ..plain })
    };
    let farms = vec![farm("a"), farm("b")];
    let ledger = Arc::new(Ledger::default());
    let all = Topology { farms: farms.clone(), frontends: Vec::new(), service: service(), made: Arc::default() };
    let store = store_with(all, &ledger);
    let keys = || farms.iter().flat_map(|f| f.servers.iter().map(|s| ServerKey { farm: f.id, server: s.id }));
    keys().for_each(|key| store.observe_one(key, record(CheckStatus::L7Ok, second(1).0)));
    for at in [3, 5] {
        keys().for_each(|key| store.observe_one(key, record(CheckStatus::L4Con, second(at).0)));
    }
    let snapshot = store.snapshot(second(4));
    let incident = snapshot.incident.as_ref().unwrap();
    assert_eq!((incident.farms.len(), incident.servers.len()), (2, 4));
}

#[test]
fn server_that_an_incident_holds_no_more_is_cut_where_the_farm_says_so() {
    let (store, _, open) = setup(5);
    for at in [10, 12] {
        (1..=4).for_each(|n| check(&store, n, CheckStatus::L4Tout, at));
    }
    check(&store, 2, CheckStatus::L7Sts, 14);
    assert_eq!(rotation(&store), (Serving::Held, vec![0, 2, 3, 4]), "it fails for a reason of its own");
    assert_eq!(*open.closed.lock().unwrap(), [key(2)]);
    let all = topology((1..=5).map(|n| server("web", n, 1)).collect(), Some(probe()));
    let unguarded = with_farm(&all, |farm| (farm.incident, farm.on_down) = (None, Leftovers::Close));
    store.reload(unguarded, &AnyHost, second(15)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![4]));
    let closed: BTreeSet<_> = open.closed.lock().unwrap().iter().copied().collect();
    assert_eq!(closed, (1..=4).map(key).collect());
}
