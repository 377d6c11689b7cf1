//! Secrets, written in the file or read from files of their own. No message here shows one.

use super::ReadFile;
use crate::config::bounds::{TEXT_BYTES_MAX, TOKEN_BYTES_ADVISED};
use crate::config::error::Findings;
use crate::config::read::{Section, Value};
use crate::model::Secret;

/// Reads a secret from `key` or from the file that `file_key` names.
pub(super) fn secret(
    section: &Section<'_>,
    key: &str,
    file_key: &str,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> Option<Secret> {
    if section.get(key).is_none() && section.get(file_key).is_none() {
        section.need(findings, key, &format!("write {key}: or {file_key}:"));
        return None;
    }
    optional(section, key, file_key, read_file, findings)
}

/// Reads a secret that need not be: nothing where neither key is written, or where it is wrong and reported.
pub(super) fn optional(
    section: &Section<'_>,
    key: &str,
    file_key: &str,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> Option<Secret> {
    match (section.get(key), section.get(file_key)) {
        (None, None) => None,
        (Some(_), Some(file)) => {
            file.complain(findings, format!("{key} and {file_key} are both written; keep one of the two"));
            None
        }
        (Some(value), None) if !value.is_scalar() => {
            value.refuse(findings, "is not a text");
            None
        }
        (Some(value), None) => accept_secret(value.text(findings, "a text")?, &value, findings),
        (None, Some(file)) => {
            let path = super::path(&file, findings)?;
            match read_file(&path) {
                Ok(text) => accept_secret(text.trim_end_matches(['\r', '\n']), &file, findings),
                Err(error) => {
                    file.refuse(findings, format!("cannot be read: {error}; check the path and who may read it"));
                    None
                }
            }
        }
    }
}

fn accept_secret(text: &str, value: &Value<'_>, findings: &mut Findings) -> Option<Secret> {
    match check_secret(text) {
        Ok(()) => Some(Secret::new(text)),
        Err(rule) => {
            value.complain(findings, format!("the secret {rule}"));
            None
        }
    }
}

/// Tells what is wrong with a secret, without showing it.
pub(super) fn check_secret(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty; write one, or remove the key".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("is not 1 to {TEXT_BYTES_MAX} visible ASCII characters without spaces"));
    }
    Ok(())
}

/// Warns of a secret that could be guessed; `what` is its word.
pub(super) fn warn_of_short(what: &str, secret: &Secret, value: &Value<'_>, findings: &mut Findings) {
    if secret.reveal().len() < TOKEN_BYTES_ADVISED {
        value.warn(findings, format!("the {what} is shorter than {TOKEN_BYTES_ADVISED} characters; make a longer one"));
    }
}
