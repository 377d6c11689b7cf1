//! Binary upgrade: the running process starts the program again and hands it what is listened on; the new one takes over
//! and the old one finishes. Also where sockets come from that a service manager opened (LISTEN_FDS): each is known by
//! its address, whatever its name is.
//!
//! Both accept from the same queues for a moment, so no client meets a closed door. The journal changes hands while
//! both serve: what the old one notes in that moment is lost, what anybody is answered is not. Whatever fails before
//! the new process serves leaves the old one as it was.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use socket2::SockRef;

use crate::clock;
use crate::journal::SqliteJournal;
use crate::lifecycle::handover::{Channel, CookieKey, ENVIRONMENT, Handed, HandoverError, Listening, Offer, Passed};
use crate::model::settings::Settings;
use crate::model::{Frontend, FrontendId, ListenAddr, Protocol, Topology};
use crate::proxy::{HandedOver, Listeners, Traffic};
use crate::report::report;

/// How long each step of a new process may take: reading its config and its certificates, opening the journal.
const STEP_WAIT: Duration = Duration::from_secs(30);
/// How long a new process that failed may take to end by itself, so that it is known how.
const END_WAIT: Duration = Duration::from_secs(2);
const END_LOOK: Duration = Duration::from_millis(10);
/// How long the journal of a new process that failed is waited for.
const TAKE_BACK_WAIT: Duration = Duration::from_secs(5);
const TAKE_BACK_LOOK: Duration = Duration::from_millis(20);
/// The name of the socket between the two processes, where no other is declared.
const SOCKET_NAME: &str = "farmgate-upgrade.sock";

/// What a process finds open when it starts.
#[derive(Default)]
pub(super) struct Inherited {
    /// The admin side's socket.
    pub(super) admin: Option<TcpListener>,
    /// The frontends' sockets.
    pub(super) frontends: Vec<HandedOver>,
    /// What seals cookies there.
    cookie_key: Option<CookieKey>,
    /// The process that serves until this one does.
    old: Option<Channel>,
}

impl Inherited {
    /// Takes over what a running process hands over, or what a service manager opened; nothing, if neither is there.
    pub(super) fn take(settings: &Settings, topology: &Topology) -> anyhow::Result<Self> {
        match std::env::var_os(ENVIRONMENT) {
            Some(path) => Self::from_process(Path::new(&path)).context("cannot take over from the running process"),
            None => Self::from_supervisor(settings, topology),
        }
    }

    fn from_process(path: &Path) -> anyhow::Result<Self> {
        let mut old = Channel::connect(path, STEP_WAIT)?;
        let Handed { sockets, cookie_key } = old.receive()?;
        let mut inherited = Self { cookie_key, ..Self::default() };
        for Passed { what, socket } in sockets {
            match what {
                Listening::Admin => inherited.admin = Some(socket.into()),
                Listening::Frontend { listen, frontend, datagrams, foreign } => {
                    let known = ListenAddr::parse(&listen);
                    let listen = known.with_context(|| format!("no address to listen on: {listen:?}"))?;
                    let traffic = if datagrams { Traffic::Datagrams } else { Traffic::Connections };
                    let (frontend, is_foreign) = (FrontendId(frontend), foreign);
                    inherited.frontends.push(HandedOver { listen, traffic, frontend, is_foreign, socket });
                }
            }
        }
        tracing::info!(sockets = inherited.frontends.len(), "sockets taken over from the running process");
        inherited.old = Some(old);
        Ok(inherited)
    }

    fn from_supervisor(settings: &Settings, topology: &Topology) -> anyhow::Result<Self> {
        let mut opened = ListenFd::from_env();
        let mut inherited = Self::default();
        for n in 0..opened.len() {
            let (socket, traffic) = taken(&mut opened, n).with_context(|| {
                format!("LISTEN_FDS: descriptor {n} is no socket that listens, over TCP, UDP or a Unix stream; fix the socket unit")
            })?;
            let listen = address_of(&socket)?;
            let admin = settings.admin.as_ref().map(|admin| admin.listen);
            if traffic == Traffic::Connections && admin.is_some() && listen.ip() == admin {
                inherited.admin = Some(socket.into());
            } else if let Some(frontend) = frontend_at(topology, &listen, traffic) {
                inherited.frontends.push(HandedOver { listen, traffic, frontend, is_foreign: true, socket });
            } else {
                let address = listen;
                tracing::warn!(%address, "socket of the service manager closed: nothing in the config listens there");
            }
        }
        Ok(inherited)
    }

    /// Returns what cookies are sealed with that clients of the old process have; another one, if there is none.
    pub(super) fn cookie_key(&self) -> CookieKey {
        self.cookie_key.unwrap_or_else(|| CookieKey(rand::random()))
    }

    /// Says why this process will not serve, so that whoever waits for it is told.
    pub(super) fn failed(&mut self, why: &str) {
        if let Some(old) = &mut self.old
            && let Err(error) = old.failed(why)
        {
            tracing::debug!(error = %report(&error), "the running process was not told");
        }
    }

    /// Says that all but `state_dir` is here, and waits until that is free.
    pub(super) fn prepared(&mut self) -> Result<(), HandoverError> {
        self.old.as_mut().map_or(Ok(()), Channel::prepared)
    }

    /// Says that this process serves.
    pub(super) fn ready(&mut self) -> Result<(), HandoverError> {
        self.old.take().map_or(Ok(()), |mut old| old.ready())
    }
}

/// Takes a descriptor that a service manager opened; they close when the program is started again.
fn taken(opened: &mut ListenFd, n: usize) -> io::Result<(OwnedFd, Traffic)> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    if let Ok(socket) = opened.take_tcp_listener(n) {
        return Ok((socket.ok_or_else(gone)?.into(), Traffic::Connections));
    }
    if let Ok(socket) = opened.take_unix_listener(n) {
        return Ok((socket.ok_or_else(gone)?.into(), Traffic::Connections));
    }
    Ok((opened.take_udp_socket(n)?.ok_or_else(gone)?.into(), Traffic::Datagrams))
}

/// Returns where a socket listens.
fn address_of(socket: &impl AsFd) -> anyhow::Result<ListenAddr> {
    let address = SockRef::from(socket).local_addr().context("LISTEN_FDS")?;
    if let Some(address) = address.as_socket() {
        return Ok(address.into());
    }
    let path = address.as_pathname().context("LISTEN_FDS: a Unix socket without a path; give it one")?;
    Ok(ListenAddr::Unix(path.into()))
}

fn frontend_at(topology: &Topology, address: &ListenAddr, traffic: Traffic) -> Option<FrontendId> {
    let listens = |frontend: &Frontend| {
        let is_datagrams = frontend.protocol == Protocol::Udp;
        is_datagrams == (traffic == Traffic::Datagrams) && frontend.listen.contains(address)
    };
    topology.frontends.iter().find(|frontend| listens(frontend)).map(|frontend| frontend.id)
}

/// Tells the running process, if this one was to replace it, why it will not: before anything was taken over.
pub fn refuse_takeover(why: &str) {
    let Some(path) = std::env::var_os(ENVIRONMENT) else { return };
    let told = Channel::connect(Path::new(&path), STEP_WAIT).and_then(|mut old| {
        old.receive()?;
        old.failed(why)
    });
    if let Err(error) = told {
        tracing::debug!(error = %report(&error), "the running process was not told");
    }
}

/// What this process hands over beside its frontends.
pub(super) struct Estate {
    journal: SqliteJournal,
    admin: Mutex<Option<TcpListener>>,
    cookie_key: CookieKey,
}

impl Estate {
    pub(super) fn new(journal: SqliteJournal, admin: Option<TcpListener>, cookie_key: CookieKey) -> Self {
        Self { journal, admin: Mutex::new(admin), cookie_key }
    }

    /// Keeps the admin side's socket open no longer.
    pub(super) fn let_go(&self) {
        drop(self.admin.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn handed(&self, listeners: &Listeners) -> io::Result<Handed> {
        let frontends = listeners.hand_over()?.into_iter().map(|handed| Passed {
            what: Listening::Frontend {
                listen: handed.listen.to_string(),
                frontend: handed.frontend.0,
                datagrams: handed.traffic == Traffic::Datagrams,
                foreign: handed.is_foreign,
            },
            socket: handed.socket,
        });
        let mut sockets: Vec<_> = frontends.collect();
        if let Some(admin) = &*self.admin.lock().unwrap_or_else(PoisonError::into_inner) {
            sockets.push(Passed { what: Listening::Admin, socket: admin.try_clone()?.into() });
        }
        Ok(Handed { sockets, cookie_key: Some(self.cookie_key) })
    }
}

/// Has a new process take over, of `binary` or of the program that this one was started as; returns its id once it
/// serves. Blocks, for [`STEP_WAIT`] a step at the most. The error has every reason, one a line; after it this process
/// goes on as before.
pub(super) fn hand_over(
    settings: &Settings,
    listeners: &Listeners,
    estate: &Estate,
    binary: Option<&Path>,
) -> Result<u32, String> {
    if std::process::id() == 1 {
        return Err("this process is the first of its container, which ends with it; replace the container".to_owned());
    }
    let path = socket_path(settings);
    let offer = Offer::bind(&path).map_err(|error| report(&error).to_string())?;
    let handed = estate.handed(listeners).map_err(|error| format!("cannot hand sockets over: {error}"))?;
    let mut child = start(&path, binary)?;
    tracing::info!(pid = child.id(), sockets = handed.sockets.len(), "upgrade: new process started");
    let replaced = negotiate(&offer, &mut child, &handed, &estate.journal);
    drop(handed);
    match replaced {
        Ok(()) => Ok(child.id()),
        Err(why) => {
            let ended = end(&mut child);
            take_back(&estate.journal);
            Err(format!("{why}\nthe new process ended: {ended}"))
        }
    }
}

fn negotiate(offer: &Offer, child: &mut Child, handed: &Handed, journal: &SqliteJournal) -> Result<(), String> {
    let said = |error: HandoverError| report(&error).to_string();
    let ended = || child.try_wait().ok().flatten().map(|status| status.to_string());
    let mut channel = offer.accept(STEP_WAIT, ended).map_err(said)?;
    channel.hand_over(handed).map_err(said)?;
    channel.wait_prepared().map_err(said)?;
    journal.lend().map_err(|error| report(&error).to_string())?;
    channel.released().map_err(said)
}

/// Sees to it that a new process that failed has ended; returns how.
fn end(child: &mut Child) -> String {
    let by = clock::monotonic() + END_WAIT;
    while clock::monotonic() < by {
        if let Ok(Some(status)) = child.try_wait() {
            return status.to_string();
        }
        std::thread::sleep(END_LOOK);
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Takes the journal back from a process that has ended.
fn take_back(journal: &SqliteJournal) {
    let end = clock::monotonic() + TAKE_BACK_WAIT;
    loop {
        match journal.take_back() {
            Ok(()) => return,
            Err(error) if clock::monotonic() >= end => {
                tracing::error!(error = %report(&error), "journal not taken back: nothing is written any more; restart");
                return;
            }
            Err(_) => std::thread::sleep(TAKE_BACK_LOOK),
        }
    }
}

/// Starts a program, or the one that is there now by the name that this one was started by, with the arguments of this one.
fn start(path: &Path, binary: Option<&Path>) -> Result<Child, String> {
    let mut args = std::env::args_os();
    let own = args.next().map(PathBuf::from);
    let name = binary.map(Path::to_owned).or(own).ok_or("this process does not know its own name")?;
    let child = Command::new(&name).args(args).env(ENVIRONMENT, path).stdin(std::process::Stdio::null()).spawn();
    child.map_err(|error| {
        format!(
            "cannot start {name:?}: {}; put a program there that this user may run",
            error.to_string().to_lowercase()
        )
    })
}

/// Where the two meet: as declared, or in `state_dir`, or where the user's sockets are.
fn socket_path(settings: &Settings) -> PathBuf {
    let runtime = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    settings.upgrade_socket.clone().unwrap_or_else(|| {
        let dir = settings.state_dir.clone().or_else(runtime).unwrap_or_else(|| PathBuf::from("/run"));
        dir.join(SOCKET_NAME)
    })
}
