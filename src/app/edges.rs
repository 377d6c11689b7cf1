//! What runs beside the data plane: edges on threads of their own, and the order in which they end.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::alarm::Alarm;

use super::certificates::Cared;
use super::keeper::Keeper;
use super::objects::Refresher;

/// How long runtimes of the edges may take to end.
const RUNTIME_END: Duration = Duration::from_secs(2);
/// How much nicer than the data plane a thread is that an edge keeps for long work: what an answer of ten thousand servers
/// costs must not show in traffic.
const GIVES_WAY: i32 = 5;
/// The nicest there is.
const NICEST: i32 = 19;

/// What runs beside the data plane.
pub(super) struct Edges {
    pub(super) prober: Edge,
    pub(super) certificates: Cared,
    pub(super) refresher: Refresher,
    pub(super) keeper: Keeper,
    pub(super) admin: Option<Edge>,
    pub(super) webhooks: Option<Edge>,
}

impl Edges {
    pub(super) fn stop(self) {
        self.prober.stop();
        self.certificates.stop();
        self.refresher.stop();
        self.keeper.stop();
        if let Some(admin) = self.admin {
            admin.stop();
        }
        if let Some(webhooks) = self.webhooks {
            webhooks.stop();
        }
    }
}

/// An edge on a thread of its own.
pub(super) struct Edge {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Edge {
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        // A panic in the edge was reported by its thread.
        let _ = self.thread.join();
    }
}

/// Starts an edge on a thread of its own, which rings if it is lost.
pub(super) fn on_own_thread<F>(
    name: &str,
    alarm: &Alarm,
    work: impl FnOnce(watch::Receiver<bool>) -> F + Send + 'static,
) -> anyhow::Result<Edge>
where
    F: Future<Output = ()>,
{
    let (stop, stopped) = watch::channel(false);
    let runtime = Builder::new_current_thread().enable_all().on_thread_start(give_way).build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    let guard = alarm.guard(name);
    let thread = thread.spawn(move || {
        let _guard = guard;
        runtime.block_on(work(stopped));
        runtime.shutdown_timeout(RUNTIME_END);
    });
    let thread = thread.map_err(|error| anyhow!("cannot start the {name} thread: {error}"))?;
    Ok(Edge { stop, thread })
}

/// Has a thread that an edge keeps for long work give way to the data plane, as far as there are not processors for both.
fn give_way() {
    // Of the calling thread alone, on Linux. Refused, it takes its turn as it would have.
    if let Ok(now) = getpriority_process(None) {
        let _ = setpriority_process(None, (now + GIVES_WAY).min(NICEST));
    }
}
