//! Compiled routes in tables.

use super::*;
use crate::model::{Action, Name, Route, RouteId};

fn with_routes(names: &[&str]) -> Topology {
    let mut topology = topology(vec![server("web", 1, 1)], None);
    let frontend = &topology.frontends[0];
    let route = |text: &&str| {
        let name = Name::parse(text).unwrap();
        let id = RouteId::derive(&frontend.name, &name);
        Arc::new(Route { id, name, priority: 0, rules: Box::default(), action: Action::Reject(403) })
    };
    let routes = names.iter().map(route).collect();
    topology.frontends[0] = Arc::new(Frontend { routes, ..Frontend::clone(frontend) });
    topology
}

#[test]
fn store_compiles_routes_again_only_when_they_change() {
    let store = store(with_routes(&["a"]));
    let routes = || Arc::clone(&store.load().frontends[0].routes);
    let before = routes();
    assert!(!before.is_empty());
    store.reload(with_routes(&["a"]), &AnyHost, Timestamp(6)).unwrap();
    assert!(Arc::ptr_eq(&before, &routes()));
    store.reload(with_routes(&["a", "b"]), &AnyHost, Timestamp(7)).unwrap();
    assert!(!Arc::ptr_eq(&before, &routes()));
    store.reload(with_routes(&[]), &AnyHost, Timestamp(8)).unwrap();
    assert!(routes().is_empty());
}
