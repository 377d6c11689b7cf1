//! What others read: the state of the class that operators, agents and checks make of a server, and nothing hidden.

use farmgate::model::{AdminStatus, AgentHealth, Health, ServerKey, Topology, Weight};
use farmgate::store::snapshot::{FarmRow, ServerRow};
use farmgate::store::{Snapshot, Table};

use super::Watch;
use crate::chance::Chance;
use crate::sessions::Open;
use crate::world::position;
use crate::{Held, must, views};

impl Watch {
    /// Looks at what others read of a few servers.
    pub(crate) fn look_at_views(
        &self,
        file: &Topology,
        snapshot: &Snapshot,
        table: &Table,
        open: &Open,
        chance: &mut Chance,
    ) -> Held {
        let Some(farm) = chance.pick(&snapshot.farms) else { return Ok(()) };
        let row = chance.pick(&farm.servers);
        row.map_or(Ok(()), |row| self.look_at_row(file, snapshot, farm, row))?;
        self.look_at_snapshot(file, snapshot, table, open)
    }

    pub(crate) fn look_at_all_views(&self, file: &Topology, snapshot: &Snapshot, table: &Table, open: &Open) -> Held {
        for farm in &snapshot.farms {
            views::explain_farm(snapshot, farm)?;
            for row in &farm.servers {
                self.look_at_row(file, snapshot, farm, row)?;
            }
        }
        self.look_at_snapshot(file, snapshot, table, open)
    }

    fn look_at_row(&self, file: &Topology, snapshot: &Snapshot, farm: &FarmRow, row: &ServerRow) -> Held {
        let key = ServerKey { farm: farm.farm.id, server: row.server.id };
        let (_, declared) = self.declared(file, key)?;
        let agent = self.naive.get(&key).map(|(_, naive)| naive.agent.clone()).unwrap_or_default();
        let by_operator = self.wanted.admin(key, declared);
        let class = if self.admin(key, declared) == AdminStatus::Maintenance {
            "MAINT"
        } else if row.addr.is_none() {
            "MAINT (resolution)"
        } else if agent.health == Some(AgentHealth::Down) {
            "DOWN (agent)"
        } else if row.standing.health == Health::Down
            || row.standing.ejected.is_some()
            || row.standing.held_until.is_some()
        {
            "DOWN"
        } else if by_operator == AdminStatus::Drain || self.wanted.weight(key, declared) == Weight(0) {
            "DRAIN"
        } else if self.admin(key, declared) == AdminStatus::Drain || !self.weighs(key, declared) {
            "DRAIN (agent)"
        } else {
            match row.standing.health {
                Health::Up => "UP",
                Health::Stopping => "NOLB",
                Health::Down | Health::Off | Health::Unknown => "no check",
            }
        };
        views::explain_server(snapshot, farm, row, class)
    }

    fn look_at_snapshot(&self, file: &Topology, snapshot: &Snapshot, table: &Table, open: &Open) -> Held {
        must!(snapshot.generation == table.generation, "(10) snapshot and table agree", "of another generation");
        must!(
            snapshot.incident.as_ref().map(|row| row.id) == self.incident,
            "(10) the incident was told",
            "{:?}",
            self.incident
        );
        views::agree(snapshot, table)?;
        for (key, count) in open.counts() {
            if self.declared(file, key).is_ok() {
                let in_flight = position(table, key).map(|(farm, at)| farm.servers[at].live.in_flight_total());
                must!(
                    in_flight == Some(count),
                    "(10) work in flight is what is open",
                    "{key:?} {count}: {in_flight:?}"
                );
                continue;
            }
            let of_farms = snapshot.farms.iter().flat_map(|farm| &farm.leaving);
            let is_visible = of_farms.chain(&snapshot.leaving).any(|row| row.key == key && row.in_flight == count);
            must!(is_visible, "(9) a removed server is visible until it is idle", "{count} open on {key:?}");
        }
        Ok(())
    }
}
