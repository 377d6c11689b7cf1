//! A process that keeps objects in memory: what the shape writes is in force at once and gone with the test.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::admin::AdminState;
use crate::admin::vendor_fixture;
use crate::model::object::FIRST_MADE_ID;
use crate::model::{Act, Frontend, Made, ObjectId, Task, TaskId, Topology};
use crate::objects::{Desk, EditError, Edited, Objects, Plan, View, When, World, resolve};
use crate::store::{ListenerHost, OpenError, PreparedListeners, Store, Write};

struct Sockets;

impl ListenerHost for Sockets {
    fn prepare(&self, _frontends: &[Arc<Frontend>]) -> Result<Box<dyn PreparedListeners>, Vec<OpenError>> {
        Ok(Box::new(Self))
    }
}

impl PreparedListeners for Sockets {
    fn commit(self: Box<Self>) {}
}

pub(super) struct Memory {
    store: Arc<Store>,
    last: Mutex<u64>,
    view: ArcSwap<View>,
}

/// The state of the other tests, in which objects can be made.
pub(super) fn state() -> AdminState {
    let state = vendor_fixture::state();
    let snapshot = state.store.snapshot(vendor_fixture::NOW);
    let of_file = Topology {
        service: Arc::clone(&snapshot.service),
        frontends: snapshot.frontends.iter().map(|row| Arc::clone(&row.frontend)).collect(),
        farms: snapshot.farms.iter().map(|row| Arc::clone(&row.farm)).collect(),
        made: Arc::default(),
    };
    let world = Arc::new(World::new(Arc::default(), of_file, &Made::default()));
    let view = View { ahead: Arc::clone(&world), live: world, staged: vec![], tasks: vec![], revision: 0 };
    let (store, last) = (Arc::clone(&state.store), Mutex::new(FIRST_MADE_ID - 1));
    AdminState { objects: Arc::new(Memory { store, last, view: ArcSwap::from_pointee(view) }), ..state }
}

impl Objects for Memory {
    fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    fn edit(&self, plan: Plan<'_>, when: When<'_>, act: &Act) -> Result<Edited, EditError> {
        assert_eq!(when, When::Live, "this shape stages nothing");
        let mut last = self.last.lock().unwrap();
        let view = self.view();
        let desk = Desk::new(&view, *last);
        let edits = plan(&desk)?;
        let resolved = resolve(&view.live, &edits, act.at)?;
        let (live, touched) = view.live.with(&resolved.changes);
        live.check(&touched)?;
        let write = Write { act, wishes: &resolved.wishes, told: &[] };
        self.store.adopt(live.topology(), write, &Sockets, &mut |_| Ok(())).unwrap();
        *last = desk.last();
        let revision = view.revision + 1;
        let live = Arc::new(live);
        self.view.store(Arc::new(View { ahead: Arc::clone(&live), live, staged: vec![], tasks: vec![], revision }));
        Ok(Edited { changes: resolved.changes.len() + resolved.wishes.len(), overtaken: 0, revision })
    }

    fn refresh(&self, _zones: Option<&[Box<str>]>, _action: &str, _act: &Act) -> Result<Task, EditError> {
        panic!("this shape refreshes nothing")
    }

    fn begin_task(&self, _action: &str, _zones: &[Box<str>], _act: &Act) -> Result<Task, EditError> {
        panic!("this shape has no tasks")
    }

    fn report_task(&self, _id: TaskId, _progress: Result<u8, &str>) -> Result<Task, EditError> {
        panic!("this shape has no tasks")
    }

    fn certificate_files(&self, _id: ObjectId) -> Option<[PathBuf; 2]> {
        None
    }

    fn position(&self, _path: &[&str]) -> Option<String> {
        None
    }
}
