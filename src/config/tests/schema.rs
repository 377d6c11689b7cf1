//! The JSON Schema takes what lowering takes, and knows the same keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::config::{keys, schema_json};

pub(super) fn to_json(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap()
}

pub(super) fn refusals(instance: &Value) -> Vec<String> {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema_json()).unwrap());
    VALIDATOR.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path)).collect()
}

#[test]
fn schema_accepts_the_conf_files() {
    for text in [include_str!("../../../conf/farmgate.yaml"), include_str!("../../../conf/minimal.yaml")] {
        assert_eq!(refusals(&to_json(text)), Vec::<String>::new());
    }
}

/// A file that has every section.
const EVERY_SECTION: &str = r#"
service: {name: lb}
frontends:
  web: {protocol: http, listen: ["127.0.0.1:1"], farm: web, timeouts: {}, limits: {rate: {requests: 1, per: {header: A}}},
        tls: {certificates: [{cert: a, key: b}]}, accept_proxy: {from: ["::1"]}, hsts: {}, maintenance: {},
        request_headers: {}, response_headers: {},
        routes: [{name: a, rules: [{field: uri, match: is, pattern: 5}],
                  action: {farm: web, rewrite: {prefix: /, with: /}, mirror: {farm: web}, request_headers: {}}}]}
  old: {protocol: http, listen: ["unix:/run/x"], redirect: {to: "https://${host}${uri}"}}
farms:
  web: {protocol: http, probe: {type: http, expect: {}}, timeouts: {}, retries: {budget: {}}, observe: {}, flap: {}, incident: {},
        drain: {}, stickiness: {cookie: {}}, shadow: {type: ping},
        tls: {ca: x}, hash: {key: {header: A}}, queue: {}, reuse: {},
        servers: {a: {address: "h:1", tls: {cert: a, key: b}}, b: {address: "h:1", probe: {port: 1}}}}
  db: {protocol: tcp, probes: {talk: {type: exchange, steps: [{send: x}]}}, stickiness: {source: {}}, servers: {}}
  api: {protocol: http, stickiness: {header: {name: A}}, servers: {}}
journal: {}
webhooks: {pager: {url: "https://h/", secret: x}}
admin:
  tls: {cert: a, key: b, client_ca: c, client_auth: optional}
  rate: {requests: 5}
  tokens: [{name: a, token: b}]
  ovh: {credentials: [{name: a, application_key: b, application_secret: c, consumer_key: d}]}
  zenlayer: {access_keys: [{name: a, id: b, secret: c}]}
log: {access: {path: a}}
tracing: {otlp: {url: "http://h/"}}
"#;

/// Where the sections of that file are.
const SECTIONS: &[&str] = &[
    "",
    "/service",
    "/frontends/web",
    "/frontends/web/timeouts",
    "/frontends/web/limits",
    "/frontends/web/limits/rate",
    "/frontends/web/limits/rate/per",
    "/frontends/web/tls",
    "/frontends/web/tls/certificates/0",
    "/frontends/web/accept_proxy",
    "/frontends/web/hsts",
    "/frontends/web/maintenance",
    "/frontends/web/request_headers",
    "/frontends/web/routes/0",
    "/frontends/web/routes/0/rules/0",
    "/frontends/web/routes/0/action",
    "/frontends/web/routes/0/action/rewrite",
    "/frontends/web/routes/0/action/mirror",
    "/frontends/web/routes/0/action/request_headers",
    "/frontends/old/redirect",
    "/farms/web",
    "/farms/web/probe",
    "/farms/web/probe/expect",
    "/farms/web/shadow",
    "/farms/web/observe",
    "/farms/web/flap",
    "/farms/web/incident",
    "/farms/web/drain",
    "/farms/web/stickiness",
    "/farms/web/stickiness/cookie",
    "/farms/web/servers/b/probe",
    "/farms/db/probes/talk",
    "/farms/db/probes/talk/steps/0",
    "/farms/db/stickiness/source",
    "/journal",
    "/webhooks/pager",
    "/farms/web/timeouts",
    "/farms/web/retries",
    "/farms/web/retries/budget",
    "/farms/web/tls",
    "/farms/web/hash",
    "/farms/web/hash/key",
    "/farms/web/queue",
    "/farms/web/reuse",
    "/farms/web/servers/a/tls",
    "/farms/api/stickiness/header",
    "/farms/web/servers/a",
    "/admin",
    "/admin/tls",
    "/admin/rate",
    "/admin/tokens/0",
    "/admin/ovh",
    "/admin/ovh/credentials/0",
    "/admin/zenlayer",
    "/admin/zenlayer/access_keys/0",
    "/log",
    "/log/access",
    "/tracing",
    "/tracing/otlp",
];

#[test]
fn schema_refuses_an_unknown_key_in_every_section() {
    let full = to_json(EVERY_SECTION);
    assert_eq!(refusals(&full), Vec::<String>::new());
    for at in SECTIONS {
        let mut with_extra = full.clone();
        with_extra.pointer_mut(at).unwrap()["unheard_of"] = json!(1);
        assert_ne!(refusals(&with_extra), Vec::<String>::new(), "{at}");
    }
}

#[test]
fn schema_holds_values_to_their_form_and_lets_the_environment_fill_them() {
    let with = |patch: &str| {
        let text = "{service: lb, frontends: {}, farms: {f: {protocol: tcp, servers: {a: {address: \"h:1\", PATCH}}}}}";
        refusals(&to_json(&text.replace("PATCH", patch)))
    };
    for good in [
        "weight: 0",
        "weight: 65535",
        "weight: \"${env:W}\"",
        "backup: true",
        "backup: \"${env:B:-true}\"",
        "status: drain",
    ] {
        assert_eq!(with(good), Vec::<String>::new(), "{good}");
    }
    for bad in ["weight: 65536", "weight: -1", "weight: \"1\"", "weight: null", "backup: maybe", "status: off"] {
        assert_ne!(with(bad), Vec::<String>::new(), "{bad}");
    }
    for bad in [
        "{service: LB, frontends: {}, farms: {}}",
        "{service: lb, farms: {}}",
        "{service: lb, frontends: {}, farms: {}, grace: 30}",
    ] {
        assert_ne!(refusals(&to_json(bad)), Vec::<String>::new(), "{bad}");
    }
}

#[test]
fn schema_holds_a_farm_to_its_forms() {
    let with = |patch: &str| {
        let text = "{service: lb, frontends: {}, farms: {f: {protocol: http, servers: {}, PATCH}}}";
        refusals(&to_json(&text.replace("PATCH", patch)))
    };
    for good in [
        "fail_open: true",
        "fail_open: below 2",
        "fail_open: \"below 50%\"",
        "fail_open: never",
        "observe: true",
        "observe: off",
        "observe: {count: [connect], share_max: 10%}",
        "flap: false",
        "incident: \"${env:GUARD}\"",
        "reserve: 50%",
        "stickiness: source",
        "stickiness: none",
        "drain: {deadline: 1d}",
        "probe: {type: http, version: 1.1}",
        "probe: {type: http, version: \"2\"}",
        "probe: {type: ping, source: \"::1\"}",
        "probe: {type: exchange, steps: [{send_hex: 0a FF}, {expect: ok}]}",
    ] {
        assert_eq!(with(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "fail_open: below",
        "fail_open: 2",
        "observe: maybe",
        "observe: {count: []}",
        "observe: {share_max: 10}",
        "flap: 10",
        "reserve: 50",
        "reserve: half",
        "stickiness: cookies",
        "stickiness: {}",
        "stickiness: {source: {}, cookie: {}}",
        "stickiness: {cookie: {key: a, key_file: b}}",
        "drain: {deadline: 10}",
        "on_down: drop",
        "probes: {}",
        "probes: {a: {type: ping}}, probe: {type: ping}",
        "probe: {type: http, version: 3}",
        "probe: {type: http, retries: 2, fall: 3}",
        "probe: {type: http, source: here}",
        "probe: {type: exchange, steps: []}",
        "probe: {type: exchange, steps: [{}]}",
        "probe: {type: exchange, steps: [{send: a, expect: b}]}",
        "probe: {type: exchange, steps: [{send_hex: 0a0}]}",
        "probe: {type: redis, password: a, password_file: b}",
    ] {
        assert_ne!(with(bad), Vec::<String>::new(), "{bad}");
    }
}

/// The schema's sections and their keys are exactly lowering's.
#[test]
fn schema_and_lowering_know_the_same_keys() {
    fn collect(name: &str, schema: &Value, out: &mut BTreeMap<String, BTreeSet<String>>) {
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], json!(false), "{name} refuses unknown keys");
            out.insert(name.to_owned(), properties.keys().cloned().collect());
        }
    }
    let schema = schema_json();
    let mut of_schema = BTreeMap::new();
    collect("File", &schema, &mut of_schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        collect(name, definition, &mut of_schema);
    }
    let of_lowering: BTreeMap<String, BTreeSet<String>> = keys::SECTIONS
        .iter()
        .map(|(name, keys)| ((*name).to_owned(), keys.iter().map(|k| (*k).to_owned()).collect()))
        .collect();
    assert_eq!(of_schema, of_lowering);
}
