//! What is declared, staged writes included: farms, servers, frontends, routes and rules, whoever declared them, found
//! by id or name. Pure: it reads one view.
//!
//! An object is in one of three places: in the file, made through an API and in force, or made and kept only (a
//! disabled frontend, a route of none, a server without a port). The last has a declaration and no definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::path::Kind;
use super::write::SHAPE;
use crate::model::{
    Action, Declaration, Farm, FarmId, Frontend, FrontendId, Name, ObjectId, ObjectKind, Protocol, Route, Rule, Server,
};
use crate::objects::{View, World, form};

/// The key of what this shape keeps in the extras of an object.
const OWN: &str = "ovh";

/// The field of what another shape made that is written together with all others only: where it is closed here.
const WRITTEN_WITH_ALL: &str = "disabled";

/// An object: what declares it, where an API does, and its definition, where it is in force.
#[derive(Clone, Debug)]
pub(super) struct Item<T> {
    /// Its id.
    pub(super) id: ObjectId,
    /// Its name.
    pub(super) name: Name,
    /// Its declaration; none: the file has it.
    pub(super) made: Option<Arc<Declaration>>,
    /// Its definition.
    pub(super) model: Option<Arc<T>>,
}

impl<T> Item<T> {
    fn kept(made: &Arc<Declaration>) -> Self {
        Self { id: made.id, name: made.name.clone(), made: Some(Arc::clone(made)), model: None }
    }

    /// Returns whether it can be told: it is in force, or this shape knows what it is to be, as it made it or closed it.
    /// What another shape made and keeps out of force is that shape's own.
    fn is_told(&self) -> bool {
        let is_known =
            |made: &Arc<Declaration>| &*made.shape == SHAPE || Said::of(made).fields.contains_key(WRITTEN_WITH_ALL);
        self.model.is_some() || self.made.as_ref().is_some_and(is_known)
    }

    /// Returns what an API wrote of it; nothing of what the file has.
    pub(super) fn form(&self) -> Map<String, Value> {
        self.made.as_ref().map(|made| form::object(&made.form)).unwrap_or_default()
    }

    /// Returns what this shape wrote of it.
    pub(super) fn said(&self) -> Said {
        self.made.as_ref().map(|made| Said::of(made)).unwrap_or_default()
    }
}

/// A route with the frontend that it is of and the kind of both.
#[derive(Clone, Debug)]
pub(super) struct RouteItem {
    /// It.
    pub(super) item: Item<Route>,
    /// Its frontend; none: it is of none.
    pub(super) frontend: Option<FrontendId>,
    /// The kind.
    pub(super) kind: Kind,
}

/// A rule. One that a file or a whole route declares has its place, from 1 on, as its id.
#[derive(Clone, Debug)]
pub(super) struct RuleItem {
    /// Its id.
    pub(super) id: ObjectId,
    /// Its declaration, if it has one of its own.
    pub(super) made: Option<Arc<Declaration>>,
    /// Its definition, where it is in force.
    pub(super) model: Option<Rule>,
}

/// What this shape wrote of an object, kept in its extras.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    /// The kind, of an object whose form does not tell.
    pub(super) kind: Option<String>,
    /// Its fields, as they were written.
    pub(super) fields: Map<String, Value>,
    /// What they came to in the form: a key that has another value by now was written by somebody else since.
    pub(super) form: Map<String, Value>,
}

impl Said {
    /// Returns what is kept with a declaration.
    pub(super) fn of(made: &Declaration) -> Self {
        let mut extras = form::object(&made.extras);
        let Some(Value::Object(mut own)) = extras.remove(OWN) else { return Self::default() };
        let mut part = |key: &str| match own.remove(key) {
            Some(Value::Object(map)) => map,
            Some(_) | None => Map::new(),
        };
        let (fields, form) = (part("fields"), part("form"));
        let kind = own.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned));
        Self { kind, fields, form }
    }

    /// Returns the extras that keep it, beside what others keep there.
    pub(super) fn extras(&self, others: &str) -> Arc<str> {
        let mut own = Map::new();
        if let Some(kind) = &self.kind {
            own.insert("kind".to_owned(), Value::from(kind.as_str()));
        }
        own.insert("fields".to_owned(), Value::Object(self.fields.clone()));
        own.insert("form".to_owned(), Value::Object(self.form.clone()));
        form::with(others, OWN, Value::Object(own))
    }

    /// Returns whether that key of a form is still what this shape made of its fields.
    pub(super) fn stands(&self, key: &str, form: &Map<String, Value>) -> bool {
        self.form.get(key) == form.get(key)
    }
}

/// What is declared; see the module's doc.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead<'v> {
    /// The world that it reads.
    pub(super) world: &'v World,
}

impl<'v> Ahead<'v> {
    /// Looks at what there will be after the next refresh.
    pub(super) fn of(view: &'v View) -> Self {
        Self { world: &view.ahead }
    }

    /// Returns every farm, in the order written, then made; of one kind where one is named.
    pub(super) fn farms(self, kind: Option<Kind>) -> Vec<Item<Farm>> {
        let topology = self.world.topology();
        let model = |farm: &Arc<Farm>| self.item(farm.id.into(), farm.name.clone(), Some(Arc::clone(farm)));
        let all = topology.farms.iter().map(model).collect();
        let all = self.with_kept(all, ObjectKind::Farm);
        all.into_iter().filter(|farm| kind.is_none_or(|kind| kind_of_farm(farm) == Some(kind))).collect()
    }

    /// Returns a farm by id or name.
    pub(super) fn farm(self, kind: Kind, text: &str) -> Option<Item<Farm>> {
        let named = self.world.farm_named(text);
        let id = named.or_else(|| text.parse().ok().map(FarmId))?;
        self.farm_of(id).filter(|farm| kind_of_farm(farm) == Some(kind))
    }

    /// Returns a farm by id.
    pub(super) fn farm_of(self, id: FarmId) -> Option<Item<Farm>> {
        let model = self.world.farm(id);
        let made = self.world.made().get(id.into()).filter(|made| made.kind == ObjectKind::Farm);
        let name = model.map(|farm| &farm.name).or_else(|| made.map(|made| &made.name))?;
        let item = Item { id: id.into(), name: name.clone(), made: made.cloned(), model: model.cloned() };
        Some(item).filter(Item::is_told)
    }

    /// Returns the servers of a farm.
    pub(super) fn servers(self, farm: &Item<Farm>) -> Vec<Item<Server>> {
        let model = |server: &Arc<Server>| self.item(server.id.into(), server.name.clone(), Some(Arc::clone(server)));
        let mut all: Vec<_> = farm.model.iter().flat_map(|farm| &farm.servers).map(model).collect();
        let known: BTreeSet<ObjectId> = all.iter().map(|server| server.id).collect();
        let kept = self.world.made().of(Some(farm.id), ObjectKind::Server).filter(|made| !known.contains(&made.id));
        all.extend(kept.map(Item::kept));
        all.retain(Item::is_told);
        all
    }

    /// Returns a server of a farm by name or id.
    pub(super) fn server(self, farm: &Item<Farm>, text: &str) -> Option<Item<Server>> {
        let id = id_of(text);
        let in_force = || farm.model.iter().flat_map(|farm| &farm.servers);
        let named = in_force().find(|it| it.name.as_str() == text);
        if let Some(it) = named.or_else(|| in_force().find(|it| Some(it.id.into()) == id)) {
            return Some(self.item(it.id.into(), it.name.clone(), Some(Arc::clone(it))));
        }
        let made = self.world.made();
        let is_its = |it: &&Arc<Declaration>| it.kind == ObjectKind::Server && it.parent == Some(farm.id);
        let kept = made.named(Some(farm.id), ObjectKind::Server, text);
        kept.or_else(|| made.get(id?).filter(is_its)).map(Item::kept).filter(Item::is_told)
    }

    /// Returns every frontend, in the order written, then made; of one kind where one is named.
    pub(super) fn frontends(self, kind: Option<Kind>) -> Vec<Item<Frontend>> {
        let topology = self.world.topology();
        let model = |it: &Arc<Frontend>| self.item(it.id.into(), it.name.clone(), Some(Arc::clone(it)));
        let all = topology.frontends.iter().map(model).collect();
        let all = self.with_kept(all, ObjectKind::Frontend);
        all.into_iter().filter(|it| kind.is_none_or(|kind| kind_of_frontend(it) == Some(kind))).collect()
    }

    /// Returns a frontend by id or name.
    pub(super) fn frontend(self, kind: Kind, text: &str) -> Option<Item<Frontend>> {
        let named = self.world.frontend_named(text);
        let id = named.or_else(|| text.parse().ok().map(FrontendId))?;
        self.frontend_of(id).filter(|frontend| kind_of_frontend(frontend) == Some(kind))
    }

    /// Returns a frontend by id.
    pub(super) fn frontend_of(self, id: FrontendId) -> Option<Item<Frontend>> {
        let model = self.world.frontend(id);
        let made = self.world.made().get(id.into()).filter(|made| made.kind == ObjectKind::Frontend);
        let name = model.map(|frontend| &frontend.name).or_else(|| made.map(|made| &made.name))?;
        let model = model.filter(|_| made.is_none_or(|made| !made.is_inert));
        let item = Item { id: id.into(), name: name.clone(), made: made.cloned(), model: model.cloned() };
        Some(item).filter(Item::is_told)
    }

    /// Returns every route of a kind, in the order in which they are looked at: those that redirect or reject before
    /// those that forward, then by weight, then the older one.
    pub(super) fn routes(self, kind: Option<Kind>) -> Vec<RouteItem> {
        let mut all = Vec::new();
        for frontend in self.frontends(kind) {
            let Some(kind) = kind_of_frontend(&frontend) else { continue };
            for route in frontend.model.iter().flat_map(|frontend| &frontend.routes) {
                let item = self.item(route.id.into(), route.name.clone(), Some(Arc::clone(route)));
                all.push(RouteItem { item, frontend: Some(FrontendId(frontend.id.0)), kind });
            }
        }
        let known: BTreeSet<ObjectId> = all.iter().map(|route| route.item.id).collect();
        let kept = self.world.made().iter().filter(|it| it.kind == ObjectKind::Route && !known.contains(&it.id));
        all.extend(kept.filter_map(|made| self.kept_route(made)).filter(|it| kind.is_none_or(|kind| it.kind == kind)));
        all.sort_by_key(|route| (order_of(&route.item), route.item.id));
        all
    }

    /// Returns a route by id or name.
    pub(super) fn route(self, kind: Kind, text: &str) -> Option<RouteItem> {
        let id = id_of(text);
        let mut all = self.routes(Some(kind)).into_iter();
        all.find(|it| Some(it.item.id) == id || it.item.name.as_str() == text)
    }

    /// Returns the rules of a route, in their order.
    pub(super) fn rules(self, route: &RouteItem) -> Vec<RuleItem> {
        let made: Vec<_> = self.world.made().of(Some(route.item.id), ObjectKind::Rule).cloned().collect();
        let Some(model) = &route.item.model else {
            return made.into_iter().map(|made| RuleItem { id: made.id, made: Some(made), model: None }).collect();
        };
        // Rules of the route's own form come before those that are objects.
        let own = model.rules.len().saturating_sub(made.len());
        let ids = (1..=own as u64).map(|place| (ObjectId(place), None));
        let ids = ids.chain(made.into_iter().map(|made| (made.id, Some(made))));
        ids.zip(&model.rules).map(|((id, made), rule)| RuleItem { id, made, model: Some(rule.clone()) }).collect()
    }

    /// Returns the port that servers of a farm have which name none: the farm's own, else the first of the first
    /// frontend that feeds it.
    pub(super) fn port_of(self, farm: &Item<Farm>) -> Option<u16> {
        let own = farm.said().fields.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        own.or_else(|| {
            let id = FarmId(farm.id.0);
            let all = self.frontends(kind_of_farm(farm));
            let feeding = all.iter().filter_map(|it| it.model.as_ref()).find(|it| it.farms().contains(&id));
            feeding?.listen.iter().find_map(|listen| Some(listen.ip()?.port()))
        })
    }

    fn item<T>(self, id: ObjectId, name: Name, model: Option<Arc<T>>) -> Item<T> {
        Item { id, name, made: self.world.made().get(id).cloned(), model }
    }

    fn with_kept<T>(self, mut all: Vec<Item<T>>, kind: ObjectKind) -> Vec<Item<T>> {
        let known: BTreeSet<ObjectId> = all.iter().map(|item| item.id).collect();
        let kept = self.world.made().of(None, kind).filter(|made| !known.contains(&made.id));
        all.extend(kept.map(Item::kept).filter(Item::is_told));
        all
    }

    fn kept_route(self, made: &Arc<Declaration>) -> Option<RouteItem> {
        let item = Some(Item::kept(made)).filter(Item::is_told)?;
        let frontend = made.parent.map(|parent| FrontendId(parent.0));
        let of_frontend = || kind_of_frontend(&self.frontend_of(frontend?)?);
        let kind = item.said().kind.as_deref().and_then(Kind::parse).or_else(of_frontend)?;
        Some(RouteItem { item, frontend, kind })
    }
}

/// Returns the id that a path has, as it is written everywhere.
pub(super) fn id_of(text: &str) -> Option<ObjectId> {
    text.parse().ok().map(ObjectId).filter(|id| id.to_string() == text)
}

/// Returns the kind of a farm.
pub(super) fn kind_of_farm(farm: &Item<Farm>) -> Option<Kind> {
    farm.model.as_ref().map_or_else(|| kind_of_form(&farm.form()), |model| Some(kind_of(model.protocol)))
}

/// Returns the kind of a frontend.
pub(super) fn kind_of_frontend(frontend: &Item<Frontend>) -> Option<Kind> {
    frontend.model.as_ref().map_or_else(|| kind_of_form(&frontend.form()), |model| Some(kind_of(model.protocol)))
}

fn kind_of_form(form: &Map<String, Value>) -> Option<Kind> {
    Kind::parse(form.get("protocol")?.as_str()?)
}

fn kind_of(protocol: Protocol) -> Kind {
    match protocol {
        Protocol::Http => Kind::Http,
        Protocol::Tcp => Kind::Tcp,
        Protocol::Udp => Kind::Udp,
    }
}

fn order_of(route: &Item<Route>) -> (bool, u64) {
    if let Some(model) = &route.model {
        return (matches!(model.action, Action::Forward(_)), model.priority.into());
    }
    let form = route.form();
    let forwards = form.get("action").and_then(Value::as_object).is_some_and(|action| action.contains_key("farm"));
    (forwards, form.get("priority").and_then(Value::as_u64).unwrap_or(0))
}
