//! The worker threads: one per core, each with a single-threaded runtime that accepts, serves and retires.
//!
//! A worker is told what to do by [`Command`]s and owns everything it serves with: sockets, engine, connections to
//! servers, choosers. It ends when told to shut down, as soon as its last connection has ended or the grace is over.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::pingora::proxy::HttpProxy;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alarm::Alarm;
use crate::clock;
use crate::farm::sticky::StickyKey;
use crate::metrics::WorkerIx;
use crate::model::FrontendId;
use crate::store::{Faults, Requests, Sessions, Store};
use crate::telemetry::access::AccessLog;
use crate::telemetry::traces::Tracing;

use super::accept::Listeners;
use super::command::{Bound, Command, Farewell, ListenerId};
use super::entry::{Ceiling, Census, Common, Door, Listener, accept_until};
use super::http::pingora::{Engine, engine};
use super::memory::Memory;
use super::owner::Owner;
use super::rate::Rates;
use super::registry::Registry;
use super::sessions::Watch;
use super::sticking::SharedSticking;
use super::tls::Certificates;
use super::udp;
use super::upstream_tls::ClientConfigs;
use super::work::{Shared, Work};

/// The data plane could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start worker {worker}: {cause}; check the limits on threads and open files")]
pub struct PlaneError {
    /// Which worker.
    pub worker: usize,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// Every worker of the process.
#[derive(Debug)]
pub struct Plane {
    commands: Vec<UnboundedSender<Command>>,
    works: Vec<Weak<Work>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    certificates: Arc<Certificates>,
    memory: Arc<Memory>,
}

/// What the plane is handed from outside.
#[derive(Debug)]
pub struct Provision {
    /// Seeds the phases of the workers' turns and the request ids.
    pub entropy: u64,
    /// Seals the sticky cookies of farms that name no key: without one, a client's cookie is worth nothing to the
    /// next process.
    pub sticky_key: StickyKey,
    /// Bytes that the process may hold, if that is bounded.
    pub memory: Option<u64>,
}

impl Plane {
    /// Starts so many workers; `faults` is told of failing traffic by their threads, `alarm` rings if one is lost.
    ///
    /// # Errors
    /// [`PlaneError`] if a thread or its runtime cannot be made.
    pub fn start(
        store: &Arc<Store>,
        workers: usize,
        (access, tracing): (Option<&AccessLog>, Option<&Tracing>),
        provision: Provision,
        faults: Arc<dyn Faults>,
        alarm: &Alarm,
    ) -> Result<Self, PlaneError> {
        let Provision { entropy, sticky_key, memory } = provision;
        let memory = Memory::new(memory);
        let sticking = Arc::new(SharedSticking::new(sticky_key));
        let certificates = Certificates::new();
        let (store, challenges) = (Arc::clone(store), Arc::clone(certificates.challenges()));
        let (rates, started) = (Rates::new(entropy), clock::monotonic());
        let (tracing, memory_too) = (tracing.cloned(), Arc::clone(&memory));
        let shared =
            Arc::new(Shared { store, faults, sticking, challenges, rates, tracing, memory: memory_too, started });
        let mut plane = Self {
            commands: Vec::new(),
            works: Vec::new(),
            threads: Vec::new(),
            certificates: Arc::clone(&certificates),
            memory,
        };
        let common = Arc::new(Common {
            census: Census::default(),
            certificates,
            ceiling: Ceiling::now(),
            newcomers: udp::Newcomers::default(),
        });
        for n in 0..workers {
            let failed = |cause| PlaneError { worker: n, cause };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let seed = entropy.wrapping_add((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let work = Work::new(WorkerIx(n), Arc::clone(&shared), access.cloned(), seed);
            plane.works.push(Arc::downgrade(&work));
            let (sender, receiver) = unbounded_channel();
            let thread = std::thread::Builder::new().name(format!("worker-{n}"));
            let guard = alarm.guard(&format!("worker-{n}"));
            let common = Arc::clone(&common);
            let body = move || {
                let _guard = guard;
                runtime.block_on(async { Worker::new(work, common).run(receiver).await });
            };
            let thread = thread.spawn(body).map_err(failed)?;
            plane.commands.push(sender);
            plane.threads.push(thread);
        }
        Ok(plane)
    }

    /// Returns what opens and closes listeners on these workers.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        Listeners::new(self.commands.clone(), Arc::clone(&self.certificates))
    }

    /// Returns the certificates that clients are shown; it may outlive the plane.
    #[must_use]
    pub fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Returns what keeps the process within its memory; it may outlive the plane.
    #[must_use]
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Returns what counts and closes what is open on servers; it may outlive the plane.
    #[must_use]
    pub fn sessions(&self) -> Arc<dyn Sessions> {
        self.watch()
    }

    /// Returns what tells of recent requests; it may outlive the plane.
    #[must_use]
    pub fn requests(&self) -> Arc<dyn Requests> {
        self.watch()
    }

    fn watch(&self) -> Arc<Watch> {
        let workers = self.works.iter().cloned().zip(self.commands.iter().cloned()).collect();
        Arc::new(Watch { workers })
    }

    /// Tells every worker to stop accepting and to end once idle, after `grace` at the latest.
    pub fn shutdown(&self, grace: Duration, farewell: Farewell) {
        for worker in &self.commands {
            let _ = worker.send(Command::Shutdown { grace, farewell });
        }
    }

    /// Waits until every worker has ended. A worker that panicked has said so already.
    pub fn join(self) {
        drop(self.commands);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

struct Worker {
    work: Arc<Work>,
    common: Arc<Common>,
    engine: Arc<HttpProxy<Engine>>,
    registry: Arc<Registry>,
    configs: Arc<ClientConfigs>,
    is_stopping: watch::Sender<bool>,
    listeners: HashMap<ListenerId, Accepting>,
}

/// A listener that is accepted on.
struct Accepting {
    owner: Owner,
    stop: watch::Sender<bool>,
    door: JoinHandle<()>,
}

impl Worker {
    fn new(work: Arc<Work>, common: Arc<Common>) -> Self {
        Self {
            engine: engine(Arc::clone(&work)),
            work,
            common,
            registry: Arc::default(),
            configs: Arc::default(),
            is_stopping: watch::Sender::new(false),
            listeners: HashMap::new(),
        }
    }

    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        if self.work.ix == WorkerIx(0) {
            // Ends with the runtime.
            tokio::spawn(Arc::clone(self.work.memory()).watch());
        }
        while let Some(command) = commands.recv().await {
            match command {
                Command::Assign { listener, frontend } => {
                    if let Some(accepting) = self.listeners.get(&listener) {
                        accepting.owner.assign(frontend);
                    }
                }
                Command::Close { listener, closed } => self.close(listener, closed),
                Command::Cut { server } => self.work.cut(server),
                Command::Open { listener, frontend, socket } => self.open(listener, frontend, socket),
                Command::Shutdown { grace, farewell } => return self.finish(grace, farewell, commands).await,
                Command::TableChanged => {
                    self.work.forget_gone_farms();
                    let table = self.work.store.load();
                    self.common.census.forget_except(|frontend| table.frontend(frontend).is_some());
                }
            }
        }
    }

    fn open(&mut self, listener: ListenerId, frontend: FrontendId, socket: Bound) {
        let owner = Owner::new(frontend);
        let (stop, stopped) = watch::channel(false);
        let opened = match socket {
            Bound::Tcp(socket) => Listener::tcp(socket).map(|socket| self.accept(listener, &owner, socket, stopped)),
            Bound::Unix(socket) => Listener::unix(socket).map(|socket| self.accept(listener, &owner, socket, stopped)),
            Bound::Udp(socket) => self.receive(listener, &owner, socket, stopped),
        };
        match opened {
            Ok(door) => {
                self.listeners.insert(listener, Accepting { owner, stop, door });
            }
            Err(error) => {
                tracing::error!(%error, worker = self.work.ix.0, "listener lost: it cannot be registered");
            }
        }
    }

    fn accept(
        &self,
        listener: ListenerId,
        owner: &Owner,
        socket: Listener,
        stopped: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let door = Arc::new(Door {
            listener,
            owner: owner.clone(),
            work: Arc::clone(&self.work),
            engine: Arc::clone(&self.engine),
            registry: Arc::clone(&self.registry),
            configs: Arc::clone(&self.configs),
            common: Arc::clone(&self.common),
            is_stopping: self.is_stopping.subscribe(),
        });
        tokio::spawn(accept_until(door, socket, stopped))
    }

    fn receive(
        &self,
        listener: ListenerId,
        owner: &Owner,
        socket: UdpSocket,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<JoinHandle<()>> {
        let (work, registry, common) = (Arc::clone(&self.work), Arc::clone(&self.registry), Arc::clone(&self.common));
        let door = udp::Door::new(listener, owner.clone(), work, registry, common, socket)?;
        Ok(tokio::spawn(udp::receive_until(door, stopped)))
    }

    fn close(&mut self, listener: ListenerId, closed: Sender<()>) {
        if let Some(Accepting { stop, door, .. }) = self.listeners.remove(&listener) {
            stop.send_replace(true);
            self.registry.retire(Some(listener));
            tokio::spawn(async move {
                // A door that panicked has said so, and its socket is closed as well.
                let _ = door.await;
                drop(closed);
            });
        }
    }

    /// Accepts no more and waits until nothing is open, for the grace at the longest. Until then what is open on a
    /// server is still cut when that is asked.
    async fn finish(mut self, grace: Duration, farewell: Farewell, mut commands: UnboundedReceiver<Command>) {
        match farewell {
            Farewell::Abrupt => {
                self.is_stopping.send_replace(true);
            }
            Farewell::Polite => self.registry.be_polite(),
        }
        // Order means nothing: every door is told the same.
        let stop = |accepting: Accepting| {
            accepting.stop.send_replace(true);
            accepting.door
        };
        let doors: Vec<_> = std::mem::take(&mut self.listeners).into_values().map(stop).collect();
        for door in doors {
            // A door that panicked has said so, and accepts no more either.
            let _ = door.await;
        }
        self.registry.retire(None);
        let emptied = async {
            let mut emptied = pin!(self.registry.emptied());
            loop {
                tokio::select! {
                    () = &mut emptied => return,
                    Some(command) = commands.recv() => if let Command::Cut { server } = command {
                        self.work.cut(server);
                    },
                }
            }
        };
        if tokio::time::timeout(grace, emptied).await.is_err() {
            let left = self.registry.count();
            tracing::warn!(worker = self.work.ix.0, left, "grace is over: connections cut");
        }
    }
}
