//! The files under `conf/` load, show every key and write the defaults.

use std::collections::BTreeSet;

use super::{errors, load};
use crate::config::{keys, to_yaml};
use crate::model::Stickiness;

const FULL: &str = include_str!("../../../conf/farmgate.yaml");
const MINIMAL: &str = include_str!("../../../conf/minimal.yaml");

#[test]
fn conf_files_load_without_a_warning() {
    for text in [FULL, MINIMAL] {
        let loaded = load(text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

/// The whole file with its commented keys too.
pub(super) fn uncommented() -> String {
    let is_key = |line: &&str| {
        let line = line.trim_start();
        line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' ') || rest.starts_with("  "))
    };
    FULL.lines()
        .filter(|line| !line.contains("token: \"${env") && !line.contains("#matches"))
        .map(|line| if is_key(&line) { line.replacen('#', "", 1) } else { line.to_owned() } + "\n")
        .map(|line| line.replace("/run/secrets/", "/secret#").replace(" #", "  #"))
        .map(|line| match line.split_once("/secret#") {
            Some((before, _)) => format!("{before}/secret\n"),
            None => line,
        })
        .collect()
}

#[test]
fn conf_full_loads_with_its_commented_keys_too() {
    let text = uncommented();
    assert_eq!(errors(&text), Vec::<String>::new(), "{text}");
    let settings = load(&text).unwrap().settings;
    let admin = settings.admin.unwrap();
    assert_eq!((admin.tokens.len(), admin.ovh.len(), admin.zenlayer.len()), (1, 1, 1));
    assert!(admin.clients.is_some() && admin.holders.len() == 1);
    assert!(settings.state_dir.is_some() && settings.log.access.is_some() && admin.allow_commands);
    assert_eq!(settings.webhooks.len(), 1);
    assert!(settings.tracing.is_some_and(|tracing| tracing.otlp.is_some()));
    let topology = load(&text).unwrap().topology;
    let kinds: BTreeSet<_> =
        topology.farms.iter().flat_map(|farm| &farm.probes).map(|probe| probe.kind.as_str()).collect();
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    let ways: Vec<_> = topology.farms.iter().map(|farm| &farm.stickiness).collect();
    assert!(
        matches!(ways[..], [Stickiness::Cookie(_), Stickiness::Header { .. }, Stickiness::Source { .. }]),
        "{ways:?}"
    );
    let web = &topology.frontends[0];
    let tls = web.tls.as_ref().unwrap();
    assert_eq!((tls.certificates.len(), tls.acme.len(), tls.client_auth.is_some()), (1, 1, true));
    assert_eq!((web.routes.len(), web.farms().len(), web.limits.rate.is_some()), (3, 2, true));
    assert!(web.hsts.is_some() && web.maintenance.is_some() && !web.accept_proxy.is_empty());
    assert!(topology.farms[0].observe.is_some() && topology.farms[0].shadow.is_some());
}

#[test]
fn conf_full_shows_every_key() {
    for (_, keys) in keys::SECTIONS {
        for key in *keys {
            let is_shown = FULL.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ', '-']);
                line.starts_with(&format!("{key}:")) || line.contains(&format!("{key}: "))
            });
            assert!(is_shown, "{key}");
        }
    }
}

/// What conf/farmgate.yaml writes as a default is the default: a farm without those keys is the same farm.
#[test]
fn conf_full_writes_the_defaults() {
    let short = r#"
service: {name: lb-demo, addresses: ["192.0.2.10"]}
frontends:
  web: {protocol: http, listen: ["127.0.0.1:8080"], farm: web, trust: ["127.0.0.0/8", "::1"]}
  db: {protocol: tcp, listen: ["127.0.0.1:5432"], farm: db}
farms:
  web:
    protocol: http
    probe: {type: http, url: /healthz}
    servers:
      web-1: {address: "127.0.0.1:8081", weight: 100}
      web-2: {address: "127.0.0.1:8082", weight: 50}
      web-3: "127.0.0.1:8083"
  db:
    protocol: tcp
    balance: leastconn
    probes: {connect: {type: tcp, interval: 5s}}
    servers:
      db-1: "127.0.0.1:5433"
      db-2: {address: "127.0.0.1:5434", backup: true}
admin: {tokens: [{name: ops, role: operate, token: "${env:FARMGATE_TOKEN}"}]}
"#;
    let (short, full) = (load(short).unwrap(), load(FULL).unwrap());
    assert_eq!(short.settings, full.settings);
    assert_eq!(to_yaml(&short.topology).unwrap(), to_yaml(&full.topology).unwrap());
    assert_eq!(short.topology, full.topology);
}
