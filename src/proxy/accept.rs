//! The listening sockets: bound before a change is made, opened with it, closed after it.
//!
//! Every listener has one SO_REUSEPORT socket per worker, so workers never share an accept queue; Unix sockets have no
//! such thing, and are shared. A reload keeps the socket of every address that stays, whichever frontend owns it then;
//! port 0 is another port for every frontend that writes it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::model::{Frontend, FrontendId, ListenAddr, Name, Protocol};
use crate::store::{ListenError, ListenerHost, OpenError, PreparedListeners};

use super::command::{Bound, Command, ListenerId};
use super::tls::{self, Certificates};

mod bind;
mod unix;

pub use bind::Traffic;

use bind::Sockets;
use unix::SocketFile;

/// How long binding waits for the workers to let go of an address that was listened on until just before: what is left
/// of UDP's sessions may have its answers from there for a second.
const CLOSING_WAIT_MAX: Duration = Duration::from_millis(1500);

/// Opens and closes listeners on every worker.
pub struct Listeners {
    workers: Vec<UnboundedSender<Command>>,
    certificates: Arc<Certificates>,
    open: Arc<Mutex<OpenListeners>>,
}

#[derive(Default)]
struct OpenListeners {
    last_id: u64,
    by_address: HashMap<Place, OpenListener>,
    /// Sockets that were bound before, by this process or by the one that it replaces.
    adopted: HashMap<Place, Adopted>,
    /// Addresses that workers were told to let go of: all have once nobody can send any more.
    closing: HashMap<Place, Receiver<()>>,
}

impl OpenListeners {
    /// Waits until the workers have let go of an address that was closed, until then at the longest.
    fn await_closed(&mut self, place: &Place, until: Instant) {
        let Some(closing) = self.closing.remove(place) else { return };
        if closing.recv_timeout(until.saturating_duration_since(clock::monotonic())) == Err(RecvTimeoutError::Timeout) {
            self.closing.insert(place.clone(), closing);
        }
    }
}

/// The sockets of one address that were bound before.
#[derive(Default)]
struct Adopted {
    sockets: Vec<OwnedFd>,
    /// Whether the file of a Unix socket is somebody else's.
    is_foreign: bool,
}

/// A listening socket that was bound before it is listened on here.
#[derive(Debug)]
pub struct HandedOver {
    /// The address as written.
    pub listen: ListenAddr,
    /// What travels through it.
    pub traffic: Traffic,
    /// The frontend; any other that writes the same address will do, unless its port is 0.
    pub frontend: FrontendId,
    /// Whether the file of a Unix socket is a service manager's, and stays when nobody listens here any more.
    pub is_foreign: bool,
    /// The socket.
    pub socket: OwnedFd,
}

/// What a listener is known by from one topology to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A port that the system chooses, of this frontend.
    Chosen(SocketAddr, Traffic, FrontendId),
    /// This address, whoever owns it.
    Fixed(SocketAddr, Traffic),
    /// The socket of this path, whoever owns it.
    Unix(Arc<Path>),
}

impl Place {
    fn of(listen: &ListenAddr, traffic: Traffic, frontend: FrontendId) -> Self {
        match listen {
            ListenAddr::Ip(addr) if addr.port() == 0 => Self::Chosen(*addr, traffic, frontend),
            ListenAddr::Ip(addr) => Self::Fixed(*addr, traffic),
            ListenAddr::Unix(path) => Self::Unix(Arc::clone(path)),
        }
    }

    fn listen(&self) -> (ListenAddr, Traffic) {
        match self {
            Self::Chosen(address, traffic, _) | Self::Fixed(address, traffic) => ((*address).into(), *traffic),
            Self::Unix(path) => (ListenAddr::Unix(Arc::clone(path)), Traffic::Connections),
        }
    }
}

fn traffic_of(frontend: &Frontend) -> Traffic {
    match frontend.protocol {
        Protocol::Http | Protocol::Tcp => Traffic::Connections,
        Protocol::Udp => Traffic::Datagrams,
    }
}

#[derive(Debug)]
struct OpenListener {
    id: ListenerId,
    frontend: FrontendId,
    bound: ListenAddr,
    file: Option<SocketFile>,
    /// The workers' sockets once more, for the process that replaces this one.
    sockets: Vec<Bound>,
}

impl Listeners {
    pub(super) fn new(workers: Vec<UnboundedSender<Command>>, certificates: Arc<Certificates>) -> Self {
        Self { workers, certificates, open: Arc::default() }
    }

    /// Takes sockets that were bound before; those that no frontend wants when it first prepares are closed.
    pub fn adopt(&self, sockets: Vec<HandedOver>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for HandedOver { listen, traffic, frontend, is_foreign, socket } in sockets {
            let adopted = open.adopted.entry(Place::of(&listen, traffic, frontend)).or_default();
            adopted.sockets.push(socket);
            adopted.is_foreign |= is_foreign;
        }
    }

    /// Returns every socket once more.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn hand_over(&self) -> io::Result<Vec<HandedOver>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places: Vec<_> = open.by_address.iter().collect();
        places.sort_by_key(|(_, listener)| listener.id.0);
        let mut handed = Vec::new();
        for (place, listener) in places {
            let (listen, traffic) = place.listen();
            let is_foreign = listen.ip().is_none() && listener.file.is_none();
            for socket in &listener.sockets {
                let (listen, socket) = (listen.clone(), socket.try_clone()?.into());
                handed.push(HandedOver { listen, traffic, frontend: listener.frontend, is_foreign, socket });
            }
        }
        Ok(handed)
    }

    /// Takes over the files of the Unix sockets that were handed over: the process that bound them has been told that this
    /// one serves. Before, an end of this process leaves them.
    pub fn own_files(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_address.values_mut().filter_map(|listener| listener.file.as_mut()).for_each(SocketFile::own);
    }

    /// Keeps nobody's socket open any more: the workers' own are the last. `stays` says whether another process goes on
    /// listening, whose the files of Unix sockets are then.
    pub fn let_go(&self, stays: bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.adopted.clear();
        open.by_address.values_mut().for_each(|listener| {
            listener.sockets.clear();
            if let Some(file) = listener.file.take_if(|_| stays) {
                file.leave();
            }
        });
    }

    /// Returns the addresses that are listened on, with the port that the system chose where 0 was written.
    #[must_use]
    pub fn bound(&self) -> Vec<(FrontendId, SocketAddr)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ip_of = |listener: &OpenListener| listener.bound.ip().map(|bound| (listener.frontend, bound));
        let mut bound: Vec<_> = open.by_address.values().filter_map(ip_of).collect();
        bound.sort_unstable();
        bound
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("bound", &self.bound()).finish_non_exhaustive()
    }
}

impl ListenerHost for Listeners {
    fn prepare(&self, frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut adopted = std::mem::take(&mut open.adopted);
        let mut wanted = HashMap::new();
        let mut fresh = Vec::new();
        let (certificates, mut errors) = match self.certificates.prepare(frontends) {
            Ok(certificates) => (Some(certificates), Vec::new()),
            Err(errors) => (None, errors.into_iter().map(OpenError::from).collect()),
        };
        let until = clock::monotonic() + CLOSING_WAIT_MAX;
        for frontend in frontends {
            for listen in &frontend.listen {
                let place = Place::of(listen, traffic_of(frontend), frontend.id);
                wanted.insert(place.clone(), frontend.id);
                if open.by_address.contains_key(&place) {
                    continue;
                }
                open.await_closed(&place, until);
                let Adopted { sockets: before, is_foreign } = adopted.remove(&place).unwrap_or_default();
                match bind::for_each(listen, traffic_of(frontend), self.workers.len(), before) {
                    Ok(mut sockets) => {
                        if let Some(file) = sockets.file.take_if(|_| is_foreign) {
                            file.leave();
                        }
                        fresh.push(Fresh { place, frontend: frontend.id, name: frontend.name.clone(), sockets })
                    }
                    Err(cause) => {
                        let error = ListenError { frontend: frontend.name.clone(), address: listen.clone(), cause };
                        errors.push(error.into());
                    }
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Box::new(Prepared {
            workers: self.workers.clone(),
            certificates,
            open: Arc::clone(&self.open),
            wanted,
            fresh,
        }))
    }
}

/// An address bound for every worker and not yet accepted on.
struct Fresh {
    place: Place,
    frontend: FrontendId,
    name: Name,
    sockets: Sockets,
}

struct Prepared {
    workers: Vec<UnboundedSender<Command>>,
    certificates: Option<tls::Prepared>,
    open: Arc<Mutex<OpenListeners>>,
    wanted: HashMap<Place, FrontendId>,
    fresh: Vec<Fresh>,
}

impl Prepared {
    /// Sends to every worker; one that is gone has stopped with the process.
    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command());
        }
    }
}

impl PreparedListeners for Prepared {
    fn commit(mut self: Box<Self>) {
        // Before anything is accepted that needs them.
        if let Some(certificates) = self.certificates.take() {
            certificates.commit();
        }
        let open = Arc::clone(&self.open);
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        for fresh in std::mem::take(&mut self.fresh) {
            open.last_id += 1;
            let Sockets { at, each, file } = fresh.sockets;
            tracing::info!(frontend = %fresh.name, address = %at, "listener open");
            let id = ListenerId(open.last_id);
            // Without descriptors left nothing can be handed over later, which is said then.
            let sockets = each.iter().filter_map(|socket| socket.try_clone().ok()).collect();
            let listener = OpenListener { id, frontend: fresh.frontend, bound: at, file, sockets };
            for (worker, socket) in self.workers.iter().zip(each) {
                let _ = worker.send(Command::Open { listener: listener.id, frontend: listener.frontend, socket });
            }
            open.by_address.insert(fresh.place, listener);
        }
        let OpenListeners { by_address, closing, .. } = &mut *open;
        closing.retain(|_, closing| closing.try_recv() == Err(TryRecvError::Empty));
        by_address.retain(|place, listener| match self.wanted.get(place) {
            None => {
                tracing::info!(address = %listener.bound, "listener closed");
                let (closed, all_closed) = channel();
                closing.insert(place.clone(), all_closed);
                self.tell(|| Command::Close { listener: listener.id, closed: closed.clone() });
                false
            }
            Some(frontend) => {
                if *frontend != listener.frontend {
                    listener.frontend = *frontend;
                    self.tell(|| Command::Assign { listener: listener.id, frontend: *frontend });
                }
                true
            }
        });
        self.tell(|| Command::TableChanged);
    }
}

/// Binds what these frontends listen on for so many workers, to be adopted later: while the process may.
/// What is bound `already` is left out.
///
/// # Errors
/// For the first that cannot be bound.
pub fn bind_ahead(
    frontends: &[Arc<Frontend>],
    workers: usize,
    already: &[HandedOver],
) -> Result<Vec<HandedOver>, ListenError> {
    let place = |handed: &HandedOver| Place::of(&handed.listen, handed.traffic, handed.frontend);
    let already: HashSet<Place> = already.iter().map(place).collect();
    let mut ahead = Vec::new();
    for frontend in frontends {
        let traffic = traffic_of(frontend);
        let is_due = |listen: &&ListenAddr| {
            // Unix sockets need no privileges, and their files are to be the user's.
            listen.ip().is_some() && !already.contains(&Place::of(listen, traffic, frontend.id))
        };
        for listen in frontend.listen.iter().filter(is_due) {
            let failed = |cause| ListenError { frontend: frontend.name.clone(), address: listen.clone(), cause };
            for socket in bind::for_each(listen, traffic, workers, Vec::new()).map_err(failed)?.each {
                let (listen, socket) = (listen.clone(), socket.into());
                ahead.push(HandedOver { listen, traffic, frontend: frontend.id, is_foreign: false, socket });
            }
        }
    }
    Ok(ahead)
}
