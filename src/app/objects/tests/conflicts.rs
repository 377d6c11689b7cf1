//! What is staged and what is made live by others meanwhile, in any order: nobody's refresh hangs on what its maker can
//! neither see nor take back.

use proptest::prelude::*;

use super::*;
use crate::model::{Declaration, Staged};

const SERVICE: &str = "service: {name: it, addresses: [10.0.0.1], api_ports: 8000-8009}";
const OLD: &str = "  old: {protocol: http, servers: {a: '10.0.0.2:80'}}\n";
const SITE: &str = "  site: {protocol: http, listen: ['10.0.0.1:80'], farm: web}\n";

/// The file: with these farms and frontends beside the farm `web`.
fn file(farms: &str, frontends: &str) -> String {
    let web = "  web: {protocol: http, servers: {a: {address: '10.0.0.1:80', weight: 5}}}\n";
    let other = "  kept: {protocol: http, listen: ['10.0.0.1:81'], farm: web}\n";
    format!("{SERVICE}\nfrontends:\n{other}{frontends}farms:\n{web}{farms}")
}

impl Running {
    fn reload(&self, text: &str) -> Result<(), String> {
        let missing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let loaded = config::parse("farmgate.yaml", text, &|_| None, &missing).unwrap();
        self.objects.reload(loaded.declared, loaded.topology)
    }

    fn try_edit(&self, when: When<'_>, plan: impl Fn(&Desk<'_>) -> Result<Vec<Edit>, EditError>) -> Result<(), String> {
        self.objects.edit(&plan, when, &act()).map(drop).map_err(|error| error.to_string())
    }

    fn staged(&self) -> Vec<String> {
        let view = self.objects.view();
        view.staged.iter().map(|staged| path_of(&view, staged)).collect()
    }
}

fn path_of(view: &View, staged: &Staged) -> String {
    let id = match staged.key() {
        StagedKey::Object(id) => id,
        StagedKey::Field(server, _) => server.server.into(),
    };
    view.ahead.path(id).or_else(|| view.live.path(id)).unwrap_or_default().join(".")
}

const STAGED: When<'static> = When::Staged { zone: "local" };

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn world<'v>(desk: &Desk<'v>, when: When<'_>) -> &'v World {
    match when {
        When::Live => &desk.view.live,
        When::Staged { .. } => &desk.view.ahead,
    }
}

fn unknown<T>(found: Option<T>) -> Result<T, EditError> {
    found.ok_or(EditError::Unknown { kind: "object", id: 0 })
}

/// A write, by names.
#[derive(Clone, Debug)]
enum Write {
    Farm(&'static str),
    FarmGone(&'static str),
    FarmSpeaks(&'static str, &'static str),
    Frontend(&'static str, u16, &'static str),
    FrontendChanges(&'static str, u16, &'static str),
    FrontendGone(&'static str),
    Route(&'static str, &'static str),
    RouteGone(&'static str),
    Server(&'static str, &'static str),
    ServerGone(&'static str, &'static str),
    Weight(&'static str, &'static str, u16),
}

impl Write {
    fn plan(&self, desk: &Desk<'_>, when: When<'_>) -> Result<Vec<Edit>, EditError> {
        let world = world(desk, when);
        let farm = |name: &str| unknown(world.farm_named(name));
        let frontend = |name: &str| unknown(world.frontend_named(name));
        let server = |of: &str, name: &str| {
            let farm = farm(of)?;
            let all = world.servers_of(farm);
            let id = unknown(all.iter().find(|(it, _)| it.as_str() == name))?.1;
            Ok(ServerKey { farm, server: id })
        };
        let form = |json: Value| json.as_object().unwrap().clone();
        let listens = |port: u16, farm: &str| {
            form(json!({"protocol": "http", "listen": [format!("10.0.0.1:{port}")], "farm": farm}))
        };
        match *self {
            Self::Farm(of) => whole::create_farm(desk, &maker(), &name(of), form(json!({"protocol": "http"}))),
            Self::FarmGone(of) => Ok(vec![Edit::Delete { id: farm(of)?.into() }]),
            Self::FarmSpeaks(of, what) => Ok(vec![whole::replaced(farm(of)?.into(), form(json!({"protocol": what})))]),
            Self::Frontend(of, port, farm) => whole::create_frontend(desk, &maker(), &name(of), listens(port, farm)),
            Self::FrontendChanges(of, port, farm) => {
                Ok(vec![whole::replaced(frontend(of)?.into(), listens(port, farm))])
            }
            Self::FrontendGone(of) => Ok(vec![Edit::Delete { id: frontend(of)?.into() }]),
            Self::Route(of, to) => {
                let route = form(json!({"priority": 1, "action": {"farm": to}}));
                whole::create_one_route(desk, world, &maker(), frontend(of)?, &name("r"), route)
            }
            Self::RouteGone(of) => {
                let made = world.made().named(Some(frontend(of)?.into()), ObjectKind::Route, "r");
                Ok(vec![Edit::Delete { id: unknown(made)?.id }])
            }
            Self::Server(of, called) => {
                let form = form(json!({"address": "10.0.0.9:80"}));
                Ok(vec![whole::create_server(desk, &maker(), farm(of)?, &name(called), form)])
            }
            Self::ServerGone(of, called) => Ok(vec![Edit::Delete { id: server(of, called)?.server.into() }]),
            Self::Weight(of, called, weight) => {
                Ok(vec![Edit::Wish { server: server(of, called)?, wish: Wish::Weight(Weight(weight)) }])
            }
        }
    }
}

impl Running {
    fn write(&self, when: When<'_>, write: &Write) -> Result<(), String> {
        self.try_edit(when, |desk| write.plan(desk, when))
    }

    #[track_caller]
    fn writes(&self, when: When<'_>, writes: &[Write]) {
        for write in writes {
            self.write(when, write).unwrap_or_else(|error| panic!("{write:?}: {error}"));
        }
    }

    #[track_caller]
    fn is_refreshed(&self) {
        let task = self.refreshed();
        assert_eq!(task.status, TaskStatus::Done, "{task:?}");
        assert_eq!(self.staged(), Vec::<String>::new());
    }

    fn has_farm(&self, name: &str) -> bool {
        self.objects.view().live.has_farm(name)
    }
}

fn started(farms: &str, frontends: &str) -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::with(dir.path(), &file(farms, frontends));
    (dir, running)
}

#[test]
fn staged_change_goes_with_what_a_reload_takes_away() {
    let (_dir, running) = started(OLD, SITE);
    running.writes(
        STAGED,
        &[
            Write::Server("old", "x"),
            Write::Weight("old", "a", 7),
            Write::Frontend("f", 8001, "old"),
            Write::Route("f", "web"),
            Write::Route("site", "web"),
            Write::Route("kept", "old"),
            Write::Server("web", "b"),
        ],
    );
    // A server that is kept only, because it has no port yet, is no less a part of its farm.
    let kept = |desk: &Desk<'_>| {
        let farm = unknown(desk.view.ahead.farm_named("old"))?;
        let mut edit = whole::create_server(desk, &maker(), farm, &name("kept"), serde_json::Map::new());
        if let Edit::Create(create) = &mut edit {
            create.is_inert = true;
        }
        Ok(vec![edit])
    };
    running.edit(STAGED, kept);
    running.reload(&file("", "")).unwrap();
    assert_eq!(running.staged(), ["farms.web.servers.b"]);
    running.is_refreshed();
    running.reload(&file(OLD, SITE)).unwrap();
    let farm = running.objects.view().live.farm_named("old").unwrap();
    assert_eq!(running.objects.view().live.servers_of(farm).len(), 1, "nothing comes back");
    // What is live refuses the reload, whether it is in force or kept.
    running.edit(When::Live, kept);
    let told = running.reload(&file("", SITE)).unwrap_err();
    assert!(told.contains("its farm is not in the file any more; keep the farm, or remove the server first"), "{told}");
}

#[test]
fn journal_whose_staged_changes_hang_on_nothing_is_mended_at_the_start() {
    let (dir, running) = started(OLD, "");
    running.writes(STAGED, &[Write::Server("old", "x"), Write::Frontend("f", 8001, "old"), Write::Farm("k")]);
    drop(running);
    let running = Running::with(dir.path(), &file("", ""));
    assert_eq!(running.staged(), ["farms.k"]);
    let dropped = running.objects.view();
    assert!(dropped.ahead.made().iter().all(|it| it.kind == ObjectKind::Farm), "{:?}", dropped.ahead.made());
    drop(running);
    let running = Running::with(dir.path(), &file(OLD, ""));
    assert_eq!(running.staged(), ["farms.k"], "it was kept that they are gone");
    running.is_refreshed();
}

#[test]
fn staged_removal_of_what_something_live_uses_is_dropped_whole() {
    let (_dir, running) = started("", "");
    for (n, user) in [
        Write::Server("k", "y"),
        Write::Frontend("f", 8001, "k"),
        Write::Route("kept", "k"),
        Write::Weight("k", "x", 3),
    ]
    .into_iter()
    .enumerate()
    {
        running.writes(When::Live, &[Write::Farm("k"), Write::Server("k", "x"), Write::Server("k", "z")]);
        running.writes(STAGED, &[Write::FarmGone("k")]);
        assert_eq!(running.staged().len(), 3);
        running.writes(When::Live, std::slice::from_ref(&user));
        assert_eq!(running.staged(), Vec::<String>::new(), "{n}: {user:?}");
        running.is_refreshed();
        let farm = running.objects.view().live.farm_named("k").unwrap();
        assert!(running.objects.view().live.servers_of(farm).len() >= 2, "{user:?}");
        for gone in [Write::FrontendGone("f"), Write::RouteGone("kept"), Write::FarmGone("k")] {
            let _ = running.write(When::Live, &gone);
        }
        assert!(!running.has_farm("k"));
    }
    // A removal of its own is not part of the one that is dropped.
    running.writes(When::Live, &[Write::Farm("k"), Write::Server("k", "x"), Write::Server("k", "z")]);
    running.writes(STAGED, &[Write::ServerGone("k", "x")]);
    std::thread::sleep(Duration::from_millis(2));
    running.writes(STAGED, &[Write::FarmGone("k")]);
    running.writes(When::Live, &[Write::Frontend("f", 8001, "k")]);
    assert_eq!(running.staged(), ["farms.k.servers.x"]);
    running.is_refreshed();
}

/// A frontend that was to leave the farm stays with it after all.
#[test]
fn staged_removal_is_dropped_when_what_made_room_for_it_is_taken_back() {
    for second in [Write::FarmGone("k"), Write::FarmSpeaks("k", "tcp")] {
        let (_dir, running) = started("", "");
        running.writes(When::Live, &[Write::Farm("k"), Write::Frontend("f", 8001, "k")]);
        running.writes(STAGED, &[Write::FrontendChanges("f", 8001, "web"), second.clone()]);
        running.write(STAGED, &Write::FrontendChanges("f", 8001, "k")).unwrap();
        assert_eq!(running.staged(), [""; 0], "{second:?}");
        running.is_refreshed();
        assert!(running.has_farm("k"), "{second:?}");
    }
}

#[test]
fn live_removal_of_what_staged_changes_name_is_refused_and_names_them() {
    let (_dir, running) = started("", "");
    running.writes(When::Live, &[Write::Farm("k")]);
    running.writes(STAGED, &[Write::Frontend("f", 8001, "k"), Write::Route("kept", "k"), Write::Server("k", "x")]);
    let told = running.write(When::Live, &Write::FarmGone("k")).unwrap_err();
    assert_eq!(
        told,
        "farms.k: is used by frontends.f (staged), frontends.kept.routes.r (staged); change or remove them first"
    );
    running.writes(STAGED, &[Write::FrontendGone("f"), Write::RouteGone("kept")]);
    // What is part of it goes with it.
    running.writes(When::Live, &[Write::FarmGone("k")]);
    assert_eq!(running.staged(), Vec::<String>::new());
    running.is_refreshed();
}

#[test]
fn conflict_between_others_is_no_reason_to_refuse_a_write() {
    let (_dir, running) = started("", "");
    running.writes(STAGED, &[Write::Frontend("ce", 8001, "web"), Write::Farm("twice")]);
    running.writes(When::Live, &[Write::Frontend("live", 8001, "web")]);
    running.reload(&file("  twice: {protocol: http, servers: {}}\n", "")).unwrap();
    running.writes(
        STAGED,
        &[
            Write::Frontend("f", 8002, "web"),
            Write::Farm("k"),
            Write::Server("k", "x"),
            Write::Server("web", "x"),
            Write::FarmSpeaks("k", "tcp"),
        ],
    );
    let told = running.write(STAGED, &Write::Frontend("g", 8001, "web")).unwrap_err();
    assert!(told.starts_with("frontends.g.listen[0]: 10.0.0.1:8001 is taken by frontends."), "{told}");
    let told = running.write(STAGED, &Write::Farm("twice")).unwrap_err();
    assert!(told.starts_with("farms.twice: there is one already"), "{told}");
    // The refresh says what is wrong, one after the other.
    let failure = |running: &Running| running.refreshed().failure.unwrap_or_default();
    assert!(failure(&running).starts_with("farms.twice: there is one already, declared at"), "{}", failure(&running));
    let view = running.objects.view();
    let twice = view.staged.iter().find(|it| path_of(&view, it) == "farms.twice").unwrap().key();
    let StagedKey::Object(twice) = twice else { panic!("{twice:?}") };
    running.edit(STAGED, |_| Ok(vec![Edit::Delete { id: twice }]));
    assert_eq!(
        &*failure(&running),
        "frontends.ce.listen[0]: 10.0.0.1:8001 is taken by frontends.live.listen[0]; choose another address or port"
    );
    running.writes(STAGED, &[Write::FrontendChanges("ce", 8003, "web")]);
    running.is_refreshed();
}

#[test]
fn certificate_that_something_live_shows_stays_and_one_that_staged_changes_show_is_not_removed() {
    let (_dir, running) = started("", "");
    let pem =
        |text: &str| serde_json::Map::from_iter([("cert".to_owned(), json!(text)), ("key".to_owned(), json!("k"))]);
    let id = std::cell::Cell::new(ObjectId(0));
    running.edit(When::Live, |desk| {
        id.set(desk.fresh_id());
        Ok(vec![maker().create(id.get(), ObjectKind::Certificate, &name("shop"), None, pem("one"))])
    });
    let id = id.get();
    let shows = |when: When<'_>, of: &str, port: u16| {
        let [cert, key] = running.objects.certificate_files(id).unwrap();
        let tls = json!({"certificates": [{"cert": cert, "key": key}]});
        let form = json!({"protocol": "http", "listen": [format!("10.0.0.1:{port}")], "farm": "web", "tls": tls});
        let form = form.as_object().unwrap();
        running.edit(when, |desk| whole::create_frontend(desk, &maker(), &name(of), form.clone()));
    };
    shows(STAGED, "f", 8001);
    let delete = |when: When<'_>| running.try_edit(when, |_| Ok(vec![Edit::Delete { id }]));
    let told = delete(When::Live).unwrap_err();
    assert_eq!(told, "certificates.shop: is used by frontends.f (staged); change or remove them first");
    running.writes(STAGED, &[Write::FrontendGone("f")]);
    delete(STAGED).unwrap();
    shows(When::Live, "g", 8002);
    assert_eq!(running.staged(), Vec::<String>::new());
    running.is_refreshed();
    assert!(running.objects.certificate_files(id).unwrap().iter().all(|file| file.exists()));
}

/// What is done, one after the other.
#[derive(Clone, Debug)]
enum Step {
    Live(Write),
    Refresh,
    Reload(usize),
    Restart,
    Staged(Write),
}

/// The files that a reload puts in the place of one another.
fn files() -> [String; 5] {
    let narrow = file(OLD, SITE).replace("8000-8009", "8002-8009");
    [file(OLD, SITE), file("", ""), file("", SITE), file("  k1: {protocol: http, servers: {}}\n", ""), narrow]
}

fn write() -> impl Strategy<Value = Write> {
    let farm = || prop::sample::select(vec!["k1", "k1", "k2", "old", "web"]);
    let frontend = || prop::sample::select(vec!["f1", "f1", "f2", "site", "kept"]);
    let server = || prop::sample::select(vec!["a", "x"]);
    prop_oneof![
        2 => farm().prop_map(Write::Farm),
        2 => farm().prop_map(Write::FarmGone),
        1 => (farm(), prop::sample::select(vec!["http", "tcp"])).prop_map(|(it, what)| Write::FarmSpeaks(it, what)),
        3 => (frontend(), 8000..8004_u16, farm()).prop_map(|(it, port, farm)| Write::Frontend(it, port, farm)),
        2 => (frontend(), 8000..8004_u16, farm()).prop_map(|(it, port, farm)| Write::FrontendChanges(it, port, farm)),
        1 => frontend().prop_map(Write::FrontendGone),
        2 => (frontend(), farm()).prop_map(|(it, farm)| Write::Route(it, farm)),
        1 => frontend().prop_map(Write::RouteGone),
        2 => (farm(), server()).prop_map(|(it, server)| Write::Server(it, server)),
        1 => (farm(), server()).prop_map(|(it, server)| Write::ServerGone(it, server)),
        1 => (farm(), server(), 1..9_u16).prop_map(|(it, server, weight)| Write::Weight(it, server, weight)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => write().prop_map(Step::Live),
        9 => write().prop_map(Step::Staged),
        1 => Just(Step::Refresh),
        2 => (0..files().len()).prop_map(Step::Reload),
        1 => Just(Step::Restart),
    ]
}

/// Returns what a refresh of everything says, were it made now.
fn outlook(live: &World, staged: &[Staged]) -> Result<(), EditError> {
    let due = Staging::of(staged.to_vec()).due(None);
    let (after, touched) = live.with(&due.changes);
    after.check(&touched)
}

/// Takes back, as whoever staged it would, the staged change that a failure names. Returns whether there is one.
fn taken_back(running: &Running, failure: &str) -> bool {
    let view = running.objects.view();
    // The weight that is staged of a server goes with it; a removal cannot fail.
    let named = view.staged.iter().find_map(|staged| {
        let path = path_of(&view, staged);
        let StagedChange::Put(put) = &staged.change else { return None };
        failure.lines().any(|line| line.starts_with(&path)).then_some(put)
    });
    let Some(put) = named else { return false };
    let back = |was: &Arc<Declaration>| {
        let (form, extras) = (Some(Arc::clone(&was.form)), Some(Arc::clone(&was.extras)));
        Edit::Replace(Replace { id: was.id, form, extras, is_inert: Some(was.is_inert), ..Replace::default() })
    };
    let edit = view.live.made().get(put.id).map_or(Edit::Delete { id: put.id }, back);
    running.try_edit(STAGED, |_| Ok(vec![edit.clone()])).unwrap_or_else(|error| panic!("{edit:?}: {error}"));
    true
}

/// Checks the promise of the module's doc.
fn check(running: &Running) {
    let view = running.objects.view();
    let whole = view.ahead.made();
    let again = view.live.with(&Staging::of(view.staged.clone()).changes()).0;
    assert_eq!(**whole, **again.made(), "what is to be is what is live and what is staged");
    let Err(error) = outlook(&view.live, &view.staged) else { return };
    let failure = error.to_string();
    let is_named =
        view.staged.iter().any(|staged| failure.lines().any(|line| line.starts_with(&path_of(&view, staged))));
    assert!(is_named, "{failure}: {:#?}", view.staged);
}

fn run(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut text = files()[0].clone();
    let mut running = Running::with(dir.path(), &text);
    for step in steps {
        match step {
            Step::Live(write) => drop(running.write(When::Live, write)),
            Step::Refresh => {
                let view = running.objects.view();
                let says = outlook(&view.live, &view.staged).map_err(|error| error.to_string().into_boxed_str());
                assert_eq!(running.refreshed().failure, says.err());
            }
            Step::Reload(n) => {
                let new = &files()[*n];
                if running.reload(new).is_ok() {
                    text.clone_from(new);
                }
            }
            Step::Restart => {
                drop(running);
                running = Running::with(dir.path(), &text);
            }
            Step::Staged(write) => drop(running.write(STAGED, write)),
        }
        check(&running);
    }
    let mut left = running.objects.view().staged.len();
    while let Some(failure) = running.refreshed().failure {
        assert!(taken_back(&running, &failure), "{failure}: {:#?}", running.objects.view().staged);
        let now = running.objects.view().staged.len();
        assert!(now < left, "{failure}");
        left = now;
    }
    assert_eq!(running.staged(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_writes_and_reloads_leaves_a_refresh_hanging(steps in prop::collection::vec(step(), 1..24)) {
        run(&steps);
    }
}
