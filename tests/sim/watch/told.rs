//! What events told: in order, without a gap, and what they say was closed.

use std::collections::BTreeSet;
use std::time::Duration;

use farmgate::feed::{self, EventWire};
use farmgate::model::{Event, EventKind, IncidentPhase, OrderEnding, ServerKey, StandingChange, Topology};
use farmgate::store::Table;

use super::{TICK_US, Timed, Told, Watch, micros};
use crate::sessions::Open;
use crate::{Held, must};

impl Watch {
    /// Takes up servers and farms that are new: of these nothing was told, but of farms that do not serve normally.
    pub(super) fn meet(&mut self, table: &Table) -> BTreeSet<ServerKey> {
        let mut begun = BTreeSet::new();
        for farm in &table.farms {
            let serving = farm.rotation.serving.as_str();
            if matches!(serving, "primaries" | "unproven") || farm.servers.is_empty() {
                self.serving.entry(farm.farm.id).or_insert(serving);
            }
            for entry in &farm.servers {
                let key = ServerKey { farm: farm.farm.id, server: entry.server.id };
                if self.told.get(&key).is_none_or(|told| told.epoch != entry.epoch) {
                    self.told.insert(key, Told::of(entry));
                    begun.insert(key);
                }
            }
        }
        begun
    }

    pub(super) fn hear(
        &mut self,
        event: &Event,
        file: &Topology,
        closed: &mut Vec<(ServerKey, u64)>,
        open: &Open,
        begun: &BTreeSet<ServerKey>,
        mono: u64,
    ) -> Held {
        must!(event.id > self.last_event, "(5) ids increase for ever", "{} after {}", event.id, self.last_event);
        self.last_event = event.id;
        self.heard.insert(word(&event.kind));
        if event.id.is_multiple_of(8) {
            let read = EventWire::parse(&feed::json(event));
            must!(read.is_ok() && !feed::sentence(event).is_empty(), "(5) an event can be read", "{read:?}");
        }
        match &event.kind {
            EventKind::Transition { server, from, to, .. } => {
                let Some(told) = self.told.get_mut(server) else {
                    return Err(format!("invariant (5) a transition is of a server that is there: {event:?}"));
                };
                let is_known = told.health == *from || begun.contains(server);
                must!(is_known && from != to, "(5) transitions are told without a gap", "{told:?}: {event:?}");
                told.health = *to;
            }
            EventKind::StandingChanged { server, change, .. } => self.hear_change(*server, change, file, mono),
            EventKind::FarmServing { farm, serving, .. } => {
                let before = self.serving.insert(*farm, serving);
                must!(before != Some(*serving), "(5) how a farm serves is told when it changes", "{event:?}");
            }
            EventKind::Incident { phase, incident, .. } => self.hear_incident(*phase, *incident, mono)?,
            EventKind::OrderEnded { server, ending, closed: told, .. } => match ending {
                OrderEnding::Deadline => {
                    let is_so = was_closed(closed, *server, *told);
                    must!(is_so, "(6) a drain tells what it closed", "closed were {closed:?}: {event:?}");
                }
                OrderEnding::Idle => {
                    let n = open.count(*server);
                    must!(n == 0, "(6) a server is idle when nothing is open on it", "{n} open: {event:?}");
                }
                OrderEnding::Until => {}
            },
            EventKind::Left { server, closed: told, .. } => {
                let is_so = was_closed(closed, *server, *told);
                must!(is_so, "(9) a server that left tells what was closed", "closed were {closed:?}: {event:?}");
                let n = open.count(*server);
                must!(n == 0, "(9) a server leaves when nothing is open on it", "{n} open: {event:?}");
                self.naive.remove(server);
                self.told.remove(server);
            }
            EventKind::Certificate { .. }
            | EventKind::Changed { .. }
            | EventKind::Checking { .. }
            | EventKind::Commanded { .. }
            | EventKind::Credential { .. }
            | EventKind::Edited { .. }
            | EventKind::Refresh { .. }
            | EventKind::Reloaded { .. } => {}
        }
        Ok(())
    }

    fn hear_change(&mut self, server: ServerKey, change: &StandingChange, file: &Topology, mono: u64) {
        let Some(told) = self.told.get_mut(&server) else { return };
        let farm = file.farm(server.farm);
        let mut lasts = |timed: Timed, longest: Duration| {
            self.ends.insert(timed, (mono + micros(longest) + TICK_US, longest));
        };
        match change {
            StandingChange::Ejected(ejection) => {
                told.is_ejected = true;
                lasts(Timed::Ejection(server), ejection.until.since(ejection.since));
            }
            StandingChange::EjectionEnded => told.is_ejected = false,
            StandingChange::HeldDown { .. } => {
                told.is_held_down = true;
                let hold = farm.and_then(|farm| farm.flap).map(|guard| guard.hold);
                lasts(Timed::Hold(server), hold.unwrap_or_default());
            }
            StandingChange::HoldEnded => told.is_held_down = false,
            StandingChange::Suspected(_) => told.is_suspect = true,
            StandingChange::SuspicionEnded => told.is_suspect = false,
            StandingChange::WarmupBegan { .. } => {
                let slow_start = farm.map(|farm| farm.slow_start);
                lasts(Timed::Warmup(server), slow_start.unwrap_or_default());
            }
            StandingChange::AgentSaid(_) | StandingChange::WarmupEnded => {}
        }
    }

    fn hear_incident(&mut self, phase: IncidentPhase, incident: u64, mono: u64) -> Held {
        match phase {
            IncidentPhase::Began => {
                must!(self.incident.is_none(), "(8) there is one incident at a time", "{:?}", self.incident);
                self.incident = Some(incident);
                self.hold_max = Duration::from_secs(6);
                self.ends.insert(Timed::Incident, (mono + micros(self.hold_max) + TICK_US, self.hold_max));
            }
            IncidentPhase::Believed | IncidentPhase::Recovered => {
                must!(self.incident == Some(incident), "(8) an incident that ends had begun", "{incident}");
                self.incident = None;
                self.ends.remove(&Timed::Incident);
            }
        }
        Ok(())
    }
}

/// Takes out that so many were closed on a server; what was not closed at all, was none.
fn was_closed(closed: &mut Vec<(ServerKey, u64)>, server: ServerKey, told: u64) -> bool {
    let found = closed.iter().position(|each| *each == (server, told));
    found.map(|at| closed.remove(at)).is_some() || told == 0
}

fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Certificate { .. } => "certificate",
        EventKind::Changed { .. } => "changed",
        EventKind::Checking { change, .. } => change.as_str(),
        EventKind::Commanded { .. } => "commanded",
        EventKind::Credential { .. } => "credential",
        EventKind::Edited { .. } => "edited",
        EventKind::FarmServing { .. } => "farm_serving",
        EventKind::Incident { phase, .. } => phase.as_str(),
        EventKind::Left { .. } => "left",
        EventKind::OrderEnded { ending, .. } => ending.as_str(),
        EventKind::Refresh { .. } => "refresh",
        EventKind::Reloaded { .. } => "reloaded",
        EventKind::StandingChanged { change, .. } => feed::wire::change_word(change),
        EventKind::Transition { .. } => "transition",
    }
}
