//! Rules of routes.

use serde_json::{Map, Value};

use super::{Change, New, Planned, Planning, kept, merged, put, unknown};
use crate::admin::ovh::ahead::{Item, RouteItem, RuleItem, Said};
use crate::admin::ovh::face::{self, rule_key};
use crate::admin::ovh::fields::{self, Purpose, RULE, missing, outside};
use crate::admin::ovh::path::Kind;
use crate::admin::ovh::wire;
use crate::model::{Declaration, ObjectKind, Rule};
use crate::objects::{Edit, EditError};

/// The most rules of a route.
const RULES_MAX: usize = 5;
/// The most bytes that the regular expression of a rule may take, compiled.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// What a field of a rule may be looked at for, in words for clients and for us.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin::ovh) struct Subject {
    /// The field.
    pub(in crate::admin::ovh) name: &'static str,
    /// Whether it is one of connections too.
    pub(in crate::admin::ovh) is_of_tcp: bool,
    /// Whether it is one of several with a name.
    pub(in crate::admin::ovh) has_sub_field: bool,
    /// How it may be looked at.
    pub(in crate::admin::ovh) matches: &'static [&'static str],
    /// What its pattern is.
    pub(in crate::admin::ovh) pattern: &'static str,
    /// The patterns there are, where they are few.
    words: Option<&'static [&'static str]>,
    /// Those that connections have instead.
    words_of_tcp: Option<&'static [&'static str]>,
}

impl Subject {
    /// Returns the patterns there are of that kind, where they are few.
    pub(in crate::admin::ovh) fn words(&self, kind: Kind) -> Option<&'static [&'static str]> {
        if kind == Kind::Tcp { self.words_of_tcp } else { self.words }
    }
}

const FEW: &[&str] = &["is", "in"];
const TEXTS: &[&str] = &["is", "in", "contains", "startswith", "endswith", "matches"];
const NAMED: &[&str] = &["is", "in", "contains", "startswith", "endswith", "matches", "exists"];
const PROTOCOLS: &[&str] = &["tcp", "tls", "http", "https"];
const PROTOCOLS_OF_TCP: &[&str] = &["tcp", "tls", "http", "https", "http/2.0"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

const fn subject(name: &'static str, matches: &'static [&'static str], pattern: &'static str) -> Subject {
    Subject { name, is_of_tcp: false, has_sub_field: false, matches, pattern, words: None, words_of_tcp: None }
}

/// Every field.
pub(in crate::admin::ovh) const SUBJECTS: &[Subject] = &[
    Subject {
        is_of_tcp: true,
        words: Some(PROTOCOLS),
        words_of_tcp: Some(PROTOCOLS_OF_TCP),
        ..subject("protocol", FEW, "enum")
    },
    Subject { is_of_tcp: true, ..subject("source", FEW, "cidr") },
    Subject { is_of_tcp: true, ..subject("host", TEXTS, "string") },
    Subject { words: Some(METHODS), ..subject("method", FEW, "enum") },
    subject("uri", TEXTS, "string"),
    Subject { has_sub_field: true, ..subject("param", NAMED, "string") },
    Subject { has_sub_field: true, ..subject("header", NAMED, "string") },
    Subject { has_sub_field: true, ..subject("cookie", NAMED, "string") },
];

impl Planning<'_> {
    pub(super) fn make_rule(self, kind: Kind, route: &str, body: &[u8]) -> Planned {
        let route = self.ahead.route(kind, route).ok_or_else(|| unknown("route", route))?;
        let written = fields::read(body, kind, RULE, Purpose::Make)?;
        if route.item.made.is_none() {
            return Err(self.of_file(&route));
        }
        if self.ahead.rules(&route).len() >= RULES_MAX {
            return Err(EditError::TooMany { what: "rules of a route", max: RULES_MAX });
        }
        let new = merged(&face::object(&wire::Rule::default()), &written);
        let form = rule_form(&face::typed(new.clone()), kind)?;
        let id = self.desk.fresh_id();
        let name = self.name(ObjectKind::Rule, id, None, &|_| false)?;
        let said = Said { kind: None, fields: kept(new, kind, RULE), form };
        let parent = Some(route.item.id);
        let made = New { id, kind: ObjectKind::Rule, name, parent, zone: None, said, is_inert: false };
        Ok((vec![self.create(made)], Some(id)))
    }

    pub(super) fn change_rule(self, kind: Kind, (route, id): (&str, &str), body: &[u8]) -> Planned {
        let (route, rule) = self.rule(kind, route, id)?;
        let old = face::object(&face::rule(&rule));
        let written = fields::read_change(body, kind, RULE, &old)?;
        let new = merged(&old, &written);
        let made = self.made(&route, &rule)?;
        let form = rule_form(&face::typed(new.clone()), kind)?;
        let item: Item<Rule> = Item { id: rule.id, name: made.name.clone(), made: rule.made.clone(), model: None };
        let path = self.path_of(&route);
        let key_of = rule_key;
        let change = Change { item: &item, list: &path, old: &old, new: &new, written: &written, form: &form, key_of };
        Ok((self.change(&change)?.into_iter().map(Edit::Replace).collect(), None))
    }

    pub(super) fn delete_rule(self, kind: Kind, route: &str, id: &str) -> Planned {
        let (route, rule) = self.rule(kind, route, id)?;
        let made = self.made(&route, &rule)?;
        Ok((vec![Edit::Delete { id: made.id }], None))
    }

    fn rule(self, kind: Kind, route: &str, id: &str) -> Result<(RouteItem, RuleItem), EditError> {
        let route = self.ahead.route(kind, route).ok_or_else(|| unknown("route", route))?;
        let mut rules = self.ahead.rules(&route).into_iter();
        let rule = rules.find(|rule| rule.id.to_string() == id).ok_or_else(|| unknown("rule", id))?;
        Ok((route, rule))
    }

    /// Returns the declaration of a rule, which one that the file or another form has not.
    fn made<'r>(self, route: &RouteItem, rule: &'r RuleItem) -> Result<&'r Declaration, EditError> {
        if let Some(made) = &rule.made {
            return Ok(made);
        }
        if route.item.made.is_none() {
            return Err(self.of_file(route));
        }
        Err(EditError::fault("ruleId", "is part of the form of its route; change it through /api/v1"))
    }

    fn of_file(self, route: &RouteItem) -> EditError {
        let path = self.path_of(route);
        let keys: Vec<&str> = path.iter().map(String::as_str).chain(["rules"]).collect();
        self.file_made(&keys)
    }
}

/// Returns what the config file would say of a rule.
fn rule_form(rule: &wire::Rule, kind: Kind) -> Result<Map<String, Value>, EditError> {
    let known = SUBJECTS.iter().filter(|subject| kind == Kind::Http || subject.is_of_tcp);
    let subject = known.clone().find(|subject| subject.name == rule.field).ok_or_else(|| {
        let names: Vec<_> = known.map(|subject| subject.name).collect();
        outside("field", format!("{:?}", rule.field), &names.join(", "))
    })?;
    if !subject.matches.contains(&rule.kind.as_str()) {
        let bound = format!("{} of field {}", subject.matches.join(", "), subject.name);
        return Err(outside("match", format!("{:?}", rule.kind), &bound));
    }
    let sub_field = rule.sub_field.as_deref().filter(|name| !name.is_empty());
    match sub_field {
        None if subject.has_sub_field => return Err(missing("subField")),
        Some(name) if !subject.has_sub_field => {
            return Err(outside("subField", format!("{name:?}"), &format!("null: field {} has none", subject.name)));
        }
        Some(_) | None => {}
    }
    let mut form = Map::new();
    put(&mut form, "field", Some(subject.name));
    put(&mut form, "match", Some(rule.kind.as_str()));
    put(&mut form, "sub_field", sub_field);
    put(&mut form, "negate", rule.negate.then_some(true));
    if rule.kind != "exists" {
        let pattern = rule.pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = pattern.ok_or_else(|| missing("pattern"))?;
        check_pattern(subject, &rule.kind, kind, pattern)?;
        put(&mut form, "pattern", Some(pattern));
    }
    Ok(form)
}

fn check_pattern(subject: &Subject, by: &str, kind: Kind, pattern: &str) -> Result<(), EditError> {
    let bad = |bound: &str| Err(outside("pattern", format!("{pattern:?}"), bound));
    let mut several = pattern.split(',').map(str::trim);
    if subject.pattern == "cidr" && !several.clone().all(|text| fields::block(text).is_some()) {
        return bad("networks such as 10.0.0.0/8, with commas between them");
    }
    if let Some(words) = subject.words(kind) {
        let is_one = |text: &str| words.contains(&text);
        let is_good = if by == "in" { several.all(is_one) } else { is_one(pattern) };
        if !is_good {
            return bad(&words.join(", "));
        }
    }
    let compiles = |text| regex::RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build().is_ok();
    if by == "matches" && !compiles(pattern) {
        return bad("the regular expressions of at most 256 KiB, compiled");
    }
    Ok(())
}
