//! What the process around us says and is told: signals become [`Command`]s, states go to the service manager.
//!
//! SIGHUP reloads, SIGUSR1 opens log files again, SIGUSR2 has a new process take over ([`handover`]). SIGTERM and SIGINT stop gracefully; a second one stops at once. Under systemd (`Type=notify`) the
//! manager hears READY, RELOADING and STOPPING; without it nothing is sent.

pub mod handover;

use std::io;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the config again.
    Reload,
    /// Open log files again.
    Rotate,
    /// Stop: gracefully the first time, at once the second.
    Stop,
    /// Start the program again, hand it what is listened on, and stop once it serves.
    Upgrade,
}

/// The signals that the process listens to.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    /// Begins to listen; from here on these signals end nothing by themselves.
    ///
    /// # Errors
    /// If a handler cannot be installed, or there is no runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Command {
        tokio::select! {
            _ = self.hangup.recv() => Command::Reload,
            _ = self.interrupt.recv() => Command::Stop,
            _ = self.terminate.recv() => Command::Stop,
            _ = self.user_1.recv() => Command::Rotate,
            _ = self.user_2.recv() => Command::Upgrade,
        }
    }
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Ready,
    /// Reading the config again; READY follows.
    Reloading,
    /// Finishing.
    Stopping,
    /// Finishing, while the process of that id serves.
    Replaced {
        /// The new process.
        by: u32,
    },
}

/// Tells the service manager, if there is one.
pub fn notify(phase: Phase) {
    let sent = match phase {
        Phase::Ready => sd_notify::notify(false, &[NotifyState::Ready]),
        Phase::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(false, &[NotifyState::Reloading, now]),
            Err(error) => Err(error),
        },
        Phase::Stopping => sd_notify::notify(false, &[NotifyState::Stopping]),
        Phase::Replaced { by } => sd_notify::notify(false, &[NotifyState::MainPid(by), NotifyState::Ready]),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "service manager not told");
    }
}
