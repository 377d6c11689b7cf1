//! One farm as the data plane reads it: immutable, shared by every table in which the farm is the same.

use std::sync::Arc;

use crate::model::{Farm, Generation, ServerId};

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
}

impl FarmTable {
    /// Returns the table of a farm; `version` is the generation in which its rotation last changed.
    #[must_use]
    pub fn new(farm: Arc<Farm>, servers: Box<[ServerEntry]>, version: Generation) -> Self {
        let rotation = Rotation::of(&servers, farm.fail_open, version);
        Self { farm, servers, rotation }
    }

    /// Returns the position of a server.
    #[must_use]
    pub fn position(&self, id: ServerId) -> Option<usize> {
        self.servers.iter().position(|entry| entry.server.id == id)
    }
}
