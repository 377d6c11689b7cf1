//! A listener as a write finds it: its frontends, their farms, and what is kept beside. Pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Refusal;
use super::find::Balancer;
use super::shown::Shown;
use super::wire::kept::{KeptListener, kept};
use super::write::SHAPE;
use crate::admin::call::Caller;
use crate::model::{Declaration, Farm, Frontend, FrontendId, ObjectId, ObjectKind};
use crate::objects::{World, form};

/// A frontend of a listener.
pub(super) struct Lane<'w> {
    pub(super) frontend: &'w Frontend,
    pub(super) made: Option<&'w Arc<Declaration>>,
    /// The farm that takes its work, if one does.
    pub(super) farm: Option<&'w Farm>,
}

impl Lane<'_> {
    /// Returns its ports, each once.
    pub(super) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.frontend.listen.iter().filter_map(|addr| Some(addr.ip()?.port())).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns its addresses, each once.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.frontend.listen.iter().filter_map(|addr| Some(addr.ip()?.ip())).collect();
        all.dedup();
        all
    }
}

/// A listener; see the module's doc.
pub(super) struct Target<'w> {
    pub(super) kept: KeptListener,
    /// The listener itself, then its further ports.
    pub(super) lanes: Vec<Lane<'w>>,
    farm_form: Option<Map<String, Value>>,
}

impl<'w> Target<'w> {
    /// Returns the listener of that id in a load balancer.
    ///
    /// # Errors
    /// [`Refusal::no_listener`].
    pub(super) fn find(world: &'w World, balancer: &Balancer<'_>, id: &str) -> Result<Self, Refusal> {
        let by_number = id.parse().ok().map(FrontendId).filter(|it| it.to_string() == id);
        let found = by_number.or_else(|| world.frontend_named(id)).and_then(|id| lane(world, id.into()));
        let main = found.ok_or_else(|| Refusal::no_listener(id))?;
        let own: KeptListener = kept(main.made.map(|made| &**made));
        let service = main.made.and_then(|made| made.service);
        if service != balancer.service() || own.lane_of.is_some() {
            return Err(Refusal::no_listener(id));
        }
        let number = main.frontend.id.0;
        let is_lane =
            |it: &&Arc<Declaration>| it.service == service && kept::<KeptListener>(Some(it)).lane_of == Some(number);
        let further = world.made().of(None, ObjectKind::Frontend).filter(is_lane);
        let further: Vec<_> = further.filter_map(|it| lane(world, it.id)).collect();
        let farm = main.farm.and_then(|farm| world.made().get(farm.id.into()));
        let farm_form = farm.map(|farm| form::object(&farm.form));
        Ok(Self { kept: own, lanes: std::iter::once(main).chain(further).collect(), farm_form })
    }

    /// Returns the frontend that is the listener.
    pub(super) fn main(&self) -> Result<&Lane<'w>, Refusal> {
        self.lanes.first().ok_or_else(Refusal::bug)
    }

    /// Whether this shape made it, with a frontend for each port.
    pub(super) fn is_own(&self) -> bool {
        self.lanes.first().and_then(|lane| lane.made).is_some_and(|made| &*made.shape == SHAPE)
    }

    /// Returns its ports, in order.
    pub(super) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.lanes.iter().flat_map(Lane::ports).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns it in this shape's words.
    pub(super) fn shown(&self) -> Result<Shown<'_>, Refusal> {
        let main = self.main()?;
        Ok(Shown { frontend: main.frontend, farm: main.farm, form: self.farm_form.as_ref(), kept: &self.kept })
    }

    /// Refuses a credential that may not change its farms.
    ///
    /// # Errors
    /// A [`Refusal`] that names the farm.
    pub(super) fn allow(&self, caller: &Caller) -> Result<(), Refusal> {
        let farms = self.lanes.iter().filter_map(|lane| lane.farm);
        farms.into_iter().try_for_each(|farm| caller.may_change(&farm.name)).map_err(Refusal::from)
    }
}

fn lane(world: &World, id: ObjectId) -> Option<Lane<'_>> {
    let frontend = world.frontend(FrontendId(id.0))?;
    let farm = frontend.farms().first().and_then(|farm| world.farm(*farm)).map(|farm| &**farm);
    Some(Lane { frontend, made: world.made().get(id), farm })
}

/// Returns the load balancer of that id, which must be there and not terminated.
///
/// # Errors
/// [`Refusal::no_load_balancer`], [`Refusal::wrong_status`].
pub(super) fn balancer<'w>(world: &'w World, id: &str) -> Result<Balancer<'w>, Refusal> {
    let found = Balancer::find(&world.of_file().service, world.made(), id)?;
    if found.is_recycled() {
        let message = format!("load balancer {id} is terminated; restore it first");
        return Err(Refusal::wrong_status(message));
    }
    Ok(found)
}

/// Returns where one port is listened on, as the config file writes it.
pub(super) fn listen(addresses: &[IpAddr], ports: &[u16]) -> Value {
    let each = addresses.iter().flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(*ip, *port).to_string()));
    Value::Array(each.map(Value::from).collect())
}
