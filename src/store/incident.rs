//! What follows when the detector of correlated failures changes its mind: events, and who is held in rotation.
//!
//! A server is held while it is Down and part of the incident; it is used by the health that it had when it went Down.
//! One that answers again when the incident is over stays held until its checks made it Up, or one fails: the rotation
//! that was good does not shrink because the network is back.

use std::collections::BTreeSet;

use crate::health::{Incident, IncidentChange};
use crate::model::{EventKind, Health, IncidentPhase, Leftovers, ServerKey};

use super::state::{Row, State};
use super::tell::{Batch, ToldAs};

impl State {
    /// Returns the health that a server is used by while it is held, if it is.
    pub(super) fn held(&self, server: ServerKey, row: &Row, health: Health) -> Option<Health> {
        let is_held = health == Health::Down && (row.is_held_over || self.incidents.holding(server).is_some());
        row.worked_as.filter(|_| is_held)
    }

    /// Does what follows from a change of the incident.
    pub(super) fn turn(&mut self, batch: &mut Batch, change: IncidentChange) {
        match change {
            IncidentChange::Began(incident) => {
                incident.farms.iter().for_each(|farm| batch.show(*farm));
                self.tell_incident(batch, &incident, IncidentPhase::Began);
            }
            IncidentChange::Ended(incident, phase) => {
                incident.farms.iter().for_each(|farm| batch.show(*farm));
                self.let_go(batch, &incident.servers, phase);
                self.tell_incident(batch, &incident, phase);
            }
            IncidentChange::Joined(_, farms) => farms.iter().for_each(|farm| batch.show(*farm)),
            IncidentChange::Released(_, server) => {
                batch.show(server.farm);
                self.let_go(batch, &BTreeSet::from([server]), IncidentPhase::Believed);
            }
            IncidentChange::Unwatched(servers) => {
                servers.iter().for_each(|server| batch.show(server.farm));
                self.let_go(batch, &servers, IncidentPhase::Believed);
            }
        }
    }

    /// Lets go of servers that the incident held: those that are Down and do not answer leave now.
    fn let_go(&mut self, batch: &mut Batch, servers: &BTreeSet<ServerKey>, phase: IncidentPhase) {
        for server in servers {
            let Some(row) = self.rows.get_mut(server) else { continue };
            let standing = row.standing();
            if standing.health != Health::Down {
                continue;
            }
            row.is_held_over = phase == IncidentPhase::Recovered && standing.progress.have > 0;
            if !row.is_held_over && row.on_down() == Leftovers::Close {
                batch.close(*server, row, ToldAs::Nothing);
            }
        }
    }

    fn tell_incident(&mut self, batch: &mut Batch, incident: &Incident, phase: IncidentPhase) {
        let named = |farm| Some((farm, self.topology.farm(farm)?.name.clone()));
        let farms = incident.farms.iter().copied().filter_map(named).collect();
        let Incident { id, servers, until, .. } = incident;
        let kind = EventKind::Incident { incident: *id, phase, farms, servers: servers.len(), until: *until };
        batch.push(self, kind);
    }
}
