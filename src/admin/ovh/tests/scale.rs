//! What ten thousand servers cost: whoever reads asks for as much as a list has, once, and never as often as it has any.

use std::time::Duration;

use super::*;
use crate::admin::call::AdminState;
use crate::admin::vendor_fixture::{put_header, state_of, topology_with};
use crate::clock;
use crate::model::{Act, ObjectKind};
use crate::objects::edit::Create;
use crate::objects::whole::{Maker, create_farm};
use crate::objects::{Edit, When};

const SERVERS: u16 = 10_000;
/// Without a map, a page of all takes minutes.
const SOON: Duration = Duration::from_secs(20);
/// Without a look at one alone, a server takes seconds.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Ten thousand servers, made through an API.
fn made() -> AdminState {
    let state = state();
    let act = Act { actor: "ops".into(), source: "test".into(), reason: None, at: crate::model::Timestamp(1) };
    let maker = Maker { shape: "ovh".into(), service: None, zone: None };
    let plan = |desk: &crate::objects::Desk<'_>| {
        let form = [("protocol".to_owned(), "http".into())].into_iter().collect();
        create_farm(desk, &maker, &crate::admin::vendor_fixture::name("many"), form)
    };
    state.objects.edit(&plan, When::Live, &act).unwrap();
    let farm = state.objects.view().live.farm_named("many").unwrap();
    let numbers: Vec<u16> = (0..SERVERS).collect();
    for part in numbers.chunks(2_000) {
        let one = |id, n: u16| {
            Edit::Create(Create {
                id,
                kind: ObjectKind::Server,
                name: crate::admin::vendor_fixture::name(&format!("m{n}")),
                parent: Some(farm.into()),
                service: None,
                zone: None,
                shape: "ovh".into(),
                is_inert: false,
                form: format!("{{\"address\": \"10.1.{}.{}:8080\"}}", n / 250, n % 250).into(),
                extras: "{}".into(),
            })
        };
        let plan = |desk: &crate::objects::Desk<'_>| Ok(part.iter().map(|n| one(desk.fresh_id(), *n)).collect());
        state.objects.edit(&plan, When::Live, &act).unwrap();
    }
    state
}

async fn get(state: &AdminState, part: &str, headers: &[(&str, &str)]) -> (Duration, Response) {
    let mut call = bearer_call("GET", &format!("/1.0/ipLoadbalancing/lb-demo/http/farm/many/server{part}"), "");
    headers.iter().for_each(|(name, value)| put_header(&mut call, name, value));
    let began = clock::monotonic();
    let response = answer(state, &call).await;
    (began.elapsed(), response)
}

async fn is_told_soon(state: &AdminState, last: &str) {
    let page = ("x-pagination-mode", "CachedObjectList-Pages");
    let (took, response) = get(state, "", &[page, ("x-pagination-size", "1"), ("x-pagination-number", "10000")]).await;
    assert_eq!(response.headers()["x-pagination-elements"], "10000");
    let (status, body) = read(response).await;
    assert_eq!((status, &body[0]["displayName"], &body[1]), (200, &json!(last), &Value::Null), "{body}");
    assert!(took < AT_ONCE, "a page of one took {took:?}");
    let id = body[0]["serverId"].to_string();
    let (took, response) = get(state, &format!("/{id}"), &[]).await;
    assert_eq!(read(response).await, (200, body[0].clone()));
    assert!(took < AT_ONCE, "one server took {took:?}");
    // Sorted, so that every one of them is looked at.
    let sorted = [page, ("x-pagination-size", "1"), ("x-pagination-sort", "serverId")];
    let (took, response) = get(state, "", &sorted).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-pagination-elements"]),
        (200, &"10000".parse().unwrap())
    );
    assert!(took < SOON, "a sorted page took {took:?}");
    let (took, response) = get(state, "?status=inactive", &[]).await;
    assert_eq!(read(response).await, (200, json!([])));
    assert!(took < SOON, "a filtered list took {took:?}");
}

#[tokio::test]
async fn ten_thousand_servers_of_the_file_are_told_one_by_one_at_once() {
    is_told_soon(&state_of(topology_with(SERVERS)), "s9999").await;
}

#[tokio::test]
async fn ten_thousand_servers_made_through_an_api_are_told_one_by_one_at_once() {
    is_told_soon(&made(), "m9999").await;
}

#[tokio::test]
async fn page_is_refused_for_what_is_on_it_alone() {
    let state = state();
    let name = crate::admin::vendor_fixture::name;
    let key = key("web", CASES[0]);
    let of = |rules: Vec<crate::model::settings::CallRule>| {
        let grant = crate::model::settings::Grant { name: "x".into(), access: Access::Read, farms: None };
        Known { caller: Caller { grant }, asked: None, rules }
    };
    let rule = |path: &str| crate::model::settings::CallRule::new("GET", path).unwrap();
    let list = format!("/ipLoadbalancing/lb-demo/http/farm/{}/server", FarmId::derive(&name("web")));
    let known = of(vec![rule(&list), rule(&format!("{list}/{}", key.server))]);
    let mut call = bearer_call("GET", &format!("/1.0{list}"), "");
    put_header(&mut call, "x-pagination-mode", "CachedObjectList-Pages");
    put_header(&mut call, "x-pagination-size", "1");
    for (number, is_allowed) in [("1", true), ("2", false)] {
        put_header(&mut call, "x-pagination-number", number);
        let page = service::paging::Page::of(&call).unwrap().unwrap();
        let (snapshot, view) = (state.store.snapshot(call.now), state.objects.view());
        let reading = Reading { state: &state, call: &call, known: &known, snapshot: &snapshot, view: &view };
        assert_eq!(page.answer(&reading).is_ok(), is_allowed, "page {number}");
    }
}
