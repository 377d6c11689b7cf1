//! The config file: YAML in, a validated [`Topology`] and [`Settings`] out, or every error of the file at once.
//!
//! Text → `tree` (every key and value knows its place) → `expand` (`${env:NAME}` in scalars) → `lower` (tree → model,
//! collecting). Nothing is half accepted: one error, and there is no result. `keys` and `bounds` say what may be
//! written, [`schema`] says the same as JSON Schema, [`to_yaml()`] writes a topology back. [`parse`] is pure and is handed
//! the environment and the files; [`load`] is the one function that reads. Relative paths in a file are relative to
//! where the process was started.

pub mod declared;

mod bounds;
mod error;
mod expand;
mod keys;
mod lower;
mod read;
pub mod schema;
pub mod to_yaml;
mod tree;
mod units;

use std::io::{self, Read};
use std::path::Path;

pub use self::bounds::{FARMS_MAX, FRONTENDS_MAX};
use self::declared::Remembering;
pub use self::declared::{Declared, Fault};
use self::error::Findings;
pub use self::error::{ConfigError, ConfigErrors};
pub use self::schema::schema_json;
pub use self::to_yaml::{ExportError, to_yaml};
use self::tree::Position;
use crate::model::{Settings, Topology};

/// The largest config file, in bytes.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest file that a config file names (a secret, authorities), in bytes.
pub const NAMED_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a config file says.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its traffic.
    pub topology: Topology,
    /// The same as it was written, for what is made at run time beside it.
    pub declared: Declared,
    /// Everything else.
    pub settings: Settings,
    /// What is allowed and probably not meant; each with its place, in file order.
    pub warnings: Vec<String>,
}

/// Reads and lowers the file at `path`. `env` looks a variable of the environment up.
///
/// # Errors
/// Every error of the file, in file order; nothing of the file may then be used.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
    let label = path.display().to_string();
    let text = read_text(path, FILE_BYTES_MAX).map_err(|error| {
        let why = format!("cannot be read: {error}; check the path and who may read it");
        ConfigErrors::unreadable(&label, &why)
    })?;
    parse(&label, &text, env, &|path| text_of(crate::files::read(path, NAMED_FILE_BYTES_MAX as u64)?))
}

/// Lowers the text of a config file. `file_label` begins every message; `env` and `read_file` are asked for variables
/// and for the files that the text names.
///
/// # Errors
/// Every error of the text, in file order; nothing of it may then be used.
pub fn parse(
    file_label: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Loaded, ConfigErrors> {
    if text.len() > FILE_BYTES_MAX {
        return Err(ConfigErrors::unreadable(file_label, "is larger than 16 MiB"));
    }
    let mut findings = Findings::default();
    let files = Remembering::new(read_file);
    let lowered = tree::parse(text, &mut findings).and_then(|mut root| {
        expand::expand(&mut root, "", env, &mut findings);
        let (topology, settings) = lower::lower(&root, &|path| files.read(path), &mut findings)?;
        Some((root, topology, settings))
    });
    if lowered.is_none() && findings.errors.is_empty() {
        findings.error(Position::START, "", "holds nothing; write at least service, frontends and farms");
    }
    let warnings = findings.finish(file_label)?;
    match lowered {
        Some((root, topology, settings)) => {
            let declared = Declared::of(file_label, root, files.files());
            Ok(Loaded { topology, declared, settings, warnings })
        }
        None => Err(ConfigErrors::unreadable(file_label, "could not be read, and no error was found: a bug")),
    }
}

/// Reads a text of at most `bytes_max` bytes, whatever stands behind the path.
fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {bytes_max} bytes")));
    }
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 from byte {at} on"))
    })
}

#[cfg(test)]
mod tests;
