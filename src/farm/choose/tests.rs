//! What a worker's choices must and must not be, over whole farm tables.

use proptest::prelude::*;

use super::*;
use crate::farm::ServerEntry;
use crate::model::{Epoch, Farm, Health, Name, Progress, Protocol, Server, ServerAddr, Standing, Weight};

const BALANCES: [Balance; 8] = [
    Balance::Ewma,
    Balance::First,
    Balance::LeastConn,
    Balance::Maglev,
    Balance::Random,
    Balance::RoundRobin,
    Balance::Source,
    Balance::Uri,
];
const WORKERS: usize = 4;

fn lives(count: usize) -> Vec<Arc<ServerLive>> {
    (0..count).map(|_| ServerLive::new(WORKERS)).collect()
}

/// A farm of these servers, those in `down` Down and the others Up, at a version of its rotation.
fn table(balance: Balance, weights: &[u16], lives: &[Arc<ServerLive>], down: &[usize], version: u64) -> FarmTable {
    table_with(weights, lives, down, version, |farm| farm.balance = balance)
}

fn table_with(
    weights: &[u16],
    lives: &[Arc<ServerLive>],
    down: &[usize],
    version: u64,
    adjust: impl FnOnce(&mut Farm),
) -> FarmTable {
    let name = Name::parse("web").unwrap();
    let entry = |(i, (weight, live)): (usize, (&u16, &Arc<ServerLive>))| {
        let name = Name::parse(&format!("s{i}")).unwrap();
        let id = ServerId::derive(&Name::parse("web").unwrap(), &name);
        let address: ServerAddr = "127.0.0.1:80".parse().unwrap();
        let addr = address.literal();
        let server = Arc::new(Server { weight: Weight(*weight), ..Server::new(id, name, address) });
        let health = if down.contains(&i) { Health::Down } else { Health::Up };
        let standing = Standing::of(health, Progress { have: 0, need: 1 });
        ServerEntry::new(server, Epoch(1), addr, standing, Arc::clone(live))
    };
    let servers: Box<[ServerEntry]> = weights.iter().zip(lives).enumerate().map(entry).collect();
    let mut farm = Farm {
        servers: servers.iter().map(|entry| Arc::clone(&entry.server)).collect(),
        ..Farm::new(FarmId::derive(&name), name, Protocol::Http)
    };
    adjust(&mut farm);
    FarmTable::new(Arc::new(farm), servers, Generation(version))
}

fn key(n: u32) -> Key<'static> {
    const PATHS: [&[u8]; 4] = [b"/a", b"/b?x", b"/c", b"/d"];
    Key { source: IpAddr::from(n.to_be_bytes()), uri: Some(PATHS[n as usize % 4]) }
}

fn source(n: u32) -> Key<'static> {
    Key { source: IpAddr::from(n.to_be_bytes()), uri: None }
}

/// How often each of so many servers is chosen in a row of first choices.
fn counts(choosers: &mut Choosers, table: &FarmTable, requests: u32) -> Vec<u32> {
    let mut have = vec![0; table.servers.len()];
    for n in 0..requests {
        have[choosers.choose(table, key(n), &Tried::none(), 0).unwrap()] += 1;
    }
    have
}

#[test]
fn round_robin_splits_a_thousand_exactly_from_any_start() {
    let lives = lives(3);
    let all = table(Balance::RoundRobin, &[5, 3, 2], &lives, &[], 1);
    let two = table(Balance::RoundRobin, &[5, 3, 2], &lives, &[0], 2);
    for seed in 0..50 {
        for worker in 0..WORKERS {
            let mut choosers = Choosers::new(WorkerIx(worker), seed);
            counts(&mut choosers, &all, u32::try_from(seed % 10).unwrap());
            assert_eq!(counts(&mut choosers, &all, 1000), [500, 300, 200]);
            let rest = counts(&mut choosers, &two, 999);
            assert_eq!(rest[0], 0);
            assert!(rest[1].abs_diff(599) <= 1 && rest[2].abs_diff(400) <= 1, "{rest:?}");
            assert_eq!(counts(&mut choosers, &two, 1000), [0, 600, 400]);
        }
    }
}

#[test]
fn workers_of_one_seed_do_not_march_in_step() {
    let farm = table(Balance::RoundRobin, &[1; 10], &lives(10), &[], 1);
    let order = |worker| {
        let mut choosers = Choosers::new(WorkerIx(worker), 1);
        (0..10).map(|_| choosers.choose(&farm, key(0), &Tried::none(), 0).unwrap()).collect::<Vec<_>>()
    };
    for worker in 1..WORKERS {
        assert_ne!(order(0), order(worker));
    }
}

#[test]
fn nobody_eligible_is_nobody_chosen_in_every_algorithm() {
    for balance in BALANCES {
        let mut choosers = Choosers::new(WorkerIx(0), 1);
        let farms = [
            table(balance, &[], &[], &[], 1),
            table(balance, &[0, 0], &lives(2), &[], 2),
            table(balance, &[1, 1], &lives(2), &[0, 1], 3),
        ];
        let mut tried = Tried::none();
        for _ in 0..2 {
            for farm in &farms {
                assert_eq!(choosers.choose(farm, key(1), &tried, 0), None, "{balance:?}");
            }
            tried.add(0);
        }
    }
}

/// With one of two refusing, half the work meets it, not all: retries do not use up the other's turns.
#[test]
fn round_robin_retries_leave_first_choices_exact() {
    let farm = table(Balance::RoundRobin, &[1, 1], &lives(2), &[], 1);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    let mut have = [0; 2];
    for _ in 0..100 {
        let position = choosers.choose(&farm, key(0), &Tried::none(), 0).unwrap();
        have[position] += 1;
        if position == 0 {
            let mut tried = Tried::none();
            tried.add(0);
            assert_eq!(choosers.choose(&farm, key(0), &tried, 0), Some(1));
        }
    }
    assert_eq!(have, [50, 50]);
}

#[test]
fn round_robin_retries_go_round_though_a_heavy_server_is_in_the_way() {
    let farm = table(Balance::RoundRobin, &[60_000, 1, 1, 1], &lives(4), &[], 1);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    let mut tried = Tried::none();
    tried.add(0);
    let mut have = [0; 4];
    for _ in 0..300 {
        have[choosers.choose(&farm, key(0), &tried, 0).unwrap()] += 1;
    }
    assert_eq!(have[0], 0);
    assert!(have[1..].iter().all(|n| (80..120).contains(n)), "{have:?}");
}

/// A retry that still holds the table of before a change goes by that table and costs the current turns nothing.
#[test]
fn older_table_is_served_without_disturbing_the_current_turns() {
    let lives = lives(3);
    let old = table(Balance::RoundRobin, &[5, 3, 2], &lives, &[2], 1);
    let new = table(Balance::RoundRobin, &[5, 3, 2], &lives, &[], 2);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    counts(&mut choosers, &old, 3);
    let (mut have, mut stale) = ([0; 3], [0; 3]);
    for _ in 0..80 {
        have[choosers.choose(&new, key(0), &Tried::none(), 0).unwrap()] += 1;
        stale[choosers.choose(&old, key(0), &Tried::none(), 0).unwrap()] += 1;
    }
    assert_eq!((have, stale), ([40, 24, 16], [50, 30, 0]));
}

#[test]
fn another_algorithm_at_the_same_rotation_starts_afresh() {
    let lives = lives(2);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    counts(&mut choosers, &table(Balance::RoundRobin, &[1, 1], &lives, &[], 1), 3);
    let first = table(Balance::First, &[1, 1], &lives, &[], 1);
    assert_eq!(counts(&mut choosers, &first, 4), [4, 0]);
}

#[test]
fn least_conn_gives_to_the_least_loaded_and_counts_back() {
    let farm = table(Balance::LeastConn, &[2, 1], &lives(2), &[], 1);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    let mut have = [0; 2];
    for _ in 0..30 {
        let position = choosers.choose(&farm, key(0), &Tried::none(), 0).unwrap();
        choosers.started(&farm, position);
        have[position] += 1;
    }
    assert_eq!(have, [20, 10]);
    for _ in 0..10 {
        choosers.ended(farm.farm.id, farm.servers[1].server.id, &farm.servers[1].live);
    }
    for _ in 0..9 {
        assert_eq!(choosers.choose(&farm, key(0), &Tried::none(), 0), Some(1));
        choosers.started(&farm, 1);
    }
    assert_eq!(farm.servers[0].live.in_flight_total(), 20);
    assert_eq!(farm.servers[1].live.in_flight_total(), 9);
}

#[test]
fn least_conn_sees_other_workers_within_ten_milliseconds() {
    let farm = table(Balance::LeastConn, &[1, 1], &lives(2), &[], 1);
    let mut here = Choosers::new(WorkerIx(0), 1);
    let mut there = Choosers::new(WorkerIx(1), 1);
    here.choose(&farm, key(0), &Tried::none(), 100);
    (0..5).for_each(|_| there.started(&farm, 0));
    for n in 0..5 {
        assert_eq!(here.choose(&farm, key(0), &Tried::none(), 110 + n), Some(1));
    }
    (0..5).for_each(|_| there.ended(farm.farm.id, farm.servers[0].server.id, &farm.servers[0].live));
    here.started(&farm, 1);
    assert_eq!(here.choose(&farm, key(0), &Tried::none(), 120), Some(0));
}

/// Work that ends while its server is out, and after it came back, is counted where it began.
#[test]
fn work_that_outlives_a_rotation_is_counted_right() {
    let lives = lives(2);
    let with = |down: &[usize], version| table(Balance::LeastConn, &[1, 1], &lives, down, version);
    let (before, without, after) = (with(&[], 1), with(&[0], 2), with(&[], 3));
    let id = before.servers[0].server.id;
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    let choose = |choosers: &mut Choosers, table| choosers.choose(table, key(0), &Tried::none(), 0);
    choose(&mut choosers, &before);
    (0..4).for_each(|_| choosers.started(&before, 0));
    assert_eq!(choose(&mut choosers, &without), Some(1));
    choosers.ended(before.farm.id, id, &lives[0]);
    assert_eq!(choose(&mut choosers, &after), Some(1), "three are still there");
    (0..3).for_each(|_| choosers.ended(before.farm.id, id, &lives[0]));
    choosers.started(&after, 1);
    assert_eq!(choose(&mut choosers, &after), Some(0));
    assert_eq!(lives[0].in_flight_total(), 0);
    choosers.ended(before.farm.id, id, &lives[0]);
    assert_eq!(lives[0].in_flight_total(), 0, "never below nothing");
}

/// A server that moved has new cells under its old id: the end of old work must not count against the new.
#[test]
fn work_on_the_former_address_does_not_count_on_the_new_one() {
    let (old, new) = (lives(2), lives(2));
    let id = |table: &FarmTable| table.servers[0].server.id;
    let before = table(Balance::LeastConn, &[1, 1], &old, &[], 1);
    let after = table(Balance::LeastConn, &[1, 1], &new, &[], 2);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    choosers.choose(&before, key(0), &Tried::none(), 0);
    (0..3).for_each(|_| choosers.started(&before, 0));
    choosers.choose(&after, key(0), &Tried::none(), 0);
    (0..2).for_each(|_| choosers.started(&after, 0));
    choosers.started(&after, 1);
    (0..3).for_each(|_| choosers.ended(before.farm.id, id(&before), &old[0]));
    assert_eq!(choosers.choose(&after, key(0), &Tried::none(), 0), Some(1), "two against one");
    assert_eq!((old[0].in_flight_total(), new[0].in_flight_total()), (0, 2));
}

#[test]
fn hashed_work_stays_with_its_server_on_every_worker_and_through_changes() {
    let lives = lives(5);
    let all = table(Balance::Source, &[3, 1, 1, 1, 2], &lives, &[], 1);
    let four = table(Balance::Source, &[3, 1, 1, 1, 2], &lives, &[1], 2);
    let mut one = Choosers::new(WorkerIx(0), 1);
    let mut other = Choosers::new(WorkerIx(1), 2);
    let before: Vec<_> = (0..1000).map(|n| one.choose(&all, source(n), &Tried::none(), 0)).collect();
    for (n, had) in (0..1000).zip(before) {
        assert_eq!(other.choose(&all, source(n), &Tried::none(), 0), had);
        let mut tried = Tried::none();
        tried.add(1);
        let second = other.choose(&all, source(n), &tried, 0);
        let has = one.choose(&four, source(n), &Tried::none(), 0);
        assert!(has != Some(1) && (had == Some(1) || has == had), "client {n}: {had:?}, then {has:?}");
        assert_eq!(second, has, "a retry goes where the key goes when the server has left");
    }
}

#[test]
fn uri_farm_hashes_the_path_and_raw_tcp_its_source() {
    let farm = table(Balance::Uri, &[1; 20], &lives(20), &[], 1);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    let mut choose = |n: u32, uri: Option<&[u8]>| {
        let key = Key { source: IpAddr::from(n.to_be_bytes()), uri };
        choosers.choose(&farm, key, &Tried::none(), 0).unwrap()
    };
    let path = choose(1, Some(b"/a?b"));
    assert!((0..50).all(|n| choose(n, Some(b"/a?c")) == path));
    let raw: Vec<_> = (0..50).map(|n| choose(n, None)).collect();
    assert!(raw.iter().any(|position| *position != raw[0]));
}

#[test]
fn forgotten_farm_frees_its_state_and_others_keep_theirs() {
    let farm = table(Balance::RoundRobin, &[1], &lives(1), &[], 1);
    let mut choosers = Choosers::new(WorkerIx(0), 1);
    counts(&mut choosers, &farm, 1);
    choosers.forget_except(|id| id == farm.farm.id);
    assert_eq!(choosers.farms.len(), 1);
    choosers.forget_except(|_| false);
    assert!(choosers.farms.is_empty());
    choosers.ended(farm.farm.id, farm.servers[0].server.id, &farm.servers[0].live);
}

/// What two workers know of a server's latency is their own, outlives the rotation, and sends work to the quicker.
#[test]
fn ewma_goes_to_the_quicker_by_what_its_own_worker_knows() {
    let lives = lives(2);
    for (position, us) in [(0, 20_000), (1, 1_000)] {
        lives[position].latency.of(WorkerIx(0)).sample(us, 0);
    }
    let farm = table(Balance::Ewma, &[1, 1], &lives, &[], 1);
    let later = table(Balance::Ewma, &[1, 1], &lives, &[], 2);
    let mut here = Choosers::new(WorkerIx(0), 1);
    assert_eq!(counts(&mut here, &farm, 100), [0, 100]);
    assert_eq!(counts(&mut here, &later, 100), [0, 100], "a new rotation forgets nothing");
    let there = counts(&mut Choosers::new(WorkerIx(1), 1), &farm, 1000);
    assert!(there.iter().all(|n| (400..600).contains(n)), "{there:?}: nothing is known there");
}

#[test]
fn random_avoids_the_busier_and_sees_other_workers() {
    let farm = table(Balance::Random, &[1, 1], &lives(2), &[], 1);
    let (mut here, mut there) = (Choosers::new(WorkerIx(0), 1), Choosers::new(WorkerIx(1), 1));
    let shares = counts(&mut here, &farm, 1000);
    assert!(shares.iter().all(|n| (400..600).contains(n)), "{shares:?}");
    there.started(&farm, 0);
    let choose = |here: &mut Choosers, at| here.choose(&farm, key(0), &Tried::none(), at).unwrap();
    assert!((0..100).all(|_| choose(&mut here, OTHERS_AGE_MS_MAX) == 1));
    here.started(&farm, 1);
    here.started(&farm, 1);
    assert!((0..100).all(|_| choose(&mut here, OTHERS_AGE_MS_MAX) == 0), "its own count is exact");
}

#[test]
fn maglev_hashes_what_its_rule_names() {
    let lives = lives(20);
    let farm = |hash: HashKey| {
        table_with(&[1; 20], &lives, &[], 1, |farm| {
            farm.balance = Balance::Maglev;
            farm.hash.key = hash;
        })
    };
    let differ = |farm: &FarmTable, asks: &dyn Fn(u32) -> Ask<'static>| {
        let mut choosers = Choosers::new(WorkerIx(0), 1);
        let first = choosers.first(farm, asks(0)).unwrap();
        (1..50).any(|n| choosers.first(farm, asks(n)).unwrap() != first)
    };
    let ask = |key: Key<'static>, header| Ask { key, header, now_ms: 0 };
    let (by_source, by_uri) = (farm(HashKey::Source), farm(HashKey::Uri));
    let by_header = farm(HashKey::Header("x-user".into()));
    let one_path = |n: u32| Key { uri: Some(b"/a?b"), ..key(n) };
    assert!(differ(&by_source, &|n| ask(one_path(n), Some(b"ann"))));
    assert!(!differ(&by_uri, &|n| ask(one_path(n), None)));
    assert!(differ(&by_uri, &|n| ask(key(n), None)) && differ(&by_uri, &|n| ask(source(n), None)));
    assert!(!differ(&by_header, &|n| ask(key(n), Some(b"ann"))));
    assert!(differ(&by_header, &|n| ask(key(n), Some(if n % 2 == 0 { b"ann" } else { b"bob" }))));
    assert!(differ(&by_header, &|n| ask(key(n), None)), "no such field: the client's address");
}

#[test]
fn maglev_table_is_shared_while_the_rotation_is_the_same() {
    let lives = lives(4);
    let make = |down: &[usize], version| table(Balance::Maglev, &[1; 4], &lives, down, version);
    let first = make(&[], 1);
    let (next, without) = (make(&[], 2), make(&[1], 3));
    let follow = |before: &FarmTable, after: FarmTable| {
        FarmTable::following(Some(before), after.farm, after.servers, after.rotation.version)
    };
    let next = follow(&first, next);
    assert_eq!(next.rotation.version, Generation(1));
    assert!(Arc::ptr_eq(first.maglev.as_ref().unwrap(), next.maglev.as_ref().unwrap()));
    let without = follow(&next, without);
    assert_eq!(without.rotation.version, Generation(3));
    assert!(!Arc::ptr_eq(first.maglev.as_ref().unwrap(), without.maglev.as_ref().unwrap()));
    assert!(make(&[], 1).maglev == first.maglev && table(Balance::Source, &[1], &lives, &[], 1).maglev.is_none());
}

/// One client's work: with a bound, a server beyond its part of what is in flight passes it on.
#[test]
fn hashed_work_beyond_the_bound_goes_to_the_next_in_order() {
    for balance in [Balance::Maglev, Balance::Source, Balance::Uri] {
        let lives = lives(4);
        let farm = |load_max| {
            table_with(&[1; 4], &lives, &[], 1, |farm| {
                farm.balance = balance;
                farm.hash.load_max = load_max;
            })
        };
        let (bounded, unbounded) = (farm(Some(125)), farm(None));
        let mut choosers = Choosers::new(WorkerIx(0), 1);
        let first = choosers.choose(&bounded, key(7), &Tried::none(), 0).unwrap();
        for _ in 0..100 {
            let position = choosers.choose(&bounded, key(7), &Tried::none(), 0).unwrap();
            choosers.started(&bounded, position);
        }
        let carried: Vec<_> = lives.iter().map(|live| live.in_flight_total()).collect();
        assert!(carried.iter().all(|n| *n <= 32), "{balance:?}: {carried:?} of 100, 125 % of a fourth");
        assert!((31..=32).contains(&carried[first]), "{balance:?}: its own server is used up first: {carried:?}");
        assert_eq!(choosers.choose(&unbounded, key(7), &Tried::none(), 0), Some(first), "{balance:?}");
        for live in &lives {
            (0..live.in_flight_total()).for_each(|_| live.in_flight.of(WorkerIx(0)).sub(1));
        }
        let mut fresh = Choosers::new(WorkerIx(0), 1);
        assert_eq!(fresh.choose(&bounded, key(7), &Tried::none(), 0), Some(first), "{balance:?}: back once it is idle");
    }
}

/// First choices, retries, counting and the ten-millisecond look at other workers, in every algorithm.
#[test]
fn choosing_among_a_thousand_allocates_nothing() {
    assert_eq!(allocation_counter::measure(|| drop(Box::new(1))).count_total, 1, "the counter counts");
    let weights: Vec<u16> = (1..=1000).collect();
    let lives = lives(1000);
    let mut tried = Tried::none();
    tried.add(3);
    for balance in BALANCES {
        let farm = table(balance, &weights, &lives, &[5], 1);
        let mut choosers = Choosers::new(WorkerIx(0), 1);
        let mut work = |n: u32| {
            for tried in [&Tried::none(), &tried] {
                let position = choosers.choose(&farm, key(n), tried, u64::from(n)).unwrap();
                choosers.started(&farm, position);
                choosers.ended(farm.farm.id, farm.servers[position].server.id, &farm.servers[position].live);
            }
        };
        work(0);
        let seen = allocation_counter::measure(|| (1..100).for_each(&mut work));
        assert_eq!(seen.count_total, 0, "{balance:?}");
    }
}

#[test]
fn choosing_within_a_bound_allocates_nothing() {
    for balance in [Balance::Maglev, Balance::Source] {
        let farm = table_with(&[1; 100], &lives(100), &[], 1, |farm| {
            farm.balance = balance;
            farm.hash.load_max = Some(120);
        });
        let mut choosers = Choosers::new(WorkerIx(0), 1);
        let mut work = |n: u32| {
            let position = choosers.choose(&farm, key(n), &Tried::none(), u64::from(n)).unwrap();
            choosers.started(&farm, position);
        };
        work(0);
        assert_eq!(allocation_counter::measure(|| (1..1000).for_each(&mut work)).count_total, 0, "{balance:?}");
    }
}

proptest! {
    /// Whatever is down and whatever was tried: only eligible untried servers are chosen, each in its time, then nobody.
    #[test]
    fn choices_name_every_eligible_server_once_and_no_other(
        weights in prop::collection::vec(prop_oneof![Just(0u16), 1..5u16, Just(u16::MAX)], 0..10),
        down in prop::collection::vec(0..10usize, 0..5),
        which in 0..BALANCES.len(),
        seed in any::<u64>(),
        n in any::<u32>(),
    ) {
        let farm = table(BALANCES[which], &weights, &lives(weights.len()), &down, 1);
        let mut choosers = Choosers::new(WorkerIx(0), seed);
        let mut tried = Tried::none();
        while let Some(position) = choosers.choose(&farm, key(n), &tried, 0) {
            prop_assert!(!tried.contains(position));
            prop_assert!(farm.rotation.effective_weight(position) > 0);
            choosers.started(&farm, position);
            tried.add(position);
        }
        prop_assert_eq!(tried.len(), farm.rotation.eligible.len());
    }

    /// Changes of rotation at any moment: after each, every period of turns is exact for who is left.
    #[test]
    fn round_robin_is_exact_between_any_changes(
        weights in prop::collection::vec(0..8u16, 1..8),
        changes in prop::collection::vec((prop::collection::vec(0..8usize, 0..6), 0..20u32), 1..6),
        seed in any::<u64>(),
    ) {
        let lives = lives(weights.len());
        let mut choosers = Choosers::new(WorkerIx(0), seed);
        for (version, (down, skipped)) in (1..).zip(changes) {
            let farm = table(Balance::RoundRobin, &weights, &lives, &down, version);
            if farm.rotation.eligible.is_empty() {
                continue;
            }
            counts(&mut choosers, &farm, skipped);
            let due: Vec<_> = (0..weights.len()).map(|i| u32::from(farm.rotation.effective_weight(i))).collect();
            prop_assert_eq!(counts(&mut choosers, &farm, due.iter().sum()), due);
        }
    }

    /// Random starts and ends on two workers through changes of rotation: the cells always hold what is open.
    #[test]
    fn in_flight_is_what_is_open_through_any_changes(
        steps in prop::collection::vec((0..4u8, 0..2usize, prop::collection::vec(0..4usize, 0..4)), 1..60),
    ) {
        let lives = lives(4);
        let make = |down: &[usize], version| Arc::new(table(Balance::LeastConn, &[1, 2, 3, 4], &lives, down, version));
        let mut now = make(&[], 1);
        let mut workers = [Choosers::new(WorkerIx(0), 7), Choosers::new(WorkerIx(1), 7)];
        let mut open: Vec<(usize, Arc<FarmTable>, usize)> = Vec::new();
        for (n, (act, worker, down)) in (2..).zip(steps) {
            match act {
                0 => now = make(&down, n),
                1 if !open.is_empty() => {
                    let (worker, table, position) = open.remove(down.len() % open.len());
                    let entry = &table.servers[position];
                    workers[worker].ended(table.farm.id, entry.server.id, &entry.live);
                }
                _ => {
                    let Some(position) = workers[worker].choose(&now, key(0), &Tried::none(), n * 10) else { continue };
                    let load = |i: usize| {
                        let carried = open.iter().filter(|(_, _, position)| *position == i).count() as u64 + 1;
                        (carried * 12) / u64::from(now.rotation.effective_weight(i))
                    };
                    let eligible = now.rotation.eligible.iter().map(|e| e.position as usize);
                    prop_assert_eq!(load(position), eligible.map(load).min().unwrap());
                    workers[worker].started(&now, position);
                    open.push((worker, Arc::clone(&now), position));
                }
            }
            for (i, live) in lives.iter().enumerate() {
                let carried = open.iter().filter(|(_, _, position)| *position == i).count() as u64;
                prop_assert_eq!(live.in_flight_total(), carried);
            }
        }
    }
}
