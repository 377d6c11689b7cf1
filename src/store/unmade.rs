//! Checks that cannot be made, by farm and probe: they are told once for all servers of a farm, however many there are,
//! when they begin to be impossible and when every server was checked again.
//!
//! What comes and goes is told once a minute at most. Of a farm that is there, no more is kept than its servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{
    CheckRecord, CheckStatus, CheckingChange, EventKind, Farm, FarmId, ProbeSlot, ServerId, ServerKey, Timestamp,
};

use super::state::State;

/// The least time between two beginnings that are told of the same farm and probe.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// See the module's doc.
#[derive(Default)]
pub(super) struct Unmade(BTreeMap<(FarmId, ProbeSlot), Unchecked>);

/// Those of a farm whose last check by one probe could not be made.
#[derive(Default)]
struct Unchecked {
    servers: BTreeSet<ServerId>,
    is_told: bool,
    last_told: Option<Timestamp>,
}

impl Unmade {
    /// Takes in a check; returns what there is to tell.
    pub(super) fn checked(
        &mut self,
        farm: &Farm,
        server: ServerKey,
        slot: ProbeSlot,
        record: &CheckRecord,
    ) -> Option<EventKind> {
        let key = (server.farm, slot);
        if record.status == CheckStatus::SockErr {
            let unchecked = self.0.entry(key).or_default();
            unchecked.servers.insert(server.server);
            let is_due = !unchecked.is_told
                && unchecked.last_told.is_none_or(|at| record.at.since(at).max(at.since(record.at)) >= TELL_INTERVAL);
            if !is_due {
                return None;
            }
            (unchecked.is_told, unchecked.last_told) = (true, Some(record.at));
            return told(farm, slot, CheckingChange::Impossible { why: record.content.as_str().into() });
        }
        let unchecked = self.0.get_mut(&key)?;
        unchecked.servers.remove(&server.server);
        unchecked.is_over().then(|| told(farm, slot, CheckingChange::Possible)).flatten()
    }
}

impl Unchecked {
    /// Returns whether there was something, which was told, and is no more; once.
    fn is_over(&mut self) -> bool {
        let is_over = self.is_told && self.servers.is_empty();
        self.is_told &= !is_over;
        is_over
    }
}

impl State {
    /// Forgets the servers that are checked no more; returns what there is to tell of farms that still are.
    pub(super) fn forget_unmade_checks(&mut self) -> Vec<EventKind> {
        let (rows, topology) = (&self.rows, &self.topology);
        let mut over = Vec::new();
        self.unmade.0.retain(|(farm, slot), unchecked| {
            let Some(declared) = topology.farm(*farm).filter(|declared| declared.probe_at(*slot).is_some()) else {
                return false;
            };
            let is_checked = |server: &ServerId| {
                rows.get(&ServerKey { farm: *farm, server: *server }).is_some_and(|row| row.server.probed)
            };
            unchecked.servers.retain(is_checked);
            if unchecked.is_over() {
                over.extend(told(declared, *slot, CheckingChange::Possible));
            }
            true
        });
        over
    }
}

fn told(farm: &Farm, slot: ProbeSlot, change: CheckingChange) -> Option<EventKind> {
    let probe = farm.probe_at(slot)?.name.clone();
    Some(EventKind::Checking { farm: farm.id, farm_name: farm.name.clone(), probe, change })
}
