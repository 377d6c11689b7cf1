//! What whoever may read is not told: secrets of farms and frontends, nor what they could be found out by.

use std::sync::Arc;

use crate::admin::call::AdminState;
use crate::admin::native;
use crate::admin::vendor_fixture::{bearer_call, name, state, state_of, topology_with};
use crate::model::{Act, Farm, FarmId, Frontend, Probe, ProbeKind, Secret, Timestamp, Topology};
use crate::objects::{Edit, When, form, whole};

async fn get(state: &AdminState, path: &str) -> (Option<String>, String) {
    let response = native::answer(state, &bearer_call("GET", path, "")).await;
    assert_eq!(response.status(), 200, "{path}");
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (tag, String::from_utf8(body.to_vec()).unwrap())
}

/// What anybody can compute of a text.
fn hash(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("\"{:016x}\"", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[tokio::test]
async fn tag_of_a_farm_is_no_digest_that_others_can_compute() {
    let mut topology = topology_with(1);
    let many = topology.farms.last_mut().unwrap();
    let redis = Probe::new(ProbeKind::Redis { password: Some(Secret::new("hunter22")) });
    *many = Arc::new(Farm { probes: [Arc::new(redis)].into(), ..Farm::clone(many) });
    let state = state_of(topology);
    let (tag, _) = get(&state, "/api/v1/farms/many").await;
    let form = whole::farm(&state.objects.view().live, FarmId::derive(&name("many"))).unwrap();
    let text = form::text(form);
    assert!(text.contains("hunter22"), "the tag is of all of it");
    let tag = tag.unwrap();
    assert_ne!(tag, hash(&text));
    assert_eq!(tag.len(), 34);
    assert_eq!(get(&state, "/api/v1/farms/many").await.0.unwrap(), tag, "it is the same as long as nothing changed");
}

#[tokio::test]
async fn headers_that_are_secrets_are_told_by_name_alone() {
    let state = state();
    let text = r#"{"protocol": "http", "listen": ["203.0.113.7:8443"], "farm": "web",
        "request_headers": {"set": {"Authorization": "Basic c2VjcmV0", "X-Plain": "shown"},
                            "add": {"X-Api-Key": ["k-secret", "k-secret-2"]}, "remove": ["Cookie"]},
        "routes": [{"name": "r", "action": {"farm": "web", "response_headers": {"set": {"Set-Cookie": "c-secret"}}}}]}"#;
    let act = Act { actor: "ops".into(), source: "test".into(), reason: None, at: Timestamp(1) };
    let maker = whole::Maker { shape: "native".into(), service: None, zone: None };
    let plan = |desk: &crate::objects::Desk<'_>| -> Result<Vec<Edit>, _> {
        whole::create_frontend(desk, &maker, &name("hush"), form::object(text))
    };
    state.objects.edit(&plan, When::Live, &act).unwrap();
    let live = state.objects.view().live.topology();
    let hush: Vec<Arc<Frontend>> = live.frontends.iter().filter(|it| it.name.as_str() == "hush").cloned().collect();
    assert_eq!(hush.len(), 1);
    let state = state_of(Topology { frontends: hush, ..live });
    for path in ["/api/v1/frontends/hush", "/api/v1/frontends", "/api/v1/frontends/hush/routes", "/api/v1/status"] {
        let (_, body) = get(&state, path).await;
        assert!(!body.contains("secret") && !body.contains("c2VjcmV0"), "{path}: {body}");
    }
    let (_, body) = get(&state, "/api/v1/frontends/hush").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let rules = &body["request_headers"];
    assert_eq!((&rules["set"]["Authorization"], &rules["set"]["X-Plain"]), (&"…".into(), &"shown".into()));
    assert_eq!((&rules["add"]["X-Api-Key"], &rules["remove"][0]), (&"…".into(), &"cookie".into()));
}
