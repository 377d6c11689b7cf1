//! What the process is asked to do from outside, by signal or over the admin side: read its config again, or have a new
//! process take over. One at a time; each is carried out to its end, on a thread that may block.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::admin::{Control, Succession};
use crate::lifecycle::{Phase, notify};
use crate::model::{Act, CommandKind, EventKind};

use super::{Core, upgrade};

impl Core {
    /// Has a new process take over, of `binary` or of the program that this one was started as. Blocking. The error has
    /// every reason, one a line; this process goes on then.
    pub(super) fn upgrade(&self, binary: Option<&Path>) -> Result<Succession, String> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Acquire) {
            return Err("the process is stopping".to_owned());
        }
        notify(Phase::Reloading);
        let settings = self.settings();
        let done =
            self.may_start(binary).and_then(|()| upgrade::hand_over(&settings, &self.listeners, &self.estate, binary));
        match done {
            Ok(pid) => {
                tracing::info!(pid, "upgrade: the new process serves; finishing what is open");
                // From here on this process changes nothing any more.
                self.is_stopping.store(true, Ordering::Release);
                self.replaced.send_replace(Some(pid));
                Ok(Succession { pid, replaced: std::process::id() })
            }
            Err(reasons) => {
                for reason in reasons.lines() {
                    tracing::error!(reason, "upgrade refused: this process goes on");
                }
                notify(Phase::Ready);
                Err(reasons)
            }
        }
    }

    /// Tells who asked for what.
    fn told(&self, command: CommandKind, act: Act) {
        let at = act.at;
        self.store.note(EventKind::Commanded { command, act }, at);
    }

    /// Who may operate may not, for that alone, run any program: whoever started the process must have allowed it.
    fn may_start(&self, binary: Option<&Path>) -> Result<(), String> {
        let Some(binary) = binary else { return Ok(()) };
        if !binary.is_absolute() {
            return Err(format!("binary: {binary:?} is not an absolute path; write it from the root"));
        }
        if self.settings().admin.is_some_and(|admin| admin.allow_commands) {
            return Ok(());
        }
        Err(format!(
            "binary: {binary:?} is not started unless admin.allow_commands is true; set that and restart, or put the \
             program where the running one was started from"
        ))
    }
}

/// The admin side's way to reload and upgrade: on a blocking thread, so that its runtime goes on answering.
pub(super) struct Controller(pub(super) Arc<Core>);

impl Control for Controller {
    fn reload<'a>(&'a self, act: Act) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let reloaded = tokio::task::spawn_blocking(move || {
                core.told(CommandKind::Reload, act);
                core.reload()
            });
            let reloaded = reloaded.await;
            reloaded.unwrap_or_else(|error| Err(format!("the reload did not finish: {error}")))
        })
    }

    fn upgrade<'a>(
        &'a self,
        act: Act,
        binary: Option<PathBuf>,
    ) -> Pin<Box<dyn Future<Output = Result<Succession, String>> + Send + 'a>> {
        let core = Arc::clone(&self.0);
        Box::pin(async move {
            let upgraded = tokio::task::spawn_blocking(move || {
                tracing::info!(?binary, "upgrade asked for");
                core.told(CommandKind::Upgrade, act);
                core.upgrade(binary.as_deref())
            });
            let upgraded = upgraded.await;
            upgraded.unwrap_or_else(|error| Err(format!("the upgrade did not finish: {error}")))
        })
    }
}
