//! Two config files, compared key by key. Pure.
//!
//! Mappings are compared by key, lists of what has names by name, other lists as wholes. What one side does not have at
//! all is one difference, however much it holds.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::objects::form::key_path;

/// Something in which the two differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// The key path.
    pub(super) path: String,
    /// How.
    pub(super) kind: Kind,
}

/// How two values differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// In the file only.
    Added(Value),
    /// In both, and another one.
    Changed { file: Value, live: Value },
    /// Live only.
    Removed(Value),
}

/// Returns every difference, by key path.
pub(super) fn compare(file: &Value, live: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    values(file, live, &mut Vec::new(), &mut found);
    found
}

fn values(file: &Value, live: &Value, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    match (file, live) {
        (Value::Object(file), Value::Object(live)) => maps(file, live, path, found),
        (Value::Array(of_file), Value::Array(of_live)) => match (by_name(of_file), by_name(of_live)) {
            (Some(named), Some(others)) => {
                maps(&named, &others, path, found);
                let order = |map: &[Value]| map.iter().filter_map(name).map(str::to_owned).collect::<Vec<_>>();
                let (of_file, of_live) = (order(of_file), order(of_live));
                let is_only_order = of_file != of_live && named.keys().eq(others.keys());
                if is_only_order {
                    push(path, Kind::Changed { file: of_file.into(), live: of_live.into() }, found);
                }
            }
            _ if file != live => push(path, Kind::Changed { file: file.clone(), live: live.clone() }, found),
            _ => {}
        },
        (file, live) if file != live => push(path, Kind::Changed { file: file.clone(), live: live.clone() }, found),
        (_, _) => {}
    }
}

fn maps(file: &Map<String, Value>, live: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = file.keys().chain(live.keys()).collect();
    for key in keys {
        path.push(key.clone());
        match (file.get(key), live.get(key)) {
            (Some(file), Some(live)) => values(file, live, path, found),
            (Some(file), None) => push(path, Kind::Added(file.clone()), found),
            (None, Some(live)) => push(path, Kind::Removed(live.clone()), found),
            (None, None) => {}
        }
        path.pop();
    }
}

fn push(path: &[String], kind: Kind, found: &mut Vec<Difference>) {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    found.push(Difference { path: key_path(&keys), kind });
}

/// Returns the items of a list by name, where each has one of its own.
fn by_name(items: &[Value]) -> Option<Map<String, Value>> {
    let named: Map<String, Value> =
        items.iter().map(|item| Some((name(item)?.to_owned(), item.clone()))).collect::<Option<_>>()?;
    (named.len() == items.len()).then_some(named)
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(file: &Value, live: &Value) -> Vec<String> {
        let one = |Difference { path, kind }: &Difference| match kind {
            Kind::Added(_) => format!("+{path}"),
            Kind::Changed { file, live } => format!("~{path} {live} {file}"),
            Kind::Removed(_) => format!("-{path}"),
        };
        compare(file, live).iter().map(one).collect()
    }

    #[test]
    fn what_only_one_side_has_is_one_difference_and_what_both_have_is_compared_within() {
        let file = json!({"farms": {"a": {"weight": 1, "x": {"y": 1}}, "new": {"z": {"q": 1}}}});
        let live = json!({"farms": {"a": {"weight": 2, "x": {"y": 1}}, "old": {}}});
        assert_eq!(told(&file, &live), ["~farms.a.weight 2 1", "+farms.new", "-farms.old"]);
        assert_eq!(told(&file, &file), Vec::<String>::new());
    }

    #[test]
    fn list_of_names_is_compared_by_name_and_any_other_as_a_whole() {
        let list = |names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| json!({"name": name, "priority": 5})).collect();
            json!({"routes": all})
        };
        assert_eq!(told(&list(&["a", "b"]), &list(&["b", "c"])), ["+routes.a", "-routes.c"]);
        assert_eq!(told(&list(&["a", "b"]), &list(&["b", "a"])), ["~routes [\"b\",\"a\"] [\"a\",\"b\"]"]);
        let other = json!({"routes": [{"name": "a", "priority": 6}]});
        assert_eq!(told(&list(&["a"]), &other), ["~routes.a.priority 6 5"]);
        assert_eq!(told(&json!({"listen": [1, 2]}), &json!({"listen": [1]})), ["~listen [1] [1,2]"]);
        assert_eq!(told(&json!({"listen": [1]}), &json!({"listen": "x"})), ["~listen \"x\" [1]"]);
    }
}
