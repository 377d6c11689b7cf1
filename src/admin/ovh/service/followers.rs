//! Frontends of this shape that are encrypted show every certificate there is: their default one first, the others to who
//! asks for their names. So a certificate that comes or goes, or another configuration of TLS, is a change of them too,
//! staged like every other. One whose `tls` somebody else has written since follows no more. Pure.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::SHAPE;
use crate::admin::ovh::ahead::Said;
use crate::admin::ovh::face;
use crate::admin::ovh::write::{CHAIN_SHAPE, is_idle};
use crate::model::{Declaration, Made, ObjectId, ObjectKind};
use crate::objects::edit::Replace;
use crate::objects::{Edit, form};

/// Returns the files of a certificate and its key.
pub(in crate::admin::ovh) type Files<'f> = &'f dyn Fn(ObjectId) -> Option<[PathBuf; 2]>;

/// Returns the certificates that clients can be shown, by id: not those that are waited for, nor those that servers are
/// verified with.
pub(in crate::admin::ovh) fn certificates(made: &Made) -> impl Iterator<Item = &Declaration> {
    made.of(None, ObjectKind::Certificate).map(|it| &**it).filter(|it| is_shown(it))
}

/// Returns whether an object is one of [`certificates`].
pub(super) fn is_shown(it: &Declaration) -> bool {
    it.kind == ObjectKind::Certificate && it.parent.is_none() && !it.is_inert && &*it.shape != CHAIN_SHAPE
}

/// Returns what the form of a frontend says of TLS: with these certificates, and in this configuration unless it is the
/// usual one.
pub(in crate::admin::ovh) fn tls(ids: &[ObjectId], files: Files<'_>, configuration: Option<&str>) -> Value {
    let pair = |id: &ObjectId| {
        let [cert, key] = files(*id)?;
        Some(json!({"cert": cert.to_string_lossy(), "key": key.to_string_lossy()}))
    };
    let certificates: Vec<Value> = ids.iter().filter_map(pair).collect();
    match configuration {
        Some("modern") => json!({"certificates": certificates, "profile": "modern"}),
        Some(_) | None => json!({"certificates": certificates}),
    }
}

/// Returns the edits with which encrypted frontends show these certificates in this configuration.
pub(super) fn follow(made: &Made, ids: &[ObjectId], files: Files<'_>, configuration: Option<&str>) -> Vec<Edit> {
    let one = |(frontend, said): (&Declaration, Said)| {
        let mut ids = ids.to_vec();
        let default = default_of(&said);
        ids.sort_by_key(|id| (Some(*id) != default, *id));
        let wanted = tls(&ids, files, configuration);
        let mut own = form::object(&frontend.form);
        if ids.is_empty() || own.get("tls") == Some(&wanted) {
            return None;
        }
        let mut said = said;
        // The header waited for TLS.
        let waits = said.fields.get("hsts") == Some(&Value::Bool(true)) && said.stands("hsts", &own);
        for (key, value) in [Some(("tls", wanted)), waits.then_some(("hsts", json!(true)))].into_iter().flatten() {
            own.insert(key.to_owned(), value.clone());
            said.form.insert(key.to_owned(), value);
        }
        let has_routes = made.of(Some(frontend.id), ObjectKind::Route).any(|route| !route.is_inert);
        let is_inert = Some(is_idle(&face::typed(said.fields.clone()), &own, has_routes));
        let (form, extras) = (Some(form::text(own)), Some(said.extras(&frontend.extras)));
        Some(Edit::Replace(Replace { id: frontend.id, form, extras, is_inert, ..Replace::default() }))
    };
    followers(made).filter_map(one).collect()
}

/// Returns whether a frontend shows whatever certificates there are, and names this one no more than the others.
pub(super) fn goes_on_without(frontend: &Declaration, id: ObjectId) -> bool {
    follows(frontend).is_some_and(|said| default_of(&said) != Some(id))
}

/// Returns whether a frontend of this shape names a certificate as its default one.
pub(super) fn has_default(frontend: &Declaration, id: ObjectId) -> bool {
    default_of(&Said::of(frontend)) == Some(id)
}

fn followers(made: &Made) -> impl Iterator<Item = (&Declaration, Said)> {
    made.of(None, ObjectKind::Frontend).filter_map(|it| Some((&**it, follows(it)?)))
}

fn follows(frontend: &Declaration) -> Option<Said> {
    let said = Said::of(frontend);
    let is_encrypted = said.fields.get("ssl") == Some(&Value::Bool(true));
    let is_its = &*frontend.shape == SHAPE && said.stands("tls", &form::object(&frontend.form));
    (is_encrypted && is_its).then_some(said)
}

fn default_of(said: &Said) -> Option<ObjectId> {
    said.fields.get("defaultSslId").and_then(Value::as_u64).map(ObjectId)
}
