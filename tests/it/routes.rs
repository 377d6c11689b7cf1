//! Routes of HTTP frontends: who takes what, redirects, refusals, header rules, splits, copies, pages of closed frontends.

mod answers;
mod heads;
mod mirror;

use std::net::SocketAddr;

use crate::harness::{Client, Farmgate, Origin, Response, Server, Setup};

/// A frontend with these routes, a farm `web` of one origin and a farm for each other one.
pub(crate) struct Stage {
    pub(crate) farmgate: Farmgate,
    pub(crate) web: Origin,
    pub(crate) others: Vec<Origin>,
}

impl Stage {
    pub(crate) fn start(routes: &str, others: &[&str]) -> Self {
        Self::with(routes, others, |setup| setup)
    }

    pub(crate) fn with(routes: &str, others: &[&str], more: impl FnOnce(Setup) -> Setup) -> Self {
        let web = Origin::start("web");
        let others: Vec<_> = others.iter().map(|name| Origin::start(name)).collect();
        // One worker, whose turns follow one another, unless a test is about several.
        let mut setup = Setup::http(&[Server::new("a", web.addr(), "")]);
        setup = setup.top(if routes.is_empty() { "workers: 2" } else { "workers: 1" });
        if !routes.is_empty() {
            setup = setup.frontend(&format!("routes: [{routes}]"));
        }
        for origin in &others {
            setup = setup.another_farm(&farm(origin.name(), origin.addr()));
        }
        Self { farmgate: Farmgate::start(&more(setup)), web, others }
    }

    pub(crate) fn client(&self) -> Client {
        self.farmgate.client()
    }

    /// Asks as given; `Host` among the fields replaces the client's own.
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        self.client().request(method, target, fields, b"")
    }
}

fn farm(name: &str, addr: SocketAddr) -> String {
    format!("{name}: {{protocol: http, servers: {{a: {{address: \"{addr}\"}}}}}}")
}

/// Asks for a host with nothing else that a client of ours would send.
fn get_host(stage: &Stage, host: &str, target: &str) -> Response {
    let mut client = stage.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response()
}

#[test]
fn request_goes_to_the_farm_of_the_first_route_that_takes_it() {
    let routes = r#"
        {name: any-api, priority: 20, rules: [{field: host, match: endswith, pattern: .example.com}], action: {farm: wide}},
        {name: api, priority: 10, rules: [{field: host, match: is, pattern: api.example.com}], action: {farm: api}},
        {name: beta, priority: 30, rules: [{field: header, name: X-Beta, match: exists}], action: {farm: beta}},
        {name: path, priority: 40, rules: [{field: uri, match: startswith, pattern: /v2/}, {field: param, name: k, match: is, pattern: "1"}], action: {farm: beta}}"#;
    let stage = Stage::start(&routes.replace('\n', " "), &["wide", "api", "beta"]);
    for (host, target, want) in [
        ("api.example.com", "/", "api"),
        ("API.example.com.:8080", "/", "api"),
        ("www.example.com", "/", "wide"),
        ("example.org", "/", "web"),
        ("example.org", "/v2/x?k=1", "beta"),
        ("example.org", "/v2/x?k=2&k=1", "web"),
        ("example.org", "/v1/x?k=1", "web"),
    ] {
        assert_eq!(get_host(&stage, host, target).text(), want, "{host} {target}");
    }
    assert_eq!(stage.ask("GET", "/", &[("x-beta", "")]).text(), "beta");
    assert_eq!(stage.ask("GET", "/", &[]).text(), "web");
}

#[test]
fn request_of_each_turn_of_one_connection_is_decided_anew() {
    let stage = Stage::start(
        "{name: api, rules: [{field: uri, match: startswith, pattern: /api}], action: {farm: api}}",
        &["api"],
    );
    let mut client = stage.client();
    for _ in 0..3 {
        assert_eq!([client.get("/api/x").text(), client.get("/").text()], ["api", "web"]);
    }
}

#[test]
fn split_is_exact_in_any_window_of_its_weights() {
    let stage = Stage::start("{name: canary, action: {farms: {web: 90, canary: 10}}}", &["canary"]);
    let mut client = stage.client();
    let answers: Vec<_> = (0..150).map(|n| client.get(&format!("/{n}")).text()).collect();
    for window in answers.windows(10) {
        assert_eq!(window.iter().filter(|name| *name == "canary").count(), 1, "{answers:?}");
    }
}

#[test]
fn explain_names_the_route_that_took_a_request() {
    let stage =
        Stage::start("{name: api, rules: [{field: uri, match: is, pattern: /api}], action: {farm: api}}", &["api"]);
    let id = stage.ask("GET", "/api", &[]).header("x-request-id").map(str::to_owned).unwrap();
    let told = stage.farmgate.cli(&["explain", "--request", &id]);
    assert!(told.text.contains("was taken by route api; went to a"), "{}", told.text);
    let id = stage.ask("GET", "/", &[]).header("x-request-id").map(str::to_owned).unwrap();
    let told = stage.farmgate.cli(&["explain", "--request", &id]);
    assert!(!told.text.contains("route "), "{}", told.text);
}

#[test]
fn reload_changes_routes_for_the_next_request_of_an_open_connection() {
    let stage =
        Stage::start("{name: api, rules: [{field: uri, match: is, pattern: /x}], action: {farm: api}}", &["api"]);
    let mut client = stage.client();
    assert_eq!(client.get("/x").text(), "api");
    let yaml = std::fs::read_to_string(stage.farmgate.config_path()).unwrap();
    let response = stage.farmgate.reload(&yaml.replace("pattern: /x", "pattern: /y"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!([client.get("/x").text(), client.get("/y").text()], ["web", "api"]);
}
