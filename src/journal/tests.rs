//! The journal as those see it who use it.

use std::path::Path;

use super::layout::companion;
use super::*;
use crate::feed;
use crate::feed::samples::{NOON, brief, every_kind, farm, server, transition};
use crate::model::{
    Act, AdminStatus, AgentHealth, AgentSays, AgentWeight, CheckStatus, Content, Ejection, Event, Evidence, FarmId,
    Health, Leftovers, Name, Override, Terms, TrafficFault, Weight, Wish,
};
use crate::store::Order;

mod crash;
mod objects;
mod retention;

/// How long a test waits for the disk.
const PATIENCE: Duration = Duration::from_secs(20);
const EVERYTHING: EventQuery = EventQuery {
    server: None,
    farm: None,
    after: None,
    since: None,
    until: None,
    order: Order::OldestFirst,
    limit: usize::MAX,
};

fn open(dir: &Path) -> SqliteJournal {
    let (journal, aside) = SqliteJournal::open(dir, JournalLimits::DEFAULT).unwrap();
    assert_eq!(aside, None);
    journal
}

fn saved(n: u64, wish: Wish, declared: Wish) -> SavedOverride {
    let act = Act { actor: "ops".into(), source: "127.0.0.1".into(), reason: Some("disk".into()), at: Timestamp(5) };
    SavedOverride { server: server(n).0, made: Override { wish, declared, terms: Terms::default(), act } }
}

fn drain(n: u64) -> SavedOverride {
    saved(n, Wish::Admin(AdminStatus::Drain), Wish::Admin(AdminStatus::Active))
}

fn seconds(n: u64) -> Timestamp {
    NOON + Duration::from_secs(n)
}

fn note(journal: &SqliteJournal, event: Event) {
    journal.note(Entry::Event(Arc::new(event)));
}

fn ids(journal: &SqliteJournal, query: &EventQuery) -> Vec<u64> {
    journal.events(query).unwrap().iter().map(|event| event.id).collect()
}

fn checked(status: CheckStatus, at: Timestamp, evidence: Option<Evidence>) -> Arc<CheckRecord> {
    let record = CheckRecord::new(status, Some(503), Content::from_bytes(b"a\r\nb\xff"), at, Duration::from_micros(77));
    Arc::new(CheckRecord { evidence: evidence.map(Arc::new), ..record })
}

#[test]
fn overrides_are_there_after_reopening_with_their_terms() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made");
    let journal = open(&dir);
    let mut weight = saved(2, Wish::Weight(Weight(7)), Wish::Weight(Weight(5)));
    weight.made.terms =
        Terms { until: Some(seconds(1)), deadline: Some(seconds(2)), at_deadline: Some(Leftovers::Keep) };
    journal.put_override(&drain(1)).unwrap();
    journal.put_override(&saved(2, Wish::Weight(Weight(6)), Wish::Weight(Weight(5)))).unwrap();
    journal.put_override(&weight).unwrap();
    drop(journal);
    let journal = open(&dir);
    let mut found = journal.overrides().unwrap();
    found.sort_by_key(|saved| saved.made.wish.field());
    assert_eq!(found, [drain(1), weight]);
    journal.drop_overrides(&[(drain(1).server, Field::Admin), (drain(9).server, Field::Weight)]).unwrap();
    assert_eq!(journal.overrides().unwrap().len(), 1);
}

#[test]
fn file_of_the_first_layout_keeps_its_overrides() {
    let dir = tempfile::tempdir().unwrap();
    let first = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let layout = "PRAGMA journal_mode = WAL;
        CREATE TABLE override (
            farm INTEGER NOT NULL, server INTEGER NOT NULL, field TEXT NOT NULL,
            value TEXT NOT NULL, declared TEXT NOT NULL,
            actor TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, at_us INTEGER NOT NULL,
            PRIMARY KEY (farm, server, field)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;";
    first.execute_batch(layout).unwrap();
    let ServerKey { farm, server } = drain(1).server;
    let row = format!(
        "INSERT INTO override VALUES ({farm}, {server}, 'status', 'drain', 'active', 'ops', '127.0.0.1', 'disk', 5),
            ({farm}, {server}, 'colour', 'red', 'blue', 'ops', '127.0.0.1', NULL, 5)"
    );
    first.execute_batch(&row).unwrap();
    drop(first);
    for _ in 0..2 {
        let journal = open(dir.path());
        assert_eq!(journal.overrides().unwrap(), [drain(1)]);
        let auto_vacuum: i64 = lock(&journal.0.acts).query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
        assert_eq!(auto_vacuum, 2);
    }
}

#[test]
fn damaged_file_is_set_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    for n in 1..=2 {
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        let (journal, aside) = SqliteJournal::open(dir.path(), JournalLimits::DEFAULT).unwrap();
        let aside = aside.unwrap();
        assert!(aside.ends_with(format!("farmgate.damaged-{n}")), "{aside:?}");
        assert_eq!(std::fs::read(&aside).unwrap(), vec![b'x'; 8192]);
        journal.put_override(&drain(1)).unwrap();
        assert_eq!(journal.overrides().unwrap(), [drain(1)]);
        drop(journal);
    }
}

#[test]
fn companions_of_a_damaged_file_are_kept_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.put_override(&drain(1)).unwrap();
    // What a power cut leaves: the override is in the log only.
    let path = dir.path().join(FILE_NAME);
    let log = std::fs::read(companion(&path, "-wal")).unwrap();
    drop(journal);
    assert!(log.len() > 4096, "{}", log.len());
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    std::fs::write(companion(&path, "-wal"), &log[..log.len() / 2]).unwrap();
    std::fs::write(companion(&path, "-shm"), b"shared").unwrap();
    let (_journal, aside) = SqliteJournal::open(dir.path(), JournalLimits::DEFAULT).unwrap();
    let aside = aside.unwrap();
    assert_eq!(std::fs::read(&aside).unwrap(), vec![b'x'; 8192]);
    assert_eq!(std::fs::read(companion(&aside, "-wal")).unwrap(), &log[..log.len() / 2]);
    // Not what it was: SQLite makes this index of the log anew whenever it opens one.
    assert!(companion(&aside, "-shm").exists());
}

#[test]
fn damage_that_shows_later_is_an_error_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.note(Entry::Check { server: server(1).0, brief: brief(CheckStatus::L7Ok, None, NOON) });
    journal.close();
    drop(journal);
    let path = dir.path().join(FILE_NAME);
    let file = Connection::open(&path).unwrap();
    assert_eq!(file.execute("UPDATE block SET runs = x'ffff'", []).unwrap(), 1);
    drop(file);
    let journal = open(dir.path());
    let refused = journal.history(server(1).0, ProbeSlot::FIRST, NOON, seconds(9)).unwrap_err();
    assert!(refused.to_string().starts_with("journal: read the history: a block is damaged; check"), "{refused}");
    assert_eq!(journal.counters().failures, 1);
    journal.put_override(&drain(1)).unwrap();
    note(&journal, transition(1, 1, NOON, Health::Down, None));
    assert_eq!(ids(&journal, &EVERYTHING), [1]);
}

#[test]
fn state_dir_of_another_process_is_refused_and_the_remedy_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = SqliteJournal::open(dir.path(), JournalLimits::DEFAULT).unwrap_err().to_string();
    let remedy = format!("state_dir {:?} is in use by another farmgate; give each its own", dir.path());
    assert_eq!(refused, format!("journal: open: {remedy}"));
    first.put_override(&drain(1)).unwrap();
    drop(first);
    assert_eq!(open(dir.path()).overrides().unwrap(), [drain(1)]);
}

#[test]
fn file_of_a_newer_build_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = SqliteJournal::open(dir.path(), JournalLimits::DEFAULT).unwrap_err().to_string();
    assert!(refused.contains("layout 99 is newer"), "{refused}");
}

#[test]
fn unwritable_state_dir_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = SqliteJournal::open(&file.join("sub"), JournalLimits::DEFAULT).unwrap_err().to_string();
    assert!(refused.starts_with("journal: make state_dir: "), "{refused}");
    assert!(refused.ends_with("; check the space and the permissions of state_dir"), "{refused}");
}

#[test]
fn every_event_is_read_as_it_was_noted_at_once_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let events = every_kind();
    let recorded: Vec<RecordedEvent> = events
        .iter()
        .map(|event| RecordedEvent { id: event.id, at: event.at, json: feed::json(event).into() })
        .collect();
    events.into_iter().for_each(|event| note(&journal, event));
    assert_eq!(journal.events(&EVERYTHING).unwrap(), recorded);
    assert_eq!(journal.last_event_id().unwrap(), recorded.len() as u64);
    assert_eq!(journal.counters().events_written, recorded.len() as u64);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.events(&EVERYTHING).unwrap(), recorded);
    assert_eq!(journal.last_event_id().unwrap(), recorded.len() as u64);
}

#[test]
fn events_are_found_by_server_farm_id_and_time_in_both_orders() {
    let journal = SqliteJournal::in_memory().unwrap();
    for (id, n) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)] {
        note(&journal, transition(id, n, seconds(id), Health::Down, None));
    }
    let other = Name::parse("shop").unwrap();
    let farms = vec![(FarmId::derive(&farm()), farm()), (FarmId::derive(&other), other.clone())];
    let incident = every_kind().swap_remove(8);
    let kind = crate::model::EventKind::Incident {
        incident: 6,
        phase: crate::model::IncidentPhase::Began,
        farms,
        servers: 2,
        until: seconds(9),
    };
    note(&journal, Event { id: 6, at: seconds(6), kind, ..incident });
    let of = |query: EventQuery| ids(&journal, &query);
    let (one, api, shop) = (Some(server(1).0), Some(FarmId::derive(&farm())), Some(FarmId::derive(&other)));
    assert_eq!(of(EventQuery { server: one, ..EVERYTHING }), [1, 3, 5]);
    assert_eq!(of(EventQuery { farm: api, order: Order::NewestFirst, ..EVERYTHING }), [6, 5, 4, 3, 2, 1]);
    assert_eq!(of(EventQuery { farm: shop, ..EVERYTHING }), [6]);
    assert_eq!(of(EventQuery { after: Some(3), limit: 2, ..EVERYTHING }), [4, 5]);
    assert_eq!(of(EventQuery { order: Order::NewestFirst, limit: 2, ..EVERYTHING }), [6, 5]);
    let (since, until) = (Some(seconds(2)), Some(seconds(5)));
    assert_eq!(of(EventQuery { since, until, ..EVERYTHING }), [2, 3, 4, 5]);
    assert_eq!(of(EventQuery { since, until, server: one, limit: 1, ..EVERYTHING }), [3]);
    assert_eq!(of(EventQuery { since: Some(seconds(99)), ..EVERYTHING }), [] as [u64; 0]);
}

#[test]
fn evidence_is_read_as_it_was_and_only_the_newest_is_kept() {
    let journal = SqliteJournal::in_memory().unwrap();
    let (one, two) = (server(1).0, server(2).0);
    let whole = Evidence {
        sent: (*b"GET / HTTP/1.1\r\n\r\n").into(),
        received: (*b"HTTP/1.1 503\r\n").into(),
        connect: Some(Duration::from_micros(1)),
        tls: Some(Duration::from_micros(2)),
        first_byte: Some(Duration::from_micros(3)),
        errno: Some(-111),
        tls_alert: Some("handshake_failure".into()),
        certificate_sha256: Some([7; 32]),
    };
    let records = [
        checked(CheckStatus::L7Sts, seconds(1), Some(whole)),
        checked(CheckStatus::L7Sts, seconds(2), Some(Evidence::default())),
        checked(CheckStatus::L7Ok, seconds(3), None),
    ];
    for record in &records {
        journal.note(Entry::Evidence { server: one, slot: ProbeSlot(3), record: Arc::clone(record) });
    }
    let found = journal.evidence(one, 9).unwrap();
    let want: Vec<_> = records.iter().rev().map(|record| (ProbeSlot(3), (**record).clone())).collect();
    assert_eq!(found, want);
    assert_eq!(journal.evidence(one, 1).unwrap(), want[..1]);
    assert_eq!(journal.evidence(two, 9).unwrap(), []);
    let passing = u64::from(evidence::PASSING_PER_SERVER);
    for n in 10..60 {
        let status = if n % 2 == 0 { CheckStatus::L4Con } else { CheckStatus::L4Ok };
        let record = checked(status, seconds(n), None);
        journal.note(Entry::Evidence { server: two, slot: ProbeSlot::FIRST, record });
    }
    let kept = journal.evidence(two, usize::MAX).unwrap();
    let of = |failed: bool| kept.iter().filter(move |(_, record)| (record.status == CheckStatus::L4Con) == failed);
    assert_eq!(of(true).count(), JournalLimits::DEFAULT.evidence_per_server as usize);
    assert_eq!(of(false).count() as u64, passing);
    assert_eq!(kept[0].1.at, seconds(59));
    assert_eq!(journal.evidence(one, 9).unwrap().len(), 3);
}

#[test]
fn history_is_read_from_open_blocks_and_from_disk_without_seam() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let (one, two) = (server(1).0, server(2).0);
    let at = |n: u64| NOON + Duration::from_millis(2000 * n);
    let all = |journal: &SqliteJournal, from: u64, to: u64| -> Vec<Timestamp> {
        let found = journal.history(one, ProbeSlot::FIRST, at(from), at(to)).unwrap();
        found.iter().map(|check| check.at).collect()
    };
    let mut want = Vec::new();
    for n in 0..1000 {
        journal.note(Entry::Check { server: one, brief: brief(CheckStatus::L7Ok, Some(200), at(n)) });
        want.push(at(n));
        if n % 100 == 0 {
            assert_eq!(all(&journal, 0, 9999), want);
        }
    }
    journal.note(Entry::Check { server: two, brief: brief(CheckStatus::L7Tout, None, at(7)) });
    assert_eq!(all(&journal, 0, 9999), want);
    assert_eq!(all(&journal, 150, 160), want[150..=160]);
    assert_eq!(journal.history(one, ProbeSlot(1), at(0), at(9999)).unwrap(), []);
    assert_eq!(journal.history(two, ProbeSlot::FIRST, at(0), at(9999)).unwrap()[0].status, CheckStatus::L7Tout);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(all(&journal, 0, 9999), want);
    assert_eq!(all(&journal, 999, 999), want[999..]);
}

#[test]
fn healths_are_read_as_they_were_saved_and_forgotten_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let ejected = Ejection { since: NOON, until: seconds(30), errors: 5, kind: TrafficFault::Status, times: 2 };
    let saved = |n, health| SavedHealth {
        server: server(n).0,
        fingerprint: u64::MAX,
        health,
        since: seconds(n),
        agent: Some(Arc::new(AgentSays {
            weight: Some(AgentWeight::Percent(50)),
            maxconn: Some(9),
            admin: Some(AdminStatus::Drain),
            health: Some(AgentHealth::Down),
            reason: Some("full".into()),
        })),
        agent_since: Some(seconds(1)),
        changes: vec![NOON, seconds(1)],
        held_since: Some(seconds(2)),
        held_until: Some(seconds(3)),
        ejected: Some(ejected),
        warm_since: None,
        decided_by: vec![brief(CheckStatus::L7Sts, Some(503), NOON)],
    };
    for health in [Health::Up, Health::Down] {
        journal.note(Entry::Health(Box::new(saved(1, health))));
        journal.note(Entry::Health(Box::new(saved(2, health))));
    }
    journal.note(Entry::Forgotten(vec![server(2).0]));
    assert_eq!(journal.healths().unwrap(), [saved(1, Health::Down)]);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.healths().unwrap(), [saved(1, Health::Down)]);
    let older = "UPDATE health SET json = json_remove(json, '$.held_since_us', '$.agent_since_us')";
    lock(&journal.0.acts).execute(older, []).unwrap();
    let of_an_older_build = SavedHealth { held_since: None, agent_since: None, ..saved(1, Health::Down) };
    assert_eq!(journal.healths().unwrap(), [of_an_older_build]);
    lock(&journal.0.acts).execute("UPDATE health SET json = '{}'", []).unwrap();
    assert_eq!(journal.healths().unwrap(), []);
}

#[test]
fn cursors_are_kept_and_unknown_receivers_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.cursor("pager").unwrap(), None);
    journal.put_cursor("pager", 3).unwrap();
    journal.put_cursor("pager", 77).unwrap();
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.cursor("pager").unwrap(), Some(77));
    assert_eq!(journal.cursor("chat").unwrap(), None);
    // The events may be gone, their ids are not given again.
    assert_eq!(journal.last_event_id().unwrap(), 77);
}

#[test]
fn journal_in_memory_keeps_events_evidence_and_overrides_but_no_history() {
    let journal = SqliteJournal::in_memory().unwrap();
    journal.put_override(&drain(1)).unwrap();
    note(&journal, transition(1, 1, NOON, Health::Down, None));
    journal.note(Entry::Check { server: server(1).0, brief: brief(CheckStatus::L7Ok, None, NOON) });
    assert_eq!(journal.overrides().unwrap(), [drain(1)]);
    assert_eq!(ids(&journal, &EVERYTHING), [1]);
    assert_eq!(journal.history(server(1).0, ProbeSlot::FIRST, NOON, seconds(9)).unwrap(), []);
    let other = SqliteJournal::in_memory().unwrap();
    assert_eq!((other.overrides().unwrap(), ids(&other, &EVERYTHING)), (vec![], vec![]));
}

#[test]
fn thread_lost_to_a_bug_rings_and_nobody_waits_for_it() {
    let journal = SqliteJournal::in_memory().unwrap();
    let (ring, rung) = std::sync::mpsc::channel();
    journal.ring(Alarm::new(move |thread| ring.send(thread.to_owned()).unwrap()));
    let shared = Arc::clone(&journal.0.shared);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _leaving = writer::Leaving(shared);
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
    });
    assert_eq!(rung.recv_timeout(PATIENCE).unwrap(), "journal");
    journal.flush(PATIENCE);
}

#[test]
fn full_disk_loses_no_event_and_no_health_and_what_waits_is_written_once_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let pages_max = |pages: u64| {
        let connection = lock(&journal.0.shared.batches);
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    };
    note(&journal, transition(1, 1, NOON, Health::Down, None));
    assert_eq!(ids(&journal, &EVERYTHING), [1]);
    pages_max(1);
    for id in 2..=900 {
        note(&journal, transition(id, 1, NOON, Health::Down, None));
        journal.note(Entry::Check { server: server(1).0, brief: brief(CheckStatus::L7Ok, None, seconds(id)) });
    }
    journal.flush(Duration::from_millis(300));
    let counters = journal.counters();
    assert!(counters.failures > 0 && counters.events_written < 900, "{counters:?}");
    note(&journal, transition(901, 1, NOON, Health::Up, None));
    // What must be on disk has a connection of its own, and finds room or says so.
    journal.put_override(&drain(1)).unwrap();
    pages_max(1_000_000);
    journal.flush(PATIENCE);
    assert_eq!(ids(&journal, &EVERYTHING), (1..=901).collect::<Vec<_>>());
    let counters = journal.counters();
    assert_eq!((counters.events_lost, counters.checks_dropped, counters.backlog), (0, 0, 0));
    assert_eq!(journal.history(server(1).0, ProbeSlot::FIRST, NOON, seconds(999)).unwrap().len(), 899);
}
