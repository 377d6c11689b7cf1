//! The prober's loop: starts checks and look-ups when they are due, takes their results, follows the list of targets.
//!
//! One task owns all state; checks and look-ups are tasks of their own in the same runtime that own nothing and only
//! return. A task that panics is caught where its result is taken. A target that leaves or changes while its check is
//! under way has that check cut short and its result dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{debug, error};

use crate::clock;
use crate::health::{Schedule, Ticket, Wanted};
use crate::model::{CheckRecord, CheckStatus, Checked, Content, Host, Probe, ProbeSlot, ServerKey};

use super::http::authority;
use super::names::{LOOKUP_TIMEOUT, Names};
use super::{CheckSource, Target, check};

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Results handed to the source at once.
const BATCH_MAX: usize = 1024;

/// The world outside, so that tests can put another one there.
pub(super) trait Net: Send + Sync + 'static {
    /// Runs one check.
    fn check(
        &self,
        addr: SocketAddr,
        authority: String,
        probe: Arc<Probe>,
    ) -> impl Future<Output = CheckRecord> + Send + 'static;

    /// Looks up one name.
    fn look_up(&self, name: Box<str>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static;
}

/// The real one: this host's sockets and resolver.
pub(super) struct System;

#[expect(clippy::manual_async_fn, reason = "the future of an async fn would borrow self, and a task outlives that")]
impl Net for System {
    fn check(
        &self,
        addr: SocketAddr,
        authority: String,
        probe: Arc<Probe>,
    ) -> impl Future<Output = CheckRecord> + Send + 'static {
        async move { check::run(addr, &authority, &probe).await }
    }

    fn look_up(&self, name: Box<str>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        async move { Ok(tokio::net::lookup_host((&*name, 0)).await?.map(|addr| addr.ip()).collect()) }
    }
}

/// Everything that the loop holds.
pub(super) struct Rounds<N> {
    source: Arc<dyn CheckSource>,
    net: N,
    began: Instant,
    schedule: Schedule,
    watched: BTreeMap<ServerKey, Watched>,
    names: Names,
    /// Servers by the name that they share.
    named: BTreeMap<Box<str>, Vec<ServerKey>>,
    checks: JoinSet<CheckRecord>,
    tickets: HashMap<Id, Ticket>,
    running: BTreeMap<Ticket, Running>,
    lookups: JoinSet<Option<Vec<IpAddr>>>,
    looked_up: HashMap<Id, Box<str>>,
    /// Servers of the first list without a record yet; nothing once the first round is done.
    awaited: Option<BTreeSet<ServerKey>>,
}

struct Watched {
    target: Target,
    /// Where it is, as far as is known.
    addr: Option<SocketAddr>,
    /// What the source was last told of its name.
    told: Option<Option<SocketAddr>>,
}

struct Running {
    handle: AbortHandle,
    began: Instant,
}

impl Watched {
    fn name(&self) -> Option<&str> {
        match &self.target.address.host {
            Host::Ip(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// Where its checks connect; nothing while it is not checked or has no address.
    fn wanted(&self) -> Option<Wanted> {
        let probe = self.target.probe.as_ref()?;
        let addr = self.addr?;
        let addr = SocketAddr::new(addr.ip(), probe.aim.port.unwrap_or_else(|| addr.port()));
        let Target { key, epoch, .. } = self.target;
        Some(Wanted { key, epoch, addr, kind: probe.kind.as_str(), interval: probe.interval })
    }
}

impl<N: Net> Rounds<N> {
    pub(super) fn new(source: Arc<dyn CheckSource>, net: N, checks_at_once: usize, entropy: u64) -> Self {
        Self {
            source,
            net,
            began: clock::monotonic(),
            schedule: Schedule::new(checks_at_once, entropy),
            watched: BTreeMap::new(),
            names: Names::default(),
            named: BTreeMap::new(),
            checks: JoinSet::new(),
            tickets: HashMap::new(),
            running: BTreeMap::new(),
            lookups: JoinSet::new(),
            looked_up: HashMap::new(),
            awaited: None,
        }
    }

    pub(super) async fn run(mut self, mut changed: watch::Receiver<u64>, mut shutdown: watch::Receiver<bool>) {
        let mut may_change = true;
        changed.mark_unchanged();
        self.retarget();
        let is_checked = |watched: &&Watched| watched.target.probe.is_some();
        self.awaited = Some(self.watched.values().filter(is_checked).map(|watched| watched.target.key).collect());
        loop {
            self.start_what_is_due();
            self.end_first_round();
            let next = [self.schedule.next_due(), self.names.next_due()].into_iter().flatten().min();
            let wake = self.began + next.unwrap_or_else(|| self.now() + IDLE);
            tokio::select! {
                _ = shutdown.wait_for(|is_down| *is_down) => return,
                result = changed.changed(), if may_change => {
                    may_change = result.is_ok();
                    if may_change {
                        self.retarget();
                    }
                }
                Some(ended) = self.checks.join_next_with_id() => self.checks_ended(ended),
                Some(ended) = self.lookups.join_next_with_id() => self.lookup_ended(ended),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.began)
    }

    /// Takes the source's list: what is unchanged goes on as it is.
    fn retarget(&mut self) {
        let targets = self.source.targets();
        let mut before = std::mem::take(&mut self.watched);
        let order: Vec<ServerKey> = targets.iter().map(|target| target.key).collect();
        self.named.clear();
        for target in targets {
            let old = before.remove(&target.key).filter(|old| old.target.address == target.address);
            let (addr, told) = old.map_or((None, None), |old| (old.addr, old.told));
            let addr = addr.or(target.addr).or_else(|| target.address.literal());
            // An answer that the source no longer has is told again.
            let told = told.filter(|told| target.addr.is_some() || told.is_none());
            let watched = Watched { target, addr, told };
            if let Some(name) = watched.name() {
                self.named.entry(name.into()).or_default().push(watched.target.key);
            }
            self.watched.insert(watched.target.key, watched);
        }
        self.names.set(self.named.keys().map(|name| &**name));
        let names: Vec<Box<str>> = self.named.keys().cloned().collect();
        names.iter().for_each(|name| self.settle_addresses(name));
        let wanted: Vec<Wanted> = order.iter().filter_map(|key| self.watched.get(key)?.wanted()).collect();
        let outdated = self.schedule.set(&wanted, self.now());
        outdated.iter().for_each(|ticket| self.cut_short(ticket));
        let watched = &self.watched;
        if let Some(awaited) = &mut self.awaited {
            awaited.retain(|key| watched.get(key).is_some_and(|watched| watched.target.probe.is_some()));
        }
    }

    fn start_what_is_due(&mut self) {
        while let Some(name) = self.names.start(self.now()) {
            let lookup = self.net.look_up(name.clone());
            let task = async move {
                match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
                    Ok(Ok(addrs)) => Some(addrs),
                    Ok(Err(_)) | Err(_) => None,
                }
            };
            self.looked_up.insert(self.lookups.spawn(task).id(), name);
        }
        while let Some(ticket) = self.schedule.start(self.now()) {
            self.start_check(ticket);
        }
    }

    fn start_check(&mut self, ticket: Ticket) {
        let aim = self.watched.get(&ticket.key).and_then(|watched| {
            let addr = watched.wanted()?.addr;
            let probe = watched.target.probe.clone()?;
            Some((addr, authority(&watched.target.address.host, addr.port()), probe))
        });
        let Some((addr, authority, probe)) = aim else {
            self.schedule.finish(ticket, self.now());
            return;
        };
        let handle = self.checks.spawn(self.net.check(addr, authority, probe));
        self.tickets.insert(handle.id(), ticket);
        self.running.insert(ticket, Running { handle, began: clock::monotonic() });
    }

    fn cut_short(&self, ticket: &Ticket) {
        if let Some(running) = self.running.get(ticket) {
            running.handle.abort();
        }
    }

    /// Takes `first` and whatever else has ended by now: the source makes one change of it.
    fn checks_ended(&mut self, first: Result<(Id, CheckRecord), JoinError>) {
        let mut checked = Vec::new();
        checked.extend(self.check_ended(first));
        while checked.len() < BATCH_MAX
            && let Some(next) = self.checks.try_join_next_with_id()
        {
            checked.extend(self.check_ended(next));
        }
        if !checked.is_empty() {
            self.source.records(checked);
        }
    }

    fn check_ended(&mut self, ended: Result<(Id, CheckRecord), JoinError>) -> Option<Checked> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let ticket = self.tickets.remove(&id)?;
        let began = self.running.remove(&ticket).map(|running| running.began);
        let counts = self.schedule.finish(ticket, self.now());
        if !counts {
            return None;
        }
        let record = match ended {
            Ok((_, record)) => record,
            Err(_) => {
                error!(farm = %ticket.key.farm, server = %ticket.key.server, "check panicked");
                let duration = began.map(|began| clock::monotonic().saturating_duration_since(began));
                CheckRecord {
                    status: CheckStatus::SockErr,
                    code: None,
                    content: Content::from_text("bug: check panicked"),
                    at: clock::wall(),
                    duration: duration.unwrap_or_default(),
                    evidence: None,
                    agent: None,
                }
            }
        };
        debug!(
            farm = %ticket.key.farm,
            server = %ticket.key.server,
            check = record.status.as_str(),
            code = record.code,
            duration = ?record.duration,
            "check ended"
        );
        if let Some(awaited) = &mut self.awaited {
            awaited.remove(&ticket.key);
        }
        let target = &self.watched.get(&ticket.key)?.target;
        let next_at = record.at + target.probe.as_ref()?.interval;
        let slot = ProbeSlot::FIRST;
        Some(Checked { server: ticket.key, slot, epoch: target.epoch, record: Arc::new(record), next_at })
    }

    fn lookup_ended(&mut self, ended: Result<(Id, Option<Vec<IpAddr>>), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(name) = self.looked_up.remove(&id) else { return };
        if ended.is_err() {
            error!(name = %name, "name look-up panicked");
        }
        let answer = ended.ok().and_then(|(_, answer)| answer);
        let has_failed = answer.as_ref().is_none_or(Vec::is_empty);
        debug!(name = %name, answer = ?answer, "name looked up");
        self.names.ended(&name, answer);
        if has_failed {
            self.tell_of_failure(&name);
        } else {
            self.settle_addresses(&name);
        }
    }

    /// Gives every server of that name its address, and the schedule and the source word of it where it is new.
    fn settle_addresses(&mut self, name: &str) {
        for key in self.named.get(name).cloned().unwrap_or_default() {
            let Some(watched) = self.watched.get_mut(&key) else { continue };
            let Some(ip) = self.names.choose(name, watched.addr.map(|addr| addr.ip())) else { continue };
            let addr = SocketAddr::new(ip, watched.target.address.port);
            watched.addr = Some(addr);
            if watched.told != Some(Some(addr)) {
                watched.told = Some(Some(addr));
                self.source.resolved(key, watched.target.epoch, Some(addr));
            }
            if let Some(wanted) = watched.wanted()
                && let Some(outdated) = self.schedule.put(wanted, clock::monotonic().duration_since(self.began))
            {
                self.cut_short(&outdated);
            }
        }
    }

    fn tell_of_failure(&mut self, name: &str) {
        for key in self.named.get(name).into_iter().flatten() {
            let Some(watched) = self.watched.get_mut(key) else { continue };
            if watched.told != Some(None) {
                watched.told = Some(None);
                self.source.resolved(*key, watched.target.epoch, None);
            }
            if let (None, Some(awaited)) = (watched.addr, &mut self.awaited) {
                awaited.remove(key);
            }
        }
    }

    fn end_first_round(&mut self) {
        if self.awaited.as_ref().is_some_and(BTreeSet::is_empty) {
            self.awaited = None;
            self.source.first_round_done();
        }
    }
}

#[cfg(test)]
mod tests;
