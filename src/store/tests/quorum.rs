//! A reload with another quorum: what the probes concluded stays, what follows from it may not.

use super::*;

/// One server of two probes, the first of which passed and the second failed, under the quorum of one.
fn setup() -> (Store, Arc<Ledger>) {
    let two = [Arc::new(probe()), Arc::new(probe())];
    let all = with_farm(&topology(vec![server("web", 1, 1)], None), |farm| {
        farm.probes = Box::new(two);
        farm.quorum = Some(1);
    });
    let ledger = Arc::new(Ledger::default());
    let store = store_with(all, &ledger);
    for (slot, status) in [(0, CheckStatus::L7Ok), (1, CheckStatus::L4Con)] {
        let one = checked(key(1), epoch_of(&store, key(1)), record(status, second(2).0));
        store.observe(vec![Checked { slot: ProbeSlot(slot), ..one }]);
    }
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
    ledger.take_events();
    (store, ledger)
}

fn transitions(ledger: &Ledger) -> Vec<(Health, Health, usize)> {
    let of = |kind: EventKind| match kind {
        EventKind::Transition { from, to, chain, .. } => Some((from, to, chain.len())),
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
        | EventKind::StandingChanged { .. } => None,
    };
    ledger.take_events().into_iter().filter_map(of).collect()
}

#[test]
fn server_that_another_quorum_takes_out_or_lets_in_is_told_and_kept() {
    let (store, ledger) = setup();
    let before = store.declared();
    let stricter = with_farm(&before, |farm| farm.quorum = Some(2));
    store.reload(stricter, &AnyHost, second(10)).unwrap();
    assert_eq!(rotation(&store), (Serving::Nobody, vec![]));
    assert_eq!(transitions(&ledger), [(Health::Up, Health::Down, 2)]);
    let snapshot = store.snapshot(second(11));
    assert_eq!(snapshot.farms[0].servers[0].health_since, second(10));
    let saved = ledger.healths.lock().unwrap()[&key(1)].clone();
    assert_eq!((saved.health, saved.since), (Health::Down, second(10)));

    store.reload(before, &AnyHost, second(20)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0]));
    assert_eq!(transitions(&ledger), [(Health::Down, Health::Up, 2)]);
}

#[test]
fn server_that_another_quorum_leaves_as_it_is_is_not_told() {
    let (store, ledger) = setup();
    let same = with_farm(&store.declared(), |farm| farm.slow_start = Duration::from_secs(9));
    store.reload(same, &AnyHost, second(10)).unwrap();
    assert_eq!(transitions(&ledger), []);
}
