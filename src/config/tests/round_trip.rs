//! The export loads as what it was made from, and nothing that is loaded makes the reader panic.

use proptest::prelude::*;
use proptest::sample::select;

use super::drawn::frontend;
use super::load;
use super::schema::{refusals, to_json};
use crate::config::to_yaml::live::live;
use crate::config::to_yaml::{aim_view, farm_view, probe_view};
use crate::config::{ExportError, Loaded, parse, to_yaml};
use crate::model::{BodyMatch, ProbeKind, Topology};

/// What lets a topology with commands and with names for ACME load; it is no part of an export.
const ADMIN: &str = "admin: {allow_commands: true, tokens: [{name: a, token: 0123456789abcdef}]}\n\
    state_dir: /s\nacme: {terms_agreed: true}\n";

pub(super) fn comes_back_equal(topology: &Topology) -> Result<(), TestCaseError> {
    let yaml = to_yaml(topology).map_err(|e| TestCaseError::fail(e.to_string()))? + ADMIN;
    let again = load(&yaml).map_err(|e| TestCaseError::fail(format!("{e}\n{yaml}")))?;
    prop_assert_eq!(&again.topology, topology, "{}", yaml);
    prop_assert_eq!(refusals(&to_json(&yaml)), Vec::<String>::new(), "{}", yaml);
    Ok(())
}

/// One of these texts, or none of them.
pub(super) fn maybe(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::option::of(select(texts)).prop_map(|text| text.map_or_else(String::new, |text| format!(", {text}")))
}

/// Several of these, in order.
pub(super) fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(texts, 0..=texts.len())
        .prop_map(|texts| texts.into_iter().map(|text| format!(", {text}")).collect())
}

/// Any text but the line breaks that no file may hold, as a double-quoted scalar.
pub(super) fn quoted_text() -> impl Strategy<Value = String> {
    let special =
        select(&["\r\n", "\n", " a ", "x\ty", "# no", "a: b", "'", "\"", "\\", "\u{feff}", "\u{7f}", "~", "\0"][..]);
    let texts =
        prop_oneof![any::<Vec<char>>().prop_map(String::from_iter), special.prop_map(str::to_owned), "[a-z ]{1,9}\r\n"];
    texts.prop_map(|text| {
        let text = text.replace(['\u{85}', '\u{2028}', '\u{2029}'], "x").replace("${env:", "x");
        serde_json::to_string(if text.is_empty() { "x" } else { &text }).unwrap()
    })
}

fn server() -> impl Strategy<Value = String> {
    let probe = prop_oneof![
        any::<bool>().prop_map(|probed| probed.to_string()),
        some_of(AIM).prop_map(|aim| format!("{{port: 7{aim}}}")),
    ];
    let fields = ("[a-z][a-z0-9._-]{0,5}", 1u16..=65535, any::<u16>(), any::<bool>(), probe, 0usize..3, 0usize..3);
    let own = some_of(&["max_connections: 7", "on_down: close"]);
    (fields, any::<bool>(), own, upstream()).prop_map(|(fields, has_cookie, own, upstream)| {
        let (name, port, weight, backup, probe, status, host) = fields;
        let status = ["active", "drain", "maintenance"][status];
        let address = format!("{}:{port}", ["10.0.0.1", "[2001:db8::1]", "origin.example.com"][host]);
        let cookie = if has_cookie { format!(", cookie: \"c!{name}=\"") } else { String::new() };
        format!(
            "{name}: {{address: \"{address}\", weight: {weight}, backup: {backup}, probe: {probe}, status: {status}{cookie}{own}{UPSTREAM}{upstream}{UPSTREAM}}}"
        )
    })
}

/// What stands around keys that a farm of datagrams cannot have.
const UPSTREAM: &str = "@";

/// How servers are spoken to.
fn upstream() -> impl Strategy<Value = String> {
    some_of(&["tls: {ca: a.pem, sni: s.example, cert: c, key: k}", "proxy_protocol: v2-ssl-cn"])
        .prop_union(some_of(&["tls: off", "proxy_protocol: none"]))
        .or(some_of(&["tls: {verify: false}", "proxy_protocol: v1"]))
        .or(some_of(&["tls: {ca: b.pem, verify: chain}"]))
}

const AIM: &[&str] = &[
    "address: 10.1.2.3",
    "host: \"h.example:81\"",
    "tls: true",
    "sni: s.example",
    "verify: true",
    "ca: /ca.pem",
    "proxy: v2",
    "source: 10.0.0.9",
];

fn servers() -> impl Strategy<Value = String> {
    proptest::collection::vec(server(), 0..5).prop_map(|servers| {
        let one = |(i, server): (usize, String)| format!("      s{i}{}\n", server.replace("\"c!", &format!("\"c{i}!")));
        let text: String = servers.into_iter().enumerate().map(one).collect();
        if text.is_empty() { "    servers: {}\n".to_owned() } else { format!("    servers:\n{text}") }
    })
}

pub(super) fn pattern() -> impl Strategy<Value = String> {
    "[a-z.*+|\\\\d]{1,8}".prop_map(|pattern| {
        let pattern = if regex::bytes::Regex::new(&pattern).is_ok() { pattern } else { "ok".to_owned() };
        serde_json::to_string(&pattern).unwrap()
    })
}

fn step() -> impl Strategy<Value = String> {
    let hex = proptest::collection::vec(any::<u8>(), 1..9)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>());
    let bytes = prop_oneof![
        (select(&["send", "expect"][..]), quoted_text()),
        (select(&["send_hex", "expect_hex"][..]), hex.prop_map(|hex| format!("\"{hex}\""))),
        (Just("matches"), pattern()),
    ];
    bytes.prop_map(|(key, text)| format!("{{{key}: {text}}}"))
}

/// A type with its own keys.
fn kind() -> impl Strategy<Value = String> {
    let tls = "sni: s.example, verify: false";
    prop_oneof![
        (quoted_text(), any::<bool>()).prop_map(|(text, negate)| {
            format!("type: tcp, port: 1, expect: {{contains: {text}, negate: {negate}}}")
        }),
        (pattern(), any::<bool>(), select(&["1", "2"][..])).prop_map(|(pattern, negate, version)| format!(
            "type: http, version: {version}, url: \"h.example/a?b\", \
             expect: {{status: \"200-299,404\", matches: {pattern}, negate: {negate}}}"
        )),
        Just("type: https, method: HEAD, host: \"a:1\", ca: /ca.pem, expect: {stopping: \"404,503\"}".to_owned()),
        (quoted_text(), some_of(&["proxy: v1", "source: \"::1\"", "address: \"::2\"", "port: 2"]))
            .prop_map(|(send, aim)| format!("type: agent, send: {send}{aim}").replace("\\u0000", "n")),
        (proptest::collection::vec(quoted_text(), 0..3)).prop_map(|args| {
            format!("type: command, program: /bin/a b, args: [{}]", args.join(", ").replace("\\u0000", "n"))
        }),
        (proptest::collection::vec(step(), 1..5), any::<bool>()).prop_map(move |(steps, is_tls)| {
            let tls = if is_tls { format!(", tls: true, {tls}") } else { String::new() };
            format!("type: exchange, steps: [{}]{tls}", steps.join(", "))
        }),
        maybe(&["service: a.b.C", "tls: true, ca: /ca.pem", "host: h.example"])
            .prop_map(|own| format!("type: grpc{own}")),
        maybe(&["hello: lb.example.com", "tls: true, sni: s.example"]).prop_map(|own| format!("type: smtp{own}")),
        maybe(&["user: \"a b\""]).prop_map(|own| format!("type: mysql{own}")),
        maybe(&["user: check"]).prop_map(|own| format!("type: pgsql{own}")),
        maybe(&["password: \"0\"", "password_file: /secret"]).prop_map(|own| format!("type: redis{own}")),
        select(
            &[
                "type: oco",
                "type: oco, port: 80",
                "type: tcp, tls: true, ca: /ca.pem",
                "type: ping",
                "type: ping, source: 10.0.0.1",
                "type: tls, verify: true",
                "type: tls, verify: chain, ca: /ca.pem"
            ][..]
        )
        .prop_map(str::to_owned),
    ]
}

fn probe() -> impl Strategy<Value = String> {
    let times =
        (proptest::array::uniform4(1u64..3_600_000), 1u16..=1000, 1u16..=1000, select(&["check", "up", "down"][..]));
    (kind(), times, 0usize..4).prop_map(|(kind, (mut times, rise, fall, start), pace)| {
        times.sort_unstable();
        let [timeout, fast, interval, down] = times;
        let pace = match pace {
            0 => String::new(),
            1 => format!(", fast_interval: {fast}ms, fall: {fall}"),
            2 => format!(", retry_interval: {fast}ms, retries: {}", fall - 1),
            _ => format!(", down_interval: {down}ms"),
        };
        format!("{{{kind}, interval: {interval}ms, timeout: {timeout}ms, rise: {rise}{pace}, start: {start}}}")
    })
}

/// `probe`, or `probes` and what goes with them, or nothing.
fn probes() -> impl Strategy<Value = String> {
    let several = (proptest::collection::vec(probe(), 1..4), maybe(&["quorum: 1"]), proptest::option::of(probe()));
    prop_oneof![
        Just(String::new()),
        probe().prop_map(|probe| format!("    probe: {probe}\n")),
        several.prop_map(|(probes, quorum, shadow)| {
            let named: String = probes.iter().enumerate().map(|(i, probe)| format!("      p{i}: {probe}\n")).collect();
            let is_counted = probes.iter().any(|probe| !probe.contains("type: agent"));
            let quorum = if quorum.is_empty() || !is_counted { "" } else { "    quorum: 1\n" };
            let shadow = shadow.map_or_else(String::new, |shadow| format!("    shadow: {shadow}\n"));
            format!("    probes:\n{named}{quorum}{shadow}")
        }),
    ]
}

/// The keys of a farm that say what happens when servers fail and leave.
fn guards() -> impl Strategy<Value = String> {
    const ALL: &[&[&str]] = &[
        &["observe: true", "observe: off", "observe: {errors: 9, count: [response], eject: 1h, share_max: 7%}"],
        &["slow_start: 30s", "slow_start: 1500ms"],
        &["flap: off", "flap: {transitions: 2, within: 90s, hold: 2h}", "flap: true"],
        &["incident: off", "incident: {share: 99%, hold: 1s}"],
        &["on_down: close", "on_down: keep"],
        &["drain: {deadline: 90s, at_deadline: keep}", "drain: {deadline: 0s}", "drain: {}"],
        &["reserve: 100%", "reserve: \"1%\""],
        &["fail_open: true", "fail_open: never", "fail_open: below 7", "fail_open: \"below 7%\""],
        &["stickiness: none", "stickiness: source", "stickiness: {source: {idle: 1d, clients_max: 9}}"],
    ];
    let one = |texts: &'static [&'static str]| proptest::option::of(select(texts));
    ALL.iter()
        .map(|texts| one(texts))
        .collect::<Vec<_>>()
        .prop_map(|chosen| chosen.into_iter().flatten().map(|text| format!("    {text}\n")).collect())
}

/// A cookie or a header field, which are for http farms only and take the place of other stickiness.
fn cookie() -> impl Strategy<Value = String> {
    const OWN: &[&str] = &["name: __Secure-a", "max_age: 1d", "http_only: false", "key: 0123456789abcdef"];
    let cookie = (some_of(OWN), select(&["lax", "strict", "none"][..])).prop_map(|(own, same_site)| {
        format!("    stickiness: {{cookie: {{secure: true, same_site: {same_site}{own}}}}}\n")
    });
    let header = some_of(&["idle: 1d", "clients_max: 9"])
        .prop_map(|own| format!("    stickiness: {{header: {{name: X-User{own}}}}}\n"));
    prop_oneof![cookie, header]
}

/// How work is spread, for a protocol: http, tcp or udp.
fn spread(protocol: usize) -> impl Strategy<Value = String> {
    const ALL: &[&str] = &["roundrobin", "leastconn", "first", "source", "random", "maglev", "ewma", "uri"];
    let balances = if protocol == 0 { ALL } else { &ALL[..6] };
    let keys: &[&str] = if protocol == 0 { &["source", "uri", "{header: X-User}"] } else { &["source"] };
    let lines: &'static [&'static str] = match protocol {
        0 => &[
            "http2: true",
            "reuse: {idle_max: 0, age_max: 1h, requests_max: 9, streams: 1, connections: 3}",
            "queue: {length: 0, timeout: 1500ms}",
        ],
        1 => &["queue: {length: 7}"],
        _ => &[],
    };
    let hash = (select(keys.to_vec()), proptest::option::of(101u16..=1000)).prop_map(|(key, load)| {
        let load = load.map_or_else(String::new, |load| format!(", load_max: {load}%"));
        format!("    hash: {{key: {key}{load}}}\n")
    });
    let lines = proptest::sample::subsequence(lines, 0..=lines.len());
    (select(balances.to_vec()), hash, lines, upstream()).prop_map(move |(balance, hash, lines, upstream)| {
        let hash = if balance == "maglev" { hash } else { String::new() };
        let lines: String = lines.into_iter().map(|line| format!("    {line}\n")).collect();
        let upstream = if protocol == 2 {
            String::new()
        } else {
            upstream.replace(", tls", "\n    tls").replace(", proxy", "\n    proxy")
        };
        format!("    balance: {balance}\n{hash}{lines}{upstream}\n")
    })
}

fn config() -> impl Strategy<Value = String> {
    let numbers =
        (0u8..=10, 10u64..600_000, select(&["", ", budget: off", ", budget: {share: 1%, per_second_min: 0}"][..]));
    let farm = (0usize..3).prop_flat_map(move |protocol| {
        let cookie = proptest::option::of(cookie()).prop_map(move |cookie| cookie.filter(|_| protocol == 0));
        let spread = spread(protocol);
        (cookie, Just(protocol), spread, probes(), servers(), numbers.clone(), guards(), frontend(protocol))
    });
    let farms = proptest::collection::vec(farm, 1..4);
    (farms, 1u64..1 << 53, 1u16..=65535).prop_map(|(farms, instance, low)| {
        let mut text = format!(
            "service: {{name: lb, addresses: [\"::1\"], api_ports: \"{low}-65535\", api_files: [/srv/tls], \
             api_sockets: [/run/app]}}\ninstance_id: {instance}\n{ADMIN}"
        );
        let mut frontends = String::from("frontends:\n");
        let mut all = String::from("farms:\n");
        let protocols: Vec<_> = farms.iter().map(|farm| farm.1).collect();
        for (i, (cookie, protocol, spread, probes, servers, numbers, guards, frontend)) in farms.into_iter().enumerate()
        {
            let (attempts, ms, budget) = numbers;
            let word = ["http", "tcp", "udp"][protocol];
            let of_same = |other: &usize| *other != i && protocols[*other] == protocol;
            let other = (0..protocols.len()).find(of_same).map_or_else(String::new, |other| format!(", f{other}: 5"));
            let frontend = frontend.replace("FARM", &format!("f{i}")).replace("OTHER", &other);
            frontends.push_str(&format!(
                "  in{i}: {{protocol: {word}, listen: [\"127.0.0.1:{}\"], trust: [\"10.0.0.0/8\"]{frontend}}}\n",
                i + 1,
            ));
            let is_kept = |line: &&str| cookie.is_none() || !line.contains("stickiness");
            let guards: String = guards.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
            let cookie = cookie.unwrap_or_default();
            let own: Vec<_> =
                servers.split(UPSTREAM).enumerate().filter(|(i, _)| protocol != 2 || i % 2 == 0).collect();
            let servers: String = own.into_iter().map(|(_, text)| text).collect();
            all.push_str(&format!(
                "  f{i}:\n    protocol: {word}\n{spread}{probes}    timeouts: {{connect: {ms}ms}}\n    \
                 retries: {{attempts: {attempts}{budget}}}\n{guards}{cookie}{servers}"
            ));
        }
        text.push_str(&frontends);
        text.push_str(&all);
        text
    })
}

/// Loads it as whoever keeps the secrets does.
fn load_with_secrets(text: &str) -> Result<Loaded, crate::config::ConfigErrors> {
    let env = |name: &str| match name {
        _ if !name.starts_with("FARMGATE_") => super::env(name),
        "FARMGATE_TOKEN" => super::env(name),
        _ if name.ends_with("URL_PATH") => Some("/0123456789abcdef".to_owned()),
        _ if name.ends_with("PASSWORD") => Some("0".to_owned()),
        _ => Some("0123456789abcdef".to_owned()),
    };
    parse("again.yaml", text, &env, &super::read_file)
}

#[test]
fn live_config_keeps_references_as_the_file_has_them_and_makes_one_for_what_stood_in_the_clear() {
    let text = "service: lb\nworkers: ${env:WEIGHT}\nadmin:\n  tokens:\n  - {name: a, token: \"${env:FARMGATE_TOKEN}\"}\n  \
        - {name: b, token_file: /secret}\n  - {name: c, token: 0123456789abcdef}\nlog: {level: 'info'}\n\
        tracing: {otlp: {url: 'http://127.0.0.1:4318/', headers: {x.key: '0123456789abcdef'}}}\n\
        webhooks: {w: {url: 'http://127.0.0.1:1/', secret: 0123456789abcdef}, \
        x: {url: 'http://127.0.0.1:2/0123456789abcdef', secret_file: /secret}}\n\
        frontends:\n  web: {protocol: http, listen: ['127.0.0.1:0'], farm: web, \
        request_headers: {set: {Authorization: \"Bearer ${env:FARMGATE_TOKEN}\", X-Api-Key: 0123456789abcdef, \
        X-Plain: plain}, add: {Cookie: [0123456789abcdef]}}}\n\
        farms:\n  web:\n    protocol: http\n    probe: {type: redis, password_file: /secret}\n    \
        stickiness: {cookie: {key: 0123456789abcdef}}\n    servers: {s: {address: '10.0.0.1:1', weight: \"${env:WEIGHT}\"}}\n";
    let loaded = load(text).unwrap();
    let written = live(&loaded.declared, &loaded.topology).unwrap();
    let paths: Vec<_> = written.variables.iter().map(|(name, path)| format!("{name}={path}")).collect();
    assert_eq!(
        paths,
        [
            "FARMGATE_FARMS_WEB_STICKINESS_COOKIE_KEY=farms.web.stickiness.cookie.key",
            "FARMGATE_FRONTENDS_WEB_REQUEST_HEADERS_SET_X_API_KEY=frontends.web.request_headers.set.X-Api-Key",
            "FARMGATE_FRONTENDS_WEB_REQUEST_HEADERS_ADD_COOKIE_0=frontends.web.request_headers.add.Cookie[0]",
            "FARMGATE_ADMIN_TOKENS_2_TOKEN=admin.tokens[2].token",
            "FARMGATE_TRACING_OTLP_HEADERS_X_KEY=tracing.otlp.headers.\"x.key\"",
            "FARMGATE_WEBHOOKS_W_SECRET=webhooks.w.secret",
            "FARMGATE_WEBHOOKS_X_URL_PATH=webhooks.x.url, what follows http://127.0.0.1:2",
        ]
    );
    for line in [
        "workers: ${env:WEIGHT}",
        "token: \"${env:FARMGATE_TOKEN}\"",
        "token_file: /secret",
        "password_file: /secret",
        "weight: \"${env:WEIGHT}\"",
        "Authorization: \"Bearer ${env:FARMGATE_TOKEN}\"",
        "key: \"${env:FARMGATE_FARMS_WEB_STICKINESS_COOKIE_KEY}\"",
        "level: \"info\"",
        "X-Plain: plain",
        "url: \"http://127.0.0.1:2${env:FARMGATE_WEBHOOKS_X_URL_PATH}\"",
    ] {
        assert!(written.yaml.contains(line), "{line} is not in\n{}", written.yaml);
    }
    let text = written.text("a test");
    assert!(text.starts_with("# a test\n# Secrets are not written here."), "{text}");
    assert!(!text.contains("0123456789abcdef"), "{text}");
    assert_eq!(load_with_secrets(&text).unwrap().settings, loaded.settings);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn live_config_loads_as_the_same_and_holds_no_secret(text in config()) {
        let loaded = load(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        let written = live(&loaded.declared, &loaded.topology).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let text = written.text("a test");
        prop_assert!(!text.contains("0123456789abcdef") && !text.contains("a-secret-of"), "{}", text);
        let again = load_with_secrets(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(&again.topology, &loaded.topology, "{}", text);
        prop_assert_eq!(&again.settings, &loaded.settings, "{}", text);
        let twice = live(&again.declared, &again.topology).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(twice.yaml, written.yaml);
        prop_assert_eq!(twice.variables, Vec::new(), "references are kept as they are");
    }

    #[test]
    fn export_loads_as_an_equal_topology(text in config()) {
        let loaded = load(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")));
        comes_back_equal(&loaded?.topology)?;
    }

    #[test]
    fn any_text_is_refused_or_read_and_never_panics(text in any::<String>()) {
        let _ = load(&text);
    }

    #[test]
    fn any_yaml_like_text_is_refused_or_read_and_never_panics(text in "([a-z]{1,3}|[ \n\t:,\\[\\]{}\"'&*!|>%@`#?~<-]){0,60}") {
        let _ = load(&text);
    }

    #[test]
    fn mutated_config_is_refused_or_read_and_never_panics(
        text in config(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..3, any::<char>(), "[ \n\t:,\\[\\]{}\"'&*!|>%#?~0-9-]"), 1..8),
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, kind, any, special) in edits {
            let at = at.index(chars.len());
            match kind {
                0 => chars[at] = any,
                1 => { chars.remove(at); }
                _ => chars.insert(at, special.chars().next().unwrap()),
            }
        }
        if let Ok(loaded) = load(&chars.iter().collect::<String>()) {
            match to_yaml(&loaded.topology) {
                Ok(_) => comes_back_equal(&loaded.topology)?,
                Err(ExportError::EnvText { .. }) => {}
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
        }
    }
}

#[test]
fn export_refuses_a_text_that_would_not_be_read_back_as_it_is() {
    let text = "service: lb\nfrontends: {}\n\
        farms: {f: {protocol: tcp, probe: {type: tcp, expect: {contains: x}}, servers: {}}}";
    let refusal = |contains: &str| {
        let mut topology = load(text).unwrap().topology;
        let mut farm = (*topology.farms[0]).clone();
        let mut probe = (**farm.main_probe().unwrap()).clone();
        if let ProbeKind::Tcp { banner, .. } = &mut probe.kind {
            *banner = Some(BodyMatch::Contains(contains.into()));
        }
        farm.probes = Box::new([probe.into()]);
        topology.farms[0] = farm.into();
        to_yaml(&topology).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("a ${env:HOME}"),
        "farms.f.probe.expect.contains: holds \"${env:\", which would be filled in on reading; change the text"
    );
    assert!(refusal("a\u{2028}").starts_with("farms.f.probe.expect.contains: holds the character '\\u{2028}'"));
}

#[test]
fn views_show_what_the_file_writes_and_no_secret() {
    let text = "service: lb\nfrontends: {}\nfarms: {f: {protocol: http, probe: {type: redis, password: hush, port: 7}, \
        shadow: {type: redis, password: hush}, stickiness: {cookie: {key: hushhushhushhush}}, \
        servers: {a: {address: \"h:1\", probe: {proxy: v1}}}}}";
    let farm = load(text).unwrap().topology.farms[0].clone();
    let view = serde_json::to_value(farm_view(&farm)).unwrap();
    let probe = serde_json::to_value(probe_view(&farm.probes[0])).unwrap();
    assert!(!view.to_string().contains("hush") && !probe.to_string().contains("hush"), "{view}");
    assert_eq!((&view["probe"], &probe["type"], &probe["port"]), (&probe, &"redis".into(), &7.into()));
    assert_eq!(view["stickiness"]["cookie"]["name"], "FGSRV");
    assert_eq!(serde_json::to_value(aim_view(&farm.servers[0].aim)).unwrap(), serde_json::json!({"proxy": "v1"}));
    assert_eq!(to_yaml(&load(text).unwrap().topology).unwrap().matches("hush").count(), 6, "an export has them");
}
