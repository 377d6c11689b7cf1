//! Servers that a reload removed.

use super::*;
use crate::model::{DrainRule, Leftovers};

fn of(servers: &[u16]) -> Topology {
    let servers = servers.iter().map(|n| server("web", *n, 1)).collect();
    with_farm(&topology(servers, Some(probe())), |farm| {
        farm.drain = DrainRule { deadline: Some(Duration::from_secs(30)), at_deadline: Leftovers::Close };
    })
}

fn setup() -> (Store, Arc<Ledger>, Arc<Open>) {
    let (ledger, open) = (Arc::new(Ledger::default()), Arc::new(Open::default()));
    let store = store_with(of(&[1, 2]), &ledger);
    store.set_sessions(Arc::clone(&open) as Arc<dyn Sessions>);
    store.observe_one(key(1), record(CheckStatus::L4Con, 5));
    store.observe_one(key(2), record(CheckStatus::L7Ok, 5));
    (store, ledger, open)
}

fn left(ledger: &Ledger) -> Vec<(ServerKey, u64)> {
    let of = |kind: &EventKind| match kind {
        EventKind::Left { server, closed, .. } => Some((*server, *closed)),
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
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
fn removed_server_is_visible_until_it_is_idle() {
    let (store, ledger, open) = setup();
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    live.in_flight.of(WorkerIx(0)).add(3);
    open.set(key(1), 3);
    store.reload(of(&[2]), &AnyHost, second(10)).unwrap();
    store.tick(second(11)).unwrap();
    let snapshot = store.snapshot(second(11));
    let [row] = &snapshot.farms[0].leaving[..] else { panic!("one leaves") };
    assert_eq!((row.key, row.in_flight, row.sessions[0].count), (key(1), 3, 3));
    assert_eq!((row.since, row.deadline, row.farm_name.as_str()), (second(10), Some(second(40)), "web"));
    assert!(store.load().farms[0].position(key(1).server).is_none(), "it takes no work");
    live.in_flight.of(WorkerIx(0)).sub(3);
    store.tick(second(12)).unwrap();
    assert_eq!(left(&ledger), [(key(1), 0)]);
    assert!(store.snapshot(second(13)).farms[0].leaving.is_empty());
    assert_eq!(ledger.healths.lock().unwrap().keys().collect::<Vec<_>>(), [&key(2)]);
    assert!(open.closed.lock().unwrap().is_empty());
    assert_eq!(store.next_due(), None);
}

#[test]
fn removed_server_is_closed_at_the_farms_deadline() {
    let (store, ledger, open) = setup();
    count_in_flight(&store, 1, 3);
    open.set(key(1), 3);
    store.reload(of(&[2]), &AnyHost, second(10)).unwrap();
    store.tick(second(39)).unwrap();
    assert_eq!(left(&ledger), []);
    store.tick(second(40)).unwrap();
    store.tick(second(41)).unwrap();
    assert_eq!((left(&ledger), open.closed.lock().unwrap().clone()), (vec![(key(1), 3)], vec![key(1)]));
}

#[test]
fn servers_of_a_removed_farm_are_visible_too() {
    let (store, _, _) = setup();
    count_in_flight(&store, 1, 1);
    store.reload(Topology { farms: Vec::new(), frontends: Vec::new(), ..of(&[]) }, &AnyHost, second(10)).unwrap();
    let snapshot = store.snapshot(second(11));
    assert_eq!(snapshot.leaving.iter().map(|row| row.key).collect::<Vec<_>>().len(), 2);
    store.tick(second(12)).unwrap();
    assert_eq!(store.snapshot(second(12)).leaving.iter().map(|row| row.key).collect::<Vec<_>>(), [key(1)]);
}

#[test]
fn server_that_comes_back_takes_its_counters_and_health_up_again() {
    let (store, ledger, _) = setup();
    let live = Arc::clone(&store.load().farms[0].servers[0].live);
    live.in_flight.of(WorkerIx(0)).add(1);
    store.reload(of(&[2]), &AnyHost, second(10)).unwrap();
    store.reload(of(&[1, 2]), &AnyHost, second(20)).unwrap();
    assert_eq!(states(&store), ["DOWN", "UP"]);
    assert!(Arc::ptr_eq(&live, &store.load().farms[0].servers[0].live));
    store.tick(second(60)).unwrap();
    assert_eq!((left(&ledger), store.next_due()), (vec![], None), "it has not left");
    assert_eq!(ledger.healths.lock().unwrap().len(), 2);
}

#[test]
fn server_that_comes_back_at_another_address_starts_afresh() {
    let (store, ledger, _) = setup();
    count_in_flight(&store, 1, 1);
    store.reload(of(&[2]), &AnyHost, second(10)).unwrap();
    let moved = with_farm(&of(&[1, 2]), |farm| {
        farm.servers[0] = Arc::new(Server { address: "127.0.0.1:9".parse().unwrap(), ..server("web", 1, 1) });
    });
    store.reload(moved, &AnyHost, second(20)).unwrap();
    assert_eq!(states(&store), ["no check", "UP"]);
    assert_eq!(ledger.healths.lock().unwrap().keys().collect::<Vec<_>>(), [&key(2)]);
}

#[test]
fn no_more_than_the_bound_are_remembered() {
    let beyond = super::super::leaving::LEAVING_MAX + 2;
    let many: Vec<u16> = (1..=u16::try_from(beyond).unwrap()).collect();
    let all = || topology(many.iter().map(|n| server("web", *n, 1)).collect(), None);
    let ledger = Arc::new(Ledger::default());
    let store = store_with(all(), &ledger);
    store.reload(of(&[]), &AnyHost, second(10)).unwrap();
    assert_eq!(store.snapshot(second(10)).farms[0].leaving.len(), beyond - 2);
    assert_eq!(left(&ledger).len(), 2);
}
