//! The composition root: builds store, journal, prober, data plane and admin side, wires them, carries out commands.
//!
//! Threads: the workers; `prober` and `admin`, a runtime each; the caller's thread waits for commands. Stopping goes
//! outside in: the data plane finishes, then the prober stops, then the admin side, which answers to the last.

mod checks;
mod events;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::admin::server::AdminServer;
use crate::admin::{AdminState, Control, Credentials};
use crate::clock;
use crate::config::{ConfigErrors, Loaded};
use crate::journal::SqliteJournal;
use crate::lifecycle::{Command, Phase, Signals, notify};
use crate::metrics::ReloadCells;
use crate::model::settings::{AdminSettings, Settings};
use crate::model::{Act, Event, EventKind, FrontendId};
use crate::prober;
use crate::proxy::{Listeners, Plane};
use crate::report::report;
use crate::store::{EventSink, Journal, NoJournal, Store};
use crate::telemetry::access::{AccessLog, AccessWriter};

use checks::StoreChecks;

/// How long runtimes of the edges may take to end.
const RUNTIME_END: Duration = Duration::from_secs(2);

/// Reads the config again; the same at every reload.
pub type ConfigSource = Box<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// A running process.
pub struct App {
    core: Arc<Core>,
    plane: Plane,
    access_writer: Option<AccessWriter>,
    admin: Option<Edge>,
    admin_addr: Option<SocketAddr>,
    prober: Edge,
    runtime: Runtime,
    commands: mpsc::UnboundedReceiver<Command>,
    sender: mpsc::UnboundedSender<Command>,
}

/// What a reload needs.
struct Core {
    store: Arc<Store>,
    listeners: Listeners,
    source: ConfigSource,
    settings: Mutex<Settings>,
    reloads: Arc<ReloadCells>,
    one_at_a_time: Mutex<()>,
}

/// An edge on a thread of its own.
struct Edge {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Edge {
    fn stop(self) {
        self.stop.send_replace(true);
        // A panic in the edge was reported by its thread.
        let _ = self.thread.join();
    }
}

impl App {
    /// Starts everything that `loaded` declares. `source` is asked at each reload.
    ///
    /// # Errors
    /// One line for each reason: the journal, a listener, the admin side or a thread.
    pub fn start(loaded: Loaded, source: ConfigSource) -> anyhow::Result<Self> {
        let Loaded { topology, settings, warnings } = loaded;
        for warning in warnings {
            tracing::warn!("config: {warning}");
        }
        let workers = settings.workers.unwrap_or_else(cores);
        let reloads = Arc::new(ReloadCells::default());
        let admin = settings.admin.as_ref().map(|admin| AdminServer::bind(admin, Arc::clone(&reloads))).transpose()?;
        let access = settings.log.access.as_ref().map(|log| AccessLog::open(&log.path, log.format)).transpose();
        let access = access.context("log.access.path: cannot open the access log")?;
        let (access, access_writer) = access.unzip();

        let (changed, changes) = watch::channel(0);
        let sinks: Vec<EventSink> = vec![Box::new(events::log), Box::new(move |event| on_change(&changed, event))];
        let journal = open_journal(&settings)?;
        let store = Arc::new(Store::new(Arc::clone(&topology.service), workers, journal, sinks)?);
        let plane = Plane::start(&store, workers, access.as_ref(), rand::random())?;
        let listeners = plane.listeners();
        let checks_at_once = settings.checks_at_once;
        let admin_settings = settings.admin.clone();
        store.reload(topology, &listeners, clock::wall())?;
        reloads.started(clock::wall());
        let settings = Mutex::new(settings);
        let one_at_a_time = Mutex::new(());
        let core = Arc::new(Core { store, listeners, source, settings, reloads, one_at_a_time });

        let prober = start_prober(&core, changes, checks_at_once)?;
        let admin_addr = admin.as_ref().map(AdminServer::local_addr);
        let admin = match admin.zip(admin_settings) {
            Some((server, settings)) => Some(start_admin(&core, server, settings)?),
            None => None,
        };
        let (sender, commands) = mpsc::unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { core, plane, access_writer, admin, admin_addr, prober, runtime, commands, sender })
    }

    /// Returns where the admin side listens, if it does.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
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
    /// If signals cannot be listened to.
    pub fn serve(self) -> anyhow::Result<()> {
        let Self { core, plane, access_writer, admin, prober, runtime, mut commands, .. } = self;
        let ended = runtime.block_on(async {
            let mut signals = Signals::listen().context("cannot listen to signals")?;
            notify(Phase::Ready);
            while next_command(&mut signals, &mut commands).await == Command::Reload {
                let core = Arc::clone(&core);
                // Its result is logged and counted by the reload itself.
                let _ = tokio::task::spawn_blocking(move || core.reload()).await;
            }
            notify(Phase::Stopping);
            let grace = core.settings().grace;
            tracing::info!(grace_ms = grace.as_millis(), "stopping: finishing what is open");
            plane.shutdown(grace);
            let finished = tokio::task::spawn_blocking(|| {
                plane.join();
                // The workers' ends of the access log are gone with them.
                if let Some(writer) = access_writer {
                    writer.join();
                }
            });
            tokio::select! {
                _ = finished => Ok(Ended::Finished),
                () = second_stop(&mut signals, &mut commands) => Ok(Ended::Cut),
            }
        });
        let ended: anyhow::Result<Ended> = ended;
        let ended = ended?;
        runtime.shutdown_background();
        if ended == Ended::Cut {
            tracing::warn!("stopped at once: open connections cut");
            return Ok(());
        }
        prober.stop();
        if let Some(admin) = admin {
            admin.stop();
        }
        tracing::info!("stopped");
        Ok(())
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

async fn next_command(signals: &mut Signals, commands: &mut mpsc::UnboundedReceiver<Command>) -> Command {
    tokio::select! {
        command = signals.next() => command,
        Some(command) = commands.recv() => command,
    }
}

async fn second_stop(signals: &mut Signals, commands: &mut mpsc::UnboundedReceiver<Command>) {
    while next_command(signals, commands).await == Command::Reload {
        tracing::warn!("reload refused: the process is stopping");
    }
}

impl Core {
    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the config again and makes it live, whole or not at all. Blocking. The error has every reason, one a line.
    fn reload(&self) -> Result<(), String> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
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
        let Loaded { topology, settings, warnings } = (self.source)().map_err(|errors| errors.to_string())?;
        for warning in warnings {
            tracing::warn!("config: {warning}");
        }
        self.store.reload(topology, &self.listeners, clock::wall()).map_err(|error| error.to_string())?;
        let mut live = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let same_but_grace = Settings { grace: live.grace, ..settings.clone() };
        if same_but_grace != *live {
            tracing::warn!("workers, state_dir, checks_at_once, admin and log take effect at the next start");
        }
        live.grace = settings.grace;
        Ok(())
    }
}

/// The admin side's way to reload: on a blocking thread, so that its runtime goes on answering.
struct Reloader(Arc<Core>);

impl Control for Reloader {
    fn reload<'a>(&'a self, act: Act) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            tracing::info!(actor = &*act.actor, source = &*act.source, "reload asked for");
            let reloaded = tokio::task::spawn_blocking(move || core.reload()).await;
            reloaded.unwrap_or_else(|error| Err(format!("the reload did not finish: {error}")))
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tells the prober when its targets may differ: not after every transition.
fn on_change(changed: &watch::Sender<u64>, event: &Event) {
    match event.kind {
        EventKind::Reloaded { .. } => {
            changed.send_modify(|n| *n += 1);
        }
        EventKind::Changed { .. } | EventKind::FarmServing { .. } | EventKind::Transition { .. } => {}
    }
}

fn open_journal(settings: &Settings) -> anyhow::Result<Box<dyn Journal>> {
    let Some(dir) = &settings.state_dir else { return Ok(Box::new(NoJournal)) };
    let (journal, aside) = SqliteJournal::open(dir)?;
    if let Some(aside) = aside {
        let aside = aside.display();
        tracing::error!(%aside, "journal was damaged: set aside, starting without its overrides");
    }
    Ok(Box::new(journal))
}

fn start_prober(core: &Core, changes: watch::Receiver<u64>, checks_at_once: usize) -> anyhow::Result<Edge> {
    let source = Arc::new(StoreChecks::new(Arc::clone(&core.store)));
    on_own_thread("prober", move |stopped| async move {
        prober::run(source, changes, checks_at_once, rand::random(), stopped).await;
    })
}

fn start_admin(core: &Arc<Core>, server: AdminServer, settings: AdminSettings) -> anyhow::Result<Edge> {
    let AdminSettings { tokens, ovh, zenlayer, .. } = settings;
    let state = AdminState {
        store: Arc::clone(&core.store),
        credentials: Arc::new(Credentials { tokens, ovh, zenlayer }),
        control: Arc::new(Reloader(Arc::clone(core))),
    };
    tracing::info!(address = %server.local_addr(), fingerprint = server.fingerprint(), "admin open");
    on_own_thread("admin", move |stopped| async move {
        if let Err(error) = server.serve(state, stopped).await {
            tracing::error!(error = %report(&error), "admin side ended");
        }
    })
}

fn on_own_thread<F>(name: &str, work: impl FnOnce(watch::Receiver<bool>) -> F + Send + 'static) -> anyhow::Result<Edge>
where
    F: Future<Output = ()>,
{
    let (stop, stopped) = watch::channel(false);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || {
        runtime.block_on(work(stopped));
        runtime.shutdown_timeout(RUNTIME_END);
    });
    let thread = thread.map_err(|error| anyhow!("cannot start the {name} thread: {error}"))?;
    Ok(Edge { stop, thread })
}
