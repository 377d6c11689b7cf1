//! `routes` of a frontend, in the order in which they are looked at.

use std::collections::HashMap;

use super::{Ground, action, rule};
use crate::config::bounds::{PRIORITY, ROUTES_MAX, RULES_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::lower::Placed;
use crate::config::read::{Section, Value};
use crate::model::{Action, Name, Route, RouteId};

/// Lowers `routes`: those that redirect or reject before those that forward, then by priority, then as written.
pub(super) fn lower(
    section: &Section<'_>,
    owner: &Name,
    ground: Ground<'_>,
    findings: &mut Findings,
) -> Vec<Placed<Route>> {
    let Some(value) = section.get("routes") else { return Vec::new() };
    ground.refuse_on_udp(&value, findings);
    let items = value.list(findings, "routes", ROUTES_MAX);
    let mut names = HashMap::new();
    let mut expressions = rule::Expressions::default();
    let mut routes = Vec::new();
    for item in &items {
        let Some(route) = route(item, owner, ground, &mut expressions, findings) else { continue };
        if let Some(first) = names.insert(route.name.clone(), item.path.clone()) {
            item.complain(findings, format!("has the name that {first} has already; rename one of the two"));
            continue;
        }
        routes.push(Placed::new(item, route));
    }
    routes.sort_by_key(|route| (matches!(route.it.action, Action::Forward(_)), route.it.priority));
    routes
}

fn route(
    value: &Value<'_>,
    owner: &Name,
    ground: Ground<'_>,
    expressions: &mut rule::Expressions,
    findings: &mut Findings,
) -> Option<Route> {
    let section = value.section(findings, keys::ROUTE)?;
    let name = section.need(findings, "name", "write name: NAME, one that no other route of this frontend has");
    let name = name.and_then(|value| value.name(findings));
    let priority = section.number(findings, "priority", &PRIORITY, "the smaller, the earlier");
    let rules = section.or(findings, "rules", Some(Vec::new()), |value, findings| {
        let items = value.list(findings, "rules", RULES_MAX);
        // All of them are read before one that is wrong ends the route: each has its own error.
        let rules: Vec<_> = items.iter().map(|item| rule::lower(item, ground, expressions, findings)).collect();
        Some(rules.into_iter().collect())
    });
    let remedy = "write action: {farm: NAME}, {redirect: URL} or {reject: STATUS}";
    let action = section.need(findings, "action", remedy).and_then(|value| action::lower(&value, ground, findings));
    let name = name?;
    let id = RouteId::derive(owner, &name);
    Some(Route { id, name, priority, rules: rules?.into(), action: action? })
}
