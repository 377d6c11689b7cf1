//! Free texts of the file and the files that it names: bounded, and such that an export reads back as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReadFile;
use crate::config::bounds::TEXT_BYTES_MAX;
use crate::config::error::Findings;
use crate::config::read::{Section, Value};
use crate::config::tree::old_line_break;
use crate::model::Verify;

/// What every PEM file of certificates holds.
const PEM_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Reads one printable line of 1 to `bytes_max` bytes; `wanted` completes "is not …".
pub(super) fn line(value: &Value<'_>, bytes_max: usize, wanted: &str, findings: &mut Findings) -> Option<Box<str>> {
    value.parsed(findings, wanted, |text| {
        let is_line = (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control);
        if is_line && old_line_break(text).is_none() {
            return Ok(text.into());
        }
        Err(format!("is not {wanted}; write 1 to {bytes_max} printable bytes on one line"))
    })
}

/// Reads a text that may hold anything and be empty.
pub(super) fn free(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    value.parsed(findings, "a text", |text| {
        if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(format!("is no text to pass on; write at most {TEXT_BYTES_MAX} bytes and no NUL"));
        }
        match old_line_break(text) {
            Some(_) => Err("holds a line break that YAML tools read differently; remove it".to_owned()),
            None => Ok(text.into()),
        }
    })
}

/// Reads the path of a file or a directory.
pub(super) fn path(value: &Value<'_>, findings: &mut Findings) -> Option<PathBuf> {
    let text = value.text(findings, "a path")?;
    if text.is_empty() {
        value.refuse(findings, "is no path; write one or remove the key");
        return None;
    }
    if text.len() > TEXT_BYTES_MAX || text.contains('\0') || old_line_break(text).is_some() {
        value.refuse(
            findings,
            format!("is no path; write at most {TEXT_BYTES_MAX} bytes, no NUL and no line separator"),
        );
        return None;
    }
    Some(PathBuf::from(text))
}

/// Reads `verify`, where it is written: whether, and of what, a server's certificate is verified.
pub(super) fn verify(section: &Section<'_>, findings: &mut Findings) -> Option<Verify> {
    let value = section.get("verify")?;
    let verify = value.flag_or(findings, [Verify::On, Verify::Off], ("chain", Verify::Chain))?;
    match (verify, section.get("ca")) {
        (Verify::Off, Some(ca)) => {
            ca.complain(findings, "nothing is verified with verify: false; remove one of the two");
        }
        (Verify::Chain, None) => {
            let why = "whoever has any certificate of this host's authorities would pass, as its name is not looked at";
            value.complain(findings, format!("needs ca: {why}; name the file of your own authority"));
        }
        (Verify::Chain | Verify::On, _) | (Verify::Off, None) => {}
    }
    Some(verify)
}

/// Reads the path of a PEM file of authorities, which must be there and hold a certificate.
pub(super) fn ca(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Option<Arc<Path>> {
    let path = path(value, findings)?;
    match read_file(&path) {
        Ok(text) if text.contains(PEM_CERTIFICATE) => Some(path.into()),
        Ok(_) => {
            value.refuse(findings, "holds no PEM certificate; write the file of the authority's certificate");
            None
        }
        Err(error) => {
            value.refuse(findings, format!("cannot be read: {error}; check the path and who may read it"));
            None
        }
    }
}
