//! Writes of farms, servers, frontends, routes and rules: staged, until a refresh makes them live.
//!
//! A call becomes a plan that runs while nothing else writes: it reads what there is, checks the body against it and
//! says what is to be edited. A `PUT` is a merge: what is absent stays, null clears. Only the keys of the form that the
//! written fields come to are touched, so that what others wrote beside them stays. What the file declares is refused
//! with its place there, but for the status and the weight of a server. Blocking work is done on a thread of its own.

mod farm;
mod frontend;
mod route;
mod rule;
mod server;
mod settle;

pub(super) use frontend::is_idle;
pub(super) use route::{REDIRECTS, REJECTIONS};
pub(super) use rule::SUBJECTS;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::ahead::{Ahead, Item, Said};
use super::credential::Known;
use super::error::Refusal;
use super::face::Look;
use super::filter::Query;
use super::path::{Kind, Object};
use super::{fields, shown};
use crate::admin::call::{AdminState, Call, Caller};
use crate::admin::error::AdminError;
use crate::model::{Access, Name, ObjectId, ObjectKind, Server, Timestamp};
use crate::objects::edit::{Create, Replace};
use crate::objects::{Desk, Edit, EditError, Objects, View, When, form};

/// What an object made by this shape is marked with.
pub(super) const SHAPE: &str = "ovh";
/// What a certificate is marked with that a server made by this shape is verified with.
pub(super) const CHAIN_SHAPE: &str = "ovh-chain";
/// The zone of what is for every zone.
pub(super) const EVERY_ZONE: &str = "all";
/// Keys of a frontend's form that come to something else when another key does: HSTS is said in TLS only, and who has
/// neither farm nor redirect rejects.
const BESIDE: [(&str, &str); 3] = [("tls", "hsts"), ("farm", "reject"), ("redirect", "reject")];
/// The fields of a server that are an operator's.
const OPERATED: [&str; 2] = ["status", "weight"];
/// The most bytes of a name that is made of one that is shown; a number may follow it.
const SLUG_BYTES_MAX: usize = 40;

/// What a call is to do, and with what.
#[derive(Clone, Debug)]
struct Order {
    what: What,
    verb: Verb,
    body: Bytes,
    terms: Terms,
}

/// What is written; nothing of what is to be made has an id yet.
#[derive(Clone, Debug)]
enum What {
    Farm(Kind, Option<Box<str>>),
    Frontend(Kind, Option<Box<str>>),
    Route(Kind, Option<Box<str>>),
    Rule(Kind, Box<str>, Option<Box<str>>),
    Server(Kind, Box<str>, Option<Box<str>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Change,
    Delete,
    Make,
}

/// What a plan may do and knows beside what is declared.
#[derive(Clone, Debug)]
struct Terms {
    /// When.
    now: Timestamp,
    /// Whether names are as asked for or not at all: of who may change certain farms only.
    are_names_fixed: bool,
    /// The shortest interval of a probe.
    probe_interval_min: Duration,
    /// The server as it is now, where one is written that is live.
    live: Option<Arc<Server>>,
}

/// Where a plan is made.
#[derive(Clone, Copy)]
struct Planning<'p> {
    desk: &'p Desk<'p>,
    ahead: Ahead<'p>,
    look: Look<'p>,
    terms: &'p Terms,
    files: &'p dyn Fn(ObjectId) -> Option<[PathBuf; 2]>,
}

/// Carries a write of an object out and returns the answer's body.
///
/// # Errors
/// [`Refusal`]; nothing was changed.
pub(super) async fn carry_out(
    state: &AdminState,
    call: &Call,
    known: &Known,
    object: Object<'_>,
) -> Result<Vec<u8>, Refusal> {
    let what = what(object).ok_or_else(|| Refusal::write_not_offered(&call.method))?;
    let Some(verb) = verb(call, &what) else { return Err(Refusal::not_with(&call.method, what.methods())) };
    let order = order(state, call, known, what, verb);
    known.caller.needs(order.needs())?;
    allow(&state.objects.view(), &known.caller, &order)?;
    let act = known.caller.act(call, None);
    let (objects, own) = (Arc::clone(&state.objects), order.clone());
    let done = tokio::task::spawn_blocking(move || edit(&*objects, &own, &act));
    let (edited, made) = done.await.map_err(|_| Refusal::bug())??;
    tracing::info!(
        request_id = call.request_id,
        actor = %known.caller.grant.name,
        source = %call.peer,
        method = %call.method,
        path = call.uri.path(),
        changes = edited.changes,
        "admin write staged"
    );
    let Some(id) = made else { return Ok(b"null".to_vec()) };
    let (id, view) = (id.to_string(), state.objects.view());
    let body = shown::body(Look::declared(&view), order.what.object(&id), &Query::none())?;
    serde_json::to_vec(&body).map_err(|_| Refusal::bug())
}

fn edit(
    objects: &dyn Objects,
    order: &Order,
    act: &crate::model::Act,
) -> Result<(crate::objects::Edited, Option<ObjectId>), EditError> {
    let made = Cell::new(None);
    let files = |id| objects.certificate_files(id);
    let plan = |desk: &Desk<'_>| {
        let look = Look::declared(desk.view);
        let planning = Planning { desk, ahead: look.ahead, look, terms: &order.terms, files: &files };
        let (edits, id) = planning.plan(order)?;
        made.set(id);
        Ok(edits)
    };
    // There is one zone: what is for all of them is for this one.
    let view = objects.view();
    let zone = view.ahead.of_file().service.zone.clone();
    let edited = objects.edit(&plan, When::Staged { zone: zone.as_str() }, act)?;
    Ok((edited, made.get()))
}

fn what(object: Object<'_>) -> Option<What> {
    Some(match object {
        Object::Farm(kind, id) => What::Farm(kind, Some(id.into())),
        Object::Farms(kind) => What::Farm(kind, None),
        Object::Frontend(kind, id) => What::Frontend(kind, Some(id.into())),
        Object::Frontends(kind) => What::Frontend(kind, None),
        Object::Route(kind, id) => What::Route(kind, Some(id.into())),
        Object::Routes(kind) => What::Route(kind, None),
        Object::Rule(kind, route, id) => What::Rule(kind, route.into(), Some(id.into())),
        Object::Rules(kind, route) => What::Rule(kind, route.into(), None),
        Object::Server(kind, farm, id) => What::Server(kind, farm.into(), Some(id.into())),
        Object::Servers(kind, farm) => What::Server(kind, farm.into(), None),
        Object::DefinedFarms | Object::DefinedFrontends | Object::DefinedRoutes => return None,
    })
}

fn verb(call: &Call, what: &What) -> Option<Verb> {
    match (call.method.as_str(), what.has_id()) {
        ("DELETE", true) => Some(Verb::Delete),
        ("POST", false) => Some(Verb::Make),
        ("PUT", true) => Some(Verb::Change),
        _ => None,
    }
}

impl Order {
    /// Returns the least role that may give it: whoever operates changes how a server that is there takes part.
    fn needs(&self) -> Access {
        let operates = |body: &Map<String, Value>| body.keys().all(|key| OPERATED.contains(&key.as_str()));
        let is_server = matches!((&self.what, self.verb), (What::Server(..), Verb::Change));
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(body)) if is_server && operates(&body) => Access::Operate,
            Ok(_) | Err(_) => Access::Admin,
        }
    }
}

impl What {
    fn has_id(&self) -> bool {
        match self {
            Self::Farm(_, id) | Self::Frontend(_, id) | Self::Route(_, id) => id.is_some(),
            Self::Rule(_, _, id) | Self::Server(_, _, id) => id.is_some(),
        }
    }

    /// Returns the methods that it takes.
    fn methods(&self) -> &'static str {
        if self.has_id() { "GET, HEAD, PUT, DELETE" } else { "GET, HEAD, POST" }
    }

    /// Returns where an object is that was made here.
    fn object<'o>(&'o self, id: &'o str) -> Object<'o> {
        match self {
            Self::Farm(kind, _) => Object::Farm(*kind, id),
            Self::Frontend(kind, _) => Object::Frontend(*kind, id),
            Self::Route(kind, _) => Object::Route(*kind, id),
            Self::Rule(kind, route, _) => Object::Rule(*kind, route, id),
            Self::Server(kind, farm, _) => Object::Server(*kind, farm, id),
        }
    }
}

fn order(state: &AdminState, call: &Call, known: &Known, what: What, verb: Verb) -> Order {
    let live = match &what {
        What::Server(_, farm, Some(server)) => {
            let snapshot = state.store.snapshot(call.now);
            let row = snapshot.farm_named(farm).and_then(|farm| farm.server_named(server));
            row.map(|row| Arc::clone(&row.server))
        }
        What::Farm(..) | What::Frontend(..) | What::Route(..) | What::Rule(..) | What::Server(_, _, None) => None,
    };
    let terms = Terms {
        now: call.now,
        are_names_fixed: known.caller.grant.farms.is_some(),
        probe_interval_min: state.credentials.load().ovh_bounds.probe_interval_min,
        live,
    };
    Order { what, verb, body: call.body.clone(), terms }
}

/// Refuses what a credential of some farms may not write: other farms, and what is no farm's.
fn allow(view: &View, caller: &Caller, order: &Order) -> Result<(), AdminError> {
    let ahead = Ahead::of(view);
    match &order.what {
        What::Farm(_, None) if caller.grant.farms.is_some() => {
            let given: Option<Map<String, Value>> = serde_json::from_slice(&order.body).ok();
            let shown = given.as_ref().and_then(|given| given.get("displayName")).and_then(Value::as_str);
            match shown.and_then(slug) {
                Some(name) => caller.may_change(&name),
                None => unbounded(caller),
            }
        }
        What::Farm(kind, Some(farm)) | What::Server(kind, farm, _) => {
            // One that does not exist is told so.
            ahead.farm(*kind, farm).map_or(Ok(()), |farm| caller.may_change(&farm.name))
        }
        What::Farm(_, None) => Ok(()),
        What::Frontend(..) | What::Route(..) | What::Rule(..) => unbounded(caller),
    }
}

/// Refuses a credential of some farms what concerns all.
fn unbounded(caller: &Caller) -> Result<(), AdminError> {
    match caller.grant.farms {
        None => Ok(()),
        Some(_) => Err(AdminError::ForbiddenFarm { name: caller.grant.name.clone(), farm: "(all of them)".to_owned() }),
    }
}

/// Returns the name that one that is shown becomes.
fn slug(shown: &str) -> Option<Name> {
    let mut text = String::new();
    for c in shown.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' | '.' | '_' => text.push(c),
            _ if !text.is_empty() && !text.ends_with('-') => text.push('-'),
            _ => {}
        }
        if text.len() >= SLUG_BYTES_MAX {
            break;
        }
    }
    Name::parse(text.trim_end_matches('-').trim_start_matches(['.', '_', '-'])).ok()
}

/// What a plan comes to: the edits, and the id of what is made.
type Planned = Result<(Vec<Edit>, Option<ObjectId>), EditError>;

impl Planning<'_> {
    fn plan(self, order: &Order) -> Planned {
        let body = &order.body;
        match (&order.what, order.verb) {
            (What::Farm(kind, None), _) => self.make_farm(*kind, body),
            (What::Farm(kind, Some(id)), Verb::Delete) => self.delete_farm(*kind, id),
            (What::Farm(kind, Some(id)), _) => self.change_farm(*kind, id, body),
            (What::Server(kind, farm, None), _) => self.make_server(*kind, farm, body),
            (What::Server(kind, farm, Some(id)), Verb::Delete) => self.delete_server(*kind, farm, id),
            (What::Server(kind, farm, Some(id)), _) => self.change_server(*kind, (farm, id), body),
            (What::Frontend(kind, None), _) => self.make_frontend(*kind, body),
            (What::Frontend(kind, Some(id)), Verb::Delete) => self.delete_frontend(*kind, id),
            (What::Frontend(kind, Some(id)), _) => self.change_frontend(*kind, id, body),
            (What::Route(kind, None), _) => self.make_route(*kind, body),
            (What::Route(kind, Some(id)), Verb::Delete) => self.delete_route(*kind, id),
            (What::Route(kind, Some(id)), _) => self.change_route(*kind, id, body),
            (What::Rule(kind, route, None), _) => self.make_rule(*kind, route, body),
            (What::Rule(kind, route, Some(id)), Verb::Delete) => self.delete_rule(*kind, route, id),
            (What::Rule(kind, route, Some(id)), _) => self.change_rule(*kind, (route, id), body),
        }
    }

    /// Returns the edit that makes an object that says these fields.
    fn create(self, new: New) -> Edit {
        let New { id, kind, name, parent, zone, said, is_inert } = new;
        Edit::Create(Create {
            id,
            kind,
            name,
            parent,
            service: None,
            zone,
            shape: SHAPE.into(),
            is_inert,
            form: form::text(said.form.clone()),
            extras: said.extras("{}"),
        })
    }

    /// Returns a name for what is made: of the one that is shown, and with its id where that is another's.
    fn name(
        self,
        kind: ObjectKind,
        id: ObjectId,
        shown: Option<&str>,
        is_taken: &dyn Fn(&str) -> bool,
    ) -> Result<Name, EditError> {
        let wanted = shown.and_then(slug);
        if let Some(name) = wanted.clone().filter(|name| self.terms.are_names_fixed || !is_taken(name.as_str())) {
            return Ok(name);
        }
        let stem = wanted.as_ref().map_or_else(|| kind.as_str(), Name::as_str);
        Name::parse(&format!("{stem}-{id}"))
            .map_err(|why| EditError::fault("displayName", &format!("makes no name: it {why}")))
    }

    /// Checks a zone and returns it.
    fn zone(self, zone: &str) -> Result<Box<str>, EditError> {
        let own = self.look.zone.as_str();
        if zone.eq_ignore_ascii_case(own) || zone.eq_ignore_ascii_case(EVERY_ZONE) {
            return Ok(zone.into());
        }
        Err(fields::outside("zone", format!("{zone:?}"), &format!("{EVERY_ZONE}, {own}")))
    }

    /// Returns the edit that has an object say these fields; nothing where it does already.
    fn change<T>(self, change: &Change<'_, T>) -> Result<Option<Replace>, EditError> {
        let &Change { item, list, old, new, written, form: wanted, key_of } = change;
        let changed: Vec<&str> = written
            .iter()
            .filter(|(field, value)| old.get(*field) != Some(*value))
            .map(|(it, _)| it.as_str())
            .collect();
        let Some(first) = changed.first() else { return Ok(None) };
        let Some(made) = &item.made else {
            let list: Vec<&str> = list.iter().map(String::as_str).chain(key_of(first)).collect();
            return Err(self.file_made(&list));
        };
        let (mut form, mut said) = (item.form(), item.said());
        for field in &changed {
            if let Some(value) = new.get(*field) {
                said.fields.insert((*field).to_owned(), value.clone());
            }
            let Some(key) = key_of(field) else { continue };
            set(key, wanted, &mut form, &mut said);
            for (_, other) in BESIDE.iter().filter(|(of, _)| *of == key) {
                // What somebody else wrote stays, unless it cannot.
                let cannot_stay = *other == "hsts" && !wanted.contains_key("tls");
                if said.stands(other, &form) || cannot_stay {
                    set(other, wanted, &mut form, &mut said);
                }
            }
            // What else comes to that key is told with it from now on.
            for (other, value) in new.iter().filter(|(other, _)| key_of(other) == Some(key)) {
                said.fields.insert(other.clone(), value.clone());
            }
        }
        let (extras, form) = (Some(said.extras(&made.extras)), Some(form::text(form)));
        Ok(Some(Replace { id: item.id, form, extras, ..Replace::default() }))
    }

    /// Returns the error that the file declares what has that key path.
    fn file_made(self, keys: &[&str]) -> EditError {
        let position = self.ahead.world.file().position(keys).unwrap_or_default();
        EditError::FileMade { path: form::key_path(keys), position }
    }
}

/// An object to be made.
struct New {
    id: ObjectId,
    kind: ObjectKind,
    name: Name,
    parent: Option<ObjectId>,
    zone: Option<Box<str>>,
    said: Said,
    is_inert: bool,
}

/// A change of an object.
struct Change<'c, T> {
    /// It.
    item: &'c Item<T>,
    /// Its key path.
    list: &'c [String],
    /// What it says.
    old: &'c Map<String, Value>,
    /// What it is to say.
    new: &'c Map<String, Value>,
    /// What of that the body has.
    written: &'c Map<String, Value>,
    /// What that comes to.
    form: &'c Map<String, Value>,
    /// Which key of the form a field comes to.
    key_of: fn(&str) -> Option<&'static str>,
}

/// Returns whether a body changes what the form of an object says; nothing of the form is looked at otherwise.
fn is_formed(old: &Map<String, Value>, written: &Map<String, Value>, key_of: fn(&str) -> Option<&'static str>) -> bool {
    written.iter().any(|(field, value)| key_of(field).is_some() && old.get(field) != Some(value))
}

/// Sets a key of a form to what is wanted of it, and says so.
fn set(key: &str, wanted: &Map<String, Value>, form: &mut Map<String, Value>, said: &mut Said) {
    for map in [form, &mut said.form] {
        match wanted.get(key) {
            Some(value) => map.insert(key.to_owned(), value.clone()),
            None => map.remove(key),
        };
    }
}

/// Returns what an object says after a body was merged into it.
fn merged(old: &Map<String, Value>, written: &Map<String, Value>) -> Map<String, Value> {
    let mut new = old.clone();
    new.extend(written.iter().map(|(field, value)| (field.clone(), value.clone())));
    new
}

/// Returns the fields that a new object is kept with: what a client may write, nulls too.
fn kept(face: Map<String, Value>, kind: Kind, table: &[fields::Field]) -> Map<String, Value> {
    let mut kept = face;
    kept.retain(|field, _| fields::is_written(field, kind, table));
    kept
}

fn unknown(kind: &'static str, id: &str) -> EditError {
    EditError::UnknownName { kind, name: crate::admin::guard::quoted(id) }
}

/// Puts a value into a form, where there is one.
fn put(form: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        form.insert(key.to_owned(), value.into());
    }
}
