//! The schedule under a simulated clock: every seed is fixed or printed by proptest.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

use RunEnd::{Hung, Prompt};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A schedule of checks 0, 1, … that are all due at once.
fn schedule_of(at_once: usize, entropy: u64, count: u64, interval_ms: u64) -> Schedule<()> {
    let mut schedule = Schedule::new(at_once, entropy);
    (0..count).for_each(|n| schedule.add(CheckId(n), (), ms(interval_ms), Duration::ZERO));
    schedule
}

fn start_all(schedule: &mut Schedule<()>, now: Duration) -> Vec<Ticket> {
    std::iter::from_fn(|| schedule.start(now)).collect()
}

fn ids(tickets: &[Ticket]) -> Vec<u64> {
    tickets.iter().map(|ticket| ticket.check.0).collect()
}

/// Runs the only check once, as soon as it is due, for so long; returns when it began.
fn run_once(schedule: &mut Schedule<()>, lasts: Duration) -> Duration {
    let began = schedule.next_due().unwrap();
    let ticket = schedule.start(began).unwrap();
    assert!(schedule.finish(ticket, began + lasts, Prompt));
    began
}

/// A simulated prober: runs take what `lasts` says; records when each check's runs began.
struct Sim {
    schedule: Schedule<()>,
    now: Duration,
    ending: BTreeMap<(Duration, Ticket), ()>,
    begun: BTreeMap<u64, Vec<Duration>>,
    under_way: BTreeSet<u64>,
    at_once_max: usize,
    /// Runs of at least this length hang.
    hangs_from: Duration,
}

impl Sim {
    fn new(schedule: Schedule<()>) -> Self {
        Self {
            schedule,
            now: Duration::ZERO,
            ending: BTreeMap::new(),
            begun: BTreeMap::new(),
            under_way: BTreeSet::new(),
            at_once_max: 0,
            hangs_from: Duration::MAX,
        }
    }

    fn run(&mut self, until: Duration, mut lasts: impl FnMut(u64) -> Duration) {
        loop {
            for ticket in start_all(&mut self.schedule, self.now) {
                let n = ticket.check.0;
                assert!(self.under_way.insert(n), "check {n} has two runs at once");
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
                self.under_way.remove(&ticket.check.0);
                let end = if lasts(ticket.check.0) >= self.hangs_from { Hung } else { Prompt };
                self.schedule.finish(ticket, self.now, end);
            }
        }
        self.now = until;
    }

    fn longest_gap(&self, n: u64) -> Duration {
        self.begun[&n].windows(2).map(|w| w[1] - w[0]).max().unwrap()
    }
}

#[test]
fn first_round_goes_out_in_order_as_fast_as_the_bound_allows() {
    let mut schedule = schedule_of(3, 7, 5, 1000);
    let first = start_all(&mut schedule, Duration::ZERO);
    assert_eq!(ids(&first), [0, 1, 2]);
    assert_eq!(schedule.next_due(), None, "full: only a finished run lets another begin");
    assert!(schedule.finish(first[1], ms(1), Prompt));
    assert_eq!(ids(&start_all(&mut schedule, ms(1))), [3]);
    assert!(schedule.finish(first[0], ms(2), Prompt));
    assert_eq!(ids(&start_all(&mut schedule, ms(2))), [4]);
}

#[test]
fn second_round_is_spread_over_the_interval() {
    let mut sim = Sim::new(schedule_of(1000, 3, 100, 1000));
    sim.run(ms(1000), |_| ms(1));
    for tenth in 0..10 {
        let (from, to) = (ms(tenth * 100), ms(tenth * 100 + 100));
        let begun = sim.begun.values().filter(|at| at.len() > 1 && at[1] >= from && at[1] < to).count();
        assert!((8..=12).contains(&begun), "{begun} of 100 in tenth {tenth}");
    }
}

#[test]
fn check_that_was_removed_runs_no_more_and_its_result_does_not_count() {
    let mut schedule = schedule_of(10, 0, 3, 100);
    let tickets = start_all(&mut schedule, Duration::ZERO);
    assert_eq!(schedule.remove(CheckId(0)), Some(tickets[0]));
    assert_eq!(schedule.remove(CheckId(0)), None, "told once");
    assert_eq!(schedule.under_way(), 3, "it holds its place until its run is handed back");
    assert!(!schedule.finish(tickets[0], ms(2), Prompt));
    assert!(schedule.finish(tickets[1], ms(2), Prompt));
    assert!(!schedule.finish(tickets[1], ms(2), Prompt), "a ticket counts once");
    assert_eq!(schedule.remove(CheckId(1)), None, "nothing of it is under way");
    assert!(schedule.finish(tickets[2], ms(2), Prompt));
    schedule.remove(CheckId(2));
    assert_eq!((schedule.next_due(), schedule.start(ms(10_000)), schedule.under_way()), (None, None, 0));
}

#[test]
fn check_added_later_is_due_when_it_says_and_others_keep_their_place() {
    let mut schedule = schedule_of(10, 0, 1, 1000);
    run_once(&mut schedule, ms(1));
    let due = schedule.next_due().unwrap();
    schedule.add(CheckId(7), (), ms(1000), ms(2));
    schedule.add(CheckId(8), (), ms(1000), ms(100_000));
    schedule.add(CheckId(0), (), ms(5), Duration::ZERO);
    assert_eq!(ids(&start_all(&mut schedule, ms(2))), [7]);
    assert_eq!((schedule.next_due(), schedule.due_of(CheckId(0))), (Some(due), Some(due)));
    assert_eq!((schedule.due_of(CheckId(8)), schedule.due_of(CheckId(7))), (Some(ms(100_000)), None));
}

#[test]
fn hastened_check_is_due_by_then_and_waits_for_the_run_under_way() {
    let mut schedule = schedule_of(10, 0, 1, 60_000);
    let ticket = schedule.start(Duration::ZERO).unwrap();
    schedule.hasten(CheckId(0), ms(5));
    assert_eq!(schedule.start(ms(5)), None, "never twice at once");
    assert!(schedule.finish(ticket, ms(30), Prompt));
    assert_eq!(run_once(&mut schedule, ms(1)), ms(30));
    let due = schedule.next_due().unwrap();
    assert!(due > ms(50_000), "once is enough: {due:?}");
    schedule.hasten(CheckId(0), due + ms(1));
    assert_eq!(schedule.next_due(), Some(due), "it only comes sooner");
    schedule.hasten(CheckId(0), ms(40));
    schedule.pace(CheckId(0), ms(120_000));
    assert_eq!(schedule.next_due(), Some(ms(40)), "a new pace undoes no haste");
}

#[test]
fn late_run_is_not_repeated_to_catch_up() {
    let mut schedule = schedule_of(10, 0, 1, 100);
    assert_eq!(run_once(&mut schedule, ms(10_000)), Duration::ZERO);
    assert_eq!(run_once(&mut schedule, ms(1)), ms(10_000));
    let next = schedule.next_due().unwrap();
    assert!(next >= ms(10_098) && next <= ms(10_100), "{next:?}");
}

#[test]
fn small_delays_do_not_add_up() {
    let mut sim = Sim::new(schedule_of(1, 11, 1, 100));
    sim.run(ms(100_000), |_| ms(95));
    let checks = sim.begun[&0].len();
    // The jitter shortens an interval by a hundredth on average; the check leaves it no room for more.
    assert!((1001..=1020).contains(&checks), "{checks} checks in 1000 intervals");
}

/// HAProxy's `inter 10s fastinter 1s downinter 5s` with `fall 3 rise 2`: a server that fails at once and stays down.
#[test]
fn pace_of_haproxy_is_fast_while_changing_and_slow_while_down() {
    let mut schedule = schedule_of(1, 5, 1, 10_000);
    run_once(&mut schedule, ms(1));
    let mut begun = Vec::new();
    for after in [1000, 1000, 5000, 5000, 1000, 10_000] {
        begun.push(run_once(&mut schedule, ms(20)));
        schedule.pace(CheckId(0), ms(after));
    }
    begun.push(run_once(&mut schedule, ms(20)));
    for (gap, interval) in begun.windows(2).map(|w| w[1] - w[0]).zip([1000, 1000, 5000, 5000, 1000, 10_000]) {
        assert!(gap <= ms(interval) && gap >= ms(interval).mul_f64(1.0 - JITTER), "{gap:?} at {interval} ms");
    }
}

/// Keepalived's `delay_loop 60`, `retry 3`, `delay_before_retry 3`: four failures, three seconds apart.
#[test]
fn pace_of_keepalived_retries_from_the_start_of_the_failed_check() {
    let mut schedule = schedule_of(1, 9, 1, 60_000);
    run_once(&mut schedule, ms(1));
    let first = run_once(&mut schedule, ms(2900));
    schedule.pace(CheckId(0), ms(3000));
    let mut last = first;
    for _ in 0..3 {
        let next = run_once(&mut schedule, ms(2900));
        assert!(next - last <= ms(3000) && next - last >= ms(2900), "{:?}", next - last);
        last = next;
    }
    assert!(last - first <= ms(9000), "the fourth failure is known no later: {:?}", last - first);
    schedule.pace(CheckId(0), ms(60_000));
    let gap = schedule.next_due().unwrap() - last;
    assert!(gap >= ms(54_000) && gap <= ms(60_000), "{gap:?}");
}

#[test]
fn new_pace_takes_effect_at_once_but_never_before_the_last_run_ended() {
    let mut schedule = schedule_of(1, 0, 1, 60_000);
    schedule.pace(CheckId(0), ms(50_000));
    assert_eq!(schedule.next_due(), Some(Duration::ZERO), "the first run waits for no pace");
    run_once(&mut schedule, ms(1));
    let began = run_once(&mut schedule, ms(800));
    schedule.pace(CheckId(0), ms(500));
    assert_eq!(schedule.next_due(), Some(began + ms(800)), "due since 500 ms, and the run ended after 800");
    let ticket = schedule.start(began + ms(800)).unwrap();
    schedule.pace(CheckId(0), ms(7000));
    schedule.finish(ticket, began + ms(801), Prompt);
    let gap = schedule.next_due().unwrap() - (began + ms(800));
    assert!(gap > ms(6000) && gap <= ms(7000), "{gap:?}");
    schedule.pace(CheckId(99), ms(1));
}

#[test]
fn runs_are_due_together_and_never_later_or_much_sooner_for_that() {
    let tick = Duration::from_nanos(TICK_NANOS);
    let mut sim = Sim::new(schedule_of(1000, 3, 500, 1000));
    sim.run(ms(60_000), |_| ms(1));
    let starts: BTreeSet<Duration> = sim.begun.values().flatten().copied().collect();
    let of_ticks = starts.iter().filter(|at| at.as_nanos() % tick.as_nanos() == 0).count();
    assert!(of_ticks * 2 > starts.len() && starts.len() < 5000, "{of_ticks} of {} starts", starts.len());
    for begun in sim.begun.values() {
        for gap in begun.windows(2).skip(1).map(|w| w[1] - w[0]) {
            assert!(gap <= ms(1000) && gap >= ms(900), "{gap:?}");
        }
    }
    // An interval that has no room for a tick keeps its own times.
    let mut sim = Sim::new(schedule_of(1, 3, 1, 50));
    sim.run(ms(5000), |_| ms(1));
    assert!(sim.begun[&0].windows(2).skip(1).all(|w| w[1] - w[0] >= ms(45)));
}

#[test]
fn ten_thousand_checks_are_all_run_within_the_interval() {
    let mut sim = Sim::new(schedule_of(256, 5, 10_000, 2000));
    sim.run(ms(10_000), |n| ms(1 + n % 20));
    for (n, begun) in &sim.begun {
        let gap = sim.longest_gap(*n);
        assert!(gap <= ms(2000 + 800), "check {n} waited {gap:?}");
        assert!(begun.len() >= 5, "check {n}: {begun:?}");
    }
    assert_eq!(sim.begun.len(), 10_000);
    assert_eq!(sim.at_once_max, 256);
}

/// 400 of 500 servers hang for 900 ms of every second, which is 360 places of 64: the others are on time all the same.
#[test]
fn hanging_checks_leave_the_others_room() {
    let mut sim = Sim::new(schedule_of(64, 5, 500, 1000));
    sim.hangs_from = ms(900);
    let lasts = |n: u64| if n < 400 { ms(900) } else { ms(5) };
    // The first round knows nothing yet: everybody waits for the hanging ones.
    sim.run(ms(8000), lasts);
    sim.begun.values_mut().for_each(Vec::clear);
    sim.run(ms(60_000), lasts);
    for n in 400..500 {
        let gap = sim.longest_gap(n);
        assert!(gap <= ms(1000), "check {n} waited {gap:?}");
    }
    for n in 0..400 {
        let gap = sim.longest_gap(n);
        assert!(gap <= ms(2 * 900 * 400 / 32), "hanging check {n} starved: {gap:?}");
    }
}

#[test]
fn check_that_hangs_no_more_is_prompt_again() {
    let mut schedule = schedule_of(4, 0, 4, 10);
    for ticket in start_all(&mut schedule, Duration::ZERO) {
        schedule.finish(ticket, ms(100), Hung);
    }
    let hanging = start_all(&mut schedule, ms(100));
    assert_eq!(hanging.len(), 2, "half of the room");
    assert_eq!(schedule.next_due(), None);
    for ticket in hanging {
        assert!(schedule.finish(ticket, ms(101), Prompt));
    }
    assert_eq!(start_all(&mut schedule, ms(200)).len(), 4);
    assert_eq!(schedule.under_way(), 4);
}

#[test]
fn changes_without_end_do_not_grow_the_lanes() {
    let mut schedule = schedule_of(1, 0, 10, 1000);
    for turn in 0..10_000u64 {
        let n = turn % 10;
        schedule.remove(CheckId(turn));
        schedule.add(CheckId(turn + 10), (), ms(1000), ms(turn));
        schedule.hasten(CheckId(turn + 1 + n), ms(turn / 2));
    }
    assert!(schedule.prompt.entries <= 2 * 10 + OUTDATED_ENTRIES_KEPT + 10);
    let entries: usize = schedule.prompt.waiting.values().map(VecDeque::len).sum();
    assert_eq!(schedule.prompt.entries, entries);
    assert!(schedule.start(ms(20_000)).is_some());
}

proptest! {
    /// With room for all, no check waits longer than its interval, whatever the runs take; the jitter only shortens.
    #[test]
    fn every_check_is_run_within_interval_and_jitter(
        entropy in any::<u64>(),
        intervals in prop::collection::vec(10..3000u64, 1..40),
        percent in 0..80u64,
    ) {
        let mut schedule = Schedule::new(64, entropy);
        (0..).zip(&intervals).for_each(|(n, interval)| schedule.add(CheckId(n), (), ms(*interval), Duration::ZERO));
        let mut sim = Sim::new(schedule);
        sim.run(ms(10_000), |n| ms(intervals[usize::try_from(n).unwrap()] * percent / 100));
        for (begun, interval) in sim.begun.values().zip(&intervals) {
            prop_assert_eq!(begun[0], Duration::ZERO);
            let bound = ms(*interval);
            for (i, gap) in begun.windows(2).map(|w| w[1] - w[0]).enumerate() {
                // The second and the third run may come late: the first one is spread over the interval and its run
                // may outlast the wait.
                prop_assert!(gap <= bound, "gap {} of {:?} after an interval of {} ms", i, gap, interval);
                let least = if i > 1 { ms(interval * percent / 100).min(ms(*interval).mul_f64(0.1)) } else { Duration::ZERO };
                prop_assert!(gap >= least);
            }
            prop_assert!(*begun.last().unwrap() + bound >= ms(10_000));
        }
    }

    /// Whatever paces come when, a run comes no later than the interval of then after the last was due or had ended,
    /// and no sooner than that interval less the jitter.
    #[test]
    fn next_run_follows_the_pace_of_the_last_result(
        entropy in any::<u64>(),
        turns in prop::collection::vec((10..5000u64, 0..120u64), 2..60),
    ) {
        let mut schedule = schedule_of(1, entropy, 1, 1000);
        run_once(&mut schedule, ms(1));
        let mut began = run_once(&mut schedule, Duration::ZERO);
        let mut due = began;
        for (interval, percent) in turns {
            schedule.pace(CheckId(0), ms(interval));
            let lasts = ms(interval * percent / 100);
            let next = schedule.next_due().unwrap();
            let ended = began;
            prop_assert!(next <= (due + ms(interval)).max(ended), "{:?} after {:?}", next, due);
            prop_assert!(next >= due + ms(interval).mul_f64(0.9 * (1.0 - JITTER)) || next == ended);
            due = next;
            began = run_once(&mut schedule, lasts) + lasts;
        }
    }

    /// With far too little room nobody starves: whatever its place, a check waits for at most two rounds of all, or
    /// four where it hangs, since only half of the room is for those.
    #[test]
    fn overload_starves_nobody(
        entropy in any::<u64>(),
        at_once in 1..5usize,
        count in 5..60u64,
        lasts in 50..200u64,
        hangs in any::<bool>(),
    ) {
        let mut sim = Sim::new(schedule_of(at_once, entropy, count, 100));
        sim.hangs_from = if hangs { ms(lasts) } else { Duration::MAX };
        sim.run(ms(60_000), |_| ms(lasts));
        prop_assert!(sim.at_once_max <= at_once);
        prop_assert_eq!(sim.begun.len() as u64, count);
        let room = if hangs { (at_once / 2).max(1) } else { at_once };
        let round = ms(lasts * (count.div_ceil(room as u64)));
        for n in sim.begun.keys() {
            let gap = sim.longest_gap(*n);
            prop_assert!(gap <= 2 * round + ms(100), "check {} waited {:?}, a round is {:?}", n, gap, round);
        }
        let counts: Vec<usize> = sim.begun.values().map(Vec::len).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(*most <= 2 * least + 6, "{:?}", counts);
    }

    /// Any sequence of changes, starts and ends keeps the bound and never overlaps.
    #[test]
    fn bound_holds_whatever_changes(entropy in any::<u64>(), acts in prop::collection::vec((0..7u8, 0..8u64), 1..200)) {
        let mut schedule = Schedule::new(3, entropy);
        let mut under_way: Vec<Ticket> = Vec::new();
        let mut known: Vec<CheckId> = Vec::new();
        let mut leaving: Vec<Ticket> = Vec::new();
        let (mut now, mut last) = (Duration::ZERO, 0);
        for (act, n) in acts {
            now += ms(17);
            let pick = |len: usize| usize::try_from(n).unwrap() % len.max(1);
            match act {
                0 | 1 => {
                    last += 1;
                    known.push(CheckId(last));
                    schedule.add(CheckId(last), (), ms(50), now + ms(n));
                }
                2 if !known.is_empty() => {
                    let check = known.remove(pick(known.len()));
                    let ticket = schedule.remove(check);
                    prop_assert_eq!(ticket, under_way.iter().copied().find(|t| t.check == check));
                    leaving.extend(ticket);
                }
                3 if !known.is_empty() => schedule.hasten(known[pick(known.len())], now),
                4 if !known.is_empty() => schedule.pace(known[pick(known.len())], ms(10 + 40 * n)),
                _ if under_way.is_empty() => {}
                _ => {
                    let ticket = under_way.remove(pick(under_way.len()));
                    let counts = schedule.finish(ticket, now, if n % 2 == 0 { Hung } else { Prompt });
                    prop_assert_eq!(counts, !leaving.contains(&ticket));
                }
            }
            for ticket in start_all(&mut schedule, now) {
                prop_assert!(under_way.iter().all(|t| t.check != ticket.check), "two runs of {:?}", ticket.check);
                prop_assert!(known.contains(&ticket.check));
                under_way.push(ticket);
            }
            prop_assert_eq!(schedule.under_way(), under_way.len());
            prop_assert!(under_way.len() <= 3);
        }
    }
}
