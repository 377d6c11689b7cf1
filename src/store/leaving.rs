//! Servers that a reload removed: no new work comes to them, what is open on them goes on until it ends or the farm's
//! drain deadline closes it, and they stay visible until then. One that comes back by a later reload with the same
//! address and probes takes its counters and health up again. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::farm::ServerLive;
use crate::model::{EventKind, Farm, Leftovers, PeerAddr, Server, ServerKey, Timestamp};

use super::state::Row;

/// How many removed servers are remembered; beyond it the one that left first is forgotten with what is open on it.
pub(super) const LEAVING_MAX: usize = 10_000;

/// A server that is declared no more.
pub(super) struct Leaving {
    /// What is known of it, as it was when it left.
    pub(super) row: Row,
    /// Since when.
    pub(super) since: Timestamp,
    /// When what is open is closed or kept.
    pub(super) deadline: Option<Timestamp>,
    /// Which of the two.
    pub(super) at_deadline: Leftovers,
}

impl Leaving {
    /// Returns a server that leaves now, by its farm's rule.
    pub(super) fn of(row: Row, now: Timestamp) -> Self {
        let rule = row.farm.drain;
        let deadline = rule.deadline.map(|after| now + after);
        Self { row, since: now, deadline, at_deadline: rule.at_deadline }
    }

    pub(super) fn farm(&self) -> &Arc<Farm> {
        &self.row.farm
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.row.server
    }

    pub(super) fn addr(&self) -> Option<PeerAddr> {
        self.row.addr.clone()
    }

    pub(super) fn live(&self) -> &Arc<ServerLive> {
        &self.row.live
    }

    /// Returns whether nothing is open on it.
    pub(super) fn is_idle(&self) -> bool {
        self.live().in_flight_total() == 0
    }

    /// Returns whether what is open is to be closed by now.
    pub(super) fn is_to_be_closed(&self, now: Timestamp) -> bool {
        self.at_deadline == Leftovers::Close && self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns the event of its end.
    pub(super) fn left(&self, server: ServerKey, closed: u64) -> EventKind {
        let (farm_name, server_name) = (self.farm().name.clone(), self.server().name.clone());
        EventKind::Left { server, farm_name, server_name, closed }
    }
}

/// Takes out those beyond [`LEAVING_MAX`], the first to leave first.
pub(super) fn take_beyond_bound(leaving: &mut BTreeMap<ServerKey, Leaving>) -> Vec<(ServerKey, Leaving)> {
    let beyond = leaving.len().saturating_sub(LEAVING_MAX);
    if beyond == 0 {
        return Vec::new();
    }
    let mut by_age: Vec<_> = leaving.iter().map(|(key, leaving)| (leaving.since, *key)).collect();
    by_age.sort_unstable();
    by_age.into_iter().take(beyond).filter_map(|(_, key)| Some((key, leaving.remove(&key)?))).collect()
}
