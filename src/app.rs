//! The composition root: builds store, journal, prober, data plane and admin side, wires them, carries out commands.
//!
//! Threads: the workers; `prober`, `admin` and `webhook`, a runtime each; `keeper`, which keeps the Store's time;
//! `journal`, which writes; the caller's thread waits for commands. Stopping goes outside in: the data plane finishes,
//! then the prober and the keeper stop, then the admin side, which answers to the last.

mod acme;
mod admin_side;
mod answers;
mod certificates;
mod checks;
mod control;
mod edges;
mod events;
mod free;
mod keeper;
mod limits;
mod memory;
mod objects;
mod own;
mod privileges;
mod upgrade;
mod webhooks;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::admin::Credentials;
use crate::admin::server::AdminServer;
use crate::admin::tls::Tls;
use crate::alarm::Alarm;
use crate::clock;
use crate::config::{ConfigErrors, Declared, Loaded};
use crate::farm::sticky::StickyKey;
use crate::journal::SqliteJournal;
use crate::lifecycle::{Command, Phase, Signals, notify};
use crate::metrics::ReloadCells;
use crate::model::settings::{self, Settings};
use crate::model::{Event, EventKind, Farm, FrontendId, ProbeKind, Topology};
use crate::objects::Objects;
use crate::prober;
use crate::proxy::{Farewell, Listeners, Plane, Provision};
use crate::report::report;
use crate::store::{EventSink, Store};
use crate::telemetry::access::{AccessHandle, AccessLog, AccessWriter};
use crate::telemetry::traces::{PostError, SpanWriter, Tracing};

use answers::{Answers, Told};
use certificates::Caring;
use checks::StoreChecks;
use edges::{Edge, Edges, on_own_thread};
use keeper::Keeper;
use objects::{MadeObjects, Overtaking, Refresher, Restored, Work};
use own::AdminPlace;
use upgrade::{Estate, Inherited};
use webhooks::Webhooks;

pub use upgrade::refuse_takeover;

/// Reads the config again; the same at every reload.
pub type ConfigSource = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// A running process.
pub struct App {
    core: Arc<Core>,
    journal: SqliteJournal,
    plane: Plane,
    access_writer: Option<AccessWriter>,
    span_writer: Option<SpanWriter>,
    edges: Edges,
    admin_addr: Option<SocketAddr>,
    fingerprint: Option<String>,
    runtime: Runtime,
    signals: Signals,
    commands: mpsc::UnboundedReceiver<Command>,
    sender: mpsc::UnboundedSender<Command>,
    lost: watch::Receiver<Option<String>>,
}

/// What a reload needs.
struct Core {
    store: Arc<Store>,
    listeners: Arc<Listeners>,
    objects: Arc<MadeObjects>,
    source: ConfigSource,
    settings: Mutex<Settings>,
    credentials: Arc<ArcSwap<Credentials>>,
    reloads: Arc<ReloadCells>,
    one_at_a_time: Mutex<()>,
    is_stopping: AtomicBool,
    access: Option<AccessHandle>,
    /// The certificates of the admin side.
    admin_tls: Option<Arc<Tls>>,
    /// What a new process is handed beside the frontends.
    estate: Estate,
    /// The process that serves instead of this one.
    replaced: watch::Sender<Option<u32>>,
}

impl App {
    /// Starts everything that `loaded` declares. `source` is asked at each reload.
    ///
    /// # Errors
    /// One line for each reason: the journal, a listener, the admin side or a thread.
    pub fn start(loaded: Loaded, source: ConfigSource) -> anyhow::Result<Self> {
        let Loaded { topology, declared, settings, warnings } = loaded;
        tell(warnings);
        limits::raise(&topology);
        // From here on a signal is a command, however early it comes.
        let listening = listen_to_signals()?;
        let mut inherited = Inherited::take(&settings, &topology)?;
        let started = Self::start_with(&mut inherited, listening, (topology, declared, settings), source);
        if let Err(error) = &started {
            inherited.failed(&report(error.as_ref()).to_string());
        }
        started
    }

    fn start_with(
        inherited: &mut Inherited,
        (runtime, signals): (Runtime, Signals),
        (topology, declared, settings): (Topology, Declared, Settings),
        source: ConfigSource,
    ) -> anyhow::Result<Self> {
        let (alarm, lost) = alarm();
        let workers = settings.workers.unwrap_or_else(cores);
        let reloads = Arc::new(ReloadCells::default());
        let (admin, admin_socket) = admin_side::bind(&settings, &reloads, inherited)?;
        privileges::become_user(&settings, &topology, workers, inherited)?;
        let admin_tls = admin_side::keep_certificate(&settings, admin.as_ref())?;
        let (access, access_writer) = settings.log.access.as_ref().map(open_access_log).transpose()?.unzip();
        let access_handle = access_writer.as_ref().map(AccessWriter::handle);
        let (tracing, span_writer) = start_tracing(&settings)?;
        let spans = span_writer.as_ref().map(SpanWriter::handle);
        let (changed, changes) = watch::channel(0);
        inherited.prepared()?;
        let journal = open_journal(&settings, &alarm)?;
        let restored = restore(&journal, &settings, (declared, topology), admin.as_ref())?;
        let topology = restored.topology();
        let overtaking = Arc::new(Overtaking::default());
        let (keeping, pokes) = keeper::channel();
        let (told, webhooks) = Webhooks::prepare(&settings.webhooks, &journal)?;
        let answers = Answers::new(&settings, &journal, &webhooks, Told { access: access_handle.clone(), spans })?;
        let sinks = sinks(changed, [keeping.sink(), answers.sink(), told, overtaking.sink()]);
        let store = Arc::new(Store::new(Arc::clone(&topology.service), workers, Arc::new(journal.clone()), sinks)?);
        let cookie_key = inherited.cookie_key();
        let provision = provision(&settings, StickyKey::new(cookie_key.0));
        let told = (access.as_ref(), tracing.as_ref());
        let plane = Plane::start(&store, workers, told, provision, Arc::new(keeping), &alarm)?;
        store.set_sessions(plane.sessions());
        let listeners = Arc::new(plane.listeners());
        let caring = Caring::prepare(&settings, plane.certificates());
        let checks_at_once = settings.checks_at_once;
        listeners.adopt(std::mem::take(&mut inherited.frontends));
        store.reload(topology, &*listeners, clock::wall())?;
        let (objects, works) = MadeObjects::new(restored, &store, listeners.clone(), &overtaking);
        reloads.started(clock::wall());
        let credentials = Arc::new(ArcSwap::from_pointee(Credentials::of(settings.admin.as_ref())));
        let core = Arc::new(Core {
            store,
            listeners,
            objects,
            source,
            settings: Mutex::new(settings),
            credentials,
            reloads,
            one_at_a_time: Mutex::new(()),
            is_stopping: AtomicBool::new(false),
            access: access_handle,
            admin_tls,
            estate: Estate::new(journal.clone(), admin_socket, cookie_key),
            replaced: watch::Sender::new(None),
        });
        let (admin_addr, fingerprint) = admin_side::shown(admin.as_ref());
        let beside = Beside { pokes, works, changes, checks_at_once, caring, webhooks, admin, answers };
        let edges = beside.start(&core, &plane, &alarm)?;
        let (sender, commands) = mpsc::unbounded_channel();
        inherited.ready()?;
        core.listeners.own_files();
        Ok(Self {
            core,
            journal,
            plane,
            access_writer,
            span_writer,
            edges,
            admin_addr,
            fingerprint,
            runtime,
            signals,
            commands,
            sender,
            lost,
        })
    }

    /// Returns where the admin side listens, if it does.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Returns the SHA-256 of the admin side's certificate, if it was made at start.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Returns where frontends listen.
    #[must_use]
    pub fn bound(&self) -> Vec<(FrontendId, SocketAddr)> {
        self.core.listeners.bound()
    }

    /// Returns what commands may be sent to beside signals.
    #[must_use]
    pub fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.sender.clone()
    }

    /// Carries commands and signals out until stopped; returns once everything has ended, or at once when told to
    /// stop a second time.
    ///
    /// # Errors
    /// If a thread was lost to a bug.
    pub fn serve(self) -> anyhow::Result<()> {
        let Self {
            core,
            journal,
            plane,
            access_writer,
            span_writer,
            edges,
            runtime,
            mut signals,
            mut commands,
            lost,
            ..
        } = self;
        let mut edges = Some(edges);
        let (ended, lost) = runtime.block_on(async {
            notify(Phase::Ready);
            let left = carry_out(&core, &mut signals, &mut commands, lost).await;
            core.is_stopping.store(true, Ordering::Release);
            core.estate.let_go();
            let (phase, farewell, lost) = match left {
                Ok(Left::Replaced { by }) => (Phase::Replaced { by }, Farewell::Polite, Ok(())),
                Ok(Left::Told) => (Phase::Stopping, Farewell::Abrupt, Ok(())),
                Err(lost) => (Phase::Stopping, Farewell::Abrupt, Err(lost)),
            };
            notify(phase);
            core.listeners.let_go(farewell == Farewell::Polite);
            let grace = core.settings().grace;
            tracing::info!(grace_ms = grace.as_millis(), "stopping: finishing what is open");
            plane.shutdown(grace, farewell);
            // Who was replaced has nothing to check, to tell or to answer any more: the new process does.
            let early = if farewell == Farewell::Polite { edges.take() } else { None };
            let finished = tokio::task::spawn_blocking(|| {
                if let Some(edges) = early {
                    edges.stop();
                }
                plane.join();
                // The workers' ends of the access log and the traces are gone with them.
                if let Some(writer) = access_writer {
                    writer.join();
                }
                if let Some(writer) = span_writer {
                    writer.join();
                }
            });
            let ended = tokio::select! {
                _ = finished => Ended::Finished,
                () = second_stop(&core, &mut signals, &mut commands) => Ended::Cut,
            };
            (ended, lost)
        });
        runtime.shutdown_background();
        if ended == Ended::Cut {
            journal.close();
            tracing::warn!("stopped at once: open connections cut");
            return lost;
        }
        if let Some(edges) = edges {
            edges.stop();
        }
        journal.close();
        tracing::info!("stopped");
        lost
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("admin", &self.admin_addr).finish_non_exhaustive()
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Cut,
    Finished,
}

/// What the edges are started with.
struct Beside {
    pokes: keeper::Pokes,
    works: Receiver<Work>,
    changes: watch::Receiver<u64>,
    checks_at_once: usize,
    caring: Caring,
    webhooks: Webhooks,
    admin: Option<AdminServer>,
    answers: Answers,
}

impl Beside {
    fn start(self, core: &Arc<Core>, plane: &Plane, alarm: &Alarm) -> anyhow::Result<Edges> {
        let Self { pokes, works, changes, checks_at_once, caring, webhooks, admin, answers } = self;
        let keeper = Keeper::start(&core.store, pokes, alarm)?;
        let refresher = Refresher::start(&core.objects, works, alarm)?;
        let objects: Arc<dyn Objects> = core.objects.clone();
        let certificates = caring.start(&core.store, &objects, alarm)?;
        let prober = start_prober(core, changes, checks_at_once, alarm)?;
        let webhooks = webhooks.start(alarm)?;
        let state = answers.state(core, plane.requests(), plane.certificates(), plane.memory());
        let admin = admin.map(|server| admin_side::start(server, state, alarm)).transpose()?;
        Ok(Edges { prober, certificates, refresher, keeper, admin, webhooks })
    }
}

/// Returns what is told of every event: the log first, then whoever checks again.
fn sinks(changed: watch::Sender<u64>, others: [EventSink; 4]) -> Vec<EventSink> {
    let changing: EventSink = Box::new(move |event| on_change(&changed, event));
    let logging: EventSink = Box::new(|event| events::log(event));
    [logging, changing].into_iter().chain(others).collect()
}

/// Returns what rings when a thread is lost, and what then has its name.
fn alarm() -> (Alarm, watch::Receiver<Option<String>>) {
    let (losing, lost) = watch::channel(None);
    let ring = move |thread: &str| {
        losing.send_replace(Some(thread.to_owned()));
    };
    (Alarm::new(ring), lost)
}

/// Logs what a config file may mean otherwise than it says.
fn tell(warnings: impl IntoIterator<Item = impl std::fmt::Display>) {
    for warning in warnings {
        tracing::warn!("config: {warning}");
    }
}

fn listen_to_signals() -> anyhow::Result<(Runtime, Signals)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::listen().context("cannot listen to signals")?
    };
    Ok((runtime, signals))
}

/// Why the process ends.
enum Left {
    /// Another one serves.
    Replaced { by: u32 },
    /// It was told to.
    Told,
}

/// Carries reloads out until told to stop, or replaced, or until a thread is lost, which is the error.
async fn carry_out(
    core: &Arc<Core>,
    signals: &mut Signals,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    mut lost: watch::Receiver<Option<String>>,
) -> anyhow::Result<Left> {
    let mut replaced = core.replaced.subscribe();
    loop {
        tokio::select! {
            // Whoever is replaced leaves as such, whatever else it was told: its successor has the sockets.
            biased;
            Ok(by) = replaced.wait_for(Option::is_some) => {
                let by = by.unwrap_or_default();
                return Ok(Left::Replaced { by });
            }
            command = next_command(signals, commands) => match command {
                Command::Stop => return Ok(Left::Told),
                Command::Upgrade => {
                    let core = Arc::clone(core);
                    // Its result is logged by the upgrade itself; meanwhile the process can be stopped.
                    drop(tokio::task::spawn_blocking(move || core.upgrade(None)));
                }
                Command::Reload => {
                    let core = Arc::clone(core);
                    // Its result is logged and counted by the reload itself.
                    let _ = tokio::task::spawn_blocking(move || core.reload()).await;
                }
                Command::Rotate => core.rotate(),
            },
            Ok(thread) = lost.wait_for(Option::is_some) => {
                let thread = thread.clone().unwrap_or_default();
                tracing::error!(thread, "thread lost to a bug: stopping, to be started again");
                return Err(anyhow!("the {thread} thread was lost to a bug; its panic is above, please report it"));
            }
        }
    }
}

async fn next_command(signals: &mut Signals, commands: &mut mpsc::UnboundedReceiver<Command>) -> Command {
    tokio::select! {
        command = signals.next() => command,
        Some(command) = commands.recv() => command,
    }
}

async fn second_stop(core: &Core, signals: &mut Signals, commands: &mut mpsc::UnboundedReceiver<Command>) {
    loop {
        match next_command(signals, commands).await {
            Command::Reload => tracing::warn!("reload refused: the process is stopping"),
            Command::Rotate => core.rotate(),
            Command::Stop => return,
            Command::Upgrade => tracing::warn!("upgrade refused: the process is stopping"),
        }
    }
}

impl Core {
    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens log files again, which whoever rotates them has moved away.
    fn rotate(&self) {
        match &self.access {
            Some(access) => access.reopen(),
            None => tracing::info!("no access log to open again"),
        }
    }

    /// Reads the config again and makes it live, whole or not at all. Blocking. The error has every reason, one a line.
    fn reload(&self) -> Result<(), String> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Acquire) {
            return Err("the process is stopping; nothing was changed".to_owned());
        }
        notify(Phase::Reloading);
        let outcome = self.try_reload();
        match &outcome {
            Ok(()) => self.reloads.applied(clock::wall()),
            Err(reasons) => {
                self.reloads.refused();
                for reason in reasons.lines() {
                    tracing::error!(reason, "reload refused: the old config stays live");
                }
            }
        }
        notify(Phase::Ready);
        outcome
    }

    fn try_reload(&self) -> Result<(), String> {
        let Loaded { topology, declared, settings, warnings } = (self.source)().map_err(|errors| errors.to_string())?;
        tell(warnings);
        self.refuse_new_commands(&topology)?;
        let tls = admin_side::renewed_tls(self.admin_tls.as_ref(), settings.admin.as_ref())?;
        self.objects.reload(declared, topology)?;
        if let Some((tls, renewed)) = tls {
            tls.put(renewed);
        }
        let mut live = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.credentials.store(Arc::new(Credentials::of(settings.admin.as_ref())));
        let fixed = settings.fixed_differences(&live);
        if !fixed.is_empty() {
            tracing::warn!(keys = fixed.join(", "), "settings changed that take effect at the next start");
        }
        live.grace = settings.grace;
        Ok(())
    }

    /// A file that may be rewritten while the process runs does not by itself make it run programs: whoever started it
    /// must have allowed that.
    fn refuse_new_commands(&self, topology: &Topology) -> Result<(), String> {
        let is_allowed = self.settings().admin.is_some_and(|admin| admin.allow_commands);
        let is_command =
            |farm: &Arc<Farm>| farm.probes_with_slots().any(|(_, probe)| matches!(probe.kind, ProbeKind::Command(_)));
        match topology.farms.iter().find(|farm| !is_allowed && is_command(farm)) {
            None => Ok(()),
            Some(farm) => Err(format!(
                "farms.{}: a command probe needs admin.allow_commands, which takes effect at the next start; restart, or \
                 remove the probe",
                farm.name
            )),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tells the prober when its targets may differ: not after every transition.
fn on_change(changed: &watch::Sender<u64>, event: &Event) {
    match event.kind {
        EventKind::Edited { .. } | EventKind::Reloaded { .. } => {
            changed.send_modify(|n| *n += 1);
        }
        EventKind::Certificate { .. }
        | EventKind::Changed { .. }
        | EventKind::Checking { .. }
        | EventKind::Commanded { .. }
        | EventKind::Credential { .. }
        | EventKind::FarmServing { .. }
        | EventKind::Incident { .. }
        | EventKind::Left { .. }
        | EventKind::OrderEnded { .. }
        | EventKind::Refresh { .. }
        | EventKind::StandingChanged { .. }
        | EventKind::Transition { .. } => {}
    }
}

fn open_access_log(log: &settings::AccessLog) -> anyhow::Result<(AccessLog, AccessWriter)> {
    AccessLog::open(log).with_context(|| {
        format!("log.access.path: cannot open {:?}; check its directory and the permissions", log.path)
    })
}

/// Reads what was made through APIs, beside what the file declares; no server may be where the admin side listens.
fn restore(
    journal: &SqliteJournal,
    settings: &Settings,
    (declared, topology): (Declared, Topology),
    admin: Option<&AdminServer>,
) -> anyhow::Result<Restored> {
    let restored = Restored::read(journal, settings.state_dir.as_deref(), declared, topology)?;
    restored.beside(AdminPlace(admin.map(AdminServer::local_addr)))
}

/// Starts the traces, where there are any, and the thread that posts their spans, where these go anywhere.
fn start_tracing(settings: &Settings) -> Result<(Option<Tracing>, Option<SpanWriter>), PostError> {
    let Some(declared) = &settings.tracing else { return Ok((None, None)) };
    let (tracing, writer) = Tracing::start(declared)?;
    Ok((Some(tracing), writer))
}

/// Returns what the data plane is given beside the Store.
fn provision(settings: &Settings, sticky_key: StickyKey) -> Provision {
    Provision { entropy: rand::random(), sticky_key, memory: memory::bound(settings.memory) }
}

fn open_journal(settings: &Settings, alarm: &Alarm) -> anyhow::Result<SqliteJournal> {
    let (journal, aside) = match &settings.state_dir {
        Some(dir) => SqliteJournal::open(dir, settings.journal)?,
        None => (SqliteJournal::in_memory()?, None),
    };
    if settings.state_dir.is_none() && settings.admin.is_some() {
        tracing::warn!("no state_dir: what is set or made through the admin side ends with this process");
    }
    journal.ring(alarm.clone());
    if let Some(aside) = aside {
        let is_log = aside.as_os_str().as_encoded_bytes().ends_with(b"-wal");
        let (aside, lost) = (aside.display(), if is_log { "what was kept last" } else { "what it kept" });
        tracing::error!(%aside, "journal was damaged: set aside, starting without {lost}");
    }
    Ok(journal)
}

fn start_prober(
    core: &Core,
    changes: watch::Receiver<u64>,
    checks_at_once: usize,
    alarm: &Alarm,
) -> anyhow::Result<Edge> {
    let source = Arc::new(StoreChecks { store: Arc::clone(&core.store), own: core.objects.own() });
    on_own_thread("prober", alarm, move |stopped| async move {
        prober::run(source, changes, checks_at_once, rand::random(), stopped).await;
    })
}
