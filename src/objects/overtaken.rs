//! Which staged changes can never go live, by what is live now, so that nobody's refresh hangs on them. Pure.
//!
//! The rule, in whatever order things are written:
//!
//! - What is live does not wait for what is staged: a live write or a reload is judged by what is live alone.
//! - What a staged change hangs on is the farm, frontend, route or server that it is part of or a value of, and the farms
//!   that a staged frontend or route sends its work to. If a reload or a live write takes that away, the change is dropped.
//! - What something live uses stays: a staged removal of it is dropped, with the other removals of the same write, and so
//!   is a staged change of a farm's protocol.
//! - But a live write that would remove a farm or certificate which a staged change of something else names is refused
//!   and tells the name: two who write by turns would take from each other without a word. What is part of a thing goes
//!   with it.
//! - Everything else that comes in between, as a name or a port that is taken live, leaves the change staged. The refresh
//!   says what is wrong and whose it is; it can be changed or taken back as it was made, and other writes are not judged
//!   by it.
//!
//! What is dropped is told as `overtaken`. A journal whose staged changes do not hold together, because the process ended in
//! between, is mended in the same way when it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{Declaration, FarmId, Made, ObjectId, ObjectKind, StagedChange, StagedKey};

use super::edit::EditError;
use super::form;
use super::staging::Staging;
use super::world::{Change, World};

/// Tells the files in which a certificate is kept, if any are.
pub type Files<'f> = &'f dyn Fn(ObjectId) -> Option<[PathBuf; 2]>;

/// A staged change that is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken {
    /// What it was of.
    pub key: StagedKey,
    /// Of which kind that is.
    pub object: ObjectKind,
    /// Its key path.
    pub path: String,
    /// Why it can never be.
    pub why: String,
}

/// What is staged beside what is live by now.
#[derive(Clone, Copy)]
pub struct Beside<'w> {
    /// What is live.
    pub live: &'w Arc<World>,
    /// What was to be live before: it knows the names of what is gone by now.
    pub before: &'w World,
    /// Where certificates are kept.
    pub files: Files<'w>,
}

impl Staging {
    /// Drops what can never go live. `ahead` is the live world with everything that is staged; returns it with what
    /// remains, and what was dropped.
    pub fn heal(&mut self, beside: Beside<'_>, mut ahead: Arc<World>) -> (Arc<World>, Vec<Overtaken>) {
        let mut all = Vec::new();
        while !self.is_empty() {
            // What one pass drops may be what others hang on, or let others be.
            let kept = self.removed_but_used(beside, &ahead);
            let dropped = if kept.is_empty() { self.hanging_on_nothing(beside, &ahead) } else { kept };
            if dropped.is_empty() {
                break;
            }
            let keys: Vec<_> = dropped.iter().map(|it| it.key).collect();
            self.done(&keys);
            ahead = if self.is_empty() {
                Arc::clone(beside.live)
            } else {
                Arc::new(ahead.with(&as_live(beside.live.made(), &keys)).0)
            };
            all.extend(dropped);
        }
        (ahead, all)
    }

    /// Refuses to let go live what staged changes of others name. `before` and `beside.live` are what was live and what
    /// is to be, `ahead` the latter with what is staged.
    ///
    /// # Errors
    /// [`EditError::InUse`] names them.
    pub fn check_named(
        &self,
        before: &World,
        beside: Beside<'_>,
        ahead: &World,
        changes: &[Change],
    ) -> Result<(), EditError> {
        let Beside { live, files, .. } = beside;
        for change in changes {
            let Some(was) = before.made().get(change.id()).filter(|was| !was.is_inert) else { continue };
            let is_there = live.made().get(was.id).is_some_and(|is| !is.is_inert);
            let by: Vec<String> = match was.kind {
                ObjectKind::Farm if !is_there && !ahead.has_farm(was.name.as_str()) => {
                    let names = |put: &Declaration| names_farm(put, &|name| name == was.name.as_str());
                    self.puts().filter(|put| names(put)).map(|put| staged_path(ahead, put)).collect()
                }
                ObjectKind::Certificate if !is_there => {
                    let paths = quoted(files(was.id));
                    self.puts().filter(|put| names_file(put, &paths)).map(|put| staged_path(ahead, put)).collect()
                }
                ObjectKind::Certificate
                | ObjectKind::Farm
                | ObjectKind::Frontend
                | ObjectKind::Route
                | ObjectKind::Rule
                | ObjectKind::Server
                | ObjectKind::Service => Vec::new(),
            };
            if !by.is_empty() {
                return Err(EditError::InUse { path: path_in(&[before], was.id), by });
            }
        }
        Ok(())
    }

    /// Finds the removals, and the farms of another protocol, that something live does not go with.
    fn removed_but_used(&self, beside: Beside<'_>, ahead: &World) -> Vec<Overtaken> {
        let Beside { live, files, .. } = beside;
        let mut used: BTreeMap<ObjectId, String> = BTreeMap::new();
        for id in self.removals() {
            let Some(was) = live.made().get(id) else {
                used.insert(id, "it is gone already".to_owned());
                continue;
            };
            let user = match was.kind {
                ObjectKind::Certificate => {
                    let paths = quoted(files(id));
                    ahead.made().iter().find(|it| names_file(it, &paths)).map(|it| it.id)
                }
                ObjectKind::Service => ahead.made().iter().find(|it| it.service == Some(id)).map(|it| it.id),
                ObjectKind::Farm | ObjectKind::Frontend | ObjectKind::Route => {
                    live_child(live.made(), ahead.made(), id)
                }
                ObjectKind::Rule | ObjectKind::Server => None,
            };
            used.extend(user.map(|user| (id, used_by(&path_in(&[ahead, live], user)))));
        }
        used.extend(self.farms_missed(live, ahead));
        let stays = |id: &&ObjectId| live.made().get(**id).is_some();
        let acts = used.keys().filter(stays).filter_map(|id| self.get(StagedKey::Object(*id))).map(|it| &it.act);
        let acts: Vec<_> = acts.collect();
        let with_it = self.iter().filter(|it| matches!(it.change, StagedChange::Delete(_)) && acts.contains(&&it.act));
        let with_it: Vec<ObjectId> = with_it.filter_map(|it| object_of(it.key())).collect();
        for id in with_it {
            used.entry(id).or_insert_with(|| "it was to go with what stays".to_owned());
        }
        used.into_iter().map(|(id, why)| overtaken(beside, ahead, StagedKey::Object(id), why)).collect()
    }

    /// Finds farms that staged changes remove, or have speak something else, while a frontend needs them as they are.
    fn farms_missed(&self, live: &World, ahead: &World) -> Vec<(ObjectId, String)> {
        let farm = |world: &World, id: ObjectId| world.farm(FarmId(id.0)).map(|farm| farm.protocol);
        let is_farm = |id: &ObjectId| live.made().get(*id).is_some_and(|made| made.kind == ObjectKind::Farm);
        let is_other = |id: &ObjectId| is_farm(id) && farm(live, *id).is_some() && farm(live, *id) != farm(ahead, *id);
        let all: BTreeSet<ObjectId> = self.iter().filter_map(|it| object_of(it.key())).filter(is_other).collect();
        let broken: Vec<ObjectId> = ahead.broken_frontends().collect();
        if all.is_empty() || broken.is_empty() {
            return Vec::new();
        }
        let keys: Vec<_> = all.iter().map(|id| StagedKey::Object(*id)).collect();
        let (whole, _) = ahead.with(&as_live(live.made(), &keys));
        let mut missed = Vec::new();
        for id in broken {
            let farms = whole.farms_of(id).or_else(|| live.farms_of(id)).unwrap_or_default();
            let farms = farms.into_iter().map(ObjectId::from).filter(|farm| all.contains(farm));
            missed.extend(farms.map(|farm| (farm, used_by(&path_in(&[ahead, live], id)))));
        }
        missed
    }

    /// Finds what is part or value of nothing, and what sends its work to farms that are not there.
    fn hanging_on_nothing(&self, beside: Beside<'_>, ahead: &World) -> Vec<Overtaken> {
        let broken: BTreeSet<ObjectId> = ahead.broken_frontends().collect();
        let mut parents: BTreeMap<ObjectId, bool> = BTreeMap::new();
        let mut has = |id: ObjectId| *parents.entry(id).or_insert_with(|| ahead.has(id));
        let mut dropped = Vec::new();
        for staged in self.iter() {
            let why = match &staged.change {
                StagedChange::Delete(_) => None,
                StagedChange::Wish(server, _) => (!ahead.has_server(*server)).then(|| "the server is gone".to_owned()),
                StagedChange::Put(put) => {
                    let gone = put.parent.filter(|parent| !has(*parent));
                    let kind = put.kind.parent().map_or("object", ObjectKind::as_str);
                    let parent_gone = gone.map(|_| format!("its {kind} is gone"));
                    parent_gone.or_else(|| {
                        let unit = if put.kind == ObjectKind::Route { put.parent? } else { put.id };
                        let is_missing = |name: &str| !ahead.has_farm(name);
                        let is_lost = broken.contains(&unit) && names_farm(put, &is_missing);
                        let missing = || farms_named(put).into_iter().find(|name| is_missing(name)).unwrap_or_default();
                        is_lost.then(|| format!("{} is gone", form::key_path(&["farms", &missing()])))
                    })
                }
            };
            dropped.extend(why.map(|why| overtaken(beside, ahead, staged.key(), why)));
        }
        dropped
    }

    fn puts(&self) -> impl Iterator<Item = &Arc<Declaration>> {
        self.iter().filter_map(|staged| match &staged.change {
            StagedChange::Put(put) => Some(put),
            StagedChange::Delete(_) | StagedChange::Wish(..) => None,
        })
    }

    fn removals(&self) -> impl Iterator<Item = ObjectId> {
        self.iter().filter_map(|staged| match &staged.change {
            StagedChange::Delete(id) => Some(*id),
            StagedChange::Put(_) | StagedChange::Wish(..) => None,
        })
    }
}

/// Returns the changes that make these objects what they are live.
fn as_live(live: &Made, keys: &[StagedKey]) -> Vec<Change> {
    let one = |id: ObjectId| live.get(id).map_or(Change::Delete(id), |is| Change::Put(Arc::clone(is)));
    keys.iter().filter_map(|key| object_of(*key)).map(one).collect()
}

fn object_of(key: StagedKey) -> Option<ObjectId> {
    match key {
        StagedKey::Object(id) => Some(id),
        StagedKey::Field(..) => None,
    }
}

fn live_child(live: &Made, ahead: &Made, id: ObjectId) -> Option<ObjectId> {
    let of_kind = |kind| ahead.of(Some(id), kind);
    let mut all = [ObjectKind::Server, ObjectKind::Route, ObjectKind::Rule].into_iter().flat_map(of_kind);
    all.find(|it| live.get(it.id).is_some_and(|live| live.parent == Some(id))).map(|it| it.id)
}

fn overtaken(beside: Beside<'_>, ahead: &World, key: StagedKey, why: String) -> Overtaken {
    let id = match key {
        StagedKey::Object(id) => id,
        StagedKey::Field(server, _) => server.server.into(),
    };
    let worlds = [ahead, beside.live, beside.before];
    let object = worlds.iter().find_map(|world| world.made().get(id)).map_or(ObjectKind::Server, |made| made.kind);
    Overtaken { key, object, path: path_in(&worlds, id), why }
}

/// Returns the key path of an object, from the first of these worlds that knows all of it.
fn path_in(worlds: &[&World], id: ObjectId) -> String {
    let paths: Vec<_> = worlds.iter().filter_map(|world| world.path(id)).collect();
    // What is part of something that none of them knows stands below a question mark.
    let above = |path: &&Vec<String>| match path[0].as_str() {
        "servers" => "farms.?.",
        "routes" => "frontends.?.",
        "rules" => "frontends.?.routes.?.",
        _ => "",
    };
    match paths.iter().find(|path| above(path).is_empty()).or_else(|| paths.first()) {
        Some(path) => {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            format!("{}{}", above(&path), form::key_path(&keys))
        }
        None => id.to_string(),
    }
}

fn staged_path(ahead: &World, put: &Declaration) -> String {
    format!("{} (staged)", path_in(&[ahead], put.id))
}

fn used_by(path: &str) -> String {
    format!("{path} uses it")
}

/// Returns the farms that a frontend or route in force sends work to, by name.
fn farms_named(put: &Declaration) -> Vec<String> {
    match put.kind {
        ObjectKind::Frontend | ObjectKind::Route if !put.is_inert => form::farms(&put.form),
        ObjectKind::Certificate
        | ObjectKind::Farm
        | ObjectKind::Frontend
        | ObjectKind::Route
        | ObjectKind::Rule
        | ObjectKind::Server
        | ObjectKind::Service => Vec::new(),
    }
}

fn names_farm(put: &Declaration, is_it: &dyn Fn(&str) -> bool) -> bool {
    farms_named(put).iter().any(|name| is_it(name))
}

/// Returns paths as a form has them.
fn quoted(files: Option<[PathBuf; 2]>) -> Vec<String> {
    let quoted = |path: PathBuf| serde_json::Value::from(path.to_string_lossy()).to_string();
    files.into_iter().flatten().map(quoted).collect()
}

fn names_file(it: &Declaration, quoted: &[String]) -> bool {
    it.kind != ObjectKind::Certificate && quoted.iter().any(|path| it.form.contains(path.as_str()))
}
