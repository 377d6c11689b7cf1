//! One server of a farm as the data plane reads it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{AdminStatus, Epoch, Server, Standing};

use super::live::ServerLive;

/// A server at one instant.
#[derive(Clone, Debug)]
pub struct ServerEntry {
    /// The definition, overrides applied.
    pub server: Arc<Server>,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Where connections go; none while its name has no address.
    pub addr: Option<SocketAddr>,
    /// What is concluded of it.
    pub standing: Standing,
    /// Its counters.
    pub live: Arc<ServerLive>,
}

impl ServerEntry {
    /// Returns whether the server would take new work if its health allowed it.
    #[must_use]
    pub fn is_willing(&self) -> bool {
        self.server.admin == AdminStatus::Active && self.server.weight.0 > 0 && self.addr.is_some()
    }
}
