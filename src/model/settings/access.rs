//! Who may use the admin side, and for what.

use std::sync::Arc;
use std::time::Duration;

use super::Secret;
use crate::model::id::Name;
use crate::model::wildcard;

/// What a credential may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read only.
    Read,
    /// Take servers out and back: admin status, weights, reload.
    Operate,
    /// Change everything that can be changed: farms, frontends and what belongs to them, and credentials.
    Admin,
}

impl Access {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// Returns the word of the config file's `role`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Returns what a word of the config file means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.as_str() == word)
    }
}

/// Whose a credential is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is; shown with every act.
    pub name: Box<str>,
    /// What it may do.
    pub access: Access,
    /// The farms that it may change, by name; absent: all. It reads everything.
    pub farms: Option<Arc<[Name]>>,
}

impl Grant {
    /// Returns whether it may change that farm and what belongs to it.
    #[must_use]
    pub fn may_change(&self, farm: &Name) -> bool {
        self.farms.as_ref().is_none_or(|farms| farms.contains(farm))
    }
}

/// Calls of the OVHcloud shape that a credential may make: a method, and a path below `/1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRule {
    /// GET, POST, PUT or DELETE.
    pub method: Box<str>,
    /// The path; each `*` stands for anything, slashes too.
    pub path: Box<str>,
}

impl CallRule {
    /// The methods there are.
    pub const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    /// The longest path, in bytes.
    pub const PATH_BYTES_MAX: usize = 512;

    /// Returns the rule, or what is wrong with it.
    ///
    /// # Errors
    /// A sentence's end that names the fault and the remedy.
    pub fn new(method: &str, path: &str) -> Result<Self, String> {
        if !Self::METHODS.contains(&method) {
            return Err(format!("method {method:?} is none of {}", Self::METHODS.join(", ")));
        }
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !is_plain || path.len() > Self::PATH_BYTES_MAX {
            let max = Self::PATH_BYTES_MAX;
            return Err(format!(
                "path {path:?} is not \"/\" and up to {max} visible ASCII characters; write /* for all"
            ));
        }
        Ok(Self { method: method.into(), path: path.into() })
    }

    /// Returns a rule for every call of each method.
    #[must_use]
    pub fn every() -> Vec<Self> {
        Self::METHODS.iter().map(|method| Self { method: (*method).into(), path: "/*".into() }).collect()
    }

    /// Returns whether it allows this call. HEAD asks no more than GET does.
    #[must_use]
    pub fn allows(&self, method: &str, path: &str) -> bool {
        let method = if method == "HEAD" { "GET" } else { method };
        *self.method == *method && wildcard::matches(&self.path, '*', path)
    }
}

/// How often one credential may call: a bucket of `burst` tokens that fills by `requests` every `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRate {
    /// How many calls.
    pub requests: u32,
    /// In how long.
    pub window: Duration,
    /// How many at once, after a pause; at least 1.
    pub burst: u32,
}

impl CallRate {
    /// What holds where the file does not say: what no script needs and a loop that runs away comes to.
    pub const DEFAULT: Self = Self { requests: 1000, window: Duration::from_secs(1), burst: 5000 };
}

impl Default for CallRate {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A bearer token of the native API (also accepted by the two vendor shapes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerToken {
    /// Whose it is.
    pub grant: Grant,
    /// The token.
    pub token: Secret,
}

/// Whoever shows a certificate of a client, instead of a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHolder {
    /// Who it is.
    pub grant: Grant,
    /// Which certificate.
    pub certificate: CertificateMatch,
}

/// Which certificate of a client stands for a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateMatch {
    /// Any with this common name that the authorities vouch for.
    CommonName(Box<str>),
    /// The one of this SHA-256.
    Sha256([u8; 32]),
}

/// A credential of OVHcloud's `$1$` signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvhCredential {
    /// Whose it is.
    pub grant: Grant,
    /// `X-Ovh-Application`.
    pub application_key: Box<str>,
    /// The application's secret.
    pub application_secret: Secret,
    /// `X-Ovh-Consumer`.
    pub consumer_key: Secret,
    /// The calls that it may make, of those that its role allows.
    pub rules: Vec<CallRule>,
}

/// Bounds of what the OVHcloud shape may write, where an operator moves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OvhBounds {
    /// The shortest interval of a probe.
    pub probe_interval_min: Duration,
}

impl Default for OvhBounds {
    /// The vendor's own.
    fn default() -> Self {
        Self { probe_interval_min: Duration::from_secs(30) }
    }
}

/// An application that may ask for credentials of the OVHcloud shape; an operator grants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvhApplication {
    /// What it is called.
    pub name: Box<str>,
    /// The most that a credential of it may do.
    pub access: Access,
    /// `X-Ovh-Application`.
    pub key: Box<str>,
    /// Its secret.
    pub secret: Secret,
}

/// An access key of Zenlayer's ZC2-HMAC-SHA256 signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZenlayerKey {
    /// Whose it is.
    pub grant: Grant,
    /// The access key id.
    pub id: Box<str>,
    /// The access key password.
    pub secret: Secret,
    /// Which actions it may ask for.
    pub actions: Actions,
}

/// Actions of the Zenlayer shape. Its signature covers neither action nor path, so that each key lists what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actions {
    /// Those that only read.
    #[default]
    Reads,
    /// These, and those that only read.
    Listed(Vec<Box<str>>),
    /// All.
    Every,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_those_before_them_and_have_words() {
        assert!(Access::Read < Access::Operate && Access::Operate < Access::Admin);
        for access in Access::ALL {
            assert_eq!(Access::parse(access.as_str()), Some(access));
        }
        assert_eq!(Access::parse("root"), None);
    }

    #[test]
    fn rule_allows_its_method_and_what_its_stars_cover() {
        let rule = |path| CallRule::new("GET", path).unwrap();
        for (path, asked, is_allowed) in [
            ("/*", "/ipLoadbalancing", true),
            ("/ipLoadbalancing*", "/ipLoadbalancing/x/http/farm", true),
            ("/ipLoadbalancing/*", "/ipLoadbalancing", false),
            ("/ipLoadbalancing/*/http/farm", "/ipLoadbalancing/x/http/farm", true),
            ("/ipLoadbalancing/*/http/farm", "/ipLoadbalancing/x/http/farm/7", false),
            ("/a/*/b/*/c", "/a/x/b/y/c", true),
            ("/a/*/b/*/c", "/a/b/c", false),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/a*a", "/a", false),
        ] {
            assert_eq!(rule(path).allows("GET", asked), is_allowed, "{path} {asked}");
        }
        assert!(rule("/a").allows("HEAD", "/a"));
        assert!(!rule("/a").allows("POST", "/a"));
    }

    #[test]
    fn rule_that_makes_no_sense_says_why() {
        assert!(CallRule::new("PATCH", "/*").unwrap_err().contains("GET, POST, PUT, DELETE"));
        for path in ["", "x", "/a b", "/\u{e9}"] {
            assert!(CallRule::new("GET", path).unwrap_err().contains("write /* for all"), "{path:?}");
        }
    }

    #[test]
    fn grant_without_farms_may_change_all_and_with_some_only_those() {
        let name = |text: &str| Name::parse(text).unwrap();
        let all = Grant { name: "ops".into(), access: Access::Operate, farms: None };
        let some = Grant { farms: Some([name("web")].into()), ..all.clone() };
        assert!(all.may_change(&name("api")) && some.may_change(&name("web")) && !some.may_change(&name("api")));
    }
}
