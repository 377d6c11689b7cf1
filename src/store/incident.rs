//! When most of what is checked fails at once for reasons of the network, the balancer suspects itself.
//!
//! Pure. A server's failures in a row count from the first one. If so many servers of a farm, or of several farms
//! together, began to fail within one probe window that their farms' guards take notice, an incident begins: each of
//! them is used by the health that it had before, for as long as the guard holds. The incident ends when half of
//! them answer again, or at its time, when the failures are believed. One incident at a time; servers that begin to fail
//! while it lasts join it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{CheckRecord, Farm, FarmId, Health, IncidentGuard, ServerKey, Timestamp, Verdict};

/// Fewer servers than this never make an incident.
const SERVERS_MIN: usize = 3;

/// The incident that lasts, if any, and who fails at present.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    /// Servers whose last checks failed for reasons of the network, farm by farm.
    failing: BTreeMap<FarmId, BTreeMap<ServerKey, Failing>>,
    current: Option<Incident>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    /// When its failures began.
    since: Timestamp,
    /// Its health before that.
    was: Health,
    /// How many servers of its farm are checked, and when its farm takes notice.
    farm_size: usize,
    guard: IncidentGuard,
    window: Duration,
}

/// An incident that lasts.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    /// Its number: the id of the event that began it.
    pub(super) id: u64,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    /// Farms of servers that failed.
    pub(super) farms: BTreeSet<FarmId>,
    /// Servers that failed and have not answered since, with the health that they are used by.
    pub(super) held: BTreeMap<ServerKey, Health>,
    /// How many servers failed in all.
    pub(super) servers: usize,
}

/// What a check did to the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// One begins.
    Began,
    /// This server joined the one that lasts.
    Joined,
    /// Half of those that failed answer again: it is over.
    Recovered,
    /// This server has answered.
    Released,
}

impl Incidents {
    /// Takes in a check that counts. `was`: the server's health before it. `next_id`: what a new incident is called.
    pub(super) fn checked(
        &mut self,
        server: ServerKey,
        farm: &Farm,
        record: &CheckRecord,
        was: Health,
        next_id: u64,
    ) -> Option<Turn> {
        let Some(guard) = farm.incident else { return None };
        if record.status.is_of_the_network() {
            return self.failed(server, (farm, guard), was, record.at, next_id);
        }
        match record.verdict() {
            Verdict::Neutral => None,
            // Whatever it answers, the network carries it.
            Verdict::Conditional | Verdict::Failed | Verdict::Passed => self.answered(server),
        }
    }

    /// Ends the incident whose time has come.
    pub(super) fn believe(&mut self, now: Timestamp) -> Option<Incident> {
        self.current.take_if(|incident| incident.until <= now)
    }

    /// Ends the incident that is over.
    pub(super) fn end(&mut self) -> Option<Incident> {
        self.current.take()
    }

    /// Forgets servers that are gone or began anew.
    pub(super) fn retain(&mut self, is_known: impl Fn(ServerKey) -> bool) {
        for failing in self.failing.values_mut() {
            failing.retain(|key, _| is_known(*key));
        }
        if let Some(incident) = &mut self.current {
            incident.held.retain(|key, _| is_known(*key));
        }
    }

    pub(super) fn current(&self) -> Option<&Incident> {
        self.current.as_ref()
    }

    /// Returns the health that a server is used by while it is held.
    pub(super) fn held(&self, server: ServerKey) -> Option<Health> {
        self.current.as_ref()?.held.get(&server).copied()
    }

    /// Returns whether an incident lasts that concerns the farm.
    pub(super) fn concerns(&self, farm: FarmId) -> bool {
        self.current.as_ref().is_some_and(|incident| incident.farms.contains(&farm))
    }

    fn failed(
        &mut self,
        server: ServerKey,
        (farm, guard): (&Farm, IncidentGuard),
        was: Health,
        at: Timestamp,
        next_id: u64,
    ) -> Option<Turn> {
        let of_farm = self.failing.entry(server.farm).or_default();
        if of_farm.contains_key(&server) {
            return None;
        }
        let farm_size = farm.servers.iter().filter(|server| server.probed).count();
        let window = farm.main_probe().map_or(Duration::ZERO, |probe| probe.interval + probe.timeout);
        let failing = Failing { since: at, was, farm_size, guard, window };
        of_farm.insert(server, failing);
        if let Some(incident) = &mut self.current {
            incident.hold(server, was);
            return Some(Turn::Joined);
        }
        if !self.is_too_much(server.farm, at) {
            return None;
        }
        let mut incident = Incident {
            id: next_id,
            since: at,
            until: at + guard.hold,
            farms: BTreeSet::new(),
            held: BTreeMap::new(),
            servers: 0,
        };
        for (key, failing) in self.recent(at) {
            incident.hold(key, failing.was);
        }
        self.current = Some(incident);
        Some(Turn::Began)
    }

    fn answered(&mut self, server: ServerKey) -> Option<Turn> {
        let of_farm = self.failing.get_mut(&server.farm)?;
        of_farm.remove(&server)?;
        let incident = self.current.as_mut()?;
        incident.held.remove(&server)?;
        let is_over = incident.held.len() * 2 <= incident.servers;
        Some(if is_over { Turn::Recovered } else { Turn::Released })
    }

    /// Servers that began to fail within their window.
    fn recent(&self, now: Timestamp) -> impl Iterator<Item = (ServerKey, Failing)> {
        let is_recent = move |(_, failing): &(ServerKey, Failing)| now.since(failing.since) <= failing.window;
        let all = self.failing.values().flatten().map(|(key, failing)| (*key, *failing));
        all.filter(is_recent)
    }

    /// Whether so many of the farm, or of all farms of which servers fail, began to fail that it takes notice. Counts
    /// only once there are enough of any age, so that a farm that fails one by one costs little.
    fn is_too_much(&self, farm: FarmId, now: Timestamp) -> bool {
        let of_farms =
            || self.failing.iter().filter_map(|(id, of_farm)| Some((*id, of_farm, of_farm.values().next()?)));
        let Some((_, _, Failing { guard, .. })) = of_farms().find(|(id, ..)| *id == farm) else { return false };
        let is_share =
            |failed: usize, size: usize| failed >= SERVERS_MIN && failed * 100 >= size * usize::from(guard.share);
        let is_among = |id: FarmId, is_alone: bool| !is_alone || id == farm;
        [true, false].into_iter().any(|is_alone| {
            let concerned = || of_farms().filter(|(id, ..)| is_among(*id, is_alone));
            let size = concerned().map(|(_, _, failing)| failing.farm_size).sum();
            let most = concerned().map(|(_, of_farm, _)| of_farm.len()).sum();
            is_share(most, size)
                && is_share(self.recent(now).filter(|(key, _)| is_among(key.farm, is_alone)).count(), size)
        })
    }
}

impl Incident {
    fn hold(&mut self, server: ServerKey, was: Health) {
        self.farms.insert(server.farm);
        self.held.insert(server, was);
        self.servers += 1;
    }
}
