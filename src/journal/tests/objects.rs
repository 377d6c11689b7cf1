//! Objects, staged changes and tasks: kept whole, for ever, and in files of earlier builds.

use rusqlite::Connection;

use super::*;
use crate::model::{
    Declaration, Made, ObjectBatch, ObjectId, ObjectKind, Staged, StagedChange, StagedKey, Task, TaskId, TaskStatus,
};

fn act() -> Act {
    Act { actor: "ops".into(), source: "::1".into(), reason: None, at: seconds(3) }
}

fn farm_made(id: u64, form: &str) -> Arc<Declaration> {
    Arc::new(Declaration {
        id: ObjectId(id),
        kind: ObjectKind::Farm,
        name: Name::parse(&format!("farm-{id}")).unwrap(),
        parent: None,
        shape: "native".into(),
        service: Some(ObjectId(9)),
        zone: Some("gra".into()),
        is_inert: true,
        form: form.into(),
        extras: "{\"displayName\":\"é\"}".into(),
        created_at: seconds(1),
        updated_at: seconds(2),
        version: 7,
    })
}

fn task(id: u64, status: TaskStatus) -> Task {
    Task {
        id: TaskId(id),
        action: "refresh".into(),
        is_refresh: true,
        status,
        zones: vec!["gra".into(), "bhs".into()],
        progress: 50,
        created_at: seconds(4),
        done_at: None,
        failure: Some("taken\nport".into()),
        act: act(),
    }
}

fn staged(change: StagedChange) -> Staged {
    Staged { zone: "gra".into(), change, writes: 3, act: act() }
}

#[test]
fn objects_staged_changes_and_tasks_are_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!(journal.objects().unwrap(), SavedObjects::default());
    let changes = [
        staged(StagedChange::Put(farm_made(12, "{}"))),
        staged(StagedChange::Delete(ObjectId(11))),
        staged(StagedChange::Wish(server(1).0, Wish::Admin(AdminStatus::Maintenance))),
        staged(StagedChange::Wish(server(1).0, Wish::Weight(Weight(0)))),
    ];
    let batch = ObjectBatch {
        put: vec![farm_made(10, "{}"), farm_made(11, "{\"a\":1}")],
        staged: changes.to_vec(),
        tasks: vec![task(1, TaskStatus::Todo), task(2, TaskStatus::Error)],
        last_object: 12,
        last_task: 2,
        ..ObjectBatch::default()
    };
    journal.commit_objects(&batch).unwrap();
    drop(journal);
    let journal = open(dir.path());
    let saved = journal.objects().unwrap();
    assert_eq!(saved.made, Made::from_iter(batch.put.clone()));
    assert_eq!((saved.last_object, saved.last_task), (12, 2));
    assert_eq!(saved.tasks, batch.tasks);
    let mut found = saved.staged;
    found.sort_by_key(Staged::key);
    let mut wanted = changes.to_vec();
    wanted.sort_by_key(Staged::key);
    assert_eq!(found, wanted);

    let after = ObjectBatch {
        put: vec![farm_made(10, "{\"b\":2}")],
        deleted: vec![ObjectId(11)],
        unstaged: changes.iter().map(Staged::key).filter(|key| *key != StagedKey::Object(ObjectId(12))).collect(),
        forgotten: vec![TaskId(1)],
        ..ObjectBatch::default()
    };
    journal.commit_objects(&after).unwrap();
    let saved = journal.objects().unwrap();
    assert_eq!(saved.made, Made::from_iter(after.put));
    assert_eq!((saved.staged.len(), saved.tasks.len()), (1, 1));
    assert_eq!((saved.last_object, saved.last_task), (12, 2), "ids are given out once");
}

#[test]
fn batch_that_fails_in_its_middle_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let side = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    side.execute_batch("CREATE TRIGGER no BEFORE INSERT ON task BEGIN SELECT RAISE(ABORT, 'no'); END;").unwrap();
    let batch = ObjectBatch {
        put: vec![farm_made(10, "{}")],
        tasks: vec![task(1, TaskStatus::Todo)],
        ..ObjectBatch::default()
    };
    assert!(journal.commit_objects(&batch).unwrap_err().to_string().contains("no"));
    assert!(journal.objects().unwrap().made.is_empty());
}

#[test]
fn file_of_the_third_layout_gets_the_tables_of_objects_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.put_override(&drain(1)).unwrap();
    drop(journal);
    let side = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    side.execute_batch(
        "DROP TABLE object; DROP TABLE staged; DROP TABLE task; DROP TABLE given; DROP TABLE traffic;
            PRAGMA user_version = 3",
    )
    .unwrap();
    drop(side);
    let journal = open(dir.path());
    assert_eq!(journal.overrides().unwrap(), [drain(1)]);
    journal.commit_objects(&ObjectBatch { put: vec![farm_made(10, "{}")], ..ObjectBatch::default() }).unwrap();
    assert_eq!(journal.objects().unwrap().made.len(), 1);
}
