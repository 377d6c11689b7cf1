//! The objects of one list, looked up once for everybody who is to be shown whole: by id, without asking the list again
//! for each. Pure.

use std::collections::HashMap;

use serde_json::Value;

use super::ahead::{Item, RouteItem, RuleItem};
use super::face::{self, Look, Rows};
use super::fields::{FARM, FRONTEND, ROUTE, RULE, SERVER};
use super::path::{Kind, Object};
use super::shown::trimmed;
use crate::model::{Farm, FarmId, Frontend, ObjectId, Server};

/// See the module's doc.
pub(super) struct Listed<'l> {
    look: Look<'l>,
    kind: Kind,
    all: All<'l>,
}

enum All<'l> {
    Farms(HashMap<ObjectId, Item<Farm>>),
    Frontends(HashMap<ObjectId, Item<Frontend>>),
    Routes(HashMap<ObjectId, RouteItem>),
    Rules(HashMap<ObjectId, RuleItem>),
    Servers { farm: Box<Item<Farm>>, servers: HashMap<ObjectId, Item<Server>>, rows: Rows<'l> },
}

impl<'l> Listed<'l> {
    /// Returns the objects of a list of ids; none: it is no such list, or there is not what it is of.
    pub(super) fn of(look: Look<'l>, object: Object<'_>) -> Option<Self> {
        let ahead = look.ahead;
        let (kind, all) = match object {
            Object::Farms(kind) => {
                let all = ahead.farms(Some(kind)).into_iter();
                (kind, All::Farms(all.map(|it| (it.id, it)).collect()))
            }
            Object::Frontends(kind) => {
                let all = ahead.frontends(Some(kind)).into_iter();
                (kind, All::Frontends(all.map(|it| (it.id, it)).collect()))
            }
            Object::Routes(kind) => {
                let all = ahead.routes(Some(kind)).into_iter();
                (kind, All::Routes(all.map(|it| (it.item.id, it)).collect()))
            }
            Object::Rules(kind, route) => {
                let all = ahead.rules(&ahead.route(kind, route)?).into_iter();
                (kind, All::Rules(all.map(|it| (it.id, it)).collect()))
            }
            Object::Servers(kind, farm) => {
                let farm = Box::new(ahead.farm(kind, farm)?);
                let servers = ahead.servers(&farm).into_iter().map(|it| (it.id, it)).collect();
                let rows = look.rows(FarmId(farm.id.0));
                (kind, All::Servers { farm, servers, rows })
            }
            Object::DefinedFarms
            | Object::DefinedFrontends
            | Object::DefinedRoutes
            | Object::Farm(..)
            | Object::Frontend(..)
            | Object::Route(..)
            | Object::Rule(..)
            | Object::Server(..) => return None,
        };
        Some(Self { look, kind, all })
    }

    /// Returns one as its own path tells it.
    pub(super) fn one(&self, id: u64) -> Option<Value> {
        let (look, id) = (self.look, ObjectId(id));
        Some(match &self.all {
            All::Farms(all) => trimmed(&face::farm(look, all.get(&id)?), self.kind, FARM),
            All::Frontends(all) => trimmed(&face::frontend(look, all.get(&id)?), self.kind, FRONTEND),
            All::Routes(all) => trimmed(&face::route(look, all.get(&id)?), self.kind, ROUTE),
            All::Rules(all) => trimmed(&face::rule(all.get(&id)?), self.kind, RULE),
            All::Servers { farm, servers, rows } => {
                let server = servers.get(&id)?;
                trimmed(&face::server_at(look, farm, server, rows.get(id)), self.kind, SERVER)
            }
        })
    }
}
