//! Answers of reads of farms, servers, frontends, routes and rules: one object, or the ids of those that a query asks for.

use serde_json::Value;

use super::ahead::{Item, RouteItem, id_of, kind_of_farm, kind_of_frontend};
use super::face::{self, Look};
use super::fields::{self, FARM, FRONTEND, Field, ROUTE, RULE, SERVER, STATUSES};
use super::filter::{self, Query};
use super::not_found;
use super::path::{Kind, Object};
use super::wire;
use crate::admin::error::AdminError;
use crate::model::{Farm, FarmId};

/// Returns the answer to a read.
///
/// # Errors
/// [`AdminError`]: there is no such object, or the query is none.
pub(super) fn body(look: Look<'_>, object: Object<'_>, query: &Query) -> Result<Value, AdminError> {
    Ok(match object {
        Object::DefinedFarms => defined_farms(look, query)?,
        Object::DefinedFrontends => {
            let of = |it: &Item<_>| Some(wire::Defined { id: it.id.0, kind: kind_of_frontend(it)?.as_str() });
            json(&look.ahead.frontends(None).iter().filter_map(of).collect::<Vec<_>>())
        }
        Object::DefinedRoutes => json(&defined_routes(look)),
        Object::Farms(kind) => json(&farm_ids(look, kind, query)?),
        Object::Farm(kind, id) => trimmed(&face::farm(look, &farm(look, kind, id)?), kind, FARM),
        Object::Servers(kind, id) => json(&server_ids(look, kind, &farm(look, kind, id)?, query)?),
        Object::Server(kind, id, server) => {
            let farm = farm(look, kind, id)?;
            let server = look.ahead.server(&farm, server).ok_or_else(|| not_found("server", server))?;
            trimmed(&face::server(look, &farm, &server), kind, SERVER)
        }
        Object::Frontends(kind) => json(&frontend_ids(look, kind, query)?),
        Object::Frontend(kind, id) => {
            let frontend = look.ahead.frontend(kind, id).ok_or_else(|| not_found("frontend", id))?;
            trimmed(&face::frontend(look, &frontend), kind, FRONTEND)
        }
        Object::Routes(kind) => {
            let frontend = query.integer("frontendId")?;
            let is_of = |it: &RouteItem| frontend.is_none() || it.frontend.map(|frontend| frontend.0) == frontend;
            let routes = look.ahead.routes(Some(kind));
            json(&routes.iter().filter(|it| is_of(it)).map(|it| it.item.id.0).collect::<Vec<_>>())
        }
        Object::Route(kind, id) => trimmed(&face::route(look, &route(look, kind, id)?), kind, ROUTE),
        Object::Rules(kind, id) => {
            let rules = look.ahead.rules(&route(look, kind, id)?);
            json(&rules.iter().map(|rule| rule.id.0).collect::<Vec<_>>())
        }
        Object::Rule(kind, id, rule) => {
            let rules = look.ahead.rules(&route(look, kind, id)?);
            let rule = rules.iter().find(|it| Some(it.id) == id_of(rule)).ok_or_else(|| not_found("rule", rule))?;
            trimmed(&face::rule(rule), kind, RULE)
        }
    })
}

fn farm(look: Look<'_>, kind: Kind, id: &str) -> Result<Item<Farm>, AdminError> {
    look.ahead.farm(kind, id).ok_or_else(|| not_found("farm", id))
}

fn route(look: Look<'_>, kind: Kind, id: &str) -> Result<RouteItem, AdminError> {
    look.ahead.route(kind, id).ok_or_else(|| not_found("route", id))
}

fn defined_farms(look: Look<'_>, query: &Query) -> Result<Value, AdminError> {
    if query.integer("vrackNetworkId")?.is_some() {
        return Ok(json(&[(); 0]));
    }
    let of = |it: &Item<Farm>| Some(wire::Defined { id: it.id.0, kind: kind_of_farm(it)?.as_str() });
    Ok(json(&look.ahead.farms(None).iter().filter_map(of).collect::<Vec<_>>()))
}

fn defined_routes(look: Look<'_>) -> Vec<wire::DefinedRoute> {
    let of = |it: &RouteItem| wire::DefinedRoute {
        route_id: it.item.id.0,
        kind: it.kind.as_str(),
        display_name: face::route(look, it).display_name,
    };
    look.ahead.routes(None).iter().map(of).collect()
}

fn farm_ids(look: Look<'_>, kind: Kind, query: &Query) -> Result<Vec<u64>, AdminError> {
    if query.integer("vrackNetworkId")?.is_some() {
        return Ok(Vec::new());
    }
    let farms = look.ahead.farms(Some(kind));
    Ok(farms.iter().filter(|it| query.is_in("zone", &look.zone_of(it))).map(|it| it.id.0).collect())
}

fn server_ids(look: Look<'_>, kind: Kind, farm: &Item<Farm>, query: &Query) -> Result<Vec<u64>, AdminError> {
    let status = query.one_of("status", STATUSES)?;
    let cookie = query.text("cookie").filter(|_| kind == Kind::Http);
    let is_asked_for = |server: &wire::Server| {
        status.is_none_or(|want| want == server.status)
            && query.is("address", &server.address)
            && cookie.is_none_or(|like| server.cookie.as_deref().is_some_and(|it| filter::is_like(like, it)))
    };
    let servers = look.ahead.servers(farm);
    if status.is_none() && cookie.is_none() && query.text("address").is_none() {
        return Ok(servers.iter().map(|server| server.id.0).collect());
    }
    let rows = look.rows(FarmId(farm.id.0));
    let all = servers.iter().map(|server| face::server_at(look, farm, server, rows.get(server.id)));
    Ok(all.filter(is_asked_for).map(|server| server.server_id).collect())
}

fn frontend_ids(look: Look<'_>, kind: Kind, query: &Query) -> Result<Vec<u64>, AdminError> {
    let (farm, ssl) = (query.integer("defaultFarmId")?, query.integer("defaultSslId")?);
    let is_asked_for = |frontend: &wire::Frontend| {
        farm.is_none_or(|want| frontend.default_farm_id == Some(want))
            && ssl.is_none_or(|want| frontend.default_ssl_id == Some(want))
            && query.is_in("zone", &frontend.zone)
            && query.text("port").is_none_or(|like| filter::is_like(like, &frontend.port))
    };
    let frontends = look.ahead.frontends(Some(kind));
    let all = frontends.iter().map(|it| face::frontend(look, it));
    Ok(all.filter(is_asked_for).map(|it| it.frontend_id).collect())
}

/// Returns an object without what its kind does not have.
pub(super) fn trimmed<T: serde::Serialize>(face: &T, kind: Kind, table: &[Field]) -> Value {
    let mut map = face::object(face);
    fields::trim(&mut map, kind, table);
    Value::Object(map)
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
