//! The file and what was made through APIs, as one topology: lowered one farm or frontend at a time, only what a change
//! touches, and looked at as a whole.
//!
//! A [`World`] is never changed: a change gives another one, which shares everything else with it. One that does not
//! hold together can be made, and says what is wrong with it: what is staged may have been overtaken. A unit is a farm
//! with its servers, or a frontend with its routes and their rules. Source of the rules: those of the config file, and
//! that listeners made through an API stay on the service's addresses and inside its `api_ports`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::declared::{Base, Declared, FarmUnit, Fault, FrontendUnit, KnownFarms, RouteUnit};
use crate::model::object::FIRST_MADE_ID;
use crate::model::{
    Declaration, Farm, FarmId, Frontend, FrontendId, InstanceId, Made, Name, ObjectId, ObjectKind, RouteId, ServerId,
    ServerKey, Service, Topology,
};

mod check;

/// One change of what is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object goes.
    Delete(ObjectId),
    /// The object comes, or becomes this.
    Put(Arc<Declaration>),
}

impl Change {
    /// Returns whose it is.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Delete(id) => *id,
            Self::Put(declaration) => declaration.id,
        }
    }
}

/// See the module's doc.
#[derive(Clone, Debug)]
pub struct World {
    file: Arc<Declared>,
    of_file: Arc<Topology>,
    made: Arc<Made>,
    farms: BTreeMap<ObjectId, Unit<Farm>>,
    frontends: BTreeMap<ObjectId, Unit<Frontend>>,
}

/// A farm or frontend that is in part or whole made through an API.
#[derive(Clone, Debug)]
struct Unit<T> {
    name: Name,
    lowered: Result<Arc<T>, Arc<[Fault]>>,
}

impl<T> Unit<T> {
    fn faults(&self) -> &[Fault] {
        self.lowered.as_ref().err().map_or(&[], |faults| faults)
    }
}

impl World {
    /// Returns the world in which nothing is declared.
    #[must_use]
    pub fn empty() -> Self {
        let service = Service {
            name: Name::fixed("none"),
            addresses: Vec::new(),
            api_ports: 1..=u16::MAX,
            api_files: Vec::new(),
            api_sockets: Vec::new(),
            instance_id: InstanceId(1),
            zone: Name::fixed("local"),
        };
        let of_file = Topology { service: Arc::new(service), frontends: vec![], farms: vec![], made: Arc::default() };
        Self::new(Arc::default(), of_file, &Made::default())
    }

    /// Returns the world of a file, which says `of_file`, and what was made beside it.
    #[must_use]
    pub fn new(file: Arc<Declared>, of_file: Topology, made: &Made) -> Self {
        let empty = Self {
            file,
            of_file: Arc::new(of_file),
            made: Arc::default(),
            farms: BTreeMap::new(),
            frontends: BTreeMap::new(),
        };
        let all: Vec<_> = made.iter().map(|declaration| Change::Put(Arc::clone(declaration))).collect();
        empty.with(&all).0
    }

    /// Returns what was made through APIs.
    #[must_use]
    pub fn made(&self) -> &Arc<Made> {
        &self.made
    }

    /// Returns what the file alone declares.
    #[must_use]
    pub fn of_file(&self) -> &Topology {
        &self.of_file
    }

    /// Returns the file as it was written.
    #[must_use]
    pub fn file(&self) -> &Declared {
        &self.file
    }

    /// Returns everything that is in force. Only what holds together is in it.
    #[must_use]
    pub fn topology(&self) -> Topology {
        fn merged<T>(
            of_file: &[Arc<T>],
            units: &BTreeMap<ObjectId, Unit<T>>,
            id: impl Fn(&T) -> ObjectId,
        ) -> Vec<Arc<T>> {
            let own = |it: &Arc<T>| units.get(&id(it)).and_then(|unit| unit.lowered.as_ref().ok().cloned());
            let mut all: Vec<_> = of_file.iter().map(|it| own(it).unwrap_or_else(|| Arc::clone(it))).collect();
            let known: BTreeSet<ObjectId> = of_file.iter().map(|it| id(it)).collect();
            let made = units.iter().filter(|(id, _)| !known.contains(id));
            all.extend(made.filter_map(|(_, unit)| unit.lowered.as_ref().ok().cloned()));
            all
        }
        Topology {
            service: Arc::clone(&self.of_file.service),
            frontends: merged(&self.of_file.frontends, &self.frontends, |it| it.id.into()),
            farms: merged(&self.of_file.farms, &self.farms, |it| it.id.into()),
            made: Arc::clone(&self.made),
        }
    }

    /// Returns a farm, whoever declared it.
    #[must_use]
    pub fn farm(&self, id: FarmId) -> Option<&Arc<Farm>> {
        let made = self.farms.get(&id.into()).and_then(|unit| unit.lowered.as_ref().ok());
        made.or_else(|| self.of_file.farms.iter().find(|farm| farm.id == id))
    }

    /// Returns a frontend, whoever declared it.
    #[must_use]
    pub fn frontend(&self, id: FrontendId) -> Option<&Arc<Frontend>> {
        let made = self.frontends.get(&id.into()).and_then(|unit| unit.lowered.as_ref().ok());
        made.or_else(|| self.of_file.frontends.iter().find(|frontend| frontend.id == id))
    }

    /// Returns the id of the farm of that name, whoever declared it.
    #[must_use]
    pub fn farm_named(&self, name: &str) -> Option<FarmId> {
        let of_file = self.of_file.farms.iter().find(|farm| farm.name.as_str() == name).map(|farm| farm.id);
        of_file.or_else(|| self.made.named(None, ObjectKind::Farm, name).map(|farm| FarmId(farm.id.0)))
    }

    /// Returns the id of the frontend of that name, whoever declared it.
    #[must_use]
    pub fn frontend_named(&self, name: &str) -> Option<FrontendId> {
        let of_file = self.of_file.frontends.iter().find(|it| it.name.as_str() == name).map(|it| it.id);
        of_file.or_else(|| self.made.named(None, ObjectKind::Frontend, name).map(|it| FrontendId(it.id.0)))
    }

    /// Returns whether there is an object of that id, whoever declared it, in force or not.
    #[must_use]
    pub fn has(&self, id: ObjectId) -> bool {
        self.made.get(id).is_some() || self.path(id).is_some()
    }

    /// Returns whether there is a farm of that name that a frontend may name, be it right or not.
    #[must_use]
    pub fn has_farm(&self, name: &str) -> bool {
        let is_kept_only = |id: FarmId| self.made.get(id.into()).is_some_and(|made| made.is_inert);
        self.farm_named(name).is_some_and(|id| !is_kept_only(id))
    }

    /// Returns whether there is that server, whoever declared it.
    #[must_use]
    pub fn has_server(&self, server: ServerKey) -> bool {
        let id = ObjectId::from(server.server);
        let has = |farm: &Arc<Farm>| farm.id == server.farm && farm.servers.iter().any(|it| it.id == server.server);
        self.made.get(id).is_some() || self.of_file.farms.iter().any(has)
    }

    /// Returns the frontends that do not hold together.
    pub fn broken_frontends(&self) -> impl Iterator<Item = ObjectId> {
        self.frontends.iter().filter(|(_, unit)| unit.lowered.is_err()).map(|(id, _)| *id)
    }

    /// Returns the farms that a frontend names; none of one that does not hold together.
    #[must_use]
    pub fn farms_of(&self, id: ObjectId) -> Option<Vec<FarmId>> {
        match self.frontends.get(&id) {
            Some(unit) => unit.lowered.as_ref().ok().map(|frontend| frontend.farms()),
            None => self.frontend(FrontendId(id.0)).map(|frontend| frontend.farms()),
        }
    }

    /// Returns the servers of a farm by name, whether it holds together or not. What is kept only is none.
    #[must_use]
    pub fn servers_of(&self, farm: FarmId) -> Vec<(Name, ServerId)> {
        let lowered = self.farm(farm).into_iter().flat_map(|farm| &farm.servers);
        let mut all: Vec<_> = lowered.map(|server| (server.name.clone(), server.id)).collect();
        let made = self.made.of(Some(farm.into()), ObjectKind::Server).filter(|server| !server.is_inert);
        let made = made.map(|server| (server.name.clone(), ServerId(server.id.0)));
        let more: Vec<_> = made.filter(|(_, id)| !all.iter().any(|(_, known)| known == id)).collect();
        all.extend(more);
        all
    }

    /// Returns the key path of an object, made through an API or of the file.
    #[must_use]
    pub fn path(&self, id: ObjectId) -> Option<Vec<String>> {
        if let Some(made) = self.made.get(id) {
            let own = |list: &str| vec![list.to_owned(), made.name.to_string()];
            let below = |list: &str| {
                let mut path = made.parent.and_then(|parent| self.path(parent)).unwrap_or_default();
                path.extend(own(list));
                path
            };
            return Some(match made.kind {
                ObjectKind::Certificate => own("certificates"),
                ObjectKind::Farm => own("farms"),
                ObjectKind::Frontend => own("frontends"),
                ObjectKind::Route => below("routes"),
                ObjectKind::Rule => below("rules"),
                ObjectKind::Server => below("servers"),
                ObjectKind::Service => own("services"),
            });
        }
        let path = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect());
        for farm in &self.of_file.farms {
            if ObjectId::from(farm.id) == id {
                return path(&["farms", farm.name.as_str()]);
            }
            if let Some(server) = farm.servers.iter().find(|server| ObjectId::from(server.id) == id) {
                return path(&["farms", farm.name.as_str(), "servers", server.name.as_str()]);
            }
        }
        for frontend in &self.of_file.frontends {
            if ObjectId::from(frontend.id) == id {
                return path(&["frontends", frontend.name.as_str()]);
            }
            if let Some(route) = frontend.routes.iter().find(|route| ObjectId::from(route.id) == id) {
                return path(&["frontends", frontend.name.as_str(), "routes", route.name.as_str()]);
            }
        }
        None
    }

    /// Returns the world after these changes, and the units that they touch. It may not hold together: see
    /// [`Self::check`].
    #[must_use]
    pub fn with(&self, changes: &[Change]) -> (Self, Touched) {
        let mut made = Made::clone(&self.made);
        let mut touched = Touched::default();
        for change in changes {
            touched.add(&made, change.id());
            match change {
                Change::Delete(id) => {
                    made.remove(*id);
                }
                Change::Put(declaration) => made.put(Arc::clone(declaration)),
            }
            touched.add(&made, change.id());
        }
        touched.all.extend(changes.iter().map(Change::id));
        let mut world = Self { made: Arc::new(made), ..self.clone() };
        world.lower_farms(self, &mut touched);
        world.lower_frontends(&touched);
        (world, touched)
    }

    fn lower_farms(&mut self, before: &Self, touched: &mut Touched) {
        for id in touched.farms.clone() {
            let unit = self.farm_unit(id);
            match unit {
                None => self.farms.remove(&id),
                Some(unit) => self.farms.insert(id, unit),
            };
            let known = |world: &Self| world.farm(FarmId(id.0)).map(|farm| (farm.name.clone(), farm.protocol));
            if known(self) != known(before) {
                touched.changed_farms.insert(FarmId(id.0));
            }
        }
        if touched.changed_farms.is_empty() {
            return;
        }
        // Frontends that name such a farm, and those that looked for one in vain.
        for (id, unit) in &self.frontends {
            let is_concerned = unit
                .lowered
                .as_ref()
                .map_or(true, |frontend| frontend.farms().iter().any(|farm| touched.changed_farms.contains(farm)));
            if is_concerned {
                touched.frontends.insert(*id);
            }
            for farm in unit.lowered.iter().flat_map(|frontend| frontend.farms()) {
                if let Some((_, users)) = touched.users.get_mut(&farm.into()) {
                    users.push(*id);
                }
            }
        }
    }

    fn farm_unit(&self, id: ObjectId) -> Option<Unit<Farm>> {
        let declaration = self.made.get(id);
        let of_file = self.of_file.farms.iter().find(|farm| ObjectId::from(farm.id) == id);
        let servers: Vec<_> = self.made.of(Some(id), ObjectKind::Server).filter(|server| !server.is_inert).collect();
        let (name, base) = match (declaration, of_file) {
            (Some(farm), _) if !farm.is_inert => (&farm.name, Base::Form(FarmId(id.0), &farm.form)),
            (Some(_), _) => return None,
            (None, Some(farm)) if !servers.is_empty() => (&farm.name, Base::File),
            (None, Some(_)) => return None,
            (None, None) => return servers.first().map(|server| orphan(server, "farm")),
        };
        let servers = servers.into_iter().map(|it| (&it.name, ServerId(it.id.0), &*it.form)).collect();
        let unit = FarmUnit { name, base, servers };
        let lowered = self.file.farm(&unit).map(Arc::new).map_err(Into::into);
        Some(Unit { name: name.clone(), lowered })
    }

    fn lower_frontends(&mut self, touched: &Touched) {
        if touched.frontends.is_empty() {
            return;
        }
        let known = self.known_farms();
        let units: Vec<_> = touched.frontends.iter().map(|id| (*id, self.frontend_unit(*id, &known))).collect();
        drop(known);
        for (id, unit) in units {
            match unit {
                None => self.frontends.remove(&id),
                Some(unit) => self.frontends.insert(id, unit),
            };
        }
    }

    fn frontend_unit(&self, id: ObjectId, farms: &KnownFarms<'_>) -> Option<Unit<Frontend>> {
        let declaration = self.made.get(id);
        let of_file = self.of_file.frontends.iter().find(|frontend| ObjectId::from(frontend.id) == id);
        let routes: Vec<_> = self.made.of(Some(id), ObjectKind::Route).filter(|route| !route.is_inert).collect();
        let (name, base) = match (declaration, of_file) {
            (Some(frontend), _) if !frontend.is_inert => (&frontend.name, Base::Form(FrontendId(id.0), &frontend.form)),
            (Some(_), _) => return None,
            (None, Some(frontend)) if !routes.is_empty() => (&frontend.name, Base::File),
            (None, Some(_)) => return None,
            (None, None) => return routes.first().map(|route| orphan(route, "frontend")),
        };
        let routes = routes.into_iter().map(|route| {
            let rules = self.made.of(Some(route.id), ObjectKind::Rule).filter(|rule| !rule.is_inert);
            let rules = rules.map(|rule| &*rule.form).collect();
            RouteUnit { name: &route.name, id: RouteId(route.id.0), form: &route.form, rules }
        });
        let unit = FrontendUnit { name, base, routes: routes.collect() };
        let lowered = self.file.frontend(&unit, farms).map(Arc::new).map_err(Into::into);
        Some(Unit { name: name.clone(), lowered })
    }

    /// Returns the farms that frontends may name: those of the file and those made through APIs, good or not.
    pub(super) fn known_farms(&self) -> KnownFarms<'_> {
        let mut known = crate::config::declared::known_farms(&self.of_file);
        for (id, unit) in &self.farms {
            if let Ok(farm) = &unit.lowered {
                known.insert(unit.name.as_str(), (farm.protocol, FarmId(id.0)));
            }
        }
        known
    }
}

/// A server or route whose farm or frontend is not there any more.
fn orphan<T>(child: &Declaration, owner: &str) -> Unit<T> {
    Unit { name: child.name.clone(), lowered: Err([orphaned(child, owner)].into()) }
}

fn orphaned(child: &Declaration, owner: &str) -> Fault {
    let path = format!("{owner}s.?.{}s.{}", child.kind.as_str(), child.name);
    let kind = child.kind.as_str();
    let is_of_file = child.parent.is_some_and(|parent| parent.0 < FIRST_MADE_ID);
    let message = if is_of_file {
        format!(
            "was made through an API and its {owner} is not in the file any more; keep the {owner}, or remove the {kind} first"
        )
    } else {
        format!("its {owner} is not there any more; remove the {kind}")
    };
    Fault { path: path.into(), message: message.into() }
}

/// Whether an address is among those, or every address of its family is.
#[must_use]
pub fn covers(addresses: &[IpAddr], wanted: IpAddr) -> bool {
    addresses
        .iter()
        .any(|address| *address == wanted || (address.is_unspecified() && address.is_ipv4() == wanted.is_ipv4()))
}

/// The objects and units that changes touch.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The objects themselves.
    all: BTreeSet<ObjectId>,
    /// Farms to lower again.
    farms: BTreeSet<ObjectId>,
    /// Frontends to lower again.
    frontends: BTreeSet<ObjectId>,
    /// Farms that came, went, or speak something else.
    changed_farms: BTreeSet<FarmId>,
    /// Farms made through an API that were there before or are now, and the frontends that used them before.
    users: BTreeMap<ObjectId, (Name, Vec<ObjectId>)>,
}

impl Touched {
    /// Adds the unit that an object of `made` is part of.
    fn add(&mut self, made: &Made, id: ObjectId) {
        let Some(declaration) = made.get(id) else { return };
        match (declaration.kind, declaration.parent) {
            (ObjectKind::Farm, _) => {
                self.users.entry(id).or_insert_with(|| (declaration.name.clone(), Vec::new()));
                self.farms.insert(id);
            }
            (ObjectKind::Server, Some(farm)) => {
                self.farms.insert(farm);
            }
            (ObjectKind::Frontend, _) => {
                self.frontends.insert(id);
            }
            (ObjectKind::Route, Some(frontend)) => {
                self.frontends.insert(frontend);
            }
            (ObjectKind::Rule, Some(route)) => self.add(made, route),
            (ObjectKind::Route | ObjectKind::Rule | ObjectKind::Server, None)
            | (ObjectKind::Certificate | ObjectKind::Service, _) => {}
        }
    }
}
