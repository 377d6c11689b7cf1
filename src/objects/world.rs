//! The file and what was made through APIs, as one topology: lowered one farm or frontend at a time, only what a change
//! touches, and looked at as a whole.
//!
//! A [`World`] is never changed: a change gives another one, which shares everything else with it. One that does not
//! hold together can be made, and says what is wrong with it: what is staged may have been overtaken. A unit is a farm
//! with its servers, or a frontend with its routes and their rules. Source of the rules: those of the config file, and
//! that listeners made through an API stay on the service's addresses and inside its `api_ports`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::declared::{Base, Declared, FarmUnit, Fault, FrontendUnit, KnownFarms, RouteUnit};
use crate::config::{FARMS_MAX, FRONTENDS_MAX};
use crate::model::{
    Declaration, Farm, FarmId, Frontend, FrontendId, InstanceId, ListenAddr, Made, Name, ObjectId, ObjectKind,
    Protocol, RouteId, ServerId, Service, Topology,
};

use super::edit::EditError;
use super::form;

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

fn refuse(faults: Vec<Fault>) -> Result<(), EditError> {
    if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid { faults }) }
}

impl World {
    /// Returns the world in which nothing is declared.
    #[must_use]
    pub fn empty() -> Self {
        let service = Service {
            name: Name::fixed("none"),
            addresses: Vec::new(),
            api_ports: 1..=u16::MAX,
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

    /// Checks what these changes touched, and what holds between all units.
    ///
    /// # Errors
    /// [`EditError`]: the first of those that are about names, farms in use and addresses, else every fault.
    pub fn check(&self, touched: &Touched) -> Result<(), EditError> {
        self.check_counts()?;
        self.check_names(touched)?;
        self.check_used(touched)?;
        let of_farms = touched.farms.iter().filter_map(|id| self.farms.get(id)).flat_map(Unit::faults);
        refuse(of_farms.cloned().collect())?;
        // Only behind the farms: a frontend of a farm that is wrong names none.
        let of_frontends = touched.frontends.iter().filter_map(|id| self.frontends.get(id)).flat_map(Unit::faults);
        let of_listeners = touched.frontends.iter().flat_map(|id| self.listener_faults(*id));
        refuse(of_frontends.cloned().chain(of_listeners).collect())?;
        self.check_listeners(touched)
    }

    /// Checks everything, as after a reload of the file.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_all(&self) -> Result<(), EditError> {
        let mut touched = Touched::default();
        for declaration in self.made.iter() {
            touched.add(&self.made, declaration.id);
            touched.all.insert(declaration.id);
        }
        self.check(&touched)
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

    fn check_counts(&self) -> Result<(), EditError> {
        let count = |of_file: usize, kind| of_file + self.made.of(None, kind).count();
        if self.made.len() > super::OBJECTS_MAX {
            return Err(EditError::TooMany { what: "objects", max: super::OBJECTS_MAX });
        }
        if count(self.of_file.farms.len(), ObjectKind::Farm) > FARMS_MAX {
            return Err(EditError::TooMany { what: "farms", max: FARMS_MAX });
        }
        if count(self.of_file.frontends.len(), ObjectKind::Frontend) > FRONTENDS_MAX {
            return Err(EditError::TooMany { what: "frontends", max: FRONTENDS_MAX });
        }
        Ok(())
    }

    /// Refuses a name that another object of the same kind and parent has, or that the file declares.
    fn check_names(&self, touched: &Touched) -> Result<(), EditError> {
        let parents: BTreeSet<(Option<ObjectId>, ObjectKind)> =
            touched.all.iter().filter_map(|id| self.made.get(*id)).map(|it| (it.parent, it.kind)).collect();
        for (parent, kind) in parents {
            let mut seen: HashMap<&Name, ObjectId> = HashMap::new();
            for declaration in self.made.of(parent, kind) {
                let is_twice = seen.insert(&declaration.name, declaration.id).is_some();
                if !is_twice && !touched.all.contains(&declaration.id) {
                    continue;
                }
                let keys = self.path(declaration.id).unwrap_or_default();
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                let position = self.declared_at(&keys);
                if is_twice || position.is_some() {
                    return Err(EditError::NameTaken { path: form::key_path(&keys), position });
                }
            }
        }
        Ok(())
    }

    /// Returns where the file declares exactly that object, if it does.
    fn declared_at(&self, keys: &[&str]) -> Option<String> {
        let is_there =
            match keys {
                ["farms", farm] => self.of_file.farms.iter().any(|it| it.name.as_str() == *farm),
                ["frontends", name] => self.of_file.frontends.iter().any(|it| it.name.as_str() == *name),
                ["farms", farm, "servers", server] => self.of_file.farms.iter().any(|it| {
                    it.name.as_str() == *farm && it.servers.iter().any(|server_| server_.name.as_str() == *server)
                }),
                ["frontends", name, "routes", route] => self.of_file.frontends.iter().any(|it| {
                    it.name.as_str() == *name && it.routes.iter().any(|route_| route_.name.as_str() == *route)
                }),
                _ => false,
            };
        if is_there { self.file.position(keys) } else { None }
    }

    /// Refuses to let a farm go that a frontend uses.
    fn check_used(&self, touched: &Touched) -> Result<(), EditError> {
        for (farm, (name, users)) in &touched.users {
            let is_there = self.farm(FarmId(farm.0)).is_some() || self.farms.contains_key(farm);
            let is_broken = |id: &&ObjectId| self.frontends.get(id).is_some_and(|unit| unit.lowered.is_err());
            let path = |id: &ObjectId| Some(form::key_path(&["frontends", self.frontends.get(id)?.name.as_str()]));
            let by: Vec<String> = users.iter().filter(is_broken).filter_map(path).collect();
            if !is_there && !by.is_empty() {
                return Err(EditError::InUse { path: form::key_path(&["farms", name.as_str()]), by });
            }
        }
        Ok(())
    }

    /// Returns what is wrong with where a frontend made through an API listens.
    fn listener_faults(&self, id: ObjectId) -> Vec<Fault> {
        let Some(made) = self.made.get(id) else { return Vec::new() };
        let Some(Ok(frontend)) = self.frontends.get(&id).map(|unit| &unit.lowered) else { return Vec::new() };
        let service = &self.of_file.service;
        let own = made.service.and_then(|service| self.made.get(service));
        let own_addresses = own.map(|service| form::addresses(&service.form)).unwrap_or_default();
        let mut faults = Vec::new();
        for (i, listen) in frontend.listen.iter().enumerate() {
            let why = match listen {
                ListenAddr::Unix(_) => Some("is a Unix socket, which the config file alone may have".to_owned()),
                ListenAddr::Ip(addr) if !service.api_ports.contains(&addr.port()) => Some(format!(
                    "port {} is outside service.api_ports {}-{}; choose a port within",
                    addr.port(),
                    service.api_ports.start(),
                    service.api_ports.end()
                )),
                ListenAddr::Ip(addr) if service.addresses.is_empty() => Some(format!(
                    "{} cannot be listened on: service.addresses is empty; write there what APIs may listen on",
                    addr.ip()
                )),
                ListenAddr::Ip(addr) if !covers(&service.addresses, addr.ip()) => {
                    Some(format!("{} is not among service.addresses; choose one of them", addr.ip()))
                }
                ListenAddr::Ip(addr) if !own_addresses.is_empty() && !covers(&own_addresses, addr.ip()) => {
                    Some(format!("{} is not among the addresses of its service; choose one of them", addr.ip()))
                }
                ListenAddr::Ip(_) => None,
            };
            if let Some(why) = why {
                let path = format!("{}.listen[{i}]", form::key_path(&["frontends", frontend.name.as_str()]));
                faults.push(Fault { path: path.into(), message: why.into() });
            }
        }
        faults
    }

    /// Refuses an address that two frontends listen on.
    fn check_listeners(&self, touched: &Touched) -> Result<(), EditError> {
        if touched.frontends.is_empty() {
            return Ok(());
        }
        let mut seen: HashMap<(bool, &ListenAddr), String> = HashMap::new();
        let made = self.frontends.values().filter_map(|unit| unit.lowered.as_ref().ok());
        let is_of_file = |frontend: &&Arc<Frontend>| !self.frontends.contains_key(&frontend.id.into());
        for frontend in self.of_file.frontends.iter().filter(is_of_file).chain(made) {
            for (i, listen) in frontend.listen.iter().enumerate().filter(|(_, listen)| !listen.is_chosen()) {
                let path = || format!("{}.listen[{i}]", form::key_path(&["frontends", frontend.name.as_str()]));
                let key = (frontend.protocol == Protocol::Udp, listen);
                if let Some(by) = seen.get(&key) {
                    return Err(EditError::PortTaken { path: path(), address: listen.clone(), by: by.clone() });
                }
                seen.insert(key, path());
            }
        }
        Ok(())
    }
}

/// A server or route whose farm or frontend the file no longer has.
fn orphan<T>(child: &Declaration, owner: &str) -> Unit<T> {
    let path = format!("{owner}s.?.{}s.{}", child.kind.as_str(), child.name);
    let message = format!(
        "was made through an API and its {owner} is not in the file any more; keep the {owner}, or remove the {} first",
        child.kind.as_str()
    );
    Unit { name: child.name.clone(), lowered: Err([Fault { path: path.into(), message: message.into() }].into()) }
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
