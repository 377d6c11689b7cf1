//! How often may be called: by a source, before anything else of a call is looked at; by a source that guesses what would
//! let it in; by a credential, once a shape knows whose it is.
//!
//! A source is an address, of IPv6 the first 64 bits. What counts as a guess is a credential that was shown and is unknown
//! or wrongly signed: not that none was shown, nor that one was shown which is known and may not do this, or not now. One
//! who guesses is slowed down where it guesses: by source and what was shown, and, where it shows ever other ones, by
//! source. A credential that was right from there before is let in whatever others guess. `/healthz` and `/readyz` are
//! asked as often as anybody likes. What a credential may is the config's `admin.rate`, a source
//! [`CREDENTIALS_PER_SOURCE`] times that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::clock;
use crate::model::settings::{CallRate, Grant};

use super::call::{AdminState, Call};
use super::error::AdminError;
use super::rates::Rates;

/// How many times as often as one credential one source may call: several may be behind one address.
const CREDENTIALS_PER_SOURCE: u32 = 4;
/// How often one source may show the same wrong credential, or be wrong about the same.
const GUESSES: CallRate = CallRate { requests: 10, window: Duration::from_secs(1), burst: 100 };
/// How often one source may guess, whatever it shows.
const GUESSES_OF_SOURCE: CallRate = CallRate { requests: 100, window: Duration::from_secs(1), burst: 1000 };
/// How often one source may ask for a credential.
const ASKS: CallRate = CallRate { requests: 10, window: Duration::from_secs(60), burst: 16 };
/// How many credentials that were right are remembered, each with where it came from.
const RIGHT_MAX: usize = 4096;
/// Paths that cost next to nothing and that watchdogs ask for.
const FREE_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// What a call shows to say who makes it: the beginning of its digest. Nothing that a guess could be checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown(u64);

impl Shown {
    /// Returns that of what can be told of it: a token, or the public part of a key.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        Self(digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }
}

/// Why somebody is not let in.
pub(super) trait Denied: From<AdminError> {
    /// Returns whether what was shown is unknown or wrongly signed.
    fn is_guess(&self) -> bool;
}

impl Denied for AdminError {
    fn is_guess(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct Gate {
    began: Instant,
    sources: Rates<IpAddr>,
    guesses: Rates<(IpAddr, Shown)>,
    guesses_of_source: Rates<IpAddr>,
    asks: Rates<IpAddr>,
    callers: Rates<Box<str>>,
    /// Credentials that were right, by where they came from, and when they last were.
    right: Mutex<BTreeMap<(IpAddr, Box<str>), Duration>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            began: clock::monotonic(),
            sources: Rates::default(),
            guesses: Rates::default(),
            guesses_of_source: Rates::default(),
            asks: Rates::default(),
            callers: Rates::default(),
            right: Mutex::default(),
        }
    }
}

impl AdminState {
    /// Checks that the source of a call does not call too often; before its body is read.
    pub(super) fn let_source_in(&self, call: &Call) -> Result<(), AdminError> {
        if FREE_PATHS.contains(&call.uri.path()) {
            return Ok(());
        }
        let CallRate { requests, window, burst } = self.credentials.load().rate;
        let times = |n: u32| n.saturating_mul(CREDENTIALS_PER_SOURCE);
        let rate = CallRate { requests: times(requests), window, burst: times(burst) };
        let taken = self.gate.sources.take(&source(call.peer), rate, self.gate.now());
        taken.map_err(|wait| too_often(call, &format!("calls from {}", call.peer), wait))
    }

    /// Returns who calls, as `who` finds out from what is `shown`, unless that is guessed too often from there or the
    /// credential is used too often. Every shape authenticates through this, once a call.
    ///
    /// # Errors
    /// What `who` says, or [`AdminError::TooManyRequests`].
    pub(super) fn let_in<T, E: Denied>(
        &self,
        call: &Call,
        shown: Option<Shown>,
        who: impl FnOnce() -> Result<T, E>,
        grant: impl FnOnce(&T) -> &Grant,
    ) -> Result<T, E> {
        let (gate, source) = (&*self.gate, source(call.peer));
        if !gate.has_been_right(source) {
            // Where nobody ever was, what is shown need not be looked at.
            self.look(call, source, shown)?;
        }
        let known = who().map_err(|why| match shown.filter(|_| why.is_guess()) {
            Some(shown) => self.guessed(call, source, shown).map_or_else(E::from, |()| why),
            None => why,
        })?;
        let name = &grant(&known).name;
        if !gate.was_right(source, name) {
            self.look(call, source, shown)?;
            gate.is_right(source, name);
        }
        let used = gate.callers.take(name, self.credentials.load().rate, gate.now());
        used.map_err(|wait| too_often(call, &format!("calls with credential \"{name}\""), wait))?;
        Ok(known)
    }

    /// Notes that what a call shows is no credential, where that was found out before its shape saw it.
    ///
    /// # Errors
    /// [`AdminError::TooManyRequests`].
    pub(super) fn guess(&self, call: &Call, shown: Option<Shown>) -> Result<(), AdminError> {
        shown.map_or(Ok(()), |shown| self.guessed(call, source(call.peer), shown))
    }

    /// Checks that a source does not ask for credentials too often.
    ///
    /// # Errors
    /// [`AdminError::TooManyRequests`].
    pub(super) fn let_ask(&self, call: &Call) -> Result<(), AdminError> {
        let taken = self.gate.asks.take(&source(call.peer), ASKS, self.gate.now());
        taken.map_err(|wait| too_often(call, &format!("credentials asked for from {}", call.peer), wait))
    }

    fn look(&self, call: &Call, source: IpAddr, shown: Option<Shown>) -> Result<(), AdminError> {
        let Some(shown) = shown else { return Ok(()) };
        let (gate, now) = (&*self.gate, self.gate.now());
        let looked = gate.guesses.look(&(source, shown), GUESSES, now);
        let looked = looked.and_then(|()| gate.guesses_of_source.look(&source, GUESSES_OF_SOURCE, now));
        looked.map_err(|wait| guesses_too_often(call, wait))
    }

    /// Notes a guess.
    ///
    /// # Errors
    /// There were too many.
    fn guessed(&self, call: &Call, source: IpAddr, shown: Shown) -> Result<(), AdminError> {
        let (gate, now) = (&*self.gate, self.gate.now());
        let taken = gate.guesses.take(&(source, shown), GUESSES, now);
        // What was refused costs no more: who repeats himself takes nothing from those who do not.
        let taken = taken.and_then(|()| gate.guesses_of_source.take(&source, GUESSES_OF_SOURCE, now));
        taken.map_err(|wait| guesses_too_often(call, wait))
    }
}

impl Gate {
    fn now(&self) -> Duration {
        clock::monotonic().duration_since(self.began)
    }

    fn has_been_right(&self, source: IpAddr) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.range((source, Box::default())..).next().is_some_and(|((from, _), _)| *from == source)
    }

    fn was_right(&self, source: IpAddr, name: &str) -> bool {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let last = right.get_mut(&(source, name.into()));
        last.is_some_and(|last| {
            *last = self.now();
            true
        })
    }

    /// Remembers a credential; where there is no room, instead of the one that was not used for longest.
    fn is_right(&self, source: IpAddr, name: &str) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= RIGHT_MAX {
            let oldest = right.iter().min_by_key(|(_, last)| **last).map(|(who, _)| who.clone());
            oldest.and_then(|oldest| right.remove(&oldest));
        }
        right.insert((source, name.into()), self.now());
    }
}

/// Returns the source that an address is of.
pub(super) fn source(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn guesses_too_often(call: &Call, wait: Duration) -> AdminError {
    too_often(call, &format!("calls from {} with what is no credential", call.peer), wait)
}

fn too_often(call: &Call, what: &str, wait: Duration) -> AdminError {
    let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    // A call is refused once.
    let _ = call.retry_after.set(seconds);
    AdminError::TooManyRequests { what: what.to_owned(), seconds }
}

#[cfg(test)]
mod tests;
