//! Any text at all in the place of a config file, and any pattern in the place of a rule's: refused with a place, or
//! read and given back equal.

use proptest::prelude::*;
use proptest::sample::select;

use crate::model::fuzz::{fuzz, like};

use super::load;
use super::round_trip::comes_back_equal;

/// Small files whose parts find one another.
const FILES: &[&str] = &[
    "service: it\nfrontends:\n  web: {protocol: http, listen: [\"127.0.0.1:0\"], farm: web}\nfarms:\n  web:\n    protocol: http\n    \
     probe: {type: http, url: /healthz}\n    servers: {a: {address: \"127.0.0.1:81\", weight: 3}}\n",
    "service: it\nworkers: 2\nfrontends:\n  db:\n    protocol: tcp\n    listen: [\"[::1]:5432\"]\n    farm: db\n    \
     limits: {connections: 10}\nfarms:\n  db: {protocol: tcp, balance: leastconn, servers: {a: {address: \"db:1\"}}}\n",
    "service: it\nfrontends:\n  web:\n    protocol: http\n    listen: [\"127.0.0.1:0\"]\n    farm: web\n    routes:\n      - name: r\n        \
     rules: [{field: host, match: matches, pattern: \"^a.b$\"}]\n        action: {redirect: \"https://${host}\"}\nfarms:\n  \
     web: {protocol: http, servers: {}}\n",
];
const PIECES: &[&[u8]] = &[
    b"\n",
    b": ",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b"#",
    b"&a ",
    b"*a",
    b"!!x ",
    b"|\n  ",
    b">-\n",
    b"---\n",
    b"\t",
    b"${",
    b"${env:X}",
    b"null",
    b"~",
    b"\xef\xbb\xbf",
    b"<<: ",
    b"web",
    b"999999999999999999999",
    b"1e9",
    b"%",
];

fn is_refused_with_places_or_comes_back(text: &str) -> Result<(), TestCaseError> {
    match load(text) {
        Ok(loaded) => comes_back_equal(&loaded.topology),
        Err(errors) => {
            prop_assert!(!errors.errors().is_empty());
            for error in errors.errors() {
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            }
            Ok(())
        }
    }
}

#[test]
fn any_text_is_refused_on_a_line_each_or_comes_back() {
    for text in FILES {
        load(text).unwrap_or_else(|errors| panic!("{errors}"));
    }
    let seeds = FILES.iter().map(|text| text.as_bytes().to_vec()).collect();
    fuzz(&like(seeds, PIECES), |bytes| is_refused_with_places_or_comes_back(&String::from_utf8_lossy(&bytes)));
}

#[test]
fn any_pattern_is_refused_with_its_place_or_comes_back() {
    let kinds = ["is", "contains", "startswith", "endswith", "matches", "in"];
    let fields = ["host", "uri", "method", "source", "header", "cookie", "param", "protocol"];
    let pieces: &[&[u8]] = &[
        b"(",
        b")",
        b"[",
        b"]",
        b"{1000}",
        b"{1000}{1000}",
        b"*",
        b"+?",
        b"|",
        b"\\",
        b"\\pL",
        b"(?i)",
        b"(?P<a>",
        b"^",
        b"$",
        b".",
        b"\\x{110000}",
        b"[[:alpha:]]",
        b"\\b",
        b"/",
        b"10.0.0.0/33",
        b"\0",
        b"\n",
        b"a, b",
        b"(?x",
    ];
    let seeds =
        ["^/api/v[0-9]+(/|$)", "a.example", "10.0.0.0/8", "GET", "(a|b)*c"].map(|text| text.as_bytes().to_vec());
    let drawn = (select(fields.to_vec()), select(kinds.to_vec()), any::<bool>(), like(seeds.into(), pieces));
    fuzz(&drawn, |(field, kind, is_negated, pattern)| {
        let pattern = serde_json::Value::from(String::from_utf8_lossy(&pattern));
        let key = if matches!(field, "header" | "cookie" | "param") { ", name: X-A" } else { "" };
        let pattern = if kind == "in" { format!("[{pattern}]") } else { pattern.to_string() };
        let text = format!(
            "service: it\nfrontends:\n  web:\n    protocol: http\n    listen: [\"127.0.0.1:0\"]\n    farm: web\n    routes:\n      - \
             {{name: r, rules: [{{field: {field}{key}, match: {kind}, negate: {is_negated}, pattern: {pattern}}}], \
             action: {{farm: web}}}}\nfarms:\n  web: {{protocol: http, servers: {{}}}}\n"
        );
        is_refused_with_places_or_comes_back(&text)
    });
}
