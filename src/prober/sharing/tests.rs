//! Targets that come, go and change, under a simulated clock.

use std::net::SocketAddr;

use super::*;
use crate::model::{Aim, BodyMatch, FarmId, HttpProbe, Negate, ServerId};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn whose(n: u64) -> Subscription {
    Subscription { server: ServerKey { farm: FarmId(n), server: ServerId(n) }, slot: ProbeSlot::FIRST }
}

/// HAProxy's `inter 10s fastinter 1s downinter 5s`.
fn probe(kind: ProbeKind) -> Probe {
    let (fast_interval, down_interval) = (Some(ms(1000)), Some(ms(5000)));
    Probe { interval: ms(10_000), fast_interval, down_interval, ..Probe::new(kind) }
}

fn tcp() -> Probe {
    probe(ProbeKind::Tcp { banner: None, negate: Negate::AsWritten })
}

fn aimed_at(port: u16, probe: Probe) -> Aimed {
    let addr = SocketAddr::from(([10, 0, 0, 1], port));
    Aimed::new(addr, Host::Ip(addr.ip()), Arc::new(probe))
}

fn sharing_of(targets: &[(u64, Aimed)]) -> Sharing {
    let mut sharing = Sharing::new(100, 7);
    set(&mut sharing, targets, Duration::ZERO);
    sharing
}

/// Hands over a whole list; returns the runs to cut short.
fn set(sharing: &mut Sharing, targets: &[(u64, Aimed)], now: Duration) -> Vec<Ticket> {
    sharing.begin_list();
    let put = |(n, aimed): &(u64, Aimed)| sharing.put(whose(*n), Epoch(1), aimed.clone(), now);
    let mut cut: Vec<Ticket> = targets.iter().filter_map(put).collect();
    cut.extend(sharing.end_list());
    cut
}

fn start(sharing: &mut Sharing, now: Duration) -> Vec<Ticket> {
    std::iter::from_fn(|| sharing.start(now).map(|(ticket, _)| ticket)).collect()
}

fn finish(sharing: &mut Sharing, ticket: Ticket, now: Duration) -> Option<Vec<u64>> {
    let done = sharing.finish(ticket, now, RunEnd::Prompt)?;
    Some(done.subscribers.iter().map(|(whose, ..)| whose.server.farm.0).collect())
}

fn paced(n: u64, pace: Pace) -> Paced {
    Paced { server: whose(n).server, slot: whose(n).slot, pace }
}

#[test]
fn same_check_is_run_once_for_all_and_its_result_is_everybodys() {
    let renamed = Probe { rise: 9, fall: 9, name: crate::model::Name::parse("other").unwrap(), ..tcp() };
    let list = [(1, aimed_at(80, tcp())), (2, aimed_at(80, renamed)), (3, aimed_at(81, tcp()))];
    let mut sharing = sharing_of(&list);
    let tickets = start(&mut sharing, Duration::ZERO);
    assert_eq!(tickets.len(), 2);
    assert_eq!(finish(&mut sharing, tickets[0], ms(1)), Some(vec![1, 2]));
    assert_eq!(finish(&mut sharing, tickets[1], ms(1)), Some(vec![3]));
}

#[test]
fn check_that_differs_in_words_place_or_time_is_another() {
    let http = |path: &str| probe(ProbeKind::Http(HttpProbe::get(path)));
    let banner = |text: &str| {
        probe(ProbeKind::Tcp { banner: Some(BodyMatch::Contains(text.into())), negate: Negate::AsWritten })
    };
    let source = Aim { source: Some("10.0.0.9".parse().unwrap()), ..Aim::default() };
    let list: Vec<(u64, Aimed)> = (1..)
        .zip([
            aimed_at(80, tcp()),
            aimed_at(80, http("/a")),
            aimed_at(80, http("/b")),
            aimed_at(80, banner("220")),
            aimed_at(80, banner("221")),
            aimed_at(80, Probe { aim: source, ..tcp() }),
            aimed_at(80, Probe { interval: ms(11_000), ..tcp() }),
            aimed_at(80, Probe { fast_interval: None, ..tcp() }),
            aimed_at(80, Probe { timeout: ms(7), ..tcp() }),
            Aimed { host: Host::Name("a.example".into()), ..aimed_at(80, http("/a")) },
            Aimed { host: Host::Name("b.example".into()), ..aimed_at(80, http("/a")) },
        ])
        .collect();
    let mut sharing = sharing_of(&list);
    assert_eq!(start(&mut sharing, Duration::ZERO).len(), list.len());

    let named = |name: &str| Host::Name(name.into());
    let one = Aim { host: Some("shop.example".into()), ..Aim::default() };
    let mut sharing = sharing_of(&[
        (1, Aimed { host: named("a.example"), ..aimed_at(80, tcp()) }),
        (2, Aimed { host: named("b.example"), ..aimed_at(80, tcp()) }),
        (3, Aimed { host: named("a.example"), ..aimed_at(80, Probe { aim: one.clone(), ..http("/") }) }),
        (4, Aimed { host: named("a.example"), ..aimed_at(80, Probe { aim: one, ..http("/") }) }),
    ]);
    assert_eq!(start(&mut sharing, Duration::ZERO).len(), 2, "a name that is not said makes no difference");
}

#[test]
fn target_that_leaves_disturbs_nobody_and_the_last_one_ends_the_check() {
    let all = [(1, aimed_at(80, tcp())), (2, aimed_at(80, tcp()))];
    let mut sharing = sharing_of(&all);
    let ticket = start(&mut sharing, Duration::ZERO)[0];
    assert!(set(&mut sharing, &all[1..], ms(1)).is_empty());
    assert_eq!(finish(&mut sharing, ticket, ms(2)), Some(vec![2]));
    let due = sharing.next_due();
    let ticket = start(&mut sharing, due.unwrap())[0];
    assert_eq!(set(&mut sharing, &[], ms(3)), [ticket]);
    assert_eq!(finish(&mut sharing, ticket, ms(4)), None);
    assert!((1..=sharing.last_id).all(|id| sharing.schedule.get(CheckId(id)).is_none()));
    assert_eq!((sharing.next_due(), sharing.found.len(), sharing.known.len()), (None, 0, 0));
}

#[test]
fn target_that_comes_is_checked_at_once_and_takes_no_older_result() {
    let all = [(1, aimed_at(80, tcp())), (2, aimed_at(80, tcp()))];
    let mut sharing = sharing_of(&all[..1]);
    let ticket = start(&mut sharing, Duration::ZERO)[0];
    assert!(set(&mut sharing, &all, ms(1)).is_empty(), "the run goes on");
    assert_eq!(start(&mut sharing, ms(2)), [], "one at a time");
    assert_eq!(finish(&mut sharing, ticket, ms(3)), Some(vec![1]));
    let ticket = start(&mut sharing, ms(3))[0];
    assert_eq!(finish(&mut sharing, ticket, ms(4)), Some(vec![1, 2]));
    assert!(sharing.next_due().unwrap() > ms(4), "and then as always");
}

#[test]
fn new_incarnation_starts_afresh() {
    let aimed = aimed_at(80, tcp());
    let mut sharing = sharing_of(&[(1, aimed.clone())]);
    let old = start(&mut sharing, Duration::ZERO)[0];
    sharing.begin_list();
    assert_eq!(sharing.put(whose(1), Epoch(2), aimed, ms(1)), Some(old));
    assert!(sharing.end_list().is_empty());
    assert_eq!(finish(&mut sharing, old, ms(2)), None);
    let new = start(&mut sharing, ms(2))[0];
    let done = sharing.finish(new, ms(3), RunEnd::Prompt).unwrap();
    assert_eq!(*done.subscribers, [(whose(1), Epoch(2), Pace::Steady)]);
    assert_eq!(done.next_due, sharing.next_due());
}

#[test]
fn changed_interval_keeps_the_place_and_a_changed_address_is_checked_at_once() {
    let mut sharing = sharing_of(&[(1, aimed_at(80, tcp()))]);
    let ticket = start(&mut sharing, Duration::ZERO)[0];
    finish(&mut sharing, ticket, ms(1));
    let due = sharing.next_due().unwrap();
    let longer = Probe { interval: ms(60_000), ..tcp() };
    assert!(set(&mut sharing, &[(1, aimed_at(80, longer.clone()))], ms(2)).is_empty());
    assert_eq!(sharing.next_due(), Some(due));
    let shorter = Probe { interval: ms(1500), ..tcp() };
    set(&mut sharing, &[(1, aimed_at(80, shorter))], ms(3));
    assert_eq!(sharing.next_due(), Some(due.min(ms(1503))));
    set(&mut sharing, &[(1, aimed_at(81, longer))], ms(4));
    assert_eq!(sharing.next_due(), Some(ms(4)));
}

#[test]
fn list_without_a_change_changes_nothing() {
    let list: Vec<(u64, Aimed)> = (1..50).map(|n| (n, aimed_at(80 + u16::try_from(n % 7).unwrap(), tcp()))).collect();
    let mut sharing = sharing_of(&list);
    let tickets = start(&mut sharing, Duration::ZERO);
    assert_eq!(tickets.len(), 7);
    // Equal probes in other places of memory are the same probes.
    assert!(set(&mut sharing, &list, ms(1)).is_empty());
    let fresh: Vec<_> = list.iter().map(|(n, aimed)| (*n, aimed_at(aimed.addr.port(), tcp()))).collect();
    assert!(set(&mut sharing, &fresh, ms(2)).is_empty());
    assert_eq!(start(&mut sharing, ms(2)), []);
    let results: Vec<u64> =
        tickets.into_iter().filter_map(|ticket| finish(&mut sharing, ticket, ms(3))).flatten().collect();
    assert_eq!(results.len(), 49);
    assert!(sharing.next_due().unwrap() > ms(3));
}

#[test]
fn most_demanding_target_sets_the_pace() {
    let all = [(1, aimed_at(80, tcp())), (2, aimed_at(80, tcp()))];
    let mut sharing = sharing_of(&all);
    let mut began = Duration::ZERO;
    for (paces, interval) in [
        ([Pace::Steady, Pace::Changing], 1000),
        ([Pace::Changing, Pace::Down], 1000),
        ([Pace::Steady, Pace::Down], 5000),
        ([Pace::Steady, Pace::Steady], 10_000),
        ([Pace::Steady, Pace::Changing], 1000),
    ] {
        let ticket = start(&mut sharing, began)[0];
        finish(&mut sharing, ticket, began + ms(1));
        sharing.pace(&[paced(1, paces[0]), paced(2, paces[1]), paced(99, Pace::Down)]);
        let gap = sharing.next_due().unwrap() - began;
        let is_first = began == Duration::ZERO;
        assert!(gap <= ms(interval) && (is_first || gap >= ms(interval).mul_f64(0.9)), "{paces:?} {gap:?}");
        began += gap;
    }
    set(&mut sharing, &all[..1], began - ms(1));
    assert!(sharing.next_due().unwrap() > began, "who asked for haste is gone");
}

/// 10,000 servers in 100 farms: what the prober keeps of each, its definition left out.
#[test]
fn target_takes_little_memory_and_an_unchanged_list_little_time() {
    let probe = Arc::new(tcp());
    let list: Vec<(u64, Aimed)> = (0..10_000u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            let addr = SocketAddr::from(([127, 0, high, low], 80));
            (n.into(), Aimed::new(addr, Host::Ip(addr.ip()), Arc::clone(&probe)))
        })
        .collect();
    let mut sharing = Sharing::new(1024, 7);
    let first = allocation_counter::measure(|| assert!(set(&mut sharing, &list, Duration::ZERO).is_empty()));
    assert!(first.bytes_current <= 10_000 * 1024, "{} bytes a target", first.bytes_current / 10_000);
    let again = allocation_counter::measure(|| assert!(set(&mut sharing, &list, ms(1)).is_empty()));
    assert_eq!(again.count_total, 0, "nothing is built anew");
}
