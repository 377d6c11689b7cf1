//! Every key of a frontend and its routes reaches its place in the model.

use std::path::Path;
use std::time::Duration;

use super::load;
use crate::model::{
    Action, Alpn, CertificateFiles, ClientAuth, FarmId, Forward, Frontend, FrontendTimeouts, HeaderRules, Hsts, Limits,
    Mirror, Name, RateKey, RateLimit, Redirect, Rewrite, Route, Rule, Share, Sources, Subject, Template, Test,
    TlsProfile,
};

/// A frontend of these keys with its warnings; farms web, next and db (tcp) and dns (udp) are there.
fn frontend(keys: &str) -> (Frontend, Vec<String>) {
    let text = format!(
        "service: lb\nfrontends:\n  in: {{{keys}}}\n  all: {{protocol: http, listen: ['[::1]:1'], farm: web, routes: \
         [{{name: n, action: {{farm: next}}}}]}}\n  t: {{protocol: tcp, listen: ['[::1]:2'], farm: db}}\n  \
         u: {{protocol: udp, listen: ['[::1]:2'], farm: dns}}\nfarms: {{web: {{protocol: http, servers: {{a: 'h:1'}}}}, \
         next: {{protocol: http, servers: {{a: 'h:1'}}}}, db: {{protocol: tcp, servers: {{a: 'h:1'}}}}, \
         dns: {{protocol: udp, servers: {{a: 'h:1'}}}}}}\nstate_dir: /s\nacme: {{terms_agreed: true}}\n"
    );
    let loaded = load(&text).unwrap_or_else(|e| panic!("{e}"));
    ((*loaded.topology.frontends[0]).clone(), loaded.warnings)
}

fn http(keys: &str) -> Frontend {
    let (frontend, warnings) = frontend(&format!("protocol: http, listen: ['127.0.0.1:80'], {keys}"));
    assert_eq!(warnings, Vec::<String>::new(), "{keys}");
    frontend
}

fn farm(name: &'static str) -> FarmId {
    FarmId::derive(&Name::fixed(name))
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn frontend_that_says_little_has_the_defaults_of_the_model() {
    let short = http("farm: web");
    let new = Frontend::new(short.id, short.name.clone(), short.protocol, farm("web"));
    assert_eq!(short, Frontend { listen: short.listen.clone(), ..new });
    let spelt_out = http(
        "farm: web, h2c: false, deny: [], hsts: off, maintenance: off, routes: [], trust: [], request_headers: {}, \
         timeouts: {}, limits: {}",
    );
    assert_eq!(short, spelt_out);
}

#[test]
fn listener_is_an_address_or_a_unix_socket_and_udp_has_ports_of_its_own() {
    let (frontend, _) = frontend("protocol: http, listen: ['127.0.0.1:80', 'unix:/run/a b.sock'], farm: web");
    let listen: Vec<_> = frontend.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:80", "unix:/run/a b.sock"]);
}

#[test]
fn tls_of_a_frontend_names_files_and_reads_none() {
    let tls = |keys: &str| http(&format!("farm: web, tls: {{{keys}}}")).tls.unwrap();
    let files = |cert, key| CertificateFiles { cert: Path::new(cert).into(), key: Path::new(key).into() };
    let plain = tls("certificates: [{cert: a.pem, key: a.key}, {cert: b.pem, key: b.key}]");
    assert_eq!(*plain.certificates, [files("a.pem", "a.key"), files("b.pem", "b.key")]);
    assert_eq!((plain.profile, &*plain.alpn), (TlsProfile::Intermediate, &[Alpn::H2, Alpn::Http1][..]));
    assert_eq!((plain.acme.len(), plain.client_auth), (0, None));
    let own = tls("acme: [WWW.example.com], profile: modern, alpn: [http/1.1], client_ca: ca.pem, client_crl: ca.crl");
    assert_eq!((&*own.acme[0], own.profile, &*own.alpn), ("www.example.com", TlsProfile::Modern, &[Alpn::Http1][..]));
    let auth = |crl, is_required| ClientAuth { ca: Path::new("ca.pem").into(), crl, is_required };
    assert_eq!(own.client_auth, Some(auth(Some(Path::new("ca.crl").into()), true)), "asked for, so required");
    let optional = tls("acme: [a.example], client_ca: ca.pem, client_auth: optional");
    assert_eq!(optional.client_auth, Some(auth(None, false)));
    let (tcp, _) = frontend("protocol: tcp, listen: ['127.0.0.1:80'], farm: db, tls: {acme: [a.example]}");
    assert_eq!(*tcp.tls.unwrap().alpn, []);
}

#[test]
fn who_may_come_in_reaches_its_place() {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<ipnet::IpNet>>();
    let only = http("farm: web, allow: [10.0.0.0/8, '::1']");
    assert_eq!(only.sources, Sources::Only(networks(&["10.0.0.0/8", "::1/128"]).into()));
    let but = http("farm: web, deny: [10.0.0.1], accept_proxy: {from: [10.0.0.0/8]}, h2c: true");
    assert_eq!(but.sources, Sources::AllBut(networks(&["10.0.0.1/32"]).into()));
    assert_eq!((but.accept_proxy, but.h2c), (networks(&["10.0.0.0/8"]), true));
}

#[test]
fn deadlines_and_bounds_reach_their_places() {
    let seconds = Duration::from_secs;
    let frontend = http(
        "farm: web, timeouts: {handshake: 1s, header: 2s, body: 3s, idle: 4s, write: 5s, tunnel: 6s}, limits: \
         {connections: 1, connections_per_source: 0, handshakes: 2, header_bytes: 4KiB, header_fields: 3, uri_bytes: 1KiB, \
         body_bytes: 4B, body_rate_min: 0B, streams: 5, rate: {per: {header: X-Key}, requests: 6, window: 1m}}",
    );
    let timeouts = FrontendTimeouts {
        handshake: seconds(1),
        header: seconds(2),
        body: seconds(3),
        idle: seconds(4),
        write: seconds(5),
        tunnel: seconds(6),
        session: None,
    };
    let rate = RateLimit { per: RateKey::Header("x-key".into()), requests: 6, window: seconds(60), burst: 6 };
    let limits = Limits {
        connections: 1,
        connections_per_source: 0,
        handshakes: 2,
        header_bytes: 4096,
        header_fields: 3,
        uri_bytes: 1024,
        body_bytes: 4,
        body_rate_min: 0,
        streams: 5,
        rate: Some(rate),
    };
    assert_eq!((frontend.timeouts, frontend.limits), (timeouts, limits));
    let rate = http("farm: web, limits: {rate: {requests: 9, burst: 1}}").limits.rate.unwrap();
    assert_eq!((rate.per, rate.window, rate.burst), (RateKey::Source, seconds(1), 1));
    let (tcp, _) = self::frontend("protocol: tcp, listen: ['127.0.0.1:80'], farm: db, timeouts: {session: 8h}");
    assert_eq!(tcp.timeouts.session, Some(seconds(8 * 3600)));
}

#[test]
fn keys_without_effect_are_warned_of_and_change_nothing() {
    let (plain, _) = frontend("protocol: tcp, listen: ['127.0.0.1:80'], farm: db");
    for (key, keys) in [
        ("h2c", "h2c: true"),
        ("trust", "trust: ['::1']"),
        ("timeouts.idle", "timeouts: {idle: 1s}"),
        ("limits.rate", "limits: {rate: {requests: 1}}"),
    ] {
        let (frontend, warnings) = frontend(&format!("protocol: tcp, listen: ['127.0.0.1:80'], farm: db, {keys}"));
        assert_eq!((&frontend, warnings.len()), (&plain, 1), "{keys}");
        assert!(warnings[0].ends_with(&format!("frontends.in.{key}: has no effect on a tcp frontend; remove it")));
    }
    let tls = "tls: {acme: [a.example]}";
    for keys in [
        format!("{tls}, h2c: true, farm: web"),
        format!("{tls}, farm: web, redirect: /"),
        format!("{tls}, farm: web, reject: 503"),
        format!("{tls}, redirect: /, reject: 503"),
        "timeouts: {session: 1h}, farm: web".into(),
    ] {
        let (_, warnings) = frontend(&format!("protocol: http, listen: ['127.0.0.1:80'], {keys}"));
        assert!(warnings.len() == 1 && warnings[0].contains("has no effect"), "{keys} {warnings:?}");
    }
}

#[test]
fn page_and_hsts_are_off_on_or_written_out() {
    let on = http("farm: web, maintenance: true, tls: {acme: [a.example]}, hsts: true");
    let page = on.maintenance.unwrap();
    assert_eq!((page.status, page.retry_after), (503, None));
    assert!(page.body.contains("closed for maintenance") && page.content_type.starts_with("text/html"));
    assert_eq!(on.hsts, Some(Hsts { max_age: Duration::from_secs(365 * 86_400), includes_subdomains: false }));
    let own = http(
        "farm: web, maintenance: {status: 200, body_file: /page, content_type: text/plain, retry_after: 1h}, \
         tls: {acme: [a.example]}, hsts: {max_age: 1d, include_subdomains: true}",
    );
    let page = own.maintenance.unwrap();
    assert_eq!((page.status, &*page.body, &*page.content_type), (200, "back soon\n", "text/plain"));
    assert_eq!(page.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(own.hsts, Some(Hsts { max_age: Duration::from_secs(86_400), includes_subdomains: true }));
}

#[test]
fn header_rules_keep_their_order_and_variables() {
    let frontend = http(
        "farm: web, request_headers: {set: {X-Ip: '%ci', Host: a.example}, add: {X-B: b, X-A: ['1', '${port}']}, \
         remove: [X-Debug, x-trace]}",
    );
    let field = |name: &str, value| (Box::from(name), template(value));
    let want = HeaderRules {
        remove: ["x-debug", "x-trace"].map(Box::from).into(),
        set: [field("X-Ip", "${client_ip}"), field("Host", "a.example")].into(),
        add: [field("X-B", "b"), field("X-A", "1"), field("X-A", "${port}")].into(),
    };
    assert_eq!(*frontend.request_headers, want);
    assert!(frontend.response_headers.is_empty());
}

#[test]
fn what_no_route_takes_goes_to_the_farm_to_a_redirect_or_nowhere() {
    let found = |target, status| Action::Redirect(Redirect { status, target: template(target) });
    assert_eq!(http("farm: web").otherwise, Action::Forward(Forward::to(farm("web"))));
    assert_eq!(http("redirect: 'https://${host}${uri}'").otherwise, found("https://${host}${uri}", 302));
    assert_eq!(http("redirect: {to: /, status: 308}").otherwise, found("/", 308));
    let routes = "routes: [{name: a, action: {farm: web}}]";
    assert_eq!(http(routes).otherwise, Action::Reject(404));
    let (tcp, _) = frontend("protocol: tcp, listen: ['127.0.0.1:80'], routes: [{name: a, action: {farm: db}}]");
    assert_eq!(tcp.otherwise, Action::Reject(403));
    assert_eq!(http("reject: 503").otherwise, Action::Reject(503));
    assert_eq!(http("reject: true, routes: [{name: a, action: {farm: web}}]").otherwise, Action::Reject(403));
    let beside = |other: &str| frontend(&format!("protocol: http, listen: ['127.0.0.1:80'], reject: 503, {other}"));
    assert_eq!(beside("farm: web").0.otherwise, Action::Forward(Forward::to(farm("web"))));
    assert_eq!(beside("redirect: /").0.otherwise, found("/", 302));
    let (tcp, _) = frontend("protocol: tcp, listen: ['127.0.0.1:80'], reject: true");
    assert_eq!(tcp.otherwise, Action::Reject(403));
}

/// The routes of these texts, each with its name and action.
fn routes(texts: &str) -> Vec<Route> {
    http(&format!("farm: web, routes: [{texts}]")).routes.iter().map(|route| (**route).clone()).collect()
}

#[test]
fn routes_are_ordered_as_they_are_looked_at() {
    let routes = routes(
        "{name: f0, action: {farm: web}}, {name: f9, priority: 9, action: {farm: web}}, \
         {name: r7, priority: 7, action: {reject: true}}, {name: f0b, action: {farm: web}}, \
         {name: d3, priority: 3, action: {redirect: /}}, {name: r3, priority: 3, action: {reject: 403}}",
    );
    let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["d3", "r3", "r7", "f0", "f0b", "f9"]);
    assert_eq!(routes[1].action, routes[2].action, "true is 403");
}

#[test]
fn actions_reach_their_places() {
    let action = |text: &str| routes(&format!("{{name: a, action: {{{text}}}}}")).remove(0).action;
    let share = |name, weight| Share { farm: farm(name), weight };
    let full = "farms: {web: 90, next: 0}, rewrite: {prefix: /api, with: /}, mirror: {farm: next, share: 10%}, \
        request_headers: {remove: [A]}, response_headers: {set: {B: c}}";
    let Action::Forward(forward) = action(full) else { panic!("a forward") };
    assert_eq!(*forward.shares, [share("web", 90), share("next", 0)]);
    assert_eq!(forward.rewrite, Some(Rewrite { prefix: "/api".into(), with: "/".into() }));
    assert_eq!(forward.mirror, Some(Mirror { farm: farm("next"), share: 10 }));
    assert_eq!((forward.request_headers.remove.len(), forward.response_headers.set.len()), (1, 1));
    let Action::Forward(all) = action("farm: web, mirror: {farm: web}") else { panic!("a forward") };
    assert_eq!((&*all.shares, all.mirror.unwrap().share), (&[share("web", 1)][..], 100));
    assert_eq!(
        action("redirect: '${path}x', status: 301"),
        Action::Redirect(Redirect { status: 301, target: template("${path}x") })
    );
    assert_eq!(action("reject: 429"), Action::Reject(429));
}

/// What a rule looks at and asks, as read from its keys.
fn rule(keys: &str) -> Rule {
    routes(&format!("{{name: a, rules: [{{{keys}}}], action: {{farm: web}}}}")).remove(0).rules[0].clone()
}

#[test]
fn every_field_takes_its_matches() {
    let all = |texts: &[&str]| Test::In(texts.iter().map(|text| Box::from(*text)).collect());
    let within = |texts: &[&str]| Test::Within(texts.iter().map(|text| text.parse().unwrap()).collect());
    let matching = |text| Test::Matches(regex::Regex::new(text).unwrap());
    for (keys, subject, test) in [
        ("field: protocol, match: is, pattern: https", Subject::Protocol, Test::Is("https".into())),
        ("field: protocol, match: in, pattern: 'tls, https'", Subject::Protocol, all(&["tls", "https"])),
        ("field: source, match: is, pattern: 10.0.0.0/8", Subject::Source, within(&["10.0.0.0/8"])),
        ("field: source, match: in, pattern: '10.0.0.1, ::/0'", Subject::Source, within(&["10.0.0.1/32", "::/0"])),
        ("field: source, match: in, pattern: [10.0.0.1]", Subject::Source, within(&["10.0.0.1/32"])),
        ("field: host, match: is, pattern: API.example.com", Subject::Host, Test::Is("api.example.com".into())),
        ("field: host, match: in, pattern: [A.example, 'b,c']", Subject::Host, all(&["a.example", "b,c"])),
        ("field: host, match: endswith, pattern: .Example", Subject::Host, Test::EndsWith(".example".into())),
        ("field: host, match: matches, pattern: ^API", Subject::Host, matching("^API")),
        ("field: method, match: in, pattern: 'GET, PATCH'", Subject::Method, all(&["GET", "PATCH"])),
        ("field: uri, match: startswith, pattern: /API", Subject::Uri, Test::StartsWith("/API".into())),
        ("field: uri, match: contains, pattern: 5", Subject::Uri, Test::Contains("5".into())),
        ("field: param, name: Q, match: exists", Subject::Param("Q".into()), Test::Exists),
        ("field: header, sub_field: X-A, match: is, pattern: B", Subject::Header("x-a".into()), Test::Is("B".into())),
        ("field: cookie, name: Sid, match: matches, pattern: a+", Subject::Cookie("Sid".into()), matching("a+")),
    ] {
        assert_eq!(rule(keys), Rule { subject, test, is_negated: false }, "{keys}");
    }
    assert!(rule("field: uri, match: is, pattern: /, negate: true").is_negated);
    let Test::Matches(host) = rule("field: host, match: matches, pattern: ^API").test else { panic!("an expression") };
    assert!(host.is_match("api.example.com"), "a host is compared in lower case");
}

#[test]
fn routes_of_tcp_look_at_the_handshake() {
    let (tcp, _) = frontend(
        "protocol: tcp, listen: ['127.0.0.1:80'], farm: db, routes: [{name: a, rules: [{field: host, match: is, pattern: A}, \
         {field: protocol, match: in, pattern: [http/2.0, imap]}], action: {farms: {db: 2}}}, {name: b, action: {reject: true}}]",
    );
    let names: Vec<_> = tcp.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(tcp.routes[1].rules[0].test, Test::Is("a".into()));
    assert_eq!(tcp.routes[1].rules[1].test, Test::In(["h2", "imap"].map(Box::from).into()), "as a handshake has it");
}
