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

mod conflicts;

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
        Self::with(dir, FILE)
    }

    fn with(dir: &Path, text: &str) -> Self {
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

/// Whoever may refresh must not be able to keep everybody from it.
#[test]
fn task_too_many_takes_the_place_of_the_oldest_that_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let open = running.objects.begin_task("certificate", &["gra".into()], &act()).unwrap();
    for _ in 0..TASKS_MAX + 5 {
        assert_eq!(running.objects.refresh(None, "refresh", &act()).unwrap().status, TaskStatus::Done);
    }
    let ids = |running: &Running| running.objects.view().tasks.iter().map(|task| task.id.0).collect::<Vec<_>>();
    let told = ids(&running);
    assert_eq!((told.len(), told[0], told[1]), (TASKS_MAX, open.id.0, open.id.0 + 7));
    drop(running);
    let running = Running::start(dir.path());
    assert_eq!(ids(&running), told);
    // Those under way are not forgotten.
    for _ in 1..TASKS_MAX {
        running.objects.begin_task("certificate", &["gra".into()], &act()).unwrap();
    }
    let error = running.objects.refresh(None, "refresh", &act()).unwrap_err().to_string();
    assert_eq!(error, format!("tasks under way are more than {TASKS_MAX}"));
}

fn server_edit(desk: &Desk<'_>, farm: crate::model::FarmId, form: &Value) -> Vec<Edit> {
    let Value::Object(form) = form.clone() else { unreachable!() };
    vec![whole::create_server(desk, &maker(), farm, &Name::parse("x").unwrap(), form)]
}

/// Returns why a server of the file's first farm is refused, if it is.
fn refused_server(running: &Running, when: When<'_>, form: &Value) -> Option<String> {
    let farm = running.objects.view().live.of_file().farms[0].id;
    let edited = running.objects.edit(&|desk| Ok(server_edit(desk, farm, form)), when, &act());
    edited.err().map(|error| error.to_string())
}

#[test]
fn server_names_no_file_and_no_socket_that_the_config_file_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().display();
    for name in ["open/ca.pem", "shut/ca.pem", "open/app.sock"] {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let file = format!(
        "
service: {{name: it, api_files: ['{top}/open'], api_sockets: ['{top}/open']}}
frontends: {{}}
farms:
  web: {{protocol: http, tls: {{ca: '{top}/shut/of-the-farm.pem'}}, servers: {{a: 'a.test:443'}}}}
"
    );
    let running = Running::with(dir.path(), &file);
    let path = |name: &str| format!("{top}/{name}");
    let ca = |name: &str| json!({"address": "b.test:443", "tls": {"ca": path(name)}});
    let pair = |name: &str| json!({"address": "b.test:443", "tls": {"cert": path(name), "key": path(name)}});
    let unix = |name: &str| json!({"address": format!("unix:{}", path(name)), "tls": {"sni": "b.test"}});
    let bad = [
        (ca("shut/ca.pem"), "farms.web.servers.x.tls.ca: \"", "file that no API may name; bring it with POST"),
        (ca("open/../shut/ca.pem"), "farms.web.servers.x.tls.ca: \"", "file that no API may name"),
        (pair("shut/ca.pem"), "farms.web.servers.x.tls.cert: \"", "service.api_files\nfarms.web.servers.x.tls.key: \""),
        // The authority of its farm is not also its key.
        (pair("shut/of-the-farm.pem"), "farms.web.servers.x.tls.cert: \"", "file that no API may name"),
        (json!({"address": "b.test:443", "tls": {"ca": "/dev/ptmx"}}), "farms.web.servers.x.tls.ca: \"/dev/ptmx\"", ""),
        (
            unix("shut/app.sock"),
            "farms.web.servers.x.address: \"",
            "Unix socket that no API may name; name its directory",
        ),
    ];
    for (form, key, why) in bad {
        for when in [When::Live, When::Staged { zone: "gra" }] {
            let told = refused_server(&running, when, &form).unwrap_or_default();
            assert!(told.starts_with(key) && told.contains(why), "{form}: {told}");
        }
    }
    assert!(running.objects.view().staged.is_empty());
    let shelf = Shelf::open(Some(dir.path()), [&World::empty(), &World::empty()]).unwrap();
    let [cert, key] = shelf.files(ObjectId(FIRST_MADE_ID)).unwrap();
    let good = [
        ca("open/ca.pem"),
        pair("open/ca.pem"),
        // As the file has it for the whole farm.
        ca("shut/of-the-farm.pem"),
        json!({"address": "b.test:443"}),
        json!({"address": "b.test:443", "tls": {"cert": cert, "key": key}}),
        unix("open/app.sock"),
    ];
    for form in good {
        assert_eq!(refused_server(&running, When::Live, &form), None, "{form}");
        let view = running.objects.view();
        let id = view.live.made().iter().next().unwrap().id;
        running.edit(When::Live, |_| Ok(vec![Edit::Delete { id }]));
    }
}

/// As an earlier version kept it.
#[test]
fn object_that_names_what_it_may_not_any_more_starts_and_stays_and_may_go() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let farm = running.objects.view().live.of_file().farms[0].id;
    let form = |ca: &str| json!({"address": "b.test:443", "tls": {"ca": ca}});
    running.edit(When::Live, |desk| Ok(server_edit(desk, farm, &json!({"address": "b.test:443"}))));
    let made = running.objects.view().live.made().iter().next().unwrap().clone();
    let old = crate::model::Declaration { form: form("/dev/ptmx").to_string().into(), ..(*made).clone() };
    let mut batch = ObjectBatch { last_object: made.id.0, ..ObjectBatch::default() };
    put_into(&mut batch, &[Change::Put(Arc::new(old))]);
    running.objects.journal.commit_objects(&batch).unwrap();
    drop(running);
    let running = Running::start(dir.path());
    let tls = |running: &Running| running.store.load().farms[0].servers[1].server.tls.is_some();
    assert!(tls(&running));
    // What is next to it can be written, and it itself only with what it may name.
    running.edit(When::Live, |desk| farm_edits(desk, 1));
    let replace = |form: &Value| {
        let form = Some(form.to_string().into());
        let edit = Edit::Replace(Replace { id: made.id, form, ..Replace::default() });
        running.objects.edit(&|_| Ok(vec![edit.clone()]), When::Live, &act())
    };
    let weighed = json!({"address": "b.test:443", "weight": 7, "tls": {"ca": "/dev/ptmx"}});
    assert!(replace(&weighed).unwrap_err().to_string().contains("no API may name"));
    replace(&json!({"address": "b.test:443"})).unwrap();
    assert!(!tls(&running));
}
