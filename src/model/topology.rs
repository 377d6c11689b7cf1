//! Everything that is declared about traffic, by the config file and through APIs: one service, its frontends and its
//! farms. Validated whole.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use super::farm::Farm;
use super::frontend::Frontend;
use super::id::{FarmId, InstanceId, Name};
use super::object::Made;

/// The service as the API shapes name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// OVHcloud's `serviceName`, Zenlayer's `loadBalancerId`.
    pub name: Name,
    /// The addresses it is reached at, for the shapes that list them; may be empty.
    pub addresses: Vec<IpAddr>,
    /// The ports that frontends made through an API may use.
    pub api_ports: RangeInclusive<u16>,
    /// Directories whose files what is made through an API may name.
    pub api_files: Vec<PathBuf>,
    /// Directories whose Unix sockets servers made through an API may be at.
    pub api_sockets: Vec<PathBuf>,
    /// The id under which this process reports what it observes.
    pub instance_id: InstanceId,
    /// The zone it runs in.
    pub zone: Name,
}

/// Service, frontends and farms; every frontend's farm exists and speaks its protocol; names and ids are unique.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The service.
    pub service: Arc<Service>,
    /// Frontends, in the order written.
    pub frontends: Vec<Arc<Frontend>>,
    /// Farms, in the order written.
    pub farms: Vec<Arc<Farm>>,
    /// What of it was made through an API, and by whom; empty where the file declares everything.
    pub made: Arc<Made>,
}

impl Topology {
    /// Returns the farm of that id.
    #[must_use]
    pub fn farm(&self, id: FarmId) -> Option<&Arc<Farm>> {
        self.farms.iter().find(|f| f.id == id)
    }
}
