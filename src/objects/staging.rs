//! What waits for a refresh, and who wins when something is written live meanwhile. Pure.
//!
//! Staged is what an object or a field is to become, so that several writes to one are one change. A live write wins in
//! every key that it changes; what is staged of other keys stays. A staged change that says what is live already is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Act, Declaration, Field, Made, ObjectId, ServerKey, Staged, StagedChange, StagedKey, Wish};

use super::form;
use super::resolve::Resolved;
use super::world::Change;

/// Everything that waits, by what it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staging {
    all: BTreeMap<StagedKey, Staged>,
}

/// What came of staging: for the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Staged changes that are new or another.
    pub put: Vec<Staged>,
    /// Those that are no more.
    pub gone: Vec<StagedKey>,
    /// Those whose staged value was lost to a live write.
    pub lost: Vec<StagedKey>,
}

/// What goes live with a refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Declarations.
    pub changes: Vec<Change>,
    /// Operational values.
    pub wishes: Vec<(ServerKey, Wish)>,
    /// What they are of.
    pub keys: Vec<StagedKey>,
    /// The zones concerned, by name.
    pub zones: Vec<Box<str>>,
}

impl Difference {
    /// Adds staged changes that were dropped: they are not kept either where they were to be.
    pub fn drop_all(&mut self, keys: impl IntoIterator<Item = StagedKey>) {
        for key in keys {
            self.put.retain(|staged| staged.key() != key);
            self.gone.push(key);
        }
    }
}

impl Staging {
    /// Returns what the journal kept.
    #[must_use]
    pub fn of(saved: Vec<Staged>) -> Self {
        Self { all: saved.into_iter().map(|staged| (staged.key(), staged)).collect() }
    }

    /// Returns everything that waits.
    pub fn iter(&self) -> impl Iterator<Item = &Staged> {
        self.all.values()
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns what waits of an object or field.
    #[must_use]
    pub fn get(&self, key: StagedKey) -> Option<&Staged> {
        self.all.get(&key)
    }

    /// Returns the value that is staged of a server's field.
    #[must_use]
    pub fn wish(&self, server: ServerKey, field: Field) -> Option<Wish> {
        match &self.all.get(&StagedKey::Field(server, field))?.change {
            StagedChange::Wish(_, wish) => Some(*wish),
            StagedChange::Delete(_) | StagedChange::Put(_) => None,
        }
    }

    /// Returns the changes that make the live objects what they will be.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.all.values().filter_map(change_of).collect()
    }

    /// Stages what a write comes to beside the live objects.
    pub fn stage(&mut self, live: &Made, resolved: &Resolved, zone: &str, act: &Act) -> Difference {
        let mut difference = Difference::default();
        for change in &resolved.changes {
            let (key, id) = (StagedKey::Object(change.id()), change.id());
            let staged = match (change, live.get(id)) {
                (Change::Delete(_), None) => None,
                (Change::Put(is), Some(was)) if is.says_the_same_as(was) => None,
                (Change::Delete(_), Some(_)) => Some(StagedChange::Delete(id)),
                (Change::Put(is), _) => Some(StagedChange::Put(Arc::clone(is))),
            };
            self.replace(key, staged, 1, zone, act, &mut difference);
        }
        for (server, wish) in &resolved.wishes {
            let is_counted = !resolved.changes.iter().any(|change| change.id() == ObjectId::from(server.server));
            let change = Some(StagedChange::Wish(*server, *wish));
            let key = StagedKey::Field(*server, wish.field());
            self.replace(key, change, u32::from(is_counted), zone, act, &mut difference);
        }
        difference
    }

    /// Takes back what is staged of a field: its value is live already.
    pub fn settle(&mut self, server: ServerKey, field: Field, difference: &mut Difference) {
        let key = StagedKey::Field(server, field);
        if self.all.remove(&key).is_some() {
            difference.gone.push(key);
        }
    }

    /// Lets a live write win: `before` and `after` are the live objects.
    pub fn overtake(&mut self, before: &Made, after: &Made, changes: &[Change]) -> Difference {
        let mut difference = Difference::default();
        for change in changes {
            self.overtake_object(change.id(), before, after, &mut difference);
        }
        difference
    }

    /// Lets a live write to a server's field win. `live`: its declaration, where it was made through an API.
    pub fn overtake_field(&mut self, server: ServerKey, field: Field, live: Option<&Declaration>) -> Difference {
        let mut difference = Difference::default();
        let key = StagedKey::Field(server, field);
        if self.all.remove(&key).is_some() {
            difference.gone.push(key);
            difference.lost.push(key);
        }
        let object = StagedKey::Object(server.server.into());
        let (Some(live), Some(staged)) = (live, self.all.get(&object)) else { return difference };
        let StagedChange::Put(wanted) = &staged.change else { return difference };
        let (mut form, of_live) = (form::object(&wanted.form), form::object(&live.form));
        let name = field.as_str();
        if form.get(name) == of_live.get(name) {
            return difference;
        }
        match of_live.get(name) {
            Some(value) => form.insert(name.to_owned(), value.clone()),
            None => form.remove(name),
        };
        let wanted = Declaration { form: form::text(form), ..Declaration::clone(wanted) };
        self.keep_or_drop(object, wanted, live, &mut difference);
        if !difference.lost.contains(&key) {
            difference.lost.push(key);
        }
        difference
    }

    /// Returns what goes live with a refresh of these zones; none: of all.
    #[must_use]
    pub fn due(&self, zones: Option<&[Box<str>]>) -> Due {
        let mut due = Due::default();
        for staged in self.all.values().filter(|staged| zones.is_none_or(|zones| zones.contains(&staged.zone))) {
            due.keys.push(staged.key());
            if let StagedChange::Wish(server, wish) = &staged.change {
                due.wishes.push((*server, *wish));
            }
            due.changes.extend(change_of(staged));
            due.zones.push(staged.zone.clone());
        }
        due.zones.sort();
        due.zones.dedup();
        due
    }

    /// Takes out what went live.
    pub fn done(&mut self, keys: &[StagedKey]) {
        for key in keys {
            self.all.remove(key);
        }
    }

    fn replace(
        &mut self,
        key: StagedKey,
        change: Option<StagedChange>,
        writes: u32,
        zone: &str,
        act: &Act,
        difference: &mut Difference,
    ) {
        let before = self.all.get(&key).map_or(0, |staged| staged.writes);
        match change {
            Some(change) => {
                let writes = before.saturating_add(writes);
                let staged = Staged { zone: zone.into(), change, writes, act: act.clone() };
                difference.put.push(staged.clone());
                self.all.insert(key, staged);
            }
            None => {
                if self.all.remove(&key).is_some() {
                    difference.gone.push(key);
                }
            }
        }
    }

    fn overtake_object(&mut self, id: ObjectId, before: &Made, after: &Made, difference: &mut Difference) {
        let key = StagedKey::Object(id);
        let Some(staged) = self.all.get(&key) else { return };
        match (&staged.change, before.get(id), after.get(id)) {
            (StagedChange::Put(wanted), Some(was), Some(is)) => {
                let (form, is_form_lost) = form::overtaken(&wanted.form, &was.form, &is.form);
                let (extras, are_extras_lost) = form::overtaken(&wanted.extras, &was.extras, &is.extras);
                let is_inert = if was.is_inert == is.is_inert { wanted.is_inert } else { is.is_inert };
                let parent = if was.parent == is.parent { wanted.parent } else { is.parent };
                let version = is.version + 1;
                let wanted = Declaration { form, extras, is_inert, parent, version, ..Declaration::clone(wanted) };
                self.keep_or_drop(key, wanted, is, difference);
                if is_form_lost || are_extras_lost {
                    difference.lost.push(key);
                }
            }
            (StagedChange::Delete(_) | StagedChange::Put(_), _, _) => {
                self.all.remove(&key);
                difference.gone.push(key);
                difference.lost.push(key);
            }
            (StagedChange::Wish(..), _, _) => {}
        }
    }

    fn keep_or_drop(&mut self, key: StagedKey, wanted: Declaration, live: &Declaration, difference: &mut Difference) {
        if wanted.says_the_same_as(live) {
            self.all.remove(&key);
            difference.gone.push(key);
        } else if let Some(staged) = self.all.get_mut(&key) {
            staged.change = StagedChange::Put(Arc::new(wanted));
            difference.put.push(staged.clone());
        }
    }
}

fn change_of(staged: &Staged) -> Option<Change> {
    match &staged.change {
        StagedChange::Delete(id) => Some(Change::Delete(*id)),
        StagedChange::Put(declaration) => Some(Change::Put(Arc::clone(declaration))),
        StagedChange::Wish(..) => None,
    }
}
