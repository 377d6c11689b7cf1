//! Credentials of the admin side: names, roles and secrets.
//!
//! No message here shows a secret.

use std::collections::HashMap;
use std::hash::Hash;

use super::ReadFile;
use super::secret::{check_secret, secret, warn_of_short};
use crate::config::bounds::{LIST_MAX, OVH_INTERVAL_MIN, TEXT_BYTES_MAX};
use crate::config::error::Findings;
use crate::config::keys;
use crate::config::read::{Section, Value};
use crate::model::settings::{
    Actions, BearerToken, CallRule, CertificateHolder, CertificateMatch, Grant, OvhApplication, OvhBounds,
    OvhCredential, ZenlayerKey,
};
use crate::model::{Access, Name};

const ROLES: &[(&str, Access)] = &[("read", Access::Read), ("operate", Access::Operate), ("admin", Access::Admin)];
/// What a token may have instead of a secret.
const CERTIFICATE_KEYS: [&str; 2] = ["client_cert_sha256", "client_cert_cn"];
/// The most characters of an action's name.
const ACTION_CHARS_MAX: usize = 64;
/// What stands for every action.
const EVERY_ACTION: &str = "*";
/// The most characters of a credential's name.
const NAME_CHARS_MAX: usize = 64;

/// Lowers `admin.tokens`: bearer tokens, and certificates of clients that stand for one, where clients are asked for any.
pub(super) fn tokens(
    value: &Value<'_>,
    read_file: ReadFile<'_>,
    are_clients_asked: bool,
    findings: &mut Findings,
) -> (Vec<BearerToken>, Vec<CertificateHolder>) {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut secrets = Unique::new("is a token", "make a new one");
    let mut certificates = Unique::new("is for a certificate", "give each its own");
    let (mut tokens, mut holders) = (Vec::new(), Vec::new());
    for item in credentials(value, "tokens", findings) {
        let Some(section) = mapping(&item, keys::TOKEN, findings) else { continue };
        let grant = grant(&section, &item, &mut names, findings);
        let by_certificate = CERTIFICATE_KEYS.iter().find_map(|key| Some((*key, section.get(key)?)));
        if let Some((key, of)) = by_certificate {
            for other in ["token", "token_file", "client_cert_cn"].iter().filter(|other| **other != key) {
                if let Some(other_value) = section.get(other) {
                    other_value.complain(findings, format!("{key} is written beside it; keep one of the two"));
                }
            }
            if !are_clients_asked {
                of.complain(findings, "is shown by nobody without admin.tls.client_ca; write it");
            }
            let certificate = certificate(key, &of, findings);
            if let Some(certificate) = &certificate {
                certificates.add(format!("{certificate:?}"), &item, findings);
            }
            if let (Some(grant), Some(certificate)) = (grant, certificate) {
                holders.push(CertificateHolder { grant, certificate });
            }
            continue;
        }
        let token = secret(&section, "token", "token_file", read_file, findings);
        if let Some(token) = &token {
            secrets.add(token.reveal().to_owned(), &item, findings);
            warn_of_short("token", token, &item, findings);
        }
        if let (Some(grant), Some(token)) = (grant, token) {
            tokens.push(BearerToken { grant, token });
        }
    }
    (tokens, holders)
}

fn certificate(key: &str, value: &Value<'_>, findings: &mut Findings) -> Option<CertificateMatch> {
    if key == "client_cert_cn" {
        return value.parsed(findings, "a common name", |text| {
            let is_good = (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            let why = format!("is not 1 to {NAME_CHARS_MAX} printable characters");
            is_good.then(|| CertificateMatch::CommonName(text.into())).ok_or(why)
        });
    }
    let remedy = "is no SHA-256; write 64 hexadecimal digits, as openssl x509 -noout -fingerprint -sha256 prints them";
    value.parsed(findings, "a SHA-256", |text| {
        let digits = text.replace(':', "");
        let digest = hex::decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
        digest.map(CertificateMatch::Sha256).ok_or(remedy)
    })
}

/// Lowers `admin.ovh.probe_interval_min`.
pub(super) fn ovh_bounds(value: &Value<'_>, findings: &mut Findings) -> OvhBounds {
    // Whether it is a mapping is said where its credentials are read.
    let section = value.section(&mut Findings::default(), keys::OVH);
    let least = section.map(|section| section.duration(findings, "probe_interval_min", &OVH_INTERVAL_MIN));
    OvhBounds { probe_interval_min: least.unwrap_or(OVH_INTERVAL_MIN.default) }
}

/// Lowers `admin.ovh.public_url`.
pub(super) fn ovh_public_url(value: &Value<'_>, findings: &mut Findings) -> Option<Box<str>> {
    let section = value.section(&mut Findings::default(), keys::OVH)?;
    section.get("public_url")?.parsed(findings, "a URL", |text| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let is_good = text.bytes().all(|b| b.is_ascii_graphic() && !b"?#@".contains(&b)) && !host.is_empty();
        let url = text.trim_end_matches('/');
        let why = "is no URL that clients could be given; write it with its prefix, as https://lb.example.com/1.0";
        (is_good && !host.starts_with('/') && text.len() <= TEXT_BYTES_MAX).then(|| url.into()).ok_or(why)
    })
}

/// Lowers `admin.ovh`: credentials, and applications that may ask for further ones.
pub(super) fn ovh(
    value: &Value<'_>,
    read_file: ReadFile<'_>,
    findings: &mut Findings,
) -> (Vec<OvhCredential>, Vec<OvhApplication>) {
    let Some(section) = mapping(value, keys::OVH, findings) else { return (Vec::new(), Vec::new()) };
    let list = section.get("credentials");
    let applications = section.get("applications");
    if list.is_none() && applications.is_none() && section.get("probe_interval_min").is_none() {
        value.complain(
            findings,
            "has no credentials; write credentials: [{name: …, …}] or applications: [{name: …, …}]",
        );
    }
    let found = list.map(|list| ovh_credentials(&list, read_file, findings)).unwrap_or_default();
    let applications = applications.map(|list| ovh_applications(&list, read_file, findings)).unwrap_or_default();
    (found, applications)
}

fn ovh_credentials(list: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<OvhCredential> {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut pairs = Unique::new("has an application_key and a consumer_key", "make a new consumer key");
    let mut found = Vec::new();
    for item in credentials(list, "credentials", findings) {
        let Some(section) = mapping(&item, keys::OVH_CREDENTIAL, findings) else { continue };
        let grant = grant(&section, &item, &mut names, findings);
        let rules = section.get("rules").map(|value| rules(&value, findings));
        let application_key = identifier(&section, "application_key", findings);
        let application_secret = secret(&section, "application_secret", "application_secret_file", read_file, findings);
        let consumer_key = secret(&section, "consumer_key", "consumer_key_file", read_file, findings);
        if let (Some(grant), Some(application_key), Some(application_secret), Some(consumer_key)) =
            (grant, application_key, application_secret, consumer_key)
        {
            pairs.add((application_key.clone(), consumer_key.reveal().to_owned()), &item, findings);
            let rules = rules.unwrap_or_else(CallRule::every);
            found.push(OvhCredential { grant, application_key, application_secret, consumer_key, rules });
        }
    }
    found
}

fn ovh_applications(list: &Value<'_>, read_file: ReadFile<'_>, findings: &mut Findings) -> Vec<OvhApplication> {
    let mut names = Unique::new("has a name", "rename one of the two");
    let mut keys_seen = Unique::new("has an application_key", "give each application its own");
    let mut found = Vec::new();
    for item in credentials(list, "applications", findings) {
        let Some(section) = mapping(&item, keys::OVH_APPLICATION, findings) else { continue };
        let (name, access) = who(&section, &item, &mut names, findings);
        let key = identifier(&section, "application_key", findings);
        if let Some(key) = &key {
            keys_seen.add(key.clone(), &item, findings);
        }
        let secret = secret(&section, "application_secret", "application_secret_file", read_file, findings);
        if let (Some(name), Some(key), Some(secret)) = (name, key, secret) {
            found.push(OvhApplication { name, access, key, secret });
        }
    }
    found
}

fn rules(value: &Value<'_>, findings: &mut Findings) -> Vec<CallRule> {
    let mut rules = Vec::new();
    for item in value.list(findings, "rules", LIST_MAX) {
        let Some(section) = item.section(findings, keys::CALL_RULE) else { continue };
        let method = section.need(findings, "method", "write method: GET, POST, PUT or DELETE");
        let method = method.and_then(|value| value.parsed(findings, "a method", Ok::<_, String>));
        let path = section.need(findings, "path", "write path: \"/ipLoadbalancing*\", or \"/*\" for all");
        let path = path.and_then(|value| value.parsed(findings, "a path", Ok::<_, String>));
        if let (Some(method), Some(path)) = (method, path) {
            match CallRule::new(method, path) {
                Ok(rule) => rules.push(rule),
                Err(why) => item.complain(findings, why),
            }
        }
    }
    rules
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
        let grant = grant(&section, &item, &mut names, findings);
        let actions = section.get("actions").map(|value| actions(&value, findings)).unwrap_or_default();
        if actions != Actions::Reads && grant.as_ref().is_some_and(|grant| grant.access == Access::Read) {
            item.warn(findings, "lists actions and may only read; write role: operate or role: admin".to_owned());
        }
        let id = identifier(&section, "id", findings);
        if let Some(id) = &id {
            ids.add(id.clone(), &item, findings);
        }
        let secret = secret(&section, "secret", "secret_file", read_file, findings);
        if let (Some(grant), Some(id), Some(secret)) = (grant, id, secret) {
            access_keys.push(ZenlayerKey { grant, id, secret, actions });
        }
    }
    access_keys
}

fn actions(value: &Value<'_>, findings: &mut Findings) -> Actions {
    let mut listed: Vec<Box<str>> = Vec::new();
    for item in value.list(findings, "actions", LIST_MAX) {
        listed.extend(item.parsed(findings, "an action", |text| {
            let is_good =
                (1..=ACTION_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
            if is_good || text == EVERY_ACTION {
                Ok(Box::from(text))
            } else {
                Err("is not an action's name, e.g. ModifyBackend; write \"*\" for all")
            }
        }));
    }
    if listed.iter().any(|action| **action == *EVERY_ACTION) { Actions::Every } else { Actions::Listed(listed) }
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

/// Reads whose a credential is and what it may do.
fn grant(
    section: &Section<'_>,
    item: &Value<'_>,
    names: &mut Unique<String>,
    findings: &mut Findings,
) -> Option<Grant> {
    let (name, access) = who(section, item, names, findings);
    let farms = section.get("farms").map(|value| {
        let items = value.list(findings, "farm names", LIST_MAX);
        items.iter().filter_map(|item| item.parsed(findings, "a name", Name::parse)).collect()
    });
    Some(Grant { name: name?, access, farms })
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
