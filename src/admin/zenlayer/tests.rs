//! The shape as a whole: bodies, types, errors, and the health that it shows. The signature's tests are in `auth`.

use hmac::{Hmac, Mac};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod fuzz;
mod kept;
mod refused;
mod strict;
mod writes;

use super::*;

const PATH: &str = "/api/v2/zlb";
const VERSION: &str = "2025-04-01";
use crate::admin::vendor_fixture::{CASES, bearer_call, call, name, put_header, read, serve, state};
use crate::model::FrontendId;

async fn ask(action: &str, body: &str) -> (u16, Value) {
    let mut call = bearer_call("POST", PATH, body);
    put_header(&mut call, "x-zc-action", action);
    put_header(&mut call, "x-zc-version", VERSION);
    read(answer(&state(), &call).await).await
}

async fn ask_ok(action: &str, body: &str) -> Value {
    let (status, body) = ask(action, body).await;
    assert_eq!(status, 200, "{action}: {body}");
    assert_eq!(body["requestId"], body["response"]["requestId"]);
    body
}

fn listener_id(frontend: &str) -> String {
    FrontendId::derive(&name(frontend)).to_string()
}

#[tokio::test]
async fn bodies_are_pinned() {
    let of_listener = |name| format!(r#"{{"loadBalancerId":"lb-demo","listenerId":"{}"}}"#, listener_id(name));
    let all = r#"{"loadBalancerId":"lb-demo"}"#;
    assert_json_snapshot!("backend_health_of_web", ask_ok("DescribeBackendHealth", &of_listener("web")).await);
    assert_json_snapshot!("backend_health_of_db", ask_ok("DescribeBackendHealth", &of_listener("db")).await);
    assert_json_snapshot!("backends_of_db", ask_ok("DescribeBackends", &of_listener("db")).await);
    assert_json_snapshot!("listeners", ask_ok("DescribeListeners", all).await);
    assert_json_snapshot!("load_balancers", ask_ok("DescribeLoadBalancers", "{}").await);
    assert_json_snapshot!("error", ask("DescribeBackendHealth", r#"{"loadBalancerId":"x"}"#).await.1);
}

#[tokio::test]
async fn backend_health_names_each_server_once_for_each_frontend_that_leads_to_it() {
    let all = ask_ok("DescribeBackendHealth", r#"{"loadBalancerId":"lb-demo"}"#).await;
    let rows = all["response"]["backends"].as_array().unwrap();
    let of = |frontend: &str| rows.iter().filter(|row| row["listenerId"] == listener_id(frontend)).count();
    assert_eq!((of("web"), of("alt"), of("db"), rows.len()), (CASES.len(), CASES.len(), 1, 2 * CASES.len() + 1));
    assert!(rows.iter().all(|row| !row["listenerId"].as_str().unwrap().contains(':')));
    let by_name = r#"{"loadBalancerId":"lb-demo","listenerId":"alt"}"#;
    let by_name = ask_ok("DescribeBackendHealth", by_name).await;
    assert_eq!(by_name["response"]["backends"], json!(rows[CASES.len()..2 * CASES.len()]));
}

#[tokio::test]
async fn backend_health_is_what_checks_conclude_whatever_operators_want() {
    let all = ask_ok("DescribeBackendHealth", r#"{"loadBalancerId":"lb-demo","listenerId":"web"}"#).await;
    let rows = all["response"]["backends"].as_array().unwrap();
    let seen: Vec<_> =
        CASES.iter().zip(rows).map(|(case, row)| (*case, row["healthStatus"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [
            ("up", "Alive"),
            ("down-sts", "Dead"),
            ("down-con", "Dead"),
            ("unknown", "Unknown"),
            ("off", "Close"),
            ("drain", "Alive"),
            ("maint", "Alive"),
            ("backup", "Alive"),
            ("zero", "Alive"),
            ("named", "Unknown"),
        ]
    );
    for row in rows {
        let has_verdict = matches!(row["healthStatus"].as_str(), Some("Alive" | "Dead"));
        assert_eq!(row["healthStatusDetail"].as_array().unwrap().len(), usize::from(has_verdict), "{row}");
    }
}

#[tokio::test]
async fn wrong_requests_get_an_envelope_with_a_code() {
    let lb = r#"{"loadBalancerId":"lb-demo"}"#;
    for (action, body, status, code) in [
        ("DescribeBackendHealth", "{}", 400, "MISSING_PARAMETER"),
        ("DescribeBackendHealth", "", 400, "MISSING_PARAMETER"),
        ("DescribeBackendHealth", "[]", 400, "INVALID_REQUEST_BODY"),
        ("DescribeBackendHealth", "{", 400, "INVALID_REQUEST_BODY"),
        ("DescribeBackendHealth", r#"{"loadBalancerId":"x"}"#, 404, "INVALID_LB_NOT_FOUND"),
        ("DescribeBackends", r#"{"loadBalancerId":"x"}"#, 404, "INVALID_LB_NOT_FOUND"),
        ("DescribeListeners", r#"{"loadBalancerId":"x"}"#, 404, "INVALID_LB_NOT_FOUND"),
        (
            "DescribeBackendHealth",
            r#"{"loadBalancerId":"lb-demo","listenerId":"7"}"#,
            404,
            "INVALID_LB_LISTENER_NOT_FOUND",
        ),
        ("DescribeLoadBalancers", r#"{"pageSize":1001}"#, 400, "INVALID_PARAMETER"),
        ("AssignLoadBalancerIpv6", lb, 403, "OPERATION_DENIED_NOT_OFFERED"),
        ("RegisterBackend", lb, 400, "MISSING_PARAMETER"),
        ("Describe", lb, 400, "INVALID_ACTION"),
        ("describebackendhealth", lb, 400, "INVALID_ACTION"),
        ("", lb, 400, "INVALID_ACTION"),
    ] {
        let (got, answer) = ask(action, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{action} {body}");
        assert!(answer["message"].is_string() && answer["requestId"].is_string(), "{action} {body}");
        assert_eq!(answer.get("response"), None, "{action} {body}");
    }
}

#[tokio::test]
async fn other_paths_methods_versions_and_callers_get_an_envelope_too() {
    let code = |call: Call| async move {
        let (status, body) = read(answer(&state(), &call).await).await;
        (status, body["code"].as_str().unwrap().to_owned())
    };
    for (method, path, want) in [
        ("GET", PATH, (405, "METHOD_NOT_ALLOWED")),
        ("PUT", PATH, (405, "METHOD_NOT_ALLOWED")),
        ("POST", "/api/v2/zlb/", (404, "INVALID_PATH_NOT_FOUND")),
        ("POST", "/api/v2/zec", (404, "INVALID_PATH_NOT_FOUND")),
        ("POST", "/api/v2/zrm", (400, "INVALID_ACTION")),
        ("POST", PATH, (400, "INVALID_ACTION")),
    ] {
        assert_eq!(code(bearer_call(method, path, "{}")).await, (want.0, want.1.to_owned()), "{method} {path}");
    }
    for (method, path) in [("GET", PATH), ("POST", "/api/v2/zrm")] {
        let want = (401, "AUTHFAILURE_INVALID_AUTHORIZATION".to_owned());
        assert_eq!(code(call(method, path, "")).await, want, "strangers are told nothing: {method} {path}");
    }
    let mut version = bearer_call("POST", PATH, "{}");
    put_header(&mut version, "x-zc-version", "2019-01-01");
    assert_eq!(code(version).await, (400, "INVALID_VERSION".to_owned()));
    let mut token = call("POST", PATH, "{}");
    assert_eq!(code(call("POST", PATH, "{}")).await, (401, "AUTHFAILURE_INVALID_AUTHORIZATION".to_owned()));
    put_header(&mut token, "authorization", "Bearer nobody");
    assert_eq!(code(token).await, (401, "AUTHFAILURE_INVALID_AUTHORIZATION".to_owned()));
}

#[tokio::test]
async fn load_balancers_and_listeners_follow_their_filters() {
    for (body, want) in [
        (r#"{"loadBalancerIds":["lb-demo"]}"#, (1, 1)),
        (r#"{"loadBalancerIds":["x"]}"#, (0, 0)),
        (r#"{"regionId":"","vpcId":"","resourceGroupId":"","pageSize":100,"pageNum":1}"#, (1, 1)),
        (r#"{"pageNum":2}"#, (1, 0)),
        (r#"{"loadBalancerName":"lb-*"}"#, (1, 1)),
        (r#"{"loadBalancerName":"demo*"}"#, (0, 0)),
        (r#"{"vpcId":"vpc-1"}"#, (0, 0)),
        (r#"{"tagKeys":["env"]}"#, (0, 0)),
        (r#"{"tags":[{"key":"env","value":"prod"}]}"#, (0, 0)),
        (r#"{"securityGroupId":"sg-1"}"#, (0, 0)),
        (r#"{"resourceGroupId":"default","pageSize":"1"}"#, (1, 1)),
        (r#"{"regionId":"HKG"}"#, (0, 0)),
    ] {
        let answer = ask_ok("DescribeLoadBalancers", body).await;
        let shown = answer["response"]["dataSet"].as_array().unwrap().len();
        assert_eq!((answer["response"]["totalCount"].as_u64().unwrap(), shown), want, "{body}");
    }
    for (body, want) in [
        (r#"{"loadBalancerId":"lb-demo","listenerIds":["gone"]}"#, 0),
        (r#"{"loadBalancerId":"lb-demo","listenerIds":["db","alt"]}"#, 2),
        (r#"{"loadBalancerId":"lb-demo","protocol":"UDP"}"#, 0),
        (r#"{"loadBalancerId":"lb-demo","protocol":"TCP","listenerIds":[]}"#, 3),
    ] {
        let answer = ask_ok("DescribeListeners", body).await;
        assert_eq!(answer["response"]["listeners"].as_array().unwrap().len(), want, "{body}");
    }
}

#[test]
fn claims_its_prefix_and_nothing_else() {
    assert!(claims("/api/v2") && claims(PATH) && claims("/api/v2/user"));
    assert!(!claims("/api/v1/farms") && !claims("/api/v20") && !claims("/"));
}

#[test]
fn request_id_has_the_published_form() {
    assert_eq!(request_id("8b9cad0e-1f20"), "T8B9CAD0E-1F20");
    assert_eq!(refuse(&call("POST", PATH, ""), &AdminError::BodyTooLarge { max: 1 }).status(), 413);
}

/// The signature as the reference writes it, step by step.
fn authorization(secret: &str, host: &str, body: &str, timestamp: &str) -> String {
    let hash = |text: &str| hex::encode(Sha256::digest(text));
    let canonical =
        format!("POST\n/\n\ncontent-type:application/json\nhost:{host}\n\ncontent-type;host\n{}", hash(body));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("ZC2-HMAC-SHA256\n{timestamp}\n{}", hash(&canonical)).as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!("ZC2-HMAC-SHA256 Credential=key-id, SignedHeaders=content-type;host, Signature={signature}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_a_connection_are_answered_and_may_be_repeated() {
    let addr = serve(state()).await;
    let client = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
        let timestamp = crate::clock::wall().unix_seconds().to_string();
        let body = r#"{"loadBalancerId":"lb-demo","listenerId":"db"}"#;
        let ask = |secret: &str| {
            let request = agent.post(format!("http://{addr}{PATH}")).header("x-zc-action", "DescribeBackendHealth");
            let request = request.header("x-zc-timestamp", &timestamp).content_type("application/json");
            let signed = authorization(secret, &addr.to_string(), body, &timestamp);
            let mut response = request.header("authorization", signed).send(body).unwrap();
            let body: Value = response.body_mut().read_json().unwrap();
            (response.status().as_u16(), body)
        };
        for _ in 0..2 {
            let (status, body) = ask("key-secret");
            assert_eq!((status, &body["response"]["backends"][0]["healthStatus"]), (200, &json!("Alive")), "{body}");
        }
        let (status, body) = ask("wrong");
        assert_eq!((status, &body["code"]), (401, &json!("AUTHFAILURE_SIGNATURE_FAILURE")));
    });
    client.await.unwrap();
}

#[test]
fn action_is_for_keys_that_list_it_unless_it_only_reads() {
    let listed = Actions::Listed(vec!["ModifyBackend".into()]);
    let is_for = |actions: &Actions, action| check_listed(actions, action).is_ok();
    for actions in [&Actions::Reads, &listed, &Actions::Every] {
        assert!(is_for(actions, Action::DescribeBackends) && is_for(actions, Action::InquiryPriceCreateLoadBalancer));
    }
    assert!(is_for(&listed, Action::ModifyBackend) && !is_for(&listed, Action::DeregisterBackend));
    assert!(is_for(&Actions::Every, Action::DeregisterBackend) && !is_for(&Actions::Reads, Action::ModifyBackend));
    let refusal = check_listed(&Actions::Reads, Action::ModifyBackend).unwrap_err();
    assert!(format!("{refusal:?}").contains("add it to the actions of the key"), "{refusal:?}");
}

#[tokio::test]
async fn what_one_has_at_home_costs_nothing_and_is_in_one_place() {
    assert_json_snapshot!("regions", ask_ok("DescribeLoadBalancerRegions", "").await);
    let asked = r#"{"regionId":"local","internetChargeType":"ByBandwidth","bandwidthMbps":"10"}"#;
    assert_json_snapshot!("prices", ask_ok("InquiryPriceCreateLoadBalancer", asked).await);
    let unbound = ask_ok("UnbindSecurityGroupFromLoadBalancers", r#"{"loadBalancerIds":["lb-demo"]}"#).await;
    assert_eq!(unbound["response"]["failedLoadBalancerIds"], json!([]));
    for (action, body, status, code) in [
        ("InquiryPriceCreateLoadBalancer", r#"{"regionId":"HKG"}"#, 404, "INVALID_REGION_NOT_FOUND"),
        ("InquiryPriceCreateLoadBalancer", r#"{"regionId":"local","eipIds":["e"]}"#, 404, "INVALID_EIP_NOT_FOUND"),
        (
            "InquiryPriceCreateLoadBalancer",
            r#"{"regionId":"local","internetChargeType":"ByBandwidth"}"#,
            400,
            "MISSING_PARAMETER",
        ),
        (
            "SetSecurityGroupForLoadBalancers",
            r#"{"securityGroupId":"sg","loadBalancerIds":["lb-demo"]}"#,
            404,
            "INVALID_SECURITY_GROUP_NOT_FOUND",
        ),
        ("UnbindSecurityGroupFromLoadBalancers", r#"{"loadBalancerIds":["x"]}"#, 404, "INVALID_LB_NOT_FOUND"),
    ] {
        let (got, answer) = ask(action, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{action} {body}");
    }
}

#[tokio::test]
async fn monitor_data_has_a_value_for_each_step_and_null_for_what_is_not_known() {
    let times = r#""startTime":"2025-11-21T13:30:00Z","endTime":"2025-11-21T13:34:00Z""#;
    for (step, points) in [("1", 5), ("5", 1)] {
        let body = format!(r#"{{"loadBalancerId":"lb-demo","metricType":"HANDLED_BPS",{times},"step":{step}}}"#);
        let answer = ask_ok("DescribeLoadBalancerMonitorData", &body).await;
        let metrics = answer["response"]["metrics"].as_array().unwrap();
        assert_eq!((metrics.len(), &metrics[0]["time"]), (points, &json!("2025-11-21T13:30:00Z")), "{answer}");
    }
    for body in [
        format!(r#"{{"loadBalancerId":"lb-demo",{times}}}"#),
        format!(r#"{{"loadBalancerId":"lb-demo","metricType":"BPS",{times}}}"#),
        format!(r#"{{"loadBalancerId":"lb-demo","metricType":"HANDLED_BPS",{times},"step":2}}"#),
        r#"{"loadBalancerId":"lb-demo","metricType":"HANDLED_BPS","startTime":"now","endTime":"then"}"#.to_owned(),
        r#"{"loadBalancerId":"lb-demo","metricType":"HANDLED_BPS","startTime":"2025-11-21T13:34:00Z",
            "endTime":"2025-11-21T13:30:00Z"}"#
            .to_owned(),
        r#"{"loadBalancerId":"lb-demo","metricType":"HANDLED_BPS","startTime":"1970-01-01T00:00:00Z",
            "endTime":"9999-01-01T00:00:00Z"}"#
            .to_owned(),
    ] {
        assert_eq!(ask("DescribeLoadBalancerMonitorData", &body).await.0, 400, "{body}");
    }
}
