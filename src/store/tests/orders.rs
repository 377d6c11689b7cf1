//! Drain and maintenance: deadlines, ends, idle servers, the farm's reserve.

use super::*;
use crate::model::{DrainRule, FailOpen, Leftovers, OrderEnding, Reserve, Role, Terms};
use crate::store::snapshot::AdminCause;

const DRAIN: Wish = Wish::Admin(AdminStatus::Drain);
const MAINTENANCE: Wish = Wish::Admin(AdminStatus::Maintenance);
const ACTIVE: Wish = Wish::Admin(AdminStatus::Active);

fn at(now: Timestamp) -> Act {
    Act { at: now, ..act() }
}

fn order(store: &Store, n: u16, wish: Wish, terms: Terms, now: Timestamp) {
    store.change(&Change { terms, ..Change::plain(key(n), wish) }, at(now)).unwrap();
}

fn three(rule: DrainRule) -> Topology {
    let servers = (1..=3).map(|n| server("web", n, 1)).collect();
    with_farm(&topology(servers, None), |farm| farm.drain = rule)
}

/// The store, its journal, and what is open.
fn setup(rule: DrainRule) -> (Store, Arc<Ledger>, Arc<Open>) {
    let (ledger, open) = (Arc::new(Ledger::default()), Arc::new(Open::default()));
    let store = store_with(three(rule), &ledger);
    store.set_sessions(Arc::clone(&open) as Arc<dyn Sessions>);
    ledger.take_events();
    (store, ledger, open)
}

fn rule(deadline: Option<u64>, at_deadline: Leftovers) -> DrainRule {
    DrainRule { deadline: deadline.map(Duration::from_secs), at_deadline }
}

fn endings(events: &[EventKind]) -> Vec<(OrderEnding, AdminStatus, u64)> {
    let of = |kind: &EventKind| match kind {
        EventKind::OrderEnded { ending, order, closed, .. } => Some((*ending, *order, *closed)),
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
        | EventKind::Left { .. }
        | EventKind::Edited { .. }
        | EventKind::Checking { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::Refresh { .. }
        | EventKind::Reloaded { .. }
        | EventKind::StandingChanged { .. }
        | EventKind::Transition { .. } => None,
    };
    events.iter().filter_map(of).collect()
}

fn is_sticky(store: &Store, n: usize) -> bool {
    store.load().farms[0].servers[n].takes_sticky()
}

#[test]
fn drain_closes_at_the_farms_deadline_exactly_what_is_left_over() {
    let (store, ledger, open) = setup(rule(Some(30), Leftovers::Close));
    count_in_flight(&store, 1, 7);
    open.set(key(1), 7);
    order(&store, 1, DRAIN, Terms::default(), second(100));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1, 2]));
    store.tick(Timestamp(second(130).0 - 1)).unwrap();
    assert!(is_sticky(&store, 0) && open.closed.lock().unwrap().is_empty());
    store.tick(second(130)).unwrap();
    assert_eq!(*open.closed.lock().unwrap(), [key(1)]);
    assert!(!is_sticky(&store, 0), "nobody is sent there any more");
    store.tick(second(131)).unwrap();
    let told = endings(&ledger.take_events());
    assert_eq!(told, [(OrderEnding::Deadline, AdminStatus::Drain, 7)], "once, with what was closed");
}

#[test]
fn drain_keeps_what_is_left_over_where_it_is_to_be_kept() {
    let (store, ledger, open) = setup(rule(Some(30), Leftovers::Close));
    count_in_flight(&store, 1, 7);
    let terms = Terms { deadline: Some(second(110)), at_deadline: Some(Leftovers::Keep), until: None };
    order(&store, 1, DRAIN, terms, second(100));
    store.tick(second(120)).unwrap();
    assert!(open.closed.lock().unwrap().is_empty() && !is_sticky(&store, 0));
    assert_eq!(endings(&ledger.take_events()), [(OrderEnding::Deadline, AdminStatus::Drain, 0)]);
}

#[test]
fn maintenance_has_no_deadline_of_the_farm_and_ends_by_itself() {
    let (store, ledger, open) = setup(rule(Some(30), Leftovers::Close));
    count_in_flight(&store, 1, 1);
    let terms = Terms { until: Some(second(500)), ..Terms::default() };
    order(&store, 1, MAINTENANCE, terms, second(100));
    assert!(!is_sticky(&store, 0));
    store.tick(second(499)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![1, 2]));
    assert!(endings(&ledger.take_events()).is_empty() && open.closed.lock().unwrap().is_empty());
    store.tick(second(500)).unwrap();
    assert_eq!(rotation(&store), (Serving::Primaries, vec![0, 1, 2]));
    assert_eq!(endings(&ledger.take_events()), [(OrderEnding::Until, AdminStatus::Maintenance, 0)]);
    assert!(ledger.kept.lock().unwrap().is_empty(), "a restart does not bring it back");
    let snapshot = store.snapshot(second(501));
    assert_eq!(snapshot.farms[0].servers[0].state_since, second(500), "it was MAINT until then");
    assert!(snapshot.farms[0].servers[0].order.is_none() && snapshot.farms[0].servers[0].overrides.is_empty());
}

#[test]
fn drained_server_is_told_idle_once_and_only_while_something_drains_is_it_looked_at() {
    let (store, ledger, _) = setup(rule(None, Leftovers::Close));
    assert_eq!(store.next_due(), None);
    count_in_flight(&store, 1, 1);
    order(&store, 1, DRAIN, Terms::default(), second(100));
    let pace = Duration::from_millis(250);
    assert_eq!(store.next_due(), Some(second(100) + pace));
    store.tick(second(101)).unwrap();
    assert_eq!(store.next_due(), Some(second(101) + pace), "it is not idle");
    store.load().farms[0].servers[0].live.in_flight.of(WorkerIx(0)).sub(1);
    store.tick(second(102)).unwrap();
    store.tick(second(103)).unwrap();
    assert_eq!(endings(&ledger.take_events()), [(OrderEnding::Idle, AdminStatus::Drain, 0)]);
    assert_eq!(store.next_due(), None);
    assert!(is_sticky(&store, 0), "sticky clients may still come, there is no deadline");
}

#[test]
fn same_order_on_other_terms_is_a_change_and_on_the_same_is_none() {
    let (store, ledger, _) = setup(rule(None, Leftovers::Close));
    let terms = Terms { deadline: Some(second(110)), ..Terms::default() };
    order(&store, 1, DRAIN, Terms::default(), second(100));
    order(&store, 1, DRAIN, terms, second(101));
    let generation = store.load().generation;
    order(&store, 1, DRAIN, terms, second(102));
    assert_eq!(store.load().generation, generation);
    assert_eq!(ledger.kept.lock().unwrap()[0].made.terms, terms);
    let changed = |kind: &&EventKind| matches!(kind, EventKind::Changed { .. });
    assert_eq!(ledger.take_events().iter().filter(changed).count(), 2);
    let snapshot = store.snapshot(second(103));
    let row = snapshot.farms[0].servers[0].order.as_ref().unwrap();
    assert_eq!((row.since, row.deadline), (second(101), Some(second(110))));
}

#[test]
fn ready_ends_the_order_and_its_times() {
    let (store, ledger, open) = setup(rule(Some(5), Leftovers::Close));
    let terms = Terms { until: Some(second(110)), ..Terms::default() };
    order(&store, 1, DRAIN, terms, second(100));
    order(&store, 1, ACTIVE, terms, second(101));
    assert!(ledger.kept.lock().unwrap().is_empty(), "the file says active, so there is nothing to keep");
    store.tick(second(200)).unwrap();
    assert!(endings(&ledger.take_events()).is_empty() && open.closed.lock().unwrap().is_empty());
    assert_eq!((store.next_due(), rotation(&store)), (None, (Serving::Primaries, vec![0, 1, 2])));
}

#[test]
fn order_of_the_file_has_the_farms_deadline_and_goes_on_over_reloads() {
    let (store, ledger, open) = setup(rule(Some(30), Leftovers::Close));
    let drained = |weight| {
        with_farm(&three(rule(Some(30), Leftovers::Close)), |farm| {
            let server = Server { admin: AdminStatus::Drain, weight: Weight(weight), ..server("web", 1, 1) };
            farm.servers[0] = Arc::new(server);
        })
    };
    count_in_flight(&store, 1, 2);
    open.set(key(1), 2);
    store.reload(drained(1), &AnyHost, second(100)).unwrap();
    store.reload(drained(3), &AnyHost, second(120)).unwrap();
    store.tick(second(129)).unwrap();
    assert!(open.closed.lock().unwrap().is_empty());
    store.tick(second(130)).unwrap();
    assert_eq!(endings(&ledger.take_events()), [(OrderEnding::Deadline, AdminStatus::Drain, 2)]);
    assert_eq!(store.snapshot(second(131)).farms[0].servers[0].causes, [AdminCause::File]);
}

#[test]
fn snapshot_shows_the_order_with_what_is_open_and_why() {
    let (store, _, open) = setup(rule(Some(30), Leftovers::Close));
    count_in_flight(&store, 1, 4);
    open.set(key(1), 3);
    open.set(key(2), 9);
    order(&store, 1, DRAIN, Terms::default(), second(100));
    set(&store, 3, Wish::Weight(Weight(0)));
    let snapshot = store.snapshot(second(101));
    let [one, two, three] = &snapshot.farms[0].servers[..] else { panic!("three servers") };
    let row = one.order.as_ref().unwrap();
    assert_eq!((row.admin, row.began_with, row.deadline), (AdminStatus::Drain, 4, Some(second(130))));
    assert_eq!(row.act.as_ref().map(|act| &*act.actor), Some("ops"));
    assert_eq!(row.sessions.iter().map(|group| group.count).collect::<Vec<_>>(), [3]);
    assert_eq!((&one.causes[..], &two.causes[..]), (&[AdminCause::Override][..], &[][..]));
    assert!(two.order.is_none() && three.order.is_none());
    assert_eq!(three.causes, [AdminCause::Override]);
}

fn kept(store: &Store, n: u16, wish: Wish) -> Result<(), String> {
    let change = Change { reserve: Reserve::Kept, ..Change::plain(key(n), wish) };
    store.change(&change, act()).map_err(|error| error.to_string())
}

fn six(fail_open: FailOpen) -> Store {
    let mut servers: Vec<_> = (1..=6).map(|n| server("web", n, 1)).collect();
    servers[5].role = Role::Backup;
    let all = topology(servers, Some(probe()));
    let store = store(with_farm(&all, |farm| (farm.reserve, farm.fail_open) = (50, fail_open)));
    (1..=6).for_each(|n| store.observe_one(key(n), record(CheckStatus::L7Ok, 2)));
    store
}

#[test]
fn change_that_leaves_less_than_the_reserve_is_refused_unless_forced() {
    for wish in [DRAIN, MAINTENANCE, Wish::Weight(Weight(0))] {
        let store = six(FailOpen::Never);
        assert_eq!(kept(&store, 1, wish), Ok(()));
        assert_eq!(kept(&store, 2, wish), Ok(()));
        let refused = kept(&store, 3, wish).unwrap_err();
        assert_eq!(
            refused, "this would leave 2 of 6 servers, 40 % of the weight; the farm keeps 50 %; use force",
            "{wish}"
        );
        assert_eq!(rotation(&store), (Serving::Primaries, vec![2, 3, 4]), "{wish}: nothing was changed");
        set(&store, 3, wish);
        assert_eq!(rotation(&store), (Serving::Primaries, vec![3, 4]));
        assert_eq!(kept(&store, 1, ACTIVE), Ok(()));
        assert_eq!(kept(&store, 4, Wish::Weight(Weight(7))), Ok(()), "it is not taken out");
    }
}

#[test]
fn server_that_carries_nothing_may_be_taken_out_whatever_the_reserve() {
    let store = six(FailOpen::Never);
    (1..=4).for_each(|n| (3..6).for_each(|at| store.observe_one(key(n), record(CheckStatus::L4Con, at))));
    assert_eq!(rotation(&store), (Serving::Primaries, vec![4]));
    assert_eq!(kept(&store, 1, MAINTENANCE), Ok(()), "it is Down");
    assert_eq!(kept(&store, 6, MAINTENANCE), Ok(()), "a backup that stands by");
    assert_eq!(
        kept(&store, 5, MAINTENANCE).unwrap_err(),
        "this would leave 0 of 6 servers, 0 % of the weight; the farm keeps 50 %; use force"
    );
}

#[test]
fn servers_used_only_by_failing_open_do_not_count_as_left() {
    let store = six(FailOpen::WhenAllDown);
    (1..=4).for_each(|n| (3..6).for_each(|at| store.observe_one(key(n), record(CheckStatus::L4Con, at))));
    set(&store, 6, MAINTENANCE);
    assert!(kept(&store, 5, DRAIN).unwrap_err().starts_with("this would leave 0 of 6 servers, 0 %"));
}
