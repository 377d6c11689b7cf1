//! A route and its rules.

use super::{Look, overlaid, route_key, rule_key};
use crate::admin::ovh::ahead::{Item, RouteItem, RuleItem};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Action, Route, Rule, Subject, Test};

/// Returns a route with its rules.
pub(in crate::admin::ovh) fn route(look: Look<'_>, route: &RouteItem) -> wire::Route {
    let base = route.item.model.as_ref().map(|model| of_model(model, route.kind)).unwrap_or_default();
    wire::Route {
        route_id: route.item.id.0,
        frontend_id: route.frontend.map(|frontend| frontend.0),
        rules: look.ahead.rules(route).iter().map(|it| listed(rule(it))).collect(),
        status: "ok".to_owned(),
        ..overlaid(&base, &route.item, route_key)
    }
}

fn of_model(route: &Route, kind: Kind) -> wire::Route {
    let action = match &route.action {
        Action::Forward(forward) => wire::Action {
            kind: "farm".to_owned(),
            target: forward.shares.first().map(|share| share.farm.to_string()),
            status: None,
        },
        Action::Redirect(redirect) => wire::Action {
            kind: "redirect".to_owned(),
            target: Some(redirect.target.to_string()),
            status: Some(redirect.status),
        },
        Action::Reject(status) => {
            wire::Action { kind: "reject".to_owned(), target: None, status: (kind == Kind::Http).then_some(*status) }
        }
    };
    wire::Route { display_name: Some(route.name.to_string()), weight: route.priority, action, ..wire::Route::default() }
}

/// Returns a rule.
pub(in crate::admin::ovh) fn rule(rule: &RuleItem) -> wire::Rule {
    let base = rule.model.as_ref().map(of_rule).unwrap_or_default();
    let Some(made) = &rule.made else { return wire::Rule { rule_id: rule.id.0, ..base } };
    let item: Item<Rule> = Item { id: rule.id, name: made.name.clone(), made: Some(made.clone()), model: None };
    wire::Rule { rule_id: rule.id.0, ..overlaid(&base, &item, rule_key) }
}

/// Returns a rule as routes list it.
fn listed(rule: wire::Rule) -> wire::ListedRule {
    let wire::Rule { rule_id, display_name: _, field, kind, negate, pattern, sub_field } = rule;
    wire::ListedRule { rule_id, field, kind, negate, pattern, sub_field }
}

fn of_rule(rule: &Rule) -> wire::Rule {
    let (field, sub_field) = match &rule.subject {
        Subject::Cookie(name) => ("cookie", Some(name)),
        Subject::Header(name) => ("header", Some(name)),
        Subject::Host => ("host", None),
        Subject::Method => ("method", None),
        Subject::Param(name) => ("param", Some(name)),
        Subject::Protocol => ("protocol", None),
        Subject::Source => ("source", None),
        Subject::Uri => ("uri", None),
    };
    let (kind, pattern) = match &rule.test {
        Test::Contains(text) => ("contains", Some(text.to_string())),
        Test::EndsWith(text) => ("endswith", Some(text.to_string())),
        Test::Exists => ("exists", None),
        Test::In(all) => ("in", Some(all.join(","))),
        Test::Is(text) => ("is", Some(text.to_string())),
        Test::Matches(regex) => ("matches", Some(regex.as_str().to_owned())),
        Test::StartsWith(text) => ("startswith", Some(text.to_string())),
        Test::Within(networks) => {
            let all: Vec<_> = networks.iter().map(ToString::to_string).collect();
            (if all.len() == 1 { "is" } else { "in" }, Some(all.join(",")))
        }
    };
    wire::Rule {
        display_name: None,
        field: field.to_owned(),
        kind: kind.to_owned(),
        negate: rule.is_negated,
        pattern,
        sub_field: sub_field.map(|name| name.to_string()),
        ..wire::Rule::default()
    }
}
