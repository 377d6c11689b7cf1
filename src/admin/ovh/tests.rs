//! The shape as a whole: bodies, types, filters, errors.

mod credentials;
mod follow;
mod fuzz;
mod refused;
mod scale;
mod writes;

use insta::assert_json_snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::admin::vendor_fixture::{CASES, bearer_call, call, key, read, state};
use crate::model::{FarmId, FrontendId};

async fn get(target: &str) -> (u16, Value) {
    read(answer(&state(), &bearer_call("GET", target, "")).await).await
}

async fn get_ok(part: &str) -> Value {
    let (status, body) = get(&format!("/1.0/ipLoadbalancing/lb-demo{part}")).await;
    assert_eq!(status, 200, "{part}: {body}");
    body
}

fn server_path(kind: &str, farm: &str, server: &str) -> String {
    let key = key(farm, server);
    format!("/{kind}/farm/{}/server/{}", key.farm, key.server)
}

#[tokio::test]
async fn server_body_in_every_state_is_pinned() {
    for case in CASES {
        assert_json_snapshot!(format!("server_{case}"), get_ok(&server_path("http", "web", case)).await);
    }
    assert_json_snapshot!("server_tcp", get_ok(&server_path("tcp", "db", "db-1")).await);
}

#[tokio::test]
async fn other_bodies_are_pinned() {
    let web = FarmId::derive(&crate::admin::vendor_fixture::name("web"));
    let db = FarmId::derive(&crate::admin::vendor_fixture::name("db"));
    let frontend = |name| FrontendId::derive(&crate::admin::vendor_fixture::name(name));
    for (name, part) in [
        ("service", String::new()),
        ("status", "/status".to_owned()),
        ("instances_state", "/instancesState".to_owned()),
        ("defined_farms", "/definedFarms".to_owned()),
        ("defined_frontends", "/definedFrontends".to_owned()),
        ("farm_http", format!("/http/farm/{web}")),
        ("farm_tcp", format!("/tcp/farm/{db}")),
        ("frontend_http", format!("/http/frontend/{}", frontend("web"))),
        ("frontend_http_dedicated", format!("/http/frontend/{}", frontend("alt"))),
        ("frontend_tcp", format!("/tcp/frontend/{}", frontend("db"))),
        ("available_farm_probes", "/availableFarmProbes".to_owned()),
        ("nat_ip", "/natIp".to_owned()),
        ("zone", "/zone/local".to_owned()),
    ] {
        assert_json_snapshot!(name, get_ok(&part).await);
    }
    assert_json_snapshot!("auth_details", get("/1.0/auth/details").await.1);
    assert_json_snapshot!("auth_current_credential", get("/v1/auth/currentCredential").await.1);
}

#[tokio::test]
async fn lists_hold_ids_and_follow_their_filters() {
    let web = FarmId::derive(&crate::admin::vendor_fixture::name("web"));
    let one = |server: &str| json!([key("web", server).server.0]);
    let all: Vec<u64> = CASES.iter().map(|case| key("web", case).server.0).collect();
    let frontend = |name| FrontendId::derive(&crate::admin::vendor_fixture::name(name)).0;
    let none = json!([]);
    for (part, want) in [
        ("/http/farm".to_owned(), json!([web.0])),
        ("/http/farm?zone=local".to_owned(), json!([web.0])),
        ("/http/farm?zone=LOCAL".to_owned(), json!([web.0])),
        ("/http/farm?zone=gra".to_owned(), none.clone()),
        ("/http/farm?vrackNetworkId=3".to_owned(), none.clone()),
        ("/http/farm?vrackNetworkId=null".to_owned(), json!([web.0])),
        ("/definedFarms?vrackNetworkId=3".to_owned(), none.clone()),
        ("/udp/farm".to_owned(), none.clone()),
        ("/udp/frontend".to_owned(), none.clone()),
        (format!("/http/farm/{web}/server"), json!(all)),
        (
            format!("/http/farm/{web}/server?status=inactive"),
            json!([key("web", "drain").server.0, key("web", "maint").server.0]),
        ),
        (format!("/http/farm/{web}/server?address=10.0.0.12"), one("down-sts")),
        (format!("/http/farm/{web}/server?address=10.0.0.12&status=inactive"), none.clone()),
        (format!("/http/farm/{web}/server?cookie=%25"), none.clone()),
        ("/http/frontend".to_owned(), json!([frontend("web"), frontend("alt")])),
        ("/http/frontend?port=9000".to_owned(), json!([frontend("alt")])),
        ("/http/frontend?port=%25443".to_owned(), json!([frontend("web")])),
        (format!("/http/frontend?defaultFarmId={web}"), json!([frontend("web"), frontend("alt")])),
        ("/http/frontend?defaultFarmId=1".to_owned(), none.clone()),
        ("/tcp/frontend?defaultSslId=1".to_owned(), none.clone()),
        ("/pendingChanges".to_owned(), none.clone()),
        ("/task?action=refreshIplb&status=todo".to_owned(), none.clone()),
        ("/zone".to_owned(), json!(["local"])),
        ("/availableFarmType".to_owned(), json!(["http", "tcp", "udp"])),
        ("/failover".to_owned(), none.clone()),
        ("/tcp/route".to_owned(), none),
    ] {
        assert_eq!(get_ok(&part).await, want, "{part}");
    }
    assert_eq!(get("/v1/ipLoadbalancing").await, (200, json!(["lb-demo"])));
    assert_eq!(get("/v1/ipLoadbalancing?iamTags=x").await, (200, json!([])), "nothing has tags");
    assert_eq!(get("/v1/ipLoadbalancing/availableZones").await, (200, json!(["local"])));
}

#[tokio::test]
async fn protocols_that_a_rule_may_name_are_those_of_its_kind() {
    let rules = get_ok("/availableRouteRules").await;
    let words = |kind: &str| {
        let of = |it: &&Value| it["type"] == kind && it["name"] == "protocol";
        rules.as_array().unwrap().iter().find(of).unwrap()["enum"].clone()
    };
    assert_eq!(words("http"), json!(["tcp", "tls", "http", "https"]));
    assert_eq!(words("tcp"), json!(["tcp", "tls", "http", "https", "http/2.0"]));
    assert!(rules.as_array().unwrap().iter().any(|it| it["name"] == "uri" && it["enum"].is_null()));
}

#[tokio::test]
async fn objects_are_found_by_name_as_well() {
    assert_eq!(get_ok("/http/farm/web/server/up").await, get_ok(&server_path("http", "web", "up")).await);
    assert_eq!(get_ok("/tcp/frontend/db").await["defaultFarmId"], get_ok("/tcp/farm/db").await["farmId"]);
}

#[tokio::test]
async fn wrong_requests_get_a_body_of_this_shape() {
    let of = |part: &str| format!("/1.0/ipLoadbalancing/lb-demo{part}");
    for (method, target, want, message) in [
        ("GET", "/1.0/nothing".to_owned(), 404, "path \"/1.0/nothing\" does not exist"),
        ("PUT", "/1.0".to_owned(), 404, "path \"/1.0\" does not exist"),
        ("GET", "/1.0/ipLoadbalancing/x".to_owned(), 404, "service \"x\" does not exist"),
        ("PUT", "/1.0/ipLoadbalancing/x/http/farm/web".to_owned(), 404, "service \"x\" does not exist"),
        ("GET", of("/tcp/farm/web"), 404, "farm \"web\" does not exist"),
        ("PUT", of("/tcp/farm/web"), 404, "farm \"web\" does not exist"),
        ("GET", of("/udp/farm/web"), 404, "farm \"web\" does not exist"),
        ("GET", of("/http/farm/web/server/0"), 404, "server \"0\" does not exist"),
        ("GET", of("/http/frontend/db"), 404, "frontend \"db\" does not exist"),
        ("GET", of("/http/route/5"), 404, "route \"5\" does not exist"),
        ("GET", of("/udp/route/5"), 404, "path"),
        ("GET", of("/task/5"), 404, "task \"5\" does not exist"),
        ("GET", of("/zone/gra"), 404, "zone \"gra\" does not exist"),
        ("GET", of("/http/farm?vrackNetworkId=x"), 400, "vrackNetworkId: x is outside the integers"),
        ("GET", of("/http/farm/web/server?status=up"), 400, "status: up is outside active, inactive"),
        ("GET", of("/task?status=ready"), 400, "status: ready is outside blocked, cancelled, doing"),
        ("GET", of("/task?doneDate.from=then"), 400, "doneDate.from: then is outside the times"),
        ("POST", of("/http/farm/web"), 405, "method POST is not allowed here; it takes GET, HEAD, PUT, DELETE"),
        ("PUT", of("/http/farm"), 405, "method PUT is not allowed here; it takes GET, HEAD, POST"),
        ("PUT", of("/definedFarms"), 405, "method PUT is not allowed here; it takes GET, HEAD"),
        ("GET", of("/refresh"), 405, "method GET is not allowed here; it takes POST"),
        ("PUT", of("/refresh"), 405, "method PUT is not allowed here; it takes POST"),
        ("POST", "/1.0/auth/time".to_owned(), 405, "method POST is not allowed here"),
    ] {
        let (status, body) = read(answer(&state(), &bearer_call(method, &target, "")).await).await;
        let class = match want {
            400 => "Client::BadRequest",
            404 => "Client::NotFound",
            _ => "Client::MethodNotAllowed",
        };
        assert_eq!((status, body["class"].as_str()), (want, Some(class)), "{method} {target}");
        assert!(body["message"].as_str().unwrap().starts_with(message), "{method} {target}: {body}");
        assert!(body["errorCode"].is_string(), "{method} {target}");
        assert!(body["httpCode"].as_str().unwrap().starts_with(&want.to_string()), "{method} {target}");
    }
}

#[tokio::test]
async fn bodies_where_none_belong_or_that_are_no_utf8_json_are_refused_before_anything() {
    let refused = |call: Call| async move { read(answer(&state(), &call).await).await };
    for method in ["GET", "HEAD", "DELETE"] {
        let call = call(method, "/1.0/ipLoadbalancing", "{}");
        let (status, body) = refused(call).await;
        assert_eq!(status, 400, "{body}");
    }
    for bad in [&b"{\"a\":1}\x80\x00"[..], b"{\"a\":\"\xff\"}", b"{", b"a=1"] {
        let mut call = call("POST", "/1.0/ipLoadbalancing/lb-demo/refresh", "");
        call.body = bytes::Bytes::copy_from_slice(bad);
        let (status, body) = refused(call).await;
        assert_eq!(status, 400, "{body}");
    }
}

#[test]
fn refusal_of_an_unfinished_call_has_this_shapes_body_and_headers() {
    let response = refuse(&call("PUT", "/1.0/x", ""), &AdminError::BodyTooLarge { max: 10 });
    assert_eq!(response.status(), 413);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    assert!(response.headers()["x-ovh-queryid"].to_str().unwrap().ends_with("-465768798a9b"));
}

#[test]
fn claims_its_prefixes_and_nothing_else() {
    assert!(claims("/1.0") && claims("/v1/x") && claims("/1.0/auth/time"));
    assert!(!claims("/") && !claims("/v10") && !claims("/api/v1/farms") && !claims("/1.0x"));
}

/// What a client in Go decodes into: any other type, or a field too many, fails.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "decoding is the test")]
struct GoServer {
    server_id: i64,
    backend_id: i64,
    address: String,
    status: String,
    display_name: Option<String>,
    port: Option<i64>,
    probe: bool,
    weight: Option<i64>,
    backup: bool,
    ssl: bool,
    chain: Option<String>,
    cookie: Option<String>,
    proxy_protocol_version: Option<String>,
    on_marked_down: Option<String>,
    server_state: Vec<GoServerState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "decoding is the test")]
struct GoServerState {
    instance_id: i64,
    status: Option<String>,
    check_status: Option<String>,
    check_code: Option<String>,
    last_check_content: Option<String>,
    check_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "decoding is the test")]
struct GoFarm {
    farm_id: i64,
    zone: String,
    display_name: Option<String>,
    balance: Option<String>,
    port: Option<i64>,
    probe: Option<GoProbe>,
    stickiness: Option<String>,
    vrack_network_id: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "decoding is the test")]
struct GoProbe {
    #[serde(rename = "type")]
    kind: Option<String>,
    interval: Option<i64>,
    port: Option<i64>,
    method: Option<String>,
    url: Option<String>,
    #[serde(rename = "match")]
    rule: Option<String>,
    pattern: Option<String>,
    negate: Option<bool>,
    force_ssl: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "decoding is the test")]
struct GoFrontend {
    frontend_id: i64,
    zone: String,
    port: String,
    display_name: Option<String>,
    default_farm_id: Option<i64>,
    default_ssl_id: Option<i64>,
    disabled: bool,
    ssl: bool,
    hsts: Option<bool>,
    http_header: Option<Vec<String>>,
    redirect_location: Option<String>,
    allowed_source: Vec<String>,
    denied_source: Vec<String>,
    dedicated_ipfo: Vec<String>,
    vrack_network_id: Option<i64>,
    vrack_vrouter_id: Option<i64>,
}

#[tokio::test]
async fn bodies_decode_under_strict_types() {
    for case in CASES {
        let server: GoServer = serde_json::from_value(get_ok(&server_path("http", "web", case)).await).unwrap();
        assert_eq!(server.server_state.len(), 1, "{case}");
    }
    let tcp = get_ok(&server_path("tcp", "db", "db-1")).await;
    assert_eq!(tcp.get("cookie"), None);
    serde_json::from_value::<GoServer>(tcp).unwrap();
    for part in ["/http/farm/web", "/tcp/farm/db"] {
        serde_json::from_value::<GoFarm>(get_ok(part).await).unwrap();
    }
    for part in ["/http/frontend/web", "/http/frontend/alt", "/tcp/frontend/db"] {
        serde_json::from_value::<GoFrontend>(get_ok(part).await).unwrap();
    }
}
