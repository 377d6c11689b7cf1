//! One farm as the data plane reads it: immutable, shared by every table in which the farm is the same.

use std::sync::Arc;

use crate::balance::Maglev;
use crate::model::{Balance, Farm, Generation, ServerId};

use super::entry::ServerEntry;
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
        Self { farm, servers, rotation, maglev }
    }

    /// Returns the position of a server.
    #[must_use]
    pub fn position(&self, id: ServerId) -> Option<usize> {
        self.servers.iter().position(|entry| entry.server.id == id)
    }
}
