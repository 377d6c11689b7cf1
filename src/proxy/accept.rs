//! The listening sockets: bound before a change is made, opened with it, closed after it.
//!
//! Every listener has one SO_REUSEPORT socket per worker, so workers never share an accept queue. A reload keeps the
//! socket of every address that stays, whichever frontend owns it then; port 0 is another port for every frontend
//! that writes it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Frontend, FrontendId, Name};
use crate::store::{ListenError, ListenerHost, OpenError, PreparedListeners};

use super::command::{Command, ListenerId};
use super::tls::{self, Certificates};

/// Connections that may wait to be accepted, per worker; the kernel bounds it by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// This address, whoever owns it.
    Fixed(SocketAddr),
    /// A port that the system chooses, of this frontend.
    Chosen(SocketAddr, FrontendId),
}

impl Place {
    fn of(address: SocketAddr, frontend: FrontendId) -> Self {
        if address.port() == 0 { Self::Chosen(address, frontend) } else { Self::Fixed(address) }
    }
}

#[derive(Clone, Debug)]
struct OpenListener {
    id: ListenerId,
    frontend: FrontendId,
    bound: SocketAddr,
}

impl Listeners {
    pub(super) fn new(workers: Vec<UnboundedSender<Command>>, certificates: Arc<Certificates>) -> Self {
        Self { workers, certificates, open: Arc::default() }
    }

    /// Returns the addresses that are listened on, with the port that the system chose where 0 was written.
    #[must_use]
    pub fn bound(&self) -> Vec<(FrontendId, SocketAddr)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound: Vec<_> = open.by_address.values().map(|l| (l.frontend, l.bound)).collect();
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
                let Some(address) = listen.ip() else {
                    let cause = io::Error::from(io::ErrorKind::Unsupported);
                    let error = ListenError { frontend: frontend.name.clone(), address: listen.clone(), cause };
                    errors.push(error.into());
                    continue;
                };
                let place = Place::of(address, frontend.id);
                wanted.insert(place, frontend.id);
                if open.by_address.contains_key(&place) {
                    continue;
                }
                match bind_for_each(address, self.workers.len()) {
                    Ok((bound, sockets)) => {
                        fresh.push(Fresh { place, bound, frontend: frontend.id, name: frontend.name.clone(), sockets })
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
    bound: SocketAddr,
    frontend: FrontendId,
    name: Name,
    sockets: Vec<TcpListener>,
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
            let listener = OpenListener { id: ListenerId(open.last_id), frontend: fresh.frontend, bound: fresh.bound };
            tracing::info!(frontend = %fresh.name, address = %fresh.bound, "listener open");
            for (worker, socket) in self.workers.iter().zip(fresh.sockets) {
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

/// Binds one socket for each worker to the same address.
fn bind_for_each(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // SO_REUSEPORT lets another process of the same user share the port unseen, so first make sure that it is free.
    let mut bound = address;
    if address.port() != 0 {
        drop(socket(address, Sharing::Exclusive)?);
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(bound, Sharing::AmongWorkers)?;
        bound = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok((bound, sockets))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    AmongWorkers,
    Exclusive,
}

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::AmongWorkers)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if sharing == Sharing::AmongWorkers {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_shares_one_port_among_workers_and_with_nobody_else() {
        let (bound, sockets) = bind_for_each("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == bound));
        let refused = bind_for_each(bound, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        assert!(bind_for_each(bound, 1).is_ok());
    }
}
