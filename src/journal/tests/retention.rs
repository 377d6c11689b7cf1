//! What goes when it is old or too much, and how much a thousand servers take.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Servers that stand for the thousand of the promise; everything is counted per server, so the rest is linear.
const SERVERS: u64 = 50;
const SERVERS_PROMISED: u64 = 1000;
/// Checks handed in before the writer is waited for, well below what may wait.
const CHECKS_AT_ONCE: u64 = 40_000;

/// A small, fixed source of chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    /// About 2.4 ms in the middle, half to double that nine times in ten: the sum of chances is bell-shaped.
    fn response_time(&mut self) -> Duration {
        let bell: u64 = (0..4).map(|_| self.below(1000)).sum();
        let exponent = (bell as f64 - 2000.0) / 1000.0;
        Duration::from_secs_f64(0.0024 * exponent.exp2())
    }
}

fn rows(journal: &SqliteJournal, table: &str) -> u64 {
    let connection = lock(&journal.0.reads);
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn pragma(journal: &SqliteJournal, name: &str) -> u64 {
    lock(&journal.0.reads).query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within {PATIENCE:?}");
}

#[test]
fn what_is_older_than_its_time_goes_and_the_newest_event_stays() {
    let dir = tempfile::tempdir().unwrap();
    let limits = JournalLimits { timeline: 2 * DAY, history: DAY, ..JournalLimits::DEFAULT };
    let (journal, _) = SqliteJournal::open(dir.path(), limits).unwrap();
    let one = server(1).0;
    let hours = |n: u64| NOON + Duration::from_secs(3600 * n);
    let mut incident = every_kind().swap_remove(8);
    (incident.id, incident.at) = (0, hours(0));
    note(&journal, incident);
    for n in 0..72 {
        note(&journal, transition(n + 1, 1, hours(n), Health::Down, None));
        journal.note(Entry::Check { server: one, brief: brief(CheckStatus::L7Ok, None, hours(n)) });
        if n % 12 == 0 {
            let record = checked(CheckStatus::L7Sts, hours(n), None);
            journal.note(Entry::Evidence { server: one, slot: ProbeSlot::FIRST, record });
        }
    }
    wait_until("old events to go", || rows(&journal, "event") == 49);
    wait_until("old blocks to go", || rows(&journal, "block") == 24);
    assert_eq!((rows(&journal, "evidence"), rows(&journal, "event_farms")), (4, 0));
    assert_eq!(ids(&journal, &EVERYTHING), (24..=72).collect::<Vec<u64>>());
    let history = journal.history(one, ProbeSlot::FIRST, NOON, hours(99)).unwrap();
    assert_eq!(history.len(), 25);
    note(&journal, transition(73, 1, hours(999), Health::Down, None));
    wait_until("all but the newest to go", || ids(&journal, &EVERYTHING) == [73]);
}

#[test]
fn journal_that_is_too_large_loses_history_first_and_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_max = 8 * 1024 * 1024;
    let limits = JournalLimits { bytes_max, ..JournalLimits::DEFAULT };
    let (journal, _) = SqliteJournal::open(dir.path(), limits).unwrap();
    for n in 0..3000 {
        note(&journal, transition(n + 1, 1, seconds(n), Health::Down, None));
    }
    journal.flush(PATIENCE);
    let events = rows(&journal, "event");
    for n in 0..40_u64 {
        for server_number in 0..500 {
            // Ten minutes apart: each is a block of its own.
            let (at, server) = (seconds(n * 600), server(server_number).0);
            journal.note(Entry::Check { server, brief: brief(CheckStatus::L7Ok, Some(200), at) });
        }
        journal.flush(PATIENCE);
    }
    let size = || pragma(&journal, "page_count") * pragma(&journal, "page_size");
    wait_until("the file to shrink", || size() <= bytes_max - layout::LOG_BYTES_MAX);
    assert_eq!(rows(&journal, "event"), events);
    let blocks = rows(&journal, "block");
    assert!(0 < blocks && blocks < 20_000, "{blocks}");
    for n in 3000..9000 {
        note(&journal, transition(n + 1, 1, seconds(n), Health::Down, None));
    }
    journal.flush(PATIENCE);
    wait_until("the oldest events to go", || {
        size() <= bytes_max - layout::LOG_BYTES_MAX && rows(&journal, "event") < 9000
    });
    assert_eq!((rows(&journal, "block"), journal.last_event_id().unwrap()), (0, 9000));
}

#[test]
fn journal_in_memory_that_is_full_makes_room_and_takes_every_event() {
    let journal = SqliteJournal::in_memory().unwrap();
    let most = 8000;
    for id in 1..=most {
        let mut event = every_kind().swap_remove(0);
        if let crate::model::EventKind::Changed { act, .. } = &mut event.kind {
            act.reason = Some("why".repeat(500).into());
        }
        note(&journal, Event { id, at: seconds(id), ..event });
    }
    journal.flush(PATIENCE);
    let counters = journal.counters();
    assert_eq!((counters.events_written, counters.events_lost), (most, 0), "{counters:?}");
    assert_eq!(journal.last_event_id().unwrap(), most);
    assert!(pragma(&journal, "page_count") * pragma(&journal, "page_size") <= MEMORY_BYTES_MAX);
    assert!(rows(&journal, "event") < most);
}

/// The promise: 1,000 servers take less than 200 MB with the defaults, checked every 2 s, with an outage each a day.
#[test]
#[expect(clippy::print_stdout, reason = "the arithmetic is to be read")]
fn thousand_servers_with_the_defaults_take_less_than_200_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut chance = Chance(1);
    let path = dir.path().join(FILE_NAME);
    let size = |journal: &SqliteJournal| {
        journal.flush(PATIENCE);
        (pragma(journal, "page_count") - pragma(journal, "freelist_count")) * pragma(journal, "page_size")
    };
    let empty = size(&journal);
    for id in 1..=SERVERS * 30 * 2 {
        let (day, n) = (id / (SERVERS * 2), id / 2 % SERVERS);
        let to = if id % 2 == 0 { Health::Down } else { Health::Up };
        note(&journal, transition(id, n, seconds(day * DAY.as_secs() + id), to, None));
    }
    let events = size(&journal) - empty;
    let (received, sent) = ([b'x'; 600], [b'y'; 120]);
    for n in 0..SERVERS * 40 {
        let status = if n % 5 == 0 { CheckStatus::L7Ok } else { CheckStatus::L7Sts };
        let evidence = Evidence { sent: sent.into(), received: received.into(), ..Evidence::default() };
        let record = checked(status, seconds(30 * DAY.as_secs() + n), Some(evidence));
        journal.note(Entry::Evidence { server: server(n % SERVERS).0, slot: ProbeSlot::FIRST, record });
        if n % 500 == 0 {
            journal.flush(PATIENCE);
        }
    }
    let evidence = size(&journal) - empty - events;
    let checks = day_of_checks(&journal, &mut chance);
    journal.close();
    let history = {
        let file = Connection::open(&path).unwrap();
        let pages: u64 = file.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        pages * 4096 - empty - events - evidence
    };
    let all = [("events", events), ("evidence", evidence), ("history", history)];
    let share = SERVERS_PROMISED / SERVERS;
    let mut total = 0;
    for (what, bytes) in all {
        println!(
            "{what}: {} kB a server, {} MB for {SERVERS_PROMISED}",
            bytes / SERVERS / 1000,
            bytes * share / 1_000_000
        );
        total += bytes * share;
    }
    println!("history: {:.2} bytes a check, {checks} checks", history as f64 / checks as f64);
    println!("in all: {} MB for {SERVERS_PROMISED} servers", total / 1_000_000);
    assert_eq!(journal.counters().checks_dropped, 0);
    assert_eq!(journal.counters().checks_written, checks);
    assert!(history as f64 / (checks as f64) < 2.6, "a check takes more than is documented");
    assert!(total < 200_000_000, "{total}");
}

/// Checks every 2 s less jitter for a day, an outage each; returns how many.
fn day_of_checks(journal: &SqliteJournal, chance: &mut Chance) -> u64 {
    let mut checks: u64 = 0;
    let begin = seconds(30 * DAY.as_secs());
    for n in 0..SERVERS {
        let (mut at, server) = (begin, server(n).0);
        while at < begin + DAY {
            let is_out = at.since(begin).as_secs() / 600 == n % 144;
            let (status, code) = if is_out { (CheckStatus::L4Con, None) } else { (CheckStatus::L7Ok, Some(200)) };
            let duration = chance.response_time();
            let brief = CheckBrief { slot: ProbeSlot::FIRST, status, code, at, duration };
            journal.note(Entry::Check { server, brief });
            checks += 1;
            at = at + Duration::from_millis(2000 - chance.below(100));
            if checks.is_multiple_of(CHECKS_AT_ONCE) {
                journal.flush(PATIENCE);
            }
        }
    }
    checks
}

#[test]
fn journal_that_is_too_large_with_nothing_left_to_go_is_not_behind() {
    let connection = layout::open_in_memory(MEMORY_BYTES_MAX).unwrap();
    let row = "INSERT INTO health (farm, server, json) VALUES (1, ?1, ?2)";
    for n in 0..2000 {
        connection.execute(row, rusqlite::params![n, "x".repeat(1000)]).unwrap();
    }
    let limits = JournalLimits { bytes_max: 1024 * 1024, ..JournalLimits::DEFAULT };
    assert!(
        !crate::journal::retention::step(&connection, &limits, NOON).unwrap(),
        "the writer would look again at once, for ever"
    );
    let kept: u64 = connection.query_row("SELECT count(*) FROM health", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2000);
}
