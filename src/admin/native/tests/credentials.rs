//! Whoever may change some farms only gives away no others, and ends nothing that is for others.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admin::Credentials;
use crate::admin::asked::Asked;
use crate::admin::asked::tests::{application, asked, wanted};
use crate::admin::fixture::{Reply, Running, credentials, name, settings};
use crate::clock;
use crate::model::Access;
use crate::model::credential::AskedState;
use crate::model::settings::{BearerToken, Grant, Secret};
use crate::store::NoJournal;

const BOSS: &str = "token-of-boss-0123456789";
const SHOP: &str = "token-of-shop-0123456789";
const CREW: &str = "token-of-crew-0123456789";

struct Office {
    running: Running,
    asked: Arc<Asked>,
    nonce: u8,
}

impl Office {
    /// `boss` may change everything, `shop` the farms web and db, `crew` grants nothing.
    fn open() -> Self {
        let kept = Arc::new(asked().1);
        let own = Arc::clone(&kept);
        let token = |who: &str, access, farms: Option<&[&str]>, token| BearerToken {
            grant: Grant {
                name: who.into(),
                access,
                farms: farms.map(|farms| farms.iter().map(|it| name(it)).collect()),
            },
            token: Secret::new(token),
        };
        let tokens = vec![
            token("boss", Access::Admin, None, BOSS),
            token("shop", Access::Admin, Some(&["web", "db"]), SHOP),
            token("crew", Access::Operate, None, CREW),
        ];
        let known = Credentials { tokens, ovh_applications: vec![application("as")], ..credentials() };
        let running = Running::start_as(&settings(), None, Arc::new(NoJournal), |state| {
            state.asked = own;
            state.credentials = Arc::new(ArcSwap::from_pointee(known));
        });
        Self { running, asked: kept, nonce: 0 }
    }

    /// A credential that waits.
    fn pending(&mut self) -> u64 {
        self.nonce += 1;
        let now = clock::wall();
        self.asked.ask(&application("as"), wanted(self.nonce, now), [192, 0, 2, self.nonce].into(), now).unwrap().0
    }

    fn act(&self, id: u64, act: &str, token: &str, body: &str) -> Reply {
        self.running.call("POST", &format!("/api/v1/credentials/{id}/{act}"), token, body)
    }

    fn state(&self, id: u64) -> Option<AskedState> {
        let all = self.asked.all();
        all.iter().find(|asked| asked.id == id).map(|asked| asked.state(clock::wall()))
    }

    #[track_caller]
    fn granted(&mut self, token: &str, body: &str) -> (u64, serde_json::Value) {
        let id = self.pending();
        let reply = self.act(id, "grant", token, body);
        assert_eq!(reply.status, 200, "{reply:?}");
        (id, reply.json()["farms"].clone())
    }

    #[track_caller]
    fn refused(&self, id: u64, act: &str, token: &str, body: &str, farm: &str) {
        let before = self.state(id);
        let reply = self.act(id, act, token, body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"]), (403, &"forbidden".into()), "{reply:?}");
        assert!(error["message"].as_str().unwrap().contains(farm), "{reply:?}");
        assert_eq!(self.state(id), before, "{act} {body}");
    }
}

#[test]
fn grant_is_held_to_the_farms_of_its_granter() {
    let mut office = Office::open();
    assert_eq!(office.granted(SHOP, "").1, serde_json::json!(["web", "db"]), "its own unless told");
    assert_eq!(office.granted(SHOP, r#"{"farms": ["db"]}"#).1, serde_json::json!(["db"]));
    assert_eq!(office.granted(BOSS, "").1, serde_json::Value::Null, "all of them");
    assert_eq!(office.granted(BOSS, r#"{"farms": ["elsewhere"]}"#).1, serde_json::json!(["elsewhere"]));
    let id = office.pending();
    office.refused(id, "grant", SHOP, r#"{"farms": ["web", "elsewhere"]}"#, "farm \"elsewhere\"");
    office.refused(id, "grant", CREW, "", "role admin");
    assert_eq!(office.state(id), Some(AskedState::PendingValidation));
}

#[test]
fn credential_that_is_for_other_farms_is_not_ended_by_who_may_change_some() {
    let mut office = Office::open();
    let waits = office.pending();
    office.refused(waits, "refuse", SHOP, "", "(all of them)");
    office.refused(waits, "revoke", SHOP, "", "(all of them)");
    let (all, _) = office.granted(BOSS, "");
    office.refused(all, "revoke", SHOP, "", "(all of them)");
    let (others, _) = office.granted(BOSS, r#"{"farms": ["web", "elsewhere"]}"#);
    office.refused(others, "revoke", SHOP, "", "farm \"elsewhere\"");
    let (own, _) = office.granted(BOSS, r#"{"farms": ["web"]}"#);
    assert_eq!(office.act(own, "revoke", SHOP, "").status, 200);
    assert_eq!(office.state(own), None);
    assert_eq!(office.act(waits, "refuse", BOSS, "").status, 200);
    assert_eq!(office.act(99, "revoke", SHOP, "").status, 404);
}
