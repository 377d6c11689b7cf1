//! Every key of the file reaches its place in the model.

use std::path::Path;
use std::time::Duration;

use super::load;
use crate::model::settings::{AccessField, AccessFormat, Actions, AdminTls, CallRule, LogFormat, MetricsAccess};
use crate::model::{
    Access, AdminStatus, Aim, Balance, BodyMatch, CookieRule, DrainRule, Encryption, FailOpen, Farm, FlapGuard,
    HttpVersion, IncidentGuard, Leftovers, Name, Negate, Observe, Probe, ProbeKind, ProbeMethod, ProbeSlot, ProbeStart,
    ProxyHeader, Role, SameSite, Secret, Step, Stickiness, Verify, Weight,
};

/// The issue's own example, with the secret's file and the environment handed in.
const EVERYTHING: &str = r#"
service: {name: lb-demo, addresses: ["192.0.2.1", "2001:db8::1"], api_ports: "2000-3000",
  api_files: [/etc/tls, /srv/tls], api_sockets: [/run/app]}
instance_id: 7
zone: gra
workers: 4
state_dir: /var/lib/farmgate
grace: 5s
checks_at_once: 9
frontends:
  web: {protocol: http, listen: ["0.0.0.0:8080", "[::]:8080"], farm: web, trust: ["10.0.0.0/8", "192.0.2.1"],
        timeouts: {header: 1s, tunnel: 2h}, limits: {connections: 5, header_bytes: 8KiB, body_bytes: 0B}}
  db: {protocol: tcp, listen: ["0.0.0.0:5432"], farm: db}
farms:
  web:
    protocol: http
    balance: uri
    probe: {type: http, method: OPTIONS, url: "http://www.example.com/healthz", expect: {status: 204, contains: ok,
            negate: true}, interval: 500ms, rise: 1, fall: 1000, start: down, port: 81}
    timeouts: {connect: 250ms}
    retries: {attempts: 0}
    fail_open: true
    servers:
      web-1: {address: "10.0.0.11:8080", weight: 100}
      web-2: {address: "origin.example.com:80", weight: "${env:WEIGHT}", backup: true, probe: false, status: drain}
  db: {protocol: tcp, balance: leastconn, probe: {type: tcp, expect: {matches: "^ready"}}, servers: {db-1: "10.0.0.21:5432"}}
admin:
  listen: "0.0.0.0:9090"
  tls: auto
  metrics: open
  tokens: [{name: ops, role: operate, token_file: /secret}, {name: dash, token: "${env:FARMGATE_TOKEN}"}]
  ovh: {credentials: [{name: ci, role: read, application_key: ak, application_secret: as, consumer_key_file: /secret}]}
  zenlayer: {access_keys: [{name: ci, role: read, id: key-id, secret: key-secret}]}
log: {level: debug, format: json, access: {path: /var/log/access.log, format: text}}
"#;

#[test]
fn every_key_reaches_its_place_in_the_topology() {
    let loaded = load(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    let topology = &loaded.topology;
    let service = &topology.service;
    assert_eq!((service.name.as_str(), service.zone.as_str(), service.instance_id.0), ("lb-demo", "gra", 7));
    assert_eq!((service.addresses.len(), service.api_ports.clone()), (2, 2000..=3000));
    assert_eq!(service.api_files, [Path::new("/etc/tls"), Path::new("/srv/tls")]);
    assert_eq!(service.api_sockets, [Path::new("/run/app")]);
    let web = &topology.frontends[0];
    assert_eq!(
        (web.listen.len(), web.default_farm().unwrap(), web.trust[1].to_string()),
        (2, topology.farms[0].id, "192.0.2.1/32".into())
    );
    assert_eq!((web.timeouts.header, web.timeouts.body), (Duration::from_secs(1), Duration::from_secs(30)));
    assert_eq!((web.limits.header_bytes, web.limits.uri_bytes, web.limits.body_bytes), (8192, 8192, 0));
    let farm = &topology.farms[0];
    assert_eq!((farm.balance, farm.fail_open, farm.retry_attempts), (Balance::Uri, FailOpen::WhenAllDown, 0));
    assert_eq!((farm.timeouts.connect, farm.timeouts.idle), (Duration::from_millis(250), Duration::from_secs(60)));
    let server = &farm.servers[1];
    assert_eq!((server.weight, server.role, server.probed), (Weight(7), Role::Backup, false));
    assert_eq!((server.admin, server.address.to_string()), (AdminStatus::Drain, "origin.example.com:80".into()));
    assert_eq!(topology.farms[1].servers[0].weight, Weight::DEFAULT);
}

#[test]
fn every_key_reaches_its_place_in_the_probe() {
    let loaded = load(EVERYTHING).unwrap();
    let probe = loaded.topology.farms[0].main_probe().unwrap();
    assert_eq!((probe.interval, probe.timeout), (Duration::from_millis(500), Duration::from_millis(500)));
    assert_eq!((probe.rise, probe.fall, probe.start, probe.aim.port), (1, 1000, ProbeStart::Down, Some(81)));
    let ProbeKind::Http(http) = &probe.kind else { panic!("an http probe") };
    assert_eq!(
        (http.method, probe.aim.host.as_deref(), &*http.path),
        (ProbeMethod::Options, Some("www.example.com"), "/healthz")
    );
    assert_eq!((http.expect.status.to_string(), http.expect.negate), ("204".into(), Negate::Inverted));
    assert_eq!(http.expect.body, Some(BodyMatch::Contains("ok".into())));
    let ProbeKind::Tcp { banner: Some(banner), negate } = &loaded.topology.farms[1].main_probe().unwrap().kind else {
        panic!("a tcp probe with a banner")
    };
    assert_eq!((banner.is_in(b"ready"), banner.is_in(b"not ready"), *negate), (true, false, Negate::AsWritten));
}

#[test]
fn every_key_reaches_its_place_in_the_settings() {
    let settings = load(EVERYTHING).unwrap().settings;
    assert_eq!((settings.workers, settings.grace, settings.checks_at_once), (Some(4), Duration::from_secs(5), 9));
    assert_eq!(settings.state_dir.unwrap().to_str(), Some("/var/lib/farmgate"));
    let admin = settings.admin.unwrap();
    assert_eq!(
        (admin.listen.to_string(), admin.tls, admin.metrics),
        ("0.0.0.0:9090".into(), AdminTls::Auto, MetricsAccess::Open)
    );
    assert_eq!(
        (admin.tokens[0].grant.access, admin.tokens[0].token.reveal()),
        (Access::Operate, "a-secret-of-a-good-length")
    );
    assert_eq!((admin.tokens[1].grant.access, admin.tokens[1].token.reveal()), (Access::Read, "0123456789abcdef0123"));
    assert_eq!((admin.ovh[0].application_secret.reveal(), &*admin.zenlayer[0].id), ("as", "key-id"));
    let access = settings.log.access.unwrap();
    assert_eq!(access.fields, AccessField::usual());
    assert_eq!(
        (&*settings.log.level, settings.log.format, access.format),
        ("debug", LogFormat::Json, AccessFormat::Text)
    );
}

/// A farm of these keys.
fn farm(keys: &str) -> (Farm, Vec<String>) {
    let text = format!("service: lb\nfrontends: {{}}\nfarms: {{f: {{protocol: http, {keys}}}}}\n");
    let loaded = load(&text).unwrap_or_else(|e| panic!("{e}"));
    ((*loaded.topology.farms[0]).clone(), loaded.warnings)
}

fn probe(keys: &str) -> Probe {
    (*farm(&format!("servers: {{}}, probe: {{{keys}}}")).0.probes[0]).clone()
}

#[test]
fn every_type_of_probe_reads_its_own_keys() {
    let kind = |keys| probe(keys).kind;
    for (keys, want) in [
        ("type: tls", ProbeKind::Tls),
        ("type: ping", ProbeKind::Ping),
        ("type: oco", ProbeKind::Oco),
        ("type: grpc", ProbeKind::Grpc { service: "".into(), encryption: Encryption::None }),
        ("type: grpc, service: a.B, tls: true", ProbeKind::Grpc { service: "a.B".into(), encryption: Encryption::Tls }),
        ("type: smtp", ProbeKind::Smtp { hello: "localhost".into() }),
        ("type: smtp, hello: lb.example.com", ProbeKind::Smtp { hello: "lb.example.com".into() }),
        ("type: mysql", ProbeKind::Mysql { user: None }),
        ("type: mysql, user: check", ProbeKind::Mysql { user: Some("check".into()) }),
        ("type: pgsql", ProbeKind::Pgsql { user: "farmgate".into() }),
        ("type: pgsql, user: check", ProbeKind::Pgsql { user: "check".into() }),
        ("type: redis", ProbeKind::Redis { password: None }),
        ("type: redis, password: hush", ProbeKind::Redis { password: Some(Secret::new("hush")) }),
        (
            "type: redis, password_file: /secret",
            ProbeKind::Redis { password: Some(Secret::new("a-secret-of-a-good-length")) },
        ),
        ("type: agent", ProbeKind::Agent { send: "".into() }),
        ("type: agent, send: \"up\\n\"", ProbeKind::Agent { send: "up\n".into() }),
    ] {
        assert_eq!(kind(keys), want, "{keys}");
    }
    assert_eq!((probe("type: oco").aim.port, probe("type: oco, port: 80").aim.port), (None, Some(80)));
    assert_eq!((probe("type: oco").port_of(8080), probe("type: oco, port: 80").port_of(8080)), (79, 80));
}

#[test]
fn http_probe_in_tls_and_of_another_version_is_told_apart() {
    let http = |keys: &str| {
        let ProbeKind::Http(http) = probe(keys).kind else { panic!("an http probe") };
        (http.encryption, http.version, http.path.to_string(), http.expect.stopping.to_string())
    };
    let plain = (Encryption::None, HttpVersion::Http1, "/".to_owned(), String::new());
    assert_eq!(http("type: http"), plain);
    assert_eq!(http("type: http, version: 1.1"), plain);
    assert_eq!(http("type: http, version: 1"), plain);
    assert_eq!(
        http("type: https, url: \"https://a.example/b\", version: 2, expect: {stopping: 404}"),
        (Encryption::Tls, HttpVersion::Http2, "/b".to_owned(), "404".to_owned())
    );
    assert_eq!(probe("type: https, url: \"https://a.example/b\"").aim.host.as_deref(), Some("a.example"));
}

#[test]
fn exchange_takes_texts_as_yaml_gives_them_and_hex() {
    let probe = probe(
        "type: exchange, tls: true, steps: [{send: \"a\\r\\n\"}, {send: 'a\\r'}, {send_hex: 00 FF}, {expect: b}, \
         {expect_hex: 0d0a}, {matches: '^c'}]",
    );
    let ProbeKind::Exchange(exchange) = probe.kind else { panic!("an exchange") };
    let matches = BodyMatch::Matches(regex::bytes::Regex::new("^c").unwrap());
    assert_eq!(
        (exchange.encryption, exchange.steps.as_ref()),
        (
            Encryption::Tls,
            &[
                Step::Send(b"a\r\n"[..].into()),
                Step::Send(b"a\\r"[..].into()),
                Step::Send([0, 0xff][..].into()),
                Step::ExpectBytes(b"b"[..].into()),
                Step::ExpectBytes(b"\r\n"[..].into()),
                Step::ExpectMatch(matches),
            ][..]
        )
    );
}

#[test]
fn command_runs_only_where_the_admin_side_allows_it() {
    let farm = "{protocol: tcp, servers: {}, probe: {type: command, program: /bin/true, args: [a, '', \"{port}\"]}}";
    let with = |allow: &str| {
        let admin = format!("{{{allow}tokens: [{{name: a, token: 0123456789abcdef}}]}}");
        load(&format!("service: lb\nfrontends: {{}}\nfarms: {{f: {farm}}}\nadmin: {admin}\n"))
    };
    let loaded = with("allow_commands: true, ").unwrap();
    assert!(loaded.settings.admin.unwrap().allow_commands);
    let ProbeKind::Command(command) = &loaded.topology.farms[0].probes[0].kind else { panic!("a command") };
    assert_eq!((command.program.to_str(), &*command.args[2]), (Some("/bin/true"), "{port}"));
    for allow in ["", "allow_commands: false, "] {
        let why = with(allow).unwrap_err().to_string();
        assert!(why.contains("farms.f.probe.type: a command is not run unless admin says so"), "{why}");
        assert!(why.contains("write admin: {allow_commands: true}"), "{why}");
    }
}

#[test]
fn timing_of_keepalived_and_of_haproxy_say_the_same() {
    let times = |keys| {
        let probe = probe(keys);
        (probe.fall, probe.fast_interval, probe.down_interval, probe.timeout)
    };
    let ms = Duration::from_millis;
    assert_eq!(times("type: ping"), (3, None, None, ms(1000)));
    let want = (5, Some(ms(500)), None, ms(500));
    assert_eq!(times("type: ping, retries: 4, retry_interval: 500ms"), want);
    assert_eq!(times("type: ping, fall: 5, fast_interval: 500ms"), want);
    assert_eq!(times("type: ping, retries: 0, down_interval: 10s"), (1, None, Some(ms(10_000)), ms(1000)));
}

#[test]
fn aim_of_a_probe_and_of_a_server_are_read_alike() {
    let keys = "port: 81, address: 10.0.0.9, host: h.example, sni: s.example, verify: true, ca: /ca.pem, proxy: v2, \
                source: 10.0.0.1";
    let (farm, warnings) =
        farm(&format!("probe: {{type: https, {keys}}}, servers: {{a: {{address: \"h:1\", probe: {{{keys}}}}}}}"));
    assert_eq!((&farm.probes[0].aim, farm.servers[0].probed), (&farm.servers[0].aim, true));
    let want = Aim {
        port: Some(81),
        address: "10.0.0.9".parse().ok(),
        host: Some("h.example".into()),
        tls: None,
        sni: Some("s.example".into()),
        verify: Some(Verify::On),
        ca: Some(Path::new("/ca.pem").into()),
        proxy: Some(ProxyHeader::V2),
        source: "10.0.0.1".parse().ok(),
    };
    assert_eq!(farm.servers[0].aim, want);
    assert!(warnings.iter().all(|warning| warning.ends_with("no frontend feeds this farm; it is only checked")));
}

#[test]
fn check_of_a_server_inside_tls_verifies_as_its_traffic_does_unless_it_says_how() {
    let (farm, _) = farm(
        "probe: {type: http}, servers: {a: {address: \"h:1\", tls: {ca: own.pem, verify: chain}, probe: {tls: true}}, \
         b: {address: \"h:2\", tls: {ca: own.pem, sni: s.example}, probe: {tls: true, verify: false, sni: t.example}}, \
         c: {address: \"h:3\", tls: {verify: false}, probe: {proxy: v1}}, d: {address: \"h:4\", probe: {tls: false}}}",
    );
    let none = Aim::default();
    let tls = Aim { tls: Some(Encryption::Tls), ..Aim::default() };
    let ca = Some(Path::new("own.pem").into());
    let aims: Vec<_> = farm.servers.iter().map(|server| server.aim.clone()).collect();
    let want = [
        Aim { verify: Some(Verify::Chain), ca, ..tls.clone() },
        Aim { verify: Some(Verify::Off), sni: Some("t.example".into()), ..tls },
        Aim { proxy: Some(ProxyHeader::V1), ..none.clone() },
        Aim { tls: Some(Encryption::None), ..none },
    ];
    assert_eq!(aims, want);
}

#[test]
fn probe_is_inside_tls_where_its_type_or_key_or_server_says_so() {
    for (text, farms_own, inside, clear) in [
        ("type: http", false, true, false),
        ("type: https", true, true, false),
        ("type: tls", true, true, true),
        ("type: tcp", false, true, false),
        ("type: tcp, tls: false", false, true, false),
        ("type: tcp, tls: true, ca: /ca.pem, expect: {contains: x, negate: true}", true, true, false),
        ("type: smtp, tls: true, verify: false", true, true, false),
        ("type: mysql, tls: true", true, true, false),
        ("type: pgsql, tls: true", true, true, false),
        ("type: redis, tls: true", true, true, false),
        ("type: oco, tls: true", true, true, false),
        ("type: grpc, tls: true", true, true, false),
        ("type: agent", false, false, false),
        ("type: ping", false, false, false),
    ] {
        let probe = std::sync::Arc::new(probe(text));
        let of =
            |encryption| probe.aimed(&Aim { tls: Some(encryption), ..Aim::default() }).encryption() == Encryption::Tls;
        let found = (probe.encryption() == Encryption::Tls, of(Encryption::Tls), of(Encryption::None));
        assert_eq!(found, (farms_own, inside, clear), "{text}");
    }
}

#[test]
fn several_probes_keep_their_names_order_quorum_and_shadow() {
    let (farm, _) = farm("servers: {}, probes: {b: {type: ping}, a: {type: tcp}}, quorum: 1, shadow: {type: tls}");
    let names: Vec<_> = farm.probes_with_slots().map(|(slot, probe)| (slot, probe.name.as_str())).collect();
    assert_eq!(names, [(ProbeSlot(0), "b"), (ProbeSlot(1), "a"), (ProbeSlot::SHADOW, "shadow")]);
    assert_eq!((farm.quorum, probe("type: tcp").name.as_str()), (Some(1), "probe"));
}

#[test]
fn guards_of_a_farm_reach_their_places() {
    let seconds = Duration::from_secs;
    let (bare, _) = farm("servers: {}");
    let flap = FlapGuard { transitions: 10, within: seconds(300), hold: seconds(60) };
    assert_eq!((bare.flap, bare.incident), (Some(flap), Some(IncidentGuard { share: 60, hold: seconds(60) })));
    assert_eq!((bare.observe, bare.slow_start, bare.reserve, bare.quorum), (None, Duration::ZERO, 0, None));
    let keep = DrainRule { deadline: None, at_deadline: Leftovers::Close };
    assert_eq!((bare.on_down, bare.drain, &bare.stickiness), (Leftovers::Keep, keep, &Stickiness::None));
    let (set, _) = farm(
        "servers: {}, observe: {errors: 2, count: [status], eject: 10m, share_max: 0%}, slow_start: 30s, flap: off, \
         incident: {share: 80%}, on_down: close, drain: {deadline: 1d, at_deadline: keep}, reserve: 50%",
    );
    let observe = Observe {
        errors: 2,
        connect: false,
        status: true,
        response: false,
        eject: seconds(600),
        eject_max: seconds(600),
        share_max: 0,
    };
    assert_eq!((set.observe, set.flap), (Some(observe), None));
    assert_eq!((set.slow_start, set.incident.unwrap().share, set.reserve), (seconds(30), 80, 50));
    let drain = DrainRule { deadline: Some(seconds(86_400)), at_deadline: Leftovers::Keep };
    assert_eq!((set.on_down, set.drain), (Leftovers::Close, drain));
    let (on, _) = farm("servers: {}, observe: true, flap: true, incident: false");
    assert_eq!((on.observe.unwrap().errors, on.flap, on.incident), (5, Some(flap), None));
}

#[test]
fn fail_open_is_a_flag_a_word_or_a_bound() {
    for (text, want) in [
        ("true", FailOpen::WhenAllDown),
        ("all_down", FailOpen::WhenAllDown),
        ("false", FailOpen::Never),
        ("never", FailOpen::Never),
        ("below 2", FailOpen::Below(2)),
        ("\"below 50%\"", FailOpen::BelowShare(50)),
    ] {
        assert_eq!(
            farm(&format!("servers: {{}}, probe: {{type: ping}}, fail_open: {text}")).0.fail_open,
            want,
            "{text}"
        );
    }
}

#[test]
fn stickiness_is_none_by_address_or_by_cookie() {
    let of = |text: &str| farm(&format!("servers: {{}}, stickiness: {text}")).0.stickiness;
    let source = |idle, clients_max| Stickiness::Source { idle: Duration::from_secs(idle), clients_max };
    assert_eq!((of("none"), of("source")), (Stickiness::None, source(1800, 100_000)));
    assert_eq!(of("{source: {idle: 1m, clients_max: 7}}"), source(60, 7));
    let defaults = CookieRule {
        name: "FGSRV".into(),
        max_age: None,
        is_secure: false,
        is_http_only: true,
        same_site: SameSite::Lax,
        key: None,
    };
    assert_eq!(of("{cookie: {}}"), Stickiness::Cookie(defaults));
    let own = CookieRule {
        name: "__Host-s".into(),
        max_age: Some(Duration::from_secs(3600)),
        is_secure: true,
        is_http_only: false,
        same_site: SameSite::None,
        key: Some(Secret::new("a-secret-of-a-good-length")),
    };
    assert_eq!(
        of(
            "{cookie: {name: __Host-s, max_age: 1h, secure: true, http_only: false, same_site: none, key_file: /secret}}"
        ),
        Stickiness::Cookie(own)
    );
}

#[test]
fn journal_and_webhooks_reach_their_places() {
    let text = "service: lb\nfrontends: {}\nfarms: {}\n\
        journal: {timeline: 90d, history: 0s, size_max: 1GiB, evidence_per_server: 1}\n\
        webhooks: {pager: {url: \"https://h:8443/x\", secret_file: /secret, ca: /ca.pem, timeout: 1s, per_second_max: 3}, \
        near: {url: \"http://[::1]/\", secret: 0123456789abcdef}}\n";
    let loaded = load(text).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let (journal, webhooks) = (loaded.settings.journal, loaded.settings.webhooks);
    assert_eq!((journal.timeline, journal.history), (Duration::from_secs(90 * 86_400), Duration::ZERO));
    assert_eq!((journal.bytes_max, journal.evidence_per_server), (1 << 30, 1));
    let (pager, near) = (&webhooks[0], &webhooks[1]);
    assert_eq!((&*pager.name, &*pager.url, pager.per_second_max), ("pager", "https://h:8443/x", 3));
    assert_eq!((pager.secret.reveal(), pager.ca.as_deref()), ("a-secret-of-a-good-length", Some(Path::new("/ca.pem"))));
    assert_eq!((near.timeout, near.per_second_max, &near.ca), (Duration::from_secs(5), 10, &None));
}

#[test]
fn environment_never_becomes_structure() {
    let text = "service: \"${env:S}\"\nfrontends: {}\nfarms: {}\n";
    let evil = |_: &str| Some("lb\nworkers: 3".to_owned());
    let errors = super::parse("f.yaml", text, &evil, &super::read_file).unwrap_err().to_string();
    assert!(
        errors.starts_with("f.yaml:1:10 service: \"lb\\nworkers: 3\" (from \"${env:S}\") has a character outside"),
        "{errors}"
    );
}

#[test]
fn admin_side_without_tokens_warns_of_what_nobody_can_use() {
    let with = |admin: &str| {
        let keys = "ovh: {credentials: [{name: ci, application_key: k, application_secret: 0123456789abcdef, \
                    consumer_key: 0123456789abcdef}]}";
        load(&format!("service: lb\nfrontends: {{}}\nfarms: {{}}\nadmin: {{{keys}{admin}}}\n")).unwrap().warnings
    };
    let remedy = "write tokens: [{name: ops, role: operate, token_file: FILE}]";
    for (keys, what) in [
        ("", "/api/v1, /metrics and the command line"),
        (", tokens: []", "/api/v1, /metrics and the command line"),
        (", metrics: open", "/api/v1 and the command line"),
    ] {
        let want = format!("f.yaml:4:1 admin: nobody can use {what} without tokens; {remedy}");
        assert_eq!(with(keys), [want], "{keys}");
    }
    assert!(with(", tokens: [{name: a, token: 0123456789abcdef}]").is_empty());
}

#[test]
fn credentials_say_what_they_may_do_and_where() {
    let admin = |keys: &str| {
        let loaded = load(&format!("service: lb\nfrontends: {{}}\nfarms: {{}}\nadmin: {{{keys}}}\n")).unwrap();
        (loaded.settings.admin.unwrap(), loaded.warnings)
    };
    let secret = "0123456789abcdef";
    let (of, _) = admin(&format!(
        "tokens: [{{name: a, role: admin, farms: [web], token: {secret}}}, {{name: b, token: {secret}0}}], \
         ovh: {{credentials: [{{name: c, application_key: k, application_secret: {secret}, consumer_key: {secret}, \
         rules: [{{method: PUT, path: \"/ipLoadbalancing/*\"}}]}}], \
         applications: [{{name: d, role: operate, application_key: k2, application_secret: {secret}}}], \
         public_url: \"https://lb.example.com/api/1.0/\"}}, \
         zenlayer: {{access_keys: [{{name: e, role: operate, id: i, secret: {secret}, actions: [ModifyBackend]}}, \
         {{name: f, role: admin, id: j, secret: {secret}, actions: [\"*\"]}}, {{name: g, id: l, secret: {secret}}}]}}"
    ));
    let web = Name::parse("web").unwrap();
    assert_eq!((of.tokens[0].grant.access, of.tokens[0].grant.farms.as_deref()), (Access::Admin, Some(&[web][..])));
    assert_eq!((of.tokens[1].grant.access, of.tokens[1].grant.farms.as_deref()), (Access::Read, None));
    assert_eq!(of.ovh[0].rules, [CallRule::new("PUT", "/ipLoadbalancing/*").unwrap()]);
    assert_eq!(of.ovh_public_url.as_deref(), Some("https://lb.example.com/api/1.0"));
    assert_eq!((&*of.ovh_applications[0].key, of.ovh_applications[0].access), ("k2", Access::Operate));
    let actions: Vec<_> = of.zenlayer.iter().map(|key| key.actions.clone()).collect();
    assert_eq!(actions, [Actions::Listed(vec!["ModifyBackend".into()]), Actions::Every, Actions::Reads]);
    let (_, warnings) = admin(&format!(
        "tokens: [{{name: a, token: {secret}}}], zenlayer: {{access_keys: [{{name: e, id: i, secret: {secret}, actions: [X]}}]}}"
    ));
    assert!(warnings.iter().any(|warning| warning.contains("lists actions and may only read")), "{warnings:?}");
}

#[test]
fn warnings_name_what_is_probably_not_meant_in_file_order() {
    let text = r#"
service: lb
frontends: {db: {protocol: tcp, listen: ["127.0.0.1:1"], farm: db, trust: [], timeouts: {idle: 1s}}}
farms:
  db: {protocol: tcp, fail_open: true, servers: {a: "127.0.0.1:2", b: "127.0.0.1:2"}}
  idle: {protocol: tcp, servers: {a: {address: "127.0.0.1:2", weight: 0}}}
  odd: {protocol: http, probe: {type: grpc}, servers: {a: {address: "127.0.0.1:3", cookie: a, probe: {port: 5, sni: b}}}}
  told: {protocol: http, probe: {type: agent, port: 7}, servers: {a: {address: "127.0.0.1:4", probe: {port: 5, source: "127.0.0.1"}}}}
admin: {tokens: [{name: a, token: short}]}
webhooks: {pager: {url: "http://pager.example.com/", secret: short}}
"#;
    insta::assert_snapshot!(load(text).unwrap().warnings.join("\n"));
}

#[test]
fn access_log_has_the_fields_that_are_named_in_their_order() {
    let all: Vec<_> = AccessField::WORDS.iter().map(|(word, _)| *word).collect();
    for (written, want) in [
        ("[status, at]".to_owned(), vec![AccessField::Status, AccessField::At]),
        (format!("[{}]", all.join(", ")), AccessField::WORDS.iter().map(|(_, field)| *field).collect()),
    ] {
        let text = format!("service: s\nfrontends: {{}}\nfarms: {{}}\nlog: {{access: {{path: a, fields: {written}}}}}");
        assert_eq!(super::schema::refusals(&super::schema::to_json(&text)), Vec::<String>::new());
        assert_eq!(load(&text).unwrap().settings.log.access.unwrap().fields, want);
    }
}

#[test]
fn admin_side_knows_the_names_that_it_has() {
    let with = |hosts: &str| {
        load(&format!(
            "service: lb\nfrontends: {{}}\nfarms: {{}}\nadmin: {{{hosts}tokens: [{{name: a, token: 0123456789abcdef}}]}}\n"
        ))
    };
    let hosts = |hosts: &str| with(hosts).unwrap().settings.admin.unwrap().hosts;
    assert_eq!(hosts(""), []);
    assert_eq!(hosts("hosts: [lb.example, LB-2], "), ["lb.example".into(), Box::<str>::from("LB-2")]);
    for wrong in ["https://lb.example", "lb.example:9090", "''", "'*.example'"] {
        let why = with(&format!("hosts: [{wrong}], ")).unwrap_err().to_string();
        assert!(why.contains("admin.hosts[0]") && why.contains("without scheme and port"), "{why}");
    }
}
