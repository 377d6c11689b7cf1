//! Other rules for servers that stay: what follows is told.

use super::*;
use crate::model::{Observe, StandingChange, TrafficFault};

const OBSERVE: Observe = Observe {
    errors: 1,
    connect: true,
    status: true,
    response: true,
    eject: Duration::from_secs(10),
    eject_max: Duration::from_secs(60),
    share_max: 100,
};

fn two_probes(quorum: Option<u8>) -> Topology {
    with_farm(&topology(vec![server("web", 1, 1)], Some(probe())), |farm| {
        farm.probes = [farm.probes[0].clone(), Arc::new(probe())].into();
        farm.quorum = quorum;
    })
}

fn check(store: &Store, slot: u8, status: CheckStatus, at: Timestamp) {
    let checked = checked(key(1), epoch_of(store, key(1)), record(status, at.0));
    store.observe(vec![Checked { slot: ProbeSlot(slot), ..checked }]);
}

pub(super) fn observed(is_observed: bool) -> Topology {
    with_farm(&topology(vec![server("web", 1, 1)], None), |farm| farm.observe = is_observed.then_some(OBSERVE))
}

pub(super) fn is_ejected(store: &Store) -> bool {
    store.load().farms[0].servers[0].standing.ejected.is_some()
}

#[test]
fn another_quorum_that_makes_another_health_is_told_and_kept() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(two_probes(None), &ledger);
    check(&store, 0, CheckStatus::L7Ok, second(2));
    check(&store, 1, CheckStatus::L7Sts, second(3));
    assert_eq!(states(&store), ["DOWN"]);
    ledger.take_events();
    store.reload(two_probes(Some(1)), &AnyHost, second(9)).unwrap();
    assert_eq!(states(&store), ["UP"]);
    let told = ledger.take_events();
    let is_told = |kind: &EventKind| matches!(kind, EventKind::Transition { from: Health::Down, to: Health::Up, chain, .. } if chain.len() == 2);
    assert_eq!(told.iter().filter(|kind| is_told(kind)).count(), 1, "{told:?}");
    assert_eq!(ledger.healths.lock().unwrap()[&key(1)].health, Health::Up);
    store.reload(two_probes(Some(1)), &AnyHost, second(10)).unwrap();
    let again = ledger.take_events();
    assert!(!again.iter().any(|kind| matches!(kind, EventKind::Transition { .. })), "{again:?}");
}

#[test]
fn ejection_of_a_farm_that_observes_no_more_ends_and_is_told() {
    let ledger = Arc::new(Ledger::default());
    let store = store_with(observed(true), &ledger);
    store.traffic_failed(key(1), 1, TrafficFault::Connect, second(2));
    assert!(is_ejected(&store));
    ledger.take_events();
    store.reload(observed(false), &AnyHost, second(3)).unwrap();
    assert!(!is_ejected(&store));
    let told = ledger.take_events();
    let is_told =
        |kind: &EventKind| matches!(kind, EventKind::StandingChanged { change: StandingChange::EjectionEnded, .. });
    assert_eq!(told.iter().filter(|kind| is_told(kind)).count(), 1, "{told:?}");
}
