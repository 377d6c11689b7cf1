//! The service's own settings: its displayed name, which versions of TLS its frontends take, and what is said of a
//! contract that does not exist.
//!
//! They are kept as the extras of one object of this shape, an inert service without a form. The name is live at once; a
//! choice of versions is staged like every other change of frontends and goes live with the refresh of the zone, together
//! with what it changes in the frontends of this shape.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Made, Name, ObjectId, ObjectKind, Service};
use crate::objects::{Create, Desk, Edit, EditError, Replace, View, form};
use crate::store::Snapshot;

use super::fields::Fields;
use super::{Refusal, SHAPE, Writing, followers, json, to_wire, wire};
use crate::admin::error::AdminError;
use crate::admin::ovh::wire::Service as ServiceWire;

/// Characters of the displayed name, as the schema has it.
const DISPLAY_NAME_MAX: usize = 50;
/// The configurations of TLS; null is the first.
const CONFIGURATIONS: [&str; 2] = ["intermediate", "modern"];
/// The name of the object that has the settings.
const NAME: &str = "ovh.settings";
/// Its keys.
const ALERT: &str = "quotaAlert";
const CONFIGURATION: &str = "sslConfiguration";
const DISPLAY_NAME: &str = "displayName";

/// The settings at one instant.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    id: Option<ObjectId>,
    extras: Map<String, Value>,
}

impl Settings {
    /// Returns those of these objects.
    pub(super) fn of(made: &Made) -> Self {
        let own = made.of(None, ObjectKind::Service).find(|it| &*it.shape == SHAPE && it.name.as_str() == NAME);
        own.map_or_else(Self::default, |own| Self { id: Some(own.id), extras: form::object(&own.extras) })
    }

    /// Returns from how many bytes in a month on somebody wants to know.
    pub(super) fn alert(&self) -> Option<u64> {
        self.extras.get(ALERT).and_then(Value::as_u64)
    }

    /// Returns the configuration of TLS; none: the usual one.
    pub(super) fn configuration(&self) -> Option<&str> {
        self.extras.get(CONFIGURATION).and_then(Value::as_str)
    }

    fn display_name(&self) -> Option<&str> {
        self.extras.get(DISPLAY_NAME).and_then(Value::as_str)
    }

    /// Returns the edits that set these keys; null removes one. `made`: where the write is made.
    fn edits(desk: &Desk<'_>, made: &Made, patch: &Map<String, Value>) -> Vec<Edit> {
        let Self { id, mut extras } = Self::of(made);
        form::merge(&mut extras, patch);
        let extras = form::text(extras);
        vec![match id {
            Some(id) => Edit::Replace(Replace { id, extras: Some(extras), ..Replace::default() }),
            None => Edit::Create(Create {
                id: desk.fresh_id(),
                kind: ObjectKind::Service,
                name: Name::fixed(NAME),
                parent: None,
                service: None,
                zone: None,
                shape: SHAPE.into(),
                is_inert: true,
                form: "{}".into(),
                extras,
            }),
        }]
    }
}

/// Returns the configuration of TLS that frontends of this shape have; none: the usual one.
pub(in crate::admin::ovh) fn configuration(made: &Made) -> Option<String> {
    Settings::of(made).configuration().map(str::to_owned)
}

/// Returns the service as it is after the next refresh.
pub(super) fn service<'s>(view: &View, snapshot: &'s Snapshot) -> ServiceWire<'s> {
    let settings = Settings::of(view.made_ahead());
    let ssl_configuration = CONFIGURATIONS.into_iter().find(|known| settings.configuration() == Some(known));
    let display_name = settings.display_name().unwrap_or(snapshot.service.name.as_str()).to_owned().into();
    ServiceWire { ssl_configuration, display_name, ..to_wire::service(snapshot) }
}

/// Carries `PUT` of the service out.
pub(super) async fn put(write: &Writing<'_>) -> Result<Vec<u8>, Refusal> {
    let fields = Fields::of(&write.call.body)?;
    let name = fields.text(DISPLAY_NAME, DISPLAY_NAME_MAX)?;
    let configuration = fields.word(CONFIGURATION, &CONFIGURATIONS)?;
    // What may be refused first: then nothing was changed.
    if let Some(wanted) = configuration
        && Settings::of(write.view().made_ahead()).configuration() != wanted
    {
        set_staged(write, patch(CONFIGURATION, wanted.map(Value::from))).await?;
    }
    if let Some(name) = name {
        set(write, patch(DISPLAY_NAME, name.map(Value::from))).await?;
    }
    json(&())
}

fn patch(key: &str, value: Option<Value>) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.unwrap_or(Value::Null))])
}

/// Sets what is live at once.
async fn set(write: &Writing<'_>, patch: Map<String, Value>) -> Result<(), Refusal> {
    write.edit(None, move |desk| Ok(Settings::edits(desk, desk.view.made(), &patch))).await.map(drop)
}

/// Stages settings with what they change in frontends.
async fn set_staged(write: &Writing<'_>, patch: Map<String, Value>) -> Result<(), Refusal> {
    if Settings::of(write.view().made()).id.is_none() {
        // The object itself is live, so that what is live of it and what is staged are of one object.
        write.edit(None, |desk| Ok(Settings::edits(desk, desk.view.made(), &Map::new()))).await?;
    }
    let objects = Arc::clone(&write.state.objects);
    let plan = move |desk: &Desk<'_>| -> Result<Vec<Edit>, EditError> {
        let made = desk.view.made_ahead();
        let mut edits = Settings::edits(desk, made, &patch);
        let wanted = patch.get(CONFIGURATION).cloned().unwrap_or(Value::Null);
        let ids: Vec<ObjectId> = followers::certificates(made).map(|it| it.id).collect();
        let files = |id| objects.certificate_files(id);
        edits.extend(followers::follow(made, &ids, &files, wanted.as_str()));
        Ok(edits)
    };
    let zone = write.zone.clone();
    write.edit(Some(&zone), plan).await.map(drop)
}

/// Sets from how many bytes on somebody wants to know.
pub(super) async fn set_alert(write: &Writing<'_>, alert: Option<u64>) -> Result<(), Refusal> {
    set(write, patch(ALERT, alert.map(Value::from))).await
}

/// Returns what there is to say of a contract: that nothing ends and nothing is paid.
pub(super) fn infos<'s>(view: &View, service: &'s Service) -> wire::Infos<'s> {
    let made = Settings::of(view.made()).id.and_then(|id| view.made().get(id).map(|it| it.created_at));
    wire::Infos {
        can_delete_at_expiration: false,
        contact_admin: "none",
        contact_billing: "none",
        contact_tech: "none",
        creation: made.unwrap_or_default().date(),
        domain: service.name.as_str(),
        engaged_up_to: None,
        expiration: "9999-12-31",
        possible_renew_period: None,
        renew: None,
        renewal_type: "oneShot",
        service_id: service.instance_id.0,
        status: "ok",
    }
}

/// Answers `PUT` of what there is to say of a contract: only `renew` can be written, and there is nothing to renew.
pub(super) fn put_infos(write: &Writing<'_>) -> Result<Vec<u8>, Refusal> {
    let fields = Fields::of(&write.call.body)?;
    match fields.value("renew") {
        None => json(&()),
        Some(renew) => {
            let got = crate::admin::guard::quoted(&renew.to_string());
            let bound = "null: a balancer of one's own does not end and is not renewed".to_owned();
            Err(AdminError::BadValue { field: "renew", got, bound }.into())
        }
    }
}
