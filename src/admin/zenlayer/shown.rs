//! What a frontend and its farm are in the words of a listener. Pure; both what is read and what is to be written look
//! here.
//!
//! A word that was asked for is told again while what it stands for is still so. Where a word of the published enums
//! would be untrue (a balance of ours that they do not have), ours is given.

use serde_json::{Map, Value};

use super::check;
use super::wire::HealthCheck;
use super::wire::kept::KeptListener;
use crate::model::{Balance, Farm, Frontend, Protocol, Stickiness};

/// The words of `scheduler`.
pub(super) const SCHEDULERS: &[&str] = &["mh", "rr", "wrr", "lc", "wlc", "sh", "dh"];
/// The words of `kind`. Connections are always proxied, which is the first; the others are kept.
pub(super) const KINDS: &[&str] = &["FNAT", "DR", "DNAT"];

/// A frontend with the farm that takes its work.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) frontend: &'a Frontend,
    pub(super) farm: Option<&'a Farm>,
    /// The farm as it was written, where an API wrote it.
    pub(super) form: Option<&'a Map<String, Value>>,
    pub(super) kept: &'a KeptListener,
}

impl Shown<'_> {
    pub(super) fn name(&self) -> String {
        self.kept.name.clone().unwrap_or_else(|| self.frontend.name.to_string())
    }

    pub(super) fn protocol(&self) -> &'static str {
        protocol(self.frontend.protocol)
    }

    pub(super) fn scheduler(&self) -> &str {
        let is = self.farm.map_or(Balance::RoundRobin, |farm| farm.balance);
        let is_still = |asked: &&str| balance(asked) == is;
        self.kept.scheduler.as_deref().filter(is_still).unwrap_or(match is {
            Balance::First => "dh",
            Balance::LeastConn => "wlc",
            Balance::Maglev => "mh",
            Balance::RoundRobin => "wrr",
            Balance::Source => "sh",
            Balance::Ewma | Balance::Random | Balance::Uri => is.as_str(),
        })
    }

    pub(super) fn kind(&self) -> &str {
        self.kept.kind.as_deref().unwrap_or(KINDS[0])
    }

    pub(super) fn persistent(&self) -> u64 {
        match self.farm.map(|farm| &farm.stickiness) {
            Some(Stickiness::Source { idle, .. }) => idle.as_secs(),
            Some(Stickiness::Cookie(_) | Stickiness::Header { .. } | Stickiness::None) | None => 0,
        }
    }

    pub(super) fn idle_timeout(&self) -> u64 {
        let of_clients = self.frontend.timeouts.idle;
        match (self.frontend.protocol, self.farm) {
            (Protocol::Http, _) | (_, None) => of_clients.as_secs(),
            (Protocol::Tcp | Protocol::Udp, Some(farm)) => farm.timeouts.idle.as_secs(),
        }
    }

    pub(super) fn proxy_protocol(&self) -> Option<&str> {
        let form = self.form?;
        form.get("proxy_protocol")?.as_str().filter(|word| *word != "none")
    }

    pub(super) fn health_check(&self) -> HealthCheck {
        check::shown(self.kept.health_check.as_ref(), self.form, self.farm)
    }

    /// Whether the scheduler looks at no weight but 0.
    pub(super) fn is_unweighted(&self) -> bool {
        is_unweighted(self.scheduler())
    }
}

/// Returns the word of a protocol: it is a layer 4 product, HTTP runs over TCP.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http | Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Returns the balance of a word of [`SCHEDULERS`]. A hash of the destination is the same for all who come to one
/// address: the first server that can takes it.
pub(super) fn balance(scheduler: &str) -> Balance {
    match scheduler {
        "dh" => Balance::First,
        "lc" | "wlc" => Balance::LeastConn,
        "mh" => Balance::Maglev,
        "sh" => Balance::Source,
        _ => Balance::RoundRobin,
    }
}

/// Returns whether that scheduler looks at no weight but 0.
pub(super) fn is_unweighted(scheduler: &str) -> bool {
    matches!(scheduler, "lc" | "rr")
}
