//! `acme`: from whom certificates are obtained, and how names are shown to be ours.

use super::{ReadFile, text};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::Value;
use crate::model::settings::{AcmeChallenge, AcmeSettings};

/// The authority that is asked where the file does not say.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// How many may be written to.
const CONTACTS_MAX: usize = 8;
/// Bytes of a URL.
const URL_BYTES_MAX: usize = 1024;

const CHALLENGES: &[(&str, AcmeChallenge)] =
    &[("http-01", AcmeChallenge::Http01), ("tls-alpn-01", AcmeChallenge::TlsAlpn01)];

/// Lowers `acme`.
pub(super) fn lower(
    value: &Value<'_>,
    has_state_dir: bool,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> Option<AcmeSettings> {
    let section = value.section(findings, keys::ACME)?;
    let remedy = "write terms_agreed: true once you have read the terms of the authority";
    let is_agreed = section.need(findings, "terms_agreed", remedy).and_then(|value| {
        let is_agreed = value.flag(findings)?;
        if !is_agreed {
            value.complain(findings, "no authority gives certificates to who does not agree to its terms; read them");
        }
        Some(is_agreed)
    });
    if !has_state_dir {
        value.complain(
            findings,
            "certificates would be lost at every start; write state_dir: DIRECTORY at the top level",
        );
    }
    let directory = section.or(findings, "directory", DIRECTORY.into(), |value, findings| {
        value.parsed(findings, "a URL", parse_directory)
    });
    let contact = section.or(findings, "contact", Vec::new(), |value, findings| {
        let items = value.list(findings, "mailto: URLs", CONTACTS_MAX);
        Some(items.iter().filter_map(|item| item.parsed(findings, "a mailto: URL", parse_contact)).collect())
    });
    let ca = section.get("ca").and_then(|value| text::ca(&value, read_file, findings));
    let challenge =
        section.or(findings, "challenge", AcmeChallenge::Http01, |value, findings| value.word(findings, CHALLENGES));
    is_agreed.filter(|is_agreed| *is_agreed)?;
    Some(AcmeSettings { directory, contact, ca: ca.map(|path| path.to_path_buf()), challenge })
}

fn parse_directory(text: &str) -> Result<Box<str>, &'static str> {
    let is_url = text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if is_url && text.len() <= URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err("is no https URL; write \"https://host/path\", as the authority documents it")
}

fn parse_contact(text: &str) -> Result<Box<str>, &'static str> {
    let is_address = text.strip_prefix("mailto:").is_some_and(|address| {
        address.split_once('@').is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'))
    });
    if is_address && text.len() <= URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic() && !b"?,".contains(&b)) {
        return Ok(text.into());
    }
    Err("is no mailto: URL of one address; write \"mailto:ops@example.com\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_https_and_a_contact_one_address() {
        assert!(parse_directory(DIRECTORY).is_ok() && parse_directory("https://localhost:14000/dir").is_ok());
        for text in ["", "http://a/b", "https://", "https:///dir", "https://a/b c", "ftp://a"] {
            assert!(parse_directory(text).is_err(), "{text}");
        }
        assert!(parse_contact("mailto:ops@example.com").is_ok());
        for text in
            ["", "ops@example.com", "mailto:", "mailto:@a", "mailto:a@", "mailto:a@b,c@d", "mailto:a@b?x", "tel:1"]
        {
            assert!(parse_contact(text).is_err(), "{text}");
        }
    }
}
