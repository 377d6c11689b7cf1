//! How often may be called: by a source, before anything else of a call is looked at; by a source that fails to say who
//! it is; by a credential, once a shape knows whose it is.
//!
//! A source is an address, of IPv6 the first 64 bits. One that failed too often is not let in for a while even with a
//! credential that is right, so that guessing is slow; `/healthz` and `/readyz` are asked as often as anybody likes.
//! What a credential may is the config's `admin.rate`, a source [`CREDENTIALS_PER_SOURCE`] times that.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::settings::{CallRate, Grant};

use super::call::{AdminState, Call};
use super::error::AdminError;
use super::rates::Rates;

/// How many times as often as one credential one source may call: several may be behind one address.
const CREDENTIALS_PER_SOURCE: u32 = 4;
/// How often one source may fail to say who it is.
const FAILURES: CallRate = CallRate { requests: 10, window: Duration::from_secs(1), burst: 100 };
/// Paths that cost next to nothing and that watchdogs ask for.
const FREE_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// See the module's doc.
#[derive(Debug)]
pub struct Gate {
    began: Instant,
    sources: Rates<IpAddr>,
    failures: Rates<IpAddr>,
    callers: Rates<Box<str>>,
}

impl Default for Gate {
    fn default() -> Self {
        let (sources, failures, callers) = (Rates::default(), Rates::default(), Rates::default());
        Self { began: clock::monotonic(), sources, failures, callers }
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
        let taken = self.gate.sources.take(&source(call), rate, self.gate.now());
        taken.map_err(|wait| too_often(call, &format!("calls from {}", call.peer), wait))
    }

    /// Returns who calls, as `who` finds out, unless the source failed at that too often or the credential is used too
    /// often. Every shape authenticates through this, once a call.
    ///
    /// # Errors
    /// What `who` says, or [`AdminError::TooManyRequests`].
    pub(super) fn let_in<T, E: From<AdminError>>(
        &self,
        call: &Call,
        who: impl FnOnce() -> Result<T, E>,
        grant: impl FnOnce(&T) -> &Grant,
    ) -> Result<T, E> {
        let (gate, source) = (&*self.gate, source(call));
        let failed = |wait| too_often(call, &format!("calls from {} without a good credential", call.peer), wait);
        gate.failures.look(&source, FAILURES, gate.now()).map_err(failed)?;
        let known = who().inspect_err(|_| {
            // There was one a moment ago; where another call took it, the next one is refused.
            let _ = gate.failures.take(&source, FAILURES, gate.now());
        })?;
        let name = &grant(&known).name;
        let used = gate.callers.take(name, self.credentials.load().rate, gate.now());
        used.map_err(|wait| too_often(call, &format!("calls with credential \"{name}\""), wait))?;
        Ok(known)
    }
}

impl Gate {
    fn now(&self) -> Duration {
        clock::monotonic().duration_since(self.began)
    }
}

fn too_often(call: &Call, what: &str, wait: Duration) -> AdminError {
    let seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
    // A call is refused once.
    let _ = call.retry_after.set(seconds);
    AdminError::TooManyRequests { what: what.to_owned(), seconds }
}

fn source(call: &Call) -> IpAddr {
    match call.peer {
        IpAddr::V4(_) => call.peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests;
