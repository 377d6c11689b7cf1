//! Certificates that somebody asked for through an API: which names they are for, and what becomes of them.
//!
//! The thread `acme` asks which names are wanted and looks at the files that it keeps: a certificate is taken over into
//! its object when its file is there or has changed, whoever obtained it and in whichever process, it is staged for the
//! frontends that show every certificate, and the tasks that wait are told. One that could not be obtained the first time ends its task and is wanted no more; one that could not be
//! renewed is tried again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::acme;
use crate::admin::ovh;
use crate::clock;
use crate::model::{Act, Declaration, Name, ObjectKind, Task, TaskStatus};
use crate::objects::obtained::{ACTION, Obtained, arrival};
use crate::objects::{Edit, EditError, Objects, View, When};

/// How long whoever began a task may take to say what it is for.
const BEGINNING: Duration = Duration::from_secs(60);

/// See the module's doc.
pub(super) struct Free {
    objects: Arc<dyn Objects>,
    /// Where the authority's client keeps what it obtained.
    dir: PathBuf,
    /// Whether one may have come that no frontend is staged to show.
    is_news: AtomicBool,
}

impl Free {
    pub(super) fn new(objects: Arc<dyn Objects>, dir: PathBuf) -> Self {
        // The process before may have ended in between.
        Self { objects, dir, is_news: AtomicBool::new(true) }
    }

    /// Returns the names that are wanted, each with that of its object.
    pub(super) fn wanted(&self) -> Vec<(Name, Box<str>)> {
        let view = self.objects.view();
        let one = |declaration: &Arc<Declaration>| {
            let Obtained { name, .. } = Obtained::of(declaration)?;
            Some((declaration.name.clone(), name))
        };
        view.made().of(None, ObjectKind::Certificate).filter_map(one).collect()
    }

    /// Takes over what has arrived, and ends the tasks that waited for it.
    pub(super) fn take_over(&self) {
        let view = self.objects.view();
        for declaration in view.made().of(None, ObjectKind::Certificate) {
            let Some(said) = Obtained::of(declaration) else { continue };
            let Ok(pem) = std::fs::read_to_string(acme::file_of(&self.dir, &said.name)) else { continue };
            let Some(edit) = arrival(declaration, &pem) else { continue };
            if let Err(error) = self.write(&edit) {
                tracing::error!(name = %said.name, %error, "obtained certificate not taken over: tried again");
            }
            self.is_news.store(true, Ordering::Relaxed);
        }
        // Frontends show it from the next refresh on, so whoever looks has to see that one is due.
        if self.is_news.swap(false, Ordering::Relaxed)
            && let Err(error) = ovh::follow_certificates(&*self.objects, &act())
        {
            tracing::error!(%error, "obtained certificate not staged for frontends: tried again");
            self.is_news.store(true, Ordering::Relaxed);
        }
        self.end_tasks(&self.objects.view());
    }

    /// Hears that one could not be obtained.
    pub(super) fn failed(&self, name: &str, why: &str) {
        let view = self.objects.view();
        for said in Obtained::all(view.made()).iter().filter(|said| &*said.name == name && !said.is_there) {
            tracing::warn!(name, why, "certificate asked for through an api not obtained: its task ends");
            for task in &said.tasks {
                self.report(*task, Err(&format!("{name}: {why}")));
            }
            if let Err(error) = self.write(&Edit::Delete { id: said.id }) {
                tracing::error!(name, %error, "certificate that is not obtained not forgotten");
            }
        }
    }

    fn end_tasks(&self, view: &View) {
        let waits = |task: &&Task| &*task.action == ACTION && !task.status.is_final();
        let all = Obtained::all(view.made());
        for task in view.tasks.iter().filter(waits) {
            let own: Vec<_> = all.iter().filter(|said| said.tasks.contains(&task.id)).collect();
            let there = own.iter().filter(|said| said.is_there).count();
            let per_cent = u8::try_from(100 * there / own.len().max(1)).unwrap_or(100);
            if own.is_empty() {
                // Whoever began it ended before it said for what.
                if clock::wall().since(task.created_at) > BEGINNING {
                    self.report(task.id, Err("the process ended before it was begun; ask again"));
                }
            } else if per_cent == 100 || task.status == TaskStatus::Todo || task.progress != per_cent {
                self.report(task.id, Ok(per_cent));
            }
        }
    }

    fn report(&self, task: crate::model::TaskId, progress: Result<u8, &str>) {
        match self.objects.report_task(task, progress) {
            // It ended long ago and is forgotten.
            Ok(_) | Err(EditError::Unknown { .. }) => {}
            Err(error) => tracing::error!(task = task.0, %error, "task not ended: tried again"),
        }
    }

    fn write(&self, edit: &Edit) -> Result<(), EditError> {
        self.objects.edit(&|_| Ok(vec![edit.clone()]), When::Live, &act()).map(drop)
    }
}

fn act() -> Act {
    Act { actor: "acme".into(), source: "authority".into(), reason: None, at: clock::wall() }
}
