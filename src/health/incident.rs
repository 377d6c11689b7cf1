//! The guard against correlated failures: when most of what is observed fails at once, the balancer suspects itself.
//!
//! Pure; one detector for a process. It is told every check that counts and every failure of our own sockets.
//!
//! - A server *fails* from a check that failed or could not be made, while the server was Up or Stopping, until a check
//!   of every probe that failed has passed. A server that was Down or without a verdict before does not count: nothing
//!   is lost by it.
//! - Failures are *together* when they began within one probe window: the farm's longest interval plus timeout, at
//!   least a second; over several farms, each within its own.
//! - An incident *begins* at the first loss (a server goes Down, or a check fails on our own socket) at which the
//!   servers that fail together with the lost one are at least [`SERVERS_MIN`] and more than the guard's share of the
//!   farm's probed servers; or, over the guarded farms concerned, at least [`SERVERS_MIN`] in two farms or more, and
//!   more than half of the probed servers of those farms. So it begins no later than the rotation would lose more than
//!   the share; servers lost a moment before belong to it too.
//! - Only servers count whose failing checks all are of the network; whoever answers, well or not, can be reached. The
//!   first of them may have been broken off after it had connected: it was under way when the network went.
//! - While it lasts, servers of its farms that begin to fail with causes of the network belong to it, and farms of which
//!   the same comes to be true join it; a server that then fails with another cause is let go. There is one incident
//!   at a time.
//! - It *ends* when fewer than half of its servers fail (recovered), or at its time (believed): the shortest hold of
//!   its farms. Servers that fail then count for no other incident before they have passed, so a rotation is never held
//!   for longer than the hold without a sign of life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{
    CheckStatus, Farm, FarmId, Health, IncidentGuard, IncidentPhase, ProbeSlot, ServerKey, Timestamp, Verdict,
};

/// Fewer servers than this make no incident.
pub const SERVERS_MIN: usize = 3;
/// How long a look over all farms stands for the next ones, while hardly more servers fail (a 64th): looking at
/// thousands once for each of thousands that are lost together would take too long.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest probe window.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub struct IncidentDetector {
    farms: BTreeMap<FarmId, Watched>,
    failing: BTreeMap<ServerKey, Failing>,
    current: Option<Incident>,
    /// When all farms were looked over in vain, and how many servers failed then.
    looked: Option<(Timestamp, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    guard: IncidentGuard,
    window: Duration,
    probed: usize,
    /// A bit for each probe that counts.
    slots: u32,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Timestamp,
    /// A bit for each probe that fails.
    slots: u32,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Every failing check was of the network, but perhaps the first, which was broken off.
    Network,
    /// There was one, which was broken off after it had connected: the next one tells.
    BrokenOff,
    /// One was not of the network.
    Server,
    /// It counts for no incident: it was lost already, or an incident with it is over.
    Spent,
}

/// Most of what is observed fails at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// Since when.
    pub since: Timestamp,
    /// Until when the rotation is held at the latest.
    pub until: Timestamp,
    /// The servers that failed.
    pub servers: BTreeSet<ServerKey>,
    /// Their farms.
    pub farms: BTreeSet<FarmId>,
}

/// What changed of the incident: the rotations of its farms are to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentChange {
    /// It begins.
    Began(Incident),
    /// It is over; never with the phase that it begins.
    Ended(Incident, IncidentPhase),
    /// These farms join it.
    Joined(Incident, BTreeSet<FarmId>),
    /// This server fails for a reason of its own now: it is held no more.
    Released(Incident, ServerKey),
    /// These servers are gone or guarded no more: they are not held any longer. The incident goes on.
    Unwatched(BTreeSet<ServerKey>),
}

/// One check as the detector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub server: ServerKey,
    /// Which probe's; neither the shadow's nor an agent's.
    pub slot: ProbeSlot,
    /// How it ended.
    pub status: CheckStatus,
    /// The server's health before it.
    pub before: Health,
    /// And after it.
    pub after: Health,
}

impl IncidentDetector {
    /// Watches these farms from now on, as they are declared; what was learnt of servers that are gone is forgotten.
    /// Returns what that makes of the incident: its end, or which of its servers are watched no more.
    pub fn watch<'a>(&mut self, farms: impl IntoIterator<Item = &'a Farm>) -> Option<IncidentChange> {
        let mut servers = BTreeSet::new();
        self.farms.clear();
        for farm in farms {
            let Some(watched) = watched(farm) else { continue };
            self.farms.insert(farm.id, watched);
            let probed = farm.servers.iter().filter(|server| server.probed);
            servers.extend(probed.map(|server| ServerKey { farm: farm.id, server: server.id }));
        }
        // What a probe said that is gone will never be unsaid.
        let slots = |farm: FarmId| self.farms.get(&farm).map_or(0, |farm| farm.slots);
        self.failing.retain(|server, failing| {
            failing.slots &= slots(server.farm);
            failing.slots != 0 && servers.contains(server)
        });
        let incident = self.current.as_mut()?;
        let before = incident.clone();
        incident.servers.retain(|server| servers.contains(server));
        incident.farms = incident.servers.iter().map(|server| server.farm).collect();
        let unwatched: BTreeSet<_> = before.servers.difference(&incident.servers).copied().collect();
        match self.end_if_recovered() {
            // All that it held is let go, and all that it struck is told of.
            Some(IncidentChange::Ended(_, phase)) => Some(IncidentChange::Ended(before, phase)),
            Some(other) => Some(other),
            None if unwatched.is_empty() => None,
            None => Some(IncidentChange::Unwatched(unwatched)),
        }
    }

    /// Takes in a check. `id`: the number that an incident which begins now has.
    pub fn checked(&mut self, seen: Seen, id: u64, now: Timestamp) -> Option<IncidentChange> {
        let watched = *self.farms.get(&seen.server.farm)?;
        let has_failed = seen.status == CheckStatus::SockErr || seen.status.verdict() == Verdict::Failed;
        if !has_failed {
            return if seen.status.verdict() == Verdict::Neutral { None } else { self.passed(seen.server, seen.slot) };
        }
        let is_cleared_up = self.failed(seen, now) && seen.after == Health::Down;
        if is_cleared_up && let Some(incident) = self.holding(seen.server) {
            // It left the rotation at its first check, and is held from now on.
            return Some(IncidentChange::Joined(incident.clone(), BTreeSet::from([seen.server.farm])));
        }
        if let Some(released) = self.release(seen.server) {
            return Some(released);
        }
        let has_gone_down = seen.before != Health::Down && seen.after == Health::Down;
        let has_lost = seen.status == CheckStatus::SockErr || has_gone_down || is_cleared_up;
        if has_lost { self.judge(seen.server, watched, id, now) } else { None }
    }

    /// Ends an incident whose time has come.
    pub fn tick(&mut self, now: Timestamp) -> Option<IncidentChange> {
        let incident = self.current.as_mut()?;
        if incident.since > now {
            let length = incident.until.since(incident.since);
            (incident.since, incident.until) = (now, now + length);
        }
        if incident.until > now { None } else { self.end(IncidentPhase::Believed) }
    }

    /// Returns when [`Self::tick`] next has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.current.as_ref().map(|incident| incident.until)
    }

    /// Returns the incident under way.
    #[must_use]
    pub fn current(&self) -> Option<&Incident> {
        self.current.as_ref()
    }

    /// Returns the incident that holds this server in rotation though it is Down.
    #[must_use]
    pub fn holding(&self, server: ServerKey) -> Option<&Incident> {
        self.current.as_ref().filter(|incident| incident.servers.contains(&server))
    }

    /// Takes in a check that failed. Returns whether it tells that the one before, which was broken off, was of the network.
    fn failed(&mut self, seen: Seen, now: Timestamp) -> bool {
        let bit = slot_bit(seen.slot);
        let was_in_work = matches!(seen.before, Health::Stopping | Health::Up);
        let is_held = self.holding(seen.server).is_some();
        let is_of_the_network = seen.status.is_of_the_network();
        let fresh = if !was_in_work && !is_held {
            Cause::Spent
        } else if is_of_the_network {
            Cause::Network
        } else if seen.status.is_broken_off() && !is_held {
            Cause::BrokenOff
        } else {
            Cause::Server
        };
        let is_first = !self.failing.contains_key(&seen.server);
        let failing = self.failing.entry(seen.server).or_insert(Failing { since: now, slots: 0, cause: fresh });
        if failing.slots & bit == 0 && was_in_work {
            failing.since = now;
        }
        failing.since = failing.since.min(now);
        failing.slots |= bit;
        let was = failing.cause;
        failing.cause = match was {
            Cause::BrokenOff if is_first => Cause::BrokenOff,
            Cause::BrokenOff | Cause::Network if is_of_the_network => Cause::Network,
            Cause::BrokenOff | Cause::Network => Cause::Server,
            other @ (Cause::Server | Cause::Spent) => other,
        };
        let is_cleared_up = was == Cause::BrokenOff && failing.cause == Cause::Network;
        if let Some(incident) = &mut self.current
            && failing.cause == Cause::Network
            && incident.farms.contains(&seen.server.farm)
        {
            incident.servers.insert(seen.server);
        }
        is_cleared_up
    }

    /// Lets go of a server of the incident whose failures are not of the network any more.
    fn release(&mut self, server: ServerKey) -> Option<IncidentChange> {
        let is_its_own = self.failing.get(&server).is_some_and(|failing| failing.cause == Cause::Server);
        let incident = self.current.as_mut()?;
        if !is_its_own || !incident.servers.remove(&server) {
            return None;
        }
        let released = IncidentChange::Released(incident.clone(), server);
        Some(self.end_if_recovered().unwrap_or(released))
    }

    fn passed(&mut self, server: ServerKey, slot: ProbeSlot) -> Option<IncidentChange> {
        let failing = self.failing.get_mut(&server)?;
        failing.slots &= !slot_bit(slot);
        if failing.slots != 0 {
            return None;
        }
        self.failing.remove(&server);
        self.end_if_recovered()
    }

    fn judge(&mut self, lost: ServerKey, watched: Watched, id: u64, now: Timestamp) -> Option<IncidentChange> {
        if self.failing.get(&lost)?.cause != Cause::Network || self.holding(lost).is_some() {
            return None;
        }
        let together = self.together_in_farm(lost, watched).or_else(|| self.together_over_farms(lost, now))?;
        let farms: BTreeSet<FarmId> = together.iter().map(|server| server.farm).collect();
        let hold = farms.iter().filter_map(|farm| self.farms.get(farm)).map(|farm| farm.guard.hold).min()?;
        let Some(incident) = &mut self.current else {
            let began = Incident { id, since: now, until: now + hold, servers: together, farms };
            self.current = Some(began.clone());
            return Some(IncidentChange::Began(began));
        };
        incident.until = incident.until.min(now + hold);
        incident.servers.extend(together);
        incident.farms.extend(&farms);
        Some(IncidentChange::Joined(incident.clone(), farms))
    }

    /// The servers of the farm that fail together with that one, if they are enough.
    fn together_in_farm(&self, lost: ServerKey, watched: Watched) -> Option<BTreeSet<ServerKey>> {
        let farm = self.failing.range(all_of(lost.farm)).map(|(server, failing)| (*server, *failing));
        let is_enough = |n| n >= SERVERS_MIN && n * 100 > usize::from(watched.guard.share) * watched.probed;
        if !is_enough(farm.clone().count()) {
            return None;
        }
        together(farm, lost, |_| watched.window).filter(|found| is_enough(found.len()))
    }

    /// The servers of all guarded farms that fail together with that one, if they are enough.
    fn together_over_farms(&mut self, lost: ServerKey, now: Timestamp) -> Option<BTreeSet<ServerKey>> {
        let n = self.failing.len();
        let stands = |(at, before): (Timestamp, usize)| {
            n < before + before / 64 && now.since(at).max(at.since(now)) < LOOK_INTERVAL
        };
        if self.looked.is_some_and(stands) {
            return None;
        }
        self.looked = Some((now, n));
        let all = self.failing.iter().map(|(server, failing)| (*server, *failing));
        let window = |farm: FarmId| self.farms.get(&farm).map_or(WINDOW_MIN, |farm| farm.window);
        let found = together(all, lost, window)?;
        let farms: BTreeSet<FarmId> = found.iter().map(|server| server.farm).collect();
        let probed: usize = farms.iter().filter_map(|farm| self.farms.get(farm)).map(|farm| farm.probed).sum();
        let is_enough = found.len() >= SERVERS_MIN && farms.len() >= 2 && found.len() * 2 > probed;
        Some(found).filter(|_| is_enough)
    }

    fn end_if_recovered(&mut self) -> Option<IncidentChange> {
        let incident = self.current.as_ref()?;
        let still = incident.servers.iter().filter(|server| self.failing.contains_key(server)).count();
        let is_over = still * 2 < incident.servers.len() || incident.servers.is_empty();
        if is_over { self.end(IncidentPhase::Recovered) } else { None }
    }

    fn end(&mut self, phase: IncidentPhase) -> Option<IncidentChange> {
        let incident = self.current.take()?;
        for server in &incident.servers {
            if let Some(failing) = self.failing.get_mut(server) {
                failing.cause = Cause::Spent;
            }
        }
        Some(IncidentChange::Ended(incident, phase))
    }
}

fn watched(farm: &Farm) -> Option<Watched> {
    let guard = farm.incident?;
    let counted = farm.probes.iter().filter(|probe| !probe.kind.is_agent());
    let window = counted.map(|probe| probe.interval + probe.timeout).max()?;
    let probed = farm.servers.iter().filter(|server| server.probed).count();
    let counted = farm.probes_with_slots().filter(|(slot, probe)| *slot != ProbeSlot::SHADOW && !probe.kind.is_agent());
    let slots = counted.fold(0, |slots, (slot, _)| slots | slot_bit(slot));
    Some(Watched { guard, window: window.max(WINDOW_MIN), probed, slots })
}

/// The servers that began to fail within one window together with `lost`, which is one of them: of all such windows the
/// one that holds most. Those that failed for a reason of their own are not among them.
///
/// The window of a pair is the longer of their farms'. Cost: O(n log n) of those that fail.
fn together(
    failing: impl Iterator<Item = (ServerKey, Failing)> + Clone,
    lost: ServerKey,
    window: impl Fn(FarmId) -> Duration,
) -> Option<BTreeSet<ServerKey>> {
    let own = window(lost.farm);
    let at = failing.clone().find(|(server, _)| *server == lost)?.1.since;
    let is_near = |(server, failing): &(ServerKey, Failing)| {
        let apart = failing.since.since(at).max(at.since(failing.since));
        failing.cause == Cause::Network && apart <= own.max(window(server.farm))
    };
    let mut all: Vec<(Timestamp, ServerKey)> =
        failing.filter(is_near).map(|(server, failing)| (failing.since, server)).collect();
    all.sort();
    let longest = all.iter().map(|(_, server)| window(server.farm)).max()?;
    let (mut best, mut first) = (0..0, 0);
    for last in 0..all.len() {
        while all[last].0.since(all[first].0) > longest {
            first += 1;
        }
        if (all[first].0..=all[last].0).contains(&at) && last + 1 - first > best.len() {
            best = first..last + 1;
        }
    }
    Some(all[best].iter().map(|(_, server)| *server).collect())
}

fn all_of(farm: FarmId) -> std::ops::RangeInclusive<ServerKey> {
    let key = |id| ServerKey { farm, server: crate::model::ServerId(id) };
    key(0)..=key(u64::MAX)
}

/// A farm has at most 16 probes; the bit beyond stands for whatever else is handed in.
fn slot_bit(slot: ProbeSlot) -> u32 {
    1 << slot.0.min(31)
}

#[cfg(test)]
mod tests;
