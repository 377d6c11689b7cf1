//! A topology becomes a config file again: the export. What is written here loads as an equal topology.
//!
//! Every value is written out, defaults too, so the text means the same under a later release with other defaults. The
//! secrets of a topology (passwords of probes, keys of cookies) are written in the clear: an export is kept as the file
//! is. What is no traffic is not part of it, so that probes that run programs load again only beside an `admin` that
//! allows them. The views are parts of the same text for showing, without the secrets; `live` is the whole file for
//! showing, with references instead of them.

pub mod live;

mod farm;
mod frontend;
mod probe;

use serde_yaml::Value;

use super::expand::OPENING;
use super::schema::{self, DurationText, Filled, NameText, Named, Number, PortsText, ServiceForm, SizeText};
use super::tree::{join, old_line_break};
use super::units::{show_duration, show_size};
use crate::model::{Aim, Farm, FarmId, Frontend, Probe, Protocol, Server, Topology};

/// What is done with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    /// It is left out.
    Hidden,
    /// It is written.
    Written,
}

/// Why a topology cannot be written as a config file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A text holds what would be filled in from the environment when the file is read.
    #[error("{path}: holds \"${{env:\", which would be filled in on reading; change the text")]
    EnvText {
        /// The key path of the text.
        path: String,
    },
    /// A text holds a character that some YAML tools take for the end of a line and others do not.
    #[error("{path}: holds the character {found:?}, which does not survive every YAML tool; match it with a pattern")]
    LineBreak {
        /// The key path of the text.
        path: String,
        /// The character.
        found: char,
    },
    /// The YAML writer refused.
    #[error("cannot write YAML")]
    Yaml(#[from] serde_yaml::Error),
}

/// Returns the topology as the text of a config file.
///
/// # Errors
/// [`ExportError::EnvText`] and [`ExportError::LineBreak`] for a text that would not be read back as it is; lowering lets
/// no such text in.
pub fn to_yaml(topology: &Topology) -> Result<String, ExportError> {
    let value = serde_yaml::to_value(file(topology))?;
    refuse_lossy(&value, "")?;
    Ok(serde_yaml::to_string(&value)?)
}

/// Returns a farm as the file writes it, without its servers and its secrets.
#[must_use]
pub fn farm_view(farm: &Farm) -> schema::Farm {
    farm::head(farm, Secrets::Hidden)
}

/// Returns a frontend as the file writes it; `names` tells the name of a farm.
#[must_use]
pub fn frontend_view(frontend: &Frontend, names: &dyn Fn(FarmId) -> String) -> schema::Frontend {
    frontend::frontend(frontend, names)
}

/// Returns a server as the file writes it.
#[must_use]
pub fn server_view(server: &Server) -> schema::Server {
    farm::server(server)
}

/// Returns a probe as the file writes it, without its secrets.
#[must_use]
pub fn probe_view(probe: &Probe) -> schema::Probe {
    probe::probe(probe, Secrets::Hidden)
}

/// Returns where a server's probes go as the file writes it.
#[must_use]
pub fn aim_view(aim: &Aim) -> schema::Aim {
    probe::aim(aim)
}

/// Returns a farm as the file writes it, without its servers and with its secrets, to be compared.
pub(super) fn farm_json(farm: &Farm) -> serde_json::Value {
    json(&farm::head(farm, Secrets::Written))
}

/// Returns a server as the file writes it, to be compared.
pub(super) fn server_json(server: &Server) -> serde_json::Value {
    json(&farm::server(server))
}

/// Returns a frontend as the file writes it, to be compared.
pub(super) fn frontend_json(frontend: &Frontend, names: &dyn Fn(FarmId) -> String) -> serde_json::Value {
    json(&frontend::frontend(frontend, names))
}

/// Texts, numbers and maps with text keys cannot fail to be written.
fn json(it: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(it).unwrap_or_default()
}

fn refuse_lossy(value: &Value, path: &str) -> Result<(), ExportError> {
    match value {
        Value::String(text) if text.contains(OPENING) => Err(ExportError::EnvText { path: path.to_owned() }),
        Value::String(text) => match old_line_break(text) {
            Some(found) => Err(ExportError::LineBreak { path: path.to_owned(), found }),
            None => Ok(()),
        },
        Value::Mapping(map) => {
            map.iter().try_for_each(|(key, value)| refuse_lossy(value, &join(path, key.as_str().unwrap_or_default())))
        }
        Value::Sequence(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| refuse_lossy(item, &format!("{path}[{i}]")))
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::Tagged(_) => Ok(()),
    }
}

fn file(topology: &Topology) -> schema::File {
    let service = &topology.service;
    let names = |id| topology.farm(id).map_or_else(String::new, |farm| farm.name.to_string());
    let frontends = topology.frontends.iter().map(|f| (f.name.to_string(), frontend::frontend(f, &names)));
    schema::File {
        service: ServiceForm::Full(schema::Service {
            name: NameText(service.name.to_string()),
            addresses: Some(service.addresses.iter().map(ToString::to_string).collect()),
            api_ports: Some(PortsText(format!("{}-{}", service.api_ports.start(), service.api_ports.end()))),
            api_files: Some(service.api_files.iter().map(|dir| dir.display().to_string()).collect()),
            api_sockets: Some(service.api_sockets.iter().map(|dir| dir.display().to_string()).collect()),
        }),
        instance_id: Some(Number(service.instance_id.0)),
        zone: Some(NameText(service.zone.to_string())),
        workers: None,
        state_dir: None,
        grace: None,
        checks_at_once: None,
        limits: None,
        frontends: Named(frontends.collect()),
        farms: Named(topology.farms.iter().map(|f| (f.name.to_string(), farm::farm(f))).collect()),
        admin: None,
        journal: None,
        webhooks: None,
        acme: None,
        log: None,
        tracing: None,
        upgrade_socket: None,
        user: None,
        group: None,
    }
}

fn protocol(protocol: Protocol) -> Filled<schema::Protocol> {
    Filled::Value(match protocol {
        Protocol::Http => schema::Protocol::Http,
        Protocol::Tcp => schema::Protocol::Tcp,
        Protocol::Udp => schema::Protocol::Udp,
    })
}

fn duration(duration: std::time::Duration) -> Option<DurationText> {
    Some(DurationText(show_duration(duration)))
}

fn size(bytes: u64) -> Option<SizeText> {
    Some(SizeText(show_size(bytes)))
}

fn flag(is_set: bool) -> Option<Filled<bool>> {
    Some(Filled::Value(is_set))
}
