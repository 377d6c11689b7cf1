//! This room as a whole where nothing is kept: what is read, paged, described and refused.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::ovh::answer;
use crate::admin::vendor_fixture::objects::{MemoryObjects, Unstaged};
use crate::admin::vendor_fixture::{CASES, bearer_call, key, put_header, read, state};
use crate::metrics::WorkerIx;
use crate::model::{Act, FarmId, ObjectKind, Timestamp};
use crate::objects::edit::Create;
use crate::objects::{Desk, Edit, EditError, Objects, When};

const LB: &str = "/1.0/ipLoadbalancing/lb-demo";

async fn call(method: &str, part: &str, body: &str) -> (u16, Value) {
    read(answer(&state(), &bearer_call(method, &format!("{LB}{part}"), body)).await).await
}

#[tokio::test]
async fn service_without_settings_is_named_as_it_is_and_has_no_contract() {
    let (status, service) = call("GET", "", "").await;
    assert_eq!((status, &service["displayName"], &service["sslConfiguration"]), (200, &json!("lb-demo"), &Value::Null));
    let (status, infos) = call("GET", "/serviceInfos", "").await;
    assert_eq!(status, 200);
    assert_eq!(
        infos,
        json!({
            "canDeleteAtExpiration": false, "contactAdmin": "none", "contactBilling": "none", "contactTech": "none",
            "creation": "1970-01-01", "domain": "lb-demo", "engagedUpTo": null, "expiration": "9999-12-31",
            "possibleRenewPeriod": null, "renew": null, "renewalType": "oneShot", "serviceId": 7, "status": "ok",
        })
    );
    assert_eq!(call("PUT", "/serviceInfos", &infos.to_string()).await, (200, Value::Null), "as it is");
    let (status, error) = call("PUT", "/serviceInfos", r#"{"renew": {"automatic": true}}"#).await;
    assert!(
        status == 400 && error["message"].as_str().unwrap().starts_with("renew: {\"automatic\":true} is"),
        "{error}"
    );
}

#[tokio::test]
async fn lists_and_objects_of_nothing_are_empty_and_missing() {
    for (part, want) in [
        ("/ssl", json!([])),
        ("/ssl?type=custom&fingerprint=%25&serial=1", json!([])),
        ("/quota", json!(["local"])),
        ("/quotaHistory?historizedDate.from=2025-01-01&zone=local", json!([])),
        ("/natIp?zone=local", json!([{"zone": "local", "ip": []}])),
        ("/natIp?zone=gra", json!([])),
        ("/failover", json!([])),
        ("/zone", json!(["local"])),
    ] {
        assert_eq!(call("GET", part, "").await, (200, want), "{part}");
    }
    for (part, want) in [
        ("/ssl/7", "certificate \"7\" does not exist"),
        ("/ssl/x", "certificate \"x\" does not exist"),
        ("/quota/gra", "quota \"gra\" does not exist"),
        ("/quotaHistory/1", "quota history \"1\" does not exist"),
        ("/zone/gra", "zone \"gra\" does not exist"),
    ] {
        let (status, error) = call("GET", part, "").await;
        assert_eq!((status, error["message"].as_str()), (404, Some(want)), "{part}");
    }
    for (part, want) in [
        ("/ssl?type=x", "type: x is outside built, built_not_routed, custom"),
        ("/quotaHistory?historizedDate.to=soon", "historizedDate.to: soon is outside dates, e.g. 2025-11-21"),
    ] {
        let (status, error) = call("GET", part, "").await;
        assert_eq!((status, error["message"].as_str()), (400, Some(want)), "{part}");
    }
}

#[tokio::test]
async fn quota_is_what_went_through_this_month() {
    let state = state();
    let cells = &state.store.load().frontends[0].feeds[0].edges[0];
    cells.of(WorkerIx(0)).bytes_in.add(700);
    cells.of(WorkerIx(0)).bytes_out.add(77);
    let quota = read(answer(&state, &bearer_call("GET", &format!("{LB}/quota/local"), "")).await).await;
    let want = json!({
        "zone": "local", "included": null, "total": 777, "alert": null,
        "resetDate": "2025-11-01T00:00:00.000Z", "lastUpdateDate": "2025-11-21T13:34:20.000Z",
    });
    assert_eq!(quota, (200, want));
}

#[tokio::test]
async fn what_has_no_meaning_here_is_refused_with_its_reason() {
    for (method, part, want) in [
        ("GET", "/vrack/status", "there is no vRack"),
        ("POST", "/terminate", "nobody is billed"),
        ("POST", "/changeContact", "there are no contacts"),
        ("POST", "/log/subscription", "log.access of the config"),
        ("GET", "/metricsToken", "/metrics"),
        ("POST", "/zone/local/terminate", "the key zone at the top of the config"),
        ("DELETE", "/zone/local", "the key zone at the top of the config"),
    ] {
        let (status, error) = call(method, part, if method == "POST" { "{}" } else { "" }).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!((status, &error["class"]), (501, &json!("Server::NotImplemented")), "{part}");
        assert!(message.starts_with("This is not offered here: ") && message.contains(want), "{message}");
    }
    let (status, error) = call("POST", "/freeCertificate", r#"{"fqdn": ["a.test"]}"#).await;
    let message = error["message"].as_str().unwrap();
    assert!(status == 409 && message.contains("acme: {terms_agreed: true}"), "{message}");
}

#[tokio::test]
async fn writes_that_cannot_be_are_refused_before_anything_is_kept() {
    let long = format!(r#"{{"displayName": "{}"}}"#, "x".repeat(51));
    for (method, part, body, want) in [
        ("PUT", "", &*long, "displayName: a text of 51 characters is outside 0..=50 characters"),
        ("PUT", "", r#"{"sslConfiguration": "old"}"#, "sslConfiguration: \"old\" is outside intermediate, modern"),
        ("PUT", "/quota/local", r#"{"alert": -1}"#, "alert: -1 is outside 0..=9223372036854775807"),
        ("POST", "/ssl", r#"{"key": "x"}"#, "certificate is missing; send it"),
        ("POST", "/ssl", r#"{"certificate": "x", "key": null}"#, "key is missing; send it"),
        (
            "POST",
            "/ssl",
            r#"{"certificate": "x", "key": "x"}"#,
            "certificate: holds no certificate; send it in PEM, from BEGIN CERTIFICATE on",
        ),
        ("PUT", "", "[]", "the body is not valid: it is not an object"),
    ] {
        let (status, error) = call(method, part, body).await;
        assert_eq!((status, error["message"].as_str()), (400, Some(want)), "{method} {part}");
    }
    let mut nowhere = state();
    nowhere.objects = Arc::new(crate::objects::NoObjects::default());
    let name = bearer_call("PUT", LB, r#"{"displayName": "x"}"#);
    let (status, _) = read(answer(&nowhere, &name).await).await;
    assert_eq!(status, 500, "a process that keeps nothing says so");
    let (status, _) = call("PUT", "", r#"{"serviceName": "x"}"#).await;
    assert_eq!(status, 200, "a field that cannot be written is passed over");
    // Who may read only.
    let state = state();
    let mut reader = bearer_call("PUT", LB, "{}");
    let credentials = crate::admin::Credentials {
        tokens: vec![crate::model::settings::BearerToken {
            grant: crate::model::settings::Grant {
                name: "eye".into(),
                access: crate::model::Access::Read,
                farms: None,
            },
            token: crate::model::Secret::new("t-eye"),
        }],
        ..Default::default()
    };
    state.credentials.store(Arc::new(credentials));
    put_header(&mut reader, "authorization", "Bearer t-eye");
    let (status, error) = read(answer(&state, &reader).await).await;
    assert_eq!((status, &error["class"]), (403, &json!("Client::Forbidden")));
}

async fn paged(part: &str, fields: &[(&str, &str)]) -> (u16, Vec<(String, String)>, Value) {
    let mut call = bearer_call("GET", &format!("{LB}{part}"), "");
    for (name, value) in fields {
        put_header(&mut call, &format!("x-pagination-{name}"), value);
    }
    let response = answer(&state(), &call).await;
    let told = response.headers().iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-pagination-")?;
        Some((name.to_owned(), value.to_str().unwrap().to_owned()))
    });
    let told = told.collect();
    let (status, body) = read(response).await;
    (status, told, body)
}

fn told(told: &[(String, String)], name: &str) -> Option<String> {
    told.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[tokio::test]
async fn list_that_is_paged_has_whole_objects_filtered_sorted_and_cut() {
    let servers = format!("/http/farm/{}/server", FarmId::derive(&crate::admin::vendor_fixture::name("web")));
    let pages = ("mode", "CachedObjectList-Pages");
    let (status, head, first) = paged(&servers, &[pages, ("size", "4"), ("sort", "displayName")]).await;
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|it| it["displayName"].as_str().unwrap().to_owned()).collect()
    };
    let mut sorted = CASES.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!((status, names(&first)), (200, sorted[..4].to_vec()));
    assert_eq!(told(&head, "elements").as_deref(), Some("10"));
    assert_eq!((told(&head, "number").as_deref(), told(&head, "total").as_deref()), (Some("1"), Some("3")));
    let order = [pages, ("size", "4"), ("number", "3"), ("sort", "displayName"), ("sort-order", "DESC")];
    let (_, _, last) = paged(&servers, &order).await;
    assert_eq!(names(&last), [&*sorted[1], &*sorted[0]]);
    let (_, head, found) = paged(&servers, &[pages, ("filter", "status:eq=inactive")]).await;
    let want = ["drain", "maint"].map(str::to_owned).to_vec();
    assert_eq!((names(&found), told(&head, "elements").as_deref()), (want, Some("2")));
    assert_eq!(found[1]["serverId"], json!(key("web", "maint").server.0));
}

#[tokio::test]
async fn cursor_goes_on_to_the_end_and_is_absent_there() {
    let (mut seen, mut cursor) = (0, "0".to_owned());
    loop {
        let fields = [("mode", "CachedObjectList-Cursor"), ("size", "1"), ("cursor", &*cursor)];
        let (status, head, page) = paged("/http/frontend", &fields).await;
        assert_eq!(status, 200);
        seen += page.as_array().unwrap().len();
        match told(&head, "cursor-next") {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(seen, 2);
    let (_, _, kinds) = paged("/availableFarmType", &[("mode", "CachedObjectList-Cursor")]).await;
    assert!(kinds[0].is_string(), "a list of words stays one");
    let (_, _, service) = paged("", &[("mode", "CachedObjectList-Cursor")]).await;
    assert!(service.is_object(), "what is no list stays what it is");
    for (name, value, want) in [
        ("mode", "Some", "x-pagination-mode: Some is outside CachedObjectList-Cursor, CachedObjectList-Pages"),
        ("size", "0", "x-pagination-size: 0 is outside 1..=10000"),
        ("sort-order", "UP", "x-pagination-sort-order: UP is outside ASC, DESC"),
    ] {
        let (status, _, error) = paged("/zone", &[("mode", "CachedObjectList-Pages"), (name, value)]).await;
        assert_eq!((status, error["message"].as_str()), (400, Some(want)));
    }
}

#[tokio::test]
async fn documents_are_there_for_everybody_and_name_where_they_are() {
    for (name, path, model) in [
        ("ipLoadbalancing", "/ipLoadbalancing/{serviceName}/http/farm", "ipLoadbalancing.ProxyProtocolVersionEnum"),
        ("auth", "/auth/time", "auth.CredentialStateEnum"),
    ] {
        let mut call = crate::admin::vendor_fixture::call("GET", &format!("/1.0/{name}.json"), "");
        put_header(&mut call, "host", "lb.test:8443");
        let (status, document) = read(answer(&state(), &call).await).await;
        assert_eq!((status, &document["basePath"]), (200, &json!("http://lb.test:8443/1.0")));
        assert_eq!((&document["apiVersion"], &document["resourcePath"]), (&json!("1.0"), &json!(format!("/{name}"))));
        assert!(document["apis"].as_array().unwrap().iter().any(|api| api["path"] == path), "{path}");
        assert!(document["models"][model]["enum"].is_array(), "{model}");
    }
}

/// Objects that keep what is live, and nothing that is staged.
fn full(objects: MemoryObjects) -> Arc<dyn Objects> {
    Arc::new(Unstaged { objects: Arc::new(objects), why: || EditError::NotKept("disk full".into()) })
}

#[tokio::test]
async fn settings_are_changed_whole_or_not_at_all() {
    let mut state = state();
    let topology = state.objects.view().live.of_file().clone();
    state.objects = full(MemoryObjects::beside(topology));
    let ask = async |method: &str, body: &str| read(answer(&state, &bearer_call(method, LB, body)).await).await;
    let (status, _) = ask("PUT", r#"{"displayName": "other", "sslConfiguration": "modern"}"#).await;
    assert_eq!(status, 500);
    assert_eq!(ask("GET", "").await.1["displayName"], "lb-demo", "who is told that it failed finds nothing changed");
    assert_eq!(ask("PUT", r#"{"displayName": "other"}"#).await.0, 200);
    assert_eq!(ask("GET", "").await.1["displayName"], "other");
}

#[tokio::test]
async fn certificate_that_no_frontend_shows_yet_is_there_once_and_told_so() {
    let mut state = state();
    let topology = state.objects.view().live.of_file().clone();
    let objects = MemoryObjects::beside(topology);
    // A frontend of this shape that is encrypted, and behind.
    let frontend = Edit::Create(Create {
        id: crate::model::ObjectId(crate::model::object::FIRST_MADE_ID),
        kind: ObjectKind::Frontend,
        name: crate::admin::vendor_fixture::name("secure"),
        parent: None,
        service: None,
        zone: None,
        shape: "ovh".into(),
        is_inert: true,
        form: r#"{"protocol": "http"}"#.into(),
        extras: r#"{"ovh": {"kind": "http", "fields": {"ssl": true}, "form": {}}}"#.into(),
    });
    let act = Act { actor: "ops".into(), source: "test".into(), reason: None, at: Timestamp(1) };
    let plan = |desk: &Desk<'_>| {
        let _ = desk.fresh_id();
        Ok(vec![frontend.clone()])
    };
    objects.edit(&plan, When::Live, &act).unwrap();
    state.objects = full(objects);
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let body = json!({"certificate": made.cert.pem(), "key": made.signing_key.serialize_pem()}).to_string();
    let path = format!("{LB}/ssl");
    let (status, ssl) = read(answer(&state, &bearer_call("POST", &path, &body)).await).await;
    assert_eq!((status, &ssl["type"]), (200, &json!("custom")), "{ssl}");
    assert_eq!(read(answer(&state, &bearer_call("GET", &path, "")).await).await.1, json!([ssl["id"]]));
}
