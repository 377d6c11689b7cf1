//! What this shape keeps beside an object, in its extras under a key of its own: what the config file has no word for.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{HealthCheck, Tag};
use crate::model::Declaration;
use crate::objects::form;

/// The key in an object's extras.
const KEY: &str = "zlb";

/// Beside a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct KeptBalancer {
    pub(in super::super) name: String,
    pub(in super::super) vpc_id: Option<String>,
    pub(in super::super) subnet_id: Option<String>,
    pub(in super::super) resource_group_id: Option<String>,
    pub(in super::super) tags: Vec<Tag>,
    /// Unix seconds: it was terminated then and can be restored.
    pub(in super::super) recycled_at: Option<u64>,
    /// Objects of it that carried no traffic before it was terminated.
    pub(in super::super) inert: Vec<u64>,
}

/// Beside a frontend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct KeptListener {
    /// The frontend is one more port of the listener of this id, and nothing of its own.
    pub(in super::super) lane_of: Option<u64>,
    pub(in super::super) name: Option<String>,
    /// Its ports as they were sent.
    pub(in super::super) port: Option<String>,
    pub(in super::super) scheduler: Option<String>,
    pub(in super::super) kind: Option<String>,
    pub(in super::super) algo_opts: Option<String>,
    pub(in super::super) health_check: Option<HealthCheck>,
}

/// Beside a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct KeptBackend {
    pub(in super::super) instance_id: Option<String>,
    /// Its port is the listener's, whatever that becomes.
    pub(in super::super) follows: bool,
    /// Its weight, where the scheduler looks at none.
    pub(in super::super) weight: Option<u16>,
}

/// Returns what is kept beside an object; nothing beside one of the file, or of another shape.
pub(in super::super) fn kept<T: Default + DeserializeOwned>(made: Option<&Declaration>) -> T {
    let extras = made.filter(|made| made.extras.contains(KEY)).map(|made| form::object(&made.extras));
    let own = extras.and_then(|mut extras| extras.remove(KEY));
    own.and_then(|own| serde_json::from_value(own).ok()).unwrap_or_default()
}

/// Returns the extras with this kept in them; what other shapes keep there stays.
pub(in super::super) fn keep<T: Serialize>(extras: &str, kept: &T) -> std::sync::Arc<str> {
    // Numbers, texts and lists of them are JSON.
    form::with(extras, KEY, serde_json::to_value(kept).unwrap_or_default())
}
