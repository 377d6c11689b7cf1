//! One farm as the data plane reads it: immutable, shared by every table in which the farm is the same.

use std::sync::Arc;

use crate::balance::Maglev;
use crate::metrics::Cell;
use crate::model::{Balance, Farm, Generation, ServerId};

use super::entry::ServerEntry;
use super::live::FarmLive;
use super::rotation::Rotation;

/// A farm, its servers and its rotation at one instant.
#[derive(Debug)]
pub struct FarmTable {
    /// The definition, overrides applied.
    pub farm: Arc<Farm>,
    /// Every server, in the order written; positions are what the rotation and the choosers speak of.
    pub servers: Box<[ServerEntry]>,
    /// Who may take new work.
    pub rotation: Rotation,
    /// Whose key is whose, where the farm asks a table for it: by place in the rotation. The same one as long as the
    /// rotation is.
    pub maglev: Option<Arc<Maglev>>,
    /// What is counted of it beside its servers.
    pub live: Arc<FarmLive>,
}

impl FarmTable {
    /// Returns the table of a farm that was not there before; `version` is the generation.
    #[must_use]
    pub fn new(farm: Arc<Farm>, servers: Box<[ServerEntry]>, version: Generation) -> Self {
        Self::following(None, farm, servers, version)
    }

    /// Returns the table of a farm in generation `version` that follows `before`: its rotation keeps the version where it
    /// lets the same servers in and shares the work among them in the same way, and with it what is made of it.
    #[must_use]
    pub fn following(before: Option<&Self>, farm: Arc<Farm>, servers: Box<[ServerEntry]>, version: Generation) -> Self {
        let mut rotation = Rotation::of(&servers, farm.fail_open, version);
        let has_maglev = farm.balance == Balance::Maglev;
        let same = before.filter(|before| {
            // The size of its table goes by the servers declared.
            let is_same_size = !has_maglev || before.servers.len() == servers.len();
            is_same_size && before.farm.balance == farm.balance && before.rotation.is_same_as(&rotation)
        });
        if let Some(same) = same {
            rotation.version = same.rotation.version;
        }
        let maglev = has_maglev.then(|| {
            let eligible = rotation.eligible.iter().map(|server| (server.id, server.weight));
            let fresh = || Arc::new(Maglev::new(eligible, servers.len()));
            same.and_then(|same| same.maglev.clone()).unwrap_or_else(fresh)
        });
        let live = before.map(|before| Arc::clone(&before.live)).unwrap_or_default();
        Self { farm, servers, rotation, maglev, live }
    }

    /// Returns whether work that failed at a server may be tried again, and takes it out of the farm's budget; counted
    /// where it may not.
    #[must_use]
    pub fn may_retry(&self, now_ms: u64) -> bool {
        let Some(rule) = self.farm.retry_budget else { return true };
        let went = |entry: &ServerEntry| {
            let traffic = &entry.live.traffic;
            traffic.good.sum(Cell::value) + traffic.bad.sum(Cell::value)
        };
        let may = self.live.budget.take(rule, || self.servers.iter().map(went).sum(), now_ms);
        if !may {
            self.live.retries_refused.count();
        }
        may
    }

    /// Returns the position of a server.
    #[must_use]
    pub fn position(&self, id: ServerId) -> Option<usize> {
        self.servers.iter().position(|entry| entry.server.id == id)
    }
}
