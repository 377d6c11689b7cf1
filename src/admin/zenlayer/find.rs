//! Load balancers and listeners in a snapshot. Pure.
//!
//! The file's service is one load balancer, each service made here another. A listener is a frontend of one of them; with
//! several ports, one frontend for each, of which the first is the listener and the others its lanes: a server that
//! follows the listener has another port in each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Refusal;
use super::ports;
use super::shown::Shown;
use super::wire::kept::{KeptBalancer, KeptListener, kept};
use super::write::SHAPE;
use crate::model::{Declaration, Made, ObjectId, ObjectKind, Service};
use crate::objects::form;
use crate::store::Snapshot;
use crate::store::snapshot::{FarmRow, FrontendRow, ServerRow};

/// A load balancer.
pub(super) struct Balancer<'m> {
    pub(super) id: String,
    /// The object; none: the file's service.
    pub(super) made: Option<&'m Arc<Declaration>>,
    pub(super) kept: KeptBalancer,
    /// What its listeners are on.
    pub(super) addresses: Vec<IpAddr>,
}

impl<'m> Balancer<'m> {
    /// Returns the file's service.
    pub(super) fn of_file(service: &Service) -> Self {
        let kept = KeptBalancer { name: service.name.to_string(), ..KeptBalancer::default() };
        Self { id: service.name.to_string(), made: None, kept, addresses: service.addresses.clone() }
    }

    /// Returns one that was made; its addresses are the service's where it has none of its own.
    pub(super) fn of_made(made: &'m Arc<Declaration>, service: &Service) -> Self {
        let mut kept: KeptBalancer = kept(Some(made));
        if kept.name.is_empty() {
            kept.name = made.name.to_string();
        }
        let own = form::addresses(&made.form);
        let addresses = if own.is_empty() { service.addresses.clone() } else { own };
        Self { id: made.id.to_string(), made: Some(made), kept, addresses }
    }

    /// Returns the one of that id, terminated or not.
    pub(super) fn find(service: &Service, made: &'m Made, id: &str) -> Result<Self, Refusal> {
        if service.name.as_str() == id {
            return Ok(Self::of_file(service));
        }
        let known = id.parse().ok().and_then(|id| made.get(ObjectId(id)));
        let known = known.filter(|it| is_balancer(it) && it.id.to_string() == id);
        known.map(|it| Self::of_made(it, service)).ok_or_else(|| Refusal::no_load_balancer(id))
    }

    /// Returns what its objects say that they are of.
    pub(super) fn service(&self) -> Option<ObjectId> {
        self.made.map(|made| made.id)
    }

    /// Whether it was terminated.
    pub(super) fn is_recycled(&self) -> bool {
        self.kept.recycled_at.is_some()
    }
}

/// Whether an object is a load balancer: other shapes keep services of theirs.
pub(super) fn is_balancer(made: &Declaration) -> bool {
    made.kind == ObjectKind::Service && &*made.shape == SHAPE
}

/// Returns every load balancer that is not terminated: the file's, then the others by id.
pub(super) fn balancers(snapshot: &Snapshot) -> Vec<Balancer<'_>> {
    let made = snapshot.made.of(None, ObjectKind::Service).filter(|it| is_balancer(it));
    let made = made.map(|it| Balancer::of_made(it, &snapshot.service));
    let all = std::iter::once(Balancer::of_file(&snapshot.service)).chain(made);
    all.filter(|it| !it.is_recycled()).collect()
}

/// Returns the load balancer of that id.
pub(super) fn balancer<'s>(snapshot: &'s Snapshot, id: &str) -> Result<Balancer<'s>, Refusal> {
    let found = Balancer::find(&snapshot.service, &snapshot.made, id)?;
    if found.is_recycled() { Err(Refusal::no_load_balancer(id)) } else { Ok(found) }
}

/// A listener.
pub(super) struct Listener<'s> {
    pub(super) row: &'s FrontendRow,
    pub(super) made: Option<&'s Arc<Declaration>>,
    pub(super) kept: KeptListener,
    farm_form: Option<Map<String, Value>>,
    snapshot: &'s Snapshot,
    /// The frontends of its further ports.
    lanes: Vec<&'s FrontendRow>,
}

impl<'s> Listener<'s> {
    /// Returns its id.
    pub(super) fn id(&self) -> String {
        self.row.frontend.id.to_string()
    }

    /// Returns its frontends, the first one first.
    pub(super) fn frontends(&self) -> impl Iterator<Item = &'s FrontendRow> {
        std::iter::once(self.row).chain(self.lanes.iter().copied())
    }

    /// Returns the farm that takes a frontend's work; of several, the first.
    pub(super) fn farm_of(&self, row: &FrontendRow) -> Option<&'s FarmRow> {
        row.farms.first().map(|farm| &self.snapshot.farms[*farm])
    }

    /// Returns every farm that a frontend's work may go to.
    pub(super) fn farms_of(&self, row: &'s FrontendRow) -> impl Iterator<Item = &'s FarmRow> {
        let snapshot = self.snapshot;
        row.farms.iter().map(move |farm| &snapshot.farms[*farm])
    }

    /// Returns its servers, farm by farm in the order written.
    pub(super) fn servers(&self) -> impl Iterator<Item = &'s ServerRow> {
        self.farms_of(self.row).flat_map(|farm| &farm.servers)
    }

    /// Returns it in this shape's words.
    pub(super) fn shown(&self) -> Shown<'_> {
        let farm = self.farm_of(self.row).map(|row| &*row.farm);
        Shown { frontend: &self.row.frontend, farm, form: self.farm_form.as_ref(), kept: &self.kept }
    }

    /// Returns its ports as the vendor writes them: as they were sent, for as long as they are those.
    pub(super) fn port(&self) -> String {
        let addresses = self.frontends().flat_map(|row| &row.frontend.listen);
        let mut all: Vec<u16> = addresses.filter_map(|addr| Some(addr.ip()?.port())).collect();
        all.sort_unstable();
        all.dedup();
        ports::told(self.kept.port.as_deref(), &all)
    }

    /// Returns the families of its addresses.
    pub(super) fn ip_stack(&self) -> Option<&'static str> {
        let addresses = self.frontends().flat_map(|row| &row.frontend.listen);
        super::to_wire::ip_stack(&addresses.filter_map(|addr| Some(addr.ip()?.ip())).collect::<Vec<_>>())
    }

    fn is_named(&self, id: &str) -> bool {
        self.id() == id || self.row.frontend.name.as_str() == id
    }
}

/// Returns the listeners of a load balancer.
pub(super) fn listeners<'s>(snapshot: &'s Snapshot, balancer: &Balancer<'_>) -> Vec<Listener<'s>> {
    let mut found: Vec<Listener<'s>> = Vec::new();
    let mut lanes: HashMap<u64, Vec<&'s FrontendRow>> = HashMap::new();
    for row in &snapshot.frontends {
        let made = snapshot.made.get(row.frontend.id.into());
        if made.and_then(|made| made.service) != balancer.service() {
            continue;
        }
        let kept: KeptListener = kept(made.map(|made| &**made));
        if let Some(main) = kept.lane_of {
            lanes.entry(main).or_default().push(row);
            continue;
        }
        let farm = row.farms.first().and_then(|farm| snapshot.made.get(snapshot.farms[*farm].farm.id.into()));
        let farm_form = farm.map(|farm| form::object(&farm.form));
        found.push(Listener { row, made, kept, farm_form, snapshot, lanes: Vec::new() });
    }
    for listener in &mut found {
        listener.lanes = lanes.remove(&listener.row.frontend.id.0).unwrap_or_default();
    }
    found
}

/// Returns the listener of that id in a load balancer; without an id, all.
pub(super) fn listeners_of<'s>(
    snapshot: &'s Snapshot,
    balancer: &Balancer<'_>,
    id: Option<&str>,
) -> Result<Vec<Listener<'s>>, Refusal> {
    let mut all = listeners(snapshot, balancer);
    let Some(id) = id else { return Ok(all) };
    all.retain(|listener| listener.is_named(id));
    if all.is_empty() { Err(Refusal::no_listener(id)) } else { Ok(all) }
}
