//! A disk, or a file, that takes long: orders and topologies wait for it, checks, readers and the clock do not.

use std::sync::Condvar;
use std::thread;

use super::*;
use crate::model::{Override, Terms};

const MAINTENANCE: Wish = Wish::Admin(AdminStatus::Maintenance);
const DRAIN: Wish = Wish::Admin(AdminStatus::Drain);
/// After it a test has failed, and goes on so that it ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// What holds up whoever comes while it is shut.
#[derive(Default)]
struct Gate {
    /// Whether it is shut, and how many wait.
    is: Mutex<(bool, usize)>,
    told: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        self.is.lock().unwrap().0 = is_shut;
        self.told.notify_all();
    }

    fn pass(&self) {
        let mut is = self.is.lock().unwrap();
        is.1 += 1;
        self.told.notify_all();
        let (mut is, _) = self.told.wait_timeout_while(is, PATIENCE, |is| is.0).unwrap();
        is.1 -= 1;
    }

    #[track_caller]
    fn has_come(&self) {
        let is = self.is.lock().unwrap();
        let (is, late) = self.told.wait_timeout_while(is, PATIENCE, |is| is.1 == 0).unwrap();
        assert!(!late.timed_out(), "nobody came: {}", is.1);
    }

    #[track_caller]
    fn is_still_held(&self, after: &str) {
        assert_eq!(self.is.lock().unwrap().1, 1, "{after} waited");
    }
}

/// A journal on a disk behind a gate.
#[derive(Default)]
struct Disk {
    ledger: Ledger,
    gate: Gate,
}

impl Journal for Disk {
    fn healths(&self) -> Result<Vec<SavedHealth>, JournalError> {
        self.ledger.healths()
    }

    fn last_event_id(&self) -> Result<u64, JournalError> {
        self.ledger.last_event_id()
    }

    fn note(&self, entry: Entry) {
        self.ledger.note(entry);
    }

    fn overrides(&self) -> Result<Vec<SavedOverride>, JournalError> {
        self.ledger.overrides()
    }

    fn put_override(&self, saved: &SavedOverride) -> Result<(), JournalError> {
        self.gate.pass();
        self.ledger.put_override(saved)
    }

    fn drop_overrides(&self, fields: &[(ServerKey, Field)]) -> Result<(), JournalError> {
        self.gate.pass();
        self.ledger.drop_overrides(fields)
    }
}

/// Frontends whose files are on it.
struct SlowHost<'g>(&'g Gate);

impl ListenerHost for SlowHost<'_> {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        self.0.pass();
        Ok(Box::new(Bound))
    }
}

fn three() -> Topology {
    topology((1..=3).map(|n| server("web", n, 1)).collect(), Some(probe()))
}

fn setup() -> (Store, Arc<Disk>) {
    let disk = Arc::new(Disk::default());
    let store = Store::new(service(), 2, Arc::clone(&disk) as Arc<dyn Journal>, Vec::new()).unwrap();
    store.reload(three(), &AnyHost, Timestamp(1)).unwrap();
    (store, disk)
}

fn order(store: &Store, n: u16, wish: Wish, until: Option<Timestamp>) {
    let change = Change { terms: Terms { until, ..Terms::default() }, ..Change::plain(key(n), wish) };
    store.change(&change, Act { at: second(1), ..act() }).unwrap();
}

fn admin(store: &Store, n: usize) -> AdminStatus {
    store.load().farms[0].servers[n - 1].server.admin
}

fn kept(disk: &Disk) -> Vec<(ServerKey, Wish)> {
    let of = |it: &SavedOverride| {
        let Override { wish, .. } = it.made;
        (it.server, wish)
    };
    disk.ledger.kept.lock().unwrap().iter().map(of).collect()
}

/// Everything that is not to wait: each is done, and the gate still holds whoever came to it.
#[track_caller]
fn goes_on(store: &Store, gate: &Gate) {
    gate.has_come();
    for at in [2, 3] {
        store.observe_one(key(3), record(CheckStatus::L4Con, at * 1_000_000));
    }
    gate.is_still_held("a check");
    assert_eq!(store.snapshot(second(3)).farms[0].servers[2].standing.health, Health::Down);
    store.declared();
    gate.is_still_held("a reader");
    store.tick(second(4)).unwrap();
    store.next_due();
    gate.is_still_held("the clock");
}

#[test]
fn order_waits_for_the_disk_and_checks_do_not() {
    let (store, disk) = setup();
    disk.gate.set(true);
    thread::scope(|scope| {
        let ordered = scope.spawn(|| order(&store, 1, MAINTENANCE, None));
        goes_on(&store, &disk.gate);
        assert_eq!(admin(&store, 1), AdminStatus::Active, "it is kept before it is live");
        disk.gate.set(false);
        ordered.join().unwrap();
    });
    assert_eq!((admin(&store, 1), kept(&disk)), (AdminStatus::Maintenance, vec![(key(1), MAINTENANCE)]));
}

#[test]
fn reload_waits_for_files_and_the_disk_and_checks_do_not() {
    for is_slow_to_prepare in [true, false] {
        let (store, disk) = setup();
        let (files, gate) = (Gate::default(), &disk.gate);
        files.set(is_slow_to_prepare);
        gate.set(!is_slow_to_prepare);
        let held = if is_slow_to_prepare { &files } else { gate };
        thread::scope(|scope| {
            let two = topology((2..=3).map(|n| server("web", n, 1)).collect(), Some(probe()));
            let reloaded = scope.spawn(|| store.reload(two, &SlowHost(&files), second(1)));
            goes_on(&store, held);
            assert_eq!(store.load().farms[0].servers.len(), 3);
            held.set(false);
            reloaded.join().unwrap().unwrap();
        });
        assert_eq!(store.load().farms[0].servers.len(), 2);
        // What was concluded meanwhile holds.
        assert_eq!(store.snapshot(second(5)).farms[0].servers[1].standing.health, Health::Down);
    }
}

#[test]
fn order_that_ends_while_another_is_being_kept_ends_a_moment_later() {
    let (store, disk) = setup();
    order(&store, 2, MAINTENANCE, Some(second(10)));
    disk.gate.set(true);
    thread::scope(|scope| {
        let ordered = scope.spawn(|| order(&store, 1, MAINTENANCE, None));
        disk.gate.has_come();
        store.tick(second(10)).unwrap();
        disk.gate.is_still_held("the clock");
        assert_eq!(admin(&store, 2), AdminStatus::Maintenance);
        let next = store.next_due().unwrap();
        assert!(next > second(10) && next <= second(11), "{next}");
        disk.gate.set(false);
        ordered.join().unwrap();
    });
    store.tick(second(11)).unwrap();
    assert_eq!((admin(&store, 1), admin(&store, 2)), (AdminStatus::Maintenance, AdminStatus::Active));
    assert_eq!(kept(&disk), [(key(1), MAINTENANCE)]);
}

#[test]
fn order_in_the_place_of_one_that_ends_meanwhile_stays_and_is_kept() {
    let (store, disk) = setup();
    order(&store, 1, MAINTENANCE, Some(second(10)));
    disk.gate.set(true);
    thread::scope(|scope| {
        let ordered = scope.spawn(|| order(&store, 1, DRAIN, None));
        disk.gate.has_come();
        store.tick(second(10)).unwrap();
        disk.gate.set(false);
        ordered.join().unwrap();
    });
    store.tick(second(11)).unwrap();
    assert_eq!((admin(&store, 1), kept(&disk)), (AdminStatus::Drain, vec![(key(1), DRAIN)]));
}
