//! The schedule under a simulated clock: every seed is fixed or printed by proptest.

use proptest::prelude::*;

use super::*;
use crate::model::{FarmId, ServerId};

fn key(n: u64) -> ServerKey {
    ServerKey { farm: FarmId(1), server: ServerId(n) }
}

fn target(n: u64, interval_ms: u64) -> Wanted {
    let addr = SocketAddr::from(([127, 0, 0, 1], 80));
    Wanted { key: key(n), epoch: Epoch(1), addr, kind: "tcp", interval: ms(interval_ms) }
}

fn targets(count: u64, interval_ms: u64) -> Vec<Wanted> {
    (0..count).map(|n| target(n, interval_ms)).collect()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn start_all(schedule: &mut Schedule, now: Duration) -> Vec<Ticket> {
    std::iter::from_fn(|| schedule.start(now)).collect()
}

/// A simulated prober: checks take what `lasts` says; records when each target's checks began.
struct Sim {
    schedule: Schedule,
    now: Duration,
    ending: BTreeMap<(Duration, Ticket), ()>,
    begun: BTreeMap<u64, Vec<Duration>>,
    under_way: BTreeSet<u64>,
    at_once_max: usize,
}

impl Sim {
    fn new(at_once: usize, entropy: u64) -> Self {
        Self {
            schedule: Schedule::new(at_once, entropy),
            now: Duration::ZERO,
            ending: BTreeMap::new(),
            begun: BTreeMap::new(),
            under_way: BTreeSet::new(),
            at_once_max: 0,
        }
    }

    fn run(&mut self, until: Duration, mut lasts: impl FnMut(u64) -> Duration) {
        loop {
            for ticket in start_all(&mut self.schedule, self.now) {
                let n = ticket.key.server.0;
                assert!(self.under_way.insert(n), "target {n} has two checks at once");
                self.begun.entry(n).or_default().push(self.now);
                self.ending.insert((self.now + lasts(n), ticket), ());
            }
            assert_eq!(self.schedule.under_way(), self.ending.len());
            self.at_once_max = self.at_once_max.max(self.ending.len());
            let end = self.ending.keys().next().map(|(at, _)| *at);
            let next = [end, self.schedule.next_due()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = next.max(self.now);
            while let Some(((at, ticket), ())) = self.ending.pop_first() {
                if at > self.now {
                    self.ending.insert((at, ticket), ());
                    break;
                }
                self.under_way.remove(&ticket.key.server.0);
                self.schedule.finish(ticket, self.now);
            }
        }
        self.now = until;
    }
}

#[test]
fn first_round_goes_out_in_order_as_fast_as_the_bound_allows() {
    let mut schedule = Schedule::new(3, 7);
    schedule.set(&targets(5, 1000), Duration::ZERO);
    let first = start_all(&mut schedule, Duration::ZERO);
    assert_eq!(first.iter().map(|t| t.key).collect::<Vec<_>>(), [key(0), key(1), key(2)]);
    assert_eq!(schedule.next_due(), None, "full: only a finished check lets another begin");
    assert!(schedule.finish(first[1], ms(1)));
    assert_eq!(start_all(&mut schedule, ms(1))[0].key, key(3));
    assert!(schedule.finish(first[0], ms(2)));
    assert_eq!(start_all(&mut schedule, ms(2))[0].key, key(4));
}

#[test]
fn second_round_is_spread_over_the_interval() {
    let mut sim = Sim::new(1000, 3);
    sim.schedule.set(&targets(100, 1000), Duration::ZERO);
    sim.run(ms(1000), |_| ms(1));
    for tenth in 0..10 {
        let (from, to) = (ms(tenth * 100), ms(tenth * 100 + 100));
        let begun = sim.begun.values().filter(|at| at.len() > 1 && at[1] > from && at[1] <= to).count();
        assert!((8..=12).contains(&begun), "{begun} of 100 in tenth {tenth}");
    }
}

#[test]
fn target_that_left_is_checked_no_more_and_its_result_does_not_count() {
    let mut schedule = Schedule::new(10, 0);
    schedule.set(&targets(2, 100), Duration::ZERO);
    let tickets = start_all(&mut schedule, Duration::ZERO);
    assert_eq!(schedule.set(&[target(1, 100)], ms(1)), [tickets[0]]);
    assert!(!schedule.finish(tickets[0], ms(2)));
    assert!(schedule.finish(tickets[1], ms(2)));
    assert!(!schedule.finish(tickets[1], ms(2)), "a ticket counts once");
    schedule.set(&[], ms(3));
    assert_eq!((schedule.next_due(), schedule.start(ms(10_000)), schedule.under_way()), (None, None, 0));
}

#[test]
fn unchanged_target_keeps_its_place_and_a_new_one_is_due_at_once() {
    let mut schedule = Schedule::new(10, 0);
    schedule.set(&[target(1, 1000)], Duration::ZERO);
    let ticket = schedule.start(Duration::ZERO).unwrap();
    schedule.finish(ticket, ms(1));
    let due = schedule.next_due().unwrap();
    schedule.set(&[target(2, 1000), target(1, 1000)], ms(2));
    assert_eq!(start_all(&mut schedule, ms(2)).iter().map(|t| t.key).collect::<Vec<_>>(), [key(2)]);
    assert_eq!(schedule.next_due(), Some(due));
}

#[test]
fn changed_address_or_kind_starts_afresh_and_never_overlaps() {
    for change in [|t: &mut Wanted| t.addr.set_port(81), |t: &mut Wanted| t.kind = "http"] {
        let mut schedule = Schedule::new(10, 0);
        schedule.set(&[target(1, 1000)], Duration::ZERO);
        let old = schedule.start(Duration::ZERO).unwrap();
        let mut changed = target(1, 1000);
        change(&mut changed);
        assert_eq!(schedule.set(&[changed], ms(1)), [old]);
        assert_eq!(schedule.start(ms(2)), None, "the old check is still under way");
        assert!(!schedule.finish(old, ms(3)));
        let new = schedule.start(ms(3)).unwrap();
        assert!(schedule.finish(new, ms(4)));
        change(&mut changed);
        let later = schedule.next_due().unwrap();
        assert!(later > ms(4));
        changed.addr.set_port(82);
        schedule.set(&[changed], ms(5));
        assert_eq!(schedule.next_due(), Some(ms(5)));
    }
}

#[test]
fn target_removed_and_added_again_during_its_check_waits_for_the_end() {
    let mut schedule = Schedule::new(10, 0);
    schedule.set(&[target(1, 1000)], Duration::ZERO);
    let old = schedule.start(Duration::ZERO).unwrap();
    schedule.set(&[], ms(1));
    assert!(schedule.set(&[target(1, 1000)], ms(2)).is_empty());
    assert_eq!(schedule.start(ms(2)), None);
    assert!(!schedule.finish(old, ms(3)));
    assert_eq!(schedule.start(ms(3)).map(|t| t.key), Some(key(1)));
}

#[test]
fn shorter_interval_takes_effect_within_itself() {
    let mut schedule = Schedule::new(10, 0);
    schedule.set(&[target(1, 60_000)], Duration::ZERO);
    for _ in 0..2 {
        let now = schedule.next_due().unwrap();
        let ticket = schedule.start(now).unwrap();
        schedule.finish(ticket, now);
    }
    let now = schedule.next_due().unwrap() - ms(50_000);
    schedule.set(&[target(1, 2000)], now);
    assert_eq!(schedule.next_due(), Some(now + ms(2000)));
}

#[test]
fn late_check_is_not_repeated_to_catch_up() {
    let mut schedule = Schedule::new(10, 0);
    schedule.set(&[target(1, 100)], Duration::ZERO);
    let ticket = schedule.start(Duration::ZERO).unwrap();
    assert!(schedule.finish(ticket, ms(10_000)));
    let ticket = schedule.start(ms(10_000)).unwrap();
    schedule.finish(ticket, ms(10_001));
    let next = schedule.next_due().unwrap();
    assert!(next >= ms(10_090) && next <= ms(10_100), "{next:?}");
}

#[test]
fn small_delays_do_not_add_up() {
    let mut sim = Sim::new(1, 11);
    sim.schedule.set(&targets(1, 100), Duration::ZERO);
    sim.run(ms(100_000), |_| ms(95));
    let checks = sim.begun[&0].len();
    // The jitter shortens an interval by a twentieth on average; the check leaves it no room for more.
    assert!((1020..=1055).contains(&checks), "{checks} checks in 1000 intervals");
}

#[test]
fn ten_thousand_targets_are_all_checked_within_the_interval() {
    let mut sim = Sim::new(256, 5);
    sim.schedule.set(&targets(10_000, 2000), Duration::ZERO);
    sim.run(ms(10_000), |n| ms(1 + n % 20));
    for (n, begun) in &sim.begun {
        let gap = begun.windows(2).map(|w| w[1] - w[0]).max().unwrap();
        assert!(gap <= ms(2000 + 800), "target {n} waited {gap:?}");
        assert!(begun.len() >= 5, "target {n}: {begun:?}");
    }
    assert_eq!(sim.begun.len(), 10_000);
    assert_eq!(sim.at_once_max, 256);
}

#[test]
fn lists_that_change_without_end_do_not_grow_the_heap() {
    let mut schedule = Schedule::new(1, 0);
    for turn in 0..10_000u64 {
        let mut list = targets(10, 1000);
        list.iter_mut().for_each(|t| t.addr.set_port(u16::try_from(turn + 1).unwrap()));
        schedule.set(&list, ms(turn));
    }
    assert!(schedule.waiting.len() <= 2 * 10 + OUTDATED_ENTRIES_KEPT + 10);
    assert_eq!(schedule.start(ms(20_000)).map(|t| t.key), Some(key(0)));
}

proptest! {
    /// With room for all, no target waits longer than its interval, whatever the checks take; the jitter only shortens.
    #[test]
    fn every_target_is_checked_within_interval_and_jitter(
        entropy in any::<u64>(),
        intervals in prop::collection::vec(10..3000u64, 1..40),
        percent in 0..80u64,
    ) {
        let mut sim = Sim::new(64, entropy);
        let list: Vec<_> = (0..).zip(&intervals).map(|(n, interval)| target(n, *interval)).collect();
        sim.schedule.set(&list, Duration::ZERO);
        sim.run(ms(10_000), |n| ms(intervals[usize::try_from(n).unwrap()] * percent / 100));
        for (begun, interval) in sim.begun.values().zip(&intervals) {
            prop_assert_eq!(begun[0], Duration::ZERO);
            let bound = ms(*interval);
            for (i, gap) in begun.windows(2).map(|w| w[1] - w[0]).enumerate() {
                // The second and the third check may come late: the first one is spread over the interval and its
                // check may outlast the wait.
                prop_assert!(gap <= bound, "gap {} of {:?} after an interval of {} ms", i, gap, interval);
                let least = if i > 1 { ms(interval * percent / 100).min(ms(*interval).mul_f64(0.1)) } else { Duration::ZERO };
                prop_assert!(gap >= least);
            }
            prop_assert!(*begun.last().unwrap() + bound >= ms(10_000));
        }
    }

    /// With far too little room nobody starves: whatever its place, a target waits for at most two rounds of all.
    #[test]
    fn overload_starves_nobody(entropy in any::<u64>(), at_once in 1..5usize, count in 5..60u64, lasts in 50..200u64) {
        let mut sim = Sim::new(at_once, entropy);
        sim.schedule.set(&targets(count, 100), Duration::ZERO);
        sim.run(ms(60_000), |_| ms(lasts));
        prop_assert!(sim.at_once_max <= at_once);
        prop_assert_eq!(sim.begun.len() as u64, count);
        let round = ms(lasts * (count.div_ceil(at_once as u64)));
        for (n, begun) in &sim.begun {
            let gap = begun.windows(2).map(|w| w[1] - w[0]).max().unwrap();
            prop_assert!(gap <= 2 * round + ms(100), "target {} waited {:?}, a round is {:?}", n, gap, round);
        }
        let counts: Vec<usize> = sim.begun.values().map(Vec::len).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(*most <= 2 * least + 6, "{:?}", counts);
    }

    /// Any sequence of list changes, starts and ends keeps the bound and never overlaps.
    #[test]
    fn bound_holds_whatever_changes(entropy in any::<u64>(), acts in prop::collection::vec((0..4u8, 0..8u64), 1..200)) {
        let mut schedule = Schedule::new(3, entropy);
        let mut under_way: Vec<Ticket> = Vec::new();
        let mut list: Vec<Wanted> = Vec::new();
        let mut now = Duration::ZERO;
        for (act, n) in acts {
            now += ms(17);
            match act {
                0 => list.push(target(n, 50)),
                1 => list.retain(|t| t.key != key(n)),
                2 => list.iter_mut().filter(|t| t.key == key(n)).for_each(|t| t.addr.set_port(t.addr.port() + 1)),
                _ if under_way.is_empty() => {}
                _ => {
                    let ticket = under_way.remove(usize::try_from(n).unwrap() % under_way.len());
                    schedule.finish(ticket, now);
                }
            }
            schedule.set(&list, now);
            for ticket in start_all(&mut schedule, now) {
                prop_assert!(under_way.iter().all(|t| t.key != ticket.key), "two checks of {:?}", ticket.key);
                prop_assert!(list.iter().any(|t| t.key == ticket.key));
                under_way.push(ticket);
            }
            prop_assert_eq!(schedule.under_way(), under_way.len());
            prop_assert!(under_way.len() <= 3);
        }
    }
}
