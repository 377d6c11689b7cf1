//! The account at an authority: made once, its key kept, used from then on. Another directory is another account.

use instant_acme::{Account, NewAccount};
use rcgen::KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::AcmeError;
use super::client;
use super::shelf::Shelf;
use crate::model::settings::AcmeSettings;

/// What stands before the key in the account's file.
const DIRECTORY: &str = "directory: ";
const ID: &str = "account: ";

/// Returns the account that is kept, or a new one.
pub(super) async fn account(settings: &AcmeSettings, shelf: &Shelf) -> Result<Account, AcmeError> {
    let builder = || client::client(settings.ca.as_deref()).map(|http| Account::builder_with_http(Box::new(http)));
    let directory = settings.directory.to_string();
    if let Some((id, key)) = shelf.account().as_deref().and_then(|text| parse(text, &directory)) {
        let known = builder()?.from_parts(id, key, directory).await;
        return known.map_err(|cause| AcmeError::Asking { what: "cannot use the account that is kept", cause });
    }
    let contact: Vec<&str> = settings.contact.iter().map(|url| &**url).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let made = builder()?.create(&new, directory.clone(), None).await;
    let (account, credentials) = made.map_err(|cause| AcmeError::Asking { what: "cannot make an account", cause })?;
    let key = KeyPair::try_from(credentials.private_key())?.serialize_pem();
    shelf.keep_account(&format!("{DIRECTORY}{directory}\n{ID}{}\n{key}", account.id()))?;
    tracing::info!(%directory, account = account.id(), "acme: account made");
    Ok(account)
}

/// Returns the id and the key of an account at that directory.
fn parse(text: &str, directory: &str) -> Option<(String, PrivatePkcs8KeyDer<'static>)> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    if line(DIRECTORY) != Some(directory) {
        return None;
    }
    Some((line(ID)?.to_owned(), PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_that_is_kept_is_used_at_its_own_directory_only() {
        let key = KeyPair::generate().unwrap();
        let text = format!("directory: https://a/dir\naccount: https://a/1\n{}", key.serialize_pem());
        let (id, der) = parse(&text, "https://a/dir").unwrap();
        assert_eq!((&*id, der.secret_pkcs8_der()), ("https://a/1", &*key.serialize_der()));
        assert!(parse(&text, "https://b/dir").is_none());
        assert!(parse(text.split("-----BEGIN").next().unwrap(), "https://a/dir").is_none());
        assert!(parse("", "").is_none());
    }
}
