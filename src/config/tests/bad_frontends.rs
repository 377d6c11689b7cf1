//! What a bad frontend, route, farm or server is answered with: the snapshots are the messages, word for word.

use super::bad_input::{answers, assert_answers};
use super::errors;

const HTTP: &str = "service: lb\nfarms: {web: {protocol: http, servers: {}}, db: {protocol: tcp, servers: {}}, \
    dns: {protocol: udp, servers: {}}}\nfrontends:\n  in: {protocol: http, listen: ['127.0.0.1:80'], PATCH}\nstate_dir: /s\nacme: {terms_agreed: true}\n";
const TCP: &str = "service: lb\nfarms: {web: {protocol: http, servers: {}}, db: {protocol: tcp, servers: {}}, \
    dns: {protocol: udp, servers: {}}}\nfrontends:\n  in: {protocol: tcp, listen: ['127.0.0.1:80'], PATCH}\nstate_dir: /s\nacme: {terms_agreed: true}\n";
const UDP: &str = "service: lb\nfarms: {web: {protocol: http, servers: {}}, db: {protocol: tcp, servers: {}}, \
    dns: {protocol: udp, servers: {}}}\nfrontends:\n  in: {protocol: udp, farm: dns, PATCH}\nstate_dir: /s\nacme: {terms_agreed: true}\n";

#[test]
fn bad_entry_of_a_frontend() {
    assert_answers!(answers(
        HTTP,
        &[
            "farm: web, tls: true",
            "farm: web, tls: {}",
            "farm: web, tls: {certificates: []}",
            "farm: web, tls: {certificates: [{cert: a.pem}, a.pem]}",
            "farm: web, tls: {acme: ['*.example.com', '10.0.0.1', a..b, 'a b', a.example, A.example]}",
            "farm: web, tls: {acme: [a.example], profile: old, alpn: [http/1.0]}",
            "farm: web, tls: {acme: [a.example], alpn: []}",
            "farm: web, tls: {acme: [a.example], alpn: [h2, h2]}",
            "farm: web, tls: {acme: [a.example], client_auth: required}",
            "farm: web, tls: {acme: [a.example], client_crl: ca.crl, client_auth: maybe}",
            "farm: web, accept_proxy: true",
            "farm: web, accept_proxy: {}",
            "farm: web, accept_proxy: {from: []}",
            "farm: web, accept_proxy: {from: [here]}",
            "farm: web, allow: []",
            "farm: web, allow: [everybody]",
            "farm: web, allow: ['::1'], deny: ['::2']",
            "farm: web, h2c: on",
            "farm: web, hsts: true",
            "farm: web, hsts: {max_age: 1}",
            "farm: web, maintenance: soon",
            "farm: web, maintenance: {status: 100, content_type: html, retry_after: 0s}",
            "farm: web, maintenance: {body: a, body_file: /page}",
            "farm: web, maintenance: {body_file: /nowhere}",
            "farm: web, maintenance: {body: \"\\0\"}",
            "farm: web, timeouts: {handshake: 1h, session: 0s}",
            "farm: web, limits: {header_fields: 0, streams: 0, handshakes: 0, body_rate_min: 500}",
            "farm: web, limits: {rate: {per: client, burst: 0}}",
            "farm: web, limits: {rate: {per: {header: 'a b'}, requests: 0, window: 1ms}}",
            "farm: web, limits: {rate: 100}",
        ],
    ));
}

#[test]
fn bad_changes_of_heads() {
    assert_answers!(answers(
        HTTP,
        &[
            "farm: web, request_headers: [X-A]",
            "farm: web, request_headers: {sett: {}}",
            "farm: web, request_headers: {set: {Transfer-Encoding: chunked, content-length: '0', Connection: close}}",
            "farm: web, request_headers: {set: {X-A: a, x-a: b, 'a b': c, '': d}}",
            "farm: web, request_headers: {set: {X-A: '${hots}', X-B: '${host', X-C: 100%, X-D: \"a\\r\\nb: c\", X-E: ü}}",
            "farm: web, request_headers: {set: {X-A: [a]}}",
            "farm: web, request_headers: {add: {Host: a}, remove: [Host, Upgrade, x, X]}",
            "farm: web, response_headers: {remove: X-A}",
        ],
    ));
}

#[test]
fn bad_place_of_work() {
    assert_answers!(answers(
        HTTP,
        &[
            "routes: []",
            "farm: wbe",
            "farm: db",
            "redirect: ''",
            "redirect: 'a b'",
            "redirect: {to: /, status: 304}",
            "redirect: {status: 301}",
            "redirect: '${uir}'",
            "farm: web, routes: {a: {}}",
            "farm: web, routes: [{}]",
            "farm: web, routes: [{name: A, priority: 256, action: {}}]",
            "farm: web, routes: [{name: a, action: {farm: web}}, {name: a, action: {farm: web}}]",
            "farm: web, routes: [{name: a, action: {farm: wbe}}]",
            "farm: web, routes: [{name: a, action: {farm: dns}}]",
            "farm: web, routes: [{name: a, action: {farm: web, reject: 403}}]",
            "farm: web, routes: [{name: a, action: {reject: 403, rewrite: {prefix: /, with: /}, status: 301}}]",
            "farm: web, routes: [{name: a, action: {reject: 404}}]",
            "farm: web, routes: [{name: a, action: {reject: false}}]",
            "farm: web, routes: [{name: a, action: {redirect: /, status: 200}}]",
            "reject: 404",
            "reject: false",
            "farm: web, routes: [{name: a, action: {farms: {}}}]",
            "farm: web, routes: [{name: a, action: {farms: {web: 0}}}]",
            "farm: web, routes: [{name: a, action: {farms: {web: 70000, bew: 1, db: 1}}}]",
            "farm: web, routes: [{name: a, action: {farms: [web]}}]",
            "farm: web, routes: [{name: a, action: {farm: web, rewrite: {prefix: api, with: '/?'}}}]",
            "farm: web, routes: [{name: a, action: {farm: web, mirror: {share: 0%}}}]",
            "farm: web, routes: [{name: a, action: {farm: web, request_headers: {set: {TE: a}}}}]",
        ],
    ));
}

#[test]
fn bad_rules() {
    assert_answers!(answers(
        &HTTP.replace("PATCH", "farm: web, routes: [{name: a, action: {farm: web}, rules: [{PATCH}]}]"),
        &[
            "",
            "field: path, match: is, pattern: /",
            "field: uri, match: equals, pattern: /",
            "field: uri, match: is",
            "field: uri, match: is, pattern: ''",
            "field: uri, match: is, pattern: [/]",
            "field: uri, match: in, pattern: []",
            "field: uri, match: in, pattern: '/a,,/b'",
            "field: uri, match: is, pattern: \"a\\nb\"",
            "field: uri, match: exists",
            "field: uri, name: a, match: is, pattern: /",
            "field: protocol, match: contains, pattern: http",
            "field: protocol, match: is, pattern: h3",
            "field: source, match: startswith, pattern: 10.",
            "field: source, match: in, pattern: '10.0.0.0/8, here'",
            "field: method, match: in, pattern: [GET, post]",
            "field: method, match: matches, pattern: P.*",
            "field: header, match: exists",
            "field: header, name: 'a b', match: exists",
            "field: header, name: a, sub_field: a, match: exists",
            "field: header, name: a, match: exists, pattern: b",
            "field: cookie, name: '', match: is, pattern: a",
            "field: host, match: matches, pattern: '(a'",
            "field: host, match: matches, pattern: '(?=a)'",
            "field: host, match: matches, pattern: '((a{100}){100}){100}'",
            "field: host, match: is, pattern: a, negate: 1",
        ],
    ));
}

#[test]
fn bad_frontend_of_connections_and_of_datagrams() {
    assert_answers!(answers(
        TCP,
        &[
            "farm: web",
            "farm: db, hsts: true, maintenance: true, request_headers: {set: {A: b}}, response_headers: {}",
            "redirect: /",
            "farm: db, routes: [{name: a, rules: [{field: uri, match: is, pattern: /}], action: {farm: db}}]",
            "farm: db, routes: [{name: a, action: {redirect: /}}]",
            "farm: db, routes: [{name: a, action: {reject: 403}}]",
            "farm: db, routes: [{name: a, action: {farm: db, rewrite: {prefix: /, with: /}, mirror: {farm: db}}}]",
            "farm: db, routes: [{name: a, action: {farm: db, request_headers: {remove: [A]}}}]",
        ],
    ));
    let udp = answers(
        UDP,
        &[
            "listen: ['unix:/run/x']",
            "listen: ['127.0.0.1:53', '127.0.0.1:53']",
            "listen: ['127.0.0.1:53'], tls: {acme: [a.example]}, accept_proxy: {from: ['::1']}",
            "listen: ['127.0.0.1:53'], routes: [{name: a, action: {farm: dns}}]",
        ],
    );
    assert_answers!(udp);
}

#[test]
fn bad_listeners_of_all_kinds() {
    assert_answers!(answers(
        &HTTP.replace("listen: ['127.0.0.1:80'], ", "farm: web, "),
        &[
            "listen: ['unix:web.sock', 'unix:', 'unix:/a\u{2028}']",
            "listen: ['unix:/run/a', 'unix:/run/a']",
            "listen: [\"unix:/a\\nb\"]",
        ],
    ));
}

#[test]
fn bad_spread_of_a_farm() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, PATCH}\n",
        &[
            "hash: source",
            "hash: {key: cookie, load_max: 100%}",
            "hash: {key: {headers: a}, load_max: 2000%}",
            "balance: maglev, hash: {key: {header: 'a b'}, load_max: 125}",
            "http2: yes",
            "queue: 5",
            "queue: {length: -1, timeout: 1h}",
            "retries: {budget: 20%}",
            "retries: {budget: {share: 200%, per_second_min: many}}",
            "reuse: off",
            "reuse: {idle_max: 1000000, age_max: 0s, requests_max: 0, streams: 0, connections: 0}",
            "tls: yes",
            "tls: {ca: '', sni: 'a:1', verify: 1, cert: a.pem}",
            "tls: {ca: ca.pem, verify: false, key: a.key}",
            "tls: {verify: chain}",
            "proxy_protocol: v3",
            "stickiness: {header: {}}",
            "stickiness: {header: 'a b'}",
            "stickiness: {header: X, cookie: {}}",
        ],
    ));
}

#[test]
fn bad_farm_of_datagrams() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  dns: {protocol: udp, servers: {a: {address: 'h:53'}}, PATCH}\n",
        &[
            "balance: uri",
            "balance: ewma",
            "balance: maglev, hash: {key: uri}",
            "balance: maglev, hash: {key: {header: X}}",
            "http2: true",
            "tls: true, proxy_protocol: v2",
            "stickiness: cookie",
            "stickiness: {header: X}",
            "observe: {count: [status]}",
        ],
    ));
}

#[test]
fn bad_server_of_a_farm() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {a: {address: 'h:80', PATCH}}}\n",
        &[
            "tls: v2",
            "tls: {name: x}",
            "tls: {cert: a.pem}",
            "proxy_protocol: 2",
            "max_connections: 0",
            "on_down: drop",
        ],
    ));
}

#[test]
fn too_many_routes_rules_and_expressions_are_refused() {
    let with = |routes: &str| errors(&HTTP.replace("PATCH", &format!("farm: web, routes: [{routes}]")));
    let rule = "{field: uri, match: matches, pattern: a}";
    let seventeen = format!("{{name: a, action: {{farm: web}}, rules: [{}]}}", [rule; 17].join(", "));
    let answer = with(&seventeen);
    assert!(answer.len() == 1 && answer[0].ends_with("17 rules are more than 16; write fewer"), "{answer:?}");
    let route = |i: usize, rules: &str| format!("{{name: r{i}, action: {{farm: web}}, rules: [{rules}]}}");
    let expressions: Vec<_> = (0..64).map(|i| route(i, &[rule; 16].join(", "))).collect();
    let answer = with(&expressions.join(", "));
    assert_eq!(answer.len(), 24, "{answer:?}");
    assert!(answer[0].contains("is one of more than 1000 rules of this frontend with matches"), "{answer:?}");
    let many: Vec<_> = (0..10_001).map(|i| route(i, "")).collect();
    let answer = with(&many.join(", "));
    assert!(answer.len() == 1 && answer[0].ends_with("10001 routes are more than 10000; write fewer"), "{answer:?}");
}
