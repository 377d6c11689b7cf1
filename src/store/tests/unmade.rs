//! Checks that cannot be made are told once for all servers of a farm.

use super::*;
use crate::model::CheckingChange;

fn unmade(store: &Store, n: u16, at: u64) {
    let content = Content::from_text("Cannot assign requested address");
    let record = CheckRecord { content, ..record(CheckStatus::SockErr, second(at).0) };
    store.observe_one(key(n), record);
}

fn made(store: &Store, n: u16, at: u64) {
    store.observe_one(key(n), record(CheckStatus::L7Ok, second(at).0));
}

/// What was told of checking since the last time: farm, probe and why, or nothing where checks can be made again.
fn told(ledger: &Ledger) -> Vec<Option<String>> {
    let of = |kind| {
        let EventKind::Checking { farm_name, probe, change, .. } = kind else { return None };
        Some(match change {
            CheckingChange::Impossible { why } => Some(format!("{farm_name} {probe} {why}")),
            CheckingChange::Possible => None,
        })
    };
    ledger.take_events().into_iter().filter_map(of).collect()
}

fn why() -> Option<String> {
    Some("web probe Cannot assign requested address".to_owned())
}

fn setup() -> (Store, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let servers = (1..=3).map(|n| server("web", n, 1)).collect();
    (store_with(topology(servers, Some(probe())), &ledger), ledger)
}

#[test]
fn checks_that_cannot_be_made_are_told_once_for_the_farm_and_once_when_all_can_be_again() {
    let (store, ledger) = setup();
    (1..=3).for_each(|n| made(&store, n, 10));
    assert_eq!(told(&ledger), []);
    for at in [20, 200, 400] {
        (1..=3).for_each(|n| unmade(&store, n, at));
    }
    assert_eq!(told(&ledger), [why()]);
    assert_eq!(states(&store), ["UP", "UP", "UP"], "it counts for nobody");
    made(&store, 1, 500);
    made(&store, 3, 500);
    assert_eq!(told(&ledger), [], "not of all of them");
    made(&store, 2, 501);
    made(&store, 2, 502);
    assert_eq!(told(&ledger), [None]);
    unmade(&store, 2, 600);
    assert_eq!(told(&ledger), [why()]);
}

#[test]
fn checks_that_now_and_then_cannot_be_made_are_told_once_a_minute_at_most() {
    let (store, ledger) = setup();
    for at in (100..160).step_by(2) {
        unmade(&store, 1, at);
        made(&store, 1, at + 1);
    }
    assert_eq!(told(&ledger), [why(), None]);
    unmade(&store, 1, 161);
    assert_eq!(told(&ledger), [why()]);
    unmade(&store, 2, 162);
    made(&store, 1, 163);
    made(&store, 2, 164);
    assert_eq!(told(&ledger), [None]);
    unmade(&store, 1, 170);
    assert_eq!(told(&ledger), []);
    unmade(&store, 1, 230);
    assert_eq!(told(&ledger), [why()], "one that lasts is told once its time has come");
    made(&store, 1, 231);
    assert_eq!(told(&ledger), [None]);
    unmade(&store, 1, 5);
    assert_eq!(told(&ledger), [why()], "a clock that was set back silences nothing");
}

#[test]
fn checks_that_cannot_be_made_end_with_the_server_and_silently_with_the_farm_or_its_probe() {
    let (store, ledger) = setup();
    unmade(&store, 1, 10);
    let declared = store.declared();
    let without = with_farm(&declared, |farm| farm.servers = farm.servers[1..].into());
    store.reload(without, &AnyHost, second(11)).unwrap();
    assert_eq!(told(&ledger), [why(), None]);
    unmade(&store, 2, 100);
    store.reload(with_farm(&declared, |farm| farm.probes = Box::default()), &AnyHost, second(101)).unwrap();
    assert_eq!(told(&ledger), [why()]);
    store.reload(declared, &AnyHost, second(102)).unwrap();
    made(&store, 2, 103);
    unmade(&store, 2, 104);
    assert_eq!(told(&ledger), [why()], "another beginning");
}
