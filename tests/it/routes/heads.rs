//! What becomes of heads and paths on their way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

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
fn client_in_tls_is_told_hsts_by_servers_and_redirects_and_rules_know_its_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let routes = "{name: old, rules: [{field: uri, match: is, pattern: /old}], action: {redirect: /new}}, \
                  {name: plain, rules: [{field: protocol, match: is, pattern: https, negate: true}], action: {reject: 400}}, \
                  {name: clear, rules: [{field: protocol, match: in, pattern: [tcp, http]}], action: {reject: 400}}, \
                  {name: tls, rules: [{field: protocol, match: is, pattern: tls}, {field: uri, match: is, pattern: /tls}], \
                   action: {redirect: /new}}";
    let stage = Stage::with(routes, &[], |setup| {
        let tls = format!("tls: {{certificates: [{{cert: {cert:?}, key: {key:?}}}]}}");
        let hsts = "hsts: {max_age: 365d, include_subdomains: true}";
        setup.frontend(&tls).frontend(hsts).frontend("request_headers: {set: {X-Tls: \"${tls_version} ${sni} %fp\"}}")
    });
    let said = |target: &str| {
        let answer = ask_in_tls(&stage, made.cert.der().clone(), target);
        let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("strict-transport-security:"));
        line.map(|line| line.split_once(": ").unwrap().1.to_owned())
    };
    for target in ["/", "/old"] {
        assert_eq!(said(target).as_deref(), Some("max-age=31536000; includeSubDomains"), "{target}");
    }
    assert!(ask_in_tls(&stage, made.cert.der().clone(), "/tls").starts_with("HTTP/1.1 302 "));
    let port = stage.farmgate.front("web").port();
    assert_eq!(stage.web.requests()[0].header("x-tls"), Some(format!("TLSv1.3 www.example.com {port}").as_str()));
}

/// Asks once in TLS 1.3 and returns the whole answer.
fn ask_in_tls(stage: &Stage, authority: CertificateDer<'static>, target: &str) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let client = rustls::ClientConnection::new(config, "www.example.com".try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(stage.farmgate.front("web")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut stream = rustls::StreamOwned::new(client, socket);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Whether the end is said in TLS, too, is not what is asked here.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
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
