//! Our probes and our rotation behind the traits of pingora-load-balancing, for other programs on Pingora.
//!
//! [`ProbeCheck`] is a `HealthCheck` with one deadline for everything and a bounded reply; what it found stays readable
//! in [`Share::last_check`]. [`SmoothTurns`] is a `BackendSelection` that interleaves exactly by weight, whoever is
//! refused. A server's weight lives in a [`Share`] in the `ext` of its `Backend`, whose own weight is always 1: there
//! a weight is part of the identity, and a new one would forget that a server is down.
//!
//! Farmgate's own data path uses neither. Cost of a choice: O(n) under a lock; meant for farms of tens of servers. Two
//! servers at one address are one `Backend`, the first: that crate knows servers by address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::{Error, ErrorType, Result};
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use pingora_load_balancing::{Backend, Extensions};

use crate::farm::FarmTable;
use crate::model::{CheckRecord, CheckStatus, Host, Probe, ServerId, Verdict, Weight};

use super::check;
use super::tls::Trust;

/// A probe as that crate's `HealthCheck`.
#[derive(Clone, Debug)]
pub struct ProbeCheck {
    probe: Arc<Probe>,
    trust: Arc<Trust>,
}

impl ProbeCheck {
    /// Returns the check of a probe.
    #[must_use]
    pub fn new(probe: Arc<Probe>) -> Self {
        Self { probe, trust: Arc::default() }
    }
}

#[async_trait]
impl HealthCheck for ProbeCheck {
    /// Errors carry the check status as their type, the code where there was one, and the content as their context.
    async fn check(&self, target: &Backend) -> Result<()> {
        let Some(addr) = target.addr.as_inet() else {
            let words = "server has no internet address; probes speak TCP";
            return Error::e_explain(ErrorType::Custom(CheckStatus::SockErr.as_str()), words);
        };
        let host = Host::Ip(addr.ip());
        let ip = self.probe.aim.address.unwrap_or_else(|| addr.ip());
        let addr = SocketAddr::new(ip, self.probe.port_of(addr.port()));
        let record = check::run(&self.trust, addr, &host, &self.probe).await;
        let result = match record.verdict() {
            Verdict::Conditional | Verdict::Neutral | Verdict::Passed => Ok(()),
            Verdict::Failed => Error::e_explain(error_type(&record), record.content.as_str().to_owned()),
        };
        if let Some(share) = target.ext.get::<Arc<Share>>() {
            share.last_check.store(Some(Arc::new(record)));
        }
        result
    }

    fn health_threshold(&self, success: bool) -> usize {
        usize::from(if success { self.probe.rise } else { self.probe.fall })
    }
}

fn error_type(record: &CheckRecord) -> ErrorType {
    let word = record.status.as_str();
    record.code.map_or(ErrorType::Custom(word), |code| ErrorType::CustomCode(word, code))
}

/// What a server carries in the `ext` of its `Backend`, as `Arc<Share>`.
#[derive(Debug)]
pub struct Share {
    id: ServerId,
    weight: AtomicU16,
    last_check: ArcSwapOption<CheckRecord>,
}

impl Share {
    /// Returns the share of a server.
    #[must_use]
    pub fn new(id: ServerId, weight: Weight) -> Arc<Self> {
        Arc::new(Self { id, weight: AtomicU16::new(weight.0), last_check: ArcSwapOption::empty() })
    }

    /// Returns whose share this is.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Returns the weight; 0 takes nothing.
    #[must_use]
    pub fn weight(&self) -> Weight {
        Weight(self.weight.load(Ordering::Relaxed))
    }

    /// Sets the weight from the next choice on. Nothing has to be discovered or built anew.
    pub fn set_weight(&self, weight: Weight) {
        self.weight.store(weight.0, Ordering::Relaxed);
    }

    /// Returns what the last check found, if there was one.
    #[must_use]
    pub fn last_check(&self) -> Option<Arc<CheckRecord>> {
        self.last_check.load_full()
    }
}

/// The shares of a farm's servers, kept over its tables.
#[derive(Debug, Default)]
pub struct Shares {
    known: BTreeMap<ServerId, Arc<Share>>,
}

impl Shares {
    /// Returns the servers in rotation as what a `ServiceDiscovery` returns, and gives every share its weight.
    pub fn backends(&mut self, table: &FarmTable) -> BTreeSet<Backend> {
        let mut before = std::mem::take(&mut self.known);
        for entry in &table.servers {
            let share = before.remove(&entry.server.id);
            let share = share.unwrap_or_else(|| Share::new(entry.server.id, entry.server.weight));
            self.known.insert(entry.server.id, share);
        }
        let mut backends = BTreeSet::new();
        for eligible in &table.rotation.eligible {
            let addr = table.servers.get(eligible.position as usize).and_then(|entry| entry.addr.as_ref()?.ip());
            let (Some(addr), Some(share)) = (addr, self.known.get(&eligible.id)) else { continue };
            share.set_weight(Weight(table.rotation.effective_weight(eligible.position as usize)));
            backends.insert(backend(addr, share.clone()));
        }
        backends
    }
}

/// Returns a server as a `Backend` of weight 1 that carries its share.
#[must_use]
pub fn backend(addr: SocketAddr, share: Arc<Share>) -> Backend {
    let mut ext = Extensions::new();
    ext.insert(share);
    Backend { addr: PingoraAddr::Inet(addr), weight: 1, ext }
}

/// Smooth weighted round robin as that crate's `BackendSelection`; keys are ignored.
///
/// A server of weight w has its turns at (2k + 1) / w, k = 0, 1, …; the sequence is all turns in order of time, equal
/// times in the order of addresses. A server that is refused leaves its turns out, so the others keep their exact
/// shares among themselves. A `Backend` without a [`Share`] has its own weight, up to 65535.
#[derive(Debug)]
pub struct SmoothTurns {
    servers: Box<[(Backend, Arc<Share>)]>,
    course: Mutex<Course>,
}

#[derive(Debug)]
struct Course {
    /// When the last turn taken was, as a fraction.
    now: (u128, u128),
    lanes: Box<[Lane]>,
}

/// How many turns a server has had, counted at its weight.
#[derive(Clone, Debug)]
struct Lane {
    weight: u16,
    turns: u64,
}

impl Course {
    /// Takes the next turn of whoever is neither tried nor of weight 0.
    fn take_turn(&mut self, weight_of: impl Fn(usize) -> u16, is_tried: impl Fn(usize) -> bool) -> Option<usize> {
        let mut next: Option<(usize, (u128, u128))> = None;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let weight = weight_of(i);
            if weight == 0 || is_tried(i) {
                continue;
            }
            let from = if lane.weight == weight { lane.turns } else { 0 };
            *lane = Lane { weight, turns: from.max(first_turn_from(self.now, weight)) };
            let at = (2 * u128::from(lane.turns) + 1, u128::from(weight));
            if next.is_none_or(|(_, first)| at.0 * first.1 < first.0 * at.1) {
                next = Some((i, at));
            }
        }
        let (i, at) = next?;
        self.now = at;
        self.lanes[i].turns += 1;
        Some(i)
    }
}

/// The number of the first turn at this weight that is not before `time`.
fn first_turn_from(time: (u128, u128), weight: u16) -> u64 {
    let odd_at_least = (time.0 * u128::from(weight)).div_ceil(time.1);
    u64::try_from(odd_at_least / 2).unwrap_or(u64::MAX)
}

impl BackendSelection for SmoothTurns {
    type Iter = Turns;
    type Config = ();

    fn build(backends: &BTreeSet<Backend>) -> Self {
        let share = |(n, backend): (u64, &Backend)| {
            let weight = Weight(u16::try_from(backend.weight).unwrap_or(u16::MAX));
            backend.ext.get::<Arc<Share>>().cloned().unwrap_or_else(|| Share::new(ServerId(n), weight))
        };
        let servers: Box<[_]> = (0..).zip(backends).map(|(n, b)| (b.clone(), share((n, b)))).collect();
        let lanes = vec![Lane { weight: 0, turns: 0 }; servers.len()].into_boxed_slice();
        Self { servers, course: Mutex::new(Course { now: (0, 1), lanes }) }
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> Turns {
        Turns { selection: self.clone(), tried: Vec::new() }
    }
}

/// The servers to try for one request, each once.
#[derive(Debug)]
pub struct Turns {
    selection: Arc<SmoothTurns>,
    tried: Vec<usize>,
}

impl BackendIter for Turns {
    fn next(&mut self) -> Option<&Backend> {
        let servers = &self.selection.servers;
        let weight_of = |i: usize| servers[i].1.weight().0;
        // A panic while it was held cannot have left it half changed.
        let mut course = self.selection.course.lock().unwrap_or_else(PoisonError::into_inner);
        let i = course.take_turn(weight_of, |i| self.tried.contains(&i))?;
        drop(course);
        self.tried.push(i);
        Some(&servers[i].0)
    }
}

#[cfg(test)]
mod tests;
