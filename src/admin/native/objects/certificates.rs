//! Certificates made through an API: what they say, who shows them, and that nobody takes one from under a frontend.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Map, Value};

use crate::admin::call::AdminState;
use crate::admin::native::error::Failure;
use crate::admin::native::query::Query;
use crate::admin::native::to_wire::origin;
use crate::admin::native::wire::{CertificateFilesWire, CertificateList, CertificateWire};
use crate::model::{Declaration, Name, ObjectKind, Timestamp};
use crate::objects::certificate;
use crate::objects::whole::{Maker, replaced};
use crate::objects::{Desk, Edit, EditError, Objects, View, World, form};

use super::target::certificate_in;

/// Tells the certificates that a query asks for.
pub(in crate::admin::native) fn list(
    state: &AdminState,
    query: &Query,
    now: Timestamp,
) -> Result<CertificateList, Failure> {
    let (view, filter) = (state.objects.view(), query.filter()?);
    let all = view.live.made().of(None, ObjectKind::Certificate).filter(|it| filter.takes(&it.name, "api")).collect();
    let (total, page) = filter.page.of(all);
    let certificates = page.into_iter().map(|it| to_wire(&*state.objects, &view, it, now)).collect();
    Ok(CertificateList { total, certificates })
}

/// Tells one certificate.
pub(in crate::admin::native) fn one(
    state: &AdminState,
    certificate: &str,
    now: Timestamp,
) -> Result<CertificateWire, Failure> {
    let view = state.objects.view();
    Ok(to_wire(&*state.objects, &view, certificate_in(&view.live, certificate)?, now))
}

/// Returns the tag of one: nothing that is derived from its key.
pub(super) fn tag(made: &Declaration) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{:x}-{:x}\"", made.id.0, made.version)).ok()
}

/// Returns the edits that make one.
pub(super) fn create(
    desk: &Desk<'_>,
    maker: &Maker,
    name: &Name,
    form: Map<String, Value>,
) -> Result<Vec<Edit>, EditError> {
    check(name, &form)?;
    Ok(vec![maker.create(desk.fresh_id(), ObjectKind::Certificate, name, None, form)])
}

/// Returns the edits that put another in the place of one.
pub(super) fn replace(known: &Declaration, form: Map<String, Value>) -> Result<Vec<Edit>, EditError> {
    check(&known.name, &form)?;
    Ok(vec![replaced(known.id, form)])
}

/// Returns the edits that remove one that no frontend shows, now or after the next refresh.
pub(super) fn delete(objects: &dyn Objects, view: &View, known: &Declaration) -> Result<Vec<Edit>, EditError> {
    let by: Vec<_> = users(objects, view, known).iter().map(|name| form::key_path(&["frontends", name])).collect();
    if by.is_empty() {
        return Ok(vec![Edit::Delete { id: known.id }]);
    }
    Err(EditError::InUse { path: path(&known.name), by })
}

fn check(name: &Name, form: &Map<String, Value>) -> Result<(), EditError> {
    certificate::of_form(form, &path(name)).map(drop).map_err(|faults| EditError::Invalid { faults })
}

fn path(name: &Name) -> String {
    form::key_path(&["certificates", name.as_str()])
}

/// Returns the names of the frontends that show it, staged ones too.
fn users(objects: &dyn Objects, view: &View, known: &Declaration) -> BTreeSet<String> {
    let Some([cert, _]) = objects.certificate_files(known.id) else { return BTreeSet::new() };
    let names = |world: &World| shown_by(world, &cert);
    let mut all = names(&view.live);
    if !Arc::ptr_eq(&view.live, &view.ahead) {
        all.extend(names(&view.ahead));
    }
    all
}

fn shown_by(world: &World, cert: &PathBuf) -> BTreeSet<String> {
    let frontends = world.topology().frontends;
    let shows = |frontend: &crate::model::Frontend| {
        frontend.tls.iter().flat_map(|tls| &tls.certificates).any(|files| *files.cert == **cert)
    };
    frontends.iter().filter(|frontend| shows(frontend)).map(|frontend| frontend.name.to_string()).collect()
}

fn to_wire(objects: &dyn Objects, view: &View, made: &Declaration, now: Timestamp) -> CertificateWire {
    let written = form::object(&made.form);
    let cert = written.get("cert").and_then(Value::as_str).unwrap_or_default();
    // What was kept was read before.
    let said = certificate::read(cert).ok();
    let of = |text: fn(&certificate::Certificate) -> String| said.as_ref().map(text).unwrap_or_default();
    let show = |path: &PathBuf| path.display().to_string();
    let files = objects.certificate_files(made.id);
    CertificateWire {
        id: made.id.0,
        name: made.name.to_string(),
        origin: origin(view.made(), made.id),
        names: said.iter().flat_map(|said| &said.names).map(ToString::to_string).collect(),
        subject: of(|said| said.subject.to_string()),
        issuer: of(|said| said.issuer.to_string()),
        serial: of(|said| said.serial.to_string()),
        fingerprint: of(|said| hex::encode(said.sha256)),
        not_before: of(|said| said.not_before.to_string()),
        not_after: of(|said| said.not_after.to_string()),
        expired: said.as_ref().is_some_and(|said| said.not_after < now),
        chain: said.as_ref().map_or(0, |said| said.chain),
        files: files.map(|[cert, key]| CertificateFilesWire { cert: show(&cert), key: show(&key) }),
        used_by: users(objects, view, made).into_iter().collect(),
        created_at: made.created_at.to_string(),
        updated_at: made.updated_at.to_string(),
    }
}
