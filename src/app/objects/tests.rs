//! Writes, refreshes and tasks as they are wired, with a journal on the disk and listeners that are none.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::alarm::Alarm;
use crate::config;
use crate::model::settings::JournalLimits;
use crate::model::{AdminStatus, Change as ServerChange, Frontend, Name, ObjectKind, Weight};
use crate::objects::whole::{self, Maker};
use crate::objects::{Edit, Replace};
use crate::store::PreparedListeners;

const FILE: &str = "
service: it
frontends: {}
farms:
  web: {protocol: http, servers: {a: {address: '10.0.0.1:80', weight: 5}}}
";
/// Farms and servers of each that the promise of speed is about.
const FARMS: usize = 1000;
const SERVERS: usize = 10;
/// How much slower a build for tests on a busy machine may be than the promise, which is for a release build on two
/// cores that are free.
const SLACK: u32 = if cfg!(debug_assertions) { 60 } else { 1 };
const EDIT_MAX: Duration = Duration::from_millis(50);
const REFRESH_MAX: Duration = Duration::from_secs(1);

struct AnyHost;

impl ListenerHost for AnyHost {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        struct Nothing;
        impl PreparedListeners for Nothing {
            fn commit(self: Box<Self>) {}
        }
        Ok(Box::new(Nothing))
    }
}

struct Running {
    store: Arc<Store>,
    objects: Arc<MadeObjects>,
    refresher: Option<Refresher>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let text = FILE;
        let missing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let loaded = config::parse("farmgate.yaml", text, &|_| None, &missing).unwrap();
        let (journal, _) = SqliteJournal::open(dir, JournalLimits::DEFAULT).unwrap();
        let service = Arc::clone(&loaded.topology.service);
        let restored = Restored::read(&journal, Some(dir), loaded.declared, loaded.topology).unwrap();
        let overtaking = Arc::new(Overtaking::default());
        let store = Store::new(service, 2, Arc::new(journal), vec![overtaking.sink()]).unwrap();
        let store = Arc::new(store);
        store.reload(restored.topology(), &AnyHost, clock::wall()).unwrap();
        let (objects, works) = MadeObjects::new(restored, &store, Arc::new(AnyHost), &overtaking);
        let refresher = Refresher::start(&objects, works, &Alarm::new(|_| {})).unwrap();
        Self { store, objects, refresher: Some(refresher) }
    }

    fn edit(&self, when: When<'_>, plan: impl Fn(&Desk<'_>) -> Result<Vec<Edit>, EditError>) -> Edited {
        self.objects.edit(&plan, when, &act()).unwrap()
    }

    fn refreshed(&self) -> Task {
        let task = self.objects.refresh(None, "refresh", &act()).unwrap();
        let end = clock::monotonic() + Duration::from_secs(60);
        loop {
            let view = self.objects.view();
            let task = view.tasks.iter().find(|it| it.id == task.id).unwrap();
            if task.status.is_final() {
                return task.clone();
            }
            assert!(clock::monotonic() < end, "{task:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.refresher.take().into_iter().for_each(Refresher::stop);
    }
}

fn act() -> Act {
    Act { actor: "ops".into(), source: "::1".into(), reason: None, at: clock::wall() }
}

fn maker() -> Maker {
    Maker { shape: "native".into(), service: None, zone: None }
}

fn farm_edits(desk: &Desk<'_>, n: usize) -> Result<Vec<Edit>, EditError> {
    let server = |s: usize| (format!("s{s}"), json!({"address": format!("10.{}.{}.{s}:80", 1 + n / 250, n % 250)}));
    let servers: serde_json::Map<String, Value> = (0..SERVERS).map(server).collect();
    let Value::Object(form) = json!({"protocol": "http", "servers": servers}) else { unreachable!() };
    whole::create_farm(desk, &maker(), &Name::parse(&format!("farm-{n}")).unwrap(), form)
}

#[expect(clippy::print_stdout, reason = "the numbers are what people run it for")]
fn told(numbers: &str) {
    println!("{numbers}");
}

/// The promise of speed, and that nothing of it is lost with the process.
#[test]
fn thousand_farms_go_live_in_one_refresh_and_one_of_them_changes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    for first in (0..FARMS).step_by(100) {
        running.edit(When::Staged { zone: "all" }, |desk| {
            let edits: Result<Vec<_>, _> = (first..first + 100).map(|n| farm_edits(desk, n)).collect();
            Ok(edits?.into_iter().flatten().collect())
        });
    }
    assert_eq!(running.store.load().farms.len(), 1);
    let began = clock::monotonic();
    let task = running.refreshed();
    let refresh = began.elapsed();
    assert_eq!(task.status, TaskStatus::Done, "{task:?}");
    assert_eq!(running.store.load().farms.len(), FARMS + 1);

    let view = running.objects.view();
    let server = view.live.topology().farms[500].servers[3].clone();
    let mut times = Vec::new();
    for weight in 1..=9_u16 {
        let form = json!({"address": server.address.to_string(), "weight": weight + 1}).to_string();
        let began = clock::monotonic();
        running.edit(When::Live, |_| {
            let replace = Replace { id: server.id.into(), form: Some(form.as_str().into()), ..Replace::default() };
            Ok(vec![Edit::Replace(replace)])
        });
        times.push(began.elapsed());
    }
    times.sort_unstable();
    told(&format!(
        "refresh of {FARMS} farms of {SERVERS}: {refresh:?}; one edit: {:?}, slowest {:?}",
        times[4], times[8]
    ));
    assert!(refresh <= REFRESH_MAX * SLACK, "{refresh:?}");
    assert!(times[4] <= EDIT_MAX * SLACK, "{times:?}");
    drop(running);
    let running = Running::start(dir.path());
    let topology = running.objects.view().live.topology();
    assert_eq!((topology.farms.len(), topology.farms[500].servers[3].weight), (FARMS + 1, Weight(10)));
}

#[test]
fn refresh_that_was_accepted_is_carried_out_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    running.edit(When::Staged { zone: "all" }, |desk| farm_edits(desk, 1));
    // The process ends between the answer and the work.
    running.refresher.take().into_iter().for_each(Refresher::stop);
    let task = running.objects.refresh(None, "refresh", &act()).unwrap();
    assert_eq!(task.status, TaskStatus::Todo);
    drop(running);
    let running = Running::start(dir.path());
    let end = clock::monotonic() + Duration::from_secs(60);
    // What is live is shown a moment before what was staged is gone.
    while running.store.load().farms.len() < 2 || !running.objects.view().staged.is_empty() {
        assert!(clock::monotonic() < end, "{:?}", running.objects.view().tasks);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(running.objects.view().tasks[0].id, task.id);
}

#[test]
fn task_is_told_of_for_two_days_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let done = running.refreshed().done_at.unwrap();
    let open = running.objects.begin_task("certificate", &["gra".into()], &act()).unwrap();
    running.objects.forget_tasks(done + (TASK_AGE_MAX - Duration::from_secs(1)));
    assert_eq!(running.objects.view().tasks.len(), 2);
    running.objects.forget_tasks(done + TASK_AGE_MAX);
    assert_eq!(running.objects.view().tasks, std::slice::from_ref(&open));
    let doing = running.objects.report_task(open.id, Ok(40)).unwrap();
    assert_eq!((doing.status, doing.progress, doing.done_at), (TaskStatus::Doing, 40, None));
    let failed = running.objects.report_task(open.id, Err("no answer")).unwrap();
    assert_eq!((failed.status, failed.failure.as_deref()), (TaskStatus::Error, Some("no answer")));
    assert!(running.objects.report_task(TaskId(99), Ok(1)).is_err());
    drop(running);
    assert_eq!(Running::start(dir.path()).objects.view().tasks, [failed]);
}

#[test]
fn live_change_of_a_server_drops_what_was_staged_before_it_and_not_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let farm = &running.store.load().farms[0];
    let server = ServerKey { farm: farm.farm.id, server: farm.servers[0].server.id };
    let staged = |wish| running.edit(When::Staged { zone: "all" }, |_| Ok(vec![Edit::Wish { server, wish }]));
    staged(Wish::Admin(AdminStatus::Drain));
    running.store.change(&ServerChange::plain(server, Wish::Admin(AdminStatus::Maintenance)), act()).unwrap();
    // Staged after the live change was told, perhaps before it was looked at.
    assert_eq!(staged(Wish::Admin(AdminStatus::Active)).changes, 1);
    let view = running.objects.view();
    assert_eq!(view.staged.len(), 1, "{:?}", view.staged);
    assert_eq!(running.refreshed().status, TaskStatus::Done);
    assert_eq!(running.objects.live_value(server, Field::Admin), Some(Wish::Admin(AdminStatus::Active)));
    // What is live already is nothing to wait for.
    assert_eq!(staged(Wish::Weight(Weight(5))).changes, 0);
    staged(Wish::Weight(Weight(6)));
    staged(Wish::Weight(Weight(5)));
    assert!(running.objects.view().staged.is_empty());
}

#[test]
fn certificate_is_in_its_files_as_long_as_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let form =
        |text: &str| serde_json::Map::from_iter([("cert", text), ("key", "k")].map(|(k, v)| (k.to_owned(), v.into())));
    let id = std::cell::Cell::new(ObjectId(0));
    running.edit(When::Live, |desk| {
        id.set(desk.fresh_id());
        Ok(vec![maker().create(id.get(), ObjectKind::Certificate, &Name::parse("shop").unwrap(), None, form("one"))])
    });
    let id = id.get();
    let [cert, key] = running.objects.certificate_files(id).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!((read(&cert), read(&key)), ("one".to_owned(), "k".to_owned()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let replaced = whole::replaced(id, form("two"));
    running.edit(When::Staged { zone: "gra" }, |_| Ok(vec![replaced.clone()]));
    assert_eq!(read(&cert), "one", "what is staged is not shown");
    assert_eq!(running.refreshed().status, TaskStatus::Done);
    assert_eq!(read(&cert), "two");
    // A start makes the files what the journal says.
    drop(running);
    std::fs::write(&cert, "broken").unwrap();
    let nobodys = cert.with_file_name("7.key.pem");
    std::fs::write(&nobodys, "k").unwrap();
    let running = Running::start(dir.path());
    assert_eq!((read(&cert), nobodys.exists()), ("two".to_owned(), false));
    let told = format!("{:?}", running.objects.edit(&|_| Ok(vec![Edit::Delete { id }]), When::Live, &act()));
    assert!(!cert.exists() && !key.exists(), "{told}");
}
