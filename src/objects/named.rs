//! What the form of an object names on this machine: files, by every key below `tls`, and the Unix socket of a server.
//!
//! Whoever may write through an API decides with such a name what the process reads, shows or connects to; which names
//! it may use is looked at by whoever can look at files. Pure. A server in a farm of the file may say again what the
//! file says of the farm's `tls`, which is the server's own without a word.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::model::{Declaration, FarmId, Host, ObjectKind, ServerAddr};

use super::{World, form};

/// The keys below `tls` that name a file.
const FILE_KEYS: [&str; 5] = ["ca", "cert", "client_ca", "client_crl", "key"];

/// A file or a socket that a form names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The key path, as errors write it.
    pub key: String,
    /// What.
    pub what: NamedKind,
    /// Its path, as it is written.
    pub path: PathBuf,
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKind {
    /// A file to be read.
    File,
    /// A Unix socket to connect to.
    Socket,
}

/// Returns what an object names that the file does not name for it.
#[must_use]
pub fn named(world: &World, declaration: &Declaration) -> Vec<Named> {
    match declaration.kind {
        ObjectKind::Farm | ObjectKind::Frontend | ObjectKind::Server => {}
        ObjectKind::Certificate | ObjectKind::Route | ObjectKind::Rule | ObjectKind::Service => return Vec::new(),
    }
    let form = form::object(&declaration.form);
    let path = world.path(declaration.id).unwrap_or_default();
    let path = form::key_path(&path.iter().map(String::as_str).collect::<Vec<_>>());
    let mut found = Vec::new();
    look(&form, &path, false, &mut found);
    if declaration.kind == ObjectKind::Server {
        let farm = declaration.parent.and_then(|farm| world.farm(FarmId(farm.0)));
        let of_farm = |key: &str| world.file().text(&["farms", farm?.name.as_str(), "tls", key]).map(Path::new);
        found.retain(|it| {
            let (_, key) = it.key.rsplit_once('.').unwrap_or_default();
            of_farm(key) != Some(&*it.path)
        });
        found.extend(socket(&form, &path));
    }
    found
}

/// Looks through everything below `tls`, at whatever depth.
fn look(map: &Map<String, Value>, path: &str, is_tls: bool, found: &mut Vec<Named>) {
    for (key, value) in map {
        let path = format!("{path}.{}", form::key_path(&[key]));
        let is_tls = is_tls || key == "tls";
        match value {
            Value::Object(map) => look(map, &path, is_tls, found),
            Value::Array(items) => {
                let maps = items.iter().enumerate().filter_map(|(i, item)| Some((i, item.as_object()?)));
                maps.for_each(|(i, map)| look(map, &format!("{path}[{i}]"), is_tls, found));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) if is_tls && FILE_KEYS.contains(&key.as_str()) => {
                // A bare number is a path, as the file has it.
                let file = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                found.push(Named { key: path, what: NamedKind::File, path: file.into() });
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn socket(form: &Map<String, Value>, path: &str) -> Option<Named> {
    let address = form.get("address")?.as_str()?.parse::<ServerAddr>().ok()?;
    let Host::Unix(socket) = &address.host else { return None };
    Some(Named { key: format!("{path}.address"), what: NamedKind::Socket, path: socket.to_path_buf() })
}
