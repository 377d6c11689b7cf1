//! Edits → changes of declarations and values of servers. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::model::object::FIRST_MADE_ID;
use crate::model::{Declaration, Farm, Field, Made, Name, ObjectId, ObjectKind, ServerKey, Timestamp, Wish};

use super::edit::{Create, Edit, EditError, Replace};
use super::world::{Change, World};
use super::{EDITS_MAX, FORM_BYTES_MAX, form};

/// What edits come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Declarations that come, change or go; each object once.
    pub changes: Vec<Change>,
    /// Operational values that are wanted, of servers of the file and of others; a server's field once.
    pub wishes: Vec<(ServerKey, Wish)>,
}

impl Resolved {
    /// Returns whether it makes objects what they are live, and nothing else: what is staged of them is taken back. That is
    /// never refused; what others have staged beside it is theirs to answer for.
    #[must_use]
    pub fn takes_back(&self, live: &Made) -> bool {
        let is_live = |change: &Change| match change {
            Change::Delete(_) => false,
            Change::Put(is) => live.get(is.id).is_some_and(|live| is.says_the_same_as(live)),
        };
        self.changes.iter().all(is_live)
    }

    /// Puts what is live, its version included, in the place of what says the same: that is staged no more.
    pub fn return_to(&mut self, live: &Made) {
        for change in &mut self.changes {
            if let Change::Put(is) = change
                && let Some(live) = live.get(is.id).filter(|live| is.says_the_same_as(live))
            {
                *is = Arc::clone(live);
            }
        }
    }
}

/// Works out what edits come to in a world. What they would change nothing of is left out.
///
/// # Errors
/// [`EditError`], of the first edit that cannot be.
pub fn resolve(world: &World, edits: &[Edit], now: Timestamp) -> Result<Resolved, EditError> {
    if edits.len() > EDITS_MAX {
        return Err(EditError::TooMany { what: "edits of one write", max: EDITS_MAX });
    }
    let mut draft = Draft { world, made: Made::clone(world.made()), now, touched: BTreeSet::new(), wishes: Vec::new() };
    for edit in edits {
        match edit {
            Edit::Create(create) => draft.create(create)?,
            Edit::Delete { id } => draft.delete(*id)?,
            Edit::Replace(replace) => draft.replace(replace)?,
            Edit::Wish { server, wish } => draft.wish(*server, *wish)?,
        }
    }
    draft.finish()
}

/// Edits that are being worked out.
struct Draft<'w> {
    world: &'w World,
    made: Made,
    now: Timestamp,
    touched: BTreeSet<ObjectId>,
    wishes: Vec<(ServerKey, Wish)>,
}

impl Draft<'_> {
    fn create(&mut self, create: &Create) -> Result<(), EditError> {
        let Create { id, kind, name, parent, service, zone, shape, is_inert, form, extras } = create;
        if id.0 < FIRST_MADE_ID || self.made.get(*id).is_some() {
            return Err(EditError::NotKept(format!("id {id} was not given out for this write").into()));
        }
        check_size(form, "form")?;
        check_size(extras, "extras")?;
        self.check_parent(*kind, *parent)?;
        if let Some(service) = service
            && self.made.get(*service).is_none_or(|it| it.kind != ObjectKind::Service)
        {
            return Err(EditError::Unknown { kind: "service", id: service.0 });
        }
        let is_whole = kind.parent().is_none() || parent.is_some();
        self.put(Declaration {
            id: *id,
            kind: *kind,
            name: name.clone(),
            parent: *parent,
            shape: shape.clone(),
            service: *service,
            zone: zone.clone(),
            is_inert: *is_inert || !is_whole,
            form: form::text(form::object(form)),
            extras: form::text(form::object(extras)),
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        });
        Ok(())
    }

    fn check_parent(&self, kind: ObjectKind, parent: Option<ObjectId>) -> Result<(), EditError> {
        match (kind.parent(), parent) {
            (None, None) => Ok(()),
            (Some(ObjectKind::Frontend), None) => Ok(()),
            (Some(of), Some(parent)) => {
                let unknown = EditError::Unknown { kind: of.as_str(), id: parent.0 };
                match (self.made.get(parent), self.world.path(parent)) {
                    (Some(made), _) if made.kind == of => Ok(()),
                    (Some(_), _) | (None, None) => Err(unknown),
                    (None, Some(_)) if of == ObjectKind::Route => Err(self.file_made(parent, &["rules"])),
                    (None, Some(path)) if kind_of(&path) == of => Ok(()),
                    (None, Some(_)) => Err(unknown),
                }
            }
            (Some(of), None) => Err(EditError::Unknown { kind: of.as_str(), id: 0 }),
            (None, Some(parent)) => Err(EditError::Unknown { kind: "parent", id: parent.0 }),
        }
    }

    fn delete(&mut self, id: ObjectId) -> Result<(), EditError> {
        if self.made.get(id).is_none() {
            return Err(self.not_made(id));
        }
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            for kind in [ObjectKind::Server, ObjectKind::Route, ObjectKind::Rule] {
                gone.extend(self.made.of(Some(id), kind).map(|child| child.id));
            }
            self.made.remove(id);
            self.touched.insert(id);
        }
        Ok(())
    }

    fn replace(&mut self, replace: &Replace) -> Result<(), EditError> {
        let Some(was) = self.made.get(replace.id).cloned() else { return self.replace_of_file(replace) };
        let mut is = Declaration::clone(&was);
        if let Some(form) = &replace.form {
            check_size(form, "form")?;
            is.form = form::text(form::object(form));
        }
        if let Some(extras) = &replace.extras {
            check_size(extras, "extras")?;
            is.extras = form::text(form::object(extras));
        }
        if let Some(is_inert) = replace.is_inert {
            is.is_inert = is_inert;
        }
        if let Some(parent) = replace.parent {
            self.check_parent(is.kind, parent)?;
            is.parent = parent;
        }
        is.is_inert |= is.kind.parent().is_some() && is.parent.is_none();
        if let Some(zone) = &replace.zone {
            is.zone = zone.clone();
        }
        if !is.says_the_same_as(&was) {
            self.put(Declaration { updated_at: self.now, version: was.version + 1, ..is });
        }
        Ok(())
    }

    /// What the file declares may be said again, and the status and weight of servers be another.
    fn replace_of_file(&mut self, replace: &Replace) -> Result<(), EditError> {
        let id = replace.id;
        let (world, of_file) = (self.world, self.world.of_file());
        let differs = replace.is_inert == Some(true) || replace.extras.as_deref().is_some_and(|it| it != "{}");
        if world.path(id).is_some() && differs {
            return Err(self.file_made(id, &[]));
        }
        let Some(form) = replace.form.as_deref() else { return Err(self.not_made(id)) };
        let invalid = |faults| EditError::Invalid { faults };
        if let Some(farm) = of_file.farms.iter().find(|farm| ObjectId::from(farm.id) == id) {
            let keys = world.file().farm_differences(farm, form).map_err(invalid)?;
            return keys.first().map_or(Ok(()), |key| Err(self.file_made(id, &[key])));
        }
        if let Some(frontend) = of_file.frontends.iter().find(|it| ObjectId::from(it.id) == id) {
            let known = world.known_farms();
            let keys = world.file().frontend_differences(frontend, form, &known).map_err(invalid)?;
            return keys.first().map_or(Ok(()), |key| Err(self.file_made(id, &[key])));
        }
        let has = |farm: &&Arc<Farm>| farm.servers.iter().any(|server| ObjectId::from(server.id) == id);
        let Some(farm) = of_file.farms.iter().find(has) else { return Err(self.not_made(id)) };
        let Some(server) = farm.servers.iter().find(|server| ObjectId::from(server.id) == id) else { return Ok(()) };
        let (keys, wanted) = world.file().server_differences(farm, &server.name, form).map_err(invalid)?;
        let operational = |key: &&String| Field::ALL.iter().any(|field| field.as_str() == key.as_str());
        if let Some(key) = keys.iter().find(|key| !operational(key)) {
            return Err(self.file_made(id, &[key]));
        }
        let key = ServerKey { farm: farm.id, server: server.id };
        Field::ALL.into_iter().try_for_each(|field| self.wish(key, Wish::current(field, &wanted)))
    }

    fn wish(&mut self, server: ServerKey, wish: Wish) -> Result<(), EditError> {
        let id = ObjectId::from(server.server);
        if let Some(made) = self.made.get(id).filter(|made| made.kind == ObjectKind::Server).cloned() {
            let key = wish.field().as_str();
            let value = match wish {
                Wish::Admin(status) => Value::from(status.as_str()),
                Wish::Weight(weight) => Value::from(weight.0),
            };
            let form = form::with(&made.form, key, value);
            self.replace(&Replace { id, form: Some(form), ..Replace::default() })?;
        } else {
            let farm = self.world.of_file().farms.iter().find(|farm| farm.id == server.farm);
            if !farm.is_some_and(|farm| farm.servers.iter().any(|it| it.id == server.server)) {
                return Err(EditError::Unknown { kind: "server", id: id.0 });
            }
        }
        self.wishes.retain(|(other, earlier)| *other != server || earlier.field() != wish.field());
        self.wishes.push((server, wish));
        Ok(())
    }

    fn put(&mut self, declaration: Declaration) {
        self.touched.insert(declaration.id);
        self.made.put(Arc::new(declaration));
    }

    /// Gathers what is another than before, services in use looked at.
    fn finish(self) -> Result<Resolved, EditError> {
        let before = self.world.made();
        let mut changes = Vec::new();
        for id in self.touched {
            match (before.get(id), self.made.get(id)) {
                (None, None) => {}
                (Some(was), None) => {
                    if was.kind == ObjectKind::Service {
                        let users = self.made.iter().filter(|it| it.service == Some(id));
                        let path = |it: &Arc<Declaration>| path_of(&self.made, it);
                        let by: Vec<_> = users.map(path).collect();
                        if !by.is_empty() {
                            return Err(EditError::InUse { path: path_of(before, was), by });
                        }
                    }
                    changes.push(Change::Delete(id));
                }
                // Several edits of one object are one change.
                (Some(was), Some(is)) if is.says_the_same_as(was) => {}
                (Some(was), Some(is)) => {
                    let one = Declaration { version: was.version + 1, ..Declaration::clone(is) };
                    changes.push(Change::Put(Arc::new(one)));
                }
                (None, Some(is)) => {
                    changes.push(Change::Put(Arc::new(Declaration { version: 1, ..Declaration::clone(is) })))
                }
            }
        }
        Ok(Resolved { changes, wishes: self.wishes })
    }

    fn not_made(&self, id: ObjectId) -> EditError {
        match self.world.path(id) {
            Some(_) => self.file_made(id, &[]),
            None => EditError::Unknown { kind: "object", id: id.0 },
        }
    }

    fn file_made(&self, id: ObjectId, more: &[&str]) -> EditError {
        let keys = self.world.path(id).unwrap_or_default();
        let keys: Vec<&str> = keys.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let position = self.world.file().position(&keys).unwrap_or_default();
        EditError::FileMade { path: form::key_path(&keys), position }
    }
}

fn kind_of(path: &[String]) -> ObjectKind {
    match path.iter().rev().nth(1).map(String::as_str) {
        Some("farms") => ObjectKind::Farm,
        Some("frontends") => ObjectKind::Frontend,
        Some("routes") => ObjectKind::Route,
        Some(_) | None => ObjectKind::Server,
    }
}

fn path_of(made: &Made, declaration: &Declaration) -> String {
    let list = format!("{}s", declaration.kind.as_str());
    let name: &Name = &declaration.name;
    match declaration.parent.and_then(|parent| made.get(parent)) {
        Some(parent) => format!("{}.{}", path_of(made, parent), form::key_path(&[&list, name.as_str()])),
        None => form::key_path(&[&list, name.as_str()]),
    }
}

fn check_size(text: &str, what: &'static str) -> Result<(), EditError> {
    if text.len() > FORM_BYTES_MAX {
        return Err(EditError::TooMany {
            what: if what == "form" { "bytes of a form" } else { "bytes of extras" },
            max: FORM_BYTES_MAX,
        });
    }
    Ok(())
}
