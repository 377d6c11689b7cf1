//! Why a request went where it went.

use regex::Regex;

use super::printed;
use crate::harness::{Farmgate, Origin, Server, Setup, refused_port, until, until_within};

/// Waits until the API says exactly this of a request, its duration masked, and the command line the same.
#[track_caller]
fn says(farmgate: &Farmgate, id: &str, want: &str) {
    let length = Regex::new(r"\d+\.\d ms").unwrap();
    let mut last = String::new();
    let found = until_within(super::SOON, || {
        let (status, told) = farmgate.admin_get(&format!("/api/v1/requests/{id}/explain"));
        last = told.to_string();
        (status == 200 && length.replace(told["sentence"].as_str().unwrap(), "D") == want).then_some(())
    });
    assert!(found.is_some(), "wanted and said at last:\n  {want}\n  {last}");
    printed(farmgate, &["explain", "--request", id], want);
    super::shown(id, want);
}

/// The id of the request for `path`, as the access log has it.
#[track_caller]
fn id_of(farmgate: &Farmgate, path: &str) -> String {
    let log = farmgate.config_path().with_file_name("access.log");
    until(&format!("the line of {path}"), || {
        let text = std::fs::read_to_string(&log).ok()?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["target"] == path).find_map(|line| Some(line["request_id"].as_str()?.to_owned()))
    })
}

#[test]
fn requests_say_where_they_went_and_why() {
    let (_held, nowhere) = refused_port();
    let [a, b] = ["a", "b"].map(Origin::start);
    let servers = [Server::new("a", a.addr(), "probe: false"), Server::new("b", b.addr(), "probe: false")];
    // No connection is kept to be found broken, which would be one attempt more.
    let setup = Setup::http(&servers).farm("stickiness: {cookie: {name: STUCK}}").farm("timeouts: {idle: 10ms}");
    let setup = setup.log("{level: info, format: json, access: {path: access.log, format: json}}");
    let farmgate = Farmgate::start(&setup);
    let mut client = farmgate.client();
    let first = client.get("/x");
    let (sticky, other) = if first.origin() == "a" { (&a, &b) } else { (&b, &a) };
    says(
        &farmgate,
        &id_of(&farmgate, "/x"),
        &format!("went to {} (it was its turn), which answered; status 200 after D", sticky.name()),
    );
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(client.request("GET", "/y", &[("Cookie", &cookie)], b"").origin(), sticky.name());
    says(
        &farmgate,
        &id_of(&farmgate, "/y"),
        &format!("went to {} (the client's cookie names it), which answered; status 200 after D", sticky.name()),
    );
    sticky.crash();
    assert_eq!(farmgate.client().request("GET", "/z", &[("Cookie", &cookie)], b"").origin(), other.name());
    says(
        &farmgate,
        &id_of(&farmgate, "/z"),
        &format!(
            "went to {} (the only one left that may take work and had not been tried), which answered; {} \
             could not be connected to; retried once; status 200 after D",
            other.name(),
            sticky.name()
        ),
    );
    let gone = [Server::new("a", nowhere, "status: drain"), Server::new("b", nowhere, "status: maintenance")];
    assert_eq!(farmgate.reload(&setup.servers(&gone).yaml()).status, 200);
    let page = farmgate.client().get("/nobody");
    assert_eq!(page.status, 503);
    says(
        &farmgate,
        page.header("x-request-id").unwrap(),
        "went to no server; Farmgate itself ended it: no server can take the request now; status 503 after D",
    );
}
