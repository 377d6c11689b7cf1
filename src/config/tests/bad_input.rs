//! What a bad file is answered with: the snapshots are the messages, word for word, and are meant to be read.

use std::fmt::Write;

use super::{errors, load};

/// Compares with the snapshot, without repeating the rows in its head.
macro_rules! assert_answers {
    ($answers:expr) => {
        insta::with_settings!({omit_expression => true}, { insta::assert_snapshot!($answers) })
    };
}
pub(super) use assert_answers;

/// Puts each row where `PATCH` stands in the template and returns the rows with what they are answered.
pub(super) fn answers(template: &str, rows: &[&str]) -> String {
    let mut out = String::new();
    for row in rows {
        let answers = errors(&template.replace("PATCH", row));
        assert!(!answers.is_empty(), "accepted: {row}");
        writeln!(out, "{row}\n    {}", answers.join("\n    ")).unwrap();
    }
    out
}

#[test]
fn bad_file_as_a_whole() {
    assert_answers!(answers(
        "PATCH",
        &[
            "",
            "# only a comment",
            "just text",
            "[a, list]",
            "service: [lb",
            "service: 'lb",
            "a: b: c",
            "service: lb",
            "{}",
            "{service: lb, frontends: , farms: ~}",
            "{service: lb, frontends: {}, farms: {}}\n---\nservice: other",
        ],
    ));
}

#[test]
fn bad_top_level_keys() {
    assert_answers!(answers(
        "service: lb\nPATCH\nfrontends: {}\nfarms: {}\n",
        &[
            "worker: 4",
            "port: 80",
            "service: other",
            "instance_id: 0",
            "instance_id: -1",
            "instance_id: one",
            "instance_id: 99999999999999999999999999",
            "zone: Gra",
            "zone: ''",
            "workers: many",
            "workers: 257",
            "workers: \"4\"",
            "workers: 1.5",
            "workers: [auto]",
            "state_dir:",
            "state_dir: ''",
            "grace: 30",
            "grace: 25h",
            "grace: soon",
            "checks_at_once: 0",
            "limits: {memory: 1MiB}",
            "limits: {memory: lots, connections: 5}",
            "checks_at_once: '${env:UNSET}'",
            "checks_at_once: ${env:WORDS}",
            "grace: ${env:UNSET:-5}",
            "zone: ${env:UNSET",
            "log: {level: loud, format: xml, acess: {}}",
            "log: {access: {}}",
            "log: {access: {path: a, format: xml, fields: [at, at, weather]}}",
            "log: {access: {path: a, format: clf, fields: [at]}}",
            "log: {access: /var/log/access.log}",
            "farms: {}",
            "journal: 30d",
            "journal: {timelime: 30d}",
            "journal: {timeline: 30, history: 1y}",
            "journal: {size_max: 200MB, evidence_per_server: 0}",
            "webhooks: [pager]",
            "webhooks: {pager: 'https://pager.example.com/'}",
            "webhooks: {pager: {}}",
            "webhooks: {Pager: {url: 'https://h/', secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: pager.example.com, secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: 'ftp://h/', secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: 'https://user:hush@h/', secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: 'https://h:99999/', secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: 'https:///events', secret: 0123456789abcdef}}",
            "webhooks: {pager: {url: 'https://h/', secret: a, secret_file: /secret}}",
            "webhooks: {pager: {url: 'https://h/', secret_file: /nowhere, ca: /nowhere}}",
            "webhooks: {pager: {url: 'http://127.0.0.1/', secret: 0123456789abcdef, ca: /ca.pem}}",
            "webhooks: {pager: {url: 'https://h/', secret: 0123456789abcdef, timeout: 2m, per_second_max: 0}}",
        ],
    ));
}

#[test]
fn bad_service() {
    assert_answers!(answers(
        "PATCH\nfrontends: {}\nfarms: {}\n",
        &[
            "service: LB",
            "service: '123'",
            "service: [lb]",
            "service: {}",
            "service: {nam: lb}",
            "service: {name: lb, addresses: 192.0.2.1}",
            "service: {name: lb, addresses: [192.0.2.256, '192.0.2.1:80']}",
            "service: {name: lb, api_ports: 2000-1000}",
            "service: {name: lb, api_ports: 0-70000}",
            "service: {name: lb, api_files: [tls, /etc/../root, /], api_sockets: /run}",
        ],
    ));
}

#[test]
fn bad_frontends() {
    assert_answers!(answers(
        "service: lb\nfarms: {web: {protocol: http, servers: {}}, db: {protocol: tcp, servers: {}}}\nfrontends:\n  \
         one: {protocol: http, listen: [\"127.0.0.1:80\"], farm: web}\n  PATCH\n",
        &[
            "two: {}",
            "Two: {protocol: http, listen: ['127.0.0.1:81'], farm: web}",
            "two: {protocol: https, listen: ['127.0.0.1:81'], farm: web}",
            "two: {protocol: http, listen: '127.0.0.1:81', farm: web}",
            "two: {protocol: http, listen: [], farm: web}",
            "two: {protocol: http, listen: ['localhost:81', ':81', '127.0.0.1', '127.0.0.1:65536'], farm: web}",
            "two: {protocol: http, listen: ['127.0.0.1:80'], farm: web}",
            "two: {protocol: http, listen: ['[::1]:80', '[::1]:80'], farm: web}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: wbe}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: somewhere}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: db}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, trust: [localhost, 10.0.0.0/33]}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, timeouts: {header: 1ms, idl: 1s, tunnel: 8760h}}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, timeouts: 30s}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, limits: {header_bytes: 65536, body_bytes: 100MB}}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, limits: {header_bytes: 1KiB, uri_bytes: 2KiB}}",
            "two: {protocol: http, listen: ['127.0.0.1:81'], farm: web, limits: {connections: 0, header_bytes: 1GiB}}",
            "one: {protocol: http, listen: ['127.0.0.1:81'], farm: web}",
        ],
    ));
}

#[test]
fn bad_farms() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  PATCH\n",
        &[
            "web:",
            "web: {}",
            "'80': {protocol: http, servers: {}}",
            "a b: {protocol: http, servers: {a: nowhere}}",
            "web: {protocol: http, balance: rnadom, servers: {}}",
            "web: {protocol: tcp, balance: uri, servers: {}}",
            "web: {protocol: http, servers: {}, timeouts: {connect: 0s, response: 1.5s, idle: '10'}}",
            "web: {protocol: http, servers: {}, retries: 3}",
            "web: {protocol: http, servers: {}, retries: {attempts: 11}}",
            "web: {protocol: http, servers: {}, fail_open: yes}",
            "web: {protocol: http, servers: {}, fail_open: 'true'}",
            "web: {protocol: http, servers: ['10.0.0.1:80']}",
            "web: {protocol: http, servers: {a: 10.0.0.1}}",
            "web: {protocol: http, servers: {a: '10.0.0.1:0', b: '10.0.0.256:80', c: 'http://x:80', d: }}",
            "web: {protocol: http, servers: {a: {adress: '10.0.0.1:80'}}}",
            "web: {protocol: http, servers: {a: {address: 'x:80', weight: 70000}}}",
            "web: {protocol: http, servers: {a: {address: 'x:80', weight: '100'}}}",
            "web: {protocol: http, servers: {a: {address: 'x:80', weight: heavy}}}",
            "web: {protocol: http, servers: {a: {address: 'x:80', status: up, backup: 1, probe: []}}}",
            "web: {protocol: http, servers: {a: 'x:80', a: 'y:80'}}",
            "web: {protocol: http, servers: &s {a: 'x:80'}}",
            "web: {protocol: http, servers: {<<: {a: 'x:80'}}}",
        ],
    ));
}

#[test]
fn bad_probes() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, probe: PATCH}\n",
        &[
            "true",
            "{}",
            "{type: udp}",
            "{type: http, method: POST}",
            "{type: http, url: healthz}",
            "{type: http, url: 'https://www.example.com/'}",
            "{type: http, url: '/a b'}",
            "{type: http, url: a.example/x, host: b.example}",
            "{type: http, host: 'a b'}",
            "{type: tcp, url: /healthz, expect: {status: 200}}",
            "{type: http, port: 0}",
            "{type: http, interval: 0s}",
            "{type: http, interval: 2h}",
            "{type: http, interval: 1s, timeout: 2s}",
            "{type: http, rise: 0, fall: 1001}",
            "{type: http, start: maybe}",
            "{type: http, expect: {status: 2xx}}",
            "{type: http, expect: {status: 600}}",
            "{type: http, expect: {contains: ok, matches: ok}}",
            "{type: http, expect: {contains: ''}}",
            "{type: http, expect: {contains: '\u{2028}'}}",
            "{type: http, expect: {matches: '(a'}}",
            "{type: http, expect: {matches: '(?=a)'}}",
            "{type: http, expect: {matches: '((a{100}){100}){100}'}}",
            "{type: http, method: HEAD, expect: {contains: ok}}",
            "{type: http, expect: {negate: true}}",
            "{type: tcp, expect: {negate: true}}",
        ],
    ));
}

#[test]
fn bad_probe_keys_of_a_type() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, probe: PATCH}\n",
        &[
            "{type: https, url: 'http://www.example.com/'}",
            "{type: https, url: 'ftp://www.example.com/'}",
            "{type: http, version: 3}",
            "{type: http, sni: www.example.com, verify: false, ca: /ca.pem}",
            "{type: https, sni: 'www.example.com:443'}",
            "{type: tls, verify: maybe}",
            "{type: tls, verify: false, ca: /ca.pem}",
            "{type: tls, verify: chain}",
            "{type: http, tls: true}",
            "{type: smtp, sni: www.example.com, verify: false}",
            "{type: smtp, tls: maybe}",
            "{type: agent, tls: true}",
            "{type: tls, verify: 'true'}",
            "{type: tls, ca: /nowhere}",
            "{type: tls, ca: /secret}",
            "{type: tls, ca: ''}",
            "{type: ping, port: 80, proxy: v1}",
            "{type: tcp, proxy: v3}",
            "{type: tcp, address: localhost, source: '127.0.0.1:0'}",
            "{type: tcp, address: '10.0.0.1', source: '::1'}",
            "{type: tcp, expect: {stopping: 404}}",
            "{type: http, expect: {status: '200-404', stopping: 404}}",
            "{type: http, expect: {status: 200, stopping: 404, negate: true}}",
            "{type: http, expect: {stopping: 4xx}}",
            "{type: grpc, service: \"a\\nb\"}",
            "{type: grpc, sni: www.example.com}",
            "{type: smtp, hello: 'a b'}",
            "{type: smtp, user: root}",
            "{type: mysql, user: '', password: hush}",
            "{type: redis, password: 'hush hush'}",
            "{type: redis, password: hush, password_file: /secret}",
            "{type: redis, password_file: /empty}",
            "{type: exchange}",
            "{type: exchange, steps: []}",
            "{type: exchange, steps: {send: a}}",
            "{type: exchange, steps: [send]}",
            "{type: exchange, steps: [{}, {send: a, expect: b}, {sned: a}]}",
            "{type: exchange, steps: [{send: ''}, {send_hex: 0x0a}, {expect_hex: abc}, {matches: '('}]}",
            "{type: agent, send: [up]}",
            "{type: command, program: check}",
            "{type: command, program: /bin/true, args: /}",
            "{type: command, source: '10.0.0.1'}",
        ],
    ));
}

#[test]
fn bad_probe_timing() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, probe: {type: http, PATCH}}\n",
        &[
            "fast_interval: 0s, down_interval: 2h",
            "fast_interval: 500ms, timeout: 1s",
            "retry_interval: 500ms, timeout: 1s",
            "down_interval: 500ms, timeout: 1s",
            "retries: 2, fall: 3",
            "retry_interval: 1s, fast_interval: 1s",
            "retries: 1000",
            "retries: -1",
        ],
    ));
}

#[test]
fn bad_probes_of_a_farm() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, PATCH}\n",
        &[
            "probe: {type: ping}, probes: {a: {type: ping}}",
            "probes: {}",
            "probes: [{type: ping}]",
            "probes: {A: {type: ping}}",
            "probes: {shadow: {type: ping}}",
            "probes: {a: {type: http, url: x}, b: {interval: 1s}}",
            "quorum: 1",
            "probe: {type: ping}, quorum: 0",
            "probe: {type: ping}, quorum: 17",
            "probes: {a: {type: ping}, b: {type: agent}}, quorum: 2",
            "shadow: true",
        ],
    ));
    let many: String = (0..17).map(|i| format!("p{i}: {{type: ping}}, ")).collect();
    let text =
        format!("service: lb\nfrontends: {{}}\nfarms: {{f: {{protocol: tcp, servers: {{}}, probes: {{{many}}}}}}}");
    assert_eq!(errors(&text), ["f.yaml:3:49 farms.f.probes: 17 probes are more than 16; write fewer"]);
}

#[test]
fn bad_guards_of_a_farm() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, PATCH}\n",
        &[
            "observe: maybe",
            "observe: {errors: 0, share_max: 10}",
            "observe: {share_max: 101%}",
            "observe: {count: status}",
            "observe: {count: []}",
            "observe: {count: [timeout]}",
            "observe: {eject: 1m, eject_max: 30s}",
            "observe: {eject: 500ms}",
            "slow_start: 2h",
            "flap: 10",
            "flap: {transitions: 1, within: 0s, hold: 2d}",
            "incident: {share: 0%, hold: 0s}",
            "incident: {share: most}",
            "on_down: drop",
            "drain: 10m",
            "drain: {deadline: 31d, at_deadline: drop}",
            "reserve: 50",
            "reserve: '50'",
            "reserve: 200%",
            "fail_open: below",
            "fail_open: 'below two'",
            "fail_open: 'below 0'",
            "fail_open: 'below 101%'",
            "fail_open: 'below -1'",
            "fail_open: {below: 2}",
        ],
    ));
}

#[test]
fn bad_stickiness() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, servers: {}, stickiness: PATCH}\n",
        &[
            "cookies",
            "true",
            "{}",
            "{source: }",
            "{source: {}, cookie: {}}",
            "{source: {idle: 0s, clients_max: 0}}",
            "{cookie: FGSRV}",
            "{cookie: {name: 'a b'}}",
            "{cookie: {name: __Host-srv}}",
            "{cookie: {max_age: 0s}}",
            "{cookie: {same_site: none}}",
            "{cookie: {same_site: Lax, http_only: 1}}",
            "{cookie: {key: hush}}",
            "{cookie: {key_file: /short}}",
            "{cookie: {key_file: /nowhere}}",
            "{cookie: {key: 0123456789abcdef, key_file: /secret}}",
        ],
    ));
}

#[test]
fn bad_farm_of_raw_connections() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  db: {protocol: tcp, servers: {}, PATCH}\n",
        &["stickiness: {cookie: {}}", "observe: {count: [status]}"],
    ));
}

#[test]
fn bad_servers() {
    assert_answers!(answers(
        "service: lb\nfrontends: {}\nfarms:\n  web: {protocol: http, stickiness: {cookie: {}}, servers: {PATCH}}\n",
        &[
            "a: {address: 'x:80', probe: maybe}",
            "a: {address: 'x:80', probe: {type: http}}",
            "a: {address: 'x:80', probe: {port: 0, host: 'a b', sni: '', proxy: v2-ssl}}",
            "a: {address: 'x:80', probe: {address: 'x:80', source: any}}",
            "a: {address: 'x:80', probe: {verify: 1, ca: /nowhere}}",
            "a: {address: 'x:80', cookie: ''}",
            "a: {address: 'x:80', cookie: 'a;b'}",
            "a: {address: 'x:80', cookie: one}, b: {address: 'y:80', cookie: one}",
        ],
    ));
}

#[test]
fn bad_admin() {
    assert_answers!(answers(
        "service: lb\nfrontends: {web: {protocol: http, listen: ['127.0.0.1:80'], farm: web}}\n\
         farms: {web: {protocol: http, servers: {a: 'x:80'}}}\nadmin: PATCH\n",
        &[
            "true",
            "{}",
            "{tokens: []}",
            "{ovh: {credentials: []}, zenlayer: {access_keys: []}}",
            "{listen: '0.0.0.0:9090', tokens: [{name: a, token: 0123456789abcdef}]}",
            "{listen: '127.0.0.1:80', tokens: [{name: a, token: 0123456789abcdef}]}",
            "{tls: on, metrics: closed, tokens: [{name: a, token: 0123456789abcdef}]}",
            "{tls: {cert: a.pem}, tokens: [{name: a, token: 0123456789abcdef}]}",
            "{tokens: {ops: token}}",
            "{tokens: [{name: a, role: root, token: ''}]}",
            "{tokens: [{name: a, farms: [Web, 7], token: 0123456789abcdef}]}",
            "{ovh: {}}",
            "{ovh: {applications: [{name: a, application_key: k}]}}",
            "{ovh: {public_url: lb.example.com/1.0}, tokens: [{name: a, token: 0123456789abcdef}]}",
            "{ovh: {credentials: [{name: a, application_key: k, application_secret: 0123456789abcdef, \
             consumer_key: 0123456789abcdef, rules: [{method: PATCH, path: /x}, {method: GET, path: x}, {}]}]}}",
            "{zenlayer: {access_keys: [{name: a, id: i, secret: 0123456789abcdef, actions: [Modify-Backend]}]}}",
            "{tokens: [{token: 0123456789abcdef}, {name: a}]}",
            "{tokens: [{name: a, token: 'two words'}]}",
            "{tokens: [{name: a, token: [secret]}]}",
            "{tokens: [{name: a, token: 0123456789abcdef, token_file: /secret}]}",
            "{tokens: [{name: a, token_file: /nowhere}]}",
            "{tokens: [{name: a, token_file: /empty}]}",
            "{tokens: [{name: a, token: 0123456789abcdef}, {name: a, token: 0123456789abcdeg}]}",
            "{tokens: [{name: a, token: 0123456789abcdef}, {name: b, token: 0123456789abcdef}]}",
            "{ovh: {credentials: [{name: a, application_key: ak}]}}",
            "{ovh: {credentials: [{name: a, application_key: k, application_secret: s, consumer_key: c}, \
             {name: b, application_key: k, application_secret: s, consumer_key: c}]}}",
            "{ovh: {}, zenlayer: {}}",
            "{allow_commands: on, tokens: [{name: a, token: 0123456789abcdef}]}",
            "{zenlayer: {access_keys: [{name: a, id: i, secret: s}, {name: b, id: i, secret: t}]}}",
        ],
    ));
}

#[test]
fn many_errors_of_one_file_are_reported_together_in_file_order() {
    let text = r#"
service: LB
workers: 0
frontends:
  web: {protocol: http, listen: ["0.0.0.0:8080"], farm: api, trust: [everybody]}
farms:
  web:
    protocol: http
    balanse: first
    probe: {type: http, interval: 1s, timeout: 2}
    servers:
      a: {address: "10.0.0.11:8080", weight: 70000}
      b: {address: "10.0.0.12"}
    servers: {}
admin: {listen: "0.0.0.0:9090"}
"#;
    assert_answers!(load(text).unwrap_err());
}

#[test]
fn default_address_of_the_admin_side_is_nobody_elses() {
    let with = |admin: &str| {
        errors(&format!(
            "service: lb\nfrontends: {{web: {{protocol: http, listen: ['127.0.0.1:9090'], farm: web}}}}\n\
             farms: {{web: {{protocol: http, servers: {{a: 'x:80'}}}}}}\n\
             admin: {{{admin}tokens: [{{name: a, token: 0123456789abcdef}}]}}\n"
        ))
    };
    assert_eq!(
        with(""),
        ["f.yaml:4:1 admin: listens on 127.0.0.1:9090 by default, which is taken by frontends.web.listen[0] at 2:44; \
          write another as listen"]
    );
    assert!(with("listen: '127.0.0.1:9090', ")[0].contains("is taken by frontends.web.listen[0] at 2:44"));
}

#[test]
fn no_message_shows_a_secret() {
    let admin = "tokens: [{name: a, token: 'hush hush'}], ovh: {credentials: [{name: a, application_key: k, \
        application_secret: 'hush hush', consumer_key: {hush: hush}}]}, zenlayer: {access_keys: [{name: a, id: i, \
        secret: 'hush hush'}]}";
    let text = format!("service: lb\nfrontends: {{}}\nfarms: {{}}\nadmin: {{{admin}}}\n");
    let answers = errors(&text);
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(!answers.iter().any(|answer| answer.contains("hush")), "{answers:?}");
    for (key, text) in [
        ("probe", "{type: redis, password: 'hush hush'}"),
        ("probe", "{type: redis, password: [hush]}"),
        ("stickiness", "{cookie: {key: hush}}"),
        ("stickiness", "{cookie: {key: 'hush hush hush hush'}}"),
    ] {
        let text =
            format!("service: lb\nfrontends: {{}}\nfarms: {{f: {{protocol: http, servers: {{}}, {key}: {text}}}}}");
        let answers = errors(&text);
        assert!(answers.len() == 1 && !answers[0].contains("hush"), "{answers:?}");
    }
    for misplaced in ["tokens: hush", "tokens: [hush]", "ovh: hush", "zenlayer: {access_keys: [hush]}"] {
        let answers = errors(&format!("service: lb\nfrontends: {{}}\nfarms: {{}}\nadmin: {{{misplaced}}}\n"));
        assert!(answers.len() == 1 && !answers[0].contains("hush"), "{answers:?}");
    }
}

#[test]
fn oversized_file_is_refused_before_it_is_read() {
    let text = " ".repeat(crate::config::FILE_BYTES_MAX + 1);
    assert_eq!(errors(&text), ["f.yaml: is larger than 16 MiB"]);
}

#[test]
fn endless_lists_and_long_keys_stay_bounded() {
    let servers: String = (0..20_000).map(|i| format!("s{i}: 5, ")).collect();
    let text = format!("service: lb\nfrontends: {{}}\nfarms: {{web: {{protocol: http, servers: {{{servers}}}}}}}");
    let error = load(&text).unwrap_err();
    assert_eq!(error.errors().len(), 1000);
    assert!(error.to_string().contains("20000 servers are more than 10000; write fewer"));
    let text = format!("service: lb\n{}: 1\n", "k".repeat(500));
    assert!(errors(&text).iter().all(|line| line.len() < 600));
}
