//! What becomes of heads and paths on their way.

use super::Stage;

#[test]
fn header_rules_of_frontend_and_route_change_the_request_in_that_order() {
    let route = "{name: api, rules: [{field: uri, match: startswith, pattern: /api}], action: {farm: api, \
                 request_headers: {set: {X-From: \"route %ci\"}, add: {X-Many: two}, remove: [x-drop]}}}";
    let stage = Stage::with(route, &["api"], |setup| {
        setup.frontend(
            "request_headers: {set: {X-From: frontend, X-Ip: \"%ci\", X-Where: \"${protocol}://${host}${uri} ${frontend}\"}, \
             add: {X-Many: one}, remove: [X-Debug]}",
        )
    });
    let fields = [("X-Debug", "1"), ("X-Drop", "1"), ("X-Ip", "6.6.6.6"), ("Host", "h:1")];
    let mut client = stage.client();
    client.send(format!(
        "GET /api?q HTTP/1.1\r\n{}\r\n",
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>()
    ));
    assert_eq!(client.response().text(), "api");
    let seen = &stage.others[0].requests()[0];
    assert_eq!(seen.values("x-debug"), Vec::<&str>::new());
    assert_eq!(seen.values("x-drop"), Vec::<&str>::new());
    assert_eq!(seen.values("x-from"), ["route 127.0.0.1"]);
    assert_eq!(seen.values("x-ip"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-many"), ["one", "two"]);
    assert_eq!(seen.values("x-where"), ["http://h:1/api?q web"]);
    stage.ask("GET", "/", &[("X-Drop", "1")]);
    let seen = &stage.web.requests()[0];
    assert_eq!((seen.values("x-from"), seen.values("x-drop")), (vec!["frontend"], vec!["1"]));
}

#[test]
fn header_rules_change_the_answer_and_those_of_the_frontend_have_the_last_word() {
    let route = "{name: all, action: {farm: web, response_headers: {set: {X-By: route, X-Route: \"1\"}, remove: [content-type]}}}";
    let stage = Stage::with(route, &[], |setup| setup.frontend("response_headers: {set: {X-By: \"${frontend} %ID\"}}"));
    let answer = stage.ask("GET", "/", &[]);
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(answer.header("x-by"), Some(format!("web {id}").as_str()));
    assert_eq!((answer.header("x-route"), answer.header("content-type")), (Some("1"), None));
}

#[test]
fn header_rules_of_the_frontend_hold_for_answers_of_its_own() {
    let route = "{name: all, action: {redirect: /x}}";
    let stage = Stage::with(route, &[], |setup| setup.frontend("response_headers: {set: {X-By: gate}}"));
    assert_eq!(stage.ask("GET", "/", &[]).header("x-by"), Some("gate"));
}

#[test]
fn hsts_is_not_said_to_who_came_without_tls() {
    let stage = Stage::with("", &[], |setup| setup.frontend("hsts: true"));
    assert_eq!(stage.ask("GET", "/", &[]).header("strict-transport-security"), None);
}

#[test]
fn prefix_is_rewritten_by_segments_and_the_rest_stays() {
    let route = "{name: api, rules: [{field: uri, match: startswith, pattern: /api}], \
                 action: {farm: web, rewrite: {prefix: /api, with: /}}}";
    let stage = Stage::start(route, &[]);
    let mut client = stage.client();
    let asked = ["/api/users?x=/api", "/api", "/api?q", "/apis", "/api/a%2Fb/%20", "/other"];
    for target in asked {
        assert_eq!(client.get(target).status, 200);
    }
    let seen: Vec<_> = stage.web.requests().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(seen, ["/users?x=/api", "/", "/?q", "/apis", "/a%2Fb/%20", "/other"]);
}
