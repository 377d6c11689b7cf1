//! What follows from a write, and what of others is left alone: probes, listeners, certificates.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::super::face::Look;
use super::super::filter::Query;
use super::super::path::{Kind, Object};
use super::super::{answer, follow_certificates, shown, to_wire};
use super::writes::{BASE, Shape, shape};
use crate::admin::vendor_fixture::objects::Unstaged;
use crate::admin::vendor_fixture::{NOW, bearer_call, read, state};
use crate::model::{
    Act, Action, CheckRecord, FarmId, Frontend, FrontendId, InstanceId, Name, ObjectId, ObjectKind, Task, TaskId,
    TaskStatus, Timestamp,
};
use crate::objects::obtained::Obtained;
use crate::objects::{Create, Desk, Edit, EditError, NoObjects, View, When};
use crate::store::snapshot::{InstanceRow, Sight};

fn act() -> Act {
    Act { actor: "ops".into(), source: "::1".into(), reason: None, at: NOW }
}

impl Shape {
    /// Has somebody else make an object, live.
    fn other(&self, kind: ObjectKind, name: &str, change: impl Fn(Create) -> Create) -> ObjectId {
        let plan = |desk: &Desk<'_>| {
            let create = Create {
                id: desk.fresh_id(),
                kind,
                name: Name::parse(name).unwrap(),
                parent: None,
                service: None,
                zone: None,
                shape: "zenlayer".into(),
                is_inert: false,
                form: "{}".into(),
                extras: "{}".into(),
            };
            Ok(vec![Edit::Create(change(create))])
        };
        self.0.objects.edit(&plan, When::Live, &act()).unwrap();
        self.0.objects.view().made().iter().find(|it| it.kind == kind && it.name.as_str() == name).unwrap().id
    }

    fn opened(&self, id: u64) -> Option<Arc<Frontend>> {
        self.0.objects.view().ahead.frontend(FrontendId(id)).cloned()
    }

    fn form(&self, id: u64) -> Value {
        let view = self.0.objects.view();
        serde_json::from_str(&view.made_ahead().get(ObjectId(id)).unwrap().form).unwrap()
    }
}

fn pair() -> Value {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    json!({"certificate": certificate.pem(), "key": key.serialize_pem()})
}

#[tokio::test]
async fn farm_that_another_made_keeps_its_probes_whatever_else_is_written() {
    let shape = shape();
    for (name, form) in [
        ("none", json!({"protocol": "http"})),
        ("several", json!({"protocol": "http", "probes": {"a": {"type": "tcp"}, "b": {"type": "http"}}})),
    ] {
        let made = |create| Create { form: form.to_string().into(), ..create };
        let id = shape.other(ObjectKind::Farm, name, made).0;
        shape.ok("PUT", &format!("/http/farm/{id}"), json!({"displayName": "x"})).await;
        assert_eq!(shape.form(id), form, "{name}");
    }
    // Once it is written here, it is this shape's.
    let id = shape.get("/http/farm/none").await["farmId"].as_u64().unwrap();
    shape.ok("PUT", &format!("/http/farm/{id}"), json!({"probe": {"type": "http"}})).await;
    assert_eq!(shape.form(id)["probe"]["type"], "http");
}

#[tokio::test]
async fn what_another_keeps_out_of_force_is_not_told() {
    let shape = shape();
    let lists = ["/definedFarms", "/definedFrontends", "/http/farm", "/http/frontend", "/http/farm/web/server"];
    let mut before = Vec::new();
    for list in lists {
        before.push(shape.get(list).await);
    }
    let form = |form: Value| move |create| Create { is_inert: true, form: form.to_string().into(), ..create };
    let farm = shape.other(ObjectKind::Farm, "gone", form(json!({"protocol": "http"})));
    let listener = json!({"protocol": "http", "listen": ["10.0.0.2:8000"], "farm": "gone"});
    let frontend = shape.other(ObjectKind::Frontend, "gone", form(listener));
    let web = FarmId::derive(&Name::parse("web").unwrap());
    let of_web = form(json!({"address": "10.0.0.9:80"}));
    let server = shape.other(ObjectKind::Server, "gone", |it| Create { parent: Some(web.into()), ..of_web(it) });
    for (list, before) in lists.into_iter().zip(before) {
        assert_eq!(shape.get(list).await, before, "{list}");
    }
    for part in
        [format!("/http/farm/{farm}"), format!("/http/frontend/{frontend}"), format!("/http/farm/web/server/{server}")]
    {
        assert_eq!(shape.refused("GET", &part, Value::Null).await.0, 404, "{part}");
        assert_eq!(shape.refused("PUT", &part, json!({"displayName": "x"})).await.0, 404, "{part}");
    }
}

#[tokio::test]
async fn frontend_with_nowhere_to_go_rejects_until_it_has() {
    let shape = shape();
    let farm = shape.make("/http/farm", "farmId", json!({"zone": "all", "port": 80})).await;
    let id = shape.make("/http/frontend", "frontendId", json!({"zone": "all", "port": "8000"})).await;
    let part = format!("/http/frontend/{id}");
    let otherwise = || shape.opened(id).unwrap().otherwise.clone();
    assert_eq!(otherwise(), Action::Reject(503));
    shape.ok("PUT", &part, json!({"defaultFarmId": farm})).await;
    assert!(matches!(otherwise(), Action::Forward(_)) && shape.form(id).get("reject").is_none());
    shape.ok("PUT", &part, json!({"defaultFarmId": null, "redirectLocation": "https://a.test/"})).await;
    assert!(matches!(otherwise(), Action::Redirect(_)) && shape.form(id).get("reject").is_none());
    shape.ok("PUT", &part, json!({"redirectLocation": null})).await;
    let route = json!({"action": {"type": "farm", "target": farm.to_string()}, "frontendId": id});
    shape.make("/http/route", "routeId", route).await;
    assert_eq!(otherwise(), Action::Reject(503), "what no route takes too");
    let tcp = shape.make("/tcp/frontend", "frontendId", json!({"zone": "all", "port": "8001"})).await;
    assert!(matches!(shape.opened(tcp).unwrap().otherwise, Action::Reject(_)));
    let udp = shape.make("/udp/frontend", "frontendId", json!({"zone": "all", "port": "8002"})).await;
    assert!(shape.opened(udp).is_none(), "a datagram cannot be answered");
}

#[tokio::test]
async fn hsts_is_said_whenever_there_is_tls_and_never_without() {
    let shape = shape();
    let front = |port: &str, more: Value| {
        let mut body = json!({"zone": "all", "port": port, "hsts": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let late = json!({"ssl": true, "disabled": true});
    let late = shape.make("/http/frontend", "frontendId", front("8001", late)).await;
    let (status, why) = shape.refused("PUT", &format!("/http/frontend/{late}"), json!({"disabled": false})).await;
    assert_eq!((status, why.starts_with("ssl: true is outside false")), (400, true), "{why}");
    shape.ok("POST", "/ssl", pair()).await;
    let form = shape.form(late);
    assert_eq!((form["tls"].is_object(), &form["hsts"]), (true, &json!(true)), "it follows what came");
    assert!(shape.opened(late).is_none(), "it is disabled still");
    shape.ok("PUT", &format!("/http/frontend/{late}"), json!({"disabled": false})).await;
    assert!(shape.opened(late).unwrap().hsts.is_some());

    let id = shape.make("/http/frontend", "frontendId", front("8000", json!({"ssl": false}))).await;
    let part = format!("/http/frontend/{id}");
    let has = || (shape.opened(id).unwrap().tls.is_some(), shape.opened(id).unwrap().hsts.is_some());
    for ssl in [false, true, false, true] {
        shape.ok("PUT", &part, json!({"ssl": ssl})).await;
        assert_eq!((has(), &shape.get(&part).await["hsts"]), ((ssl, ssl), &json!(true)), "ssl: {ssl}");
    }
    shape.ok("PUT", &part, json!({"hsts": false})).await;
    assert_eq!(has(), (true, false));
}

#[tokio::test]
async fn frontend_that_waits_for_its_first_certificate_opens_with_it() {
    let shape = shape();
    let listener = json!({"protocol": "tcp", "listen": ["10.0.0.2:8000"], "reject": true});
    let fields = json!({"port": "8000", "zone": "all", "ssl": true, "disabled": false});
    let extras = json!({"ovh": {"fields": fields, "form": listener}});
    // As an older version left it.
    let id = shape.other(ObjectKind::Frontend, "front", |create| Create {
        shape: "ovh".into(),
        is_inert: true,
        form: listener.to_string().into(),
        extras: extras.to_string().into(),
        ..create
    });
    assert!(shape.opened(id.0).is_none());
    shape.ok("POST", "/ssl", pair()).await;
    assert!(shape.opened(id.0).unwrap().tls.is_some());
}

#[tokio::test]
async fn certificate_that_comes_by_itself_is_a_pending_change() {
    let shape = shape();
    shape.ok("POST", "/ssl", pair()).await;
    let front = json!({"zone": "all", "port": "8000", "ssl": true});
    let front = shape.make("/http/frontend", "frontendId", front).await;
    shape.ok("POST", "/refresh", Value::Null).await;
    let form = json!({"cert": pair()["certificate"], "key": "x"});
    shape.other(ObjectKind::Certificate, "ssl-2", |create| Create {
        shape: "ovh".into(),
        form: form.to_string().into(),
        ..create
    });
    assert_eq!(shape.get("/pendingChanges").await, json!([]));
    for _ in 0..2 {
        follow_certificates(&*shape.0.objects, &act()).unwrap();
        assert_eq!(shape.get("/pendingChanges").await, json!([{"zone": "local", "number": 1}]));
    }
    assert_eq!(shape.form(front)["tls"]["certificates"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn certificate_in_use_is_refused_in_one_line_of_its_own_class() {
    let shape = shape();
    let id = shape.ok("POST", "/ssl", pair()).await["id"].clone();
    for port in ["8000", "8001"] {
        let front = json!({"zone": "all", "port": port, "ssl": true, "defaultSslId": id});
        shape.make("/http/frontend", "frontendId", front).await;
    }
    let (status, body) = shape.call("DELETE", &format!("/ssl/{id}"), &Value::Null).await;
    assert_eq!((status, &body["class"]), (409, &json!("Client::Conflict::InUse")), "{body}");
    assert_eq!(body["message"].as_str().unwrap().lines().count(), 1);
}

#[tokio::test]
async fn certificate_is_refused_where_there_is_nowhere_to_keep_it() {
    let mut nowhere = state();
    nowhere.objects = Arc::new(NoObjects::default());
    let call = bearer_call("POST", &format!("{BASE}/ssl"), &pair().to_string());
    let (status, body) = read(answer(&nowhere, &call).await).await;
    assert_eq!((status, &body["class"]), (409, &json!("Client::Conflict")), "{body}");
    assert!(body["message"].as_str().unwrap().starts_with("certificates need state_dir"), "{body}");
}

#[tokio::test]
async fn name_that_is_ordered_again_has_one_certificate_that_both_tasks_wait_for() {
    let mut shape = shape();
    shape.0.obtains = true;
    let mut tasks = Vec::new();
    for names in [json!(["a.test"]), json!(["a.test", "b.test"])] {
        tasks.push(shape.make("/freeCertificate", "id", json!({"fqdn": names})).await);
    }
    let view = shape.0.objects.view();
    let said = Obtained::all(view.made());
    let of =
        |name: &str| said.iter().filter(|said| &*said.name == name).map(|said| said.tasks.clone()).collect::<Vec<_>>();
    let [first, second] = [TaskId(tasks[0]), TaskId(tasks[1])];
    assert_eq!((of("a.test"), of("b.test")), (vec![vec![first, second]], vec![vec![second]]));
    // One that has ended waits no more.
    shape.0.objects.report_task(first, Ok(100)).unwrap();
    let third = TaskId(shape.make("/freeCertificate", "id", json!({"fqdn": "a.test"})).await);
    let view = shape.0.objects.view();
    let said = Obtained::all(view.made());
    assert_eq!(said.iter().find(|said| &*said.name == "a.test").unwrap().tasks, [second, third]);
}

#[tokio::test]
async fn settings_that_are_refused_together_leave_nothing_behind() {
    let mut shape = shape();
    shape.0.objects = Arc::new(Unstaged {
        objects: Arc::clone(&shape.0.objects),
        why: || EditError::fault("sslConfiguration", "cannot be"),
    });
    let both = json!({"displayName": "shop", "sslConfiguration": "modern"});
    assert_eq!(shape.refused("PUT", "", both).await, (400, "sslConfiguration: cannot be".to_owned()));
    assert_eq!(shape.get("").await["displayName"], "lb-demo");
}

#[test]
fn instance_reloads_while_a_refresh_of_its_zone_is_under_way() {
    let shape = shape();
    let (snapshot, view) = (shape.0.store.snapshot(NOW), shape.0.objects.view());
    let task = |status, zones: &[&str], is_refresh| Task {
        id: TaskId(1),
        action: "x".into(),
        is_refresh,
        status,
        zones: zones.iter().map(|zone| Box::from(*zone)).collect(),
        progress: 0,
        created_at: Timestamp::default(),
        done_at: None,
        failure: None,
        act: act(),
    };
    for (tasks, want) in [
        (vec![], "running"),
        (vec![task(TaskStatus::Todo, &["local"], true)], "reload"),
        (vec![task(TaskStatus::Doing, &[], true)], "reload"),
        (vec![task(TaskStatus::Doing, &["gra"], true)], "running"),
        (vec![task(TaskStatus::Doing, &["local"], false)], "running"),
        (vec![task(TaskStatus::Done, &["local"], true)], "running"),
    ] {
        let (live, ahead) = (Arc::clone(&view.live), Arc::clone(&view.ahead));
        let view = View { live, ahead, staged: vec![], tasks, revision: 0 };
        let instances = to_wire::instances(&snapshot, &view);
        assert_eq!(instances.iter().map(|it| it.state).collect::<Vec<_>>(), [want], "{:?}", view.tasks);
    }
}

#[test]
fn every_instance_tells_what_it_sees_the_latest_last() {
    let shape = shape();
    let (mut snapshot, view) = (shape.0.store.snapshot(NOW), shape.0.objects.view());
    // The Store keeps the last one that it made.
    drop(shape.0.store.snapshot(Timestamp(NOW.0 + 1_000_000)));
    let snapshot = Arc::get_mut(&mut snapshot).unwrap();
    let other = InstanceRow { id: InstanceId(9), is_ready: false, ..snapshot.instances[0].clone() };
    snapshot.instances.push(other);
    let farm = snapshot.farms.iter_mut().find(|row| row.farm.name.as_str() == "web").unwrap();
    let row = farm.servers.iter_mut().find(|row| row.server.name.as_str() == "up").unwrap();
    let own = row.sights[0].clone();
    let check = |at| CheckRecord { at: Timestamp(at), ..CheckRecord::clone(own.last_check.as_ref().unwrap()) };
    let seen = |instance, at: Option<u64>| Sight {
        instance: InstanceId(instance),
        state: "DOWN".into(),
        last_check: at.map(|at| Arc::new(check(at))),
        ..own.clone()
    };
    row.sights.extend([seen(9, None), seen(8, Some(NOW.0)), seen(6, Some(1))]);
    let server = Object::Server(Kind::Http, "web", "up");
    let told = shown::body(Look::at(&view, snapshot), server, &Query::none()).unwrap();
    let ids: Vec<_> = told["serverState"].as_array().unwrap().iter().map(|it| it["instanceId"].clone()).collect();
    assert_eq!(ids, [9, 6, 7, 8], "{told}");
    assert_eq!((&told["serverState"][2]["status"], &told["serverState"][3]["status"]), (&json!("UP"), &json!("DOWN")));
    let instances = to_wire::instances(snapshot, &view);
    assert_eq!(
        instances.iter().map(|it| (it.internal_id, it.state)).collect::<Vec<_>>(),
        [(7, "running"), (9, "unknown")]
    );
}

#[tokio::test]
async fn frontend_of_another_that_is_disabled_here_is_told_and_opens_again() {
    let shape = shape();
    let form = json!({"protocol": "tcp", "listen": ["10.0.0.2:8000"], "reject": true, "deny": ["192.0.2.0/24"]});
    let made = |create| Create { form: form.to_string().into(), ..create };
    let id = shape.other(ObjectKind::Frontend, "front", made).0;
    let part = format!("/tcp/frontend/{id}");
    let open = shape.get(&part).await;
    shape.ok("PUT", &part, json!({"disabled": true})).await;
    assert!(shape.opened(id).is_none());
    let mut closed = shape.get(&part).await;
    assert_eq!((&closed["disabled"], &closed["deniedSource"]), (&json!(true), &json!(["192.0.2.0/24"])));
    closed["disabled"] = json!(false);
    assert_eq!(closed, open, "else it is told as before");
    assert!(shape.get("/definedFrontends").await.as_array().unwrap().iter().any(|it| it["id"] == id));
    shape.ok("PUT", &part, json!({"disabled": false})).await;
    assert_eq!((shape.opened(id).is_some(), shape.get(&part).await, shape.form(id)), (true, open, form));
}
