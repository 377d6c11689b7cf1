//! Whatever a caller who may do everything sends: JSON, no fault of ours, and a refusal that its clients can read.

use http::{StatusCode, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::answer;
use crate::admin::call::{AdminState, Call};
use crate::admin::vendor_fixture::{CASES, bearer_call, key, put_header, state};
use crate::model::fuzz::fuzz;

/// Calls that one world sees.
const CALLS: usize = 24;
/// The most bytes of an answer.
const ANSWER_MAX: usize = 4 << 20;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];

/// What is made before the first call, each of the next id.
const MADE: [(&str, &str); 5] = [
    ("/http/farm", r#"{"zone": "all", "displayName": "shop", "port": 8080}"#),
    ("/http/farm/1099511627776/server", r#"{"address": "10.0.0.11", "status": "active"}"#),
    ("/http/frontend", r#"{"zone": "all", "port": "8090", "defaultFarmId": 1099511627776}"#),
    ("/http/route", r#"{"frontendId": 1099511627778, "action": {"type": "reject", "status": 429}}"#),
    ("/http/route/1099511627779/rule", r#"{"field": "uri", "match": "startswith", "pattern": "/no"}"#),
];

/// Paths within the service that are written, and a body that is right there; `*` stands for an id.
const WRITTEN: &[(&str, &str)] = &[
    ("", r#"{"displayName": "x", "sslConfiguration": "modern"}"#),
    ("/http/farm", r#"{"zone": "all", "probe": {"type": "http", "url": "/x", "match": "status", "pattern": "200"}}"#),
    ("/tcp/farm", r#"{"zone": "local", "balance": "leastconn", "probe": {"type": "tcp"}}"#),
    ("/udp/farm", r#"{"zone": "all", "port": 53}"#),
    ("/http/farm/*", r#"{"balance": "first", "stickiness": "cookie"}"#),
    ("/tcp/farm/*", r#"{"balance": "source", "stickiness": "sourceIp"}"#),
    ("/udp/farm/*", r#"{"displayName": null}"#),
    ("/http/farm/*/server", r#"{"address": "10.0.0.12", "port": 80, "status": "active", "probe": true}"#),
    ("/tcp/farm/*/server", r#"{"address": "10.0.0.13", "port": 81, "status": "inactive"}"#),
    ("/udp/farm/*/server", r#"{"address": "10.0.0.14", "port": 53, "status": "active"}"#),
    ("/http/farm/*/server/*", r#"{"weight": 3, "backup": true, "ssl": true, "cookie": "A1"}"#),
    ("/tcp/farm/*/server/*", r#"{"proxyProtocolVersion": "v2", "onMarkedDown": "shutdown-sessions"}"#),
    ("/udp/farm/*/server/*", r#"{"status": "inactive"}"#),
    (
        "/http/frontend",
        r#"{"zone": "all", "port": "8091", "httpHeader": ["X-A %ci"], "allowedSource": ["10.0.0.0/8"]}"#,
    ),
    ("/tcp/frontend", r#"{"zone": "all", "port": "5433,5440-5441"}"#),
    ("/udp/frontend", r#"{"zone": "all", "port": "5353"}"#),
    ("/http/frontend/*", r#"{"redirectLocation": "https://x/", "hsts": true, "dedicatedIpfo": ["10.0.0.2/32"]}"#),
    ("/tcp/frontend/*", r#"{"disabled": true, "deniedSource": null}"#),
    ("/udp/frontend/*", r#"{"port": "5354"}"#),
    ("/http/route", r#"{"action": {"type": "redirect", "target": "https://x/", "status": 302}, "weight": 1}"#),
    ("/tcp/route", r#"{"action": {"type": "farm", "target": "1099511627776"}}"#),
    ("/http/route/*", r#"{"action": {"type": "farm", "target": "1099511627776"}, "displayName": "r"}"#),
    ("/tcp/route/*", r#"{"weight": 9}"#),
    ("/http/route/*/rule", r#"{"field": "header", "subField": "X-A", "match": "matches", "pattern": "^(a|b)+$"}"#),
    ("/tcp/route/*/rule", r#"{"field": "source", "match": "in", "pattern": "10.0.0.0/8"}"#),
    ("/http/route/*/rule/*", r#"{"negate": true, "match": "exists", "pattern": null}"#),
    ("/tcp/route/*/rule/*", r#"{"field": "protocol", "match": "is", "pattern": "ssh"}"#),
    ("/ssl", r#"{"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "key": "x"}"#),
    ("/ssl/*", r#"{"displayName": "cert"}"#),
    ("/freeCertificate", r#"{"fqdn": ["shop.example"]}"#),
    ("/refresh", "{}"),
    ("/refresh", r#"{"zone": "local"}"#),
    ("/quota/local", r#"{"alert": 5}"#),
    ("/serviceInfos", r#"{"renew": {"automatic": true, "period": 1}}"#),
];

/// Paths within the service that take no body.
const READ: &[&str] = &[
    "/definedFarms",
    "/definedFrontends",
    "/definedRoutes",
    "/availableFarmProbes",
    "/availableFarmType",
    "/availableFrontendType",
    "/availableRouteActions",
    "/availableRouteRules",
    "/status",
    "/instancesState",
    "/pendingChanges",
    "/natIp",
    "/failover",
    "/zone",
    "/zone/local",
    "/vrack/network",
    "/vrack/network/*",
    "/vrack/networkCreationRules",
    "/changeContact",
    "/confirmTermination",
    "/terminate",
    "/log/subscription",
    "/serviceId",
    "/task",
    "/task/*",
    "/quota",
    "/quotaHistory",
    "/quotaHistory/*",
];

const SEGMENTS: &[&str] = &[
    "1.0",
    "v1",
    "auth",
    "time",
    "details",
    "currentCredential",
    "credential",
    "logout",
    "validate",
    "auth.json",
    "ipLoadbalancing",
    "ipLoadbalancing.json",
    "lb-demo",
    "availableZones",
    "http",
    "tcp",
    "udp",
    "farm",
    "server",
    "frontend",
    "route",
    "rule",
    "ssl",
    "task",
    "quota",
    "zone",
    "local",
    "vrack",
    "status",
    "refresh",
    "",
    ".",
    "..",
    "*",
    "%00",
    "%ff",
    "%2f",
    "%F0%9F%A6%80",
    "{id}",
    "null",
];

/// Fields of every body and every filter, and one that none has.
const FIELDS: &[&str] = &[
    "action",
    "address",
    "alert",
    "allowedSource",
    "automatic",
    "backendId",
    "backup",
    "balance",
    "certificate",
    "chain",
    "cookie",
    "dedicatedIpfo",
    "defaultFarmId",
    "defaultSslId",
    "deniedSource",
    "disabled",
    "displayName",
    "farmId",
    "field",
    "fingerprint",
    "forceSsl",
    "fqdn",
    "frontendId",
    "historizedDate.from",
    "hsts",
    "httpHeader",
    "interval",
    "key",
    "match",
    "method",
    "negate",
    "none",
    "onMarkedDown",
    "pattern",
    "port",
    "probe",
    "proxyProtocolVersion",
    "redirectLocation",
    "renew",
    "routeId",
    "rules",
    "serial",
    "serverId",
    "serverState",
    "ssl",
    "sslConfiguration",
    "status",
    "stickiness",
    "subField",
    "target",
    "type",
    "url",
    "vrackNetworkId",
    "vrackVrouterId",
    "weight",
    "zone",
    "accessRules",
    "redirection",
    "allowedIPs",
    "path",
];

const TEXTS: &[&str] = &[
    "",
    "all",
    "local",
    "gra",
    "web",
    "db",
    "shop",
    "active",
    "inactive",
    "roundrobin",
    "leastconn",
    "source",
    "first",
    "uri",
    "cookie",
    "sourceIp",
    "http",
    "tcp",
    "oco",
    "mysql",
    "pgsql",
    "smtp",
    "internal",
    "GET",
    "HEAD",
    "OPTIONS",
    "status",
    "contains",
    "matches",
    "default",
    "startswith",
    "in",
    "exists",
    "is",
    "farm",
    "redirect",
    "reject",
    "v1",
    "v2",
    "v2-ssl",
    "shutdown-sessions",
    "modern",
    "intermediate",
    "80",
    "8090",
    "8090-8093",
    "8090,8092",
    "1-65535",
    "9-3",
    "200",
    "200,404",
    "1099511627776",
    "10.0.0.1",
    "10.0.0.0/8",
    "2001:db8::1",
    "203.0.113.7/32",
    "host.invalid",
    "/x",
    "https://x/${path}",
    "X-A: %ci",
    "^(a|",
    "(a{999}){999}",
    "header",
    "host",
    "param",
    "shop.example",
    "*.a",
    "-1",
    "99999999999999999999",
    "\u{0}",
    "\u{1f980}",
    "a\"b\\c\r\n",
    "todo",
    "done",
    "refreshIplb",
    "null",
    "%",
    "-----BEGIN CERTIFICATE-----",
];

/// Fields that ask for a page of a list, and values that some of them understand.
const PAGING: &[&str] = &[
    "x-pagination-mode",
    "x-pagination-size",
    "x-pagination-number",
    "x-pagination-cursor",
    "x-pagination-filter",
    "x-pagination-sort",
    "x-pagination-sort-order",
];
const PAGING_VALUES: &[&str] = &[
    "CachedObjectList-Pages",
    "CachedObjectList-Cursor",
    "1",
    "0",
    "2",
    "-1",
    "10000",
    "99999999999999999999",
    "farmId",
    "displayName:like=s%",
    "port:gt=3&zone:eq=all",
    "ASC",
    "DESC",
    "status:in=1,2",
    "a:b=c",
    ":",
    "",
];

#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    target: String,
    fields: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

fn ids() -> Vec<String> {
    let made = (0..8).map(|n| ((1_u64 << 40) + n).to_string());
    let server = |case: &&str| key("web", case).server.to_string();
    let others = ["web", "db", "shop", "0", "1", "-1", "18446744073709551616", "x%20y", "local"];
    let of_file = [key("web", "up").farm.to_string(), key("db", "db-1").farm.to_string()];
    made.chain(CASES.iter().map(server)).chain(of_file).chain(others.map(str::to_owned)).collect()
}

fn value() -> impl Strategy<Value = Value> + Clone {
    let numbers =
        [json!(0), json!(1), json!(2), json!(80), json!(256), json!(8090), json!(65536), json!(-1), json!(1.5)];
    let more = [json!(null), json!(true), json!(false), json!(1e300), json!([]), json!({}), json!(1_u64 << 40)];
    let leaf = prop_oneof![
        4 => select(TEXTS).prop_map(Value::from),
        3 => select([&numbers[..], &more[..]].concat()),
        1 => any::<u64>().prop_map(Value::from),
        1 => text(80).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(FIELDS), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(fields: Vec<(&str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// Any text of at most so many characters.
fn text(most: usize) -> impl Strategy<Value = String> + Clone {
    vec(any::<char>(), 0..=most).prop_map(|all| all.into_iter().collect())
}

/// A path of the service with ids in it, and a body that is right there but for these fields.
fn near() -> impl Strategy<Value = (String, Vec<u8>)> + Clone {
    let place = prop_oneof![4 => select(WRITTEN), 1 => select(READ).prop_map(|path| (path, ""))];
    let made = (0..MADE.len() as u64).prop_map(|n| ((1_u64 << 40) + n).to_string());
    let id = prop_oneof![3 => made, 1 => select(ids())];
    (place, vec(id, 2), vec((select(FIELDS), value()), 0..3)).prop_map(|((place, body), ids, changed)| {
        let mut ids = ids.into_iter();
        let path: String =
            place.split_inclusive('*').map(|part| part.replace('*', &ids.next().unwrap_or_default())).collect();
        let mut body: Value = serde_json::from_str(body).unwrap_or_default();
        changed.into_iter().for_each(|(field, value)| body[field] = value);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        (format!("/1.0/ipLoadbalancing/lb-demo{path}"), body)
    })
}

/// A path of pieces that mean something somewhere, and any body.
fn far() -> impl Strategy<Value = (String, Vec<u8>)> + Clone {
    let visible = vec(0x21..0x7f_u8, 0..20).prop_map(|bytes| bytes.into_iter().map(char::from).collect());
    let segment = prop_oneof![3 => select(SEGMENTS).prop_map(str::to_owned), 1 => select(ids()), 1 => visible];
    let path = vec(segment, 0..7).prop_map(|segments| segments.join("/"));
    let begin = select(&["/1.0/", "/v1/", "/1.0/ipLoadbalancing/lb-demo/", "/1.0/auth/", "/1.0/ipLoadbalancing/"][..]);
    let body = prop_oneof![
        2 => Just(Vec::new()),
        2 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..40),
    ];
    (begin, path, body).prop_map(|(begin, path, body)| (format!("{begin}{path}"), body))
}

fn sent() -> impl Strategy<Value = Sent> {
    let query = vec((select(FIELDS), prop_oneof![select(TEXTS).prop_map(str::to_owned), text(20)]), 0..3);
    let query = prop_oneof![3 => Just(Vec::new()), 1 => query].prop_map(|pairs| {
        let pairs: Vec<_> = pairs.iter().map(|(field, value)| format!("{field}={}", encoded(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    });
    let paging =
        (select(&["CachedObjectList-Pages", "CachedObjectList-Cursor"][..]), select(PAGING), select(PAGING_VALUES))
            .prop_map(|(mode, field, value)| vec![("x-pagination-mode", mode), (field, value)]);
    let fields = prop_oneof![5 => Just(Vec::new()), 1 => paging];
    let method = prop_oneof![4 => select(&METHODS[..5]), 1 => select(METHODS)];
    let place = prop_oneof![4 => near(), 1 => far()];
    (method, place, query, fields).prop_map(|(method, (path, body), query, fields)| {
        // A body where none may be is refused at once, which would be all that is seen.
        let body = if matches!(method, "GET" | "HEAD" | "DELETE") && path.len() % 8 != 0 { Vec::new() } else { body };
        Sent { method, target: format!("{path}{query}"), fields, body }
    })
}

fn encoded(value: &str) -> String {
    use std::fmt::Write as _;
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/.,:-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// Returns the status, whether the body is a page to look at, and the body otherwise.
async fn told(state: &AdminState, call: &Call) -> (StatusCode, Option<Value>) {
    let response = answer(state, call).await;
    let (status, kind) = (response.status(), response.headers()["content-type"].to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), ANSWER_MAX).await.unwrap();
    (status, (!kind.starts_with("text/html")).then(|| serde_json::from_slice(&body).unwrap()))
}

fn check(sent: &Sent, status: StatusCode, body: Option<&Value>) -> Result<(), TestCaseError> {
    let allowed = status == 200 || status.is_client_error() || status == 501;
    prop_assert!(allowed, "{sent:?} {}: {status} {body:?}", String::from_utf8_lossy(&sent.body));
    let Some(body) = body else {
        prop_assert!(status == 200 && sent.target.contains("/auth/validate"), "{sent:?}: {status}, a page");
        return Ok(());
    };
    if status != 200 {
        for field in ["class", "message", "errorCode", "httpCode"] {
            prop_assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{sent:?}: {field} of {body}");
        }
        let side = if status == 501 { "Server::" } else { "Client::" };
        prop_assert!(body["class"].as_str().is_some_and(|class| class.starts_with(side)), "{sent:?}: {status} {body}");
        let code = body["httpCode"].as_str().is_some_and(|code| code.starts_with(&format!("{} ", status.as_u16())));
        prop_assert!(code, "{sent:?}: {status} {body}");
    }
    Ok(())
}

#[test]
fn every_call_gets_json_and_its_refusal_says_which_and_is_never_a_5xx() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fuzz(&vec(sent(), 1..CALLS), |calls| {
        let state = state();
        runtime.block_on(async {
            for (place, body) in MADE {
                let (status, made) =
                    told(&state, &bearer_call("POST", &format!("/1.0/ipLoadbalancing/lb-demo{place}"), body)).await;
                prop_assert_eq!(status, 200, "{} {}: {:?}", place, body, made);
            }
            for sent in calls {
                // What is no target at all does not come as far as this.
                if sent.target.parse::<Uri>().is_err() {
                    continue;
                }
                let mut call = bearer_call(sent.method, &sent.target, "");
                call.body = sent.body.clone().into();
                sent.fields.iter().for_each(|(name, value)| put_header(&mut call, name, value));
                let (status, body) = told(&state, &call).await;
                check(&sent, status, body.as_ref())?;
            }
            Ok(())
        })
    });
}
