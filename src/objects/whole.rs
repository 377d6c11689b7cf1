//! A farm with its servers and a frontend with its routes and rules, each as one form, as the file writes them: read
//! together, and taken apart into edits. Pure.
//!
//! Servers, routes and rules are objects of their own, so that every shape can speak of each. Servers and routes are
//! told by name, rules by their place. A whole form without `servers` or `routes` leaves those as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::declared::{farm_form, frontend_form, server_form};
use crate::model::{Declaration, FarmId, FrontendId, Name, ObjectId, ObjectKind, RouteId, ServerId};

use super::edit::{Create, Edit, EditError, Replace};
use super::{Desk, World, form};

/// Who makes objects, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The API shape.
    pub shape: Box<str>,
    /// The service; none: the file's.
    pub service: Option<ObjectId>,
    /// The zone, where the shape has zones.
    pub zone: Option<Box<str>>,
}

/// Returns a farm with its servers as the file would write them, whoever declared it; secrets are in it.
#[must_use]
pub fn farm(world: &World, id: FarmId) -> Option<Map<String, Value>> {
    let mut whole = match world.made().get(id.into()) {
        Some(made) => form::object(&made.form),
        None => farm_form(world.of_file().farms.iter().find(|farm| farm.id == id)?),
    };
    let servers = world.servers_of(id).into_iter();
    let servers = servers.filter_map(|(name, id)| Some((name.to_string(), Value::Object(server(world, id)?))));
    whole.insert("servers".to_owned(), Value::Object(servers.collect()));
    Some(whole)
}

/// Returns a server as the file would write it, whoever declared it.
#[must_use]
pub fn server(world: &World, id: ServerId) -> Option<Map<String, Value>> {
    if let Some(made) = world.made().get(id.into()) {
        return Some(form::object(&made.form));
    }
    let mut servers = world.of_file().farms.iter().flat_map(|farm| &farm.servers);
    servers.find(|server| server.id == id).map(|server| server_form(server))
}

/// Returns a frontend with its routes as the file would write them, whoever declared it.
#[must_use]
pub fn frontend(world: &World, id: FrontendId) -> Option<Map<String, Value>> {
    let mut whole = match world.made().get(id.into()) {
        Some(made) => form::object(&made.form),
        None => {
            let frontend = world.of_file().frontends.iter().find(|frontend| frontend.id == id)?;
            let name = |id| world.farm(id).map_or_else(String::new, |farm| farm.name.to_string());
            frontend_form(frontend, &name)
        }
    };
    let made: Vec<_> = world.made().of(Some(id.into()), ObjectKind::Route).map(|it| made_route(world, it)).collect();
    if !made.is_empty() {
        let routes = whole.entry("routes").or_insert_with(|| Value::Array(Vec::new()));
        routes.as_array_mut()?.extend(made.into_iter().map(Value::Object));
    }
    Some(whole)
}

/// Returns the edits that make a farm with its servers.
///
/// # Errors
/// [`EditError::Invalid`] for servers that are no servers.
pub fn create_farm(
    desk: &Desk<'_>,
    maker: &Maker,
    name: &Name,
    mut whole: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let path = form::key_path(&["farms", name.as_str()]);
    let servers = whole.remove("servers");
    let id = desk.fresh_id();
    let mut edits = vec![maker.create(id, ObjectKind::Farm, name, None, whole)];
    for (name, form) in servers_of(servers, &path)?.unwrap_or_default() {
        edits.push(maker.create(desk.fresh_id(), ObjectKind::Server, &name, Some(id), form));
    }
    Ok(edits)
}

/// Returns the edits that make a farm say this, and have these servers where it names any.
///
/// # Errors
/// [`EditError::Invalid`] for servers that are no servers.
pub fn replace_farm(
    desk: &Desk<'_>,
    world: &World,
    maker: &Maker,
    id: FarmId,
    mut whole: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let unknown = || EditError::Unknown { kind: "farm", id: id.0 };
    let path = path_of(world, id.into()).ok_or_else(unknown)?;
    let there = world.servers_of(id);
    let servers = servers_of(whole.remove("servers"), &path)?;
    let mut edits = vec![replaced(id.into(), whole)];
    let Some(servers) = servers else { return Ok(edits) };
    let wanted: BTreeSet<&Name> = servers.iter().map(|(name, _)| name).collect();
    let gone = there.iter().filter(|(name, _)| !wanted.contains(name));
    edits.extend(gone.map(|(_, id)| Edit::Delete { id: (*id).into() }));
    for (name, form) in servers {
        edits.push(match there.iter().find(|(known, _)| *known == name) {
            Some((_, id)) => replaced((*id).into(), form),
            None => maker.create(desk.fresh_id(), ObjectKind::Server, &name, Some(id.into()), form),
        });
    }
    Ok(edits)
}

/// Returns the edit that makes a server.
#[must_use]
pub fn create_server(desk: &Desk<'_>, maker: &Maker, farm: FarmId, name: &Name, form: Map<String, Value>) -> Edit {
    maker.create(desk.fresh_id(), ObjectKind::Server, name, Some(farm.into()), form)
}

/// Returns the edit that makes an object say this.
#[must_use]
pub fn replaced(id: ObjectId, form: Map<String, Value>) -> Edit {
    Edit::Replace(Replace { id, form: Some(form::text(form)), ..Replace::default() })
}

/// Returns the edits that make a frontend with its routes and their rules.
///
/// # Errors
/// [`EditError::Invalid`] for routes that are no routes.
pub fn create_frontend(
    desk: &Desk<'_>,
    maker: &Maker,
    name: &Name,
    mut whole: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let path = form::key_path(&["frontends", name.as_str()]);
    let routes = whole.remove("routes");
    let id = desk.fresh_id();
    let mut edits = vec![maker.create(id, ObjectKind::Frontend, name, None, whole)];
    for route in routes_of(routes, &path)?.unwrap_or_default() {
        create_route(desk, maker, id, route, &mut edits);
    }
    Ok(edits)
}

/// Returns the edits that make a frontend say this, and have these routes where it names any. Of one of the file the
/// routes of the file may be said again.
///
/// # Errors
/// [`EditError::Invalid`] for routes that are no routes.
pub fn replace_frontend(
    desk: &Desk<'_>,
    world: &World,
    maker: &Maker,
    id: FrontendId,
    mut whole: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let unknown = || EditError::Unknown { kind: "frontend", id: id.0 };
    let path = path_of(world, id.into()).ok_or_else(unknown)?;
    let routes = routes_of(whole.remove("routes"), &path)?;
    let is_of_file = world.made().get(id.into()).is_none();
    let (mut made, mut edits) = (Vec::new(), Vec::new());
    for route in routes.iter().flatten() {
        match world.made().named(Some(id.into()), ObjectKind::Route, route.name.as_str()) {
            None if is_of_file => {
                let items = whole.entry("routes").or_insert_with(|| Value::Array(Vec::new()));
                items.as_array_mut().into_iter().for_each(|items| items.push(Value::Object(route.whole())));
            }
            None => create_route(desk, maker, id.into(), route.clone(), &mut edits),
            Some(known) => {
                made.push(known.id);
                replace_route(desk, world, maker, known, route, &mut edits);
            }
        }
    }
    if routes.is_some() {
        let gone = world.made().of(Some(id.into()), ObjectKind::Route).filter(|it| !made.contains(&it.id));
        edits.extend(gone.map(|it| Edit::Delete { id: it.id }));
        if is_of_file {
            // No routes: none of the file's either.
            whole.entry("routes").or_insert_with(|| Value::Array(Vec::new()));
        }
    }
    edits.insert(0, replaced(id.into(), whole));
    Ok(edits)
}

/// Returns a route as the file would write it, with its rules and without its name, whoever declared it.
#[must_use]
pub fn route(world: &World, frontend: FrontendId, id: RouteId) -> Option<Map<String, Value>> {
    let mut whole = match world.made().get(id.into()) {
        Some(made) => made_route(world, made),
        None => {
            let name = world.of_file().frontends.iter().flat_map(|it| &it.routes).find(|it| it.id == id)?.name.clone();
            let routes = self::frontend(world, frontend)?.remove("routes")?;
            let is_it = |it: &&Value| it.get("name").and_then(Value::as_str) == Some(name.as_str());
            routes.as_array()?.iter().find(is_it)?.as_object()?.clone()
        }
    };
    whole.remove("name");
    Some(whole)
}

/// Returns the edits that make a route with its rules.
///
/// # Errors
/// [`EditError::Invalid`] for rules that are no rules.
pub fn create_one_route(
    desk: &Desk<'_>,
    world: &World,
    maker: &Maker,
    frontend: FrontendId,
    name: &Name,
    form: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let route = route_of(form, name, &route_path(world, frontend, name))?;
    let mut edits = Vec::new();
    create_route(desk, maker, frontend.into(), route, &mut edits);
    Ok(edits)
}

/// Returns the edits that make a route say this, rules and all. One of the file may be said again.
///
/// # Errors
/// [`EditError::Invalid`] for rules that are no rules.
pub fn replace_one_route(
    desk: &Desk<'_>,
    world: &World,
    maker: &Maker,
    (frontend, id): (FrontendId, RouteId),
    form: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    let mut edits = Vec::new();
    match world.made().get(id.into()) {
        Some(known) => {
            let route = route_of(form, &known.name, &route_path(world, frontend, &known.name))?;
            replace_route(desk, world, maker, known, &route, &mut edits);
        }
        None if route(world, frontend, id).is_some_and(|is| is == form) => {}
        None => edits.push(replaced(id.into(), form)),
    }
    Ok(edits)
}

impl Maker {
    /// Returns the edit that makes an object.
    #[must_use]
    pub fn create(
        &self,
        id: ObjectId,
        kind: ObjectKind,
        name: &Name,
        parent: Option<ObjectId>,
        form: Map<String, Value>,
    ) -> Edit {
        Edit::Create(Create {
            id,
            kind,
            name: name.clone(),
            parent,
            service: self.service,
            zone: self.zone.clone(),
            shape: self.shape.clone(),
            is_inert: false,
            form: form::text(form),
            extras: Arc::from("{}"),
        })
    }
}

/// A route of a whole form.
#[derive(Clone, Debug)]
struct RouteForm {
    name: Name,
    form: Map<String, Value>,
    rules: Vec<Map<String, Value>>,
}

impl RouteForm {
    fn whole(&self) -> Map<String, Value> {
        let mut whole = self.form.clone();
        whole.insert("name".to_owned(), Value::from(self.name.as_str()));
        whole.insert("rules".to_owned(), Value::Array(self.rules.iter().cloned().map(Value::Object).collect()));
        whole
    }
}

fn made_route(world: &World, declaration: &Declaration) -> Map<String, Value> {
    let mut whole = form::object(&declaration.form);
    whole.insert("name".to_owned(), Value::from(declaration.name.as_str()));
    let rules = world.made().of(Some(declaration.id), ObjectKind::Rule).map(|rule| form::object(&rule.form));
    let rules: Vec<_> = rules.map(Value::Object).collect();
    if let Value::Array(items) = whole.entry("rules").or_insert_with(|| Value::Array(Vec::new())) {
        items.extend(rules);
    }
    whole
}

fn create_route(desk: &Desk<'_>, maker: &Maker, frontend: ObjectId, route: RouteForm, edits: &mut Vec<Edit>) {
    let id = desk.fresh_id();
    edits.push(maker.create(id, ObjectKind::Route, &route.name, Some(frontend), route.form));
    for rule in route.rules {
        create_rule(desk, maker, id, rule, edits);
    }
}

fn create_rule(desk: &Desk<'_>, maker: &Maker, route: ObjectId, rule: Map<String, Value>, edits: &mut Vec<Edit>) {
    let id = desk.fresh_id();
    // A word and a number are a name.
    if let Ok(name) = Name::parse(&format!("rule-{id}")) {
        edits.push(maker.create(id, ObjectKind::Rule, &name, Some(route), rule));
    }
}

fn replace_route(
    desk: &Desk<'_>,
    world: &World,
    maker: &Maker,
    known: &Declaration,
    route: &RouteForm,
    edits: &mut Vec<Edit>,
) {
    edits.push(replaced(known.id, route.form.clone()));
    let mut rules = world.made().of(Some(known.id), ObjectKind::Rule);
    for rule in &route.rules {
        match rules.next() {
            Some(there) => edits.push(replaced(there.id, rule.clone())),
            None => create_rule(desk, maker, known.id, rule.clone(), edits),
        }
    }
    edits.extend(rules.map(|rule| Edit::Delete { id: rule.id }));
}

type Servers = Vec<(Name, Map<String, Value>)>;

/// Reads `servers`: by name, each an object or its address.
fn servers_of(servers: Option<Value>, path: &str) -> Result<Option<Servers>, EditError> {
    let Some(servers) = servers else { return Ok(None) };
    let path = format!("{path}.servers");
    let Value::Object(servers) = servers else {
        return Err(fault(&path, "is not a mapping of servers; send {\"name\": {\"address\": \"host:port\"}}"));
    };
    let one = |(name, server): (String, Value)| {
        let path = format!("{path}.{}", form::key_path(&[&name]));
        let known = Name::parse(&name).map_err(|why| fault(&path, &format!("{name:?} {why}")))?;
        match server {
            Value::Object(form) => Ok((known, form)),
            Value::String(address) => Ok((known, Map::from_iter([("address".to_owned(), Value::from(address))]))),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) => {
                Err(fault(&path, "is no server; send {\"address\": \"host:port\"}"))
            }
        }
    };
    servers.into_iter().map(one).collect::<Result<_, _>>().map(Some)
}

/// Reads `routes`: a list of objects with a name and rules.
fn routes_of(routes: Option<Value>, path: &str) -> Result<Option<Vec<RouteForm>>, EditError> {
    let Some(routes) = routes else { return Ok(None) };
    let path = format!("{path}.routes");
    let Value::Array(routes) = routes else { return Err(fault(&path, "is not a list of routes")) };
    let one = |(i, route): (usize, Value)| {
        let path = format!("{path}[{i}]");
        let Value::Object(mut form) = route else { return Err(fault(&path, "is no route; send an object")) };
        let name = match form.remove("name") {
            Some(Value::String(name)) => {
                Name::parse(&name).map_err(|why| fault(&format!("{path}.name"), &format!("{name:?} {why}")))?
            }
            Some(_) | None => return Err(fault(&format!("{path}.name"), "is missing; write name: NAME")),
        };
        route_of(form, &name, &path)
    };
    routes.into_iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
}

/// Takes the rules out of the form of a route, which has no name.
fn route_of(mut form: Map<String, Value>, name: &Name, path: &str) -> Result<RouteForm, EditError> {
    let rules = match form.remove("rules") {
        None => Vec::new(),
        Some(Value::Array(rules)) => {
            let rule = |(j, rule): (usize, Value)| match rule {
                Value::Object(form) => Ok(form),
                Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
                    Err(fault(&format!("{path}.rules[{j}]"), "is no rule; send an object"))
                }
            };
            rules.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(fault(&format!("{path}.rules"), "is not a list of rules")),
    };
    Ok(RouteForm { name: name.clone(), form, rules })
}

fn path_of(world: &World, id: ObjectId) -> Option<String> {
    Some(form::key_path(&world.path(id)?.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn route_path(world: &World, frontend: FrontendId, name: &Name) -> String {
    let frontend = world.frontend(frontend).map_or("?", |frontend| frontend.name.as_str());
    form::key_path(&["frontends", frontend, "routes", name.as_str()])
}

fn fault(path: &str, message: &str) -> EditError {
    EditError::fault(path, message)
}
