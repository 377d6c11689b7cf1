//! Frontends and routes drawn at random, as texts that load: FARM stands for a farm of the same protocol, OTHER for
//! nothing, or for another one with its weight.

use proptest::prelude::*;
use proptest::sample::select;

use super::round_trip::{maybe, pattern, quoted_text, some_of};

const TLS: &[&str] = &[
    "certificates: [{cert: a.pem, key: a.key}, {cert: b.pem, key: b.key}]",
    "acme: [a.example, b.example], profile: modern, client_ca: ca.pem",
    "certificates: [{cert: a, key: b}], acme: [c.example], client_ca: ca, client_crl: crl, client_auth: optional",
];
const SOURCES: &[&str] = &["allow: [10.0.0.0/8, \"::1\"]", "deny: [10.0.0.1]", "deny: []"];
const HEADS: &[&str] = &[
    "{set: {X-Ip: \"%ci\", Host: \"${host}\"}, remove: [X-Debug]}",
    "{add: {X-A: [\"1\", \"100%% ${uri}\"], X-B: $5}}",
    "{set: {X-N: 5}}",
    "{}",
];

/// Keys of a frontend of that protocol (http, tcp or udp), with its routes and its farm.
pub(super) fn frontend(protocol: usize) -> BoxedStrategy<String> {
    match protocol {
        0 => http().boxed(),
        1 => tcp().boxed(),
        _ => (maybe(SOURCES), maybe(&["limits: {connections: 9}"]))
            .prop_map(|(sources, limits)| format!(", farm: FARM{sources}{limits}"))
            .boxed(),
    }
}

fn tls(own: &'static str) -> impl Strategy<Value = String> {
    proptest::option::of(select(TLS))
        .prop_map(move |tls| tls.map_or_else(String::new, |tls| format!(", tls: {{{tls}{own}}}")))
}

fn http() -> impl Strategy<Value = String> {
    let entry =
        (tls(", alpn: [http/1.1, h2]"), maybe(SOURCES), any::<bool>(), maybe(&["accept_proxy: {from: [\"::1\"]}"]));
    let entry = (entry, maybe(&["true", "{max_age: 0s}", "{include_subdomains: true}"])).prop_map(|(entry, hsts)| {
        let (tls, sources, h2c, proxy) = entry;
        let hsts = if tls.is_empty() || hsts.is_empty() { String::new() } else { hsts.replacen(", ", ", hsts: ", 1) };
        format!("{tls}{hsts}{sources}{proxy}, h2c: {h2c}")
    });
    let page = proptest::option::of((quoted_text(), 200u16..=599)).prop_map(|page| {
        page.map_or_else(String::new, |(body, status)| {
            let body = body.replace("\\u0000", "n");
            format!(", maintenance: {{body: {body}, status: {status}, content_type: text/plain, retry_after: 1500ms}}")
        })
    });
    let page = page.prop_map(|page| page.replace("1500ms", "90s"));
    let heads =
        (proptest::option::of(select(HEADS)), proptest::option::of(select(HEADS))).prop_map(|(request, response)| {
            let heads = |key, heads: Option<&str>| heads.map_or_else(String::new, |heads| format!(", {key}: {heads}"));
            heads("request_headers", request) + &heads("response_headers", response)
        });
    let bounds = (
        some_of(&["handshake: 1s", "header: 1500ms", "body: 2m", "idle: 1h", "write: 1s", "tunnel: 1d"]),
        some_of(&[
            "connections: 9",
            "connections_per_source: 0",
            "handshakes: 1",
            "header_bytes: 1KiB, uri_bytes: 64B",
            "header_fields: 9",
            "body_bytes: 0B",
            "body_rate_min: 0B",
            "streams: 1",
            "rate: {requests: 5}",
        ]),
        maybe(&["rate: {per: {header: X-Key}, requests: 5, window: 1m, burst: 9}"]),
    );
    let bounds = bounds.prop_map(|(timeouts, limits, rate)| {
        let rate = if limits.contains("rate: ") { String::new() } else { rate };
        let body = |text: &str| text.trim_start_matches(", ").to_owned();
        format!(", timeouts: {{{}}}, limits: {{{}}}", body(&timeouts), body(&format!("{limits}{rate}")))
    });
    let otherwise =
        &["farm: FARM", "redirect: \"https://${host}${uri}\"", "redirect: {to: /, status: 308}", "reject: 503"];
    let otherwise = select(&otherwise[..]);
    (entry, page, heads, bounds, routes(rule().boxed(), action().boxed()), otherwise).prop_map(
        |(entry, page, heads, bounds, routes, otherwise)| format!("{entry}{page}{heads}{bounds}{routes}, {otherwise}"),
    )
}

fn tcp() -> impl Strategy<Value = String> {
    let bounds = maybe(&["timeouts: {handshake: 1s, session: 1h}, limits: {connections_per_source: 0, handshakes: 9}"]);
    let rule = prop_oneof![
        select(&["is", "contains", "startswith", "endswith"][..])
            .prop_map(|how| format!("field: host, match: {how}, pattern: A.example")),
        Just("field: protocol, match: in, pattern: [tls, http/2.0, imap]".to_owned()),
        source(),
    ];
    let action = select(&["farm: FARM", "farms: {FARM: 3OTHER}", "reject: true"][..]).prop_map(str::to_owned);
    let routes = routes(rule.boxed(), action.boxed());
    (tls(""), maybe(SOURCES), bounds, routes, any::<bool>()).prop_map(|(tls, sources, bounds, routes, has_farm)| {
        let farm = match (has_farm, routes.contains("name: ")) {
            (true, _) => ", farm: FARM",
            (false, true) => "",
            (false, false) => ", reject: true",
        };
        format!("{tls}{sources}{bounds}{routes}{farm}")
    })
}

fn routes(rule: BoxedStrategy<String>, action: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let rules = proptest::collection::vec((rule, any::<bool>()), 0..4);
    let routes = proptest::collection::vec((rules, action, any::<u8>()), 0..5);
    routes.prop_map(|routes| {
        let one = |rules: &[(String, bool)]| {
            let rules: Vec<_> = rules.iter().map(|(rule, negate)| format!("{{{rule}, negate: {negate}}}")).collect();
            rules.join(", ")
        };
        let routes: Vec<_> = (0..)
            .zip(&routes)
            .map(|(i, (rules, action, priority)): (usize, _)| {
                let rules = one(rules);
                format!("{{name: r{i}, priority: {priority}, rules: [{rules}], action: {{{action}}}}}")
            })
            .collect();
        format!(", routes: [{}]", routes.join(", "))
    })
}

fn source() -> impl Strategy<Value = String> {
    select(&["\"10.0.0.0/8, ::1\"", "[10.0.0.1, \"2001:db8::/32\"]", "10.0.0.9"][..])
        .prop_map(|pattern| format!("field: source, match: in, pattern: {pattern}"))
}

fn rule() -> impl Strategy<Value = String> {
    let text = "[!-~ ü]{1,9}".prop_map(|text| serde_json::to_string(&text.replace("${env:", "x")).unwrap());
    let list = proptest::collection::vec(text.clone(), 1..4).prop_map(|texts| format!("[{}]", texts.join(", ")));
    let how = prop_oneof![
        (select(&["is", "contains", "startswith", "endswith"][..]), text).prop_map(|(how, text)| (how, text)),
        list.prop_map(|list| ("in", list)),
        pattern().prop_map(|pattern| ("matches", pattern)),
    ];
    let named = select(&["param, name: \"a b\"", "header, sub_field: X-A", "cookie, name: \"Sid\""][..]);
    prop_oneof![
        (select(&["host", "uri", "param, name: \"a b\"", "header, sub_field: X-A"][..]), how)
            .prop_map(|(field, (how, pattern))| format!("field: {field}, match: {how}, pattern: {pattern}")),
        named.prop_map(|field| format!("field: {field}, match: exists")),
        Just("field: method, match: in, pattern: \"GET, PATCH\"".to_owned()),
        Just("field: protocol, match: is, pattern: https".to_owned()),
        source(),
    ]
}

fn action() -> impl Strategy<Value = String> {
    let heads = proptest::option::of(select(HEADS)).prop_map(|heads| {
        heads.map_or_else(String::new, |heads| format!(", request_headers: {heads}, response_headers: {heads}"))
    });
    let farms = select(&["farm: FARM", "farms: {FARM: 3OTHER}", "farms: {FARM: 1}"][..]);
    let rest = some_of(&["rewrite: {prefix: /api, with: /}", "mirror: {farm: FARM, share: 7%}"]);
    prop_oneof![
        (farms, rest, heads).prop_map(|(farms, rest, heads)| format!("{farms}{rest}{heads}")),
        select(
            &[
                "redirect: \"/new${arguments}\", status: 301",
                "redirect: \"https://${domain}:8443${uri}\"",
                "reject: 429",
                "reject: true"
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}
