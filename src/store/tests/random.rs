//! Anything in any order, with a restart at any moment: promises that always hold.

use proptest::prelude::*;

use super::*;
use crate::model::{
    DrainRule, Ejection, FailOpen, FlapGuard, IncidentGuard, Leftovers, Observe, Override, Standing, Terms,
    TrafficFault,
};

const SERVERS: u16 = 4;

#[derive(Clone, Debug)]
enum Step {
    Check(u16, CheckStatus),
    Fault(u16, TrafficFault),
    InFlight(u16, u64),
    Order(u16, Wish, Option<u64>, Option<u64>),
    Pass(u64),
    Reload(Vec<u16>, u16),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = || 1..=SERVERS;
    let status = prop::sample::select(vec![
        CheckStatus::L7Ok,
        CheckStatus::L7Ok,
        CheckStatus::L7Okc,
        CheckStatus::L7Sts,
        CheckStatus::L4Tout,
        CheckStatus::SockErr,
    ]);
    let wish = prop::sample::select(vec![
        Wish::Admin(AdminStatus::Active),
        Wish::Admin(AdminStatus::Drain),
        Wish::Admin(AdminStatus::Maintenance),
        Wish::Weight(Weight(0)),
        Wish::Weight(Weight(3)),
    ]);
    let after = || prop::option::of(1..60u64);
    prop_oneof![
        12 => (n(), status).prop_map(|(n, status)| Step::Check(n, status)),
        2 => n().prop_map(|n| Step::Fault(n, TrafficFault::Connect)),
        2 => (n(), 0..3u64).prop_map(|(n, count)| Step::InFlight(n, count)),
        4 => (n(), wish, after(), after()).prop_map(|(n, wish, until, deadline)| Step::Order(n, wish, until, deadline)),
        5 => (0..20u64).prop_map(Step::Pass),
        2 => (prop::collection::btree_set(n(), 0..=4), 1..3u16)
            .prop_map(|(servers, weight)| Step::Reload(servers.into_iter().collect(), weight)),
        1 => Just(Step::Restart),
    ]
}

fn declared(servers: &[u16], weight: u16) -> Topology {
    let servers = servers.iter().map(|n| server("web", *n, weight)).collect();
    let seconds = Duration::from_secs;
    with_farm(&topology(servers, Some(probe())), |farm| {
        farm.observe = Some(Observe {
            errors: 1,
            connect: true,
            status: true,
            response: true,
            eject: seconds(10),
            eject_max: seconds(60),
            share_max: 50,
        });
        farm.slow_start = seconds(20);
        farm.flap = Some(FlapGuard { transitions: 4, within: seconds(60), hold: seconds(30) });
        farm.incident = Some(IncidentGuard { share: 50, hold: seconds(15) });
        farm.drain = DrainRule { deadline: Some(seconds(25)), at_deadline: Leftovers::Close };
        farm.fail_open = FailOpen::WhenAllDown;
    })
}

struct World {
    store: Store,
    ledger: Arc<Ledger>,
    declared: (Vec<u16>, u16),
    now: Timestamp,
}

/// What must be the same after a restart.
type Kept = (Health, Option<Timestamp>, Option<Ejection>, AdminStatus, u16, Vec<Override>, Timestamp);

impl World {
    fn new() -> Self {
        let ledger = Arc::new(Ledger::default());
        let declared_now: (Vec<u16>, u16) = ((1..=SERVERS).collect(), 1);
        let store = store_with(declared(&declared_now.0, declared_now.1), &ledger);
        Self { store, ledger, declared: declared_now, now: second(1) }
    }

    fn take(&mut self, step: Step) {
        let Self { store, now, .. } = self;
        now.0 += 1_000;
        match step {
            Step::Check(n, status) => store.observe_one(key(n), record(status, now.0)),
            Step::Fault(n, kind) => store.traffic_failed(key(n), 9, kind, *now),
            Step::InFlight(n, count) => {
                let table = store.load();
                let farm = &table.farms[0];
                let Some(position) = farm.position(key(n).server) else { return };
                let cell = farm.servers[position].live.in_flight.of(WorkerIx(0));
                cell.sub(cell.value());
                cell.add(count);
            }
            Step::Order(n, wish, until, deadline) => {
                let time = |after: Option<u64>| after.map(|after| *now + Duration::from_secs(after));
                let terms = Terms { until: time(until), deadline: time(deadline), at_deadline: None };
                let _ = store.change(&Change { terms, ..Change::plain(key(n), wish) }, Act { at: *now, ..act() });
            }
            Step::Pass(seconds) => {
                now.0 += seconds * 1_000_000;
                // As the keeper does it: until nothing is due.
                for _ in 0..200 {
                    store.tick(*now).unwrap();
                    if store.next_due().is_none_or(|due| due > *now) {
                        return;
                    }
                }
                panic!("the agenda does not come to rest");
            }
            Step::Reload(servers, weight) => {
                store.reload(declared(&servers, weight), &AnyHost, *now).unwrap();
                self.declared = (servers, weight);
            }
            Step::Restart => {
                let before = self.kept();
                let journal = Arc::clone(&self.ledger) as Arc<dyn Journal>;
                self.store = Store::new(service(), 2, journal, Vec::new()).unwrap();
                self.store.reload(declared(&self.declared.0, self.declared.1), &AnyHost, self.now).unwrap();
                assert_eq!(self.kept(), before, "a restart loses nothing");
            }
        }
    }

    fn kept(&self) -> Vec<Kept> {
        let snapshot = self.store.snapshot(Timestamp(self.now.0 + 10_000_000));
        let of = |row: &snapshot::ServerRow| {
            let Standing { health, held_until, ejected, .. } = row.standing.clone();
            let Server { admin, weight, .. } = &*row.server;
            let since = if health == Health::Unknown { Timestamp(0) } else { row.health_since };
            (health, held_until, ejected, *admin, weight.0, row.overrides.clone(), since)
        };
        snapshot.farms[0].servers.iter().map(of).collect()
    }

    fn hold(&self) -> Result<(), TestCaseError> {
        let table = self.store.load();
        let farm = &table.farms[0];
        for eligible in &farm.rotation.eligible {
            let entry = &farm.servers[eligible.position as usize];
            prop_assert!(entry.server.admin == AdminStatus::Active && entry.server.weight.0 > 0);
        }
        let is_willing = farm.servers.iter().any(|entry| entry.is_willing());
        prop_assert_eq!(is_willing, !farm.rotation.eligible.is_empty(), "the farm fails open");
        let state = self.store.lock();
        for (key, row) in state.rows.iter().collect::<BTreeMap<_, _>>() {
            let is_out = state.admin(*key) != Some(AdminStatus::Active);
            prop_assert_eq!(row.order.is_some(), is_out);
            prop_assert!(row.order.is_none() || row.worked_as.is_none_or(|health| health != Health::Down));
        }
        let events = self.ledger.events.lock().unwrap();
        prop_assert!(events.windows(2).all(|two| two[0].id + 1 == two[1].id), "ids without gaps");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn store_keeps_its_promises_whatever_happens(steps in prop::collection::vec(any_step(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.hold()?;
        }
    }
}
