//! Runs checks and resolves names: everything that goes out to learn what servers are worth.
//!
//! Decides nothing: `health::schedule` says when, `health::expect` says what a reply is worth, whoever implements
//! [`CheckSource`] concludes from the records. Runs as one task on one runtime of its own; every check is a task of
//! its own, or a state machine in the `lane` of the common ones, with one hard deadline for connect, request and reply
//! together, so a slow server delays nobody. One check serves all
//! targets that ask the same of the same address. A check that panics is a failed check. [`pingora_adapter`] offers probes and shares to other programs on Pingora.

mod banner;
mod check;
mod connect;
mod failure;
mod grpc;
mod http;
mod http2;
mod lane;
mod names;
#[cfg(test)]
mod origins;
pub mod pingora_adapter;
mod protocols;
mod proxy_header;
mod reply;
mod rounds;
mod sharing;
#[cfg(test)]
mod stock_faults;
mod tls;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::model::{Checked, Epoch, Paced, PeerAddr, Probe, ProbeSlot, ServerAddr, ServerKey};

/// What the prober reads and where its results go. Called on the prober's thread only; must not block.
pub trait CheckSource: Send + Sync + 'static {
    /// Returns everything to check now; the prober compares it with what it runs.
    fn targets(&self) -> Vec<Target>;

    /// Takes finished checks, those that ended together at once, one for every target that shared them. None is of a
    /// target that has left or changed since its check began, as far as the prober was told. `next_at` is reckoned at
    /// the pace of before: where the answer changes that, the next check comes at another time.
    /// Returns how often each of them is to be checked from now on; those left out, as before.
    fn records(&self, checked: Vec<Checked>) -> Vec<Paced>;

    /// Takes what a server's name resolves to, whenever that changes. With nothing, the name could not be resolved:
    /// the last address stays good, if there ever was one.
    fn resolved(&self, server: ServerKey, epoch: Epoch, addr: Option<SocketAddr>);

    /// Called once: every target of the first list has a record, or can have none.
    fn first_round_done(&self);
}

/// One probe of one server to run, a name to resolve, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Which server.
    pub key: ServerKey,
    /// Which of its farm's probes; the first where there is none and only the name is resolved.
    pub slot: ProbeSlot,
    /// Which incarnation of it; given back with every result, so that what is late can be told.
    pub epoch: Epoch,
    /// Where it was declared to be.
    pub address: ServerAddr,
    /// Where it is; nothing while its name has no address.
    pub addr: Option<PeerAddr>,
    /// How it is checked; with nothing, only its name is resolved.
    pub probe: Option<Arc<Probe>>,
}

/// Checks the source's targets until `shutdown` is true or its sender is gone.
///
/// Reads the targets again whenever `changed` is bumped. `entropy` seeds the jitter. Checks that are under way at
/// shutdown are dropped without a record. A name look-up occupies a blocking thread of the runtime, which may outlive
/// this by the system's resolver timeout: end the runtime with `shutdown_background` or `shutdown_timeout`.
pub async fn run(
    source: Arc<dyn CheckSource>,
    changed: watch::Receiver<u64>,
    checks_at_once: usize,
    entropy: u64,
    shutdown: watch::Receiver<bool>,
) {
    let rounds = rounds::Rounds::new(source, rounds::System::default(), checks_at_once, entropy);
    // A runtime that is woken for what it was told to block on wakes itself through the kernel; a task of it does not.
    let mut task = JoinSet::new();
    task.spawn(rounds.run(changed, shutdown));
    if let Some(Err(error)) = task.join_next().await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
