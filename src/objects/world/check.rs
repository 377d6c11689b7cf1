//! Whether a [`World`] holds together: names, counts, addresses, farms in use, and every unit by itself. Pure.
//!
//! A write answers for what it brings about: beside a world that is not whole already, which is one with staged changes
//! that something live has come in the way of, only what was not wrong before stands in its way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::config::declared::Fault;
use crate::config::{FARMS_MAX, FRONTENDS_MAX};
use crate::model::{FarmId, Frontend, ListenAddr, Name, ObjectId, ObjectKind, Protocol};
use crate::objects::edit::EditError;
use crate::objects::{OBJECTS_MAX, form};

use super::{Touched, Unit, World, covers, orphaned};

impl World {
    /// Checks what these changes touched, and what holds between all units.
    ///
    /// # Errors
    /// [`EditError`]: the first of those that are about names, farms in use and addresses, else every fault.
    pub fn check(&self, touched: &Touched) -> Result<(), EditError> {
        self.check_but(touched, None)
    }

    /// Checks what these changes touched, but for what was wrong in the world before them.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_beside(&self, touched: &Touched, before: &Self) -> Result<(), EditError> {
        self.check_but(touched, Some(before))
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

    /// Checks that what is kept only still has the farm or frontend that it was part of `before`.
    ///
    /// # Errors
    /// [`EditError::Invalid`] names every one that has not.
    pub fn check_kept(&self, before: &Self) -> Result<(), EditError> {
        let is_lost = |parent: ObjectId| !self.has(parent) && before.has(parent);
        let kept = self.made.iter().filter(|it| it.is_inert && it.parent.is_some_and(is_lost));
        refuse(kept.filter_map(|it| Some(orphaned(it, it.kind.parent()?.as_str()))).collect())
    }

    fn check_but(&self, touched: &Touched, before: Option<&Self>) -> Result<(), EditError> {
        self.check_counts(before)?;
        first(new_among(self.names_taken(touched), before.map(|it| it.names_taken(touched))))?;
        first(self.farms_missed(touched))?;
        refuse(new_among(self.farm_faults(touched), before.map(|it| it.farm_faults(touched))))?;
        // Only behind the farms: a frontend of a farm that is wrong names none.
        refuse(new_among(self.frontend_faults(touched), before.map(|it| it.frontend_faults(touched))))?;
        first(new_among(self.ports_taken(touched), before.map(|it| it.ports_taken(touched))))
    }

    fn check_counts(&self, before: Option<&Self>) -> Result<(), EditError> {
        let counts = |world: &Self| {
            let count = |of_file: usize, kind| of_file + world.made.of(None, kind).count();
            [
                world.made.len(),
                count(world.of_file.farms.len(), ObjectKind::Farm),
                count(world.of_file.frontends.len(), ObjectKind::Frontend),
            ]
        };
        let bounds = [("objects", OBJECTS_MAX), ("farms", FARMS_MAX), ("frontends", FRONTENDS_MAX)];
        let known = before.map_or([0; 3], counts);
        for ((count, known), (what, max)) in counts(self).into_iter().zip(known).zip(bounds) {
            if count > max && count > known {
                return Err(EditError::TooMany { what, max });
            }
        }
        Ok(())
    }

    /// Returns the names that another object of the same kind and parent has, or that the file declares.
    fn names_taken(&self, touched: &Touched) -> Vec<EditError> {
        let parents: BTreeSet<(Option<ObjectId>, ObjectKind)> =
            touched.all.iter().filter_map(|id| self.made.get(*id)).map(|it| (it.parent, it.kind)).collect();
        let mut taken = Vec::new();
        for (parent, kind) in parents {
            let mut seen: HashSet<&Name> = HashSet::new();
            for declaration in self.made.of(parent, kind) {
                let is_twice = !seen.insert(&declaration.name);
                if !is_twice && !touched.all.contains(&declaration.id) {
                    continue;
                }
                let keys = self.path(declaration.id).unwrap_or_default();
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                let position = self.declared_at(&keys);
                if is_twice || position.is_some() {
                    taken.push(EditError::NameTaken { path: form::key_path(&keys), position });
                }
            }
        }
        taken
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

    /// Returns the farms that went and that a frontend uses.
    fn farms_missed(&self, touched: &Touched) -> Vec<EditError> {
        let mut missed = Vec::new();
        for (farm, (name, users)) in &touched.users {
            let is_there = self.farm(FarmId(farm.0)).is_some() || self.farms.contains_key(farm);
            let is_broken = |id: &&ObjectId| self.frontends.get(id).is_some_and(|unit| unit.lowered.is_err());
            let path = |id: &ObjectId| Some(form::key_path(&["frontends", self.frontends.get(id)?.name.as_str()]));
            let by: Vec<String> = users.iter().filter(is_broken).filter_map(path).collect();
            if !is_there && !by.is_empty() {
                missed.push(EditError::InUse { path: form::key_path(&["farms", name.as_str()]), by });
            }
        }
        missed
    }

    fn farm_faults(&self, touched: &Touched) -> Vec<Fault> {
        touched.farms.iter().filter_map(|id| self.farms.get(id)).flat_map(Unit::faults).cloned().collect()
    }

    fn frontend_faults(&self, touched: &Touched) -> Vec<Fault> {
        let of_frontends = touched.frontends.iter().filter_map(|id| self.frontends.get(id)).flat_map(Unit::faults);
        let of_listeners = touched.frontends.iter().flat_map(|id| self.listener_faults(*id));
        of_frontends.cloned().chain(of_listeners).collect()
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

    /// Returns the addresses that two frontends listen on; who touched one is told of the other.
    fn ports_taken(&self, touched: &Touched) -> Vec<EditError> {
        if touched.frontends.is_empty() {
            return Vec::new();
        }
        let mut seen: HashMap<(bool, &ListenAddr), String> = HashMap::new();
        let made = self.frontends.values().filter_map(|unit| unit.lowered.as_ref().ok());
        let is_of_file = |frontend: &&Arc<Frontend>| !self.frontends.contains_key(&frontend.id.into());
        let all = self.of_file.frontends.iter().filter(is_of_file).chain(made);
        let is_touched = |frontend: &&Arc<Frontend>| touched.frontends.contains(&frontend.id.into());
        let (of_write, others): (Vec<_>, Vec<_>) = all.partition(is_touched);
        let mut taken = Vec::new();
        for frontend in others.into_iter().chain(of_write) {
            for (i, listen) in frontend.listen.iter().enumerate().filter(|(_, listen)| !listen.is_chosen()) {
                let path = || format!("{}.listen[{i}]", form::key_path(&["frontends", frontend.name.as_str()]));
                let key = (frontend.protocol == Protocol::Udp, listen);
                if let Some(by) = seen.get(&key) {
                    taken.push(EditError::PortTaken { path: path(), address: listen.clone(), by: by.clone() });
                    continue;
                }
                seen.insert(key, path());
            }
        }
        taken
    }
}

fn refuse(faults: Vec<Fault>) -> Result<(), EditError> {
    if faults.is_empty() { Ok(()) } else { Err(EditError::Invalid { faults }) }
}

fn first(errors: Vec<EditError>) -> Result<(), EditError> {
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Returns what is wrong and was not before, as often as it is more than before.
fn new_among<T: ToString>(now: Vec<T>, before: Option<Vec<T>>) -> Vec<T> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for it in before.into_iter().flatten() {
        *known.entry(it.to_string()).or_default() += 1;
    }
    let is_new = |it: &T| match known.get_mut(&it.to_string()) {
        Some(more @ 1..) => {
            *more -= 1;
            false
        }
        Some(_) | None => true,
    };
    let mut is_new = is_new;
    now.into_iter().filter(|it| is_new(it)).collect()
}
