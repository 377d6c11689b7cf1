//! Credentials: signatures, rules, and how clients come by credentials of their own.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::super::*;
use crate::admin::asked::Asked;
use crate::admin::asked::tests::{Memory, application};
use crate::admin::vendor_fixture::{NOW, call, put_header, read, serve, state};
use crate::model::credential::{Granted, Verdict};
use crate::model::settings::CallRule;
use crate::model::{Access, Act, Timestamp};

/// The signature as OVHcloud's guide writes it, in one line.
fn sign(secret: &str, consumer: &str, method: &str, url: &str, body: &str, timestamp: &str) -> String {
    format!("$1${:x}", Sha1::digest(format!("{secret}+{consumer}+{method}+{url}+{body}+{timestamp}")))
}

const TARGET: &str = "/1.0/ipLoadbalancing?iamTags=a%20b&x";

/// Returns a call to [`TARGET`] at `host` whose signature is over `signed_url`.
fn signed_call(host: &str, signed_url: &str) -> Call {
    let mut call = call("GET", TARGET, "");
    let timestamp = NOW.unix_seconds().to_string();
    put_header(&mut call, "host", host);
    put_header(&mut call, "x-ovh-application", "ak");
    put_header(&mut call, "x-ovh-consumer", "ck");
    put_header(&mut call, "x-ovh-timestamp", &timestamp);
    put_header(&mut call, "x-ovh-signature", &sign("as", "ck", "GET", signed_url, "", &timestamp));
    call
}

async fn code_of(call: &Call) -> (u16, Option<String>) {
    let (status, body) = read(answer(&state(), call).await).await;
    (status, body.get("errorCode").and_then(Value::as_str).map(str::to_owned))
}

#[test]
fn signature_of_the_reference_clients_arithmetic_is_pinned() {
    // sha1("as+ck+GET+http://127.0.0.1:9090/1.0/auth/details++1763732060"), from another program.
    let want = "$1$0cdf7348230e4dc54d206a093f3c508675e3a66c";
    assert_eq!(sign("as", "ck", "GET", "http://127.0.0.1:9090/1.0/auth/details", "", "1763732060"), want);
}

#[tokio::test]
async fn signature_over_any_form_of_the_url_is_taken() {
    for (host, url) in [
        ("127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("127.0.0.1:9090", "https://127.0.0.1:9090"),
        ("127.0.0.1:9090", "https://127.0.0.1"),
        ("127.0.0.1:9090", "http://127.0.0.1"),
        ("lb.example.com", "https://lb.example.com"),
        ("lb.example.com", "https://lb.example.com:443"),
        ("lb.example.com", "http://lb.example.com:80"),
        ("[::1]:9090", "http://[::1]:9090"),
        ("[::1]:9090", "https://[::1]"),
    ] {
        let call = signed_call(host, &format!("{url}{TARGET}"));
        assert_eq!(code_of(&call).await, (200, None), "{host} {url}");
    }
}

#[tokio::test]
async fn signature_over_the_url_that_clients_know_is_taken_where_the_config_says_it() {
    let call = signed_call("127.0.0.1:9090", "https://lb.example.com/api/1.0/ipLoadbalancing?iamTags=a%20b&x");
    assert_eq!(code_of(&call).await, (400, Some("INVALID_SIGNATURE".to_owned())));
    let state = state();
    let known = Some("https://lb.example.com/api/1.0".into());
    let credentials = Credentials { ovh_public_url: known, ..(**state.credentials.load()).clone() };
    state.credentials.store(credentials.into());
    let (status, body) = read(answer(&state, &call).await).await;
    assert_eq!((status, body), (200, Value::Array(vec![])), "nothing has tags");
}

#[tokio::test]
async fn signature_over_anything_else_is_refused_with_the_vendors_code() {
    let host = "127.0.0.1:9090";
    let good = || signed_call(host, &format!("http://{host}{TARGET}"));
    let altered = |name: &str, value: &str| {
        let mut call = good();
        put_header(&mut call, name, value);
        call
    };
    let refused = |status, code: &str| (status, Some(code.to_owned()));
    let bad = refused(400, "INVALID_SIGNATURE");
    assert_eq!(code_of(&signed_call(host, &format!("http://{host}/1.0/ipLoadbalancing"))).await, bad);
    assert_eq!(code_of(&signed_call("other:9090", &format!("http://{host}{TARGET}"))).await, bad);
    assert_eq!(code_of(&altered("x-ovh-signature", "$1$")).await, bad);
    assert_eq!(code_of(&altered("x-ovh-signature", "")).await, bad);
    assert_eq!(code_of(&altered("x-ovh-consumer", "ck-2")).await, bad);
    assert_eq!(code_of(&altered("x-ovh-consumer", "nobody")).await, refused(403, "NOT_CREDENTIAL"));
    assert_eq!(code_of(&altered("x-ovh-application", "nobody")).await, refused(403, "INVALID_KEY"));
    let mut put = good();
    put.method = Method::PUT;
    assert_eq!(code_of(&put).await, bad);
    let late = refused(400, "QUERY_OUT_OF_TIME");
    for timestamp in ["", "01763732060", "+176373206", "176373206", "17637320600", "1763732361", "1763731759"] {
        assert_eq!(code_of(&altered("x-ovh-timestamp", timestamp)).await, late, "{timestamp:?}");
    }
    let mut unsigned = good();
    unsigned.headers.remove("x-ovh-signature");
    assert_eq!(code_of(&unsigned).await, refused(401, "NOT_LOGGED_IN"));
    assert_eq!(code_of(&call("GET", TARGET, "")).await, refused(401, "NOT_LOGGED_IN"));
    let mut token = call("GET", TARGET, "");
    put_header(&mut token, "authorization", "Bearer nobody");
    assert_eq!(code_of(&token).await, refused(403, "INVALID_CREDENTIAL"));
}

/// Over a real connection, as a client makes it: its clock first, then signed calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_a_connection_are_answered_with_the_vendors_headers() {
    let addr = serve(state()).await;
    let client = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().into();
        let mut time = agent.get(format!("http://{addr}/1.0/auth/time")).call().unwrap();
        let timestamp = time.body_mut().read_to_string().unwrap();
        assert_eq!(timestamp.parse::<u64>().unwrap().to_string(), timestamp);
        let ask = |target: &str, secret: &str| {
            let url = format!("http://{addr}{target}");
            let signature = sign(secret, "ck", "GET", &url, "", &timestamp);
            let request = agent.get(url).header("X-Ovh-Application", "ak").header("X-Ovh-Consumer", "ck");
            let request = request.header("X-Ovh-Timestamp", &timestamp).header("X-Ovh-Signature", signature);
            let mut response = request.call().unwrap();
            let body: Value = response.body_mut().read_json().unwrap();
            (response, body)
        };
        let (response, body) = ask("/v1/ipLoadbalancing/lb-demo/http/farm/web/server/down-sts", "as");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["cache-control"], "no-cache, no-store");
        assert_eq!(response.headers()["x-ovh-queryid"].to_str().unwrap().split('.').count(), 5);
        assert_eq!(body["serverState"][0]["checkCode"], "503");
        let (response, body) = ask("/1.0/ipLoadbalancing", "wrong");
        assert_eq!((response.status().as_u16(), &body["errorCode"]), (400, &json!("INVALID_SIGNATURE")));
    });
    client.await.unwrap();
}

#[tokio::test]
async fn call_that_the_rules_do_not_have_is_not_granted() {
    let state = state();
    let rules = |path: &str| {
        let mut credentials = (**state.credentials.load()).clone();
        credentials.ovh[0].rules = vec![CallRule::new("GET", path).unwrap()];
        state.credentials.store(credentials.into());
    };
    let asked = async |target: &str| read(answer(&state, &signed(("ak", "as", "ck"), "GET", target)).await).await;
    rules("/ipLoadbalancing/*/status");
    assert_eq!(asked("/1.0/ipLoadbalancing/lb-demo/status").await.0, 200);
    for target in ["/1.0/ipLoadbalancing", "/1.0/ipLoadbalancing/lb-demo/http/farm", "/1.0/nowhere"] {
        let (status, body) = asked(target).await;
        assert_eq!(
            (status, &body["errorCode"], &body["class"]),
            (403, &json!("NOT_GRANTED_CALL"), &json!("Client::Forbidden"))
        );
    }
    rules("/ipLoadbalancing*");
    assert_eq!(asked("/v1/ipLoadbalancing/lb-demo/http/farm").await.0, 200);
}

/// Returns a call that is signed with an application key, its secret and a consumer key.
fn signed((key, secret, consumer): (&str, &str, &str), method: &str, target: &str) -> Call {
    let mut signed = call(method, target, "");
    let (timestamp, url) = (NOW.unix_seconds().to_string(), format!("http://lb.example{target}"));
    let signature = sign(secret, consumer, method, &url, "", &timestamp);
    for (name, value) in [
        ("host", "lb.example"),
        ("x-ovh-application", key),
        ("x-ovh-consumer", consumer),
        ("x-ovh-timestamp", &timestamp),
        ("x-ovh-signature", &signature),
    ] {
        put_header(&mut signed, name, value);
    }
    signed
}

/// Returns the state of a process with an application that may ask for credentials.
fn with_application() -> AdminState {
    let mut state = state();
    let mut credentials = (**state.credentials.load()).clone();
    credentials.ovh_applications.push(application("as-of-tf"));
    state.credentials.store(credentials.into());
    state.asked = Arc::new(Asked::load(Box::new(Arc::new(Memory::default()))).unwrap());
    state
}

async fn ask(state: &AdminState, key: &str, body: &str) -> (u16, Value) {
    let mut asking = call("POST", "/1.0/auth/credential", body);
    put_header(&mut asking, "x-ovh-application", key);
    put_header(&mut asking, "host", "lb.example:9090");
    read(answer(state, &asking).await).await
}

fn granted(until: Option<Timestamp>) -> Verdict {
    let granted = Granted { access: Access::Admin, farms: None, until };
    Verdict { granted: Some(granted), act: Act { actor: "ops".into(), source: "::1".into(), reason: None, at: NOW } }
}

#[tokio::test]
async fn credential_that_was_asked_for_opens_what_was_granted_until_it_ends() {
    let state = with_application();
    let body = r#"{"accessRules": [{"method": "GET", "path": "/ipLoadbalancing*"}, {"method": "GET", "path": "/auth/*"},
        {"method": "POST", "path": "/auth/logout"}], "redirection": "https://example.com/"}"#;
    let (status, new) = ask(&state, "tf-key", body).await;
    assert_eq!((status, &new["state"]), (200, &json!("pendingValidation")), "{new}");
    assert_eq!(new["validationUrl"], "http://lb.example:9090/1.0/auth/validate?credentialId=1");
    let consumer = new["consumerKey"].as_str().unwrap();
    let asked = async |method: &str, target: &str, consumer: &str| {
        read(answer(&state, &signed(("tf-key", "as-of-tf", consumer), method, target)).await).await
    };
    let (status, refused) = asked("GET", "/1.0/ipLoadbalancing", consumer).await;
    assert_eq!((status, &refused["errorCode"]), (403, &json!("INVALID_CREDENTIAL")), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("pendingValidation"), "{refused}");
    state.asked.decide(1, granted(None)).unwrap();
    assert_eq!(asked("GET", "/1.0/ipLoadbalancing", consumer).await.0, 200);
    assert_eq!(asked("GET", "/1.0/ipLoadbalancing", &format!("{consumer}0")).await.1["errorCode"], "NOT_CREDENTIAL");
    assert_eq!(asked("DELETE", "/1.0/ipLoadbalancing/x", consumer).await.1["errorCode"], "NOT_GRANTED_CALL");
    let (_, current) = asked("GET", "/1.0/auth/currentCredential", consumer).await;
    assert_eq!(
        (&current["credentialId"], &current["status"], &current["applicationId"]),
        (&json!(1), &json!("validated"), &json!(1))
    );
    assert_eq!(current["rules"].as_array().unwrap().len(), 3);
    let (_, details) = asked("GET", "/1.0/auth/details", consumer).await;
    assert_eq!(
        (&details["account"], &details["roles"]),
        (&json!("tf #1"), &json!(["operate"])),
        "no more than the application"
    );
    let mut wrong = signed(("tf-key", "as-of-tf", consumer), "GET", "/1.0/ipLoadbalancing");
    put_header(&mut wrong, "x-ovh-signature", "$1$0");
    assert_eq!(read(answer(&state, &wrong).await).await.1["errorCode"], "INVALID_SIGNATURE");
    assert_eq!(asked("POST", "/1.0/auth/logout", consumer).await, (200, Value::Null));
    assert_eq!(asked("GET", "/1.0/ipLoadbalancing", consumer).await.1["errorCode"], "NOT_CREDENTIAL");
}

#[tokio::test]
async fn credential_is_for_the_addresses_and_the_time_that_were_said() {
    let state = with_application();
    let rules = r#""accessRules": [{"method": "GET", "path": "/*"}]"#;
    let elsewhere = ask(&state, "tf-key", &format!(r#"{{{rules}, "allowedIPs": ["192.0.2.0/24"]}}"#)).await.1;
    let here = ask(&state, "tf-key", &format!(r#"{{{rules}, "allowedIPs": ["127.0.0.1"]}}"#)).await.1;
    let over = ask(&state, "tf-key", &format!("{{{rules}}}")).await.1;
    state.asked.decide(1, granted(None)).unwrap();
    state.asked.decide(2, granted(None)).unwrap();
    state.asked.decide(3, granted(Some(NOW))).unwrap();
    for (new, want) in [(&elsewhere, json!("FORBIDDEN")), (&here, Value::Null), (&over, json!("INVALID_CREDENTIAL"))] {
        let key = new["consumerKey"].as_str().unwrap();
        let (_, body) =
            read(answer(&state, &signed(("tf-key", "as-of-tf", key), "GET", "/v1/ipLoadbalancing")).await).await;
        assert_eq!(body.get("errorCode").cloned().unwrap_or_default(), want, "{body}");
    }
}

#[tokio::test]
async fn asking_badly_says_what_and_costs_nothing() {
    let state = with_application();
    let good = r#"{"accessRules": [{"method": "GET", "path": "/*"}]}"#;
    for (key, body, status, says) in [
        ("nobody", good, 403, "This application key is invalid"),
        ("ak", good, 403, "may not ask for credentials; add it to admin.ovh.applications"),
        ("tf-key", "{}", 400, "accessRules is missing"),
        ("tf-key", r#"{"accessRules": []}"#, 400, "1..=64"),
        ("tf-key", r#"{"accessRules": [{"method": "PATCH", "path": "/*"}]}"#, 400, "GET, POST, PUT, DELETE"),
        ("tf-key", r#"{"accessRules": [{"method": "GET", "path": "x"}]}"#, 400, "write /* for all"),
        ("tf-key", r#"{"accessRules": [{"method": "GET", "path": "/*"}], "allowedIPs": ["x"]}"#, 400, "192.0.2.0/24"),
    ] {
        let (got, answer) = ask(&state, key, body).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
    assert!(state.asked.all().is_empty());
    let of_the_config = signed(("ak", "as", "ck"), "POST", "/1.0/auth/logout");
    assert!(
        read(answer(&state, &of_the_config).await).await.1["message"].as_str().unwrap().contains("remove it there")
    );
}

#[tokio::test]
async fn page_of_a_credential_says_how_to_grant_it_and_repeats_nothing_but_a_number() {
    for (query, command) in [("credentialId=7", "grant 7"), ("credentialId=<b>", "grant NUMBER"), ("", "grant NUMBER")]
    {
        let response = credential::page(&call(
            "GET",
            &format!("/1.0/auth/validate?{}", query.replace('<', "%3C").replace('>', "%3E")),
            "",
        ));
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(&format!("farmgate credentials {command}<")), "{body}");
    }
}
