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
