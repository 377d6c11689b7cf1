//! Credentials that applications ask for and operators grant.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::change::Act;
use super::id::Name;
use super::settings::{Access, CallRule};
use super::time::Timestamp;

/// How long a credential that was asked for may be granted.
pub const PENDING_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A credential that an application asked for. Its secret half is not kept: it follows from the nonce and the
/// application's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedCredential {
    /// Its number, from 1; none is given twice.
    pub id: u64,
    /// The key of the application that asked.
    pub application_key: Box<str>,
    /// Chance.
    pub nonce: [u8; 16],
    /// The calls that it may make, as asked for.
    pub rules: Vec<CallRule>,
    /// Where calls with it may come from; empty: anywhere.
    pub allowed_ips: Vec<IpNet>,
    /// Where its person wants to be sent afterwards.
    pub redirection: Option<Box<str>>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// What an operator made of it.
    pub verdict: Option<Verdict>,
    /// When it was last used.
    pub last_use: Option<Timestamp>,
}

/// What an operator made of a credential that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it may do; nothing: it was refused.
    pub granted: Option<Granted>,
    /// Who said so, and when.
    pub act: Act,
}

/// What a credential may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its role; no more than the application's counts.
    pub access: Access,
    /// The farms that it may change; absent: all.
    pub farms: Option<Arc<[Name]>>,
    /// When it ends; absent: when it is revoked.
    pub until: Option<Timestamp>,
}

/// Where a credential that was asked for stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedState {
    /// It was granted and its time is over, or nobody granted it in time.
    Expired,
    /// Nobody has looked at it yet.
    PendingValidation,
    /// An operator refused it.
    Refused,
    /// It is good.
    Validated,
}

impl AskedState {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::PendingValidation => "pendingValidation",
            Self::Refused => "refused",
            Self::Validated => "validated",
        }
    }
}

impl AskedCredential {
    /// Returns where it stands.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> AskedState {
        match &self.verdict {
            None if now < self.asked_at + PENDING_LIFETIME => AskedState::PendingValidation,
            None => AskedState::Expired,
            Some(Verdict { granted: None, .. }) => AskedState::Refused,
            Some(Verdict { granted: Some(granted), .. }) if granted.until.is_some_and(|until| until <= now) => {
                AskedState::Expired
            }
            Some(_) => AskedState::Validated,
        }
    }

    /// Returns what was granted, if it is good now.
    #[must_use]
    pub fn granted(&self, now: Timestamp) -> Option<&Granted> {
        let granted = self.verdict.as_ref()?.granted.as_ref()?;
        (self.state(now) == AskedState::Validated).then_some(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_763_726_400_000_000);

    fn asked(verdict: Option<Option<Option<Timestamp>>>) -> AskedCredential {
        let act = Act { actor: "ops".into(), source: "127.0.0.1".into(), reason: None, at: NOON };
        let granted = |until| Granted { access: Access::Operate, farms: None, until };
        AskedCredential {
            id: 1,
            application_key: "k".into(),
            nonce: [7; 16],
            rules: CallRule::every(),
            allowed_ips: Vec::new(),
            redirection: None,
            asked_at: NOON,
            verdict: verdict.map(|until| Verdict { granted: until.map(granted), act }),
            last_use: None,
        }
    }

    #[test]
    fn credential_stands_where_time_and_operator_put_it() {
        let late = NOON + PENDING_LIFETIME;
        let at = |verdict, now| asked(verdict).state(now);
        assert_eq!((at(None, NOON), at(None, late)), (AskedState::PendingValidation, AskedState::Expired));
        assert_eq!(at(Some(None), late), AskedState::Refused);
        assert_eq!(at(Some(Some(None)), late), AskedState::Validated);
        assert_eq!(at(Some(Some(Some(late))), NOON), AskedState::Validated);
        assert_eq!(at(Some(Some(Some(late))), late), AskedState::Expired);
        assert!(asked(Some(Some(Some(late)))).granted(NOON).is_some());
        assert!(asked(Some(Some(Some(late)))).granted(late).is_none());
        assert!(asked(None).granted(NOON).is_none() && asked(Some(None)).granted(NOON).is_none());
    }
}
