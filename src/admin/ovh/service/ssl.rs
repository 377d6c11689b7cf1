//! Certificates: listed, brought, named, removed. One is live at once; the encrypted frontends of this shape show it from
//! the next refresh on, and one that they show goes with the next refresh. Removing one that a frontend needs is refused:
//! as its default one, as the only one, or named by another shape or the file, live or staged.
//!
//! `built` are those that were obtained from an authority. One that is waited for is not there yet.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::error::AdminError;
use crate::model::{Act, Declaration, Frontend, Made, Name, ObjectId, ObjectKind, Timestamp};
use crate::objects::obtained::Obtained;
use crate::objects::{Create, Desk, Edit, EditError, Objects, Replace, View, When, World, form};

use super::fields::Fields;
use super::{Query, Refusal, SHAPE, StatusCode, Writing, followers, json, not_found, pem, settings, wire};
use crate::admin::ovh::filter::is_like;

/// Characters of a displayed name.
const DISPLAY_NAME_MAX: usize = 255;
/// Characters of a PEM text.
const PEM_MAX: usize = 128 * 1024;
const DISPLAY_NAME: &str = "displayName";

/// Answers the list: those that pass every filter, by id.
pub(super) fn list(view: &View, query: &Query) -> Result<Vec<u8>, Refusal> {
    let kind = query.one_of("type", &["built", "built_not_routed", "custom"])?;
    let [fingerprint, serial] = ["fingerprint", "serial"].map(|key| query.text(key));
    let before = query.day_or_moment("expireDate")?;
    let is_plain = kind.is_none() && fingerprint.is_none() && serial.is_none() && before.is_none();
    let passes = |it: &Declaration| {
        is_plain
            || shown(it).is_some_and(|ssl| {
                kind.is_none_or(|kind| kind == ssl.kind)
                    && fingerprint.is_none_or(|like| is_like(like, &ssl.fingerprint))
                    && serial.is_none_or(|like| is_like(like, &ssl.serial))
                    && before.is_none_or(|before| until(it).is_some_and(|until| until < before))
            })
    };
    let ids: Vec<u64> = there(view.made_ahead()).filter(|it| passes(it)).map(|it| it.id.0).collect();
    json(&ids)
}

/// Answers one.
pub(super) fn one(view: &View, id: &str) -> Result<Vec<u8>, Refusal> {
    let it = find(view.made_ahead(), id)?;
    json(&shown(it).ok_or_else(|| not_found("certificate", id))?)
}

/// Takes one that is brought.
pub(super) async fn create(write: &Writing<'_>) -> Result<Vec<u8>, Refusal> {
    let fields = Fields::of(&write.call.body)?;
    let [certificate, key] = ["certificate", "key"].map(|field| fields.needed(field, PEM_MAX));
    let (certificate, key) = (certificate?, key?);
    let chain = fields.text("chain", PEM_MAX)?.flatten();
    let display_name = fields.text(DISPLAY_NAME, DISPLAY_NAME_MAX)?.flatten();
    if write.state.objects.certificate_files(ObjectId(0)).is_none() {
        let why = "certificates need state_dir; set it in the config and start again";
        return Err(Refusal::because(StatusCode::CONFLICT, why.to_owned()));
    }
    let bad = |why: String| Refusal::because(StatusCode::BAD_REQUEST, why);
    let cert = pem::check(certificate, key, chain).map_err(bad)?;
    let own = [("cert", Value::from(cert)), ("key", Value::from(format!("{}\n", key.trim())))];
    let form = form::text(own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    let extras = display_name.map(|name| (DISPLAY_NAME.to_owned(), Value::from(name)));
    let extras = form::text(extras.into_iter().collect());
    let id = fresh(write, move |desk| {
        let id = desk.fresh_id();
        (id, vec![certificate_of(id, false, form.clone(), extras.clone())])
    })
    .await?;
    if follow(write).await.is_err() {
        // It is there all the same: whoever is told that it failed makes another. The next refresh does this too.
        let request_id = &write.call.request_id;
        tracing::warn!(
            request_id,
            certificate = id.0,
            "frontends do not show a new certificate before the next refresh"
        );
    }
    one(&write.view(), &id.to_string())
}

/// Stages what encrypted frontends are behind the certificates.
pub(super) async fn follow(write: &Writing<'_>) -> Result<(), Refusal> {
    let act = write.act.clone();
    write.blocking(move |objects| stage_shown(objects, &act)).await
}

/// Stages what encrypted frontends are behind the certificates; nothing where they are not.
///
/// # Errors
/// [`EditError`]; nothing was changed.
pub(in crate::admin::ovh) fn stage_shown(objects: &dyn Objects, act: &Act) -> Result<(), EditError> {
    let view = objects.view();
    if shown_by_all(view.made_ahead(), None, objects).is_empty() {
        return Ok(());
    }
    let zone = &view.live.of_file().service.zone;
    let plan = |desk: &Desk<'_>| Ok(shown_by_all(desk.view.made_ahead(), None, objects));
    objects.edit(&plan, When::Staged { zone: zone.as_str() }, act).map(drop)
}

/// Returns the edits with which encrypted frontends show every certificate but this one.
fn shown_by_all(made: &Made, without: Option<ObjectId>, objects: &dyn Objects) -> Vec<Edit> {
    let ids: Vec<ObjectId> = there(made).map(|it| it.id).filter(|id| Some(*id) != without).collect();
    let files = |id| objects.certificate_files(id);
    followers::follow(made, &ids, &files, settings::configuration(made).as_deref())
}

/// Makes an object and returns its id.
async fn fresh(
    write: &Writing<'_>,
    plan: impl Fn(&Desk<'_>) -> (ObjectId, Vec<Edit>) + Send + Sync + 'static,
) -> Result<ObjectId, Refusal> {
    let (given, taken) = std::sync::mpsc::channel();
    write
        .edit(None, move |desk| {
            let (id, edits) = plan(desk);
            // Whoever waits for it is there until the write is made.
            let _ = given.send(id);
            Ok(edits)
        })
        .await?;
    taken.try_iter().last().ok_or_else(Refusal::bug)
}

/// Returns the edit that declares a certificate.
pub(super) fn certificate_of(id: ObjectId, is_inert: bool, form: Arc<str>, extras: Arc<str>) -> Edit {
    // A word and a number are a name.
    let name = Name::parse(&format!("ssl-{id}")).unwrap_or_else(|_| Name::fixed("ssl"));
    Edit::Create(Create {
        id,
        kind: ObjectKind::Certificate,
        name,
        parent: None,
        service: None,
        zone: None,
        shape: SHAPE.into(),
        is_inert,
        form,
        extras,
    })
}

/// Gives one another displayed name; everything else of it is read-only.
pub(super) async fn put(write: &Writing<'_>, id: &str) -> Result<Vec<u8>, Refusal> {
    let id = find(write.view().made_ahead(), id)?.id;
    let fields = Fields::of(&write.call.body)?;
    if let Some(name) = fields.text(DISPLAY_NAME, DISPLAY_NAME_MAX)? {
        let patch = Map::from_iter([(DISPLAY_NAME.to_owned(), name.map_or(Value::Null, Value::from))]);
        let plan = move |desk: &Desk<'_>| {
            let was = desk.view.made().get(id).ok_or_else(|| unknown(id))?;
            let mut extras = form::object(&was.extras);
            form::merge(&mut extras, &patch);
            Ok(vec![Edit::Replace(Replace { id, extras: Some(form::text(extras)), ..Replace::default() })])
        };
        write.edit(None, plan).await?;
    }
    json(&())
}

/// Removes one that nothing needs.
pub(super) async fn delete(write: &Writing<'_>, id: &str) -> Result<Vec<u8>, Refusal> {
    let view = write.view();
    let id = find(view.made_ahead(), id)?.id;
    let files = write.state.objects.certificate_files(id);
    let cert = files.as_ref().map(|[cert, _]| cert.clone());
    let is_shown = |world: &World| !users(world, id, cert.as_deref()).is_empty();
    // Whoever shows it live does so until the refresh.
    let zone = (is_shown(&view.live) || is_shown(&view.ahead)).then(|| write.zone.clone());
    let is_staged = zone.is_some();
    let objects = Arc::clone(&write.state.objects);
    let plan = move |desk: &Desk<'_>| {
        let made = desk.view.made_ahead();
        let is_last = !there(made).any(|it| it.id != id);
        let mut by = Vec::new();
        for world in [&desk.view.live, &desk.view.ahead] {
            let needs = |(_, declaration): &(String, Option<Arc<Declaration>>)| {
                let ahead = declaration.as_ref().and_then(|it| made.get(it.id));
                let goes_on = ahead.is_some_and(|it| followers::goes_on_without(it, id)) && !is_last;
                // One that goes with the same refresh needs nothing any more.
                let is_gone = declaration.is_some() && ahead.is_none();
                !(is_staged && (goes_on || is_gone))
            };
            let users = users(world, id, cert.as_deref());
            by.extend(users.into_iter().filter(needs).map(|(path, _)| path));
        }
        by.sort();
        by.dedup();
        if !by.is_empty() {
            let path = desk.view.ahead.path(id).unwrap_or_default();
            let path = form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>());
            return Err(EditError::InUse { path, by });
        }
        let mut edits = if is_staged { shown_by_all(made, Some(id), &*objects) } else { Vec::new() };
        edits.push(Edit::Delete { id });
        Ok(edits)
    };
    write.edit(zone.as_deref(), plan).await?;
    json(&())
}

/// Returns the frontends that show a certificate, or would if they were not disabled: their key paths, and what an API
/// declared of them.
fn users(world: &World, id: ObjectId, cert: Option<&std::path::Path>) -> Vec<(String, Option<Arc<Declaration>>)> {
    let path = |name: &Name| form::key_path(&["frontends", name.as_str()]);
    let names = |frontend: &Frontend| {
        frontend.tls.as_ref().is_some_and(|tls| tls.certificates.iter().any(|files| Some(&*files.cert) == cert))
    };
    let frontends = world.topology().frontends;
    let live = frontends.iter().filter(|it| names(it));
    let mut by: Vec<_> = live.map(|it| (path(&it.name), world.made().get(it.id.into()).cloned())).collect();
    let says = |declaration: &&Arc<Declaration>| {
        let form = form::object(&declaration.form);
        let certificates = form.get("tls").and_then(|tls| tls.get("certificates")).and_then(Value::as_array);
        let file = cert.and_then(std::path::Path::to_str);
        let is_named = |item: &Value| file.is_some() && item.get("cert").and_then(Value::as_str) == file;
        certificates.is_some_and(|all| all.iter().any(is_named)) || followers::has_default(declaration, id)
    };
    let said = world.made().of(None, ObjectKind::Frontend).filter(says);
    by.extend(said.map(|it| (path(&it.name), Some(Arc::clone(it)))));
    by
}

fn shown(declaration: &Declaration) -> Option<wire::Ssl> {
    let form = form::object(&declaration.form);
    let pem::Facts { subject, san, fingerprint, serial, until } = pem::facts(form.get("cert")?.as_str()?)?;
    let display_name = form::object(&declaration.extras).get(DISPLAY_NAME).and_then(Value::as_str).map(str::to_owned);
    let kind = if Obtained::of(declaration).is_some() { "built" } else { "custom" };
    let expire_date = until.to_string();
    Some(wire::Ssl { id: declaration.id.0, display_name, kind, subject, san, fingerprint, serial, expire_date })
}

fn until(declaration: &Declaration) -> Option<Timestamp> {
    Some(pem::facts(form::object(&declaration.form).get("cert")?.as_str()?)?.until)
}

fn there(made: &Made) -> impl Iterator<Item = &Declaration> {
    followers::certificates(made)
}

fn find<'m>(made: &'m Made, id: &str) -> Result<&'m Declaration, AdminError> {
    let found = id.parse().ok().and_then(|id| made.get(ObjectId(id))).filter(|it| followers::is_shown(it));
    let missing = || AdminError::NotFound { kind: "certificate", id: crate::admin::guard::quoted(id) };
    found.map(|it| &**it).ok_or_else(missing)
}

fn unknown(id: ObjectId) -> EditError {
    EditError::Unknown { kind: "certificate", id: id.0 }
}
