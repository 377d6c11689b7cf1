//! The prober's part under virtual time: the real schedule, each check planned and begun within its promises.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farmgate::health::{CheckId, RunEnd, Schedule, Ticket};
use farmgate::model::{Epoch, Pace, Paced, PeerAddr, Probe, ProbeSlot, ServerKey};
use farmgate::store::Table;

use super::{Held, Sabotage, must};

/// How late a check may begin while there is room: what the loop gathers before it looks again.
pub(crate) const SLACK: Duration = Duration::from_millis(25);
/// Parts of a microsecond that are lost on the way.
const ROUNDING: Duration = Duration::from_micros(2);

type Subject = (ServerKey, ProbeSlot);

/// One probe of one server.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) server: ServerKey,
    pub(crate) slot: ProbeSlot,
    pub(crate) epoch: Epoch,
    pub(crate) addr: SocketAddr,
    pub(crate) probe: Arc<Probe>,
    pace: Pace,
    runs: u32,
    /// When the next run, or the one under way, is due.
    due: Duration,
    /// When the last one was due, and when it ended.
    last: Option<(Duration, Duration)>,
    last_end: RunEnd,
    is_under_way: bool,
    /// It was due while there was no room for it.
    has_waited: bool,
}

/// See the module's doc.
#[derive(Debug)]
pub(crate) struct Prober {
    schedule: Schedule<()>,
    at_once: usize,
    checks: BTreeMap<CheckId, Check>,
    ids: BTreeMap<Subject, CheckId>,
    last_id: u64,
    sabotage: Option<Sabotage>,
}

impl Prober {
    pub(crate) fn new(at_once: usize, entropy: u64, sabotage: Option<Sabotage>) -> Self {
        let schedule = Schedule::new(at_once, entropy);
        Self { schedule, at_once, checks: BTreeMap::new(), ids: BTreeMap::new(), last_id: 0, sabotage }
    }

    /// Takes the list of targets out of the table. One that is as before keeps its place; one of the same incarnation
    /// that is checked in another way is due no later than it was; any other at once.
    pub(crate) fn retarget(&mut self, table: &Table, now: Duration) -> Held {
        self.look(now)?;
        let mut left = std::mem::take(&mut self.ids);
        for farm in &table.farms {
            for entry in farm.servers.iter().filter(|entry| entry.server.probed) {
                let Some(addr) = entry.addr.as_ref().and_then(PeerAddr::ip) else { continue };
                let server = ServerKey { farm: farm.farm.id, server: entry.server.id };
                for (slot, probe) in farm.farm.probes_with_slots() {
                    let id = left.remove(&(server, slot));
                    let id = self.put(id, (server, slot), entry.epoch, (addr, probe), now);
                    self.ids.insert((server, slot), id);
                }
            }
        }
        left.into_values().for_each(|id| self.leave(id));
        Ok(())
    }

    fn put(
        &mut self,
        before: Option<CheckId>,
        (server, slot): Subject,
        epoch: Epoch,
        (addr, probe): (SocketAddr, &Arc<Probe>),
        now: Duration,
    ) -> CheckId {
        let (mut pace, mut due, mut has_waited) = (Pace::Steady, now, false);
        if let Some(id) = before
            && let Some(old) = self.checks.get_mut(&id).filter(|old| old.epoch == epoch)
        {
            if old.addr == addr && old.probe.is_same_check(probe) {
                old.probe = Arc::clone(probe);
                return id;
            }
            (pace, has_waited) = (old.pace, old.has_waited);
            let latest = now + probe.interval_in(pace);
            if old.addr == addr {
                due = self.schedule.due_of(id).map_or(now, |due| due.min(latest));
            }
        }
        before.into_iter().for_each(|id| self.leave(id));
        self.last_id += 1;
        let id = CheckId(self.last_id);
        self.schedule.add(id, (), probe.interval_in(pace), due);
        let check = Check {
            server,
            slot,
            epoch,
            addr,
            probe: Arc::clone(probe),
            pace,
            runs: 0,
            due,
            last: None,
            last_end: RunEnd::Prompt,
            is_under_way: false,
            has_waited,
        };
        self.checks.insert(id, check);
        id
    }

    fn leave(&mut self, id: CheckId) {
        self.checks.remove(&id);
        // The run is cut short: its end is handed back at once.
        if let Some(ticket) = self.schedule.remove(id) {
            self.schedule.finish(ticket, Duration::ZERO, RunEnd::Prompt);
        }
    }

    pub(crate) fn next_due(&mut self) -> Option<Duration> {
        let late =
            if self.sabotage == Some(Sabotage::LateChecks) { Duration::from_millis(300) } else { Duration::ZERO };
        self.schedule.next_due().map(|due| due + late)
    }

    /// Begins what is due.
    pub(crate) fn start(&mut self, now: Duration) -> Result<Vec<(Ticket, IpAddr, Arc<Probe>)>, String> {
        let mut begun = Vec::new();
        while let Some(ticket) = self.schedule.start(now) {
            let check = self.checks.get_mut(&ticket.check).ok_or("bug of the simulation: a check unknown")?;
            let late = now.saturating_sub(check.due);
            must!(check.due <= now + ROUNDING, "(7) no check begins before it is due", "{check:?} at {now:?}");
            must!(late <= SLACK || check.has_waited, "(7) a check begins when it is due", "{late:?} late: {check:?}");
            must!(!check.is_under_way, "(7) a check never runs twice at once", "{check:?}");
            (check.is_under_way, check.has_waited, check.runs) = (true, false, check.runs + 1);
            begun.push((ticket, check.addr.ip(), Arc::clone(&check.probe)));
        }
        self.look(now)?;
        Ok(begun)
    }

    /// Whatever is due and not under way waits for room.
    fn look(&mut self, now: Duration) -> Held {
        let (mut under_way, mut hung) = (0, 0);
        for check in self.checks.values().filter(|check| check.is_under_way) {
            under_way += 1;
            hung += usize::from(check.last_end == RunEnd::Hung);
        }
        must!(under_way <= self.at_once, "(7) no more checks at once than allowed", "{under_way}");
        let hung_may_not = hung >= (self.at_once / 2).max(1);
        for check in self.checks.values_mut().filter(|check| !check.is_under_way && check.due <= now) {
            check.has_waited |= under_way == self.at_once || (check.last_end == RunEnd::Hung && hung_may_not);
            let is_excused = check.has_waited || check.due + SLACK > now;
            must!(is_excused, "(7) a check that is due begins while there is room", "{check:?} at {now:?}");
        }
        Ok(())
    }

    /// Takes a run back; returns whose it was, and when the next one is due, if its result counts.
    pub(crate) fn finish(
        &mut self,
        ticket: Ticket,
        now: Duration,
        end: RunEnd,
    ) -> Result<Option<(Check, Duration)>, String> {
        self.look(now)?;
        if !self.schedule.finish(ticket, now, end) {
            return Ok(None);
        }
        let next = self.schedule.due_of(ticket.check).unwrap_or(now);
        let Some(check) = self.checks.get_mut(&ticket.check) else { return Ok(None) };
        (check.last, check.due) = (Some((check.due, now)), next);
        (check.is_under_way, check.last_end) = (false, end);
        Ok(Some((check.clone(), next)))
    }

    /// Takes the paces that the Store asks for; then every check that does not run is planned as promised.
    pub(crate) fn pace(&mut self, paced: &[Paced]) -> Held {
        for Paced { server, slot, pace } in paced {
            let Some(id) = self.ids.get(&(*server, *slot)) else { continue };
            let Some(check) = self.checks.get_mut(id) else { continue };
            check.pace = *pace;
            self.schedule.pace(*id, check.probe.interval_in(*pace));
        }
        for (id, check) in &mut self.checks {
            let Some((due, ended)) = check.last.filter(|_| !check.is_under_way) else { continue };
            let interval = check.probe.interval_in(check.pace);
            let least = if check.runs == 1 { Duration::ZERO } else { interval.mul_f64(0.9) };
            let earliest = (due + least).max(ended).saturating_sub(ROUNDING);
            let latest = (due + interval).max(ended) + ROUNDING;
            check.due = self.schedule.due_of(*id).unwrap_or_default();
            let is_kept = (earliest..=latest).contains(&check.due);
            must!(is_kept, "(7) a check keeps its pace", "{earliest:?}..={latest:?}: {check:?}");
        }
        Ok(())
    }
}
