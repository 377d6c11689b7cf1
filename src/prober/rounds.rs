//! The prober's loop: starts checks and look-ups when they are due, takes their results, follows the list of targets.
//!
//! One task owns all state. The common checks go through the `lane`; all others, and look-ups, are tasks of their own in
//! the same runtime that own nothing and only return. One that panics is caught. Which targets share a check, and when it runs,
//! `sharing` knows; a check whose last target leaves or changes while it is under way is cut short and its result
//! dropped. What a check found goes to all its targets at once, and how often it runs from then on is what the source
//! says of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tracing::{debug, error, warn};

use crate::clock;
use crate::health::{RunEnd, Ticket};
use crate::model::{
    CheckRecord, CheckStatus, Checked, Content, Epoch, Host, Pace, Paced, PeerAddr, Probe, ProbeSlot, ServerAddr,
    ServerKey, Timestamp,
};

use super::lane::{self, Ended, Lane};
use super::names::{LOOKUP_TIMEOUT, Names};
use super::sharing::{Aimed, Done, Sharing, Subscription};
use super::tls::Trust;
use super::{CheckSource, check};

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// A timer of this period always runs: the runtime wakes itself through the kernel for each timer that it is given
/// which ends before all the others, and the timers of checks should not.
const STIR: Duration = Duration::from_millis(250);

/// Results of tasks handed to the source at once.
const BATCH_MAX: usize = 1024;

/// The world outside, so that tests can put another one there.
pub(super) trait Net: Send + Sync + 'static {
    /// Whether such checks go through the lane.
    fn is_for_lane(&self, aimed: &Aimed) -> bool;

    /// Runs one check of those that do not.
    fn check(&self, aimed: Aimed) -> impl Future<Output = CheckRecord> + Send + 'static;

    /// Looks up one name.
    fn look_up(&self, name: Box<str>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static;
}

/// The real one: this host's sockets, authorities and resolver.
#[derive(Default)]
pub(super) struct System {
    trust: Arc<Trust>,
}

impl Net for System {
    fn is_for_lane(&self, aimed: &Aimed) -> bool {
        // What the lane asks of a socket to know whether it is connected is TCP's.
        lane::takes(&aimed.probe) && aimed.addr.ip().is_some()
    }

    fn check(&self, aimed: Aimed) -> impl Future<Output = CheckRecord> + Send + 'static {
        let trust = Arc::clone(&self.trust);
        async move { check::run(&trust, aimed.addr.clone(), &aimed.host, &aimed.probe).await }
    }

    #[expect(clippy::manual_async_fn, reason = "the future of an async fn would borrow self, and a task outlives that")]
    fn look_up(&self, name: Box<str>) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static {
        async move { Ok(tokio::net::lookup_host((&*name, 0)).await?.map(|addr| addr.ip()).collect()) }
    }
}

/// Everything that the loop holds.
pub(super) struct Rounds<N> {
    source: Arc<dyn CheckSource>,
    net: N,
    began: Instant,
    sharing: Sharing,
    servers: BTreeMap<ServerKey, Watched>,
    names: Names,
    /// Servers by the name that they share.
    named: BTreeMap<Box<str>, Vec<ServerKey>>,
    running: Running,
    /// None where it could not be made: all checks are tasks then.
    lane: Option<AsyncFd<Lane>>,
    ending: mpsc::UnboundedSender<TaskEnded>,
    ended: mpsc::UnboundedReceiver<TaskEnded>,
    lookups: JoinSet<Option<Vec<IpAddr>>>,
    looked_up: HashMap<Id, Box<str>>,
    /// Targets of the first list that count and have no record yet; nothing once the first round is done.
    awaited: Option<BTreeSet<Subscription>>,
}

/// A server of the list.
struct Watched {
    epoch: Epoch,
    address: ServerAddr,
    probes: Vec<(ProbeSlot, Arc<Probe>)>,
    /// Where it is, as far as is known.
    addr: Option<PeerAddr>,
    /// What the source was last told of its name.
    told: Option<Option<SocketAddr>>,
}

/// The checks under way; they end with it.
#[derive(Default)]
struct Running(BTreeMap<Ticket, Run>);

struct Run {
    addr: PeerAddr,
    began: Instant,
    task: JoinHandle<()>,
}

/// What the loop awaits of a task: a check that is over; without a record, it panicked.
struct TaskEnded {
    ticket: Ticket,
    record: Option<CheckRecord>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.values().for_each(|run| run.task.abort());
    }
}

impl Watched {
    fn name(&self) -> Option<&str> {
        match &self.address.host {
            Host::Ip(_) | Host::Unix(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// Its checks, of those that have somewhere to connect to.
    fn aimed(&self) -> impl Iterator<Item = (ProbeSlot, Aimed)> {
        self.probes.iter().filter_map(|(slot, probe)| {
            let at = |ip| SocketAddr::new(ip, probe.port_of(self.address.port)).into();
            let addr = match (probe.aim.address, &self.addr) {
                (Some(ip), _) => at(ip),
                (None, Some(PeerAddr::Ip(addr))) => at(addr.ip()),
                (None, Some(unix @ PeerAddr::Unix(_))) => unix.clone(),
                (None, None) => return None,
            };
            Some((*slot, Aimed::new(addr, self.address.host.clone(), Arc::clone(probe))))
        })
    }

    /// Its checks that count, and so may be waited for: neither the shadow's nor an agent's.
    fn counted(&self, server: ServerKey) -> impl Iterator<Item = Subscription> {
        let counts = |(slot, probe): &&(ProbeSlot, Arc<Probe>)| *slot != ProbeSlot::SHADOW && !probe.kind.is_agent();
        self.probes.iter().filter(counts).map(move |(slot, _)| Subscription { server, slot: *slot })
    }
}

impl<N: Net> Rounds<N> {
    pub(super) fn new(source: Arc<dyn CheckSource>, net: N, checks_at_once: usize, entropy: u64) -> Self {
        // No more messages than checks under way.
        let (ending, ended) = mpsc::unbounded_channel();
        Self {
            source,
            net,
            began: clock::monotonic(),
            sharing: Sharing::new(checks_at_once, entropy),
            servers: BTreeMap::new(),
            names: Names::default(),
            named: BTreeMap::new(),
            running: Running::default(),
            lane: None,
            ending,
            ended,
            lookups: JoinSet::new(),
            looked_up: HashMap::new(),
            awaited: None,
        }
    }

    pub(super) async fn run(mut self, mut changed: watch::Receiver<u64>, mut shutdown: watch::Receiver<bool>) {
        let mut may_change = true;
        self.open_lane();
        changed.mark_unchanged();
        self.retarget();
        self.awaited = Some(self.servers.iter().flat_map(|(key, watched)| watched.counted(*key)).collect());
        let mut batch = Vec::new();
        let mut sleep = pin!(tokio::time::sleep_until(self.began.into()));
        let mut stir = tokio::time::interval(STIR);
        loop {
            let starts = self.start_what_is_due();
            self.end_first_round();
            if starts == Starts::More {
                // Whoever else has something to do comes first.
                tokio::task::yield_now().await;
            }
            let wake = Instant::into(self.next_wake());
            if sleep.deadline() != wake {
                sleep.as_mut().reset(wake);
            }
            tokio::select! {
                _ = shutdown.wait_for(|is_down| *is_down) => return,
                result = changed.changed(), if may_change => {
                    may_change = result.is_ok();
                    if may_change {
                        self.retarget();
                    }
                }
                _ = self.ended.recv_many(&mut batch, BATCH_MAX) => self.tasks_ended(&mut batch),
                () = ready(self.lane.as_ref()) => self.turn_lane(),
                Some(ended) = self.lookups.join_next_with_id() => self.lookup_ended(ended),
                () = &mut sleep => self.end_late_ones(),
                _ = stir.tick() => {}
            }
        }
    }

    fn now(&self) -> Duration {
        clock::monotonic().saturating_duration_since(self.began)
    }

    /// Takes the source's list: what is unchanged goes on as it is. Of a target that is there twice, the first counts.
    fn retarget(&mut self) {
        let order = self.take_list();
        self.named.clear();
        for (key, watched) in &self.servers {
            if let Some(name) = watched.name() {
                self.named.entry(name.into()).or_default().push(*key);
            }
        }
        self.names.set(self.named.keys().map(|name| &**name));
        self.sharing.begin_list();
        let names: Vec<Box<str>> = self.named.keys().cloned().collect();
        names.iter().for_each(|name| self.find_addresses(name));
        order.iter().for_each(|key| self.put(*key));
        let cut = self.sharing.end_list();
        cut.into_iter().for_each(|ticket| self.cut_short(ticket));
        let servers = &self.servers;
        let is_there = |whose: &Subscription| {
            servers.get(&whose.server).is_some_and(|watched| watched.probes.iter().any(|(slot, _)| *slot == whose.slot))
        };
        if let Some(awaited) = &mut self.awaited {
            awaited.retain(is_there);
        }
    }

    /// Makes the source's list the servers that are watched. Returns them in the order they came.
    fn take_list(&mut self) -> Vec<ServerKey> {
        let mut before = std::mem::take(&mut self.servers);
        let mut order = Vec::new();
        for target in self.source.targets() {
            let watched = self.servers.entry(target.key).or_insert_with(|| {
                order.push(target.key);
                let old = before.remove(&target.key).filter(|old| old.address == target.address);
                let (addr, told) = old.map_or((None, None), |old| (old.addr, old.told));
                // An answer that the source no longer has is told again.
                let told = told.filter(|told| target.addr.is_some() || told.is_none());
                let addr = addr.or(target.addr).or_else(|| target.address.literal());
                Watched { epoch: target.epoch, address: target.address, probes: Vec::new(), addr, told }
            });
            if let Some(probe) = target.probe
                && watched.probes.iter().all(|(slot, _)| *slot != target.slot)
            {
                watched.probes.push((target.slot, probe));
            }
        }
        order
    }

    /// Has a server checked as its probes say, where it is known to be.
    fn put(&mut self, key: ServerKey) {
        let now = self.now();
        let Some(watched) = self.servers.get(&key) else { return };
        let mut cut = Vec::new();
        for (slot, aimed) in watched.aimed() {
            cut.extend(self.sharing.put(Subscription { server: key, slot }, watched.epoch, aimed, now));
        }
        cut.into_iter().for_each(|ticket| self.cut_short(ticket));
    }

    fn start_what_is_due(&mut self) -> Starts {
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
        let began = clock::monotonic();
        let now = began.saturating_duration_since(self.began);
        let mut in_lane = 0;
        let mut starts = Starts::All;
        while let Some((ticket, aimed)) = self.sharing.start(now) {
            if let Some(lane) = self.lane.as_mut().filter(|_| self.net.is_for_lane(aimed)) {
                lane.get_mut().start(ticket, aimed);
                in_lane += 1;
                if in_lane == lane::STARTS_AT_ONCE {
                    starts = Starts::More;
                    break;
                }
                continue;
            }
            let addr = aimed.addr.clone();
            let (ending, check) = (self.ending.clone(), self.net.check(aimed.clone()));
            let task = tokio::spawn(async move {
                let record = unless_it_panics(check).await;
                // Nobody listens any more at shutdown.
                ending.send(TaskEnded { ticket, record }).ok();
            });
            self.running.0.insert(ticket, Run { addr, began, task });
        }
        if in_lane > 0 {
            self.turn_lane();
        }
        starts
    }

    /// Ends the checks of the lane that are out of time, if there are any.
    fn end_late_ones(&mut self) {
        let is_late =
            |lane: &mut AsyncFd<Lane>| lane.get_mut().next_deadline().is_some_and(|at| at <= clock::monotonic());
        if self.lane.as_mut().is_some_and(is_late) {
            self.turn_lane();
        }
    }

    /// Takes the checks of the lane as far as they get, and what has ended of them.
    fn turn_lane(&mut self) {
        let Some(lane) = &mut self.lane else { return };
        lane.get_mut().turn();
        let mut ended: Vec<Ended> = lane.get_mut().take_ended().collect();
        self.checks_ended(&mut ended);
    }

    #[expect(deprecated, reason = "unsound only for what does not own its file or changes it; the lane does own one")]
    fn open_lane(&mut self) {
        let lane = Lane::new().and_then(|lane| AsyncFd::with_interest(lane, Interest::READABLE));
        match lane {
            Ok(lane) => self.lane = Some(lane),
            Err(error) => warn!(error = %error, "every check is a task of its own; no file left to wait with"),
        }
    }

    /// Returns by when there is something to do.
    fn next_wake(&mut self) -> Instant {
        let next = [self.sharing.next_due(), self.names.next_due()].into_iter().flatten().min();
        let next = self.began + next.unwrap_or_else(|| self.now() + IDLE);
        let Some(lane) = &mut self.lane else { return next };
        lane.get_mut().next_deadline().map_or(next, |deadline| deadline.min(next))
    }

    fn cut_short(&mut self, ticket: Ticket) {
        if let Some(run) = self.running.0.remove(&ticket) {
            run.task.abort();
        } else if let Some(lane) = &mut self.lane {
            lane.get_mut().cut_short(ticket);
        }
        self.sharing.finish(ticket, self.now(), RunEnd::Prompt);
    }

    /// Takes the tasks that have ended by now. One that was cut short may have ended before it heard of that.
    fn tasks_ended(&mut self, batch: &mut Vec<TaskEnded>) {
        let running = &mut self.running.0;
        let of_run = |TaskEnded { ticket, record }| {
            let Run { addr, began, .. } = running.remove(&ticket)?;
            Some(Ended { ticket, addr, began, record })
        };
        let mut ended = batch.drain(..).filter_map(of_run).collect();
        self.checks_ended(&mut ended);
    }

    /// Takes what has ended by now: the source makes one change of it.
    fn checks_ended(&mut self, batch: &mut Vec<Ended>) {
        let mut checked = Vec::with_capacity(batch.len());
        let mut paces = Vec::with_capacity(batch.len());
        let now = self.now();
        batch.drain(..).for_each(|ended| self.check_ended(ended, now, &mut checked, &mut paces));
        if !checked.is_empty() {
            let mut paced = self.source.records(checked);
            // The answer is in the order of the records: most are as before, and need not be looked up.
            let mut before = paces.into_iter();
            paced.retain(|Paced { server, slot, pace }| {
                let known = before.find(|(whose, _)| whose.server == *server && whose.slot == *slot);
                known.is_none_or(|(_, known)| known != *pace)
            });
            self.sharing.pace(&paced);
        }
    }

    /// Adds what to tell the source: the one record, for every target that it is for.
    fn check_ended(
        &mut self,
        ended: Ended,
        now: Duration,
        checked: &mut Vec<Checked>,
        paces: &mut Vec<(Subscription, Pace)>,
    ) {
        let Ended { ticket, addr, began, record } = ended;
        let end = record.as_ref().map_or(RunEnd::Prompt, |record| run_end(record.status));
        let Some(Done { subscribers, next_due }) = self.sharing.finish(ticket, now, end) else { return };
        let record = Arc::new(record.unwrap_or_else(|| {
            error!(address = %addr, "check panicked");
            let duration = clock::monotonic().saturating_duration_since(began);
            let content = Content::from_text("bug: check panicked");
            CheckRecord::new(CheckStatus::SockErr, None, content, clock::wall(), duration)
        }));
        let (check, code, duration) = (record.status.as_str(), record.code, record.duration);
        debug!(address = %addr, servers = subscribers.len(), check, code, ?duration, "check ended");
        let next_at = next_at(record.at, next_due, now);
        let tell = |(whose, epoch, pace): (Subscription, Epoch, Pace)| {
            paces.push((whose, pace));
            if let Some(awaited) = &mut self.awaited {
                awaited.remove(&whose);
            }
            let Subscription { server, slot } = whose;
            Checked { server, slot, epoch, record: Arc::clone(&record), next_at }
        };
        checked.extend(subscribers.into_iter().map(tell));
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
            self.find_addresses(&name);
            self.named.get(&name).cloned().into_iter().flatten().for_each(|key| self.put(key));
        }
    }

    /// Gives every server of that name its address, and the source word of it where it is new.
    fn find_addresses(&mut self, name: &str) {
        for key in self.named.get(name).into_iter().flatten() {
            let Some(watched) = self.servers.get_mut(key) else { continue };
            let Some(ip) = self.names.choose(name, watched.addr.as_ref().and_then(PeerAddr::ip).map(|addr| addr.ip()))
            else {
                continue;
            };
            let addr = SocketAddr::new(ip, watched.address.port);
            watched.addr = Some(addr.into());
            if watched.told != Some(Some(addr)) {
                watched.told = Some(Some(addr));
                self.source.resolved(*key, watched.epoch, Some(addr));
            }
        }
    }

    fn tell_of_failure(&mut self, name: &str) {
        for key in self.named.get(name).into_iter().flatten() {
            let Some(watched) = self.servers.get_mut(key) else { continue };
            if watched.told != Some(None) {
                watched.told = Some(None);
                self.source.resolved(*key, watched.epoch, None);
            }
            if let (None, Some(awaited)) = (&watched.addr, &mut self.awaited) {
                let aimed_elsewhere = |slot| watched.aimed().any(|(aimed, _)| aimed == slot);
                awaited.retain(|whose| whose.server != *key || aimed_elsewhere(whose.slot));
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

/// How many of the checks that are due were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starts {
    All,
    More,
}

/// Waits until the lane has something to do. It is asked to do all of it then, so what is noted here may be forgotten.
async fn ready(lane: Option<&AsyncFd<Lane>>) {
    match lane {
        Some(lane) if lane.get_ref().is_busy() => {}
        Some(lane) => lane.readable().await.map_or((), |mut ready| ready.clear_ready()),
        None => pending().await,
    }
}

/// Returns nothing where the check panics.
async fn unless_it_panics(check: impl Future<Output = CheckRecord>) -> Option<CheckRecord> {
    let mut check = pin!(check);
    let poll = |context: &mut Context<'_>| {
        // It is not looked at again after a panic.
        match catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    };
    poll_fn(poll).await
}

/// Whether a run held its place until its deadline.
fn run_end(status: CheckStatus) -> RunEnd {
    match status {
        CheckStatus::L4Tout | CheckStatus::L6Tout | CheckStatus::L7Tout | CheckStatus::ProcTout => RunEnd::Hung,
        CheckStatus::Checked
        | CheckStatus::L4Con
        | CheckStatus::L4Ok
        | CheckStatus::L6Ok
        | CheckStatus::L6Rsp
        | CheckStatus::L7Ok
        | CheckStatus::L7Okc
        | CheckStatus::L7Rsp
        | CheckStatus::L7Sts
        | CheckStatus::ProcErr
        | CheckStatus::ProcOk
        | CheckStatus::SockErr => RunEnd::Prompt,
    }
}

/// When the next check begins, by the wall clock.
fn next_at(ended: Timestamp, next_due: Option<Duration>, now: Duration) -> Timestamp {
    ended + next_due.map_or(Duration::ZERO, |due| due.saturating_sub(now))
}

#[cfg(test)]
mod tests;
