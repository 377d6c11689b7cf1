//! Routes.

use serde_json::{Map, Value, json};

use super::{Change, New, Planned, Planning, is_formed, kept, merged, put, unknown};
use crate::admin::ovh::ahead::{RouteItem, Said};
use crate::admin::ovh::face::{self, route_key};
use crate::admin::ovh::fields::{self, Purpose, ROUTE, missing, outside};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{FarmId, FrontendId, ObjectId, ObjectKind};
use crate::objects::edit::Replace;
use crate::objects::{Edit, EditError};

/// The most routes of a service.
pub(super) const ROUTES_MAX: usize = 50;
/// The statuses of a redirect, and the one of a redirect that names none.
pub(in crate::admin::ovh) const REDIRECTS: &[u16] = &[301, 302, 303, 307, 308];
const FOUND: u16 = 302;
/// The statuses of a rejection, and the one of a rejection that names none.
pub(in crate::admin::ovh) const REJECTIONS: &[u16] = &[200, 400, 403, 405, 408, 429, 500, 502, 503, 504];
const FORBIDDEN: u16 = 403;

impl Planning<'_> {
    pub(super) fn make_route(self, kind: Kind, body: &[u8]) -> Planned {
        let written = with_action(fields::read(body, kind, ROUTE, Purpose::Make)?, kind);
        if self.ahead.routes(None).len() >= ROUTES_MAX {
            return Err(EditError::TooMany { what: "routes of the service", max: ROUTES_MAX });
        }
        let new = merged(&face::object(&wire::Route::default()), &written);
        let route: wire::Route = face::typed(new.clone());
        let id = self.desk.fresh_id();
        let parent = self.frontend_of(&route, kind)?;
        let made = self.desk.view.ahead.made();
        let of_file = self.ahead.world.of_file();
        let is_taken = |name: &str| {
            let frontend = parent.and_then(|id| of_file.frontends.iter().find(|it| ObjectId::from(it.id) == id));
            let of_file = frontend.is_some_and(|it| it.routes.iter().any(|route| route.name.as_str() == name));
            // Names are one's own among all routes, so that one can go from frontend to frontend.
            of_file || made.iter().any(|it| it.kind == ObjectKind::Route && it.name.as_str() == name)
        };
        let name = self.name(ObjectKind::Route, id, route.display_name.as_deref(), &is_taken)?;
        let form = self.route_form(&route, kind)?;
        let said = Said { kind: Some(kind.as_str().to_owned()), fields: kept(new, kind, ROUTE), form };
        let is_inert = parent.is_none();
        let mut edits =
            vec![self.create(New { id, kind: ObjectKind::Route, name, parent, zone: None, said, is_inert })];
        self.settle_route(&mut edits, &[parent], &[farm_of(&route)])?;
        Ok((edits, Some(id)))
    }

    pub(super) fn change_route(self, kind: Kind, id: &str, body: &[u8]) -> Planned {
        let item = self.ahead.route(kind, id).ok_or_else(|| unknown("route", id))?;
        let was = face::route(self.look, &item);
        let old = face::object(&was);
        let written = with_action(fields::read_change(body, kind, ROUTE, &old)?, kind);
        let new = merged(&old, &written);
        let route: wire::Route = face::typed(new.clone());
        let path = self.path_of(&item);
        let key_of = route_key;
        let is_ours = item.item.made.is_some() && is_formed(&old, &written, key_of);
        let form = if is_ours { self.route_form(&route, kind)? } else { Map::new() };
        let change =
            Change { item: &item.item, list: &path, old: &old, new: &new, written: &written, form: &form, key_of };
        let mut edits = Vec::new();
        if let Some(replace) = self.change(&change)? {
            let parent = self.frontend_of(&route, kind)?;
            let before = item.frontend.map(ObjectId::from);
            let moved = (parent != before).then_some(parent);
            let is_inert = Some(parent.is_none());
            edits.push(Edit::Replace(Replace { parent: moved, is_inert, ..replace }));
            self.settle_route(&mut edits, &[before, parent], &[farm_of(&was), farm_of(&route)])?;
        }
        Ok((edits, None))
    }

    pub(super) fn delete_route(self, kind: Kind, id: &str) -> Planned {
        let item = self.ahead.route(kind, id).ok_or_else(|| unknown("route", id))?;
        let mut edits = vec![Edit::Delete { id: item.item.id }];
        if item.item.made.is_some() {
            let farm = farm_of(&face::route(self.look, &item));
            self.settle_route(&mut edits, &[item.frontend.map(ObjectId::from)], &[farm])?;
        }
        Ok((edits, None))
    }

    /// Returns the key path of a route.
    pub(super) fn path_of(self, route: &RouteItem) -> Vec<String> {
        self.ahead.world.path(route.item.id).unwrap_or_else(|| vec!["routes".to_owned(), route.item.name.to_string()])
    }

    fn settle_route(
        self,
        edits: &mut Vec<Edit>,
        frontends: &[Option<ObjectId>],
        farms: &[Option<FarmId>],
    ) -> Result<(), EditError> {
        self.settle_frontends(edits, frontends.iter().flatten().map(|id| FrontendId(id.0)))?;
        let mut farms: Vec<FarmId> = farms.iter().flatten().copied().collect();
        for frontend in frontends.iter().flatten() {
            // What begins or ends to listen may be where its farm has its port from.
            let frontend = self.ahead.frontend_of(FrontendId(frontend.0));
            farms.extend(frontend.and_then(|it| face::frontend(self.look, &it).default_farm_id).map(FarmId));
        }
        self.settle_farms(edits, farms)
    }

    fn frontend_of(self, route: &wire::Route, kind: Kind) -> Result<Option<ObjectId>, EditError> {
        let Some(id) = route.frontend_id else { return Ok(None) };
        let frontend = self.ahead.frontend(kind, &id.to_string());
        let bound = || format!("the ids of {} frontends", kind.as_str());
        Ok(Some(frontend.ok_or_else(|| outside("frontendId", id, &bound()))?.id))
    }

    /// Returns what the config file would say of a route, its rules apart.
    fn route_form(self, route: &wire::Route, kind: Kind) -> Result<Map<String, Value>, EditError> {
        let mut form = Map::new();
        put(&mut form, "priority", Some(route.weight));
        put(&mut form, "action", Some(self.action_form(&route.action, kind)?));
        Ok(form)
    }

    fn action_form(self, action: &wire::Action, kind: Kind) -> Result<Value, EditError> {
        let target =
            || action.target.as_deref().filter(|target| !target.is_empty()).ok_or_else(|| missing("action.target"));
        let among = |status: u16, allowed: &[u16]| {
            if allowed.contains(&status) {
                return Ok(status);
            }
            let words: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            Err(outside("action.status", status, &format!("{} of type {}", words.join(", "), action.kind)))
        };
        match action.kind.as_str() {
            "farm" => {
                let target = target()?;
                let id = target.parse::<u64>().ok();
                let farm = id.and_then(|id| self.ahead.farm(kind, &id.to_string()));
                let bound = || format!("the ids of {} farms", kind.as_str());
                let farm = farm.ok_or_else(|| outside("action.target", format!("{target:?}"), &bound()))?;
                Ok(json!({"farm": farm.name.as_str()}))
            }
            "redirect" => {
                let status = among(action.status.unwrap_or(FOUND), REDIRECTS)?;
                let target = target()?;
                crate::model::Template::parse(target)
                    .map_err(|why| EditError::fault("action.target", &format!("{target:?} {why}")))?;
                Ok(json!({"redirect": target, "status": status}))
            }
            _ if kind == Kind::Http => Ok(json!({"reject": among(action.status.unwrap_or(FORBIDDEN), REJECTIONS)?})),
            _ => Ok(json!({"reject": true})),
        }
    }
}

/// Returns the farm that a route gives its work to.
fn farm_of(route: &wire::Route) -> Option<FarmId> {
    let target = route.action.target.as_deref().filter(|_| route.action.kind == "farm")?;
    target.parse().ok().map(FarmId)
}

/// An action has all of its fields, and the status that it answers with where it names none.
fn with_action(mut route: Map<String, Value>, kind: Kind) -> Map<String, Value> {
    if let Some(weight) = route.get_mut("weight").filter(|weight| weight.is_null()) {
        *weight = json!(0);
    }
    if let Some(Value::Object(action)) = route.get_mut("action") {
        let whole: wire::Action = face::typed(std::mem::take(action));
        let default = match whole.kind.as_str() {
            "redirect" => Some(FOUND),
            "reject" if kind == Kind::Http => Some(FORBIDDEN),
            _ => None,
        };
        *action = face::object(&wire::Action { status: whole.status.or(default), ..whole });
    }
    route
}
