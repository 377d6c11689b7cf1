//! Sticky cookies: a value for each server of a farm, sealed so that a client can neither make one nor carry one over
//! from another farm.
//!
//! A cookie is `value.tag`: the server's own `cookie`, or its id in hexadecimal, and the first 128 bits of
//! HMAC-SHA256(key, farm id and value). The cookies of a farm are few and made once, so reading one is looking it up;
//! whatever is not among them names no server.

use std::collections::HashMap;
use std::fmt::Write as _;

use ::http::header::{COOKIE, HeaderMap, HeaderValue};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::model::{CookieRule, Farm, FarmId, Server, ServerId};

/// Bytes of a seal: 128 bits.
const TAG_BYTES: usize = 16;

/// Seals the cookies of farms that name no key.
#[derive(Clone)]
pub struct StickyKey([u8; 32]);

impl StickyKey {
    /// Returns the key of these bytes, which must be random and secret. Cookies outlive the process only if it has the
    /// same key again.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StickyKey(…)")
    }
}

/// The cookies of one farm.
#[derive(Clone, Debug)]
pub struct Seals {
    rule: CookieRule,
    /// What the cookies were made of, in the order written.
    made_of: Vec<(ServerId, Option<Box<str>>)>,
    by_text: HashMap<Box<str>, ServerId>,
    /// The Set-Cookie of each server.
    by_server: HashMap<ServerId, HeaderValue>,
}

impl Seals {
    /// Returns the cookies of a farm. Of two servers with the same `cookie` the first has it.
    #[must_use]
    pub fn new(farm: &Farm, rule: &CookieRule, key: &StickyKey) -> Self {
        let key = rule.key.as_ref().map_or(&key.0[..], |key| key.reveal().as_bytes());
        let mut seals = Self {
            rule: rule.clone(),
            made_of: made_of(farm).map(|(id, cookie)| (id, cookie.clone())).collect(),
            by_text: HashMap::new(),
            by_server: HashMap::new(),
        };
        for server in &farm.servers {
            let text = sealed(key, farm.id, server);
            if let Ok(line) = HeaderValue::try_from(set_cookie(rule, &text)) {
                seals.by_server.insert(server.id, line);
            }
            seals.by_text.entry(text.into()).or_insert(server.id);
        }
        seals
    }

    /// Returns whether these are the cookies of that farm by that rule.
    #[must_use]
    pub fn are_of(&self, farm: &Farm, rule: &CookieRule) -> bool {
        self.rule == *rule && self.made_of.iter().map(|(id, cookie)| (*id, cookie)).eq(made_of(farm))
    }

    /// Returns the server that the client's cookies name; nothing if none of them is one of ours.
    #[must_use]
    pub fn server_of(&self, headers: &HeaderMap) -> Option<ServerId> {
        presented(headers, &self.rule.name).find_map(|value| self.by_text.get(value)).copied()
    }

    /// Returns the Set-Cookie that brings a client back to a server.
    #[must_use]
    pub fn set_cookie(&self, server: ServerId) -> Option<&HeaderValue> {
        self.by_server.get(&server)
    }
}

/// Returns the values of the cookies of that name that a client sent, in order.
pub fn presented<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(found, _)| found.trim() == name).map(|(_, value)| {
        let value = value.trim();
        value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
    })
}

fn made_of(farm: &Farm) -> impl Iterator<Item = (ServerId, &Option<Box<str>>)> {
    farm.servers.iter().map(|server| (server.id, &server.cookie))
}

fn sealed(key: &[u8], farm: FarmId, server: &Server) -> String {
    let mut text = match &server.cookie {
        Some(cookie) => plain(cookie),
        None => format!("{:x}", server.id.0),
    };
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(&farm.0.to_be_bytes());
        mac.update(text.as_bytes());
        text.push('.');
        text.push_str(&hex::encode(&mac.finalize().into_bytes()[..TAG_BYTES]));
    }
    text
}

/// Returns a value with everything that a cookie cannot hold, or that could end it, written as `%` and two digits.
fn plain(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !b"\",;\\%".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn set_cookie(rule: &CookieRule, text: &str) -> String {
    let mut line = format!("{}={text}; Path=/", rule.name);
    if let Some(max_age) = rule.max_age {
        let _ = write!(line, "; Max-Age={}", max_age.as_secs());
    }
    if rule.is_secure {
        line.push_str("; Secure");
    }
    if rule.is_http_only {
        line.push_str("; HttpOnly");
    }
    let _ = write!(line, "; SameSite={}", rule.same_site.as_str());
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::fuzz::{fuzz, like};
    use crate::model::{Name, Protocol, SameSite, Secret};

    fn rule() -> CookieRule {
        CookieRule {
            name: "WAY".into(),
            max_age: None,
            is_secure: false,
            is_http_only: true,
            same_site: SameSite::Lax,
            key: None,
        }
    }

    fn farm(id: u64) -> Farm {
        let mut farm = Farm::new(FarmId(id), Name::parse("web").unwrap(), Protocol::Http);
        for (n, cookie) in [(1, None), (2, Some("b; x"))] {
            let name = Name::parse(&format!("s{n}")).unwrap();
            let server = Server::new(ServerId(n), name, "127.0.0.1:80".parse().unwrap());
            farm.servers.push(Arc::new(Server { cookie: cookie.map(Into::into), ..server }));
        }
        farm
    }

    fn seals(id: u64) -> Seals {
        Seals::new(&farm(id), &rule(), &StickyKey::new([7; 32]))
    }

    /// The `name=value` that a client sends back.
    fn cookie(seals: &Seals, server: u64) -> String {
        let line = seals.set_cookie(ServerId(server)).unwrap().to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }

    fn sent(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (COOKIE, HeaderValue::try_from(*cookie).unwrap())).collect()
    }

    #[test]
    fn any_cookie_names_a_server_only_by_its_whole_seal() {
        let seals = seals(1);
        let ours = [1, 2].map(|server| cookie(&seals, server));
        let other = cookie(&Seals::new(&farm(2), &rule(), &StickyKey::new([7; 32])), 1);
        let seeds = ours.iter().chain([&other]).map(|text| format!("a=b; {text}; c=d").into_bytes()).collect();
        let pieces: &[&[u8]] = &[b";", b"=", b"\"", b" ", b"WAY=", b"WAY", b".", b"%", b"; WAY=1.", b"\xff", b"\t"];
        fuzz(&like(seeds, pieces), |bytes| {
            // What is no value of a field came from no request.
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let named = seals.server_of(&HeaderMap::from_iter([(COOKIE, value)]));
            let text = String::from_utf8_lossy(&bytes);
            let has = |server: u64| text.contains(ours[usize::from(server == 2)].strip_prefix("WAY=").unwrap());
            prop_assert!(named.is_none_or(|server| has(server.0)), "{:?} of {}", named, text);
            Ok(())
        });
    }

    #[test]
    fn cookie_that_was_set_names_its_server_among_others() {
        let seals = seals(1);
        for server in [1, 2] {
            let ours = cookie(&seals, server);
            assert_eq!(seals.server_of(&sent(&[&ours])), Some(ServerId(server)));
            assert_eq!(seals.server_of(&sent(&["a=b", &format!("c=d;{ours} ; e=f")])), Some(ServerId(server)));
        }
        let quoted = cookie(&seals, 1).replace('=', "=\"") + "\"";
        assert_eq!(seals.server_of(&sent(&[&quoted])), Some(ServerId(1)));
    }

    #[test]
    fn first_cookie_that_is_ours_counts() {
        let seals = seals(1);
        let twice = format!("WAY=forged; {}; {}", cookie(&seals, 2), cookie(&seals, 1));
        assert_eq!(seals.server_of(&sent(&[&twice])), Some(ServerId(2)));
    }

    #[test]
    fn forged_cookie_names_nobody() {
        let seals = seals(1);
        let ours = cookie(&seals, 1);
        let (value, tag) = ours.split_once('.').unwrap();
        let other_key = Seals::new(&farm(1), &rule(), &StickyKey::new([8; 32]));
        for forged in [
            "WAY=1".to_owned(),
            "WAY=".to_owned(),
            value.to_owned(),
            format!("WAY=2.{tag}"),
            format!("{value}.{}", tag.to_uppercase()),
            ours[..ours.len() - 1].to_owned(),
            ours.replace("WAY", "way"),
            cookie(&self::seals(2), 1),
            cookie(&other_key, 1),
        ] {
            assert_eq!(seals.server_of(&sent(&[&forged])), None, "{forged}");
        }
        assert_eq!(seals.server_of(&HeaderMap::new()), None);
    }

    #[test]
    fn set_cookie_has_the_attributes_of_the_rule() {
        assert_eq!(
            seals(1).set_cookie(ServerId(1)).unwrap(),
            &format!("{}; Path=/; HttpOnly; SameSite=Lax", cookie(&seals(1), 1))
        );
        let rule = CookieRule {
            max_age: Some(Duration::from_secs(3600)),
            is_secure: true,
            is_http_only: false,
            same_site: SameSite::None,
            ..rule()
        };
        let seals = Seals::new(&farm(1), &rule, &StickyKey::new([7; 32]));
        let line = seals.set_cookie(ServerId(2)).unwrap().to_str().unwrap();
        assert!(line.starts_with("WAY=b%3b%20x."), "{line}");
        assert!(line.ends_with("; Path=/; Max-Age=3600; Secure; SameSite=None"), "{line}");
        assert_eq!(seals.set_cookie(ServerId(3)), None);
    }

    #[test]
    fn key_of_the_rule_outlives_the_process_and_that_of_the_process_is_not_asked() {
        let keyed = CookieRule { key: Some(Secret::new("a long secret")), ..rule() };
        let made = |process| Seals::new(&farm(1), &keyed, &StickyKey::new([process; 32]));
        assert_eq!(cookie(&made(1), 1), cookie(&made(2), 1));
        assert_ne!(cookie(&made(1), 1), cookie(&seals(1), 1));
    }

    #[test]
    fn seals_stay_until_rule_or_servers_change() {
        let seals = seals(1);
        assert!(seals.are_of(&farm(1), &rule()));
        assert!(!seals.are_of(&farm(1), &CookieRule { is_secure: true, ..rule() }));
        let mut other = farm(1);
        other.servers.pop();
        assert!(!seals.are_of(&other, &rule()));
    }
}
