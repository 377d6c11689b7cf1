//! Every key of how a farm spreads its work and speaks to its servers reaches its place in the model.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::load;
use crate::model::{
    Balance, CertificateFiles, CookieRule, Farm, FarmId, HashKey, HashRule, Leftovers, Name, Protocol, ProxyOut,
    QueueRule, RetryBudget, Reuse, SameSite, ServerTls, Stickiness, Verify,
};

/// A farm of these keys, with the warnings of keys without effect.
fn farm(keys: &str) -> (Farm, Vec<String>) {
    let loaded = load(&format!("service: lb\nfrontends: {{}}\nfarms: {{f: {{{keys}}}}}\n"));
    let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
    let warnings = loaded.warnings.into_iter().filter(|text| text.contains("has no effect")).collect();
    ((*loaded.topology.farms[0]).clone(), warnings)
}

#[test]
fn farm_that_says_little_has_the_defaults_of_the_model() {
    for protocol in [Protocol::Http, Protocol::Tcp, Protocol::Udp] {
        let (short, _) = farm(&format!("protocol: {}, servers: {{}}", protocol.as_str()));
        let guards =
            Farm { flap: short.flap, incident: short.incident, ..Farm::new(FarmId(0), short.name.clone(), protocol) };
        assert_eq!(short, Farm { id: FarmId::derive(&Name::fixed("f")), ..guards });
    }
}

#[test]
fn balance_and_hash_reach_their_places() {
    let of = |keys: &str| {
        let (farm, warnings) = farm(&format!("protocol: http, servers: {{}}, {keys}"));
        (farm.balance, farm.hash, warnings.len())
    };
    let hash = |key, load_max| HashRule { key, load_max };
    assert_eq!(of("balance: random"), (Balance::Random, HashRule::default(), 0));
    assert_eq!(of("balance: ewma"), (Balance::Ewma, HashRule::default(), 0));
    assert_eq!(of("balance: maglev"), (Balance::Maglev, HashRule::default(), 0));
    let own = of("balance: maglev, hash: {key: {header: X-User}, load_max: 125%}");
    assert_eq!(own, (Balance::Maglev, hash(HashKey::Header("x-user".into()), Some(125)), 0));
    assert_eq!(of("balance: maglev, hash: {key: uri}"), (Balance::Maglev, hash(HashKey::Uri, None), 0));
    assert_eq!(of("balance: source, hash: {load_max: 1000%}"), (Balance::Source, hash(HashKey::Source, Some(1000)), 0));
    assert_eq!(of("balance: uri, hash: {key: uri}"), (Balance::Uri, HashRule::default(), 1), "its name says it");
    assert_eq!(of("balance: first, hash: {load_max: 125%}"), (Balance::First, HashRule::default(), 1));
}

#[test]
fn queue_retries_and_reuse_reach_their_places() {
    let seconds = Duration::from_secs;
    let (set, _) = farm(
        "protocol: http, servers: {}, http2: true, queue: {length: 0, timeout: 1s}, retries: {attempts: 1, budget: \
         {share: 5%, per_second_min: 0}}, reuse: {idle_max: 0, age_max: 1m, requests_max: 7, streams: 8, connections: 2}",
    );
    assert_eq!((set.http2, set.queue), (true, QueueRule { length: 0, timeout: seconds(1) }));
    assert_eq!((set.retry_attempts, set.retry_budget), (1, Some(RetryBudget { share: 5, per_second_min: 0 })));
    let reuse = Reuse { idle_max: 0, age_max: Some(seconds(60)), requests_max: Some(7), streams: 8, connections: 2 };
    assert_eq!(set.reuse, reuse);
    assert_eq!(farm("protocol: http, servers: {}, retries: {budget: off}").0.retry_budget, None);
    let (udp, warnings) = farm("protocol: udp, servers: {}, queue: {length: 1}, reuse: {streams: 1}");
    assert_eq!((udp.queue.length, udp.reuse, warnings.len()), (1000, Reuse::default(), 2));
}

#[test]
fn stickiness_is_a_word_or_a_header_field_too() {
    let of = |text: &str| farm(&format!("protocol: http, servers: {{}}, stickiness: {text}")).0.stickiness;
    let defaults = CookieRule {
        name: "FGSRV".into(),
        max_age: None,
        is_secure: false,
        is_http_only: true,
        same_site: SameSite::Lax,
        key: None,
    };
    assert_eq!(of("cookie"), Stickiness::Cookie(defaults));
    let header =
        |idle, clients_max| Stickiness::Header { name: "x-user".into(), idle: Duration::from_secs(idle), clients_max };
    assert_eq!(of("{header: X-User}"), header(1800, 100_000));
    assert_eq!(of("{header: {name: X-User, idle: 1m, clients_max: 7}}"), header(60, 7));
}

#[test]
fn tls_and_proxy_header_of_a_farm_stand_for_servers_that_say_nothing() {
    let (farm, _) = farm(
        "protocol: tcp, tls: {ca: ca.pem, sni: s.example, cert: c.pem, key: c.key}, proxy_protocol: v2-ssl, servers: \
         {short: 'h:1', long: {address: 'h:2'}, off: {address: 'h:3', tls: off, proxy_protocol: none}, \
         on: {address: 'h:4', tls: true, proxy_protocol: v1}, blind: {address: 'h:5', tls: {verify: false}}, \
         nameless: {address: 'h:6', tls: {ca: own.pem, verify: chain}}}",
    );
    let path = |text: &str| Arc::<Path>::from(Path::new(text));
    let full = ServerTls {
        ca: Some(path("ca.pem")),
        sni: Some("s.example".into()),
        verify: Verify::On,
        identity: Some(CertificateFiles { cert: path("c.pem"), key: path("c.key") }),
    };
    let bare = |verify| ServerTls { ca: None, sni: None, verify, identity: None };
    let found: Vec<_> = farm.servers.iter().map(|s| (s.tls.as_deref().cloned(), s.proxy_protocol)).collect();
    let want = [
        (Some(full.clone()), Some(ProxyOut::V2Ssl)),
        (Some(full), Some(ProxyOut::V2Ssl)),
        (None, None),
        (Some(bare(Verify::On)), Some(ProxyOut::V1)),
        (Some(bare(Verify::Off)), Some(ProxyOut::V2Ssl)),
        (Some(ServerTls { ca: Some(path("own.pem")), ..bare(Verify::Chain) }), Some(ProxyOut::V2Ssl)),
    ];
    assert_eq!(found, want);
}

#[test]
fn server_has_its_own_bound_and_its_own_leftovers() {
    let (farm, _) = farm(
        "protocol: http, on_down: keep, servers: {a: {address: 'h:1', max_connections: 7, on_down: close}, b: 'h:2'}",
    );
    assert_eq!((farm.servers[0].max_connections, farm.servers[0].on_down), (Some(7), Some(Leftovers::Close)));
    assert_eq!((farm.servers[1].max_connections, farm.servers[1].on_down), (None, None));
}

#[test]
fn server_may_be_a_unix_socket_where_nothing_needs_an_address() {
    let of = |keys: &str| load(&format!("service: lb\nfrontends: {{}}\nfarms: {{f: {{{keys}}}}}\n"));
    let (short, long) =
        (r#"a: "unix:/run/a.sock""#, r#"b: {address: "unix:/run/b.sock", probe: {address: 10.0.0.1, port: 80}}"#);
    let loaded = of(&format!("protocol: http, probe: {{type: http}}, servers: {{{short}, {long}}}")).unwrap();
    let servers = &loaded.topology.farms[0].servers;
    let paths: Vec<_> = servers.iter().map(|server| server.address.literal().unwrap().to_string()).collect();
    assert_eq!(paths, ["unix:/run/a.sock", "unix:/run/b.sock"]);
    for (keys, want) in [
        ("protocol: udp, servers: {SERVER}", "takes no datagrams"),
        ("protocol: tcp, probe: {type: ping}, servers: {SERVER}", "probe probe pings"),
        ("protocol: tcp, probe: {type: oco}, servers: {SERVER}", "probe probe goes to a port"),
        ("protocol: http, servers: {a: {address: \"unix:/run/a.sock\", tls: true}}", "no certificate names"),
        (
            "protocol: tcp, probe: {type: tcp}, servers: {a: {address: \"unix:/run/a.sock\", probe: {address: 10.0.0.1}}}",
            "without a port",
        ),
        ("protocol: tcp, servers: {a: \"unix:run/a.sock\"}", "is no path of a Unix socket"),
    ] {
        let errors = of(&keys.replace("SERVER", short)).unwrap_err().to_string();
        assert!(errors.contains(want) && errors.contains("1 error"), "{keys}: {errors}");
    }
}
