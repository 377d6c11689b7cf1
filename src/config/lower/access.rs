//! Credentials of the admin side: names, roles and secrets.
//!
//! No message here shows a secret.

use std::collections::HashMap;
use std::hash::Hash;

use super::ReadFile;
use super::secret::{check_secret, secret, warn_of_short};
use crate::config::bounds::LIST_MAX;
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::Access;
use crate::model::settings::{BearerToken, OvhCredential, ZenlayerKey};

const ROLES: &[(&str, Access)] = &[("read", Access::Read), ("operate", Access::Operate)];
/// The most characters of a credential's name.
const NAME_CHARS_MAX: usize = 64;

/// Lowers `admin.tokens`.
pub(super) fn tokens(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<BearerToken> {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut secrets = Unique::new("is a token", "make a new one");
    let mut tokens = Vec::new();
    for item in credentials(value, "tokens", findings) {
        let Some(section) = mapping(&item, keys::TOKEN, findings) else { continue };
        let (name, access) = who(&section, &item, &mut names, findings);
        let token = secret(&section, "token", "token_file", read_file, findings);
        if let Some(token) = &token {
            secrets.add(token.reveal().to_owned(), &item, findings);
            warn_of_short("token", token, &item, findings);
        }
        if let (Some(name), Some(token)) = (name, token) {
            tokens.push(BearerToken { name, access, token });
        }
    }
    tokens
}

/// Lowers `admin.ovh`.
pub(super) fn ovh(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<OvhCredential> {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut pairs = Unique::new("has an application_key and a consumer_key", "make a new consumer key");
    let mut found = Vec::new();
    let Some(section) = mapping(value, keys::OVH, findings) else { return found };
    let Some(list) = section.need(findings, "credentials", "write credentials: [{name: …, …}]") else {
        return found;
    };
    for item in credentials(&list, "credentials", findings) {
        let Some(section) = mapping(&item, keys::OVH_CREDENTIAL, findings) else { continue };
        let (name, access) = who(&section, &item, &mut names, findings);
        let application_key = identifier(&section, "application_key", findings);
        let application_secret = secret(&section, "application_secret", "application_secret_file", read_file, findings);
        let consumer_key = secret(&section, "consumer_key", "consumer_key_file", read_file, findings);
        if let (Some(name), Some(application_key), Some(application_secret), Some(consumer_key)) =
            (name, application_key, application_secret, consumer_key)
        {
            pairs.add((application_key.clone(), consumer_key.reveal().to_owned()), &item, findings);
            found.push(OvhCredential { name, access, application_key, application_secret, consumer_key });
        }
    }
    found
}

/// Lowers `admin.zenlayer`.
pub(super) fn zenlayer(value: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<ZenlayerKey> {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut ids = Unique::new("has an id", "give each key its own id");
    let mut access_keys = Vec::new();
    let Some(section) = mapping(value, keys::ZENLAYER, findings) else { return access_keys };
    let Some(list) = section.need(findings, "access_keys", "write access_keys: [{name: …, …}]") else {
        return access_keys;
    };
    for item in credentials(&list, "access keys", findings) {
        let Some(section) = mapping(&item, keys::ZENLAYER_KEY, findings) else { continue };
        let (name, access) = who(&section, &item, &mut names, findings);
        let id = identifier(&section, "id", findings);
        if let Some(id) = &id {
            ids.add(id.clone(), &item, findings);
        }
        let secret = secret(&section, "secret", "secret_file", read_file, findings);
        if let (Some(name), Some(id), Some(secret)) = (name, id, secret) {
            access_keys.push(ZenlayerKey { name, access, id, secret });
        }
    }
    access_keys
}

/// Returns the items of a list of credentials. What is no list may be a secret in the wrong place and is not shown.
fn credentials<'t>(value: &Value<'t>, wanted: &str, findings: &mut Findings) -> Vec<Value<'t>> {
    if value.is_scalar() {
        value.complain(findings, format!("is not a list of {wanted}; write [{{name: …, …}}]"));
        return Vec::new();
    }
    value.list(findings, wanted, LIST_MAX)
}

/// Returns a mapping of known keys. What is no mapping may be a secret in the wrong place and is not shown.
fn mapping<'t>(value: &Value<'t>, keys: &'static [&'static str], findings: &mut Findings) -> Option<Section<'t>> {
    if value.is_scalar() {
        value.complain(findings, format!("is not a mapping; its keys are {}", keys.join(", ")));
        return None;
    }
    value.section(findings, keys)
}

fn who(
    section: &Section<'_>,
    item: &Value<'_>,
    names: &mut Unique<String>,
    findings: &mut Findings,
) -> (Option<Box<str>>, Access) {
    let access = section.or(findings, "role", Access::Read, |value, findings| value.word(findings, ROLES));
    let name = section.need(findings, "name", "write whose it is; every act is shown with it").and_then(|value| {
        value.parsed(findings, "a name", |text| {
            let is_good = (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            if is_good { Ok(text) } else { Err(format!("is not 1 to {NAME_CHARS_MAX} printable characters")) }
        })
    });
    if let Some(name) = name {
        names.add(name.to_owned(), item, findings);
    }
    (name.map(Into::into), access)
}

/// Reads a key's public half.
fn identifier(section: &Section<'_>, key: &str, findings: &mut Findings) -> Option<Box<str>> {
    let value = section.need(findings, key, &format!("write {key}: TEXT"))?;
    value.parsed(findings, "a text", |text| match check_secret(text) {
        Ok(()) => Ok(text.into()),
        Err(rule) => Err(rule),
    })
}

/// What must not be the same in two credentials of a kind.
struct Unique<K> {
    seen: HashMap<K, String>,
    what: &'static str,
    remedy: &'static str,
}

impl<K: Eq + Hash> Unique<K> {
    fn new(what: &'static str, remedy: &'static str) -> Self {
        Self { seen: HashMap::new(), what, remedy }
    }

    fn add(&mut self, key: K, item: &Value<'_>, findings: &mut Findings) {
        if let Some(first) = self.seen.get(&key) {
            item.complain(findings, format!("{} that {first} has already; {}", self.what, self.remedy));
        } else {
            self.seen.insert(key, item.path.clone());
        }
    }
}
