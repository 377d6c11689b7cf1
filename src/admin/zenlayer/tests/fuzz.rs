//! Whatever a caller who may do everything sends: the envelope, and no fault of ours.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::kept;
use crate::admin::vendor_fixture::{bearer_call, put_header, read};
use crate::admin::zenlayer::action::Action;
use crate::model::fuzz::fuzz;

/// Calls that one world sees.
const CALLS: usize = 24;

/// Fields of every action, and one that none has.
const FIELDS: &[&str] = &[
    "loadBalancerId",
    "loadBalancerIds",
    "loadBalancerName",
    "listenerId",
    "listenerIds",
    "listenerName",
    "regionId",
    "vpcId",
    "subnetId",
    "protocol",
    "port",
    "scheduler",
    "kind",
    "persistent",
    "idleTimeout",
    "algoOpts",
    "proxyProtocol",
    "healthCheck",
    "backendServers",
    "privateIpAddress",
    "instanceId",
    "weight",
    "privateIps",
    "number",
    "tags",
    "tagKeys",
    "key",
    "value",
    "pageSize",
    "pageNum",
    "metricType",
    "startTime",
    "endTime",
    "step",
    "enabled",
    "checkType",
    "checkPort",
    "checkRetry",
    "checkHttpGetUrl",
    "checkHttpGetHost",
    "checkHttpStatusCode",
    "failOpen",
    "securityGroupId",
    "bandwidthMbps",
    "none",
    "resourceUuid",
    "replaceTags",
    "deleteTagKeys",
    "resources",
    "resourceGroupId",
];

/// Values that mean something somewhere, and some that mean nothing anywhere.
fn value() -> impl Strategy<Value = Value> + Clone {
    let texts = [
        "",
        "lb-demo",
        "1099511627776",
        "1099511627777",
        "1099511627778",
        "1099511627779",
        "local",
        "TCP",
        "UDP",
        "mh",
        "rr",
        "wrr",
        "dh",
        "7000",
        "7000-7003",
        "7001,7003",
        "0",
        "1-65535",
        "web",
        "db",
        "10.1.0.1",
        "10.1.0.2",
        "2001:db8::1",
        "203.0.113.7",
        "DR",
        "FNAT",
        "v2",
        "None",
        "PING_CHECK",
        "HTTP_GET",
        "/x",
        "HANDLED_BPS",
        "2025-11-21T13:30:00Z",
        "2025-11-21T13:40:00Z",
        "-1",
        "99999999999999999999",
        "\u{0}",
        "\u{1f980}",
        "a\"b\\c\r\n",
        "None",
    ];
    let leaf = prop_oneof![
        4 => select(texts.to_vec()).prop_map(Value::from),
        2 => select(vec![json!(null), json!(true), json!(0), json!(1), json!(2), json!(7000), json!(-1), json!(1.5), json!(1e300)]),
        1 => any::<u64>().prop_map(Value::from),
        1 => ".{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((select(FIELDS), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(fields: Vec<(&str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// A call that is right, or nearly.
fn right(action: &str, port: u16) -> Value {
    let balancer = "1099511627776";
    let mut body = json!({"loadBalancerId": balancer, "loadBalancerIds": [balancer], "listenerId": "shop-web"});
    let more = match action {
        "CreateLoadBalancer" => json!({"regionId": "local", "vpcId": "v", "loadBalancerName": "shop"}),
        "CreateListener" | "ModifyListener" => json!({
            "listenerName": "web", "protocol": "TCP", "scheduler": "wrr", "port": format!("{port}-{}", port + 2),
            "healthCheck": {"checkType": "TCP"},
        }),
        "RegisterBackend" | "ModifyBackend" | "DeregisterBackend" => {
            json!({"backendServers": [{"privateIpAddress": "10.1.0.1", "weight": port}]})
        }
        "DescribeLoadBalancerMonitorData" => json!({
            "metricType": "HANDLED_BPS", "startTime": "2025-11-21T13:30:00Z", "endTime": "2025-11-21T13:40:00Z",
        }),
        "AddLoadBalancersPrivateIps" | "DeleteLoadBalancersPrivateIps" => json!({"privateIps": ["203.0.113.7"]}),
        _ => json!({"regionId": "local", "resources": [balancer], "resourceUuid": balancer, "resourceGroupId": "g"}),
    };
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

#[test]
fn every_call_of_any_action_gets_an_envelope_and_never_a_5xx() {
    let fields = proptest::collection::vec((select(FIELDS), value()), 0..8);
    let action = select(Action::ALL.to_vec());
    let body = prop_oneof![
        1 => fields.clone().prop_map(|fields| (None, fields)),
        2 => (7000..7008_u16, fields.prop_map(|mut it| { it.truncate(2); it })).prop_map(|(port, it)| (Some(port), it)),
    ];
    let calls = proptest::collection::vec((action, body), 1..CALLS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz(&calls, |calls| {
        let state = kept::state();
        for ((action, kind), (port, fields)) in calls {
            let mut body = port.map_or_else(|| json!({}), |port| right(action, port));
            for (key, value) in fields {
                body[key] = value;
            }
            let mut call = bearer_call("POST", kind.service().path(), &body.to_string());
            put_header(&mut call, "x-zc-action", action);
            let (status, answer) = runtime.block_on(async { read(super::answer(&state, &call).await).await });
            prop_assert!(status == 200 || (400..500).contains(&status), "{action} {body}: {status} {answer}");
            prop_assert!(answer["requestId"].is_string(), "{action} {body}: {answer}");
            if status == 200 {
                prop_assert_eq!(&answer["requestId"], &answer["response"]["requestId"], "{} {}", action, body);
            } else {
                prop_assert!(answer["code"].is_string() && answer["message"].is_string(), "{action} {body}: {answer}");
            }
        }
        Ok(())
    });
}
