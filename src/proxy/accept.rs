//! The listening sockets: bound before a change is made, opened with it, closed after it.
//!
//! Every listener has one SO_REUSEPORT socket per worker, so workers never share an accept queue; Unix sockets have no
//! such thing, and are shared. A reload keeps the socket of every address that stays, whichever frontend owns it then;
//! port 0 is another port for every frontend that writes it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Frontend, FrontendId, ListenAddr, Name, Protocol};
use crate::store::{ListenError, ListenerHost, OpenError, PreparedListeners};

use super::command::{Command, ListenerId};
use super::tls::{self, Certificates};

mod bind;
mod unix;

use bind::{Sockets, Traffic};
use unix::SocketFile;

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
    fn of(listen: &ListenAddr, frontend: &Frontend) -> Self {
        match listen {
            ListenAddr::Ip(addr) if addr.port() == 0 => Self::Chosen(*addr, traffic_of(frontend), frontend.id),
            ListenAddr::Ip(addr) => Self::Fixed(*addr, traffic_of(frontend)),
            ListenAddr::Unix(path) => Self::Unix(Arc::clone(path)),
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
    _file: Option<SocketFile>,
}

impl Listeners {
    pub(super) fn new(workers: Vec<UnboundedSender<Command>>, certificates: Arc<Certificates>) -> Self {
        Self { workers, certificates, open: Arc::default() }
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
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = HashMap::new();
        let mut fresh = Vec::new();
        let (certificates, mut errors) = match self.certificates.prepare(frontends) {
            Ok(certificates) => (Some(certificates), Vec::new()),
            Err(errors) => (None, errors.into_iter().map(OpenError::from).collect()),
        };
        for frontend in frontends {
            for listen in &frontend.listen {
                let place = Place::of(listen, frontend);
                wanted.insert(place.clone(), frontend.id);
                if open.by_address.contains_key(&place) {
                    continue;
                }
                match bind::for_each(listen, traffic_of(frontend), self.workers.len()) {
                    Ok(sockets) => {
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
            let listener = OpenListener { id, frontend: fresh.frontend, bound: at, _file: file };
            for (worker, socket) in self.workers.iter().zip(each) {
                let _ = worker.send(Command::Open { listener: listener.id, frontend: listener.frontend, socket });
            }
            open.by_address.insert(fresh.place, listener);
        }
        open.by_address.retain(|place, listener| match self.wanted.get(place) {
            None => {
                tracing::info!(address = %listener.bound, "listener closed");
                self.tell(|| Command::Close { listener: listener.id });
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
