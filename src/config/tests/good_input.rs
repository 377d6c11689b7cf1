//! Every key of the file reaches its place in the model.

use std::time::Duration;

use super::load;
use crate::model::settings::{AdminTls, LogFormat, MetricsAccess};
use crate::model::{
    Access, AdminStatus, Balance, BodyMatch, FailOpen, Negate, ProbeKind, ProbeMethod, ProbeStart, Role, Weight,
};

/// The issue's own example, with the secret's file and the environment handed in.
const EVERYTHING: &str = r#"
service: {name: lb-demo, addresses: ["192.0.2.1", "2001:db8::1"], api_ports: "2000-3000"}
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
    let web = &topology.frontends[0];
    assert_eq!(
        (web.listen.len(), web.farm, web.trust[1].to_string()),
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
        (admin.tokens[0].access, admin.tokens[0].token.reveal()),
        (Access::Operate, "a-secret-of-a-good-length")
    );
    assert_eq!((admin.tokens[1].access, admin.tokens[1].token.reveal()), (Access::Read, "0123456789abcdef0123"));
    assert_eq!((admin.ovh[0].application_secret.reveal(), &*admin.zenlayer[0].id), ("as", "key-id"));
    let access = settings.log.access.unwrap();
    assert_eq!((&*settings.log.level, settings.log.format, access.format), ("debug", LogFormat::Json, LogFormat::Text));
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
fn warnings_name_what_is_probably_not_meant_in_file_order() {
    let text = r#"
service: lb
frontends: {db: {protocol: tcp, listen: ["127.0.0.1:1"], farm: db, trust: [], timeouts: {}}}
farms:
  db: {protocol: tcp, fail_open: true, servers: {a: "127.0.0.1:2", b: "127.0.0.1:2"}}
  idle: {protocol: tcp, servers: {a: {address: "127.0.0.1:2", weight: 0}}}
admin: {tokens: [{name: a, token: short}]}
"#;
    insta::assert_snapshot!(load(text).unwrap().warnings.join("\n"));
}
