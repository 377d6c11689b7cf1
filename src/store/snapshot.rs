//! A plain copy of everything at one instant, for everybody outside: API shapes, CLI, metrics, page.
//!
//! Definitions are shared (`Arc`); numbers are copied. Whoever answers a question reads exactly one of these, so that
//! all answers of an instant agree.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::farm::Serving;
use crate::model::{
    CheckBrief, CheckRecord, Farm, FarmId, Frontend, Generation, Override, ProbeStanding, Server, ServerId, Service,
    Standing, Timestamp,
};

/// Everything at one instant.
#[derive(Debug)]
pub struct Snapshot {
    /// When.
    pub at: Timestamp,
    /// The table it is of.
    pub generation: Generation,
    /// Whether every server was checked once.
    pub is_ready: bool,
    /// The service.
    pub service: Arc<Service>,
    /// Frontends, in the order written.
    pub frontends: Vec<FrontendRow>,
    /// Farms, in the order written.
    pub farms: Vec<FarmRow>,
}

/// A frontend at one instant.
#[derive(Debug)]
pub struct FrontendRow {
    /// The definition.
    pub frontend: Arc<Frontend>,
    /// The position of its farm in [`Snapshot::farms`].
    pub farm: usize,
    /// Connections open now.
    pub connections_open: u64,
}

/// A farm at one instant.
#[derive(Debug)]
pub struct FarmRow {
    /// The definition, overrides applied.
    pub farm: Arc<Farm>,
    /// Which servers carry it.
    pub serving: Serving,
    /// Its servers, in the order written.
    pub servers: Vec<ServerRow>,
}

/// A server at one instant.
#[derive(Debug)]
pub struct ServerRow {
    /// The definition, overrides applied.
    pub server: Arc<Server>,
    /// The state in HAProxy's words.
    pub state: String,
    /// Where connections go; none while its name has no address.
    pub addr: Option<SocketAddr>,
    /// What is concluded of it.
    pub standing: Standing,
    /// Each probe's part, the shadow's last; none while it is not probed.
    pub probes: Vec<ProbeStanding>,
    /// The last checks, the oldest first.
    pub recent: Vec<CheckBrief>,
    /// The checks that made its health what it is, the oldest first.
    pub decided_by: Vec<CheckBrief>,
    /// The weight at which it takes new work now; 0 while it takes none.
    pub effective_weight: u16,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// The last check, if there was one.
    pub last_check: Option<Arc<CheckRecord>>,
    /// When health, admin status or weight last changed.
    pub since: Timestamp,
    /// Fields whose live value is not the file's.
    pub overrides: Vec<Override>,
}

impl Snapshot {
    /// Returns a farm by its id or its name.
    #[must_use]
    pub fn farm_named(&self, id_or_name: &str) -> Option<&FarmRow> {
        let id = id_or_name.parse().ok().map(FarmId);
        self.farms.iter().find(|f| Some(f.farm.id) == id || f.farm.name.as_str() == id_or_name)
    }
}

impl FarmRow {
    /// Returns a server by its id or its name.
    #[must_use]
    pub fn server_named(&self, id_or_name: &str) -> Option<&ServerRow> {
        let id = id_or_name.parse().ok().map(ServerId);
        self.servers.iter().find(|s| Some(s.server.id) == id || s.server.name.as_str() == id_or_name)
    }
}
