//! Binary upgrade: the running process starts the program again and hands it what is listened on; the new one takes over
//! and the old one finishes. Also where sockets come from that a service manager opened.
//!
//! Both accept from the same queues for a moment, so no client meets a closed door. The journal changes hands while
//! both serve: what the old one notes in that moment is lost, what anybody is answered is not. Whatever fails before
//! the new process serves leaves the old one as it was.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;

use crate::clock;
use crate::journal::SqliteJournal;
use crate::lifecycle::handover::{Channel, ENVIRONMENT, HandoverError, Listening, Offer, Passed};
use crate::model::settings::Settings;
use crate::model::{FrontendId, ListenAddr, Topology};
use crate::proxy::{HandedOver, Listeners, Traffic};
use crate::report::report;

/// How long each step of a new process may take: reading its config and its certificates, opening the journal.
const STEP_WAIT: Duration = Duration::from_secs(30);
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
    /// The process that serves until this one does.
    old: Option<Channel>,
}

impl Inherited {
    /// Takes over what a running process hands over, or what a service manager opened; nothing, if neither is there.
    pub(super) fn take(settings: &Settings, topology: &Topology) -> anyhow::Result<Self> {
        match std::env::var_os(ENVIRONMENT) {
            Some(path) => Self::from_process(Path::new(&path)).context("cannot take over from the running process"),
            None => Self::from_service_manager(settings, topology),
        }
    }

    fn from_process(path: &Path) -> anyhow::Result<Self> {
        let mut old = Channel::connect(path, STEP_WAIT)?;
        let mut inherited = Self::default();
        for Passed { what, socket } in old.receive_sockets()? {
            match what {
                Listening::Admin => inherited.admin = Some(socket.into()),
                Listening::Frontend { listen, frontend, datagrams } => {
                    let known = ListenAddr::parse(&listen);
                    let listen = known.with_context(|| format!("no address to listen on: {listen:?}"))?;
                    let traffic = if datagrams { Traffic::Datagrams } else { Traffic::Connections };
                    inherited.frontends.push(HandedOver { listen, traffic, frontend: FrontendId(frontend), socket });
                }
            }
        }
        tracing::info!(sockets = inherited.frontends.len(), "sockets taken over from the running process");
        inherited.old = Some(old);
        Ok(inherited)
    }

    fn from_service_manager(settings: &Settings, topology: &Topology) -> anyhow::Result<Self> {
        let mut opened = ListenFd::from_env();
        let mut inherited = Self::default();
        for n in 0..opened.len() {
            let socket = opened.take_tcp_listener(n).context("LISTEN_FDS: a socket that is no TCP listener")?;
            let Some(socket) = socket else { continue };
            let address = socket.local_addr()?;
            if settings.admin.as_ref().is_some_and(|admin| admin.listen == address) {
                inherited.admin = Some(socket);
            } else if let Some(frontend) = frontend_at(topology, address) {
                let (listen, traffic, socket) = (address.into(), Traffic::Connections, socket.into());
                inherited.frontends.push(HandedOver { listen, traffic, frontend, socket });
            } else {
                tracing::warn!(%address, "socket of the service manager closed: nothing in the config listens there");
            }
        }
        Ok(inherited)
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

fn frontend_at(topology: &Topology, address: SocketAddr) -> Option<FrontendId> {
    let listens = |listen: &ListenAddr| listen.ip() == Some(address);
    topology.frontends.iter().find(|frontend| frontend.listen.iter().any(listens)).map(|frontend| frontend.id)
}

/// Has a new process take over; returns its id once it serves. Blocks, for [`STEP_WAIT`] a step at the most. After an
/// error this process goes on as before.
pub(super) fn hand_over(
    settings: &Settings,
    listeners: &Listeners,
    admin: Option<&TcpListener>,
    journal: &SqliteJournal,
) -> Result<u32, String> {
    if std::process::id() == 1 {
        return Err("this process is the first of its container, which ends with it; replace the container".to_owned());
    }
    let path = socket_path(settings);
    let said = |error: HandoverError| report(&error).to_string();
    let offer = Offer::bind(&path).map_err(said)?;
    let sockets = sockets(listeners, admin).map_err(|error| format!("cannot hand sockets over: {error}"))?;
    let mut child = start(&path)?;
    tracing::info!(pid = child.id(), sockets = sockets.len(), "upgrade: new process started");
    let replaced = negotiate(&offer, &mut child, &sockets, journal);
    drop(sockets);
    match replaced {
        Ok(()) => Ok(child.id()),
        Err(why) => {
            // It may have ended by itself.
            let _ = child.kill();
            let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            take_back(journal);
            Err(format!("{why} (the new process: {ended})"))
        }
    }
}

fn negotiate(offer: &Offer, child: &mut Child, sockets: &[Passed], journal: &SqliteJournal) -> Result<(), String> {
    let said = |error: HandoverError| report(&error).to_string();
    let ended = || child.try_wait().ok().flatten().map(|status| status.to_string());
    let mut channel = offer.accept(STEP_WAIT, ended).map_err(said)?;
    channel.send_sockets(sockets).map_err(said)?;
    channel.wait_prepared().map_err(said)?;
    journal.lend().map_err(|error| report(&error).to_string())?;
    channel.released().map_err(said)
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

/// Starts the program that is there now, by the name and with the arguments that this one was started with.
fn start(path: &Path) -> Result<Child, String> {
    let mut args = std::env::args_os();
    let name = args.next().map(PathBuf::from).ok_or("this process does not know its own name")?;
    let child = Command::new(&name).args(args).env(ENVIRONMENT, path).stdin(std::process::Stdio::null()).spawn();
    child.map_err(|error| format!("cannot start {name:?}: {error}"))
}

fn sockets(listeners: &Listeners, admin: Option<&TcpListener>) -> std::io::Result<Vec<Passed>> {
    let frontends = listeners.hand_over()?.into_iter().map(|handed| Passed {
        what: Listening::Frontend {
            listen: handed.listen.to_string(),
            frontend: handed.frontend.0,
            datagrams: handed.traffic == Traffic::Datagrams,
        },
        socket: handed.socket,
    });
    let mut sockets: Vec<_> = frontends.collect();
    if let Some(admin) = admin {
        sockets.push(Passed { what: Listening::Admin, socket: admin.try_clone()?.into() });
    }
    Ok(sockets)
}

/// Where the two meet: as declared, or in `state_dir`, or where the user's sockets are.
fn socket_path(settings: &Settings) -> PathBuf {
    let runtime = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    settings.upgrade_socket.clone().unwrap_or_else(|| {
        let dir = settings.state_dir.clone().or_else(runtime).unwrap_or_else(|| PathBuf::from("/run"));
        dir.join(SOCKET_NAME)
    })
}
