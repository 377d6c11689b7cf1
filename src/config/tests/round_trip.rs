//! The export loads as what it was made from, and nothing that is loaded makes the reader panic.

use proptest::prelude::*;

use super::load;
use super::schema::{refusals, to_json};
use crate::config::{ExportError, to_yaml};
use crate::model::{BodyMatch, ProbeKind, Topology};

fn comes_back_equal(topology: &Topology) -> Result<(), TestCaseError> {
    let yaml = to_yaml(topology).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let again = load(&yaml).map_err(|e| TestCaseError::fail(format!("{e}\n{yaml}")))?;
    prop_assert_eq!(&again.topology, topology, "{}", yaml);
    prop_assert_eq!(refusals(&to_json(&yaml)), Vec::<String>::new(), "{}", yaml);
    Ok(())
}

fn server() -> impl Strategy<Value = String> {
    let fields = ("[a-z][a-z0-9._-]{0,5}", 1u16..=65535, any::<u16>(), any::<(bool, bool)>(), 0usize..3, 0usize..3);
    fields.prop_map(|(name, port, weight, (backup, probe), status, host)| {
        let status = ["active", "drain", "maintenance"][status];
        let address = format!("{}:{port}", ["10.0.0.1", "[2001:db8::1]", "origin.example.com"][host]);
        format!(
            "{name}: {{address: \"{address}\", weight: {weight}, backup: {backup}, probe: {probe}, status: {status}}}"
        )
    })
}

fn servers() -> impl Strategy<Value = String> {
    proptest::collection::vec(server(), 0..5).prop_map(|servers| {
        let one = |(i, server): (usize, String)| format!("      s{i}{server}\n");
        let text: String = servers.into_iter().enumerate().map(one).collect();
        if text.is_empty() { "    servers: {}\n".to_owned() } else { format!("    servers:\n{text}") }
    })
}

fn probe() -> impl Strategy<Value = String> {
    let times = (1u64..3_600_000, 1u64..3_600_000, 1u16..=1000, 1u16..=1000);
    (0usize..4, times, any::<bool>(), any::<Vec<char>>(), "[a-z.*+|\\\\d]{1,8}").prop_map(|(kind, times, negate, text, pattern)| {
        let (a, b, rise, fall) = times;
        let (interval, timeout) = (a.max(b), a.min(b));
        let common = format!("interval: {interval}ms, timeout: {timeout}ms, rise: {rise}, fall: {fall}");
        let text = String::from_iter(text).replace(['\u{85}', '\u{2028}', '\u{2029}'], "x");
        let text = serde_json::to_string(if text.is_empty() { "x" } else { &text }).unwrap();
        let pattern = if regex::bytes::Regex::new(&pattern).is_ok() { pattern } else { "ok".to_owned() };
        let pattern = serde_json::to_string(&pattern).unwrap();
        match kind {
            0 => String::new(),
            1 => format!("    probe: {{type: tcp, {common}, start: up, expect: {{contains: {text}, negate: {negate}}}}}\n"),
            2 => format!("    probe: {{type: http, {common}, url: \"h.example/a?b\", expect: {{status: \"200-299,404\", matches: {pattern}, negate: {negate}}}}}\n"),
            _ => format!("    probe: {{type: http, {common}, method: HEAD, port: 9, start: down, host: \"a:1\"}}\n"),
        }
    })
}

fn config() -> impl Strategy<Value = String> {
    let farm = (any::<bool>(), 0usize..4, probe(), servers(), 0u8..=10, any::<bool>(), 10u64..600_000);
    let farms = proptest::collection::vec(farm, 1..4);
    (farms, 1u64..1 << 53, 1u16..=65535, 0u64..1 << 40).prop_map(|(farms, instance, low, body)| {
        let mut text = format!("service: {{name: lb, addresses: [\"::1\"], api_ports: \"{low}-65535\"}}\ninstance_id: {instance}\n");
        text.push_str("frontends:\n");
        for (i, farm) in farms.iter().enumerate() {
            let protocol = if farm.0 { "http" } else { "tcp" };
            text.push_str(&format!(
                "  in{i}: {{protocol: {protocol}, listen: [\"127.0.0.1:{}\"], farm: f{i}, trust: [\"10.0.0.0/8\"], \
                 timeouts: {{idle: {}ms}}, limits: {{body_bytes: {body}B, uri_bytes: 64B, header_bytes: 1024B}}}}\n",
                i + 1,
                farm.6
            ));
        }
        text.push_str("farms:\n");
        for (i, (is_http, balance, probe, servers, attempts, fail_open, ms)) in farms.into_iter().enumerate() {
            let balance = ["roundrobin", "leastconn", "first", "source"][balance];
            let protocol = if is_http { "http" } else { "tcp" };
            text.push_str(&format!(
                "  f{i}:\n    protocol: {protocol}\n    balance: {balance}\n{probe}    timeouts: {{connect: {ms}ms}}\n    \
                 retries: {{attempts: {attempts}}}\n    fail_open: {fail_open}\n{servers}"
            ));
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

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
