//! Bearer tokens, as the two vendor shapes accept them beside their own signatures. Knows no shape's words.
//!
//! Compared without leaking where two texts differ (RFC 6750 §2.1 has the header's form).

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::call::{Caller, Credentials};

/// Returns the token of `Authorization: Bearer TOKEN`, if that is what was sent, once.
pub(super) fn sent_in(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let only = sent.next().filter(|_| sent.next().is_none())?;
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns who a token belongs to. Every token is compared, whichever fits.
pub(super) fn caller(credentials: &Credentials, token: &str) -> Option<Caller> {
    let mut found = None;
    for known in &credentials.tokens {
        if is_same_secret(known.token.reveal(), token) {
            found = Some(Caller { name: known.name.clone(), access: known.access });
        }
    }
    found
}

/// Returns whether two secrets are the same text; tells nothing but their lengths by how long it takes.
pub(super) fn is_same_secret(known: &str, given: &str) -> bool {
    !known.is_empty() && bool::from(known.as_bytes().ct_eq(given.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::settings::BearerToken;
    use crate::model::{Access, Secret};

    #[test]
    fn token_that_is_empty_or_differs_is_nobodys() {
        let token =
            |name: &str, text: &str| BearerToken { name: name.into(), access: Access::Read, token: Secret::new(text) };
        let credentials = Credentials { tokens: vec![token("a", "t-a"), token("none", "")], ..Credentials::default() };
        assert_eq!(caller(&credentials, "t-a").map(|c| c.name), Some("a".into()));
        assert_eq!(caller(&credentials, "t-A"), None);
        assert_eq!(caller(&credentials, ""), None);
    }

    #[test]
    fn token_is_read_from_the_bearer_scheme_only() {
        for (sent, want) in [("Bearer x", Some("x")), ("bearer  x ", Some("x")), ("Basic x", None), ("Bearer", None)] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, sent.parse().unwrap())]);
            assert_eq!(sent_in(&headers), want, "{sent:?}");
        }
        let mut twice = HeaderMap::from_iter([(AUTHORIZATION, "Bearer x".parse().unwrap())]);
        twice.append(AUTHORIZATION, "Bearer x".parse().unwrap());
        assert_eq!(sent_in(&twice), None);
    }
}
