//! What is answered without a server: redirects, refusals, the page of a closed frontend.

use super::{Stage, get_host};

#[test]
fn redirect_leads_where_its_template_says_with_its_status() {
    for status in [301, 302, 303, 307, 308] {
        let route = format!(
            "{{name: old, rules: [{{field: uri, match: startswith, pattern: /old}}], \
             action: {{redirect: \"https://${{domain}}:8443${{path}}${{arguments}}\", status: {status}}}}}"
        );
        let stage = Stage::start(&route, &[]);
        let answer = get_host(&stage, "www.example.com:80", "/old/a%20b?c=d&e");
        assert_eq!(
            (answer.status, answer.header("location"), answer.body.len()),
            (status, Some("https://www.example.com:8443/old/a%20b?c=d&e"), 0)
        );
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(get_host(&stage, "www.example.com", "/new").text(), "web");
        assert_eq!(stage.web.requests().len(), 1);
    }
}

#[test]
fn redirect_of_a_whole_frontend_keeps_connections_and_bodies_in_step() {
    let stage = Stage::with("", &[], |setup| setup.without_farm("redirect: \"https://${host}${uri}\""));
    let mut client = stage.client();
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    for want in ["https://h/a", "https://h/b"] {
        let answer = client.response();
        assert_eq!((answer.status, answer.header("location")), (302, Some(want)));
    }
    assert!(stage.web.requests().is_empty());
}

#[test]
fn path_of_a_client_does_not_lead_a_redirect_elsewhere() {
    let stage = Stage::start("{name: all, action: {redirect: \"${path}x\"}}", &[]);
    assert_eq!(get_host(&stage, "h", "//evil.example/").header("location"), Some("/evil.example/x"));
}

#[test]
fn reject_is_answered_with_its_status_and_counted() {
    let routes = "{name: no, rules: [{field: uri, match: startswith, pattern: /no}], action: {reject: true}}, \
                  {name: slow, rules: [{field: uri, match: startswith, pattern: /slow}], action: {reject: 429}}, \
                  {name: fine, rules: [{field: uri, match: is, pattern: /fine}], action: {reject: 200}}, \
                  {name: net, rules: [{field: source, match: is, pattern: 127.0.0.0/8}, {field: uri, match: is, pattern: /net}], action: {reject: 503}}, \
                  {name: far, rules: [{field: source, match: is, pattern: 192.0.2.0/24}], action: {reject: 400}}";
    let stage = Stage::start(routes, &[]);
    let mut client = stage.client();
    for (target, want) in [("/no", 403), ("/slow", 429), ("/fine", 200), ("/net", 503), ("/yes", 200)] {
        let answer = client.get(target);
        assert_eq!(answer.status, want, "{target}");
        assert_eq!(answer.text().contains("request id"), target != "/yes");
    }
    assert_eq!(stage.web.requests().len(), 1);
    assert_eq!(stage.farmgate.metric("farmgate_frontend_refused_total", &["web", "\"rejected\""]), Some(4.0));
}

#[test]
fn refusals_and_redirects_come_before_routes_that_forward() {
    let routes = "{name: all, priority: 0, action: {farm: api}}, \
                  {name: no, priority: 255, rules: [{field: method, match: is, pattern: DELETE}], action: {reject: 405}}";
    let stage = Stage::start(routes, &["api"]);
    assert_eq!((stage.ask("DELETE", "/", &[]).status, stage.ask("GET", "/", &[]).text().as_str()), (405, "api"));
}

#[test]
fn frontend_without_a_farm_refuses_what_no_route_takes() {
    let route = "{name: api, rules: [{field: uri, match: is, pattern: /api}], action: {farm: web}}";
    let stage = Stage::with(route, &[], |setup| setup.without_farm(""));
    assert_eq!((stage.ask("GET", "/api", &[]).text().as_str(), stage.ask("GET", "/", &[]).status), ("web", 404));
}

#[test]
fn closed_frontend_says_so_before_any_route_and_opens_again() {
    let page = "maintenance: {status: 503, body: \"<h1>soon</h1>\", content_type: text/html, retry_after: 5m}";
    let stage = Stage::with("{name: all, action: {redirect: /x}}", &[], |setup| setup.frontend(page));
    let mut client = stage.client();
    for _ in 0..2 {
        let answer = client.get("/");
        let fields =
            ["content-type", "retry-after", "cache-control"].map(|name| answer.header(name).unwrap_or_default());
        assert_eq!((answer.status, answer.text().as_str()), (503, "<h1>soon</h1>"));
        assert_eq!(fields, ["text/html", "300", "no-store"]);
    }
    let head = client.request("HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.len()), (503, 0));
    assert_eq!(stage.farmgate.metric("farmgate_frontend_refused_total", &["web", "\"maintenance\""]), Some(3.0));
    let yaml = std::fs::read_to_string(stage.farmgate.config_path()).unwrap();
    assert_eq!(stage.farmgate.reload(&yaml.replace(page, "")).status, 200);
    assert_eq!(client.get("/").status, 302);
}

#[test]
fn client_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() {
    let rate = "limits: {rate: {per: {header: X-User}, requests: 1, window: 1h, burst: 3}}";
    let stage = Stage::with("", &[], |setup| setup.frontend(rate));
    let mut client = stage.client();
    let mut ask = |user: &str| client.request("GET", "/", &[("X-User", user)], b"");
    let statuses: Vec<_> = (0..5).map(|_| ask("ann").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(ask("bob").status, 200);
    let refused = ask("ann");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&after), "{after}");
    assert_eq!(stage.client().get("/").status, 200, "who has no such field is counted by address");
    assert_eq!(stage.farmgate.metric("farmgate_frontend_refused_total", &["web", "\"rate\""]), Some(3.0));
    assert_eq!(stage.web.requests().len(), 5);
}

#[test]
fn bucket_of_a_client_is_shared_by_all_workers() {
    let rate = "limits: {rate: {per: source, requests: 1, window: 1h, burst: 20}}";
    let stage = Stage::with("", &[], |setup| setup.frontend(rate));
    let statuses: Vec<_> = (0..40).map(|_| stage.ask("GET", "/", &[]).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20, "{statuses:?}");
}

#[test]
fn request_of_more_fields_than_the_limit_is_431() {
    let stage = Stage::with("", &[], |setup| setup.frontend("limits: {header_fields: 5}"));
    let mut client = stage.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: 1\r\n".repeat(5)));
    assert_eq!(client.response().status, 431);
    let mut client = stage.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: 1\r\n".repeat(4)));
    assert_eq!(client.response().status, 200);
}
