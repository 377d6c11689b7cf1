//! Which targets one check serves: the same words to the same place at the same times are spoken once for all of them.
//!
//! Pure bookkeeping over the schedule; `rounds` runs the checks. A check begins with the first target that wants it and
//! ends with the last; who comes or goes in between does not disturb it. A target that comes is checked at once, and no
//! result of a run that began before is its own. The check is as frequent as the most demanding of its targets says.
//! Cost: O(1) for a target that is as before.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::health::scatter::ScatterMap;
use crate::health::{CheckId, RunEnd, Schedule, Ticket};
use crate::model::{Encryption, Epoch, Host, HttpProbe, Pace, Paced, PeerAddr, Probe, ProbeKind, ProbeSlot, ServerKey};

use super::http;

/// One probe of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Subscription {
    /// The server.
    pub(super) server: ServerKey,
    /// Which of its farm's probes.
    pub(super) slot: ProbeSlot,
}

/// What a check speaks, and where.
#[derive(Clone, Debug)]
pub(super) struct Aimed {
    /// Where it connects.
    pub(super) addr: PeerAddr,
    /// Who the server was declared to be, for probes that say its name.
    pub(super) host: Host,
    /// How it is checked.
    pub(super) probe: Arc<Probe>,
    /// What it asks over HTTP, once it has asked.
    question: OnceLock<Arc<[u8]>>,
}

impl Aimed {
    pub(super) fn new(addr: impl Into<PeerAddr>, host: Host, probe: Arc<Probe>) -> Self {
        Self { addr: addr.into(), host, probe, question: OnceLock::new() }
    }

    /// Returns the whole request of its probe, which is this one: built once for all its checks.
    pub(super) fn question(&self, asked: &HttpProbe) -> Arc<[u8]> {
        let build = || {
            let authority = http::authority(&self.probe.aim, &self.host, self.addr.port(), self.probe.encryption());
            http::request(asked, &authority).into_bytes().into()
        };
        Arc::clone(self.question.get_or_init(build))
    }

    fn is_same_check(&self, other: &Self) -> bool {
        self.addr == other.addr
            && (Arc::ptr_eq(&self.probe, &other.probe) || self.probe.is_same_check(&other.probe))
            && (self.host == other.host || !says_the_host(&self.probe))
    }

    fn key(&self) -> Key {
        let declared = match &self.host {
            Host::Name(name) if says_the_host(&self.probe) => Some(name.clone()),
            Host::Ip(_) | Host::Name(_) | Host::Unix(_) => None,
        };
        (self.addr.clone(), self.probe.aim.host.clone().or(declared))
    }
}

/// Whether what is sent, or asked of a certificate, depends on the name that the server was declared with.
fn says_the_host(probe: &Probe) -> bool {
    matches!(probe.kind, ProbeKind::Grpc { .. } | ProbeKind::Http(_)) || probe.encryption() == Encryption::Tls
}

/// By what checks that may be the same are found: the address, and the name that is said.
type Key = (PeerAddr, Option<Box<str>>);

/// Whose a result is, and when the next one comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// The targets that were there when the run began, in the order they came, and how often each was checked so far.
    pub(super) subscribers: SmallVec<[(Subscription, Epoch, Pace); 1]>,
    /// When the next run is due at the present pace.
    pub(super) next_due: Option<Duration>,
}

/// Every check, whom it serves and when it runs.
#[derive(Debug)]
pub(super) struct Sharing {
    schedule: Schedule<Check>,
    found: HashMap<Key, Vec<CheckId>>,
    known: ScatterMap<Subscription, Known>,
    last_id: u64,
    /// Which list of targets is being read, or was last.
    list: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    check: CheckId,
    epoch: Epoch,
    /// The last list that had it.
    list: u64,
}

#[derive(Debug)]
struct Check {
    aimed: Aimed,
    /// Nearly always one.
    subscribers: SmallVec<[Subscriber; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    whose: Subscription,
    epoch: Epoch,
    pace: Pace,
    /// Whether it was there when the run under way began.
    is_in_run: bool,
}

impl Check {
    fn interval(&self) -> Duration {
        let probe = &self.aimed.probe;
        let intervals = self.subscribers.iter().map(|subscriber| probe.interval_in(subscriber.pace));
        intervals.min().unwrap_or(probe.interval)
    }
}

impl Sharing {
    pub(super) fn new(checks_at_once: usize, entropy: u64) -> Self {
        Self {
            schedule: Schedule::new(checks_at_once, entropy),
            found: HashMap::new(),
            known: ScatterMap::default(),
            last_id: 0,
            list: 0,
        }
    }

    /// Begins a list: what is not put until [`Self::end_list`] is checked no more.
    pub(super) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// Ends the list. Returns the runs to cut short.
    pub(super) fn end_list(&mut self) -> Vec<Ticket> {
        let gone = self.known.iter().filter(|(_, known)| known.list != self.list);
        let mut gone: Vec<Subscription> = gone.map(|(whose, _)| *whose).collect();
        gone.sort_unstable();
        gone.into_iter().filter_map(|whose| self.leave(whose)).collect()
    }

    /// Checks this target so from now on. One that is as before keeps its place; one of the same incarnation that is
    /// checked in another way is due no later than it was; any other at once. Returns a run to cut short.
    pub(super) fn put(&mut self, whose: Subscription, epoch: Epoch, aimed: Aimed, now: Duration) -> Option<Ticket> {
        let before = self.known.get(&whose).copied().filter(|known| known.epoch == epoch);
        let old = before.and_then(|known| Some((known.check, self.schedule.get_mut(known.check)?)));
        let (mut pace, mut due) = (Pace::Steady, now);
        if let Some((check, old)) = old {
            if old.aimed.is_same_check(&aimed) {
                old.aimed.probe = aimed.probe;
                self.mark(whose);
                return None;
            }
            pace = old.subscribers.iter().find(|s| s.whose == whose).map_or(pace, |subscriber| subscriber.pace);
            if old.aimed.addr == aimed.addr {
                let latest = now + aimed.probe.interval_in(pace);
                due = self.schedule.due_of(check).map_or(now, |due| due.min(latest));
            }
        }
        let cut = self.leave(whose);
        self.join(Subscriber { whose, epoch, pace, is_in_run: false }, aimed, due);
        cut
    }

    /// Begins the run that has been due for the longest, if one is due and there is room.
    pub(super) fn start(&mut self, now: Duration) -> Option<(Ticket, &Aimed)> {
        let ticket = self.schedule.start(now)?;
        let check = self.schedule.get_mut(ticket.check)?;
        check.subscribers.iter_mut().for_each(|subscriber| subscriber.is_in_run = true);
        Some((ticket, &check.aimed))
    }

    /// Takes back a run; nothing where nobody waits for its result any more.
    pub(super) fn finish(&mut self, ticket: Ticket, now: Duration, end: RunEnd) -> Option<Done> {
        if !self.schedule.finish(ticket, now, end) {
            return None;
        }
        let subscribers = &self.schedule.get(ticket.check)?.subscribers;
        let of_run = subscribers.iter().filter(|subscriber| subscriber.is_in_run);
        let subscribers = of_run.map(|subscriber| (subscriber.whose, subscriber.epoch, subscriber.pace)).collect();
        Some(Done { subscribers, next_due: self.schedule.due_of(ticket.check) })
    }

    /// Takes how often targets are to be checked from now on. Unknown ones are no error.
    pub(super) fn pace(&mut self, paced: &[Paced]) {
        for Paced { server, slot, pace } in paced {
            let whose = Subscription { server: *server, slot: *slot };
            let Some(id) = self.known.get(&whose).map(|known| known.check) else { continue };
            let Some(check) = self.schedule.get_mut(id) else { continue };
            let Some(subscriber) = check.subscribers.iter_mut().find(|s| s.whose == whose) else { continue };
            if subscriber.pace != *pace {
                subscriber.pace = *pace;
                let interval = check.interval();
                self.schedule.pace(id, interval);
            }
        }
    }

    /// Returns when [`Self::start`] next has something; nothing while only a finished run can bring that.
    pub(super) fn next_due(&mut self) -> Option<Duration> {
        self.schedule.next_due()
    }

    fn mark(&mut self, whose: Subscription) {
        if let Some(known) = self.known.get_mut(&whose) {
            known.list = self.list;
        }
    }

    fn join(&mut self, subscriber: Subscriber, aimed: Aimed, due: Duration) {
        let key = aimed.key();
        let same = self.found.get(&key).into_iter().flatten().copied();
        let same = same.into_iter().find(|id| self.schedule.get(*id).is_some_and(|c| c.aimed.is_same_check(&aimed)));
        let id = same.unwrap_or_else(|| {
            self.last_id += 1;
            CheckId(self.last_id)
        });
        self.known.insert(subscriber.whose, Known { check: id, epoch: subscriber.epoch, list: self.list });
        if let Some(check) = self.schedule.get_mut(id) {
            check.subscribers.push(subscriber);
            let interval = check.interval();
            self.schedule.pace(id, interval);
            self.schedule.hasten(id, due);
        } else {
            self.found.entry(key).or_default().push(id);
            let check = Check { aimed, subscribers: smallvec![subscriber] };
            let interval = check.interval();
            self.schedule.add(id, check, interval, due);
        }
    }

    fn leave(&mut self, whose: Subscription) -> Option<Ticket> {
        let id = self.known.remove(&whose)?.check;
        let check = self.schedule.get_mut(id)?;
        check.subscribers.retain(|subscriber| subscriber.whose != whose);
        if !check.subscribers.is_empty() {
            let interval = check.interval();
            self.schedule.pace(id, interval);
            return None;
        }
        let key = check.aimed.key();
        if let Some(ids) = self.found.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.found.remove(&key);
            }
        }
        self.schedule.remove(id)
    }
}

#[cfg(test)]
mod tests;
