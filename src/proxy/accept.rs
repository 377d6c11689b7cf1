//! The listening sockets: bound before a change is made, opened with it, closed after it.
//!
//! Every listener has one SO_REUSEPORT socket per worker, so workers never share an accept queue. A reload keeps the
//! socket of every address that stays, whichever frontend owns it then; port 0 is another port for every frontend
//! that writes it.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Frontend, FrontendId, ListenAddr, Name};
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
    /// Sockets that were bound before, by this process or by the one that it replaces.
    adopted: HashMap<Place, Vec<TcpListener>>,
}

/// A listening socket that was bound before it is listened on here.
#[derive(Debug)]
pub struct HandedOver {
    /// The address as written.
    pub address: SocketAddr,
    /// The frontend; any other that writes the same address will do, unless its port is 0.
    pub frontend: FrontendId,
    /// The socket.
    pub socket: TcpListener,
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

#[derive(Debug)]
struct OpenListener {
    id: ListenerId,
    frontend: FrontendId,
    bound: SocketAddr,
    /// The workers' sockets once more, for the process that replaces this one.
    sockets: Vec<TcpListener>,
}

impl Listeners {
    pub(super) fn new(workers: Vec<UnboundedSender<Command>>, certificates: Arc<Certificates>) -> Self {
        Self { workers, certificates, open: Arc::default() }
    }

    /// Takes sockets that were bound before; those that no frontend wants when it first prepares are closed.
    pub fn adopt(&self, sockets: Vec<HandedOver>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for HandedOver { address, frontend, socket } in sockets {
            open.adopted.entry(Place::of(address, frontend)).or_default().push(socket);
        }
    }

    /// Returns every socket once more.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn hand_over(&self) -> io::Result<Vec<HandedOver>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handed = Vec::new();
        // Order means nothing but among the sockets of one place, which stays.
        for (place, listener) in &open.by_address {
            let (Place::Fixed(address) | Place::Chosen(address, _)) = *place;
            for socket in &listener.sockets {
                handed.push(HandedOver { address, frontend: listener.frontend, socket: socket.try_clone()? });
            }
        }
        handed.sort_by_key(|one| (one.address, one.frontend));
        Ok(handed)
    }

    /// Keeps nobody's socket open any more: the workers' own are the last.
    pub fn let_go(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.adopted.clear();
        for listener in open.by_address.values_mut() {
            listener.sockets.clear();
        }
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
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut adopted = std::mem::take(&mut open.adopted);
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
                let before = adopted.remove(&place).unwrap_or_default();
                match bind_for_each(address, self.workers.len(), before) {
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
            // Without descriptors left nothing can be handed over later, which is said then.
            let sockets = fresh.sockets.iter().filter_map(|socket| socket.try_clone().ok()).collect();
            let (id, frontend, bound) = (ListenerId(open.last_id), fresh.frontend, fresh.bound);
            let listener = OpenListener { id, frontend, bound, sockets };
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

/// Binds what these frontends listen on for so many workers, to be adopted later: while the process may.
///
/// # Errors
/// The address as written and what the system said, for the first that cannot be bound.
pub fn bind_ahead(frontends: &[Arc<Frontend>], workers: usize) -> Result<Vec<HandedOver>, (SocketAddr, io::Error)> {
    let mut ahead = Vec::new();
    for frontend in frontends {
        for address in frontend.listen.iter().filter_map(ListenAddr::ip) {
            let (_, sockets) = bind_for_each(address, workers, Vec::new()).map_err(|cause| (address, cause))?;
            ahead.extend(sockets.into_iter().map(|socket| HandedOver { address, frontend: frontend.id, socket }));
        }
    }
    Ok(ahead)
}

/// Binds one socket for each worker to the same address; those that were bound before are the first ones.
fn bind_for_each(
    address: SocketAddr,
    workers: usize,
    before: Vec<TcpListener>,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    if let Some(first) = before.first() {
        return share(first.local_addr()?, workers, before);
    }
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

/// Gives each worker one of the sockets that are bound to an address, and those that come short one more.
fn share(
    bound: SocketAddr,
    workers: usize,
    mut sockets: Vec<TcpListener>,
) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    if sockets.len() > workers {
        // One that nobody accepts from would leave its clients waiting.
        let why = format!("{} sockets were handed over for {workers} workers; write workers: {0}", sockets.len());
        return Err(io::Error::other(why));
    }
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    while sockets.len() < workers {
        let first = &sockets[0];
        let more = if SockRef::from(first).reuse_port()? {
            socket(bound, Sharing::AmongWorkers)?
        } else {
            // A service manager's: the workers share its queue.
            first.try_clone()?
        };
        sockets.push(more);
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
        let (bound, sockets) = bind_for_each("127.0.0.1:0".parse().unwrap(), 3, Vec::new()).unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == bound));
        let refused = bind_for_each(bound, 1, Vec::new()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        assert!(bind_for_each(bound, 1, Vec::new()).is_ok());
    }

    #[test]
    fn sockets_bound_before_are_taken_over_and_made_up_to_one_a_worker() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (bound, old) = bind_for_each(any, 2, Vec::new()).unwrap();
        let handed = old.iter().map(|socket| socket.try_clone().unwrap()).collect();
        let (again, new) = bind_for_each(any, 3, handed).unwrap();
        assert!(again == bound && new.len() == 3 && new.iter().all(|s| s.local_addr().unwrap() == bound));
        let more = bind_for_each(any, 1, new).unwrap_err().to_string();
        assert_eq!(more, "3 sockets were handed over for 1 workers; write workers: 3");
        let alone = TcpListener::bind(any).unwrap();
        let at = alone.local_addr().unwrap();
        let (bound, shared) = bind_for_each(at, 2, vec![alone]).unwrap();
        assert!(bound == at && shared.len() == 2, "a service manager's socket is shared");
    }
}
