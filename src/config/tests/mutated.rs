//! Any tree that is like a config file is refused with a place or read, and what is read comes back from an export.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::conf_files::uncommented;
use super::load;
use super::round_trip::comes_back_equal;
use super::schema::to_json;

/// Values that mean something somewhere, and some that mean nothing anywhere.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "1",
    "5",
    "200",
    "301",
    "403",
    "65536",
    "-1",
    "1.5",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "\"\"",
    "\"off\"",
    "\"http\"",
    "\"tcp\"",
    "\"udp\"",
    "\"is\"",
    "\"in\"",
    "\"matches\"",
    "\"exists\"",
    "\"header\"",
    "\"source\"",
    "\"host\"",
    "\"uri\"",
    "\"cookie\"",
    "\"web\"",
    "\"db\"",
    "\"canary\"",
    "\"1s\"",
    "\"64KiB\"",
    "\"50%\"",
    "\"125%\"",
    "\"10.0.0.0/8\"",
    "\"127.0.0.1:81\"",
    "\"unix:/run/x\"",
    "\"v2-ssl\"",
    "\"maglev\"",
    "\"ewma\"",
    "\"none\"",
    "\"required\"",
    "\"${host}\"",
    "\"${\"",
    "\"100%\"",
    "\"%ci\"",
    "\"(a\"",
    "\"a, b\"",
    "\"a\\nb\"",
    "\"\\u2028\"",
    "\"\\u0000\"",
    "\"ü\"",
    "\"X-A\"",
    "\"Connection\"",
    "{\"header\": \"X-A\"}",
    "{\"X-A\": [\"a\", \"b\"]}",
    "{\"web\": 1}",
    "[\"::1\"]",
];

/// What is done at one place of a tree.
#[derive(Clone, Debug)]
enum Edit {
    /// The value of another place comes here.
    Copy(Index),
    /// What is here goes.
    Remove,
    /// This comes here.
    Set(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any::<Index>().prop_map(Edit::Copy),
        Just(Edit::Remove),
        select(VALUES).prop_map(Edit::Set),
        select(VALUES).prop_map(Edit::Set),
    ]
}

/// Every place of a tree, as a JSON pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    let mut child = |key: &str, value| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        out.push(at.clone());
        places(value, &at, out);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| child(&i.to_string(), item)),
        Value::Object(map) => map.iter().for_each(|(key, value)| child(key, value)),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(root: &mut Value, at: Index, edit: &Edit) {
    let mut all = Vec::new();
    places(root, "", &mut all);
    // The sections of traffic: the others have their own tests.
    let own: Vec<_> = all.iter().filter(|at| at.starts_with("/frontends") || at.starts_with("/farms")).collect();
    if own.is_empty() {
        return;
    }
    let at = own[at.index(own.len())].as_str();
    let new = match edit {
        Edit::Copy(from) => root.pointer(own[from.index(own.len())]).cloned().unwrap(),
        Edit::Remove => {
            let (parent, key) = at.rsplit_once('/').unwrap();
            match root.pointer_mut(parent).unwrap() {
                Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => unreachable!(),
            }
            return;
        }
        Edit::Set(text) => serde_json::from_str(text).unwrap(),
    };
    *root.pointer_mut(at).unwrap() = new;
}

#[test]
fn unedited_tree_loads_and_comes_back() {
    let loaded = load(&to_json(&uncommented()).to_string()).unwrap_or_else(|e| panic!("{e}"));
    comes_back_equal(&loaded.topology).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_tree_is_refused_with_places_or_comes_back(
        edits in proptest::collection::vec((any::<Index>(), edit()), 1..6),
    ) {
        static WHOLE: LazyLock<Value> = LazyLock::new(|| to_json(&uncommented()));
        let mut root = WHOLE.clone();
        for (at, edit) in &edits {
            apply(&mut root, *at, edit);
        }
        match load(&root.to_string()) {
            Ok(loaded) => comes_back_equal(&loaded.topology)?,
            Err(errors) => for error in errors.errors() {
                prop_assert!(error.line().is_some() && !error.path().is_empty(), "{}", error);
            },
        }
    }
}
