//! The worker threads: one per core, each with a single-threaded runtime that accepts, serves and retires.
//!
//! A worker is told what to do by [`Command`]s and owns everything it serves with: sockets, engine, connections to
//! servers, choosers. It ends when told to shut down, as soon as its last connection has ended or the grace is over.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::pingora::proxy::HttpProxy;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alarm::Alarm;
use crate::clock;
use crate::farm::sticky::StickyKey;
use crate::metrics::{Refusal, WorkerIx};
use crate::model::{FrontendId, Protocol};
use crate::store::{Faults, FrontendTable, Requests, Sessions, Store, Table};
use crate::telemetry::access::AccessLog;

use super::accept::Listeners;
use super::command::{Command, Farewell, ListenerId};
use super::http::conn::ConnIo;
use super::http::control::Connection;
use super::http::pingora::{Engine, engine, serve};
use super::owner::Owner;
use super::registry::{Entry, Registry};
use super::sessions::Watch;
use super::sticking::SharedSticking;
use super::tcp;
use super::tls::Certificates;
use super::transport::{Client, Transport};
use super::work::{Shared, Work};

/// How long accepting rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

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
}

/// What the plane is handed from outside.
#[derive(Debug)]
pub struct Chance {
    /// Seeds the phases of the workers' turns and the request ids.
    pub entropy: u64,
    /// Seals the sticky cookies of farms that name no key: without one, a client's cookie is worth nothing to the
    /// next process.
    pub sticky_key: StickyKey,
}

impl Plane {
    /// Starts so many workers; `faults` is told of failing traffic by their threads, `alarm` rings if one is lost.
    ///
    /// # Errors
    /// [`PlaneError`] if a thread or its runtime cannot be made.
    pub fn start(
        store: &Arc<Store>,
        workers: usize,
        access: Option<&AccessLog>,
        chance: Chance,
        faults: Arc<dyn Faults>,
        alarm: &Alarm,
    ) -> Result<Self, PlaneError> {
        let Chance { entropy, sticky_key } = chance;
        let sticking = Arc::new(SharedSticking::new(sticky_key));
        let shared = Arc::new(Shared { store: Arc::clone(store), faults, sticking, started: clock::monotonic() });
        let mut plane =
            Self { commands: Vec::new(), works: Vec::new(), threads: Vec::new(), certificates: Certificates::new() };
        for n in 0..workers {
            let failed = |cause| PlaneError { worker: n, cause };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let seed = entropy.wrapping_add((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let work = Work::new(WorkerIx(n), Arc::clone(&shared), access.cloned(), seed);
            plane.works.push(Arc::downgrade(&work));
            let (sender, receiver) = unbounded_channel();
            let thread = std::thread::Builder::new().name(format!("worker-{n}"));
            let guard = alarm.guard(&format!("worker-{n}"));
            let body = move || {
                let _guard = guard;
                runtime.block_on(async { Worker::new(work).run(receiver).await });
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
    engine: Arc<HttpProxy<Engine>>,
    registry: Arc<Registry>,
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
    fn new(work: Arc<Work>) -> Self {
        Self {
            engine: engine(Arc::clone(&work)),
            work,
            registry: Arc::default(),
            is_stopping: watch::Sender::new(false),
            listeners: HashMap::new(),
        }
    }

    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Assign { listener, frontend } => {
                    if let Some(accepting) = self.listeners.get(&listener) {
                        accepting.owner.assign(frontend);
                    }
                }
                Command::Close { listener } => self.close(listener),
                Command::Cut { server } => self.work.cut(server),
                Command::Open { listener, frontend, socket } => self.open(listener, frontend, socket),
                Command::Shutdown { grace, farewell } => return self.finish(grace, farewell).await,
                Command::TableChanged => self.work.forget_gone_farms(),
            }
        }
    }

    fn open(&mut self, listener: ListenerId, frontend: FrontendId, socket: TcpListener) {
        let socket = match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(%error, worker = self.work.ix.0, "listener lost: it cannot be registered");
                return;
            }
        };
        let owner = Owner::new(frontend);
        let (stop, stopped) = watch::channel(false);
        let door = Door {
            listener,
            owner: owner.clone(),
            work: Arc::clone(&self.work),
            engine: Arc::clone(&self.engine),
            registry: Arc::clone(&self.registry),
            is_stopping: self.is_stopping.subscribe(),
        };
        let door = tokio::spawn(door.accept_until(socket, stopped));
        self.listeners.insert(listener, Accepting { owner, stop, door });
    }

    fn close(&mut self, listener: ListenerId) {
        if let Some(accepting) = self.listeners.remove(&listener) {
            accepting.stop.send_replace(true);
            self.registry.retire(Some(listener));
        }
    }

    async fn finish(mut self, grace: Duration, farewell: Farewell) {
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
        if tokio::time::timeout(grace, self.registry.emptied()).await.is_err() {
            let left = self.registry.count();
            tracing::warn!(worker = self.work.ix.0, left, "grace is over: connections cut");
        }
    }
}

/// One listener of one worker.
struct Door {
    listener: ListenerId,
    owner: Owner,
    work: Arc<Work>,
    engine: Arc<HttpProxy<Engine>>,
    registry: Arc<Registry>,
    is_stopping: watch::Receiver<bool>,
}

impl Door {
    async fn accept_until(self, socket: tokio::net::TcpListener, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                accepted = socket.accept() => match accepted {
                    Ok((stream, from)) => {
                        if let Some((table, frontend)) = self.owner.find(&self.work.store).await {
                            self.take_in(table, frontend, stream, from);
                        }
                    }
                    Err(error) if is_about_the_peer(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, worker = self.work.ix.0, "accept rests");
                        tokio::time::sleep(ACCEPT_REST).await;
                    }
                },
            }
        }
        self.empty_queue(socket);
        self.registry.retire(Some(self.listener));
    }

    /// Takes in whoever is in the queue: the system has told them that they are connected. Asks the socket itself,
    /// since the runtime learns late and lends a task only so many turns.
    fn empty_queue(&self, socket: tokio::net::TcpListener) {
        let Ok(socket) = socket.into_std() else { return };
        loop {
            match socket.accept() {
                Ok((stream, from)) => {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = TcpStream::from_std(stream)
                        && let Some((table, frontend)) = self.owner.find_now(&self.work.store)
                    {
                        self.take_in(table, frontend, stream, from);
                    }
                }
                Err(error) if is_about_the_peer(&error) => {}
                Err(_) => return,
            }
        }
    }

    fn take_in(&self, table: Arc<Table>, frontend: Arc<FrontendTable>, stream: TcpStream, from: SocketAddr) {
        let cells = frontend.cells.of(self.work.ix);
        cells.connections.add(1);
        if frontend.cells.sum(|c| c.connections_open.value()) >= u64::from(frontend.frontend.limits.connections) {
            cells.refused[Refusal::ConnectionLimit as usize].add(1);
            return;
        }
        // Latency over segments; a failure only costs that.
        let _ = stream.set_nodelay(true);
        let client = Client::tcp(from, stream.local_addr().unwrap_or(from));
        let stream = Transport::from(stream);
        match frontend.frontend.protocol {
            Protocol::Http => self.serve_http(frontend, stream, client),
            Protocol::Tcp => self.serve_tcp(table, frontend, stream, client),
            // Its listeners accept no connections.
            Protocol::Udp => {}
        }
    }

    fn serve_http(&self, frontend: Arc<FrontendTable>, stream: Transport, from: Client) {
        let connection = Connection::new(Arc::clone(&self.work), Arc::clone(&frontend), self.owner.clone(), from);
        let entry = self.registry.enter(self.listener, Some(Arc::clone(&connection)));
        let is_open = OpenCount::begin(frontend, self.work.ix, entry);
        let engine = Arc::clone(&self.engine);
        let is_stopping = self.is_stopping.clone();
        match ConnIo::new(stream, connection) {
            Ok(io) => {
                tokio::spawn(async move {
                    let _is_open = is_open;
                    serve(&engine, io, &is_stopping).await;
                });
            }
            Err(error) => tracing::error!(%error, "connection dropped"),
        }
    }

    fn serve_tcp(&self, table: Arc<Table>, frontend: Arc<FrontendTable>, stream: Transport, from: Client) {
        let entry = self.registry.enter(self.listener, None);
        let is_open = OpenCount::begin(Arc::clone(&frontend), self.work.ix, entry);
        let work = Arc::clone(&self.work);
        tokio::spawn(async move {
            let _is_open = is_open;
            tcp::relay(work, table, frontend, stream, from).await;
        });
    }
}

/// Errors of `accept` that concern one client only.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Counts a connection as open until dropped.
struct OpenCount {
    frontend: Arc<FrontendTable>,
    worker: WorkerIx,
    _entry: Entry,
}

impl OpenCount {
    fn begin(frontend: Arc<FrontendTable>, worker: WorkerIx, entry: Entry) -> Self {
        frontend.cells.of(worker).connections_open.add(1);
        Self { frontend, worker, _entry: entry }
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.frontend.cells.of(self.worker).connections_open.sub(1);
    }
}
